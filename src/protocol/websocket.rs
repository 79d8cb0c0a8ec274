//! The server's side of RFC 6455: reads frames from a client, and writes frames for it. A data frame that is too large
//! is refused by its header, before any of its payload is buffered.

use super::ProtocolError;

/// The largest number of fragments of a message. Empty fragments cost the client nothing, and no limit of size stops
/// them.
pub const FRAGMENTS_MAX: usize = 1024;

/// Largest payload of a control frame, and largest length that the second byte holds by itself.
const SHORT_MAX: u8 = 125;

/// The bit of the first byte that marks the last fragment of a message.
const FIN: u8 = 0x80;

/// The bits of the first byte that must be 0.
const RESERVED: u8 = 0x70;

/// The bit of the second byte that marks a masked payload.
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = Opcode::Text as u8;
const BINARY: u8 = Opcode::Binary as u8;
const CLOSE: u8 = Opcode::Close as u8;
const PING: u8 = Opcode::Ping as u8;
const PONG: u8 = Opcode::Pong as u8;

/// Reads the frames of one client. It keeps the parts of a fragmented message and nothing else; the caller keeps the
/// bytes of an incomplete frame.
#[derive(Debug)]
pub struct Reader {
    bytes_max: usize,
    /// The fragments so far. Boxed because every connection has a reader, and few clients send fragments.
    assembly: Option<Box<Assembly>>,
}

/// The fragments of one message.
#[derive(Debug)]
struct Assembly {
    text: bool,
    frames: usize,
    /// Whether the message is complete and was returned. It borrows `bytes`, which therefore stay until the next step.
    complete: bool,
    bytes: Vec<u8>,
}

/// The result of one step of the [`Reader`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The input ends inside a frame, and was not changed. Call again when more bytes have been appended.
    Incomplete,
    /// A frame, now unmasked.
    Frame {
        /// The length of the frame in the input.
        consumed: usize,
        /// The message that the frame completed, or `None` if more fragments follow.
        message: Option<Message<'a>>,
    },
}

/// A whole message, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong, whether or not a ping of ours asked for it.
    Pong(&'a [u8]),
    /// A close with its status code, if the frame has one. Frames after it are ignored.
    Close(Option<u16>),
}

impl Reader {
    /// Returns a reader that refuses messages over `bytes_max`, fragmented or whole, by their headers.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, assembly: None }
    }

    /// Takes one frame from the front of `input` and unmasks it in place. Call it until it returns
    /// [`Step::Incomplete`], which it also does for an empty input. A fragmented message is kept in memory until the
    /// next call.
    ///
    /// A length that is written in more bytes than it needs is accepted, as by other servers.
    ///
    /// # Errors
    /// [`ProtocolError::Frame`] for a frame that breaks the RFC, [`ProtocolError::TooLarge`] for a message that is too
    /// large, and [`ProtocolError::Utf8`] for text that is not UTF-8. After an error the connection has to end.
    pub fn step<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, ProtocolError> {
        self.release();
        let &[first, second, ref extended @ ..] = &*input else { return Ok(Step::Incomplete) };
        let (fin, opcode, short) = (first & FIN != 0, first & 0x0f, second & !MASKED);
        let in_place = match opcode {
            CONTINUATION => self.assembly.is_some(),
            TEXT | BINARY => self.assembly.is_none(),
            CLOSE | PING | PONG => fin && short <= SHORT_MAX,
            _ => false,
        };
        if !in_place || first & RESERVED != 0 || second & MASKED == 0 {
            return Err(ProtocolError::Frame);
        }
        let (head, len) = match short {
            126 => match extended.first_chunk() {
                Some(&len) => (4, u64::from(u16::from_be_bytes(len))),
                None => return Ok(Step::Incomplete),
            },
            127 => match extended.first_chunk() {
                Some(&len) => (10, u64::from_be_bytes(len)),
                None => return Ok(Step::Incomplete),
            },
            _ => (2, u64::from(short)),
        };
        if len > i64::MAX as u64 {
            return Err(ProtocolError::Frame);
        }
        let room = self.bytes_max.saturating_sub(self.kept_bytes()) as u64;
        if matches!(opcode, CONTINUATION | TEXT | BINARY) && len > room {
            return Err(ProtocolError::TooLarge);
        }
        // The length fits a usize: the check above, or the largest length of a control frame, has bounded it.
        let consumed = (head + 4usize).saturating_add(len as usize);
        let Some((head, payload)) = input.get_mut(..consumed).and_then(|frame| frame.split_at_mut_checked(head + 4))
        else {
            return Ok(Step::Incomplete);
        };
        if let Some(&key) = head.last_chunk() {
            unmask(payload, key);
        }
        let message = match opcode {
            CLOSE => Some(Message::Close(close_code(payload)?)),
            PING => Some(Message::Ping(payload)),
            PONG => Some(Message::Pong(payload)),
            TEXT | BINARY if fin => Some(whole(opcode == TEXT, payload)?),
            _ => self.fragment(opcode, fin, payload)?,
        };
        Ok(Step::Frame { consumed, message })
    }

    /// Returns the number of bytes that are kept of a fragmented message.
    pub fn kept_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.bytes.len())
    }

    /// Frees the memory of a fragmented message that was returned. Otherwise the next step does.
    pub fn release(&mut self) {
        self.assembly.take_if(|assembly| assembly.complete);
    }

    fn fragment(&mut self, opcode: u8, fin: bool, payload: &[u8]) -> Result<Option<Message<'_>>, ProtocolError> {
        let assembly = self.assembly.get_or_insert_with(|| {
            Box::new(Assembly { text: opcode == TEXT, frames: 0, complete: false, bytes: Vec::new() })
        });
        assembly.frames += 1;
        if assembly.frames > FRAGMENTS_MAX {
            return Err(ProtocolError::Frame);
        }
        assembly.bytes.extend_from_slice(payload);
        assembly.complete = fin;
        if fin { whole(assembly.text, &assembly.bytes).map(Some) } else { Ok(None) }
    }
}

