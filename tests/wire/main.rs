//! The bytes of the bus: what nodes write is fixed to the byte, what they read is fixed by tables, some of them of
//! captured messages, and no bytes upset the reader.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

mod foreign;
mod letters;
mod properties;
mod reading;
mod writing;

use std::sync::Arc;

use maxtalk::testing::cluster::{
    Content, Dialect, Message, NodeId, Presence, Reading, Stamp, Users, Wire, WireSettings,
};
use maxtalk::testing::event::{ConversationId, Scalar, Talk, Username};

/// The id of the conversation in most tests.
const ROOM: &str = "519b00000000000000000000";

/// The channel of that conversation.
const CHANNEL: &[u8] = b"socket.io#/max#519b00000000000000000000#";

/// The channel of the namespace.
const NAMESPACE: &[u8] = b"socket.io#/max#";

/// The channel of the nodes.
const NODES: &[u8] = b"socket.io-nodes#/max#";

fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

/// The settings of the node that reads, or of the one that writes.
fn settings(dialect: Dialect, id: &str) -> WireSettings {
    WireSettings {
        prefix: "socket.io".into(),
        namespace: "/max".into(),
        dialect,
        node: node(id),
        events: vec!["update".into()],
        namespace_wide: false,
        python_channel: Some("socketio".into()),
        message_bytes_max: 65_536,
        id_bytes_max: 256,
        conversations_max: 3,
    }
}

/// The wire of the node that writes.
fn writer(dialect: Dialect) -> Wire {
    Wire::new(settings(dialect, "abcdefghijkl"))
}

/// The wire of a node that reads.
fn reader(dialect: Dialect) -> Wire {
    Wire::new(settings(dialect, "mnopqrstuvwx"))
}

fn id(text: &str) -> ConversationId {
    text.into()
}

