//! The machine, driven by hand: its deadlines, and its treatment of polls, sockets and upgrades.

use super::*;

const PERIODS: Periods = Periods {
    ping_interval: Duration::from_millis(300),
    ping_timeout: Duration::from_millis(200),
    upgrade_timeout: Duration::from_millis(100),
    close_timeout: Duration::from_millis(800),
    legacy: LegacyPeriods {
        heartbeat_interval: Duration::from_millis(250),
        heartbeat_timeout: Duration::from_millis(600),
        polling_duration: Duration::from_millis(200),
        close_timeout: Duration::from_millis(640),
        handshake_timeout: Duration::from_millis(400),
    },
};

/// Returns a machine, and a clock in ms since its beginning.
fn begin(generation: Generation, transport: TransportKind) -> (Connection, impl Fn(u64) -> Instant) {
    let start = Instant::now();
    let connection = Connection::new(generation, transport, Arc::new(PERIODS), start);
    (connection, move |ms| start + Duration::from_millis(ms))
}

fn eio4(transport: TransportKind) -> (Connection, impl Fn(u64) -> Instant) {
    begin(Generation::Eio4, transport)
}

fn alarms(connection: &mut Connection, at: &impl Fn(u64) -> Instant) -> Vec<u128> {
    let start = at(0);
    std::iter::from_fn(|| connection.poll_alarm()).map(|alarm| (alarm.due - start).as_millis()).collect()
}

#[test]
fn a_session_that_answers_its_pings_lives_on() {
    let (mut connection, at) = eio4(TransportKind::WebSocket);
    assert_eq!(alarms(&mut connection, &at), [300, 500]);
    assert_eq!(connection.handle_timeout(at(299)), None);
    assert_eq!(connection.handle_timeout(at(300)), Some(Due::Ping));
    assert_eq!(connection.handle_timeout(at(300)), None, "one ping, not one for each call");
    assert_eq!(connection.handle_packet(Packet::Pong(""), at(310)), Ok(Received::Nothing));
    assert_eq!(alarms(&mut connection, &at), [610, 810]);
    assert_eq!(connection.handle_timeout(at(609)), None);
    assert_eq!(connection.handle_timeout(at(610)), Some(Due::Ping));
    assert_eq!(connection.handle_timeout(at(809)), None);
    assert_eq!(connection.handle_timeout(at(810)), Some(Due::Expired));
}

#[test]
fn heartbeats_are_told_with_their_round_trip() {
    let (mut connection, at) = eio4(TransportKind::WebSocket);
    assert_eq!(connection.poll_beat(), None);
    connection.handle_timeout(at(300)).unwrap();
    assert_eq!((connection.poll_beat(), connection.poll_beat()), (Some(Beat::Ping), None));
    connection.handle_packet(Packet::Text("a"), at(305)).unwrap();
    assert_eq!(connection.poll_beat(), None);
    connection.handle_packet(Packet::Pong(""), at(310)).unwrap();
    assert_eq!(connection.poll_beat(), Some(Beat::Answer(Duration::from_millis(10))));
    connection.handle_packet(Packet::Pong(""), at(320)).unwrap();
    assert_eq!(connection.poll_beat(), None, "nobody has pinged");

    let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
    connection.handle_packet(Packet::Ping(""), at(10)).unwrap();
    assert_eq!(connection.poll_beat(), Some(Beat::Ping));
}

#[test]
fn a_silent_session_expires_on_time_to_the_millisecond() {
    let (mut connection, at) = eio4(TransportKind::Polling);
    assert!(!connection.is_over(at(699)) && connection.is_over(at(700)), "the ping may go out late");
    assert_eq!(connection.handle_timeout(at(301)), Some(Due::Ping));
    assert!(!connection.is_over(at(499)) && connection.is_over(at(500)), "a ping that is a little late moves nothing");
    assert_eq!(connection.handle_timeout(at(500)), Some(Due::Expired));
}

