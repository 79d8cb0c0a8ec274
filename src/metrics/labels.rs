//! The labels of the metrics. Each label has a closed set of values, which never holds a user, conversation or session.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::event::{CloseReason, Code, EventName, ServerEventName};
use crate::limits::Limit;
use crate::protocol::handshake::RequestError;
use crate::protocol::{Generation, TransportKind};

/// Declares the values of a label.
macro_rules! label_values {
    ($(#[doc = $about:literal] $Name:ident { $(#[doc = $doc:literal] $Variant:ident = $text:literal,)+ })+) => {$(
        #[doc = $about]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Name {
            $(#[doc = $doc] $Variant,)+
        }

        impl $Name {
            /// All values of the label.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$Variant),+];

            /// The value of the label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $text),+ }
            }
        }
    )+};
}

label_values! {
    /// The classes of mailbox, each with the actors that it belongs to.
    ActorClass {
        /// One connected client.
        Session = "session",
        /// One conversation.
        Conversation = "conversation",
        /// The registry of conversations.
        Registry = "registry",
        /// The gate in front of MAX. It has no actor, but its queue is measured like a mailbox.
        Max = "max",
    }

    /// How an actor ended.
    ActorEnd {
        /// The actor ended as it should.
        Done = "done",
        /// The actor panicked.
        Panic = "panic",
    }

    /// Why a mailbox refused a message.
    MailboxRefusal {
        /// The mailbox was full.
        Full = "full",
        /// The actor was gone.
        Closed = "closed",
        /// The message had waited for too long. Only the gate in front of MAX gives up messages that it has taken.
        Late = "late",
    }

    /// How an event reaches the sessions of this process.
    DeliveryPath {
        /// An actor of this process has sent it.
        Local = "local",
        /// It tells what has come, or may be lost, from another node of the cluster.
        Bus = "bus",
        /// It tells what MAX has announced, or may have announced, in its RabbitMQ.
        Feed = "feed",
    }

    /// The listeners of a server.
    ListenerName {
        /// The listener for clients.
        Clients = "clients",
        /// The listener for operators.
        Operators = "operators",
    }

    /// What becomes of a client that comes back after its connection was lost.
    RecoveryResult {
        /// It goes on where it was.
        Recovered = "recovered",
        /// It goes on where it was on another node.
        Moved = "moved",
        /// Its session is over, or was never here.
        UnknownPid = "unknown_pid",
        /// Not all that it has missed is known.
        UnknownOffset = "unknown_offset",
        /// Its session, or the node of it, has not answered in time.
        Late = "late",
        /// This node has too much to do to take it over from another one.
        Busy = "busy",
    }

    /// The kinds of message that come from other nodes and servers.
    BusKind {
        /// Something new in a conversation.
        Update = "update",
        /// Somebody comes or goes, or a state.
        Presence = "presence",
        /// A message about a node.
        Node = "node",
        /// A message that this node has sent itself.
        Own = "own",
        /// A message that is no concern of this node.
        Ignored = "ignored",
    }

    /// The directions of the bus.
    BusDirection {
        /// From Redis to a conversation.
        In = "in",
        /// From a conversation to Redis.
        Out = "out",
    }

    /// Why a conversation may have missed something.
    BusGap {
        /// A number is missing in the order of another node.
        Hole = "hole",
        /// Its channel was not subscribed for a while.
        Resubscribed = "resubscribed",
        /// Another node has fallen silent.
        Silent = "silent",
        /// Another node does not answer.
        NoAnswer = "no_answer",
        /// Its mailbox was full, or too many updates for all conversations waited.
        Mailbox = "mailbox",
        /// Redis has given its channel to another server.
        Slot = "slot",
    }

    /// What becomes of an update of a back end on its way to the other nodes.
    RelayResult {
        /// Redis has published it.
        Relayed = "relayed",
        /// Redis is away. The update waits for it, unless the back end has required otherwise.
        BusDown = "bus_down",
        /// Too many messages wait for Redis.
        QueueFull = "queue_full",
        /// Redis has not published it in time. The update waits.
        Unconfirmed = "unconfirmed",
        /// A message with the same id was told already.
        ToldAlready = "told_already",
        /// Its conversation has failed.
        ConversationLost = "conversation_lost",
    }

    /// The kinds of message that MAX announces.
    FeedKind {
        /// A message was stored.
        Update = "update",
        /// A conversation was made.
        Creation = "creation",
        /// A user may have come into a conversation or have left it.
        Member = "member",
        /// A message that says nothing that members have to know.
        Ignored = "ignored",
    }

    /// Why something of the feed may have been missed.
    FeedGap {
        /// RabbitMQ was away.
        Outage = "outage",
        /// The queue was full.
        Queue = "queue",
        /// The mailbox of a conversation was full.
        Mailbox = "mailbox",
        /// The exchange of a conversation was bound after its members had come.
        Bound = "bound",
        /// Too many users waited for a refresh.
        Refresh = "refresh",
    }

    /// Actions against readers that are too slow.
    SlowAction {
        /// An event was folded.
        Folded = "folded",
        /// An event was left out.
        Dropped = "dropped",
        /// The connection was closed.
        Disconnected = "disconnected",
    }
}

