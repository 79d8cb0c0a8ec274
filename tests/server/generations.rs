//! Several generations at one endpoint: which are served, how the others are refused, whose sid is whose, and how they
//! are counted.

use std::net::SocketAddr;

use crate::support::fixture::{Fixture, Scrape};
use crate::support::http::{Http, Response};
use crate::support::run;
use crate::support::sio09::{BEGIN_ANEW, Session, ask};
use crate::support::socket::{End, Socket};

const UNSUPPORTED: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;
const NOT_SUPPORTED: &str = "Protocol version not supported.";
const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const GENERATIONS: [&str; 3] = ["eio4", "eio3", "0.9"];
const WEBSOCKET: &str = "transport=websocket";

async fn get(addr: SocketAddr, target: &str) -> Response {
    Http::connect(addr).await.get(target).await
}

fn status_and_body(response: &Response) -> (u16, &str) {
    (response.status, &response.body)
}

/// The target of a session's polls; without a sid, the target that opens one.
fn polls(eio: u32, sid: Option<&str>) -> String {
    let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
    format!("/socket.io/?EIO={eio}&transport=polling{sid}")
}

/// Opens an Engine.IO session by polling and returns its sid.
async fn engine_io(addr: SocketAddr, eio: u32) -> String {
    let response = get(addr, &polls(eio, None)).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.body.split('"').nth(3).unwrap().to_owned()
}

/// Expects that a WebSocket is refused.
async fn refused(asked: impl Future<Output = Result<Socket, Response>>) -> (u16, String) {
    let response = asked.await.map(|_| ()).unwrap_err();
    assert_eq!(response.header("connection"), Some("close"));
    (response.status, response.body)
}

