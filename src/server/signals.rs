//! The signals of the process. A thread of its own receives them, so that a stop works even if a worker, the registry
//! or a resolver is busy.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

/// Time that a stop may take beyond `server.stop_ms` before the process exits anyway.
const GRACE: Duration = Duration::from_millis(500);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Starts to listen for signals. The returned channel names the signal that tells the server to stop.
///
/// If a second signal comes, or the stop takes longer than `stop_timeout` plus [`GRACE`], `last_words` is called and
/// the process exits.
///
/// # Errors
/// The system does not give a thread or a file.
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
                Err(_) => log::error!("the stop takes too long: stopping at once"),
            }
        });
        last_words();
        process::exit(0);
    })?;
    Ok(stop)
}

impl Signals {
    /// Waits for a signal to stop and returns its name.
    async fn next_to_stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                // SIGHUP does not end the service: it comes from a closed terminal, or from an operator who hopes for a
                // reload.
                _ = self.hang_up.recv() => log::info!("SIGHUP: nothing is reloaded; a restart reads the settings anew"),
            }
        }
    }
}
