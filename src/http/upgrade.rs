//! The upgrade service: every request that wants to become something else than HTTP/1 comes here, past the `App`. It
//! judges the handshake, and hands the socket to a session, a new one or that of a polling client.

use std::convert::Infallible;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::{Request as HttpRequest, h1, ws};
use actix_web::http::header::{self, HeaderMap};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Edge;
use super::legacy;
use super::websocket::Handover;
use crate::actors::session::SessionMessage;
use crate::actors::transport::Attach;
use crate::protocol::frame::Frame;
use crate::protocol::handshake::{LegacyError, LegacyRequest, Request, RequestError, is_endpoint};
use crate::protocol::legacy::{GREETING, NOT_HANDSHAKEN};
use crate::protocol::websocket::{Opcode, write_frame};
use crate::protocol::{Generation, TransportKind};

/// How long a client may take to read what it is answered over HTTP.
const HTTP_WAIT: Duration = Duration::from_secs(1);

/// Clients in the manner of their day, the official suite of Engine.IO 3 among them, listen for the open packet when
/// the socket is open and not before: one that came together with the head of the answer they would miss.
const OPEN_DELAY: Duration = Duration::from_millis(5);

/// Why there is no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    NotWebSocket,
    Error(RequestError),
    Legacy(LegacyError),
}

/// Whose WebSocket it will be.
enum Asked {
    EngineIo(Request),
    Legacy { sid: String },
}

impl Refusal {
    /// What the client speaks, as far as that is known.
    fn generation(self) -> Option<Generation> {
        matches!(self, Self::Legacy(_)).then_some(Generation::Sio09)
    }

    /// What it counts as.
    fn error(self) -> Option<RequestError> {
        match self {
            Self::NotFound | Self::NotWebSocket => None,
            Self::Error(error) => Some(error),
            Self::Legacy(error) => Some(error.counts_as()),
        }
    }

    /// Status and text. An upgrade is refused with 400 whatever the reason, as by the official server.
    fn answer(self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound => ("404 Not Found", "There is no WebSocket here"),
            Self::NotWebSocket => ("400 Bad Request", "This is no WebSocket handshake"),
            Self::Error(error) => ("400 Bad Request", error.message()),
            Self::Legacy(error) => ("400 Bad Request", error.message()),
        }
    }
}

/// Takes over the connection of an upgrade request.
///
/// # Errors
/// Never: what goes wrong concerns this connection, and is over with it.
pub async fn upgrade(
    edge: Edge,
    (request, framed): (HttpRequest, Framed<TcpStream, h1::Codec>),
) -> Result<(), Infallible> {
    let parts = framed.into_parts();
    let mut stream = parts.io;
    let judged = judge(&edge, &request);
    drop(request);
    match judged {
        Err(refusal) => {
            if let Some(error) = refusal.error() {
                edge.note_refusal(error, refusal.generation(), stream.peer_addr().ok());
            }
            refuse(stream, refusal).await;
        }
        Ok((asked, head)) => {
            // Answers to requests that came before this one on the connection, and that the client has to read first.
            let earlier = tokio::time::timeout(HTTP_WAIT, stream.write_all(&parts.write_buf)).await;
            if !matches!(earlier, Ok(Ok(()))) {
                return Ok(());
            }
            if let Err(error) = hand_over(&edge, stream, parts.read_buf.to_vec(), asked, head).await {
                log::debug!("a socket was lost in its upgrade: {error}");
            }
        }
    }
    Ok(())
}

