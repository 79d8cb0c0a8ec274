//! A page: a client of Socket.IO 4.6 or later that comes back after its connection was lost, as the official client
//! does.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::heard::join_of;
use super::socket::{FRESH, Socket};

/// A page: a client of Socket.IO 4.6 or later over a WebSocket.
pub struct Page {
    pub socket: Socket,
    pub sid: String,
    pub pid: Option<String>,
    /// The offset of the last event.
    pub offset: Option<String>,
    /// The events before the answer to the CONNECT.
    pub missed: Vec<Value>,
}

impl Page {
    pub async fn connect(addr: SocketAddr, auth: Value) -> Self {
        Self::connect_by(addr, FRESH, &auth.to_string()).await
    }

    pub async fn connect_by(addr: SocketAddr, query: &str, auth: &str) -> Self {
        let mut socket = Socket::open(addr, query).await;
        assert!(socket.hear().await.starts_with("0{"));
        socket.send(&format!("40/max,{auth}")).await;
        let mut page = Self { socket, sid: String::new(), pid: None, offset: None, missed: Vec::new() };
        loop {
            let packet = page.socket.hear().await;
            match packet.strip_prefix("40/max,") {
                Some(answer) => {
                    let answer: Value = serde_json::from_str(answer).unwrap();
                    page.sid = answer["sid"].as_str().unwrap().to_owned();
                    page.pid = answer["pid"].as_str().map(str::to_owned);
                    return page;
                }
                None => {
                    let event = page.read(&packet);
                    page.missed.push(event);
                }
            }
        }
    }

    /// Opens a page whose user is in c1, by the rules of MAX too.
    pub async fn join(addr: SocketAddr, user: &str) -> Self {
        let mut page = Self::connect(addr, json!({})).await;
        page.emit("join", &join_of(user)).await;
        assert_eq!(page.hear().await, json!(["listening", { "conversations": ["c1"] }]));
        page
    }

    /// Comes back by another connection, as the official client does.
    pub async fn come_back(&self, addr: SocketAddr) -> Self {
        let mut auth = json!({ "pid": self.pid, "token": "of the application" });
        if let Some(offset) = &self.offset {
            auth["offset"] = json!(offset);
        }
        let mut page = Self::connect(addr, auth).await;
        page.offset = page.offset.or_else(|| self.offset.clone());
        page
    }

    pub async fn emit(&mut self, event: &str, argument: &str) {
        self.socket.send(&format!(r#"42/max,["{event}",{argument}]"#)).await;
    }

    /// Reads an event, and takes the offset off it.
    pub fn read(&mut self, packet: &str) -> Value {
        let event = packet.strip_prefix("42/max,").unwrap_or_else(|| panic!("an event was expected: {packet}"));
        let mut event: Value = serde_json::from_str(event).unwrap();
        let arguments = event.as_array_mut().unwrap();
        if arguments.len() == 3 {
            self.offset = Some(arguments.pop().unwrap().as_str().unwrap().to_owned());
        }
        event
    }

    pub async fn hear(&mut self) -> Value {
        loop {
            match self.socket.hear().await.as_str() {
                "2" => self.socket.send("3").await,
                packet => return self.read(packet),
            }
        }
    }

    pub fn is_same(&self, other: &Self) -> bool {
        assert_eq!(self.sid == other.sid, self.pid == other.pid);
        self.sid == other.sid
    }
}
