//! A TCP connection that never blocks: the poll of the thread says when there is something to read or room to write.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::wire::{MESSAGE_BYTES_MAX, garbage};

/// Least room in the buffer for one read.
const READ_BYTES_MIN: usize = 32 << 10;
/// Memory that a connection keeps for incomplete messages. A buffer that has grown above this is given back.
const KEPT_BYTES_MAX: usize = 4 << 10;
/// Size of the kernel's receive buffer of a slow reader. Linux doubles it.
const SLOW_BUFFER_BYTES: usize = 4096;
/// Clients per source address. An address has about 28,000 ports for one target, and a client has up to two
/// connections.
const CLIENTS_PER_SOURCE: usize = 10_000;

/// A TCP connection, with the bytes that wait in each direction.
pub(super) struct Connection {
    stream: TcpStream,
    /// The beginning of a message that has not arrived as a whole.
    rest: Vec<u8>,
    /// The bytes that the kernel has not taken yet.
    unsent: Vec<u8>,
}

/// The result of a read: `bytes` in the buffer, of which `read` are new.
pub(super) struct Filled {
    pub(super) bytes: usize,
    pub(super) read: usize,
    /// The buffer is full, so there may be more to read.
    pub(super) is_full: bool,
}

impl Connection {
    /// Begins to connect. On loopback, `number` chooses the source address.
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

    /// Stops the events of this connection.
    pub(super) fn forget(&mut self, registry: &Registry) {
        // This fails only for a connection that has no events anyway.
        let _ = registry.deregister(&mut self.stream);
    }

    /// Makes the close a reset, after which the port is free at once.
    pub(super) fn abort(&self) {
        // This fails only for a connection that is already broken.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Fills `buffer` with the kept bytes and those of one read. `None` if there is nothing to read.
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

    /// Keeps the beginning of the next message.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }

    /// Returns the bytes to be sent, to which more may be appended.
    pub(super) fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.unsent
    }

    /// Returns the number of bytes to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.unsent.len()
    }

    /// Sends what the kernel takes. An event says when it takes more. On a broken connection everything is dropped: the
    /// reader reports the error.
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
