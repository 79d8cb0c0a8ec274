//! Tests of the API without sockets, and what they share: conversations on the thread that starts them.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;

use super::state::Admin;
use crate::actors::conversation::{ConversationActor, ConversationSettings, Registrar};
use crate::actors::roster::{Roster, Tenure};
use crate::config::Config;
use crate::event::{ConversationId, SessionId};
use crate::mailbox::Mailbox;

mod scale;

#[derive(Debug)]
struct Nobody;

impl Registrar for Nobody {
    fn retire(&self, _: ConversationId, _: Tenure) {}

    fn recount(&self, _: ConversationId, _: SessionId) {}
}

/// Starts conversations on this thread.
pub(super) struct Conversations(Arc<ConversationSettings>);

impl Conversations {
    pub(super) fn of(admin: &Admin) -> Self {
        let config = Config::default();
        Self(Arc::new(ConversationSettings {
            namespace: "/max".into(),
            presence_members_max: config.conversation.presence_members_max.into(),
            burst_max: config.conversation.burst_max.into(),
            linger: Duration::from_secs(600),
            cluster: None,
            feed: None,
            board: admin.boards.conversations.clone(),
            metrics: admin.metrics.clone(),
        }))
    }

    pub(super) fn start(&self, id: &str) -> Mailbox<ConversationActor> {
        let card = self.0.board.card(id.into());
        let mut tenure = None;
        Roster::default().get_or_spawn(&card.id, |()| true, |spawned| tenure = Some(spawned));
        let actor = ConversationActor::new(card.clone(), tenure.unwrap(), self.0.clone(), Arc::new(Nobody));
        let mailbox = Mailbox::new(actor.start(), &self.0.metrics);
        card.open_door(mailbox.downgrade());
        mailbox
    }
}
