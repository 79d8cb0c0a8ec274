//! Sessions: those at the top by a measure, one by its number, those of a user, and those that were closed last.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path, Query};

use super::body::Body;
use super::error::ApiError;
use super::model::{
    Closed, ClosedSession, ClosedSessions, Empty, Generation, Refreshed, Session, SessionMeasure, Sessions, Top,
};
use super::refusals::Refusals;
use super::shown::asker;
use super::state::Admin;
use crate::board::closed;
use crate::board::sessions::{self, SessionCard};
use crate::delivery::outbox::Waiting;
use crate::event::{CloseReason, SessionId, Username};
use crate::logging::escape;

/// Sessions of one user that one answer lists, or that one request closes.
const OF_USER_MAX: usize = 1000;

/// The sessions at the top by a measure.
#[utoipa::path(get, path = "/api/v1/sessions", params(Top<SessionMeasure>),
    responses((status = 200, body = Sessions), Refusals))]
pub async fn top(admin: Data<Admin>, query: Query<Top<SessionMeasure>>) -> Result<Json<Sessions>, ApiError> {
    let (by, count) = (query.by.unwrap_or(SessionMeasure::Bytes), query.count()?);
    let board = &admin.boards.sessions;
    let cards = match by {
        SessionMeasure::Bytes => board.top(sessions::SessionMeasure::Bytes, count),
        SessionMeasure::Messages => board.top(sessions::SessionMeasure::Messages, count),
        SessionMeasure::RoundTrip => board.top(sessions::SessionMeasure::RoundTrip, count),
        SessionMeasure::Folded => board.top(sessions::SessionMeasure::Folded, count),
        SessionMeasure::Age => board.oldest(count),
    };
    let sessions = cards.iter().map(|card| shown(&admin, card)).collect();
    Ok(Json(Sessions { total: admin.clients.sessions(), sessions }))
}

/// One session.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, body = Session), Refusals))]
pub async fn one(admin: Data<Admin>, id: Path<u64>) -> Result<Json<Session>, ApiError> {
    let card = admin.boards.sessions.get(SessionId(*id)).ok_or_else(|| ApiError::not_found("session"))?;
    Ok(Json(shown(&admin, &card)))
}

/// The sessions of a user, the oldest first; at most 1000 of them.
#[utoipa::path(get, path = "/api/v1/users/{username}/sessions",
    params(("username" = String, Path, description = "The name of the user.")),
    responses((status = 200, body = Sessions), Refusals))]
pub async fn of_user(admin: Data<Admin>, username: Path<String>) -> Result<Json<Sessions>, ApiError> {
    let (board, user) = (&admin.boards.sessions, user(&username)?);
    let sessions = board.of_user(&user, OF_USER_MAX).iter().map(|card| shown(&admin, card)).collect();
    Ok(Json(Sessions { total: board.count_of_user(&user), sessions }))
}

/// The sessions that were closed last, the last one first; at most 200.
#[utoipa::path(get, path = "/api/v1/closed", responses((status = 200, body = ClosedSessions), Refusals))]
pub async fn closed(admin: Data<Admin>) -> Json<ClosedSessions> {
    let sessions = admin.boards.sessions.closed.newest_first();
    Json(ClosedSessions { sessions: sessions.iter().map(|session| shown_closed(&admin, session)).collect() })
}

/// Closes a session. Its client may connect again.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/close", request_body = Empty,
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, body = Closed), Refusals))]
pub async fn close(
    admin: Data<Admin>,
    request: HttpRequest,
    id: Path<u64>,
    _: Body<Empty>,
) -> Result<Json<Closed>, ApiError> {
    let card = admin.boards.sessions.get(SessionId(*id)).ok_or_else(|| ApiError::not_found("session"))?;
    log::info!("session {id}: closed by the admin API, for {}", asker(&request));
    Ok(Json(Closed { closed: usize::from(card.close(CloseReason::Operator)) }))
}

/// Closes the sessions of a user; at most 1000 of them, the oldest first. Their clients may connect again.
#[utoipa::path(post, path = "/api/v1/users/{username}/close", request_body = Empty,
    params(("username" = String, Path, description = "The name of the user.")),
    responses((status = 200, body = Closed), Refusals))]
pub async fn close_of_user(
    admin: Data<Admin>,
    request: HttpRequest,
    username: Path<String>,
    _: Body<Empty>,
) -> Result<Json<Closed>, ApiError> {
    let user = user(&username)?;
    let cards = admin.boards.sessions.of_user(&user, OF_USER_MAX);
    let closed = cards.iter().filter(|card| card.close(CloseReason::Operator)).count();
    log::info!("{closed} sessions of {} closed by the admin API, for {}", escape(user.as_str()), asker(&request));
    Ok(Json(Closed { closed }))
}

/// Has the sessions of a user ask MAX again for their conversations, as by a `join` of their own. Their memberships
/// follow.
#[utoipa::path(post, path = "/api/v1/users/{username}/refresh", request_body = Empty,
    params(("username" = String, Path, description = "The name of the user.")),
    responses((status = 200, body = Refreshed), Refusals))]
pub async fn refresh(admin: Data<Admin>, username: Path<String>, _: Body<Empty>) -> Result<Json<Refreshed>, ApiError> {
    // All of them: there are as many as session.per_user_max allows.
    let cards = admin.boards.sessions.of_user(&user(&username)?, usize::MAX);
    cards.iter().for_each(|card| card.refresh());
    Ok(Json(Refreshed { sessions: cards.len() }))
}

fn user(username: &str) -> Result<Username, ApiError> {
    Username::parse(username).map_err(|_| ApiError::not_found("user: a username is 1 to 256 bytes of printable text"))
}

/// Returns a session as the API shows it.
pub fn shown(admin: &Admin, card: &SessionCard) -> Session {
    let Waiting { messages: waiting_messages, bytes: waiting_bytes, folded } = card.waiting();
    Session {
        id: card.id.0,
        username: card.user().map(|user| user.as_str().to_owned()),
        address: card.address().to_string(),
        generation: Generation::from(card.generation),
        transport: card.transport().into(),
        kept: card.is_kept(),
        opened: admin.facts.time_of(card.opened_ms),
        age_ms: admin.facts.uptime_ms().saturating_sub(card.opened_ms),
        waiting_messages,
        waiting_bytes,
        folded,
        round_trip_ms: card.round_trip().map(|round_trip| round_trip.as_secs_f64() * 1000.0),
    }
}

/// Returns a closed session as the API shows it.
pub fn shown_closed(admin: &Admin, session: &closed::ClosedSession) -> ClosedSession {
    ClosedSession {
        id: session.id.0,
        username: session.user.as_ref().map(|user| user.as_str().to_owned()),
        address: session.address.to_string(),
        generation: Generation::from(session.generation),
        transport: session.transport.into(),
        closed: admin.facts.time_of(session.closed_ms),
        age_ms: session.closed_ms.saturating_sub(session.opened_ms),
        folded: session.folded,
        reason: session.reason.as_str().to_owned(),
        detail: session.reason.to_string(),
    }
}
