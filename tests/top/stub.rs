//! A server in place of maxtalk's admin listener. It gives the same answer to all requests until it is told another.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::DEADLINE;

/// An answer: its status and its body.
pub type Answer = (u16, String);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

pub struct Stub {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Mutex<Answer>,
    requests: Mutex<Vec<Request>>,
    is_gone: AtomicBool,
}

impl Stub {
    pub fn start(answer: Answer) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// Starts where another one has gone.
    pub fn again(addr: SocketAddr, answer: Answer) -> Self {
        Self::on(TcpListener::bind(addr).unwrap(), answer)
    }

    fn on(listener: TcpListener, answer: Answer) -> Self {
        let addr = listener.local_addr().unwrap();
        let (requests, is_gone) = (Mutex::default(), AtomicBool::default());
        let shared = Arc::new(Shared { answer: Mutex::new(answer), requests, is_gone });
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming().flatten() {
                    if shared.is_gone.load(Ordering::Relaxed) {
                        return;
                    }
                    shared.serve(stream);
                }
            }
        });
        Self { addr, shared, thread: Some(thread) }
    }

    /// Gives another answer from now on.
    pub fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Waits for some more requests. All but the last have then been answered.
    pub fn until_asked(&self, times: usize) {
        let (begun, asked) = (Instant::now(), self.requests().len());
        while self.requests().len() < asked + times {
            assert!(begun.elapsed() < DEADLINE, "nobody asks");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.is_gone.store(true, Ordering::Relaxed);
        // It wakes the thread, which then closes the listener.
        let _ = TcpStream::connect(self.addr);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// Answers one request, and closes the connection.
    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let headers: BTreeMap<_, _> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let _ = stream.read_exact(&mut vec![0; length]);
        self.requests.lock().unwrap().push(Request { line: lines[0].clone(), headers });
        let (status, body) = self.answer.lock().unwrap().clone();
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Some\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream.get_mut().write_all((head + &body).as_bytes());
    }
}

/// Returns an answer with a body of JSON.
pub fn ok(body: &Value) -> Answer {
    (200, body.to_string())
}

/// Returns a refusal in the form of the API.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    (status, json!({"error": {"code": code, "message": message}}).to_string())
}
