//! The drain of the server: its beginning by the API, and how far it is.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

use super::body::Body;
use super::model::Empty;
use super::model::overview::Drain;
use super::refusals::Refusals;
use super::shown::asker;
use super::state::Admin;
use crate::stage::Begun;

/// Begins the drain: nothing new is accepted, the sessions are closed, spread over `server.drain_ms`, and the server
/// ends. A drain that has begun goes on as it was.
#[utoipa::path(post, path = "/api/v1/drain", request_body = Empty, responses((status = 200, body = Drain), Refusals))]
pub async fn begin(admin: Data<Admin>, request: HttpRequest, _: Body<Empty>) -> Json<Drain> {
    admin.drain.begin(&format!("the admin API, for {}", asker(&request)));
    // It has begun now, by this request or before.
    Json(progress(&admin).unwrap_or(Drain { sessions: 0, left: 0, due_in_ms: 0 }))
}

/// Returns how far the drain is. `None` if it has not begun.
pub fn progress(admin: &Admin) -> Option<Drain> {
    let Begun { due, sessions, .. } = admin.drain.begun()?;
    let due_in = due.saturating_duration_since(Instant::now());
    let due_in_ms = due_in.as_millis().try_into().unwrap_or(u64::MAX);
    Some(Drain { sessions, left: admin.drain.sessions_left(), due_in_ms })
}
