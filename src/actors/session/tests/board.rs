//! Sessions on the board: as long as they live, with what waits for them.

use super::*;
use crate::board::sessions::SessionMeasure;

#[actix_rt::test]
async fn a_session_is_on_the_board_as_long_as_it_lives() {
    for (panics, reason) in [(false, CloseReason::TransportClose), (true, CloseReason::Panic)] {
        let session = Session::start(None);
        let board = session.board.clone();
        let card = board.get(SessionId(1)).unwrap();
        assert_eq!((card.transport(), card.user(), card.waiting().messages), (TransportKind::Polling, None, 0));
        let socket = session.attach();
        socket.send(&["2probe", "5"]);
        session.turn().await;
        assert_eq!(card.transport(), TransportKind::WebSocket);
        assert_eq!(board.oldest(10).len(), 1);

        socket.send(if panics { &["4panic"] } else { &["1"] });
        session.until_closed(reason).await;
        assert!(board.get(SessionId(1)).is_none() && board.oldest(10).is_empty());
        let closed = board.closed.newest_first();
        assert_eq!((closed.len(), closed[0].id, closed[0].reason), (1, SessionId(1), reason));
        assert_eq!(closed[0].transport, TransportKind::WebSocket);
    }
}

#[actix_rt::test]
async fn a_reader_with_a_backlog_is_ranked_and_can_be_closed() {
    let session = Session::start(Some(Socket::stuck()));
    let (board, outbox) = (&session.board, &session.outbox);
    let ranked = |measure| board.top(measure, 10).len();
    (0..16).for_each(|_| assert!(outbox.push(Frame::text("4x"))));
    assert_eq!((ranked(SessionMeasure::Messages), ranked(SessionMeasure::Bytes)), (0, 0), "as many wait often");
    outbox.push(Frame::text("4x"));
    assert_eq!((ranked(SessionMeasure::Messages), ranked(SessionMeasure::Bytes)), (1, 0));
    outbox.push(Frame::text(&"x".repeat(5000)));
    assert_eq!((ranked(SessionMeasure::Messages), ranked(SessionMeasure::Bytes)), (1, 1));
    let card = &board.top(SessionMeasure::Bytes, 1)[0];
    assert_eq!(card.waiting().messages, 18);
    assert!(card.close(CloseReason::Operator));
    session.until_closed(CloseReason::Operator).await;
    assert!(!card.close(CloseReason::Operator), "it has ended");
    assert_eq!((ranked(SessionMeasure::Messages), ranked(SessionMeasure::Bytes)), (0, 0));
}

#[actix_rt::test]
async fn a_refresh_reaches_the_layer_above() {
    let session = Session::start(Some(Socket::default()));
    session.board.get(SessionId(1)).unwrap().refresh();
    session.turn().await;
    assert_eq!(session.refreshed.get(), 1);
    session.turn().await;
    assert_eq!(session.refreshed.get(), 1, "once for each time");
}
