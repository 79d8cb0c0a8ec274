//! A server for each test, on ports that the system chooses, with a MAX that follows rules.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use maxtalk::testing::config::{Config, File, Sources};
use maxtalk::testing::raise_file_limit;
use maxtalk::testing::server::Server;
use maxtalk::testing::stage::Drain;

use super::DEADLINE;
use super::http::Http;
use super::max_by_rule::{MaxByRule, SERVICE};

/// The settings of every test server, unless the test overrides them. Recovery is off, because many tests hold the
/// server to its bytes, and to a `left` as soon as a connection is lost.
const SETTINGS: &str = r#"
    recovery.window_ms = 0
    server.listen = "127.0.0.1:0"
    server.workers = 2
    server.stop_ms = 1000
    admin.listen = "127.0.0.1:0"
"#;

/// Settings with which a server soon closes a 0.9 session that does not poll. A session outlives a broken connection,
/// because it may poll again by another one.
pub const IMPATIENT: &str = "
    legacy.close_timeout_ms = 1000
    legacy.heartbeat_interval_ms = 500
    legacy.polling_duration_ms = 500
";

/// The interval between two scrapes.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A running server, which stops when dropped. A panic of one of its actors fails the test.
pub struct Fixture {
    pub addr: SocketAddr,
    pub admin_addr: SocketAddr,
    pub max: MaxByRule,
    /// The handle of its drain.
    pub drain: Drain,
    thread: Option<JoinHandle<()>>,
}

/// One scrape: the values of all rows, by name and labels.
pub struct Scrape(BTreeMap<String, f64>);

impl Fixture {
    /// Starts a server with these settings, lines of `section.key = value`.
    pub fn start(settings: &str) -> Self {
        // The clients are in this process too.
        raise_file_limit(0).unwrap();
        let max = MaxByRule::start();
        let url = format!("max.url = {:?}", max.url());
        let mut lines = BTreeMap::new();
        for line in SETTINGS.lines().chain([url.as_str()]).chain(settings.lines()) {
            if let Some((key, value)) = line.split_once('=') {
                lines.insert(key.trim(), value.trim());
            }
        }
        let text = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let file = Some(File { path: "of the test".to_owned(), text });
        let config = Config::load(Sources { file, ..Sources::default() }).unwrap_or_else(|error| panic!("{error}"));
        let drain = Drain::new(Duration::from_millis(config.server.drain_ms));
        let (started, address) = mpsc::channel();
        let handle = drain.clone();
        let thread = thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let server = Server::start(config, handle).unwrap();
                started.send((server.addr(), server.admin_addr().unwrap())).unwrap();
                server.serve().await.unwrap();
            });
        });
        let (addr, admin_addr) = address.recv().expect("the server starts");
        Self { addr, admin_addr, max, drain, thread: Some(thread) }
    }

    /// Starts a server with a service account, for joins without a token.
    pub fn start_tokenless(settings: &str) -> Self {
        Self::start(&format!(
            "max.tokenless_joins = true\nmax.service_username = {SERVICE:?}\nmax.service_token = \"t-{SERVICE}\"\n\
             {settings}"
        ))
    }

    /// Stops the server as a signal would.
    pub fn stop(&self) {
        self.drain.begin("the test");
    }

    pub async fn scrape(&self) -> Scrape {
        let response = Http::connect(self.admin_addr).await.get("/metrics").await;
        assert_eq!(response.status, 200);
        Scrape::read(&response.body)
    }

    /// Waits until a scrape satisfies `is_so`.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Scrape) -> bool) {
        let begun = Instant::now();
        loop {
            let now = self.scrape().await;
            if is_so(&now) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{what}: {:?}", now.0);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if !thread::panicking() && self.drain.begun().is_none() {
            let mut stream = TcpStream::connect(self.admin_addr).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            let panics = Scrape::read(&text).sum("maxtalk_actors_stopped_total", "panic");
            assert_eq!(panics, 0.0, "actors of the server panicked");
        }
        self.stop();
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || !matches!(joined, Some(Err(_))), "the server panicked");
    }
}

impl Scrape {
    fn read(text: &str) -> Self {
        let rows = text.lines().filter(|line| line.starts_with("maxtalk_"));
        Self(
            rows.filter_map(|row| row.rsplit_once(' '))
                .map(|(name, n)| (name.to_owned(), n.parse().unwrap()))
                .collect(),
        )
    }

    /// Returns the sum of all rows of this name whose labels contain `label`.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = |row: &str| row.split('{').next() == Some(name);
        let rows = self.0.iter().filter(|(row, _)| of_name(row) && row.contains(label));
        rows.map(|(_, value)| value).sum()
    }

    /// Returns the rows that must be 0 when nobody is connected.
    pub fn rest(&self) -> Vec<(&str, f64)> {
        let gauges = [
            "maxtalk_sessions",
            "maxtalk_conversations",
            "maxtalk_session_queue_bytes",
            "maxtalk_session_queue_messages",
            "maxtalk_mailbox_messages",
            "maxtalk_actors",
            "maxtalk_max_inflight",
        ];
        let under_way = |row: &str| gauges.contains(&row.split('{').next().unwrap()) && !row.contains("registry");
        self.0.iter().filter(|(row, n)| under_way(row) && **n != 0.0).map(|(row, n)| (row.as_str(), *n)).collect()
    }
}
