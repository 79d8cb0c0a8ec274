//! The transports of Socket.IO 0.7 to 0.9: polls that wait, end and are dropped, POSTs that fail, heartbeats, changes
//! of transport within a session, and all the ways in which a session ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::fixture::{Fixture, Scrape};
use crate::support::http::{Http, Response, request};
use crate::support::sio09::{
    BEGIN_ANEW, Polling, Session, ask, framed, hears, hears_nothing, join, joined, left, listening, talk, update,
    with_xavi,
};
use crate::support::socket::{End, Frame, Socket};
use crate::support::{run, within};
use tokio::io::AsyncWriteExt;

async fn get(addr: SocketAddr, target: &str) -> Response {
    Http::connect(addr).await.get(target).await
}

fn status_and_body(response: &Response) -> (u16, &str) {
    (response.status, &response.body)
}

/// A session by polling that has joined as `messi`, which `xavi` has heard.
async fn polling_messi(server: &Fixture, xavi: &mut Socket) -> (Session, Polling) {
    let session = Session::begin(server.addr).await;
    let mut messi = session.polling().await;
    messi.join("messi", &["c1"]).await;
    hears(xavi, &[&joined("messi")]).await;
    (session, messi)
}

/// Expects that the sid is unknown to every transport.
async fn is_over(session: &Session) {
    assert_eq!(status_and_body(&get(session.addr, &session.xhr()).await), (200, BEGIN_ANEW));
    let posted = Http::connect(session.addr).await.post(&session.xhr(), "2::").await;
    assert_eq!(status_and_body(&posted), (200, BEGIN_ANEW));
    let mut socket = ask(session.addr, &format!("/socket.io/1/websocket/{}", session.sid)).await.unwrap();
    assert_eq!(socket.hear().await, BEGIN_ANEW);
}

