//! Changes of the transport: upgrades, and the transports of 0.9 one after the other.

use super::*;

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

#[actix_rt::test]
async fn an_upgrade_of_a_closed_session_closes_the_socket() {
    let session = Session::start(None);
    let socket = session.attach();
    socket.send(&["2probe"]);
    socket.until(|wire| (wire.got.len() == 1).then_some(())).await;
    session.post("4bad").await.unwrap().unwrap();
    socket.send(&["5"]);
    assert_eq!(socket.until_closed().await, CloseReason::ParseError(ProtocolError::Packet));
    session.until_closed(CloseReason::ParseError(ProtocolError::Packet)).await;
}

#[actix_rt::test]
async fn a_socket_that_ends_behind_the_upgrade_ends_the_session() {
    let session = Session::start(None);
    let socket = session.attach();
    socket.send(&["5", "xyz"]);
    assert_eq!(socket.until_closed().await, CloseReason::ParseError(ProtocolError::Engine));
    session.until_closed(CloseReason::ParseError(ProtocolError::Engine)).await;
}

#[actix_rt::test]
async fn a_close_of_0_9_is_answered_on_the_socket_behind_what_is_queued() {
    for by_post in [false, true] {
        let session = Session::start_with(Generation::Sio09, None, Duration::from_secs(10));
        let socket = session.attach();
        if by_post {
            session.post("\u{fffd}5\u{fffd}3:::a\u{fffd}3\u{fffd}0::").await.unwrap().unwrap();
        } else {
            socket.send(&["4a", "1"]);
        }
        assert_eq!(socket.until_closed().await, CloseReason::TransportClose);
        assert_eq!((socket.got().len(), socket.got().pop()), (2, Some("0::".to_owned())));
        session.until_closed(CloseReason::TransportClose).await;
    }
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

#[actix_rt::test]
async fn what_a_socket_of_0_9_had_no_time_to_write_goes_by_the_next_transport() {
    let session = Session::start_with(Generation::Sio09, None, Duration::from_secs(10));
    let socket = session.take(Socket::stuck());
    session.outbox.push(Frame::text("a"));
    socket.until(|wire| wire.stuck.as_ref().filter(|taken| !taken.is_empty()).map(drop)).await;
    session.outbox.push(Frame::text("b"));
    assert_eq!(body(session.poll()).await, "1::");
    assert_eq!(socket.until_closed().await, CloseReason::TransportClose);
    assert_eq!(body(session.poll()).await, "\u{fffd}1\u{fffd}a\u{fffd}1\u{fffd}b");
    let socket = session.take(Socket::stuck());
    session.outbox.push(Frame::text("c"));
    socket.until(|wire| wire.stuck.as_ref().filter(|taken| !taken.is_empty()).map(drop)).await;
    let socket = session.attach();
    socket.until(|wire| (wire.got == ["c"]).then_some(())).await;
}

/// Pushes numbers from another thread, as a conversation there would, as fast as the outbox has room.
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
