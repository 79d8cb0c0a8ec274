//! The limits that an operator may turn while the server runs, in the parts that keep them.

use std::sync::Arc;
use std::time::Duration;

use super::{cluster, files};
use crate::actors::conversation::ConversationSettings;
use crate::admin::state::{Boards, Facts};
use crate::cluster::bus::Bus;
use crate::config::{Config, Parts, Problem};
use crate::delivery::limits::OutboxLimits;
use crate::directory::max::Gate;
use crate::feed::service::Feed;
use crate::limits::live::LiveLimit;
use crate::metrics::{ActorClass, Metrics};

/// The parts of a server that keep live limits.
pub(super) struct LiveParts {
    gate: Arc<Gate>,
    pub(super) outbox: Arc<OutboxLimits>,
    pub(super) conversations: Arc<ConversationSettings>,
    /// The limit `session.pending_max`.
    pub(super) pending_max: Arc<LiveLimit>,
    workers: usize,
    files_max: u64,
}

impl LiveParts {
    /// Creates the parts with the limits of a configuration. `sources` bring news from outside, if they are set.
    pub(super) fn new(
        config: &Config,
        boards: &Boards,
        facts: &Facts,
        gate: Arc<Gate>,
        metrics: &Arc<Metrics>,
        sources: (Option<&Arc<Bus>>, Option<&Arc<Feed>>),
    ) -> Self {
        Self {
            gate,
            outbox: Arc::new(OutboxLimits::new(&config.outbox)),
            conversations: Arc::new(conversations(config, boards, metrics, sources)),
            pending_max: Arc::new(config.session.pending_max.into()),
            workers: facts.workers,
            files_max: facts.files_max,
        }
    }
}

impl Parts for LiveParts {
    fn object_to(&self, config: &Config) -> Option<Problem> {
        let needed = files::needed(config, self.workers);
        (needed > self.files_max).then(|| Problem::Combination {
            settings: vec![config.describe("max.inflight_max")],
            why: format!("the server would need {needed} open files, but may open {}", self.files_max),
        })
    }

    fn turn(&self, config: &Config) {
        for (class, limit) in mailbox_limits(config) {
            self.conversations.metrics.mailbox(class).limit.set(limit);
        }
        self.gate.set_inflight_max(config.max.inflight_max);
        self.outbox.set(&config.outbox);
        self.conversations.presence_members_max.set(config.conversation.presence_members_max);
        self.conversations.burst_max.set(config.conversation.burst_max);
        self.pending_max.set(config.session.pending_max);
    }
}

/// Returns the limits of the mailboxes, and that of the joins that wait for MAX.
pub(super) fn mailbox_limits(config: &Config) -> [(ActorClass, usize); 4] {
    [
        (ActorClass::Session, config.mailbox.session),
        (ActorClass::Conversation, config.mailbox.conversation),
        (ActorClass::Registry, config.mailbox.registry),
        (ActorClass::Max, config.max.waiting_max),
    ]
}

/// Returns the settings of all conversations.
fn conversations(
    config: &Config,
    boards: &Boards,
    metrics: &Arc<Metrics>,
    (bus, feed): (Option<&Arc<Bus>>, Option<&Arc<Feed>>),
) -> ConversationSettings {
    ConversationSettings {
        namespace: config.protocol.namespace.as_str().into(),
        presence_members_max: config.conversation.presence_members_max.into(),
        burst_max: config.conversation.burst_max.into(),
        linger: Duration::from_millis(config.conversation.linger_ms),
        cluster: cluster::settings(config, bus),
        feed: feed.map(|feed| feed.clone() as _),
        board: boards.conversations.clone(),
        metrics: metrics.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::sessions::SessionBoard;
    use crate::config::{LIVE, LiveConfig, OutboxPolicy};
    use crate::metrics::ReadAtScrape;
    use serde_json::json;
    use std::time::{Instant, SystemTime};

    fn parts(config: &Config, files_max: u64) -> LiveParts {
        let now = Instant::now();
        let boards =
            Boards { sessions: SessionBoard::new(now), conversations: crate::actors::conversation::Board::new(now) };
        let facts = Facts { began: (now, SystemTime::now()), workers: 2, files_max, connections_max: 10 };
        let metrics = Metrics::new(&mailbox_limits(config), ReadAtScrape::default());
        LiveParts::new(config, &boards, &facts, Arc::new(Gate::new(&config.max, &metrics)), &metrics, (None, None))
    }

    #[test]
    fn each_live_setting_reaches_its_part() {
        let config = Config::default();
        let parts = Arc::new(parts(&config, 10_000));
        let live = LiveConfig::new(config, parts.clone());
        let outbox = &parts.outbox;
        let mailbox = |class| parts.conversations.metrics.mailbox(class).limit.get();
        for key in LIVE {
            let value = match key {
                "outbox.policy" => json!("drop"),
                "outbox.messages_max" => json!(9000),
                "outbox.bytes_max" => json!(70_000),
                _ => json!(3),
            };
            live.change(&[(key.to_owned(), value)].into(), &"a test").unwrap();
            let is_there = match key {
                "mailbox.registry" => mailbox(ActorClass::Registry) == 3,
                "mailbox.conversation" => mailbox(ActorClass::Conversation) == 3,
                "mailbox.session" => mailbox(ActorClass::Session) == 3,
                "max.waiting_max" => mailbox(ActorClass::Max) == 3,
                "max.inflight_max" => parts.conversations.metrics.max_inflight_limit.get() == 3,
                "outbox.messages_max" => outbox.messages_max.get() == 9000,
                "outbox.bytes_max" => outbox.bytes_max.get() == 70_000,
                "outbox.policy" => outbox.policy() == OutboxPolicy::Drop,
                "outbox.grace_ms" => outbox.grace() == Duration::from_millis(3),
                "session.pending_max" => parts.pending_max.get() == 3,
                "conversation.burst_max" => parts.conversations.burst_max.get() == 3,
                "conversation.presence_members_max" => parts.conversations.presence_members_max.get() == 3,
                _ => false,
            };
            assert!(is_there, "{key}");
        }
    }

    #[test]
    fn more_calls_than_files_are_refused() {
        let live = LiveConfig::new(Config::default(), parts(&Config::default(), 200));
        let refused = live.change(&[("max.inflight_max".to_owned(), json!(1000))].into(), &"a test").unwrap_err();
        assert!(refused.to_string().contains("but may open 200"), "{refused}");
    }
}
