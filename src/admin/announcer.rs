//! The way of announcements to their conversations, through the mailbox of each, as talks go, and by the bus for those
//! that do not live here. A request under an `Idempotency-Key` goes it once.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::{self, timeout, timeout_at};

use super::error::ApiError;
use super::idempotency::{Begun, Keys};
use super::model::announce::{Given, UpdateOf};
use super::model::{Fault, FaultCode};
use crate::actors::announcement::{Announcement, Done, Receipt, Receipts, Relay, Source};
use crate::actors::conversation::{Board, ConversationMessage};
use crate::cluster::message::{Content, Message, Stamp};
use crate::cluster::port::Port;
use crate::config::cost::IDEMPOTENCY_BYTES_MAX;
use crate::event::{Code, ConversationId, EXCEPT_MAX, SOCKET_ID_BYTES_MAX, Scalar, Talk, Username};
use crate::mailbox::SendError;
use crate::metrics::{Metrics, OkOrCode, RelayLabel, RelayResult, ResultLabel};

/// How long conversations may take to send the updates of a request. It is far less than a key is kept.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long Redis may take to publish the updates of a request. Those that it has not published wait on.
const RELAY_TIMEOUT: Duration = Duration::from_secs(1);

/// Gives the announcements of back ends to their conversations.
#[derive(Debug)]
pub struct Announcer {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    id_bytes_max: usize,
    /// The way to the other nodes. `None` if this process is alone.
    port: Option<Arc<dyn Port>>,
    keys: Mutex<Keys<Sent>>,
    hasher: RandomState,
}

/// The parts of a request that tell it from others.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Request<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its body.
    pub text: &'a [u8],
    /// Whether updates are refused that cannot be relayed to the other nodes.
    pub relay_required: bool,
}

/// The outcome of one announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was given to the members on this node.
    Given {
        /// The sessions that have it.
        sessions: u32,
        /// Its way to the other nodes.
        relay: Relayed,
    },
    /// It was given to nobody, because it cannot be relayed and that is required.
    NotRelayed(RelayResult),
    /// It has a value that a talk could not have.
    Invalid(Invalid),
    /// The mailbox of the conversation is full.
    Busy,
    /// The conversation has it, but did not send it in time.
    Late,
}

/// The way of an announcement to the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// This process is alone.
    Alone,
    /// There are others.
    Ended {
        /// How it ended.
        result: RelayResult,
        /// The servers that have heard it. 0 if that is not known.
        receivers: u16,
    },
}

/// A value of an announcement that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The id of the conversation.
    Conversation,
    /// The username.
    Username,
    /// A timestamp or a messageID.
    Plain,
    /// The sockets that are left out.
    Except,
}

/// An update that was checked.
struct Checked {
    username: Username,
    talk: Talk,
    except: Vec<Box<str>>,
    except_self: bool,
}

