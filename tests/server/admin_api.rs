//! The API of the admin listener, with real clients: what it shows of them, and what it does to them.

use std::time::Duration;

use crate::support::client::{Client, Heard, Kind, event, joined, left, listening, talk_of};
use crate::support::fixture::Fixture;
use crate::support::http::{Http, Response};
use crate::support::socket::End;
use crate::support::{run, within};
use futures_util::future::join_all;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A caller of the API of one server.
struct Caller(Http);

impl Caller {
    async fn of(server: &Fixture) -> Self {
        Self(Http::connect(server.admin_addr).await)
    }

    /// Returns the status and the body of the answer to a GET.
    async fn get(&mut self, path: &str) -> (u16, Value) {
        let answer = self.0.get(&format!("/api/v1/{path}")).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// Returns the status and the body of the answer to a POST.
    async fn post(&mut self, path: &str, body: &str) -> (u16, Value) {
        let answer = self.0.request("POST", &format!("/api/v1/{path}"), &[JSON], body.as_bytes()).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// Returns the status and the body of the answer to a PATCH.
    async fn patch(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.0.request("PATCH", &format!("/api/v1/{path}"), &[JSON], body.to_string().as_bytes()).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// Returns the answer to a POST with an `Idempotency-Key`.
    async fn post_under(&mut self, key: &str, path: &str, body: &str) -> Response {
        let headers = [JSON, ("Idempotency-Key", key)];
        self.0.request("POST", &format!("/api/v1/{path}"), &headers, body.as_bytes()).await
    }

    /// Waits until the answer to a GET is as it should be.
    async fn until(&mut self, path: &str, is_so: impl Fn(&Value) -> bool) {
        let looks = async {
            while !is_so(&self.get(path).await.1) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(path, looks).await;
    }
}

/// Returns the list under this name.
fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().unwrap_or_else(|| panic!("no {name} in {body}"))
}

#[test]
fn sessions_are_found_by_age_number_and_user() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1"]);
        let _messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let second = Client::join(&server, Kind::Polling, "messi", &["c1"]).await;
        let _nobody = Client::open(server.addr, Kind::V2WebSocket).await;
        let mut api = Caller::of(&server).await;

        let (status, oldest) = api.get("sessions?by=age&top=2").await;
        assert_eq!((status, &oldest["total"], list(&oldest, "sessions").len()), (200, &json!(3), 2), "{oldest}");
        let (_, all) = api.get("sessions?by=age").await;
        let shown = |session: &Value| ["username", "transport", "generation"].map(|name| session[name].clone());
        let sessions = list(&all, "sessions");
        let expected = [
            [json!("messi"), json!("websocket"), json!("eio4")],
            [json!("messi"), json!("polling"), json!("eio4")],
            [Value::Null, json!("websocket"), json!("eio3")],
        ];
        assert_eq!(sessions.iter().map(shown).collect::<Vec<_>>(), expected);
        assert_eq!((&sessions[0]["address"], &sessions[0]["waiting_bytes"]), (&json!("127.0.0.1"), &json!(0)));

        let (_, one) = api.get(&format!("sessions/{}", sessions[1]["id"])).await;
        assert_eq!(shown(&one), expected[1]);
        let (_, of_messi) = api.get("users/MESSI/sessions").await;
        assert_eq!((&of_messi["total"], list(&of_messi, "sessions").len()), (&json!(2), 2), "usernames are lowercased");
        assert_eq!(api.get("users/xavi/sessions").await, (200, json!({"total": 0, "sessions": []})));
        second.close().await;
        api.until("users/messi/sessions", |found| found["total"] == 1 && list(found, "sessions").len() == 1).await;
    });
}

