//! The constants of the cost that `maxtalk check` shows, held near measurements of the program.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

#[path = "../benches/support/mod.rs"]
mod bench;
mod support;

use std::fs;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use allocation_counter::measure;
use futures_util::future::join_all;
use maxtalk::testing::actors::ConversationMessage;
use maxtalk::testing::config::cost;
use maxtalk::testing::delivery::{News, Recount};
use maxtalk::testing::event::{ClientEvent, ConversationId, SessionId, Talk};
use maxtalk::testing::mailbox::{Addressed, Mail, Mailbox};
use maxtalk::testing::protocol::Frame;
use maxtalk::testing::raise_file_limit;

use support::client::{Client, Heard, Kind, join_of, not_ok};
use support::max_by_rule::MaxByRule;
use support::process::{Process, maxtalk};
use support::redis_server::RedisServer;
use support::run;

/// Sessions of each measurement.
const SESSIONS: usize = 2000;

/// Sessions that come before, and fill buffers and caches that stay.
const FIRST: usize = 200;

/// Expects a constant to be as large as a measurement, give or take a tenth, and not far above it.
fn is_near(what: &str, constant: u64, measured: f64) {
    let constant = constant as f64;
    assert!(measured * 0.9 <= constant && constant <= measured * 1.6, "{what}: {constant}, measured {measured}");
}

/// Returns the memory of the server without the pages of its program.
fn own_bytes(server: &Process) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB")).unwrap();
    kib.trim().parse::<f64>().unwrap() * 1024.0
}

/// Starts a server with these settings, which keeps no lost sessions unless they say so.
fn start(max: &MaxByRule, settings: &[(&str, &str)]) -> Process {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", &max.url()]);
    command.env("MAXTALK_RECOVERY__WINDOW_MS", "0").envs(settings.iter().copied());
    // On a busy machine, many joins take a while.
    command.envs([("MAXTALK_MAX__WAIT_MS", "600000"), ("MAXTALK_MAX__TIMEOUT_MS", "600000")]);
    Process::start(command)
}

/// Connects some clients.
async fn connect(server: &mut Process, count: usize) -> Vec<Client> {
    let addr = server.addr();
    let mut clients = Vec::new();
    while clients.len() < count {
        let some = (0..50).map(|_| Client::connect(addr, Kind::WebSocket, ""));
        clients.extend(join_all(some).await);
    }
    clients
}

/// Has the clients join as `v0`, `v1` and so on, with the first number given.
async fn join(clients: &mut [Client], mut first: usize) {
    for some in clients.chunks_mut(50) {
        for client in &mut *some {
            client.emit("join", &join_of(&format!("v{first}"))).await;
            first += 1;
        }
        for client in some {
            while !matches!(client.hear().await, Heard::Event(name, _) if name == "listening") {}
        }
    }
}

