//! The routes of the demo MAX: the REST calls that a chat client uses.

use std::fmt;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use serde::Deserialize;
use serde_json::json;

use crate::board::sessions::SessionBoard;
use crate::directory::demo::crowd::Member;
use crate::directory::demo::max_error::MaxError;
use crate::directory::demo::world::{Actor, Page};
use crate::directory::demo::{DemoMax, MOUNT, now};
use crate::event::Username;

/// The longest body of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The sessions of one person that hear of a new conversation at once. The others hear of it when they join again.
const REFRESHES_MAX: usize = 100;
/// The release of MAX that the demo imitates.
const VERSION: &str = "5.3.26";

type Reply = Result<HttpResponse, MaxError>;

/// Mounts the calls of MAX at [`MOUNT`], and `GET /demo/people`, the people with their tokens. For `App::configure`;
/// the `App` adds CORS. The calls that change who is in a conversation refresh the sessions of these people on the
/// board.
pub fn routes(
    demo: &Arc<DemoMax>,
    board: &Arc<SessionBoard>,
) -> impl FnOnce(&mut web::ServiceConfig) + Clone + 'static + use<> {
    let demo = web::Data::from(Arc::clone(demo));
    let board = web::Data::from(Arc::clone(board));
    move |config: &mut web::ServiceConfig| {
        let people = web::resource("/demo/people").app_data(demo.clone()).get(everybody).default_service(no_method());
        let resource = |path: &str| web::resource(path.to_owned()).default_service(no_method());
        let max = web::scope(MOUNT)
            .app_data(demo)
            .app_data(board)
            .app_data(json_config())
            .service(resource("/info").get(info))
            .service(resource("/people/{username}").get(profile))
            .service(resource("/conversations").get(conversations).post(start))
            .service(resource("/conversations/{id}/messages").get(messages).post(talk))
            .service(resource("/conversations/{id}/participants").post(invite))
            .service(resource("/conversations/{id}/participants/{username}").delete(expel))
            .default_service(web::to(|| async {
                Err::<HttpResponse, _>(MaxError::not_found("There is no such call"))
            }));
        config.service(people).service(max);
    }
}

async fn everybody(demo: web::Data<DemoMax>) -> HttpResponse {
    let people = demo.world().everybody();
    HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(people)
}

async fn info() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "version": VERSION, "max.oauth_server": "", "max.server_id": "demo" }))
}

async fn profile(demo: web::Data<DemoMax>, caller: Caller, username: web::Path<String>) -> Reply {
    let profile = match (demo.crowd().find(&username), caller) {
        (Some(who), Caller::Crowd(caller)) => demo.crowd().profile(who, caller == who),
        (Some(who), Caller::World(caller)) => demo.crowd().profile(who, demo.world().is_service(caller)),
        (None, caller) => return Ok(HttpResponse::Ok().json(demo.world().profile(caller.actor()?, &username)?)),
    };
    Ok(HttpResponse::Ok().json(profile))
}

async fn conversations(demo: web::Data<DemoMax>, caller: Caller) -> HttpResponse {
    match caller {
        Caller::World(actor) => HttpResponse::Ok().json(demo.world().conversations(actor)),
        Caller::Crowd(member) => HttpResponse::Ok().json(demo.crowd().conversations(member)),
    }
}

async fn start(
    demo: web::Data<DemoMax>,
    board: web::Data<SessionBoard>,
    actor: Actor,
    body: web::Json<NewConversation>,
) -> Reply {
    let NewConversation { contexts, object } = body.into_inner();
    let context = contexts.into_iter().next().ok_or_else(|| MaxError::invalid("Empty contexts parameter"))?;
    let content = object.text()?;
    let name = context.display_name.as_deref();
    let (message, somebody_enters) = demo.world().start(actor, &context.participants, name, content, now())?;
    if somebody_enters {
        refresh(&board, context.participants.iter().filter_map(|name| Username::parse(name).ok()));
    }
    Ok(HttpResponse::Created().json(message))
}

async fn messages(demo: web::Data<DemoMax>, actor: Actor, id: web::Path<String>, request: HttpRequest) -> Reply {
    #[derive(Deserialize)]
    struct Query {
        limit: Option<String>,
        before: Option<String>,
        after: Option<String>,
    }
    let query = web::Query::<Query>::from_query(request.query_string());
    let Query { limit, before, after } =
        query.map_err(|_| MaxError::bad_search("the query cannot be read"))?.into_inner();
    let page = Page::parse(limit.as_deref(), before.as_deref(), after.as_deref())?;
    let (messages, more) = demo.world().messages(actor, &id, &page)?;
    let mut response = HttpResponse::Ok();
    if more {
        response.insert_header(("X-Has-Remaining-Items", "1"));
    }
    Ok(response.json(messages))
}

