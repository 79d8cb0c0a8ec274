//! The connection to MAX that awc uses: our own socket, with the normalization of answers between the socket and awc.
//! The connection closes itself as soon as no call may be made on it any more, so that awc's pool drops it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use bytes::Buf;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::dial::Dialer;
use super::response::Responses;
use super::socket::Socket;

/// Bytes that are read from the socket at once.
const READ_BYTES: usize = 8 * 1024;

/// Gives awc connections to one MAX, regardless of the address that awc asks for.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    dialer: Rc<Dialer>,
    /// The present epoch. Connections of an earlier epoch are not used again.
    epoch: Rc<Cell<u64>>,
}

impl Connections {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer: Rc::new(dialer), epoch: Rc::default() }
    }

    /// The way to MAX.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Retires all present connections: an idle one closes when awc looks at it next, one with a call in progress
    /// closes at the end of the answer.
    pub(super) fn distrust(&self) {
        self.epoch.set(self.epoch.get() + 1);
    }
}

impl Service<ConnectInfo<Uri>> for Connections {
    type Response = Connection<Uri, MaxConnection>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, asked: ConnectInfo<Uri>) -> Self::Future {
        let connections = self.clone();
        async move {
            let (socket, address) = connections.dialer.connect().await.map_err(ConnectError::Io)?;
            let connection = MaxConnection {
                socket: Some(socket),
                responses: Responses::new(),
                address,
                asked_at: None,
                fault: None,
                used: false,
                has_answered: false,
                born: connections.epoch.get(),
                connections,
            };
            Ok(Connection::new(asked.request().clone(), connection))
        }
        .boxed_local()
    }
}

/// The connection that awc reads from and writes to.
#[derive(Debug)]
pub(super) struct MaxConnection {
    /// `None` after the connection is closed.
    socket: Option<Socket>,
    responses: Responses,
    address: SocketAddr,
    /// When the request in progress was sent.
    asked_at: Option<Instant>,
    /// The fault in the answer, to be reported after awc has read the part before it.
    fault: Option<io::Error>,
    /// Whether a request was sent.
    used: bool,
    /// Whether one answer was completed.
    has_answered: bool,
    /// The epoch in which the connection was made.
    born: u64,
    connections: Connections,
}

impl MaxConnection {
    /// Between two requests: closes the connection if it should not be used again.
    fn look(&mut self) {
        let Some(socket) = &self.socket else { return };
        // A TLS server may send tickets after the handshake, so unread bytes on a new connection say nothing.
        let looked_at = self.used || !socket.is_tls();
        let is_distrusted = self.born != self.connections.epoch.get();
        // An address that has failed is tried again on new connections only, unless MAX has no other address.
        let dialer = &self.connections.dialer;
        let is_dead = self.used && dialer.count() > 1 && dialer.has_failed(self.address);
        let is_stale = is_distrusted || is_dead || (looked_at && !socket.is_quiet());
        if is_stale && self.responses.is_idle() {
            self.responses.spend();
            self.socket = None;
        }
    }

    /// Notes that the connection brings no more answers. If it has brought one, it may just have reached its idle
    /// timeout, which is no failure of the address.
    fn has_gone(&mut self) {
        self.asked_at = None;
        if !self.has_answered {
            self.connections.dialer.failed(self.address);
        }
    }

