//! HTTP/1.1 over a raw socket, so that tests can also send requests that no client library would.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// The receive buffer of every connection of the test binary, in bytes; 0 leaves its size to the kernel.
pub static RECEIVE_BUFFER_BYTES: AtomicU32 = AtomicU32::new(0);

/// One connection.
pub struct Http {
    pub stream: BufReader<TcpStream>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// Returns the value of a header, which must not occur twice. `None` if it does not occur.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        let value = values.next()?;
        assert!(values.next().is_none(), "two {name} in {self:?}");
        Some(&value.1)
    }
}

impl Http {
    pub async fn connect(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        match RECEIVE_BUFFER_BYTES.load(Ordering::Relaxed) {
            0 => {}
            bytes => socket.set_recv_buffer_size(bytes).unwrap(),
        }
        let stream = within("a connection", socket.connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request and reads its answer.
    pub async fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let request = request(method, target, headers, body);
        let exchange = async {
            self.write(&request).await?;
            self.response().await
        };
        let what = format!("{method} {target}");
        within(&what, exchange).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    pub async fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"").await
    }

    pub async fn post(&mut self, target: &str, body: &str) -> Response {
        self.request("POST", target, &[("Content-Type", "text/plain;charset=UTF-8")], body.as_bytes()).await
    }

    /// Reads the next answer. Fails if the connection ends before the answer does.
    pub async fn response(&mut self) -> io::Result<Response> {
        let mut response = self.head().await?;
        if response.status >= 200 && response.status != 204 {
            let length = response.header("content-length").unwrap_or("0").parse().unwrap();
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await?;
            response.body = String::from_utf8(body).unwrap();
        }
        Ok(response)
    }

    /// Reads the head of the next answer. The answer to a HEAD has nothing else.
    pub async fn head(&mut self) -> io::Result<Response> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status: u16 = lines[0].split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Ok(Response { status, headers, body: String::new() })
    }

    /// Returns whether the server closes the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        within("the end of a connection", self.stream.read_u8()).await.is_err()
    }
}

/// Writes a request as bytes, with `Content-Length` if it has a body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}
