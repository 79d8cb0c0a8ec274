//! The figures of a run that the server exposes in its metrics: its mailboxes, its outboxes, and slow readers. Pure:
//! the scrapes come as arguments.

use super::exposition::Exposition;
use super::outcome::{Exposed, MailboxFigures};

/// The label of the class of actor.
const ACTOR: &str = "actor";
/// The largest number of messages in one mailbox, for each class.
const PEAK: &str = "maxtalk_mailbox_peak_messages";
/// Time from being put into a mailbox to being handled.
const WAIT: &str = "maxtalk_mailbox_wait_seconds";
/// Messages offered to mailboxes.
const OFFERED: &str = "maxtalk_mailbox_enqueued_total";
/// Messages that a mailbox refused.
const REJECTED: &str = "maxtalk_mailbox_rejected_total";
/// Messages that wait in all outboxes.
const OUTBOX_MESSAGES: &str = "maxtalk_session_queue_messages";
/// Bytes that wait in all outboxes.
const OUTBOX_BYTES: &str = "maxtalk_session_queue_bytes";
/// Messages that wait in mailboxes. Those of the class `max` are joins that wait for their call to MAX.
const WAITING: &str = "maxtalk_mailbox_messages";
/// Actions against slow readers.
const SLOW: &str = "maxtalk_slow_actions_total";

/// The scrapes of one server, or of all nodes together, which were started for the run. The first one is made when all
/// have joined, the last when the last talk has been received.
#[derive(Clone, Debug, Default)]
pub struct Scrapes {
    first: Option<Exposition>,
    last: Exposition,
    peaks: Vec<(String, u64)>,
    outbox_messages: u64,
    outbox_bytes: u64,
    max_waiting: u64,
}

impl Scrapes {
    /// Adds a scrape.
    pub fn add(&mut self, scrape: Exposition) {
        for actor in scrape.labels(PEAK, ACTOR) {
            let peak = whole(scrape.max(PEAK, (ACTOR, actor)));
            match self.peaks.iter_mut().find(|(known, _)| known == actor) {
                Some((_, highest)) => *highest = peak.max(*highest),
                None => self.peaks.push((actor.to_owned(), peak)),
            }
        }
        self.outbox_messages = self.outbox_messages.max(whole(scrape.total(OUTBOX_MESSAGES)));
        self.outbox_bytes = self.outbox_bytes.max(whole(scrape.total(OUTBOX_BYTES)));
        self.max_waiting = self.max_waiting.max(whole(scrape.sum(WAITING, (ACTOR, "max"))));
        self.first.get_or_insert_with(|| scrape.clone());
        self.last = scrape;
    }

    /// Returns the figures. `None` if no scrape came.
    pub fn figures(&self) -> Option<Exposed> {
        let first = self.first.as_ref()?;
        let mailbox = |(actor, peak): &(String, u64)| {
            let label = (ACTOR, actor.as_str());
            let all = self.last.histogram(WAIT, label);
            // Messages that came only with the joins, such as those of the registry, count from the start.
            let later = all.since(&first.histogram(WAIT, label));
            let waits = if later.count() > 0.0 { later } else { all };
            let wait_us = |share| waits.quantile(share).map(|seconds| (seconds * 1e6).round() as u64);
            MailboxFigures {
                actor: actor.clone(),
                peak: *peak,
                offered: whole(self.last.sum(OFFERED, label)),
                rejected: whole(self.last.sum(REJECTED, label)),
                wait_p50: wait_us(0.5),
                wait_p99: wait_us(0.99),
            }
        };
        let slow = self.last.labels(SLOW, "action").into_iter();
        Some(Exposed {
            mailboxes: self.peaks.iter().map(mailbox).collect(),
            outbox_messages: self.outbox_messages,
            outbox_bytes: self.outbox_bytes,
            max_waiting: self.max_waiting,
            slow_actions: slow
                .map(|action| (action.to_owned(), whole(self.last.sum(SLOW, ("action", action)))))
                .collect(),
        })
    }
}

/// Returns a number of things. A metric that is not there counts as 0.
fn whole(value: Option<f64>) -> u64 {
    // The cast saturates.
    value.unwrap_or(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a scrape with these peaks of conversations, waits of a conversation below 1 ms and below 1 s, and
    /// messages in outboxes.
    fn scrape(peaks: [u64; 2], waits: [u64; 2], outbox: u64) -> Exposition {
        let [one, other] = peaks;
        let [short, all] = waits;
        Exposition::parse(&format!(
            r#"
maxtalk_mailbox_peak_messages{{actor="conversation",worker="0"}} {one}
maxtalk_mailbox_peak_messages{{actor="conversation",worker="1"}} {other}
maxtalk_mailbox_peak_messages{{actor="registry"}} 40
maxtalk_mailbox_enqueued_total{{actor="conversation",message="talk"}} {all}
maxtalk_mailbox_rejected_total{{actor="conversation",message="talk",reason="full"}} 3
maxtalk_mailbox_rejected_total{{actor="conversation",message="talk",reason="closed"}} 1
maxtalk_mailbox_wait_seconds_bucket{{actor="conversation",le="0.001"}} {short}
maxtalk_mailbox_wait_seconds_bucket{{actor="conversation",le="1"}} {all}
maxtalk_mailbox_wait_seconds_bucket{{actor="conversation",le="+Inf"}} {all}
maxtalk_mailbox_wait_seconds_bucket{{actor="registry",le="0.001"}} 12
maxtalk_mailbox_wait_seconds_bucket{{actor="registry",le="+Inf"}} 12
maxtalk_session_queue_messages {outbox}
maxtalk_session_queue_bytes {}
maxtalk_mailbox_messages{{actor="conversation"}} 70
maxtalk_mailbox_messages{{actor="max"}} 6
maxtalk_slow_actions_total{{action="disconnected"}} 2
"#,
            outbox * 150
        ))
    }

    #[test]
    fn the_figures_are_those_of_the_talks_and_the_peaks_those_of_the_whole_run() {
        let mut scrapes = Scrapes::default();
        assert_eq!(scrapes.figures(), None);
        scrapes.add(scrape([90, 5], [1000, 1000], 0));
        scrapes.add(scrape([3, 7], [1050, 1100], 800));
        scrapes.add(scrape([2, 2], [1050, 1100], 10));
        let conversation = MailboxFigures {
            actor: "conversation".to_owned(),
            peak: 90,
            offered: 1100,
            rejected: 4,
            wait_p50: Some(1_000),
            wait_p99: Some(980_020),
        };
        let registry = MailboxFigures {
            actor: "registry".to_owned(),
            peak: 40,
            offered: 0,
            rejected: 0,
            wait_p50: Some(500),
            wait_p99: Some(990),
        };
        let expected = Exposed {
            mailboxes: vec![conversation, registry],
            outbox_messages: 800,
            outbox_bytes: 120_000,
            max_waiting: 6,
            slow_actions: vec![("disconnected".to_owned(), 2)],
        };
        assert_eq!(scrapes.figures(), Some(expected));
    }
}
