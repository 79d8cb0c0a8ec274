//! WebSocket handshakes (RFC 6455, 4.2). A request is checked here, and its socket is handed to a session: to a new
//! one, or to one that is open already.

use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use actix_http::{Request as HttpRequest, ws};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connection::{Upgrade, Upgraded};
use super::endpoint::{Edge, HandshakeError};
use super::legacy;
use super::request::{decoded, elements, is_token};
use super::tags::{NoSession, OtherNode};
use super::websocket::UnattachedWebSocket;
use super::wire::{linger, send_at_once};
use crate::actors::front::SessionMessage;
use crate::delivery::transport::Attach;
use crate::limits::clients::ConnectionSlot;
use crate::metrics::ListenerName;
use crate::protocol::frame::Frame;
use crate::protocol::handshake::{LegacyError, LegacyRequest, Request, RequestError, is_endpoint};
use crate::protocol::legacy::{GREETING, NOT_HANDSHAKEN};
use crate::protocol::websocket::{Opcode, write_frame};
use crate::protocol::{Generation, TransportKind};

/// How long a client may take to read a refusal, or the head of the answer that accepts its WebSocket.
const HTTP_WAIT: Duration = Duration::from_secs(1);

/// The pause between the answer to a handshake of Engine.IO 3 and the open packet. Some clients of that time, such as
/// the official test suite, begin to listen once the socket is open. They miss an open packet that arrives together
/// with the answer.
const OPEN_DELAY: Duration = Duration::from_millis(5);

/// The versions of WebSocket that are served. Version 8, that of later drafts, has the same frames as version 13.
const VERSIONS: [&str; 2] = ["13", "8"];

/// Why an upgrade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpgradeError {
    /// The headers are not those of a handshake. The text is the body of the answer.
    NotWebSocket(&'static str),
    Version,
    Error(RequestError),
    OtherNode(OtherNode),
    Legacy(LegacyError),
    Handshake(HandshakeError),
}

/// The session that a WebSocket handshake asks for.
enum Asked {
    EngineIo(Request),
    Legacy { sid: String },
}

impl UpgradeError {
    /// Returns the client's generation if the error shows it.
    fn generation(self) -> Option<Generation> {
        matches!(self, Self::Legacy(_)).then_some(Generation::Sio09)
    }

    /// Returns the error to count. `None` if the refusal is already counted.
    fn error(self) -> Option<RequestError> {
        match self {
            Self::NotWebSocket(_) | Self::Version => Some(RequestError::BadRequest),
            Self::Error(error) => Some(error),
            Self::Legacy(error) => Some(error.counts_as()),
            Self::OtherNode(_) | Self::Handshake(_) => None,
        }
    }

    /// Returns status, reason phrase, further header lines, and body. The status is 503 if no session may begin now,
    /// otherwise 400, as with the official server.
    fn answer(self) -> (u16, &'static str, &'static str, &'static str) {
        let (status, reason) = (400, "Bad Request");
        match self {
            Self::NotWebSocket(what) => (status, reason, "", what),
            Self::Version => {
                (status, reason, "Sec-WebSocket-Version: 13, 8\r\n", "This version of WebSocket is not served")
            }
            Self::Error(error) => (status, reason, "", error.message()),
            Self::OtherNode(node) => (status, reason, node.header_line(), RequestError::UnknownSid.message()),
            Self::Legacy(error) => (status, reason, "", error.message()),
            Self::Handshake(_) => (503, "Service Unavailable", "Retry-After: 1\r\n", "There is no room: try later"),
        }
    }
}

impl Upgrade for Edge {
    fn takes(&self, request: &HttpRequest) -> bool {
        let path = decoded(request.uri().path());
        let query = request.uri().query().unwrap_or("");
        is_endpoint(&self.endpoint.path, &path) || legacy::judge(self, &path, query) != Err(LegacyError::NotFound)
    }