#[test]
fn a_session_that_an_operator_closes_ends_and_is_remembered() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let mut api = Caller::of(&server).await;
        let id = list(&api.get("users/messi/sessions").await.1, "sessions")[0]["id"].clone();
        assert_eq!(api.post(&format!("sessions/{id}/close"), "{}").await, (200, json!({"closed": 1})));
        assert_eq!(messi.end().await, End::Frame(None));
        xavi.hears(&[left("c1", "messi")]).await;
        api.until(&format!("sessions/{id}"), |found| found["error"]["code"] == "not_found").await;
        assert_eq!(api.post(&format!("sessions/{id}/close"), "{}").await.0, 404);

        let (_, closed) = api.get("closed").await;
        let last = &list(&closed, "sessions")[0];
        assert_eq!(
            (&last["id"], &last["username"], &last["reason"]),
            (&id, &json!("messi"), &json!("operator")),
            "{last}"
        );

        let mut phone = Client::join(&server, Kind::V2WebSocket, "xavi", &["c1"]).await;
        assert_eq!(api.post("users/xavi/close", "{}").await, (200, json!({"closed": 2})));
        assert_eq!((xavi.end().await, phone.end().await), (End::Frame(None), End::Frame(None)));
        api.until("sessions?by=age", |found| found["total"] == 0).await;
        assert_eq!(list(&api.get("closed").await.1, "sessions").len(), 3);
    });
}

#[test]
fn conversations_are_found_by_size_rate_and_id() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1", "c2"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1", "c2"]).await;
        let xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
        messi.hears(&[joined("c1", "xavi")]).await;
        let mut api = Caller::of(&server).await;
        let (_, largest) = api.get("conversations").await;
        let ids: Vec<_> = list(&largest, "conversations").iter().map(|one| [&one["id"], &one["members"]]).collect();
        assert_eq!(ids, [[&json!("c1"), &json!(2)], [&json!("c2"), &json!(1)]]);

        messi.emit("talk", &talk_of("c1", "m1")).await;
        messi.hears_nothing().await;
        let (_, busiest) = api.get("conversations?by=talks_per_second").await;
        let busiest = list(&busiest, "conversations");
        assert_eq!((busiest.len(), &busiest[0]["talks"], &busiest[0]["id"]), (1, &json!(1), &json!("c1")));
        assert!(busiest[0]["talks_per_second"].as_f64().unwrap() > 0.0, "{busiest:?}");

        let (status, one) = api.get("conversations/c1").await;
        assert_eq!((status, &one["users"]), (200, &json!(2)));
        let mut users: Vec<_> =
            list(&one, "listening").iter().map(|member| member["username"].as_str().unwrap()).collect();
        users.sort_unstable();
        assert_eq!(users, ["messi", "xavi"]);
        drop((messi, xavi));
        api.until("conversations", |found| found["total"] == 0).await;
        assert_eq!(api.get("conversations/c1").await.0, 404);
    });
}

#[test]
fn a_limit_turns_while_the_server_runs() {
    let server = Fixture::start("admin.announce_token = \"of-the-back-end\"");
    run(async {
        let mut api = Caller::of(&server).await;
        let settings = api.get("settings").await.1;
        let setting = |key: &str| list(&settings, "settings").iter().find(|setting| setting["key"] == key).unwrap();
        let shown = |key: &str| ["value", "source", "live"].map(|name| setting(key)[name].clone());
        assert_eq!(shown("conversation.presence_members_max"), [json!("1000"), json!("default"), json!(true)]);
        assert_eq!(shown("admin.announce_token")[0], json!("***"), "a secret is masked");
        assert_eq!(shown("server.keep_alive_ms")[2], json!(false));

        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
        messi.hears(&[joined("c1", "xavi")]).await;
        let (status, changed) = api.patch("settings", &json!({"conversation.presence_members_max": 1})).await;
        let expected = json!({
            "key": "conversation.presence_members_max",
            "from": "1000",
            "from_source": "default",
            "to": "1",
        });
        assert_eq!((status, list(&changed, "changes")), (200, &[expected][..]));
        assert_eq!(changed["to_keep"], json!("[conversation]\npresence_members_max = 1\n"));
        assert_eq!(changed["lasts"], json!("until the next start"));
        xavi.close().await;
        messi.hears_nothing().await;

        let wrong = [
            (json!({"mailbox.conversation": 0}), "mailbox.conversation = 0 (admin): out of range"),
            (json!({"mailbox.session": "many"}), "not an integer"),
            (json!({"outbox.policy": "flod"}), "allowed: fold, close or drop"),
            (json!({"server.workers": 2, "mailbox.session": 2}), "server.workers: holds until the next start"),
            (json!({"mailbox.conversation": 9_000_000}), "outbox.messages_max"),
            (json!({"a": {"b": 1}}), "a (admin): unknown key"),
        ];
        for (values, reason) in wrong {
            let (status, body) = api.patch("settings", &values).await;
            let message = body["error"]["message"].as_str().unwrap();
            assert!(status == 422 && message.contains(reason), "{values}: {body}");
        }
        let now = api.get("settings").await.1;
        let is_changed = |setting: &&Value| setting["source"] == "admin";
        let changed: Vec<_> = list(&now, "settings").iter().filter(is_changed).map(|setting| &setting["key"]).collect();
        assert_eq!(changed, [&json!("conversation.presence_members_max")], "a refused change changes nothing");
        let metrics = api.0.get("/metrics").await.body;
        assert!(metrics.contains("\nmaxtalk_settings_changed_total 1\n"), "{metrics}");
        assert_eq!(api.0.request("PATCH", "/api/v1/settings", &[], b"{}").await.status, 415);
        let twice = br#"{"mailbox.session":4,"mailbox.session":400}"#;
        assert_eq!(api.0.request("PATCH", "/api/v1/settings", &[JSON], twice).await.status, 422);
    });
}

