//! The talks in flight in one conversation: how many users still have to hear each, and when it was first and last
//! heard. A talk holds a slot until nobody has to hear it any more, or until it is given up. The members of a
//! conversation may be on several threads, so its [`Talks`] are shared.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Number of talks in flight above which the oldest is forgotten.
const UNDER_WAY_MAX: usize = 1 << 16;

/// One conversation, shared by all threads.
#[derive(Debug, Default)]
pub(super) struct Talks {
    /// Number of talks sent. Changed only under the lock; read without it for each delivery.
    sent: AtomicU64,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// Number of users who have to hear the next talk.
    listeners: u32,
    /// The highest number that was given up. The talks up to it hold no slots any more.
    given_up: u64,
    /// The talks from the first that is still awaited to the last that was sent.
    talks: VecDeque<Talk>,
}

#[derive(Clone, Copy, Debug)]
struct Talk {
    intended_us: u64,
    sent_us: u64,
    /// Number of users who still have to hear it.
    awaited: u32,
    /// Whether a user was told that it missed the talk, so that not all will receive it.
    is_missed: bool,
    first_us: u64,
    last_us: u64,
}

/// A talk that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) number: u64,
    /// Whether anybody has to hear it.
    pub(super) is_heard: bool,
    /// Number of earlier talks that were forgotten to make room for it while they still held their slots.
    pub(super) freed: usize,
}

/// One receipt of a talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) intended_us: u64,
    pub(super) sent_us: u64,
    /// The first and the last time of receipt, if this was the last receipt and all have received it.
    pub(super) span_us: Option<(u64, u64)>,
    /// Whether this frees the slot of the talk: it was the last receipt, and the slot was not given up before.
    pub(super) is_freed: bool,
}

impl Talks {
    /// Returns the number of talks sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Adds a listener, and returns the number of talks sent before.
    pub(super) fn enter(&self) -> u64 {
        let mut under_way = self.under_way.lock();
        under_way.listeners += 1;
        self.sent()
    }

    /// Removes a listener who has heard the numbers up to `heard`. Returns the number of slots that this frees.
    pub(super) fn quit(&self, heard: u64) -> usize {
        let mut under_way = self.under_way.lock();
        under_way.listeners = under_way.listeners.saturating_sub(1);
        let (first, given_up) = (self.first(&under_way), under_way.given_up);
        let mut freed = 0;
        for (number, talk) in (first..).zip(&mut under_way.talks) {
            if number > heard && talk.awaited > 0 {
                talk.awaited -= 1;
                freed += usize::from(talk.awaited == 0 && number > given_up);
            }
        }
        under_way.clear();
        freed
    }

    /// Records that a talk is sent.
    pub(super) fn begin(&self, intended_us: u64, sent_us: u64) -> Begun {
        let mut under_way = self.under_way.lock();
        let mut freed = 0;
        if under_way.talks.len() == UNDER_WAY_MAX {
            let first = self.first(&under_way);
            let oldest = under_way.talks.pop_front().filter(|oldest| oldest.awaited > 0);
            freed = usize::from(oldest.is_some() && first > under_way.given_up);
        }
        let number = self.sent() + 1;
        let awaited = under_way.listeners;
        let (first_us, last_us) = (u64::MAX, 0);
        under_way.talks.push_back(Talk { intended_us, sent_us, awaited, is_missed: false, first_us, last_us });
        under_way.clear();
        self.sent.store(number, Ordering::Release);
        Begun { number, is_heard: awaited > 0, freed }
    }

    /// Records that a listener has heard a talk. `None` if nobody has to hear it, or if it was forgotten.
    pub(super) fn hear(&self, number: u64, received_us: u64) -> Option<Delivery> {
        let mut under_way = self.under_way.lock();
        let given_up = under_way.given_up;
        let behind = usize::try_from(self.sent().checked_sub(number)?).ok()?;
        let at = under_way.talks.len().checked_sub(behind + 1)?;
        let talk = &mut under_way.talks[at];
        talk.awaited = talk.awaited.checked_sub(1)?;
        talk.first_us = talk.first_us.min(received_us);
        talk.last_us = talk.last_us.max(received_us);
        let &mut Talk { intended_us, sent_us, awaited, is_missed, first_us, last_us } = talk;
        let span_us = (awaited == 0 && !is_missed).then_some((first_us, last_us));
        if at == 0 {
            under_way.clear();
        }
        Some(Delivery { intended_us, sent_us, span_us, is_freed: awaited == 0 && number > given_up })
    }

    /// Records that a listener was told that it missed the numbers from `from` to `to`. Returns the number of slots
    /// that this frees.
    pub(super) fn miss(&self, from: u64, to: u64) -> usize {
        let mut under_way = self.under_way.lock();
        let (first, given_up) = (self.first(&under_way), under_way.given_up);
        let before = from.saturating_sub(first) as usize;
        let mut freed = 0;
        for (number, talk) in (first..=to).zip(&mut under_way.talks).skip(before) {
            if talk.awaited > 0 {
                (talk.awaited, talk.is_missed) = (talk.awaited - 1, true);
                freed += usize::from(talk.awaited == 0 && number > given_up);
            }
        }
        under_way.clear();
        freed
    }

