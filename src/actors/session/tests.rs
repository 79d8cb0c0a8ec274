//! Sessions over sockets that a test controls. This file has the items that all these tests share, and the tests of
//! sessions that end on a socket.

mod board;
mod pace;
mod polling;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::task::{Context, Waker};

use futures_util::task::{ArcWake, waker};
use parking_lot::Mutex;

use super::*;
use crate::actors::application::Application;
use crate::actors::front::PollAnswer;
use crate::board::sessions::SessionBoard;
use crate::delivery::buffer::ReadBuffer;
use crate::delivery::outbox::Frames;
use crate::delivery::outbox::tests::limits;
use crate::delivery::ready::{self, Audience};
use crate::delivery::transport::Sink;
use crate::delivery::worker::SessionLimits;
use crate::limits::bucket::Rate;
use crate::limits::meter::Allowance;
use crate::metrics::{Metrics, ReadAtScrape};
use crate::protocol::connection::{LegacyPeriods, Periods};
use crate::protocol::frame::Payload;
use crate::protocol::{Generation, ProtocolError};

/// A socket: the packets that the client has sent and got, and how it ended.
#[derive(Debug, Default)]
struct Wire {
    sent: VecDeque<String>,
    got: Vec<String>,
    closed: Option<CloseReason>,
    /// The frames that a socket which never writes has taken.
    stuck: Option<Frames>,
    waker: Option<Waker>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::actors) struct Socket(Arc<Mutex<Wire>>);

impl Socket {
    /// A socket that takes frames and does not write them.
    fn stuck() -> Self {
        Self(Arc::new(Mutex::new(Wire { stuck: Some(Frames::new()), ..Wire::default() })))
    }

