//! The messages that a `RedisManager` of python-socketio writes since 5.14.0. Before that it wrote pickles, which are
//! programs, and are never read.

use super::incoming::{Emit, Names, Reader, name, names};
use super::json;
use super::reading::{Ignored, Reading, Refusal, Rejected};
use super::tape::{Tape, Value};

/// The first byte of a pickle since Python 2.3.
const PICKLE: u8 = 0x80;

pub(super) fn read(reader: &Reader<'_>, bytes: &[u8]) -> Result<Reading, Refusal> {
    if bytes.first() == Some(&PICKLE) {
        return Err(Rejected::Pickle.into());
    }
    let mut tape = Tape::default();
    json::read(bytes, &mut tape)?;
    let members = tape.root().and_then(Value::members).ok_or(Rejected::Envelope)?;
    let (mut method, mut event, mut data, mut namespace, mut room, mut skip) = (None, None, None, None, None, None);
    let (mut is_binary, mut wants_ack) = (false, false);
    for (key, value) in members {
        match key {
            "method" => method = value.text(),
            "event" => event = value.text(),
            "data" => data = Some(value),
            "namespace" => namespace = value.text(),
            "room" => room = Some(value),
            "skip_sid" => skip = Some(value),
            "binary" => is_binary = value.flag() == Some(true),
            "callback" => wants_ack = !value.is_nil(),
            _ => {}
        }
    }
    if method.ok_or(Rejected::Envelope)? != "emit" || wants_ack {
        return Err(Ignored::Request.into());
    }
    if namespace != Some(&*reader.settings.namespace) {
        return Err(Ignored::Namespace.into());
    }
    let event = event.ok_or(Rejected::Packet)?;
    if is_binary && reader.reads(event) {
        return Err(Rejected::Binary.into());
    }
    let argument = data.and_then(|data| data.elements().map_or(Some(data), |mut arguments| arguments.next()));
    let rooms = one_or_more(room).ok_or(Rejected::Rooms)?;
    let except = one_or_more(skip).ok_or(Rejected::Options)?;
    reader.emit(Emit { name: event, argument, rooms, except, mark: None })
}

/// Reads a name, a list of names, or nothing.
fn one_or_more(value: Option<Value<'_>>) -> Option<Names<'_>> {
    let Some(value) = value else { return Some(Names::new()) };
    if value.is_nil() || value.elements().is_some() { names(value) } else { name(value).map(|name| [name].into()) }
}
