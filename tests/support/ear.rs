//! A conversation as the bus sees it, which remembers all that it hears.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use maxtalk::testing::cluster::{Bus, Closed, Content, Door, FromBus, Message, Port as _, Presence, Stamp, Users};
use maxtalk::testing::event::{ConversationId, Talk, Username};
use parking_lot::{Condvar, Mutex};

use super::DEADLINE;

/// The answers of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Open,
    /// It is full.
    Full,
    /// It has ended.
    Gone,
    /// It does not return.
    Stuck,
}

/// The door of a conversation on one node.
pub struct Ear {
    heard: Mutex<Log>,
    changed: Condvar,
    mood: Mutex<Mood>,
    is_unstuck: Condvar,
    refused: AtomicU64,
}

/// What a door was told.
#[derive(Default)]
struct Log {
    news: Vec<FromBus>,
    /// The moment of each piece of news.
    times: Vec<Instant>,
    /// What it was given while it was full. A full mailbox is handled later.
    waiting: Vec<FromBus>,
}

impl Log {
    fn take(&mut self, news: impl IntoIterator<Item = FromBus>) {
        self.news.extend(news);
        self.times.resize_with(self.news.len(), Instant::now);
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

impl Door for Ear {
    fn offer(&self, news: FromBus) -> Result<(), Closed> {
        let mut mood = self.mood.lock();
        while *mood == Mood::Stuck {
            self.is_unstuck.wait(&mut mood);
        }
        match *mood {
            Mood::Full | Mood::Gone => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                Err(if *mood == Mood::Full { Closed::Full } else { Closed::Gone })
            }
            Mood::Open | Mood::Stuck => {
                self.heard.lock().take([news]);
                self.changed.notify_all();
                Ok(())
            }
        }
    }

    fn give(&self, news: FromBus) {
        let mood = self.mood.lock();
        let mut heard = self.heard.lock();
        if *mood == Mood::Full {
            heard.waiting.push(news)
        } else {
            heard.take([news])
        }
        self.changed.notify_all();
    }
}

impl Ear {
    /// Creates a door that takes everything.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            heard: Mutex::default(),
            changed: Condvar::new(),
            mood: Mutex::new(Mood::Open),
            is_unstuck: Condvar::new(),
            refused: AtomicU64::new(0),
        })
    }

    /// Attaches a new door, and waits until it is subscribed.
    pub fn attached(bus: &Bus, id: &ConversationId) -> Arc<Self> {
        let ear = Self::new();
        bus.attach(id, 1, ear.clone());
        ear.until("attached", |heard| heard.contains(&FromBus::Attached { again: false, covered: false }));
        ear
    }

    /// Changes its answers.
    pub fn set(&self, mood: Mood) {
        let mut present = self.mood.lock();
        *present = mood;
        if mood != Mood::Full {
            let mut heard = self.heard.lock();
            let waiting = std::mem::take(&mut heard.waiting);
            heard.take(waiting);
            self.changed.notify_all();
        }
        self.is_unstuck.notify_all();
    }

    /// Everything that it was told.
    pub fn heard(&self) -> Vec<FromBus> {
        self.heard.lock().news.clone()
    }

    /// Everything that it was told, and when.
    pub fn heard_at(&self) -> Vec<(Instant, FromBus)> {
        let heard = self.heard.lock();
        heard.times.iter().copied().zip(heard.news.iter().cloned()).collect()
    }

    /// How often it refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Waits until all that it was told is enough.
    pub fn until(&self, what: &str, enough: impl Fn(&[FromBus]) -> bool) -> Vec<FromBus> {
        let end = Instant::now() + DEADLINE;
        let mut heard = self.heard.lock();
        while !enough(&heard.news) {
            let timed_out = self.changed.wait_until(&mut heard, end).timed_out();
            let news = &heard.news;
            assert!(!timed_out, "{what}: not within {DEADLINE:?}: {} heard, last {:?}", news.len(), news.last());
        }
        heard.news.clone()
    }

    /// Waits for a piece of news.
    pub fn wait_for(&self, news: &FromBus) {
        self.until(&format!("{news:?}"), |heard| heard.contains(news));
    }
}

