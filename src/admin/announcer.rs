//! The way of announcements to their conversations, through the mailbox of each, as talks go. A request under an
//! `Idempotency-Key` goes it once.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::error::ApiError;
use super::idempotency::{Begun, Keys};
use super::model::announce::UpdateOf;
use super::model::{Fault, FaultCode};
use crate::actors::announcement::{Announcement, Receipt, Receipts};
use crate::actors::conversation::{Board, ConversationMessage};
use crate::config::cost::IDEMPOTENCY_BYTES_MAX;
use crate::event::{Code, Scalar, Talk, Username};
use crate::mailbox::SendError;
use crate::metrics::{Metrics, OkOrCode, ResultLabel};

/// How long conversations may take to send the updates of a request. It is far less than a key is kept.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives the announcements of back ends to their conversations.
#[derive(Debug)]
pub struct Announcer {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    id_bytes_max: usize,
    keys: Mutex<Keys<Sent>>,
    hasher: RandomState,
}

/// The outcome of one announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was given to this number of sessions.
    Given(u32),
    /// It has a value that a talk could not have.
    Invalid(Invalid),
    /// The mailbox of the conversation is full.
    Busy,
    /// The conversation has it, but did not send it in time.
    Late,
}

/// A value of an announcement that a talk could not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The id of the conversation.
    Conversation,
    /// The username.
    Username,
    /// A timestamp or a messageID.
    Plain,
}

/// An update that was checked.
struct Checked {
    username: Username,
    talk: Talk,
    except_self: bool,
}

impl Announcer {
    /// Creates an announcer to the conversations of a server. The id of a conversation, a timestamp or a messageID has
    /// at most `id_bytes_max` bytes.
    pub fn new(board: Arc<Board>, metrics: Arc<Metrics>, id_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            board,
            metrics,
            id_bytes_max,
            keys: Mutex::new(Keys::new(IDEMPOTENCY_BYTES_MAX)),
            hasher: RandomState::new(),
        })
    }

    /// Sends updates, unless the same request, which `text` tells from others, was made before under the same key. The
    /// updates are sent even if the client of the request goes in the meantime.
    ///
    /// # Errors
    /// The same request is under way under this key, another one was made under it, or there are too many keys.
    pub async fn send_once(
        self: &Arc<Self>,
        key: Option<String>,
        text: (&str, &[u8]),
        updates: Vec<UpdateOf>,
    ) -> Result<Arc<[Sent]>, ApiError> {
        if let Some(key) = &key {
            let fingerprint = self.hasher.hash_one(text);
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
        let sending = actix_rt::spawn(async move {
            let sent: Arc<[Sent]> = announcer.send(updates).await.into();
            if let Some(key) = key {
                let mut keys = announcer.keys.lock();
                if sent.iter().any(|sent| matches!(sent, Sent::Given(_) | Sent::Late)) {
                    keys.finish(&key, sent.clone());
                } else {
                    keys.forget(&key);
                }
            }
            sent
        });
        sending.await.map_err(|_| ApiError::busy("the server stops"))
    }

    /// Sends updates, and waits until their conversations have sent them on.
    async fn send(&self, updates: Vec<UpdateOf>) -> Vec<Sent> {
        let (receipts, each, all) = Receipts::new(updates.len());
        let offers = updates.into_iter().zip(each).map(|(update, receipt)| {
            let offered = self.check(update).map_err(Sent::Invalid).and_then(|update| self.offer(update, receipt));
            let result = OkOrCode(offered.map_err(Sent::code));
            self.metrics.announcements.get_or_create(&ResultLabel { result }).inc();
            offered
        });
        let offered: Vec<_> = offers.collect();
        let _ = timeout(ANSWER_TIMEOUT, all).await;
        let sent = offered.iter().enumerate().map(|(at, offered)| match offered {
            Ok(()) => receipts.sessions(at).map_or(Sent::Late, Sent::Given),
            Err(refused) => *refused,
        });
        sent.collect()
    }

    /// Checks the values of an update, as those of a talk are checked.
    fn check(&self, update: UpdateOf) -> Result<Checked, Invalid> {
        let UpdateOf { conversation, username, timestamp, message_id, except_self } = update;
        if !(1..=self.id_bytes_max).contains(&conversation.len()) {
            return Err(Invalid::Conversation);
        }
        let username = Username::parse(&username).map_err(|_| Invalid::Username)?;
        let plain = |json: Option<Box<RawValue>>| {
            json.map(|json| Scalar::parse(&json, self.id_bytes_max)).transpose().map_err(|_| Invalid::Plain)
        };
        let (timestamp, message_id) = (plain(timestamp)?, plain(message_id)?);
        let talk = Talk { conversation: conversation.as_str().into(), timestamp, message_id };
        Ok(Checked { username, talk, except_self })
    }

    /// Puts an update into the mailbox of its conversation.
    fn offer(&self, update: Checked, receipt: Receipt) -> Result<(), Sent> {
        let Checked { username, talk, except_self } = update;
        // Nobody listens to a conversation that does not live.
        let Some(card) = self.board.get(talk.conversation.as_str()) else { return Ok(()) };
        let Some(door) = card.door().and_then(|door| door.upgrade()) else { return Ok(()) };
        let announcement = Announcement { username, talk, except_self, receipt };
        match door.try_send(ConversationMessage::Announce(announcement)) {
            Ok(()) | Err(SendError::Closed) => Ok(()),
            Err(SendError::Full) => Err(Sent::Busy),
        }
    }
}

