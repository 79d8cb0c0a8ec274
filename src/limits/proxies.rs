//! The address of a client behind proxies: the forwarding headers of trusted proxies are believed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The proxies whose headers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Returns the proxies in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Returns whether this address is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client behind a request that came from `peer`. `x_forwarded_for` are the values of
    /// its `X-Forwarded-For` headers, `forwarded` those of its `Forwarded` headers (RFC 7239). `Forwarded` counts only
    /// if there is no `X-Forwarded-For`: nearly every proxy writes the latter, and most pass on a client's `Forwarded`
    /// unchanged.
    ///
    /// Each proxy appends the address that it was called from. Addresses are therefore believed from the last one
    /// backwards, as long as the proxy that appended them is trusted; anyone may have written the ones before.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        x_forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let mut hops = x_forwarded_for.rev().flat_map(|value| value.rsplit(',')).map(address_of).peekable();
        if hops.peek().is_some() {
            return self.follow(peer, hops);
        }
        self.follow(peer, forwarded.rev().flat_map(|value| value.rsplit(',')).map(forwarded_for))
    }

    /// Returns the last of the `hops`, nearest first, that a trusted proxy has appended; `peer` if there is none. A hop
    /// is `None` if its address is hidden or malformed: it is the end.
    fn follow(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            let Some(hop) = hop.filter(|_| self.trusts(client)) else { break };
            client = hop;
        }
        client
    }
}

/// Returns the address in one element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address_of(node.trim().trim_matches('"'))
}

/// Parses an address with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies =
            TrustedProxies::new(["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|n| n.parse().unwrap()).to_vec());
        let none: &[&str] = &[];
        for (peer, forwarded, x_forwarded_for, client) in [
            ("192.0.2.1", none, &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", none, none, "10.0.0.1"),
            ("10.0.0.1", none, &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", none, &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", none, &["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", none, &["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", none, &["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", none, &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", none, &["6.6.6.6, unknown"], "10.0.0.1"),
            ("10.0.0.1", none, &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", none, &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", none, &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", none, &["[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", none, &[" 198.51.100.7 "], "198.51.100.7"),
            ("10.0.0.1", none, &[""], "10.0.0.1"),
            ("10.0.0.1", &["for=198.51.100.7"], none, "198.51.100.7"),
            ("10.0.0.1", &["for=6.6.6.6"], &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", none, &["\u{fffd}, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &[r#"for="[2001:db8::1]:4711";proto=https, For=10.0.0.2"#], none, "2001:db8::1"),
            ("10.0.0.1", &["for=_hidden"], none, "10.0.0.1"),
            ("10.0.0.1", &["proto=https;for=198.51.100.7;by=10.0.0.1"], none, "198.51.100.7"),
        ] {
            let found =
                proxies.client(peer.parse().unwrap(), x_forwarded_for.iter().copied(), forwarded.iter().copied());
            let expected: IpAddr = client.parse().unwrap();
            let expected = if client == peer { peer.parse().unwrap() } else { expected };
            assert_eq!(found, expected, "{peer} {forwarded:?} {x_forwarded_for:?}");
        }
    }
}
