//! The signals of the process. A thread of its own hears them: whatever a worker, the registry or a resolver is busy
//! with, the server stops when it is told to.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

/// What the stop may take beyond `server.stop_ms`, before the process ends without it.
const GRACE: Duration = Duration::from_millis(500);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Begins to listen. What is given back says which signal has told the server to stop.
///
/// `last_words` is called where the process has to end before the stop has: because there was a second signal, or the
/// stop takes longer than `stop_timeout`.
///
/// # Errors
/// The system gives no thread or file for it.
pub(super) fn listen(
    stop_timeout: Duration,
    last_words: impl FnOnce() + Send + 'static,
) -> io::Result<watch::Receiver<Option<&'static str>>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        }
    };
    let (told, stop) = watch::channel(None);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            told.send_replace(Some(signals.next_to_stop().await));
            match timeout(stop_timeout + GRACE, signals.next_to_stop()).await {
                Ok(name) => log::warn!("{name}, a second signal: stopping at once"),
                Err(_) => log::error!("the stop does not come to its end: stopping at once"),
            }
        });
        last_words();
        process::exit(0);
    })?;
    Ok(stop)
}

impl Signals {
    /// Waits for a signal to stop, and says which.
    async fn next_to_stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                // A terminal that closes, or an operator who hopes for a reload, is not to end the service.
                _ = self.hang_up.recv() => log::info!("SIGHUP: nothing is reloaded; a restart reads the settings anew"),
            }
        }
    }
}
