//! The cost of a configuration: the memory and the files that a server takes for a number of sessions and
//! conversations, at rest and with every bound full at once. Pure: the limits of the machine are an argument.
//!
//! The public constants are measurements, and `tests/cost.rs` holds them near the program. All sums saturate.
//!
//! * `report`: the cost as text.

use super::{Config, OutboxPolicy};
use crate::event::{Token, Username};
use crate::limits::clients::FULL_PERCENT;
use crate::limits::machine::Machine;
use crate::logging::LINE_BYTES_MAX;

mod report;

/// Memory of a process without clients and workers. Most of it is the program itself, in a release build.
pub const PROCESS_BYTES: u64 = 10 << 20;

/// Memory of a worker thread: its stack, its buffers, its share of the allocator.
pub const WORKER_BYTES: u64 = 384 << 10;

/// Memory of a session that has joined, its WebSocket included.
pub const SESSION_BYTES: u64 = 3 << 10;

/// Memory of a session for its client that may come back, besides the events.
pub const RECOVERY_BYTES: u64 = 768;

/// Memory of an event that may not have arrived, besides its bytes, which all its readers share.
pub const KEPT_EVENT_BYTES: u64 = 64;

/// Memory of a session's membership of a conversation, on both sides.
pub const MEMBERSHIP_BYTES: u64 = 160;

/// Memory of a conversation without members.
pub const CONVERSATION_BYTES: u64 = 2048;

/// Memory of a conversation more, if other nodes hear of it.
pub const ATTACHED_BYTES: u64 = 640;

/// Memory of the kernel for a connection whose buffers are empty: 4.2 to 4.8 KiB on Linux 6.18.
const CONNECTION_BYTES: u64 = 5 << 10;

/// Memory of a message in an outbox besides its bytes.
pub const FRAME_BYTES: u64 = 96;

/// Memory of the folded news of a conversation, for one reader, besides the texts in it.
pub const FOLD_BYTES: u64 = 480;

/// Memory of a message in a mailbox besides the texts in it.
pub const MAIL_BYTES: u64 = 192;

/// Memory of a join under way besides the texts in it.
pub const JOIN_BYTES: u64 = 6144;

/// Memory of a text besides its bytes: counts, and the rounding of the allocator.
const TEXT_BYTES: u64 = 64;

/// Memory of an event that waits in a session, besides the texts in it.
pub const EVENT_BYTES: u64 = 160;

/// The conversations of a session at rest. With every bound full it is in as many as are allowed.
const CONVERSATIONS_AT_REST: u64 = 10;

/// Bytes that may be kept for each byte of a message: the buffer of a growing message is up to twice as large, and an
/// event that waits for attachments keeps its text and those that have come.
const COPIES_OF_INPUT: u64 = 4;

/// Bytes of an answer for each byte of an id: a letter of two bytes becomes six for clients that need ASCII.
const ESCAPED: u64 = 3;

/// The longest line of the log.
const LINE_BYTES: u64 = LINE_BYTES_MAX as u64 + TEXT_BYTES;

/// Files besides those counted apart: standard streams, the log, certificates while they are read, the resolver.
const OWN_FILES: u64 = 16;

/// Connections of operators that may be open at the same time.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;

/// Memory for the keys of announcements that are done once, and for their results.
pub const IDEMPOTENCY_BYTES_MAX: usize = 64 << 20;

/// Files of one thread with a runtime.
const FILES_PER_THREAD: u64 = 4;

/// Threads besides the workers: the registry, signals, two that accept, and the operators' worker.
const OTHER_THREADS: u64 = 5;

/// The size of a server, for which the cost is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Sessions, each by a WebSocket.
    pub sessions: u64,
    /// Conversations.
    pub conversations: u64,
}

/// How many conversations a session is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ConversationsOfASession {
    at_rest: u64,
    at_most: u64,
}