impl Announcer {
    /// Creates an announcer to the conversations of a server. The id of a conversation, a timestamp or a messageID has
    /// at most `id_bytes_max` bytes. Without a `port` there are no other nodes.
    pub fn new(
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        id_bytes_max: usize,
        port: Option<Arc<dyn Port>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            board,
            metrics,
            id_bytes_max,
            port,
            keys: Mutex::new(Keys::new(IDEMPOTENCY_BYTES_MAX)),
            hasher: RandomState::new(),
        })
    }

    /// Sends updates, unless the same request was made before under the same key. The updates are sent even if the
    /// client of the request goes in the meantime.
    ///
    /// # Errors
    /// The same request is under way under this key, another one was made under it, or there are too many keys.
    pub async fn send_once(
        self: &Arc<Self>,
        key: Option<String>,
        request: Request<'_>,
        updates: Vec<UpdateOf>,
    ) -> Result<Arc<[Sent]>, ApiError> {
        if let Some(key) = &key {
            let fingerprint = self.hasher.hash_one(request);
            match self.keys.lock().begin(key, fingerprint, Instant::now()) {
                Begun::First => {}
                Begun::Done(sent) => return Ok(sent),
                Begun::UnderWay => {
                    return Err(ApiError::new(FaultCode::Conflict, "the same request is under way under this key"));
                }
                Begun::Other => {
                    return Err(ApiError::new(FaultCode::Invalid, "another request was made under this key"));
                }
                Begun::Full => return Err(ApiError::busy("there are too many keys: send without one, or later")),
            }
        }
        let announcer = self.clone();
        let relay_required = request.relay_required;
        let sending = actix_rt::spawn(async move {
            let sent: Arc<[Sent]> = announcer.send(updates, relay_required).await.into();
            if let Some(key) = key {
                let mut keys = announcer.keys.lock();
                if sent.iter().any(|sent| matches!(sent, Sent::Given { .. } | Sent::Late)) {
                    keys.finish(&key, sent.clone());
                } else {
                    keys.forget(&key);
                }
            }
            sent
        });
        sending.await.map_err(|_| ApiError::busy("the server stops"))
    }

    /// Sends updates, and waits until their conversations have sent them on, and then for Redis.
    async fn send(&self, updates: Vec<UpdateOf>, relay_required: bool) -> Vec<Sent> {
        let (receipts, each, all) = Receipts::new(updates.len());
        let offers = updates.into_iter().zip(each).map(|(update, receipt)| {
            let checked = self.check(update).map_err(Sent::Invalid);
            let offered = checked.and_then(|update| self.offer(update, relay_required, receipt));
            let result = OkOrCode(offered.as_ref().map(drop).map_err(|refused| refused.code()));
            self.metrics.announcements.get_or_create(&ResultLabel { result }).inc();
            offered
        });
        let offered: Vec<_> = offers.collect();
        let _ = timeout(ANSWER_TIMEOUT, all).await;
        let until = time::Instant::now() + RELAY_TIMEOUT;
        let mut all = Vec::with_capacity(offered.len());
        for (at, offered) in offered.into_iter().enumerate() {
            let sent = match offered {
                Ok(id) => match receipts.take(at) {
                    Some(done) => self.relayed(done, &id, relay_required, until).await,
                    None => Sent::Late,
                },
                Err(refused) => refused,
            };
            if let Sent::Given { relay: Relayed::Ended { result, .. }, .. } | Sent::NotRelayed(result) = sent {
                self.metrics.announcement_relays.get_or_create(&RelayLabel { result }).inc();
            }
            all.push(sent);
        }
        all
    }

    /// Waits until `until` at most for the end of an announcement's way to the other nodes.
    async fn relayed(&self, done: Done, id: &ConversationId, is_required: bool, until: time::Instant) -> Sent {
        let Done { sessions, relay } = done;
        let ended = |result| Sent::Given { sessions, relay: Relayed::Ended { result, receivers: 0 } };
        let heard = match (relay, &self.port) {
            (Relay::Queued(heard), Some(port)) => self.count(heard, &**port, id, until).await,
            (Relay::Alone | Relay::Queued(_), _) | (_, None) => {
                return Sent::Given { sessions, relay: Relayed::Alone };
            }
            (Relay::Full, _) if is_required => return Sent::NotRelayed(RelayResult::QueueFull),
            (Relay::Full, _) => Err(RelayResult::QueueFull),
            (Relay::ToldAlready, _) => Err(RelayResult::ToldAlready),
            (Relay::Lost, _) => Err(RelayResult::ConversationLost),
        };
        match heard {
            Ok(receivers) => {
                Sent::Given { sessions, relay: Relayed::Ended { result: RelayResult::Relayed, receivers } }
            }
            Err(result) => ended(result),
        }
    }

    /// Waits for the number of servers that have heard an announcement. There is no wait for a Redis that is away.
    async fn count(
        &self,
        heard: oneshot::Receiver<u64>,
        port: &dyn Port,
        id: &ConversationId,
        until: time::Instant,
    ) -> Result<u16, RelayResult> {
        let until = if port.is_up(id) { until } else { time::Instant::now() };
        match timeout_at(until, heard).await {
            Ok(Ok(count)) => Ok(u16::try_from(count).unwrap_or(u16::MAX)),
            Err(_) if port.is_up(id) => Err(RelayResult::Unconfirmed),
            Ok(Err(_)) | Err(_) => Err(RelayResult::BusDown),
        }
    }

    /// Checks the values of an update, as those of a talk are checked.
    fn check(&self, update: UpdateOf) -> Result<Checked, Invalid> {
        let UpdateOf { conversation, username, timestamp, message_id, except, except_self } = update;
        if !(1..=self.id_bytes_max).contains(&conversation.len()) {
            return Err(Invalid::Conversation);
        }
        let username = Username::parse(&username).map_err(|_| Invalid::Username)?;
        let plain = |json: Option<Box<RawValue>>| {
            json.map(|json| Scalar::parse(&json, self.id_bytes_max)).transpose().map_err(|_| Invalid::Plain)
        };
        let (timestamp, message_id) = (plain(timestamp)?, plain(message_id)?);
        let is_socket_id =
            |id: &str| (1..=SOCKET_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        if except.len() > EXCEPT_MAX || !except.iter().all(|id| is_socket_id(id)) {
            return Err(Invalid::Except);
        }
        let talk = Talk { conversation: conversation.as_str().into(), timestamp, message_id };
        Ok(Checked { username, talk, except, except_self })
    }

    /// Puts an update into the mailbox of its conversation, or publishes it for the other nodes if the conversation
    /// does not live here.
    fn offer(&self, update: Checked, relay_required: bool, receipt: Receipt) -> Result<ConversationId, Sent> {
        let Checked { username, talk, except, except_self } = update;
        let id = talk.conversation.clone();
        if relay_required && self.port.as_ref().is_some_and(|port| !port.is_up(&id)) {
            return Err(Sent::NotRelayed(RelayResult::BusDown));
        }
        let Some(door) = self.board.get(id.as_str()).and_then(|card| card.door()?.upgrade()) else {
            receipt.give(0, self.publish(Content::Update { username, talk, except, except_self }, &id));
            return Ok(id);
        };
        let source = Source::BackEnd { relay_required, receipt };
        let announcement = Announcement { username, talk, except, except_self, source };
        match door.try_send(ConversationMessage::Announce(Box::new(announcement))) {
            Ok(()) | Err(SendError::Closed) => Ok(id),
            Err(SendError::Full) => Err(Sent::Busy),
        }
    }

    /// Publishes an update of a conversation that does not live here. It has no number, but a life of its own: if it is
    /// published once more after a break, the other nodes know it again.
    fn publish(&self, content: Content, id: &ConversationId) -> Relay {
        match &self.port {
            None => Relay::Alone,
            Some(port) => {
                let stamp = Some(Stamp { node: port.node(), life: rand::random::<u64>() >> 11, sequence: None });
                port.publish_counted(id, &Message { stamp, content }).map_or(Relay::Full, Relay::Queued)
            }
        }
    }
}

