//! The API of a server with very many sessions and conversations: no answer takes long. As in a server, the sessions
//! and the conversations live on threads of their own. The sockets of the sessions swallow all frames.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_rt::{Arbiter, ArbiterHandle};
use actix_web::App;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::Conversations;
use crate::actors::application::Application;
use crate::actors::conversation::{ConversationActor, ConversationMessage, Enter};
use crate::actors::front::{Listing, SessionParts};
use crate::actors::pending_entries::PendingEntries;
use crate::actors::session::SessionActor;
use crate::actors::session::tests::periods;
use crate::admin::api::{ROUTES, mount};
use crate::admin::guard::Guard;
use crate::admin::state::Admin;
use crate::board::sessions::{SessionBoard, SessionCard};
use crate::config::Config;
use crate::delivery::limits::OutboxLimits;
use crate::delivery::outbox::{Frames, Outbox};
use crate::delivery::transport::{Sink, Transport};
use crate::delivery::worker::{SessionLimits, Worker};
use crate::event::{CloseReason, SessionId, Talk, Username};
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::protocol::connection::Periods;
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

/// CPU time that all actors of a thread may take together, in a build without optimisation. If one more of them cost
/// more the more there are, it would take hours.
const CPU_OF_A_THREAD_MAX: Duration = Duration::from_secs(150);

/// Returns the CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// A socket that swallows what it shall write, or takes nothing.
#[derive(Debug)]
struct Swallow {
    takes: bool,
}

impl Transport for Swallow {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut Sink<'_>) -> Poll<CloseReason> {
        Poll::Pending
    }

    fn poll_write(&mut self, _: &mut Context<'_>, outbox: &Outbox) -> Poll<CloseReason> {
        if self.takes {
            let mut frames = Frames::new();
            outbox.take(&mut frames);
            outbox.written(frames.len(), frames.iter().map(Frame::len).sum());
        }
        Poll::Pending
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &Frame, _: usize) -> Poll<CloseReason> {
        Poll::Pending
    }

    fn blocked_since(&self) -> Option<Instant> {
        None
    }

    fn give_up_unwritten(&mut self) -> Frames {
        Frames::new()
    }

    fn close(self: Box<Self>, _: CloseReason) {}
}

/// A layer that counts how often it is told to refresh, and hears nothing.
#[derive(Debug)]
struct Silent {
    refreshed: Arc<AtomicU64>,
}

impl Application for Silent {
    fn text(&mut self, _: &str, _: Instant) -> Result<(), CloseReason> {
        Ok(())
    }

    fn binary(&mut self, _: &[u8], _: Instant) -> Result<(), CloseReason> {
        Ok(())
    }

    fn refresh(&mut self, _: Instant) {
        self.refreshed.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Unlisted;

impl Listing for Unlisted {}

/// What sessions are made of.
#[derive(Clone)]
struct Sessions {
    board: Arc<SessionBoard>,
    metrics: Arc<Metrics>,
    limits: Arc<OutboxLimits>,
    refreshed: Arc<AtomicU64>,
}

impl Sessions {
    /// Starts all sessions on this thread. Each has had a heartbeat, and some have a backlog.
    fn start(&self) -> Vec<(Arc<SessionCard>, Arc<Outbox>)> {
        // Their clients never answer a heartbeat.
        let periods = Arc::new(Periods { ping_interval: Duration::from_secs(3600), ..*periods(Duration::ZERO) });
        let worker = Worker::new(SessionLimits::default());
        (0..SESSIONS).map(|id| self.start_one(id, &worker, &periods)).collect()
    }

    fn start_one(&self, id: u64, worker: &Rc<Worker>, periods: &Arc<Periods>) -> (Arc<SessionCard>, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::new(Generation::Eio4, self.limits.clone(), self.metrics.clone()));
        let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
        let entry = self.board.enter(SessionId(id), peer, TransportKind::WebSocket, &outbox);
        let user = if id < OF_ONE_USER { "busy".to_owned() } else { format!("u{id}") };
        assert!(self.board.note(&Username::parse(&user).unwrap(), SessionId(id), 0));
        entry.beat(Some(Duration::from_micros(id * 7919 % 100_000 + 1)));
        let card = entry.card().clone();
        let parts = SessionParts {
            id: SessionId(id),
            peer,
            periods: periods.clone(),
            payload_bytes_max: 1_000_000,
            outbox: outbox.clone(),
            entry,
            application: Box::new(Silent { refreshed: self.refreshed.clone() }),
            metrics: self.metrics.clone(),
        };
        let socket = Swallow { takes: id >= SLOW };
        SessionActor::launch(parts, worker, Some(Box::new(socket)), |_| Box::new(Unlisted));
        if id < SLOW {
            (0..20 + id % 50).for_each(|_| _ = outbox.push(Frame::text(&"x".repeat(300))));
        }
        (card, outbox)
    }
}

/// Waits until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        actix_rt::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs `task` on a thread, and returns what it returns.
async fn on<T: Send + 'static>(thread: &ArbiterHandle, task: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = oneshot::channel();
    thread.spawn_fn(move || _ = done.send(task()));
    result.await.unwrap()
}

/// Starts all conversations. Each session enters one, and the first of them enter the conversation 0 too. One
/// conversation in ten hears an update.
async fn conversations(
    admin: &Admin,
    sessions: &[(Arc<SessionCard>, Arc<Outbox>)],
    thread: &ArbiterHandle,
) -> Vec<Mailbox<ConversationActor>> {
    let starts = Conversations::of(admin);
    let start = move || (0..CONVERSATIONS).map(|at| starts.start(&format!("c{at}"))).collect::<Vec<_>>();
    let doors = on(thread, start).await;
    let in_the_first = (0..IN_THE_FIRST).map(|at| (0, at));
    let (done, entered) = oneshot::channel();
    let pending = PendingEntries::new(sessions.len() + IN_THE_FIRST, done);
    for (conversation, session) in in_the_first.chain((0..sessions.len()).map(|at| (at % doors.len(), at))) {
        let (card, outbox) = &sessions[session];
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
    let (of_sessions, of_conversations) = (Arbiter::new(), Arbiter::new());
    let sessions = Sessions {
        board: admin.boards.sessions.clone(),
        metrics: admin.metrics.clone(),
        limits: Arc::new(OutboxLimits::new(&Config::default().outbox)),
        refreshed: Arc::default(),
    };
    let refreshed = sessions.refreshed.clone();
    let held = on(&of_sessions.handle(), move || sessions.start()).await;
    let doors = conversations(&admin, &held, &of_conversations.handle()).await;
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
        if path.ends_with("/close") {
            until(|| refreshed.load(Ordering::Relaxed) == OF_ONE_USER).await;
        }
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
    drop(doors);
    until(|| admin.boards.sessions.oldest(1).is_empty()).await;
    for thread in [of_sessions, of_conversations] {
        let took = on(&thread.handle(), cpu).await;
        assert!(took < CPU_OF_A_THREAD_MAX, "a thread took {took:?} from the first to the last of its actors");
        thread.stop();
        thread.join().unwrap();
    }
}
