//! Sessions over sockets that a test holds in its hand: polling, upgrades, and ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::task::{ArcWake, waker};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::application::Application;
use super::front::{FrontError, Listing, PollAnswer, PostAnswer, WaitingPoll};
use super::session::{SessionActor, SessionMessage, SessionParts};
use crate::delivery::buffer::ReadBuffer;
use crate::delivery::outbox::{Bounds, Frames, Outbox};
use crate::delivery::ready::{self, Audience};
use crate::delivery::transport::{Attach, Inbound, Sink, Transport};
use crate::delivery::worker::{SessionLimits, Worker};
use crate::event::{CloseReason, SessionId};
use crate::limits::bucket::Rate;
use crate::limits::meter::Allowance;
use crate::mailbox::Mailbox;
use crate::metrics::{Metrics, ReadAtScrape};
use crate::protocol::Generation;
use crate::protocol::connection::{Alarm, LegacyPeriods, Periods};
use crate::protocol::engine::Packet;
use crate::protocol::frame::{Frame, Payload};
use crate::protocol::handshake::RequestError;
use crate::protocol::payload::Body;
use crate::turns;

/// A socket: what the peer has sent, what it was sent, and how it ended.
#[derive(Debug, Default)]
struct Wire {
    sent: VecDeque<String>,
    got: Vec<String>,
    closed: Option<CloseReason>,
    /// What it has taken and does not write, if it is that kind of socket.
    stuck: Option<Frames>,
    waker: Option<Waker>,
}

#[derive(Clone, Debug, Default)]
struct Socket(Arc<Mutex<Wire>>);

impl Socket {
    fn send(&self, packets: &[&str]) {
        let mut wire = self.0.lock();
        wire.sent.extend(packets.iter().map(|&packet| packet.to_owned()));
        wire.waker.take().into_iter().for_each(Waker::wake);
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
        tokio::time::timeout(Duration::from_secs(5), looking).await.expect("it happens within seconds")
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

/// What happens in the midst of a session's turn.
type Meanwhile = Rc<RefCell<Option<Box<dyn FnOnce()>>>>;

/// Echoes, and has an opinion on one word.
struct Echo {
    outbox: Arc<Outbox>,
    heard: Rc<Cell<usize>>,
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
        self.outbox.push(Frame::text(&format!("4{text}")));
        if text == "bad" { Err(CloseReason::ParseError) } else { Ok(()) }
    }

    fn binary(&mut self, _: &[u8], _: Instant) -> Result<(), CloseReason> {
        Ok(())
    }

    fn poll(&mut self, _: &mut Context<'_>, _: Instant) {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
    }
}

#[derive(Debug)]
struct Unlisted;

impl Listing for Unlisted {}

/// A session, and what reaches it.
struct Session {
    mailbox: Mailbox<SessionActor>,
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    heard: Rc<Cell<usize>>,
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
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let bounds = Bounds { messages_max: 100, bytes_max: 10_000 };
        let outbox = Arc::new(Outbox::new(generation, bounds, metrics.clone()));
        let setup = SessionParts {
            id: SessionId(1),
            peer: IpAddr::from(Ipv4Addr::LOCALHOST),
            periods: Arc::new(Periods {
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
            }),
            payload_bytes_max: 100,
            mailbox_max: 100,
            application: Box::new(Echo { outbox: outbox.clone(), heard: heard.clone(), meanwhile: meanwhile.clone() }),
            outbox: outbox.clone(),
            metrics: metrics.clone(),
        };
        let mut mailbox = None;
        let socket = socket.map(|socket| Box::new(socket) as Box<dyn Transport>);
        SessionActor::launch(setup, worker, socket, |entered| {
            mailbox = Some(entered);
            Box::new(Unlisted)
        });
        Self { mailbox: mailbox.unwrap(), outbox, metrics, heard, meanwhile }
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

