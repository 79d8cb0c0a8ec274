//! The way of a packet to the socket of its client. Packets wait in the outbox of their session; the thread of the
//! session writes them from there.
//!
//! * [`outbox`]: the bounded queue towards one client.
//! * [`ready`]: the lists of outboxes that have something to write, for each thread.
//! * [`flusher`]: writes to the sockets of a thread, in turn.
//! * [`transport`]: the socket, as sessions and the flusher use it.
//! * [`worker`]: the timers, the flusher and the read buffer of one thread, shared by its sessions.
//! * [`buffer`]: the read buffer.
//! * `slab`: values by numbered keys; the lowest free key is taken first.

pub mod buffer;
pub mod flusher;
pub mod outbox;
pub mod ready;
mod slab;
pub mod transport;
pub mod worker;
