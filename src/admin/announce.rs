//! The announcements of back ends: updates for those who listen to a conversation, one or many at once.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};

use super::announcer::{Request, Sent};
use super::body::BodyAndText;
use super::error::ApiError;
use super::idempotency::KEY_BYTES_MAX;
use super::model::announce::{Given, Outcome, Outcomes, RelayWish, Update, UpdateOf, Updates, Wishes};
use super::model::{FaultCode, Refusal};
use super::refusals::Refusals;
use super::state::Admin;

/// Updates in one request.
const UPDATES_MAX: usize = 1000;

/// The header that names a request, so that it is done once.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Sends an update to everybody who listens to a conversation, on all nodes of the cluster.
#[utoipa::path(post, path = "/api/v1/conversations/{id}/updates", request_body = Update,
    params(
        ("id" = String, Path, description = "The id that MAX gives the conversation."),
        Wishes,
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "A request is done once under each key, for five minutes."),
    ),
    responses(
        (status = 200, body = Given, description = "The server is alone: nobody else has to be told."),
        (status = 202, body = Given, description = "The server is a node of a cluster: the others tell their members."),
        (status = 409, body = Refusal, description = "The same request is under way under this key."),
        (status = 503, body = Refusal, description = "The conversation has too much to do, or the update was not \
            relayed although that was required: try again."),
        Refusals,
    ))]
pub async fn one(
    admin: Data<Admin>,
    request: HttpRequest,
    id: Path<String>,
    wishes: Query<Wishes>,
    body: BodyAndText<Update>,
) -> Result<(Json<Given>, StatusCode), ApiError> {
    let Update { username, timestamp, message_id, except, except_self } = body.value;
    let update = UpdateOf { conversation: id.into_inner(), username, timestamp, message_id, except, except_self };
    let relay_required = requires_relay(&wishes);
    let asked = Request { path: request.path(), text: &body.text, relay_required };
    let sent = admin.announcer.send_once(key_of(&request)?, asked, vec![update]).await?;
    match sent.first() {
        Some(sent) => Ok((Json(sent.given(relay_required)?), status(&admin))),
        None => Err(ApiError::busy("the server stops")),
    }
}

/// Sends updates to everybody who listens to their conversations, on all nodes of the cluster: from 1 to 1000 of them.
/// Each has its own result.
#[utoipa::path(post, path = "/api/v1/updates", request_body = Updates,
    params(
        Wishes,
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "A request is done once under each key, for five minutes."),
    ),
    responses(
        (status = 200, body = Outcomes, description = "The server is alone: nobody else has to be told."),
        (status = 202, body = Outcomes, description = "The server is a node of a cluster: the others tell their \
            members."),
        (status = 409, body = Refusal, description = "The same request is under way under this key."),
        (status = 503, body = Refusal, description = "There are too many keys: try again later."),
        Refusals,
    ))]
pub async fn many(
    admin: Data<Admin>,
    request: HttpRequest,
    wishes: Query<Wishes>,
    body: BodyAndText<Updates>,
) -> Result<(Json<Outcomes>, StatusCode), ApiError> {
    let updates = body.value.updates;
    if !(1..=UPDATES_MAX).contains(&updates.len()) {
        return Err(ApiError::new(FaultCode::Invalid, format!("updates are 1 to {UPDATES_MAX} at once")));
    }
    let relay_required = requires_relay(&wishes);
    let asked = Request { path: request.path(), text: &body.text, relay_required };
    let sent = admin.announcer.send_once(key_of(&request)?, asked, updates).await?;
    let outcome = |sent: &Sent| sent.given(relay_required).map_or_else(Outcome::from, Outcome::from);
    Ok((Json(Outcomes { outcomes: sent.iter().map(outcome).collect() }), status(&admin)))
}

fn requires_relay(wishes: &Wishes) -> bool {
    wishes.relay == Some(RelayWish::Required)
}

/// Returns the status of an answer: what becomes of an update on other nodes, this one does not know.
fn status(admin: &Admin) -> StatusCode {
    if admin.bus.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK }
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
    use crate::event::Code;
    use crate::metrics::{ActorClass, OkOrCode, ResultLabel};
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use serde_json::{Value, json};

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