fn sessions(now: &Scrape, transport: &str) -> f64 {
    let open = |protocol: &str| {
        now.sum("maxtalk_sessions", &format!(r#"protocol="{protocol}",transport="{transport}""#))
            + now.sum("maxtalk_sessions", &format!(r#"transport="{transport}",protocol="{protocol}""#))
    };
    assert_eq!(open("eio4") + open("eio3"), 0.0);
    open("0.9")
}

#[test]
fn an_idle_poll_ends_with_a_noop_and_the_session_goes_on() {
    run(async {
        let server = Fixture::start("legacy.polling_duration_ms = 200");
        let mut polling = Session::begin(server.addr).await.polling().await;
        for _ in 0..3 {
            let begun = Instant::now();
            assert_eq!(polling.poll().await, "8::");
            assert!(begun.elapsed() >= Duration::from_millis(200));
        }
        polling.post("1::/max").await;
        assert_eq!(polling.poll().await, "1::/max");
        assert_eq!(polling.poll().await, "8::");
    });
}

#[test]
fn a_waiting_poll_is_answered_by_the_next_packet() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (_, mut messi) = polling_messi(&server, &mut xavi).await;
        for message in ["m1", "m2", "m3"] {
            messi.wait().await;
            xavi.send(&talk(message)).await;
            assert_eq!(messi.polled().await, update("xavi", message));
        }
        messi.wait().await;
        messi.post("3:1:/max:x").await;
        assert_eq!(messi.polled().await, "6::/max:1");
    });
}

#[test]
fn a_second_poll_ends_the_first_and_takes_its_place() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (session, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.wait().await;
        // The client takes JSONP for another transport, which it tries if the first was silent.
        let mut script = Http::connect(server.addr).await;
        assert_eq!(script.get(&session.jsonp()).await.body, r#"io.j[0]("1::");"#);
        assert_eq!(messi.polled().await, "8::");
        messi.wait().await;
        script.write(&request("GET", &session.jsonp(), &[], b"")).await.unwrap();
        assert_eq!(messi.polled().await, "8::");
        messi.begin_poll().await;
        assert_eq!(script.response().await.unwrap().body, r#"io.j[0]("8::");"#);
        xavi.send(&talk("m1")).await;
        assert_eq!(messi.polled().await, update("xavi", "m1"));
        hears_nothing(&mut xavi).await;
    });
}

#[test]
fn a_poll_that_its_client_drops_costs_neither_the_session_nor_its_news() {
    run(async {
        let (server, mut xavi) = with_xavi("server.workers = 1").await;
        let (_, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.wait().await;
        // The server closes when it sees that the client has. The only worker forgets the poll before it sees anything
        // else.
        messi.getter.stream.get_mut().shutdown().await.unwrap();
        assert!(messi.getter.is_closed().await);
        for message in ["m1", "m2"] {
            xavi.send(&talk(message)).await;
        }
        hears_nothing(&mut xavi).await;
        messi.getter = Http::connect(server.addr).await;
        messi.hears(&[&update("xavi", "m1"), &update("xavi", "m2")]).await;
        messi.hears_nothing().await;
        hears_nothing(&mut xavi).await;
    });
}

#[test]
fn a_client_that_stops_polling_has_left_after_the_close_timeout() {
    run(async {
        let settings = "legacy.close_timeout_ms = 1000\nlegacy.polling_duration_ms = 300
                        legacy.heartbeat_interval_ms = 300";
        let (server, mut xavi) = with_xavi(settings).await;
        let (session, mut messi) = polling_messi(&server, &mut xavi).await;
        // The session lives as long as it polls, longer than the timeout.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1100) {
            assert_eq!(messi.poll().await, "8::");
        }
        let begun = Instant::now();
        loop {
            match xavi.hear().await.as_str() {
                "2::" => xavi.send("2::").await,
                heard => break assert_eq!(heard, left("messi")),
            }
        }
        // It may come an eighth of the period too early.
        assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
        is_over(&session).await;
        let closed = server.scrape().await;
        assert_eq!(closed.sum("maxtalk_sessions_closed_total", r#"reason="ping_timeout""#), 1.0);
    });
}

#[test]
fn a_handshake_that_no_transport_claims_expires() {
    run(async {
        let server = Fixture::start("legacy.handshake_timeout_ms = 200");
        let begun = Instant::now();
        let session = Session::begin(server.addr).await;
        server.until("no session", |now| now.sum("maxtalk_sessions", "") == 0.0).await;
        assert!(begun.elapsed() >= Duration::from_millis(200));
        is_over(&session).await;
    });
}

#[test]
fn a_websocket_has_heartbeats_of_which_only_answers_count() {
    run(async {
        let server = Fixture::start("legacy.heartbeat_interval_ms = 100\nlegacy.polling_duration_ms = 100");
        let mut socket = Session::begin(server.addr).await.socket().await;
        for _ in 0..4 {
            let begun = Instant::now();
            for _ in 0..50 {
                // A heartbeat that nobody asked for is accepted.
                socket.send("2::").await;
            }
            assert_eq!(socket.hear().await, "2::");
            assert!(begun.elapsed() >= Duration::from_millis(50), "{:?}", begun.elapsed());
            socket.send("2::").await;
        }
        // Polling has no heartbeats: the next packet is the end of the poll.
        let mut polling = Session::begin(server.addr).await.polling().await;
        assert_eq!(polling.poll().await, "8::");
    });
}

#[test]
fn a_websocket_that_answers_no_heartbeat_is_closed() {
    run(async {
        let settings = "legacy.heartbeat_interval_ms = 100\nlegacy.heartbeat_timeout_ms = 300";
        let server = Fixture::start(settings);
        let session = Session::begin(server.addr).await;
        let begun = Instant::now();
        let mut socket = session.socket().await;
        assert_eq!(socket.hear().await, "2::");
        // Other packets do not answer a heartbeat.
        socket.send("1::/max").await;
        assert_eq!(socket.hear().await, "1::/max");
        assert_eq!(socket.end().await, End::Frame(None));
        assert!(begun.elapsed() >= Duration::from_millis(400));
        is_over(&session).await;
        let closed = server.scrape().await;
        assert_eq!(closed.sum("maxtalk_sessions_closed_total", r#"reason="ping_timeout""#), 1.0);
    });
}

#[test]
fn one_sid_goes_from_transport_to_transport_and_misses_nothing() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (session, mut polling) = polling_messi(&server, &mut xavi).await;
        let mut number = 0;
        for round in 0..2 {
            // On polling, without a waiting poll and with one.
            let mut talk_on = async |xavi: &mut Socket| {
                number += 1;
                xavi.send(&talk(&format!("m{number}"))).await;
                hears_nothing(xavi).await;
                update("xavi", &format!("m{number}"))
            };
            server.until("one of each", |now| sessions(now, "polling") == 1.0).await;
            let first = talk_on(&mut xavi).await;
            let mut news = vec![first];
            if round == 1 {
                polling.hears(&[&news.remove(0)]).await;
                polling.wait().await;
            }
            let mut socket = session.socket().await;
            if round == 1 {
                assert_eq!(polling.polled().await, "8::");
            }
            news.push(talk_on(&mut xavi).await);
            for update in news.drain(..) {
                assert_eq!(socket.hear().await, update);
            }
            server.until("two sockets", |now| sessions(now, "websocket") == 2.0).await;
            assert_eq!(server.scrape().await.sum("maxtalk_sessions", ""), 2.0);
            // A POST is accepted on any transport.
            polling.post(&talk("by POST")).await;
            hears(&mut xavi, &[&update("messi", "by POST")]).await;
            // A second socket closes the first without a packet.
            let mut second = session.socket().await;
            assert_eq!(socket.end().await, End::Frame(None));
            let update = talk_on(&mut xavi).await;
            hears(&mut second, &[&update]).await;
            // Packets after the end of a socket wait for the second poll, since the first is answered with a greeting.
            assert_eq!(polling.poll().await, "1::");
            assert_eq!(second.end().await, End::Frame(None));
            let update = talk_on(&mut xavi).await;
            polling.hears(&[&update]).await;
            polling.hears_nothing().await;
        }
        hears_nothing(&mut xavi).await;
        assert_eq!(server.scrape().await.sum("maxtalk_sessions_closed_total", ""), 0.0);
    });
}

#[test]
fn a_client_that_says_farewell_hears_it() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        // Over a WebSocket.
        let session = Session::begin(server.addr).await;
        let mut messi = session.socket().await;
        messi.send(&join("messi")).await;
        hears(&mut messi, &[&listening(&["c1"])]).await;
        messi.send("0::").await;
        hears(&mut messi, &["0::"]).await;
        assert_eq!(messi.end().await, End::Frame(None));
        hears(&mut xavi, &[&joined("messi"), &left("messi")]).await;
        is_over(&session).await;

        // By a POST, while a poll waits, after other packets in the same POST.
        let (session, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.wait().await;
        messi.post(&framed(&["3:1:/max:x", &talk("m1"), "0::", &talk("m2")])).await;
        assert_eq!(messi.polled().await, framed(&["6::/max:1", "0::"]));
        hears(&mut xavi, &[&update("messi", "m1"), &left("messi")]).await;
        is_over(&session).await;

        // By a POST between two polls.
        let (session, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.post("0::").await;
        let told = messi.poll().await;
        assert!(["0::", BEGIN_ANEW].contains(&told.as_str()), "{told}");
        hears(&mut xavi, &[&left("messi")]).await;
        is_over(&session).await;
        hears_nothing(&mut xavi).await;
    });
}

#[test]
fn a_client_that_leaves_the_namespace_stays_connected() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (session, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.post("0::/max").await;
        hears(&mut xavi, &[&left("messi")]).await;
        xavi.send(&talk("m1")).await;
        hears_nothing(&mut xavi).await;
        // It is not answered, and missed updates are not repeated.
        messi.post("3:1::x").await;
        messi.hears(&["6:::1"]).await;
        messi.join("messi", &["c1"]).await;
        hears(&mut xavi, &[&joined("messi")]).await;
        let mut socket = session.socket().await;
        socket.send("0::/max").await;
        socket.send("3:2::x").await;
        hears(&mut socket, &["6:::2"]).await;
        hears(&mut xavi, &[&left("messi")]).await;
    });
}

