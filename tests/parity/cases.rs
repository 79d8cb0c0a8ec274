//! The cases of parity. In each, messi connects in the way under test; xavi and iniesta listen in the same
//! conversation, with clients of the other two generations.

mod values;

use std::future::Future;
use std::pin::Pin;

use values::*;

use crate::support::client::{
    Client, Heard, Kind, event, join_of, joined, left, listening, not_ok, ok, people, refused, talk_of, update,
};
use crate::support::fixture::{Fixture, IMPATIENT};

/// The kind of each client.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub messi: Kind,
    /// The kinds of xavi and iniesta.
    pub others: [Kind; 2],
}

pub type Case = fn(Cast) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($case:ident)+) => {
        /// All cases with their names.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($case), |cast| Box::pin($case(cast)))),+];
    };
}

cases! {
    a_join_is_answered_with_all_conversations
    a_bare_username_joins
    a_join_is_announced_to_the_others
    a_client_that_disconnects_has_left
    a_client_that_closes_has_left
    whose_connection_breaks_has_left
    a_talk_is_an_update_for_the_others
    the_others_talks_are_updates
    two_sessions_of_a_user_are_one_person
    refused_bad_join
    refused_bad_username
    refused_bad_talk
    refused_bad_request
    refused_not_joined
    refused_forbidden
    refused_token_required
    refused_unauthorized
    refused_unknown_user
    refused_superseded
    refused_busy
    an_ack_comes_after_its_events
    an_unknown_event_is_ignored_without_an_ack
    a_join_again_refreshes
    a_join_as_somebody_else_leaves_first
    a_talk_in_the_same_breath_as_its_join
    events_before_the_connect_count
    events_before_a_reconnect_count
    a_member_that_leaves_hears_no_more
    an_ask_is_answered_with_people
    names_beyond_ascii
    conversations_beyond_ascii
    texts_arrive_as_they_were
    numbers_arrive_digit_for_digit
    large_ids_arrive_whole
    a_thousand_conversations
    many_at_once_arrive_in_order
    a_quiet_session_lives
}

/// Starts a server where xavi and iniesta listen in `c1`, and messi may join it.
async fn scene(cast: Cast, settings: &str) -> (Fixture, Others) {
    scene_in(cast, settings, &["c1"]).await
}

async fn scene_in(cast: Cast, settings: &str, conversations: &[&str]) -> (Fixture, Others) {
    let server = Fixture::start(settings);
    for user in ["messi", "xavi", "iniesta"] {
        server.max.talks_in(user, conversations);
    }
    let mut xavi = Client::join(&server, cast.others[0], "xavi", conversations).await;
    let iniesta = Client::join(&server, cast.others[1], "iniesta", conversations).await;
    let mut announced = Vec::new();
    for _ in conversations {
        announced.push(xavi.hear().await);
    }
    announced.sort_by_key(|heard| format!("{heard:?}"));
    let mut conversations = conversations.to_vec();
    conversations.sort_unstable();
    assert!(announced.into_iter().eq(conversations.iter().map(|id| joined(id, "iniesta"))));
    (server, Others { xavi, iniesta })
}

/// Starts a server where all three listen in `c1`.
async fn three(cast: Cast, settings: &str) -> (Fixture, Client, Others) {
    let (server, mut others) = scene(cast, settings).await;
    let messi = Client::join(&server, cast.messi, "messi", &["c1"]).await;
    others.hear(&[joined("c1", "messi")]).await;
    (server, messi, others)
}

/// Two clients that hear the same.
struct Others {
    xavi: Client,
    iniesta: Client,
}

impl Others {
    async fn hear(&mut self, expected: &[Heard]) {
        self.xavi.hears(expected).await;
        self.iniesta.hears(expected).await;
    }

    /// Expects these in any order.
    async fn hear_all_of(&mut self, expected: &[Heard]) {
        for client in [&mut self.xavi, &mut self.iniesta] {
            let mut heard = Vec::new();
            for _ in expected {
                heard.push(client.hear().await);
            }
            heard.sort_by_key(|heard| format!("{heard:?}"));
            assert_eq!(heard, expected);
        }
    }