/// A part of the cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The part, and the setting that bounds it.
    what: &'static str,
    each: u64,
    times: u64,
}

/// The cost of a server of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    size: Size,
    each: ConversationsOfASession,
    machine: Machine,
    /// Memory of the process at rest.
    rest: Vec<Part>,
    /// Memory of the kernel at rest.
    kernel_rest: Vec<Part>,
    /// Memory of the process that is added when every bound is full.
    full: Vec<Part>,
    /// Memory of the kernel that is added when every bound is full.
    kernel_full: Vec<Part>,
    /// Open files.
    files: Vec<Part>,
    /// The memory from which on the server sheds load; `None` if it never does.
    shed_bytes: Option<u64>,
    /// The bound on connections in the configuration.
    connections_max: Option<u64>,
}

impl Part {
    const fn new(what: &'static str, each: u64, times: u64) -> Self {
        Self { what, each, times }
    }

    fn total(&self) -> u64 {
        self.each.saturating_mul(self.times)
    }
}

fn sum(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.total()))
}

impl Size {
    /// Returns the size that `config` allows on this machine: `limits.sessions_max`, or else a session for each
    /// connection; and as many conversations as sessions. The arguments come before both.
    pub fn of(config: &Config, machine: &Machine, sessions: Option<u64>, conversations: Option<u64>) -> Self {
        let allowed = match config.limits.sessions_max {
            0 => connections_max(config, machine).max(1),
            sessions => sessions as u64,
        };
        let sessions = sessions.unwrap_or(allowed);
        Self { sessions, conversations: conversations.unwrap_or(sessions) }
    }

    fn conversations_of_a_session(&self, config: &Config) -> ConversationsOfASession {
        let at_most = (config.max.conversations_max as u64).min(self.conversations);
        ConversationsOfASession { at_rest: at_most.min(CONVERSATIONS_AT_REST), at_most }
    }
}

impl Cost {
    /// Returns the cost of a server of this size.
    pub fn of(config: &Config, size: Size, machine: &Machine) -> Self {
        let Size { sessions, conversations } = size;
        let each = size.conversations_of_a_session(config);
        let rest = vec![
            Part::new("process", PROCESS_BYTES, 1),
            Part::new("worker thread", WORKER_BYTES, workers(config, machine)),
            Part::new("session, with its WebSocket", SESSION_BYTES, sessions),
            Part::new("recovery of a session", RECOVERY_BYTES, recoverable(config, sessions)),
            Part::new("membership of a conversation", MEMBERSHIP_BYTES, sessions.saturating_mul(each.at_rest)),
            Part::new("conversation", CONVERSATION_BYTES, conversations),
            Part::new("conversation on the bus", ATTACHED_BYTES, if servers(config) > 0 { conversations } else { 0 }),
        ];
        let limits = &config.limits;
        Self {
            size,
            each,
            machine: *machine,
            rest,
            kernel_rest: vec![Part::new("connection, in the kernel", CONNECTION_BYTES, sessions)],
            full: full(config, size, machine),
            kernel_full: kernel_full(config, size, machine),
            files: [reserved_files(config, workers(config, machine)), vec![Part::new("session", 1, sessions)]].concat(),
            shed_bytes: if limits.memory_bytes_max > 0 { Some(limits.memory_bytes_max) } else { machine.group_bytes },
            connections_max: (limits.connections_max > 0).then_some(limits.connections_max as u64),
        }
    }

    /// Returns the memory at rest.
    fn rest_bytes(&self) -> u64 {
        sum(&self.rest).saturating_add(sum(&self.kernel_rest))
    }

    /// Returns the memory of the process with every bound full.
    fn process_full_bytes(&self) -> u64 {
        sum(&self.rest).saturating_add(sum(&self.full))
    }

