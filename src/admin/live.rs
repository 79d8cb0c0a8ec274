//! The WebSocket `/api/v1/live`, which brings a dashboard the history once and an overview each second.
//!
//! The first message of the client is `{"key": "..."}`, or `{}` where no key is needed: a browser cannot send a header
//! with a WebSocket, and a key in a URL would be kept in logs. Nothing else is expected of the client.
//!
//! * [`socket`]: the socket below, with its deadlines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext as _, AsyncContext as _, StreamHandler};
use actix_http::{RequestHead, ws as handshake};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use actix_web_actors::ws::{CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::api::asked;
use super::error::ApiError;
use super::guard::Right;
use super::model::FaultCode;
use super::model::overview::Frame;
use super::overview;
use super::state::Admin;
use crate::logging::log_refusal;

pub mod socket;

/// The path of the WebSocket.
pub const PATH: &str = "/api/v1/live";

/// How long a client may take for its first message.
const KEY_WAIT: Duration = Duration::from_secs(5);

/// The close code for a client whose key is missing or wrong.
const KEY_NEEDED: u16 = 4401;

/// The first message of a client.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Greeting {
    key: Option<String>,
}

/// Checks whether a request can become a live connection. The key comes later.
///
/// # Errors
/// The request is refused.
pub fn judge(admin: &Admin, head: &RequestHead) -> Result<OwnedSemaphorePermit, ApiError> {
    let asked = asked(head.headers(), false);
    admin.guard.check_sender(&asked).map_err(|(code, message)| ApiError::new(code, message))?;
    handshake::verify_handshake(head).map_err(|error| ApiError::new(FaultCode::BadRequest, error.to_string()))?;
    admin.live.place().ok_or_else(|| ApiError::busy("too many dashboards are connected: close one"))
}

/// Answers requests that do not become live connections: says why.
pub async fn refuse(admin: Data<Admin>, request: HttpRequest) -> HttpResponse {
    let error = match judge(&admin, request.head()) {
        // It could have become one, but the listener passed it on.
        Ok(_) => ApiError::new(FaultCode::BadRequest, "connect with a WebSocket"),
        Err(error) => error,
    };
    error.error_response()
}

/// A live connection.
#[derive(Debug)]
struct Feed {
    admin: Data<Admin>,
    /// Whether the client has given its key, or needs none.
    is_open: bool,
    _place: OwnedSemaphorePermit,
}

type Context = WebsocketContext<Feed>;

impl Actor for Feed {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        ctx.run_later(KEY_WAIT, |feed, ctx| {
            if !feed.is_open {
                end(ctx, CloseCode::Policy, "the first message is late");
            }
        });
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Feed {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Context) {
        match message {
            Ok(Message::Text(text)) if !self.is_open => self.greet(&text, ctx),
            Ok(Message::Ping(content)) => ctx.pong(&content),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Close(_)) => end(ctx, CloseCode::Normal, ""),
            Ok(_) => end(ctx, CloseCode::Policy, "the first message is a text, and there is no second one"),
            Err(ProtocolError::Overflow) => end(ctx, CloseCode::Size, "the message is too long"),
            Err(_) => end(ctx, CloseCode::Protocol, ""),
        }
    }
}

impl StreamHandler<Arc<str>> for Feed {
    fn handle(&mut self, frame: Arc<str>, ctx: &mut Context) {
        ctx.text(&*frame);
    }
}

impl Feed {
    /// Takes the first message.
    fn greet(&mut self, text: &str, ctx: &mut Context) {
        let Ok(Greeting { key }) = serde_json::from_str(text) else {
            return end(ctx, CloseCode::Policy, "the first message is {} or {\"key\": \"...\"}");
        };
        if let Err((_, message)) = self.admin.guard.check_secret(key.as_deref(), Right::Operate) {
            log_refusal(Instant::now(), format_args!("a live connection to {PATH} refused: {message}"));
            return end(ctx, CloseCode::Other(KEY_NEEDED), message);
        }
        self.is_open = true;
        // Subscribed first, so that no sample is missed between the history and the next one.
        ctx.add_stream(frames(self.admin.live.frames.subscribe()));
        for frame in [Frame::History(self.admin.recent.history()), Frame::Overview(Box::new(overview::of(&self.admin)))]
        {
            ctx.text(text_of(&frame));
        }
    }
}

/// Yields each frame from now on. If the client is slow, it misses some, and gets the newest one next.
fn frames(frames: watch::Receiver<Arc<str>>) -> impl Stream<Item = Arc<str>> {
    stream::unfold(frames, |mut frames| async {
        frames.changed().await.ok()?;
        let frame = frames.borrow_and_update().clone();
        Some((frame, frames))
    })
}

/// Gives all live connections an overview, if there are any.
pub fn publish(admin: &Admin) {
    if admin.live.frames.receiver_count() > 0 {
        let frame = Frame::Overview(Box::new(overview::of(admin)));
        admin.live.frames.send_replace(text_of(&frame).into());
    }
}

fn text_of(frame: &Frame) -> String {
    // All keys are strings, so this does not fail.
    serde_json::to_string(frame).unwrap_or_default()
}

/// Closes a connection.
fn end(ctx: &mut Context, code: CloseCode, why: &str) {
    let description = (!why.is_empty()).then(|| why.to_owned());
    ctx.close(Some(CloseReason { code, description }));
    ctx.stop();
}
