//! The socket of an HTTP/1 connection with the body of the request that is being read from it, and ways to close a
//! socket such that the client still gets the last answer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::error::PayloadError;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::request::{self, Length};
use crate::protocol::chunked::{Chunked, Piece};
use crate::turns::Rest;

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// Bytes read ahead while a request is answered, in order to notice a client that goes away.
const READ_AHEAD_BYTES: usize = 4096;

/// How long a client may go on sending after the last answer. If a connection is closed with input unread, the kernel
/// discards the answer.
const LINGER: Duration = Duration::from_secs(2);

/// A socket and the state of its current request. Shared with the body of that request while the request lasts.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    /// Bytes read and not yet taken.
    pub(super) incoming: BytesMut,
    body: Body,
    /// Whether the client still waits for `100 Continue` before it sends the body.
    owes_continue: bool,
    /// Whether the request is a GET or HEAD. Its body means nothing (RFC 9110, 9.3.1) and is skipped; some gateways
    /// send an empty one.
    only_asks: bool,
    /// Whether the client has closed its side.
    has_ended: bool,
}

/// The part of a body that is still to come.
enum Body {
    Bytes(u64),
    Chunked(Chunked),
    /// The body ended early, is late, or is malformed.
    Broken(io::ErrorKind),
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            body: Body::Bytes(0),
            owes_continue: false,
            only_asks: false,
            has_ended: false,
        }
    }

    pub(super) fn begin_body(&mut self, length: Length, expects_continue: bool, only_asks: bool) {
        self.body = match length {
            Length::Bytes(bytes) => Body::Bytes(bytes),
            Length::Chunked => Body::Chunked(Chunked::default()),
        };
        self.owes_continue = expects_continue && self.incoming.is_empty();
        self.only_asks = only_asks;
        if only_asks {
            self.skip_rest();
        }
    }

    /// Skips the line breaks that old browsers send behind a body; they belong to no request.
    pub(super) fn skip_blanks(&mut self) {
        request::skip_blanks(&mut self.incoming);
        self.drop_buffer();
    }

    pub(super) fn has_whole_body(&self) -> bool {
        match &self.body {
            Body::Bytes(left) => *left == 0,
            Body::Chunked(chunked) => chunked.is_finished(),
            Body::Broken(_) => false,
        }
    }

    /// Ends the wait for the body. Returns false if the body is complete.
    pub(super) fn give_up_body(&mut self) -> bool {
        let is_late = !self.has_whole_body();
        if is_late {
            self.body = Body::Broken(io::ErrorKind::TimedOut);
        }
        is_late
    }

    /// Sends the `100 Continue` that the client waits for. Nothing else is being written, so these few bytes find room.
    /// A client that misses them sends its body a little later (RFC 9110, 10.1.1).
    fn ask_for_body(&mut self) {
        if std::mem::take(&mut self.owes_continue) {
            let _ = self.stream.try_write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Skips the unread part of a body as far as it has arrived. Returns whether the body is complete.
    pub(super) fn skip_rest(&mut self) -> bool {
        while let Some(Ok(_)) = self.take_body() {}
        self.has_whole_body()
    }

    /// Returns whether the next request has begun to arrive.
    pub(super) fn is_ahead(&mut self) -> bool {
        self.drop_buffer();
        !self.incoming.is_empty()
    }

    /// Frees the buffer: an idle connection keeps none.
    fn drop_buffer(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
    }

    /// Reads the bytes that have arrived. Returns their number, 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            self.incoming.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.incoming) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drop_buffer(),
                read => return Poll::Ready(read),
            }
        }
    }

    /// Returns whether the client has gone and will read no answer. Reads ahead only while no body is awaited. A client
    /// that closes its side after a POST has merely finished sending; one that does so during a poll has gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if self.only_asks {
            self.ask_for_body();
        }
        while !self.has_ended && (self.only_asks || self.has_whole_body()) && self.incoming.len() < READ_AHEAD_BYTES {
            match self.poll_fill(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => self.has_ended = true,
                Poll::Ready(Ok(_)) if self.only_asks => {
                    self.skip_rest();
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return true,
            }
        }
        self.has_ended && self.only_asks
    }

    /// Returns the next piece of the body among the bytes read; `None` if more must be read first or the body is
    /// complete.
    fn take_body(&mut self) -> Option<Result<Bytes, PayloadError>> {
        match &mut self.body {
            Body::Broken(kind) => Some(Err(PayloadError::Io((*kind).into()))),
            _ if self.incoming.is_empty() => None,
            Body::Bytes(0) => None,
            Body::Bytes(left) => {
                let len = self.incoming.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= len as u64;
                Some(Ok(self.incoming.split_to(len).freeze()))
            }
            Body::Chunked(chunked) => match chunked.read(&self.incoming) {
                Ok((read, Piece::Data(data))) => {
                    let data = Bytes::copy_from_slice(data);
                    self.incoming.advance(read);
                    Some(Ok(data))
                }
                Ok((read, Piece::More | Piece::End)) => {
                    self.incoming.advance(read);
                    None
                }
                Err(_) => {
                    self.body = Body::Broken(io::ErrorKind::InvalidData);
                    Some(Err(PayloadError::EncodingCorrupted))
                }
            },
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        loop {
            if let Some(piece) = self.take_body() {
                return Poll::Ready(Some(piece));
            }
            if self.has_whole_body() {
                return Poll::Ready(None);
            }
            self.ask_for_body();
            match ready!(self.poll_fill(cx)) {
                Ok(bytes) if bytes > 0 => {}
                _ => self.body = Body::Broken(io::ErrorKind::UnexpectedEof),
            }
        }
    }
}

