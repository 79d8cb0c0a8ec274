//! A WebSocket, byte for byte: the test writes any bytes and reads frame by frame.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;

use super::frame::masked;
use super::http::{Http, Response, request};
use super::within;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The query of a WebSocket that opens a session.
pub const FRESH: &str = "EIO=4&transport=websocket";

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// The way in which a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By a close frame.
    Frame(Option<u16>),
    /// By a FIN alone.
    Eof,
    /// By a reset.
    Reset,
    /// By a packet that closes the session, on polling.
    Packet,
    /// A poll was refused.
    Refused(u16, String),
    /// By a panic in the test client, with its own message.
    Panic,
}

/// An upgraded connection.
pub struct Socket {
    pub reader: Reader,
    pub writer: Writer,
}

pub struct Reader(ReadHalf<BufReader<TcpStream>>);

pub struct Writer(WriteHalf<BufReader<TcpStream>>);

/// The request of a WebSocket handshake.
pub fn handshake(query: &str) -> Vec<u8> {
    handshake_at(&format!("/socket.io/?{query}"))
}

fn handshake_at(target: &str) -> Vec<u8> {
    let headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    request("GET", target, &headers, b"")
}

/// Encodes a masked frame, as a client sends it.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(fin, opcode, [0x12, 0x34, 0x56, 0x78], payload)
}

/// Encodes a text message in one frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(true, TEXT, text.as_bytes())
}

impl Socket {
    /// Opens a WebSocket; the answer must be 101.
    pub async fn open(addr: SocketAddr, query: &str) -> Self {
        Self::open_at(addr, &format!("/socket.io/?{query}")).await
    }

    /// Opens a WebSocket at any target.
    pub async fn open_at(addr: SocketAddr, target: &str) -> Self {
        let mut http = Http::connect(addr).await;
        http.write(&handshake_at(target)).await.unwrap();
        Self::answered(http).await.unwrap_or_else(|response| panic!("no WebSocket for {target}: {response:?}"))
    }

    /// Requests a WebSocket at any target, with further headers.
    pub async fn ask_at(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let mut http = Http::connect(addr).await;
        let handshake = handshake_at(target);
        let end = handshake.len() - 2;
        let further: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        http.write(&[&handshake[..end], further.as_bytes(), b"\r\n"].concat()).await.unwrap();
        Self::answered(http).await
    }

    /// Requests a WebSocket; `behind` follows the request in the same segment.
    pub async fn ask(addr: SocketAddr, query: &str, behind: &[u8]) -> Result<Self, Response> {
        let mut http = Http::connect(addr).await;
        http.write(&[handshake(query), behind.to_vec()].concat()).await.unwrap();
        Self::answered(http).await
    }

    /// Reads the answer to a handshake.
    pub async fn answered(mut http: Http) -> Result<Self, Response> {
        let response = within("the answer to a handshake", http.response()).await.unwrap();
        if response.status != 101 {
            return Err(response);
        }
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let (reader, writer) = split(http.stream);
        Ok(Self { reader: Reader(reader), writer: Writer(writer) })
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.writer.write(bytes).await.unwrap();
    }

    pub async fn send(&mut self, message: &str) {
        self.write(&text(message)).await;
    }

    /// Returns the next frame, or how the connection ended.
    pub async fn next(&mut self) -> Result<Frame, End> {
        within("a frame", self.reader.next()).await
    }

    /// Returns the next message, which must be text.
    pub async fn hear(&mut self) -> String {
        match self.next().await {
            Ok(Frame::Text(text)) => text,
            other => panic!("text was expected, not {other:?}"),
        }
    }

    /// Returns how the connection ends, and ignores all frames before.
    pub async fn end(&mut self) -> End {
        loop {
            match self.next().await {
                Ok(Frame::Close(code)) => {
                    let behind = self.next().await;
                    assert!(matches!(behind, Err(End::Eof | End::Reset)), "behind a close frame: {behind:?}");
                    return End::Frame(code);
                }
                Ok(_) => {}
                Err(end) => return end,
            }
        }
    }
}

impl Writer {
    /// # Errors
    /// The connection is over.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("a write", self.0.write_all(bytes)).await
    }
}

impl Reader {
    /// Reads one byte.
    pub async fn byte(&mut self) -> io::Result<u8> {
        self.0.read_u8().await
    }

    /// Returns the next frame, or how the connection ended.
    pub async fn next(&mut self) -> Result<Frame, End> {
        self.read().await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => End::Eof,
            _ => End::Reset,
        })
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let first = self.0.read_u8().await?;
        let len = match self.0.read_u8().await? {
            126 => u64::from(self.0.read_u16().await?),
            127 => self.0.read_u64().await?,
            len => u64::from(len),
        };
        assert!(len < 1 << 31, "the server masks, or is out of step: {len}");
        let mut payload = vec![0; len as usize];
        self.0.read_exact(&mut payload).await?;
        Ok(match first ^ 0x80 {
            TEXT => Frame::Text(String::from_utf8(payload).unwrap()),
            BINARY => Frame::Binary(payload),
            PONG => Frame::Pong(payload),
            CLOSE => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            _ => panic!("a frame that begins with {first:#x}"),
        })
    }
}
