//! A WebSocket as the transport of a session: it reads frames, writes the outbox, resumes partial writes and closes the
//! connection. The task of the session reads; that task and the flusher of the session's worker write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use actix_web_actors::ws::CloseCode;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::socket::{Stream, bound_send_buffer};
use crate::delivery::buffer::ReadBuffer;
use crate::delivery::outbox::{Frames, Outbox};
use crate::delivery::transport::{Attach, Inbound, Sink, Transport};
use crate::event::CloseReason;
use crate::limits::clients::ConnectionSlot;
use crate::metrics::{Limit, Metrics};
use crate::protocol::engine::Packet;
use crate::protocol::frame::Frame;
use crate::protocol::websocket::{Message, Opcode, Reader, Step, write_frame};
use crate::protocol::{Generation, ProtocolError};
use crate::turns;

/// The largest number of reads in one turn. It keeps a flooding client from holding up others.
const READS_PER_TURN: usize = 4;

/// The largest number of writes in one turn. Otherwise a client that reads as fast as its outbox is filled would hold
/// up others.
const WRITES_PER_TURN: usize = 16;

/// The largest number of frames in one write.
const FRAMES_PER_WRITE: usize = 64;

/// The largest number of urgent frames that wait to be written.
const URGENT_MAX: usize = 16;

/// The capacity up to which a buffer is not shrunk, even if it is nearly empty.
const KEPT_BYTES: usize = 4096;

/// The largest number of bytes that are read from a peer after the close was sent.
const FAREWELL_BYTES_MAX: usize = 64 * 1024;

/// How long a peer may take to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A client's WebSocket.
#[derive(Debug)]
pub struct WebSocket<S: Stream> {
    stream: S,
    generation: Generation,
    reader: Reader,
    buffer: Rc<ReadBuffer>,
    metrics: Arc<Metrics>,
    /// The connection's slot among the open connections. `None` in tests and benches.
    slot: Option<ConnectionSlot>,
    /// Bytes that were received and not consumed yet.
    partial: Vec<u8>,
    /// Whether `partial` may hold complete frames, which are parsed before anything more is read.
    unread: bool,
    /// Data that the socket has not taken yet. Boxed because most sockets have none at most times.
    unsent: Option<Box<Unsent>>,
    close_code: Option<u16>,
}

/// Data to be written, in order: urgent frames, then frames of the outbox.
#[derive(Debug, Default)]
struct Unsent {
    /// Sent before any other frame: the head of the handshake's answer, pongs, the answer to a probe.
    urgent: VecDeque<Bytes>,
    /// Frames taken from the outbox.
    writing: Frames,
    /// Bytes already written of the first frame of `writing` if `mid_frame`, otherwise of the first one of `urgent`.
    written: usize,
    /// Whether a part of the first frame of `writing` is written. The rest of it goes before anything urgent.
    mid_frame: bool,
    /// Since when the peer has taken nothing.
    blocked_since: Option<Instant>,
}

/// Counts of the messages and bytes of the outbox that were written.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    messages: usize,
    bytes: usize,
}

/// A WebSocket on its way to the thread of its session.
#[derive(Debug)]
pub struct UnattachedWebSocket {
    /// The socket, not registered with any runtime.
    pub stream: std::net::TcpStream,
    /// Its slot among the open connections.
    pub slot: ConnectionSlot,
    /// The client's generation.
    pub generation: Generation,
    /// Bytes that arrived behind the request.
    pub read: Vec<u8>,
    /// The head of the handshake's answer, to be sent first.
    pub head: Bytes,
    /// The largest message that the client may send.
    pub payload_bytes_max: usize,
    /// The bound of the kernel's send buffer.
    pub send_buffer_bytes: usize,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

impl Attach for UnattachedWebSocket {
    fn attach(self: Box<Self>, buffer: &Rc<ReadBuffer>) -> io::Result<Box<dyn Transport>> {
        let stream = TcpStream::from_std(self.stream)?;
        bound_send_buffer(&stream, self.send_buffer_bytes);
        let reader = Reader::new(self.payload_bytes_max);
        let (read, head) = (self.read, self.head);
        let mut socket = WebSocket::new(stream, self.generation, reader, buffer, read, head, self.metrics);
        socket.slot = Some(self.slot);
        Ok(Box::new(socket))
    }
}

impl<S: Stream> WebSocket<S> {
    /// Returns a WebSocket that sends `head` first, and parses `read` before it reads from `stream`.
    pub fn new(
        stream: S,
        generation: Generation,
        reader: Reader,
        buffer: &Rc<ReadBuffer>,
        read: Vec<u8>,
        head: Bytes,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            stream,
            generation,
            reader,
            buffer: buffer.clone(),
            metrics,
            slot: None,
            unread: !read.is_empty(),
            partial: read,
            unsent: (!head.is_empty()).then(|| Box::new(Unsent { urgent: [head].into(), ..Unsent::default() })),
            close_code: None,
        }
    }

