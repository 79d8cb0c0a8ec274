//! The demo MAX over HTTP: the calls of a chat client in the shapes of MAX, its refusals, and the directory that asks
//! it in both ways.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use crate::support::gate::MeasuredGate;
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpServer};
use awc::Client;
use maxtalk::testing::Ids;
use maxtalk::testing::board::SessionBoard;
use maxtalk::testing::config;
use maxtalk::testing::directory::{DemoMax, Directory, MOUNT, MaxDirectory, Question};
use maxtalk::testing::event::{Code, ConversationId, Token, Username};
use maxtalk::testing::http::demo_routes;
use serde_json::{Value, json};

/// A server with only the demo, and a client.
struct Demo {
    demo: Arc<DemoMax>,
    address: std::net::SocketAddr,
    client: Client,
    people: Vec<(String, String)>,
}

/// The user of a call: one of the people, by number.
type Who = usize;

impl Demo {
    async fn start() -> Self {
        Self::with_people(0).await
    }

    /// With a number of generated people, ten to a conversation.
    async fn with_people(people: usize) -> Self {
        let settings = config::Demo { public: false, people, members: 10, conversations_per_person: 1, zipf: None };
        let demo = DemoMax::new(&settings, &Ids::from_system().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let routes = demo_routes(&demo, &SessionBoard::new(Instant::now()));
        // Two workers share one state.
        let server = HttpServer::new(move || App::new().configure(routes.clone())).workers(2).disable_signals();
        actix_web::rt::spawn(server.listen(listener).unwrap().run());
        let client = Client::default();
        let mut response = client.get(format!("http://{address}/demo/people")).send().await.unwrap();
        assert_eq!(response.headers().get("cache-control").unwrap(), "no-store");
        let list: Value = response.json().await.unwrap();
        let text = |person: &Value, member: &str| person[member].as_str().unwrap().to_owned();
        let people = list.as_array().unwrap().iter().map(|one| (text(one, "username"), text(one, "token"))).collect();
        Self { demo, address, client, people }
    }

    fn name(&self, who: Who) -> &str {
        &self.people[who].0
    }

    /// Makes a call. Returns the status, whether there are more items, and the JSON.
    async fn call(&self, who: Option<Who>, method: Method, route: &str, body: &str) -> (u16, bool, Value) {
        let mut request = self.client.request(method, format!("http://{}{MOUNT}{route}", self.address));
        if let Some((username, token)) = who.map(|who| &self.people[who]) {
            request = request
                .insert_header(("X-Oauth-Username", username.to_uppercase().as_bytes()))
                .insert_header(("X-Oauth-Token", token.as_str()))
                .insert_header(("X-Oauth-Scope", "widgetcli"));
        }
        let mut response = request.send_body(body.to_owned()).await.unwrap();
        let status = response.status();
        let more = response.headers().get("x-has-remaining-items").is_some_and(|value| value == "1");
        let body = response.body().await.unwrap();
        if status == StatusCode::NO_CONTENT {
            return (204, more, Value::Null);
        }
        let json = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status}: {body:?}"));
        (status.as_u16(), more, json)
    }

    async fn get(&self, who: Who, route: &str) -> Value {
        let (status, _, json) = self.call(Some(who), Method::GET, route, "").await;
        assert_eq!(status, 200, "{json}");
        json
    }

    async fn post(&self, who: Who, route: &str, body: Value) -> (u16, Value) {
        let (status, _, json) = self.call(Some(who), Method::POST, route, &body.to_string()).await;
        (status, json)
    }

    async fn start_conversation(&self, who: &[Who]) -> String {
        let participants: Vec<_> = who.iter().map(|who| self.name(*who)).collect();
        let body = json!({
            "contexts": [{ "objectType": "conversation", "participants": participants }],
            "object": { "objectType": "note", "content": "hello" },
        });
        let (status, message) = self.post(who[0], "/conversations", body).await;
        assert_eq!(status, 201, "{message}");
        message["contexts"][0]["id"].as_str().unwrap().to_owned()
    }
}

fn assert_error(answer: &(u16, bool, Value), status: u16, error: &str) {
    assert_eq!((answer.0, answer.2["error"].as_str()), (status, Some(error)), "{}", answer.2);
    assert_eq!(answer.2["objectType"], "error");
    assert!(answer.2["error_description"].is_string());
}

