//! Tries a RabbitMQ out as the feed uses it, for an operator: which step works, and which right is missing.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use super::session::{Session, Step};
use super::settings::Settings;

/// The longest time of all steps together.
const CHECK_MAX: Duration = Duration::from_secs(15);

/// The check of a RabbitMQ.
#[derive(Debug)]
pub struct Checked {
    /// The steps in their order. A step that needs a failed one is left out.
    steps: Vec<(String, Step)>,
    url: String,
}

impl Checked {
    /// Whether the feed works with this server.
    pub fn is_well(&self) -> bool {
        !self.steps.iter().any(|(_, step)| matches!(step, Step::Failed(_)))
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "RabbitMQ at {}:", self.url)?;
        for (name, step) in &self.steps {
            match step {
                Step::Done => writeln!(f, "  ok      {name}")?,
                Step::Absent(fault) => writeln!(f, "  none    {name}: {fault}; memberships are not kept by the feed")?,
                Step::Failed(fault) => writeln!(f, "  failed  {name}: {fault}")?,
            }
        }
        Ok(())
    }
}

/// Does what the feed does at each connect. Messages that come meanwhile are dropped.
pub async fn check(settings: &Settings) -> Checked {
    let mut steps = Vec::new();
    let opened = timeout(CHECK_MAX, Session::open(settings, &mut |name, step| steps.push((name, step)))).await;
    let fault = match opened {
        Ok(Ok(_)) => None,
        Ok(Err(fault)) => Some(fault),
        Err(_) => Some("no answer within 15 s: is the address right, and does no firewall drop it?".into()),
    };
    // A connection may break between two steps.
    let is_said = steps.iter().any(|(_, step)| matches!(step, Step::Failed(_)));
    if let Some(fault) = fault.filter(|_| !is_said) {
        steps.push(("connect and listen".to_owned(), Step::Failed(fault)));
    }
    Checked { steps, url: settings.url.shown() }
}
