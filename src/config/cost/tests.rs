//! Tables of parts and warnings, and the property that no larger limit costs less.

use super::*;
use crate::config::RedisUrl;
use proptest::prelude::*;

/// A machine with room for a small server.
const MACHINE: Machine = Machine {
    cores: 2,
    memory_bytes: 8 << 30,
    group_bytes: None,
    files: Some(100_000),
    receive_buffer_bytes: 6 << 20,
    send_buffer_bytes: 4 << 20,
    tcp_bytes: Some(1 << 30),
};

const SIZE: Size = Size { sessions: 1000, conversations: 100 };

fn find<'a>(parts: &'a [Part], what: &str) -> &'a Part {
    parts.iter().find(|part| part.what.starts_with(what)).unwrap_or_else(|| panic!("no {what}"))
}

/// Returns the cost of a configuration that differs from the defaults.
fn cost(size: Size, machine: &Machine, change: impl FnOnce(&mut Config)) -> Cost {
    let mut config = Config::default();
    change(&mut config);
    Cost::of(&config, size, machine)
}

/// The beginning of a part, a change of the configuration, and the cost of one and their number after it.
type PartCase<'a> = (&'a str, fn(&mut Config), u64, u64);

#[test]
fn parts_follow_their_settings() {
    let text = 256 + TEXT_BYTES;
    let identity = 3 * TEXT_BYTES + 256 + 2 * 8192;
    let default: fn(&mut Config) = |_| {};
    let table: &[PartCase<'_>] = &[
        ("outbox.bytes_max", default, 1 << 20, 1000),
        ("outbox.bytes_max", |config| config.outbox.bytes_max = 70_000, 70_000, 1000),
        ("outbox.messages_max", default, 4096 * FRAME_BYTES, 1000),
        ("outbox.policy", default, FOLD_BYTES + 2 * text, 100_000),
        ("outbox.policy", |config| config.outbox.policy = OutboxPolicy::Close, FOLD_BYTES + 2 * text, 0),
        ("protocol.payload_bytes_max", default, 4_000_000, 1000),
        ("session.pending_max", |config| config.session.pending_max = 2, 2 * (EVENT_BYTES + identity), 1000),
        // Ids longer than tokens.
        (
            "session.pending_max",
            |config| (config.session.pending_max, config.limits.id_bytes_max) = (1, 60_000),
            EVENT_BYTES + 3 * (60_000 + TEXT_BYTES),
            1000,
        ),
        ("mailbox.session", default, 16 * MAIL_BYTES, 1000),
        // 100 conversations for each session at most, and 10 at rest.
        ("max.conversations_max", default, MEMBERSHIP_BYTES, 90_000),
        ("max.conversations_max", |config| config.max.conversations_max = 3, MEMBERSHIP_BYTES, 0),
        // Not more than the sessions can send: 64 talks, 64 asks, and an entry into each conversation.
        (
            "mailbox.conversation",
            |config| config.mailbox.conversation = 10_000,
            MAIL_BYTES + 3 * text,
            1000 * (64 + 64 + 100),
        ),
        ("mailbox.conversation", default, MAIL_BYTES + 3 * text, 100 * 2048),
        ("mailbox.registry", default, JOIN_BYTES + identity + 100 * text, 1000),
        ("mailbox.registry", |config| config.mailbox.registry = 7, JOIN_BYTES + identity + 100 * text, 7),
        ("max.body_bytes_max", default, 8 << 20, 8),
        ("server.head_bytes_max", default, 32_768, 100_000),
        ("server.head_bytes_max", |config| config.limits.connections_max = 9, 32_768, 9),
        ("log.lines_max", default, LINE_BYTES, 8192),
        ("Idempotency-Key (admin.listen)", default, 64 << 20, 1),
        ("Idempotency-Key (admin.listen)", |config| config.admin.listen = None, 64 << 20, 0),
        // The list of the people in a conversation, and that of the conversations.
        ("longest answer", default, 3 * 1000 * 256, 1000),
        ("longest answer", |config| config.conversation.presence_members_max = 0, 3 * 1000 * 256, 1000),
        ("longest answer", |config| config.conversation.presence_members_max = 1, 3 * 100 * 256, 1000),
        ("server.send_buffer_bytes", default, 131_072, 1000),
        ("server.send_buffer_bytes", |config| config.server.send_buffer_bytes = 0, 4 << 20, 1000),
        ("receive buffer", default, 6 << 20, 1000),
    ];
    for (what, change, each, times) in table {
        let cost = cost(SIZE, &MACHINE, change);
        let parts = [cost.full, cost.kernel_full].concat();
        let part = find(&parts, what);
        assert_eq!((part.each, part.times), (*each, *times), "{what}");
    }
}

