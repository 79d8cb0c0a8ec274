//! Exact accounting of what every connection has to hear. Each conversation has one talker, who numbers the talks,
//! beginning with 1. Each listener must hear every number once and in order, from the first talk sent after its
//! `listening`. A [`Listener`] judges updates, a [`Tally`] adds up, and the `messageID` of a talk holds its number.

use std::fmt::Write as _;
use std::mem;

use super::outcome::Accounts;

/// Number of skipped ranges that a listener remembers. The oldest makes room for a new one.
const GAPS_MAX: usize = 32;

/// Bytes of an `update` without the text of its `messageID`, for names and numbers of usual length.
const ENVELOPE_BYTES: usize = 100;

/// The character that pads a `messageID`. A dot survives the trimming of white space.
const PADDING: char = '.';

/// The numbers that one connection has to hear in one conversation.
///
/// A server may say that news can be lost ([`Listener::tell`]). What has not come by the end is then not lost without a
/// word.
///
/// Every received number is judged, but only those that are due enter the accounts. A number sent before `listening`,
/// or received after a request to leave, is neither expected nor received.
///
/// Memory is bounded: five words, and up to 32 ranges of skipped numbers for a connection that misses something. A
/// skipped number that was forgotten stays lost; if it comes after all, it counts as duplicated and not as out of
/// order. So the sums always balance and no fault is overlooked; only the kind of a fault may be wrong, after more than
/// 32 gaps.
#[derive(Debug)]
pub struct Listener {
    /// The first number that is due. After a leave, none is.
    due: u64,
    /// No number below this one was settled. Never above `due`.
    lowest: u64,
    /// The highest number that was settled, by receipt or declaration. Below `lowest` as long as none was settled.
    highest: u64,
    /// The highest number that is known to have been sent. Never below `highest`.
    sent: u64,
    /// The faults, once there are any.
    faults: Option<Box<Faults>>,
}

/// The meaning of a received number for its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is due, and higher than all before.
    New,
    /// It is not due, and higher than all before: sent before `listening`, or on its way when the connection left.
    Early,
    /// It was settled before.
    Duplicate,
    /// It comes for the first time, but after a higher one.
    OutOfOrder,
    /// Nobody has sent it.
    Misdelivered,
}

impl Listener {
    /// Creates a listener that was `listening` after `sent` talks. Later ones are due; earlier ones may still come.
    pub fn new(sent: u64) -> Self {
        let due = sent.saturating_add(1);
        Self { due, lowest: due, highest: sent, sent, faults: None }
    }

    /// Judges a received number. `sent` is the number of talks sent so far in the conversation.
    pub fn receive(&mut self, number: u64, sent: u64) -> Receipt {
        self.sent = self.sent.max(sent);
        if number == 0 || number > self.sent {
            self.faults().misdelivered += 1;
            return Receipt::Misdelivered;
        }
        if number > self.highest {
            self.skip(self.highest + 1, number - 1);
            self.highest = number;
            return if number < self.due { Receipt::Early } else { Receipt::New };
        }
        if self.highest < self.lowest {
            // The first number at all, sent before `listening`: lower ones never have to come.
            (self.lowest, self.highest) = (number, number);
            return Receipt::Early;
        }
        let is_late = if number < self.lowest {
            let above = mem::replace(&mut self.lowest, number);
            self.skip(number + 1, above - 1);
            true
        } else {
            !self.settle(number, number).is_empty()
        };
        if is_late {
            self.faults().out_of_order += 1;
            Receipt::OutOfOrder
        } else {
            self.faults().duplicated += 1;
            Receipt::Duplicate
        }
    }

    /// Records that the update for `first`, received just before, stands for `count` numbers, of which `first` is the
    /// first. The other numbers, if they are due and have not come, are declared missing. Returns the declared ones as
    /// ranges with both ends. To declare a number that nobody has sent is a misdelivery; a declared number that comes
    /// later is a duplicate.
    pub fn declare_missing(&mut self, first: u64, count: u64) -> Vec<(u64, u64)> {
        if count <= 1 {
            return Vec::new();
        }
        let end = first.saturating_add(count - 1);
        if end > self.sent {
            self.faults().misdelivered += 1;
        }
        let (from, to) = (first.saturating_add(1).max(self.due), end.min(self.sent));
        if from > to {
            return Vec::new();
        }
        let mut declared = self.settle(from, to);
        if to > self.highest {
            declared.push((from.max(self.highest + 1), to));
            self.skip(self.highest + 1, from - 1);
            self.highest = to;
        }
        if !declared.is_empty() {
            self.faults().declared_missing += declared.iter().map(|&(first, last)| count_of(first, last)).sum::<u64>();
        }
        declared
    }

