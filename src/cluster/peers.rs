//! The peers of a conversation: the state machine that a conversation keeps of itself on the other nodes. It numbers
//! what the conversation sends, and decides what becomes of what the bus brings: which users come and go, which update
//! is a double, when updates may be missed, and which peer has to be asked for its state.
//!
//! Its driver is the actor of the conversation, which keeps the users on this node. The driver passes them and the time
//! with each call, carries out the [`Effects`], and calls [`Peers::handle_deadline`] at [`Peers::next_deadline`], which
//! may be another one after each call.
//!
//! Each peer numbers its messages, so that a hole and a double are noticed. After a hole its users are not certain, and
//! the peer owes its state. It is asked for it until it answers or counts as not here. The users that are visible are
//! those on this node and those of all peers that count.
//!
//! The sum of the users over all nodes is compared to the presence limit. A user on two nodes counts twice in it, but
//! all nodes come to the same sum whether they know names or only numbers, and so agree on the side of the limit.

use std::time::{Duration, Instant};

use super::door::FromBus;
use super::message::{Content, Message, NodeId, Presence, Stamp, Users};
use crate::event::{Talk, Username};

mod effects;
mod local;
mod peer;
mod recent;
mod roll;
#[cfg(test)]
mod tests;

pub use effects::{Cause, Change, Effects, Update};
pub use local::{Here, Local, Rules};
pub use recent::RecentIds;

use peer::{Dun, Peer, Place};
use roll::Roll;

/// The least time between two answers with the own state: the second one serves all peers that have asked meanwhile.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);

/// How long a peer that owes its state has time to send it by itself, before it is asked. It may be about to answer.
const ASK_DELAY: Duration = Duration::from_millis(200);

/// The least time between two states without names.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Heartbeats from one ask of a peer to the next.
const HEARTBEATS_PER_ASK: u32 = 2;

/// The peers of a conversation in one of its lives on this node.
#[derive(Debug)]
pub struct Peers {
    life: u64,
    /// The number of the last message that was sent.
    sequence: u64,
    /// When the conversation was subscribed the last time.
    attached: Option<Instant>,
    /// In a box because most conversations live on one node only.
    roll: Option<Box<Roll>>,
    recent: Option<Box<RecentIds>>,
    /// Whether somebody was told who is there, or could have been, before all peers must have answered.
    exposed: bool,
    /// Whether somebody listens, and was told so, since before the conversation was subscribed.
    deaf: bool,
    /// Whether the last own state had no names.
    counting: bool,
    /// Whether users have come or gone of whom the other nodes are told by the next state only.
    unsaid: bool,
}

/// The users of a conversation on all nodes.
#[derive(Debug, PartialEq, Eq)]
pub struct People {
    /// The number of users. If they are not named, one who is on several nodes counts several times.
    pub inroom: usize,
    /// The users, sorted. `None` above the presence limit, and if not all are known.
    pub names: Option<Vec<Username>>,
    /// Whether users of other nodes may be left out, because the bus is away.
    pub partial: bool,
}

impl Peers {
    /// Begins the life of a conversation on this node. Its number is higher than those of earlier lives.
    pub fn new(life: u64) -> Self {
        Self {
            life,
            sequence: 0,
            attached: None,
            roll: None,
            recent: None,
            exposed: false,
            deaf: false,
            counting: false,
            unsaid: false,
        }
    }

    /// Takes the talk of a member, and returns the message for the other nodes.
    pub fn talk<H: Here>(&mut self, username: Username, talk: Talk, local: &Local<'_, H>) -> Message {
        self.is_new(&talk, local.now);
        self.stamped(Content::Update { username, talk, except: Vec::new(), except_self: false }, local)
    }

    /// Takes an announcement, and returns the message for the other nodes. `None` if it is about a message that was
    /// told already: the members are not told either.
    pub fn announce<H: Here>(&mut self, update: Update, local: &Local<'_, H>) -> Option<Message> {
        let Update { username, talk, except, except_self } = update;
        let is_new = self.is_new(&talk, local.now);
        is_new.then(|| self.stamped(Content::Update { username, talk, except, except_self }, local))
    }

