//! What an emit means, whatever dialect it came in: the parts that the dialects have in common, and the rules by which
//! an emit becomes messages about conversations.

use std::borrow::Cow;
use std::collections::HashSet;
use std::iter::repeat_n;

use smallvec::SmallVec;

use super::channels::Place;
use super::mark::Marked;
use super::reading::{Everybody, Ignored, Reading, Refusal, Rejected};
use super::tape::{Item, Value};
use super::{Settings, Wire, scalar};
use crate::cluster::message::{Content, Message, Presence, Stamp, Users};
use crate::event::{ConversationId, Scalar, Talk, Username};

/// Names of rooms.
pub(super) type Names<'t> = SmallVec<[Cow<'t, str>; 1]>;

/// The copies of names that one emit may make: each of its rooms gets the names of the rooms that do not hear it.
const COPIES_MAX: usize = 16_384;

/// The packet of an emit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'t> {
    kind: Option<u64>,
    namespace: Option<Value<'t>>,
    data: Option<Value<'t>>,
}

impl<'t> Packet<'t> {
    /// The type of a packet with an event.
    pub(super) const EVENT: u64 = 2;

    pub(super) fn read(packet: Value<'t>) -> Result<Self, Rejected> {
        let mut read = Self { kind: None, namespace: None, data: None };
        for (key, value) in packet.members().ok_or(Rejected::Packet)? {
            match key {
                "type" => read.kind = value.number(),
                "nsp" => read.namespace = Some(value),
                "data" => read.data = Some(value),
                _ => {}
            }
        }
        Ok(read)
    }

    /// The namespace. A packet without one is of the main namespace.
    pub(super) fn namespace(&self) -> Option<&'t str> {
        self.namespace.map_or(Some("/"), Value::text)
    }

    /// The name of the event and its first argument.
    pub(super) fn event(&self) -> Result<(&'t str, Option<Value<'t>>), Rejected> {
        let mut data = self.data.and_then(Value::elements).ok_or(Rejected::Packet)?;
        match (self.kind, data.next().and_then(Value::text)) {
            (Some(Self::EVENT), Some(name)) => Ok((name, data.next())),
            _ => Err(Rejected::Packet),
        }
    }
}

/// The options of an emit.
#[derive(Clone, Debug, Default)]
pub(super) struct Options<'t> {
    pub(super) rooms: Names<'t>,
    pub(super) except: Names<'t>,
    pub(super) mark: Option<Value<'t>>,
}

