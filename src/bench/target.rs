//! The server under load: the checks before a run (may it be loaded, does it answer), its process, and a child that is
//! started for the run. Also what this machine offers: open files and cores.
//!
//! All of it blocks, mostly for moments; the start and the stop of a child may take seconds.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::system::uname;
use url::Url;

use super::client::Target;
use super::protocol::ChatProtocol;
use crate::files;

mod child;
mod process;
mod processors;
mod redis;
mod scrape;
mod servers;

pub use child::{Child, ChildError, How, Set, chosen, environment};
pub use process::Process;
pub use processors::Processors;
pub use redis::Redis;
pub use scrape::Scraper;
pub use servers::{Servers, ServersError};

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL is not of HTTP.
    #[error("{0}: the bench speaks http only, without TLS: write http://HOST:PORT of the server behind the TLS")]
    Scheme(String),
    /// The URL has no host, or it has a user, a query or a fragment.
    #[error("{0}: give host, port and namespace only, such as http://127.0.0.1:6545/max")]
    Form(String),
    /// The host has no address.
    #[error("{url} has no address: {cause}")]
    NoAddress {
        /// The URL.
        url: String,
        /// The error of the resolver.
        #[source]
        cause: io::Error,
    },
    /// The server is on another machine, which is not allowed.
    #[error("{url} is not on this machine ({ip}): a load bench can bring it down. If it is yours, add --allow-remote")]
    Remote {
        /// The URL.
        url: String,
        /// An address that is not of this machine.
        ip: IpAddr,
    },
    /// No address takes a connection.
    #[error("nobody answers at {url} ({address}: {cause}): start a server there, or let --spawn do it")]
    Silent {
        /// The URL.
        url: String,
        /// The last address that was tried.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// Two URLs are of the same server.
    #[error(
        "{first} and {second} are the same server: name each node once, by its own address and not by that of a proxy"
    )]
    Twice {
        /// The one URL.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two URLs have different paths.
    #[error(
        "{first} has the namespace {one}, and {second} has {other}: all nodes have the same, so give all URLs one path"
    )]
    Namespaces {
        /// The first URL.
        first: String,
        /// Its namespace.
        one: String,
        /// The other URL.
        second: String,
        /// Its namespace.
        other: String,
    },
}

/// Returns the targets of the load, as [`reach`] does: one server, or the nodes of a cluster.
///
/// # Errors
/// Those of [`reach`]; or two URLs are of one server, or of different namespaces.
pub fn reach_all(
    urls: &[Url],
    path: &str,
    protocol: &Arc<ChatProtocol>,
    allow_remote: bool,
) -> Result<Vec<Target>, TargetError> {
    let mut targets: Vec<Target> = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        let target = reach(url, path, protocol, allow_remote)?;
        if let Some(other) = targets.iter().position(|other| other.address == target.address) {
            return Err(TargetError::Twice { first: urls[other].to_string(), second: url.to_string() });
        }
        if let Some(first) = targets.first().filter(|first| first.namespace != target.namespace) {
            let (one, other) = (first.namespace.clone(), target.namespace);
            return Err(TargetError::Namespaces {
                first: urls[0].to_string(),
                one,
                second: urls[at].to_string(),
                other,
            });
        }
        targets.push(target);
    }
    Ok(targets)
}

/// Returns the target of the load: the first address of `url` that takes a connection, and the endpoint `path`. The
/// path of `url` is the namespace; that of the protocol if it is empty. A target on another machine needs
/// `allow_remote`; every address but loopback counts as another machine's.
///
/// # Errors
/// The URL is not that of a server, is of another machine, has no address, or nobody listens there.
pub fn reach(url: &Url, path: &str, protocol: &Arc<ChatProtocol>, allow_remote: bool) -> Result<Target, TargetError> {
    if url.scheme() != "http" {
        return Err(TargetError::Scheme(url.to_string()));
    }
    let is_plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let Some(host) = url.host_str().filter(|_| is_plain) else { return Err(TargetError::Form(url.to_string())) };
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let namespace = if url.path() == "/" { &protocol.namespace } else { url.path() };

    let no_address = |cause| TargetError::NoAddress { url: url.to_string(), cause };
    let addrs = url.socket_addrs(|| None).map_err(no_address)?;
    let remote = addrs.iter().find(|addr| !addr.ip().to_canonical().is_loopback());
    if let Some(remote) = remote.filter(|_| !allow_remote) {
        return Err(TargetError::Remote { url: url.to_string(), ip: remote.ip() });
    }
    let mut error = no_address(io::ErrorKind::NotFound.into());
    for address in addrs {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => {
                let (path, namespace) = (path.to_owned(), namespace.to_owned());
                return Ok(Target { host, address, path, namespace, protocol: Arc::clone(protocol) });
            }
            Err(cause) => error = TargetError::Silent { url: url.to_string(), address, cause },
        }
    }
    Err(error)
}

/// Why too few files may be open.
#[derive(Debug, thiserror::Error)]
pub enum FileLimitError {
    /// The system does not tell the limit.
    #[error("the limit on open files cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The hard limit is too low.
    #[error(
        "{needed} open files are needed, but the hard limit is {allowed}: raise it (as root `ulimit -n {needed}`; \
         LimitNOFILE= of a systemd unit; --ulimit nofile={needed} of a container), or take fewer --connections"
    )]
    TooLow {
        /// The number of files that are needed.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
}

