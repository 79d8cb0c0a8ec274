//! Tests of the transport over a peer that the test controls: cut reads and writes, floods, and ends.

use super::*;
use crate::delivery::outbox::tests::Wakes;
use crate::delivery::outbox::tests::limits;
use crate::metrics::ReadAtScrape;
use crate::protocol::websocket::tests::frame as client_frame;
use futures_util::task::waker;
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncWrite};

/// A peer that has sent `input` and takes as many bytes of each write as `takes` says; 0 is "not now".
#[derive(Debug)]
struct Peer {
    input: VecDeque<Vec<u8>>,
    takes: VecDeque<usize>,
    output: Vec<u8>,
    /// Whether the peer breaks when `takes` is used up.
    breaks: bool,
    /// The outbox that gets another message with every write.
    news: Option<Arc<Outbox>>,
}

impl Stream for Peer {
    fn reset_on_drop(&self) {}

    fn write_now(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.takes.front() == Some(&0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match Pin::new(self).poll_write_vectored(&mut Context::from_waker(Waker::noop()), slices) {
            Poll::Ready(written) => written,
            Poll::Pending => unreachable!("that would be a 0"),
        }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.input.pop_front() {
            Some(bytes) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let take = match self.takes.pop_front() {
            None if self.breaks => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            take => take.unwrap_or(usize::MAX).min(bytes.len()),
        };
        if take == 0 {
            return Poll::Pending;
        }
        self.output.extend_from_slice(&bytes[..take]);
        if let Some(outbox) = &self.news {
            outbox.push(Frame::text("4news"));
        }
        Poll::Ready(Ok(take))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.as_mut().poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn socket(takes: Vec<usize>, input: Vec<Vec<u8>>) -> (WebSocket<Peer>, Outbox) {
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    let bounds = limits(1000, 1 << 20);
    let outbox = Outbox::new(Generation::Eio4, bounds, metrics.clone());
    let stream = Peer { input: input.into(), takes: takes.into(), output: Vec::new(), breaks: false, news: None };
    let head = Bytes::from_static(b"HTTP/1.1 101\r\n\r\n");
    let reader = Reader::new(1000);
    (WebSocket::new(stream, Generation::Eio4, reader, &Rc::default(), Vec::new(), head, metrics), outbox)
}

/// Returns the frames written behind the head.
fn frames(output: &[u8]) -> Vec<(Opcode, Vec<u8>)> {
    let mut rest = output.strip_prefix(b"HTTP/1.1 101\r\n\r\n").expect("the head is first and whole");
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (opcode, header) = crate::protocol::websocket::split_header(rest).expect("a whole header");
        let len = match rest[1] {
            126 => usize::from(u16::from_be_bytes([rest[2], rest[3]])),
            len => usize::from(len),
        };
        frames.push((opcode, rest[header..header + len].to_vec()));
        rest = &rest[header + len..];
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However writes are cut, every frame arrives whole and in order, pongs only between frames, and the outbox counts
    /// down to zero.
    #[test]
    fn writes_may_be_cut_anywhere(
        takes in prop::collection::vec(0usize..40, 0..200),
        lens in prop::collection::vec(0usize..300, 1..30),
        pings in prop::collection::vec(any::<bool>(), 30),
    ) {
        actix_rt::System::new().block_on(async move {
            let input = pings.iter().filter(|ping| **ping).map(|_| client_frame(0x89, b"p")).collect();
            let (mut socket, outbox) = socket(takes, input);
            let mut cx = Context::from_waker(Waker::noop());
            for (at, len) in lens.iter().enumerate() {
                outbox.push(Frame::text(&format!("{at:<len$}")));
                assert!(socket.poll_write(&mut cx, &outbox).is_pending());
                // Reads a few pings at most; a frame that has begun must be finished before their pongs.
                assert!(socket.poll_read(&mut cx, &mut |_| Ok(true)).is_pending());
            }
            while !outbox.is_empty() || socket.unsent.is_some() {
                assert!(socket.poll_write(&mut cx, &outbox).is_pending());
            }
            let written = frames(&socket.stream.output);
            let texts: Vec<_> = written.iter().filter(|(opcode, _)| *opcode == Opcode::Text).collect();
            assert_eq!(texts.len(), lens.len());
            for (at, (_, payload)) in texts.iter().enumerate() {
                assert_eq!(String::from_utf8_lossy(payload).trim(), at.to_string());
            }
            let pongs = written.iter().filter(|(opcode, _)| *opcode == Opcode::Pong);
            assert!(pongs.clone().all(|(_, payload)| payload == b"p"));
            assert!(pongs.count() <= pings.len());
        });
    }
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    actix_rt::System::new().block_on(async {
        let stream: Vec<u8> =
            ["4one", "4two", "3"].iter().flat_map(|text| client_frame(0x81, text.as_bytes())).collect();
        for cut in 0..stream.len() {
            let parts = [&stream[..cut], &stream[cut..]].into_iter().filter(|part| !part.is_empty());
            let (mut socket, _) = socket(Vec::new(), parts.map(<[u8]>::to_vec).collect());
            let mut seen = Vec::new();
            let mut cx = Context::from_waker(Waker::noop());
            let read = socket.poll_read(&mut cx, &mut |arrival| {
                if let Inbound::Packet(packet) = arrival {
                    seen.push(format!("{packet:?}"));
                }
                Ok(true)
            });
            assert!(read.is_pending());
            assert_eq!(seen, [r#"Text("one")"#, r#"Text("two")"#, r#"Pong("")"#], "cut at {cut}");
            assert!(socket.partial.capacity() == 0, "nothing is kept behind whole frames");
        }
    });
}

#[test]
fn a_socket_that_breaks_gives_up_what_it_has_not_begun() {
    actix_rt::System::new().block_on(async {
        let (mut socket, outbox) = socket(vec![16, 4], Vec::new());
        socket.stream.breaks = true;
        for text in ["4one", "4two", "4three"] {
            outbox.push(Frame::text(text));
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(socket.poll_write(&mut cx, &outbox), Poll::Ready(CloseReason::TransportError));
        assert_eq!(socket.give_up_unwritten()[..], [Frame::text("4two"), Frame::text("4three")]);
    });
}

#[test]
fn a_peer_that_reads_as_fast_as_others_talk_is_written_to_so_often_and_then_again() {
    actix_rt::System::new().block_on(async {
        let (mut socket, outbox) = socket(Vec::new(), Vec::new());
        let outbox = Arc::new(outbox);
        socket.stream.news = Some(outbox.clone());
        let wakes = Arc::new(Wakes::default());
        let waker = waker(wakes.clone());
        assert!(socket.poll_write(&mut Context::from_waker(&waker), &outbox).is_pending());
        assert_eq!(frames(&socket.stream.output).len(), WRITES_PER_TURN - 1, "the head was a write too");
        turns::Rest::default().await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    });
}

/// A client whose outbox was full reads on after other tasks had their turn, not at once.
#[test]
fn room_again_wakes_the_task_when_others_had_their_turn() {
    actix_rt::System::new().block_on(async {
        let (mut socket, outbox) = socket(Vec::new(), Vec::new());
        let wakes = Arc::new(Wakes::default());
        let waker = waker(wakes.clone());
        (0..600).for_each(|_| assert!(outbox.push(Frame::text("4a"))));
        assert!(!outbox.has_room());
        assert!(socket.poll_write(&mut Context::from_waker(&waker), &outbox).is_pending());
        assert!(outbox.has_room());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        turns::Rest::default().await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_peer_that_probes_and_pings_and_does_not_read_is_owed_little() {
    actix_rt::System::new().block_on(async {
        let pings = (0..1000).map(|_| client_frame(0x89, b"p")).collect();
        let (mut socket, _) = socket(vec![0; 5000], pings);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1000 {
            assert!(socket.poll_read(&mut cx, &mut |_| Ok(true)).is_pending());
            assert!(socket.poll_send(&mut cx, &Frame::text("3probe"), 100).is_pending());
            assert!(socket.unsent.as_ref().is_some_and(|unsent| unsent.urgent.len() <= URGENT_MAX));
        }
    });
}

#[test]
fn a_close_says_why() {
    actix_rt::System::new().block_on(async {
        for (reason, expected) in [
            (CloseReason::Slow, Some(1013)),
            (CloseReason::TooLarge, Some(1009)),
            (CloseReason::BadText, Some(1007)),
            (CloseReason::Panic, Some(1011)),
            (CloseReason::Stop, None),
            (CloseReason::ParseError(ProtocolError::Frame), Some(1002)),
            (CloseReason::ParseError(ProtocolError::Packet), None),
        ] {
            assert_eq!(socket(Vec::new(), Vec::new()).0.code_of(reason), expected, "{reason:?}");
        }
    });
}

/// Sends a large message, and then always the beginning of the next one.
#[test]
fn a_large_message_leaves_no_large_buffer_behind() {
    actix_rt::System::new().block_on(async {
        let mut large = vec![0x82, 0x80 | 127];
        large.extend(900_000_u64.to_be_bytes());
        large.resize(large.len() + 4 + 900_000, 0);
        large.push(0x82);
        let input = large.chunks(60_000).map(<[u8]>::to_vec).collect();
        let (mut socket, _) = socket(Vec::new(), input);
        socket.reader = Reader::new(1 << 20);
        let mut cx = Context::from_waker(Waker::noop());
        let mut messages = 0;
        while !socket.stream.input.is_empty() {
            let read = socket.poll_read(&mut cx, &mut |arrival| {
                messages += usize::from(matches!(arrival, Inbound::Packet(_)));
                Ok(true)
            });
            assert!(read.is_pending());
        }
        assert_eq!((messages, socket.partial.len()), (1, 1));
        assert!(socket.partial.capacity() <= KEPT_BYTES, "{}", socket.partial.capacity());
    });
}

/// A reader that takes nearly all of a long queue, but never all of it.
#[test]
fn a_long_queue_leaves_no_room_for_one_behind() {
    actix_rt::System::new().block_on(async {
        let (mut socket, outbox) = socket(vec![16], Vec::new());
        (0..900).for_each(|_| assert!(outbox.push(Frame::text("4a"))));
        socket.stream.takes.extend([64 * 4; 14]);
        socket.stream.takes.push_back(0);
        socket.stream.takes.push_back(0);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(socket.poll_write(&mut cx, &outbox).is_pending());
        let unsent = socket.unsent.as_ref().unwrap();
        assert_eq!(unsent.writing.len(), 4);
        assert!(unsent.writing.capacity() <= FRAMES_PER_WRITE, "{}", unsent.writing.capacity());
    });
}

/// Each written byte counts as progress, and nothing else does.
#[test]
fn a_socket_says_since_when_nothing_was_taken() {
    actix_rt::System::new().block_on(async {
        let (mut socket, outbox) = socket(vec![16, 0, 0, 0, 0, 1, 0, 0], Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(socket.blocked_since(), None);
        outbox.push(Frame::text("4hello"));
        assert!(socket.poll_write(&mut cx, &outbox).is_pending());
        let first = socket.blocked_since().expect("it takes no more");
        std::thread::sleep(Duration::from_millis(1));
        outbox.push(Frame::text("4more"));
        assert!(socket.poll_write(&mut cx, &outbox).is_pending());
        assert_eq!(socket.blocked_since(), Some(first), "nothing was taken");
        assert!(socket.poll_write(&mut cx, &outbox).is_pending());
        while socket.stream.takes.front() == Some(&0) {
            socket.stream.takes.pop_front();
        }
        assert!(socket.poll_write(&mut cx, &outbox).is_pending());
        assert!(socket.blocked_since().is_some_and(|since| since > first), "one byte was");
        socket.stream.takes.clear();
        assert!(socket.poll_write(&mut cx, &outbox).is_pending());
        assert_eq!(socket.blocked_since(), None);
    });
}

#[test]
fn whatever_arrives_is_counted() {
    actix_rt::System::new().block_on(async {
        let frames =
            [client_frame(0x89, b"p"), client_frame(0x8a, b""), client_frame(0x81, b"6"), vec![0x01, 0x80, 0, 0, 0, 0]];
        let (mut socket, _) = socket(Vec::new(), vec![frames.concat()]);
        let mut seen = Vec::new();
        let read = socket.poll_read(&mut Context::from_waker(Waker::noop()), &mut |arrival| {
            seen.push(format!("{arrival:?}"));
            Ok(true)
        });
        assert!(read.is_pending());
        assert_eq!(seen, ["Bytes(26)", "Frame", "Frame", "Packet(Noop)", "Frame"]);
    });
}
