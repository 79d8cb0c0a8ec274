//! The announcements of back ends: updates for those who listen to a conversation, one or many at once. They pass the
//! actor of their conversation and its mailbox, as talks do.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::body::BodyAndText;
use super::error::ApiError;
use super::idempotency::{Begun, KEY_BYTES_MAX, Keys};
use super::model::announce::{Given, Outcome, Outcomes, Update, UpdateOf, Updates};
use super::model::{Fault, FaultCode, Refusal};
use super::refusals::Refusals;
use super::state::{Admin, Boards};
use crate::actors::announcement::{Announcement, Receipt, Receipts};
use crate::actors::conversation::{Board, ConversationMessage};
use crate::config::cost::IDEMPOTENCY_BYTES_MAX;
use crate::event::{Code, Scalar, Talk, Username};
use crate::mailbox::SendError;
use crate::metrics::{Metrics, OkOrCode, ResultLabel};

/// Updates in one request.
const UPDATES_MAX: usize = 1000;

/// How long conversations may take to send the updates of a request. It is far less than a key is kept.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The header of a request that is to be done once.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Gives the announcements of back ends to their conversations.
#[derive(Debug)]
pub struct Announcer {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    id_bytes_max: usize,
    keys: Mutex<Keys<Sent>>,
    hasher: RandomState,
}

/// What has become of one announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
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
enum Invalid {
    Conversation,
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

/// Sends an update to everybody who listens to a conversation.
#[utoipa::path(post, path = "/api/v1/conversations/{id}/updates", request_body = Update,
    params(
        ("id" = String, Path, description = "The id that MAX gives the conversation."),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "A request is done once under each key, for five minutes."),
    ),
    responses(
        (status = 200, body = Given),
        (status = 409, body = Refusal, description = "The same request is under way under this key."),
        (status = 503, body = Refusal, description = "The conversation has too much to do: try again."),
        Refusals,
    ))]
pub async fn one(
    admin: Data<Admin>,
    request: HttpRequest,
    id: Path<String>,
    body: BodyAndText<Update>,
) -> Result<Json<Given>, ApiError> {
    let Update { username, timestamp, message_id, except_self } = body.value;
    let update = UpdateOf { conversation: id.into_inner(), username, timestamp, message_id, except_self };
    let sent = admin.announcer.once(&request, &body.text, vec![update]).await?;
    match sent.first().map_or(Ok(0), |sent| sent.sessions()) {
        Ok(sessions) => Ok(Json(Given { sessions })),
        Err(fault) => Err(fault.into()),
    }
}

/// Sends updates to everybody who listens to their conversations: from 1 to 1000 of them. Each has its own result.
#[utoipa::path(post, path = "/api/v1/updates", request_body = Updates,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "A request is done once under each key, for five minutes.")),
    responses(
        (status = 200, body = Outcomes),
        (status = 409, body = Refusal, description = "The same request is under way under this key."),
        (status = 503, body = Refusal, description = "There are too many keys: try again later."),
        Refusals,
    ))]
pub async fn many(
    admin: Data<Admin>,
    request: HttpRequest,
    body: BodyAndText<Updates>,
) -> Result<Json<Outcomes>, ApiError> {
    let updates = body.value.updates;
    if !(1..=UPDATES_MAX).contains(&updates.len()) {
        return Err(ApiError::new(FaultCode::Invalid, format!("updates are 1 to {UPDATES_MAX} at once")));
    }
    let sent = admin.announcer.once(&request, &body.text, updates).await?;
    let outcome = |sent: &Sent| match sent.sessions() {
        Ok(sessions) => Outcome { sessions: Some(sessions), error: None },
        Err(fault) => Outcome { sessions: None, error: Some(fault) },
    };
    Ok(Json(Outcomes { outcomes: sent.iter().map(outcome).collect() }))
}

