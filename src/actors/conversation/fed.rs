//! A conversation and the feed of MAX: which messages are new, and what its members may have missed.

use std::time::Instant;

use actix::Context;

use super::ConversationActor;
use super::fan_out::{Except, FanOut};
use crate::cluster::peers::RecentIds;
use crate::delivery::fold::{Loss, News, Outage};
use crate::delivery::outbox::Outbox;
use crate::event::{ServerEvent, Talk};
use crate::mailbox::Handling;
use crate::metrics::{DeliveryPath, EventLabel};
use crate::protocol::frame::Broadcast;

impl ConversationActor {
    /// Notes the message of a talk. Returns whether the members were not told of it lately. Where nobody else could
    /// tell of it, every message is new.
    pub(super) fn is_new(&mut self, talk: &Talk) -> bool {
        if let Some(is_new) = self.is_new_in_cluster(talk) {
            return is_new;
        }
        if self.settings.feed.is_none() {
            return true;
        }
        let now = Instant::now();
        self.recent.get_or_insert_with(|| Box::new(RecentIds::new(now))).note(talk, now)
    }

    /// Tells the members that news of the feed may be lost.
    pub(super) fn hear_feed(&mut self, loss: Loss, handling: Handling, ctx: &mut Context<Self>) {
        if !self.members.is_empty() {
            let (broadcast, label, news) = self.loss_of_feed(loss);
            self.broadcast(FanOut::new(broadcast, label, news, Except::Nobody), handling, ctx);
        }
    }

    /// Tells a session that has entered of the outage of the feed that goes on.
    pub(super) fn tell_of_feed(&self, outbox: &Outbox) {
        if let Some(outage) = self.settings.feed.as_ref().and_then(|feed| feed.outage()) {
            let (mut broadcast, _, news) = self.loss_of_feed(Loss::Outage(outage));
            outbox.push_news(outbox.frame_of(&mut broadcast), &news);
        }
    }

    /// Tells the feed that the conversation ends here.
    pub(super) fn leave_feed(&self) {
        if let Some(feed) = &self.settings.feed {
            feed.detach(&self.id, self.tenure.life());
        }
    }

    fn loss_of_feed(&self, loss: Loss) -> (Broadcast, EventLabel, News) {
        let (conversations, ongoing) = match &loss {
            Loss::Conversation(id) => (Some(vec![id]), false),
            Loss::Outage(Outage { over, .. }) => (None, !over),
        };
        let event = ServerEvent::Missed { conversations, ongoing };
        let (broadcast, label) = self.encoder(&event, DeliveryPath::Feed);
        (broadcast, label, News::Loss { namespace: self.settings.namespace.clone(), loss })
    }
}
