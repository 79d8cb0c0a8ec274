//! The guard of the API: keys, origins and content types of requests. Pure.
//!
//! A page that a browser of an operator shows must not act for the operator. So a request that changes something has to
//! be JSON, which neither a form nor a page of another origin can send, and an `Origin` has to be the listener's own.
//! Where no key is needed, the `Host` must be a name of this machine: otherwise a page could point a name of its own at
//! 127.0.0.1 and read the answers. A page that changes something also has to show the token of the dashboard, which
//! only the dashboard's own page contains.

use std::net::IpAddr;

use subtle::ConstantTimeEq as _;

use super::model::FaultCode;
use crate::event::Token;

/// A right that a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see and do everything.
    Operate,
    /// To announce news, as a back end does.
    Announce,
}

/// The keys of the listener.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The key of operators. Without one, everybody on this machine is an operator.
    pub token: Option<Token>,
    /// The key that allows only [`Right::Announce`].
    pub announce_token: Option<Token>,
    /// The token of the dashboard's page. It is another one after each start. Without one, no page may change anything.
    pub dashboard: Option<Token>,
}

/// The parts of a request that the guard looks at: header values, `None` if absent. A header that is not text counts as
/// empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `X-Maxtalk-Dashboard`.
    pub dashboard: Option<&'a str>,
    /// Whether the method may change something.
    pub changes: bool,
}

impl Asked<'_> {
    /// Returns whether a page in a browser sends the request.
    fn is_of_page(&self) -> bool {
        self.origin.is_some() || self.fetch_site.is_some()
    }
}

/// The reason for which a request is refused, and the message for its sender.
pub type Refused = (FaultCode, &'static str);

impl Guard {
    /// Checks whether a request may use a right.
    ///
    /// # Errors
    /// The request is refused.
    pub fn check(&self, asked: &Asked<'_>, right: Right) -> Result<(), Refused> {
        self.check_sender(asked)?;
        self.check_key(asked.authorization, right)?;
        if !asked.changes {
            return Ok(());
        }
        if !asked.content_type.is_some_and(is_json) {
            return Err((FaultCode::UnsupportedMediaType, "send JSON, with Content-Type: application/json"));
        }
        if asked.is_of_page() && !asked.dashboard.is_some_and(|token| is_key(token, self.dashboard.as_ref())) {
            return Err((
                FaultCode::Forbidden,
                "a page has to send the token of the dashboard: X-Maxtalk-Dashboard; load the page anew",
            ));
        }
        Ok(())
    }

    /// Checks whether a request comes from where it may come from, whatever key it has.
    ///
    /// # Errors
    /// The request is refused.
    pub fn check_sender(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        if self.token.is_none() && asked.host.is_some_and(|host| !is_this_machine(host)) {
            return Err((
                FaultCode::Forbidden,
                "without admin.token, the Host must be localhost or a loopback address",
            ));
        }
        if asked.origin.is_some_and(|origin| !is_own(origin, asked.host)) {
            return Err((FaultCode::Forbidden, "pages of another origin may not call this"));
        }
        Ok(())
    }

    fn check_key(&self, authorization: Option<&str>, right: Right) -> Result<(), Refused> {
        let has_keys = self.token.is_some() || self.announce_token.is_some();
        match authorization.map(bearer) {
            Some(None) if has_keys => Err((FaultCode::Unauthorized, "the key is sent as: Authorization: Bearer ...")),
            None | Some(None) => self.check_secret(None, right),
            Some(key) => self.check_secret(key, right),
        }
    }

    /// Checks whether a key gives a right. Without a key of operators, a request without a key has every right.
    ///
    /// # Errors
    /// The key is missing or wrong, or it gives another right.
    pub fn check_secret(&self, key: Option<&str>, right: Right) -> Result<(), Refused> {
        if self.token.is_none() && (key.is_none() || self.announce_token.is_none()) {
            return Ok(());
        }
        let Some(key) = key else {
            return Err((FaultCode::Unauthorized, "send the key: Authorization: Bearer ..."));
        };
        // Both are compared in any case, so that the time says nothing about which of them it is.
        let (operates, announces) = (is_key(key, self.token.as_ref()), is_key(key, self.announce_token.as_ref()));
        match right {
            _ if operates => Ok(()),
            Right::Announce if announces => Ok(()),
            Right::Operate if announces => Err((FaultCode::Forbidden, "this key may only announce news")),
            _ => Err((FaultCode::Unauthorized, "the key is wrong")),
        }
    }
}

/// Compares in a time that depends on the lengths alone.
fn is_key(given: &str, key: Option<&Token>) -> bool {
    key.is_some_and(|key| given.as_bytes().ct_eq(key.reveal().as_bytes()).into())
}

/// Returns the key in the value of `Authorization`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, key) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| key.trim())
}

