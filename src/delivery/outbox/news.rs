//! News in an outbox: what becomes of news that does not fit, and how a slow reader catches up.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{Outbox, Queue};
use crate::config::OutboxPolicy;
use crate::delivery::fold::{Folds, Loss, Losses, Missed, News, Recount};
use crate::event::{CloseReason, ConversationId, ServerEvent, ServerEventName, SessionId};
use crate::metrics::{DeliveryPath, EventLabel};
use crate::protocol::connection::Alarm;
use crate::protocol::frame::{Broadcast, Frame};

/// Recounts that one reader waits for at the same time. Each may be as long as the list of all users of a conversation.
const RECOUNTS_MAX: usize = 4;

/// The state of a reader that has not got all news.
#[derive(Debug)]
pub(super) struct Behind {
    since: Instant,
    /// The end of the [`Grace`] that the session knows.
    announced: Option<Instant>,
    folds: Folds,
}

impl Behind {
    /// Returns what the reader has not got.
    pub(super) fn folds(&mut self) -> &mut Folds {
        &mut self.folds
    }

    /// Gives the reader the whole time to catch up.
    pub(super) fn begin_again(&mut self) {
        (self.since, self.announced) = (Instant::now(), None);
    }
}

/// The time that a reader has to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// The end of this time.
    pub alarm: Alarm,
    /// Whether the session has to set the alarm: it does not know this end of the time yet.
    pub is_new: bool,
}

