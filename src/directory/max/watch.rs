//! The watch on MAX: the log says at the start whether it answers, and later when it answers again.

use std::cell::RefCell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::outage::{End, Outages, Over};
use super::probe::Probe;
use crate::directory::{Answer, Failure};
use crate::event::Code;

/// The waits before the second, the third and the fourth question at the start. All later waits are as the last one.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10), Duration::from_secs(30)];

/// What one thread knows of whether MAX answers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    outages: RefCell<Outages>,
    /// Told of the first answer after a failure.
    answered: Notify,
}

/// Whether this failure means that MAX does not answer. Others are bad answers, or are about the user.
pub(super) fn is_silence(failure: &Failure) -> bool {
    matches!(failure.code, Code::MaxTimeout | Code::MaxUnavailable)
}

impl Watch {
    /// Notes the outcome of a question. `silent` is the number of its calls that MAX did not answer.
    pub(super) fn note(&self, outcome: &Result<Answer, Failure>, silent: usize) {
        match outcome {
            Err(failure) if is_silence(failure) => self.failed(silent),
            // A bad answer is none of MAX, or none that a join can use.
            Err(Failure { code: Code::MaxError | Code::MaxGarbage | Code::MaxTooLarge, .. }) => {}
            Ok(_) | Err(_) => self.answered(),
        }
    }

    fn failed(&self, calls: usize) {
        self.outages.borrow_mut().failed(calls, Instant::now().into_std());
    }

    fn answered(&self) {
        if self.outages.borrow_mut().answered(Instant::now().into_std()) {
            self.answered.notify_one();
        }
    }

    /// Asks by `probe` until MAX answers, or a join is answered. Logs the first result and the last one.
    pub(super) async fn start(&self, url: &str, probe: impl AsyncFn() -> Probe) {
        let first = probe().await;
        first.log();
        if first.answers() {
            return;
        }
        self.failed(1);
        let mut waits = WAITS.into_iter();
        let mut wait = Duration::ZERO;
        loop {
            wait = waits.next().unwrap_or(wait);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.answered.notified() => {}
            }
            let probe = probe().await;
            if probe.answers() {
                self.answered();
            } else if !self.outages.borrow().is_answered() {
                self.failed(1);
            }
            let Some(over) = self.outages.borrow_mut().take() else { continue };
            // Joins may work although MAX does not answer the probe as it should.
            return if probe.answers() { probe.after(over).log() } else { say_again(url, over) };
        }
    }

    /// Logs the end of each outage.
    pub(super) async fn run(&self, url: &str) {
        loop {
            say_again(url, self.over().await);
        }
    }

    /// Waits until an outage is over.
    async fn over(&self) -> Over {
        loop {
            let end = self.outages.borrow_mut().end(Instant::now().into_std());
            match end {
                End::Over(over) => return over,
                End::In(wait) => sleep(wait).await,
                End::Open => self.answered.notified().await,
            }
        }
    }
}

fn say_again(url: &str, over: Over) {
    log::info!("MAX answers again at {url}, {over}");
}
