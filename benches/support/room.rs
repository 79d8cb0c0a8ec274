//! A conversation with everything that a delivery passes except the system: its mailbox, the encoding, the members'
//! outboxes, the flusher, and WebSockets whose stream discards its input.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix::Actor as _;
use bytes::Bytes;
use maxtalk::testing::actors::{
    Board, ConversationActor, ConversationMessage, ConversationSettings, Enter, PendingEntries, Registrar, Roster,
    Tenure,
};
use maxtalk::testing::config::Config;
use maxtalk::testing::delivery::{SessionLimits, SocketHandle, Worker};
use maxtalk::testing::event::{ConversationId, SessionId};
use maxtalk::testing::http::{Stream, WebSocket};
use maxtalk::testing::mailbox::Mailbox;
use maxtalk::testing::metrics::Metrics;
use maxtalk::testing::protocol::Generation;
use maxtalk::testing::protocol::websocket::Reader;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::support;

/// The conversation and its members, on this thread.
pub struct Room {
    conversation: Mailbox<ConversationActor>,
    _sockets: Vec<SocketHandle>,
    drain: Drain,
}

/// A stream that accepts all writes and counts them, together with those of its clones.
#[derive(Clone, Debug, Default)]
struct Drain(Rc<Cell<u64>>);

impl Room {
    /// Creates a conversation in which `listeners` members hear the talks of one more member.
    pub async fn with(listeners: u64) -> Self {
        let metrics = support::metrics();
        let conversation = empty_conversation(&metrics);
        let (worker, drain) = (Worker::new(SessionLimits::default()), Drain::default());
        let mut sockets = Vec::new();
        for number in 0..=listeners {
            let outbox = support::outbox(&metrics);
            let reader = Reader::new(0);
            let (read, head) = (Vec::new(), Bytes::new());
            let stream = drain.clone();
            let socket =
                WebSocket::new(stream, Generation::Eio4, reader, &worker.read_buffer, read, head, metrics.clone());
            sockets.push(worker.flusher.carry(Box::new(socket), &outbox));
            let (done, entered) = oneshot::channel();
            let (session, username) = (SessionId(number), support::username(number));
            let pending_entry = PendingEntries::new(1, done).one();
            let enter = Enter { session, username, outbox, pending_entry };
            conversation.try_send(ConversationMessage::Enter(enter)).expect("there is room");
            entered.await.expect("it lives");
        }
        Self { conversation, _sockets: sockets, drain }
    }

    /// Talks, and waits until the talk is written to `listeners` members.
    pub async fn talk(&self, listeners: u64) {
        let before = self.drain.0.get();
        let (session, username) = (SessionId(0), support::username(0));
        let talk = ConversationMessage::Talk { session, username, talk: support::talk(), ticket: None };
        self.conversation.try_send(talk).expect("there is room");
        while self.drain.0.get() - before < listeners {
            tokio::task::yield_now().await;
        }
    }
}

/// A registry that ignores conversations.
#[derive(Debug)]
struct Nobody;

impl Registrar for Nobody {
    fn retire(&self, _: ConversationId, _: Tenure) {}

    fn recount(&self, _: ConversationId, _: SessionId) {}
}

fn empty_conversation(metrics: &Arc<Metrics>) -> Mailbox<ConversationActor> {
    let settings = Config::default();
    let settings = Arc::new(ConversationSettings {
        namespace: "/max".into(),
        // Without presence, which would be members² events.
        presence_members_max: 1.into(),
        burst_max: settings.conversation.burst_max.into(),
        linger: Duration::from_millis(settings.conversation.linger_ms),
        cluster: None,
        feed: None,
        board: Board::new(Instant::now()),
        metrics: metrics.clone(),
    });
    let card = settings.board.card(support::talk().conversation);
    let mut tenure = None;
    Roster::default().get_or_spawn(&card.id, |()| true, |spawned| tenure = Some(spawned));
    let actor = ConversationActor::new(card, tenure.expect("it was spawned"), settings, Arc::new(Nobody));
    Mailbox::new(actor.start(), metrics)
}

impl AsyncRead for Drain {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Drain {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write_now(&[IoSlice::new(bytes)]))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Drain {
    fn reset_on_drop(&self) {}

    fn write_now(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.set(self.0.get() + 1);
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}