impl Announcer {
    /// Creates an announcer to the conversations of a server. The id of a conversation, a timestamp or a messageID has
    /// at most `id_bytes_max` bytes.
    pub fn new(boards: &Boards, metrics: &Arc<Metrics>, id_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            board: boards.conversations.clone(),
            metrics: metrics.clone(),
            id_bytes_max,
            keys: Mutex::new(Keys::new(IDEMPOTENCY_BYTES_MAX)),
            hasher: RandomState::new(),
        })
    }

    /// Sends updates, unless the same request was made before under the same key. The updates are sent even if the
    /// client of the request goes in the meantime.
    async fn once(
        self: &Arc<Self>,
        request: &HttpRequest,
        text: &[u8],
        updates: Vec<UpdateOf>,
    ) -> Result<Arc<[Sent]>, ApiError> {
        let key = key_of(request)?;
        if let Some(key) = &key {
            let fingerprint = self.hasher.hash_one((request.path(), text));
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
    /// Returns the number of sessions that the announcement was given to, or why it was not sent.
    fn sessions(self) -> Result<u32, Fault> {
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

/// Returns the key of a request, if it has one.
fn key_of(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let fits = |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = key.to_str().ok().filter(fits).ok_or_else(|| {
        let message = format!("{IDEMPOTENCY_KEY} is 1 to {KEY_BYTES_MAX} visible ASCII characters");
        ApiError::new(FaultCode::BadRequest, message)
    })?;
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api;
    use crate::admin::guard::Guard;
    use crate::admin::tests::Conversations;
    use crate::metrics::ActorClass;
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use serde_json::{Value, json};

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

    /// Returns a request to send this number of updates to the conversation `c`.
    fn updates(count: usize, key: &str) -> TestRequest {
        let update = json!({"conversation": "c", "username": "u"});
        TestRequest::post()
            .uri("/api/v1/updates")
            .insert_header((IDEMPOTENCY_KEY, key))
            .set_json(json!({"updates": vec![update; count]}))
    }

    #[actix_rt::test]
    async fn the_same_request_while_it_is_under_way_is_refused() {
        let admin = Data::new(Admin::of_idle_server(Guard::default()));
        let app = init_service(App::new().app_data(admin).configure(api::mount)).await;
        let ask = |count| call_service(&app, updates(count, "k").to_request());
        let (first, same, other) = tokio::join!(ask(1), ask(1), ask(2));
        assert_eq!([&first, &same, &other].map(|answer| answer.status().as_u16()), [200, 409, 422]);
        let body: Value = read_body_json(same).await;
        assert_eq!(body["error"]["code"], "conflict");
        assert_eq!(ask(1).await.status(), 200);
    }

    /// The conversation runs on this thread: it handles nothing before all updates of a request are sent.
    #[actix_rt::test]
    async fn a_full_mailbox_refuses_the_rest_of_the_updates() {
        let admin = Data::new(Admin::of_idle_server(Guard::default()));
        admin.metrics.mailbox(ActorClass::Conversation).limit.set(3);
        let door = Conversations::of(&admin).start("c");
        let app = init_service(App::new().app_data(admin.clone()).configure(api::mount)).await;
        let codes = async |count, key| {
            let body: Value = read_body_json(call_service(&app, updates(count, key).to_request()).await).await;
            let outcomes = body["outcomes"].as_array().unwrap().clone();
            outcomes
                .iter()
                .map(|outcome| outcome["error"]["code"].as_str().unwrap_or("").to_owned())
                .collect::<Vec<_>>()
        };
        for _ in 0..2 {
            assert_eq!(codes(5, "some").await, ["", "", "", "busy", "busy"], "a repeated one gets the first answer");
        }
        admin.metrics.mailbox(ActorClass::Conversation).limit.set(0);
        assert_eq!(codes(1, "none").await, ["busy"]);
        admin.metrics.mailbox(ActorClass::Conversation).limit.set(3);
        assert_eq!(codes(1, "none").await, [""], "nothing was sent the first time");
        let announcements = |result| admin.metrics.announcements.get_or_create(&ResultLabel { result }).get();
        assert_eq!((announcements(OkOrCode(Ok(()))), announcements(OkOrCode(Err(Code::Busy)))), (4, 3));
        drop(door);
    }
}