#[test]
fn a_server_at_rest() {
    let cost = cost(SIZE, &MACHINE, |_| {});
    let own = PROCESS_BYTES
        + 2 * WORKER_BYTES
        + 1000 * (SESSION_BYTES + RECOVERY_BYTES + 10 * MEMBERSHIP_BYTES)
        + 100 * CONVERSATION_BYTES;
    assert_eq!((sum(&cost.rest), cost.rest_bytes()), (own, own + 1000 * CONNECTION_BYTES));
    let off = self::cost(SIZE, &MACHINE, |config| config.recovery.window_ms = 0);
    assert_eq!(sum(&off.rest), own - 1000 * RECOVERY_BYTES);
    let node = self::cost(SIZE, &MACHINE, |config| {
        config.cluster.url = vec![RedisUrl::parse("redis://a").unwrap(), RedisUrl::parse("redis://b").unwrap()];
    });
    assert_eq!(sum(&node.rest), own + 100 * ATTACHED_BYTES);
    let queues = find(&node.full, "cluster.queue_bytes_max");
    assert_eq!((queues.each, queues.times), (2 << 23, 2));
    assert!(
        ["recovery.events_max", "recovery.bytes_max", "recovery.sessions_max"]
            .iter()
            .all(|what| find(&off.full, what).times == 0)
    );
    // Few conversations.
    let few = Size { conversations: 3, ..SIZE };
    let memberships = |cost: &Cost| find(&cost.rest, "membership").times;
    assert_eq!(memberships(&self::cost(few, &MACHINE, |_| {})), 3000);
    assert_eq!(memberships(&self::cost(SIZE, &MACHINE, |config| config.max.conversations_max = 2)), 2000);
    let workers = self::cost(SIZE, &MACHINE, |config| config.server.workers = 7);
    assert_eq!(find(&workers.rest, "worker").times, 7);
}

#[test]
fn the_size_is_that_of_the_settings_unless_another_is_asked_for() {
    let mut config = Config::default();
    let of = |config: &Config, sessions, conversations| {
        let Size { sessions, conversations } = Size::of(config, &MACHINE, sessions, conversations);
        (sessions, conversations)
    };
    assert_eq!(of(&config, None, None), (200_000, 200_000));
    assert_eq!(of(&config, Some(7), None), (7, 7));
    assert_eq!(of(&config, None, Some(7)), (200_000, 7));
    config.limits.sessions_max = 0;
    let reserved = files_reserved(&config, 2);
    assert_eq!(reserved, 16 + 4 * 7 + 32 + 8);
    assert_eq!(of(&config, None, None).0, 100_000 - reserved);
    config.limits.connections_max = 500;
    assert_eq!(of(&config, None, None).0, 500);
}

#[test]
fn the_buffers_of_the_kernel_have_a_bound_together() {
    let cost = cost(SIZE, &MACHINE, |_| {});
    assert_eq!(cost.kernel_full_bytes(), 1000 * CONNECTION_BYTES + (1 << 30));
    let few = self::cost(Size { sessions: 2, conversations: 1 }, &MACHINE, |_| {});
    assert_eq!(few.kernel_full_bytes(), 2 * (CONNECTION_BYTES + 131_072 + (6 << 20)));
    let unbound = Machine { tcp_bytes: None, ..MACHINE };
    assert_eq!(self::cost(SIZE, &unbound, |_| {}).kernel_full_bytes(), 1000 * (CONNECTION_BYTES + 131_072 + (6 << 20)));
}