    fn upgrade(&self, request: HttpRequest, socket: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        let edge = self.clone();
        Box::pin(async move {
            let address = edge.client_address(request.head());
            match judge(&edge, &request) {
                Err(refusal) => {
                    if let Some(error) = refusal.error() {
                        edge.note_refusal(error, refusal.generation(), address);
                    }
                    refuse(&edge, socket.stream, socket.stopping, refusal).await;
                }
                Ok((asked, head)) => {
                    drop(request);
                    if let Err(error) = hand_over(&edge, socket, address, asked, head).await {
                        log::debug!("a socket was lost in its upgrade: {error}");
                    }
                }
            }
        })
    }
}

/// Checks that a request is a WebSocket handshake for the endpoint. Returns the session that it asks for and the head
/// of the answer.
fn judge(edge: &Edge, request: &HttpRequest) -> Result<(Asked, Vec<u8>), UpgradeError> {
    let head = request.head();
    let (path, query) = (decoded(head.uri.path()), head.uri.query().unwrap_or(""));
    let legacy = if is_endpoint(&edge.endpoint.path, &path) {
        None
    } else {
        Some(legacy::judge(edge, &path, query).map_err(UpgradeError::Legacy)?)
    };
    if has_bad_origin(head.headers()) {
        return Err(UpgradeError::Error(RequestError::BadRequest));
    }
    let asked = match legacy {
        None => Asked::EngineIo(Request::parse(query, &edge.endpoint.generations).map_err(UpgradeError::Error)?),
        Some(LegacyRequest::WebSocket { sid }) => Asked::Legacy { sid },
        Some(_) => return Err(UpgradeError::Error(RequestError::BadRequest)),
    };
    if matches!(&asked, Asked::EngineIo(asked) if asked.transport != TransportKind::WebSocket) {
        return Err(UpgradeError::Error(RequestError::BadRequest));
    }
    Ok((asked, accept(head.headers())?))
}

/// Returns the head of the answer to a WebSocket handshake with these headers.
fn accept(headers: &HeaderMap) -> Result<Vec<u8>, UpgradeError> {
    let version = only(headers, header::SEC_WEBSOCKET_VERSION).and_then(|version| version.to_str().ok());
    if !version.is_some_and(|version| VERSIONS.contains(&version.trim())) {
        return Err(UpgradeError::Version);
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.ok_or(UpgradeError::NotWebSocket("Sec-WebSocket-Key is none"))?;
    let mut answer = Vec::with_capacity(192);
    answer.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    answer.extend_from_slice(b"Sec-WebSocket-Accept: ");
    answer.extend_from_slice(&ws::hash_key(key.as_bytes()));
    // Subprotocols are not used, but browsers that offer some fail the connection if they get none back. The answer
    // names the first offer. Offers are different tokens (RFC 6455, 4.1).
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        let offered: Vec<_> = elements(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
        let mut different = HashSet::new();
        let first = offered.first().filter(|_| offered.iter().all(|name| is_token(name) && different.insert(*name)));
        let first = first.ok_or(UpgradeError::NotWebSocket("Sec-WebSocket-Protocol is no list of different tokens"))?;
        answer.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        answer.extend_from_slice(first.as_bytes());
    }
    answer.extend_from_slice(b"\r\n\r\n");
    Ok(answer)
}

/// Returns the value of a header that must occur exactly once (RFC 6455, 11.3).
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// Returns whether this is the base64 of 16 bytes. The four unused bits of the last digit are not checked, because some
/// clients set them.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(digit))
}

fn has_bad_origin(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.to_str().is_err())
}

