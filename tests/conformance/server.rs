//! The server for the official test suites of Engine.IO and Socket.IO (protocol section 6): this library's protocol
//! layer, session actor and HTTP edge, with an echo instead of conversations.
//!
//! `cargo run --release --example conformance -- engine` serves `/engine.io/` for the suite of `engine.io-protocol`,
//! `cargo run --release --example conformance -- socket` serves `/socket.io/` for that of `socket.io-protocol`. The
//! port is 3000, or the one given as a further argument. The suites are run from their own repositories.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use maxtalk::testing::actors::{
    Application, Arbiters, Emitter, Namespace, Namespaces, RatesMax, SocketIoSession, SocketIoSettings,
};
use maxtalk::testing::board::SessionBoard;
use maxtalk::testing::config::Config;
use maxtalk::testing::delivery::{self, Outbox};
use maxtalk::testing::event::CloseReason;
use maxtalk::testing::http::{Endpoint, NewApplication, Sessions, SidTags};
use maxtalk::testing::limits::{Bounds, Clients, Memory, Rate, TrustedProxies};
use maxtalk::testing::metrics::{Metrics, ReadAtScrape};
use maxtalk::testing::protocol::{Arguments, Frame, Generation, LegacyPeriods, Periods};
use maxtalk::testing::server::ClientWorkers;
use maxtalk::testing::{Ids, SidTag};
use serde_json::value::RawValue;

/// Sends every message back, over Engine.IO alone.
struct EngineEcho(Arc<Outbox>);

impl Application for EngineEcho {
    fn text(&mut self, text: &str, _: Instant) -> Result<(), CloseReason> {
        self.0.push(Frame::text(&format!("4{text}")));
        Ok(())
    }

    fn binary(&mut self, data: &[u8], _: Instant) -> Result<(), CloseReason> {
        self.0.push(self.0.binary(data));
        Ok(())
    }
}

/// The application of the Socket.IO suite, the same in both of its namespaces.
struct EchoNamespaces([Arc<str>; 2]);

impl Namespaces for EchoNamespaces {
    fn names(&self) -> &[Arc<str>] {
        &self.0
    }

    fn connect(&self, _: usize, emitter: Emitter, auth: Option<&RawValue>) -> Box<dyn Namespace> {
        emitter.emit("auth", auth.map_or("{}", RawValue::get));
        Box::new(Echo { emitter, next_ack: 1 })
    }
}

struct Echo {
    emitter: Emitter,
    next_ack: u64,
}

impl Namespace for Echo {
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, _: Instant) {
        let values: Vec<&str> = event.values.iter().map(|value| value.get()).collect();
        match (event.name.as_deref(), ack) {
            (Some("message"), _) => drop(self.emitter.emit_with("message-back", &values, event.attachments, None)),
            (Some("message-with-ack"), Some(ack)) => drop(self.emitter.ack_with(ack, &values, event.attachments)),
            (Some("emit-with-ack"), _) => {
                self.emitter.emit_with("emit-with-ack", &values, event.attachments, Some(self.next_ack));
                self.next_ack += 1;
            }
            _ => {}
        }
    }

    fn answer(&mut self, _: u64, answer: Arguments<'_>) {
        let values: Vec<&str> = answer.values.iter().map(|value| value.get()).collect();
        self.emitter.emit_with("emit-with-ack", &values, answer.attachments, None);
    }
}

fn main() {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let suite = arguments.next().unwrap_or_default();
    let port: u16 = arguments.next().map_or(3000, |port| port.parse().expect("a port number"));
    let payload_bytes_max = 1_000_000;
    let ids = Ids::from_system().unwrap();
    let (path, new_application): (_, Box<NewApplication>) = match suite.as_str() {
        "engine" => ("/engine.io/", Box::new(|_, _, outbox, _| Box::new(EngineEcho(outbox.clone())))),
        "socket" => {
            let settings = Arc::new(SocketIoSettings {
                namespaces: Arc::new(EchoNamespaces(["/".into(), "/custom".into()])),
                ids: ids.clone(),
                rates: RatesMax { events: Rate::UNLIMITED, bytes: Rate::UNLIMITED },
                payload_bytes_max,
                connect_timeout: Duration::from_secs(1),
                recovery: None,
                metrics: Metrics::new(&[], ReadAtScrape::default()),
            });
            let new_application = move |session, peer, outbox: &Arc<Outbox>, slot| {
                let session = SocketIoSession::new(settings.clone(), session, peer, outbox.clone(), slot);
                Box::new(session) as Box<dyn Application>
            };
            ("/socket.io/", Box::new(new_application))
        }
        _ => {
            eprintln!("usage: conformance engine|socket [PORT]");
            std::process::exit(2);
        }
    };
    let endpoint = Endpoint {
        tags: SidTags::new(SidTag::draw(&ids), Box::new(|_| false)),
        ids,
        path: path.to_owned(),
        generations: Generation::ALL.to_vec(),
        jsonp: true,
        periods: Arc::new(Periods {
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            legacy: LegacyPeriods {
                heartbeat_interval: Duration::from_secs(25),
                heartbeat_timeout: Duration::from_secs(60),
                polling_duration: Duration::from_secs(20),
                close_timeout: Duration::from_secs(60),
                handshake_timeout: Duration::from_secs(30),
            },
        }),
        clients: Clients::new(Bounds::connections_only(10_000), Memory::UNLIMITED),
        trusted_proxies: TrustedProxies::default(),
        payload_bytes_max,
        outbox: Arc::new(delivery::OutboxLimits::new(&Config::default().outbox)),
        send_buffer_bytes: 0,
        new_application,
        sessions: Arc::new(Sessions::default()),
        board: SessionBoard::new(Instant::now()),
        metrics: Metrics::new(&[], ReadAtScrape::default()),
        stage: Arc::default(),
        next_session: AtomicU64::new(1),
    };
    actix_rt::System::new().block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        println!("serving http://{}{path}", listener.local_addr().expect("it is bound"));
        let workers = ClientWorkers { endpoint: Arc::new(endpoint), arbiters: Arbiters::default(), demo: None };
        let _listener = workers.start(listener, &Config::default()).expect("the workers start");
        let _ = tokio::signal::ctrl_c().await;
    });
}