    /// Records that the server has told that any number up to `sent`, the number of talks sent so far, may be lost.
    /// Those that come later are received as if nothing had been told.
    pub fn tell(&mut self, sent: u64) {
        self.sent = self.sent.max(sent);
        let faults = self.faults();
        faults.told = faults.told.max(sent);
        faults.forgotten_told += mem::take(&mut faults.forgotten);
    }

    /// Closes the accounts at a leave: numbers above the last received one are not due, and gaps below it are lost.
    /// Later receipts are still judged, for the next accounts.
    pub fn leave(&mut self) -> Accounts {
        self.account(self.highest)
    }

    /// Closes the accounts at the end: all numbers up to `sent` were due.
    pub fn close(&mut self, sent: u64) -> Accounts {
        self.sent = self.sent.max(sent);
        self.account(self.sent)
    }

    /// Accounts for the numbers from `due` to `last`. After that, nothing is due.
    fn account(&mut self, last: u64) -> Accounts {
        let due = mem::replace(&mut self.due, u64::MAX);
        let expected = count_of(due, last);
        let never_came = count_of(due.max(self.highest.saturating_add(1)), last);
        let Some(faults) = &mut self.faults else {
            return Accounts { expected, received: expected - never_came, lost: never_came, ..Accounts::default() };
        };
        let told_to = faults.told;
        let never_told = count_of(due.max(self.highest.saturating_add(1)), last.min(told_to));
        let gaps =
            |to: u64| faults.gaps.iter().map(|&(first, last)| count_of(first.max(due), last.min(to))).sum::<u64>();
        let (skipped, skipped_told) = (gaps(u64::MAX), gaps(told_to));
        let lost = never_came - never_told + skipped - skipped_told + mem::take(&mut faults.forgotten);
        let told_missing = never_told + skipped_told + mem::take(&mut faults.forgotten_told);
        let declared_missing = mem::take(&mut faults.declared_missing);
        Accounts {
            sent: 0,
            expected,
            received: expected.saturating_sub(lost).saturating_sub(declared_missing).saturating_sub(told_missing),
            declared_missing,
            told_missing,
            lost,
            duplicated: mem::take(&mut faults.duplicated),
            out_of_order: mem::take(&mut faults.out_of_order),
            misdelivered: mem::take(&mut faults.misdelivered),
        }
    }

    /// Notes that the numbers from `first` to `last`, if any, have not come although later ones have.
    fn skip(&mut self, first: u64, last: u64) {
        if first <= last {
            let due = self.due;
            let faults = self.faults();
            let at = faults.gaps.partition_point(|gap| gap.0 < first);
            faults.gaps.insert(at, (first, last));
            faults.forget(due);
        }
    }

    /// Removes the numbers from `first` to `last` from the skipped ones, and returns those that were skipped.
    fn settle(&mut self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut settled = Vec::new();
        let Some(faults) = &mut self.faults else { return settled };
        let mut at = faults.gaps.partition_point(|gap| gap.1 < first);
        while let Some(&(begin, end)) = faults.gaps.get(at).filter(|gap| gap.0 <= last) {
            settled.push((begin.max(first), end.min(last)));
            let rest = [(begin, first - 1), (last.saturating_add(1), end)].into_iter().filter(|gap| gap.0 <= gap.1);
            drop(faults.gaps.splice(at..=at, rest));
            // The rest on the left is below the range; a rest on the right ends the loop.
            at += usize::from(begin < first);
        }
        faults.forget(self.due);
        settled
    }

    fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }
}

/// The parts of a [`Listener`] that it needs only once there is a fault.
#[derive(Debug, Default)]
struct Faults {
    /// The unsettled numbers between `lowest` and `highest`, as rising ranges with both ends.
    gaps: Vec<(u64, u64)>,
    /// The highest number that may be lost, as the server has told.
    told: u64,
    /// Number of due numbers in ranges that are no longer remembered, and of which nothing was told.
    forgotten: u64,
    /// Number of those of which it was told.
    forgotten_told: u64,
    declared_missing: u64,
    duplicated: u64,
    out_of_order: u64,
    misdelivered: u64,
}

