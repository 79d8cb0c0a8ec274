//! The pace of a session: its turns among other tasks, and clients that send too much.

use super::*;
use crate::turns;

/// Returns how often another task has its turn until `done`.
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
    session.until_closed(CloseReason::Flood).await;
    assert!((1000..10_000).contains(&session.heard.get()), "{}", session.heard.get());
    assert!(session.metrics.render().contains(r#"limited_total{limit="packets"}"#));
    // The same by POSTs.
    let session = Session::start_on(&strict(), Generation::Eio4, None, Duration::from_secs(10));
    let body = ["4quiet"; 500].join("\x1e");
    while session.post(&body).await == Ok(Ok(())) {}
    session.until_closed(CloseReason::Flood).await;
    assert!((1000..10_000).contains(&session.heard.get()), "{}", session.heard.get());
}

#[actix_rt::test]
async fn a_burst_is_taken_late_and_whole() {
    let socket = Socket::default();
    let session = Session::start_on(&strict(), Generation::Eio4, Some(socket.clone()), Duration::from_secs(10));
    socket.send(&["4quiet"; 1300]);
    socket.send(&["4last"]);
    socket.until(|wire| (wire.got == ["4last"]).then_some(())).await;
    assert_eq!((session.heard.get(), socket.0.lock().closed), (1301, None));
    // A POST is taken whole, however large it is; the next one waits.
    let session = Session::start_on(&strict(), Generation::Eio4, None, Duration::from_secs(10));
    session.post(&["4quiet"; 1400].join("\x1e")).await.unwrap().unwrap();
    let mut next = session.post("4next");
    assert!(next.try_recv().is_err());
    next.await.unwrap().unwrap();
    assert_eq!(session.heard.get(), 1401);
}

#[actix_rt::test]
async fn the_whole_body_of_a_post_counts() {
    let bytes = Rate { per_second: 100, burst: 100 };
    let allowance = Allowance { packets: Rate::UNLIMITED, bytes, patience: Duration::from_secs(60) };
    let worker = Worker::new(SessionLimits { allowance, ..SessionLimits::default() });
    let session = Session::start_on(&worker, Generation::Eio4, None, Duration::from_secs(10));
    // The answer to the first POST waits until its own bytes are made up for.
    let mut posted = session.post(&["4quiet"; 20].join("\x1e"));
    session.turn().await;
    assert!(posted.try_recv().is_err());
    soon(posted).await.unwrap().unwrap();
    assert_eq!(session.heard.get(), 20);
}
