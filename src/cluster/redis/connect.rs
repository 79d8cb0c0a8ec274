//! Makes connections: the name is resolved, the password read, and Sentinel asked each time anew.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, Value};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::{self, JoinHandle};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fault::{self, Fault, Patterns};
use crate::cluster::address::{Address, Host, Place, Secret};
use crate::cluster::dial::{dial, unreachable};
use crate::cluster::link::ANSWER_MAX;
use crate::cluster::settings::Settings;
use crate::cluster::trust;
use crate::files::read_password;

/// The commands that may wait inside the library to be written.
pub(super) const COMMANDS_MAX: usize = 64;

/// The time that a Sentinel has before the next one is asked too.
const NEXT_SENTINEL_AFTER: Duration = Duration::from_millis(200);

/// The place of one server, without Sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// A host.
    Tcp(Host),
    /// A Unix socket.
    Unix(std::path::PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => host.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What a connection needs to be made: read anew each time.
pub(super) struct Credentials {
    username: Option<String>,
    password: Option<Secret>,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    /// Takes commands.
    pub redis: MultiplexedConnection,
    /// The task that reads and writes. It ends when the connection breaks.
    pub driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Takes the messages that a connection brings.
pub(super) type Sink = Box<dyn Fn(PushInfo) + Send + Sync>;

/// Reads the credentials of a server from their files.
pub(super) async fn credentials(address: &Address, settings: &Settings) -> Result<Credentials, Fault> {
    let (address, settings) = (address.clone(), settings.clone());
    let read = read_files(ANSWER_MAX, move || {
        let password = match &settings.password_file {
            Some(path) => Some(password(path, "cluster.password_file")?),
            None => address.password.clone(),
        };
        Ok(Credentials {
            username: address.username,
            password,
            tls: if address.tls { Some(tls(&settings)?) } else { None },
        })
    });
    read.await
}

/// Reads the credentials of the Sentinels of a server.
async fn sentinel_credentials(settings: &Settings, tls: Option<Arc<ClientConfig>>) -> Result<Credentials, Fault> {
    let path = settings.sentinel_password_file.clone();
    let read = move || path.map(|path| password(&path, "cluster.sentinel_password_file")).transpose();
    Ok(Credentials { username: None, password: read_files(ANSWER_MAX, read).await?, tls })
}

/// Reads files, whose file system may be away.
async fn read_files<T: Send + 'static>(
    within: Duration,
    read: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match timeout(within, task::spawn_blocking(read)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(format!("the files could not be read: {error}").into()),
        Err(_) => Err("the files with the password and the certificates cannot be read in time".into()),
    }
}

/// Returns the server at an address, which Sentinel knows if the address names Sentinels.
pub(super) async fn resolve(
    address: &Address,
    settings: &Settings,
    credentials: &Credentials,
    patterns: &Patterns,
) -> Result<Server, Fault> {
    match &address.place {
        Place::Tcp(host) => Ok(Server::Tcp(host.clone())),
        Place::Unix(path) => Ok(Server::Unix(path.clone())),
        Place::Sentinel(sentinels, name) => {
            let theirs = sentinel_credentials(settings, credentials.tls.clone()).await?;
            let mut faults = Vec::new();
            let ask = |sentinel| {
                let asked = timeout(ANSWER_MAX / 2, ask_sentinel(sentinel, name, &theirs, patterns));
                asked.map(move |answer| answer.unwrap_or_else(|_| Err(format!("{sentinel} does not answer").into())))
            };
            // The first one that can be asked counts, as if they were asked one after the other.
            let (mut next, mut asked) = (sentinels.iter(), FuturesOrdered::new());
            loop {
                asked.extend(next.next().map(ask));
                let patience = if next.len() == 0 { ANSWER_MAX } else { NEXT_SENTINEL_AFTER };
                match timeout(patience, asked.next()).await {
                    Ok(Some(Ok(host))) => return Ok(Server::Tcp(host)),
                    Ok(Some(Err(fault))) => faults.push(fault.to_string()),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
            Err(format!("no Sentinel could be asked for the master {name}: {}", faults.join("; ")).into())
        }
        Place::Cluster(hosts) => {
            hosts.first().cloned().map(Server::Tcp).ok_or_else(|| "the Redis Cluster has no member".into())
        }
    }
}

/// Connects to a server. `sink` takes what it sends without being asked.
pub(super) async fn connect(
    server: &Server,
    credentials: &Credentials,
    patterns: &Patterns,
    sink: Option<Sink>,
) -> Result<Connection, Fault> {
    let hello = Hello { credentials, protocol: ProtocolVersion::RESP3, patterns, sink };
    match server {
        Server::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| unreachable(&path.display(), &error))?;
            over(stream, hello).await
        }
        Server::Tcp(host) => to_host(host, hello).await,
    }
}

/// The way in which a connection begins.
struct Hello<'a> {
    credentials: &'a Credentials,
    protocol: ProtocolVersion,
    patterns: &'a Patterns,
    sink: Option<Sink>,
}

