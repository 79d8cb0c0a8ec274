//! A thread that reads the metrics of the server, or of all its nodes, during a run. It is slower than the conductor
//! where the server is.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::bench::exposed::Scrapes;
use crate::bench::exposition::Exposition;
use crate::bench::outcome::Exposed;
use crate::bench::target::Scraper;

/// Interval of the scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(500);

/// The thread. It ends when this is dropped.
pub(super) struct Observer {
    /// Nothing is sent: the thread sees that it is dropped.
    running: Sender<()>,
    thread: JoinHandle<Scrapes>,
}

impl Observer {
    /// Starts to observe these nodes. The first scrape is made at once. `None` if there is nothing to observe.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(scrapers: Vec<Scraper>) -> io::Result<Option<Self>> {
        if scrapers.is_empty() {
            return Ok(None);
        }
        let (running, ended) = mpsc::channel();
        // The sum over some of the nodes would be too small.
        let read = move || scrapers.iter().map(|scraper| scraper.read()).collect::<io::Result<Exposition>>();
        let observe = move || {
            let mut scrapes = Scrapes::default();
            loop {
                // A scrape that fails is one less. A server that is gone is seen by the run itself.
                if let Ok(scrape) = read() {
                    scrapes.add(scrape);
                }
                if !matches!(ended.recv_timeout(SCRAPE_INTERVAL), Err(RecvTimeoutError::Timeout)) {
                    break;
                }
            }
            if let Ok(scrape) = read() {
                scrapes.add(scrape);
            }
            scrapes
        };
        let thread = thread::Builder::new().name("bench-metrics".to_owned()).spawn(observe)?;
        Ok(Some(Self { running, thread }))
    }

    /// Makes the last scrape, and returns the figures. `None` if the server gave none.
    pub(super) fn end(self) -> Option<Exposed> {
        drop(self.running);
        // If the thread has panicked, there are no figures, and the run keeps its own.
        self.thread.join().ok()?.figures()
    }
}
