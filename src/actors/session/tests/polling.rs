//! Polls and POSTs: their answers, and the ends of a session on polling.

use super::*;
use crate::mailbox::clock;

#[actix_rt::test]
async fn bad_socket_io_in_a_post_ends_the_session_by_the_next_poll() {
    let session = Session::start(None);
    session.post("4bad\x1e4ignored").await.unwrap().unwrap();
    assert!(session.post("4x").await.is_err(), "the session takes nothing any more");
    assert_eq!(body(session.poll()).await, "4bad\x1e1");
    session.until_closed(CloseReason::ParseError(ProtocolError::Packet)).await;
}

#[actix_rt::test]
async fn a_poll_that_waits_is_told_of_the_end_at_once() {
    let session = Session::start(None);
    let waiting = session.poll();
    session.post("4end").await.unwrap().unwrap();
    assert_eq!(body(waiting).await, "1");
    session.until_closed(CloseReason::ParseError(ProtocolError::Packet)).await;
}

#[actix_rt::test]
async fn bad_engine_io_in_a_post_ends_the_session_at_once() {
    let session = Session::start(None);
    let waiting = session.poll();
    session.post("4good\x1eabc").await.unwrap().unwrap();
    assert_eq!(body(waiting).await, "1");
    session.until_closed(CloseReason::ParseError(ProtocolError::Engine)).await;
}

#[actix_rt::test]
async fn a_close_by_a_post_answers_the_poll_that_crosses_it() {
    let session = Session::start(None);
    session.post("1").await.unwrap().unwrap();
    assert_eq!(body(session.poll()).await, "6");
    session.until_closed(CloseReason::TransportClose).await;
}

#[actix_rt::test]
async fn two_polls_at_once_end_the_session() {
    let session = Session::start(None);
    let (first, second) = (session.poll(), session.poll());
    assert_eq!(body(first).await, "1");
    assert_eq!(second.await.unwrap(), Err(FrontError::Overlap));
    session.until_closed(CloseReason::Overlap).await;
}

#[actix_rt::test]
async fn a_poll_that_its_client_has_dropped_ends_the_session() {
    let session = Session::start(None);
    drop(session.poll());
    session.until_closed(CloseReason::TransportError).await;
    // The same of a poll that has waited.
    let session = Session::start(None);
    let lost = session.poll();
    session.post("4quiet").await.unwrap().unwrap();
    drop(lost);
    session.until_closed(CloseReason::TransportError).await;
}

#[actix_rt::test]
async fn a_stop_does_not_tell_the_poll_that_it_is_for_ever() {
    let session = Session::start(None);
    let waiting = session.poll();
    session.mailbox.send_always(SessionMessage::Abort(CloseReason::Stop));
    assert_eq!(body(waiting).await, "6");
    session.until_closed(CloseReason::Stop).await;
}

#[actix_rt::test]
async fn a_post_that_fails_ends_the_session() {
    let session = Session::start(None);
    let waiting = session.poll();
    session.mailbox.send_always(SessionMessage::AbortPost(CloseReason::TooLarge));
    assert_eq!(body(waiting).await, "1");
    session.until_closed(CloseReason::TooLarge).await;
}

#[actix_rt::test]
async fn packets_of_a_post_count_though_its_client_goes_away() {
    let session = Session::start(None);
    drop(session.post(&["4quiet"; 10_000].join("\x1e")));
    session.mailbox.send_always(SessionMessage::AbortPost(CloseReason::TransportError));
    session.until_closed(CloseReason::TransportError).await;
    assert_eq!(session.heard.get(), 10_000);
}

#[actix_rt::test]
async fn a_post_without_a_client_does_not_wait_for_room() {
    let session = Session::start(None);
    drop(session.post(&["4echo"; 10_000].join("\x1e")));
    session.mailbox.send_always(SessionMessage::AbortPost(CloseReason::TransportError));
    session.until_closed(CloseReason::TransportError).await;
}

/// A packet that comes in the moment in which a poll is lost goes by the next poll.
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

/// More packets in one POST than an outbox holds answers: the rest of the POST waits for polls, and the client for the
/// answer to the POST.
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
async fn a_post_goes_on_when_one_poll_has_made_room() {
    let session = Session::start(None);
    while session.outbox.has_room() {
        session.outbox.push(Frame::text("4"));
    }
    let mut posted = session.post("4quiet");
    session.turn().await;
    assert!(posted.try_recv().is_err(), "there is no room");
    assert!(body(session.poll()).await.starts_with("4\x1e4\x1e"));
    soon(posted).await.unwrap().unwrap();
}

/// A session acts on a message in its next turn, and so that turn belongs to the handling.
#[actix_rt::test]
async fn a_message_is_handled_until_the_end_of_the_turn_in_which_the_session_acts() {
    let session = Session::start(None);
    session.turn().await;
    clock::advance(Duration::ZERO);
    let posted = session.post("4quiet");
    clock::advance(Duration::from_millis(3));
    let done = Rc::new(Cell::new(false));
    *session.meanwhile.borrow_mut() = Some({
        let done = done.clone();
        Box::new(move || {
            clock::advance(Duration::from_millis(20));
            done.set(true);
        })
    });
    soon(posted).await.unwrap().unwrap();
    assert!(done.get());
    let post = session.metrics.mailbox(ActorClass::Session).read(Instant::now()).kinds.swap_remove(2);
    assert_eq!((post.message.as_str(), post.offered), ("post", 1));
    assert_eq!((post.wait.count(), post.wait.sum()), (1, 0.003));
    assert_eq!((post.handle.count(), post.handle.sum()), (1, 0.02));
    assert_eq!(session.heard.get(), 1);
}
