//! Exact accounting of what every connection has to hear. Each conversation has one talker, whose talks are numbered
//! from 1 on; so every listener has to hear every number once and in order, from the first that was sent after it was
//! `listening`. A [`Listener`] judges what comes, a [`Tally`] sums up, and a talk says in its `messageID` which it is.

use std::fmt::Write as _;
use std::mem;

use super::outcome::Accounts;

/// Skipped ranges that a listener remembers; the oldest gives way to a further one.
const GAPS_MAX: usize = 32;

/// Bytes of an `update` beside the text of its `messageID`, with names and numbers of usual length.
const ENVELOPE_BYTES: usize = 100;

/// What follows the number in a `messageID` until it is long enough. Dots survive whoever trims white space.
const PADDING: char = '.';

/// What one connection has to hear in one conversation.
///
/// Whatever comes is judged; only what is due is summed up: numbers from before it was listening, and what still comes
/// after it asked to leave, are neither expected nor received.
///
/// ```
/// use maxtalk::bench::ledger::{Listener, Receipt};
///
/// let mut listener = Listener::new(7);
/// assert_eq!(listener.receive(8, 10), Receipt::New);
/// assert_eq!(listener.receive(10, 10), Receipt::New);
/// assert_eq!(listener.receive(10, 10), Receipt::Duplicate);
/// let accounts = listener.close(10);
/// assert_eq!((accounts.expected, accounts.received, accounts.lost, accounts.duplicated), (3, 2, 1, 1));
/// ```
///
/// Memory is bounded: beside five words, a connection that misses something remembers 32 ranges of skipped numbers. A
/// skipped number that had to be forgotten is lost for good: should it come after all, it counts as duplicated in
/// place of out of order. So sums balance at any time, no fault goes unseen, and only which fault it was may be wrong
/// by what came late behind more than that many gaps.
#[derive(Debug)]
pub struct Listener {
    /// The first number that is due: none is after it left.
    due: u64,
    /// No lower number was ever settled. Never above `due`.
    lowest: u64,
    /// The highest that was settled, by receipt or by declaration; below `lowest` until one is.
    highest: u64,
    /// The highest that is known to have been sent. Never below `highest`.
    sent: u64,
    /// What went wrong, once something did.
    faults: Option<Box<Faults>>,
}

/// What a number that came is, to who received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Due, and higher than all before.
    New,
    /// Not due, and higher than all before: sent before `listening` was heard, or on its way when the connection left.
    Early,
    /// It was settled before.
    Duplicate,
    /// It comes for the first time, behind a higher one.
    OutOfOrder,
    /// Nobody has sent it.
    Misdelivered,
}

impl Listener {
    /// It heard that it is `listening` when `sent` talks were sent: later ones are due, earlier ones may still come.
    pub fn new(sent: u64) -> Self {
        let due = sent.saturating_add(1);
        Self { due, lowest: due, highest: sent, sent, faults: None }
    }

    /// Judges a number that came; `sent` talks were sent so far in the conversation.
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
            // The first that comes at all, and sent before it was listening: those below never have to come.
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

    /// The update for `first`, itself received just before, says that it stands for `count` numbers, of which it is the
    /// first: those behind it are declared as missed in so far as they did not come. They are returned, as ranges with
    /// both ends. A declaration of numbers that nobody has sent is a misdelivery, and a declared number that comes
    /// after all is a duplicate.
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

    /// It asked to leave: what was not received up to now is not due, but gaps before the last received are lost. What
    /// comes after that is still judged, for the next accounts.
    pub fn leave(&mut self) -> Accounts {
        self.account(self.highest)
    }

    /// The end: all numbers up to `sent` were due.
    pub fn close(&mut self, sent: u64) -> Accounts {
        self.sent = self.sent.max(sent);
        self.account(self.sent)
    }

    /// What came of the numbers from `due` to `last`; from here on, nothing is due.
    fn account(&mut self, last: u64) -> Accounts {
        let due = mem::replace(&mut self.due, u64::MAX);
        let expected = count_of(due, last);
        let never_came = count_of(due.max(self.highest.saturating_add(1)), last);
        let Some(faults) = &mut self.faults else {
            return Accounts { expected, received: expected - never_came, lost: never_came, ..Accounts::default() };
        };
        let skipped = faults.gaps.iter().map(|&(first, last)| count_of(first.max(due), last)).sum::<u64>();
        let lost = never_came + skipped + mem::take(&mut faults.forgotten);
        let declared_missing = mem::take(&mut faults.declared_missing);
        Accounts {
            sent: 0,
            expected,
            received: expected.saturating_sub(lost).saturating_sub(declared_missing),
            declared_missing,
            lost,
            duplicated: mem::take(&mut faults.duplicated),
            out_of_order: mem::take(&mut faults.out_of_order),
            misdelivered: mem::take(&mut faults.misdelivered),
        }
    }

    /// Notes that the numbers from `first` to `last`, if any, have not come though later ones have.
    fn skip(&mut self, first: u64, last: u64) {
        if first <= last {
            let due = self.due;
            let faults = self.faults();
            let at = faults.gaps.partition_point(|gap| gap.0 < first);
            faults.gaps.insert(at, (first, last));
            faults.forget(due);
        }
    }