fn open(now: &Scrape, transport: &str, protocol: &str) -> f64 {
    let labels = format!(r#"transport="{transport}",protocol="{protocol}""#);
    now.sum("maxtalk_sessions", &labels)
}

/// Opens a session by each transport of the generation.
async fn is_served(server: &Fixture, generation: &str) {
    let addr = server.addr;
    if generation == "0.9" {
        Session::begin(addr).await.polling().await;
        Session::begin(addr).await.socket().await;
        assert!(get(addr, "/socket.io/1/?jsonp=3").await.body.starts_with("io.j[3](\""));
        return;
    }
    let eio = if generation == "eio4" { 4 } else { 3 };
    engine_io(addr, eio).await;
    let mut socket = Socket::open(addr, &format!("EIO={eio}&{WEBSOCKET}")).await;
    assert!(socket.hear().await.starts_with("0{"));
}

async fn is_refused(server: &Fixture, generation: &str) {
    let addr = server.addr;
    if generation == "0.9" {
        for target in
            ["/socket.io/1/", "/socket.io/1", "/socket.io/1/xhr-polling/x", "/socket.io/1/jsonp-polling/x?i=0"]
        {
            assert_eq!(status_and_body(&get(addr, target).await), (500, NOT_SUPPORTED), "{target}");
            let response = Http::connect(addr).await.request("POST", target, &[("Origin", "null")], b"1::").await;
            assert_eq!(status_and_body(&response), (500, NOT_SUPPORTED), "{target}");
            assert_eq!(response.header("access-control-allow-origin"), Some("null"));
        }
        let response = get(addr, "/socket.io/1/?t=1&jsonp=alert(7)").await;
        let expected = format!(r#"io.j[7](new Error("{NOT_SUPPORTED}"));"#);
        assert_eq!(status_and_body(&response), (200, expected.as_str()));
        assert_eq!(response.header("content-type"), Some("text/javascript; charset=UTF-8"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        let told = refused(ask(addr, "/socket.io/1/websocket/AAAAAAAAAAAAAAAAAAAA")).await;
        assert_eq!(told, (400, NOT_SUPPORTED.to_owned()));
        assert_eq!(get(addr, "/socket.io/x").await.status, 404);
        return;
    }
    let eio = if generation == "eio4" { 4 } else { 3 };
    for target in [polls(eio, None), polls(eio, Some("AAAAAAAAAAAAAAAAAAAA")), polls(eio, None) + "&j=0"] {
        for method in ["GET", "POST"] {
            let response = Http::connect(addr).await.request(method, &target, &[("Origin", "null")], b"").await;
            assert_eq!(status_and_body(&response), (400, UNSUPPORTED), "{method} {target}");
            assert_eq!(response.header("access-control-allow-origin"), Some("null"));
        }
    }
    for query in [format!("EIO={eio}&{WEBSOCKET}"), format!("EIO={eio}&{WEBSOCKET}&sid=AAAAAAAAAAAAAAAAAAAA")] {
        let told = refused(Socket::ask(addr, &query, b"")).await;
        assert_eq!(told, (400, "Unsupported protocol version".to_owned()), "{query}");
    }
}

#[test]
fn each_generation_can_be_left_out() {
    run(async {
        for absent in GENERATIONS {
            let served: Vec<_> = GENERATIONS.into_iter().filter(|generation| *generation != absent).collect();
            let server = Fixture::start(&format!("protocol.generations = {served:?}"));
            is_refused(&server, absent).await;
            for generation in served {
                is_served(&server, generation).await;
            }
            let sessions = server.scrape().await.sum("maxtalk_sessions_opened_total", absent);
            assert_eq!(sessions, 0.0);
        }
    });
}

#[test]
fn one_generation_alone_can_be_served() {
    run(async {
        for only in GENERATIONS {
            let server = Fixture::start(&format!("protocol.generations = [{only:?}]"));
            is_served(&server, only).await;
            for absent in GENERATIONS.into_iter().filter(|generation| *generation != only) {
                is_refused(&server, absent).await;
            }
        }
    });
}

#[test]
fn scripts_can_be_switched_off() {
    run(async {
        let server = Fixture::start("protocol.jsonp = false");
        let addr = server.addr;
        for eio in [3, 4] {
            let sid = engine_io(addr, eio).await;
            for target in [polls(eio, None), polls(eio, Some(&sid))] {
                for method in ["GET", "POST"] {
                    let target = format!("{target}&j=0");
                    let response = Http::connect(addr).await.request(method, &target, &[], b"d=1%3A2").await;
                    assert_eq!(status_and_body(&response), (400, BAD_REQUEST), "{method} {target}");
                }
            }
            // Without JSONP the session is served.
            let (target, packet) = (polls(eio, Some(&sid)), if eio == 4 { "40/max," } else { "6:2probe" });
            let response = Http::connect(addr).await.post(&target, packet).await;
            assert_eq!(status_and_body(&response), (200, "ok"));
            assert_eq!(get(addr, &target).await.status, 200);
        }
        let line = get(addr, "/socket.io/1/").await.body;
        assert_eq!(line.split_once(':').unwrap().1, "60:60:websocket,xhr-polling");
        assert_eq!(status_and_body(&get(addr, "/socket.io/1/?jsonp=0").await), (400, "Bad request"));
        let session = Session::begin(addr).await;
        for method in ["GET", "POST"] {
            let response = Http::connect(addr).await.request(method, &session.jsonp(), &[], b"d=1%3A%3A").await;
            assert_eq!(status_and_body(&response), (400, "Transport unknown"));
        }
        assert_eq!(status_and_body(&get(addr, "/socket.io/2/?jsonp=0").await), (500, NOT_SUPPORTED));
        session.polling().await;
    });
}

#[test]
fn a_sid_is_known_to_its_own_generation_alone() {
    run(async {
        let server = Fixture::start("");
        let addr = server.addr;
        let (four, three, legacy) = (engine_io(addr, 4).await, engine_io(addr, 3).await, Session::begin(addr).await);
        for (eio, sid) in [(4, &three), (4, &legacy.sid), (3, &four), (3, &legacy.sid)] {
            for method in ["GET", "POST"] {
                let target = polls(eio, Some(sid));
                let response = Http::connect(addr).await.request(method, &target, &[], b"1:1").await;
                assert_eq!(status_and_body(&response), (400, UNKNOWN_SID), "{method} {target}");
            }
            let told = refused(Socket::ask(addr, &format!("EIO={eio}&{WEBSOCKET}&sid={sid}"), b"")).await;
            assert_eq!(told, (400, "Session ID unknown".to_owned()));
        }
        for sid in [&four, &three] {
            let alien = Session { addr, sid: sid.clone() };
            assert_eq!(status_and_body(&get(addr, &alien.xhr()).await), (200, BEGIN_ANEW));
            assert_eq!(status_and_body(&Http::connect(addr).await.post(&alien.xhr(), "0::").await), (200, BEGIN_ANEW));
            assert_eq!(status_and_body(&get(addr, &(alien.xhr() + "?disconnect=1")).await), (200, ""));
            let mut socket = ask(addr, &format!("/socket.io/1/websocket/{sid}")).await.unwrap();
            assert_eq!(socket.hear().await, BEGIN_ANEW);
            assert_eq!(socket.end().await, End::Frame(None));
        }
        // None of the three sessions has noticed.
        assert_eq!(get(addr, &polls(3, Some(&three))).await.body, "2:40");
        assert_eq!(
            status_and_body(&Http::connect(addr).await.post(&polls(4, Some(&four)), "40/max,").await),
            (200, "ok")
        );
        assert!(get(addr, &polls(4, Some(&four))).await.body.starts_with("40/max,"));
        legacy.polling().await;
    });
}

#[test]
fn sessions_of_each_generation_and_transport_are_counted() {
    run(async {
        let server = Fixture::start("protocol.ping_interval_ms = 60000");
        let addr = server.addr;
        let is = |now: &Scrape, sessions: f64| {
            let each = GENERATIONS.into_iter().flat_map(|protocol| [("polling", protocol), ("websocket", protocol)]);
            each.into_iter().all(|(transport, protocol)| open(now, transport, protocol) == sessions)
        };
        let (four, three, legacy) = (engine_io(addr, 4).await, engine_io(addr, 3).await, Session::begin(addr).await);
        let mut sockets = [
            Socket::open(addr, &format!("EIO=4&{WEBSOCKET}")).await,
            Socket::open(addr, &format!("EIO=3&{WEBSOCKET}")).await,
            Session::begin(addr).await.socket().await,
        ];
        // Without a packet from its client, the session of 0.9 would outlive its socket and wait for another transport.
        sockets[2].send("2::").await;
        server.until("one of each", |now| is(now, 1.0)).await;
        drop(sockets);
        for (target, end) in [(polls(4, Some(&four)), "1"), (polls(3, Some(&three)), "1:1"), (legacy.xhr(), "0::")] {
            assert_eq!(Http::connect(addr).await.post(&target, end).await.status, 200);
        }
        server.until("none", |now| is(now, 0.0)).await;
        server.until("nothing at all", |now| now.rest().is_empty()).await;
        let now = server.scrape().await;
        for protocol in GENERATIONS {
            for row in ["maxtalk_sessions_opened_total", "maxtalk_sessions_closed_total"] {
                assert_eq!(now.sum(row, &format!(r#"protocol="{protocol}""#)), 2.0, "{row} {protocol}");
            }
        }
    });
}

#[test]
fn all_generations_live_at_the_path_and_namespace_of_the_configuration() {
    run(async {
        let server = Fixture::start("protocol.path = \"/a/chat/\"\nprotocol.namespace = \"/news\"");
        let addr = server.addr;
        let line = get(addr, "/a/chat/1/").await.body;
        let sid = line.split(':').next().unwrap();
        let mut socket = ask(addr, &format!("/a/chat/1/websocket/{sid}")).await.unwrap();
        for packet in ["1::/max", "1::/news"] {
            socket.send(packet).await;
        }
        assert_eq!([socket.hear().await, socket.hear().await], ["1::", "1::/news"]);
        let open = get(addr, "/a/chat/?EIO=3&transport=polling").await.body;
        let target = format!("/a/chat?EIO=3&transport=polling&sid={}", open.split('"').nth(3).unwrap());
        assert_eq!(get(addr, &target).await.body, "2:40");
        assert_eq!(Http::connect(addr).await.post(&target, "8:40/news,6:40/max").await.body, "ok");
        assert_eq!(get(addr, &target).await.body, "8:40/news,26:44/max,\"Invalid namespace\"");
        for target in ["/socket.io/1/", "/socket.io/?EIO=3&transport=polling", "/a/chat1/", "/a/1/"] {
            assert_eq!(get(addr, target).await.status, 404, "{target}");
        }
        assert!(get(addr, "/a/chat/socket.io.js").await.body.contains("npm"));
        assert!(ask(addr, &format!("/socket.io/1/websocket/{sid}")).await.is_err());
    });
}
