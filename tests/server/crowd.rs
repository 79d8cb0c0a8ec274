//! Many clients at once: a burst into one conversation, clients that do not read, and the state after everybody has
//! gone.

use std::io;
use std::net::SocketAddr;

use crate::support;
use crate::support::client::{
    Client, Heard, Kind, join_of, joined, left, listening, ok, packet, people, talk_of, update,
};
use crate::support::fixture::Fixture;

use crate::support::http::Http;
use crate::support::socket::{End, FRESH, Socket, handshake, text};
use crate::support::{run, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

/// Members of the burst.
const CROWD: usize = 1000;

/// Members of the burst that poll.
const POLLING: usize = 10;

/// Settings of a server whose deadlines do not depend on how busy the machine is.
const PATIENT: &str = "
    max.timeout_ms = 600000
    max.wait_ms = 600000
    session.answer_ms = 600000
    protocol.ping_timeout_ms = 600000
    protocol.connect_timeout_ms = 600000
    protocol.upgrade_timeout_ms = 600000
    server.request_timeout_ms = 600000
";

/// A cheap client: a thousand of them run in one thread.
struct Light {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the bytes begin that are not parsed yet.
    at: usize,
}

impl Light {
    async fn open(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&[handshake(FRESH), text("40/max,")].concat()).await.unwrap();
        let mut light = Self { stream, buffer: Vec::new(), at: 0 };
        while !light.buffer.windows(4).any(|end| end == b"\r\n\r\n") {
            light.read().await.unwrap();
        }
        light.at = light.buffer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(light.message().await.unwrap()[0], b'0');
        assert!(light.message().await.unwrap().starts_with(b"40/max,{"));
        light
    }

    async fn read(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Returns the next message, and answers heartbeats.
    async fn message(&mut self) -> io::Result<&[u8]> {
        loop {
            let (head, len) = match self.buffer[self.at..] {
                [0x81, 126, high, low, ..] => (4, usize::from(high) << 8 | usize::from(low)),
                [0x81, len @ 0..=125, ..] => (2, usize::from(len)),
                [0x81, 127, ..] => panic!("a message of more than 64 KiB"),
                [first, _, ..] if first != 0x81 => return Err(io::Error::other(format!("a frame {first:#x}"))),
                _ => {
                    self.read().await?;
                    continue;
                }
            };
            let (begin, end) = (self.at + head, self.at + head + len);
            if end > self.buffer.len() {
                self.read().await?;
                continue;
            }
            self.at = end;
            if &self.buffer[begin..end] == b"2" {
                self.stream.write_all(&text("3")).await?;
                continue;
            }
            return Ok(&self.buffer[begin..end]);
        }
    }
}

/// The events that a member has heard.
#[derive(Default)]
struct Report {
    joined: usize,
    /// The numbers of the messages, in the order of arrival.
    updates: Vec<usize>,
}

impl Report {
    /// Counts an event. Returns true if it was `listening`.
    fn take(&mut self, message: &[u8]) -> bool {
        if let Some(rest) = message.strip_prefix(br#"42/max,["update","#) {
            // The number stands last: `"messageID":17}]`.
            let digits = rest.iter().rev().skip(2).take_while(|c| c.is_ascii_digit()).count();
            let number = &rest[rest.len() - 2 - digits..rest.len() - 2];
            self.updates.push(number.iter().fold(0, |n, digit| n * 10 + usize::from(digit - b'0')));
        } else if message.starts_with(br#"42/max,["joined","#) {
            self.joined += 1;
        } else {
            assert!(message.starts_with(br#"42/max,["listening","#), "{:?}", String::from_utf8_lossy(message));
            return true;
        }
        false
    }
}

/// A member of the burst: joins, reports that it listens, waits for the sign, talks once, and hears all other talks.
async fn member(
    mut light: Light,
    n: usize,
    listens: mpsc::UnboundedSender<()>,
    mut sign: watch::Receiver<bool>,
) -> (Box<dyn Send>, Report) {
    let mut report = Report::default();
    light.stream.write_all(&text(&packet("join", &join_of(&format!("u{n}")), None))).await.unwrap();
    let mut talked = false;
    while report.updates.len() < CROWD - 1 {
        tokio::select! {
            message = light.message() => {
                let message = message.unwrap_or_else(|error| panic!("u{n} was closed: {error}"));
                if report.take(message) {
                    listens.send(()).unwrap();
                }
            }
            _ = sign.changed(), if !talked => {
                let talk = format!(r#"{{"conversation":"crowd","messageID":{n}}}"#);
                light.stream.write_all(&text(&packet("talk", &talk, None))).await.unwrap();
                talked = true;
            }
        }
    }
    (Box::new(light), report)
}

/// The same by polling.
async fn polling_member(
    mut client: Client,
    n: usize,
    listens: mpsc::UnboundedSender<()>,
    mut sign: watch::Receiver<bool>,
) -> (Box<dyn Send>, Report) {
    let mut report = Report::default();
    client.emit("join", &join_of(&format!("u{n}"))).await;
    let mut talked = false;
    while report.updates.len() < CROWD - 1 {
        tokio::select! {
            heard = client.hear() => match heard {
                Heard::Event(name, argument) => {
                    if report.take(format!(r#"42/max,["{name}",{argument}]"#).as_bytes()) {
                        listens.send(()).unwrap();
                    }
                }
                other => panic!("u{n}: {other:?}"),
            },
            _ = sign.changed(), if !talked => {
                client.emit("talk", &format!(r#"{{"conversation":"crowd","messageID":{n}}}"#)).await;
                talked = true;
            }
        }
    }
    (Box::new(client), report)
}

#[test]
fn a_burst_of_joins_and_talks_reaches_everybody_in_one_order() {
    run(async {
        let server = Fixture::start(PATIENT);
        // A second session of one of them is there before all others, and hears everything.
        let mut observer = Client::join(&server, Kind::Polling, "u0", &["crowd"]).await;
        let (listens, mut listening) = mpsc::unbounded_channel();
        let (sign, signal) = watch::channel(false);
        let mut lights = Vec::new();
        for _ in POLLING..CROWD {
            lights.push(Light::open(server.addr).await);
        }
        let mut pollers = Vec::new();
        for _ in 0..POLLING {
            pollers.push(Client::connect(server.addr, Kind::Polling, "").await);
        }
        let mut members = Vec::new();
        for (n, client) in pollers.into_iter().enumerate() {
            members.push(tokio::spawn(polling_member(client, n, listens.clone(), signal.clone())));
        }
        for (n, light) in lights.into_iter().enumerate() {
            members.push(tokio::spawn(member(light, POLLING + n, listens.clone(), signal.clone())));
        }
        for _ in 0..CROWD {
            within("another one to listen", listening.recv()).await.unwrap();
        }
        sign.send(true).unwrap();
        let (mut connections, mut reports) = (Vec::new(), Vec::new());
        for member in members {
            let (connection, report) = member.await.unwrap();
            connections.push(connection);
            reports.push(report);
        }

        // Each join is announced once to every earlier member.
        let joined: usize = reports[1..].iter().map(|report| report.joined).sum();
        assert_eq!(joined, (CROWD - 1) * (CROWD - 2) / 2);
        let mut all = Report::default();
        while all.updates.len() < CROWD {
            let Heard::Event(name, argument) = observer.hear().await else { panic!("the observer was closed") };
            all.take(format!(r#"42/max,["{name}",{argument}]"#).as_bytes());
        }
        assert_eq!(all.joined, CROWD - 1);
        for (n, report) in reports.iter().enumerate() {
            let expected = all.updates.iter().filter(|said| **said != n);
            assert!(report.updates.iter().eq(expected), "u{n} heard another order");
        }
        let scrape = server.scrape().await;
        assert_eq!(scrape.sum("maxtalk_sessions_closed_total", ""), 0.0);
        assert_eq!(scrape.sum("maxtalk_slow_actions_total", ""), 0.0);
        assert_eq!(scrape.sum("maxtalk_talks_total", r#"result="ok""#), CROWD as f64);
    });
}

#[test]
fn a_burst_in_one_breath_misses_nothing_that_comes_behind_a_join() {
    run(async {
        const LAST: usize = 1_000_000;
        let server = Fixture::start(PATIENT);
        let mut observer = Client::join(&server, Kind::WebSocket, "u0", &["crowd"]).await;
        let mut lights = Vec::new();
        for _ in 1..CROWD {
            lights.push(Light::open(server.addr).await);
        }
        let (done, mut done_by) = mpsc::unbounded_channel();
        let members = lights.into_iter().enumerate().map(|(at, mut light)| {
            let (n, done) = (at + 1, done.clone());
            tokio::spawn(async move {
                let talk = format!(r#"{{"conversation":"crowd","messageID":{n}}}"#);
                let breath = [
                    packet("join", &join_of(&format!("u{n}")), None),
                    packet("talk", &talk, Some(1)),
                    packet("talk", &talk.replace('}', ",\"x\":1}"), None),
                ];
                light
                    .stream
                    .write_all(&breath.iter().flat_map(|packet| text(packet)).collect::<Vec<_>>())
                    .await
                    .unwrap();
                let mut report = Report::default();
                while report.updates.last() != Some(&LAST) {
                    let message = light.message().await.unwrap_or_else(|error| panic!("u{n} was closed: {error}"));
                    if message == br#"43/max,1[{"ok":true}]"# {
                        done.send(()).unwrap();
                    } else {
                        report.take(message);
                    }
                }
                report.updates
            })
        });
        let members: Vec<_> = members.collect();
        for _ in 1..CROWD {
            within("another one to be done", done_by.recv()).await.unwrap();
        }
        // The observer's second talk waits in the conversation's mailbox behind the first talk of each member.
        assert_eq!(observer.emit_ack("talk", &format!(r#"{{"conversation":"crowd","messageID":{LAST}}}"#)).await, 1001);
        let mut all = Report::default();
        while all.updates.len() < 2 * (CROWD - 1) {
            match observer.hear().await {
                Heard::Event(name, argument) => drop(all.take(format!(r#"42/max,["{name}",{argument}]"#).as_bytes())),
                other => assert_eq!(other, ok(1001)),
            }
        }
        all.updates.push(LAST);
        for (n, member) in (1..).zip(members) {
            let heard = member.await.unwrap();
            // It heard the list from some position to the end, and that position is not after its own first message.
            let own = all.updates.iter().position(|said| *said == n).unwrap();
            let others = |list: &[usize]| list.iter().copied().filter(|said| *said != n).collect::<Vec<_>>();
            assert!(others(&all.updates).ends_with(&heard), "u{n} heard another order");
            assert!(heard.len() >= others(&all.updates[own..]).len(), "u{n} missed what came behind its join");
        }
    });
}

/// Opens a WebSocket whose client has a small receive buffer, and joins as `user`.
async fn narrow(server: &Fixture, user: &str) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.addr).await.unwrap();
    let mut http = Http { stream: BufReader::with_capacity(256, stream) };
    http.write(&handshake(FRESH)).await.unwrap();
    let mut socket = Socket::answered(http).await.unwrap();
    socket.hear().await;
    socket.send("40/max,").await;
    socket.hear().await;
    socket.send(&packet("join", &join_of(user), None)).await;
    socket.hear().await;
    socket
}

/// Small outboxes and kernel buffers.
const NARROW: &str = "
    outbox.policy = \"close\"
    server.send_buffer_bytes = 4096
    outbox.bytes_max = 65536
    outbox.messages_max = 200
    mailbox.conversation = 64
    conversation.presence_members_max = 100
";

#[test]
fn a_reader_that_does_not_read_is_closed_and_its_neighbours_notice_nothing() {
    run(async {
        let server = Fixture::start(NARROW);
        for user in ["messi", "xavi", "slow", "silent"] {
            server.max.talks_in(user, &["c1"]);
        }
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
        let mut poller = Client::join(&server, Kind::Polling, "xavi", &["c1"]).await;
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut slow = narrow(&server, "slow").await;
        // The other client stops polling.
        let mut http = Http::connect(server.addr).await;
        let sid = support::client::sid_of(&http.get("/socket.io/?EIO=4&transport=polling").await.body);
        let target = support::client::target(&sid);
        http.post(&target, &format!("40/max,\x1e{}", packet("join", &join_of("silent"), None))).await;
        for client in [&mut xavi, &mut poller] {
            client.hears(&[joined("c1", "messi"), joined("c1", "slow"), joined("c1", "silent")]).await;
        }
        messi.hears(&[joined("c1", "slow"), joined("c1", "silent")]).await;

        let mut said = 0;
        let mut gone = Vec::new();
        while gone.len() < 2 {
            assert!(said < 20_000, "{gone:?} alone have gone");
            let message = format!("{said:0>250}");
            messi.emit("talk", &talk_of("c1", &message)).await;
            for client in [&mut xavi, &mut poller] {
                while let heard = client.hear().await
                    && heard != update("messi", "c1", &message)
                {
                    gone.push(heard);
                }
            }
            gone.dedup();
            said += 1;
        }
        let mut who = gone.clone();
        who.sort_by_key(|heard| format!("{heard:?}"));
        who.dedup();
        assert_eq!(who, [left("c1", "silent"), left("c1", "slow")], "{gone:?}");
        let scrape = server.scrape().await;
        assert_eq!(scrape.sum("maxtalk_slow_actions_total", "disconnected"), 2.0);
        assert_eq!(scrape.sum("maxtalk_sessions_closed_total", r#"reason="slow""#), 2.0);
        assert_eq!(scrape.sum("maxtalk_sessions", ""), 3.0);

        let end = slow.end().await;
        assert!(matches!(end, End::Frame(Some(1013)) | End::Reset), "{end:?}");
        assert_eq!(http.get(&target).await.status, 400);
    });
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_read_for_ever() {
    run(async {
        let settings = format!("{NARROW}\nprotocol.ping_interval_ms = 500\nprotocol.ping_timeout_ms = 2000");
        let server = Fixture::start(&settings);
        server.max.talks_in("xavi", &["c1"]);
        server.max.talks_in("flood", &["c1"]);
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
        let flood = narrow(&server, "flood").await;
        xavi.hears(&[joined("c1", "flood")]).await;
        let Socket { reader: _reader, mut writer } = flood;
        let flooding = tokio::spawn(async move {
            let asks = text(r#"42/max,1["ask"]"#).repeat(1000);
            while writer.write(&asks).await.is_ok() {}
        });
        xavi.hears(&[left("c1", "flood")]).await;
        within("the end of the flood", flooding).await.unwrap();
        xavi.call("ask", "", &[people("c1", &["xavi"])], ok).await;
        xavi.hears_nothing().await;
        let scrape = server.scrape().await;
        assert_eq!(scrape.sum("maxtalk_sessions_closed_total", ""), 1.0);
    });
}

/// Of two members, one talks as much as it can at once. All of it arrives in order, and no talk of the other is
/// refused.
#[test]
fn a_member_that_talks_much_takes_no_place_from_others() {
    run(async {
        let server = Fixture::start(
            "server.workers = 1\nmailbox.conversation = 64\nsession.talks_max = 8\n\
             session.events_per_second_max = 0\nsession.bytes_per_second_max = 0",
        );
        for user in ["messi", "xavi", "iniesta"] {
            server.max.talks_in(user, &["c1"]);
        }
        let mut iniesta = Client::join(&server, Kind::WebSocket, "iniesta", &["c1"]).await;
        let mut flood = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut xavi = Client::join(&server, Kind::Polling, "xavi", &["c1"]).await;
        flood.hears(&[joined("c1", "xavi")]).await;
        let talks: Vec<_> = (0..3000).map(|n| packet("talk", &talk_of("c1", &n.to_string()), Some(n))).collect();
        flood.send_all(&talks.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for n in 0..60 {
            let ack = xavi.emit_ack("talk", &talk_of("c1", &format!("x{n}"))).await;
            xavi.hears_at_last(&ok(ack)).await;
        }
        for n in 0..3000 {
            flood.hears_at_last(&ok(n)).await;
        }
        iniesta.hears(&[joined("c1", "messi"), joined("c1", "xavi")]).await;
        let mut said = 0;
        for _ in 0..3060 {
            let heard = iniesta.hear().await;
            if heard == update("messi", "c1", &said.to_string()) {
                said += 1;
            } else {
                assert!(
                    matches!(&heard, Heard::Event(name, text) if name == "update" && text.contains("xavi")),
                    "{heard:?}"
                );
            }
        }
        assert_eq!(said, 3000);
        let scrape = server.scrape().await;
        assert_eq!(scrape.sum("maxtalk_refusals_total", ""), 0.0);
    });
}

#[test]
fn nothing_is_left_when_everybody_has_gone() {
    run(async {
        // A polling client that goes away between two polls is noticed only by its heartbeat.
        let server = Fixture::start(
            "conversation.linger_ms = 100\nserver.workers = 3\n\
             protocol.ping_interval_ms = 500\nprotocol.ping_timeout_ms = 1500",
        );
        for round in 0..3 {
            let mut clients = Vec::new();
            for n in 0..60 {
                let user = format!("user{n}");
                let own = format!("own {n}");
                server.max.talks_in(&user, &["all", &own]);
                let kind = [Kind::WebSocket, Kind::Polling, Kind::Upgraded][n % 3];
                let mut client = Client::connect(server.addr, kind, "").await;
                client.emit("join", &join_of(&user)).await;
                client.emit("talk", &talk_of("all", "m")).await;
                match n % 5 {
                    0 => client.emit("leave", "").await,
                    1 => client.send("41/max,").await,
                    2 => client.emit("join", &join_of(&user)).await,
                    3 => client.emit("ask", "").await,
                    _ => {}
                }
                clients.push((n, client));
            }
            // Some clients go away abruptly while they are busy, others after all answers.
            clients.retain(|(_, client)| !client.sid.as_bytes()[0].is_multiple_of(2));
            for (n, client) in &mut clients {
                // A client that has disconnected may not `ask`.
                if round > 0 && *n % 5 != 1 {
                    client.so_far().await;
                }
            }
            drop(clients);
            server.until("nothing to be left", |now| now.rest().is_empty()).await;
            let scrape = server.scrape().await;
            let opened = scrape.sum("maxtalk_sessions_opened_total", "");
            assert_eq!(opened, scrape.sum("maxtalk_sessions_closed_total", ""));
            assert_eq!(
                scrape.sum("maxtalk_actors_started_total", r#"actor="conversation""#),
                scrape.sum("maxtalk_actors_stopped_total", r#"actor="conversation""#)
            );
        }
    });
}

#[test]
fn a_conversation_outlives_its_last_member_and_then_goes() {
    run(async {
        let server = Fixture::start("conversation.linger_ms = 2000");
        server.max.talks_in("messi", &["c1"]);
        for _ in 0..3 {
            // It comes back within the lingering time.
            drop(Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await);
        }
        let scrape = server.scrape().await;
        assert_eq!(scrape.sum("maxtalk_actors_started_total", r#"actor="conversation""#), 1.0);
        server.until("the end of the conversation", |now| now.sum("maxtalk_conversations", "") == 0.0).await;
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        messi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
        assert_eq!(server.scrape().await.sum("maxtalk_conversations", ""), 1.0);
    });
}

#[test]
fn a_join_that_races_the_end_of_a_conversation_is_not_lost() {
    run(async {
        let server = Fixture::start("conversation.linger_ms = 0\nserver.workers = 4");
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut messi = Client::connect(server.addr, Kind::WebSocket, "").await;
        let mut xavi = Client::connect(server.addr, Kind::WebSocket, "").await;
        for n in 0..300 {
            // One leaves while the other joins. Whether the conversation ends in between or not, the one that joins is
            // in it.
            messi.emit("join", &join_of("messi")).await;
            messi.hears_at_last(&listening(&["c1"])).await;
            messi.emit("leave", "").await;
            xavi.emit("join", &join_of("xavi")).await;
            messi.emit("join", &join_of("messi")).await;
            messi.hears_at_last(&listening(&["c1"])).await;
            xavi.hears_at_last(&listening(&["c1"])).await;
            messi.emit("talk", &talk_of("c1", &n.to_string())).await;
            xavi.hears_at_last(&update("messi", "c1", &n.to_string())).await;
            xavi.emit("leave", "").await;
            messi.emit("leave", "").await;
        }
    });
}