    /// Counts the message of an announcement as not told, because nobody was.
    pub fn forget(&mut self, talk: &Talk) {
        if let Some(recent) = &mut self.recent {
            recent.forget(talk);
        }
    }

    /// Notes news that all nodes get by themselves, such as those of MAX's feed. Returns whether the members have to be
    /// told: the message was not told already.
    pub fn is_new(&mut self, talk: &Talk, now: Instant) -> bool {
        if recent::message_id(talk).is_none() {
            return true;
        }
        self.recent(now).note(talk, now)
    }

    fn recent(&mut self, now: Instant) -> &mut RecentIds {
        self.recent.get_or_insert_with(|| Box::new(RecentIds::new(now)))
    }

    /// Takes a user whose first session on this node has entered.
    pub fn came<H: Here>(&mut self, username: &Username, local: &Local<'_, H>) -> Effects {
        let mut effects = Effects::default();
        let public = self.presents(local) && !self.is_elsewhere(username);
        if public {
            effects.changes.push(Change::Joined(username.clone()));
        }
        self.say(Presence::Come { username: username.clone(), public }, local, &mut effects);
        self.conclude(local, &mut effects);
        effects
    }

    /// Takes a user whose first session on this node has moved here from another one, where the user still counts. So
    /// nobody is told, whether the state of that node has come or not.
    pub fn returned<H: Here>(&mut self, username: &Username, local: &Local<'_, H>) -> Effects {
        let mut effects = Effects::default();
        self.say(Presence::Come { username: username.clone(), public: false }, local, &mut effects);
        self.conclude(local, &mut effects);
        effects
    }

    /// Takes a user whose last session on this node has left.
    pub fn went<H: Here>(&mut self, username: &Username, local: &Local<'_, H>) -> Effects {
        let mut effects = Effects::default();
        // It was told of one user more.
        let presents = self.are_named() && !local.exceeds(self.total(local) + 1);
        let public = presents && !self.is_elsewhere(username);
        if public {
            effects.changes.push(Change::Left(username.clone()));
        }
        self.say(Presence::Go { username: username.clone(), public }, local, &mut effects);
        self.conclude(local, &mut effects);
        effects
    }

    /// Notes that a session was told that it listens, although the conversation is not subscribed.
    pub fn listens_unsubscribed(&mut self) {
        self.deaf |= self.attached.is_none();
    }

    /// Ends the life, and returns the message for the other nodes. `None` if they were never told of it.
    pub fn end<H: Here>(&mut self, local: &Local<'_, H>) -> Option<Message> {
        (self.sequence > 0).then(|| self.stamped(Content::Presence(Presence::Gone), local))
    }

    /// Takes news of the bus.
    pub fn handle<H: Here>(&mut self, news: FromBus, local: &Local<'_, H>) -> Effects {
        let mut effects = Effects::default();
        match news {
            FromBus::Message(message) => self.take(message, local, &mut effects),
            FromBus::Attached { again, covered } => self.attach(again, covered, local, &mut effects),
            FromBus::Lost => {
                effects.miss(Cause::Mailbox);
                self.doubt_all(local);
                self.roll().owe_state(true, local.now + ANSWER_INTERVAL);
            }
            FromBus::Missed => effects.miss(Cause::Mailbox),
            FromBus::Room => self.roll().owe_state(false, local.now),
            FromBus::Silent(node) => {
                if self.hide(node, local, &mut effects) {
                    effects.miss(Cause::Silence);
                }
            }
            FromBus::Ended(node) => {
                self.hide(node, local, &mut effects);
                self.peer(node, |peer| {
                    peer.end();
                    peer.ended = true;
                });
            }
            FromBus::Heard(node) => self.hear(node, local, &mut effects),
            FromBus::Doubt(node) => {
                effects.miss(Cause::Hole);
                if !self.peer(node, |peer| peer.owe(local.now + ASK_DELAY)) {
                    effects.sends.push(self.ask(node, local));
                }
            }
            FromBus::Outage { .. } => {}
        }
        self.conclude(local, &mut effects);
        effects
    }