fn whole(text: bool, payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    if text {
        str::from_utf8(payload).map(Message::Text).map_err(|_| ProtocolError::Utf8)
    } else {
        Ok(Message::Binary(payload))
    }
}

/// Returns the status code of a close frame. An error if the reason is not UTF-8, or if an endpoint may not send the
/// code according to RFC 6455 and its registry.
fn close_code(payload: &[u8]) -> Result<Option<u16>, ProtocolError> {
    match payload {
        [] => Ok(None),
        &[high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(ProtocolError::Frame);
            }
            str::from_utf8(reason).map_err(|_| ProtocolError::Utf8)?;
            Ok(Some(code))
        }
        [_] => Err(ProtocolError::Frame),
    }
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The kinds of frame that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A text message.
    Text = 1,
    /// A binary message.
    Binary = 2,
    /// The end of the connection, with or without a status code.
    Close = 8,
    /// The heartbeat of RFC 6455, not that of Engine.IO.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// Appends an unmasked, unfragmented frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(10 + payload.len());
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends only the header of a frame whose payload has `len` bytes. The header has 2, 4 or 10 bytes.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(FIN | opcode as u8);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short <= SHORT_MAX => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Returns the opcode and the length of the header of a frame that [`write_frame`] wrote, or `None` for any other
/// bytes. The payload begins after the header.
pub fn split_header(frame: &[u8]) -> Option<(Opcode, usize)> {
    let &[first, second, ..] = frame else { return None };
    let opcode = [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong]
        .into_iter()
        .find(|opcode| first == FIN | *opcode as u8)?;
    let head = match second {
        ..=SHORT_MAX => 2,
        126 => 4,
        127 => 10,
        _ => return None,
    };
    (head <= frame.len()).then_some((opcode, head))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    const MAX: usize = 100_000;

    /// Returns a client's frame. `first` is the whole first byte.
    pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_header(&mut frame, Opcode::Text, payload.len());
        frame[0] = first;
        frame[1] |= MASKED;
        frame.extend_from_slice(&KEY);
        frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    fn close(payload: &[u8]) -> Vec<u8> {
        frame(0x88, payload)
    }

    /// Feeds whole frames one by one and returns the result of each as text.
    fn read(reader: &mut Reader, frames: &[Vec<u8>]) -> Vec<String> {
        let mut seen = Vec::new();
        for frame in frames {
            let mut input = frame.clone();
            match reader.step(&mut input) {
                Ok(Step::Frame { consumed, message }) => {
                    assert_eq!(consumed, frame.len());
                    seen.push(message.map_or_else(|| "-".into(), |message| format!("{message:?}")));
                }
                Ok(Step::Incomplete) => seen.push("incomplete".into()),
                Err(error) => seen.push(format!("{error:?}")),
            }
        }
        seen
    }

    fn fails(input: &[u8]) -> Option<ProtocolError> {
        Reader::new(MAX).step(&mut input.to_vec()).err()
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let mut hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut reader = Reader::new(MAX);
        let step = reader.step(&mut hello).unwrap();
        assert_eq!(step, Step::Frame { consumed: 11, message: Some(Message::Text("Hello")) });
    }

    #[test]
    fn reads_messages_and_control_frames() {
        let frames = [
            frame(0x81, "€😀".as_bytes()),
            frame(0x82, &[0xff, 0, 1]),
            frame(0x81, b""),
            frame(0x89, b"x"),
            frame(0x8a, &[b'y'; 125]),
            close(b""),
            close(&[0x03, 0xe8]),
            close(b"\x0f\xa0bye"),
        ];
        let pong = format!("{:?}", Message::Pong(&[b'y'; 125]));
        assert_eq!(
            read(&mut Reader::new(MAX), &frames),
            [
                r#"Text("€😀")"#,
                "Binary([255, 0, 1])",
                r#"Text("")"#,
                "Ping([120])",
                pong.as_str(),
                "Close(None)",
                "Close(Some(1000))",
                "Close(Some(4000))"
            ]
        );
    }

    #[test]
    fn assembles_fragments_around_control_frames() {
        let euro = "€".as_bytes();
        let mut reader = Reader::new(MAX);
        let frames = [
            frame(0x01, &euro[..1]),
            frame(0x89, b"p"),
            frame(0x00, &euro[1..2]),
            frame(0x00, b""),
            frame(0x80, &euro[2..]),
            frame(0x02, b"a"),
            frame(0x80, b""),
            frame(0x81, b"next"),
        ];
        let seen = read(&mut reader, &frames);
        assert_eq!(seen, ["-", "Ping([112])", "-", "-", r#"Text("€")"#, "-", "Binary([97])", r#"Text("next")"#]);
        assert!(reader.assembly.is_none());
    }

    #[test]
    fn a_fragmented_message_is_let_go_at_the_next_step() {
        let mut reader = Reader::new(MAX);
        read(&mut reader, &[frame(0x02, &[0; 50_000]), frame(0x80, &[0; 50_000])]);
        assert!(reader.assembly.is_some());
        assert_eq!(reader.step(&mut []), Ok(Step::Incomplete));
        assert!(reader.assembly.is_none());
    }

    #[test]
    fn refuses_what_is_no_frame() {
        let table: [(&str, &[u8]); 20] = [
            ("RSV1", &[0xc1, 0x80]),
            ("RSV2", &[0xa1, 0x80]),
            ("RSV3", &[0x91, 0x80]),
            ("unmasked", &[0x81, 0x05]),
            ("opcode 3", &[0x83, 0x80]),
            ("opcode 7", &[0x87, 0x80]),
            ("opcode 11", &[0x8b, 0x80]),
            ("opcode 15", &[0x8f, 0x80]),
            ("a fragmented ping", &[0x09, 0x80]),
            ("a fragmented close", &[0x08, 0x80]),
            ("a ping of 126 bytes", &[0x89, 0xfe]),
            ("a pong with a 64-bit length", &[0x8a, 0xff]),
            ("a close of 126 bytes", &[0x88, 0xfe]),
            ("continuation of nothing", &[0x80, 0x80]),
            ("unfinished continuation of nothing", &[0x00, 0x80]),
            ("a length of 2^63", &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ("a length of 2^64-1", &[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255]),
            ("an unmasked close", &[0x88, 0x00]),
            ("HTTP", b"GET / HTTP/1.1"),
            ("TLS", &[0x16, 0x03, 0x01]),
        ];
        for (name, input) in table {
            assert_eq!(fails(input), Some(ProtocolError::Frame), "{name}");
        }
        for second in [frame(0x81, b""), frame(0x02, b"")] {
            assert_eq!(read(&mut Reader::new(MAX), &[frame(0x01, b"a"), second]), ["-", "Frame"]);
        }
    }

    #[test]
    fn judges_close_frames() {
        assert_eq!(fails(&close(&[3])), Some(ProtocolError::Frame));
        for code in [1000u16, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(fails(&close(&code.to_be_bytes())), None, "{code}");
        }
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(fails(&close(&code.to_be_bytes())), Some(ProtocolError::Frame), "{code}");
        }
        assert_eq!(fails(&close(b"\x03\xe8\xff")), Some(ProtocolError::Utf8));
    }

    #[test]
    fn text_is_utf8_as_a_whole() {
        assert_eq!(fails(&frame(0x81, b"\xce\xba\xed\xa0\x80")), Some(ProtocolError::Utf8));
        assert_eq!(read(&mut Reader::new(MAX), &[frame(0x01, b"\xe2\x82"), frame(0x80, b"")]), ["-", "Utf8"]);
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_header() {
        let header = |len: u64| {
            let mut header = vec![0x82, 0xff];
            header.extend_from_slice(&len.to_be_bytes());
            header
        };
        let judge = |reader: &mut Reader, mut input: Vec<u8>| reader.step(&mut input).map(drop);
        for len in [1_000_001, 1 << 30, i64::MAX as u64] {
            assert_eq!(judge(&mut Reader::new(1_000_000), header(len)), Err(ProtocolError::TooLarge), "{len}");
        }
        assert_eq!(judge(&mut Reader::new(1_000_000), header(1_000_000)), Ok(()));
        assert_eq!(judge(&mut Reader::new(300), vec![0x81, 0xfe, 0x01, 0x2d]), Err(ProtocolError::TooLarge));
        assert_eq!(judge(&mut Reader::new(10), vec![0x81, 0x80 | 11]), Err(ProtocolError::TooLarge));

        // The fragments so far count; a control frame between them does not.
        let mut reader = Reader::new(10);
        assert_eq!(read(&mut reader, &[frame(0x01, b"12345678"), frame(0x89, &[0; 125])])[0], "-");
        assert_eq!(judge(&mut reader, vec![0x80, 0x80 | 3]), Err(ProtocolError::TooLarge));
        let mut reader = Reader::new(10);
        let whole = read(&mut reader, &[frame(0x01, b"12345678"), frame(0x80, b"90"), frame(0x82, &[1; 10])]);
        assert_eq!(whole[1], r#"Text("1234567890")"#);
    }

    #[test]
    fn fragments_are_counted() {
        let last = |fragments: usize| {
            let mut frames = vec![frame(0x00, b""); fragments];
            frames[0] = frame(0x02, b"");
            frames[fragments - 1] = frame(0x80, b"");
            read(&mut Reader::new(MAX), &frames).pop().unwrap()
        };
        assert_eq!(last(FRAGMENTS_MAX), "Binary([])");
        assert_eq!(last(FRAGMENTS_MAX + 1), "Frame");
    }

    #[test]
    fn lengths_may_be_longer_than_needed() {
        let mut input = [0x82, 0xfe, 0, 1, 0, 0, 0, 0, 7];
        let mut reader = Reader::new(MAX);
        assert_eq!(reader.step(&mut input), Ok(Step::Frame { consumed: 9, message: Some(Message::Binary(&[7])) }));
    }

    #[test]
    fn writes_frames_and_finds_their_payload() {
        let table: [(usize, &[u8]); 6] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (255, &[0x82, 126, 0, 255]),
            (65_535, &[0x82, 126, 255, 255]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (len, header) in table {
            let mut out = vec![];
            write_frame(&mut out, Opcode::Binary, &vec![7; len]);
            assert_eq!(&out[..header.len()], header, "{len}");
            assert_eq!(out.len(), header.len() + len);
            assert_eq!(split_header(&out), Some((Opcode::Binary, header.len())));
            assert_eq!(split_header(&out[..header.len() - 1]), None);
        }
        for opcode in [Opcode::Text, Opcode::Close, Opcode::Ping, Opcode::Pong] {
            let mut out = vec![];
            write_frame(&mut out, opcode, b"x");
            assert_eq!(split_header(&out), Some((opcode, 2)));
        }
        for foreign in [&[][..], &[0x01, 0], &[0x83, 0], &[0x81, 0x80]] {
            assert_eq!(split_header(foreign), None);
        }
    }
}
