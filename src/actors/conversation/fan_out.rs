//! A broadcast of a conversation, slice by slice.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use actix::{ActorFuture, Context};

use super::super::members::{Member, Members};
use super::ConversationActor;
use crate::delivery::fold::News;
use crate::delivery::outbox::Outbox;
use crate::delivery::ready::{self, Audience};
use crate::event::{ServerEventName, SessionId, Username};
use crate::mailbox::Handling;
use crate::metrics::EventLabel;
use crate::protocol::frame::Broadcast;
use crate::turns::Rest;

/// Pushes of a fan-out (about 0.1 ms of work) before other tasks on its thread run.
pub(in crate::actors) const FANOUT_SLICE: usize = 1024;

/// Broadcasts to more members than this are for [`Audience::Many`], so that those of smaller conversations do not wait
/// behind them. Writing to this number of members takes less time than anybody notices.
const FEW: usize = 128;

/// The members that do not hear an event.
#[derive(Clone)]
pub(super) enum Except {
    Nobody,
    /// The session that has caused the event.
    Session(SessionId),
    /// All sessions of a user.
    User(Username),
    /// The sessions whose clients have these socket ids, and all sessions of the user if there is one.
    Sockets(Arc<[Box<str>]>, Option<Username>),
}

impl Except {
    /// Returns the exception of the sessions whose clients have these socket ids, and of all sessions of a user.
    pub(super) fn of(socket_ids: Vec<Box<str>>, user: Option<Username>) -> Self {
        match user {
            None if socket_ids.is_empty() => Self::Nobody,
            Some(user) if socket_ids.is_empty() => Self::User(user),
            user => Self::Sockets(socket_ids.into(), user),
        }
    }

    fn covers(&self, member: &Member<Arc<Outbox>>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Session(session) => member.session == *session,
            Self::User(username) => member.username == *username,
            Self::Sockets(ids, user) => user.as_ref() == Some(&member.username) || member.handle.is_one_of(ids),
        }
    }

    /// Returns how many of the members do not hear the event.
    pub(super) fn count(&self, members: &Members<Arc<Outbox>>) -> usize {
        match self {
            Self::Nobody => 0,
            Self::Session(session) => usize::from(members.handle(*session).is_some()),
            Self::User(username) => members.sessions_of(username),
            Self::Sockets(..) => members.sessions().iter().filter(|member| self.covers(member)).count(),
        }
    }
}

/// A broadcast under way.
pub(super) struct FanOut {
    broadcast: Broadcast,
    news: News,
    label: EventLabel,
    pub(super) except: Except,
    /// The index of the next member.
    next: usize,
    rest: Rest,
    /// The index of the member to whom the delivery is measured, and when the message came that is told.
    measured: Option<(usize, Instant)>,
    /// Lasts until the last member has the event, because the next message waits for that.
    pub(super) handling: Option<Handling>,
}

impl FanOut {
    /// Creates the fan-out of an event, which tells `news`, to all members but `except`.
    pub(super) fn new(broadcast: Broadcast, label: EventLabel, news: News, except: Except) -> Self {
        Self { broadcast, news, label, except, next: 0, rest: Rest::default(), measured: None, handling: None }
    }

    /// Measures the delivery of the update after `count` others to one of those that hear it.
    pub(super) fn measure(&mut self, members: &[Member<Arc<Outbox>>], count: u64, since: Instant) {
        // Fibonacci hashing spreads successive updates over all members.
        let spread = (count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let places = members.len().min(2);
        let candidates = (0..places).map(|next| spread.wrapping_add(next) % members.len());
        let chosen = candidates.into_iter().find(|index| !self.except.covers(&members[*index]));
        self.measured = chosen.map(|index| (index, since));
    }

    /// Pushes to the next slice of the members. Returns whether it was the last.
    pub(super) fn advance(&mut self, conversation: &ConversationActor) -> bool {
        let members = conversation.members.sessions();
        let end = members.len().min(self.next + FANOUT_SLICE);
        let mut delivered = 0;
        let batching = ready::batch(if members.len() > FEW { Audience::Many } else { Audience::Few });
        for member in &members[self.next..end] {
            if !self.except.covers(member) {
                let frame = member.handle.frame_of(&mut self.broadcast);
                delivered += u64::from(member.handle.push_news(frame, &self.news));
            }
        }
        if let Some((index, since)) = self.measured
            && (self.next..end).contains(&index)
        {
            members[index].handle.measure_delivery(since);
        }
        drop(batching);
        let is_talk = self.next == 0 && self.label.event == ServerEventName::Update;
        conversation.entry.delivered(delivered, is_talk);
        self.next = end;
        let metrics = &conversation.settings.metrics;
        metrics.deliveries.get_or_create(&self.label).inc_by(delivered);
        let is_last = end == members.len();
        if is_last && let Some(handling) = self.handling.take() {
            metrics.fanout_seconds.observe_time(handling.end());
        }
        is_last
    }
}

/// Broadcasts under way, each of which begins when those before it have ended.
pub(super) struct FanOuts(pub(super) VecDeque<FanOut>);

impl ActorFuture<ConversationActor> for FanOuts {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        conversation: &mut ConversationActor,
        ctx: &mut Context<ConversationActor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        // The handler has done the first slice; each of the others has a round of its own.
        while let Some(fan_out) = self.0.front_mut() {
            if ActorFuture::poll(Pin::new(&mut fan_out.rest), conversation, ctx, cx).is_pending() {
                return Poll::Pending;
            }
            fan_out.rest = Rest::default();
            if fan_out.advance(conversation) {
                self.0.pop_front();
            }
        }
        Poll::Ready(())
    }
}
