//! The messages that a server is given to publish, and the channels that are subscribed there.

use super::fault::{Fault, Refusal};
use super::{Count, Done, Task, connect};
use crate::cluster::attached::Command;
use crate::cluster::queue::Item;
use crate::event::ConversationId;

/// The messages of one pipeline.
pub(super) const PIPELINE_MESSAGES: usize = 512;

/// The bytes of one pipeline.
pub(super) const PIPELINE_BYTES: usize = 1024 * 1024;

/// The pipelines that are not yet answered. They fit into the line of commands inside the library, with room for all
/// others: what does not fit into it at once may be overtaken by what is sent later.
const PIPELINES_MAX: usize = connect::COMMANDS_MAX / 2;

impl Task {
    /// Takes the answers to a batch. Returns why the connections are of no use, if they are not.
    pub(super) fn take_answers(&mut self, number: u64, answers: Vec<Result<u64, Refusal>>) -> Option<Fault> {
        let items = self.inflight.answered(number);
        let (mut failed, mut fault) = (Vec::new(), None);
        let attached = self.shard.attached.lock();
        for (item, answer) in items.into_iter().zip(answers) {
            let count = match answer {
                Ok(count) => count,
                Err(refusal) => {
                    fault = match refusal {
                        Refusal::Moved(moved) => self.moved(moved).or(fault),
                        Refusal::Fault(why) => Some(why),
                    };
                    failed.push(item);
                    continue;
                }
            };
            self.voice.published();
            if count == 0 && item.is_heard_here && attached.is_on(&item.id) {
                fault = Some("what is published there is not heard even by this node".into());
            }
            if let Some(answer) = item.answer {
                // Nobody may wait for it any more.
                answer.send(count.saturating_sub(u64::from(item.is_heard_here))).ok();
            }
        }
        drop(attached);
        if !failed.is_empty() {
            self.inflight.refused(number, failed);
        }
        fault
    }

    /// Subscribes the channels that are wanted, and gives up those that are not.
    pub(super) fn subscribe(&mut self) {
        let settings = &self.shard.context.settings;
        let (batch, window) = (settings.subscribe_batch, settings.subscribe_window);
        loop {
            let Some(command) = self.shard.attached.lock().take(batch, window) else { return };
            let Some(session) = &self.session else { return };
            let wire = &self.shard.context.wire;
            let names = |ids: &[ConversationId]| ids.iter().map(|id| wire.room(id)).collect::<Vec<_>>();
            match &command {
                Command::Subscribe(ids) => {
                    let sent = session.subscribe(names(ids));
                    self.start(Some(sent), |result| Done::Changed(command, result));
                }
                Command::Unsubscribe(ids) => {
                    let sent = session.unsubscribe(names(ids));
                    self.start(Some(sent), |result| Done::Changed(command, result));
                }
            }
        }
    }

    /// Publishes what waits.
    pub(super) fn publish(&mut self) {
        let settings = &self.shard.context.settings;
        let (messages_max, bytes_max) = (settings.inflight_max, settings.queue_bytes_max);
        loop {
            let messages = messages_max.saturating_sub(self.inflight.messages()).min(PIPELINE_MESSAGES);
            let has_room = messages > 0 && self.inflight.bytes() < bytes_max && self.inflight.batches() < PIPELINES_MAX;
            let Some(session) = self.session.as_ref().filter(|_| has_room) else { return };
            let mut items: Vec<Item<Count>> = self.shard.queue.lock().take(messages, PIPELINE_BYTES);
            if items.is_empty() {
                return;
            }
            let wire = &self.shard.context.wire;
            {
                let attached = self.shard.attached.lock();
                let is_heard_here = |id: &ConversationId| wire.is_in_namespace(id) || attached.is_on(id);
                items.iter_mut().for_each(|item| item.is_heard_here = is_heard_here(&item.id));
            }
            let messages = items.iter().map(|item| (wire.publishes_to(&item.id), &item.body[..]));
            let sent = session.publish(session.words().pipeline(messages));
            let number = self.inflight.add(items);
            self.start(Some(sent), move |result| Done::Published(number, result));
        }
    }
}