#[test]
fn a_request_that_is_wrong_is_refused_in_one_shape() {
    let server = Fixture::start("");
    run(async {
        let mut api = Caller::of(&server).await;
        let long = format!("users/{}/sessions", "u".repeat(257));
        for (path, status, code) in [
            ("sessions?top=0", 400, "bad_request"),
            ("sessions?top=101", 400, "bad_request"),
            ("sessions?top=-1", 400, "bad_request"),
            ("sessions?by=size", 400, "bad_request"),
            ("sessions?by=members", 400, "bad_request"),
            ("sessions?tpo=3", 400, "bad_request"),
            ("conversations?by=talks", 400, "bad_request"),
            ("sessions/x", 404, "not_found"),
            ("sessions/-1", 404, "not_found"),
            ("sessions/18446744073709551616", 404, "not_found"),
            ("sessions/99", 404, "not_found"),
            ("conversations/nowhere", 404, "not_found"),
            ("users/%00/sessions", 404, "not_found"),
            (&long, 404, "not_found"),
            ("nothing", 404, "not_found"),
            ("sessions/99/close", 405, "method_not_allowed"),
        ] {
            let (given, body) = api.get(path).await;
            assert_eq!((given, &body["error"]["code"]), (status, &json!(code)), "{path}: {body}");
            assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{path}: {body}");
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20));
        for (body, status, code) in [
            ("{}", 404, "not_found"),
            ("", 400, "bad_request"),
            ("{", 400, "bad_request"),
            ("[]", 422, "invalid"),
            ("{\"reason\":1}", 422, "invalid"),
            (&large, 413, "too_large"),
        ] {
            let (given, answer) = Caller::of(&server).await.post("sessions/99/close", body).await;
            assert_eq!((given, &answer["error"]["code"]), (status, &json!(code)), "{body:.20}: {answer}");
        }
        for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
            let headers = [("Content-Type", content_type)];
            let answer = api.0.request("POST", "/api/v1/sessions/99/close", &headers, b"{}").await;
            assert_eq!(answer.status, 415, "{content_type}");
        }
    });
}

