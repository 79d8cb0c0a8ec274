//! Conversations: those at the top by a measure, and one by its id, with its members.

use std::time::Duration;

use actix_web::web::{Data, Json, Path, Query};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::ApiError;
use super::model::{Conversation, ConversationMeasure, Conversations, Member, OneConversation, Refusal, Top};
use super::refusals::Refusals;
use super::state::Admin;
use crate::actors::conversation::{Card, ConversationMessage};
use crate::board::conversations;
use crate::event::{SessionId, Username};

/// Members that one answer lists.
const MEMBERS_MAX: usize = 100;

/// How long a conversation may take to name its members.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The conversations at the top by a measure.
#[utoipa::path(get, path = "/api/v1/conversations", params(Top<ConversationMeasure>),
    responses((status = 200, body = Conversations), Refusals))]
pub async fn top(admin: Data<Admin>, query: Query<Top<ConversationMeasure>>) -> Result<Json<Conversations>, ApiError> {
    let by = match query.by.unwrap_or(ConversationMeasure::Members) {
        ConversationMeasure::Members => conversations::ConversationMeasure::Members,
        ConversationMeasure::TalksPerSecond => conversations::ConversationMeasure::Talks,
        ConversationMeasure::DeliveriesPerSecond => conversations::ConversationMeasure::Deliveries,
    };
    let cards = admin.boards.conversations.top(by, query.count()?);
    let conversations = cards.iter().map(|card| shown(&admin, card)).collect();
    Ok(Json(Conversations { total: admin.conversations(), conversations }))
}

/// One conversation, with at most 100 of its members.
#[utoipa::path(get, path = "/api/v1/conversations/{id}",
    params(("id" = String, Path, description = "The id that MAX gives it.")),
    responses(
        (status = 200, body = OneConversation),
        (status = 503, body = Refusal, description = "Its mailbox is full, or it did not answer in time."),
        Refusals,
    ))]
pub async fn one(admin: Data<Admin>, id: Path<String>) -> Result<Json<OneConversation>, ApiError> {
    let gone = || ApiError::not_found("conversation that somebody listens to");
    let card = admin.boards.conversations.get(&id).ok_or_else(gone)?;
    let door = card.door().and_then(|door| door.upgrade()).ok_or_else(gone)?;
    let (reply, members) = oneshot::channel();
    let waiting = door.waiting();
    let busy = || ApiError::busy("the conversation has too much to do to name its members");
    door.try_send(ConversationMessage::Members { count: MEMBERS_MAX, reply }).map_err(|_| busy())?;
    drop(door);
    let members = timeout(ANSWER_TIMEOUT, members).await.map_err(|_| busy())?.map_err(|_| gone())?;
    let member =
        |(session, user): (SessionId, Username)| Member { session: session.0, username: user.as_str().to_owned() };
    Ok(Json(OneConversation {
        conversation: shown(&admin, &card),
        mailbox_messages: waiting,
        listening: members.into_iter().map(member).collect(),
    }))
}

/// Returns a conversation as the API shows it.
pub fn shown(admin: &Admin, card: &Card) -> Conversation {
    let figures = admin.boards.conversations.figures(card);
    let per_second = |per_1000_s: u64| per_1000_s as f64 / 1000.0;
    Conversation {
        id: card.id.as_str().to_owned(),
        spawned: admin.facts.time_of(card.opened_ms),
        age_ms: admin.facts.uptime_ms().saturating_sub(card.opened_ms),
        members: figures.sessions,
        users: figures.users,
        talks: figures.talks,
        deliveries: figures.deliveries,
        talks_per_second: per_second(figures.talks_per_1000_s),
        deliveries_per_second: per_second(figures.deliveries_per_1000_s),
    }
}