fn username(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn stamp(sequence: Option<u64>) -> Option<Stamp> {
    Some(Stamp { node: node("abcdefghijkl"), life: 7, sequence })
}

fn update(stamp: Option<Stamp>, timestamp: Option<Scalar>, message_id: Option<Scalar>) -> Message {
    let talk = Talk { conversation: id(ROOM), timestamp, message_id };
    let content = Content::Update { username: username("messi"), talk, except: Vec::new(), except_self: false };
    Message { stamp, content }
}

/// The update that the captured messages carry.
fn usual_update() -> Message {
    let message_id = Scalar::Text("519b00000000000000000001".into());
    update(stamp(Some(12_345)), Some(Scalar::Literal("1732600000000".into())), Some(message_id))
}

fn presence(presence: Presence) -> Message {
    let sequence = if matches!(presence, Presence::Ask { .. }) { None } else { Some(12_345) };
    Message { stamp: stamp(sequence), content: Content::Presence(presence) }
}

/// One message of each kind, and of each shape of a kind.
fn messages() -> Vec<Message> {
    let literal = |text: &str| Some(Scalar::Literal(text.into()));
    let name = |name| username(name);
    let except = Content::Update {
        username: name("xavi"),
        talk: Talk { conversation: id(ROOM), timestamp: None, message_id: None },
        except: vec!["X6qXilfmZFHI77hpAAAA".into(), "é\"".into()],
        except_self: true,
    };
    let presences = [
        Presence::State { users: Users::Names(vec![name("messi"), name("xavi")]), asks: true },
        Presence::State { users: Users::Names(Vec::new()), asks: false },
        Presence::State { users: Users::Count(100_000), asks: false },
        Presence::Come { username: name("xavi"), public: true },
        Presence::Come { username: name("xavi"), public: false },
        Presence::Go { username: name("xavi"), public: true },
        Presence::Go { username: name("xavi"), public: false },
        Presence::Gone,
        Presence::Ask { to: node("mnopqrstuvwx") },
    ];
    let updates = [
        usual_update(),
        update(stamp(Some(1)), literal("1.50"), literal("null")),
        update(stamp(Some(u64::MAX)), literal("-9223372036854775808"), literal("18446744073709551616")),
        update(None, literal("true"), None),
        Message { stamp: stamp(Some(2)), content: except },
    ];
    updates.into_iter().chain(presences.map(presence)).collect()
}

/// Says in one line what was read.
fn told(reading: &Reading) -> String {
    match reading {
        Reading::Messages(messages) => {
            let lines: Vec<_> = messages.iter().map(|(id, message)| line(id.as_str(), message)).collect();
            lines.join("; ")
        }
        Reading::Everybody(everybody) => {
            let conversation = everybody.conversation.as_ref().map_or("-", ConversationId::as_str);
            let (timestamp, message_id) = (plain(&everybody.timestamp), plain(&everybody.message_id));
            let username = everybody.username.as_str();
            format!("everybody {conversation}: {username} {timestamp} {message_id}{}", excepted(&everybody.except))
        }
        Reading::Node(message) => format!("{message:?}"),
        Reading::Asked(answer) => format!("{}: {}", answer.channel, String::from_utf8_lossy(&answer.body)),
        Reading::Letter(letter) => format!("{letter:?}"),
        Reading::Ignored(reason) => format!("ignored {}", reason.as_str()),
        Reading::Rejected(reason) => format!("rejected {}", reason.as_str()),
    }
}

fn line(id: &str, message: &Message) -> String {
    let place = message.stamp.map_or_else(String::new, |stamp| {
        let sequence = stamp.sequence.map_or_else(|| "-".into(), |sequence| sequence.to_string());
        format!("{} {} {sequence} ", stamp.node, stamp.life)
    });
    match &message.content {
        Content::Update { username, talk, except, except_self } => {
            assert_eq!(talk.conversation.as_str(), id);
            let (timestamp, message_id) = (plain(&talk.timestamp), plain(&talk.message_id));
            let itself = if *except_self { " except itself" } else { "" };
            format!("{id}: {place}{} {timestamp} {message_id}{}{itself}", username.as_str(), excepted(except))
        }
        Content::Presence(presence) => format!("{id}: {place}{presence:?}"),
    }
}

fn excepted(except: &[Box<str>]) -> String {
    if except.is_empty() { String::new() } else { format!(" except {}", except.join(" ")) }
}

fn plain(scalar: &Option<Scalar>) -> String {
    match scalar {
        None => "-".into(),
        Some(Scalar::Literal(literal)) => literal.to_string(),
        Some(Scalar::Text(text)) => format!("{text:?}"),
    }
}

/// A captured message.
struct Captured {
    what: &'static str,
    channel: &'static [u8],
    told: &'static str,
    bytes: Vec<u8>,
}

fn captured() -> Vec<Captured> {
    let rows = include_str!("captured.txt").lines().filter(|line| !line.starts_with('#'));
    let row = |row: &'static str| {
        let [what, channel, told, hex] = row.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        Captured { what, channel: channel.as_bytes(), told, bytes: bytes_of(hex) }
    };
    rows.map(row).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn captured_messages_are_read() {
    let wire = reader(Dialect::Classic);
    for captured in captured() {
        let reading = wire.read(captured.channel, &captured.bytes);
        assert_eq!(told(&reading), captured.told, "{}", captured.what);
    }
}

#[test]
fn channels_are_named() {
    let wire = writer(Dialect::Classic);
    assert_eq!(wire.nodes().as_bytes(), NODES);
    let own = "socket.io-nodes#/max#{socket.io-nodes#/max#}abcdefghijkl#";
    assert_eq!(wire.always(), ["socket.io#/max#", "socket.io-nodes#/max#", own, "socketio"]);
    let silent = Wire::new(WireSettings { python_channel: None, ..settings(Dialect::Classic, "abcdefghijkl") });
    assert_eq!(silent.always(), ["socket.io#/max#", "socket.io-nodes#/max#", own]);
    assert_eq!(reader(Dialect::Classic).letters_to(node("abcdefghijkl")), own);
    assert_eq!(format!("{:?}", wire.channel(NAMESPACE)), "Some(Namespace)");
    assert_eq!(format!("{:?}", wire.channel(NODES)), "Some(Nodes)");
    assert_eq!(format!("{:?}", wire.channel(own.as_bytes())), "Some(Own)");
    assert_eq!(format!("{:?}", wire.channel(b"socketio")), "Some(Python)");
    for (text, name) in [
        (ROOM, "socket.io#/max#519b00000000000000000000#"),
        ("", "socket.io#/max##"),
        ("#", "socket.io#/max###"),
        ("a#b", "socket.io#/max#a#b#"),
        ("é 😀", "socket.io#/max#é 😀#"),
        ("/max#", "socket.io#/max#/max##"),
    ] {
        assert_eq!(wire.room(&id(text)), name);
        assert_eq!(wire.publishes_to(&id(text)), name);
        assert_eq!(format!("{:?}", wire.channel(name.as_bytes())), format!("Some(Conversation({text:?}))"));
    }
    for wrong in ["", "socket.io#/max", "socket.io#/max#a", "socket.io#/#a#", "socket.io-request#/max#", "app#/max#a#"]
    {
        assert!(wire.channel(wrong.as_bytes()).is_none(), "{wrong}");
    }
    assert!(wire.channel(b"socket.io#/max#\xff#").is_none());
}

#[test]
fn rooms_that_look_like_a_socket_are_published_to_the_namespace() {
    let (classic, sharded) = (writer(Dialect::Classic), writer(Dialect::Sharded));
    // Node counts UTF-16 units: the fourth id has 20 of them in 40 bytes, and the fifth in 10 characters.
    let table = [
        ("01234567890123456789", true),
        ("0123456789012345678", false),
        ("012345678901234567890", false),
        ("éééééééééééééééééééé", true),
        ("😀😀😀😀😀😀😀😀😀😀", true),
        ("", false),
    ];
    for (text, is_in_namespace) in table {
        let room = format!("socket.io#/max#{text}#");
        assert_eq!(classic.publishes_to(&id(text)), room);
        let expected = if is_in_namespace { "socket.io#/max#" } else { &*room };
        assert_eq!(sharded.publishes_to(&id(text)), expected, "{text}");
        // The node itself listens to a channel for each conversation.
        assert_eq!(sharded.room(&id(text)), room);
    }
    let id = id("01234567890123456789");
    for message in messages() {
        let Content::Presence(presence) = &message.content else { continue };
        let message = Message { stamp: message.stamp, content: Content::Presence(presence.clone()) };
        let read = reader(Dialect::Sharded).read(NAMESPACE, &sharded.write(&id, &message));
        assert_eq!(read, Reading::Messages(vec![(id.clone(), message)]));
    }
}

#[test]
fn labels_are_distinct() {
    use maxtalk::testing::cluster::{Ignored, Rejected};
    let labels: Vec<_> =
        Ignored::ALL.map(Ignored::as_str).into_iter().chain(Rejected::ALL.map(Rejected::as_str)).collect();
    let distinct: std::collections::HashSet<_> = labels.iter().collect();
    assert_eq!(distinct.len(), labels.len());
}

/// A wire whose settings are changed.
fn with(dialect: Dialect, change: impl FnOnce(&mut WireSettings)) -> Wire {
    let mut settings = settings(dialect, "mnopqrstuvwx");
    change(&mut settings);
    Wire::new(settings)
}

fn events(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}