    /// Takes the numbers from `first` to `last` out of those that were skipped; which of them were.
    fn settle(&mut self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut settled = Vec::new();
        let Some(faults) = &mut self.faults else { return settled };
        let mut at = faults.gaps.partition_point(|gap| gap.1 < first);
        while let Some(&(begin, end)) = faults.gaps.get(at).filter(|gap| gap.0 <= last) {
            settled.push((begin.max(first), end.min(last)));
            let rest = [(begin, first - 1), (last.saturating_add(1), end)].into_iter().filter(|gap| gap.0 <= gap.1);
            drop(faults.gaps.splice(at..=at, rest));
            // What remains on the left lies outside; what remains on the right ends the loop.
            at += usize::from(begin < first);
        }
        faults.forget(self.due);
        settled
    }

    fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }
}

/// What most listeners never need.
#[derive(Debug, Default)]
struct Faults {
    /// The numbers between `lowest` and `highest` that are not settled, as rising ranges with both ends.
    gaps: Vec<(u64, u64)>,
    /// Numbers of gaps that gave way, as far as they were due.
    forgotten: u64,
    declared_missing: u64,
    duplicated: u64,
    out_of_order: u64,
    misdelivered: u64,
}

impl Faults {
    /// Keeps the bound: the oldest gap is the one that is least likely to be filled.
    fn forget(&mut self, due: u64) {
        while self.gaps.len() > GAPS_MAX {
            let (first, last) = self.gaps.remove(0);
            self.forgotten += count_of(first.max(due), last);
        }
    }
}

/// How many numbers there are from `first` to `last`.
fn count_of(first: u64, last: u64) -> u64 {
    if first <= last { last - first + 1 } else { 0 }
}

/// Why an update belongs to no listener at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stray {
    /// It is of a conversation in which this connection never was.
    Conversation,
    /// It names another author than the talker of the conversation.
    Username,
    /// It is the connection's own talk.
    Own,
    /// Its `messageID` is not of this run.
    MessageId,
    /// It cannot be read.
    Garbled,
    /// It is of an earlier run of this bench: what an overloaded server still had to say. The conversation is the same,
    /// so that its members have to hear it, and nothing is wrong about that.
    Earlier,
}

impl Stray {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Conversation, Self::Username, Self::Own, Self::MessageId, Self::Garbled, Self::Earlier];

    /// What it is called in a report.
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

    /// Whether it must not be.
    fn is_fault(self) -> bool {
        self != Self::Earlier
    }
}

/// The sums over listeners, talkers, and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    accounts: Accounts,
    strays: [u64; Stray::ALL.len()],
}

impl Tally {
    /// So many talks were sent.
    pub fn sent(&mut self, talks: u64) {
        self.accounts.sent += talks;
    }

    /// Adds what a listener has accounted for.
    pub fn add(&mut self, accounts: &Accounts) {
        let Accounts { sent, expected, received, declared_missing, lost, duplicated, out_of_order, misdelivered } =
            accounts;
        self.accounts.sent += sent;
        self.accounts.expected += expected;
        self.accounts.received += received;
        self.accounts.declared_missing += declared_missing;
        self.accounts.lost += lost;
        self.accounts.duplicated += duplicated;
        self.accounts.out_of_order += out_of_order;
        self.accounts.misdelivered += misdelivered;
    }

    /// An update came that belongs to no listener of the connection.
    pub fn stray(&mut self, stray: Stray) {
        self.strays[stray as usize] += 1;
    }

    /// Adds what another thread has summed up.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.accounts);
        for (ours, theirs) in self.strays.iter_mut().zip(other.strays) {
            *ours += theirs;
        }
    }

    /// The sums, strays among the misdeliveries, so far as they must not be.
    pub fn accounts(&self) -> Accounts {
        let strays = self.strays().filter(|(stray, _)| stray.is_fault()).map(|(_, count)| count).sum::<u64>();
        let misdelivered = self.accounts.misdelivered + strays;
        Accounts { misdelivered, ..self.accounts }
    }

    /// The strays by kind, those that there were.
    pub fn strays(&self) -> impl Iterator<Item = (Stray, u64)> {
        Stray::ALL.into_iter().zip(self.strays).filter(|(_, count)| *count > 0)
    }
}

/// The `messageID` of a talk: `{run}.{number}` and dots behind it until an update takes about `payload_bytes`. It is
/// never cut off: an update of 100 bytes and less carries no padding.
pub fn message_id(run: &str, number: u64, payload_bytes: usize) -> String {
    let length = payload_bytes.saturating_sub(ENVELOPE_BYTES);
    let mut id = String::with_capacity(length.max(run.len() + 21));
    id.push_str(run);
    // Writing into a string cannot fail.
    let _ = write!(id, ".{number}");
    id.extend(std::iter::repeat_n(PADDING, length.saturating_sub(id.len())));
    id
}

/// The run and the number that a `messageID` of [`message_id`] names. Nothing but what that function writes is read,
/// so that a text which was garbled on its way stands out.
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