/// The body of a request, as its handler reads it. The socket is read no faster than the handler reads.
pub(super) struct Incoming(pub(super) Rc<RefCell<Wire>>);

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_body(cx)
    }
}

/// Sends a last answer before a socket is dropped, without waiting. Input is read first: if some is left unread, the
/// kernel discards the answer.
pub(super) fn send_at_once(stream: &TcpStream, bytes: &[u8]) {
    let _ = stream.try_read(&mut [0; READ_BYTES]);
    let _ = stream.try_write(bytes);
}

/// Closes a socket whose client may still be sending: discards input until the client closes too, for at most
/// [`LINGER`]. A stop ends it at once.
pub(super) async fn linger(mut stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    let discard = async {
        stream.shutdown().await?;
        loop {
            // Not inline in the `match`: the buffer would become part of every connection's future.
            let read = stream.try_read(&mut [0; READ_BYTES]);
            match read {
                Ok(0) => return Ok::<_, io::Error>(()),
                Ok(_) => Rest::default().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
                Err(error) => return Err(error),
            }
        }
    };
    tokio::select! {
        biased;
        _ = timeout(LINGER, discard) => {}
        _ = stopping.wait_for(|stops| *stops) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;

    /// A connection and its other end.
    async fn wire() -> (Wire, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Wire::new(stream), listener.accept().await.unwrap().0)
    }

    #[actix_rt::test]
    async fn a_connection_at_rest_keeps_no_buffer() {
        let (mut wire, mut client) = wire().await;
        wire.incoming.reserve(READ_BYTES);
        assert!(!wire.is_ahead());
        assert_eq!(wire.incoming.capacity(), 0);
        // Only a read in vain tells the runtime that there is no more.
        client.write_all(b"\r\n").await.unwrap();
        std::future::poll_fn(|cx| wire.poll_fill(cx)).await.unwrap();
        wire.skip_blanks();
        assert!(wire.poll_fill(&mut Context::from_waker(noop_waker_ref())).is_pending());
        assert_eq!(wire.incoming.capacity(), 0);
        wire.incoming.extend_from_slice(b"G");
        assert!(wire.is_ahead());
    }
}
