//! The API of a server with very many sessions and conversations: no answer takes long. The conversations live on a
//! thread of their own, as in a server. The sessions are cards with outboxes that nobody writes out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use actix_web::App;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::Conversations;
use crate::actors::conversation::{ConversationActor, ConversationMessage, Enter};
use crate::actors::pending_entries::PendingEntries;
use crate::admin::api::{ROUTES, mount};
use crate::admin::guard::Guard;
use crate::admin::state::Admin;
use crate::board::sessions::SessionEntry;
use crate::config::Config;
use crate::delivery::limits::OutboxLimits;
use crate::delivery::outbox::Outbox;
use crate::event::{CloseReason, SessionId, Talk, Username};
use crate::mailbox::Mailbox;
use crate::protocol::frame::Frame;
use crate::protocol::{Generation, TransportKind};

const SESSIONS: u64 = 200_000;
const CONVERSATIONS: usize = 100_000;

/// Sessions in the first conversation.
const IN_THE_FIRST: usize = 3_000;

/// Sessions with a backlog.
const SLOW: u64 = 5_000;

/// Sessions of one user; all others have a user of their own.
const OF_ONE_USER: u64 = 1_000;

/// CPU time that a request may take.
const CPU_MAX: Duration = Duration::from_millis(50);

/// Returns the CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Enters all sessions. Each has had a heartbeat, and some have a backlog.
fn sessions(admin: &Admin) -> Vec<(SessionEntry, Arc<Outbox>)> {
    let limits = Arc::new(OutboxLimits::new(&Config::default().outbox));
    let board = &admin.boards.sessions;
    let session = |id: u64| {
        let outbox = Arc::new(Outbox::new(Generation::Eio4, limits.clone(), admin.metrics.clone()));
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let entry = board.enter(SessionId(id), address, TransportKind::WebSocket, &outbox);
        let user = if id < OF_ONE_USER { "busy".to_owned() } else { format!("u{id}") };
        assert!(board.note(&Username::parse(&user).unwrap(), SessionId(id), 0));
        entry.beat(Some(Duration::from_micros(id * 7919 % 100_000 + 1)));
        if id < SLOW {
            (0..20 + id % 50).for_each(|_| _ = outbox.push(Frame::text(&"x".repeat(300))));
        }
        (entry, outbox)
    };
    (0..SESSIONS).map(session).collect()
}

/// Starts all conversations. Each session enters one, and the first of them enter the conversation 0 too. One
/// conversation in ten hears an update.
async fn conversations(
    admin: &Admin,
    sessions: &[(SessionEntry, Arc<Outbox>)],
    thread: &ArbiterHandle,
) -> Vec<Mailbox<ConversationActor>> {
    let (starts, (started, doors)) = (Conversations::of(admin), oneshot::channel());
    thread.spawn_fn(move || {
        let doors = (0..CONVERSATIONS).map(|at| starts.start(&format!("c{at}")));
        let _ = started.send(doors.collect::<Vec<_>>());
    });
    let doors = doors.await.unwrap();
    let in_the_first = (0..IN_THE_FIRST).map(|at| (0, at));
    let (done, entered) = oneshot::channel();
    let pending = PendingEntries::new(sessions.len() + IN_THE_FIRST, done);
    for (conversation, session) in in_the_first.chain((0..sessions.len()).map(|at| (at % doors.len(), at))) {
        let (entry, outbox) = &sessions[session];
        let card = entry.card();
        let (username, outbox, pending_entry) = (card.user().unwrap(), outbox.clone(), pending.one());
        let enter = Enter { session: card.id, username, outbox, pending_entry };
        doors[conversation].send_always(ConversationMessage::Enter(enter));
    }
    let username = Username::parse("u").unwrap();
    for door in doors.iter().step_by(10) {
        let talk = Talk { conversation: "c".into(), timestamp: None, message_id: None };
        let (session, username) = (SessionId(u64::MAX), username.clone());
        door.send_always(ConversationMessage::Talk { session, username, talk, ticket: None });
    }
    entered.await.unwrap();
    doors
}

/// Returns the body of a request to a route.
fn body_of(path: &str) -> String {
    match path.rsplit('/').next().unwrap() {
        "updates" if path.contains("{id}") => r#"{"username":"u","messageID":1}"#.to_owned(),
        "updates" => {
            let update = |at: usize| format!(r#"{{"conversation":"c{at}","username":"u","messageID":{at}}}"#);
            format!(r#"{{"updates":[{}]}}"#, (0..1000).map(update).collect::<Vec<_>>().join(","))
        }
        _ => "{}".to_owned(),
    }
}

#[actix_rt::test]
async fn no_answer_takes_long_however_many_sessions_and_conversations_there_are() {
    let admin = Data::new(Admin::of_idle_server(Guard::default()));
    let held = sessions(&admin);
    let thread = Arbiter::new();
    let doors = conversations(&admin, &held, &thread.handle()).await;
    assert_eq!(admin.metrics.conversations.get(), CONVERSATIONS as i64);
    let app = init_service(App::new().app_data(admin.clone()).configure(mount)).await;

    let mut asked: Vec<(Method, String, String)> = Vec::new();
    for route in ROUTES.iter().filter(|route| !route.path.ends_with("/drain")) {
        let path =
            route.path.replace("sessions/{id}", "sessions/100").replace("{id}", "c0").replace("{username}", "busy");
        for method in route.methods {
            asked.push((method.to_uppercase().parse().unwrap(), path.clone(), body_of(route.path)));
        }
    }
    for query in [
        "sessions?by=bytes",
        "sessions?by=messages",
        "sessions?by=age",
        "sessions?by=round_trip",
        "sessions?by=folded",
        "conversations?by=members",
        "conversations?by=talks_per_second",
        "conversations?by=deliveries_per_second",
    ] {
        asked.push((Method::GET, format!("/api/v1/{query}&top=100"), String::new()));
    }
    // Those that close sessions come last.
    asked.sort_by_key(|(_, path, _)| path.ends_with("/close"));
    for (method, path, body) in asked {
        let request =
            TestRequest::with_uri(&path).method(method.clone()).insert_header(("Content-Type", "application/json"));
        let request = request.set_payload(body).to_request();
        let before = cpu();
        let answer = call_service(&app, request).await;
        let took = cpu() - before;
        let status = answer.status();
        assert!(status.is_success(), "{method} {path}: {status}");
        assert!(took < CPU_MAX, "{method} {path} took {took:?}");
    }
    let closed = held.iter().filter(|(_, outbox)| !outbox.close(CloseReason::Stop)).count() as u64;
    assert_eq!(closed, OF_ONE_USER, "one of them was closed by its number");
    let before = cpu();
    drop((held, doors));
    let each = (cpu() - before) / (SESSIONS as u32 + CONVERSATIONS as u32);
    assert!(each < Duration::from_micros(500), "{each:?} for each session and conversation that goes");
    thread.stop();
    thread.join().unwrap();
}