#[test]
fn a_machine_that_slept_still_gives_its_clients_time_to_answer() {
    let (mut connection, at) = eio4(TransportKind::WebSocket);
    alarms(&mut connection, &at);
    assert_eq!(connection.handle_timeout(at(60_000)), Some(Due::Ping));
    assert_eq!(alarms(&mut connection, &at), [60_100]);
    assert_eq!(connection.handle_timeout(at(60_099)), None);
    assert_eq!(connection.handle_timeout(at(60_100)), Some(Due::Expired));
}

#[test]
fn a_ping_that_is_late_leaves_half_of_the_time_for_its_answer() {
    let (mut connection, at) = eio4(TransportKind::WebSocket);
    alarms(&mut connection, &at);
    assert_eq!(connection.handle_timeout(at(450)), Some(Due::Ping));
    assert_eq!(alarms(&mut connection, &at), [550]);
    assert_eq!(connection.handle_timeout(at(549)), None);
    assert_eq!(connection.handle_timeout(at(550)), Some(Due::Expired));
}

#[test]
fn a_flood_of_pongs_sets_no_deadlines() {
    let (mut connection, at) = eio4(TransportKind::WebSocket);
    alarms(&mut connection, &at);
    for ms in 0..1000 {
        assert_eq!(connection.handle_packet(Packet::Pong(""), at(ms)), Ok(Received::Nothing));
    }
    assert_eq!(alarms(&mut connection, &at), Vec::<u128>::new());
}

#[test]
fn packets_of_the_sessions_own_transport() {
    let (mut connection, at) = eio4(TransportKind::WebSocket);
    let data = Cow::Borrowed([1, 2].as_slice());
    for (packet, expected) in [
        (Packet::Text("x"), Ok(Received::Text("x"))),
        (Packet::Binary(data.clone()), Ok(Received::Binary(data))),
        (Packet::Close, Ok(Received::Close)),
        (Packet::Ping(""), Err(ProtocolError::Direction)),
        (Packet::Open("{}"), Ok(Received::Nothing)),
        (Packet::Upgrade, Ok(Received::Nothing)),
        (Packet::Noop, Ok(Received::Nothing)),
    ] {
        assert_eq!(connection.handle_packet(packet, at(0)), expected);
    }
}

#[test]
fn an_upgrade_swaps_the_transport_at_five() {
    let (mut connection, at) = eio4(TransportKind::Polling);
    assert_eq!(connection.attach(at(0)), Attached::Probes);
    assert_eq!(connection.attach(at(0)), Attached::Refused, "one at a time");
    assert_eq!(connection.handle_probe(&Packet::Ping("probe"), at(0)), Probed::Answer);
    assert_eq!(connection.transport(), TransportKind::Polling);
    assert_eq!(connection.handle_probe(&Packet::Upgrade, at(0)), Probed::Upgraded);
    assert_eq!(connection.transport(), TransportKind::WebSocket);
    assert_eq!(connection.attach(at(1)), Attached::Refused, "there is nothing left to upgrade");
    assert_eq!(connection.handle_timeout(at(200)), None, "the deadline of the upgrade is void");
}

#[test]
fn whatever_else_a_probe_says_ends_the_upgrade_and_not_the_session() {
    for packet in [Packet::Ping(""), Packet::Text("x"), Packet::Close, Packet::Noop] {
        let (mut connection, at) = eio4(TransportKind::Polling);
        connection.attach(at(0));
        assert_eq!(connection.handle_probe(&packet, at(0)), Probed::Close, "{packet:?}");
        assert_eq!(connection.attach(at(1)), Attached::Probes, "it may be tried again after {packet:?}");
    }
}

#[test]
fn an_upgrade_that_is_not_finished_is_given_up() {
    let (mut connection, at) = eio4(TransportKind::Polling);
    connection.attach(at(0));
    connection.handle_probe(&Packet::Ping("probe"), at(0));
    assert_eq!(connection.handle_timeout(at(99)), None);
    assert_eq!(connection.handle_timeout(at(100)), Some(Due::UpgradeExpired));
    assert_eq!(connection.begin_poll(false, at(101)), Polled::Waits);
    assert_eq!(connection.handle_timeout(at(250)), None, "polls wait as before");
}