impl Sent {
    /// Returns the number of sessions that the announcement was given to.
    ///
    /// # Errors
    /// It was not sent.
    pub fn sessions(self) -> Result<u32, Fault> {
        let fault = |code, message: &str| Err(Fault { code, message: message.to_owned() });
        match self {
            Self::Given(sessions) => Ok(sessions),
            Self::Invalid(invalid) => fault(FaultCode::Invalid, invalid.reason()),
            Self::Busy => fault(FaultCode::Busy, "the mailbox of the conversation is full"),
            Self::Late => fault(FaultCode::Busy, "the conversation did not send it in time, and may still send it"),
        }
    }

    /// Returns the code of a refusal, for the metrics.
    fn code(self) -> Code {
        match self {
            Self::Invalid(Invalid::Username) => Code::BadUsername,
            Self::Invalid(Invalid::Conversation | Invalid::Plain) => Code::BadTalk,
            Self::Given(_) | Self::Busy | Self::Late => Code::Busy,
        }
    }
}

impl Invalid {
    fn reason(self) -> &'static str {
        match self {
            Self::Conversation => "the id of a conversation is 1 to limits.id_bytes_max bytes",
            Self::Username => Code::BadUsername.reason(),
            Self::Plain => "timestamp and messageID have at most limits.id_bytes_max bytes, and no half characters",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::guard::Guard;
    use crate::admin::state::Admin;

    fn update(json: &str) -> UpdateOf {
        serde_json::from_str(json).unwrap()
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
        ] {
            assert_eq!(announcer.check(update(json)).err(), expected, "{json:.80}");
        }
    }

    #[test]
    fn refusals_say_whether_something_may_have_been_sent() {
        assert_eq!(Sent::Given(3).sessions(), Ok(3));
        for (sent, code, words) in [
            (Sent::Busy, FaultCode::Busy, "is full"),
            (Sent::Late, FaultCode::Busy, "may still send it"),
            (Sent::Invalid(Invalid::Conversation), FaultCode::Invalid, "id_bytes_max"),
        ] {
            let fault = sent.sessions().unwrap_err();
            assert!(fault.code == code && fault.message.contains(words), "{fault:?}");
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
            keys.finish(&key, vec![Sent::Given(1); 100].into());
        }
    }
}
