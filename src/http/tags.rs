//! The tags of sids. A request for a session of another node is told apart by its tag. It gets the answer that clients
//! know, is counted, and is logged at most once a minute.

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use crate::ids::SidTag;
use crate::logging::limiter::Limiter;

/// Returns whether a tag is that of another node in the cluster of this one.
pub type IsPeerTag = dyn Fn(&str) -> bool + Send + Sync;

/// The tag of this node, and what it knows of the others.
pub struct SidTags {
    own: SidTag,
    is_peer_tag: Box<IsPeerTag>,
    /// Limits the lines about requests for sessions of other nodes to one a minute.
    lines: Mutex<Limiter>,
}

/// Why a sid names no session of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSession {
    /// No node has given it out, or the session is over.
    Unknown,
    /// Another node has given it out.
    OtherNode(OtherNode),
}

/// Another node, to which a session belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherNode {
    /// The tag of the node.
    tag: SidTag,
    /// Whether the node is in the cluster of this one.
    is_peer: bool,
}

impl SidTags {
    /// Returns the tags of a node that gives out sids with the tag `own`.
    pub fn new(own: SidTag, is_peer_tag: Box<IsPeerTag>) -> Self {
        Self { own, is_peer_tag, lines: Mutex::new(Limiter::per_minute(1)) }
    }

    /// Returns the tag of this node.
    pub fn own(&self) -> SidTag {
        self.own
    }

    /// Returns the node of a sid that has the tag of another node. `None` if the tag is that of this node, or if no
    /// node can have given out such a sid.
    pub fn other_node(&self, sid: &str) -> Option<OtherNode> {
        let tag = SidTag::of(sid).filter(|tag| *tag != self.own)?;
        Some(OtherNode { tag, is_peer: (self.is_peer_tag)(tag.as_str()) })
    }

    /// Logs that a request for a session of another node has come here, at most once a minute.
    pub fn log(&self, node: OtherNode, now: Instant) {
        let admitted = self.lines.lock().admit(now);
        if let Some(suppressed) = admitted {
            // After a restart without `server.sid_tag`, clients of the time before bring a tag that no server has.
            let (level, restarted) = match node.is_peer {
                true => (log::Level::Warn, ""),
                false => (log::Level::Info, ", or this server has been restarted"),
            };
            log::log!(
                level,
                "a request is for a session of another server, whose sids begin with {:?}{suppressed}: a proxy sends \
                 the requests of one session to several servers{restarted}; let it route by the first {} characters of \
                 sid (server.sid_tag) or by the client's address, or let clients connect with \
                 transports: [\"websocket\"]; see `maxtalk docs proxies`",
                node.tag.as_str(),
                SidTag::LEN,
            );
        }
    }
}

impl OtherNode {
    /// Returns the header that tells somebody who looks for the cause that a request came to the wrong node, as a line
    /// with its end. It is empty unless the node is in the cluster.
    pub fn header_line(self) -> &'static str {
        if self.is_peer { "X-Maxtalk-Session: another node\r\n" } else { "" }
    }

    /// Adds this header to an answer.
    pub fn mark(self, response: &mut HttpResponse) {
        if self.is_peer {
            let value = HeaderValue::from_static("another node");
            response.headers_mut().insert(HeaderName::from_static("x-maxtalk-session"), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> SidTags {
        SidTags::new(SidTag::parse("k3f9").unwrap(), Box::new(|tag| tag == "m7q2"))
    }

    #[test]
    fn a_sid_is_of_another_node_if_its_tag_is() {
        let (tags, rest) = (tags(), "A".repeat(22));
        let other_node = |sid: &str| tags.other_node(sid).map(|node| (node.tag.to_string(), node.is_peer));
        assert_eq!(other_node(&format!("k3f9{rest}")), None);
        assert_eq!(other_node(&format!("m7q2{rest}")), Some(("m7q2".to_owned(), true)));
        assert_eq!(other_node(&format!("zzzz{rest}")), Some(("zzzz".to_owned(), false)));
        for sid in ["", "m7q2", "m7q2A", "AAAAAAAAAAAAAAAAAAAA", &rest, &format!("m7q2{rest}A"), &format!("m7q/{rest}")]
        {
            assert_eq!(other_node(sid), None, "{sid}");
        }
    }

    #[test]
    fn only_a_node_of_the_cluster_is_told_by_a_header() {
        for (sid, header) in [("m7q2", Some("another node")), ("zzzz", None)] {
            let node = tags().other_node(&format!("{sid}{}", "A".repeat(22))).unwrap();
            let mut response = HttpResponse::BadRequest().finish();
            node.mark(&mut response);
            assert_eq!(response.headers().get("x-maxtalk-session").map(|value| value.to_str().unwrap()), header);
            assert_eq!(node.header_line(), header.map_or(String::new(), |is| format!("X-Maxtalk-Session: {is}\r\n")));
        }
    }
}
