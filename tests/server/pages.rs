//! The pages for browsers, and the demo MAX in the process of the server: who is in a new conversation hears of it at
//! once.

use std::net::SocketAddr;

use crate::support::client::{Client, Heard, Kind};
use crate::support::http::{Http, Response, request};
use crate::support::process::{Process, maxtalk};
use crate::support::run;
use serde_json::{Value, json};

/// Starts a server with its demo and these settings, given by the names of their variables without the prefix.
fn demo(settings: &[(&str, &str)]) -> Process {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
    command.env("MAXTALK_ADMIN__LISTEN", "");
    command.envs(settings.iter().map(|(name, value)| (format!("MAXTALK_{name}"), *value)));
    Process::start(command)
}

async fn ask(addr: SocketAddr, method: &str, target: &str) -> Response {
    Http::connect(addr).await.request(method, target, &[("Connection", "close")], b"").await
}

/// A person of the demo, as the demo page knows each of them.
struct Person {
    addr: SocketAddr,
    username: String,
    token: String,
}

impl Person {
    async fn all(addr: SocketAddr) -> Vec<Self> {
        let people: Value = serde_json::from_str(&ask(addr, "GET", "/demo/people").await.body).unwrap();
        let text = |person: &Value, member: &str| person[member].as_str().unwrap().to_owned();
        let people = people.as_array().unwrap().iter();
        people.map(|one| Self { addr, username: text(one, "username"), token: text(one, "token") }).collect()
    }

    /// Calls the demo MAX. Returns the status and the JSON, null if there is none.
    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers = [
            ("X-Oauth-Username", self.username.as_str()),
            ("X-Oauth-Token", self.token.as_str()),
            ("X-Oauth-Scope", "widgetcli"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let target = format!("/demo/max/{path}");
        let answer = Http::connect(self.addr).await.request(method, &target, &headers, body.as_bytes()).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    async fn conversations(&self) -> Vec<String> {
        let (_, list) = self.call("GET", "conversations", &Value::Null).await;
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Joins without a token, as a client on this machine may. Returns the client when it listens.
    async fn join(&self) -> Client {
        let mut client = Client::connect(self.addr, Kind::WebSocket, "").await;
        client.emit("join", &json!({ "username": self.username }).to_string()).await;
        assert!(!listened(&mut client).await.is_empty());
        client
    }
}

/// Waits for the next `listening`, and returns its conversations.
async fn listened(client: &mut Client) -> Vec<String> {
    loop {
        match client.hear().await {
            Heard::Event(name, argument) if name == "listening" => {
                let argument: Value = serde_json::from_str(&argument).unwrap();
                let ids = argument["conversations"].as_array().unwrap();
                return ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
            }
            Heard::Event(name, argument) if name == "refused" => panic!("it was refused: {argument}"),
            Heard::End(end) => panic!("the session ended by {end:?}"),
            _ => {}
        }
    }
}

fn group(people: &[&Person]) -> Value {
    let participants: Vec<_> = people.iter().map(|person| &person.username).collect();
    json!({
        "contexts": [{ "objectType": "conversation", "participants": participants }],
        "object": { "objectType": "note", "content": "hello" },
    })
}

#[test]
fn participants_hear_of_a_new_conversation_at_once() {
    run(async {
        let mut server = demo(&[]);
        let people = Person::all(server.addr()).await;
        let [aina, bernat, carla, elena] = [&people[0], &people[1], &people[2], &people[4]];
        let (mut bernats, mut elenas) = (bernat.join().await, elena.join().await);
        let (status, message) = aina.call("POST", "conversations", &group(&[aina, bernat, carla])).await;
        assert_eq!(status, 201, "{message}");
        let id = message["contexts"][0]["id"].as_str().unwrap().to_owned();
        assert!(listened(&mut bernats).await.contains(&id));

        let invitation = json!({ "actor": { "username": elena.username } });
        assert_eq!(aina.call("POST", &format!("conversations/{id}/participants"), &invitation).await.0, 201);
        assert!(listened(&mut elenas).await.contains(&id));
        assert!(listened(&mut bernats).await.contains(&id));

        let path = format!("conversations/{id}/participants/{}", elena.username);
        assert_eq!(aina.call("DELETE", &path, &Value::Null).await.0, 204);
        assert!(!listened(&mut elenas).await.contains(&id));
    });
}

#[test]
fn the_conversations_at_the_start_survive_a_restart() {
    run(async {
        let mut found = Vec::new();
        for _ in 0..2 {
            let mut server = demo(&[]);
            let people = Person::all(server.addr()).await;
            found.push((people[0].token.clone(), people[0].conversations().await));
        }
        assert_eq!(found[0].1, found[1].1);
        assert!(found[0].1.len() > 1);
        assert_ne!(found[0].0, found[1].0, "a token is valid in one process only");
    });
}

#[test]
fn the_pages_come_with_a_strict_policy() {
    run(async {
        let mut server = demo(&[("PROTOCOL__NAMESPACE", "/a\"b")]);
        let addr = server.addr();
        for path in ["/", "/inspect"] {
            let page = ask(addr, "GET", path).await;
            assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
            let here = r#"data-namespace="/a&quot;b" data-demo="true" data-message-chars-max="2000""#;
            assert!(page.body.contains(here), "{}", page.body);
            for file in page.body.split('"').filter(|text| text.ends_with(".js") || text.ends_with(".css")) {
                assert_eq!(ask(addr, "GET", &format!("/{file}")).await.status, 200, "{file}");
            }
        }
    });
}

#[test]
fn a_server_with_a_max_of_its_own_has_the_pages_without_the_demo() {
    run(async {
        let mut server = demo(&[("MAX__URL", "http://127.0.0.1:1")]);
        let addr = server.addr();
        for path in ["/", "/inspect"] {
            assert!(ask(addr, "GET", path).await.body.contains(r#"data-demo="false""#), "{path}");
        }
        assert_eq!(ask(addr, "GET", "/demo/people").await.status, 404);
    });
}

#[test]
fn without_the_pages_the_index_still_answers_load_balancers() {
    run(async {
        let mut server = demo(&[("PAGES__ENABLED", "false")]);
        let addr = server.addr();
        let index = ask(addr, "GET", "/").await;
        assert_eq!((index.status, index.body.as_str()), (200, "maxtalk\n"));
        let mut http = Http::connect(addr).await;
        http.write(&request("HEAD", "/", &[], b"")).await.unwrap();
        assert_eq!(http.head().await.unwrap().status, 200);
        assert_eq!(ask(addr, "OPTIONS", "/").await.status, 204);
        for path in ["/inspect", "/demo.js", "/inspect.js", "/favicon.svg"] {
            assert_eq!(ask(addr, "GET", path).await.status, 404, "{path}");
        }
        assert_eq!(ask(addr, "GET", "/demo/people").await.status, 200, "the demo MAX is no page");
    });
}
