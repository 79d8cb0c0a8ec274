//! The dialect of the sharded adapter: JSON, or MessagePack of the same shape, which Node's adapter writes if there is
//! something binary in the event.

use serde::Serialize;

use super::incoming::{Emit, Options, Packet, Reader};
use super::mark::Mark;
use super::outgoing::Outgoing;
use super::reading::{Ignored, Reading, Refusal, Rejected};
use super::tape::{Tape, Value};
use super::{Wire, json, msgpack};
use crate::event::ServerEvent;

/// The type of a message with an emit.
const BROADCAST: u64 = 3;

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

pub(super) fn read(reader: &Reader<'_>, bytes: &[u8]) -> Result<Reading, Refusal> {
    let mut tape = Tape::default();
    if bytes.first() == Some(&b'{') { json::read(bytes, &mut tape) } else { msgpack::read(bytes, &mut tape) }?;
    let members = tape.root().and_then(Value::members).ok_or(Rejected::Envelope)?;
    let (mut kind, mut namespace, mut data, mut mark) = (None, None, None, None);
    for (key, value) in members {
        match key {
            "type" => kind = value.number(),
            "nsp" => namespace = value.text(),
            "data" => data = Some(value),
            "maxtalk" => mark = Some(value),
            _ => {}
        }
    }
    match namespace {
        Some(Wire::INTERNAL) => return reader.internal(mark),
        Some(namespace) if namespace == &*reader.settings.namespace => {}
        _ => return Err(Ignored::Namespace.into()),
    }
    if kind != Some(BROADCAST) {
        return Err(Ignored::Request.into());
    }
    let (mut packet, mut options) = (None, None);
    for (key, value) in data.and_then(Value::members).ok_or(Rejected::Envelope)? {
        match key {
            "packet" => packet = Some(value),
            "opts" => options = Some(value),
            // The sender counts on acknowledgements, which none of our clients gives.
            "requestId" => return Err(Ignored::Request.into()),
            _ => {}
        }
    }
    let (name, argument) = Packet::read(packet.ok_or(Rejected::Packet)?)?.event()?;
    let options = Options::read(options.ok_or(Rejected::Options)?)?;
    reader.emit(Emit { name, argument, rooms: options.rooms, except: options.except, mark })
}
