//! The messages about nodes: JSON in both dialects.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reading::{Ignored, Refusal, Rejected};
use crate::cluster::message::{NodeId, NodeMessage};

/// The longest name, version and tag of a node.
const TEXT_BYTES_MAX: usize = 256;

/// A message about a node. It has the members of its kind, and is flat, so that reading it does not recurse.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written<'a> {
    /// The kind.
    k: Cow<'a, str>,
    /// The node.
    n: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flushed: Option<bool>,
}

/// The kind of [`NodeMessage::Heartbeat`].
const HEARTBEAT: &str = "heartbeat";

/// The kind of [`NodeMessage::Bye`].
const BYE: &str = "bye";

/// The kind of [`NodeMessage::Holes`].
const HOLES: &str = "holes";

pub(super) fn write(message: &NodeMessage) -> Vec<u8> {
    let of = |k: &'static str, node: &NodeId| Written { k: k.into(), n: node.to_string().into(), ..Written::default() };
    let written = match message {
        NodeMessage::Heartbeat { node, name, version, tag, sessions, conversations, sent_ms } => Written {
            name: Some((&**name).into()),
            version: Some((&**version).into()),
            tag: Some((&**tag).into()),
            sessions: Some(*sessions),
            conversations: Some(*conversations),
            sent_ms: Some(*sent_ms),
            ..of(HEARTBEAT, node)
        },
        NodeMessage::Bye { node, grace_ms, flushed } => {
            Written { grace_ms: Some(*grace_ms), flushed: flushed.then_some(true), ..of(BYE, node) }
        }
        NodeMessage::Holes { node } => of(HOLES, node),
    };
    serde_json::to_vec(&written).unwrap_or_default()
}

pub(super) fn read(bytes: &[u8]) -> Result<NodeMessage, Refusal> {
    // serde would also accept an array with the members in their order.
    if bytes.first() != Some(&b'{') {
        return Err(Rejected::Syntax.into());
    }
    let written: Written<'_> = serde_json::from_slice(bytes)
        .map_err(|error| if error.is_data() { Rejected::Node } else { Rejected::Syntax })?;
    let node = NodeId::parse(&written.n).ok_or(Rejected::Node);
    let text = |text: Option<Cow<'_, str>>| {
        text.filter(|text| text.len() <= TEXT_BYTES_MAX).map(Arc::<str>::from).ok_or(Rejected::Node)
    };
    let number = |number: Option<u64>| number.ok_or(Rejected::Node);
    Ok(match &*written.k {
        HEARTBEAT => NodeMessage::Heartbeat {
            node: node?,
            name: text(written.name)?,
            version: text(written.version)?,
            tag: text(written.tag)?,
            sessions: number(written.sessions)?,
            conversations: number(written.conversations)?,
            sent_ms: number(written.sent_ms)?,
        },
        BYE => NodeMessage::Bye {
            node: node?,
            grace_ms: number(written.grace_ms)?,
            flushed: written.flushed.unwrap_or_default(),
        },
        HOLES => NodeMessage::Holes { node: node? },
        "" => return Err(Rejected::Node.into()),
        // A later version may know it.
        _ => return Err(Ignored::Kind.into()),
    })
}
