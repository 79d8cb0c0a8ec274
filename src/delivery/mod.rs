//! The way of a packet to the socket of its client. Whatever is to be sent waits in the outbox of its session; the
//! thread of the session writes it from there.
//!
//! * [`outbox`]: what waits for one client, with its bounds.
//! * [`ready`]: the outboxes of a thread that have something to write.
//! * [`flusher`]: writes to all sockets of a thread, in turn.
//! * [`transport`]: what sessions and the flusher need of a socket.
//! * [`worker`], [`buffer`]: what the sessions of one thread share: timers, the flusher, and a buffer to read into.
//! * `places`: numbered places, lowest first.

pub mod buffer;
pub mod flusher;
pub mod outbox;
pub mod ready;
mod slab;
pub mod transport;
pub mod worker;