    /// Gives up the talks sent before `sent_us` that not all have heard, and returns the number of slots that this
    /// frees. Later receipts of such a talk are still recorded.
    pub(super) fn give_up(&self, sent_us: u64) -> usize {
        let mut under_way = self.under_way.lock();
        let first = self.first(&under_way);
        let before = (under_way.given_up + 1).saturating_sub(first) as usize;
        let late = under_way.talks.iter().skip(before).take_while(|talk| talk.sent_us < sent_us);
        let (count, awaited) =
            late.fold((0, 0), |(count, awaited), talk| (count + 1, awaited + usize::from(talk.awaited > 0)));
        under_way.given_up = under_way.given_up.max(first - 1) + count;
        awaited
    }

    /// Returns the number of the first talk that is remembered.
    fn first(&self, under_way: &UnderWay) -> u64 {
        self.sent() - under_way.talks.len() as u64 + 1
    }
}

impl UnderWay {
    /// Forgets talks at the front that everybody has heard.
    fn clear(&mut self) {
        while self.talks.front().is_some_and(|talk| talk.awaited == 0) {
            self.talks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(number: u64, is_heard: bool) -> Begun {
        Begun { number, is_heard, freed: 0 }
    }

    #[test]
    fn a_talk_ends_with_its_last_listener() {
        let talks = Talks::default();
        assert_eq!(talks.begin(1, 2), begun(1, false));
        assert_eq!((talks.enter(), talks.enter()), (1, 1));
        assert_eq!(talks.begin(10, 11), begun(2, true));
        assert_eq!(talks.begin(20, 21), begun(3, true));
        assert_eq!(talks.hear(1, 100), None, "nobody had to hear it");
        assert_eq!(talks.hear(4, 100), None, "nobody has said it");
        let of = |intended_us, sent_us, span_us: Option<_>| {
            Some(Delivery { intended_us, sent_us, span_us, is_freed: span_us.is_some() })
        };
        assert_eq!(talks.hear(3, 100), of(20, 21, None));
        assert_eq!(talks.hear(3, 130), of(20, 21, Some((100, 130))));
        assert_eq!(talks.hear(3, 140), None);
        assert_eq!(talks.hear(2, 150), of(10, 11, None));
        assert_eq!(talks.hear(2, 151), of(10, 11, Some((150, 151))));
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
        // The user who leaves has heard talk 1; the other has heard 1 and 2.
        assert_eq!(talks.quit(1), 1);
        assert_eq!(talks.give_up(3), 0);
        assert_eq!(talks.give_up(4), 1);
        assert_eq!(talks.begin(4, 4), begun(4, true));
        assert_eq!(talks.quit(3), 1);
        assert_eq!(talks.begin(5, 5), begun(5, false));
    }

    #[test]
    fn what_is_given_up_is_still_heard_and_frees_its_slot_once() {
        let talks = Talks::default();
        assert_eq!((talks.enter(), talks.enter()), (0, 0));
        for sent_us in [1, 2, 3] {
            talks.begin(sent_us, sent_us);
        }
        assert_eq!((talks.give_up(3), talks.give_up(3)), (2, 0));
        let of = |sent_us, span_us, is_freed| Some(Delivery { intended_us: sent_us, sent_us, span_us, is_freed });
        assert_eq!(talks.hear(1, 8_000_000), of(1, None, false));
        assert_eq!(talks.hear(1, 9_000_000), of(1, Some((8_000_000, 9_000_000)), false));
        assert_eq!(talks.hear(3, 9_000_000), of(3, None, false));
        assert_eq!(talks.hear(3, 9_000_000), of(3, Some((9_000_000, 9_000_000)), true));
        assert_eq!((talks.quit(1), talks.quit(1)), (0, 0));
        assert_eq!((talks.give_up(u64::MAX), talks.under_way.lock().talks.len()), (0, 0));
        assert_eq!(talks.enter(), 3);
        talks.begin(4, 4);
        assert_eq!((talks.give_up(4), talks.give_up(5)), (0, 1));
    }

    #[test]
    fn who_is_told_to_have_missed_a_talk_is_waited_for_no_more() {
        let talks = Talks::default();
        assert_eq!((talks.enter(), talks.enter()), (0, 0));
        for sent_us in [1, 2, 3, 4] {
            talks.begin(sent_us, sent_us);
        }
        assert_eq!(talks.miss(2, 3), 0);
        let delivery = Some(Delivery { intended_us: 2, sent_us: 2, span_us: None, is_freed: true });
        assert_eq!(talks.hear(2, 9), delivery, "not all have received it");
        assert_eq!((talks.miss(3, 9), talks.hear(3, 9)), (1, None));
        assert_eq!((talks.quit(3), talks.quit(4)), (1, 0));
        assert_eq!((talks.miss(0, 1), talks.miss(1, 1)), (0, 1));
        assert!(talks.under_way.lock().talks.is_empty());
    }

    #[test]
    fn what_is_forgotten_frees_its_slot() {
        let talks = Talks::default();
        talks.enter();
        let freed = |count: usize| (0..count).map(|_| talks.begin(7, 7).freed).sum::<usize>();
        assert_eq!((freed(UNDER_WAY_MAX), freed(3)), (0, 3));
        assert_eq!(talks.hear(3, 9), None);
        assert!(talks.hear(4, 9).is_some_and(|delivery| delivery.is_freed));
        assert_eq!(talks.give_up(8), UNDER_WAY_MAX - 1);
        assert_eq!(freed(3), 0);
    }
}
