//! The bytes between a client and the server, as far as neighbours and floods need them: requests, answers, masked
//! frames, and a connection that waits for expected text and ignores the rest.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::frame::masked;

const TEXT: u8 = 1;

/// A packet that has not come after this time counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The largest valid answer is smaller: a larger one means that reader and server are out of step.
const BUFFER_BYTES_MAX: usize = 64 << 20;

/// A connection, and the bytes read from it that are not yet taken.
pub struct Line {
    pub stream: TcpStream,
    input: Vec<u8>,
    /// How many bytes of the input are taken.
    taken: usize,
}

impl Line {
    /// Connects from the address `from`, which on Linux may be any of 127.0.0.0/8.
    pub async fn connect(addr: SocketAddr, from: IpAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A bind searches for a free port, which is slow when thousands are taken; this address, the default one, needs
        // none.
        if from != IpAddr::from(Ipv4Addr::LOCALHOST) {
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = timeout(PATIENCE, socket.connect(addr)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), taken: 0 })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    fn untaken(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    /// Reads more. Fails at the end of the connection.
    async fn fill(&mut self) -> io::Result<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        if self.input.len() > BUFFER_BYTES_MAX {
            return Err(io::Error::other("the server says too much"));
        }
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads until `text` has come, and discards everything up to its end.
    pub async fn expect(&mut self, text: &str) -> io::Result<()> {
        let come = async {
            loop {
                if let Some(at) = find(self.untaken(), text.as_bytes()) {
                    self.taken += at + text.len();
                    return Ok(());
                }
                self.fill().await?;
            }
        };
        timeout(PATIENCE, come).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Reads one answer, whose head has a length. Fails unless its status is 200.
    pub async fn answer(&mut self) -> io::Result<String> {
        loop {
            let input = self.untaken();
            if let Some(end) = find(input, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&input[..end]).to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length = length.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0);
                let (begin, end) = (end + 4, end + 4 + length);
                if input.len() >= end {
                    let body = String::from_utf8_lossy(&input[begin..end]).into_owned();
                    self.taken += end;
                    let is_ok = head.starts_with("http/1.1 200");
                    return if is_ok { Ok(body) } else { Err(io::Error::other(format!("{head}: {body}"))) };
                }
            }
            self.fill().await?;
        }
    }

    /// Reads one frame of the server and returns its payload.
    pub async fn frame(&mut self) -> io::Result<String> {
        loop {
            let input = self.untaken();
            if let [first, second, rest @ ..] = input {
                let (begin, length) = match (second, rest) {
                    (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                    (127, [a, b, c, d, e, f, g, h, ..]) => {
                        (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize)
                    }
                    (126 | 127, _) => (usize::MAX, 0),
                    (length, _) => (2, usize::from(*length)),
                };
                let is_text = first & 15 == TEXT;
                if begin < usize::MAX && input.len() >= begin + length {
                    let payload = String::from_utf8_lossy(&input[begin..begin + length]).into_owned();
                    self.taken += begin + length;
                    return if is_text { Ok(payload) } else { Err(io::Error::other("a frame that is no text")) };
                }
            }
            self.fill().await?;
        }
    }

    /// Makes this a WebSocket of Engine.IO 4 in the namespace `/max`.
    pub async fn enter(mut self) -> io::Result<Self> {
        self.write(&upgrade("/socket.io/?EIO=4&transport=websocket")).await?;
        self.expect("101 Switching Protocols").await?;
        self.expect("pingInterval").await?;
        self.expect("}").await?;
        self.write(&text("40/max,")).await?;
        self.expect("40/max,{\"sid\":\"").await?;
        self.expect("}").await?;
        Ok(self)
    }

    /// The same, and joins.
    pub async fn enter_as(self, user: &str) -> io::Result<Self> {
        let mut line = self.enter().await?;
        line.write(&text(&join(user))).await?;
        let listening = async {
            while !line.frame().await?.contains("[\"listening\",") {}
            io::Result::Ok(())
        };
        timeout(PATIENCE, listening).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(line)
    }
}

pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Encodes a request. `Content-Length` is there with every body, POST and PUT.
pub fn request(method: &str, target: &str, body: &str) -> Vec<u8> {
    let length = match method {
        "POST" | "PUT" => format!("Content-Type: text/plain\r\nContent-Length: {}\r\n", body.len()),
        _ => String::new(),
    };
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n{body}").into_bytes()
}

/// Encodes the request of a WebSocket handshake.
pub fn upgrade(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Encodes a text message in one masked frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(true, TEXT, text.as_bytes())
}

/// Encodes a masked frame, as a client does.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(fin, opcode, [0x12, 0x34, 0x56, 0x78], payload)
}

/// Encodes a join with a token.
pub fn join(user: &str) -> String {
    format!(r#"42/max,["join",{{"username":"{user}","token":"t"}}]"#)
}

/// Encodes a talk; `ack` is the id of its ack, or empty.
pub fn talk(conversation: &str, id: &str, ack: &str) -> String {
    format!(r#"42/max,{ack}["talk",{{"conversation":"{conversation}","timestamp":1,"messageID":"{id}"}}]"#)
}

/// Repeats `unit` to about 32 KiB, so that a flood needs few writes.
pub fn many(unit: &[u8]) -> Vec<u8> {
    unit.repeat((32_768 / unit.len()).max(1))
}
