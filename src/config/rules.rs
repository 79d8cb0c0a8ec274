//! The rules between settings: combinations of values that cannot work, although each value is allowed by itself.

use std::net::SocketAddr;

use super::{BaseUrl, Config, Dialect, Problem, message_bytes_min};

impl Config {
    /// Everything that is wrong between settings.
    pub(super) fn impossible_combinations(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |possible: bool, keys: &[&str], why: String| {
            if !possible {
                let settings = keys.iter().map(|key| self.describe(key)).collect();
                problems.push(Problem::Combination { settings, why });
            }
        };

        let needed = self.mailbox.conversation + self.conversation.presence_members_max + 1;
        check(
            self.outbox.messages_max >= needed,
            &["outbox.messages_max", "mailbox.conversation", "conversation.presence_members_max"],
            format!("the first must be above the sum of the others; allowed here: at least {needed}"),
        );

        let legacy = &self.legacy;
        check(
            legacy.heartbeat_interval_ms < legacy.heartbeat_timeout_ms,
            &["legacy.heartbeat_timeout_ms", "legacy.heartbeat_interval_ms"],
            "the first must be above the second, or clients leave between two heartbeats".to_owned(),
        );
        let longest = legacy.heartbeat_interval_ms.max(legacy.polling_duration_ms);
        check(
            longest < legacy.close_timeout_ms,
            &["legacy.close_timeout_ms", "legacy.heartbeat_interval_ms", "legacy.polling_duration_ms"],
            format!("the first must be above both others, or clients leave in between; allowed here: above {longest}"),
        );

        let max = &self.max;
        let account = max.service_username.is_some() && max.service_token.is_some();
        check(
            !max.tokenless_joins || (account && max.url.is_some()),
            &["max.tokenless_joins", "max.url", "max.service_username", "max.service_token"],
            "joins without a token need all of the others".to_owned(),
        );
        check(
            max.allow_link_local || !max.url.as_ref().is_some_and(BaseUrl::is_link_local),
            &["max.url", "max.allow_link_local"],
            "a link-local address is asked only if the second is true".to_owned(),
        );
        check(
            max.service_username.is_some() == max.service_token.is_some(),
            &["max.service_username", "max.service_token"],
            "one needs the other".to_owned(),
        );

        check(
            self.demo.people == 0 || max.url.is_none(),
            &["demo.people", "max.url"],
            "the first needs the demo MAX, which runs only without the second".to_owned(),
        );

        check(
            max.url.is_some() || self.demo.public || self.server.listen.ip().to_canonical().is_loopback(),
            &["server.listen", "max.url", "demo.public"],
            "the demo MAX would give its tokens to everybody who can reach this address: set max.url, listen on \
             127.0.0.1, or allow it by --demo"
                .to_owned(),
        );
        check(
            !self.demo.public || max.url.is_none(),
            &["demo.public", "max.url"],
            "the first needs the demo MAX, which runs only without the second".to_owned(),
        );

        self.check_listeners(&mut check);
        self.check_cluster(&mut check);
        problems
    }

    fn check_listeners(&self, check: &mut Check<'_>) {
        let admin = &self.admin;
        check(
            admin.listen.is_none_or(|admin| !overlap(admin, self.server.listen)),
            &["admin.listen", "server.listen"],
            "the two listeners must differ".to_owned(),
        );
        check(
            admin.token.is_some() || admin.listen.is_none_or(|listen| listen.ip().to_canonical().is_loopback()),
            &["admin.listen", "admin.token"],
            "an address that other machines can reach needs the second".to_owned(),
        );
        check(
            admin.token.is_none() || admin.token != admin.announce_token,
            &["admin.token", "admin.announce_token"],
            "the two keys must differ".to_owned(),
        );
    }

    fn check_cluster(&self, check: &mut Check<'_>) {
        let cluster = &self.cluster;
        check(
            cluster.silent_ms > 2 * cluster.heartbeat_ms,
            &["cluster.silent_ms", "cluster.heartbeat_ms"],
            "the first must be above twice the second, or one lost heartbeat ends a node".to_owned(),
        );
        check(
            cluster.certificate_file.is_some() == cluster.key_file.is_some(),
            &["cluster.certificate_file", "cluster.key_file"],
            "one needs the other".to_owned(),
        );
        check(
            !cluster.required || !cluster.url.is_empty(),
            &["cluster.required", "cluster.url"],
            "the first needs the second".to_owned(),
        );
        let needed = message_bytes_min(self.limits.id_bytes_max);
        check(
            cluster.url.is_empty() || cluster.message_bytes_max >= needed,
            &["cluster.message_bytes_max", "limits.id_bytes_max"],
            format!("the longest update must fit into a message; allowed here: at least {needed}"),
        );
        let has_slots = cluster.url.iter().any(|url| url.reveal().contains("+cluster://"));
        check(
            !has_slots || cluster.dialect != Dialect::Sharded || !self.protocol.namespace.contains(['{', '}']),
            &["protocol.namespace", "cluster.dialect"],
            "the slots of a Redis Cluster are decided by braces, so that the namespace must have none".to_owned(),
        );
    }
}

/// Notes whether a rule is kept, with the settings that it is about and its words.
type Check<'a> = dyn FnMut(bool, &[&str], String) + 'a;

/// Whether the kernel would refuse the second of two listeners. An unspecified address takes its port on all addresses
/// of its family; the unspecified address of IPv6 takes it on those of IPv4 too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    let same_address = one.ip() == other.ip() || covers(one, other) || covers(other, one);
    one.port() == other.port() && one.port() != 0 && same_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_overlap_where_the_kernel_would_refuse_them() {
        let table = [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("0.0.0.0:1", "[::]:1", true),
            ("[::1]:1", "0.0.0.0:1", false),
            ("[::1]:1", "[::]:1", true),
            ("0.0.0.0:0", "0.0.0.0:0", false),
        ];
        for (one, other, expected) in table {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{one} {other}");
        }
    }
}