    /// Returns the memory of the kernel with every bound full. The buffers of all connections have a bound together.
    fn kernel_full_bytes(&self) -> u64 {
        let buffers = sum(&self.kernel_full).min(self.machine.tcp_bytes.unwrap_or(u64::MAX));
        sum(&self.kernel_rest).saturating_add(buffers)
    }

    /// Returns the memory with every bound full.
    fn full_bytes(&self) -> u64 {
        self.process_full_bytes().saturating_add(self.kernel_full_bytes())
    }

    /// Returns the number of sessions of this kind whose memory at rest fits.
    fn sessions_that_fit(&self, bytes: u64, at_rest: u64) -> u64 {
        let fixed = sum(&self.rest[..2]);
        let each = (at_rest.saturating_sub(fixed) / self.size.sessions.max(1)).max(1);
        bytes.saturating_sub(fixed) / each
    }
}

/// Returns the memory of the process that is added when every bound is full.
fn full(config: &Config, size: Size, machine: &Machine) -> Vec<Part> {
    let Size { sessions, conversations } = size;
    let each = size.conversations_of_a_session(config);
    let id = config.limits.id_bytes_max as u64 + TEXT_BYTES;
    let identity = (Username::BYTES_MAX + 2 * Token::BYTES_MAX) as u64 + 3 * TEXT_BYTES;
    let (outbox, mailbox, session, max) = (&config.outbox, &config.mailbox, &config.session, &config.max);
    let times = |count: usize, bytes: u64| (count as u64).saturating_mul(bytes);
    let folds = if outbox.policy == OutboxPolicy::Fold { sessions.saturating_mul(each.at_most) } else { 0 };
    // A mailbox is full only if sessions fill it.
    let sent = (session.talks_max as u64 + session.pending_max as u64).saturating_add(each.at_most);
    let mails = times(mailbox.conversation, conversations).min(sessions.saturating_mul(sent));
    let joins = (mailbox.registry as u64).min(sessions);
    let recoverable = recoverable(config, sessions);
    let kept = (config.recovery.sessions_max as u64).min(recoverable);
    let join = JOIN_BYTES + identity + each.at_most.saturating_mul(id);
    let connections = machine.files.unwrap_or(u64::MAX).min(match config.limits.connections_max {
        0 => u64::MAX,
        connections => connections as u64,
    });
    vec![
        Part::new("outbox.bytes_max", outbox.bytes_max as u64, sessions),
        Part::new("outbox.messages_max", times(outbox.messages_max, FRAME_BYTES), sessions),
        Part::new("recovery.events_max", times(config.recovery.events_max, KEPT_EVENT_BYTES), recoverable),
        Part::new("recovery.bytes_max", config.recovery.bytes_max as u64, recoverable),
        Part::new("recovery.sessions_max", kept_bytes(config, each, id), kept),
        Part::new("outbox.policy = \"fold\"", FOLD_BYTES + 2 * id, folds),
        Part::new("longest answer", longest_answer(config, size), sessions),
        Part::new("protocol.payload_bytes_max", times(config.protocol.payload_bytes_max, COPIES_OF_INPUT), sessions),
        Part::new("session.pending_max", times(session.pending_max, EVENT_BYTES + identity.max(3 * id)), sessions),
        Part::new("mailbox.session", times(mailbox.session, MAIL_BYTES), sessions),
        Part::new("max.conversations_max", MEMBERSHIP_BYTES, sessions.saturating_mul(each.at_most - each.at_rest)),
        Part::new("mailbox.conversation", MAIL_BYTES + 3 * id, mails),
        Part::new("mailbox.registry", join, joins),
        // Messages, and as much of letters.
        Part::new("cluster.queue_bytes_max", times(config.cluster.queue_bytes_max, 2), servers(config)),
        Part::new("max.body_bytes_max", times(max.body_bytes_max, 2), max.inflight_max as u64),
        Part::new("server.head_bytes_max", config.server.head_bytes_max as u64, connections),
        Part::new("Idempotency-Key (admin.listen)", IDEMPOTENCY_BYTES_MAX as u64, config.admin.listen.is_some().into()),
        Part::new("log.lines_max", LINE_BYTES, config.log.lines_max as u64),
    ]
}