#[test]
fn an_engine_io_session_is_polled_once_at_a_time() {
    for generation in [Generation::Eio4, Generation::Eio3] {
        let (mut connection, at) = begin(generation, TransportKind::Polling);
        assert_eq!(connection.begin_poll(false, at(0)), Polled::Waits);
        connection.end_poll(at(1));
        assert_eq!(connection.begin_poll(false, at(2)), Polled::Waits);
        assert_eq!(connection.begin_poll(false, at(3)), Polled::Overlaps);
        assert!(!connection.lose_poll(at(4)), "a poll that its client drops is the end");
        connection.attach(at(5));
        connection.handle_probe(&Packet::Ping("probe"), at(0));
        connection.handle_probe(&Packet::Upgrade, at(0));
        assert_eq!(connection.begin_poll(false, at(6)), Polled::Refused);
    }
}

#[test]
fn a_client_of_engine_io_3_pings() {
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
    assert_eq!(alarms(&mut connection, &at), [500]);
    assert_eq!(connection.handle_packet(Packet::Ping("probe"), at(300)), Ok(Received::Ping("probe")));
    assert_eq!(alarms(&mut connection, &at), [800]);
    assert_eq!(connection.handle_timeout(at(500)), None, "nobody is pinged");
    assert_eq!(connection.handle_packet(Packet::Text("x"), at(799)), Ok(Received::Text("x")));
    assert_eq!(connection.handle_timeout(at(800)), None, "whatever it says, it lives");
    assert_eq!(connection.heart.silent_until(), Some(at(1299)));
    assert_eq!(connection.handle_timeout(at(1299)), Some(Due::Expired));
    assert_eq!(connection.handle_packet(Packet::Pong(""), at(800)), Err(ProtocolError::Direction));
}

#[test]
fn a_client_that_pings_on_time_lives_whatever_else_it_says() {
    let periods = Periods { ping_interval: Duration::from_millis(4000), ..PERIODS };
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut connection = Connection::new(Generation::Eio3, TransportKind::WebSocket, Arc::new(periods), start);
    for ping in 1..10 {
        for (ms, packet) in [(4000 * ping - 100, Packet::Text("x")), (4000 * ping, Packet::Ping(""))] {
            connection.handle_packet(packet, at(ms)).unwrap();
        }
        for ms in 0..40 {
            assert_eq!(connection.handle_timeout(at(4000 * ping + 100 * ms)), None);
            alarms(&mut connection, &at);
        }
    }
    assert_eq!(connection.handle_timeout(at(40_199)), None);
    assert_eq!(connection.handle_timeout(at(40_200)), Some(Due::Expired));
}

#[test]
fn a_client_of_0_9_that_has_said_nothing_may_lose_its_socket() {
    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    assert_eq!(connection.attach(at(0)), Attached::Takes);
    assert!(connection.lose_socket(at(10)));
    assert_eq!((connection.transport(), connection.heart.silent_until()), (TransportKind::Polling, Some(at(650))));
    assert_eq!(connection.begin_poll(false, at(20)), Polled::Greeted);
    assert_eq!(connection.attach(at(30)), Attached::Takes);
    connection.handle_packet(Packet::Text("1::/max"), at(40)).unwrap();
    assert!(!connection.lose_socket(at(50)), "one that was in use ends the session");
    assert!(!begin(Generation::Eio3, TransportKind::WebSocket).0.lose_socket(at(0)));
}

#[test]
fn a_flood_sets_few_deadlines() {
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
    let mut set = alarms(&mut connection, &at).len();
    for ms in 0..500 {
        connection.handle_packet(Packet::Ping(""), at(ms)).unwrap();
        set += alarms(&mut connection, &at).len();
    }
    assert!(set <= 9, "{set}");
    assert_eq!(connection.heart.silent_until(), Some(at(499 + 500)), "each counts all the same");

    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    let mut set = 0;
    for ms in 0..640 {
        connection.begin_poll(false, at(ms));
        connection.end_poll(at(ms));
        set += alarms(&mut connection, &at).len();
    }
    assert!(set <= 9 + 8 * 640 / 200, "{set}");

    let (mut connection, at) = begin(Generation::Eio3, TransportKind::Polling);
    let mut set = alarms(&mut connection, &at).len();
    for ms in 0..500 {
        connection.begin_poll(false, at(ms));
        connection.end_poll(at(ms));
        set += alarms(&mut connection, &at).len();
    }
    assert!(set <= 9, "{set}");
}

