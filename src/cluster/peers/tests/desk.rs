//! A conversation on node `a` in its first life, driven by lines of text, so that a test of a rule is a table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::*;
use crate::event::{ConversationId, Scalar, Talk};

/// The surroundings of the conversation.
pub struct Surroundings {
    pub here: BTreeMap<Username, usize>,
    rules: Rules,
    presence_members_max: usize,
    bus_up: bool,
}

impl Surroundings {
    pub fn local(&self, now: Instant) -> Local<'_, BTreeMap<Username, usize>> {
        let Self { here, rules, presence_members_max, bus_up } = self;
        Local { here, rules, presence_members_max: *presence_members_max, bus_up: *bus_up, now }
    }
}

/// The conversation.
pub struct Desk {
    pub peers: Peers,
    pub local: Surroundings,
    start: Instant,
    pub now: Instant,
}

pub fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub fn node(letter: char) -> NodeId {
    NodeId::from_random(u64::from(u32::from(letter)))
}

pub fn talk(text: &str, has_id: bool) -> Talk {
    let scalar = Scalar::Literal(text.into());
    let message_id = has_id.then(|| scalar.clone());
    Talk { conversation: ConversationId::from("c"), timestamp: Some(scalar), message_id }
}

pub fn update(text: &str, has_id: bool) -> Update {
    Update { username: user("max"), talk: talk(text, has_id), except: vec!["sid".into()], except_self: true }
}

pub fn content_of(update: Update) -> Content {
    let Update { username, talk, except, except_self } = update;
    Content::Update { username, talk, except, except_self }
}

/// Takes steps one after the other, and compares the effects of each.
pub fn check(steps: &[(&str, &[&str])]) {
    let mut desk = Desk::new();
    for (step, expected) in steps {
        assert_eq!(desk.step(step), *expected, "{step}");
    }
}

impl Desk {
    pub fn new() -> Self {
        let rules = Rules { node: node('a'), heartbeat: Duration::from_secs(2), settle: Duration::from_millis(100) };
        let local = Surroundings { here: BTreeMap::new(), rules, presence_members_max: 0, bus_up: true };
        let now = Instant::now();
        Self { peers: Peers::new(1), local, start: now, now }
    }

    /// Takes one step, and returns its effects: `+ana` and `-ana` for the users of this node, `b1.3 come ana` for the
    /// third message of the first life on node `b`, `at 300` for the time in ms, and others.
    pub fn step(&mut self, step: &str) -> Vec<String> {
        let words: Vec<_> = step.split(' ').collect();
        let letter = || node(words[1].chars().next().unwrap());
        match words[0] {
            "at" => return self.at(words[1].parse().unwrap()),
            "up" => self.local.bus_up = true,
            "down" => self.local.bus_up = false,
            "limit" => self.local.presence_members_max = words[1].parse().unwrap(),
            "deaf" => self.peers.listens_unsubscribed(),
            "people" => return self.people(),
            "end" => return self.peers.end(&self.local.local(self.now)).iter().map(sent).collect(),
            "attached" => {
                let (again, covered) = (words.contains(&"again"), words.contains(&"covered"));
                return self.news(FromBus::Attached { again, covered });
            }
            "lost" => return self.news(FromBus::Lost),
            "room" => return self.news(FromBus::Room),
            "silent" => return self.news(FromBus::Silent(letter())),
            "heard" => return self.news(FromBus::Heard(letter())),
            "ended" => return self.news(FromBus::Ended(letter())),
            "doubt" => return self.news(FromBus::Doubt(letter())),
            "foreign" => return self.news(FromBus::Message(Message { stamp: None, content: content(&words[1..]) })),
            "returns" => {
                self.local.here.insert(user(words[1]), 1);
                return told(self.peers.returned(&user(words[1]), &self.local.local(self.now)));
            }
            word => {
                if let Some(name) = word.strip_prefix('+') {
                    self.local.here.insert(user(name), 1);
                    return told(self.peers.came(&user(name), &self.local.local(self.now)));
                }
                if let Some(name) = word.strip_prefix('-') {
                    self.local.here.remove(&user(name));
                    return told(self.peers.went(&user(name), &self.local.local(self.now)));
                }
                let message = Message { stamp: Some(stamp(word)), content: content(&words[1..]) };
                return self.news(FromBus::Message(message));
            }
        }
        Vec::new()
    }