/// The `update` that clients hear of an announcement.
fn news(username: &str, conversation: &str, rest: &str) -> Heard {
    event("update", format!(r#"{{"username":"{username}","conversation":"{conversation}"{rest}}}"#))
}

#[test]
fn an_announcement_reaches_those_who_listen() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut xavi = Client::join(&server, Kind::Polling, "xavi", &["c1"]).await;
        let mut phone = Client::join(&server, Kind::V1Polling, "xavi", &["c1"]).await;
        messi.hears(&[joined("c1", "xavi")]).await;
        let mut api = Caller::of(&server).await;

        // Numbers keep their digits.
        let body = r#"{"username":"Xavi","timestamp":1700000000000.10,"messageID":12345678901234567890123}"#;
        assert_eq!(api.post("conversations/c1/updates", body).await, (200, json!({"sessions": 3})));
        let all = news("xavi", "c1", r#","timestamp":1700000000000.10,"messageID":12345678901234567890123"#);
        for client in [&mut messi, &mut xavi, &mut phone] {
            client.hears(std::slice::from_ref(&all)).await;
        }
        let body = r#"{"username":"xavi","messageID":null,"except_self":true}"#;
        assert_eq!(api.post("conversations/c1/updates", body).await, (200, json!({"sessions": 1})));
        messi.hears(&[news("xavi", "c1", r#","messageID":null"#)]).await;
        xavi.hears_nothing().await;
        phone.hears_nothing().await;
        let body = r#"{"username":"nobody.here","except_self":true}"#;
        assert_eq!(api.post("conversations/c1/updates", body).await, (200, json!({"sessions": 3})));
        messi.hears(&[news("nobody.here", "c1", "")]).await;

        assert_eq!(api.post("conversations/nowhere/updates", body).await, (200, json!({"sessions": 0})));
        for body in [r#"{"username":" u"}"#, r#"{"username":"u","messageID":[]}"#, r#"{"username":"u","a":1}"#, "[]"] {
            let (status, refused) = api.post("conversations/c1/updates", body).await;
            assert_eq!((status, &refused["error"]["code"]), (422, &json!("invalid")), "{body}");
        }
        messi.hears_nothing().await;
        let (ok, bad) = ("result=\"ok\"", "result=\"bad_username\"");
        let name = "maxtalk_announcements_total";
        server.until("the counts", |now| (now.sum(name, ok), now.sum(name, bad)) == (4.0, 1.0)).await;
        assert_eq!(api.get("conversations/c1").await.1["talks"], 3);
    });
}

#[test]
fn announcements_come_in_the_order_of_their_request_each_with_its_result() {
    let server = Fixture::start("mailbox.conversation = 32");
    run(async {
        server.max.talks_in("messi", &["c1", "c2"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1", "c2"]).await;
        let mut api = Caller::of(&server).await;
        let update = |at: usize| json!({"conversation": format!("c{}", at % 3), "username": "u", "messageID": at});
        let updates = |count: usize| (0..count).map(update).collect::<Vec<_>>();
        let body_of = |updates: Vec<Value>| json!({ "updates": updates }).to_string();

        let mut with_wrong_ones = updates(1000);
        with_wrong_ones[1]["conversation"] = json!("x".repeat(257));
        with_wrong_ones[2]["username"] = json!("");
        with_wrong_ones[4]["messageID"] = json!("x".repeat(257));
        let (status, body) = api.post("updates", &body_of(with_wrong_ones)).await;
        let outcomes = list(&body, "outcomes");
        assert_eq!((status, outcomes.len()), (200, 1000));
        let mut expected = [Vec::new(), Vec::new()];
        for (at, outcome) in outcomes.iter().enumerate() {
            let (sessions, code) = (&outcome["sessions"], &outcome["error"]["code"]);
            match at % 3 {
                _ if [1, 2, 4].contains(&at) => assert_eq!((sessions, code), (&Value::Null, &json!("invalid")), "{at}"),
                0 => assert_eq!(sessions, 0, "nobody listens there"),
                _ if *code == "busy" => assert!(sessions.is_null()),
                listening => {
                    assert_eq!(sessions, 1);
                    let heard = news("u", &format!("c{listening}"), &format!(r#","messageID":{at}"#));
                    expected[listening - 1].push(heard);
                }
            }
        }
        // The order is that of the request within each conversation.
        let mut heard = [Vec::new(), Vec::new()];
        for _ in 0..expected.iter().map(Vec::len).sum() {
            let news = messi.hear().await;
            heard[usize::from(format!("{news:?}").contains("c2"))].push(news);
        }
        assert_eq!(heard, expected);
        messi.hears_nothing().await;

        // A body of another form is refused as a whole.
        let object = json!({"conversation": "c2", "username": "u", "messageID": {}});
        for wrong in [
            updates(0),
            updates(1001),
            vec![update(1), json!({"conversation": "c2"})],
            vec![update(1), object],
            vec![update(1), json!(7)],
        ] {
            let (status, refused) = api.post("updates", &body_of(wrong)).await;
            assert_eq!((status, &refused["error"]["code"]), (422, &json!("invalid")), "{refused}");
        }
        messi.hears_nothing().await;
    });
}

#[test]
fn a_request_under_a_key_is_done_once() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut api = Caller::of(&server).await;
        let (path, body) = ("conversations/c1/updates", r#"{"username":"u","messageID":1}"#);
        for _ in 0..3 {
            let answer = api.post_under("k1", path, body).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"sessions":1}"#));
        }
        messi.hears(&[news("u", "c1", r#","messageID":1"#)]).await;
        messi.hears_nothing().await;
        for (path, body) in [(path, r#"{"username":"u","messageID":2}"#), ("conversations/c2/updates", body)] {
            assert_eq!(api.post_under("k1", path, body).await.status, 422, "another request under the same key");
        }
        assert_eq!(api.post_under("k2", path, body).await.status, 200);
        messi.hears(&[news("u", "c1", r#","messageID":1"#)]).await;
        for key in ["", &"k".repeat(256), "a\tb"] {
            assert_eq!(api.post_under(key, path, body).await.status, 400, "{key:?}");
        }
        messi.hears_nothing().await;

        // Repeats at the same time.
        let mut callers = Vec::new();
        for _ in 0..8 {
            callers.push(Caller::of(&server).await);
        }
        let answers = join_all(callers.iter_mut().map(|caller| caller.post_under("k3", path, body))).await;
        let done = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(done >= 1 && answers.iter().all(|answer| [200, 409].contains(&answer.status)), "{answers:?}");
        messi.hears(&[news("u", "c1", r#","messageID":1"#)]).await;
        messi.hears_nothing().await;
    });
}

#[test]
fn a_refresh_brings_the_conversations_of_a_user_up_to_date() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1", "c2"]);
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1", "c2"]).await;
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut phone = Client::join(&server, Kind::Polling, "messi", &["c1"]).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        server.max.talks_in("messi", &["c2", "c3"]);
        let mut api = Caller::of(&server).await;
        assert_eq!(api.post("users/messi/refresh", "{}").await, (200, json!({"sessions": 2})));
        for client in [&mut messi, &mut phone] {
            client.hears(&[listening(&["c2", "c3"])]).await;
        }
        // The order of conversations is open.
        let mut heard = [xavi.hear().await, xavi.hear().await];
        heard.sort_by_key(|heard| format!("{heard:?}"));
        assert_eq!(heard, [joined("c2", "messi"), left("c1", "messi")]);
        xavi.hears_nothing().await;
        assert_eq!(api.post("users/nobody/refresh", "{}").await, (200, json!({"sessions": 0})));

        // A refresh that fails changes nothing, and the client does not hear of it.
        server.max.fails("messi", "503 Service Unavailable");
        assert_eq!(api.post("users/messi/refresh", "{}").await.0, 200);
        server.until("the failure", |now| now.sum("maxtalk_joins_total", "max_unavailable") == 2.0).await;
        messi.hears_nothing().await;
    });
}

#[test]
fn a_back_end_may_announce_and_do_nothing_else() {
    let server = Fixture::start("admin.token = \"operator\"\nadmin.announce_token = \"backend\"");
    run(async {
        let mut http = Http::connect(server.admin_addr).await;
        let mut ask = async |method: &str, path: &str, key: &str, body: &str| {
            let key = format!("Bearer {key}");
            let headers = [JSON, ("Authorization", key.as_str())];
            http.request(method, &format!("/api/v1/{path}"), &headers, body.as_bytes()).await.status
        };
        let update = r#"{"username":"u"}"#;
        let updates = r#"{"updates":[{"conversation":"c","username":"u"}]}"#;
        for (method, path, body, back_end) in [
            ("POST", "conversations/c/updates", update, 200),
            ("POST", "updates", updates, 200),
            ("POST", "users/u/refresh", "{}", 200),
            ("POST", "users/u/close", "{}", 403),
            ("POST", "sessions/1/close", "{}", 403),
            ("PATCH", "settings", "{}", 403),
            ("GET", "status", "", 403),
            ("GET", "settings", "", 403),
            ("GET", "users/u/sessions", "", 403),
            ("GET", "conversations/c", "", 403),
            ("GET", "openapi.json", "", 403),
        ] {
            assert_eq!(ask(method, path, "backend", body).await, back_end, "{path}");
            assert_eq!(ask(method, path, "neither", body).await, 401, "{path}");
        }
        assert_eq!(ask("POST", "conversations/c/updates", "operator", update).await, 200);
        assert_eq!(ask("POST", "updates", "operator", updates).await, 200);
    });
}

#[test]
fn the_overview_is_sensible_from_the_first_moment() {
    let server = Fixture::start("mailbox.conversation = 77");
    run(async {
        let mut api = Caller::of(&server).await;
        let (status, first) = api.get("overview").await;
        assert_eq!((status, &first["rates"]["talks"], &first["status"]["sessions"]), (200, &json!(0.0), &json!(0)));
        let actors: Vec<_> = list(&first, "mailboxes").iter().map(|mailbox| mailbox["actor"].clone()).collect();
        assert_eq!(actors, ["session", "conversation", "registry", "max"]);
        assert!(first["at_ms"].as_u64() > Some(1_700_000_000_000), "{first}");
        assert_eq!((list(&first, "warnings"), &first["drain"]), (&[][..], &Value::Null));

        server.max.talks_in("messi", &["c1"]);
        let messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        api.until("overview", |overview| overview["status"]["sessions"] == 1).await;
        messi.close().await;
        // The next sample has the calls and messages.
        api.until("overview", |overview| overview["mailboxes"][1]["actors"]["started"] == 1).await;
        api.until("overview", |overview| list(overview, "closed").len() == 1).await;

        let (_, mailboxes) = api.get("mailboxes").await;
        let conversation = &list(&mailboxes, "mailboxes")[1];
        assert_eq!((&conversation["capacity"], &conversation["setting"]), (&json!(77), &json!("mailbox.conversation")));
        assert!(conversation["source"].as_str().unwrap().starts_with("file of the test, line "), "{conversation}");
        let kinds: Vec<_> = list(conversation, "kinds").iter().map(|kind| kind["message"].clone()).collect();
        assert_eq!(kinds[..3], ["enter", "leave", "talk"]);
        let (_, max) = api.get("max").await;
        assert_eq!((&max["inflight"], &max["waiting"]), (&json!(0), &json!(0)));
        assert!(max["inflight_max"].as_u64() >= max["limit"].as_u64(), "{max}");

        assert_eq!(api.post("settings", "{}").await.0, 405);
        let change = api.0.request("PATCH", "/api/v1/settings", &[JSON], b"{\"mailbox.conversation\": 99}").await;
        assert_eq!(change.status, 200, "{change:?}");
        let is_turned = |overview: &Value| {
            let mailbox = &overview["mailboxes"][1];
            (&mailbox["capacity"], &mailbox["source"]) == (&json!(99), &json!("admin"))
        };
        api.until("overview", is_turned).await;
    });
}

#[test]
fn a_drain_that_an_operator_begins_ends_the_server() {
    let server = Fixture::start("");
    run(async {
        let mut client = Client::open(server.addr, Kind::WebSocket).await;
        let mut api = Caller::of(&server).await;
        assert_eq!(api.get("drain").await.0, 405);
        assert_eq!(api.post("drain", "[]").await.0, 422);
        let (status, drain) = api.post("drain", "{}").await;
        assert_eq!((status, &drain["sessions"], &drain["due_in_ms"]), (200, &json!(1), &json!(0)));
        client.end().await;
    });
}
