//! Methods of AMQP 0-9-1: those that a listener sends, as bytes, and those that a server sends to it, as values. Pure.

use bytes::{Buf as _, BufMut as _, Bytes};

use super::frame::{self, Kind};

/// A text of the protocol, which need not be UTF-8: it may come from anybody who publishes.
pub type Text = Bytes;

/// A method of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// It greets, with the ways in which a user may prove itself.
    Start(Text),
    /// It offers bounds.
    Tune {
        /// The bytes of the longest frame; 0 for no bound.
        frame_bytes_max: u32,
        /// The seconds between two signs of life; 0 for none.
        heartbeat_s: u16,
    },
    /// It has opened the connection.
    Opened,
    /// It closes the connection.
    Close(Reply),
    /// It has opened the channel.
    ChannelOpened,
    /// It closes the channel.
    ChannelClose(Reply),
    /// It has closed the channel.
    ChannelClosed,
    /// The exchange is there.
    Exchange,
    /// The queue is there.
    Queue {
        /// Its name.
        name: Text,
        /// The messages that wait in it.
        messages: u32,
    },
    /// The queue is bound.
    Bound,
    /// The queue is not bound any more.
    Unbound,
    /// The consumer is there.
    Consumer,
    /// It takes the consumer away, because the queue is gone.
    Cancel,
    /// A message follows.
    Deliver {
        /// The exchange to which it was published.
        exchange: Text,
        /// Its routing key.
        key: Text,
    },
    /// Another one, by class and number.
    Other(u16, u16),
}

/// The reason that a server gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The number of the reason.
    pub code: u16,
    /// The reason in words.
    pub text: String,
}

/// The head of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The bytes of the body.
    pub bytes: u64,
    /// The headers: the texts among them, by name. `None` if they cannot be read.
    pub texts: Option<Vec<(Text, Text)>>,
}

/// The payload is cut, or none of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

type Read<T> = Result<T, Malformed>;

/// Headers of one message that are read.
const HEADERS_MAX: usize = 64;

impl Method {
    /// Reads the payload of a frame with a method.
    ///
    /// # Errors
    /// The payload is cut.
    pub fn read(payload: &Bytes) -> Read<Self> {
        let mut rest = Rest(payload.clone());
        let (class, number) = (rest.u16()?, rest.u16()?);
        Ok(match (class, number) {
            (10, 10) => {
                rest.take(2)?;
                rest.long()?;
                Self::Start(rest.long()?)
            }
            (10, 30) => {
                rest.take(2)?;
                Self::Tune { frame_bytes_max: rest.u32()?, heartbeat_s: rest.u16()? }
            }
            (10, 41) => Self::Opened,
            (10, 50) => Self::Close(rest.reply()?),
            (20, 11) => Self::ChannelOpened,
            (20, 40) => Self::ChannelClose(rest.reply()?),
            (20, 41) => Self::ChannelClosed,
            (40, 11) => Self::Exchange,
            (50, 11) => Self::Queue { name: rest.short()?, messages: rest.u32()? },
            (50, 21) => Self::Bound,
            (50, 51) => Self::Unbound,
            (60, 21) => Self::Consumer,
            (60, 30) => Self::Cancel,
            (60, 60) => {
                rest.short()?;
                rest.take(9)?;
                Self::Deliver { exchange: rest.short()?, key: rest.short()? }
            }
            _ => Self::Other(class, number),
        })
    }
}

impl Header {
    /// Reads the payload of a frame with the head of a content.
    ///
    /// # Errors
    /// The payload is cut before the length of the body.
    pub fn read(payload: &Bytes) -> Read<Self> {
        let mut rest = Rest(payload.clone());
        rest.take(4)?;
        let bytes = rest.u64()?;
        Ok(Self { bytes, texts: rest.headers().ok() })
    }
}

/// The part of a payload that is not read yet.
struct Rest(Bytes);

