//! The fault lab itself: two scripts that talk to each other.

use crate::support::run;
use crate::support::script::{Peer, check};

#[test]
fn two_scripts_talk() {
    run(async {
        let server = Peer::listen(
            r#"
            connection:
                expect head
                send "HTTP/1.1 103 Early Hints\r\n\r\n"
                say asked
                wait go
                send 3 * "ab" every 5ms
                shutdown
                expect close
            connection:
                expect 2 * "ping"
                send 100000 * "0123456789" or closed
                reset
            "#,
        );
        let client = Peer::connect(
            server.addr(),
            "send \"GET /x HTTP/1.1\\r\\n\\r\\n\"\nexpect \"Hints\\r\\n\\r\\n\"\nexpect nothing for 20ms\nsay quiet\n\
             expect \"ababab\"\nexpect close",
        );
        server.said("asked", 1).await;
        client.said("quiet", 1).await;
        server.tell("go");
        assert!(client.end().await.unwrap().ends_with(b"\r\n\r\nababab"));
        let state = server.until("its end", |state| state.ends.len() == 1).await;
        assert_eq!((state.heads, state.connections), (vec![(0, "GET /x HTTP/1.1\r\n\r\n".to_owned())], 1));

        for _ in 0..2 {
            let client = Peer::connect(server.addr(), "send 2 * \"ping\"\nexpect close");
            assert!(client.end().await.unwrap().len() <= 1_000_000);
        }
    });
}

#[test]
fn a_fault_says_its_line() {
    run(async {
        let server = Peer::listen("expect \"x\"\nclose");
        let client = Peer::connect(server.addr(), "send \"x\"\n\nexpect \"y\"");
        let fault = client.end().await.unwrap_err();
        assert_eq!(fault, "line 3: \"y\" did not come before the close, but \"\"");
        let silent = Peer::connect(server.addr(), "expect nothing for 10ms\nsend \"x\"\nexpect nothing for 20s");
        assert_eq!(silent.end().await.unwrap_err(), "line 3: closed");
    });
}

#[test]
fn a_flood_ends_in_time_whether_it_is_read_or_not() {
    run(async {
        let server = Peer::listen("say there\nwait end");
        let client = Peer::connect(server.addr(), "send \"xxxxxxxx\" for 100ms\nclose");
        client.end().await.unwrap();
        server.tell("end");
    });
}

#[test]
fn a_bad_step_is_reported_with_its_line() {
    for line in [
        r#"send 40 * "a\r\"\x7f" every 10ms or closed"#,
        r#"send "a" for 2s"#,
        r#"expect 2 * "é""#,
        "expect nothing for 20ms",
        "expect close",
        "pause 3s",
        "say go",
        "connection:",
    ] {
        assert_eq!(check(line), Ok(()), "{line}");
    }
    for line in [
        "send",
        "send x",
        r#"send "a" sometimes"#,
        r#"send "a"#,
        r#"send "\q""#,
        "pause",
        "pause 3",
        "close now",
        "wait",
        "jump",
    ] {
        assert_eq!(check(&format!("# a comment\n{line}")), Err(format!("line 2: no such step: {line}")));
    }
}
