//! The limits that an operator may turn while the server runs, in the parts that keep them.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::conversation::ConversationSettings;
use crate::admin::state::Boards;
use crate::config::{Config, LiveConfig};
use crate::delivery::limits::OutboxLimits;
use crate::directory::max::Gate;
use crate::limits::live::LiveLimit;
use crate::metrics::{ActorClass, Metrics};

/// The parts of a server that keep live limits.
pub(super) struct LiveParts {
    /// The metrics, which have the limits of the mailboxes.
    metrics: Arc<Metrics>,
    gate: Arc<Gate>,
    pub(super) outbox: Arc<OutboxLimits>,
    pub(super) conversations: Arc<ConversationSettings>,
    /// The limit `session.pending_max`.
    pub(super) pending_max: Arc<LiveLimit>,
}

impl LiveParts {
    /// Creates the parts with the limits of a configuration.
    pub(super) fn new(config: &Config, boards: &Boards, gate: Arc<Gate>, metrics: Arc<Metrics>) -> Self {
        Self {
            gate,
            outbox: Arc::new(OutboxLimits::new(&config.outbox)),
            conversations: Arc::new(conversations(config, boards, &metrics)),
            pending_max: Arc::new(config.session.pending_max.into()),
            metrics,
        }
    }

    /// Returns the configuration, whose changes turn the limits of these parts.
    pub(super) fn hold(self, config: &Config) -> LiveConfig {
        LiveConfig::new(config.clone(), move |config| self.turn(config))
    }

    fn turn(&self, config: &Config) {
        for (class, limit) in mailbox_limits(config) {
            self.metrics.mailbox(class).limit.set(limit);
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
fn conversations(config: &Config, boards: &Boards, metrics: &Arc<Metrics>) -> ConversationSettings {
    ConversationSettings {
        namespace: config.protocol.namespace.as_str().into(),
        presence_members_max: config.conversation.presence_members_max.into(),
        burst_max: config.conversation.burst_max.into(),
        linger: Duration::from_millis(config.conversation.linger_ms),
        board: boards.conversations.clone(),
        metrics: metrics.clone(),
    }
}