    /// Returns when [`Peers::handle_deadline`] has to be called. `None` if nothing is under way.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.roll.as_ref().and_then(|roll| roll.next_deadline())
    }

    /// Does what is due: sends the own state, asks peers that owe theirs, and gives up those that do not answer.
    pub fn handle_deadline<H: Here>(&mut self, local: &Local<'_, H>) -> Effects {
        let mut effects = Effects::default();
        let interval = local.rules.heartbeat * HEARTBEATS_PER_ASK;
        for at in 0..self.roll.as_ref().map_or(0, |roll| roll.peers.len()) {
            let peer = &mut self.roll().peers[at];
            let node = peer.node;
            match peer.dun(local.bus_up, interval, local.now) {
                Dun::Wait => {}
                Dun::Ask => effects.sends.push(self.ask(node, local)),
                Dun::GiveUp => {
                    effects.miss(Cause::NoAnswer);
                    self.roll().change(at, local, &mut effects, Peer::end);
                }
            }
        }
        self.conclude(local, &mut effects);
        effects
    }

    /// Returns when all peers have had time to tell their users since the subscription. Asks for people wait until
    /// then. `None` if the conversation is not subscribed.
    pub fn settles_at(&self, rules: &Rules) -> Option<Instant> {
        self.attached.map(|attached| attached + rules.settle)
    }

    /// Returns whether the first state of a peer may still be an answer to the subscription, which tells of users who
    /// were there before. Peers on a busy machine take their time, so it is more than the time that asks for people
    /// wait: as long as a peer is asked.
    fn is_new_here<H>(&self, local: &Local<'_, H>) -> bool {
        let answering = local.rules.heartbeat * HEARTBEATS_PER_ASK * u32::from(Peer::TRIES_MAX);
        let within = answering.max(local.rules.settle);
        self.attached.is_some_and(|attached| local.now < attached + within)
    }

    /// Returns the users on all nodes.
    pub fn people<H: Here>(&mut self, local: &Local<'_, H>) -> People {
        self.exposed |= self.attached.is_none() || self.is_new_here(local);
        let partial = self.attached.is_none() || !local.bus_up;
        let total = self.total(local);
        if !self.presents(local) {
            return People { inroom: total, names: None, partial };
        }
        let mut names = Vec::with_capacity(total);
        names.extend(local.here.users().cloned());
        for peer in self.roll.iter().flat_map(|roll| &roll.peers) {
            names.extend(peer.names().into_iter().flatten().cloned());
        }
        names.sort_unstable();
        names.dedup();
        People { inroom: names.len(), names: Some(names), partial }
    }

    fn take<H: Here>(&mut self, message: Message, local: &Local<'_, H>, effects: &mut Effects) {
        let Message { stamp, content } = message;
        let Some(Stamp { node, life, sequence }) = stamp else {
            self.deliver(content, local, effects);
            return;
        };
        let Some(sequence) = sequence else {
            match content {
                Content::Presence(Presence::Ask { to }) if to == local.rules.node && node != to => {
                    self.roll().owe_answer(ANSWER_INTERVAL, local.now);
                }
                Content::Presence(_) => {}
                // One with an id is known by that.
                Content::Update { ref talk, .. }
                    if recent::message_id(talk).is_none()
                        && !self.recent(local.now).note_life(node, life, local.now) => {}
                content => self.deliver(content, local, effects),
            }
            return;
        };
        if node == local.rules.node {
            return;
        }
        let (at, place) = match self.roll().find_or_add(node, life, sequence) {
            // All records are in use by nodes that live. Their number is far beyond that of nodes in a cluster.
            None => return self.deliver(content, local, effects),
            Some((at, Some(place))) => (at, place),
            // A conversation that has been subscribed for a while has heard the first message of each new life. What
            // is heard at first from a life that is older than the subscription is no hole.
            Some((at, None)) => {
                let settled = self.attached.is_some_and(|attached| local.now >= attached + local.rules.heartbeat);
                (at, if settled && sequence > 1 { Place::Hole } else { Place::NewLife })
            }
        };
        if place == Place::Old {
            return;
        }
        if place == Place::Hole {
            effects.miss(Cause::Hole);
        }
        let peer = &mut self.roll().peers[at];
        if peer.ended {
            return self.deliver(content, local, effects);
        }
        if place != Place::Next || peer.hidden {
            peer.owe(local.now + ASK_DELAY);
        }
        self.take_numbered(at, sequence, content, local, effects);
    }

    /// Takes the content of a message that is not a double from a peer.
    fn take_numbered<H: Here>(
        &mut self,
        at: usize,
        sequence: u64,
        content: Content,
        local: &Local<'_, H>,
        effects: &mut Effects,
    ) {
        let is_baseline = !self.exposed && self.is_new_here(local);
        let roll = self.roll();
        match content {
            Content::Presence(Presence::State { users, asks }) => {
                let peer = &mut roll.peers[at];
                peer.settle();
                let is_first = !std::mem::replace(&mut peer.stated, true);
                let told = effects.changes.len();
                roll.state(at, users, local, effects);
                // A peer says who comes before it is subscribed and asks: what it said before was heard, or is older
                // than the subscription here.
                if is_first && is_baseline && (!asks || sequence > 1) {
                    effects.changes.truncate(told);
                }
                if asks {
                    roll.owe_answer(ANSWER_INTERVAL, local.now);
                }
            }
            Content::Presence(Presence::Come { username, .. }) => roll.come(at, username, local, effects),
            Content::Presence(Presence::Go { username, .. }) => roll.go(at, &username, local, effects),
            Content::Presence(Presence::Gone) => roll.change(at, local, effects, Peer::end),
            Content::Presence(Presence::Ask { .. }) => {}
            content @ Content::Update { .. } => self.deliver(content, local, effects),
        }
        // Its users count again only now, so that nobody hears of those who have gone meanwhile.
        if self.roll().peers[at].hidden {
            self.roll().change(at, local, effects, |peer| peer.hidden = false);
        }
    }

    /// Delivers an update, unless it is about a message that was told already.
    fn deliver<H: Here>(&mut self, content: Content, local: &Local<'_, H>, effects: &mut Effects) {
        if let Content::Update { username, talk, except, except_self } = content
            && self.is_new(&talk, local.now)
        {
            effects.update = Some(Update { username, talk, except, except_self });
        }
    }

    fn attach<H: Here>(&mut self, again: bool, covered: bool, local: &Local<'_, H>, effects: &mut Effects) {
        let again = again || self.attached.is_some();
        self.attached = Some(local.now);
        self.exposed |= again;
        let was_deaf = std::mem::take(&mut self.deaf);
        if (again || was_deaf) && !covered {
            effects.miss(Cause::Subscription);
        }
        self.doubt_all(local);
        self.send_state(true, local, effects);
    }

    /// Notes that all peers owe their state. They are about to be asked all at once.
    fn doubt_all<H>(&mut self, local: &Local<'_, H>) {
        let ask_at = local.now + local.rules.heartbeat * HEARTBEATS_PER_ASK;
        for peer in self.roll.iter_mut().flat_map(|roll| &mut roll.peers) {
            peer.owe_anew(ask_at);
        }
    }

    /// Stops counting the users of a node. Returns whether they counted.
    fn hide<H: Here>(&mut self, node: NodeId, local: &Local<'_, H>, effects: &mut Effects) -> bool {
        let Some(roll) = &mut self.roll else { return false };
        let Some(at) = roll.peers.iter().position(|peer| peer.node == node && !peer.hidden) else { return false };
        roll.change(at, local, effects, |peer| peer.hidden = true);
        roll.retire(at);
        true
    }

    /// Counts the users of a node again that was silent.
    fn hear<H: Here>(&mut self, node: NodeId, local: &Local<'_, H>, effects: &mut Effects) {
        let Some(roll) = &mut self.roll else { return };
        let Some(at) = roll.peers.iter().position(|peer| peer.node == node && peer.hidden && !peer.ended) else {
            return;
        };
        roll.change(at, local, effects, |peer| peer.hidden = false);
        roll.peers[at].owe_anew(local.now);
    }

    /// Tells the other nodes of a user of this one: at once, or with the next state.
    fn say<H: Here>(&mut self, presence: Presence, local: &Local<'_, H>, effects: &mut Effects) {
        if self.counting || self.unsaid || local.exceeds(self.total(local)) {
            self.unsaid = true;
        } else {
            effects.sends.push(self.stamped(Content::Presence(presence), local));
        }
    }

    /// Ends each call: sends the own state if it is due, and gives back memory.
    fn conclude<H: Here>(&mut self, local: &Local<'_, H>, effects: &mut Effects) {
        let names_again = self.counting && !local.exceeds(self.total(local));
        if self.unsaid || names_again {
            let roll = self.roll();
            let at = roll.stated_at.map_or(local.now, |stated| stated + COUNT_INTERVAL);
            roll.owe_state(false, at);
        }
        if let Some(due) = self.roll.as_ref().and_then(|roll| roll.due)
            && due.at <= local.now
        {
            self.send_state(due.asks, local, effects);
        }
        if self.roll.as_ref().is_some_and(|roll| roll.is_idle(local.now, COUNT_INTERVAL)) {
            self.roll = None;
        }
    }

    /// Sends the users on this node, or their number. It stands for all states that are due.
    fn send_state<H: Here>(&mut self, asks: bool, local: &Local<'_, H>, effects: &mut Effects) {
        self.counting = local.exceeds(self.total(local));
        self.unsaid = false;
        let mut asks = asks;
        if let Some(roll) = &mut self.roll {
            asks |= roll.due.take().is_some_and(|due| due.asks);
        }
        if self.counting {
            self.roll().stated_at = Some(local.now);
        }
        if let Some(roll) = &mut self.roll {
            roll.answered_at = Some(local.now);
        }
        let here = local.here;
        let users =
            if self.counting { Users::Count(here.count()) } else { Users::Names(here.users().cloned().collect()) };
        effects.sends.push(self.stamped(Content::Presence(Presence::State { users, asks }), local));
    }

    fn ask<H>(&self, to: NodeId, local: &Local<'_, H>) -> Message {
        let stamp = Stamp { node: local.rules.node, life: self.life, sequence: None };
        Message { stamp: Some(stamp), content: Content::Presence(Presence::Ask { to }) }
    }

    /// Gives a message the next number.
    fn stamped<H>(&mut self, content: Content, local: &Local<'_, H>) -> Message {
        self.sequence += 1;
        let stamp = Stamp { node: local.rules.node, life: self.life, sequence: Some(self.sequence) };
        Message { stamp: Some(stamp), content }
    }

    /// Returns the number of users, each counted once on each node.
    fn total<H: Here>(&self, local: &Local<'_, H>) -> usize {
        self.roll.as_ref().map_or(0, |roll| roll.count()).saturating_add(local.here.count())
    }

    /// Returns whether all users that count are known by name.
    fn are_named(&self) -> bool {
        self.roll.as_ref().is_none_or(|roll| roll.are_named())
    }

    /// Returns whether presence is told among the users that are there now.
    fn presents<H: Here>(&self, local: &Local<'_, H>) -> bool {
        self.are_named() && !local.exceeds(self.total(local))
    }

    /// Returns whether a user is on another node.
    fn is_elsewhere(&self, username: &Username) -> bool {
        self.roll.as_ref().is_some_and(|roll| roll.find(username, None).is_some())
    }

    fn roll(&mut self) -> &mut Roll {
        self.roll.get_or_insert_default()
    }

    /// Changes the record of a node. Returns whether there is one.
    fn peer(&mut self, node: NodeId, change: impl FnOnce(&mut Peer)) -> bool {
        let peer = self.roll.iter_mut().flat_map(|roll| &mut roll.peers).find(|peer| peer.node == node);
        peer.map(change).is_some()
    }
}
