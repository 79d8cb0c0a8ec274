//! The upgrade service: every request that wants to become something else than HTTP/1 comes here, past the `App`. It
//! judges the handshake, and hands the socket to a session, a new one or that of a polling client.

use std::convert::Infallible;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::{Request as HttpRequest, h1, ws};
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Edge;
use super::websocket::Handover;
use crate::actors::session::SessionMessage;
use crate::actors::transport::Attach;
use crate::protocol::handshake::{Request, RequestError, is_endpoint};
use crate::protocol::{Generation, TransportKind};

/// How long a client may take to read what it is answered over HTTP.
const HTTP_WAIT: Duration = Duration::from_secs(1);

/// Why there is no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    NotWebSocket,
    Error(RequestError),
}

impl Refusal {
    /// Status and text. An upgrade is refused with 400 whatever the reason, as by the official server.
    fn answer(self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound => ("404 Not Found", "There is no WebSocket here"),
            Self::NotWebSocket => ("400 Bad Request", "This is no WebSocket handshake"),
            Self::Error(error) => ("400 Bad Request", error.message()),
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
            if let Refusal::Error(error) = refusal {
                edge.note_refusal(error, stream.peer_addr().ok());
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
fn judge(edge: &Edge, request: &HttpRequest) -> Result<(Request, Bytes), Refusal> {
    let head = request.head();
    if !is_endpoint(&edge.endpoint.path, head.uri.path()) {
        return Err(Refusal::NotFound);
    }
    if has_bad_origin(head.headers()) {
        return Err(Refusal::Error(RequestError::BadRequest));
    }
    let asked = Request::parse(head.uri.query().unwrap_or("")).map_err(Refusal::Error)?;
    if asked.transport != TransportKind::WebSocket {
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
    Ok((asked, answer.into()))
}

fn has_bad_origin(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.to_str().is_err())
}

async fn hand_over(edge: &Edge, stream: TcpStream, read: Vec<u8>, asked: Request, head: Bytes) -> std::io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    let generation = asked.generation;
    let Some(sid) = &asked.sid else {
        let handover = handover(edge, stream.into_std()?, generation, read, head);
        let socket = handover.attach(&edge.worker)?;
        // A server that stops drops the socket, and the client tries another.
        let _ = edge.open(generation, peer, Some(socket));
        return Ok(());
    };
    let Some(entry) = edge.endpoint.sessions.get(sid) else {
        edge.note_refusal(RequestError::UnknownSid, stream.peer_addr().ok());
        refuse(stream, Refusal::Error(RequestError::UnknownSid)).await;
        return Ok(());
    };
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
    head: Bytes,
) -> Box<Handover> {
    let endpoint = &edge.endpoint;
    Box::new(Handover {
        stream,
        generation,
        read,
        head,
        payload_bytes_max: endpoint.payload_bytes_max,
        send_buffer_bytes: endpoint.send_buffer_bytes,
        metrics: endpoint.metrics.clone(),
    })
}

/// Answers in HTTP and closes. A client that does not read the answer is not waited for.
async fn refuse(mut stream: TcpStream, refusal: Refusal) {
    let (status, text) = refusal.answer();
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{text}"
    );
    let write = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(HTTP_WAIT, write).await;
}
