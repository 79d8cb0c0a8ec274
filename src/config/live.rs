//! The settings that an operator may change while the server runs.

/// The settings that may be changed while the server runs.
pub const LIVE: [&str; 12] = [
    "mailbox.registry",
    "mailbox.conversation",
    "mailbox.session",
    "max.inflight_max",
    "max.waiting_max",
    "outbox.messages_max",
    "outbox.bytes_max",
    "outbox.policy",
    "outbox.grace_ms",
    "session.pending_max",
    "conversation.burst_max",
    "conversation.presence_members_max",
];