#[test]
fn a_page_that_goes_ends_its_session_by_a_request() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        for form in ["xhr-polling/SID?disconnect=1", "websocket/SID/?t=1&disconnect=1", "/SID/?disconnect=1"] {
            let (session, mut messi) = polling_messi(&server, &mut xavi).await;
            messi.wait().await;
            let target = format!("/socket.io/1/{}", form.replace("SID", &session.sid));
            let response = Http::connect(server.addr).await.request("GET", &target, &[("Origin", "null")], b"").await;
            assert_eq!(status_and_body(&response), (200, ""), "{form}");
            assert_eq!(response.header("access-control-allow-origin"), Some("null"));
            assert_eq!(messi.polled().await, "0::", "{form}");
            hears(&mut xavi, &[&left("messi")]).await;
            is_over(&session).await;
            assert_eq!(status_and_body(&get(server.addr, &target).await), (200, ""), "again: {form}");
        }
        // Values below 1 do not ask for a disconnect.
        let (session, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.target = session.xhr() + "?disconnect=0";
        messi.post("1::/max").await;
        messi.hears(&["1::/max"]).await;
        // A socket is closed.
        let mut socket = session.socket().await;
        get(server.addr, &(session.xhr() + "?disconnect=1")).await;
        assert_eq!(socket.end().await, End::Frame(None));
        hears(&mut xavi, &[&left("messi")]).await;
        is_over(&session).await;
    });
}

