//! The server as the clients of one thread see it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use mio::Registry;

use super::speech::Speech;
use crate::bench::protocol::ChatProtocol;
use crate::protocol::Generation;

/// The endpoint to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port for the header `Host`, such as `localhost:6545`.
    pub host: String,
    /// The address of the host.
    pub address: SocketAddr,
    /// The path of the endpoint, such as `/socket.io/`.
    pub path: String,
    /// The namespace, such as `/max`.
    pub namespace: String,
    /// The names of its events and their fields.
    pub protocol: Arc<ChatProtocol>,
}

/// The data that the clients of one thread share, one set for each node and generation. Because it is shared, it stays
/// in the processor's cache.
pub struct Peers(Vec<[Rc<Peer>; Generation::ALL.len()]>);

/// The server as clients of one generation see it.
pub(super) struct Peer {
    pub(super) target: Target,
    pub(super) speech: Speech,
    pub(super) registry: Registry,
    /// The mask of the last WebSocket frame.
    pub(super) mask: Cell<u32>,
}

impl Peers {
    /// Returns the peers for clients of these targets whose events come by the poll of `registry`.
    ///
    /// # Errors
    /// The system has no file descriptor for a further handle of the poll.
    pub fn new(targets: &[Target], registry: &Registry) -> io::Result<Self> {
        let peer = |target: &Target, generation| -> io::Result<Rc<Peer>> {
            let speech = Speech::new(generation, &target.namespace, &target.protocol);
            let (registry, mask) = (registry.try_clone()?, Cell::new(0x9e37_79b9));
            Ok(Rc::new(Peer { target: target.clone(), speech, registry, mask }))
        };
        let [eio4, eio3, sio09] = Generation::ALL;
        let peers = targets.iter().map(|target| Ok([peer(target, eio4)?, peer(target, eio3)?, peer(target, sio09)?]));
        peers.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the node with this number as clients of `generation` see it.
    pub(super) fn of(&self, node: usize, generation: Generation) -> &Rc<Peer> {
        &self.0[node][generation as usize]
    }
}

impl Peer {
    /// Returns the path and query of the URL that begins an Engine.IO session.
    pub(super) fn endpoint(&self, transport: &str) -> String {
        let version = if self.speech.generation == Generation::Eio4 { 4 } else { 3 };
        format!("{}?EIO={version}&transport={transport}", self.target.path)
    }
}
