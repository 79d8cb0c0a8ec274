//! A real RabbitMQ with the plugin that tells of bindings. It runs on ports and in a folder of its own, with an epmd of
//! its own. With the process that has started it, however that ends, it ends and its folder goes.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::DEADLINE;

/// The server, as Debian has it. The one in the path wants to be another user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The program that runs both processes. It ends them when its input ends, so also when the tests are killed, and then
/// nobody else removes the folder.
const KEEPER: &str = r#"
epmd -port "$ERL_EPMD_PORT" &
"$0" >"$RABBITMQ_LOG_BASE/out" 2>&1 &
while read -r order; do [ "$order" != keep ] || keeps=yes; done
kill -9 $! $(jobs -p) $(cat "$RABBITMQ_PID_FILE")
[ "$keeps" ] || rm -rf -- "$1"
"#;

/// The longest time of a start. It takes some ten seconds of a processor.
const START_MAX: Duration = DEADLINE.saturating_mul(4);

/// The user who may do everything.
const ROOT: &str = "root";

/// A RabbitMQ.
pub struct Rabbit {
    dir: TempDir,
    /// The ports of AMQP, of AMQP over TLS, of the API, of the distribution, and of epmd.
    ports: [u16; 5],
    /// Keep these ports from everybody who asks the system for any port, also while RabbitMQ is down.
    _reserved: [Socket; 5],
    child: Option<Child>,
}

