//! The dialect of the sharded adapter: JSON, or MessagePack of the same shape, which Node's adapter writes if there is
//! something binary in the event.

use serde::Serialize;

use super::incoming::{Emit, Options, Packet, Reader};
use super::mark::Mark;
use super::outgoing::Outgoing;
use super::reading::{Answer, Ignored, Reading, Refusal, Rejected};
use super::tape::{Tape, Value};
use super::{Settings, Wire, json, msgpack};
use crate::event::ServerEvent;

/// The type of a message with an emit.
const BROADCAST: u64 = 3;

/// The type of a request for the sockets of all servers.
const FETCH_SOCKETS: u64 = 7;

/// The type of an event for all servers, which may want an answer of each.
const SERVER_SIDE_EMIT: u64 = 9;

/// The type of the answer to a broadcast with acknowledgements.
const BROADCAST_CLIENT_COUNT: u64 = 11;

/// The length of the id of a socket, in UTF-16 units as Node counts.
const SOCKET_ID_UNITS: usize = 20;

/// Whether Node's adapter takes a room for that of one socket: it publishes on the channel of the namespace then.
pub(super) fn looks_like_a_socket(room: &str) -> bool {
    room.len() >= SOCKET_ID_UNITS && room.encode_utf16().count() == SOCKET_ID_UNITS
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
    uid: &'a str,
    nsp: &'a str,
    maxtalk: &'a Mark<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    packet: WrittenPacket<'a>,
    opts: WrittenOptions<'a>,
}

#[derive(Serialize)]
struct WrittenPacket<'a> {
    #[serde(rename = "type")]
    kind: u64,
    data: (&'static str, ServerEvent<'a>),
}

#[derive(Serialize)]
struct WrittenOptions<'a> {
    rooms: [&'a str; 1],
    except: &'a [Box<str>],
    flags: Flags,
}

#[derive(Serialize)]
struct Flags {}

pub(super) fn write(uid: &str, namespace: &str, outgoing: &Outgoing<'_>) -> Vec<u8> {
    let data = outgoing.news.map(|news| Data {
        packet: WrittenPacket { kind: Packet::EVENT, data: (news.name(), news.event(outgoing.id)) },
        opts: WrittenOptions { rooms: [outgoing.id.as_str()], except: outgoing.except, flags: Flags {} },
    });
    let written = Written {
        kind: data.as_ref().map(|_| BROADCAST),
        nsp: if data.is_some() { namespace } else { Wire::INTERNAL },
        data,
        uid,
        maxtalk: &outgoing.mark,
    };
    // All keys are strings, and all literals were parsed as JSON.
    serde_json::to_vec(&written).unwrap_or_default()
}

/// Answers a request of a server that nothing here has what it asks for. It waits for as many answers as Redis counts
/// subscribers on the channel of the namespace, and this node is one.
fn answer(reader: &Reader<'_>, kind: u64, uid: &str, request_id: &str) -> Option<Answer> {
    let none = match kind {
        BROADCAST => AnswerData { client_count: Some(0), ..AnswerData::default() },
        FETCH_SOCKETS => AnswerData { sockets: Some([]), ..AnswerData::default() },
        SERVER_SIDE_EMIT => AnswerData { packet: Some(()), ..AnswerData::default() },
        _ => return None,
    };
    let kind = match kind {
        BROADCAST => BROADCAST_CLIENT_COUNT,
        // The number of an answer follows that of its request.
        request => request + 1,
    };
    let Settings { prefix, namespace, node, .. } = reader.settings;
    let written =
        WrittenAnswer { kind, data: AnswerData { request_id, ..none }, uid: &format!("mt:{node}"), nsp: namespace };
    let body = serde_json::to_vec(&written).ok()?;
    Some(Answer { channel: format!("{prefix}#{namespace}#{uid}#"), body })
}

#[derive(Serialize)]
struct WrittenAnswer<'a> {
    #[serde(rename = "type")]
    kind: u64,
    data: AnswerData<'a>,
    uid: &'a str,
    nsp: &'a str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerData<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<()>,
}

pub(super) fn read(reader: &Reader<'_>, bytes: &[u8]) -> Result<Reading, Refusal> {
    let mut tape = Tape::default();
    if bytes.first() == Some(&b'{') { json::read(bytes, &mut tape) } else { msgpack::read(bytes, &mut tape) }?;
    let members = tape.root().and_then(Value::members).ok_or(Rejected::Envelope)?;
    let (mut kind, mut namespace, mut data, mut mark, mut uid) = (None, None, None, None, None);
    for (key, value) in members {
        match key {
            "type" => kind = value.number(),
            "nsp" => namespace = value.text(),
            "data" => data = Some(value),
            "maxtalk" => mark = Some(value),
            "uid" => uid = value.text(),
            _ => {}
        }
    }
    match namespace {
        Some(Wire::INTERNAL) => return reader.internal(mark),
        Some(namespace) if namespace == &*reader.settings.namespace => {}
        _ => return Err(Ignored::Namespace.into()),
    }
    let (mut packet, mut options, mut request) = (None, None, None);
    for (key, value) in data.and_then(Value::members).into_iter().flatten() {
        match key {
            "packet" => packet = Some(value),
            "opts" => options = Some(value),
            "requestId" => request = Some(value),
            _ => {}
        }
    }
    if let (Some(kind), Some(uid), Some(request)) = (kind, uid, request.and_then(Value::text)) {
        return answer(reader, kind, uid, request).map(Reading::Asked).ok_or_else(|| Ignored::Request.into());
    }
    // Without the answers of all, nothing would come of a broadcast that asks for them.
    if kind != Some(BROADCAST) || request.is_some() {
        return Err(Ignored::Request.into());
    }
    if data.and_then(Value::members).is_none() {
        return Err(Rejected::Envelope.into());
    }
    let (name, argument) = Packet::read(packet.ok_or(Rejected::Packet)?)?.event()?;
    let options = Options::read(options.ok_or(Rejected::Options)?)?;
    reader.emit(Emit { name, argument, rooms: options.rooms, except: options.except, mark })
}
