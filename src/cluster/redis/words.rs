//! The names of the commands by which a dialect publishes and subscribes.

use std::sync::Arc;

use redis::Pipeline;

use crate::cluster::settings::{Dialect, Settings};

/// The commands of one bus.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    dialect: Dialect,
    /// The channel that others publish on by `PUBLISH` in any case.
    python_channel: Option<Arc<str>>,
}

impl Words {
    pub(crate) const SUBSCRIBE: &str = "SUBSCRIBE";
    pub(crate) const UNSUBSCRIBE: &str = "UNSUBSCRIBE";
    pub(crate) const SSUBSCRIBE: &str = "SSUBSCRIBE";
    pub(crate) const SUNSUBSCRIBE: &str = "SUNSUBSCRIBE";

    /// Returns the commands for these settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { dialect: settings.dialect, python_channel: settings.python_channel.clone() }
    }

    /// The command that publishes.
    pub(crate) fn publish(&self) -> &'static str {
        match self.dialect {
            Dialect::Classic => "PUBLISH",
            Dialect::Sharded => "SPUBLISH",
        }
    }

    /// Makes a pipeline that publishes messages, each on its channel.
    pub(crate) fn pipeline<'a>(&self, messages: impl Iterator<Item = (String, &'a [u8])>) -> Pipeline {
        let mut pipeline = redis::pipe();
        for (channel, body) in messages {
            pipeline.cmd(self.publish()).arg(channel).arg(body);
        }
        pipeline
    }

    /// The command that subscribes a channel.
    pub(crate) fn subscribe(&self, channel: &str) -> &'static str {
        if self.is_sharded(channel) { Self::SSUBSCRIBE } else { Self::SUBSCRIBE }
    }

    /// Whether a channel is a sharded one.
    pub(crate) fn is_sharded(&self, channel: &str) -> bool {
        self.dialect == Dialect::Sharded && self.python_channel.as_deref() != Some(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_server_publishes_in_the_classic_way_in_both_dialects() {
        let words =
            |dialect| Words::of(&Settings { dialect, python_channel: Some("socketio".into()), ..Settings::default() });
        let of = |words: &Words| [words.publish(), words.subscribe("socket.io#/max#a#"), words.subscribe("socketio")];
        assert_eq!(of(&words(Dialect::Classic)), ["PUBLISH", "SUBSCRIBE", "SUBSCRIBE"]);
        assert_eq!(of(&words(Dialect::Sharded)), ["SPUBLISH", "SSUBSCRIBE", "SUBSCRIBE"]);
    }
}
