//! A server with a fault, to test that the bench catches it.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use maxtalk::testing::protocol::websocket::{Message, Reader, Step};
use maxtalk::testing::protocol::{Frame, Generation, packet};
use serde_json::{Value, json};

/// Users of each conversation: `u0` to `u5` are in the first, the next six in the second.
const MEMBERS: usize = 6;

/// The fault in every tenth talk, towards the first of its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Lose,
    Double,
    /// Delivers it after the next one.
    Reorder,
    /// Delivers it also to a member of another conversation.
    Misdeliver,
    /// Delivers it also to its talker.
    Echo,
    /// Delivers it under another name.
    Rename,
    /// Delivers also an update that nobody sent.
    Invent,
    /// Delivers also an update whose `messageID` is not one of the bench.
    Garble,
    /// Delivers also an `update` whose argument is no object.
    Babble,
    /// Delivers the next one with the statement that it stands for both.
    Fold,
    /// Closes the recipient's connection.
    Close,
    /// Answers a join with a wrong `listening`.
    Mumble,
    /// Closes the talker's connection.
    CloseTalker,
    /// Stops reading from the talker.
    Ignore,
    /// Refuses a join twice, in one segment.
    RefuseTwice,
    /// Answers a join by `listening` and then `refused`, in one segment.
    ListenAndRefuse,
    /// Connects a client to the namespace twice, and sends it a `listening` each time.
    ConnectTwice,
    /// Refuses repeated joins.
    RefuseRejoin,
    /// Never answers repeated joins.
    IgnoreRejoin,
    /// Never answers a `leave`.
    IgnoreLeave,
    /// Answers repeated joins with an empty `listening`.
    ForgetConversation,
}

/// A small server of Engine.IO 4 over WebSocket, with two conversations and a fault. It counts how often the fault
/// occurs.
pub struct Faulty {
    /// The address that it listens on.
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    fault: Fault,
    faults: u64,
    members: HashMap<String, Vec<(String, TcpStream)>>,
    talks: HashMap<String, u64>,
    held: Vec<(String, String)>,
    skipped: Vec<(String, u64)>,
    left: HashSet<String>,
}

impl Faulty {
    /// Starts a server with this fault.
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (members, talks) = (HashMap::new(), HashMap::new());
        let (held, skipped, left) = (Vec::new(), Vec::new(), HashSet::new());
        let state = State { fault, faults: 0, members, talks, held, skipped, left };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { addr, state }
    }

    /// Returns how often the fault has occurred.
    pub fn faults(&self) -> u64 {
        self.state.lock().unwrap().faults
    }
}

fn send(stream: &mut TcpStream, packet: &str) {
    // Packets are cut in two to test the bench's reader. Errors are ignored: the client may have gone.
    let frame = Frame::text(packet);
    let (head, tail) = frame.bytes().split_at(frame.bytes().len() / 2);
    let _ = stream.write_all(head).and_then(|()| stream.write_all(tail));
}

/// Sends all packets in one segment.
fn send_all(stream: &mut TcpStream, packets: &[String]) {
    let bytes = packets.iter().flat_map(|packet| Frame::text(packet).bytes().to_vec()).collect::<Vec<_>>();
    let _ = stream.write_all(&bytes);
}

fn event(name: &str, argument: &Value) -> String {
    packet::event(Generation::Eio4, "/max", None, name, &[&argument.to_string()])
}

/// Serves one connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        bytes.push(byte[0]);
    }
    let accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(accept.as_bytes()).unwrap();
    send(&mut stream, r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#);
    bytes.clear();
    let mut reader = Reader::new(1 << 20);
    let mut user = String::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).unwrap_or(0);
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&chunk[..read]);
        while let Ok(Step::Frame { consumed, message }) = reader.step(&mut bytes) {
            if let Some(Message::Text(text)) = message {
                let text = text.to_owned();
                hear(&text, &mut user, &mut stream, state);
                if text.contains(r#"["talk""#) && state.lock().unwrap().fault == Fault::Ignore {
                    // The stream stays open among the members, but nobody reads from it.
                    return;
                }
            }
            bytes.drain(..consumed);
        }
    }
}

