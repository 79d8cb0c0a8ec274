//! maxtalk: a notification server for conversations. Socket.IO clients on one side, MAX on the other.
//!
//! # The floors
//!
//! A file imports from lower floors only, and never from another module of its own floor; no files import one another
//! in a circle. `tests/architecture` holds the code to it.
//!
//! | floor | what lives there |
//! | --- | --- |
//! | 0 | [`protocol`]: the wire, without I/O; [`limits`]; [`logging`]; [`files`]; [`ids`]; [`turns`] |
//! | 1 | [`event`]: the vocabulary of the written protocol |
//! | 2 | [`config`]: all settings; [`metrics`] |
//! | 3 | [`mailbox`]: the front door of an actor; [`delivery`]: outbox to socket; [`directory`]: MAX, the demo |
//! | 4 | [`actors`]: session, conversation, registry |
//! | 5 | [`http`]: connections, requests, WebSockets |
//! | 6 | [`server`]: composition, start and stop; [`mod@bench`]: the load bench |
//! | 7 | [`cli`]: the command line |
//! | 8 | [`program`]: the commands, and their exit codes |
//!
//! # Start here
//!
//! Three types carry the service: [`actors::session::SessionActor`] is one connected client,
//! [`actors::conversation::ConversationActor`] one conversation, and [`delivery::outbox::Outbox`] stands between
//! them: conversations put packets in, and the thread of the session writes them to the socket.
//!
//! Only a conversation broadcasts. All that its members hear of it goes through its mailbox, one message after the
//! other, so that all of them hear the same in the same order. Anything that brings news from elsewhere has to send
//! the conversation a message, too.
//!
//! What is intricate is pure: a machine without I/O and clock, which a thin actor or socket drives. These are
//! [`protocol::connection::Connection`] (is the client alive?), [`protocol::socketio::SocketIo`] (what does it say?),
//! [`actors::participant::Participant`] (what becomes of a join?), [`actors::members::Members`] (who is there?) and
//! [`actors::roster::Roster`] (which conversations live?).
//!
//! # One talk, file by file
//!
//! 1. `http/websocket.rs` reads the socket of a session into the buffer of its thread, and `protocol/websocket.rs`
//!    cuts frames out of it; `protocol/engine.rs` makes Engine.IO packets of them.
//! 2. `actors/session.rs` takes the packets, and `protocol/connection.rs` notes that the client lives.
//! 3. `actors/socketio.rs` gives messages to `protocol/socketio.rs`, which knows the namespaces, and
//!    `protocol/packet.rs`, which knows the encoding.
//! 4. `actors/namespace.rs` reads the event by `event/asked.rs`; `actors/participant.rs` decides that the user may
//!    talk there. The talk goes into the mailbox of the conversation: the first of two crossings of threads.
//! 5. `actors/conversation.rs` makes an `update` of it (`event/told.rs`), encodes it once for each generation of
//!    clients (`protocol/frame.rs`), and puts it into the outboxes of all other members (`actors/members.rs`).
//! 6. `delivery/outbox.rs` holds it, and `delivery/ready.rs` lists the outbox with the thread of its session: the
//!    second crossing. `delivery/flusher.rs` of that thread writes all that is listed, through `http/websocket.rs`.
//!
//! A client that polls has its packets taken out of the outbox by `actors/polls.rs`, when its next request comes
//! through `http/polling.rs`.
//!
//! # One join, file by file
//!
//! 1. Up to `actors/participant.rs` as above. It has one call to the registry under way at a time.
//! 2. `actors/registry.rs` asks the directory in a task of its own: `directory/max/client.rs` decides as whom and by
//!    which calls, `directory/max/gate.rs` how many may run, `directory/max/verdict.rs` what an answer means.
//! 3. The registry takes a slot in the mailbox of every conversation of the answer, all or none; `actors/roster.rs`
//!    says which of them have to be spawned first.
//! 4. Each conversation enters the session among its members, and tells the others `joined` if the user is new there.
//! 5. When the session is in all of them, `actors/namespace.rs` hears it, and the client gets `listening`.
//!
//! A session leaves a conversation when its [`actors::conversation::Membership`] is dropped, whatever the cause.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is for those who read the code: cargo doc --document-private-items"
)]
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::unwrap_used))]

mod actors;
mod bench;
mod cli;
mod config;
mod delivery;
mod directory;
mod event;
mod files;
mod http;
mod ids;
mod limits;
mod logging;
mod mailbox;
mod metrics;
pub mod program;
mod protocol;
mod server;
#[doc(hidden)]
pub mod testing;
mod turns;
