//! The transport of an owned socket: frames in, outbox out, partial writes, the close. It reads inside its session's
//! task; the flusher of its worker and that task write.

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

/// Reads of one turn: a client that floods lets others have theirs.
const READS_PER_TURN: usize = 4;

/// Writes of one turn: a client that reads as fast as others talk lets others have theirs.
const WRITES_PER_TURN: usize = 16;

/// Frames of one write.
const FRAMES_PER_WRITE: usize = 64;

/// What may wait to be written before anything of the outbox.
const URGENT_MAX: usize = 16;

/// A buffer of no more than this is kept as it is, though there is little in it.
const KEPT_BYTES: usize = 4096;

/// Bytes that are read of a peer that has been told of the close.
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
    /// Its place among the open connections, for as long as it is open.
    slot: Option<ConnectionSlot>,
    /// The beginning of a frame that is not whole, or what nobody has looked at yet (`unread`).
    partial: Vec<u8>,
    unread: bool,
    /// What the socket did not take yet. Hardly ever is there anything, and every connection has a socket.
    unsent: Option<Box<Unsent>>,
    close_code: Option<u16>,
}

/// What is to be written, in order: what is urgent, then what is from the outbox.
#[derive(Debug, Default)]
struct Unsent {
    /// Goes out before any further frame: the head of the handshake's answer, a pong, the answer to a probe.
    urgent: VecDeque<Bytes>,
    /// Taken from the outbox.
    writing: Frames,
    /// Bytes of the first of `urgent`, or else of `writing`, that are out.
    written: usize,
    /// Whether `written` is about `writing`: a frame that was begun is finished before anything urgent.
    mid_frame: bool,
    /// Since when the peer has taken nothing.
    blocked_since: Option<Instant>,
}

/// What went out of the outbox.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    messages: usize,
    bytes: usize,
}

/// A socket on its way to its session, together with what was read from it and what it is sent first.
#[derive(Debug)]
pub struct UnattachedWebSocket {
    /// The socket, registered with no runtime.
    pub stream: std::net::TcpStream,
    /// Its place among the open connections.
    pub slot: ConnectionSlot,
    /// What the client speaks.
    pub generation: Generation,
    /// What came behind the request.
    pub read: Vec<u8>,
    /// The head of the answer.
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
    /// A socket whose peer is sent `head` first; `read` is what it has already sent.
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

    /// Reads once. Ready when the connection is over.
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

    /// Whether so many bytes may be kept for this client now.
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

    /// Takes the whole frames from the front of `input`, as long as `sink` takes more, and says how many bytes they
    /// were.
    fn parse(&mut self, input: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, CloseReason> {
        let mut consumed = 0;
        loop {
            let step = match self.reader.step(&mut input[consumed..]) {
                Ok(step) => step,
                Err(error) => {
                    let code = match error {
                        ProtocolError::TooLarge => CloseCode::Size,
                        ProtocolError::Utf8 => CloseCode::Invalid,
                        _ => CloseCode::Protocol,
                    };
                    self.close_code = Some(code.into());
                    return Err(error.into());
                }
            };
            let Step::Frame { consumed: frame, message } = step else { return Ok(consumed) };
            consumed += frame;
            let arrival = match message {
                None | Some(Message::Pong(_)) => Inbound::Frame,
                Some(Message::Ping(data)) => {
                    // Not every ping has to be answered (RFC 6455, 5.5.3): who reads no pongs gets no more of them.
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
                    return Err(CloseReason::TransportClose);
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

    /// What is still to be written, out of its box for as long as it is worked on.
    fn take_unsent(&mut self) -> Unsent {
        self.unsent.take().map_or_else(Unsent::default, |unsent| *unsent)
    }

    fn keep(&mut self, unsent: Unsent) {
        self.unsent = (!unsent.is_empty()).then(|| Box::new(unsent));
    }

    /// Writes `unsent`. Ready when all of it is out.
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

    /// Writes what the socket has not taken yet, and nothing of the outbox behind it.
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
                // To read on: at once, it would be the only one that is read.
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
        // Nothing is read any more.
        (self.partial, self.reader) = (Vec::new(), Reader::new(0));
        let mut frame = Vec::new();
        let payload = self.code_of(reason).map(u16::to_be_bytes);
        write_frame(&mut frame, Opcode::Close, payload.as_ref().map_or(&[], |code| code.as_slice()));
        // What is left of a frame that was begun comes first, nothing else does.
        let unsent = self.unsent.get_or_insert_default();
        unsent.writing.truncate(usize::from(unsent.mid_frame));
        unsent.urgent.push_back(frame.into());
        match self.poll_finish(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => {}
            // It takes no more, so it cannot be told.
            Poll::Pending if matches!(reason, CloseReason::Slow | CloseReason::WriteTimeout | CloseReason::Memory) => {
                self.stream.reset_on_drop()
            }
            Poll::Pending | Poll::Ready(Ok(())) => drop(actix_rt::spawn(part(self))),
        }
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.writing.is_empty()
    }

    /// What is left of the only thing that is to be written, where it is a frame.
    fn only(&self) -> Option<&[u8]> {
        (self.urgent.is_empty() && self.writing.len() == 1).then(|| &self.writing[0].bytes()[self.written..])
    }

    /// The slices of the next write, in order. Says how many it has filled.
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

    /// Takes `written` bytes off the front of what [`Self::gather`] gave.
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
        // A reader that is always a little behind keeps no room for all that was once taken for it.
        if self.writing.capacity() > FRAMES_PER_WRITE.max(4 * self.writing.len()) {
            self.writing.shrink_to_fit();
        }
    }
}

/// Ends our side and waits a moment for the peer to end its own: a socket that is closed with bytes unread would reset,
/// and the peer might lose the close frame. A peer that goes on and on is not listened to for that.
async fn part<S: Stream>(mut socket: Box<WebSocket<S>>) {
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
