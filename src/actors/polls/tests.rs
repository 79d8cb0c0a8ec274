//! Polls and POSTs without a session.

use std::sync::Arc;
use std::task::Waker;

use super::*;
use crate::actors::front::PollAnswer;
use crate::delivery::outbox::tests::limits;
use crate::metrics::{Metrics, ReadAtScrape};
use crate::protocol::ProtocolError;
use tokio::sync::oneshot::Receiver;

/// The polling transport of a client, whose answers are bounded to 100 bytes, and its outbox.
struct Client {
    polls: Polls,
    outbox: Outbox,
    metrics: Arc<Metrics>,
}

impl Client {
    fn new(generation: Generation) -> Self {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let outbox = Outbox::new(generation, limits(100, 10_000), metrics.clone());
        Self { polls: Polls::new(100), outbox, metrics }
    }

    /// Polls, to be answered by a script or not. Returns the receiver of the answer, and whether the session goes on.
    fn poll(&mut self, script: bool, polled: Polled) -> (Receiver<PollAnswer>, Result<(), CloseReason>) {
        let (reply, answer) = oneshot::channel();
        let taken = self.polls.take_poll(WaitingPoll { script, reply }, polled, &self.outbox);
        (answer, taken)
    }

    fn waits(&mut self) -> Receiver<PollAnswer> {
        self.poll(false, Polled::Waits).0
    }

    fn write(&mut self, last: Option<&str>) -> PollWrite {
        self.polls.write(&self.outbox, last, &self.metrics.polling_written)
    }

    fn post(&mut self, body: &str) -> Receiver<PostAnswer> {
        let (reply, answer) = oneshot::channel();
        self.polls.take_post(self.outbox.generation(), Body::Text(body.to_owned()), reply);
        answer
    }

    /// Reads the POST with room for `room` packets. Returns the end of the read, and the messages taken. The message
    /// `end` ends the session.
    fn feed(&mut self, room: usize) -> (Result<(), PostEnd>, Vec<String>) {
        let mut taken = Vec::new();
        let fed = self.polls.feed(&mut Ration::default(), room > 0, |packet| match packet {
            Packet::Text("end") => Err(CloseReason::TransportError),
            Packet::Text(text) => {
                taken.push(text.to_owned());
                Ok(taken.len() < room)
            }
            packet => panic!("{packet:?}"),
        });
        (fed, taken)
    }
}