    async fn hear_nothing(&mut self) {
        self.xavi.hears_nothing().await;
        self.iniesta.hears_nothing().await;
    }
}

// --- Coming and going -----------------------------------------------------------------------------------------------

async fn a_join_is_answered_with_all_conversations(cast: Cast) {
    let (server, _others) = scene(cast, "").await;
    server.max.talks_in("messi", &["c3", "c1", "c2"]);
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    messi.emit("join", &join_of("messi")).await;
    messi.hears(&[listening(&["c3", "c1", "c2"])]).await;
    let join = r#"{ "token" : "t-messi", "color" : [ "blue" ] , "username" : "Messi" }"#;
    messi.call("join", join, &[listening(&["c3", "c1", "c2"])], ok).await;
    messi.hears_nothing().await;
}

async fn a_bare_username_joins(cast: Cast) {
    let server = Fixture::start_tokenless("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::connect(server.addr, cast.others[0], "").await;
    xavi.call("join", r#""xavi""#, &[listening(&["c1"])], ok).await;
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    messi.emit("join", r#""Messi""#).await;
    messi.hears(&[listening(&["c1"])]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    messi.call("join", r#""messi""#, &[listening(&["c1"])], ok).await;
    xavi.hears_nothing().await;
}

async fn a_join_is_announced_to_the_others(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut messi = Client::join(&server, cast.messi, "messi", &["c1"]).await;
    others.hear(&[joined("c1", "messi")]).await;
    messi.hears_nothing().await;
    server.max.talks_in("puyol", &["c1"]);
    let _puyol = Client::join(&server, cast.others[0], "puyol", &["c1"]).await;
    messi.hears(&[joined("c1", "puyol")]).await;
    messi.hears_nothing().await;
}

async fn a_client_that_disconnects_has_left(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    messi.send(cast.messi.disconnect()).await;
    others.hear(&[left("c1", "messi")]).await;
    others.xavi.call("talk", &talk_of("c1", "m1"), &[], ok).await;

    // The session lives on, as good as new.
    messi.send(&cast.messi.connect("")).await;
    let heard = messi.hear().await;
    assert!(matches!(&heard, Heard::Packet(packet) if cast.messi.greets_again(packet)), "{heard:?}");
    messi.call("talk", &talk_of("c1", "m2"), &[], |ack| not_ok(ack, "not_joined")).await;
    messi.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    others.iniesta.hears(&[update("xavi", "c1", "m1"), joined("c1", "messi")]).await;
    others.xavi.hears(&[joined("c1", "messi")]).await;
}

async fn a_client_that_closes_has_left(cast: Cast) {
    let (_server, messi, mut others) = three(cast, "").await;
    messi.close().await;
    others.hear(&[left("c1", "messi")]).await;
    others.hear_nothing().await;
}

async fn whose_connection_breaks_has_left(cast: Cast) {
    let (server, messi, mut others) = three(cast, IMPATIENT).await;
    drop(messi);
    others.hear(&[left("c1", "messi")]).await;
    let mut messi = Client::join(&server, cast.messi, "messi", &["c1"]).await;
    others.hear(&[joined("c1", "messi")]).await;
    messi.hears_nothing().await;
    others.hear_nothing().await;
}

async fn a_talk_is_an_update_for_the_others(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    messi.emit("talk", r#"{"conversation":"c1","timestamp":1700000000001,"messageID":"m1"}"#).await;
    let fields = r#""username":"messi","conversation":"c1","timestamp":1700000000001,"messageID":"m1""#;
    others.hear(&[event("update", format!("{{{fields}}}"))]).await;
    messi.hears_nothing().await;
    messi.call("talk", r#"{"conversation":"c1"}"#, &[], ok).await;
    others.hear(&[event("update", r#"{"username":"messi","conversation":"c1"}"#.to_owned())]).await;
    messi.hears_nothing().await;
    others.hear_nothing().await;
}

async fn the_others_talks_are_updates(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    others.xavi.emit("talk", &talk_of("c1", "m1")).await;
    messi.hears(&[update("xavi", "c1", "m1")]).await;
    others.iniesta.hears(&[update("xavi", "c1", "m1")]).await;
    others.iniesta.emit("talk", &talk_of("c1", "m2")).await;
    messi.hears(&[update("iniesta", "c1", "m2")]).await;
    others.xavi.hears(&[update("iniesta", "c1", "m2")]).await;
    messi.hears_nothing().await;
    others.hear_nothing().await;
}

async fn two_sessions_of_a_user_are_one_person(cast: Cast) {
    let (server, mut messi, mut others) = three(cast, "").await;
    let mut second = Client::join(&server, cast.messi, "messi", &["c1"]).await;
    let mut third = Client::join(&server, cast.others[1], "messi", &["c1"]).await;
    others.hear_nothing().await;
    messi.hears_nothing().await;

    // Her other sessions hear her talks; the session that talks does not.
    messi.emit("talk", &talk_of("c1", "m1")).await;
    for client in [&mut second, &mut third] {
        client.hears(&[update("messi", "c1", "m1")]).await;
    }
    others.hear(&[update("messi", "c1", "m1")]).await;
    messi.hears_nothing().await;
    others.xavi.call("ask", "", &[people("c1", &["iniesta", "messi", "xavi"])], ok).await;

    messi.close().await;
    third.close().await;
    others.hear_nothing().await;
    second.hears_nothing().await;
    second.close().await;
    others.hear(&[left("c1", "messi")]).await;
}

// --- Refusals and answers -------------------------------------------------------------------------------------------

/// A refusal is sent once, to its client only: as an event, or as the answer if there is an ack.
async fn is_refused(client: &mut Client, asked: (&str, &str), code: &str, about: Option<&str>) {
    client.emit(asked.0, asked.1).await;
    client.hears(&[refused(asked.0, code, about)]).await;
    client.call(asked.0, asked.1, &[], |ack| not_ok(ack, code)).await;
    client.hears_nothing().await;
}

async fn refused_bad_join(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for argument in ["", "1", "null", r#"["messi"]"#, "{}", r#"{"username":1}"#] {
        is_refused(&mut messi, ("join", argument), "bad_join", None).await;
    }
    others.hear_nothing().await;
}

async fn refused_bad_username(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for username in [r#""""#, r#""a\nb""#, r#""a\u0000""#, &format!("\"{}\"", "é".repeat(129))] {
        is_refused(&mut messi, ("join", username), "bad_username", None).await;
    }
    others.hear_nothing().await;
}

async fn refused_bad_talk(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for value in ["{}", "[1]", r#""\ud800""#, r#""\udc00x""#] {
        let talk = format!(r#"{{"conversation":"c1","messageID":{value}}}"#);
        is_refused(&mut messi, ("talk", &talk), "bad_talk", None).await;
    }
    is_refused(&mut messi, ("talk", r#""c1""#), "bad_talk", None).await;
    others.hear_nothing().await;
}

async fn refused_bad_request(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for asked in ["ask", "leave"] {
        is_refused(&mut messi, (asked, "1"), "bad_request", None).await;
        is_refused(&mut messi, (asked, r#"{"conversation":null}"#), "bad_request", None).await;
    }
    others.hear_nothing().await;
}

async fn refused_not_joined(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    for asked in ["talk", "ask", "leave"] {
        is_refused(&mut messi, (asked, r#"{"conversation":"c1"}"#), "not_joined", Some("c1")).await;
    }
    is_refused(&mut messi, ("leave", ""), "not_joined", None).await;
    others.hear_nothing().await;
}

async fn refused_forbidden(cast: Cast) {
    let (server, mut messi, mut others) = three(cast, "").await;
    server.max.talks_in("puyol", &["c2"]);
    let mut puyol = Client::join(&server, cast.others[0], "puyol", &["c2"]).await;
    for conversation in ["c2", "c3", "", "ç"] {
        for asked in ["talk", "ask", "leave"] {
            let argument = format!(r#"{{"conversation":"{conversation}"}}"#);
            is_refused(&mut messi, (asked, &argument), "forbidden", Some(conversation)).await;
        }
    }
    puyol.hears_nothing().await;
    others.hear_nothing().await;
}

async fn refused_token_required(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    is_refused(&mut messi, ("join", r#""messi""#), "token_required", None).await;
    is_refused(&mut messi, ("join", r#"{"username":"messi","token":""}"#), "token_required", None).await;
    others.hear_nothing().await;
}

async fn refused_unauthorized(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    let join = r#"{"username":"messi","token":"t-xavi"}"#;
    is_refused(&mut messi, ("join", join), "unauthorized", None).await;
    others.hear_nothing().await;
}

async fn refused_unknown_user(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut nobody = Client::connect(server.addr, cast.messi, "").await;
    is_refused(&mut nobody, ("join", &join_of("nobody")), "unknown_user", None).await;
    others.hear_nothing().await;
}

async fn refused_superseded(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    server.max.hold("messi");
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    let join = |ack| cast.messi.event("join", &join_of("messi"), ack);
    messi.send_all(&[&join(Some(1)), &join(None)]).await;
    messi.hears(&[not_ok(1, "superseded")]).await;
    messi.send(&join(Some(3))).await;
    messi.hears(&[refused("join", "superseded", None)]).await;
    server.max.release("messi");
    messi.hears(&[listening(&["c1"]), ok(3)]).await;
    others.hear(&[joined("c1", "messi")]).await;
    others.hear_nothing().await;
}

async fn refused_busy(cast: Cast) {
    let (server, mut others) = scene(cast, "session.pending_max = 1").await;
    server.max.hold("messi");
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    let talk = |n: u64, ack| cast.messi.event("talk", &talk_of("c1", &format!("m{n}")), ack);
    let join = cast.messi.event("join", &join_of("messi"), Some(1));
    messi.send_all(&[&join, &talk(2, Some(2)), &talk(3, Some(3)), &talk(4, None)]).await;
    messi.hears(&[not_ok(3, "busy"), refused("talk", "busy", Some("c1"))]).await;
    server.max.release("messi");
    messi.hears(&[listening(&["c1"]), ok(1), ok(2)]).await;
    others.hear(&[joined("c1", "messi"), update("messi", "c1", "m2")]).await;
    others.hear_nothing().await;
}

async fn an_ack_comes_after_its_events(cast: Cast) {
    let (server, _others) = scene(cast, "").await;
    server.max.talks_in("messi", &["c1", "c2"]);
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    messi.call("join", &join_of("messi"), &[listening(&["c1", "c2"])], ok).await;
    messi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
    let here = people("c1", &["iniesta", "messi", "xavi"]);
    messi.call("ask", "", &[here.clone(), people("c2", &["messi"])], ok).await;
    messi.call("ask", r#""c1""#, &[here], ok).await;
    messi.call("leave", r#""c2""#, &[listening(&["c1"])], ok).await;
    // Acks return the client's ids, repeated ones too.
    for ack in [0, 1, 1, 9_007_199_254_740_993, u64::MAX] {
        messi.send(&cast.messi.event("talk", &talk_of("c1", "m2"), Some(ack))).await;
        messi.hears(&[ok(ack)]).await;
    }
}

async fn an_unknown_event_is_ignored_without_an_ack(cast: Cast) {
    let (_server, mut messi, mut others) = three(cast, "").await;
    for name in ["Join", "update", "message", "error", "__proto__", "é"] {
        messi.emit(name, "{}").await;
        messi.emit(name, "").await;
        messi.call(name, r#""x""#, &[], |ack| not_ok(ack, "unknown_event")).await;
    }
    messi.hears_nothing().await;
    others.hear_nothing().await;
}

// --- Joining again, and many events at once -------------------------------------------------------------------------

async fn a_join_again_refreshes(cast: Cast) {
    let (server, mut others) = scene_in(cast, "", &["gone", "new", "same"]).await;
    server.max.talks_in("messi", &["same", "gone"]);
    let mut messi = Client::join(&server, cast.messi, "messi", &["same", "gone"]).await;
    others.hear_all_of(&[joined("gone", "messi"), joined("same", "messi")]).await;
    server.max.talks_in("messi", &["new", "same"]);
    // The token of the last join is still valid.
    messi.emit("join", r#""messi""#).await;
    messi.hears(&[listening(&["new", "same"])]).await;
    others.hear_all_of(&[joined("new", "messi"), left("gone", "messi")]).await;
    messi.call("join", r#""messi""#, &[listening(&["new", "same"])], ok).await;
    others.hear_nothing().await;
    others.xavi.emit("talk", &talk_of("gone", "m1")).await;
    others.xavi.emit("talk", &talk_of("same", "m2")).await;
    messi.hears(&[update("xavi", "same", "m2")]).await;
    messi.hears_nothing().await;
}

async fn a_join_as_somebody_else_leaves_first(cast: Cast) {
    let (server, mut messi, mut others) = three(cast, "").await;
    server.max.talks_in("puyol", &["c1", "c2"]);
    messi.call("join", &join_of("puyol"), &[listening(&["c1", "c2"])], ok).await;
    others.hear(&[left("c1", "messi"), joined("c1", "puyol")]).await;
    messi.emit("talk", &talk_of("c1", "m1")).await;
    others.hear(&[update("puyol", "c1", "m1")]).await;
    messi.hears_nothing().await;
}

async fn a_talk_in_the_same_breath_as_its_join(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let mut messi = Client::connect(server.addr, cast.messi, "").await;
    let breath = [
        cast.messi.event("join", &join_of("messi"), None),
        cast.messi.event("talk", &talk_of("c1", "m1"), None),
        cast.messi.event("talk", &talk_of("c1", "é😀"), Some(1)),
    ];
    messi.send_all(&breath.each_ref().map(String::as_str)).await;
    messi.hears(&[listening(&["c1"]), ok(1)]).await;
    others.hear(&[joined("c1", "messi"), update("messi", "c1", "m1"), update("messi", "c1", "é😀")]).await;
    // As the widget does after it has created a conversation.
    server.max.talks_in("messi", &["c1", "c2"]);
    server.max.talks_in("xavi", &["c1", "c2"]);
    others.xavi.call("join", r#""xavi""#, &[listening(&["c1", "c2"])], ok).await;
    let breath = [cast.messi.event("join", r#""messi""#, None), cast.messi.event("talk", &talk_of("c2", "m3"), None)];
    messi.send_all(&breath.each_ref().map(String::as_str)).await;
    messi.hears(&[listening(&["c1", "c2"])]).await;
    others.xavi.hears(&[joined("c2", "messi"), update("messi", "c2", "m3")]).await;
    others.iniesta.hears_nothing().await;
}

/// Events that a page emits at once: up to 0.9 they follow the CONNECT directly.
async fn events_before_the_connect_count(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    let packets =
        [cast.messi.event("join", &join_of("messi"), None), cast.messi.event("talk", &talk_of("c1", "m1"), Some(7))];
    let mut messi = Client::connect_saying(server.addr, cast.messi, false, &packets).await;
    messi.hears(&[listening(&["c1"]), ok(7)]).await;
    others.hear(&[joined("c1", "messi"), update("messi", "c1", "m1")]).await;
    messi.hears_nothing().await;
}

/// Events that a page emits while it is disconnected: up to 0.9 they precede the next CONNECT.
async fn events_before_a_reconnect_count(cast: Cast) {
    let (server, messi, mut others) = three(cast, IMPATIENT).await;
    let first_sid = messi.sid.clone();
    drop(messi);
    others.hear(&[left("c1", "messi")]).await;
    let packets =
        [cast.messi.event("join", &join_of("messi"), None), cast.messi.event("talk", &talk_of("c1", "m1"), Some(7))];
    let mut messi = Client::connect_saying(server.addr, cast.messi, true, &packets).await;
    assert_ne!(messi.sid, first_sid);
    messi.hears(&[listening(&["c1"]), ok(7)]).await;
    others.hear(&[joined("c1", "messi"), update("messi", "c1", "m1")]).await;
    others.iniesta.emit("talk", &talk_of("c1", "m2")).await;
    messi.hears(&[update("iniesta", "c1", "m2")]).await;
    messi.hears_nothing().await;
}

async fn a_member_that_leaves_hears_no_more(cast: Cast) {
    let (server, mut others) = scene_in(cast, "", &["c1", "c2", "c3"]).await;
    let mut messi = Client::join(&server, cast.messi, "messi", &["c1", "c2", "c3"]).await;
    others.hear_all_of(&[joined("c1", "messi"), joined("c2", "messi"), joined("c3", "messi")]).await;
    messi.emit("leave", r#""c1""#).await;
    messi.hears(&[listening(&["c2", "c3"])]).await;
    others.hear(&[left("c1", "messi")]).await;
    messi.call("leave", r#"{"conversation":"c2"}"#, &[listening(&["c3"])], ok).await;
    others.hear(&[left("c2", "messi")]).await;
    others.xavi.emit("talk", &talk_of("c1", "m1")).await;
    others.iniesta.hears(&[update("xavi", "c1", "m1")]).await;
    others.xavi.emit("talk", &talk_of("c3", "m2")).await;
    messi.hears(&[update("xavi", "c3", "m2")]).await;
    others.iniesta.hears(&[update("xavi", "c3", "m2")]).await;
    messi.emit("leave", "").await;
    messi.hears(&[listening(&[])]).await;
    others.hear(&[left("c3", "messi")]).await;
    messi.call("leave", "{}", &[listening(&[])], ok).await;
    messi.hears_nothing().await;
    others.hear_nothing().await;
}

async fn an_ask_is_answered_with_people(cast: Cast) {
    let (server, mut others) = scene(cast, "").await;
    server.max.talks_in("messi", &["c2", "c1"]);
    let mut messi = Client::join(&server, cast.messi, "messi", &["c2", "c1"]).await;
    let (c1, c2) = (people("c1", &["iniesta", "messi", "xavi"]), people("c2", &["messi"]));
    for all in ["", "{}", "null"] {
        messi.emit("ask", all).await;
        messi.hears(&[c2.clone(), c1.clone()]).await;
        messi.call("ask", all, &[c2.clone(), c1.clone()], ok).await;
    }
    for one in [r#""c1""#, r#"{"conversation":"c1"}"#] {
        messi.emit("ask", one).await;
        messi.hears(std::slice::from_ref(&c1)).await;
        messi.call("ask", one, std::slice::from_ref(&c1), ok).await;
    }
    others.hear(&[joined("c1", "messi")]).await;
    others.hear_nothing().await;
}

// --- Silence ---------------------------------------------------------------------------------------------------------

/// Nobody sends anything for longer than the timeout; heartbeats keep the sessions alive.
async fn a_quiet_session_lives(cast: Cast) {
    let settings = "protocol.ping_interval_ms = 150\nprotocol.ping_timeout_ms = 750\n\
                    legacy.heartbeat_interval_ms = 150\nlegacy.heartbeat_timeout_ms = 750\n\
                    legacy.polling_duration_ms = 150\nlegacy.close_timeout_ms = 750";
    let (_server, mut messi, mut others) = three(cast, settings).await;
    for client in [&mut messi, &mut others.xavi, &mut others.iniesta] {
        client.beats(7).await;
    }
    messi.emit("talk", &talk_of("c1", "m1")).await;
    others.hear(&[update("messi", "c1", "m1")]).await;
    others.xavi.emit("talk", &talk_of("c1", "m2")).await;
    messi.hears(&[update("xavi", "c1", "m2")]).await;
    messi.hears_nothing().await;
}