impl Outbox {
    /// Queues the frame of `news`. If it does not fit, the policy of the outbox decides. Returns whether the frame is
    /// queued.
    pub fn push_news(&self, frame: Frame, news: &News) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed.is_some() || !queue.is_new(news) {
            return false;
        }
        let bytes = frame.len();
        let comes_later = queue.behind.as_ref().is_some_and(|behind| behind.folds.precede(news));
        if !comes_later && self.fits(&queue, 1, bytes) {
            self.append(queue, bytes, 1, std::iter::once(frame));
            return true;
        }
        match if comes_later { OutboxPolicy::Fold } else { self.limits.policy() } {
            OutboxPolicy::Close if self.fits_as_before(&queue, 1, bytes, 1) => {
                self.append(queue, bytes, 1, std::iter::once(frame));
                return true;
            }
            OutboxPolicy::Fold => self.fall_behind(queue, Some(news)),
            OutboxPolicy::Drop if news.is_owed() => self.fall_behind(queue, Some(news)),
            OutboxPolicy::Drop => self.fall_behind(queue, None),
            OutboxPolicy::Close => self.close_as_slow(queue),
        }
        false
    }

    /// Folds `news` although there is room for it: the session has missed it elsewhere.
    pub fn owe(&self, news: &News) {
        let queue = self.queue.lock();
        if queue.closed.is_none() {
            self.fall_behind(queue, Some(news));
        }
    }

    /// Folds `news`, or with `None` leaves it out. If the reader falls behind by that, its session is woken.
    fn fall_behind(&self, mut queue: MutexGuard<'_, Queue>, news: Option<&News>) {
        let begins = queue.behind.is_none();
        let behind = queue.behind.get_or_insert_with(|| {
            Box::new(Behind { since: Instant::now(), announced: None, folds: Folds::default() })
        });
        match news {
            Some(news) => {
                behind.folds.add(news);
                self.metrics.slow_folded.inc();
            }
            None => {
                if let Some(history) = &mut queue.history {
                    history.left_out();
                }
                self.metrics.slow_dropped.inc();
            }
        }
        queue.folded += 1;
        self.show(&mut queue);
        let tells = queue.folded.is_power_of_two();
        drop(queue);
        if tells {
            self.tell_of_backlog();
        }
        if begins {
            self.waker.wake();
        }
    }

    /// Returns whether the reader was told of an outage, or will be, and not of its end.
    pub fn is_in_outage(&self) -> bool {
        self.queue.lock().is_in_outage()
    }

    /// Queues the `people` that a [`Recount`] has asked for. If the outbox has no room for it, the recount is asked for
    /// once more later. Returns whether the frame is queued.
    pub fn push_people(&self, conversation: &ConversationId, frame: Frame) -> bool {
        let mut queue = self.queue.lock();
        let has_room = !self.is_half_full(&queue);
        let awaiting = queue.behind.as_mut().filter(|behind| behind.folds.awaits_recount(conversation));
        let Some(behind) = awaiting else { return false };
        if !has_room {
            behind.folds.postpone(conversation);
            return false;
        }
        behind.folds.recounted(conversation);
        let bytes = frame.len();
        self.make_room(&mut queue, bytes);
        self.append(queue, bytes, 1, std::iter::once(frame));
        // The session asks for the next recount, or learns that its reader has caught up.
        self.waker.wake();
        true
    }

    /// Forgets the folded news of a conversation that the session has left.
    pub fn forget(&self, conversation: &ConversationId) {
        if let Some(behind) = &mut self.queue.lock().behind {
            behind.folds.forget(conversation);
        }
    }

    /// Queues folded updates as long as the outbox [has room](Self::has_room), and then asks conversations for
    /// recounts. The task of `session` calls this in each of its turns. The task is woken when the reader falls behind,
    /// and when the outbox of a reader that is behind has room again. Returns the time that the reader has to catch up;
    /// `None` if it is not behind.
    ///
    /// # Errors
    /// The outbox is closed.
    pub fn catch_up(&self, session: SessionId) -> Result<Option<Grace>, CloseReason> {
        let mut queue = self.queue.lock();
        if let Some(reason) = queue.closed {
            return Err(reason);
        }
        let Some(mut behind) = queue.behind.take() else { return Ok(None) };
        let was_empty = queue.frames.is_empty();
        let told = self.queue_updates(&mut queue, &mut behind.folds);
        let losses = if self.is_half_full(&queue) { None } else { behind.folds.take_losses() };
        let told_losses = losses.map_or(0, |losses| self.queue_losses(&mut queue, &losses));
        let mut recounts = SmallVec::<[Arc<dyn Recount>; RECOUNTS_MAX]>::new();
        let has_room = !self.is_half_full(&queue);
        while has_room
            && behind.folds.requested() < RECOUNTS_MAX
            && let Some(recount) = behind.folds.next_recount()
        {
            recounts.push(recount);
        }
        let grace = (!has_room || !behind.folds.is_empty()).then(|| {
            let period = self.limits.grace();
            let due = behind.since + period;
            let is_new = behind.announced.replace(due) != Some(due);
            Grace { alarm: Alarm { period, due }, is_new }
        });
        queue.behind = grace.as_ref().map(|_| behind);
        self.show(&mut queue);
        drop(queue);
        for (told, event, path) in [
            (told, ServerEventName::Update, DeliveryPath::Local),
            (told_losses, ServerEventName::Missed, DeliveryPath::Bus),
        ] {
            if told > 0 {
                self.metrics.deliveries.get_or_create(&EventLabel { event, path }).inc_by(told);
            }
        }
        if told + told_losses > 0 && was_empty {
            self.tell();
        }
        recounts.iter().for_each(|recount| recount.request(session));
        Ok(grace)
    }

    /// Queues folded updates as long as there is room. Returns their number.
    fn queue_updates(&self, queue: &mut Queue, folds: &mut Folds) -> u64 {
        let mut told = 0;
        while !self.is_half_full(queue)
            && let Some(missed) = folds.next_update()
        {
            let frame = self.frame_of(&mut update(&missed));
            self.account(queue, 1, frame.len() as i64);
            queue.frames.push(frame);
            told += 1;
        }
        told
    }

    /// Queues the events that tell of losses. Returns their number.
    fn queue_losses(&self, queue: &mut Queue, losses: &Losses) -> u64 {
        let outage = losses.outage.map(|outage| (None, !outage.over));
        let conversations = &losses.conversations;
        let others = (!conversations.is_empty()).then(|| (Some(conversations.iter().collect()), false));
        let mut told = 0;
        for (conversations, ongoing) in outage.into_iter().chain(others) {
            let event = ServerEvent::Missed { conversations, ongoing };
            let mut broadcast = Broadcast::new(losses.namespace.clone(), event.name().as_str(), event.json());
            let frame = self.frame_of(&mut broadcast);
            // The list may be as long as `listening`.
            self.make_room(queue, frame.len());
            self.account(queue, 1, frame.len() as i64);
            queue.frames.push(frame);
            told += 1;
        }
        told
    }
}

impl Queue {
    /// Returns whether the reader was told of an outage, or will be, and not of its end.
    pub(super) fn is_in_outage(&self) -> bool {
        self.outage.is_some_and(|known| !known.over)
    }

    /// Returns whether `news` is new to the reader: each outage begins once and ends once.
    fn is_new(&mut self, news: &News) -> bool {
        let News::Loss { loss: Loss::Outage(outage), .. } = news else { return true };
        let is_new = self.outage.is_none_or(|known| known < *outage);
        if is_new {
            self.outage = Some(*outage);
        }
        is_new
    }
}

/// Returns the update that tells a client what it has missed.
pub(super) fn update(missed: &Missed) -> Broadcast {
    let Missed { namespace, username, talk, count } = missed;
    let event = ServerEvent::Update { username, talk, missed: Some(*count) };
    Broadcast::new(namespace.clone(), event.name().as_str(), event.json())
}
