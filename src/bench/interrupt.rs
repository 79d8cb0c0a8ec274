//! The signals that end a bench.

use std::future::pending;
use std::io;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code of an interrupted bench: that of a shell command ended by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Signals within this time count as one: timeout(1) sends its signal to the process and to its group.
const TOGETHER: Duration = Duration::from_millis(500);

/// SIGINT and SIGTERM. The handler is installed before there is anything to stop. The first signal ends the runs; a
/// second ends this process, and with it a spawned server.
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system has no thread, or does not report signals.
    pub fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (came, coming) = watch::channel(false);
        let entered = runtime.enter();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(entered);
        let listen = async move {
            let mut first = None;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if first.get_or_insert_with(Instant::now).elapsed() > TOGETHER {
                    process::exit(INTERRUPTED.into());
                }
                came.send_replace(true);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listen))?;
        Ok(Self(coming))
    }

    /// Whether a signal has come.
    pub fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the first signal.
    pub async fn come(&self) {
        let mut coming = self.0.clone();
        if coming.wait_for(|came| *came).await.is_err() {
            // The thread that listens is gone, so no signal will come.
            pending().await
        }
    }
}