/// Returns the memory of a session that has joined: each is in this number of conversations, of ten members each.
async fn bytes_of_session(conversations: usize, is_alone: bool, settings: &[(&str, &str)]) -> f64 {
    let max = MaxByRule::start();
    for n in 0..FIRST + SESSIONS {
        let first = if is_alone { n } else { n / 10 * conversations };
        let ids: Vec<_> = (first..first + conversations).map(|id| format!("{id:024x}")).collect();
        max.talks_in(&format!("v{n}"), &ids.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let mut server = start(&max, settings);
    let mut clients = connect(&mut server, FIRST).await;
    join(&mut clients, 0).await;
    let before = own_bytes(&server);
    let mut clients = connect(&mut server, SESSIONS).await;
    join(&mut clients, FIRST).await;
    (own_bytes(&server) - before) / SESSIONS as f64
}

#[test]
fn sessions_memberships_and_conversations_cost_what_is_said() {
    raise_file_limit(0).unwrap();
    run(async {
        let alone = bytes_of_session(1, true, &[]).await;
        let among_ten = bytes_of_session(1, false, &[]).await;
        let often = bytes_of_session(21, false, &[]).await;
        let recoverable = bytes_of_session(1, true, &[("MAXTALK_RECOVERY__WINDOW_MS", "120000")]).await;
        let redis = RedisServer::start();
        let on_the_bus = bytes_of_session(1, true, &[("MAXTALK_CLUSTER__URL", &redis.url())]).await;
        // Ten members share a conversation.
        let conversation = (alone - among_ten) / 0.9;
        let membership = (often - among_ten) / 20.0 - conversation / 10.0;
        let session = alone - membership - conversation;
        is_near("a session", cost::SESSION_BYTES, session);
        is_near("the recovery of a session", cost::RECOVERY_BYTES, recoverable - alone);
        is_near("a membership", cost::MEMBERSHIP_BYTES, membership);
        is_near("a conversation", cost::CONVERSATION_BYTES, conversation);
        is_near("a conversation on the bus", cost::ATTACHED_BYTES, on_the_bus - alone);
    });
}

#[test]
fn a_join_that_waits_for_max_costs_what_is_said() {
    raise_file_limit(0).unwrap();
    run(async {
        let max = MaxByRule::start();
        (0..FIRST + SESSIONS).for_each(|n| max.hold(&format!("v{n}")));
        let mut server = start(&max, &[]);
        let mut clients = connect(&mut server, FIRST + SESSIONS).await;
        // Who was answered once has the buffers for it.
        for client in &mut clients {
            client.call("unknown", "{}", &[], |ack| not_ok(ack, "unknown_event")).await;
        }
        let mut before = 0.0;
        for (n, client) in clients.iter_mut().enumerate() {
            if n == FIRST {
                before = own_bytes(&server);
            }
            client.emit("join", &join_of(&format!("v{n}"))).await;
            // This is answered after the join is under way.
            client.call("unknown", "{}", &[], |ack| not_ok(ack, "unknown_event")).await;
        }
        let join = (own_bytes(&server) - before) / SESSIONS as f64;
        is_near("a join", cost::JOIN_BYTES, join);
        (0..FIRST + SESSIONS).for_each(|n| max.release(&format!("v{n}")));
    });
}

/// Returns the memory of a process without clients.
fn idle_bytes(workers: usize) -> f64 {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
    command.env("MAXTALK_SERVER__WORKERS", workers.to_string());
    let mut server = Process::start(command);
    server.addr();
    own_bytes(&server)
}

#[test]
fn a_process_and_its_workers_cost_what_is_said() {
    let (with_one, with_many) = (idle_bytes(1), idle_bytes(33));
    let worker = (with_many - with_one) / 32.0;
    is_near("a worker", cost::WORKER_BYTES, worker);
    // The pages of the program, which are larger here than in a release, come on top of that.
    assert!(with_one < cost::PROCESS_BYTES as f64, "a process: {with_one}");
}

/// Keeps its messages in the mailbox: its thread does not run.
struct Mute;

impl Actor for Mute {
    type Context = Context<Self>;
}

impl Addressed for Mute {
    type Message = ConversationMessage;
}

impl Handler<Mail<ConversationMessage>> for Mute {
    type Result = ();

    fn handle(&mut self, _: Mail<ConversationMessage>, _: &mut Self::Context) {}
}

/// A conversation that is never asked for a recount.
#[derive(Debug)]
struct Uncounted(ConversationId);

impl Recount for Uncounted {
    fn conversation(&self) -> &ConversationId {
        &self.0
    }

    fn request(&self, _: SessionId) {}
}

fn update(talk: Talk) -> News {
    News::Update { namespace: "/max".into(), username: bench::username(1), talk }
}

/// Returns the bytes that each of `items` costs when it is given to `take`.
fn bytes_of_each<T>(items: Vec<T>, mut take: impl FnMut(T)) -> f64 {
    let count = items.len() as f64;
    let mut items = items.into_iter();
    measure(|| items.by_ref().for_each(&mut take)).bytes_current as f64 / count
}

#[test]
fn messages_cost_what_is_said() {
    let system = actix_rt::System::new();
    // The mailboxes of these metrics have no bound.
    let mailbox = system.block_on(async { Mailbox::new(Mute.start(), &bench::metrics()) });
    let message = |_| {
        let (session, username) = (SessionId(0), bench::username(0));
        ConversationMessage::Talk { session, username, talk: bench::talk(), ticket: None }
    };
    let mail = bytes_of_each((0..1000).map(message).collect(), |message| mailbox.try_send(message).unwrap());
    is_near("a message in a mailbox", cost::MAIL_BYTES, mail);

    let outbox = bench::outbox(&bench::metrics());
    // The queue has just doubled.
    let frames = (0..1025).map(|_| Frame::text("4")).collect();
    let frame = bytes_of_each(frames, |frame| _ = outbox.push(frame));
    is_near("a message in an outbox", cost::FRAME_BYTES, frame);

    // News of many conversations, for a reader whose outbox is full.
    while outbox.push_news(Frame::text("4"), &bench::news()) {}
    let ids: Vec<_> = (0..1025).map(|n| ConversationId::from(format!("{n:024x}").as_str())).collect();
    let updates: Vec<_> = ids.iter().map(|id| Talk { conversation: id.clone(), ..bench::talk() }).map(update).collect();
    let marks: Vec<News> = ids.into_iter().map(|id| News::Presence(Arc::new(Uncounted(id)))).collect();
    let fold = |news: News| _ = outbox.push_news(Frame::text("4"), &news);
    // Presence is held by its conversation too.
    let held = marks.iter().map(News::clone).collect();
    let folded = bytes_of_each(updates, fold) + bytes_of_each(held, fold);
    is_near("folded news", cost::FOLD_BYTES, folded);

    // In a queue that has just doubled.
    let event = 2 * size_of::<(ClientEvent, Option<u64>)>();
    is_near("an event that waits", cost::EVENT_BYTES, event as f64);
}