/// The value of the label `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageName(pub(super) &'static str);

impl MessageName {
    /// The value as text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// The result of a join, a talk or an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OkOrCode(pub Result<(), Code>);

impl OkOrCode {
    /// The value of the label `result`: `ok`, or the code.
    pub fn as_str(self) -> &'static str {
        self.0.map_or_else(Code::as_str, |()| "ok")
    }
}

/// The result of a call to MAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaxResult {
    /// MAX has answered with this status.
    Status(u16),
    /// There was no answer, or none that could be read.
    Failed(Code),
    /// The call was given up, because nobody waited for it any more.
    GivenUp,
}

impl MaxResult {
    /// All results that differ in their label.
    pub fn all() -> impl Iterator<Item = Self> {
        let statuses = [100, 200, 300, 400, 500].map(Self::Status);
        statuses.into_iter().chain(Code::ALL.iter().map(|code| Self::Failed(*code))).chain([Self::GivenUp])
    }

    /// Returns the result with the first status of its class, so that statuses of one class share one row.
    pub(super) fn of_class(self) -> Self {
        match self {
            Self::Status(status) => Self::Status((status / 100).clamp(1, 5) * 100),
            other => other,
        }
    }

    /// The value of the label `result`: the class of the status, the code, or `given_up`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status(..200) => "1xx",
            Self::Status(..300) => "2xx",
            Self::Status(..400) => "3xx",
            Self::Status(..500) => "4xx",
            Self::Status(_) => "5xx",
            Self::Failed(code) => code.as_str(),
            Self::GivenUp => "given_up",
        }
    }
}

/// A thread that runs actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkerName {
    /// A worker of the listener for clients, counted from 0: one of `server.workers`.
    Clients(usize),
    /// The thread of the registry.
    Registry,
}

impl EncodeLabelValue for WorkerName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Clients(number) => number.encode(encoder),
            Self::Registry => "registry".encode(encoder),
        }
    }
}

/// The result of a handshake or of another request to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeResult {
    /// A session began.
    Ok,
    /// The server stops.
    Stopping,
    /// A bound on clients was reached.
    Limited,
    /// The session belongs to another node.
    OtherNode,
    /// The request was refused.
    Refused(RequestError),
}

impl HandshakeResult {
    /// The value of the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stopping => "stopping",
            Self::Limited => "limited",
            Self::OtherNode => "other_node",
            Self::Refused(RequestError::UnknownTransport) => "unknown_transport",
            Self::Refused(RequestError::UnknownSid) => "unknown_sid",
            Self::Refused(RequestError::BadMethod) => "bad_method",
            Self::Refused(RequestError::BadRequest) => "bad_request",
            Self::Refused(RequestError::Forbidden) => "forbidden",
            Self::Refused(RequestError::UnsupportedVersion) => "unsupported_version",
        }
    }
}

macro_rules! encode_as_str {
    ($($Value:ty),+ $(,)?) => {$(
        impl EncodeLabelValue for $Value {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    )+};
}

encode_as_str! {
    ActorClass, ActorEnd, BusDirection, BusGap, BusKind, CloseLabelReason, Code, DeliveryPath, EventName, FeedGap,
    FeedKind, Generation, HandshakeResult, Limit, ListenerName, MailboxRefusal, MaxResult, MessageName, OkOrCode,
    RecoveryResult, RelayResult, ServerEventName, SlowAction, TransportKind, WireReason,
}

/// The reason for which a session was closed, without its cause: reasons that differ only in the cause are one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseLabelReason(&'static str);

impl CloseLabelReason {
    fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<CloseReason> for CloseLabelReason {
    fn from(reason: CloseReason) -> Self {
        Self(reason.as_str())
    }
}

/// The reason for which a message from other nodes and servers, or of MAX, was refused, in the words of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireReason(pub &'static str);

impl WireReason {
    fn as_str(self) -> &'static str {
        self.0
    }
}

/// A value that a client has sent: one of a closed set, or `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrOther<T>(pub Option<T>);

impl<T: EncodeLabelValue> EncodeLabelValue for OrOther<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.encode(encoder),
            None => "other".encode(encoder),
        }
    }
}

