//! The cases of parity about values: every name, id and time arrives unchanged.

use super::{Cast, scene, scene_in, three};
use crate::support::client::{
    Client, Kind, event, join_of, joined, left, listening, not_ok, ok, people, refused, talk_of, update,
};

/// Texts that need escaping, counting or encoding somewhere, in every generation and form of polling.
const TEXTS: &[&str] = &[
    "é",
    "žižek",
    "😀",
    "é€😀",
    "a\u{2028}b\u{2029}c",
    "\u{7f}\u{80}\u{ff}\u{ffff}\u{10ffff}",
    "\u{fffd}7\u{fffd}1::/max",
    "日本語, العربية",
    "<script>&\"'+%20=;</script>",
    r"\n \\n \u0041 \",
    "a\nb\r\nc\t\u{0}\u{1e}d",
    "4:42/max,",
];

pub(super) async fn names_beyond_ascii(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    for (name, lower) in [("ŽIŽEK", "žižek"), ("é", "é"), ("zoë 😀", "zoë 😀"), ("a\u{2028}b", "a\u{2028}b")]
    {
        server.max.talks_in(lower, &["c1"]);
        let mut client = Client::connect(server.addr, cast.messi, "").await;
        let join = format!(r#"{{"username":"{name}","token":"t-{lower}"}}"#);
        client.call("join", &join, &[listening(&["c1"])], ok).await;
        others.hear(&[joined("c1", lower)]).await;
        client.emit("talk", &talk_of("c1", "m1")).await;
        others.hear(&[update(lower, "c1", "m1")]).await;
        let mut here = ["iniesta", lower, "xavi"];
        here.sort_unstable();
        client.call("ask", "", &[people("c1", &here)], ok).await;
        // The others talk of it too.
        let mut second = Client::connect(server.addr, cast.others[0], "").await;
        second.call("join", &join, &[listening(&["c1"])], ok).await;
        second.emit("talk", &talk_of("c1", "m2")).await;
        client.hears(&[update(lower, "c1", "m2")]).await;
        others.hear(&[update(lower, "c1", "m2")]).await;
        second.close().await;
        client.close().await;
        others.hear(&[left("c1", lower)]).await;
    }
    others.hear_nothing().await;
}

pub(super) async fn conversations_beyond_ascii(cast: Cast) {
    let ids = ["é", "a\u{2028}😀", r#"\"\n"#];
    // The last text, as written in JSON.
    let written = r#"\\\"\\n"#;
    let (server, mut others) = scene_in(cast, "", &ids[..2]).await;
    server.max.talks_in("messi", &ids);
    let mut messi = Client::join(&server, cast.messi, "messi", &ids).await;
    others.hear_all_of(&[joined(ids[1], "messi"), joined(ids[0], "messi")]).await;
    for id in &ids[..2] {
        messi.call("talk", &talk_of(id, "m1"), &[], ok).await;
        messi.call("talk", &talk_of(&format!("{id}x"), "m1"), &[], |ack| not_ok(ack, "forbidden")).await;
        others.hear(&[update("messi", id, "m1")]).await;
        others.xavi.emit("talk", &talk_of(id, "m2")).await;
        messi.hears(&[update("xavi", id, "m2")]).await;
        others.iniesta.hears(&[update("xavi", id, "m2")]).await;
    }
    messi.call("talk", &talk_of(written, "m3"), &[], ok).await;
    messi.call("ask", &format!("\"{}\"", written), &[people(written, &["messi"])], ok).await;
    messi.emit("talk", &talk_of("ç\u{2029}", "m3")).await;
    messi.hears(&[refused("talk", "forbidden", Some("ç\u{2029}"))]).await;
    messi.call("leave", "", &[listening(&[])], ok).await;
}

pub(super) async fn texts_arrive_as_they_were(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for text in TEXTS {
        let written = serde_json::json!(text).to_string();
        messi.emit("talk", &format!(r#"{{"conversation":"c1","timestamp":{written},"messageID":"m1"}}"#)).await;
        let fields = format!(r#""username":"messi","conversation":"c1","timestamp":{written},"messageID":"m1""#);
        others.hear(&[event("update", format!("{{{fields}}}"))]).await;
        for (talker, name) in [(&mut others.xavi, "xavi"), (&mut others.iniesta, "iniesta")] {
            talker.emit("talk", &format!(r#"{{"conversation":"c1","messageID":{written}}}"#)).await;
            let fields = format!(r#""username":"{name}","conversation":"c1","messageID":{written}"#);
            messi.hears(&[event("update", format!("{{{fields}}}"))]).await;
        }
        others.xavi.hear().await;
        others.iniesta.hear().await;
    }
    // However it was escaped.
    messi.emit("talk", r#"{"conversation":"\u00631","messageID":"\u00e9\ud83d\ude00\/\u0041\u2028"}"#).await;
    others.hear(&[update("messi", "c1", "é😀/A\u{2028}")]).await;
    messi.hears_nothing().await;
    others.hear_nothing().await;
}

pub(super) async fn numbers_arrive_digit_for_digit(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    let values = [
        "0",
        "-0",
        "1.0",
        "1e400",
        "-1.50E-7",
        "9007199254740993",
        "12345678901234567890",
        "123456789012345678901234567890",
        "true",
        "false",
        "null",
    ];
    for value in values {
        messi.emit("talk", &format!(r#"{{"conversation":"c1","timestamp": {value} ,"messageID":{value}}}"#)).await;
        let fields = format!(r#""username":"messi","conversation":"c1","timestamp":{value},"messageID":{value}"#);
        others.hear(&[event("update", format!("{{{fields}}}"))]).await;
        others.iniesta.emit("talk", &format!(r#"{{"conversation":"c1","messageID":{value}}}"#)).await;
        let fields = format!(r#""username":"iniesta","conversation":"c1","messageID":{value}"#);
        messi.hears(&[event("update", format!("{{{fields}}}"))]).await;
        others.xavi.hear().await;
    }
}

pub(super) async fn large_ids_arrive_whole(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "limits.id_bytes_max = 65536").await;
    for id in ["x".repeat(125), "x".repeat(65_536), "é😀".repeat(1000)] {
        messi.emit("talk", &talk_of("c1", &id)).await;
        others.hear(&[update("messi", "c1", &id)]).await;
        others.xavi.emit("talk", &talk_of("c1", &id)).await;
        messi.hears(&[update("xavi", "c1", &id)]).await;
        others.iniesta.hears(&[update("xavi", "c1", &id)]).await;
    }
    let digits = "9".repeat(4000);
    messi.emit("talk", &format!(r#"{{"conversation":"c1","messageID":{digits}}}"#)).await;
    let fields = format!(r#""username":"messi","conversation":"c1","messageID":{digits}"#);
    others.hear(&[event("update", format!("{{{fields}}}"))]).await;
    let too_long = talk_of("c1", &"é".repeat(32_769));
    messi.call("talk", &too_long, &[], |ack| not_ok(ack, "bad_talk")).await;
    others.hear_nothing().await;
}

pub(super) async fn a_thousand_conversations(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut ids: Vec<_> = (0..999).map(|n| format!("519b00000000000é0000{n:04}")).collect();
    ids.push("c1".to_owned());
    let mut ids: Vec<_> = ids.iter().map(String::as_str).collect();
    server.max.talks_in("messi", &ids);
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    messi.call("join", &join_of("messi"), &[listening(&ids)], ok).await;
    others.hear(&[joined("c1", "messi")]).await;
    let first = ids.remove(0);
    messi.call("leave", &format!("\"{first}\""), &[listening(&ids)], ok).await;
    others.iniesta.emit("talk", &talk_of("c1", "m1")).await;
    messi.hears(&[update("iniesta", "c1", "m1")]).await;
}

pub(super) async fn many_at_once_arrive_in_order(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for (round, text) in ["m", "é", "😀"].into_iter().enumerate() {
        let id = |n: u64| format!("{text} {round} {n}");
        let talks =
            |kind: Kind| (0..60).map(|n| kind.event("talk", &talk_of("c1", &id(n)), Some(n))).collect::<Vec<_>>();
        let (from_messi, from_xavi) = (talks(cast.messi), talks(cast.others[0]));
        messi.send_all(&from_messi.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let expected: Vec<_> = (0..60).map(|n| update("messi", "c1", &id(n))).collect();
        others.hear(&expected).await;
        messi.hears(&(0..60).map(ok).collect::<Vec<_>>()).await;
        others.xavi.send_all(&from_xavi.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let expected: Vec<_> = (0..60).map(|n| update("xavi", "c1", &id(n))).collect();
        messi.hears(&expected).await;
        others.iniesta.hears(&expected).await;
        others.xavi.hears(&(0..60).map(ok).collect::<Vec<_>>()).await;
    }
    messi.hears_nothing().await;
}