#[test]
fn a_handshake_of_0_9_waits_for_its_transport() {
    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    assert_eq!(alarms(&mut connection, &at), [400]);
    assert_eq!(connection.handle_timeout(at(399)), None);
    assert_eq!(connection.handle_timeout(at(400)), Some(Due::Expired));
}

#[test]
fn polls_of_0_9_take_turns() {
    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    assert_eq!(connection.begin_poll(false, at(0)), Polled::Greeted);
    assert_eq!(connection.heart.silent_until(), Some(at(640)));
    assert_eq!(connection.begin_poll(false, at(100)), Polled::Waits);
    assert!(!connection.is_over(at(310)), "while a poll waits the client is there");
    assert!(!connection.is_over(at(300 + 639)) && connection.is_over(at(300 + 640)), "the noop may be late");
    assert_eq!(connection.begin_poll(false, at(110)), Polled::Replaces);
    alarms(&mut connection, &at);
    assert_eq!(connection.handle_timeout(at(300)), None, "the newer poll has its time too");
    assert_eq!(alarms(&mut connection, &at), [325], "an alarm that came too early is renewed");
    assert_eq!(connection.handle_timeout(at(310)), Some(Due::Noop));
    assert_eq!(connection.handle_timeout(at(310)), None, "one noop, not one for each call");
    connection.end_poll(at(310));
    assert_eq!(connection.begin_poll(false, at(900)), Polled::Waits);
    assert_eq!(connection.handle_timeout(at(1090)), None);
    assert!(connection.lose_poll(at(1090)), "its client may try again");
    assert_eq!(connection.heart.silent_until(), Some(at(1730)), "the noop that was due gives no more time");
    assert_eq!(connection.handle_timeout(at(1100)), None, "nobody waits for a noop");
    assert_eq!(connection.handle_timeout(at(1729)), None);
    assert_eq!(connection.handle_timeout(at(1730)), Some(Due::Expired));
}

#[test]
fn scripts_and_text_are_two_transports_of_0_9() {
    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    assert_eq!(connection.begin_poll(false, at(0)), Polled::Greeted);
    assert_eq!(connection.begin_poll(false, at(1)), Polled::Waits);
    assert_eq!(connection.begin_poll(true, at(2)), Polled::Greeted, "it may have heard nothing so far");
    assert_eq!(connection.begin_poll(true, at(3)), Polled::Waits);
    assert_eq!(connection.begin_poll(false, at(4)), Polled::Replaces, "greeted once, whoever comes back");
    connection.attach(at(5));
    assert_eq!(connection.begin_poll(true, at(6)), Polled::Greeted);
}

#[test]
fn a_client_of_0_9_may_come_by_another_transport() {
    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    assert_eq!(connection.attach(at(0)), Attached::Takes);
    assert_eq!(connection.transport(), TransportKind::WebSocket);
    assert_eq!(alarms(&mut connection, &at), [250, 850]);
    assert_eq!(connection.handle_timeout(at(250)), Some(Due::Ping));
    assert_eq!(connection.handle_packet(Packet::Pong(""), at(260)), Ok(Received::Nothing));
    assert_eq!(connection.heart.silent_until(), Some(at(260 + 850)));
    assert_eq!(connection.begin_poll(false, at(300)), Polled::Greeted, "as if it were the first");
    assert_eq!(connection.transport(), TransportKind::Polling);
    assert_eq!(connection.handle_packet(Packet::Pong(""), at(310)), Ok(Received::Nothing), "no heartbeat here");
    assert_eq!(connection.heart.silent_until(), Some(at(940)));
    assert_eq!(connection.begin_poll(false, at(320)), Polled::Waits);
    assert_eq!(connection.attach(at(330)), Attached::Takes);
    assert_eq!(connection.attach(at(340)), Attached::Takes, "a second socket takes the place of the first");
    assert_eq!(connection.handle_timeout(at(590)), Some(Due::Ping));
    assert_eq!(connection.handle_timeout(at(1190)), Some(Due::Expired));
}