/// The messages of a conversation in its first life on one node, and when each was published.
pub struct Talks<'a> {
    bus: &'a Bus,
    id: ConversationId,
    published: Vec<Instant>,
}

impl<'a> Talks<'a> {
    /// Begins with the first message.
    pub fn new(bus: &'a Bus, id: &ConversationId) -> Self {
        Self { bus, id: id.clone(), published: Vec::new() }
    }

    /// The number of the last message.
    pub fn last(&self) -> u64 {
        self.published.len() as u64
    }

    /// Publishes so many updates.
    pub fn say(&mut self, times: u64) {
        for _ in 0..times {
            self.published.push(Instant::now());
            self.bus.publish(&self.id, &numbered(self.bus, &self.id, self.last())).unwrap();
        }
    }

    /// Publishes a state.
    pub fn state(&mut self, names: &[&str]) {
        self.published.push(Instant::now());
        self.bus.publish(&self.id, &state(self.bus, self.last(), names)).unwrap();
    }

    /// Waits until an ear has heard each message before any later one, doubles apart, or was told after it was
    /// published that it may have missed something. Prints how many were lost.
    pub fn assert_accounts(&self, ear: &Ear) {
        let end = Instant::now() + DEADLINE;
        let mut heard = ear.heard.lock();
        loop {
            let in_order = without_doubles(numbers(&heard.news));
            let is_told = |news: &FromBus| matches!(news, FromBus::Attached { again: true, .. } | FromBus::Lost);
            let last_told = heard.news.iter().rposition(is_told).map(|at| heard.times[at]);
            let lost: Vec<_> = (1..=self.last()).filter(|number| in_order.binary_search(number).is_err()).collect();
            let published = |number: u64| self.published[number as usize - 1];
            let is_silent = |number: &u64| last_told.is_none_or(|at| at < published(*number));
            let silent: Vec<_> = lost.iter().copied().filter(is_silent).collect();
            if silent.is_empty() {
                return println!("{} of {} heard, {} lost and told of", in_order.len(), self.last(), lost.len());
            }
            let timed_out = ear.changed.wait_until(&mut heard, end).timed_out();
            assert!(!timed_out, "lost without a word: {silent:?}");
        }
    }
}

/// Returns a conversation.
pub fn id(name: &str) -> ConversationId {
    ConversationId::from(name)
}

/// Returns the message with this number in the first life of a conversation. It says so in its text.
pub fn numbered(bus: &Bus, id: &ConversationId, number: u64) -> Message {
    let message_id = serde_json::value::to_raw_value(&number).unwrap();
    let talk = Talk {
        conversation: id.clone(),
        timestamp: None,
        message_id: Some(maxtalk::testing::event::Scalar::parse(&message_id, 64).unwrap()),
    };
    let username = Username::parse("messi").unwrap();
    let stamp = Stamp { node: bus.node(), life: 1, sequence: Some(number) };
    Message { stamp: Some(stamp), content: Content::Update { username, talk, except: Vec::new(), except_self: false } }
}

/// Returns a state with this number.
pub fn state(bus: &Bus, number: u64, names: &[&str]) -> Message {
    let users = Users::Names(names.iter().map(|name| Username::parse(name).unwrap()).collect());
    let stamp = Stamp { node: bus.node(), life: 1, sequence: Some(number) };
    Message { stamp: Some(stamp), content: Content::Presence(Presence::State { users, asks: false }) }
}

/// The numbers of the messages in what was heard, in their order.
pub fn numbers(heard: &[FromBus]) -> Vec<u64> {
    let number = |news: &FromBus| match news {
        FromBus::Message(message) => message.stamp.and_then(|stamp| stamp.sequence),
        _ => None,
    };
    heard.iter().filter_map(number).collect()
}

/// The numbers as a receiver counts them: one that is not above the last is a double.
pub fn without_doubles(numbers: Vec<u64>) -> Vec<u64> {
    let mut last = 0;
    let is_new = |number: &u64| {
        let before = last;
        last = last.max(*number);
        *number > before
    };
    numbers.into_iter().filter(is_new).collect()
}