    async fn until_gone(&self) {
        while self.mailbox.is_open() {
            tokio::task::yield_now().await;
        }
    }
}

async fn body(answer: oneshot::Receiver<PollAnswer>) -> String {
    match answer.await.expect("an answer").expect("packets") {
        Body::Text(text) => text,
        Body::Binary(bytes) => panic!("text was expected, not {bytes:?}"),
    }
}

#[actix_rt::test]
async fn an_upgrade_goes_from_polls_to_the_socket() {
    let session = Session::start(None);
    let socket = session.attach();
    let first = session.poll();
    socket.send(&["2probe"]);
    assert_eq!(body(first).await, "6", "the poll ends when the probe has come");
    assert_eq!(body(session.poll()).await, "6", "and so does every other one");
    session.post("4before").await.unwrap().unwrap();
    assert_eq!(body(session.poll()).await, "4before", "until the upgrade, polling carries");
    session.post("4left").await.unwrap().unwrap();
    socket.send(&["5", "4after"]);
    socket.until(|wire| (wire.got.len() == 3).then_some(())).await;
    assert_eq!(socket.0.lock().got, ["3probe", "4left", "4after"]);
    let refused = Err(FrontError::Error(RequestError::BadRequest));
    assert_eq!(session.poll().await.unwrap(), refused);
    assert_eq!(session.post("4x").await.unwrap(), Err(FrontError::Error(RequestError::BadRequest)));
    assert_eq!(session.attach().until_closed().await, CloseReason::TransportClose, "a second socket");
    session.mailbox.send_always(SessionMessage::AbortPost(CloseReason::TransportError));
    socket.send(&["4still"]);
    socket.until(|wire| wire.got.contains(&"4still".to_owned()).then_some(())).await;
    assert_eq!(socket.0.lock().closed, None);
}

#[actix_rt::test]
async fn an_upgrade_that_goes_wrong_leaves_polling_as_it_was() {
    let session = Session::start_with(Generation::Eio4, None, Duration::from_millis(20));
    for script in [&["4x"][..], &["2probe", "4x"], &["2probe"], &[]] {
        let socket = session.attach();
        socket.send(script);
        assert_eq!(socket.until_closed().await, CloseReason::TransportClose, "{script:?}");
        session.post("4still").await.unwrap().unwrap();
        assert_eq!(body(session.poll()).await, "4still", "after {script:?}");
    }
}

/// Holds the thread up when it is woken, as a process that is stopped is.
struct Stall(Duration);

impl ArcWake for Stall {
    fn wake_by_ref(stall: &Arc<Self>) {
        std::thread::sleep(stall.0);
    }
}

/// An alarm that comes while the thread is behind is not the last.
#[actix_rt::test]
async fn a_deadline_that_comes_while_the_thread_stands_still_is_looked_at_again() {
    let worker = Worker::new(SessionLimits::default());
    let session = Session::start_on(&worker, Generation::Eio4, None, Duration::from_secs(10));
    let stalled =
        Arc::new(Outbox::new(Generation::Eio4, Bounds { messages_max: 1, bytes_max: 1 }, session.metrics.clone()));
    stalled.register(&waker(Arc::new(Stall(Duration::from_millis(500)))));
    let (alarms, start) = (worker.alarms(&stalled), Instant::now());
    let alarm = |period_ms: u64| {
        let period = Duration::from_millis(period_ms);
        alarms.arm(Alarm { period, due: start + period });
    };
    alarm(90);
    // Its close is told to a poll that comes within 100 ms.
    session.post("1").await.unwrap().unwrap();
    alarm(200);
    tokio::time::sleep_until((start + Duration::from_millis(80)).into()).await;
    // All of this is due together.
    std::thread::sleep(Duration::from_millis(80));
    // The next alarm, of its heartbeat, comes after 25 s.
    tokio::time::timeout(Duration::from_secs(15), session.until_gone()).await.expect("it ends");
}

/// A client whose session was closed while it upgraded hears of it on the socket at once.
#[actix_rt::test]
async fn an_upgrade_of_a_closed_session_closes_the_socket() {
    let session = Session::start(None);
    let socket = session.attach();
    socket.send(&["2probe"]);
    socket.until(|wire| (wire.got.len() == 1).then_some(())).await;
    session.post("4bad").await.unwrap().unwrap();
    socket.send(&["5"]);
    assert_eq!(socket.until_closed().await, CloseReason::ParseError);
    session.until_gone().await;
}

#[actix_rt::test]
async fn ends_by_polling() {
    // Bad Socket.IO: the next poll gets what is left and the end of it.
    let session = Session::start(None);
    session.post("4bad\x1e4ignored").await.unwrap().unwrap();
    assert!(session.post("4x").await.is_err(), "it takes nothing any more");
    assert_eq!(body(session.poll()).await, "4bad\x1e1");
    session.until_gone().await;

    // Bad Engine.IO: over at once; the poll that waits is told.
    let session = Session::start(None);
    let waiting = session.poll();
    session.post("4good\x1eabc").await.unwrap().unwrap();
    assert_eq!(body(waiting).await, "1");
    session.until_gone().await;

    // The client's own end, and a poll that crosses it.
    let session = Session::start(None);
    session.post("1").await.unwrap().unwrap();
    assert_eq!(body(session.poll()).await, "6");
    session.until_gone().await;

    // Two polls at once.
    let session = Session::start(None);
    let (first, second) = (session.poll(), session.poll());
    assert_eq!(body(first).await, "1");
    assert_eq!(second.await.unwrap(), Err(FrontError::Overlap));
    session.until_gone().await;

    // A poll that its client has dropped.
    let session = Session::start(None);
    drop(session.poll());
    session.until_gone().await;

    // A stop does not say that it is for ever.
    let session = Session::start(None);
    let waiting = session.poll();
    session.mailbox.send_always(SessionMessage::Abort(CloseReason::Stop));
    assert_eq!(body(waiting).await, "6");
    session.until_gone().await;
}

/// How often another task has its turn until `done`.
async fn turns_of_others<T>(done: impl Future<Output = T>) -> usize {
    let turns = Rc::new(Cell::new(0));
    let others = turns.clone();
    let other = actix_rt::spawn(async move {
        loop {
            others.set(others.get() + 1);
            tokio::task::yield_now().await;
        }
    });
    done.await;
    other.abort();
    turns.get()
}

#[actix_rt::test]
async fn a_large_post_of_small_packets_lets_others_have_their_turns() {
    let session = Session::start(None);
    let body = ["4quiet"; 10_000].join("\x1e");
    let turns = turns_of_others(async { session.post(&body).await.unwrap().unwrap() }).await;
    assert_eq!(session.heard.get(), 10_000);
    assert!(turns >= 10_000 / 128, "{turns}");
}

#[actix_rt::test]
async fn a_socket_full_of_small_frames_lets_others_have_their_turns() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    socket.send(&["4quiet"; 10_000]);
    let heard = session.heard.clone();
    let all = async {
        while heard.get() < 10_000 {
            tokio::task::yield_now().await;
        }
    };
    let turns = turns_of_others(all).await;
    assert!(turns >= 10_000 / 128, "{turns}");
}