    pub(in crate::actors) fn send(&self, packets: &[&str]) {
        let mut wire = self.0.lock();
        wire.sent.extend(packets.iter().map(|&packet| packet.to_owned()));
        wire.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(in crate::actors) fn got(&self) -> Vec<String> {
        self.0.lock().got.clone()
    }

    pub(in crate::actors) fn closed(&self) -> Option<CloseReason> {
        self.0.lock().closed
    }

    async fn until<T>(&self, mut found: impl FnMut(&Wire) -> Option<T>) -> T {
        let looking = async {
            loop {
                if let Some(found) = found(&self.0.lock()) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        soon(looking).await
    }

    async fn until_closed(&self) -> CloseReason {
        self.until(|wire| wire.closed).await
    }
}

impl Transport for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<CloseReason> {
        loop {
            let mut wire = self.0.lock();
            let Some(text) = wire.sent.pop_front() else {
                wire.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            drop(wire);
            let packet = match Packet::from_text(Generation::Eio4, &text) {
                Ok(packet) => packet,
                Err(error) => return Poll::Ready(error.into()),
            };
            match sink(Inbound::Packet(packet)) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(reason) => return Poll::Ready(reason),
            }
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, outbox: &Outbox) -> Poll<CloseReason> {
        let mut frames = Frames::new();
        let mut wire = self.0.lock();
        match &mut wire.stuck {
            Some(stuck) if stuck.is_empty() => outbox.take(stuck),
            Some(_) => {}
            None => {
                outbox.take(&mut frames);
                outbox.written(frames.len(), frames.iter().map(Frame::len).sum());
                wire.got.extend(frames.iter().map(text));
            }
        }
        Poll::Pending
    }

    fn blocked_since(&self) -> Option<Instant> {
        None
    }

    fn give_up_unwritten(&mut self) -> Frames {
        self.0.lock().stuck.take().unwrap_or_default()
    }

    fn poll_send(&mut self, _: &mut Context<'_>, frame: &Frame, times: usize) -> Poll<CloseReason> {
        self.0.lock().got.extend(std::iter::repeat_n(text(frame), times));
        Poll::Pending
    }

    fn close(self: Box<Self>, reason: CloseReason) {
        self.0.lock().closed = Some(reason);
    }
}

impl Attach for Socket {
    fn attach(self: Box<Self>, _: &Rc<ReadBuffer>) -> io::Result<Box<dyn Transport>> {
        Ok(self)
    }
}

fn text(frame: &Frame) -> String {
    match frame.payload() {
        Payload::Text(text) => text.to_owned(),
        Payload::Binary(data) => format!("{data:?}"),
    }
}

/// Something that happens in the middle of a session's next turn.
type Meanwhile = Rc<RefCell<Option<Box<dyn FnOnce()>>>>;

/// Memory is short when the client has not read more than this.
const KEPT_BYTES_MAX: usize = 4000;

/// Echoes all messages but a few, which it obeys.
struct Echo {
    outbox: Arc<Outbox>,
    heard: Rc<Cell<usize>>,
    refreshed: Rc<Cell<usize>>,
    meanwhile: Meanwhile,
}

impl Application for Echo {
    fn text(&mut self, text: &str, _: Instant) -> Result<(), CloseReason> {
        if text == "panic" {
            panic!("as it was told");
        }
        self.heard.set(self.heard.get() + 1);
        if text == "quiet" {
            return Ok(());
        }
        if text == "end" {
            return Err(CloseReason::ParseError(ProtocolError::Packet));
        }
        self.outbox.push(Frame::text(&format!("4{text}")));
        if text == "bad" { Err(CloseReason::ParseError(ProtocolError::Packet)) } else { Ok(()) }
    }

    fn binary(&mut self, _: &[u8], _: Instant) -> Result<(), CloseReason> {
        Ok(())
    }

    fn allow_kept(&self, bytes: usize) -> Result<(), CloseReason> {
        if bytes > KEPT_BYTES_MAX { Err(CloseReason::Memory) } else { Ok(()) }
    }

    fn poll(&mut self, _: &mut Context<'_>, _: Instant) {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
    }

    fn refresh(&mut self, _: Instant) {
        self.refreshed.set(self.refreshed.get() + 1);
    }
}

#[derive(Debug)]
struct Unlisted;

impl Listing for Unlisted {}

/// Returns the periods of the official servers, but for that of an upgrade.
pub(crate) fn periods(upgrade_timeout: Duration) -> Arc<Periods> {
    Arc::new(Periods {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        upgrade_timeout,
        close_timeout: Duration::from_secs(30),
        legacy: LegacyPeriods {
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(60),
            polling_duration: Duration::from_secs(20),
            close_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(30),
        },
    })
}

/// A session, and the ways to reach it.
struct Session {
    mailbox: Mailbox<SessionActor>,
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    board: Arc<SessionBoard>,
    heard: Rc<Cell<usize>>,
    refreshed: Rc<Cell<usize>>,
    meanwhile: Meanwhile,
}

impl Session {
    fn start(socket: Option<Socket>) -> Self {
        Self::start_with(Generation::Eio4, socket, Duration::from_secs(10))
    }

    fn start_with(generation: Generation, socket: Option<Socket>, upgrade_timeout: Duration) -> Self {
        Self::start_on(&Worker::new(SessionLimits::default()), generation, socket, upgrade_timeout)
    }

    fn start_on(
        worker: &Rc<Worker>,
        generation: Generation,
        socket: Option<Socket>,
        upgrade_timeout: Duration,
    ) -> Self {
        let (heard, meanwhile) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
        let (refreshed, board) = (Rc::new(Cell::new(0)), SessionBoard::new(Instant::now()));
        let kind = if socket.is_some() { TransportKind::WebSocket } else { TransportKind::Polling };
        let application = |outbox: &Arc<Outbox>| Echo {
            outbox: outbox.clone(),
            heard: heard.clone(),
            refreshed: refreshed.clone(),
            meanwhile: meanwhile.clone(),
        };
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let bounds = limits(100, 10_000);
        let outbox = Arc::new(Outbox::new(generation, bounds, metrics.clone()));
        let parts = SessionParts {
            id: SessionId(1),
            peer: IpAddr::from(Ipv4Addr::LOCALHOST),
            periods: periods(upgrade_timeout),
            payload_bytes_max: 100,
            application: Box::new(application(&outbox)),
            entry: board.enter(SessionId(1), IpAddr::from(Ipv4Addr::LOCALHOST), kind, &outbox),
            outbox: outbox.clone(),
            metrics: metrics.clone(),
        };
        let mut mailbox = None;
        let socket = socket.map(|socket| Box::new(socket) as Box<dyn Transport>);
        SessionActor::launch(parts, worker, socket, |entered| {
            mailbox = Some(entered);
            Box::new(Unlisted)
        });
        Self { mailbox: mailbox.unwrap(), outbox, metrics, board, heard, refreshed, meanwhile }
    }

    fn poll(&self) -> oneshot::Receiver<PollAnswer> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.try_send(SessionMessage::Poll(WaitingPoll { script: false, reply })).unwrap();
        answer
    }

    fn post(&self, body: &str) -> oneshot::Receiver<PostAnswer> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.try_send(SessionMessage::Post { body: Body::Text(body.to_owned()), reply }).unwrap();
        answer
    }

    fn attach(&self) -> Socket {
        self.take(Socket::default())
    }

    fn take(&self, socket: Socket) -> Socket {
        self.mailbox.try_send(SessionMessage::Attach(Box::new(socket.clone()))).unwrap();
        socket
    }

    /// Runs the session's task once more, after the messages that it has got.
    async fn turn(&self) {
        let (done, wait) = oneshot::channel();
        *self.meanwhile.borrow_mut() = Some(Box::new(move || done.send(()).unwrap()));
        self.outbox.wake();
        wait.await.unwrap();
    }

    async fn until_closed(&self, reason: CloseReason) {
        let closing = async {
            while self.mailbox.is_open() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), closing).await.expect("it ends");
        let (text, label) = (self.metrics.render(), format!(r#"reason="{}"}} 1"#, reason.as_str()));
        assert!(text.contains(&label), "not closed by {label}: {text}");
    }
}

/// Waits for something that has to come before any alarm of a session's heartbeat.
async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), awaited).await.expect("it happens within seconds")
}