#[test]
fn a_socket_that_closes_has_left() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (session, _polling) = polling_messi(&server, &mut xavi).await;
        let mut socket = session.socket().await;
        socket.write(&support::socket::frame(true, support::socket::CLOSE, b"")).await;
        assert_eq!(socket.end().await, End::Frame(None));
        hears(&mut xavi, &[&left("messi")]).await;
        is_over(&session).await;
        let (session, _polling) = polling_messi(&server, &mut xavi).await;
        drop(session.socket().await);
        hears(&mut xavi, &[&left("messi")]).await;
        is_over(&session).await;
    });
}

#[test]
fn a_post_that_fails_costs_nothing_but_itself() {
    run(async {
        let settings = "protocol.payload_bytes_max = 1000\nserver.request_timeout_ms = 1000";
        let (server, mut xavi) = with_xavi(settings).await;
        let (_, mut messi) = polling_messi(&server, &mut xavi).await;
        messi.wait().await;
        let head = |headers: &str| format!("POST {} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n", messi.target);

        // Too large, announced or chunk by chunk.
        let mut announced = Http::connect(server.addr).await;
        announced.write(head("Content-Length: 1001").as_bytes()).await.unwrap();
        assert_eq!(status_and_body(&announced.response().await.unwrap()), (413, ""));
        let mut chunked = Http::connect(server.addr).await;
        let chunk = format!("{}3ea\r\n{}\r\n", head("Transfer-Encoding: chunked"), "5".repeat(1002));
        chunked.write(chunk.as_bytes()).await.unwrap();
        assert_eq!(status_and_body(&chunked.response().await.unwrap()), (413, ""));

        // Two at once: one of them is refused.
        let talk_of_it = talk("whole");
        let (front, rest) = talk_of_it.split_at(20);
        let front = head(&format!("Content-Length: {}", talk_of_it.len())) + front;
        let mut whole = Http::connect(server.addr).await;
        let mut half = 'halves: loop {
            let mut half = Http::connect(server.addr).await;
            half.write(front.as_bytes()).await.unwrap();
            // A whole POST is answered before the next one is sent, so only the half one can be in its way.
            loop {
                let response = whole.post(&messi.target, "8::").await;
                if response.status != 200 {
                    assert_eq!(status_and_body(&response), (400, ""));
                    break 'halves half;
                }
                tokio::select! {
                    biased;
                    refused = half.response() => {
                        assert_eq!(status_and_body(&refused.unwrap()), (400, ""));
                        break;
                    }
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        half.write(rest.as_bytes()).await.unwrap();
        assert_eq!(status_and_body(&half.response().await.unwrap()), (200, "1"));
        hears(&mut xavi, &[&update("messi", "whole")]).await;

        // An endless one is not waited for.
        let mut endless = Http::connect(server.addr).await;
        endless.write((head("Content-Length: 900") + "5::/max").as_bytes()).await.unwrap();
        assert_eq!(endless.response().await.unwrap().status, 408);

        // Broken off. The server closes when it sees that.
        let mut broken = Http::connect(server.addr).await;
        broken.write((head("Content-Length: 900") + "5::/max").as_bytes()).await.unwrap();
        broken.stream.get_mut().shutdown().await.unwrap();
        while within("the end of a POST", broken.response()).await.is_ok() {}

        // A poll has waited all the time.
        messi.post(&talk("m1")).await;
        hears(&mut xavi, &[&update("messi", "m1")]).await;
        xavi.send(&talk("m2")).await;
        assert_eq!(messi.polled().await, update("xavi", "m2"));
    });
}

#[test]
fn a_stop_sends_everybody_elsewhere() {
    run(async {
        let server = Fixture::start("");
        let mut polling = Session::begin(server.addr).await.polling().await;
        let mut socket = Session::begin(server.addr).await.socket().await;
        polling.wait().await;
        server.stop();
        // Not `0::`, after which a client would never come back.
        assert_eq!(polling.polled().await, BEGIN_ANEW);
        assert_eq!(socket.next().await, Ok(Frame::Close(None)));
    });
}

#[test]
fn a_handshake_that_comes_too_late_for_a_stop_is_told_so() {
    run(async {
        let server = Fixture::start("server.workers = 1");
        let mut polling = Session::begin(server.addr).await.polling().await;
        let mut late = Vec::new();
        for target in ["/socket.io/1/", "/socket.io/1/?jsonp=alert(7)"] {
            let mut http = Http::connect(server.addr).await;
            http.get("/socket.io/socket.io.js").await;
            http.write(format!("GET {target} HTTP/1.1\r\nHost: x\r\n").as_bytes()).await.unwrap();
            late.push(http);
        }
        polling.wait().await;
        server.stop();
        assert_eq!(polling.polled().await, BEGIN_ANEW);
        // A page would wait forever for its script. If the stop was faster, the connection is closed, which is as good.
        let expected = [(503, ""), (200, r#"io.j[7](new Error("handshake error"));"#)];
        for (http, expected) in late.iter_mut().zip(expected) {
            let _ = http.write(b"\r\n").await;
            if let Ok(told) = within("the answer to a handshake", http.response()).await {
                assert_eq!(status_and_body(&told), expected);
            }
        }
    });
}

#[test]
fn sessions_are_counted_by_kind() {
    run(async {
        let server = Fixture::start("");
        server.max.talks_in("messi", &["c1"]);
        let session = Session::begin(server.addr).await;
        assert_eq!(sessions(&server.scrape().await, "polling"), 1.0);
        let mut socket = Session::begin(server.addr).await.socket().await;
        server.until("one of each", |now| sessions(now, "websocket") == 1.0 && sessions(now, "polling") == 1.0).await;
        socket.send(&join("messi")).await;
        hears(&mut socket, &[&listening(&["c1"])]).await;
        socket.send("0::").await;
        socket.end().await;
        get(server.addr, &(session.xhr() + "?disconnect=1")).await;
        server.until("nothing", |now| now.rest().is_empty()).await;
        let now = server.scrape().await;
        assert_eq!(now.sum("maxtalk_sessions_opened_total", r#"protocol="0.9""#), 2.0);
        assert_eq!(now.sum("maxtalk_sessions_closed_total", r#"reason="transport_close""#), 2.0);
    });
}

#[test]
fn a_client_that_lost_a_silent_socket_may_use_another_transport() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let session = Session::begin(server.addr).await;
        for _ in 0..2 {
            drop(session.socket().await);
            server.until("a session without a socket", |now| sessions(now, "polling") == 1.0).await;
        }
        let mut messi = session.polling().await;
        messi.join("messi", &["c1"]).await;
        hears(&mut xavi, &[&joined("messi")]).await;
    });
}

#[test]
fn a_disconnect_by_post_is_answered_over_the_current_transport() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (session, mut polling) = polling_messi(&server, &mut xavi).await;
        let mut socket = session.socket().await;
        polling.post("0::").await;
        assert_eq!((socket.hear().await.as_str(), socket.end().await), ("0::", End::Frame(None)));
        hears(&mut xavi, &[&left("messi")]).await;
        is_over(&session).await;
    });
}

#[test]
fn a_post_is_not_lost_for_the_next_one() {
    run(async {
        let server = Fixture::start("");
        let session = Session::begin(server.addr).await;
        let mut messi = session.polling().await;
        // More receipts than the outbox has room for at once: the POST waits for polls, but its client does not.
        let count = 6000;
        let packets: Vec<String> = (0..count).map(|id| format!("3:{id}::x")).collect();
        let body = framed(&packets.iter().map(String::as_str).collect::<Vec<_>>());
        let mut impatient = Http::connect(server.addr).await;
        impatient.write(&request("POST", &session.xhr(), &[], body.as_bytes())).await.unwrap();
        let waits = |now: &Scrape| now.sum("maxtalk_session_queue_messages", "") > 2000.0;
        server.until("a POST that waits for room", waits).await;
        drop(impatient);
        let refused = async || Http::connect(server.addr).await.post(&session.xhr(), "3:9999::x").await.status;
        assert_eq!(refused().await, 400, "one at a time");
        for id in 0..count {
            assert_eq!(messi.hear().await, format!("6:::{id}"));
        }
        messi.post("3:10000::x").await;
        assert_eq!(messi.hear().await, "6:::10000");
    });
}

/// A client that was disconnected during a POST keeps its `0::` and sends it first in its next session.
#[test]
fn a_session_that_begins_with_the_end_of_the_last_one_lives() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Session::begin(server.addr).await.polling().await;
        messi.post("0::").await;
        messi.post(&framed(&["1::/max", &join("messi")])).await;
        hears(&mut xavi, &[&joined("messi")]).await;
        messi.hears(&["1::/max", &listening(&["c1"])]).await;
        messi.post(&framed(&[&talk("m1"), "0::"])).await;
        hears(&mut xavi, &[&update("messi", "m1"), &left("messi")]).await;
        let mut socket = Session::begin(server.addr).await.socket().await;
        for packet in ["0::", "1::/max", &join("messi")] {
            socket.send(packet).await;
        }
        hears(&mut xavi, &[&joined("messi")]).await;
        drop(socket);
    });
}
