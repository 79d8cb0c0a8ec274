//! A TCP connection that never waits: the thread's poll says when there is something to read or room to write.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::wire::{MESSAGE_BYTES_MAX, garbage};

/// There is always room for as much in one read.
const READ_BYTES_MIN: usize = 32 << 10;
/// What a connection keeps of an incomplete message is given back when it was more than this.
const KEPT_BYTES_MAX: usize = 4 << 10;
/// What a reader that is slow on purpose lets the kernel take for it. Linux doubles it.
const SLOW_BUFFER_BYTES: usize = 4096;
/// A source address has about 28,000 ports for one target; a client has up to two connections.
const CLIENTS_PER_SOURCE: usize = 10_000;

/// A connection, with the bytes of what has not arrived as a whole, and what the kernel has not taken yet.
pub(super) struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
    unsent: Vec<u8>,
}

/// What was there to read: so many bytes with those that were kept, so many of them new.
pub(super) struct Filled {
    pub(super) bytes: usize,
    pub(super) read: usize,
    /// There may be more.
    pub(super) is_full: bool,
}

impl Connection {
    /// Begins to connect. `number` is which of all clients this is: where the target is this machine, it chooses the
    /// source address.
    pub(super) fn open(
        address: SocketAddr,
        number: usize,
        is_slow: bool,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if is_slow {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        let source = number / CLIENTS_PER_SOURCE;
        if source > 0 && address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            let source = u8::try_from(source).unwrap_or(u8::MAX);
            socket.bind(&SocketAddr::from(([127, 0, 0, source.saturating_add(1)], 0)).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, rest: Vec::new(), unsent: Vec::new() })
    }

    /// Is told of no more events.
    pub(super) fn forget(&mut self, registry: &Registry) {
        // A connection that was never told of anything is as quiet.
        let _ = registry.deregister(&mut self.stream);
    }

    /// Will be closed without a farewell: its port is free at once, in place of a minute later.
    pub(super) fn abort(&self) {
        // A connection that is broken already needs no more.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Fills `buffer` with what was kept and what has come since, with one read. None where nothing has.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Filled>> {
        let kept = self.rest.len();
        if buffer.len() < kept + READ_BYTES_MIN {
            if kept > MESSAGE_BYTES_MAX {
                return Err(garbage("a message that is too large"));
            }
            buffer.resize(2 * (kept + READ_BYTES_MIN), 0);
        }
        let read = loop {
            match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        if kept > 0 {
            buffer[..kept].copy_from_slice(&self.rest);
            self.rest.clear();
            self.rest.shrink_to(KEPT_BYTES_MAX);
        }
        let bytes = kept + read;
        Ok(Some(Filled { bytes, read, is_full: bytes == buffer.len() }))
    }

    /// Keeps what belongs to the next message.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }

    /// What waits to be sent, to be written behind.
    pub(super) fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.unsent
    }

    /// How much waits to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.unsent.len()
    }

    /// Sends what the kernel takes now; an event says when it takes more. A broken connection takes everything: its
    /// reader notices.
    pub(super) fn flush(&mut self) {
        let mut written = 0;
        while written < self.unsent.len() {
            match self.stream.write(&self.unsent[written..]) {
                Ok(count) => written += count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => written = self.unsent.len(),
            }
        }
        if written == self.unsent.len() {
            self.unsent.clear();
        } else {
            self.unsent.drain(..written);
        }
    }
}
