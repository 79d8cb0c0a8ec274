//! `maxtalk healthcheck`: the real program against a real server, and against what is none.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};
use std::thread;

use futures_util::future::join_all;

use crate::support;
use crate::support::fixture::Fixture;
use crate::support::process::maxtalk;
use crate::support::socket::Socket;

/// Runs `maxtalk healthcheck`. Returns its exit code, its output, and its errors.
fn healthcheck(arguments: &[&str]) -> (i32, String, String) {
    let mut command = maxtalk(&["healthcheck"]);
    let Output { status, stdout, stderr } = command.args(arguments).stdout(Stdio::piped()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The only line of standard error of a healthcheck that fails.
fn complaint(arguments: &[&str]) -> String {
    let (code, said, errors) = healthcheck(arguments);
    assert_eq!((code, said.as_str(), errors.lines().count()), (1, "", 1), "{errors}");
    errors
}

/// A listener that answers its only request with these bytes, and holds the connection open if there are none.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        // The program asks what is no maxtalk a second time, for its version.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            if answer.is_empty() {
                let _ = stream.read(&mut [0; 1]);
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    addr
}

#[test]
fn a_server_is_ready_until_it_drains() {
    let server = Fixture::start("server.drain_ms = 60000\nadmin.token = \"key-of-the-operators\"");
    let admin = server.admin_addr.to_string();
    // No key is needed.
    assert_eq!(
        healthcheck(&["--admin", &admin, "--timeout", "15"]),
        (0, format!("http://{admin} is ready\n"), String::new())
    );
    support::run(async {
        // The server closes one after the other, and ends after the last one.
        let sockets = join_all((0..20).map(|_| Socket::open(server.addr, "EIO=4&transport=websocket"))).await;
        server.stop();
        let errors = complaint(&["--admin", &admin, "--timeout", "15"]);
        assert!(errors.starts_with(&format!("maxtalk: http://{admin} is not ready: the server drains")), "{errors}");
        drop(sockets);
    });
}

#[test]
fn what_is_no_ready_maxtalk_is_not_healthy() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (addr, timeout, why) in [
        (closed, "15", "Connection refused"),
        (answering(""), "0.3", "does not answer: no answer within 0.3 s"),
        (answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "15", "with the status 200"),
        (answering("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"), "15", "with the status 404"),
        (answering("HTTP/1.1 503 No\r\nContent-Length: 19\r\n\r\n{\"reason\":\"a\\nb\\u001b\"}"), "15", ""),
    ] {
        let errors = complaint(&["--admin", &addr.to_string(), "--timeout", timeout]);
        assert!(errors.contains(why) && errors.starts_with(&format!("maxtalk: http://{addr}")), "{errors}");
        assert!(!errors.contains('\u{1b}'), "{errors}");
    }
}

#[test]
fn a_listener_that_the_settings_turn_off_is_named() {
    // The command of the tests sets admin.listen to nothing.
    assert!(complaint(&[]).contains("admin.listen"));
    for timeout in ["0", "-1", "5s", "3601", "NaN"] {
        assert_eq!(healthcheck(&["--timeout", timeout]).0, 2, "{timeout}");
    }
}
