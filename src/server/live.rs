//! The limits that an operator may turn while the server runs, in the parts that keep them.

use std::sync::Arc;

use super::settings;
use crate::actors::conversation::ConversationSettings;
use crate::admin::state::Boards;
use crate::config::Config;
use crate::delivery::limits::OutboxLimits;
use crate::limits::live::LiveLimit;
use crate::metrics::Metrics;

/// The parts of a server that keep live limits.
pub(super) struct LiveParts {
    pub(super) outbox: Arc<OutboxLimits>,
    pub(super) conversations: Arc<ConversationSettings>,
    /// The limit `session.pending_max`.
    pub(super) pending_max: Arc<LiveLimit>,
}

impl LiveParts {
    /// Creates the parts with the limits of a configuration.
    pub(super) fn new(config: &Config, boards: &Boards, metrics: &Arc<Metrics>) -> Self {
        Self {
            outbox: Arc::new(OutboxLimits::new(&config.outbox)),
            conversations: Arc::new(settings::conversations(config, boards, metrics)),
            pending_max: Arc::new(config.session.pending_max.into()),
        }
    }
}
