//! The letters between two nodes: JSON in both dialects.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Settings;
use super::reading::{Ignored, Refusal, Rejected};
use crate::cluster::letters::{HOPS_MAX, Handover, Letter, Offer, Refused, Return};
use crate::cluster::message::NodeId;
use crate::event::{ConversationId, Username};

/// The longest pid, offset and sid.
const TEXT_BYTES_MAX: usize = 64;

/// A letter. It has the members of its kind.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written<'a> {
    /// The kind.
    k: Cow<'a, str>,
    /// The node to which the client has come.
    n: Cow<'a, str>,
    /// The number of its return there.
    r: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hops: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conversations: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missed: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outage: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recounts: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Cow<'a, str>>,
}

const CLAIM: &str = "claim";
const OFFER: &str = "offer";
const TAKE: &str = "take";
const HANDOVER: &str = "handover";
const REFUSAL: &str = "refusal";

/// The texts of the reasons.
const REASONS: [(&str, Refused); 2] = [("pid", Refused::UnknownPid), ("offset", Refused::UnknownOffset)];

pub(super) fn write(letter: &Letter) -> Vec<u8> {
    let of = |k: &'static str, of: &Return| Written {
        k: k.into(),
        n: of.node.to_string().into(),
        r: of.number,
        ..Written::default()
    };
    let written = match letter {
        Letter::Claim { of: return_, pid, heard, hops } => Written {
            pid: Some((&**pid).into()),
            heard: heard.as_deref().map(Into::into),
            hops: Some(*hops),
            ..of(CLAIM, return_)
        },
        Letter::Offer { of: return_, from, offer: Offer { sid, username, conversations } } => Written {
            from: Some(from.to_string().into()),
            sid: Some((&**sid).into()),
            username: Some(username.as_str().into()),
            conversations: texts(conversations),
            ..of(OFFER, return_)
        },
        Letter::Take { of: return_, pid } => Written { pid: Some((&**pid).into()), ..of(TAKE, return_) },
        Letter::Handover { of: return_, handover: Handover { events, missed, has_outage, recounts } } => Written {
            events: events.as_ref().map(|events| events.iter().map(|event| (&**event).into()).collect()),
            missed: texts(missed),
            outage: *has_outage,
            recounts: texts(recounts),
            ..of(HANDOVER, return_)
        },
        Letter::Refusal { of: return_, why } => {
            let text = REASONS.iter().find_map(|(text, reason)| (reason == why).then_some(*text));
            Written { why: text.map(Into::into), ..of(REFUSAL, return_) }
        }
    };
    serde_json::to_vec(&written).unwrap_or_default()
}

pub(super) fn read(bytes: &[u8], settings: &Settings) -> Result<Letter, Refusal> {
    // serde would also accept an array with the members in their order.
    if bytes.first() != Some(&b'{') {
        return Err(Rejected::Syntax.into());
    }
    let written: Written<'_> = serde_json::from_slice(bytes)
        .map_err(|error| if error.is_data() { Rejected::Node } else { Rejected::Syntax })?;
    let node = |text: &str| NodeId::parse(text).ok_or(Rejected::Node);
    let text = |text: Option<Cow<'_, str>>| match text {
        Some(text) if text.len() <= TEXT_BYTES_MAX => Ok(Box::<str>::from(text)),
        _ => Err(Rejected::Node),
    };
    let ids = |ids: Vec<Cow<'_, str>>| {
        let are_different = ids.iter().collect::<HashSet<_>>().len() == ids.len();
        let are_short = ids.iter().all(|id| id.len() <= settings.id_bytes_max);
        let are_good = are_different && are_short && ids.len() <= settings.conversations_max;
        are_good.then(|| ids.iter().map(|id| ConversationId::from(&**id)).collect::<Vec<_>>()).ok_or(Rejected::Node)
    };
    if written.k.is_empty() {
        return Err(Rejected::Node.into());
    }
    let of = || Ok::<_, Rejected>(Return { node: node(&written.n)?, number: written.r });
    Ok(match &*written.k {
        CLAIM => Letter::Claim {
            of: of()?,
            pid: text(written.pid)?,
            heard: written.heard.map(|heard| text(Some(heard))).transpose()?,
            hops: written.hops.filter(|hops| *hops <= HOPS_MAX).ok_or(Rejected::Node)?,
        },
        OFFER => Letter::Offer {
            of: of()?,
            from: node(&written.from.unwrap_or_default())?,
            offer: Offer {
                sid: text(written.sid)?,
                username: written.username.and_then(|name| Username::parse(&name).ok()).ok_or(Rejected::Username)?,
                conversations: ids(written.conversations)?,
            },
        },
        TAKE => Letter::Take { of: of()?, pid: text(written.pid)? },
        HANDOVER => Letter::Handover {
            of: of()?,
            handover: Handover {
                events: written.events.map(|events| events.into_iter().map(Into::into).collect()),
                missed: ids(written.missed)?,
                has_outage: written.outage,
                recounts: ids(written.recounts)?,
            },
        },
        REFUSAL => {
            let why = REASONS.iter().find(|(text, _)| written.why.as_deref() == Some(*text));
            Letter::Refusal { of: of()?, why: why.map_or(Refused::UnknownPid, |(_, why)| *why) }
        }
        // A later version may know it.
        _ => return Err(Ignored::Kind.into()),
    })
}

fn texts(ids: &[ConversationId]) -> Vec<Cow<'_, str>> {
    ids.iter().map(|id| id.as_str().into()).collect()
}