#[actix_rt::test]
async fn a_flood_is_taken_in_by_rounds_however_often_its_session_is_woken() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    socket.send(&["4quiet"; 10_000]);
    let begun = turns::round();
    let (heard, outbox) = (session.heard.clone(), session.outbox.clone());
    let waking = poll_fn(move |cx| {
        outbox.wake();
        cx.waker().wake_by_ref();
        if heard.get() == 10_000 { Poll::Ready(()) } else { Poll::Pending }
    });
    actix_rt::spawn(waking).await.unwrap();
    let rounds = turns::round() - begun;
    assert!(rounds >= 10_000 / 64, "{rounds}");
}

/// Its client has gone away in the midst of it.
#[actix_rt::test]
async fn what_a_post_has_brought_counts_though_its_client_is_gone() {
    let session = Session::start(None);
    drop(session.post(&["4quiet"; 10_000].join("\x1e")));
    session.mailbox.send_always(SessionMessage::AbortPost(CloseReason::TransportError));
    session.until_gone().await;
    assert_eq!(session.heard.get(), 10_000);
    // One that waits for room, for which nobody polls any more, is not waited for.
    let session = Session::start(None);
    drop(session.post(&["4echo"; 10_000].join("\x1e")));
    session.mailbox.send_always(SessionMessage::AbortPost(CloseReason::TransportError));
    session.until_gone().await;
}

fn strict() -> Rc<Worker> {
    let packets = Rate { per_second: 1000, burst: 1000 };
    Worker::new(SessionLimits {
        allowance: Allowance { packets, bytes: Rate::UNLIMITED, patience: Duration::from_millis(500) },
        ..SessionLimits::default()
    })
}

