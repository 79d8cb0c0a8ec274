//! The talks that are under way in one conversation: who still has to hear them, and when the first and the last did.
//! The members of a conversation may live on several threads, so its numbers are shared.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Of a talk that somebody never hears there is no more than this many behind it before it is given up.
const UNDER_WAY_MAX: usize = 1 << 16;

/// One conversation, for all threads.
#[derive(Debug, Default)]
pub(super) struct Talks {
    /// How many were sent. It changes under the lock only, and is read without it for each delivery.
    sent: AtomicU64,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// Who has to hear what is sent from now on.
    listeners: u32,
    /// The talks from the first that somebody still has to hear to the last that was sent.
    talks: VecDeque<Talk>,
}

#[derive(Clone, Copy, Debug)]
struct Talk {
    intended_us: u64,
    sent_us: u64,
    /// Who has to hear it, and has not yet.
    awaited: u32,
    first_us: u64,
    last_us: u64,
}

/// One receipt of a talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) intended_us: u64,
    pub(super) sent_us: u64,
    /// When it was received first and last, when this was the last receipt.
    pub(super) span_us: Option<(u64, u64)>,
}

impl Talks {
    /// How many were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Somebody listens from now on: how many were sent before.
    pub(super) fn enter(&self) -> u64 {
        let mut under_way = self.under_way.lock();
        under_way.listeners += 1;
        self.sent()
    }

    /// Somebody who has heard the numbers up to `heard` listens no more. How many talks wait for nobody by that.
    pub(super) fn quit(&self, heard: u64) -> usize {
        let mut under_way = self.under_way.lock();
        under_way.listeners = under_way.listeners.saturating_sub(1);
        let first = self.sent() - under_way.talks.len() as u64 + 1;
        let mut done = 0;
        for (number, talk) in (first..).zip(&mut under_way.talks) {
            if number > heard && talk.awaited > 0 {
                talk.awaited -= 1;
                done += usize::from(talk.awaited == 0);
            }
        }
        under_way.clear();
        done
    }

    /// A talk is sent: its number, and whether anybody is there to hear it.
    pub(super) fn begin(&self, intended_us: u64, sent_us: u64) -> (u64, bool) {
        let mut under_way = self.under_way.lock();
        let number = self.sent() + 1;
        let awaited = under_way.listeners;
        under_way.talks.push_back(Talk { intended_us, sent_us, awaited, first_us: u64::MAX, last_us: 0 });
        under_way.clear();
        self.sent.store(number, Ordering::Release);
        (number, awaited > 0)
    }

    /// Somebody who had to hear it has heard it. None where it was given up.
    pub(super) fn hear(&self, number: u64, received_us: u64) -> Option<Delivery> {
        let mut under_way = self.under_way.lock();
        let behind = usize::try_from(self.sent().checked_sub(number)?).ok()?;
        let at = under_way.talks.len().checked_sub(behind + 1)?;
        let talk = &mut under_way.talks[at];
        if talk.awaited == 0 {
            return None;
        }
        talk.awaited -= 1;
        talk.first_us = talk.first_us.min(received_us);
        talk.last_us = talk.last_us.max(received_us);
        let &mut Talk { intended_us, sent_us, awaited, first_us, last_us } = talk;
        let span_us = (awaited == 0).then_some((first_us, last_us));
        if at == 0 {
            under_way.clear();
        }
        Some(Delivery { intended_us, sent_us, span_us })
    }

    /// Gives up what was sent before `sent_us` and has not been heard by everybody. How many talks that are.
    pub(super) fn give_up(&self, sent_us: u64) -> usize {
        let mut under_way = self.under_way.lock();
        let mut given_up = 0;
        for talk in under_way.talks.iter_mut().take_while(|talk| talk.sent_us < sent_us) {
            given_up += usize::from(talk.awaited > 0);
            talk.awaited = 0;
        }
        under_way.clear();
        given_up
    }
}

impl UnderWay {
    /// Forgets the first talks that everybody has heard, and what is too much.
    fn clear(&mut self) {
        while self.talks.len() > UNDER_WAY_MAX || self.talks.front().is_some_and(|talk| talk.awaited == 0) {
            self.talks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talk_ends_with_its_last_listener() {
        let talks = Talks::default();
        assert_eq!(talks.begin(1, 2), (1, false));
        assert_eq!((talks.enter(), talks.enter()), (1, 1));
        assert_eq!(talks.begin(10, 11), (2, true));
        assert_eq!(talks.begin(20, 21), (3, true));
        assert_eq!(talks.hear(1, 100), None, "nobody had to hear it");
        assert_eq!(talks.hear(4, 100), None, "nobody has said it");
        let delivery = |span_us| Some(Delivery { intended_us: 20, sent_us: 21, span_us });
        assert_eq!(talks.hear(3, 100), delivery(None));
        assert_eq!(talks.hear(3, 130), delivery(Some((100, 130))));
        assert_eq!(talks.hear(3, 140), None);
        assert_eq!(talks.hear(2, 150), Some(Delivery { intended_us: 10, sent_us: 11, span_us: None }));
        assert_eq!(talks.hear(2, 151), Some(Delivery { intended_us: 10, sent_us: 11, span_us: Some((150, 151)) }));
        assert!(talks.under_way.lock().talks.is_empty());
    }

    #[test]
    fn who_leaves_is_waited_for_no_more() {
        let talks = Talks::default();
        assert_eq!((talks.enter(), talks.enter()), (0, 0));
        for sent_us in [1, 2, 3] {
            talks.begin(sent_us, sent_us);
        }
        assert!(talks.hear(1, 9).is_some());
        assert!(talks.hear(2, 9).is_some());
        assert!(talks.hear(1, 9).unwrap().span_us.is_some());
        // One has heard two of them, the other one.
        assert_eq!(talks.quit(1), 1);
        assert_eq!(talks.give_up(3), 0);
        assert_eq!(talks.give_up(4), 1);
        assert_eq!(talks.begin(4, 4), (4, true));
        assert_eq!(talks.quit(3), 1);
        assert_eq!(talks.begin(5, 5), (5, false));
    }
}