fn text(mut answer: Receiver<PollAnswer>) -> String {
    match answer.try_recv() {
        Ok(Ok(Body::Text(text))) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn packet(len: usize) -> String {
    format!("4{}", "x".repeat(len - 1))
}

#[test]
fn an_answer_has_as_many_packets_as_fit_and_at_least_one() {
    // Lengths of the packets that are queued; the last packet; lengths of those in the answer; how many are left.
    type Row<'a> = (&'a [usize], Option<&'a str>, &'a [usize], usize);
    let rows: &[Row<'_>] = &[
        (&[40], None, &[40], 0),
        (&[200], None, &[200], 0),
        (&[200, 40], None, &[200], 1),
        (&[40, 40, 40], None, &[40, 40], 1),
        (&[40, 200], None, &[40], 1),
        (&[40], Some("1"), &[40, 1], 0),
        (&[], Some("1"), &[1], 0),
    ];
    for (queued, last, answered, left) in rows {
        let mut client = Client::new(Generation::Eio4);
        queued.iter().for_each(|len| assert!(client.outbox.push(Frame::text(&packet(*len)))));
        let answer = client.waits();
        assert_eq!(client.write(*last), PollWrite::Answered, "{queued:?}");
        let lens: Vec<_> = text(answer).split('\x1e').map(str::len).collect();
        assert_eq!((lens.as_slice(), client.outbox.len()), (*answered, *left), "{queued:?}");
        assert_eq!(client.write(*last), PollWrite::Nothing, "a poll is answered once");
    }
}

#[test]
fn a_poll_waits_while_there_is_nothing_to_say() {
    let mut client = Client::new(Generation::Eio4);
    assert_eq!(client.write(Some("1")), PollWrite::Nothing, "nobody polls");
    let mut answer = client.waits();
    assert_eq!(client.write(None), PollWrite::Nothing);
    assert!(answer.try_recv().is_err());
    client.outbox.push(Frame::text("4a"));
    assert_eq!(client.write(None), PollWrite::Answered);
    assert_eq!(text(answer), "4a");
    assert!(client.metrics.render().contains(r#"maxtalk_written_bytes_total{transport="polling"} 2"#));
    assert!(!client.polls.answer(&client.outbox, "6"), "the poll was answered");
}

#[test]
fn a_body_without_packets_is_a_noop() {
    let client = Client::new(Generation::Eio4);
    assert_eq!(drain(&client.outbox, 100, Form::Mixed, None), Body::Text("6".to_owned()));
}

#[test]
fn a_poll_whose_client_has_gone_leaves_the_outbox_as_it_is() {
    for last in [None, Some("1")] {
        let mut client = Client::new(Generation::Sio09);
        client.outbox.push(Frame::text("3:::news"));
        drop(client.waits());
        assert_eq!((client.write(last), client.outbox.len()), (PollWrite::Lost, 1));
        assert_eq!(client.write(last), PollWrite::Nothing, "it is lost once");
    }
}

#[test]
fn a_poll_is_lost_when_its_client_has_gone() {
    let mut client = Client::new(Generation::Eio4);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(!client.polls.poll_lost(&mut cx), "nobody polls");
    let answer = client.waits();
    assert!(!client.polls.poll_lost(&mut cx));
    drop(answer);
    assert!(client.polls.poll_lost(&mut cx));
    assert!(!client.polls.poll_lost(&mut cx), "it is lost once");
}

#[test]
fn a_second_poll_is_treated_as_the_machine_decides() {
    let overlap = Err(FrontError::Overlap);
    let bad_request = Err(FrontError::Error(RequestError::BadRequest));
    let greeting = Ok(Body::Text(GREETING.to_owned()));
    let noop = Ok(Body::Text("8::".to_owned()));
    let said = Ok(Body::Text("3:::a".to_owned()));
    // The decision; what the session is told; the answers to both polls, once there is something to say.
    let rows = [
        (Polled::Replaces, Ok(()), &noop, &said),
        (Polled::Greeted, Ok(()), &said, &greeting),
        (Polled::Overlaps, Err(CloseReason::Overlap), &said, &overlap),
        (Polled::Refused, Ok(()), &said, &bad_request),
    ];
    for (polled, expected, older, newer) in rows {
        let mut client = Client::new(Generation::Sio09);
        let mut first = client.waits();
        let (mut second, taken) = client.poll(false, polled);
        client.outbox.push(Frame::text("3:::a"));
        assert_eq!((taken, client.write(None)), (expected, PollWrite::Answered), "{polled:?}");
        assert_eq!((&first.try_recv().unwrap(), &second.try_recv().unwrap()), (older, newer), "{polled:?}");
    }
}

#[test]
fn a_script_has_binary_messages_as_text() {
    let mut client = Client::new(Generation::Eio3);
    for (script, expected) in [(true, "6:b4AQID"), (false, "")] {
        client.outbox.push(Frame::binary(Generation::Eio3, &[1, 2, 3]));
        let mut answer = client.poll(script, Polled::Waits).0;
        assert_eq!(client.write(None), PollWrite::Answered);
        match answer.try_recv().unwrap().unwrap() {
            Body::Text(text) => assert_eq!(text, expected),
            Body::Binary(_) => assert!(!script),
        }
    }
}

#[test]
fn a_post_is_answered_when_it_is_read_and_ends_its_session_as_its_packets_say() {
    let (bad, by_packet) = (
        PostEnd::AtOnce(CloseReason::ParseError(ProtocolError::Engine)),
        PostEnd::ByPacket(CloseReason::TransportError),
    );
    // The body; how reading it ends; the messages taken.
    let rows: &[(&str, Result<(), PostEnd>, &[&str])] = &[
        ("4a", Ok(()), &["a"]),
        ("4a\x1e4b", Ok(()), &["a", "b"]),
        ("", Err(bad), &[]),
        ("4a\x1exyz\x1e4b", Err(bad), &["a"]),
        ("4a\x1e4end\x1e4b", Err(by_packet), &["a"]),
    ];
    for (body, expected, taken) in rows {
        let mut client = Client::new(Generation::Eio4);
        let mut answer = client.post(body);
        let (fed, heard) = client.feed(usize::MAX);
        assert_eq!(fed, *expected, "{body:?}");
        assert_eq!(heard, *taken, "{body:?}");
        assert_eq!(answer.try_recv(), Ok(Ok(())), "{body:?}");
        assert!(!client.polls.has_post());
    }
}

#[test]
fn a_post_waits_for_room_and_refuses_another_one() {
    let mut client = Client::new(Generation::Eio4);
    let mut answer = client.post("4a\x1e4b\x1e4c");
    assert_eq!(client.feed(0), (Ok(()), vec![]));
    assert_eq!(client.feed(2), (Ok(()), vec!["a".to_owned(), "b".to_owned()]));
    assert!(answer.try_recv().is_err());
    assert_eq!(client.post("4x").try_recv(), Ok(Err(FrontError::Overlap)));
    // The last packet needs room before it, and not behind it.
    assert_eq!(client.feed(1), (Ok(()), vec!["c".to_owned()]));
    assert_eq!(answer.try_recv(), Ok(Ok(())));
}

#[test]
fn a_large_post_is_read_in_more_turns_than_one() {
    let mut client = Client::new(Generation::Eio4);
    let _answer = client.post(&["4a"; 40].join("\x1e"));
    assert_eq!(client.feed(usize::MAX).1.len(), 32);
    assert!(client.polls.has_post());
    assert_eq!(client.feed(usize::MAX).1.len(), 8);
    assert!(!client.polls.has_post());
}

#[test]
fn a_post_that_fails_ends_the_session_behind_what_an_earlier_one_has_brought() {
    const REASON: CloseReason = CloseReason::TransportError;
    let mut client = Client::new(Generation::Eio4);
    assert_eq!(client.polls.fail_post(REASON), Err(REASON), "there is no other");
    for (room, taken) in [(usize::MAX, 2), (2, 2), (1, 1), (0, 0)] {
        let mut client = Client::new(Generation::Eio4);
        let _answer = client.post("4a\x1e4b");
        assert_eq!(client.polls.fail_post(REASON), Ok(()));
        let (fed, heard) = client.feed(room);
        assert_eq!((fed, heard.len()), (Err(PostEnd::AtOnce(REASON)), taken), "with room for {room}");
    }
}

/// Engine.IO 1.x encodes text twice. Text shows that its client does not when it has a character beyond U+00FF.
#[test]
fn a_client_that_has_shown_how_it_encodes_is_not_guessed_about() {
    let mut client = Client::new(Generation::Eio3);
    for (body, expected) in [("3:4Ã¤", "ä"), ("2:4→", "→"), ("3:4Ã¤", "Ã¤")] {
        let _answer = client.post(body);
        assert_eq!(client.feed(usize::MAX).1, [expected], "{body}");
    }
}