/// Encodes a username for a path.
fn encoded(username: &str) -> String {
    percent_encoding::utf8_percent_encode(username, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn note(content: &str) -> Value {
    json!({ "object": { "objectType": "note", "content": content } })
}

fn is_object_id(id: &Value) -> bool {
    id.as_str().is_some_and(|id| id.len() == 24 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

#[actix_web::test]
async fn it_looks_alive_and_like_max() {
    let demo = Demo::start().await;
    let (status, _, info) = demo.call(None, Method::GET, "/info", "").await;
    assert_eq!((status, info["version"].is_string()), (200, true));
    for who in 0..demo.people.len() {
        let list = demo.get(who, "/conversations").await;
        let conversation = &list[0];
        assert!(is_object_id(&conversation["id"]) && conversation["objectType"] == "conversation", "{conversation}");
        assert!(conversation["participants"][0]["username"].is_string() && conversation["tags"].is_array());
        assert!(conversation["lastMessage"]["published"].as_str().unwrap().ends_with('Z'));
        let id = conversation["id"].as_str().unwrap();
        let messages = demo.get(who, &format!("/conversations/{id}/messages")).await;
        let last = messages.as_array().unwrap().last().unwrap();
        assert_eq!(last["object"]["content"], conversation["lastMessage"]["content"]);
        assert_eq!((&last["objectType"], &last["verb"]), (&json!("message"), &json!("post")));
        assert!(is_object_id(&last["id"]) && last["actor"]["displayName"].is_string());

        let profile = demo.get(who, &format!("/people/{}", encoded(demo.name(who)))).await;
        assert_eq!(profile["username"], demo.name(who));
        let talking_in = profile["talkingIn"].as_array().unwrap();
        assert_eq!(talking_in.len(), list.as_array().unwrap().len());
    }
    assert!(demo.people.iter().any(|(name, _)| !name.is_ascii()));
    let another = DemoMax::new(&config::Config::default().demo, &Ids::from_system().unwrap());
    assert_eq!(another.service_account().0, demo.demo.service_account().0);
    assert_ne!(another.service_account().1, demo.demo.service_account().1);
}

#[actix_web::test]
async fn a_message_goes_to_those_who_are_in_the_conversation() {
    let demo = Demo::start().await;
    let id = demo.start_conversation(&[1, 4]).await;
    assert_eq!(demo.start_conversation(&[4, 1]).await, id);
    let route = format!("/conversations/{id}/messages");
    let mut posted = Vec::new();
    for n in 0..12 {
        let (status, message) = demo.post(1, &route, note(&format!("number {n}"))).await;
        assert_eq!((status, &message["contexts"][0]["id"]), (201, &json!(id)));
        posted.push(message["id"].as_str().unwrap().to_owned());
    }
    let page = async |query: &str| {
        let (status, more, list) = demo.call(Some(4), Method::GET, &format!("{route}{query}"), "").await;
        assert_eq!(status, 200, "{list}");
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (ids, more)
    };
    assert_eq!(page("").await, (posted[2..].to_vec(), true));
    assert_eq!(page("?limit=3").await, (posted[9..].to_vec(), true));
    assert_eq!(page(&format!("?after={}", posted[9])).await, (posted[10..].to_vec(), false));
    assert_eq!(page(&format!("?limit=2&before={}", posted[5])).await, (posted[3..5].to_vec(), true));
    assert_eq!(page("?limit=0").await.0.len(), 14);
    let newest = demo.get(4, "/conversations").await[0].clone();
    assert_eq!((&newest["id"], &newest["lastMessage"]["content"]), (&json!(id), &json!("number 11")));

    let stranger = demo.call(Some(2), Method::GET, &route, "").await;
    assert_error(&stranger, 403, "Forbidden");
    let nowhere = "/conversations/000000000000000000000000/messages";
    assert_error(&demo.call(Some(2), Method::GET, nowhere, "").await, 404, "ObjectNotFound");
    assert_error(&demo.call(Some(4), Method::GET, &format!("{route}?limit=x"), "").await, 400, "InvalidSearchParams");
    assert_error(
        &demo.call(Some(4), Method::GET, &format!("{route}?limit=1&limit=2"), "").await,
        400,
        "InvalidSearchParams",
    );
}

#[actix_web::test]
async fn people_come_and_go() {
    let demo = Demo::start().await;
    let id = demo.start_conversation(&[0, 1, 2]).await;
    let route = format!("/conversations/{id}/participants");
    let invite = json!({ "actor": { "objectType": "person", "username": demo.name(3) } });
    let (status, activity) = demo.post(0, &route, invite.clone()).await;
    assert_eq!((status, &activity["verb"], &activity["object"]["id"]), (201, &json!("subscribe"), &json!(id)));
    assert_eq!(demo.post(0, &route, invite.clone()).await.0, 200);
    assert_eq!(demo.post(1, &route, invite).await.0, 403);
    let nobody = json!({ "actor": { "objectType": "person", "username": "nobody" } });
    assert_eq!(demo.post(0, &route, nobody).await.1["error"], "UnknownUserError");
    assert_eq!(demo.get(3, "/conversations").await[0]["id"], json!(id));
    let (status, ..) = demo.call(Some(3), Method::DELETE, &format!("{route}/{}", encoded(demo.name(3))), "").await;
    assert_eq!(status, 204);
    assert_error(
        &demo.call(Some(3), Method::GET, &format!("/conversations/{id}/messages"), "").await,
        403,
        "Forbidden",
    );
}

#[actix_web::test]
async fn every_refusal_has_the_form_of_max() {
    let mut demo = Demo::start().await;
    for route in ["/conversations", "/people/aina.roca", "/conversations/000000000000000000000000/messages"] {
        assert_error(&demo.call(None, Method::GET, route, "").await, 401, "Unauthorized");
    }
    let call = async |method, route: &str, body: &str| demo.call(Some(0), method, route, body).await;
    assert_error(&call(Method::GET, "/people/nobody", "").await, 400, "UnknownUserError");
    assert_error(&call(Method::GET, "/people/%FF%00", "").await, 400, "UnknownUserError");
    for route in ["", "/", "/nothing", "/people", "/conversations/1/2/3/4"] {
        assert_error(&call(Method::GET, route, "").await, 404, "ObjectNotFound");
    }
    assert_error(&call(Method::PUT, "/conversations", "").await, 405, "MethodNotAllowed");
    for (body, status, error) in [
        (String::new(), 400, "JSONParseError"),
        ("{".to_owned(), 400, "JSONParseError"),
        ("[".repeat(50_000), 400, "ValidationError"),
        ("{}".to_owned(), 400, "ValidationError"),
        ("[]".to_owned(), 400, "ValidationError"),
        (r#"{"contexts":[],"object":{"content":"x"}}"#.to_owned(), 400, "ValidationError"),
        (
            r#"{"contexts":[{"participants":["aina.roca","nobody"]}],"object":{"content":"x"}}"#.to_owned(),
            400,
            "UnknownUserError",
        ),
        (r#"{"contexts":[{"participants":[1]}],"object":{"content":"x"}}"#.to_owned(), 400, "ValidationError"),
        (r#"{"contexts":[{}],"object":{"objectType":"image","content":"x"}}"#.to_owned(), 400, "ValidationError"),
        (" ".repeat(70_000), 413, "RequestTooLarge"),
    ] {
        let answer = demo.call(Some(0), Method::POST, "/conversations", &body).await;
        assert_error(&answer, status, error);
    }
    demo.people[0].1.push('x');
    assert_error(&demo.call(Some(0), Method::GET, "/conversations", "").await, 401, "Unauthorized");
}

#[actix_web::test]
async fn the_directory_asks_it_in_both_ways() {
    let demo = Demo::start().await;
    let settings = config::Max { waiting_max: 100, wait_ms: 5000, ..config::Config::default().max };
    // A server bound to all addresses asks its demo on loopback.
    let bound = (std::net::Ipv4Addr::UNSPECIFIED, demo.address.port()).into();
    let MeasuredGate { gate, .. } = MeasuredGate::new(&settings);
    let directory = MaxDirectory::new(&settings, demo.demo.target(bound), 256, gate).unwrap();
    for who in 0..demo.people.len() {
        let list = demo.get(who, "/conversations").await;
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().into()).collect();
        let username = Username::parse(demo.name(who)).unwrap();
        let token = Token::from(demo.people[who].1.as_str());
        let peer = [127, 0, 0, 1].into();
        let question = Question { username: username.clone(), token: Some(token), scope: None, peer };
        let answer = directory.conversations_of(question.clone()).await.unwrap();
        assert_eq!((&answer.username, &answer.conversations), (&username, &ids));

        let answer = directory.conversations_of(Question { token: None, ..question.clone() }).await.unwrap();
        let sorted = |mut ids: Vec<ConversationId>| {
            ids.sort();
            ids
        };
        assert_eq!((answer.username, sorted(answer.conversations)), (username, sorted(ids)));

        let code = async |question| directory.conversations_of(question).await.unwrap_err().code;
        let far = [192, 0, 2, 1].into();
        assert_eq!(code(Question { token: None, peer: far, ..question.clone() }).await, Code::TokenRequired);
        assert_eq!(code(Question { token: Some("x".into()), ..question.clone() }).await, Code::Unauthorized);
        assert_eq!(code(Question { scope: Some("x".to_owned()), ..question.clone() }).await, Code::Unauthorized);
        let nobody = Username::parse("nobody").unwrap();
        assert_eq!(code(Question { username: nobody, token: None, ..question }).await, Code::UnknownUser);
    }
}

#[actix_web::test]
async fn the_crowd_is_as_large_as_one_likes_and_only_listens() {
    let mut demo = Demo::with_people(1_000_000).await;
    let crowd = demo.people.len();
    demo.people.extend(["u0", "u999999", "u1000000"].map(|name| (name.to_owned(), name.to_owned())));
    let [first, last, nobody] = [crowd, crowd + 1, crowd + 2];
    let directory = |peer: [u8; 4]| {
        let settings = config::Config::default().max;
        let MeasuredGate { gate, .. } = MeasuredGate::new(&settings);
        let directory = MaxDirectory::new(&settings, demo.demo.target(demo.address), 256, gate).unwrap();
        async move |username: &str, token: Option<&str>| {
            let username = Username::parse(username).unwrap();
            let question = Question { username, token: token.map(Token::from), scope: None, peer: peer.into() };
            let answer = directory.conversations_of(question).await;
            answer.map(|answer| (answer.username, answer.conversations)).map_err(|failure| failure.code)
        }
    };
    let (near, far) = (directory([127, 0, 0, 1]), directory([192, 0, 2, 1]));
    let found = |username, id: &str| Ok((Username::parse(username).unwrap(), vec![ConversationId::from(id)]));
    for (username, id) in [("u0", "c0"), ("u9", "c0"), ("u10", "c1"), ("u999999", "c99999")] {
        assert_eq!(near(username, None).await, found(username, id));
        assert_eq!(far(username, Some(username)).await, found(username, id));
        assert_eq!(far(username, None).await, Err(Code::TokenRequired));
        assert_eq!(far(username, Some("x")).await, Err(Code::Unauthorized));
    }
    assert_eq!(near("u1000000", None).await, Err(Code::UnknownUser));
    assert_eq!(near("u1000000", Some("u1000000")).await, Err(Code::Unauthorized));

    // A user's conversations are visible to the user and to the service account only.
    let talking_in = async |who: Who, whom: &str| demo.get(who, &format!("/people/{whom}")).await["talkingIn"].clone();
    assert_eq!(talking_in(first, "u0").await, demo.get(first, "/conversations").await);
    assert_eq!(talking_in(first, "u1").await, Value::Null);
    assert_eq!(talking_in(0, "u1").await, Value::Null);
    assert!(talking_in(0, demo.name(0)).await.is_array(), "the demo's own people are there as well");

    assert_error(&demo.call(Some(nobody), Method::GET, "/conversations", "").await, 401, "Unauthorized");
    for (method, route) in [(Method::GET, "/conversations/c0/messages"), (Method::POST, "/conversations/c0/messages")] {
        let answer = demo.call(Some(last), method, route, &note("x").to_string()).await;
        assert_error(&answer, 403, "Forbidden");
    }
    assert_error(&demo.call(Some(last), Method::GET, "/people/aina.roca", "").await, 403, "Forbidden");
}
