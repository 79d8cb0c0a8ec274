//! The map `maxtalk`, by which nodes of maxtalk tell one another what Node servers do not know.

use serde::Serialize;

use super::msgpack::Pack;
use super::reading::Rejected;
use super::tape::Value;
use crate::cluster::message::{NodeId, Stamp};
use crate::event::Username;

/// The mark of a message of ours, to be written.
#[derive(Debug, Serialize)]
pub(super) struct Mark<'a> {
    #[serde(rename = "n")]
    pub(super) node: &'a str,
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub(super) life: Option<u64>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub(super) users: Option<Names<'a>>,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(rename = "ask", skip_serializing_if = "Option::is_none")]
    pub(super) asks: Option<bool>,
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    pub(super) except_self: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<&'a str>,
    /// The digits of `timestamp`. JSON has them in the event.
    #[serde(skip)]
    pub(super) timestamp: Option<&'a str>,
    /// The digits of `messageID`. JSON has them in the event.
    #[serde(skip)]
    pub(super) message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
}

/// The names in a mark.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Names<'a> {
    /// The user who comes or goes.
    One(&'a Username),
    /// All users.
    All(&'a [Username]),
}

impl<'a> Mark<'a> {
    pub(super) fn new(node: &'a str, stamp: Option<Stamp>) -> Self {
        Self {
            node,
            life: stamp.map(|stamp| stamp.life),
            sequence: stamp.and_then(|stamp| stamp.sequence),
            kind: None,
            users: None,
            count: None,
            asks: None,
            except_self: None,
            to: None,
            timestamp: None,
            message_id: None,
            id: None,
        }
    }

    pub(super) fn pack(&self, pack: &mut Pack) {
        let numbers = [("l", self.life), ("s", self.sequence), ("c", self.count)];
        let texts = [("k", self.kind), ("to", self.to), ("t", self.timestamp), ("m", self.message_id), ("id", self.id)];
        let numbers = || numbers.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let texts = || texts.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let flags =
            || [("ask", self.asks), ("x", self.except_self)].into_iter().filter_map(|(key, flag)| Some((key, flag?)));
        pack.map(1 + numbers().count() + texts().count() + usize::from(self.users.is_some()) + flags().count());
        pack.text("n");
        pack.text(self.node);
        for (key, number) in numbers() {
            pack.text(key);
            pack.unsigned(number);
        }
        for (key, text) in texts() {
            pack.text(key);
            pack.text(text);
        }
        if let Some(users) = self.users {
            pack.text("u");
            match users {
                Names::One(name) => pack.text(name.as_str()),
                Names::All(names) => {
                    pack.array(names.len());
                    names.iter().for_each(|name| pack.text(name.as_str()));
                }
            }
        }
        for (key, flag) in flags() {
            pack.text(key);
            pack.flag(flag);
        }
    }
}

/// The mark of a message that came in. Members that are not known are of a later version, and are ignored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marked<'t> {
    pub(super) node: NodeId,
    pub(super) life: Option<u64>,
    pub(super) sequence: Option<u64>,
    pub(super) kind: Option<&'t str>,
    pub(super) users: Option<Value<'t>>,
    pub(super) count: Option<u64>,
    pub(super) asks: bool,
    pub(super) except_self: bool,
    pub(super) to: Option<NodeId>,
    pub(super) timestamp: Option<&'t str>,
    pub(super) message_id: Option<&'t str>,
    pub(super) id: Option<&'t str>,
}

impl<'t> Marked<'t> {
    pub(super) fn read(mark: Value<'t>) -> Result<Self, Rejected> {
        let (mut node, mut to, mut life, mut sequence, mut kind) = (None, None, None, None, None);
        let (mut users, mut count, mut asks, mut except_self, mut id) = (None, None, false, false, None);
        let (mut timestamp, mut message_id) = (None, None);
        let text = |value: Value<'t>| value.text().ok_or(Rejected::Mark);
        let number = |value: Value<'t>| value.number().ok_or(Rejected::Mark);
        for (key, value) in mark.members().ok_or(Rejected::Mark)? {
            match key {
                "n" => node = Some(NodeId::parse(text(value)?).ok_or(Rejected::Mark)?),
                "l" => life = Some(number(value)?),
                "s" => sequence = Some(number(value)?),
                "k" => kind = Some(text(value)?),
                "u" => users = Some(value),
                "c" => count = Some(number(value)?),
                "ask" => asks = value.flag().ok_or(Rejected::Mark)?,
                "x" => except_self = value.flag().unwrap_or_default(),
                "to" => to = Some(NodeId::parse(text(value)?).ok_or(Rejected::Mark)?),
                "t" => timestamp = Some(text(value)?),
                "m" => message_id = Some(text(value)?),
                "id" => id = Some(text(value)?),
                _ => {}
            }
        }
        let node = node.ok_or(Rejected::Mark)?;
        Ok(Self { node, life, sequence, kind, users, count, asks, except_self, to, timestamp, message_id, id })
    }

    /// The place of an update: with both numbers, with a life alone or with neither.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>, Rejected> {
        match (self.life, self.sequence) {
            (None, None) => Ok(None),
            (Some(life), None) => Ok(Some(Stamp { node: self.node, life, sequence: None })),
            _ => self.numbered().map(Some),
        }
    }

    /// The place of a message that has to have one.
    pub(super) fn numbered(&self) -> Result<Stamp, Rejected> {
        match (self.life, self.sequence) {
            (Some(life), sequence @ Some(1..)) => Ok(Stamp { node: self.node, life, sequence }),
            _ => Err(Rejected::Mark),
        }
    }
}