impl Rest {
    fn take(&mut self, bytes: usize) -> Read<Bytes> {
        if self.0.len() < bytes { Err(Malformed) } else { Ok(self.0.split_to(bytes)) }
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.take(1)?.get_u8())
    }

    fn u16(&mut self) -> Read<u16> {
        Ok(self.take(2)?.get_u16())
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn u64(&mut self) -> Read<u64> {
        Ok(self.take(8)?.get_u64())
    }

    /// Reads a text of at most 255 bytes.
    fn short(&mut self) -> Read<Text> {
        let bytes = self.u8()?;
        self.take(bytes.into())
    }

    /// Reads a text of any length, or a table as bytes.
    fn long(&mut self) -> Read<Text> {
        let bytes = self.u32()?;
        self.take(bytes as usize)
    }

    fn reply(&mut self) -> Read<Reply> {
        Ok(Reply { code: self.u16()?, text: String::from_utf8_lossy(&self.short()?).into_owned() })
    }

    /// Reads the properties of a message up to its headers.
    fn headers(&mut self) -> Read<Vec<(Text, Text)>> {
        let flags = self.u16()?;
        // The content type and its encoding come before the headers.
        for flag in [1 << 15, 1 << 14] {
            if flags & flag != 0 {
                self.short()?;
            }
        }
        if flags & (1 << 13) == 0 {
            return Ok(Vec::new());
        }
        let mut table = Self(self.long()?);
        let mut texts = Vec::new();
        while !table.0.is_empty() {
            let name = table.short()?;
            if let Some(text) = table.value()? {
                if texts.len() == HEADERS_MAX {
                    return Err(Malformed);
                }
                texts.push((name, text));
            }
        }
        Ok(texts)
    }

    /// Reads a value of a table. `None` if it is no text. A table within the table is skipped as bytes, so its depth
    /// does not matter.
    fn value(&mut self) -> Read<Option<Text>> {
        match self.u8()? {
            b'S' => return self.long().map(Some),
            b'A' | b'F' | b'x' => drop(self.long()?),
            b't' | b'b' | b'B' => drop(self.take(1)?),
            b's' | b'u' | b'U' => drop(self.take(2)?),
            b'I' | b'i' | b'f' => drop(self.take(4)?),
            b'D' => drop(self.take(5)?),
            b'l' | b'L' | b'd' | b'T' => drop(self.take(8)?),
            b'V' => {}
            _ => return Err(Malformed),
        }
        Ok(None)
    }
}

/// The arguments of a method that is sent.
struct Arguments(Vec<u8>);

impl Arguments {
    fn new(class: u16, number: u16) -> Self {
        let mut all = Vec::with_capacity(64);
        all.put_u16(class);
        all.put_u16(number);
        Self(all)
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.put_u8(value);
        self
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.put_u16(value);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    /// Appends a text. The texts of a listener are names of at most 255 bytes; a longer one is cut.
    fn short(mut self, text: &[u8]) -> Self {
        let text = &text[..text.len().min(255)];
        self.0.put_u8(text.len() as u8);
        self.0.put_slice(text);
        self
    }

    fn long(mut self, text: &[u8]) -> Self {
        self.0.put_u32(text.len() as u32);
        self.0.put_slice(text);
        self
    }

    fn in_frame(self, channel: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + frame::AROUND);
        frame::put(&mut out, Kind::Method, channel, &self.0);
        out
    }
}

/// Returns a table. Its values are already written, each after its type.
fn table(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut table = Vec::new();
    for (name, value) in entries {
        table.put_u8(name.len() as u8);
        table.put_slice(name.as_bytes());
        table.put_slice(value);
    }
    table
}

fn of_text(text: &str) -> Vec<u8> {
    let mut value = vec![b'S'];
    value.put_u32(text.len() as u32);
    value.put_slice(text.as_bytes());
    value
}

fn of_table(table: &[u8]) -> Vec<u8> {
    let mut value = vec![b'F'];
    value.put_u32(table.len() as u32);
    value.put_slice(table);
    value
}

fn of_number(number: u32) -> Vec<u8> {
    let mut value = vec![b'l'];
    value.put_u64(number.into());
    value
}

/// Answers the greeting, with a user and its password.
pub fn start_ok(version: &str, username: &str, password: &str) -> Vec<u8> {
    const TRUE: &[u8] = b"t\x01";
    // The server then says why a login is refused, and tells of a queue that is gone.
    let capabilities = table(&[("authentication_failure_close", TRUE), ("consumer_cancel_notify", TRUE)]);
    let properties = table(&[
        ("product", &of_text("maxtalk")),
        ("version", &of_text(version)),
        ("capabilities", &of_table(&capabilities)),
    ]);
    let proof = [b"\0", username.as_bytes(), b"\0", password.as_bytes()].concat();
    Arguments::new(10, 11).long(&properties).short(b"PLAIN").long(&proof).short(b"en_US").in_frame(0)
}