#[test]
fn polls_end_one_after_the_other_while_an_upgrade_is_under_way() {
    let (mut connection, at) = eio4(TransportKind::Polling);
    connection.begin_poll(false, at(0));
    connection.attach(at(0));
    assert_eq!(connection.handle_timeout(at(5)), None, "nobody has probed");
    connection.handle_probe(&Packet::Ping("probe"), at(10));
    alarms(&mut connection, &at);
    assert_eq!(connection.handle_timeout(at(10)), Some(Due::Noop), "the poll that waited ends at once");
    connection.end_poll(at(10));
    assert_eq!(connection.handle_timeout(at(10)), None);
    assert!(alarms(&mut connection, &at).contains(&110));
    // Another probe changes nothing.
    connection.handle_probe(&Packet::Ping("probe"), at(15));
    connection.begin_poll(false, at(20));
    assert_eq!(connection.handle_timeout(at(20)), None, "no storm");
    connection.upgrade.as_mut().unwrap().by = at(1000);
    assert_eq!(connection.handle_timeout(at(109)), None);
    assert_eq!(connection.handle_timeout(at(110)), Some(Due::Noop));
    connection.end_poll(at(110));
    assert_eq!(connection.handle_timeout(at(220)), None, "nobody waits");
    connection.begin_poll(false, at(230));
    assert_eq!(connection.handle_timeout(at(230)), Some(Due::Noop), "one that comes late does not wait");
}

#[test]
fn an_upgrade_needs_no_probe() {
    let (mut connection, at) = eio4(TransportKind::Polling);
    assert_eq!(connection.handle_probe(&Packet::Upgrade, at(0)), Probed::Close, "there is no upgrade");
    connection.attach(at(0));
    assert_eq!(connection.handle_probe(&Packet::Upgrade, at(0)), Probed::Upgraded);
    assert_eq!(connection.transport(), TransportKind::WebSocket);
}

/// The server reads nothing while the process stands still. Packets that wait are read before the session is over.
#[test]
fn a_session_that_is_found_to_be_over_late_is_excused_once() {
    for (generation, transport) in
        [(Generation::Eio3, TransportKind::WebSocket), (Generation::Eio3, TransportKind::Polling)]
    {
        let (mut connection, at) = begin(generation, transport);
        alarms(&mut connection, &at);
        assert!(connection.is_over(at(500)) && connection.is_over(at(625)), "that is not late");
        assert!(!connection.is_over(at(626)) && !connection.is_over(at(60_000)), "a request that waited is heard");
        assert_eq!(connection.handle_timeout(at(60_000)), None);
        assert!(alarms(&mut connection, &at).contains(&60_100));
        assert_eq!(connection.handle_timeout(at(60_099)), None);
        assert_eq!(connection.handle_timeout(at(60_100)), Some(Due::Expired), "it was silent");
        assert!(connection.is_over(at(90_000)), "once");

        let (mut connection, at) = begin(generation, transport);
        assert_eq!(connection.handle_timeout(at(60_000)), None);
        connection.handle_packet(Packet::Ping(""), at(60_050)).unwrap();
        connection.begin_poll(false, at(60_050));
        assert_eq!(connection.handle_timeout(at(60_549)), None, "it lives");
        assert_eq!(connection.handle_timeout(at(120_000)), None, "and through the next pause too");
        assert_eq!(connection.handle_timeout(at(120_100)), Some(Due::Expired));
    }
}

#[test]
fn a_session_of_0_9_is_excused_too() {
    for transport in [TransportKind::Polling, TransportKind::WebSocket] {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        if transport == TransportKind::WebSocket {
            connection.attach(at(0));
            assert_eq!(connection.handle_timeout(at(250)), Some(Due::Ping));
        }
        alarms(&mut connection, &at);
        assert_eq!(connection.handle_timeout(at(60_000)), None);
        assert_eq!(alarms(&mut connection, &at), [60_300], "half of the time for an answer");
        assert_eq!(connection.handle_timeout(at(60_299)), None);
        assert_eq!(connection.handle_timeout(at(60_300)), Some(Due::Expired));
    }
}

