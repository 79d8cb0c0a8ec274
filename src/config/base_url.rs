//! The base URL of MAX. The setting and the client of MAX share this one parser.

use std::net::{IpAddr, Ipv4Addr};

use actix_http::Uri;
use rustls::pki_types::ServerName;
use url::{Host, Url};

/// The base URL of MAX: an http or https URL to which paths can be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
    port: u16,
    authority: String,
    server_name: Option<ServerName<'static>>,
}

impl BaseUrl {
    /// Reads and normalizes a URL: the host in lower case, without the default port and without a slash at the end.
    ///
    /// # Errors
    /// A few words that say what is wrong and do not quote the URL, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        // `Url::parse` repairs what browsers repair ("http:host", inner tabs). A URL that needs repair is refused here.
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err("not an http or https URL");
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err("not a URL");
        }
        let url = Url::parse(text).map_err(|_| "not a URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL with a user or a password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a URL with a query or a fragment");
        }
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("a URL with the port 0")?;
        let host = match url.host().ok_or("not a URL")? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(_) if url.scheme() == "https" => return Err("an https URL with an IPv6 address"),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let server_name = match url.scheme() {
            "https" => {
                Some(host.clone().try_into().map_err(|_| "an https URL with a host that no certificate can name")?)
            }
            _ => None,
        };
        let text = url.as_str().trim_end_matches('/').to_owned();
        // `Uri` allows fewer characters in a host than `Url` does, and bounds the length.
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let authority = uri.authority().ok_or("not a URL")?.to_string();
        Ok(Self { text, host, port, authority, server_name })
    }

    /// Returns the URL as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host: a name, or an address. An IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of the header `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the name that the certificate of MAX must have. `None` for http.
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// Returns whether the host is a link-local address.
    pub(super) fn is_link_local(&self) -> bool {
        self.host.parse().is_ok_and(is_link_local)
    }
}

/// Returns whether an address is valid in its network segment only. An IPv6 address that stands for an IPv4 address
/// counts as that address.
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => match ip.segments() {
            // Mapped (RFC 4291, 2.5.5.2), compatible (2.5.5.1), and translated by NAT64 (RFC 6052).
            [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).is_link_local()
            }
            _ => ip.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_http_with_a_host_and_keeps_its_path() {
        for (url, text, https, host, port, authority) in [
            ("http://max", "http://max", false, "max", 80, "max"),
            ("http://max.example/", "http://max.example", false, "max.example", 80, "max.example"),
            ("http://max.example:80//", "http://max.example", false, "max.example", 80, "max.example"),
            ("http://max.example:443", "http://max.example:443", false, "max.example", 443, "max.example:443"),
            ("HTTPS://MAX:8443/a/b", "https://max:8443/a/b", true, "max", 8443, "max:8443"),
            (
                "https://max.example/max/domain/",
                "https://max.example/max/domain",
                true,
                "max.example",
                443,
                "max.example",
            ),
            ("https://10.0.0.1:80/max", "https://10.0.0.1:80/max", true, "10.0.0.1", 80, "10.0.0.1:80"),
            ("http://[::1]:80/x", "http://[::1]/x", false, "::1", 80, "[::1]"),
            ("http://[::1]:8081/max", "http://[::1]:8081/max", false, "::1", 8081, "[::1]:8081"),
            (
                "http://bücher.example",
                "http://xn--bcher-kva.example",
                false,
                "xn--bcher-kva.example",
                80,
                "xn--bcher-kva.example",
            ),
        ] {
            let read = BaseUrl::parse(url).unwrap();
            assert_eq!((read.as_str(), read.server_name().is_some()), (text, https));
            assert_eq!((read.host(), read.port(), read.authority()), (host, port, authority));
            assert_eq!(BaseUrl::parse(text), Ok(read));
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_a_reason() {
        let long = format!("http://max/{}", "a".repeat(65_536));
        for (url, flaw) in [
            ("", "not an http or https URL"),
            ("max.example", "not an http or https URL"),
            ("/max", "not an http or https URL"),
            ("ftp://max", "not an http or https URL"),
            ("file:///etc/passwd", "not an http or https URL"),
            ("http:max", "not an http or https URL"),
            ("http:/max", "not an http or https URL"),
            ("http://", "not a URL"),
            ("http:///", "not a URL"),
            ("http://max:99999", "not a URL"),
            ("http://a b", "not a URL"),
            ("http://max\\x", "not a URL"),
            ("http://a\"b", "not a URL"),
            (&long, "not a URL"),
            ("http://max:0", "a URL with the port 0"),
            ("http://max?a", "a URL with a query or a fragment"),
            ("http://max/#a", "a URL with a query or a fragment"),
            ("http://user@max", "a URL with a user or a password"),
            ("http://:word@max", "a URL with a user or a password"),
            ("https://[::1]/", "an https URL with an IPv6 address"),
            ("https://a..b", "an https URL with a host that no certificate can name"),
        ] {
            assert_eq!(BaseUrl::parse(url), Err(flaw), "{url}");
        }
    }
}