/// Agrees on bounds.
pub fn tune_ok(channels_max: u16, frame_bytes_max: u32, heartbeat_s: u16) -> Vec<u8> {
    Arguments::new(10, 31).u16(channels_max).u32(frame_bytes_max).u16(heartbeat_s).in_frame(0)
}

/// Opens the connection to a virtual host.
pub fn open(vhost: &str) -> Vec<u8> {
    Arguments::new(10, 40).short(vhost.as_bytes()).short(b"").u8(0).in_frame(0)
}

/// Closes the connection.
pub fn close() -> Vec<u8> {
    Arguments::new(10, 50).u16(200).short(b"bye").u16(0).u16(0).in_frame(0)
}

/// Answers the close of the connection.
pub fn close_ok() -> Vec<u8> {
    Arguments::new(10, 51).in_frame(0)
}

/// Opens a channel.
pub fn open_channel(channel: u16) -> Vec<u8> {
    Arguments::new(20, 10).short(b"").in_frame(channel)
}

/// Answers the close of a channel.
pub fn channel_close_ok(channel: u16) -> Vec<u8> {
    Arguments::new(20, 41).in_frame(channel)
}

/// Asks whether an exchange is there, and does not make it.
pub fn find_exchange(channel: u16, name: &str) -> Vec<u8> {
    Arguments::new(40, 10).u16(0).short(name.as_bytes()).short(b"topic").u8(1).long(b"").in_frame(channel)
}

/// Makes a queue that only this connection reads and that goes with its reader. The server names it. It keeps the last
/// `messages_max` messages, and of these as many as have `bytes_max` bytes together.
pub fn make_queue(channel: u16, messages_max: u32, bytes_max: u32) -> Vec<u8> {
    let arguments = table(&[("x-max-length", &of_number(messages_max)), ("x-max-length-bytes", &of_number(bytes_max))]);
    let (exclusive, auto_delete) = (1 << 2, 1 << 3);
    Arguments::new(50, 10).u16(0).short(b"").u8(exclusive | auto_delete).long(&arguments).in_frame(channel)
}

/// Asks how many messages wait in a queue.
pub fn find_queue(channel: u16, name: &[u8]) -> Vec<u8> {
    Arguments::new(50, 10).u16(0).short(name).u8(1).long(b"").in_frame(channel)
}

/// Binds a queue to an exchange.
pub fn bind(channel: u16, queue: &[u8], exchange: &str, key: &str) -> Vec<u8> {
    let names = Arguments::new(50, 20).u16(0).short(queue).short(exchange.as_bytes());
    names.short(key.as_bytes()).u8(0).long(b"").in_frame(channel)
}

/// Takes a binding back.
pub fn unbind(channel: u16, queue: &[u8], exchange: &str, key: &str) -> Vec<u8> {
    let names = Arguments::new(50, 50).u16(0).short(queue).short(exchange.as_bytes());
    names.short(key.as_bytes()).long(b"").in_frame(channel)
}

/// Reads a queue. Nothing that it sends is confirmed.
pub fn consume(channel: u16, queue: &[u8]) -> Vec<u8> {
    let (no_ack, exclusive) = (1 << 1, 1 << 2);
    Arguments::new(60, 20).u16(0).short(queue).short(b"").u8(no_ack | exclusive).long(b"").in_frame(channel)
}

