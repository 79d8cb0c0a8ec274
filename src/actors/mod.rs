//! Every actor lives here. A [`session::SessionActor`] is one connected client, a [`conversation::ConversationActor`]
//! one conversation, the [`registry::RegistryActor`] the one authority on which conversations live.
//!
//! References point one way. Sessions hold conversations (a [`conversation::Membership`] each), conversations hold
//! outboxes, and nobody but the table of sids holds a session's front door. What goes up is never asked, only told: a
//! conversation that wants to retire, an answer into a channel that the asker brought along.
//!
//! * [`session`]: drives the protocol machines of one client, whatever its transport.
//! * `polls`, `probe`: the polling transport of a session; the socket of an upgrade that is not finished.
//! * `intake`: how much a session takes in, in one turn and over time.
//! * [`front`]: what the HTTP edge and a session say to one another.
//! * [`application`], [`socketio`]: the layer over the transport: what a session asks of it; Socket.IO, with namespaces
//!   and their residents.
//! * [`event_rates`]: how fast a session may send events.
//! * [`namespace`], [`participant`]: the `/max` namespace: what becomes of what a client asks; the decision of that.
//! * [`seats`], [`departures`], [`talks`]: where a session listens, how it leaves much at once, how much it may say.
//! * [`conversation`], [`members`]: one conversation: order and fan-out; who is in it.
//! * [`registry`], [`roster`], [`users`]: asks MAX, spawns, retires; the decision of who lives; sessions by user.
//! * `session_metrics`: how a session counts in the metrics.

pub mod application;
pub mod conversation;
pub mod departures;
pub mod event_rates;
pub mod front;
mod intake;
pub mod members;
pub mod namespace;
pub mod participant;
mod polls;
mod probe;
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
