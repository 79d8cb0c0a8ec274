//! maxtalk: a notification server for conversations. Socket.IO clients on one side, MAX on the other.
//!
//! # The floors
//!
//! A file imports from lower floors only, and never from another module of its own floor; no files import one another
//! in a circle. `tests/architecture` checks this.
//!
//! | floor | what lives there |
//! | --- | --- |
//! | 0 | [`protocol`]; [`docs`]; [`files`]; [`ids`]; [`limits`]; [`logging`]; [`stage`]; [`turns`]; [`version`] |
//! | 1 | [`event`]: the vocabulary of the written protocol |
//! | 2 | [`config`]: all settings; [`metrics`] |
//! | 3 | [`mailbox`]: the front door of an actor; [`delivery`]: outbox to socket; [`directory`]: MAX; [`cluster`] |
//! | 4 | [`board`]: cards of the living sessions and conversations; [`feed`]: what MAX announces in its RabbitMQ |
//! | 5 | [`actors`]: session, conversation, registry |
//! | 6 | [`http`]: connections, requests, WebSockets; [`admin`]: the pages and the API for operators |
//! | 7 | [`server`]: composition, start and stop; [`mod@bench`]: the load bench; [`remote`]: a client of the API |
//! | 8 | [`top`]: a running server in a terminal; [`mod@set`]: its settings; [`healthcheck`]: whether it is ready |
//! | 9 | [`cli`]: the command line |
//! | 10 | [`program`]: the commands, and their exit codes; [`testing`]: the door for the tests |
//!
//! # Start here
//!
//! Three types carry the service: [`actors::session::SessionActor`] is one connected client,
//! [`actors::conversation::ConversationActor`] one conversation, and [`delivery::outbox::Outbox`] stands between
//! them: conversations put packets in, and the thread of the session writes them to the socket.
//!
//! Only a conversation broadcasts. Everything that all its members hear goes through its mailbox, one message after the
//! other, so that all of them hear the same in the same order. Code that brings news from elsewhere also has to send it
//! to the conversation as a message.
//!
//! The intricate parts are pure: each is a state machine without I/O and clock, driven by an actor. They are
//! [`protocol::connection::Connection`] (is the client alive?), [`protocol::socketio::SocketIo`] (what does it say?),
//! [`actors::participant::Participant`] (what becomes of a join?), [`actors::members::Members`] (who is there?) and
//! [`actors::roster::Roster`] (which conversations live?).
//!
//! # One talk, file by file
//!
//! 1. `http/websocket.rs` reads the socket of a session into the buffer of its thread (`delivery/buffer.rs`), and
//!    `protocol/websocket.rs` cuts frames out of it; `protocol/engine.rs` makes Engine.IO packets of them.
//! 2. `actors/session.rs` takes the packets, as many in one turn as `actors/intake.rs` allows. For each packet,
//!    `actors/session/phase.rs` lets `protocol/connection.rs` note that the client is alive, and hands the message in
//!    the packet to the layer above.
//! 3. `actors/socketio.rs` is that layer. It reads the message by `protocol/socketio.rs`, which knows the namespaces,
//!    and by `protocol/packet.rs`, which knows the encoding. `actors/event_rates.rs` may refuse the event.
//! 4. `actors/namespace.rs` parses the event by `event/asked.rs`, and `actors/participant.rs` decides whether the user
//!    may talk there. The talk goes through the front door (`mailbox.rs`) of the conversation, which may live on
//!    another thread: the first of two crossings of threads.
//! 5. `actors/conversation.rs` makes an `update` of the talk (`event/told.rs`), encodes it once for each generation of
//!    clients (`protocol/frame.rs`), and pushes it into the outboxes of all other members (`actors/members.rs`).
//! 6. Each outbox (`delivery/outbox.rs`) holds the update, and is entered in the ready list of the thread of its
//!    session (`delivery/ready.rs`): the second crossing. The flusher of that thread (`delivery/flusher.rs`) writes all
//!    outboxes of the list, through `http/websocket.rs`.
//!
//! A client that polls sends its packets in POSTs. `http/polling.rs`, or `http/legacy.rs` for Socket.IO 0.9, hands each
//! body to the session through `http/exchange.rs`, and `actors/polls.rs` reads the packets, which go on from step 2.
//! The packets for such a client wait in its outbox for its next GET. That comes the same way, and `actors/polls.rs`
//! answers it with the packets.
//!
//! # One join, file by file
//!
//! 1. A join comes to `actors/participant.rs` as a talk does. The participant makes one call to the registry at a time;
//!    a newer join waits until that call has ended.
//! 2. `actors/registry.rs` asks the directory in a task of its own. `directory/max/client.rs` decides by which account
//!    MAX is asked, `directory/max/route.rs` by which calls, `directory/max/gate.rs` how many calls may run at the same
//!    time, and `directory/max/verdict.rs` what an answer means. `actors/users.rs` bounds the sessions of the user.
//! 3. The registry sends `Enter` to every conversation of the answer, to some of them in each round. If the mailbox of
//!    one is full, the session leaves those that it has entered, and the join is refused. `actors/roster.rs` says which
//!    conversations have to be spawned first.
//! 4. Each conversation makes the session a member, and tells the others `joined` if the user is new there.
//! 5. When the session is a member of all of them, `actors/namespace.rs` gets the answer and gives it to the
//!    participant, which tells the client `listening`.
//!
//! # One comeback, file by file
//!
//! 1. A session whose connection is lost is kept by `actors/session/lost.rs`. Its actor, the layer above and its outbox
//!    live on without a transport: conversations go on to push into the outbox.
//! 2. The client connects again, which begins another session. Its CONNECT names the pid of the former one, which
//!    `actors/socketio/comeback.rs` claims by the table of `actors/recovery.rs`.
//! 3. The former session hands over its number, its card, its outbox, and its namespace with the participant. It may
//!    live on another thread, and it may not have noticed the loss yet.
//! 4. `delivery/history.rs` says which events the client has missed. They are queued before the answer to the CONNECT,
//!    and the transport of the new session writes the outbox from then on.
//!
//! If the session is on another node, `actors/socketio/journey.rs` fetches it by letters (`cluster/letters.rs`). What
//! the two nodes do when is decided by `actors/recovery/moving.rs`. `delivery/outbox/moved.rs` joins what the client
//! has missed there with what has come here in the meantime.
//!
//! A session leaves a conversation when its [`actors::conversation::Membership`] is dropped, whatever the cause.
//! `actors/departures.rs` drops many memberships in slices.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is for those who read the code: cargo doc --document-private-items"
)]
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::unwrap_used))]

mod actors;
mod admin;
mod bench;
mod board;
mod cli;
mod cluster;
mod config;
mod delivery;
mod directory;
pub mod docs;
mod event;
mod feed;
mod files;
mod healthcheck;
mod http;
mod ids;
mod limits;
mod logging;
mod mailbox;
mod metrics;
pub mod program;
mod protocol;
mod remote;
mod server;
mod set;
mod stage;
#[doc(hidden)]
pub mod testing;
mod top;
mod turns;
mod version;
