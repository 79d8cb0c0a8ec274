//! Properties of the WebSocket reader for all input: no bytes make it panic or loop, and the cuts of a TCP stream
//! change nothing.

#[path = "support/frame.rs"]
mod frame;

use frame::{header, masked};
use maxtalk::testing::protocol::websocket::{Message, Opcode, Reader, Step};
use maxtalk::testing::protocol::{ProtocolError, websocket};
use proptest::collection::vec;
use proptest::prelude::*;

const BYTES_MAX: usize = 1_000;

/// A message or control frame as a client sends it and a server sees it.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl From<Message<'_>> for Said {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(data) => Self::Binary(data.into()),
            Message::Ping(data) => Self::Ping(data.into()),
            Message::Pong(data) => Self::Pong(data.into()),
            Message::Close(code) => Self::Close(code),
        }
    }
}

/// Appends what was said, a data message in fragments that end at `cuts`, with a ping between each two.
fn say(out: &mut Vec<u8>, said: &Said, key: [u8; 4], cuts: &[usize], expected: &mut Vec<Said>) {
    let code;
    let (mut opcode, payload) = match said {
        Said::Text(text) => (1, text.as_bytes()),
        Said::Binary(data) => (2, data.as_slice()),
        Said::Close(status) => {
            code = status.map(u16::to_be_bytes);
            (8, code.as_ref().map_or(&[][..], |code| code))
        }
        Said::Ping(data) => (9, data.as_slice()),
        Said::Pong(data) => (10, data.as_slice()),
    };
    let cuts = if opcode < 8 { cuts } else { &[] };
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        out.extend(masked(false, opcode, key, &payload[from..cut]));
        out.extend(masked(true, 9, key, b"between"));
        expected.push(Said::Ping(b"between".into()));
        (opcode, from) = (0, cut);
    }
    out.extend(masked(true, opcode, key, &payload[from..]));
    expected.push(said.clone());
}

fn said() -> impl Strategy<Value = Said> {
    let small = || vec(any::<u8>(), 0..=125);
    prop_oneof![
        3 => ".{0,60}".prop_map(Said::Text),
        3 => vec(any::<u8>(), 0..200).prop_map(Said::Binary),
        1 => small().prop_map(Said::Ping),
        1 => small().prop_map(Said::Pong),
        1 => prop::option::of(3000..5000u16).prop_map(Said::Close),
    ]
}

/// Reads a stream in `chunks`, and keeps the bytes of an incomplete frame as a transport does.
fn listen<'a>(reader: &mut Reader, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Said>, ProtocolError> {
    let (mut seen, mut partial) = (Vec::new(), Vec::new());
    for chunk in chunks {
        partial.extend_from_slice(chunk);
        let mut at = 0;
        while let Step::Frame { consumed, message } = reader.step(&mut partial[at..])? {
            seen.extend(message.map(Said::from));
            at += consumed;
        }
        partial.drain(..at);
    }
    assert!(partial.is_empty(), "bytes were left over");
    Ok(seen)
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(mut bytes in vec(any::<u8>(), 0..200), tame in any::<bool>()) {
        // Most random input fails at its second byte; with valid bits in these two, more of it gets further.
        if let (true, [first, second, ..]) = (tame, bytes.as_mut_slice()) {
            *first &= 0x8f;
            *second |= 0x80;
        }
        let _ = websocket::split_header(&bytes);
        let mut reader = Reader::new(100);
        let mut rest = bytes.as_mut_slice();
        while let Ok(Step::Frame { consumed, .. }) = reader.step(rest) {
            prop_assert!(0 < consumed && consumed <= rest.len());
            rest = &mut rest[consumed..];
        }
    }
}

proptest! {
    // Each case goes through every cut of its stream.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cuts_in_the_stream_change_nothing(
        messages in vec((said(), any::<[u8; 4]>(), vec(any::<usize>(), 0..3)), 1..5),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (said, key, cuts) in &messages {
            say(&mut stream, said, *key, cuts, &mut expected);
        }
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            prop_assert_eq!(&listen(&mut Reader::new(BYTES_MAX), [left, right]).unwrap(), &expected, "cut at {}", at);
        }
        prop_assert_eq!(&listen(&mut Reader::new(BYTES_MAX), stream.chunks(1)).unwrap(), &expected);
    }

    #[test]
    fn an_incomplete_frame_is_left_alone(data in vec(any::<u8>(), 0..300), key in any::<[u8; 4]>()) {
        let frame = masked(true, 2, key, &data);
        for len in 0..frame.len() {
            let mut input = frame[..len].to_vec();
            let mut reader = Reader::new(BYTES_MAX);
            prop_assert_eq!(reader.step(&mut input), Ok(Step::Incomplete));
            prop_assert_eq!(&input, &frame[..len]);
        }
    }

    #[test]
    fn large_messages_are_unmasked(len in 60_000..140_000usize, seed in any::<u8>(), key in any::<[u8; 4]>()) {
        let data: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        say(&mut stream, &Said::Binary(data), key, &[], &mut expected);
        prop_assert_eq!(listen(&mut Reader::new(len), stream.chunks(16 << 10)).unwrap(), expected);
        prop_assert_eq!(listen(&mut Reader::new(len - 1), [&stream[..10]]), Err(ProtocolError::TooLarge));
    }

    #[test]
    fn the_size_law_needs_only_the_header(
        kept in 0..=BYTES_MAX,
        over in prop_oneof![1..5u64, any::<u32>().prop_map(|over| 1 + u64::from(over)), Just(1 << 62)],
        key in any::<[u8; 4]>(),
    ) {
        let mut reader = Reader::new(BYTES_MAX);
        let mut first = masked(false, 2, key, &vec![0; kept]);
        let consumed = first.len();
        prop_assert_eq!(reader.step(&mut first), Ok(Step::Frame { consumed, message: None }));
        let mut header = header(true, 0, (BYTES_MAX - kept) as u64 + over);
        for len in 0..header.len() {
            prop_assert_eq!(reader.step(&mut header[..len]), Ok(Step::Incomplete));
        }
        prop_assert_eq!(reader.step(&mut header), Err(ProtocolError::TooLarge));
    }

    #[test]
    fn written_frames_are_split_again(len in prop_oneof![0..300usize, 65_500..65_600usize], kind in 0..5usize) {
        let opcode = [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong][kind];
        let payload = vec![b'x'; len];
        let mut frame = vec![];
        websocket::write_frame(&mut frame, opcode, &payload);
        let (read, head) = websocket::split_header(&frame).unwrap();
        prop_assert_eq!((read, &frame[head..]), (opcode, payload.as_slice()));
        let mut header = vec![];
        websocket::write_header(&mut header, opcode, len);
        prop_assert_eq!(&header, &frame[..head]);
    }
}
