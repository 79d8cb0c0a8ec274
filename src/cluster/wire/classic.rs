//! The dialect of the classic adapter: MessagePack, `[uid, packet, options]`. Generations 5 to 8 of the adapter and
//! generations 3 to 5 of the emitter write it.

use super::incoming::{Emit, Options, Packet, Reader};
use super::msgpack::{self, Pack};
use super::outgoing::{News, Outgoing};
use super::reading::{Ignored, Reading, Refusal, Rejected};
use super::tape::Tape;
use super::{Wire, scalar};

/// The bytes of an update with short values.
const USUAL_BYTES: usize = 320;

pub(super) fn write(uid: &str, namespace: &str, mut outgoing: Outgoing<'_>) -> Vec<u8> {
    let mut pack = Pack::with_capacity(USUAL_BYTES);
    pack.array(3);
    pack.text(uid);
    let Some(news) = outgoing.news else {
        pack.map(1);
        pack.text("nsp");
        pack.text(Wire::INTERNAL);
        pack.map(1);
        pack.text("maxtalk");
        outgoing.mark.pack(&mut pack);
        return pack.finish();
    };
    if let News::Update { talk, .. } = news {
        outgoing.mark.timestamp = scalar::digits(talk.timestamp.as_ref());
        outgoing.mark.message_id = scalar::digits(talk.message_id.as_ref());
    }
    pack.map(3);
    pack.text("type");
    pack.unsigned(Packet::EVENT);
    pack.text("data");
    pack.array(2);
    pack.text(news.name());
    write_event(&mut pack, news, outgoing.id.as_str());
    pack.text("nsp");
    pack.text(namespace);
    pack.map(4);
    pack.text("rooms");
    pack.array(1);
    pack.text(outgoing.id.as_str());
    pack.text("except");
    pack.array(outgoing.except.len());
    outgoing.except.iter().for_each(|name| pack.text(name));
    pack.text("flags");
    pack.map(0);
    pack.text("maxtalk");
    outgoing.mark.pack(&mut pack);
    pack.finish()
}

/// Writes the argument of an event, with its members in the order in which our own clients hear them.
fn write_event(pack: &mut Pack, news: News<'_>, conversation: &str) {
    match news {
        News::Update { username, talk } => {
            pack.map(2 + usize::from(talk.timestamp.is_some()) + usize::from(talk.message_id.is_some()));
            pack.text("username");
            pack.text(username.as_str());
            pack.text("conversation");
            pack.text(conversation);
            for (key, value) in [("timestamp", &talk.timestamp), ("messageID", &talk.message_id)] {
                if let Some(value) = value {
                    pack.text(key);
                    scalar::write(pack, value);
                }
            }
        }
        News::Joined(username) | News::Left(username) => {
            pack.map(2);
            pack.text("conversation");
            pack.text(conversation);
            pack.text("username");
            pack.text(username.as_str());
        }
    }
}

/// Reads an emit as Node's adapter does: it ignores what is of another namespace before it looks at the options.
pub(super) fn read(reader: &Reader<'_>, bytes: &[u8]) -> Result<Reading, Refusal> {
    let mut tape = Tape::default();
    msgpack::read(bytes, &mut tape)?;
    let mut parts = tape.root().and_then(|root| root.elements()).ok_or(Rejected::Envelope)?;
    parts.next().ok_or(Rejected::Envelope)?;
    let packet = parts.next().filter(|packet| !packet.is_nil()).ok_or(Ignored::Namespace)?;
    let packet = Packet::read(packet)?;
    let is_internal = match packet.namespace() {
        Some(Wire::INTERNAL) => true,
        Some(namespace) if namespace == &*reader.settings.namespace => false,
        _ => return Err(Ignored::Namespace.into()),
    };
    let options = Options::read(parts.next().ok_or(Rejected::Options)?)?;
    if is_internal {
        return reader.internal(options.mark);
    }
    let (name, argument) = packet.event()?;
    reader.emit(Emit { name, argument, rooms: options.rooms, except: options.except, mark: options.mark })
}