#[actix_rt::test]
async fn a_client_that_floods_on_and_on_is_slowed_down_and_then_closed() {
    let socket = Socket::default();
    let session = Session::start_on(&strict(), Generation::Eio4, Some(socket.clone()), Duration::from_secs(10));
    socket.send(&["4quiet"; 20_000]);
    assert_eq!(socket.until_closed().await, CloseReason::Flood);
    session.until_gone().await;
    assert!((1000..10_000).contains(&session.heard.get()), "{}", session.heard.get());
    let text = session.metrics.render();
    assert!(text.contains(r#"limited_total{limit="packets"}"#) && text.contains(r#"reason="flood"} 1"#), "{text}");
    // The same by POSTs.
    let session = Session::start_on(&strict(), Generation::Eio4, None, Duration::from_secs(10));
    let body = ["4quiet"; 500].join("\x1e");
    while session.post(&body).await == Ok(Ok(())) {}
    session.until_gone().await;
    assert!((1000..10_000).contains(&session.heard.get()), "{}", session.heard.get());
    assert!(session.metrics.render().contains(r#"reason="flood"} 1"#));
}

#[actix_rt::test]
async fn a_burst_is_taken_late_and_whole() {
    let socket = Socket::default();
    let session = Session::start_on(&strict(), Generation::Eio4, Some(socket.clone()), Duration::from_secs(10));
    socket.send(&["4quiet"; 1300]);
    socket.send(&["4last"]);
    socket.until(|wire| (wire.got == ["4last"]).then_some(())).await;
    assert_eq!((session.heard.get(), socket.0.lock().closed), (1301, None));
    // One POST counts as a whole, however much it is; the next one waits.
    let session = Session::start_on(&strict(), Generation::Eio4, None, Duration::from_secs(10));
    session.post(&["4quiet"; 1400].join("\x1e")).await.unwrap().unwrap();
    let mut next = session.post("4next");
    assert!(next.try_recv().is_err());
    next.await.unwrap().unwrap();
    assert_eq!(session.heard.get(), 1401);
}

#[actix_rt::test]
async fn a_heartbeat_in_the_wrong_direction_has_a_reason_of_its_own() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    socket.send(&["2"]);
    assert_eq!(socket.until_closed().await, CloseReason::Direction);
    session.until_gone().await;
    let session = Session::start(None);
    let waiting = session.poll();
    session.post("2").await.unwrap().unwrap();
    assert_eq!(body(waiting).await, "1");
    session.until_gone().await;
    assert!(session.metrics.render().contains(r#"reason="heartbeat_direction"} 1"#));
}

/// What comes in the very moment in which a poll is lost goes by the next one.
#[actix_rt::test]
async fn a_poll_whose_client_has_gone_takes_nothing_along() {
    let session = Session::start_with(Generation::Sio09, None, Duration::from_secs(10));
    assert_eq!(body(session.poll()).await, "1::");
    let lost = session.poll();
    let outbox = session.outbox.clone();
    *session.meanwhile.borrow_mut() = Some(Box::new(move || {
        drop(lost);
        outbox.push(Frame::text("3:::news"));
    }));
    session.outbox.wake();
    while session.meanwhile.borrow().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(body(session.poll()).await, "3:::news");
}

#[actix_rt::test]
async fn a_socket_that_is_not_probed_is_upgraded_to_all_the_same() {
    let session = Session::start(None);
    let waiting = session.poll();
    let socket = session.attach();
    socket.send(&["5", "4hello"]);
    assert_eq!(body(waiting).await, "6");
    socket.until(|wire| (wire.got == ["4hello"]).then_some(())).await;
}

/// More packets in one POST than an outbox holds answers: the rest of it waits for polls, and its client for the
/// answer.
#[actix_rt::test]
async fn a_post_waits_for_room() {
    let session = Session::start(None);
    let packets = (0..500).map(|at| format!("4{at}")).collect::<Vec<_>>().join("\x1e");
    let mut posted = session.post(&packets);
    let mut heard = Vec::new();
    while heard.len() < 500 {
        assert!(heard.len() > 400 || posted.try_recv().is_err(), "it is not done yet");
        heard.extend(body(session.poll()).await.split('\x1e').map(str::to_owned));
    }
    assert_eq!(heard.join("\x1e"), packets);
    assert_eq!(posted.await.unwrap(), Ok(()));
}

#[actix_rt::test]
async fn a_poll_takes_as_much_as_fits_and_at_least_one_packet() {
    let session = Session::start(None);
    let packet = |len: usize| format!("4{}", "x".repeat(len - 1));
    for len in [200, 40, 40, 40] {
        session.outbox.push(Frame::text(&packet(len)));
    }
    assert_eq!(body(session.poll()).await, packet(200));
    assert_eq!(body(session.poll()).await, [packet(40), packet(40)].join("\x1e"));
    assert_eq!(body(session.poll()).await, packet(40));
}

#[actix_rt::test]
async fn what_a_socket_of_0_9_had_no_time_to_write_goes_by_the_next_transport() {
    let session = Session::start_with(Generation::Sio09, None, Duration::from_secs(10));
    let stuck = || Socket(Arc::new(Mutex::new(Wire { stuck: Some(Frames::new()), ..Wire::default() })));
    let socket = session.take(stuck());
    session.outbox.push(Frame::text("a"));
    socket.until(|wire| wire.stuck.as_ref().filter(|taken| !taken.is_empty()).map(drop)).await;
    session.outbox.push(Frame::text("b"));
    assert_eq!(body(session.poll()).await, "1::");
    assert_eq!(socket.until_closed().await, CloseReason::TransportClose);
    assert_eq!(body(session.poll()).await, "\u{fffd}1\u{fffd}a\u{fffd}1\u{fffd}b");
    let socket = session.take(stuck());
    session.outbox.push(Frame::text("c"));
    socket.until(|wire| wire.stuck.as_ref().filter(|taken| !taken.is_empty()).map(drop)).await;
    let socket = session.attach();
    socket.until(|wire| (wire.got == ["c"]).then_some(())).await;
}

#[actix_rt::test]
async fn a_session_that_panics_closes_its_socket_and_is_counted() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    socket.send(&["4panic"]);
    assert_eq!(socket.until_closed().await, CloseReason::Panic);
    session.until_gone().await;
    assert!(
        session
            .metrics
            .render()
            .contains(r#"sessions_closed_total{transport="websocket",protocol="eio4",reason="panic"} 1"#)
    );
}

#[actix_rt::test]
async fn a_reader_that_is_too_slow_is_closed_at_once() {
    let socket = Socket::default();
    let session = Session::start(Some(socket.clone()));
    while session.outbox.push(Frame::text("4x")) {}
    assert_eq!(socket.until_closed().await, CloseReason::Slow);
    session.until_gone().await;
}

/// Pushes numbers from another thread, as a conversation there would, as fast as they are carried.
fn talk(outbox: &Arc<Outbox>, numbers: std::ops::Range<usize>) -> std::thread::JoinHandle<()> {
    let outbox = outbox.clone();
    std::thread::spawn(move || {
        for number in numbers {
            let _batching = (number % 3 == 0).then(|| ready::batch(Audience::Many));
            while !outbox.has_room() {
                std::thread::yield_now();
            }
            assert!(outbox.push(Frame::text(&number.to_string())));
        }
    })
}

#[actix_rt::test]
async fn nothing_is_lost_or_overtaken_while_sockets_follow_one_another() {
    const NUMBERS: usize = 20_000;
    let session = Session::start_with(Generation::Sio09, None, Duration::from_secs(10));
    let talker = talk(&session.outbox, 0..NUMBERS);
    let (mut heard, mut socket) = (Vec::new(), session.attach());
    for at in 0.. {
        let enough = (at % 7).min(NUMBERS - heard.len());
        socket.until(|wire| (wire.got.len() >= enough).then_some(())).await;
        let next = session.attach();
        socket.until_closed().await;
        heard.append(&mut socket.0.lock().got);
        if heard.len() >= NUMBERS {
            break;
        }
        socket = next;
    }
    talker.join().unwrap();
    let expected: Vec<_> = (0..NUMBERS).map(|number| number.to_string()).collect();
    assert_eq!(heard, expected);
}

#[actix_rt::test]
async fn nothing_is_lost_or_overtaken_by_an_upgrade() {
    for _ in 0..100 {
        let session = Session::start(None);
        let talker = talk(&session.outbox, 100..600);
        let mut heard = Vec::new();
        let hear = |heard: &mut Vec<String>, body: String| {
            heard.extend(body.split('\x1e').filter(|packet| *packet != "6").map(str::to_owned));
        };
        while heard.len() < 100 {
            hear(&mut heard, body(session.poll()).await);
        }
        let socket = session.attach();
        let waiting = session.poll();
        socket.send(&["2probe"]);
        hear(&mut heard, body(waiting).await);
        socket.until(|wire| (wire.got.len() == 1).then_some(())).await;
        socket.send(&["5"]);
        let missing = 500 - heard.len();
        socket.until(|wire| (wire.got.len() > missing).then_some(())).await;
        heard.extend(socket.0.lock().got.drain(1..));
        talker.join().unwrap();
        assert_eq!(heard, (100..600).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