impl Rabbit {
    /// Starts a RabbitMQ. `tls` names the files of the certificate and the key of its TLS port.
    pub fn start(tls: Option<(&Path, &Path)>) -> Self {
        let reserved = [(); 5].map(|()| reserve_port().unwrap());
        let ports = reserved.each_ref().map(|socket| socket.local_addr().unwrap().as_socket().unwrap().port());
        let mut rabbit = Self { dir: tempfile::tempdir().unwrap(), ports, _reserved: reserved, child: None };
        let [amqp, amqps, api, _, _] = ports;
        let definitions = json!({
            "vhosts": [{ "name": "/" }],
            "users": [{ "name": ROOT, "password": ROOT, "tags": "administrator" }],
            "permissions": [{ "user": ROOT, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" }],
        });
        fs::write(rabbit.path("definitions.json"), definitions.to_string()).unwrap();
        fs::write(rabbit.path("plugins"), "[rabbitmq_event_exchange,rabbitmq_management].\n").unwrap();
        let mut settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {api}\n\
             load_definitions = {}\nlog.console = true\nlog.file = false\nvm_memory_high_watermark.absolute = 512MB\n\
             disk_free_limit.absolute = 1MB\n",
            rabbit.path("definitions.json").display()
        );
        if let Some((certificate, key)) = tls {
            settings += &format!(
                "listeners.ssl.1 = 127.0.0.1:{amqps}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n",
                certificate.display(),
                key.display()
            );
        }
        fs::write(rabbit.path("rabbitmq.conf"), settings).unwrap();
        rabbit.restart();
        rabbit
    }

    /// Starts it, with what it had when it ended, and waits until it serves.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let [_, _, _, distribution, epmd] = self.ports;
        for file in ["pid", "out"] {
            let _ = fs::remove_file(self.path(file));
        }
        let mut command = Command::new("bash");
        command.args(["-c", KEEPER, PROGRAM]).arg(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("HOME", self.dir.path()).env("RABBITMQ_NODENAME", "maxtalk-test@localhost");
        command.env("ERL_EPMD_PORT", epmd.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_DIST_PORT", distribution.to_string());
        for (name, file) in [
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "."),
            ("CONFIG_FILE", "rabbitmq.conf"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
            ("PID_FILE", "pid"),
            ("CONF_ENV_FILE", "none"),
        ] {
            command.env(format!("RABBITMQ_{name}"), self.path(file));
        }
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while !self.log().contains("Server startup complete") {
            let ended = !self.log().is_empty() && self.log().contains("BOOT FAILED");
            assert!(!ended && begun.elapsed() < START_MAX, "RabbitMQ does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The end of the input ends it. A keeper that has ended hears nothing.
            let _ = child.stdin.take().map(|mut orders| orders.write_all(b"keep\n"));
            child.wait().unwrap();
        }
    }

    /// Starts it again if it has ended by itself, so that what ended it fails one test alone. Says what it said last.
    pub fn revive(&mut self) {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[2])).is_err() {
            eprintln!("RabbitMQ has ended: {}", self.last_words());
            self.kill();
            self.restart();
        }
    }

    /// The path of a file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The URL for a user, whose password is its name, and a virtual host.
    pub fn url(&self, user: &str, vhost: &str) -> String {
        format!("amqp://{user}:{user}@127.0.0.1:{}/{}", self.ports[0], escaped(vhost))
    }

    /// The same over TLS.
    pub fn tls_url(&self, user: &str, vhost: &str) -> String {
        format!("amqps://{user}:{user}@localhost:{}/{}", self.ports[1], escaped(vhost))
    }

    /// Makes a virtual host in which the user of this name has these rights: to configure, to write and to read.
    pub fn make_vhost(&self, vhost: &str, user: &str, rights: [&str; 3]) {
        self.put(&format!("vhosts/{}", escaped(vhost)), json!({}));
        self.put(&format!("users/{user}"), json!({ "password": user, "tags": "" }));
        self.permit(vhost, ROOT, [".*"; 3]);
        self.permit(vhost, user, rights);
    }

    /// Gives a user rights.
    pub fn permit(&self, vhost: &str, user: &str, [configure, write, read]: [&str; 3]) {
        let rights = json!({ "configure": configure, "write": write, "read": read });
        self.put(&format!("permissions/{}/{user}", escaped(vhost)), rights);
    }

    /// Sets the password of a user.
    pub fn set_password(&self, user: &str, password: &str) {
        self.put(&format!("users/{user}"), json!({ "password": password, "tags": "" }));
    }

    /// Makes an exchange as MAX does.
    pub fn make_exchange(&self, vhost: &str, name: &str, kind: &str) {
        let exchange = json!({ "type": kind, "durable": true, "auto_delete": false });
        self.put(&format!("exchanges/{}/{name}", escaped(vhost)), exchange);
    }

    /// Publishes a message. Returns whether it came to a queue.
    pub fn publish(&self, vhost: &str, exchange: &str, key: &str, body: &[u8]) -> bool {
        let payload = STANDARD.encode(body);
        let message = json!({ "properties": {}, "routing_key": key, "payload": payload, "payload_encoding": "base64" });
        let answer = self.api("POST", &format!("exchanges/{}/{exchange}/publish", escaped(vhost)), Some(&message));
        answer.contains(r#""routed":true"#)
    }

    /// Binds an exchange to another.
    pub fn bind(&self, vhost: &str, source: &str, destination: &str, key: &str) {
        let path = format!("bindings/{}/e/{source}/e/{destination}", escaped(vhost));
        self.api("POST", &path, Some(&json!({ "routing_key": key })));
    }

    /// Takes a binding back.
    pub fn unbind(&self, vhost: &str, source: &str, destination: &str, key: &str) {
        let path = format!("bindings/{}/e/{source}/e/{destination}/{}", escaped(vhost), escaped(key));
        self.api("DELETE", &path, None);
    }

    /// Returns whether a queue is bound to an exchange.
    pub fn is_heard(&self, vhost: &str, exchange: &str) -> bool {
        let path = format!("exchanges/{}/{exchange}/bindings/source", escaped(vhost));
        self.api("GET", &path, None).contains("amq.gen-")
    }

    /// Returns the arguments and the flags of all queues of a virtual host.
    pub fn queues(&self, vhost: &str) -> Value {
        let path = format!("queues/{}?columns=arguments,exclusive,auto_delete,durable", escaped(vhost));
        serde_json::from_str(&self.api("GET", &path, None)).unwrap()
    }

    fn put(&self, path: &str, body: Value) {
        self.api("PUT", path, Some(&body));
    }

    /// Does a request as an administrator, and returns the body of the answer.
    fn api(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let answer = self.ask(method, path, body).unwrap_or_else(|error| {
            panic!("{method} {path}: {error}; RabbitMQ said last: {}", self.last_words());
        });
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let is_done = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        assert!(is_done, "{method} {path}: {answer}; RabbitMQ said last: {}", self.last_words());
        body.to_owned()
    }

    /// Does a request as an administrator, and returns the answer.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let key = STANDARD.encode(format!("{ROOT}:{ROOT}"));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[2]))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        // HTTP/1.0, so that the body is not in chunks and ends with the connection.
        let head = format!(
            "{method} /api/{path} HTTP/1.0\r\nAuthorization: Basic {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Returns what it has logged since its start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    /// Returns the end of its log.
    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Takes a port of the system without listening there. A server may listen there all the same, because both agree that
/// the address is used again.
fn reserve_port() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

/// Writes a name as one segment of a path.
fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F").replace('*', "%2A")
}