/// Whether the request is a WebSocket handshake for the endpoint; the head of the answer to it.
fn judge(edge: &Edge, request: &HttpRequest) -> Result<(Asked, Vec<u8>), Refusal> {
    let head = request.head();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or(""));
    let engine_io = is_endpoint(&edge.endpoint.path, path);
    let legacy = if engine_io { Ok(None) } else { legacy::judge(edge, path, query).map(Some) };
    if legacy == Err(LegacyError::NotFound) {
        return Err(Refusal::NotFound);
    }
    if has_bad_origin(head.headers()) {
        return Err(Refusal::Error(RequestError::BadRequest));
    }
    let asked = match legacy.map_err(Refusal::Legacy)? {
        None => Asked::EngineIo(Request::parse(query, &edge.endpoint.generations).map_err(Refusal::Error)?),
        Some(LegacyRequest::WebSocket { sid }) => Asked::Legacy { sid },
        Some(_) => return Err(Refusal::Error(RequestError::BadRequest)),
    };
    if matches!(&asked, Asked::EngineIo(asked) if asked.transport != TransportKind::WebSocket) {
        return Err(Refusal::Error(RequestError::BadRequest));
    }
    ws::verify_handshake(head).map_err(|_| Refusal::NotWebSocket)?;
    let key = head.headers().get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::NotWebSocket)?;
    let accept = ws::hash_key(key.as_bytes());
    let mut answer = Vec::with_capacity(160);
    answer.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    answer.extend_from_slice(b"Sec-WebSocket-Accept: ");
    answer.extend_from_slice(&accept);
    answer.extend_from_slice(b"\r\n\r\n");
    Ok((asked, answer))
}

fn has_bad_origin(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.to_str().is_err())
}

async fn hand_over(
    edge: &Edge,
    mut stream: TcpStream,
    read: Vec<u8>,
    asked: Asked,
    mut head: Vec<u8>,
) -> std::io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    let (generation, sid) = match asked {
        Asked::EngineIo(Request { generation, base64, sid: None, .. }) => {
            if generation == Generation::Eio3 {
                let head = std::mem::take(&mut head);
                tokio::time::timeout(HTTP_WAIT, stream.write_all(&head)).await??;
                tokio::time::sleep(OPEN_DELAY).await;
            }
            let handover = handover(edge, stream.into_std()?, generation, read, head);
            let socket = handover.attach(&edge.worker)?;
            // A server that stops drops the socket, and the client tries another.
            let _ = edge.open(generation, base64, peer, Some(socket));
            return Ok(());
        }
        Asked::EngineIo(Request { generation, sid: Some(sid), .. }) => (generation, sid),
        Asked::Legacy { sid } => (Generation::Sio09, sid),
    };
    // 0.9 is told by a packet in either case: it begins, or its client has to begin anew.
    let Some(entry) = edge.endpoint.sessions.get(&sid, generation) else {
        edge.note_refusal(RequestError::UnknownSid, Some(generation), stream.peer_addr().ok());
        if generation == Generation::Sio09 {
            head.extend_from_slice(Frame::text(NOT_HANDSHAKEN).bytes());
            write_frame(&mut head, Opcode::Close, &[]);
            say_last(stream, &head).await;
        } else {
            refuse(stream, Refusal::Error(RequestError::UnknownSid)).await;
        }
        return Ok(());
    };
    if generation == Generation::Sio09 {
        head.extend_from_slice(Frame::text(GREETING).bytes());
    }
    // The session may live on another thread: the socket goes there without a runtime.
    let handover = handover(edge, stream.into_std()?, generation, read, head);
    // A session that takes no more requests takes no upgrade: the socket closes, and polling goes on.
    let _ = entry.mailbox.try_send(SessionMessage::Attach(handover));
    Ok(())
}

fn handover(
    edge: &Edge,
    stream: std::net::TcpStream,
    generation: Generation,
    read: Vec<u8>,
    head: Vec<u8>,
) -> Box<Handover> {
    let endpoint = &edge.endpoint;
    Box::new(Handover {
        stream,
        generation,
        read,
        head: head.into(),
        payload_bytes_max: endpoint.payload_bytes_max,
        send_buffer_bytes: endpoint.send_buffer_bytes,
        metrics: endpoint.metrics.clone(),
    })
}

/// Answers in HTTP and closes. A client that does not read the answer is not waited for.
async fn refuse(stream: TcpStream, refusal: Refusal) {
    let (status, text) = refusal.answer();
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{text}"
    );
    say_last(stream, answer.as_bytes()).await;
}

async fn say_last(mut stream: TcpStream, words: &[u8]) {
    let write = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(HTTP_WAIT, write).await;
}