#[test]
fn an_excuse_takes_no_time_for_the_next_poll_away() {
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::Polling);
    connection.begin_poll(false, at(0));
    connection.end_poll(at(450));
    assert_eq!(connection.handle_timeout(at(700)), None, "nobody was heard of until 500");
    connection.handle_packet(Packet::Ping(""), at(790)).unwrap();
    assert_eq!(connection.heart.silent_until(), Some(at(450 + 500)), "the client has to poll by then");
}

#[test]
fn a_client_that_is_heard_of_and_never_polls_is_not_there() {
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::Polling);
    connection.begin_poll(false, at(0));
    connection.end_poll(at(250));
    let mut seen = Vec::new();
    for ms in (250..2000).step_by(10) {
        connection.handle_packet(Packet::Ping(""), at(ms)).unwrap();
        seen.extend(connection.handle_timeout(at(ms)).map(|due| (ms, due)));
        if !seen.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [(750, Due::Expired)]);
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::Polling);
    connection.begin_poll(false, at(0));
    for ms in (250..2000).step_by(10) {
        connection.handle_packet(Packet::Ping(""), at(ms)).unwrap();
        assert_eq!(connection.handle_timeout(at(ms)), None, "one that waits is there");
    }
}

/// The client kept the packet from its last session, which the server has ended.
#[test]
fn an_end_that_is_the_first_packet_of_0_9_is_passed_over() {
    for transport in [TransportKind::Polling, TransportKind::WebSocket] {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        if transport == TransportKind::WebSocket {
            connection.attach(at(0));
        } else {
            connection.begin_poll(false, at(0));
        }
        assert_eq!(connection.handle_packet(Packet::Close, at(1)), Ok(Received::Nothing));
        assert_eq!(connection.handle_packet(Packet::Text("1::/max"), at(1)), Ok(Received::Text("1::/max")));
        assert_eq!(connection.handle_packet(Packet::Close, at(2)), Ok(Received::Close));
    }
    for generation in [Generation::Eio4, Generation::Eio3] {
        let (mut connection, at) = begin(generation, TransportKind::WebSocket);
        assert_eq!(connection.handle_packet(Packet::Close, at(1)), Ok(Received::Close));
    }
    // A client that was not greeted has no older session.
    {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        assert_eq!(connection.handle_packet(Packet::Close, at(1)), Ok(Received::Close));
    }
}

#[test]
fn a_deadline_that_was_put_off_is_announced_so_often_and_no_less() {
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
    alarms(&mut connection, &at);
    connection.handle_packet(Packet::Ping(""), at(62)).unwrap();
    assert_eq!(alarms(&mut connection, &at), Vec::<u128>::new(), "the alarm for 500 is soon enough for 562");
    connection.handle_packet(Packet::Ping(""), at(63)).unwrap();
    assert_eq!(alarms(&mut connection, &at), [563], "and not for 563");
}

#[test]
fn an_alarm_that_came_before_its_deadline_is_renewed() {
    let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
    connection.handle_packet(Packet::Ping(""), at(62)).unwrap();
    alarms(&mut connection, &at);
    assert_eq!(connection.handle_timeout(at(500)), None);
    assert_eq!(alarms(&mut connection, &at), [562], "a packet has moved it");

    let (mut connection, at) = begin(Generation::Eio3, TransportKind::Polling);
    assert_eq!(alarms(&mut connection, &at), [500], "the packet and the poll share their first alarm");
    connection.begin_poll(false, at(0));
    connection.end_poll(at(62));
    assert_eq!(alarms(&mut connection, &at), Vec::<u128>::new());
    connection.handle_packet(Packet::Ping(""), at(100)).unwrap();
    assert_eq!(alarms(&mut connection, &at), [600]);
    assert_eq!(connection.handle_timeout(at(500)), None);
    assert_eq!(alarms(&mut connection, &at), [562], "a poll has moved it");

    let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
    connection.begin_poll(false, at(0));
    connection.begin_poll(false, at(1));
    connection.end_poll(at(50));
    alarms(&mut connection, &at);
    assert_eq!(connection.handle_timeout(at(640)), None);
    assert_eq!(alarms(&mut connection, &at), [720], "a poll of 0.9 has moved it");
}