async fn hand_over(
    edge: &Edge,
    socket: Upgraded,
    address: IpAddr,
    asked: Asked,
    mut head: Vec<u8>,
) -> std::io::Result<()> {
    let Upgraded { mut stream, read, slot, stopping, .. } = socket;
    let (generation, sid) = match asked {
        Asked::EngineIo(Request { generation, form, takes_offsets, sid: None, .. }) => {
            let session_slot = match edge.admit(generation, address) {
                Ok(session_slot) => session_slot,
                Err(refusal) => {
                    refuse(edge, stream, stopping, UpgradeError::Handshake(refusal)).await;
                    return Ok(());
                }
            };
            edge.endpoint.metrics.http_answered(ListenerName::Clients, 101);
            if generation == Generation::Eio3 {
                let head = std::mem::take(&mut head);
                tokio::time::timeout(HTTP_WAIT, stream.write_all(&head)).await??;
                tokio::time::sleep(OPEN_DELAY).await;
            }
            let socket = handover(edge, stream.into_std()?, slot, generation, read, head);
            let socket = socket.attach(&edge.worker.read_buffer)?;
            edge.open(session_slot, generation, form, takes_offsets, address, Some(socket));
            return Ok(());
        }
        Asked::EngineIo(Request { generation, sid: Some(sid), .. }) => (generation, sid),
        Asked::Legacy { sid } => (Generation::Sio09, sid),
    };
    // A client of 0.9 also gets a packet: the greeting, or, if there is no such session, the order to begin anew.
    let entry = match edge.session(&sid, generation) {
        Ok(entry) => entry,
        Err(reason) => {
            let refusal = match reason {
                NoSession::Unknown => {
                    edge.note_refusal(RequestError::UnknownSid, Some(generation), address);
                    UpgradeError::Error(RequestError::UnknownSid)
                }
                NoSession::OtherNode(node) => UpgradeError::OtherNode(node),
            };
            if generation == Generation::Sio09 {
                head.extend_from_slice(Frame::text(NOT_HANDSHAKEN).bytes());
                write_frame(&mut head, Opcode::Close, &[]);
                send_and_linger(stream, stopping, &head).await;
            } else {
                refuse(edge, stream, stopping, refusal).await;
            }
            return Ok(());
        }
    };
    edge.endpoint.metrics.http_answered(ListenerName::Clients, 101);
    if generation == Generation::Sio09 {
        head.extend_from_slice(Frame::text(GREETING).bytes());
    }
    // The session may live on another thread, so the socket leaves the runtime of this one.
    let handover = handover(edge, stream.into_std()?, slot, generation, read, head);
    // A session with a full mailbox takes no upgrade: the socket closes, and polling goes on.
    let _ = entry.mailbox.try_send(SessionMessage::Attach(handover));
    Ok(())
}

fn handover(
    edge: &Edge,
    stream: std::net::TcpStream,
    slot: ConnectionSlot,
    generation: Generation,
    read: Vec<u8>,
    head: Vec<u8>,
) -> Box<UnattachedWebSocket> {
    let endpoint = &edge.endpoint;
    Box::new(UnattachedWebSocket {
        stream,
        slot,
        generation,
        read,
        head: head.into(),
        payload_bytes_max: endpoint.payload_bytes_max,
        send_buffer_bytes: endpoint.send_buffer_bytes,
        metrics: endpoint.metrics.clone(),
    })
}

/// Answers in HTTP and closes the connection. A client that takes no bytes of the answer is dropped after
/// [`HTTP_WAIT`] at most.
async fn refuse(edge: &Edge, stream: TcpStream, stopping: watch::Receiver<bool>, refusal: UpgradeError) {
    let is_crowded = matches!(refusal, UpgradeError::Handshake(_));
    let (status, reason, headers, text) = refusal.answer();
    edge.endpoint.metrics.http_answered(ListenerName::Clients, status);
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nConnection: close\r\n{headers}Content-Type: text/html\r\n\
         Content-Length: {length}\r\n\r\n{text}"
    );
    if is_crowded {
        // Lingering would keep the connection open, and there is no room for it.
        send_at_once(&stream, answer.as_bytes());
    } else {
        send_and_linger(stream, stopping, answer.as_bytes()).await;
    }
}

async fn send_and_linger(mut stream: TcpStream, stopping: watch::Receiver<bool>, bytes: &[u8]) {
    if let Ok(Ok(())) = tokio::time::timeout(HTTP_WAIT, stream.write_all(bytes)).await {
        linger(stream, stopping).await;
    }
}
