//! The way of a packet to the socket of its client. A packet waits in the outbox of the client's session, and the
//! thread of that session writes it to the socket.
//!
//! * [`outbox`]: the bounded queue towards one client.
//! * [`limits`]: the bounds of all outboxes, and the fate of news that does not fit.
//! * [`fold`]: news that did not fit, folded by conversation.
//! * [`history`]: the events that were written and may not have arrived; [`offset`]: the offsets of events.
//! * [`ready`]: the lists of outboxes that have something to write, for each thread.
//! * [`flusher`]: writes to the sockets of a thread, in turn.
//! * [`transport`]: the socket, as sessions and the flusher use it.
//! * [`worker`]: the timers, the flusher and the read buffer of one thread, shared by its sessions.
//! * [`buffer`]: the read buffer.
//! * `slab`: values by numbered keys; the lowest free key is taken first.

pub mod buffer;
pub mod flusher;
pub mod fold;
pub mod history;
pub mod limits;
pub mod offset;
pub mod outbox;
pub mod ready;
mod slab;
pub mod transport;
pub mod worker;
