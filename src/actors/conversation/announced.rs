//! What back ends and MAX announce to a conversation.

use actix::Context;

use super::ConversationActor;
use super::fan_out::Except;
use crate::actors::announcement::{Announcement, Relay, Source};
use crate::cluster::peers::Update;
use crate::mailbox::Handling;
use crate::metrics::DeliveryPath;

impl ConversationActor {
    /// Tells the members, and the other nodes, of an announcement that is not told already.
    pub(super) fn announce(&mut self, announcement: Announcement, handling: Handling, ctx: &mut Context<Self>) {
        let Announcement { username, talk, except, except_self, source } = announcement;
        let update = Update { username, talk, except, except_self };
        let (path, answer) = match source {
            Source::BackEnd { relay_required, receipt } => {
                let relay = self.relay(&update, relay_required);
                if matches!(relay, Relay::ToldAlready) || relay_required && matches!(relay, Relay::Full) {
                    return receipt.give(0, relay);
                }
                (DeliveryPath::Local, Some((receipt, relay)))
            }
            Source::Feed if self.is_new(&update.talk) => (DeliveryPath::Feed, None),
            Source::Feed => return,
        };
        let Update { username, talk, except, except_self } = update;
        let except = Except::of(except, except_self.then(|| username.clone()));
        let sessions = self.update(username, talk, except, path, handling, ctx);
        if let Some((receipt, relay)) = answer {
            receipt.give(sessions, relay);
        }
    }
}
