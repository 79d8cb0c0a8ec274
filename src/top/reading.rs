//! From the JSON of a server, perhaps of another version, to an overview. Fields that this version does not know are
//! ignored, and those that the server does not know are empty. An entry of a list that cannot be read is left out, and
//! counted.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::admin::model::cluster::{BusServer, Cluster, PeerNode};
use crate::admin::model::overview::{Kind, Mailbox, Max, Overview, Rates, Warning, Worker};
use crate::admin::model::{
    ClosedSession, Conversation, Generation, Limits, Machine, Session, Stage, Status, Transport,
};

/// An overview as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The overview.
    pub overview: Overview,
    /// Entries of its lists that could not be read.
    pub left_out: usize,
}

/// Reads an overview.
///
/// # Errors
/// It cannot be read even with empty fields in place of those that are missing.
pub fn read(mut value: Value) -> Result<Picture, String> {
    if !value.is_object() || value.get("status").is_none() {
        return Err("it is no overview of a server".to_owned());
    }
    let mut left_out = 0;
    let mut take = |name: &str| value.get_mut(name).map_or(Value::Null, Value::take);
    let lists = (
        list(take("workers"), &empty_worker(), &mut left_out),
        list(take("mailboxes"), &empty_mailbox(), &mut left_out),
        list(take("sessions"), &empty_session(), &mut left_out),
        list(take("conversations"), &empty_conversation(), &mut left_out),
        list(take("closed"), &empty_closed(), &mut left_out),
        list::<Warning>(
            take("warnings"),
            &json!({"id": "", "level": "warning", "text": "", "advice": ""}),
            &mut left_out,
        ),
    );
    let cluster = cluster(take("cluster"), &mut left_out);
    for name in ["workers", "mailboxes", "sessions", "conversations", "closed", "warnings"] {
        value[name] = json!([]);
    }
    fill(&mut value, &json_of(&empty()));
    let mut overview: Overview = serde_json::from_value(value).map_err(|error| error.to_string())?;
    (
        overview.workers,
        overview.mailboxes,
        overview.sessions,
        overview.conversations,
        overview.closed,
        overview.warnings,
    ) = lists;
    overview.cluster = cluster;
    Ok(Picture { overview, left_out })
}

/// Reads the entries of a list; `empty` is an entry with all its fields.
fn list<T: DeserializeOwned>(value: Value, empty: &Value, left_out: &mut usize) -> Vec<T> {
    let Value::Array(entries) = value else { return Vec::new() };
    let all = entries.len();
    let read = entries.into_iter().filter_map(|mut entry| {
        fill(&mut entry, empty);
        serde_json::from_value(entry).ok()
    });
    let read: Vec<_> = read.collect();
    *left_out += all - read.len();
    read
}

