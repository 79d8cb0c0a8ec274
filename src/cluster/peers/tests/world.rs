//! A world of several nodes, one Redis and one conversation, in which anything may happen: links are cut, Redis starts
//! again empty, nodes are killed or stopped, queues and mailboxes are full, and answers get lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::*;
use crate::event::{ConversationId, Scalar};

mod bus;
mod conversation;
mod properties;

const HEARTBEAT: Duration = Duration::from_secs(2);

/// Heartbeats that a node may leave out before it is silent.
const SILENT_TICKS: u64 = 5;

/// Heartbeats during which the users of a node that was stopped stay visible.
const GRACE_TICKS: u64 = 5;

/// How long a session waits for the subscription before it is told that it listens.
const ATTACH: Duration = Duration::from_millis(200);

/// Something on its way through Redis.
#[derive(Clone, Debug)]
enum Packet {
    Message(Message),
    Heartbeat(usize),
    Bye(usize),
    Holes(usize),
}

/// The things that happen. Each world has odds of its own, so that some worlds have full queues, others full mailboxes.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Join,
    Leave,
    Talk,
    Announce,
    Deliver,
    Handle,
    Flush,
    Retire,
    Heartbeat,
    GoWrong,
}

/// The deeds with their usual odds.
const DEEDS: [(Deed, u32); 10] = [
    (Deed::Join, 10),
    (Deed::Leave, 7),
    (Deed::Talk, 11),
    (Deed::Announce, 2),
    (Deed::Deliver, 15),
    (Deed::Handle, 17),
    (Deed::Flush, 21),
    (Deed::Retire, 2),
    (Deed::Heartbeat, 6),
    (Deed::GoWrong, 9),
];

/// A session, with all that its client was told.
#[derive(Debug)]
pub struct Session {
    user: Username,
    joined_at: Instant,
    /// The step at which it was told that it listens.
    pub listening: Option<u64>,
    /// The users by its last `people` and all events since.
    view: Option<BTreeSet<Username>>,
    updates: Vec<(usize, Instant)>,
    /// The step at which it was told last that it may have missed updates.
    missed: Option<u64>,
}

/// An update of which the sessions have to hear.
#[derive(Debug)]
struct Taken {
    step: u64,
    /// The nodes that took it: several if it is announced.
    nodes: Vec<usize>,
    talker: Option<u64>,
    published: bool,
}

/// Another node, as the bus of one node knows it.
#[derive(Debug)]
struct Neighbour {
    heard: u64,
    silent: bool,
    ends: Option<u64>,
}

#[derive(Debug)]
struct Node {
    rules: Rules,
    alive: bool,
    /// Whether each of its connections is up.
    publishes: bool,
    listens: bool,
    /// Whether the channel of the conversation is subscribed.
    subscribed: bool,
    /// Whether the conversation has been subscribed in this life, and whether it knows that.
    was_subscribed: bool,
    attached: bool,
    linked: u64,
    socket: VecDeque<Packet>,
    mailbox: VecDeque<FromBus>,
    queue: VecDeque<Message>,
    /// Whether a message did not fit into the queue, and whether one did of which no note could be taken.
    overflowed: bool,
    has_holes: bool,
    /// The nodes that know of the conversation here at the moment at which this one ends.
    known_by: BTreeSet<usize>,
    neighbours: BTreeMap<usize, Neighbour>,
    here: BTreeMap<Username, usize>,
    sessions: BTreeMap<u64, Session>,
    peers: Option<Peers>,
    lives: u64,
}

/// The figures of one run, by which the runs show that they try what they are meant to try.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub joined: usize,
    pub left: usize,
    pub updates: usize,
    pub missed: usize,
    pub asks: usize,
    pub counts: usize,
    pub lost_with_node: usize,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.joined += other.joined;
        self.left += other.left;
        self.updates += other.updates;
        self.missed += other.missed;
        self.asks += other.asks;
        self.counts += other.counts;
        self.lost_with_node += other.lost_with_node;
    }
}

/// The world.
#[derive(Debug)]
pub struct World {
    random: StdRng,
    now: Instant,
    step: u64,
    tick: u64,
    redis: bool,
    /// Whether nothing goes wrong any more.
    calm: bool,
    presence_members_max: usize,
    queue_max: usize,
    mailbox_max: usize,
    odds: [(Deed, u32); 10],
    nodes: Vec<Node>,
    sessions: u64,
    taken: Vec<Taken>,
    faults: Vec<String>,
    figures: Figures,
}

fn node_id(at: usize) -> NodeId {
    NodeId::from_random(at as u64)
}

fn index(node: NodeId) -> usize {
    (0..64).find(|at| node_id(*at) == node).unwrap()
}

fn talk(id: usize, is_announced: bool) -> Talk {
    let scalar = Scalar::Literal(id.to_string().into());
    let message_id = is_announced.then(|| scalar.clone());
    Talk { conversation: ConversationId::from("c"), timestamp: Some(scalar), message_id }
}