    pub fn news(&mut self, news: FromBus) -> Vec<String> {
        told(self.peers.handle(news, &self.local.local(self.now)))
    }

    /// Lets time pass, and does what is due.
    fn at(&mut self, ms: u64) -> Vec<String> {
        let until = self.start + Duration::from_millis(ms);
        let mut effects = Vec::new();
        while let Some(deadline) = self.peers.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            effects.extend(told(self.peers.handle_deadline(&self.local.local(self.now))));
        }
        self.now = until;
        effects
    }

    fn people(&mut self) -> Vec<String> {
        let People { inroom, names, partial } = self.peers.people(&self.local.local(self.now));
        let mut told = vec![names.map_or_else(|| format!("{inroom} users"), |names| joined(&names))];
        told.extend(partial.then(|| "partial".to_owned()));
        told
    }
}

fn joined(names: &[Username]) -> String {
    names.iter().map(Username::as_str).collect::<Vec<_>>().join(" ")
}

/// Reads `b1.3`. The number 0 stands for none.
fn stamp(word: &str) -> Stamp {
    let (life, sequence) = word[1..].split_once('.').unwrap();
    let sequence = Some(sequence.parse().unwrap()).filter(|sequence| *sequence > 0);
    Stamp { node: node(word.chars().next().unwrap()), life: life.parse().unwrap(), sequence }
}

fn content(words: &[&str]) -> Content {
    let names = || words[1..].iter().map(|name| user(name)).collect();
    Content::Presence(match words[0] {
        "state" => Presence::State { users: Users::Names(names()), asks: false },
        "state?" => Presence::State { users: Users::Names(names()), asks: true },
        "count" => Presence::State { users: Users::Count(words[1].parse().unwrap()), asks: false },
        "come" => Presence::Come { username: user(words[1]), public: true },
        "go" => Presence::Go { username: user(words[1]), public: true },
        "gone" => Presence::Gone,
        "ask" => Presence::Ask { to: node(words[1].chars().next().unwrap()) },
        "update" => {
            let id = words[1].strip_prefix("id");
            return content_of(update(id.unwrap_or(words[1]), id.is_some()));
        }
        word => panic!("{word}"),
    })
}

fn told(effects: Effects) -> Vec<String> {
    let Effects { changes, update, missed, sends } = effects;
    let update = update.map(|update| {
        assert_eq!((&update.except[..], update.except_self), (&[Box::<str>::from("sid")][..], true));
        let Some(Scalar::Literal(text)) = update.talk.timestamp else { panic!("an update without its text") };
        format!("update {text}")
    });
    let changes = changes.into_iter().map(|change| match change {
        Change::Joined(user) => format!("joined {}", user.as_str()),
        Change::Left(user) => format!("left {}", user.as_str()),
    });
    let missed = missed.map(|cause| format!("missed {cause:?}"));
    update.into_iter().chain(changes).chain(missed).chain(sends.iter().map(sent)).collect()
}

fn sent(message: &Message) -> String {
    let Stamp { node: from, life, sequence } = message.stamp.unwrap();
    assert_eq!((from, life), (node('a'), 1));
    let Content::Presence(presence) = &message.content else { panic!("{message:?}") };
    let public = |public: &bool| if *public { " public" } else { "" };
    let text = match presence {
        Presence::State { users: Users::Names(names), asks } => {
            format!("state{} {}", if *asks { "?" } else { "" }, joined(names)).trim().to_owned()
        }
        Presence::State { users: Users::Count(count), asks } => {
            format!("count{} {count}", if *asks { "?" } else { "" })
        }
        Presence::Come { username, public: is } => format!("come {}{}", username.as_str(), public(is)),
        Presence::Go { username, public: is } => format!("go {}{}", username.as_str(), public(is)),
        Presence::Gone => "gone".to_owned(),
        Presence::Ask { to } => {
            assert_eq!(sequence, None);
            let letter = ('a'..='z').find(|letter| node(*letter) == *to).unwrap();
            return format!("ask {letter}");
        }
    };
    format!("say {} {text}", sequence.unwrap())
}
