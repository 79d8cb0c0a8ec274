//! The values of the settings of MAX's feed: the URL of RabbitMQ, and the release of MAX.

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::allowed::{Text, show_url};
use super::raw::Raw;
use crate::event::Token;

/// The URL of a RabbitMQ. It may hold a password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The name or the address of the server.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// The user.
    pub username: Arc<str>,
    /// The password of the user.
    pub password: Token,
    /// The virtual host.
    pub vhost: Arc<str>,
    text: Arc<str>,
}

impl AmqpUrl {
    /// The user and the password of a new RabbitMQ, which it takes on its own machine only.
    const GUEST: &str = "guest";

    /// Longest name of a virtual host: AMQP writes its length in one byte.
    const VHOST_BYTES_MAX: usize = 255;

    /// Reads a URL. A port that it does not have is that of a new RabbitMQ, and so are the user and the password where
    /// it has no user. A path that is empty or `/` is the virtual host `/`.
    ///
    /// # Errors
    /// A few words that say what is wrong and do not quote the URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "not a URL of RabbitMQ")?;
        let (tls, port) = match url.scheme() {
            "amqp" => (false, 5672),
            "amqps" => (true, 5671),
            _ => return Err("not a URL of RabbitMQ"),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a URL with a query");
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err("a URL without a host"),
        };
        let decoded = |part: &str| {
            let text = percent_decode_str(part).decode_utf8().map_err(|_| "not UTF-8")?;
            if text.contains('\0') { Err("a zero byte") } else { Ok(text.into_owned()) }
        };
        let guest = url.username().is_empty();
        let username = if guest { Self::GUEST.to_owned() } else { decoded(url.username())? };
        let password = decoded(url.password().unwrap_or(if guest { Self::GUEST } else { "" }))?;
        let vhost = match url.path().trim_start_matches('/') {
            "" => "/".to_owned(),
            path if path.contains('/') => return Err("a virtual host with / in it is written %2F"),
            path => decoded(path)?,
        };
        if vhost.len() > Self::VHOST_BYTES_MAX {
            return Err("a virtual host that is too long");
        }
        Ok(Self {
            tls,
            host: host.into(),
            port: url.port().unwrap_or(port),
            username: username.into(),
            password: Token::from(password.as_str()),
            vhost: vhost.into(),
            text: text.into(),
        })
    }

    /// Returns the URL without its user and password.
    pub fn shown(&self) -> String {
        show_url(&Raw::Plain(self.text.to_string()))
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// URLs of RabbitMQ.
pub(super) const AMQP_URLS: Text<AmqpUrl> = Text::new(
    "a URL amqp://user:password@host:port/vhost, or amqps:// for TLS, without query and fragment",
    AmqpUrl::parse,
)
.shown_by(show_url);

/// The MAX that announces in a RabbitMQ: its exchanges and bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeedLayout {
    /// MAX 3: an exchange for each conversation.
    V3,
    /// MAX 4: the exchange `conversations`.
    V4,
    /// MAX 5: that of MAX 4.
    #[default]
    V5,
}

impl FeedLayout {
    /// Returns the layout of this name. `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::V3, Self::V4, Self::V5].into_iter().find(|layout| layout.as_str() == name)
    }

    /// Returns the name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3.x",
            Self::V4 => "4.x",
            Self::V5 => "5.x",
        }
    }
}

/// Layouts.
pub(super) const FEED_LAYOUTS: Text<FeedLayout> =
    Text::new("3.x, 4.x or 5.x", |text| FeedLayout::parse(text).ok_or("not such a word"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_rabbitmq_are_read_and_shown_without_secrets() {
        for (text, shown, expected) in [
            ("amqp://h", "amqp://h", (false, "h", 5672, "guest", "guest", "/")),
            ("amqp://h:7/", "amqp://h:7/", (false, "h", 7, "guest", "guest", "/")),
            ("amqps://u:p%40@h/max", "amqps://***@h/max", (true, "h", 5671, "u", "p@", "max")),
            ("amqp://u:@[::1]/%2Fa", "amqp://***@[::1]/%2Fa", (false, "::1", 5672, "u", "", "/a")),
        ] {
            let url = AmqpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = (url.tls, &*url.host, url.port, &*url.username, url.password.reveal(), &*url.vhost);
            assert_eq!((format!("{url:?}").as_str(), found), (format!("\"{shown}\"").as_str(), expected), "{text}");
        }
        for text in
            ["h:5672", "http://h", "amqp://", "amqp://h/a/b", "amqp://h/?heartbeat=1", "amqp://u%00@h", "amqp:h"]
        {
            assert!(AmqpUrl::parse(text).is_err(), "{text}");
        }
    }
}
