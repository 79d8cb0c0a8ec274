//! The address of the admin listener and the key, from the flags and the settings.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use url::Url;

use crate::config::Config;
use crate::event::Token;

/// The port of an address that names none: that of the default of `admin.listen`.
const PORT: u16 = 6546;

/// The options that find the server.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// URL or address of the admin listener of the server (default: the setting admin.listen). Its key is the setting
    /// admin.token
    #[arg(long, value_name = "URL|ADDR")]
    pub admin: Option<Base>,
    /// TOML file with the settings of the server
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The URL of an admin listener, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// The listener at this address. An address that stands for all interfaces is reached by loopback.
    fn of(listen: SocketAddr) -> Self {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self(format!("http://{}", SocketAddr::new(ip, listen.port())))
    }
}

impl FromStr for Base {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "allowed: an address such as 127.0.0.1:6546, or a URL such as http://10.0.0.5:6546";
        if let Ok(address) = text.parse() {
            return Ok(Self::of(address));
        }
        let is_url = text.contains("://");
        let mut url =
            Url::parse(&if is_url { text.to_owned() } else { format!("http://{text}") }).map_err(|_| ALLOWED)?;
        if url.scheme() == "https" {
            return Err(
                "the admin listener speaks plain HTTP, and so does this command: use http://, or an SSH tunnel",
            );
        }
        let has_more = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
            || (!is_url && url.path() != "/");
        if url.scheme() != "http" || !url.has_host() || has_more {
            return Err(ALLOWED);
        }
        // The port of the scheme counts as none, so it has to be looked for in the text.
        if !is_url && url.port().is_none() && !text.ends_with(":80") {
            url.set_port(Some(PORT)).map_err(|()| ALLOWED)?;
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its admin listener.
    pub base: Base,
    /// The setting or the flag that names the listener, for messages.
    pub named_by: String,
    /// The key of operators.
    pub token: Option<Token>,
    /// The setting that holds the key, with its source, for messages.
    pub key: String,
}

/// The settings do not say where the server is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nowhere {
    /// The settings turn the admin listener off.
    #[error("{0}: so the server has no admin listener; set admin.listen, or name the listener by --admin ADDR")]
    Off(String),
    /// The system chooses the port.
    #[error("{0}: so the system chooses the port of the listener; name it by --admin ADDR")]
    AnyPort(String),
}

impl Remote {
    /// Finds the server: by the flag, and otherwise by the settings.
    ///
    /// # Errors
    /// There is no flag, and the settings do not say where the server is.
    pub fn find(admin: Option<Base>, config: &Config) -> Result<Self, Nowhere> {
        let setting = || config.describe("admin.listen");
        let (base, named_by) = match (admin, config.admin.listen) {
            (Some(base), _) => (base, "--admin".to_owned()),
            (None, None) => return Err(Nowhere::Off(setting())),
            (None, Some(listen)) if listen.port() == 0 => return Err(Nowhere::AnyPort(setting())),
            (None, Some(listen)) => (Base::of(listen), setting()),
        };
        Ok(Self { base, named_by, token: config.admin.token.clone(), key: config.describe("admin.token") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn config(variables: &[(&str, &str)]) -> Config {
        let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::load(Sources { environment, ..Sources::default() }).unwrap()
    }

    #[test]
    fn an_address_or_a_url_names_the_listener() {
        for (text, expected) in [
            ("127.0.0.1:7000", Some("http://127.0.0.1:7000")),
            ("0.0.0.0:7000", Some("http://127.0.0.1:7000")),
            ("[::]:7000", Some("http://[::1]:7000")),
            ("[::1]:7000", Some("http://[::1]:7000")),
            ("localhost", Some("http://localhost:6546")),
            ("localhost:80", Some("http://localhost")),
            ("ops.example.org:7000", Some("http://ops.example.org:7000")),
            ("http://ops.example.org", Some("http://ops.example.org")),
            ("http://ops.example.org/maxtalk/", Some("http://ops.example.org/maxtalk")),
            ("https://ops.example.org", None),
            ("ops.example.org/maxtalk", None),
            ("http://user:secret@ops.example.org", None),
            ("http://ops.example.org/?token=secret", None),
            ("ftp://ops.example.org", None),
            ("http://", None),
            ("localhost:70000", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Base>().ok().map(|base| base.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_settings_say_where_the_server_is_unless_a_flag_does() {
        let default = Remote::find(None, &config(&[])).unwrap();
        assert_eq!(default.base.to_string(), "http://127.0.0.1:6546");
        assert_eq!(default.named_by, "admin.listen = \"127.0.0.1:6546\" (default)");
        assert_eq!(default.token, None);

        let variables =
            [("MAXTALK_ADMIN__LISTEN", "0.0.0.0:7001"), ("MAXTALK_ADMIN__TOKEN", "a-token-of-the-operators")];
        let set = Remote::find(None, &config(&variables)).unwrap();
        assert_eq!(set.base.to_string(), "http://127.0.0.1:7001");
        assert_eq!(set.token.unwrap().reveal(), "a-token-of-the-operators");
        assert_eq!(set.key, "admin.token = *** (environment variable MAXTALK_ADMIN__TOKEN)");

        let flag = Remote::find(Some("localhost:1".parse().unwrap()), &config(&variables)).unwrap();
        assert_eq!((flag.base.to_string().as_str(), flag.named_by.as_str()), ("http://localhost:1", "--admin"));

        for listen in ["", "127.0.0.1:0"] {
            let nowhere = Remote::find(None, &config(&[("MAXTALK_ADMIN__LISTEN", listen)])).unwrap_err();
            assert!(nowhere.to_string().contains("admin.listen = "), "{nowhere}");
        }
    }
}