impl Sent {
    /// Returns the answer to the back end.
    ///
    /// # Errors
    /// It was not sent, or it was not relayed to the other nodes although that is required.
    pub fn given(self, relay_required: bool) -> Result<Given, Fault> {
        let fault = |code, message: &str| Err(Fault { code, message: message.to_owned() });
        match self {
            Self::Given { sessions, relay: Relayed::Alone } => {
                Ok(Given { sessions, relayed: None, receivers: None, reason: None })
            }
            Self::Given { sessions, relay: Relayed::Ended { result: RelayResult::Relayed, receivers } } => {
                Ok(Given { sessions, relayed: Some(true), receivers: Some(receivers), reason: None })
            }
            Self::Given { sessions, relay: Relayed::Ended { result, .. } } => {
                if relay_required && result != RelayResult::ToldAlready {
                    let why = result.as_str();
                    let told =
                        format!("{why}: the {sessions} sessions on this node were told, and the others may be later");
                    return fault(FaultCode::NotRelayed, &told);
                }
                let reason = Some(result.as_str().to_owned());
                Ok(Given { sessions, relayed: Some(false), receivers: None, reason })
            }
            Self::NotRelayed(result) => {
                fault(FaultCode::NotRelayed, &format!("{}: nobody was told, try again", result.as_str()))
            }
            Self::Invalid(invalid) => fault(FaultCode::Invalid, invalid.reason()),
            Self::Busy => fault(FaultCode::Busy, "the mailbox of the conversation is full"),
            Self::Late => fault(FaultCode::Busy, "the conversation did not send it in time, and may still send it"),
        }
    }

