//! The tags of sids, and requests that come to another server than that of their session.

use crate::support::client::{Client, Kind, new_sid, target};
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::kind::Generation;
use crate::support::process::{Process, maxtalk, signal};
use crate::support::run;
use crate::support::sio09::{BEGIN_ANEW, ask};
use crate::support::socket::{End, Socket};

const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

const ORIGIN: (&str, &str) = ("Origin", "http://page.example");

/// What follows the tag in a sid.
const REST: &str = "AAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn the_sid_of_every_client_begins_with_the_tag_of_its_server() {
    run(async {
        let server = Fixture::start("server.sid_tag = \"k3f9\"");
        for kind in Kind::ALL {
            let client = Client::open(server.addr, kind).await;
            assert_eq!((client.sid.len(), &client.sid[..4]), (26, "k3f9"), "{kind:?}");
        }
        let mut socket = Socket::open(server.addr, "EIO=4&transport=websocket").await;
        socket.hear().await;
        socket.send("40/max,").await;
        let connected = socket.hear().await;
        let sid = connected.strip_prefix(r#"40/max,{"sid":""#).and_then(|rest| rest.strip_suffix("\"}"));
        assert_eq!(sid.unwrap().len(), 22, "that of a namespace has none");
    });
}

#[test]
fn each_server_draws_its_tag_unless_it_is_given_one() {
    run(async {
        let (one, other) = (Fixture::start(""), Fixture::start(""));
        let mut tags = Vec::new();
        for addr in [one.addr, one.addr, other.addr] {
            tags.push(new_sid(addr).await[..4].to_owned());
        }
        assert_eq!(tags[0], tags[1]);
        assert_ne!(tags[0], tags[2]);
    });
}

/// The sid of another node: a cheap 400, counted apart.
#[test]
fn a_request_at_the_wrong_server_is_answered_as_an_unknown_sid_and_counted_apart() {
    run(async {
        let (right, wrong) = (Fixture::start("server.sid_tag = \"k3f9\""), Fixture::start("server.sid_tag = \"m7q2\""));
        for kind in Kind::ALL {
            let sid = Client::open(right.addr, kind).await.sid;
            let is_legacy = kind.generation() == Generation::Sio09;
            for method in ["GET", "POST"] {
                let response =
                    Http::connect(wrong.addr).await.request(method, &kind.target(&sid), &[ORIGIN], b"").await;
                if is_legacy {
                    assert_eq!(
                        (response.status, kind.unpack(&response)),
                        (200, vec![BEGIN_ANEW.to_owned()]),
                        "{kind:?}"
                    );
                } else {
                    assert_eq!((response.status, response.body.as_str()), (400, UNKNOWN_SID), "{kind:?}");
                }
                assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN.1));
                assert_eq!(response.header("x-maxtalk-session"), None, "it knows no other node");
            }
            let socket = kind.socket_target(Some(&sid));
            if is_legacy {
                let mut socket = ask(wrong.addr, &socket).await.unwrap();
                assert_eq!((socket.hear().await.as_str(), socket.end().await), (BEGIN_ANEW, End::Frame(None)));
            } else {
                let response = Socket::ask_at(wrong.addr, &socket, &[]).await.err().unwrap();
                assert_eq!((response.status, response.body.as_str()), (400, "Session ID unknown"), "{kind:?}");
                assert_eq!(response.header("x-maxtalk-session"), None);
            }
        }
        let counted = wrong.scrape().await;
        let refused = |labels: &str| counted.sum("maxtalk_handshakes_total", labels);
        for (protocol, generation) in
            [("eio4", Generation::Eio4), ("eio3", Generation::Eio3), ("0.9", Generation::Sio09)]
        {
            let requests = 3.0 * Kind::of(generation).len() as f64;
            assert_eq!(refused(&format!(r#"protocol="{protocol}",result="other_node""#)), requests, "{protocol}");
        }
        assert_eq!(refused("unknown_sid"), 0.0);
        assert_eq!(right.scrape().await.sum("maxtalk_handshakes_total", "other_node"), 0.0);
    });
}

/// Sid guessing: an unknown sid is a constant, cheap 400, and counted.
#[test]
fn a_sid_that_no_other_server_gives_out_is_unknown() {
    run(async {
        let server = Fixture::start("server.sid_tag = \"k3f9\"");
        let (own, long) = (format!("k3f9{REST}"), format!("m7q2{REST}A"));
        for sid in [own.as_str(), &long, "m7q2", REST] {
            let response = Http::connect(server.addr).await.get(&target(sid)).await;
            assert_eq!((response.status, response.body.as_str()), (400, UNKNOWN_SID), "{sid}");
        }
        let counted = server.scrape().await;
        let refused = |result: &str| counted.sum("maxtalk_handshakes_total", result);
        assert_eq!((refused("unknown_sid"), refused("other_node")), (4.0, 0.0));
    });
}

#[test]
fn the_log_advises_once_a_minute_and_keeps_the_sid_to_itself() {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
    command.env("MAXTALK_SERVER__SID_TAG", "k3f9");
    let mut server = Process::start(command);
    let addr = server.addr();
    run(async {
        for tag in ["m7q2", "m7q2", "zzzz"] {
            let response = Http::connect(addr).await.get(&target(&format!("{tag}{REST}"))).await;
            assert_eq!(response.status, 400);
        }
    });
    signal(&server.child, "TERM");
    assert!(server.end().0.success());
    let lines: Vec<_> = server.log.iter().filter(|line| line.contains("another server")).collect();
    let [line] = lines[..] else { panic!("{:#?}", server.log) };
    for part in ["INFO", "\"m7q2\"", "server.sid_tag", r#"transports: ["websocket"]"#, "`maxtalk docs proxies`"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!server.log.iter().any(|line| line.contains("AAAA")), "{:#?}", server.log);
}
