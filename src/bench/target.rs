//! The server under load: whether it may be loaded and is there, its process, and a child that is started for the run.
//! And what this machine has to give: open files, cores.
//!
//! All of it blocks, most for moments: the start and the stop of a child may take seconds.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rlimit::Resource;
use rustix::system::uname;
use url::Url;

use super::client::Target;

mod child;
mod process;

pub use child::Child;
pub use process::{Process, own_cpu};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the load goes: the first address of `url` that takes a connection, for the endpoint `path`. The path of `url`
/// is the namespace, `/max` where it has none. Load on what is not this machine needs `allow_remote`.
///
/// # Errors
/// A sentence: it is not a URL of a server, or another machine's, has no address, or nobody listens there.
pub fn reach(url: &Url, path: &str, allow_remote: bool) -> Result<Target, String> {
    if url.scheme() != "http" {
        return Err(format!("{url}: the bench speaks http only, without TLS"));
    }
    let is_plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let Some(host) = url.host_str().filter(|_| is_plain) else {
        return Err(format!("{url}: give host, port and namespace only, such as http://127.0.0.1:6545/max"));
    };
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let namespace = if url.path() == "/" { "/max" } else { url.path() };

    let addrs = url.socket_addrs(|| None).map_err(|error| format!("{url} has no address: {error}"))?;
    let remote = addrs.iter().find(|addr| !addr.ip().to_canonical().is_loopback());
    if let Some(remote) = remote.filter(|_| !allow_remote) {
        return Err(format!(
            "{url} is not on this machine ({}): a load bench can bring it down. If it is yours, add --allow-remote",
            remote.ip()
        ));
    }
    let mut refusal = "no address".to_owned();
    for address in addrs {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(Target { host, address, path: path.to_owned(), namespace: namespace.to_owned() }),
            Err(error) => refusal = format!("{address}: {error}"),
        }
    }
    Err(format!("nobody answers at {url} ({refusal}): start a server there, or let --spawn do it"))
}

/// Lets this process, and the children that it starts later, open as many files as the system allows, which has to be
/// at least `needed`: one for each connection, and some dozens beside.
///
/// # Errors
/// A sentence that says the hard limit, and what to do about it.
pub fn raise_file_limit(needed: u64) -> Result<(), String> {
    let failure = |error: io::Error| format!("the limit on open files cannot be read: {error}");
    let (_, hard) = Resource::NOFILE.get().map_err(failure)?;
    if hard < needed {
        // Root may raise the hard limit itself; what the others are to do stands below.
        let _ = Resource::NOFILE.set(needed, needed);
    }
    let allowed = rlimit::increase_nofile_limit(u64::MAX).map_err(failure)?;
    if allowed >= needed {
        return Ok(());
    }
    Err(format!(
        "{needed} open files are needed, but the hard limit is {allowed}: raise it (as root `ulimit -n {needed}`; \
         LimitNOFILE= of a systemd unit; --ulimit nofile={needed} of a container), or take fewer --connections"
    ))
}

/// This machine for the head of a report: "name, 2 cores of AMD EPYC 9654, Linux 6.1.0".
pub fn machine() -> String {
    let uname = uname();
    let [name, system, release] =
        [uname.nodename(), uname.sysname(), uname.release()].map(|text| text.to_string_lossy().into_owned());
    // Behind the numbers, distributions tell of their own builds.
    let release = release.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default().to_owned();
    format!("{name}, {}, {system} {release}", cores(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()))
}

/// All cores there are, and not those alone on which this process may run.
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
    values("model name").next().map_or(format!("{count} {noun}"), |model| format!("{count} {noun} of {model}"))
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
            let target = reach(&format!("http://{host}:{port}{path}").parse().unwrap(), "/socket.io/", false).unwrap();
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
            let refusal = reach(&url.parse().unwrap(), "/socket.io/", allow_remote).err().unwrap();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/").parse().unwrap();
        let refusal = reach(&url, "/socket.io/", false).err().unwrap();
        assert!(refusal.starts_with(&format!("nobody answers at {url} (")), "{refusal}");
    }

    #[test]
    fn a_hard_limit_that_is_too_low_is_said() {
        assert_eq!(raise_file_limit(64), Ok(()));
        let (soft, hard) = Resource::NOFILE.get().unwrap();
        assert_eq!(soft, hard);
        // No system opens so many, not for root either.
        let refusal = raise_file_limit(1 << 60).unwrap_err();
        assert!(refusal.contains(&format!("but the hard limit is {hard}: raise it")), "{refusal}");
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
