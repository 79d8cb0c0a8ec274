//! The names of the channels.

use std::sync::Arc;

use super::Settings;

/// A channel, with the id of the conversation as it stands in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The channel of one conversation.
    Conversation(&'a str),
    /// The channel of the namespace.
    Namespace,
    /// The channel of the nodes.
    Nodes,
    /// The channel of this node.
    Own,
    /// The channel of python-socketio.
    Python,
}

/// The names of all channels but those of conversations, which begin with that of the namespace.
#[derive(Debug)]
pub(super) struct Channels {
    namespace: String,
    nodes: String,
    own: String,
    python: Option<Arc<str>>,
}

impl Channels {
    pub(super) fn new(settings: &Settings) -> Self {
        let (prefix, namespace) = (&settings.prefix, &settings.namespace);
        // Node servers subscribe to every channel that begins with that of the namespace. This one does not.
        let nodes = format!("{prefix}-nodes#{namespace}#");
        Self {
            namespace: format!("{prefix}#{namespace}#"),
            own: letters(&nodes, settings.node.as_str()),
            nodes,
            python: settings.python_channel.clone(),
        }
    }

    /// The name of the channel of a room. An id may have any characters, `#` too, and may be empty: the name is read by
    /// what is before and behind the id.
    pub(super) fn room(&self, id: &str) -> String {
        format!("{}{id}#", self.namespace)
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn nodes(&self) -> &str {
        &self.nodes
    }

    pub(super) fn nodes_beside(&self, number: usize) -> String {
        format!("{}{{{number}}}", self.nodes)
    }

    pub(super) fn letters_to(&self, node: &str) -> String {
        letters(&self.nodes, node)
    }

    pub(super) fn always(&self) -> impl Iterator<Item = &str> {
        [&*self.namespace, &*self.nodes, &*self.own].into_iter().chain(self.python.as_deref())
    }

    /// Reads a name. `None` if it is no channel of ours.
    pub(super) fn place<'a>(&self, name: &'a [u8]) -> Option<Place<'a>> {
        if self.python.as_ref().is_some_and(|python| name == python.as_bytes()) {
            return Some(Place::Python);
        }
        if name == self.own.as_bytes() {
            return Some(Place::Own);
        }
        if let Some(rest) = name.strip_prefix(self.nodes.as_bytes()) {
            let is_beside = rest.strip_prefix(b"{").is_some_and(|rest| rest.strip_suffix(b"}").is_some());
            return (rest.is_empty() || is_beside).then_some(Place::Nodes);
        }
        let rest = name.strip_prefix(self.namespace.as_bytes())?;
        if rest.is_empty() {
            return Some(Place::Namespace);
        }
        std::str::from_utf8(rest.strip_suffix(b"#")?).ok().map(Place::Conversation)
    }
}

/// Returns the name of the channel of a node. In a Redis Cluster it has the slot of the channel of the nodes.
fn letters(nodes: &str, node: &str) -> String {
    format!("{nodes}{{{nodes}}}{node}#")
}
