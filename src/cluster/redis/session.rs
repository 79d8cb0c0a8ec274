//! The two connections to one server: one publishes and asks, the other one is subscribed and does nothing else. A
//! command on a subscribed connection would take the confirmation of a channel for its answer.
//!
//! Sharded channels are subscribed by one command each, many of them in one write: a command about several has one
//! answer if it fails and one for each channel otherwise, and in a Redis Cluster its channels would need one slot.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::try_join;
use redis::{Pipeline, PushInfo, PushKind, RedisResult, Value};

use super::connect::{self, Connection, Server, Sink};
use super::fault::{self, Fault, Moved, Patterns, Refusal};
use super::topology;
use super::words::Words;
use crate::cluster::address::{Address, Place};
use crate::cluster::settings::Settings;
use crate::cluster::shard::Shard;

/// The two connections.
#[derive(Debug)]
pub(crate) struct Session {
    publisher: Connection,
    subscriber: Connection,
    server: Server,
    patterns: Patterns,
    words: Words,
}

impl Session {
    /// Resolves an address and makes both connections.
    pub(crate) async fn open(
        address: Address,
        settings: Settings,
        patterns: Patterns,
        sink: Sink,
    ) -> Result<Self, Fault> {
        let credentials = connect::credentials(&address, &settings).await?;
        let server = topology::resolve(&address, &settings, &credentials, &patterns).await?;
        let publisher = connect::connect(&server, &credentials, &patterns, None);
        let subscriber = connect::connect(&server, &credentials, &patterns, Some(sink));
        let (publisher, subscriber) = try_join(publisher, subscriber).await?;
        Ok(Self { publisher, subscriber, server, patterns, words: Words::of(&settings) })
    }

    /// Asks the server whether it is a master, and Sentinel whether it still is the one.
    pub(crate) fn check(
        &self,
        address: Address,
        settings: Settings,
    ) -> impl Future<Output = Result<(), Fault>> + use<> {
        let (mut redis, patterns, server) = (self.publisher.redis.clone(), self.patterns.clone(), self.server.clone());
        async move {
            let asked = redis.send_packed_command(&redis::cmd("ROLE")).await.and_then(Value::extract_error);
            master(&server, &asked.map_err(|error| fault::command("ROLE", &patterns, &error))?)?;
            if matches!(address.place, Place::Sentinel(..)) {
                // Neither Sentinels that are away nor files that cannot be read take the master away.
                if let Ok(credentials) = connect::credentials(&address, &settings).await
                    && let Ok(now) = connect::resolve(&address, &settings, &credentials, &patterns).await
                    && now != server
                {
                    return Err(format!("Sentinel has made {now} the master instead of {server}").into());
                }
            }
            Ok(())
        }
    }

    /// The names of the commands.
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// Publishes the messages of a pipeline. Returns an answer for each: a number or why it was refused.
    pub(crate) fn publish(
        &self,
        pipeline: Pipeline,
    ) -> impl Future<Output = Result<Vec<Result<u64, Refusal>>, Fault>> + use<> {
        let (mut redis, patterns) = (self.publisher.redis.clone(), self.patterns.clone());
        let word = self.words.publish();
        async move {
            let answers: RedisResult<_> = redis.send_packed_commands(&pipeline, 0, pipeline.len()).await;
            let answers = answers.map_err(|error| fault::command(word, &patterns, &error))?;
            let read = |answer: Value| match answer.extract_error() {
                Ok(Value::Int(number)) => Ok(u64::try_from(number).unwrap_or_default()),
                Ok(_) => Err(Refusal::Fault(format!("{word} was answered by something else than a number").into())),
                Err(error) => Err(Refusal::of(word, &patterns, &error)),
            };
            Ok(answers.into_iter().map(read).collect())
        }
    }

    /// Subscribes channels. Returns the slots that other servers have.
    pub(crate) fn subscribe(&self, channels: Vec<String>) -> impl Future<Output = Result<Vec<Moved>, Fault>> + use<> {
        self.change(channels, true)
    }

    /// Unsubscribes channels. Returns the slots that other servers have.
    pub(crate) fn unsubscribe(&self, channels: Vec<String>) -> impl Future<Output = Result<Vec<Moved>, Fault>> + use<> {
        self.change(channels, false)
    }

    fn change(&self, channels: Vec<String>, opens: bool) -> impl Future<Output = Result<Vec<Moved>, Fault>> + use<> {
        let (sharded, plain): (Vec<_>, Vec<_>) =
            channels.into_iter().partition(|channel| self.words.is_sharded(channel));
        let sharded = sharded_change(&self.subscriber, &self.patterns, &sharded, opens);
        let plain = plain_change(&self.subscriber, &self.patterns, plain, opens);
        async move { try_join(sharded, plain).await.map(|(moved, ())| moved) }
    }

