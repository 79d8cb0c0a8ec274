//! The actors, and the decisions that they act on.
//!
//! A [`session::SessionActor`] is one connected client. A [`conversation::ConversationActor`] is one conversation. The
//! [`registry::RegistryActor`] is the one authority on which conversations live.
//!
//! References point one way: a session holds conversations, by a [`conversation::Membership`] each, and a conversation
//! holds the outboxes of its members. Only the table of sids holds the front door of a session. Against this direction
//! an actor only tells something, and never waits for an answer: a conversation tells the registry that it could
//! retire, and an answer goes into a channel that the asker has sent along.
//!
//! `kinds` sorts their messages for the metrics.
//!
//! One client:
//!
//! * [`session`]: the actor of one client. It drives the protocol machines of the client, over any transport.
//! * [`front`]: the messages and answers between the HTTP edge and a session.
//! * `polls`: the polling transport of a session: its polls and POSTs.
//! * `probe`: the socket of an upgrade that is not finished.
//! * `intake`: the bounds on the input of a session, in one turn and over time.
//! * `session_metrics`: the metrics of one session.
//! * [`application`]: the interface between a session and the layer over its transport.
//! * [`socketio`]: that layer: Socket.IO, with the namespaces that the client is connected to.
//! * [`recovery`]: the sessions whose clients may come back after their connection was lost.
//! * [`event_rates`]: the bounds on the rates of a session's events; pure.
//!
//! The events of a client in `/max`, the namespace of the written protocol:
//!
//! * [`namespace`]: parses events, and carries requests and answers between the client and the other actors.
//! * [`participant`]: decides on the events; pure.
//! * [`seats`]: the conversations that one session listens to; pure.
//! * [`talks`]: the bound on the talks of one session that wait in conversations.
//!
//! Conversations:
//!
//! * [`conversation`]: the actor of one conversation. It puts the events of its members in order, and sends them out.
//! * [`announcement`]: news of back ends and of MAX for conversations.
//! * [`audience`]: conversations and sessions, as the feed of MAX sees them.
//! * [`members`]: the sessions in a conversation, and their users; pure.
//! * [`pending_entries`]: the entries of one join that its conversations have not handled yet.
//! * [`registry`]: the actor that asks the directory for the conversations of a user, spawns and retires conversations.
//! * `complaints`: the failures of MAX in the log.
//! * [`roster`]: the living conversations, and the decision which of them may retire; pure.
//! * [`users`]: the number of sessions of each user.
//! * [`departures`]: the queue by which a session leaves many conversations in slices.

pub mod announcement;
pub mod application;
pub mod audience;
mod complaints;
pub mod conversation;
pub mod departures;
pub mod event_rates;
pub mod front;
mod intake;
mod kinds;
pub mod members;
pub mod namespace;
pub mod participant;
pub mod pending_entries;
mod polls;
mod probe;
pub mod recovery;
pub mod registry;
pub mod roster;
pub mod seats;
pub mod session;
mod session_metrics;
pub mod socketio;
pub mod talks;
pub mod users;

#[cfg(test)]
mod tests;
