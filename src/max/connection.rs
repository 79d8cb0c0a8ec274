//! The connection that awc holds towards MAX: a socket of ours, and between it and awc what makes every answer plain.
//! It closes itself as soon as nothing may be asked on it any more, so that awc's pool finds it closed.

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
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::dial::Dialer;
use super::response::Responses;

/// How much is read from the socket at a time.
const READ_BYTES: usize = 8 * 1024;

/// A connection to MAX, plain or TLS.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Plain($stream) => $call,
            Socket::Tls($stream) => $call,
        }
    };
}

/// Gives awc its connections to one MAX, whatever it asks for.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    dialer: Rc<Dialer>,
    /// Connections of an earlier epoch are not used again.
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

    /// Has every connection closed that there is now, those under way at the end of their answer.
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
                born: connections.epoch.get(),
                connections,
            };
            Ok(Connection::new(asked.request().clone(), connection))
        }
        .boxed_local()
    }
}

/// What awc reads from and writes to.
#[derive(Debug)]
pub(super) struct MaxConnection {
    /// None once it is closed.
    socket: Option<Socket>,
    responses: Responses,
    address: SocketAddr,
    /// When the request was sent of whose answer nothing has come yet.
    asked_at: Option<Instant>,
    born: u64,
    connections: Connections,
}

impl MaxConnection {
    /// Reads from the socket what there is, and closes it where nothing more is wanted of it.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        let outcome = ready!(each!(socket, stream => Pin::new(stream).poll_read(cx, &mut buffer)));
        let outcome = match outcome {
            Ok(()) if buffer.filled().is_empty() => self.responses.closed().map_err(io::Error::other),
            Ok(()) => {
                if self.asked_at.take().is_some() {
                    self.connections.dialer.answered(self.address);
                }
                self.responses.read(buffer.filled()).map_err(io::Error::other)
            }
            Err(error) => {
                self.responses.spend();
                Err(error)
            }
        };
        if self.responses.is_idle() && self.born != self.connections.epoch.get() {
            self.responses.spend();
        }
        if self.responses.is_spent() {
            self.socket = None;
        }
        Poll::Ready(outcome)
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
        if this.responses.is_idle() && this.born != this.connections.epoch.get() {
            this.responses.spend();
            this.socket = None;
        }
        loop {
            let output = this.responses.output();
            if !output.is_empty() {
                let count = output.len().min(buf.remaining());
                buf.put_slice(&output[..count]);
                output.advance(count);
                return Poll::Ready(Ok(()));
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
            // What is there before the request was sent cannot be its answer.
            while this.socket.is_some() && this.responses.is_idle() && this.fill(cx)?.is_ready() {}
            if this.socket.is_some() {
                this.responses.asked(buf);
                this.asked_at = Some(Instant::now());
            }
        }
        match &mut this.socket {
            Some(socket) => each!(socket, stream => Pin::new(stream).poll_write(cx, buf)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => each!(socket, stream => Pin::new(stream).poll_flush(cx)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => each!(socket, stream => Pin::new(stream).poll_shutdown(cx)),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl ActixStream for MaxConnection {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.socket {
            Some(Socket::Plain(stream)) => ActixStream::poll_read_ready(stream, cx),
            Some(Socket::Tls(stream)) => ActixStream::poll_read_ready(stream.get_ref().0, cx),
            None => Poll::Ready(Ok(Ready::EMPTY)),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.socket {
            Some(Socket::Plain(stream)) => ActixStream::poll_write_ready(stream, cx),
            Some(Socket::Tls(stream)) => ActixStream::poll_write_ready(stream.get_ref().0, cx),
            None => Poll::Ready(Ok(Ready::EMPTY)),
        }
    }
}