async fn to_host(host: &Host, hello: Hello<'_>) -> Result<Connection, Fault> {
    to_stream(dial(&host.name, host.port).await?, host, hello).await
}

async fn to_stream(stream: TcpStream, host: &Host, hello: Hello<'_>) -> Result<Connection, Fault> {
    let Some(config) = &hello.credentials.tls else { return over(stream, hello).await };
    let name = ServerName::try_from(host.name.clone())
        .map_err(|_| Fault::from(format!("{} is no name that a certificate can have", host.name)))?;
    let stream =
        TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|error| fault::tls(host, &error))?;
    over(stream, hello).await
}

/// Says hello over an open connection.
async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    hello: Hello<'_>,
) -> Result<Connection, Fault> {
    let Hello { credentials, protocol, patterns, sink } = hello;
    let mut info = RedisConnectionInfo::default().set_protocol(protocol).set_skip_set_lib_name();
    if let Some(username) = &credentials.username {
        info = info.set_username(username);
    }
    if let Some(password) = &credentials.password {
        info = info.set_password(password.reveal());
    }
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(ANSWER_MAX))
        .set_pipeline_buffer_size(COMMANDS_MAX);
    if let Some(sink) = sink {
        config = config.set_push_sender(move |push| {
            sink(push);
            Ok::<(), ()>(())
        });
    }
    let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (redis, driver) = made.map_err(|error| fault::command("HELLO", patterns, &error))?;
    Ok(Connection { redis, driver: tokio::spawn(driver) })
}

async fn ask_sentinel(host: &Host, name: &str, theirs: &Credentials, patterns: &Patterns) -> Result<Host, Fault> {
    let hello = Hello { credentials: theirs, protocol: ProtocolVersion::RESP2, patterns, sink: None };
    let mut connection = to_host(host, hello).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(name);
    let answer = connection.redis.send_packed_command(&command).await.and_then(Value::extract_error);
    match answer.map_err(|error| fault::command("SENTINEL", patterns, &error))? {
        Value::Array(parts) => match &parts[..] {
            [name, port] => match (text(name), text(port).and_then(|port| port.parse().ok())) {
                (Some(name), Some(port)) => Ok(Host { name, port }),
                _ => Err(format!("{host} gives no address").into()),
            },
            _ => Err(format!("{host} gives no address").into()),
        },
        Value::Nil => Err(format!("{host} knows no master of this name").into()),
        _ => Err(format!("{host} gives no address").into()),
    }
}

/// Reads a text in an answer.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn password(path: &Path, setting: &str) -> Result<Secret, Fault> {
    let wrong = |error| Fault::from(format!("{setting} {}: {error}", path.display()));
    read_password(path).map(|password| Secret::new(&password)).map_err(wrong)
}

/// Returns the TLS configuration: it trusts the authorities of the file, or those of the system.
fn tls(settings: &Settings) -> Result<Arc<ClientConfig>, Fault> {
    let builder = trust::client(settings.ca_file.as_deref(), "cluster", "rediss")?;
    let Some((certificate, key)) = &settings.client_certificate else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = trust::certificates(certificate, "cluster.certificate_file")?;
    let wrong_key = |error: &dyn fmt::Display| Fault::from(format!("cluster.key_file {}: {error}", key.display()));
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong_key(&error))?;
    let config = builder.with_client_auth_cert(chain, key).map_err(|error| wrong_key(&error))?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn files_that_cannot_be_read_have_a_deadline() {
        // A file system that is away lets go when it is back.
        let (back, away) = mpsc::channel::<()>();
        let read = read_files(Duration::from_millis(10), move || Ok(away.recv().is_ok()));
        assert!(read.await.unwrap_err().contains("in time"));
        drop(back);
        assert_eq!(read_files(ANSWER_MAX, || Ok(1)).await, Ok(1));
    }

    #[tokio::test]
    async fn a_sentinel_that_is_slow_does_not_keep_the_next_from_being_asked() {
        let asked = Arc::new(Notify::new());
        let sentinel = async |waits: bool, port: &'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = Host { name: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
            let asked = asked.clone();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                if waits {
                    asked.notified().await
                } else {
                    asked.notify_one()
                }
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                    let answer = format!("*2\r\n$1\r\nh\r\n$1\r\n{port}\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
            host
        };
        let sentinels = vec![sentinel(true, "1").await, sentinel(false, "2").await];
        let settings = Settings::default();
        let address = Address { place: Place::Sentinel(sentinels, "m".into()), ..Address::parse("redis://h").unwrap() };
        let credentials = credentials(&address, &settings).await.unwrap();
        let found = resolve(&address, &settings, &credentials, &Patterns::of(&settings)).await;
        // The first one counts, which answers only when the second is asked.
        assert_eq!(found, Ok(Server::Tcp(Host { name: "h".into(), port: 1 })));
    }
}