/// Returns the number of servers of the bus.
fn servers(config: &Config) -> u64 {
    config.cluster.url.len() as u64
}

/// Returns how many of the sessions may be recovered.
fn recoverable(config: &Config, sessions: u64) -> u64 {
    if config.recovery.window_ms > 0 { sessions } else { 0 }
}

/// Returns the memory of a session that is kept for its client, with every bound full. The texts of an id take `id`
/// bytes.
fn kept_bytes(config: &Config, each: ConversationsOfASession, id: u64) -> u64 {
    let (outbox, recovery) = (&config.outbox, &config.recovery);
    let times = |count: usize, bytes: u64| (count as u64).saturating_mul(bytes);
    let folds = if outbox.policy == OutboxPolicy::Fold { each.at_most } else { 0 };
    let parts = [
        SESSION_BYTES + RECOVERY_BYTES,
        each.at_most.saturating_mul(MEMBERSHIP_BYTES),
        outbox.bytes_max as u64,
        times(outbox.messages_max, FRAME_BYTES),
        folds.saturating_mul(FOLD_BYTES + 2 * id),
        recovery.bytes_max as u64,
        times(recovery.events_max, KEPT_EVENT_BYTES),
    ];
    parts.into_iter().fold(0, u64::saturating_add)
}

/// Returns the size of the longest answer that a client can ask for: the list of its conversations, or that of the
/// people in one. An outbox takes one such answer beyond its bound.
fn longest_answer(config: &Config, size: Size) -> u64 {
    let people = match config.conversation.presence_members_max {
        0 => size.sessions,
        members => (members as u64).min(size.sessions),
    };
    let list = size.conversations_of_a_session(config).at_most.saturating_mul(config.limits.id_bytes_max as u64);
    list.max(people.saturating_mul(Username::BYTES_MAX as u64)).saturating_mul(ESCAPED)
}

/// Returns the memory of the kernel that is added when every bound is full.
fn kernel_full(config: &Config, size: Size, machine: &Machine) -> Vec<Part> {
    let send = match config.server.send_buffer_bytes {
        0 => machine.send_buffer_bytes,
        bytes => 2 * bytes as u64,
    };
    vec![
        Part::new("server.send_buffer_bytes, doubled", send, size.sessions),
        Part::new("receive buffer (net.ipv4.tcp_rmem)", machine.receive_buffer_bytes, size.sessions),
    ]
}

/// Returns the number of threads that serve clients.
fn workers(config: &Config, machine: &Machine) -> u64 {
    match config.server.workers {
        0 => machine.cores as u64,
        workers => workers as u64,
    }
}

/// Returns the open files of a server without clients.
fn reserved_files(config: &Config, workers: u64) -> Vec<Part> {
    vec![
        Part::new("process", OWN_FILES, 1),
        Part::new("thread", FILES_PER_THREAD, workers.saturating_add(OTHER_THREADS)),
        Part::new("connection of operators", 1, ADMIN_CONNECTIONS_MAX as u64),
        Part::new("call to MAX (max.inflight_max)", 1, config.max.inflight_max as u64),
    ]
}

/// Returns the number of open files that a server with this number of workers needs besides those of its clients.
pub fn files_reserved(config: &Config, workers: usize) -> u64 {
    sum(&reserved_files(config, workers as u64))
}

/// Returns the number of connections of clients that may be open at the same time.
fn connections_max(config: &Config, machine: &Machine) -> u64 {
    let left = machine.files.unwrap_or(u64::MAX).saturating_sub(sum(&reserved_files(config, workers(config, machine))));
    match config.limits.connections_max {
        0 => left,
        wanted => left.min(wanted as u64),
    }
}

#[cfg(test)]
mod tests;