impl Faults {
    /// Forgets the oldest gaps above the bound. They are the least likely to be filled.
    fn forget(&mut self, due: u64) {
        while self.gaps.len() > GAPS_MAX {
            let (first, last) = self.gaps.remove(0);
            let all = count_of(first.max(due), last);
            let told = count_of(first.max(due), last.min(self.told));
            self.forgotten += all - told;
            self.forgotten_told += told;
        }
    }
}

/// Returns how many numbers there are from `first` to `last`.
fn count_of(first: u64, last: u64) -> u64 {
    if first <= last { last - first + 1 } else { 0 }
}

/// Why an update belongs to no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stray {
    /// It is of a conversation in which the connection never was.
    Conversation,
    /// Its author is not the talker of the conversation.
    Username,
    /// It is the connection's own talk.
    Own,
    /// Its `messageID` is not of this run.
    MessageId,
    /// It cannot be read.
    Garbled,
    /// It is of an earlier run of this bench, delivered late by an overloaded server. That is no fault: the
    /// conversation has the same members in each run.
    Earlier,
}

impl Stray {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Conversation, Self::Username, Self::Own, Self::MessageId, Self::Garbled, Self::Earlier];

    /// Returns the name that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "update of another conversation",
            Self::Username => "update with another author",
            Self::Own => "update of the own talk",
            Self::MessageId => "update that is not of this run",
            Self::Garbled => "update that makes no sense",
            Self::Earlier => "update of an earlier run",
        }
    }

    /// Whether it is a fault of the server.
    fn is_fault(self) -> bool {
        self != Self::Earlier
    }
}

/// The sums over listeners, talkers and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    accounts: Accounts,
    strays: [u64; Stray::ALL.len()],
}

impl Tally {
    /// Adds talks that were sent.
    pub fn sent(&mut self, talks: u64) {
        self.accounts.sent += talks;
    }

    /// Adds the accounts of a listener.
    pub fn add(&mut self, accounts: &Accounts) {
        let Accounts {
            sent,
            expected,
            received,
            declared_missing,
            told_missing,
            lost,
            duplicated,
            out_of_order,
            misdelivered,
        } = accounts;
        self.accounts.sent += sent;
        self.accounts.expected += expected;
        self.accounts.received += received;
        self.accounts.declared_missing += declared_missing;
        self.accounts.told_missing += told_missing;
        self.accounts.lost += lost;
        self.accounts.duplicated += duplicated;
        self.accounts.out_of_order += out_of_order;
        self.accounts.misdelivered += misdelivered;
    }

    /// Adds an update that belongs to no listener of its connection.
    pub fn stray(&mut self, stray: Stray) {
        self.strays[stray as usize] += 1;
    }

    /// Adds the sums of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.accounts);
        for (ours, theirs) in self.strays.iter_mut().zip(other.strays) {
            *ours += theirs;
        }
    }

    /// Returns the sums. Strays that are faults count as misdelivered.
    pub fn accounts(&self) -> Accounts {
        let strays = self.strays().filter(|(stray, _)| stray.is_fault()).map(|(_, count)| count).sum::<u64>();
        let misdelivered = self.accounts.misdelivered + strays;
        Accounts { misdelivered, ..self.accounts }
    }

    /// Returns the strays that occurred, by kind.
    pub fn strays(&self) -> impl Iterator<Item = (Stray, u64)> {
        Stray::ALL.into_iter().zip(self.strays).filter(|(_, count)| *count > 0)
    }
}

/// Returns the `messageID` of a talk: `{run}.{number}`, padded until an update has about `payload_bytes` bytes. The id
/// is never cut off, so an update of 100 bytes or less has no padding.
pub fn message_id(run: &str, number: u64, payload_bytes: usize) -> String {
    let length = payload_bytes.saturating_sub(ENVELOPE_BYTES);
    let mut id = String::with_capacity(length.max(run.len() + 21));
    id.push_str(run);
    // Writing into a string cannot fail.
    let _ = write!(id, ".{number}");
    id.extend(std::iter::repeat_n(PADDING, length.saturating_sub(id.len())));
    id
}

/// Returns the run and the number in a `messageID` of [`message_id`]. Only the exact form that it writes is accepted,
/// so that a garbled id stands out.
pub fn parse_message_id(id: &str) -> Option<(&str, u64)> {
    let (run, number) = id.trim_end_matches(PADDING).rsplit_once('.')?;
    let is_written = number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
    if run.is_empty() || !is_written {
        return None;
    }
    Some((run, number.parse().ok()?))
}

#[cfg(test)]
mod tests;