/// A set of labels.
pub trait LabelNames {
    /// The names of the labels, in the order in which they are written.
    const NAMES: &'static [&'static str];
}

/// Declares the sets of labels that metrics have.
macro_rules! label_sets {
    ($(#[doc = $about:literal] $Name:ident { $($label:ident: $Value:ty),+ })+) => {$(
        #[doc = $about]
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $Name {
            $(#[doc = concat!("The label `", stringify!($label), "`.")] pub $label: $Value,)+
        }

        impl LabelNames for $Name {
            const NAMES: &'static [&'static str] = &[$(stringify!($label)),+];
        }
    )+};
}

label_sets! {
    /// The label of a metric that has a row for each class of actor.
    ActorLabel { actor: ActorClass }
    /// The labels of a stopped actor.
    StopLabel { actor: ActorClass, reason: ActorEnd }
    /// The labels of a kind of message.
    MessageLabel { actor: ActorClass, message: MessageName }
    /// The labels of a message that a mailbox refused.
    RejectLabel { actor: ActorClass, message: MessageName, reason: MailboxRefusal }
    /// The labels of a session.
    SessionLabel { transport: TransportKind, protocol: Generation }
    /// The labels of a closed session; `transport` is the one that it used last.
    CloseLabel { transport: TransportKind, protocol: Generation, reason: CloseLabelReason }
    /// The labels of an event that was refused; `event` is `other` if the protocol has no such event.
    RefusalLabel { event: OrOther<EventName>, code: Code }
    /// The labels of a handshake; `protocol` is `other` unless the request names a generation that is served.
    HandshakeLabel { protocol: OrOther<Generation>, result: HandshakeResult }
    /// The label of a join, a talk or an announcement.
    ResultLabel { result: OkOrCode }
    /// The labels of an answer over HTTP; `status` is one of the few statuses with which maxtalk answers.
    StatusLabel { listener: ListenerName, status: u16 }
    /// The label of a listener.
    ListenerLabel { listener: ListenerName }
    /// The label of a bound on clients.
    LimitLabel { limit: Limit }
    /// The labels of an event for clients.
    EventLabel { event: ServerEventName, path: DeliveryPath }
    /// The label of a write to a client.
    TransportLabel { transport: TransportKind }
    /// The label of a call to MAX.
    MaxLabel { result: MaxResult }
    /// The label of a thread that runs actors.
    WorkerLabel { worker: WorkerName }
    /// The label of a client that comes back.
    RecoveryLabel { result: RecoveryResult }
    /// The label of an update of a back end for other nodes.
    RelayLabel { result: RelayResult }
    /// The label of a Redis: its place in `cluster.url`, from 0.
    ShardLabel { shard: usize }
    /// The label of a message that came over the bus.
    BusKindLabel { kind: BusKind }
    /// The label of a message over the bus that was refused.
    BusReasonLabel { reason: WireReason }
    /// The label of a message that was lost between a conversation and the bus.
    BusDirectionLabel { direction: BusDirection }
    /// The label of a gap.
    BusGapLabel { cause: BusGap }
    /// The label of a feed: the release of MAX that it hears.
    FeedLabel { layout: &'static str }
    /// The label of a message of the feed.
    FeedKindLabel { kind: FeedKind }
    /// The label of a message of the feed that was refused.
    FeedReasonLabel { reason: WireReason }
    /// The label of a gap in the feed.
    FeedGapLabel { cause: FeedGap }
    /// The label of an action against a slow reader.
    ActionLabel { action: SlowAction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_each_reason_for_which_an_update_is_not_relayed() {
        let page = include_str!("../docs/cluster.md");
        let rows = page.lines().skip_while(|line| *line != "| reason | means |").skip(2);
        let reasons: Vec<_> = rows.map_while(|row| row.strip_prefix("| `")?.split('`').next()).collect();
        let failures = RelayResult::ALL.into_iter().filter(|result| *result != RelayResult::Relayed);
        assert_eq!(reasons, failures.map(RelayResult::as_str).collect::<Vec<_>>());
    }
}
