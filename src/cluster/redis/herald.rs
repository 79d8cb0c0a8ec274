//! What the other nodes are told of this one: its heartbeats, its end, and that it has lost messages. And the letters
//! to one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fault::{Fault, Moved, Refusal};
use super::traffic::{PIPELINE_BYTES, PIPELINE_MESSAGES};
use super::{Done, Task};
use crate::cluster::message::NodeMessage;
use crate::cluster::shard::Shard;
use crate::version;

/// The heartbeats whose return is waited for.
const BEATS_MAX: usize = 16;

/// A message about this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    Beat,
    Bye,
    /// The end of this node: all is published.
    End,
    Holes,
}

impl Task {
    /// Tells the other nodes what they have to know about this one.
    pub(super) fn tell_of_this_node(&mut self) {
        let node = self.shard.context.node;
        // In a Redis Cluster one shard speaks for all.
        if !self.shard.leads() {
            return;
        }
        let bye = self.shard.context.orders.lock().bye;
        if let Some(grace) = bye.filter(|_| !self.is_bye_said) {
            self.is_bye_said = true;
            self.tell_nodes(&NodeMessage::Bye { node, grace_ms: as_ms(grace), flushed: false }, Telling::Bye);
        }
        let has_holes = |shard: &Arc<Shard>| shard.queue.lock().take_unknown_holes();
        if self.all_shards().iter().any(has_holes) {
            self.tell_nodes(&NodeMessage::Holes { node }, Telling::Holes);
        }
    }

    /// Tells the other nodes at the end that they have got all of this one. They are told nothing if it is not so.
    pub(super) fn tell_end(&mut self) {
        let orders = *self.shard.context.orders.lock();
        let (Some(grace), Some(_)) = (orders.bye, orders.stop) else { return };
        if !self.shard.leads() {
            return;
        }
        let is_whole = self.all_shards().iter().all(|shard| !shard.queue.lock().has_holes());
        let are_quiet = self.is_quiet() && self.are_others_quiet();
        if is_whole && self.is_bye_said && !self.is_end_said && are_quiet && self.link.serves() {
            self.is_end_said = true;
            let bye = NodeMessage::Bye { node: self.shard.context.node, grace_ms: as_ms(grace), flushed: true };
            self.tell_nodes(&bye, Telling::End);
        }
    }

    pub(super) fn beat(&mut self, now: Instant) {
        let context = self.shard.context.clone();
        let sent_ms = as_ms(now.saturating_duration_since(context.started));
        let census = (context.census)();
        let heartbeat = NodeMessage::Heartbeat {
            node: context.node,
            name: context.settings.name.clone(),
            version: version::VERSION.into(),
            tag: context.settings.tag.clone(),
            sessions: census.sessions,
            conversations: census.conversations,
            sent_ms,
        };
        if self.beats.len() >= BEATS_MAX {
            self.beats.pop_front();
        }
        self.beats.push_back((sent_ms, now));
        self.tell_nodes(&heartbeat, Telling::Beat);
    }

    /// Answers Node servers. One that is not reached waits in vain, as for any server that dies.
    pub(super) fn answer(&mut self) {
        if self.is_answering || self.answers.is_empty() {
            return;
        }
        self.is_answering = true;
        let answers = std::mem::take(&mut self.answers);
        let sent = self.session.as_ref().map(|session| {
            let messages = answers.iter().map(|answer| (answer.channel.clone(), &answer.body[..]));
            session.publish(session.words().pipeline(messages))
        });
        self.start(sent, |_| Done::Answered);
    }

    /// Publishes some of the letters that wait, if the messages before them are published and no others are under way.
    pub(super) fn post(&mut self) {
        if self.is_posting {
            return;
        }
        let front = {
            let queue = self.shard.queue.lock();
            if queue.is_empty() { u64::MAX } else { queue.front() }
        };
        let (mut letters, mut bytes) = (Vec::new(), 0);
        {
            let mut waiting = self.shard.letters.lock();
            while letters.len() < PIPELINE_MESSAGES
                && bytes < PIPELINE_BYTES
                && let Some(letter) = waiting.pop(front)
            {
                bytes += letter.body.len();
                letters.push(letter);
            }
        }
        if letters.is_empty() {
            return;
        }
        self.is_posting = true;
        let sent = self.session.as_ref().map(|session| {
            let messages = letters.iter().map(|letter| (letter.channel.clone(), &letter.body[..]));
            session.publish(session.words().pipeline(messages))
        });
        self.start(sent, |result| Done::Posted(result.and_then(refused)));
    }

    fn tell_nodes(&mut self, message: &NodeMessage, telling: Telling) {
        let wire = &self.shard.context.wire;
        let (channel, body) = (self.shard.own.lock().beats.clone(), wire.write_node(message));
        let sent = self
            .session
            .as_ref()
            .map(|session| session.publish(session.words().pipeline(std::iter::once((channel, &body[..])))));
        self.telling.push(telling);
        self.start(sent, move |result| {
            let one = result.map_err(Refusal::Fault);
            let one = one.and_then(|answers| answers.into_iter().next().unwrap_or(Ok(0)));
            Done::Told(telling, one.map(|_| ()))
        });
    }
}

/// Returns the letters that belong to other servers. Those who wait for an answer are told so by their deadlines.
fn refused(answers: Vec<Result<u64, Refusal>>) -> Result<Vec<Moved>, Fault> {
    let mut moved = Vec::new();
    for answer in answers {
        match answer {
            Ok(_) => {}
            Err(Refusal::Moved(where_to)) => moved.push(where_to),
            Err(Refusal::Fault(fault)) => return Err(fault),
        }
    }
    Ok(moved)
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