/// Machine, size, change of the configuration, and the beginnings of the warnings.
type Case<'a> = (Machine, u64, fn(&mut Config), &'a [&'a str]);

#[test]
fn warnings_say_what_does_not_suffice() {
    let small = Machine { group_bytes: Some(256 << 20), tcp_bytes: Some(10 << 20), ..MACHINE };
    let huge = Machine { memory_bytes: 1 << 50, ..MACHINE };
    let table: &[Case<'_>] = &[
        (huge, 1000, |_| {}, &[]),
        (huge, 200_000, |_| {}, &["200,000 sessions need 200,084 open files, but the limit is 100,000: 99,916 fit"]),
        (
            huge,
            1000,
            |config| config.limits.connections_max = 900,
            &["limits.connections_max is 900: of 1,000 sessions"],
        ),
        (MACHINE, 1000, |_| {}, &["if every bound is full, the server needs 13.0 GiB, but the machine has 8.00 GiB"]),
        (MACHINE, 1000, |config| config.limits.memory_bytes_max = 4 << 30, &[]),
        (
            MACHINE,
            1000,
            |config| config.limits.memory_bytes_max = 8 << 30,
            &["limits.memory_bytes_max (8.00 GiB) does not count the memory of the kernel, up to 1.00 GiB, and the \
               machine has 8.00 GiB: set limits.memory_bytes_max to at most 7511072768 (7.00 GiB)"],
        ),
        // The limit of the control group is that of the process too.
        (
            small,
            1000,
            |_| {},
            &["limits.memory_bytes_max (256 MiB) does not count the memory of the kernel, up to 14.9 MiB"],
        ),
        (small, 1000, |config| config.limits.memory_bytes_max = 200 << 20, &[]),
        (
            Machine { tcp_bytes: Some(1 << 30), ..small },
            1000,
            |_| {},
            &["limits.memory_bytes_max (256 MiB) does not count the memory of the kernel, up to 1.00 GiB, and the \
               control group has 256 MiB: lower limits.sessions_max, "],
        ),
        (
            small,
            50_000,
            |_| {},
            &[
                "50,000 sessions need 514 MiB at rest, but the control group has 256 MiB: 24,343 fit",
                "from 85 % of limits.memory_bytes_max (256 MiB) on, no session is opened: 39,841 fit",
                "limits.memory_bytes_max (256 MiB) does not count the memory of the kernel",
            ],
        ),
        (
            MACHINE,
            u64::MAX,
            |_| {},
            &[
                "1.8e19 sessions need over 16 EiB at rest",
                "1.8e19 sessions need 1.8e19 open files",
                "if every bound is full, the server needs over 16 EiB",
                "the sum is over 16 EiB, more than can be counted",
            ],
        ),
    ];
    for (machine, sessions, change, expected) in table {
        let size = Size { sessions: *sessions, conversations: 100 };
        let cost = cost(size, machine, change);
        let warnings = cost.warnings();
        assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
        for (warning, expected) in warnings.iter().zip(*expected) {
            assert!(warning.starts_with(expected), "{warning}, but not {expected}");
        }
        let report = cost.report();
        assert_eq!(report.matches("warning: ").count(), expected.len(), "{report}");
        assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
        assert_eq!(cost.line().0, !cost.shortages().is_empty());
    }
}

#[test]
fn the_line_for_the_log() {
    let line = |sessions: u64, machine: &Machine, change: fn(&mut Config)| {
        cost(Size { sessions, conversations: 100 }, machine, change).line()
    };
    let small = Machine { group_bytes: Some(256 << 20), ..MACHINE };
    let lean = Machine { memory_bytes: 256 << 20, ..MACHINE };
    let default: fn(&mut Config) = |_| {};
    for (sessions, machine, change, is_warning, expected) in [
        (
            1000,
            &MACHINE,
            default,
            false,
            "1,000 sessions (limits.sessions_max) fit: they take 21.0 MiB at rest, and the machine has 8.00 GiB",
        ),
        (
            200_000,
            &MACHINE,
            default,
            true,
            "99,916 of 200,000 sessions (limits.sessions_max) fit, because the limit on open files is 100,000 \
             (ulimit -n, or LimitNOFILE of systemd); further clients are refused",
        ),
        (
            1000,
            &MACHINE,
            |config| config.limits.connections_max = 900,
            true,
            "900 of 1,000 sessions (limits.sessions_max) fit, because limits.connections_max is 900; further clients \
             are refused",
        ),
        (
            50_000,
            &lean,
            default,
            true,
            "24,343 of 50,000 sessions (limits.sessions_max) fit, because the machine has 256 MiB of memory; with \
             more, the system may end the process",
        ),
        (
            50_000,
            &MACHINE,
            |config| config.limits.memory_bytes_max = 100 << 20,
            true,
            "14,301 of 50,000 sessions (limits.sessions_max) fit, because no session is opened from 85 % of \
             limits.memory_bytes_max (100 MiB) on; further clients are refused",
        ),
        // The limit that is reached first is named.
        (
            50_000,
            &small,
            default,
            true,
            "24,343 of 50,000 sessions (limits.sessions_max) fit, because the control group has 256 MiB of memory; \
             with more, the system may end the process",
        ),
        (
            200_000,
            &small,
            |config| config.limits.connections_max = 9,
            true,
            "9 of 200,000 sessions (limits.sessions_max) fit, because limits.connections_max is 9; further clients \
             are refused",
        ),
    ] {
        assert_eq!(line(sessions, machine, change), (is_warning, expected.to_owned()));
    }
}

/// A limit that is part of the cost, with values from its lowest to its highest.
type Limit = (&'static str, fn(&mut Config, usize), usize, usize);

const LIMITS: &[Limit] = &[
    ("server.workers", |config, value| config.server.workers = value, 1, 1024),
    ("server.send_buffer_bytes", |config, value| config.server.send_buffer_bytes = value, 1, 1 << 29),
    ("server.head_bytes_max", |config, value| config.server.head_bytes_max = value, 1024, 1 << 20),
    ("protocol.payload_bytes_max", |config, value| config.protocol.payload_bytes_max = value, 1, 1 << 30),
    ("max.inflight_max", |config, value| config.max.inflight_max = value, 1, 65_536),
    ("max.waiting_max", |config, value| config.max.waiting_max = value, 1, 10_000_000),
    ("max.body_bytes_max", |config, value| config.max.body_bytes_max = value, 1, 1 << 30),
    ("max.conversations_max", |config, value| config.max.conversations_max = value, 1, 1_000_000),
    ("mailbox.registry", |config, value| config.mailbox.registry = value, 1, 10_000_000),
    ("mailbox.conversation", |config, value| config.mailbox.conversation = value, 1, 10_000_000),
    ("mailbox.session", |config, value| config.mailbox.session = value, 1, 1_000_000),
    ("session.pending_max", |config, value| config.session.pending_max = value, 1, 1_000_000),
    ("session.talks_max", |config, value| config.session.talks_max = value, 1, 1_000_000),
    ("outbox.messages_max", |config, value| config.outbox.messages_max = value, 1, 100_000_000),
    ("outbox.bytes_max", |config, value| config.outbox.bytes_max = value, 65_536, 1 << 30),
    ("presence_members_max", |config, value| config.conversation.presence_members_max = value, 1, 10_000_000),
    ("limits.id_bytes_max", |config, value| config.limits.id_bytes_max = value, 1, 65_536),
    ("limits.connections_max", |config, value| config.limits.connections_max = value, 1, 100_000_000),
    ("log.lines_max", |config, value| config.log.lines_max = value, 1, 1_000_000),
];

proptest! {
    /// A larger limit, or a larger server, never costs less.
    #[test]
    fn cost_grows_with_every_limit(
        positions in prop::collection::vec(0.0..1.0_f64, LIMITS.len()),
        which in 0..LIMITS.len() + 2,
        higher in 0.0..1.0_f64,
        sessions in prop_oneof![1..1000_u64, 1..u64::MAX],
        conversations in prop_oneof![1..100_u64, 1..u64::MAX],
    ) {
        let mut config = Config::default();
        // Small values are as likely as large ones.
        let value = |(_, _, low, high): &Limit, at: f64| (*low as f64 * (*high as f64 / *low as f64).powf(at)) as usize;
        for (limit, at) in LIMITS.iter().zip(&positions) {
            limit.1(&mut config, value(limit, *at));
        }
        let mut size = Size { sessions, conversations };
        let before = Cost::of(&config, size, &MACHINE);
        let raised = |from: u64| from + ((u64::MAX - from) as f64 * higher.powi(9)) as u64 / 2;
        match LIMITS.get(which) {
            Some(limit) => limit.1(&mut config, value(limit, positions[which] + (1.0 - positions[which]) * higher)),
            None if which == LIMITS.len() => size.sessions = raised(sessions),
            None => size.conversations = raised(conversations),
        }
        let after = Cost::of(&config, size, &MACHINE);
        let sums =
            |cost: &Cost| [cost.rest_bytes(), cost.process_full_bytes(), cost.kernel_full_bytes(), sum(&cost.files)];
        for (before, after) in sums(&before).into_iter().zip(sums(&after)) {
            prop_assert!(before <= after, "{} > {}", before, after);
        }
        prop_assert!(after.rest_bytes() <= after.full_bytes());
        for line in after.report().lines() {
            prop_assert!(line.chars().count() <= 80, "{}", line);
        }
    }
}

#[test]
fn every_limit_of_the_table_is_a_part_of_some_cost() {
    // A setting that bounds nothing which another does not bound already.
    let covered = ["max.waiting_max"];
    for (name, set, low, high) in LIMITS.iter().filter(|(name, ..)| !covered.contains(name)) {
        let cost = |value| {
            let cost = cost(Size { sessions: 1 << 24, conversations: 1 << 24 }, &MACHINE, |config| {
                config.mailbox.conversation = 10_000_000;
                set(config, value);
            });
            (cost.full_bytes(), sum(&cost.files))
        };
        let kernel = |value| self::cost(Size { sessions: 1, conversations: 1 }, &MACHINE, |config| set(config, value));
        let differs =
            cost(*low) != cost(*high) || kernel(*low).kernel_full_bytes() != kernel(*high).kernel_full_bytes();
        assert!(differs, "{name}");
    }
}
