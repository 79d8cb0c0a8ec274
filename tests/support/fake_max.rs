//! A faulty MAX: a raw TCP or TLS listener that reads each request and lets a script write the answer, byte by byte. It
//! remembers the requests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::watch;

/// One request, as read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, as sent.
    pub method: String,
    /// The path and the query, as sent.
    pub target: String,
    /// In order; names in lower case, values as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its number on that connection, from 0.
    pub nth: usize,
}

impl Request {
    /// Returns the value of a header that must occur once.
    pub fn header(&self, name: &str) -> &[u8] {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert!(values.next().is_none(), "two {name} in {self:?}");
        &value.1
    }
}

/// The fate of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed by a FIN.
    Close,
    /// It is reset.
    Reset,
}

/// The socket of a connection, plain or TLS.
pub trait Wire: Read + Write + Send {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

type Script = dyn Fn(&Request, &mut dyn Write) -> io::Result<After> + Send + Sync;

/// The fake MAX. Its threads end with their connections, its listener with the process.
pub struct FakeMax {
    address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    count: watch::Receiver<usize>,
    connections: watch::Receiver<usize>,
}

impl FakeMax {
    /// Listens on a port of its own. The script writes the answer to each request; if it fails, the connection is
    /// closed.
    pub fn start(script: impl Fn(&Request, &mut dyn Write) -> io::Result<After> + Send + Sync + 'static) -> Self {
        Self::listen("http", |tcp| Ok(Box::new(tcp)), Arc::new(script))
    }

    /// Listens with TLS.
    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        script: impl Fn(&Request, &mut dyn Write) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        let accept = move |tcp| {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok(Box::new(rustls::StreamOwned::new(tls, tcp)) as Box<dyn Wire>)
        };
        Self::listen("https", accept, Arc::new(script))
    }

    /// Answers every request with the same bytes and keeps the connection open.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, wire| wire.write_all(&bytes).map(|()| After::KeepAlive))
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of this path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request so far.
    pub fn request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until `times` requests have arrived.
    pub async fn asked(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }

    fn listen(
        scheme: &'static str,
        accept: impl Fn(TcpStream) -> io::Result<Box<dyn Wire>> + Send + Sync + 'static,
        script: Arc<Script>,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count_sender, count) = watch::channel(0);
        let (connections_sender, connections) = watch::channel(0);
        let count_sender = Arc::new(count_sender);
        let accept = Arc::new(accept);
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for (connection, tcp) in listener.incoming().enumerate() {
                let Ok(tcp) = tcp else { return };
                connections_sender.send_replace(connection + 1);
                let (script, accept) = (Arc::clone(&script), Arc::clone(&accept));
                let (log, count) = (Arc::clone(&log), Arc::clone(&count_sender));
                thread::spawn(move || {
                    let note = |request: &Request| {
                        log.lock().unwrap().push(request.clone());
                        count.send_modify(|count| *count += 1);
                    };
                    // Errors of a connection do not matter here: tests look at the client.
                    let _ = accept(tcp).and_then(|wire| serve(wire, connection, &*script, note));
                });
            }
        });
        Self { address, scheme, requests, count, connections }
    }
}

fn serve(wire: Box<dyn Wire>, connection: usize, script: &Script, note: impl Fn(&Request)) -> io::Result<()> {
    let mut wire = BufReader::new(wire);
    for nth in 0.. {
        let Some(request) = read_request(&mut wire, connection, nth)? else { break };
        note(&request);
        let after = script(&request, wire.get_mut())?;
        wire.get_mut().flush()?;
        match after {
            After::KeepAlive => continue,
            After::Close => wire.get_ref().tcp().shutdown(std::net::Shutdown::Both)?,
            After::Reset => socket2::SockRef::from(wire.get_ref().tcp()).set_linger(Some(std::time::Duration::ZERO))?,
        }
        break;
    }
    Ok(())
}

fn read_request(wire: &mut impl BufRead, connection: usize, nth: usize) -> io::Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if wire.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_ascii_end() {
            [] => break,
            line => lines.push(line.to_vec()),
        }
    }
    let first = String::from_utf8(lines.remove(0)).map_err(io::Error::other)?;
    let mut parts = first.split(' ').map(str::to_owned);
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let headers = lines.iter().map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let name = String::from_utf8_lossy(&line[..colon]).to_lowercase();
        (name, line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec())
    });
    let headers = headers.collect();
    Ok(Some(Request { method, target, headers, connection, nth }))
}

/// An answer with a `Content-Length`.
pub fn answer(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A 200 with this JSON.
pub fn json(body: &str) -> Vec<u8> {
    answer("200 OK", "application/json", body)
}

/// An error in MAX's form.
pub fn error(status: &str, error: &str, description: &str) -> Vec<u8> {
    let body = format!(r#"{{"objectType":"error","error":"{error}","error_description":"{description}"}}"#);
    answer(status, "application/json", &body)
}