async fn body(answer: oneshot::Receiver<PollAnswer>) -> String {
    match soon(answer).await.expect("an answer").expect("packets") {
        Body::Text(text) => text,
        Body::Binary(bytes) => panic!("text was expected, not {bytes:?}"),
    }
}

/// Blocks the thread when it is woken, as a stopped process is blocked.
struct Stall(Duration);

impl ArcWake for Stall {
    fn wake_by_ref(stall: &Arc<Self>) {
        std::thread::sleep(stall.0);
    }
}

#[actix_rt::test]
async fn a_deadline_that_comes_while_the_thread_stands_still_is_looked_at_again() {
    let worker = Worker::new(SessionLimits::default());
    let session = Session::start_on(&worker, Generation::Eio4, None, Duration::from_secs(10));
    let stalled = Arc::new(Outbox::new(Generation::Eio4, limits(1, 1), session.metrics.clone()));
    stalled.register(&waker(Arc::new(Stall(Duration::from_millis(500)))));
    let (alarms, start) = (worker.alarms(&stalled), Instant::now());
    let alarm = |period_ms: u64| {
        let period = Duration::from_millis(period_ms);
        alarms.arm(Alarm { period, due: start + period });
    };
    alarm(90);
    // The session waits 100 ms for a poll that can be told.
    session.post("1").await.unwrap().unwrap();
    alarm(200);
    tokio::time::sleep_until((start + Duration::from_millis(80)).into()).await;
    // All of this is due together.
    std::thread::sleep(Duration::from_millis(80));
    // Without another look, the session would end by its heartbeat, after 25 s.
    session.until_closed(CloseReason::TransportClose).await;
}

#[actix_rt::test]
async fn a_heartbeat_in_the_wrong_direction_has_a_reason_of_its_own() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    socket.send(&["2"]);
    assert_eq!(socket.until_closed().await, CloseReason::Direction);
    session.until_closed(CloseReason::Direction).await;
    let session = Session::start(None);
    let waiting = session.poll();
    session.post("2").await.unwrap().unwrap();
    assert_eq!(body(waiting).await, "1");
    session.until_closed(CloseReason::Direction).await;
    // The end does not wait for a poll either.
    let session = Session::start(None);
    session.post("2").await.unwrap().unwrap();
    session.until_closed(CloseReason::Direction).await;
}

#[actix_rt::test]
async fn a_session_that_panics_closes_its_socket_and_is_counted() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    socket.send(&["4panic"]);
    assert_eq!(socket.until_closed().await, CloseReason::Panic);
    session.until_closed(CloseReason::Panic).await;
    let line = r#"sessions_closed_total{transport="websocket",protocol="eio4",reason="panic"} 1"#;
    assert!(session.metrics.render().contains(line));
}

#[actix_rt::test]
async fn a_session_that_is_to_end_reads_nothing_more() {
    let socket = Socket::default();
    let carried = Session::start(Some(socket.clone()));
    let probed = Session::start(None);
    let probe = probed.attach();
    for (session, socket, packets) in [(carried, socket, &["4a"][..]), (probed, probe, &["5", "4a"])] {
        session.turn().await;
        session.mailbox.send_always(SessionMessage::Abort(CloseReason::Stop));
        socket.send(packets);
        session.until_closed(CloseReason::Stop).await;
        assert_eq!((session.heard.get(), socket.closed()), (0, Some(CloseReason::Stop)));
    }
}

#[actix_rt::test]
async fn a_session_ends_when_memory_is_too_short_for_what_its_client_does_not_read() {
    let large = Frame::text(&"x".repeat(KEPT_BYTES_MAX));
    let session = Session::start(None);
    session.outbox.push(large.clone());
    session.until_closed(CloseReason::Memory).await;
    // With a socket, that is the case when its client says more by a POST.
    let session = Session::start_with(Generation::Sio09, None, Duration::from_secs(10));
    session.take(Socket::stuck());
    session.outbox.push(large);
    session.turn().await;
    assert!(session.post("3:::a").await.is_err());
    session.until_closed(CloseReason::Memory).await;
    assert_eq!(session.heard.get(), 0);
}

#[actix_rt::test]
async fn a_reader_that_is_too_slow_is_closed_at_once() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    while session.outbox.push(Frame::text("4x")) {}
    assert_eq!(socket.until_closed().await, CloseReason::Slow);
    session.until_closed(CloseReason::Slow).await;
}
