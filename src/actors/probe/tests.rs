//! Upgrades over a socket that the test controls, each within one read.

use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::actors::session::tests::{Socket, periods};
use crate::protocol::connection::Attached;
use crate::protocol::{Generation, ProtocolError};

/// An upgrade, and the packets that were taken after its `5`.
struct Session {
    connection: Connection,
    socket: Socket,
    taken: Vec<String>,
}

impl Session {
    fn start() -> Self {
        let periods = periods(Duration::from_secs(1));
        let mut connection = Connection::new(Generation::Eio4, TransportKind::Polling, periods, Instant::now());
        assert_eq!(connection.attach(Instant::now()), Attached::Probes);
        Self { connection, socket: Socket::default(), taken: Vec::new() }
    }

    /// Reads `probe` once. There is no room after the message `full`, and `end` ends the session.
    fn read(&mut self, probe: Probe) -> Upgrade {
        let take = |_: &mut Connection, packet: Packet<'_>| match packet {
            Packet::Text("end") => Err(CloseReason::ParseError(ProtocolError::Packet)),
            Packet::Text(text) => {
                self.taken.push(text.to_owned());
                Ok(text != "full")
            }
            packet => panic!("{packet:?}"),
        };
        let mut cx = Context::from_waker(Waker::noop());
        probe.read(&mut cx, &mut self.connection, &mut Ration::default(), Instant::now(), take)
    }
}

#[test]
fn a_read_goes_as_far_as_the_client_has_said() {
    // Packets of the client; how far the upgrade is and why it ended; how many probes are answered; messages taken.
    type Row<'a> = (&'a [&'a str], (&'a str, Option<CloseReason>), usize, &'a [&'a str]);
    const CLOSE: Option<CloseReason> = Some(CloseReason::TransportClose);
    const PACKET: Option<CloseReason> = Some(CloseReason::ParseError(ProtocolError::Packet));
    const ENGINE: Option<CloseReason> = Some(CloseReason::ParseError(ProtocolError::Engine));
    let rows: &[Row<'_>] = &[
        (&[], ("probing", None), 0, &[]),
        (&["2probe"], ("probing", None), 1, &[]),
        (&["2probe", "2probe"], ("probing", None), 2, &[]),
        (&["2probe", "5"], ("done", None), 1, &[]),
        (&["5"], ("done", None), 0, &[]),
        (&["2probe", "5", "4a", "4b"], ("done", None), 1, &["a", "b"]),
        (&["5", "4a", "4full", "4b"], ("done", None), 0, &["a", "full"]),
        (&["5", "4a", "4end", "4b"], ("done", PACKET), 0, &["a"]),
        (&["5", "xyz"], ("done", ENGINE), 0, &[]),
        (&["4a"], ("failed", CLOSE), 0, &[]),
        (&["2probe", "4a", "5"], ("failed", CLOSE), 1, &[]),
        (&["2"], ("failed", CLOSE), 0, &[]),
        (&["xyz"], ("failed", ENGINE), 0, &[]),
    ];
    for (sent, expected, answers, taken) in rows {
        let mut session = Session::start();
        session.socket.send(sent);
        let (upgrade, kind, next) = match session.read(Probe::new(Box::new(session.socket.clone()))) {
            Upgrade::Probing(_) => (("probing", None), TransportKind::Polling, Attached::Refused),
            Upgrade::Done { ended, .. } => (("done", ended), TransportKind::WebSocket, Attached::Refused),
            Upgrade::Failed => (("failed", session.socket.closed()), TransportKind::Polling, Attached::Probes),
        };
        assert_eq!(upgrade, *expected, "{sent:?}");
        assert_eq!(session.socket.got(), vec!["3probe"; *answers], "{sent:?}");
        assert_eq!(session.taken, *taken, "{sent:?}");
        assert_eq!(session.connection.transport(), kind, "{sent:?}");
        assert_eq!(session.connection.attach(Instant::now()), next, "another upgrade after {sent:?}");
    }
}

#[test]
fn a_flood_of_probes_is_read_in_more_turns_than_one() {
    let mut session = Session::start();
    session.socket.send(&["2probe"; 40]);
    let probe = Probe::new(Box::new(session.socket.clone()));
    let Upgrade::Probing(probe) = session.read(probe) else { panic!("no upgrade") };
    assert_eq!(session.socket.got().len(), 32);
    session.socket.send(&["5", "4a"]);
    assert!(matches!(session.read(probe), Upgrade::Done { ended: None, .. }));
    assert_eq!(session.socket.got().len(), 40);
    assert_eq!(session.taken, ["a"]);
}

#[test]
fn a_flood_behind_the_upgrade_is_left_to_the_next_turn() {
    let mut session = Session::start();
    session.socket.send(&["5"]);
    session.socket.send(&["4a"; 40]);
    let probe = Probe::new(Box::new(session.socket.clone()));
    assert!(matches!(session.read(probe), Upgrade::Done { ended: None, .. }));
    assert_eq!(session.taken.len(), 31);
}

#[test]
fn an_upgrade_that_is_given_up_closes_its_socket_and_leaves_room_for_another() {
    let mut session = Session::start();
    Probe::new(Box::new(session.socket.clone())).abandon(&mut session.connection, CloseReason::Stop);
    assert_eq!(session.socket.closed(), Some(CloseReason::Stop));
    assert_eq!(session.connection.attach(Instant::now()), Attached::Probes);
}