    /// Returns the code of a refusal, for the metrics.
    fn code(self) -> Code {
        match self {
            Self::Invalid(Invalid::Username) => Code::BadUsername,
            Self::Invalid(Invalid::Conversation | Invalid::Plain | Invalid::Except) => Code::BadTalk,
            Self::Given { .. } | Self::NotRelayed(_) | Self::Busy | Self::Late => Code::Busy,
        }
    }
}

impl Invalid {
    fn reason(self) -> &'static str {
        match self {
            Self::Conversation => "the id of a conversation is 1 to limits.id_bytes_max bytes",
            Self::Username => Code::BadUsername.reason(),
            Self::Plain => "timestamp and messageID have at most limits.id_bytes_max bytes, and no half characters",
            Self::Except => "except is a socket id of 1 to 64 visible ASCII characters, or up to 32 of them",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::guard::Guard;
    use crate::admin::state::Admin;
    use crate::cluster::door::Door;
    use crate::cluster::message::NodeId;
    use crate::cluster::queue::Overflow;
    use serde_json::json;

    fn update(json: &str) -> UpdateOf {
        serde_json::from_str(json).unwrap()
    }

    /// An update that leaves out some sockets.
    fn excepting(except: serde_json::Value) -> String {
        json!({"conversation": "c", "username": "u", "except": except}).to_string()
    }

    #[test]
    fn values_are_checked_as_those_of_a_talk_are() {
        let announcer = Admin::of_idle_server(Guard::default()).announcer;
        let long = format!(r#"{{"conversation":"c","username":"u","timestamp":"{}"}}"#, "x".repeat(257));
        for (json, expected) in [
            (r#"{"conversation":"c","username":"u"}"#, None),
            (r#"{"conversation":"c","username":"u","timestamp":1e400,"messageID":""}"#, None),
            (r#"{"conversation":"","username":"u"}"#, Some(Invalid::Conversation)),
            (r#"{"conversation":"c","username":" u"}"#, Some(Invalid::Username)),
            (r#"{"conversation":"c","username":"u","messageID":"\ud800"}"#, Some(Invalid::Plain)),
            (&long, Some(Invalid::Plain)),
            (&excepting(json!("/max#a")), None),
            (&excepting(json!([])), None),
            (&excepting(json!(vec!["a"; 32])), None),
            (&excepting(json!(vec!["a"; 33])), Some(Invalid::Except)),
            (&excepting(json!(["a", ""])), Some(Invalid::Except)),
            (&excepting(json!("x".repeat(65))), Some(Invalid::Except)),
            (&excepting(json!("a b")), Some(Invalid::Except)),
            (&excepting(json!("é")), Some(Invalid::Except)),
        ] {
            assert_eq!(announcer.check(update(json)).err(), expected, "{json:.80}");
        }
    }

    #[test]
    fn refusals_say_whether_something_may_have_been_sent() {
        let ended = |result, receivers| Sent::Given { sessions: 3, relay: Relayed::Ended { result, receivers } };
        let given = |relayed, receivers, reason: Option<&str>| {
            Ok(Given { sessions: 3, relayed, receivers, reason: reason.map(str::to_owned) })
        };
        for is_required in [false, true] {
            let alone = Sent::Given { sessions: 3, relay: Relayed::Alone };
            assert_eq!(alone.given(is_required), given(None, None, None));
            assert_eq!(ended(RelayResult::Relayed, 2).given(is_required), given(Some(true), Some(2), None));
            let told = ended(RelayResult::ToldAlready, 0);
            assert_eq!(told.given(is_required), given(Some(false), None, Some("told_already")));
        }
        let down = ended(RelayResult::BusDown, 0);
        assert_eq!(down.given(false), given(Some(false), None, Some("bus_down")));
        for (sent, code, words) in [
            (Sent::Busy, FaultCode::Busy, "is full"),
            (Sent::Late, FaultCode::Busy, "may still send it"),
            (Sent::Invalid(Invalid::Conversation), FaultCode::Invalid, "id_bytes_max"),
            (down, FaultCode::NotRelayed, "bus_down: the 3 sessions on this node were told"),
            (Sent::NotRelayed(RelayResult::QueueFull), FaultCode::NotRelayed, "queue_full: nobody was told"),
        ] {
            let fault = sent.given(true).unwrap_err();
            assert!(fault.code == code && fault.message.contains(words), "{fault:?}");
        }
    }

    /// A bus that is up, or down, or that takes nothing, and never tells whether Redis has published something.
    #[derive(Debug)]
    struct SilentPort {
        is_up: bool,
        is_full: bool,
        kept: Mutex<Vec<(Message, oneshot::Sender<u64>)>>,
    }

    impl Port for SilentPort {
        fn node(&self) -> NodeId {
            NodeId::from_random(1)
        }

        fn attach(&self, _: &ConversationId, _: u64, _: Arc<dyn Door>) {}

        fn detach(&self, _: &ConversationId, _: u64) {}

        fn publish(&self, _: &ConversationId, _: &Message) -> Result<(), Overflow> {
            Ok(())
        }

        fn publish_counted(&self, _: &ConversationId, message: &Message) -> Result<oneshot::Receiver<u64>, Overflow> {
            let (answer, receiver) = oneshot::channel();
            self.kept.lock().push((message.clone(), answer));
            if self.is_full { Err(Overflow) } else { Ok(receiver) }
        }

        fn loss_is_handled(&self, _: &ConversationId, _: u64) {}

        fn is_up(&self, _: &ConversationId) -> bool {
            self.is_up
        }

        fn is_leaving(&self) -> bool {
            false
        }
    }

    /// A conversation that does not live here.
    #[actix_rt::test]
    async fn a_bus_that_does_not_answer_is_told_of_and_not_waited_for_long() {
        use RelayResult::{BusDown, QueueFull, Unconfirmed};
        let ended = |result| Sent::Given { sessions: 0, relay: Relayed::Ended { result, receivers: 0 } };
        for (is_up, is_full, relaxed, required) in [
            (true, false, ended(Unconfirmed), ended(Unconfirmed)),
            (true, true, ended(QueueFull), Sent::NotRelayed(QueueFull)),
            (false, false, ended(BusDown), Sent::NotRelayed(BusDown)),
            (false, true, ended(QueueFull), Sent::NotRelayed(BusDown)),
        ] {
            let Admin { boards, metrics, .. } = Admin::of_idle_server(Guard::default());
            let port = Arc::new(SilentPort { is_up, is_full, kept: Mutex::default() });
            let announcer = Announcer::new(boards.conversations, metrics.clone(), 256, Some(port.clone()));
            let json = r#"{"conversation":"c","username":"u","except":"a","except_self":true}"#;
            assert_eq!(announcer.send(vec![update(json)], false).await, [relaxed]);
            assert_eq!(announcer.send(vec![update(json)], true).await, [required]);
            let relays = |result| metrics.announcement_relays.get_or_create(&RelayLabel { result }).get();
            assert_eq!(relays(Unconfirmed) + relays(BusDown) + relays(QueueFull), 2);
            let kept = port.kept.lock();
            let Message { stamp: Some(Stamp { sequence: None, .. }), content } = &kept[0].0 else { panic!("{kept:?}") };
            let Content::Update { except, except_self: true, .. } = content else { panic!("{kept:?}") };
            assert_eq!(except.iter().map(|id| &**id).collect::<Vec<_>>(), ["a"]);
            assert_eq!(kept.len(), if is_up { 2 } else { 1 }, "if Redis is away, nothing is begun that is required");
        }
    }

    /// A key of a request with a hundred updates takes little memory: 20,000 updates a second fit in five minutes.
    #[test]
    fn the_keys_of_five_minutes_fit() {
        let mut keys = Keys::new(IDEMPOTENCY_BYTES_MAX);
        let now = Instant::now();
        for at in 0..300 * 20_000 / 100 {
            let key = format!("01234567-89ab-cdef-0123-{at:012}");
            assert_eq!(keys.begin(&key, 0, now), Begun::First, "{at}");
            let relay = Relayed::Ended { result: RelayResult::Relayed, receivers: 1 };
            keys.finish(&key, vec![Sent::Given { sessions: 1, relay }; 100].into());
        }
    }
}