/// A sign of life.
pub fn heartbeat() -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, Kind::Heartbeat, 0, b"");
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the payload of a method.
    fn payload(class: u16, number: u16, rest: &[u8]) -> Bytes {
        [&class.to_be_bytes()[..], &number.to_be_bytes(), rest].concat().into()
    }

    #[test]
    fn methods_of_a_server_are_read() {
        let reply = Reply { code: 404, text: "NOT_FOUND - no exchange".to_owned() };
        let closed = b"\x01\x94\x17NOT_FOUND - no exchange\0\x28\0\x0a";
        for (payload, expected) in [
            (payload(10, 10, b"\0\x09\0\0\0\x04\x01aS"), None),
            (payload(10, 10, b"\0\x09\0\0\0\x07\x01aS\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x02en"), Some(start(b"PLAIN"))),
            (payload(10, 30, b"\x07\xff\0\x02\0\0\0\x3c"), Some(tune(131_072, 60))),
            (payload(10, 41, b"\0"), Some(Method::Opened)),
            (payload(10, 50, closed), Some(Method::Close(reply.clone()))),
            (payload(20, 40, closed), Some(Method::ChannelClose(reply))),
            (payload(50, 11, b"\x07amq.gen\0\0\0\x02\0\0\0\0"), Some(queue(b"amq.gen", 2))),
            (payload(60, 60, b"\x01t\0\0\0\0\0\0\0\x01\0\x01e\x02k."), Some(deliver(b"e", b"k."))),
            (payload(60, 60, b"\x01t\0\0\0\0\0\0\0\x01\0\x01e\x03k."), None),
            (payload(85, 1, b""), Some(Method::Other(85, 1))),
            (Bytes::from_static(b"\0"), None),
        ] {
            assert_eq!(Method::read(&payload).ok(), expected, "{payload:?}");
        }
    }

    fn start(mechanisms: &'static [u8]) -> Method {
        Method::Start(mechanisms.into())
    }

    fn tune(frame_bytes_max: u32, heartbeat_s: u16) -> Method {
        Method::Tune { frame_bytes_max, heartbeat_s }
    }

    fn queue(name: &'static [u8], messages: u32) -> Method {
        Method::Queue { name: name.into(), messages }
    }

    fn deliver(exchange: &'static [u8], key: &'static [u8]) -> Method {
        Method::Deliver { exchange: exchange.into(), key: key.into() }
    }

    #[test]
    fn headers_are_read_among_other_properties() {
        let read = |properties: &[u8]| {
            let payload = [b"\0\x3c\0\0\0\0\0\0\0\0\0\x07", properties].concat();
            Header::read(&payload.into()).unwrap()
        };
        let none = Header { bytes: 7, texts: Some(Vec::new()) };
        assert_eq!(read(b"\0\0"), none);
        assert_eq!(read(b"\x90\0\x04text\x02"), none, "a content type and a delivery mode");
        let mut values = Vec::new();
        for (kind, bytes) in [
            (b't', 1),
            (b'b', 1),
            (b'B', 1),
            (b's', 2),
            (b'u', 2),
            (b'I', 4),
            (b'i', 4),
            (b'f', 4),
            (b'D', 5),
            (b'l', 8),
            (b'd', 8),
            (b'T', 8),
            (b'V', 0),
        ] {
            values.extend([1, b'n', kind]);
            values.extend(std::iter::repeat_n(0, bytes));
        }
        // A list, a table with a table, and bytes.
        values.extend(b"\x01nA\0\0\0\x02t\x01\x01nF\0\0\0\x07\x01nF\0\0\0\0\x01nx\0\0\0\x01\0");
        values.extend(b"\x02\xffbS\0\0\0\x01v");
        let length = u32::try_from(values.len()).unwrap().to_be_bytes();
        let header = read(&[b"\x20\0".to_vec(), length.to_vec(), values].concat());
        assert_eq!(header.texts, Some(vec![(Text::from_static(b"\xffb"), Text::from_static(b"v"))]));
        for cut in
            [&b"\x20\0\0\0\0\x09\x01n"[..], b"\x20\0\0\0\0\x03\x01n?", b"\x20\0\0\0\0\x07\x01nS\0\0\0\x05", b"\x20"]
        {
            assert_eq!(read(cut), Header { bytes: 7, texts: None }, "{cut:?}");
        }
    }

    #[test]
    fn methods_of_a_listener_are_those_of_the_protocol() {
        assert_eq!(tune_ok(2, 65_536, 5), b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\0\x02\0\x01\0\0\0\x05\xce");
        assert_eq!(open("/"), b"\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce");
        assert_eq!(find_exchange(1, "e"), b"\x01\0\x01\0\0\0\x13\0\x28\0\x0a\0\0\x01e\x05topic\x01\0\0\0\0\xce");
        assert_eq!(bind(1, b"q", "e", "k"), b"\x01\0\x01\0\0\0\x11\0\x32\0\x14\0\0\x01q\x01e\x01k\0\0\0\0\0\xce");
        assert_eq!(unbind(2, b"q", "e", ""), b"\x01\0\x02\0\0\0\x0f\0\x32\0\x32\0\0\x01q\x01e\0\0\0\0\0\xce");
        assert_eq!(consume(1, b"q"), b"\x01\0\x01\0\0\0\x0e\0\x3c\0\x14\0\0\x01q\0\x06\0\0\0\0\xce");
        assert_eq!(heartbeat(), b"\x08\0\0\0\0\0\0\xce");
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = Method::read(&bytes);
            let _ = Header::read(&bytes);
            let _ = Header::read(&[b"\0\x3c\0\0\0\0\0\0\0\0\0\x07\x20\0\0\0\0\xc0", &bytes[..]].concat().into());
        }
    }
}
