//! The board: a card for each living session and conversation, for those who look at the server from outside. The cards
//! are written from below, by sessions, conversations and outboxes, and read from above, by the admin listener.
//!
//! Nobody walks all cards. They are found by id and by user, the oldest sessions are the first of an ordered index, and
//! all other orders are [rankings](ranking) that are kept up as things happen.
//!
//! * [`sessions`]: the cards of sessions, and the sessions of each user.
//! * [`conversations`]: the cards of conversations.
//! * [`closed`]: the sessions that were closed last.
//! * [`ranking`]: the cards with the highest values of a measure.
//! * [`rate`]: how often something has happened in the last seconds; pure.
//! * `users`: the sessions of each user.

pub mod closed;
pub mod conversations;
pub mod ranking;
pub mod rate;
pub mod sessions;
mod users;