/// Reads the cluster, which servers that are alone do not have.
fn cluster(mut value: Value, left_out: &mut usize) -> Option<Cluster> {
    let servers = list(value.get_mut("servers").map_or(Value::Null, Value::take), &empty_server(), left_out);
    let peers = list(value.get_mut("peers").map_or(Value::Null, Value::take), &empty_peer(), left_out);
    if !value.is_object() {
        return None;
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let feed = serde_json::from_value(value["feed"].clone()).ok();
    Some(Cluster { node: text("node"), name: text("name"), up: value["up"] == true, servers, peers, feed })
}

/// Gives an object the fields of `empty` that it lacks, and its objects likewise.
fn fill(value: &mut Value, empty: &Value) {
    let (Value::Object(value), Value::Object(empty)) = (value, empty) else { return };
    for (name, empty) in empty {
        match value.get_mut(name) {
            Some(Value::Array(entries)) => {
                if let Some(empty) = empty.get(0) {
                    entries.iter_mut().for_each(|entry| fill(entry, empty));
                }
            }
            Some(value) => fill(value, empty),
            // The one entry of an empty list only shows its form.
            None if empty.is_array() => _ = value.insert(name.clone(), json!([])),
            None => _ = value.insert(name.clone(), empty.clone()),
        }
    }
}

/// Returns the JSON of a part of the model, which always has one.
fn json_of(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

fn empty() -> Overview {
    Overview {
        at_ms: 0,
        status: Status {
            version: "of an unknown version".to_owned(),
            commit: None,
            date: None,
            build: String::new(),
            pid: 0,
            began: String::new(),
            uptime_ms: 0,
            stage: Stage::Serving,
            workers: 0,
            connections: 0,
            sessions: 0,
            conversations: 0,
            resident_bytes: None,
            machine: Machine { cores: 0, memory_bytes: 0 },
            limits: Limits { files: 0, connections: 0, memory_bytes: None },
        },
        drain: None,
        rates: Rates::default(),
        workers: Vec::new(),
        mailboxes: Vec::new(),
        sessions: Vec::new(),
        conversations: Vec::new(),
        closed: Vec::new(),
        max: Max {
            inflight: 0,
            limit: 0,
            inflight_max: 0,
            waiting: 0,
            waiting_max: 0,
            calls_per_second: 0.0,
            p50_ms: None,
            p99_ms: None,
            errors: BTreeMap::new(),
        },
        cluster: None,
        warnings: Vec::new(),
    }
}

fn empty_worker() -> Value {
    json_of(&Worker { worker: String::new(), busy: 0.0, lag_p99_ms: None })
}

fn empty_mailbox() -> Value {
    let kind = Kind {
        message: String::new(),
        offered_per_second: 0.0,
        refused_full_per_second: 0.0,
        wait_p99_ms: None,
        handle_p99_ms: None,
    };
    json_of(&Mailbox {
        actor: String::new(),
        capacity: 0,
        setting: String::new(),
        source: String::new(),
        messages: 0,
        peak: 0,
        depth_p50: None,
        depth_p99: None,
        offered_per_second: 0.0,
        refused_full_per_second: 0.0,
        refused_closed_per_second: 0.0,
        given_up_late_per_second: 0.0,
        wait_p50_ms: None,
        wait_p99_ms: None,
        handle_p50_ms: None,
        handle_p99_ms: None,
        kinds: vec![kind],
        actors: None,
    })
}

fn empty_session() -> Value {
    json_of(&Session {
        id: 0,
        username: None,
        address: String::new(),
        generation: Generation::Eio4,
        transport: Transport::Websocket,
        kept: false,
        opened: String::new(),
        age_ms: 0,
        waiting_messages: 0,
        waiting_bytes: 0,
        folded: 0,
        round_trip_ms: None,
    })
}

fn empty_conversation() -> Value {
    json_of(&Conversation {
        id: String::new(),
        spawned: String::new(),
        age_ms: 0,
        members: 0,
        users: 0,
        talks: 0,
        deliveries: 0,
        talks_per_second: 0.0,
        deliveries_per_second: 0.0,
    })
}

fn empty_closed() -> Value {
    json_of(&ClosedSession {
        id: 0,
        username: None,
        address: String::new(),
        generation: Generation::Eio4,
        transport: Transport::Websocket,
        closed: String::new(),
        age_ms: 0,
        folded: 0,
        reason: String::new(),
        detail: String::new(),
    })
}

fn empty_server() -> Value {
    json_of(&BusServer {
        url: String::new(),
        up: false,
        down_ms: None,
        reason: None,
        wanted: 0,
        subscribed: 0,
        waiting: 0,
        lag_ms: None,
    })
}

fn empty_peer() -> Value {
    json_of(&PeerNode {
        node: String::new(),
        name: String::new(),
        version: String::new(),
        tag: String::new(),
        sessions: 0,
        conversations: 0,
        heard_ms: 0,
        silent: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::samples::{busy, clustered};

    #[test]
    fn an_overview_of_this_version_is_read_as_it_is() {
        for overview in [busy(), clustered()] {
            assert_eq!(read(json_of(&overview)), Ok(Picture { overview, left_out: 0 }));
        }
    }

    #[test]
    fn what_another_version_has_more_or_less_does_not_matter() {
        let mut value = json_of(&busy());
        value["new"] = json!({"a": [1]});
        value["status"]["new"] = json!(1);
        value["sessions"][0]["new"] = json!(null);
        value["status"].as_object_mut().unwrap().remove("machine");
        value["sessions"][0].as_object_mut().unwrap().remove("folded");
        value["mailboxes"][0]["kinds"][0].as_object_mut().unwrap().remove("offered_per_second");
        value.as_object_mut().unwrap().remove("max");
        value["sessions"][1]["generation"] = json!("eio5");
        value["mailboxes"][1]["capacity"] = json!("many");
        let Picture { overview, left_out } = read(value).unwrap();
        assert_eq!((left_out, overview.sessions.len(), overview.mailboxes.len()), (2, 19, 3));
        assert_eq!((overview.sessions[0].folded, overview.max.limit), (0, 0));
        assert_eq!(overview.status.sessions, busy().status.sessions);

        let mut value = json_of(&clustered());
        value["cluster"]["new"] = json!(1);
        value["cluster"]["servers"][0].as_object_mut().unwrap().remove("waiting");
        value["cluster"]["peers"][1]["silent"] = json!("perhaps");
        let Picture { overview, left_out } = read(value).unwrap();
        let cluster = overview.cluster.unwrap();
        assert_eq!((left_out, cluster.servers[0].waiting, cluster.peers.len()), (1, 0, 1));

        let least = read(json!({"status": {"version": "9.0.0"}})).unwrap().overview;
        assert_eq!(least.cluster, None);
        assert_eq!((least.status.version.as_str(), least.mailboxes.len()), ("9.0.0", 0));
    }

    #[test]
    fn what_is_no_overview_is_refused_in_words() {
        let mut unknown = json_of(&busy());
        unknown["status"]["stage"] = json!("hibernating");
        for (value, words) in [
            (json!(null), "no overview"),
            (json!([1]), "no overview"),
            (json!({"error": {}}), "no overview"),
            (json!({"status": 3}), "invalid type"),
            (unknown, "hibernating"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
