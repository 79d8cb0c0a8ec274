//! The socket of a live connection. The actor is polled only while the socket takes bytes, so it never makes more than
//! one frame for a client that does not read, and such a client is closed when its deadline is over.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix_http::RequestHead;
use actix_http::error::PayloadError;
use actix_http::ws::{Codec, hash_key};
use actix_web::http::header;
use actix_web::web::Data;
use actix_web_actors::ws::{CloseCode, WebsocketContext};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Feed, judge};
use crate::admin::state::Admin;
use crate::metrics::ListenerName;
use crate::protocol::websocket::{Opcode, write_frame};

/// How long a client may leave a frame unread.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// How long a client may go on when the server stops, or after the last frame.
const END_WAIT: Duration = Duration::from_secs(1);

/// The longest message of a client.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one read.
const READ_BYTES: usize = 1024;

/// The pause between two reads. A client has nothing to say after its first message.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// Serves a live connection until it ends. `read` has the bytes that the client has sent behind its request.
pub async fn serve(
    admin: Data<Admin>,
    head: &RequestHead,
    stream: TcpStream,
    read: Vec<u8>,
    stopping: watch::Receiver<bool>,
) {
    // The last place may have been taken since the request was judged, so that this client has to try again.
    let Ok(place) = judge(&admin, head) else { return };
    let Some(key) = head.headers().get(header::SEC_WEBSOCKET_KEY) else { return };
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
    answer.extend_from_slice(b"Sec-WebSocket-Accept: ");
    answer.extend_from_slice(&hash_key(key.as_bytes()));
    answer.extend_from_slice(b"\r\n\r\n");
    admin.metrics.http_answered(ListenerName::Operators, 101);
    let feed = Feed { admin, is_open: false, _place: place };
    let stream = Rc::new(stream);
    let ended = pump(feed, &stream, &answer, read, stopping).await;
    match ended {
        Ok(()) => drop(timeout(END_WAIT, until_closed(&stream)).await),
        Err(error) => log::debug!("a live connection was lost: {error}"),
    }
}

/// Carries frames from the actor to the client, and messages to the actor.
async fn pump(
    feed: Feed,
    stream: &Rc<TcpStream>,
    answer: &[u8],
    read: Vec<u8>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    send(stream, answer, &stopping).await?;
    let codec = Codec::new().max_size(MESSAGE_BYTES_MAX);
    let mut frames = pin!(WebsocketContext::with_codec(feed, incoming(stream.clone(), read), codec));
    loop {
        let frame = tokio::select! {
            biased;
            _ = stopping.wait_for(|stops| *stops) => None,
            frame = frames.next() => match frame {
                Some(frame) => Some(frame.map_err(|error| io::Error::other(error.to_string()))?),
                None => return Ok(()),
            },
        };
        let Some(frame) = frame else { break };
        send(stream, &frame, &stopping).await?;
    }
    let mut goodbye = Vec::new();
    write_frame(&mut goodbye, Opcode::Close, &u16::from(CloseCode::Away).to_be_bytes());
    send(stream, &goodbye, &stopping).await
}

/// Writes all bytes within the deadline.
async fn send(stream: &TcpStream, mut bytes: &[u8], stopping: &watch::Receiver<bool>) -> io::Result<()> {
    let writes = async {
        while !bytes.is_empty() {
            stream.writable().await?;
            match stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        written = writes => written,
        () = sleep(WRITE_WAIT) => Err(io::ErrorKind::TimedOut.into()),
        () = late_for_stop(stopping.clone()) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn late_for_stop(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stops| *stops).await;
    sleep(END_WAIT).await;
}

/// Yields what the client sends: first `read`, then a little at a time.
fn incoming(stream: Rc<TcpStream>, read: Vec<u8>) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let first = (!read.is_empty()).then(|| Ok(Bytes::from(read)));
    let rest = stream::unfold(Some((stream, Duration::ZERO)), |state| async {
        let (stream, pause) = state?;
        // With a pause of zero this would still sleep for a millisecond.
        if !pause.is_zero() {
            sleep(pause).await;
        }
        match read_some(&stream).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((Ok(bytes), Some((stream, READ_PAUSE)))),
            Err(error) => Some((Err(PayloadError::Io(error)), None)),
        }
    });
    stream::iter(first).chain(rest)
}

async fn read_some(stream: &TcpStream) -> io::Result<Bytes> {
    let mut buffer = [0; READ_BYTES];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(bytes) => return Ok(Bytes::copy_from_slice(&buffer[..bytes])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the client closes its side. If a socket is closed with input unread, the kernel discards the last frame.
async fn until_closed(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
    while read_some(stream).await.is_ok_and(|bytes| !bytes.is_empty()) {}
}