async fn talk(demo: web::Data<DemoMax>, actor: Actor, id: web::Path<String>, body: web::Json<NewMessage>) -> Reply {
    Ok(HttpResponse::Created().json(demo.world().talk(actor, &id, body.object.text()?, now())?))
}

async fn invite(
    demo: web::Data<DemoMax>,
    board: web::Data<SessionBoard>,
    actor: Actor,
    id: web::Path<String>,
    body: web::Json<Invitation>,
) -> Reply {
    let (activity, new) = demo.world().invite(actor, &id, &body.actor.username, now())?;
    if new {
        let participants = demo.world().participants(&id);
        refresh(&board, participants);
    }
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.json(activity))
}

async fn expel(
    demo: web::Data<DemoMax>,
    board: web::Data<SessionBoard>,
    actor: Actor,
    path: web::Path<(String, String)>,
) -> Reply {
    let (id, username) = path.into_inner();
    demo.world().expel(actor, &id, &username)?;
    let remaining = demo.world().participants(&id);
    refresh(&board, remaining.into_iter().chain(Username::parse(&username)));
    Ok(HttpResponse::NoContent().finish())
}

/// Has the sessions of these people ask MAX again for their conversations, so that they hear of the change at once.
fn refresh(board: &SessionBoard, people: impl IntoIterator<Item = Username>) {
    for person in people {
        board.of_user(&person, REFRESHES_MAX).iter().for_each(|card| card.refresh());
    }
}

#[derive(Deserialize)]
struct NewConversation {
    #[serde(default)]
    contexts: Vec<Context>,
    object: Note,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    participants: Vec<String>,
    #[serde(rename = "displayName")]
    display_name: Option<String>,
}

#[derive(Deserialize)]
struct NewMessage {
    object: Note,
}

#[derive(Deserialize)]
struct Note {
    #[serde(rename = "objectType")]
    object_type: Option<String>,
    content: String,
}

impl Note {
    fn text(&self) -> Result<&str, MaxError> {
        match self.object_type.as_deref() {
            None | Some("note") => Ok(&self.content),
            Some(_) => Err(MaxError::invalid("This demo takes objects of the type note only")),
        }
    }
}

#[derive(Deserialize)]
struct Invitation {
    actor: Invited,
}

#[derive(Deserialize)]
struct Invited {
    username: String,
}

/// The user that the three headers authenticate.
enum Caller {
    World(Actor),
    Crowd(Member),
}

impl Caller {
    /// Returns the actor; an error for the crowd, which may not make this call.
    fn actor(self) -> Result<Actor, MaxError> {
        match self {
            Self::World(actor) => Ok(actor),
            Self::Crowd(_) => Err(MaxError::new(403, "Forbidden", "The people of demo.people only listen")),
        }
    }
}

impl FromRequest for Caller {
    type Error = MaxError;
    type Future = std::future::Ready<Result<Self, MaxError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = |name| request.headers().get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let demo = request.app_data::<web::Data<DemoMax>>();
        let parts = (demo, header("x-oauth-username"), header("x-oauth-token"), header("x-oauth-scope"));
        let (Some(demo), Some(username), Some(token), Some(scope)) = parts else {
            return std::future::ready(Err(MaxError::unauthorized()));
        };
        std::future::ready(match demo.crowd().actor(username, token, scope) {
            Some(member) => member.map(Self::Crowd),
            None => demo.world().actor(username, token, scope).map(Self::World),
        })
    }
}

impl FromRequest for Actor {
    type Error = MaxError;
    type Future = std::future::Ready<Result<Self, MaxError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = Caller::from_request(request, payload).into_inner();
        std::future::ready(caller.and_then(Caller::actor))
    }
}

impl fmt::Display for MaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.description)
    }
}

impl ResponseError for MaxError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let Self { error, description, .. } = self;
        let json = json!({ "objectType": "error", "error": error, "error_description": description });
        HttpResponse::build(self.status_code()).json(json)
    }
}

/// Accepts JSON with any content type, as MAX does.
fn json_config() -> web::JsonConfig {
    web::JsonConfig::default().limit(BODY_BYTES_MAX).content_type_required(false).content_type(|_| true).error_handler(
        |error, _| {
            let too_large =
                matches!(error, JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. });
            if too_large {
                return MaxError::new(413, "RequestTooLarge", format!("more than {BODY_BYTES_MAX} bytes")).into();
            }
            match error {
                JsonPayloadError::Deserialize(error) if error.is_data() => MaxError::invalid(error.to_string()).into(),
                error => MaxError::new(400, "JSONParseError", error.to_string()).into(),
            }
        },
    )
}

fn no_method() -> actix_web::Route {
    web::to(|| async { Err::<HttpResponse, _>(MaxError::new(405, "MethodNotAllowed", "There is no such method here")) })
}