    /// Waits until one of the connections has ended, and says which.
    pub(crate) fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        if Pin::new(&mut self.subscriber.driver).poll(context).is_ready() {
            return Poll::Ready("the server has closed the connection that is subscribed".into());
        }
        if Pin::new(&mut self.publisher.driver).poll(context).is_ready() {
            return Poll::Ready("the server has closed the connection that publishes".into());
        }
        Poll::Pending
    }
}

/// Returns the taker of what the subscribed connection of this number brings.
pub(crate) fn sink(shard: &Arc<Shard>, epoch: u64) -> Sink {
    let shard = shard.clone();
    Box::new(move |PushInfo { kind, data }| {
        // The last messages of a connection that was given up do not count.
        if shard.epoch.load(Ordering::Relaxed) != epoch {
            return;
        }
        match (kind, &data[..]) {
            (PushKind::Message | PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(body)]) => {
                shard.receive(channel, body, Instant::now());
            }
            (PushKind::Subscribe | PushKind::SSubscribe, [Value::BulkString(channel), ..]) => {
                shard.subscribed(channel);
            }
            (PushKind::Unsubscribe | PushKind::SUnsubscribe, [Value::BulkString(channel), ..]) => {
                shard.unsubscribed(channel);
            }
            _ => {}
        }
    })
}

/// Subscribes sharded channels, or gives them up. Returns the slots that other servers have.
fn sharded_change(
    subscriber: &Connection,
    patterns: &Patterns,
    channels: &[String],
    opens: bool,
) -> impl Future<Output = Result<Vec<Moved>, Fault>> + use<> {
    let (mut redis, patterns) = (subscriber.redis.clone(), patterns.clone());
    let word = if opens { Words::SSUBSCRIBE } else { Words::SUNSUBSCRIBE };
    let mut pipeline = redis::pipe();
    for channel in channels {
        pipeline.cmd(word).arg(channel);
    }
    async move {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let answers: RedisResult<_> = redis.send_packed_commands(&pipeline, 0, pipeline.len()).await;
        let answers = answers.map_err(|error| fault::command(word, &patterns, &error))?;
        // A channel that is taken away meanwhile takes the place of an answer, so that the last one counts for no
        // command or for the next. The channels themselves say which are subscribed.
        let mut all = Vec::new();
        for answer in answers {
            match answer.extract_error().map_err(|error| Refusal::of(word, &patterns, &error)) {
                Ok(_) => {}
                Err(Refusal::Moved(moved)) => all.push(moved),
                Err(Refusal::Fault(fault)) => return Err(fault),
            }
        }
        Ok(all)
    }
}

/// Subscribes channels that are not sharded, or gives them up.
fn plain_change(
    subscriber: &Connection,
    patterns: &Patterns,
    channels: Vec<String>,
    opens: bool,
) -> impl Future<Output = Result<(), Fault>> + use<> {
    let (mut redis, patterns) = (subscriber.redis.clone(), patterns.clone());
    async move {
        if channels.is_empty() {
            return Ok(());
        }
        let (word, done) = match opens {
            true => (Words::SUBSCRIBE, redis.subscribe(channels).await),
            false => (Words::UNSUBSCRIBE, redis.unsubscribe(channels).await),
        };
        done.map_err(|error| fault::command(word, &patterns, &error))
    }
}

/// Reads the answer to `ROLE`.
fn master(server: &Server, answer: &Value) -> Result<(), Fault> {
    let parts = match answer {
        Value::Array(parts) => &parts[..],
        _ => &[],
    };
    let part = |at: usize| parts.get(at).and_then(connect::text).unwrap_or_default();
    match part(0).as_str() {
        "master" => Ok(()),
        "slave" => Err(format!(
            "{server} is a replica of {}:{}: what is published there does not reach the others: name the master in \
             cluster.url, or the Sentinels",
            part(1),
            part(2),
        )
        .into()),
        "sentinel" => {
            Err(format!("{server} is a Sentinel: write cluster.url as redis+sentinel://{server}/<name>").into())
        }
        other => Err(format!("{server} has the role `{other}`, and is no master").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::address::Host;

    #[test]
    fn only_a_master_will_do() {
        let server = Server::Tcp(Host { name: "h".into(), port: 1 });
        let role = |parts: &[&str]| {
            let parts = parts.iter().map(|part| Value::BulkString(part.as_bytes().into())).collect();
            master(&server, &Value::Array(parts)).map_err(|fault| fault.to_string())
        };
        assert_eq!(role(&["master", "0"]), Ok(()));
        assert!(role(&["slave", "10.0.0.1", "6379"]).unwrap_err().contains("h:1 is a replica of 10.0.0.1:6379"));
        assert!(role(&["sentinel"]).unwrap_err().contains("redis+sentinel://h:1/"));
        assert!(role(&[]).is_err());
        assert!(master(&server, &Value::Nil).is_err());
    }
}