fn id_of(talk: &Talk) -> usize {
    let Some(Scalar::Literal(id)) = &talk.timestamp else { panic!("{talk:?}") };
    id.parse().unwrap()
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let presence_members_max = [0, 0, 3, 6][random.random_range(0..4)];
        let (queue_max, mailbox_max) = (random.random_range(2..8), random.random_range(2..8));
        let odds = DEEDS.map(|(deed, odds)| (deed, odds * [1, 2, 2, 6][random.random_range(0..4)]));
        let mut world = Self {
            random,
            now: Instant::now(),
            step: 0,
            tick: 0,
            redis: true,
            calm: false,
            presence_members_max,
            queue_max,
            mailbox_max,
            odds,
            nodes: Vec::new(),
            sessions: 0,
            taken: Vec::new(),
            faults: Vec::new(),
            figures: Figures::default(),
        };
        for _ in 0..3 {
            world.start();
        }
        world
    }

    /// Lets anything happen for a while, then nothing bad until all is quiet, and checks what everybody was told.
    pub fn run(mut self) -> Result<Figures, String> {
        for _ in 0..self.random.random_range(60..400) {
            self.act();
            self.watch();
        }
        self.calm_down();
        self.check();
        self.faults.first().cloned().map_or(Ok(self.figures), Err)
    }

    fn start(&mut self) {
        let settle = [Duration::ZERO, Duration::from_millis(100)][self.random.random_range(0..2)];
        let rules = Rules { node: node_id(self.nodes.len()), heartbeat: HEARTBEAT, settle };
        self.nodes.push(Node {
            rules,
            alive: true,
            publishes: self.redis,
            listens: self.redis,
            subscribed: false,
            was_subscribed: false,
            attached: false,
            linked: self.tick,
            socket: VecDeque::new(),
            mailbox: VecDeque::new(),
            queue: VecDeque::new(),
            overflowed: false,
            has_holes: false,
            known_by: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            here: BTreeMap::new(),
            sessions: BTreeMap::new(),
            peers: None,
            lives: 0,
        });
    }

    fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].alive).collect()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn act(&mut self) {
        self.step += 1;
        self.now += Duration::from_millis(20);
        let living = self.living();
        let at = living[self.random.random_range(0..living.len())];
        let mut left = self.random.random_range(0..self.odds.iter().map(|(_, odds)| odds).sum());
        let deed = self.odds.iter().find(|(_, odds)| {
            let chosen = left < *odds;
            left = left.saturating_sub(*odds);
            chosen
        });
        match deed.unwrap().0 {
            Deed::Join => self.join(at),
            Deed::Leave => self.leave(at),
            Deed::Talk => self.talk(at),
            Deed::Announce => self.announce(),
            Deed::Deliver => self.deliver(at),
            Deed::Handle => self.handle(at),
            Deed::Flush => self.flush(at),
            Deed::Retire => self.retire(at),
            Deed::Heartbeat => self.heartbeat(),
            Deed::GoWrong => self.go_wrong(at, living.len()),
        }
    }

    fn go_wrong(&mut self, at: usize, living: usize) {
        match self.random.random_range(0..100) {
            0..20 => self.cut_publishing(at),
            20..40 => self.cut_listening(at),
            40..55 => self.nodes[at].publishes = self.redis,
            55..75 => self.link(at),
            75..82 => {
                self.redis = !self.redis;
                for at in self.living() {
                    self.nodes[at].publishes = false;
                    self.cut_listening(at);
                }
            }
            82..87 if living > 1 => self.kill(at),
            87..91 if living > 1 => self.stop(at),
            _ if living < 4 && self.nodes.len() < 60 => self.start(),
            _ => {}
        }
    }

    /// Lets time pass, and serves the deadlines of conversations.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for served in 0.. {
            let due = self.living().into_iter().filter_map(|at| {
                let deadline = self.nodes[at].peers.as_ref()?.next_deadline()?;
                (deadline <= until).then_some((deadline, at))
            });
            let Some((deadline, at)) = due.min() else { break };
            assert!(served < 1000, "deadlines without end: {:?}", self.nodes[at].peers);
            self.now = self.now.max(deadline);
            self.drive(at, None, |peers, local| peers.handle_deadline(local));
        }
        self.now = until;
    }

    fn calm_down(&mut self) {
        (self.calm, self.redis) = (true, true);
        for _ in 0..60 {
            self.step += 1;
            for at in self.living() {
                self.nodes[at].publishes = true;
                self.link(at);
            }
            self.heartbeat();
            for _ in 0..60 {
                self.pass(Duration::from_millis(10));
                for at in self.living() {
                    self.flush(at);
                    for _ in 0..4 {
                        self.deliver(at);
                        self.handle(at);
                    }
                }
            }
            self.watch();
        }
    }
}