    /// Reads from the socket, and closes it if no more answers are wanted from it.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        let outcome = ready!(Pin::new(socket).poll_read(cx, &mut buffer));
        let is_closed = outcome.is_err() || buffer.filled().is_empty();
        let outcome = match outcome {
            Ok(()) if is_closed => self.responses.closed().map_err(io::Error::other),
            Ok(()) => self.responses.read(buffer.filled()).map_err(io::Error::other),
            Err(error) => {
                self.responses.spend();
                Err(error)
            }
        };
        let is_whole = outcome.is_ok() && (self.responses.is_idle() || self.responses.is_spent());
        if is_whole && self.asked_at.take().is_some() {
            self.has_answered = true;
            self.connections.dialer.answered(self.address);
        } else if is_closed || outcome.is_err() {
            self.has_gone();
        }
        if self.responses.is_idle() && self.born != self.connections.epoch.get() {
            self.responses.spend();
        }
        if self.responses.is_spent() {
            self.socket = None;
        }
        match outcome {
            // The status alone is worth something: awc gets it before the fault that follows.
            Err(fault) if !self.responses.output().is_empty() => self.fault = Some(fault),
            outcome => return Poll::Ready(outcome),
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for MaxConnection {
    fn drop(&mut self) {
        if let Some(asked_at) = self.asked_at {
            self.connections.dialer.was_silent(self.address, asked_at.elapsed());
        }
    }
}

impl AsyncRead for MaxConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.responses.is_idle() && this.responses.output().is_empty() {
            this.look();
        }
        loop {
            let output = this.responses.output();
            if !output.is_empty() {
                let count = output.len().min(buf.remaining());
                buf.put_slice(&output[..count]);
                output.advance(count);
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = this.fault.take() {
                return Poll::Ready(Err(fault));
            }
            if this.socket.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(this.fill(cx))?;
        }
    }
}

impl AsyncWrite for MaxConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.responses.is_idle() {
            // Bytes that arrive before the request is sent cannot be its answer.
            this.look();
            while this.socket.is_some() && this.responses.is_idle() && this.fill(cx)?.is_ready() {}
            if this.socket.is_some() {
                this.responses.asked(buf);
                this.asked_at = Some(Instant::now());
                this.used = true;
            }
        }
        let written = match &mut this.socket {
            Some(socket) => Pin::new(socket).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        if matches!(written, Poll::Ready(Err(_))) {
            this.has_gone();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl ActixStream for MaxConnection {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.socket {
            Some(socket) => ActixStream::poll_read_ready(socket.tcp(), cx),
            None => Poll::Ready(Ok(Ready::EMPTY)),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.socket {
            Some(socket) => ActixStream::poll_write_ready(socket.tcp(), cx),
            None => Poll::Ready(Ok(Ready::EMPTY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::task::noop_waker_ref;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

    /// A connection on which one request was answered, and its other end.
    async fn used() -> (Connections, MaxConnection, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer =
            Dialer::new("127.0.0.1", port, None, false, Duration::from_secs(60), Arc::new(|_, _| Ok(Vec::new())));
        let connections = Connections::new(dialer);
        let asked = ConnectInfo::new(Uri::from_static("http://max.example"));
        let mut connection = connections.call(asked).await.unwrap().into_parts().0;
        let mut peer = listener.accept().unwrap().0;
        connection.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        peer.write_all(ANSWER).unwrap();
        let mut plain = vec![0; b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n[]".len()];
        connection.read_exact(&mut plain).await.unwrap();
        assert!(plain.ends_with(b"[]") && connection.responses.is_idle());
        (connections, connection, peer)
    }

    /// Returns what awc's pool reads when it looks at an idle connection: nothing yet, or 0 bytes at its end.
    fn looked_at(connection: &mut MaxConnection) -> Poll<usize> {
        let (mut space, mut cx) = ([0; 2], Context::from_waker(noop_waker_ref()));
        let mut buffer = ReadBuf::new(&mut space);
        let polled = Pin::new(connection).poll_read(&mut cx, &mut buffer);
        polled.map(|outcome| outcome.map(|()| buffer.filled().len()).unwrap())
    }

    #[actix_rt::test]
    async fn what_has_come_unasked_is_seen_before_the_runtime_knows_of_it() {
        let (_, mut connection, mut peer) = used().await;
        assert_eq!(looked_at(&mut connection), Poll::Pending);
        // Nothing is awaited from here on.
        peer.write_all(ANSWER).unwrap();
        assert_eq!(looked_at(&mut connection), Poll::Ready(0));

        let (_, mut connection, mut peer) = used().await;
        peer.write_all(ANSWER).unwrap();
        let sent = Pin::new(&mut connection).poll_write(&mut Context::from_waker(noop_waker_ref()), b"GET / ");
        assert!(matches!(sent, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));

        let (_, mut connection, peer) = used().await;
        drop(peer);
        assert_eq!(looked_at(&mut connection), Poll::Ready(0));
    }

    #[actix_rt::test]
    async fn a_connection_of_an_earlier_epoch_is_at_its_end() {
        let (connections, mut connection, _peer) = used().await;
        connections.distrust();
        assert_eq!(looked_at(&mut connection), Poll::Ready(0));
        assert!(connection.socket.is_none());
    }
}
