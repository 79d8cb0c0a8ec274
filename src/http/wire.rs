//! The socket of an HTTP/1 connection, and what is known of the request that is read from it; and how one parts with a
//! socket so that its client hears what was said last.

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

/// While a request is answered, no more is read than shows whether its client is still there.
const READ_AHEAD_BYTES: usize = 4096;

/// How long a client may go on sending after the last answer. The kernel would throw that answer away with a connection
/// that is closed before its input is read.
const LINGER: Duration = Duration::from_secs(2);

/// The socket, and what is known of the request on it. Shared with the body of that request, for as long as it lasts.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    /// Read, and not yet taken.
    pub(super) incoming: BytesMut,
    body: Body,
    /// The client waits for a word before it sends the body.
    owes_continue: bool,
    /// The request is a GET or HEAD. A body means nothing then (RFC 9110, 9.3.1), and some gateways send an empty one:
    /// it is passed over.
    only_asks: bool,
    /// The client sends no more.
    has_ended: bool,
}

/// What is left of a body.
enum Body {
    Bytes(u64),
    Chunked(Chunked),
    /// It did not come to its end.
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

    /// Old browsers send a line break behind a body, which belongs to no request.
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

    /// The time for the body is over. False where it is there already.
    pub(super) fn give_up_body(&mut self) -> bool {
        let is_late = !self.has_whole_body();
        if is_late {
            self.body = Body::Broken(io::ErrorKind::TimedOut);
        }
        is_late
    }

    /// Says the word that the client waits for. Nothing else is being written, so that these few bytes find room; a
    /// client that does not get them sends its body a little later (RFC 9110, 10.1.1).
    fn ask_for_body(&mut self) {
        if std::mem::take(&mut self.owes_continue) {
            let _ = self.stream.try_write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Passes over what nobody has read of a body, as far as it is here. False where it goes on.
    pub(super) fn skip_rest(&mut self) -> bool {
        while let Some(Ok(_)) = self.take_body() {}
        self.has_whole_body()
    }

    /// Whether the next request has begun to come.
    pub(super) fn is_ahead(&mut self) -> bool {
        self.drop_buffer();
        !self.incoming.is_empty()
    }

    /// A connection at rest keeps no buffer.
    fn drop_buffer(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
    }

    /// Reads what has come: so many bytes, 0 at the end.
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

    /// Whether the client has gone: it reads no answer any more. Looks as long as nothing else may come. Who has closed
    /// his side behind a POST has only said all that he has to say; who has while he polls is gone.
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

    /// The next piece of the body, as far as it was read already. None where more has to be read first, or is not to
    /// come.
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

/// The body of a request, as its handler reads it: the socket is read no faster.
pub(super) struct Incoming(pub(super) Rc<RefCell<Wire>>);

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_body(cx)
    }
}

/// Says this before a socket is dropped, as far as that needs no time. What the client has sent is taken out, because
/// the system throws away what was written last where something unread is left.
pub(super) fn say_at_once(stream: &TcpStream, words: &[u8]) {
    let _ = stream.try_read(&mut [0; READ_BYTES]);
    let _ = stream.try_write(words);
}

/// Closes a socket whose client may still be sending: what it sends is thrown away until it closes too, for a while.
/// A stop does not wait for that.
pub(super) async fn linger(mut stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    let discard = async {
        stream.shutdown().await?;
        loop {
            // A statement of its own: the buffer would else be a part of every connection's future.
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

    /// A connection, and its other end.
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
        // The runtime learns by a read in vain that there is no more.
        client.write_all(b"\r\n").await.unwrap();
        std::future::poll_fn(|cx| wire.poll_fill(cx)).await.unwrap();
        wire.skip_blanks();
        assert!(wire.poll_fill(&mut Context::from_waker(noop_waker_ref())).is_pending());
        assert_eq!(wire.incoming.capacity(), 0);
        wire.incoming.extend_from_slice(b"G");
        assert!(wire.is_ahead());
    }
}