/// Returns whether a value of `Host` names this machine and cannot name another one.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

/// Returns whether `origin` is that of the listener, as the client itself addresses it. A proxy in front of the
/// listener may speak https.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Guard = Guard { token: None, announce_token: None, dashboard: None };
    const LOCAL: Asked<'_> = Asked {
        host: Some("127.0.0.1:6546"),
        origin: None,
        authorization: None,
        content_type: None,
        fetch_site: None,
        dashboard: None,
        changes: false,
    };
    const POST: Asked<'_> = Asked { content_type: Some("application/json"), changes: true, ..LOCAL };

    fn keys() -> Guard {
        Guard {
            token: Some(Token::from("operator")),
            announce_token: Some(Token::from("backend")),
            dashboard: Some(Token::from("page")),
        }
    }

    fn code(guard: &Guard, asked: Asked<'_>, right: Right) -> Option<FaultCode> {
        guard.check(&asked, right).err().map(|(code, _)| code)
    }

    #[test]
    fn a_host_that_may_be_elsewhere_is_refused_unless_there_is_a_key() {
        for (host, fits) in [
            ("localhost", true),
            ("LocalHost:6546", true),
            ("127.0.0.1:7000", true),
            ("127.9.9.9", true),
            ("[::1]:6546", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("evil.example:6546", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:80", false),
            ("10.0.0.1:6546", false),
            ("[::2]:6546", false),
            ("", false),
            (":6546", false),
        ] {
            let asked = Asked { host: Some(host), ..LOCAL };
            assert_eq!(code(&OPEN, asked, Right::Operate), (!fits).then_some(FaultCode::Forbidden), "{host}");
            let asked = Asked { authorization: Some("Bearer operator"), ..asked };
            assert_eq!(code(&keys(), asked, Right::Operate), None, "{host}");
        }
        assert_eq!(code(&OPEN, Asked { host: None, ..LOCAL }, Right::Operate), None, "no browser omits it");
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for (origin, fits) in [
            ("http://127.0.0.1:6546", true),
            ("https://127.0.0.1:6546", true),
            ("http://127.0.0.1:6545", false),
            ("http://127.0.0.1", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            for (guard, key) in [(&OPEN, None), (&keys(), Some("Bearer operator"))] {
                let asked = Asked { origin: Some(origin), authorization: key, ..LOCAL };
                assert_eq!(code(guard, asked, Right::Operate), (!fits).then_some(FaultCode::Forbidden), "{origin}");
            }
        }
        let asked = Asked { host: None, origin: Some("http://127.0.0.1:6546"), ..LOCAL };
        assert_eq!(code(&OPEN, asked, Right::Operate), Some(FaultCode::Forbidden));
    }

    #[test]
    fn a_change_has_to_be_json() {
        for (content_type, fits) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/x-www-form-urlencoded"), false),
            (Some("multipart/form-data; boundary=application/json"), false),
            (Some("text/plain"), false),
            (Some("text/plain; application/json"), false),
            (None, false),
        ] {
            let expected = (!fits).then_some(FaultCode::UnsupportedMediaType);
            let asked = Asked { content_type, changes: true, ..LOCAL };
            assert_eq!(code(&OPEN, asked, Right::Announce), expected, "{content_type:?}");
            assert_eq!(code(&OPEN, Asked { changes: false, ..asked }, Right::Announce), None);
        }
    }

    #[test]
    fn a_page_that_changes_something_shows_the_token_of_the_dashboard() {
        let own = Some("http://127.0.0.1:6546");
        for (origin, fetch_site, dashboard, fits) in [
            (None, None, None, true),
            (None, None, Some("wrong"), true),
            (own, None, Some("page"), true),
            (own, None, None, false),
            (own, None, Some("pag"), false),
            (own, Some("same-origin"), Some(""), false),
            (None, Some("same-origin"), Some("page"), true),
            (None, Some("same-origin"), None, false),
            (None, Some("none"), None, false),
            (Some("http://evil.example"), Some("cross-site"), Some("page"), false),
        ] {
            let asked = Asked { origin, fetch_site, dashboard, authorization: Some("Bearer operator"), ..POST };
            let expected = (!fits).then_some(FaultCode::Forbidden);
            assert_eq!(code(&keys(), asked, Right::Operate), expected, "{asked:?}");
            if origin != Some("http://evil.example") {
                assert_eq!(code(&keys(), Asked { changes: false, ..asked }, Right::Operate), None, "{asked:?}");
            }
        }
        let asked = Asked { origin: own, dashboard: Some("page"), ..POST };
        assert_eq!(code(&OPEN, asked, Right::Operate), Some(FaultCode::Forbidden), "there is no dashboard");
    }

    #[test]
    fn a_live_connection_gives_its_key_without_a_header() {
        use FaultCode::{Forbidden, Unauthorized};
        for (key, expected) in [
            (Some("operator"), None),
            (Some("backend"), Some(Forbidden)),
            (Some("Bearer operator"), Some(Unauthorized)),
            (Some(""), Some(Unauthorized)),
            (None, Some(Unauthorized)),
        ] {
            let refused = keys().check_secret(key, Right::Operate).err().map(|(code, _)| code);
            assert_eq!(refused, expected, "{key:?}");
            assert_eq!(OPEN.check_secret(key, Right::Operate), Ok(()), "{key:?}");
        }
    }

    #[test]
    fn each_key_opens_its_own_routes() {
        use FaultCode::{Forbidden, Unauthorized};
        for (authorization, operate, announce) in [
            (None, Some(Unauthorized), Some(Unauthorized)),
            (Some("Bearer operator"), None, None),
            (Some("bearer  operator "), None, None),
            (Some("Bearer backend"), Some(Forbidden), None),
            (Some("Bearer operato"), Some(Unauthorized), Some(Unauthorized)),
            (Some("Bearer operatorr"), Some(Unauthorized), Some(Unauthorized)),
            (Some("Bearer "), Some(Unauthorized), Some(Unauthorized)),
            (Some("Bearer"), Some(Unauthorized), Some(Unauthorized)),
            (Some("Basic operator"), Some(Unauthorized), Some(Unauthorized)),
            (Some("operator"), Some(Unauthorized), Some(Unauthorized)),
            (Some(""), Some(Unauthorized), Some(Unauthorized)),
        ] {
            for (right, expected) in [(Right::Operate, operate), (Right::Announce, announce)] {
                let asked = Asked { authorization, ..POST };
                assert_eq!(code(&keys(), asked, right), expected, "{authorization:?} {right:?}");
                let no_announce = Guard { announce_token: None, ..keys() };
                let operates = authorization.and_then(bearer) == Some("operator");
                assert_eq!(code(&no_announce, asked, right), (!operates).then_some(Unauthorized), "{authorization:?}");
            }
        }
    }

    #[test]
    fn without_a_key_of_operators_everybody_here_is_one_but_a_back_end_is_not() {
        let announce_only = Guard { token: None, ..keys() };
        for (authorization, operate, announce) in [
            (None, None, None),
            (Some("Bearer backend"), Some(FaultCode::Forbidden), None),
            (Some("Bearer wrong"), Some(FaultCode::Unauthorized), Some(FaultCode::Unauthorized)),
        ] {
            let asked = Asked { authorization, ..POST };
            assert_eq!(code(&announce_only, asked, Right::Operate), operate, "{authorization:?}");
            assert_eq!(code(&announce_only, asked, Right::Announce), announce, "{authorization:?}");
        }
        let asked = Asked { authorization: Some("Bearer anything"), ..POST };
        assert_eq!(code(&OPEN, asked, Right::Operate), None, "there is no key that it could be");
    }
}