    /// Reads once and parses what has arrived. `Pending` if nothing has; an error if the connection is over.
    fn read_once(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> Poll<Result<(), CloseReason>> {
        let mut incoming = ReadBuf::new(buffer);
        let received = match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut incoming)) {
            Ok(()) => incoming.filled_mut(),
            Err(_) => return Poll::Ready(Err(CloseReason::TransportError)),
        };
        if received.is_empty() {
            return Poll::Ready(Err(CloseReason::TransportClose));
        }
        sink(Inbound::Bytes(received.len()))?;
        if self.partial.is_empty() {
            let consumed = self.parse(received, sink)?;
            self.partial.extend_from_slice(&received[consumed..]);
        } else {
            self.partial.extend_from_slice(received);
            self.parse_partial(sink)?;
        }
        Poll::Ready(self.allow(self.partial.len() + self.reader.kept_bytes()))
    }

    /// Returns an error if the server lacks the memory to keep this number of bytes for the client.
    fn allow(&self, bytes: usize) -> Result<(), CloseReason> {
        if self.slot.as_ref().is_none_or(|slot| slot.may_keep(bytes)) {
            return Ok(());
        }
        self.metrics.limited(Limit::Memory);
        Err(CloseReason::Memory)
    }

    fn parse_partial(&mut self, sink: &mut Sink<'_>) -> Result<(), CloseReason> {
        let mut partial = std::mem::take(&mut self.partial);
        let consumed = self.parse(&mut partial, sink)?;
        if consumed < partial.len() {
            partial.drain(..consumed);
            // A large message leaves no large buffer behind.
            if partial.capacity() > KEPT_BYTES.max(4 * partial.len()) {
                partial.shrink_to_fit();
            }
            self.partial = partial;
        }
        Ok(())
    }

    /// Parses complete frames from the front of `input` until `sink` wants no more. Returns the length of what it
    /// parsed.
    fn parse(&mut self, input: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, CloseReason> {
        let mut consumed = 0;
        loop {
            let step = self.reader.step(&mut input[consumed..])?;
            let Step::Frame { consumed: frame, message } = step else { return Ok(consumed) };
            consumed += frame;
            let arrival = match message {
                None | Some(Message::Pong(_)) => Inbound::Frame,
                Some(Message::Ping(data)) => {
                    // A client that does not read its pongs gets no more of them. RFC 6455 (5.5.3) allows a server to
                    // leave pings unanswered.
                    let urgent = &mut self.unsent.get_or_insert_default().urgent;
                    if urgent.len() < URGENT_MAX {
                        let mut pong = Vec::with_capacity(data.len() + 2);
                        write_frame(&mut pong, Opcode::Pong, data);
                        urgent.push_back(pong.into());
                    }
                    Inbound::Frame
                }
                Some(Message::Close(code)) => {
                    self.close_code = code;
                    // Browsers say this for a page that is closed.
                    let is_away = code == Some(CloseCode::Away.into());
                    return Err(if is_away { CloseReason::GoingAway } else { CloseReason::TransportClose });
                }
                Some(Message::Text(text)) => Inbound::Packet(Packet::from_text(self.generation, text)?),
                Some(Message::Binary(data)) => Inbound::Packet(Packet::from_binary(self.generation, data)?),
            };
            if !sink(arrival)? {
                self.reader.release();
                self.unread = true;
                return Ok(consumed);
            }
        }
    }

    /// Takes the unsent data out of its box. [`Self::keep`] puts back what is left of it.
    fn take_unsent(&mut self) -> Unsent {
        self.unsent.take().map_or_else(Unsent::default, |unsent| *unsent)
    }

    fn keep(&mut self, unsent: Unsent) {
        self.unsent = (!unsent.is_empty()).then(|| Box::new(unsent));
    }

    /// Writes `unsent`. Ready when all of it is written.
    fn poll_flush(&mut self, cx: &mut Context<'_>, unsent: &mut Unsent, sent: &mut Sent) -> Poll<io::Result<()>> {
        while !unsent.is_empty() {
            let written = match unsent.only() {
                Some(bytes) => self.poll_write_some(cx, &[IoSlice::new(bytes)]),
                None => {
                    let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
                    let count = unsent.gather(&mut slices);
                    self.poll_write_some(cx, &slices[..count])
                }
            };
            let Poll::Ready(written) = written else {
                unsent.blocked_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.consume(written, sent);
            unsent.blocked_since = None;
            self.metrics.websocket_written.count(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.stream.write_now(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
            }
            written => Poll::Ready(written),
        }
    }

    /// Writes the unsent data, but nothing more of the outbox.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unsent = self.take_unsent();
        let flushed = self.poll_flush(cx, &mut unsent, &mut Sent::default());
        self.keep(unsent);
        flushed
    }

    fn code_of(&self, reason: CloseReason) -> Option<u16> {
        let code = match reason {
            CloseReason::TooLarge => CloseCode::Size,
            CloseReason::BadText => CloseCode::Invalid,
            CloseReason::ParseError(ProtocolError::Frame) => CloseCode::Protocol,
            CloseReason::Slow | CloseReason::WriteTimeout | CloseReason::Memory => CloseCode::Again,
            CloseReason::Flood | CloseReason::RateLimited => CloseCode::Policy,
            CloseReason::Panic | CloseReason::ConversationLost => CloseCode::Error,
            _ => return self.close_code,
        };
        Some(code.into())
    }
}

impl<S: Stream> Transport for WebSocket<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<CloseReason> {
        if std::mem::take(&mut self.unread)
            && let Err(reason) = self.parse_partial(sink)
        {
            return Poll::Ready(reason);
        }
        let buffer = self.buffer.clone();
        for _ in 0..READS_PER_TURN {
            if self.unread {
                return Poll::Pending;
            }
            if let Err(reason) = ready!(buffer.with(|buffer| self.read_once(cx, buffer, sink))) {
                return Poll::Ready(reason);
            }
        }
        turns::rest(cx);
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<CloseReason> {
        let mut unsent = self.take_unsent();
        if unsent.writing.is_empty() {
            outbox.take(&mut unsent.writing);
        }
        for _ in 0..WRITES_PER_TURN {
            if unsent.is_empty() {
                return Poll::Pending;
            }
            let mut sent = Sent::default();
            let flushed = self.poll_flush(cx, &mut unsent, &mut sent);
            let relieved = match flushed {
                Poll::Ready(Err(_)) => {
                    self.keep(unsent);
                    return Poll::Ready(CloseReason::TransportError);
                }
                Poll::Ready(Ok(())) => {
                    unsent = Unsent::default();
                    outbox.written_and_take(sent.messages, sent.bytes, &mut unsent.writing)
                }
                Poll::Pending => outbox.written(sent.messages, sent.bytes),
            };
            if relieved {
                // The session reads on, but after the other tasks had their turn.
                turns::rest(cx);
            }
            if flushed.is_pending() {
                self.keep(unsent);
                return self.allow(outbox.bytes()).map_or_else(Poll::Ready, |()| Poll::Pending);
            }
        }
        self.keep(unsent);
        turns::rest(cx);
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, frame: &Frame, times: usize) -> Poll<CloseReason> {
        if times > 0 {
            let urgent = &mut self.unsent.get_or_insert_default().urgent;
            let room = URGENT_MAX.saturating_sub(urgent.len());
            urgent.extend(std::iter::repeat_n(frame.bytes(), times.min(room)).cloned());
        }
        match ready!(self.poll_finish(cx)) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(CloseReason::TransportError),
        }
    }

    fn blocked_since(&self) -> Option<Instant> {
        self.unsent.as_ref()?.blocked_since
    }

    fn give_up_unwritten(&mut self) -> Frames {
        self.unsent
            .as_mut()
            .map_or_else(Frames::new, |unsent| unsent.writing.drain(usize::from(unsent.mid_frame)..).collect())
    }

    fn close(mut self: Box<Self>, reason: CloseReason) {
        if reason == CloseReason::TransportError {
            return;
        }
        // Nothing more is parsed.
        (self.partial, self.reader) = (Vec::new(), Reader::new(0));
        let mut frame = Vec::new();
        let payload = self.code_of(reason).map(u16::to_be_bytes);
        write_frame(&mut frame, Opcode::Close, payload.as_ref().map_or(&[], |code| code.as_slice()));
        // Urgent frames and a frame that has begun are still sent; the other frames of the outbox are dropped.
        let unsent = self.unsent.get_or_insert_default();
        unsent.writing.truncate(usize::from(unsent.mid_frame));
        unsent.urgent.push_back(frame.into());
        match self.poll_finish(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => {}
            // The peer takes no more data, so it cannot get the close frame.
            Poll::Pending if matches!(reason, CloseReason::Slow | CloseReason::WriteTimeout | CloseReason::Memory) => {
                self.stream.reset_on_drop()
            }
            Poll::Pending | Poll::Ready(Ok(())) => drop(actix_rt::spawn(finish_close(self))),
        }
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.writing.is_empty()
    }

    /// Returns the rest of the only frame to be written; `None` if there are several or something is urgent.
    fn only(&self) -> Option<&[u8]> {
        (self.urgent.is_empty() && self.writing.len() == 1).then(|| &self.writing[0].bytes()[self.written..])
    }

    /// Fills in the slices of the next write, in order. Returns their number.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; FRAMES_PER_WRITE]) -> usize {
        let begun = usize::from(self.mid_frame);
        let frames = |frame: &'a Frame| frame.bytes();
        let first = self.writing.iter().take(begun).map(frames);
        let chunks = first.chain(&self.urgent).chain(self.writing.iter().skip(begun).map(frames));
        let (mut skip, mut count) = (self.written, 0);
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(&chunk[std::mem::take(&mut skip)..]);
            count += 1;
        }
        count
    }

    /// Removes the first `written` bytes of those that [`Self::gather`] returned. Counts in `sent` the frames of the
    /// outbox that are now written to their end.
    fn consume(&mut self, written: usize, sent: &mut Sent) {
        let mut left = self.written + written;
        self.written = 0;
        let mut frames = 0;
        loop {
            let from_outbox = self.mid_frame || self.urgent.is_empty();
            let first = if from_outbox {
                self.writing.get(frames).map(Frame::len)
            } else {
                self.urgent.front().map(Bytes::len)
            };
            let Some(len) = first else { break };
            if left < len {
                self.written = left;
                self.mid_frame = from_outbox && left > 0;
                break;
            }
            left -= len;
            self.mid_frame = false;
            if from_outbox {
                frames += 1;
                sent.messages += 1;
                sent.bytes += len;
            } else {
                self.urgent.pop_front();
            }
        }
        self.writing.drain(..frames);
        // A client that is always a little behind does not keep the capacity of an earlier, longer queue.
        if self.writing.capacity() > FRAMES_PER_WRITE.max(4 * self.writing.len()) {
            self.writing.shrink_to_fit();
        }
    }
}

/// Sends the close frame and waits a moment for the peer to close. Closing a socket with unread bytes would reset it,
/// and the peer might lose the close frame. A peer that keeps sending is cut off.
async fn finish_close<S: Stream>(mut socket: Box<WebSocket<S>>) {
    let drain = async {
        std::future::poll_fn(|cx| socket.poll_finish(cx)).await?;
        socket.stream.shutdown().await?;
        let (mut scrap, mut left) = ([0; 1024], FAREWELL_BYTES_MAX);
        while left > 0 {
            let read = socket.stream.read(&mut scrap).await?;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
            turns::Rest::default().await;
        }
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(CLOSE_WAIT, drain).await;
}

#[cfg(test)]
mod tests;