fn hear(text: &str, user: &mut String, stream: &mut TcpStream, state: &Mutex<State>) {
    if text.starts_with("40") {
        let times = if state.lock().unwrap().fault == Fault::ConnectTwice { 2 } else { 1 };
        return send_all(stream, &vec![r#"40/max,{"sid":"y"}"#.to_owned(); times]);
    }
    let Some(arguments) = text.strip_prefix("42/max,") else { return };
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    let mut state = state.lock().unwrap();
    match arguments[0].as_str().unwrap() {
        "join" => {
            *user = arguments[1]["username"].as_str().unwrap().to_owned();
            let number: usize = user[1..].parse().unwrap();
            let conversation = format!("c{}", number / MEMBERS);
            let fault = if state.left.remove(user) || state.fault == Fault::Mumble { state.fault } else { Fault::None };
            let listening = match fault {
                Fault::Mumble => json!([conversation]),
                Fault::ForgetConversation => json!({ "conversations": [] }),
                _ => json!({ "conversations": [conversation] }),
            };
            let refused = event("refused", &json!({ "event": "join", "code": "busy" }));
            match state.fault {
                Fault::RefuseTwice => return send_all(stream, &[refused.clone(), refused]),
                Fault::ListenAndRefuse => return send_all(stream, &[event("listening", &listening), refused]),
                _ => {}
            }
            match fault {
                Fault::RefuseRejoin => send(stream, &refused),
                Fault::IgnoreRejoin => {}
                _ => send(stream, &event("listening", &listening)),
            }
            if matches!(fault, Fault::RefuseRejoin | Fault::IgnoreRejoin | Fault::ForgetConversation) {
                state.faults += 1;
                return;
            }
            let member = (user.clone(), stream.try_clone().unwrap());
            state.members.entry(conversation).or_default().push(member);
        }
        "leave" => {
            state.members.values_mut().for_each(|members| members.retain(|(name, _)| name != user));
            state.left.insert(user.clone());
            if state.fault == Fault::IgnoreLeave {
                state.faults += 1;
            } else {
                send(stream, &event("listening", &json!({ "conversations": [] })));
            }
        }
        "talk" => talk(user, &arguments[1], &mut state),
        other => panic!("{other}"),
    }
}

fn talk(user: &str, talk: &Value, state: &mut State) {
    let conversation = talk["conversation"].as_str().unwrap().to_owned();
    let mut update = talk.clone();
    update["username"] = user.into();
    let packet = event("update", &update);
    let count = state.talks.entry(conversation.clone()).or_default();
    *count += 1;
    let count = *count;
    let is_of_talks = !matches!(
        state.fault,
        Fault::RefuseRejoin | Fault::IgnoreRejoin | Fault::IgnoreLeave | Fault::ForgetConversation
    );
    let fault = if count % 10 == 5 && is_of_talks { state.fault } else { Fault::None };
    state.faults += u64::from(fault != Fault::None);
    let edited = |key: &str, value: Value| {
        let mut update = update.clone();
        update[key] = value;
        event("update", &update)
    };
    let number = format!(".{count}");
    let id = talk["messageID"].as_str().unwrap();
    let other = if conversation == "c0" { "c1" } else { "c0" };
    if fault == Fault::Misdeliver {
        let (_, stream) = state.members.get_mut(other).unwrap().last_mut().unwrap();
        send(stream, &packet);
    }
    let mut members = state.members.remove(&conversation).unwrap();
    let mut is_first = true;
    for (name, stream) in &mut members {
        if name == user {
            match fault {
                Fault::Echo => send(stream, &packet),
                Fault::CloseTalker => stream.shutdown(std::net::Shutdown::Both).unwrap(),
                _ => {}
            }
            continue;
        }
        if !std::mem::take(&mut is_first) {
            send(stream, &packet);
            continue;
        }
        match fault {
            Fault::Lose => {}
            Fault::Double => (0..2).for_each(|_| send(stream, &packet)),
            Fault::Reorder => state.held.push((conversation.clone(), packet.clone())),
            Fault::Rename => send(stream, &edited("username", "u99".into())),
            Fault::Invent => {
                send(stream, &packet);
                send(stream, &edited("messageID", id.replace(&number, ".1000000").into()));
            }
            Fault::Garble => {
                send(stream, &packet);
                send(stream, &edited("messageID", "x".into()));
            }
            Fault::Babble => {
                send(stream, &packet);
                send(stream, &event("update", &json!([id])));
            }
            Fault::Fold => {
                state.held.push((conversation.clone(), edited("missed", 2.into())));
                state.skipped.push((conversation.clone(), count + 1));
            }
            Fault::Close => stream.shutdown(std::net::Shutdown::Both).unwrap(),
            _ => {
                if !state.skipped.contains(&(conversation.clone(), count)) {
                    send(stream, &packet);
                }
                let held = state.held.extract_if(.., |(held, _)| *held == conversation);
                held.for_each(|(_, packet)| send(stream, &packet));
            }
        }
    }
    state.members.insert(conversation, members);
}
