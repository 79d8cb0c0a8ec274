//! A real redis-server on a Unix socket of its own, and its ways to fail.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

use super::DEADLINE;

/// A Redis.
pub struct RedisServer {
    dir: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a Redis without persistence on a Unix socket.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a Redis with these options too.
    pub fn with(options: &[&str]) -> Self {
        let mut server = Self::stopped(options);
        server.restart();
        server
    }

    /// Prepares a Redis that is not yet started.
    pub fn stopped(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { dir: tempfile::tempdir().unwrap(), options, child: None }
    }

    /// Starts it, empty, and waits until it takes connections.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut command = Command::new(program());
        let socket = self.socket();
        // Sentinel writes its state into its file of settings.
        let file = self.path("conf");
        std::fs::write(&file, "").unwrap();
        command.arg(file).args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        command.arg("--dir").arg(self.dir.path()).args(&self.options).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("redis-server is needed: apt-get install redis-server");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        let (ready, wait) = mpsc::channel();
        // It reads on, so that the server never waits for its log to be read.
        std::thread::spawn(move || {
            let mut log = String::new();
            while let Some(Ok(line)) = lines.next() {
                log.push_str(&line);
                log.push('\n');
                let is_ready = ["ready to accept connections at", "Ready to accept connections", "Sentinel ID is"];
                if is_ready.iter().any(|words| line.contains(words)) {
                    let _ = ready.send(Ok(()));
                }
            }
            let _ = ready.send(Err(log));
        });
        if let Err(log) = wait.recv_timeout(DEADLINE).expect("redis-server does not start") {
            panic!("redis-server has ended: {log}");
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // Redis leaves its socket behind.
        let _ = std::fs::remove_file(self.socket());
    }

    /// The path of a file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Does a command as an administrator.
    pub fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Does a command, and returns the answer as text.
    pub fn text(&self, words: &[&str]) -> String {
        match self.command(words) {
            redis::Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
            redis::Value::VerbatimString { text, .. } | redis::Value::SimpleString(text) => text,
            other => format!("{other:?}"),
        }
    }

    /// The ids of its clients that are subscribed, or of those that are not, from the oldest to the youngest. The
    /// connection that asks is not among them.
    pub fn clients(&self, are_subscribed: bool) -> Vec<String> {
        let list = self.text(&["CLIENT", "LIST"]);
        let field = |line: &str, name: &str| {
            let of = |word: &str| word.strip_prefix(name).map(str::to_owned);
            line.split(' ').find_map(of).unwrap_or_default()
        };
        let is_subscribed = |line: &str| ["sub=", "ssub="].iter().any(|name| !["", "0"].contains(&&*field(line, name)));
        let others = list.lines().filter(|line| !line.contains("cmd=client"));
        others.filter(|line| is_subscribed(line) == are_subscribed).map(|line| field(line, "id=")).collect()
    }
}

/// The program of the server: that of Debian, or another one that `MAXTALK_TEST_REDIS` names, such as Valkey.
fn program() -> String {
    std::env::var("MAXTALK_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned())
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