impl<'t> Options<'t> {
    pub(super) fn read(options: Value<'t>) -> Result<Self, Rejected> {
        let mut read = Self::default();
        for (key, value) in options.members().ok_or(Rejected::Options)? {
            match key {
                "rooms" => read.rooms = names(value).ok_or(Rejected::Rooms)?,
                "except" => read.except = names(value).ok_or(Rejected::Options)?,
                "maxtalk" => read.mark = Some(value),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Reads a list of names of rooms. An old emitter for Python writes an empty text for an empty list.
pub(super) fn names(value: Value<'_>) -> Option<Names<'_>> {
    if value.is_nil() || value.text() == Some("") {
        return Some(Names::new());
    }
    value.elements()?.map(name).collect()
}

/// Reads the name of a room. A number is a name too: `to(5)` is an easy mistake.
pub(super) fn name(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.item() {
        Item::Unsigned(number) => Some(number.to_string().into()),
        _ => value.text().map(Into::into),
    }
}

/// An emit of anybody.
#[derive(Debug)]
pub(super) struct Emit<'t> {
    pub(super) name: &'t str,
    pub(super) argument: Option<Value<'t>>,
    pub(super) rooms: Names<'t>,
    pub(super) except: Names<'t>,
    pub(super) mark: Option<Value<'t>>,
}

/// The argument of an emit.
#[derive(Clone, Copy, Debug, Default)]
struct Argument<'t> {
    username: Option<&'t str>,
    conversation: Option<Value<'t>>,
    timestamp: Option<Value<'t>>,
    message_id: Option<Value<'t>>,
}

impl<'t> Argument<'t> {
    fn read(argument: Option<Value<'t>>) -> Result<Self, Rejected> {
        let mut read = Self::default();
        for (key, value) in argument.and_then(Value::members).ok_or(Rejected::Argument)? {
            match key {
                "username" => read.username = value.text(),
                "conversation" => read.conversation = Some(value),
                "timestamp" => read.timestamp = Some(value),
                "messageID" => read.message_id = Some(value),
                _ => {}
            }
        }
        Ok(read)
    }

    fn username(&self) -> Result<Username, Rejected> {
        self.username.and_then(|name| Username::parse(name).ok()).ok_or(Rejected::Username)
    }

    /// The conversation that the event names. `None` if it names none.
    fn conversation(&self) -> Result<Option<&'t str>, Rejected> {
        self.conversation.map(|value| value.text().ok_or(Rejected::Conversation)).transpose()
    }
}

/// Makes messages of emits.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) place: Place<'a>,
}

impl Reader<'_> {
    /// Whether an event of this name is read as an update.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.settings.events.iter().any(|event| **event == *name)
    }

    /// Reads an emit.
    pub(super) fn emit(&self, emit: Emit<'_>) -> Result<Reading, Refusal> {
        let mark = emit.mark.map(Marked::read).transpose()?;
        let Some(mark) = mark else {
            return if self.reads(emit.name) { self.update(emit, None) } else { Err(Ignored::Event.into()) };
        };
        if mark.node == self.settings.node {
            return Err(Ignored::Own.into());
        }
        match mark.kind {
            None if emit.name == Wire::UPDATE || self.reads(emit.name) => self.update(emit, Some(&mark)),
            None => Err(Ignored::Event.into()),
            Some("+" | "-") => self.public_presence(emit, &mark),
            // The others are never public.
            Some("state" | "gone" | "ask") => Err(Rejected::Mark.into()),
            Some(_) => Err(Ignored::Kind.into()),
        }
    }

    /// Reads a message that is for nodes of maxtalk only.
    pub(super) fn internal(&self, mark: Option<Value<'_>>) -> Result<Reading, Refusal> {
        // Somebody else may have a namespace of this name.
        let mark = Marked::read(mark.ok_or(Ignored::Namespace)?)?;
        if mark.node == self.settings.node {
            return Err(Ignored::Own.into());
        }
        let ((Some(id), _) | (None, Place::Conversation(id))) = (mark.id, self.place) else {
            return Err(Rejected::Rooms.into());
        };
        if id.len() > self.settings.id_bytes_max {
            return Err(Rejected::Rooms.into());
        }
        let message = presence(&mark, None)?;
        Ok(Reading::Messages(vec![(id.into(), message)]))
    }

    fn public_presence(&self, emit: Emit<'_>, mark: &Marked<'_>) -> Result<Reading, Refusal> {
        let argument = Argument::read(emit.argument)?;
        let message = presence(mark, Some(argument.username()?))?;
        let rooms = self.rooms(emit.rooms, argument.conversation()?)?;
        let copies = repeat_n(message, rooms.len());
        Ok(Reading::Messages(rooms.iter().map(|room| (&**room).into()).zip(copies).collect()))
    }

    fn update(&self, emit: Emit<'_>, mark: Option<&Marked<'_>>) -> Result<Reading, Refusal> {
        let is_for_all = emit.rooms.is_empty();
        if is_for_all && mark.is_some() {
            return Err(Rejected::Rooms.into());
        }
        if is_for_all && !self.settings.namespace_wide {
            return Err(Ignored::Everybody.into());
        }
        if emit.rooms.len().saturating_mul(1 + emit.except.len()) > COPIES_MAX {
            return Err(Rejected::Rooms.into());
        }
        let argument = Argument::read(emit.argument)?;
        let username = argument.username()?;
        let read = |value, digits| scalar::read(value, digits, self.settings.id_bytes_max);
        let timestamp = read(argument.timestamp, mark.and_then(|mark| mark.timestamp))?;
        let message_id = read(argument.message_id, mark.and_then(|mark| mark.message_id))?;
        let except: Vec<Box<str>> = emit.except.into_iter().map(Into::into).collect();
        let conversation = argument.conversation()?;
        if is_for_all {
            let conversation = conversation.map(Into::into);
            return Ok(Reading::Everybody(Everybody { username, conversation, timestamp, message_id, except }));
        }
        let stamp = mark.map(Marked::stamp).transpose()?.flatten();
        let rooms = self.rooms(emit.rooms, conversation)?;
        let except_self = mark.is_some_and(|mark| mark.except_self);
        let copies = repeat_n((username, timestamp, message_id, except), rooms.len());
        let update = |(room, copy): (&Cow<'_, str>, _)| update_in(room, stamp, except_self, copy);
        Ok(Reading::Messages(rooms.iter().zip(copies).map(update).collect()))
    }

    /// Returns the rooms of an emit that can be conversations, each once. If the event names a conversation, it is the
    /// only one of them.
    fn rooms<'t>(&self, mut rooms: Names<'t>, conversation: Option<&str>) -> Result<Names<'t>, Rejected> {
        rooms.retain(|room| room.len() <= self.settings.id_bytes_max);
        if rooms.is_empty() {
            return Err(Rejected::Rooms);
        }
        if let Some(conversation) = conversation {
            rooms.retain(|room| room == conversation);
            rooms.truncate(1);
            return if rooms.is_empty() { Err(Rejected::Conversation) } else { Ok(rooms) };
        }
        if rooms.len() > 1 {
            let mut seen = HashSet::with_capacity(rooms.len());
            rooms.retain(|room| seen.insert(room.clone()));
        }
        Ok(rooms)
    }
}

