//! The metrics of a server that was started for the run: how it is told to serve them, how it says where, and how they
//! are read. Nothing else in the bench knows that.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::CONNECT_TIMEOUT;
use crate::bench::exposition::Exposition;

/// The setting that names the admin listener, as in the name of its environment variable.
pub(super) const LISTENER: &str = "ADMIN__LISTEN";
/// The beginning of the line in the log that says where the metrics are.
const ANNOUNCED: &str = "admin listener on http://";
/// The path of the metrics.
const PATH: &str = "/metrics";
/// How long a server may be silent while it is asked.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Size limit of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A server whose metrics can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scraper(SocketAddr);

impl Scraper {
    /// Returns the server that announces its metrics by this line of its log. `None` if the line says something else.
    pub(super) fn announced(line: &str) -> Option<Self> {
        let (_, url) = line.split_once(ANNOUNCED)?;
        url.split('/').next()?.parse().ok().map(Self)
    }

    /// Reads the metrics. Blocks until the answer has come.
    ///
    /// # Errors
    /// The server does not answer in time, or not with metrics.
    pub fn read(self) -> io::Result<Exposition> {
        let mut stream = TcpStream::connect_timeout(&self.0, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {}\r\nAccept: text/plain;version=0.0.4\r\nConnection: close\r\n\r\n",
            self.0
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        metrics(&answer).ok_or_else(|| io::Error::other("an answer without metrics"))
    }
}

/// Returns the metrics in an answer with a body of known length. `None` if it has none.
fn metrics(answer: &str) -> Option<Exposition> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let metrics = head.starts_with("HTTP/1.1 200").then(|| Exposition::parse(body))?;
    (!metrics.is_empty()).then_some(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_where_the_metrics_are() {
        let line = "[2026-01-02T03:04:05Z INFO  maxtalk::server] admin listener on http://127.0.0.1:4711/";
        assert_eq!(Scraper::announced(line), Some(Scraper(([127, 0, 0, 1], 4711).into())));
        assert_eq!(Scraper::announced("maxtalk 0.1.0 listening on http://127.0.0.1:4711"), None);
        assert_eq!(Scraper::announced("admin listener on http://nowhere/"), None);
    }

    #[test]
    fn only_an_answer_with_metrics_is_one() {
        assert!(metrics("HTTP/1.1 200 OK\r\n\r\na_metric 1\n").is_some());
        for answer in ["", "HTTP/1.1 404 Not Found\r\n\r\na_metric 1\n", "HTTP/1.1 200 OK\r\n\r\n# EOF\n"] {
            assert_eq!(metrics(answer), None, "{answer:?}");
        }
    }
}