/// Lets this process, and the children that it starts later, open at least `needed` files.
///
/// # Errors
/// The limit cannot be read, or the system does not allow that many.
pub fn raise_file_limit(needed: u64) -> Result<(), FileLimitError> {
    let allowed = files::raise_file_limit(needed).map_err(FileLimitError::Unreadable)?;
    if allowed < needed { Err(FileLimitError::TooLow { needed, allowed }) } else { Ok(()) }
}

/// Returns a description of this machine, such as "name, 2 cores of AMD EPYC 9654, Linux 6.1.0".
pub fn machine() -> String {
    let uname = uname();
    let [name, system, release] =
        [uname.nodename(), uname.sysname(), uname.release()].map(|text| text.to_string_lossy().into_owned());
    // After the version numbers, distributions add their own build.
    let release = release.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default().to_owned();
    format!("{name}, {}, {system} {release}", cores(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()))
}

/// Describes all cores of the machine, not only those that this process may use.
fn cores(cpuinfo: &str) -> String {
    let values = |name: &'static str| {
        let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(move |(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    let count = match values("processor").count() {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let noun = if count == 1 { "core" } else { "cores" };
    values("model name").next().map_or_else(|| format!("{count} {noun}"), |model| format!("{count} {noun} of {model}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_url_is_an_address_a_host_and_a_namespace() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for (host, path, namespace) in
            [("127.0.0.1", "", "/max"), ("localhost", "/", "/max"), ("[::ffff:7f00:1]", "/chat", "/chat")]
        {
            let target =
                reach(&format!("http://{host}:{port}{path}").parse().unwrap(), "/socket.io/", &Arc::default(), false)
                    .unwrap();
            assert_eq!((target.host, target.namespace.as_str()), (format!("{host}:{port}"), namespace));
            let address = (target.address.ip().to_canonical(), target.address.port());
            assert_eq!((address, target.path.as_str()), (([127, 0, 0, 1].into(), port), "/socket.io/"));
        }
    }

    #[test]
    fn only_this_machine_is_a_target_by_default() {
        for (url, allow_remote, expected) in [
            ("http://192.0.2.1/", false, "http://192.0.2.1/ is not on this machine (192.0.2.1): "),
            ("http://0.0.0.0:1/", false, "http://0.0.0.0:1/ is not on this machine (0.0.0.0): "),
            ("http://no.invalid/", true, "http://no.invalid/ has no address: "),
            ("https://127.0.0.1/", true, "https://127.0.0.1/: the bench speaks http only"),
            ("http://127.0.0.1/?a=1", true, "http://127.0.0.1/?a=1: give host, port and namespace only"),
            ("http://u:p@127.0.0.1/", true, "http://u:p@127.0.0.1/: give host, port and namespace only"),
        ] {
            let refusal =
                reach(&url.parse().unwrap(), "/socket.io/", &Arc::default(), allow_remote).unwrap_err().to_string();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/").parse().unwrap();
        let refusal = reach(&url, "/socket.io/", &Arc::default(), false).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("nobody answers at {url} (")), "{refusal}");
    }

    #[test]
    fn nodes_are_different_servers_with_one_namespace() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [first, second] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let reach =
            |urls: [String; 2]| reach_all(&urls.map(|url| url.parse().unwrap()), "/socket.io/", &Arc::default(), false);
        let targets = reach([format!("http://{first}"), format!("http://{second}/max")]).unwrap();
        assert_eq!([targets[0].address, targets[1].address], [first, second]);
        let twice = reach([format!("http://{first}"), format!("http://localhost:{}", first.port())]).unwrap_err();
        assert!(twice.to_string().contains(" are the same server: name each node once"), "{twice}");
        let apart = reach([format!("http://{first}"), format!("http://{second}/chat")]).unwrap_err().to_string();
        assert!(apart.contains("/ has the namespace /max, and ") && apart.contains("/chat has /chat: "), "{apart}");
    }

    #[test]
    fn a_hard_limit_that_is_too_low_is_said() {
        raise_file_limit(64).unwrap();
        // No system allows this many, not even for root.
        let refusal = raise_file_limit(1 << 60).unwrap_err();
        let FileLimitError::TooLow { needed, allowed } = refusal else { panic!("{refusal}") };
        assert_eq!((needed, allowed), (1 << 60, files::raise_file_limit(0).unwrap()));
        assert!(refusal.to_string().contains(&format!("but the hard limit is {allowed}: raise it")), "{refusal}");
    }

    #[test]
    fn a_machine_is_its_name_its_cores_and_its_kernel() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n";
        assert_eq!(cores(cpuinfo), "2 cores of Some CPU");
        assert_eq!(cores("processor\t: 0\n"), "1 core");
        let parts: Vec<_> = machine().split(", ").map(str::to_owned).collect();
        assert!(parts.len() >= 3 && parts.last().is_some_and(|kernel| kernel.contains(' ')), "{parts:?}");
    }
}