fn update_in(
    room: &str,
    stamp: Option<Stamp>,
    except_self: bool,
    (username, timestamp, message_id, except): (Username, Option<Scalar>, Option<Scalar>, Vec<Box<str>>),
) -> (ConversationId, Message) {
    let id = ConversationId::from(room);
    let talk = Talk { conversation: id.clone(), timestamp, message_id };
    (id, Message { stamp, content: Content::Update { username, talk, except, except_self } })
}

/// Reads a message about users. `public` is the user of the event, if clients of Node servers hear one.
fn presence(mark: &Marked<'_>, public: Option<Username>) -> Result<Message, Refusal> {
    let is_public = public.is_some();
    let stamp = mark.numbered();
    let username = || public.or_else(|| user(mark.users?)).ok_or(Rejected::Mark);
    let (stamp, presence) = match mark.kind.unwrap_or_default() {
        "+" => (stamp?, Presence::Come { username: username()?, public: is_public }),
        "-" => (stamp?, Presence::Go { username: username()?, public: is_public }),
        "state" => (stamp?, Presence::State { users: users(mark)?, asks: mark.asks }),
        "gone" => (stamp?, Presence::Gone),
        "ask" => {
            let life = mark.life.ok_or(Rejected::Mark)?;
            let stamp = Stamp { node: mark.node, life, sequence: None };
            (stamp, Presence::Ask { to: mark.to.ok_or(Rejected::Mark)? })
        }
        "" => return Err(Rejected::Mark.into()),
        _ => return Err(Ignored::Kind.into()),
    };
    Ok(Message { stamp: Some(stamp), content: Content::Presence(presence) })
}

fn users(mark: &Marked<'_>) -> Result<Users, Rejected> {
    match (mark.users, mark.count) {
        (Some(names), _) => {
            let names = names.elements().ok_or(Rejected::Mark)?;
            Ok(Users::Names(names.map(user).collect::<Option<_>>().ok_or(Rejected::Mark)?))
        }
        (None, Some(count)) => Ok(Users::Count(usize::try_from(count).map_err(|_| Rejected::Mark)?)),
        (None, None) => Err(Rejected::Mark),
    }
}

fn user(name: Value<'_>) -> Option<Username> {
    Username::parse(name.text()?).ok()
}
