//! Exact accounts of talks in a cluster: what became of every single delivery. Talkers on some nodes talk all the time,
//! and a listener on each node writes down all that it hears, with the time.
//!
//! A delivery is heard once and in the order of its talker, or the listener is told by `missed` after the talk was said
//! that news may be lost. What is said on the listener's own node has to be heard in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::DEADLINE;
use super::client::Client;
use super::cluster::join_at;
use super::heard::{Heard, talk_of};
use super::kind::Kind;

/// The time between two talks of a talker.
const PERIOD: Duration = Duration::from_millis(4);

/// The time between two looks at what was heard.
const LOOK: Duration = Duration::from_millis(10);

/// The looks after which the last talk is said again, if not everybody has heard it.
const LOOKS_MAX: u32 = 100;

/// The kinds of the listeners: one of each protocol.
const KINDS: [Kind; 3] = [Kind::WebSocket, Kind::V2WebSocket, Kind::V09WebSocket];

/// A talk. The number is that of its talker.
#[derive(Clone, Debug)]
pub struct Said {
    pub talker: usize,
    pub conversation: String,
    pub number: u64,
    pub at: Instant,
}

/// What became of the deliveries to one listener, or to several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The talks that it should have heard.
    pub due: usize,
    pub heard: usize,
    /// Those that were lost, and that it was told of.
    pub told: usize,
    /// How often it was told `missed`.
    pub times_told: usize,
    /// Those that were lost, and that it was not told of.
    pub silent: Vec<String>,
    pub doubled: Vec<String>,
    pub disordered: Vec<String>,
    /// Anything else that may not be.
    pub wrong: Vec<String>,
}

impl Account {
    /// Whether nothing is lost in silence, doubled, out of order or wrong.
    pub fn is_clean(&self) -> bool {
        [&self.silent, &self.doubled, &self.disordered, &self.wrong].iter().all(|bad| bad.is_empty())
    }

    /// The account of all listeners together.
    pub fn sum(all: &[Self]) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.due += one.due;
            sum.heard += one.heard;
            sum.told += one.told;
            sum.times_told += one.times_told;
            sum.silent.extend_from_slice(&one.silent);
            sum.doubled.extend_from_slice(&one.doubled);
            sum.disordered.extend_from_slice(&one.disordered);
            sum.wrong.extend_from_slice(&one.wrong);
        }
        sum
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due, heard, told, times_told, silent, doubled, disordered, wrong } = self;
        let (silent, doubled, disordered, wrong) = (silent.len(), doubled.len(), disordered.len(), wrong.len());
        write!(
            f,
            "{due} due: {heard} heard, {told} lost and told of, {silent} lost in silence, {doubled} doubled, \
             {disordered} out of order, {wrong} wrong; {times_told} times `missed`"
        )
    }
}

/// The `messageID` of a talk. A conversation takes an equal one for the same message.
pub fn message_id(talker: usize, number: u64) -> String {
    format!("{talker}.{number}")
}

/// Accounts for what one listener heard. `local` are the talkers on its own node.
pub fn account(said: &[Said], heard: &[(Instant, Heard)], local: &[usize]) -> Account {
    let mut account = Account { due: said.len(), ..Account::default() };
    let mut log = Log::default();
    for (at, news) in heard {
        match news {
            Heard::Event(name, argument) if name == "update" => log.update(argument, &mut account),
            Heard::Event(name, argument) if name == "missed" => log.missed(*at, argument, &mut account),
            Heard::Event(name, _) if ["joined", "left", "people", "listening"].contains(&name.as_str()) => {}
            other => account.wrong.push(format!("{other:?}")),
        }
    }
    if log.is_away {
        account.wrong.push("the end of an outage was not told".into());
    }
    for ((talker, conversation), numbers) in &log.numbers {
        let name = |number| format!("{talker} in {conversation}: {number}");
        let (mut seen, mut last) = (BTreeSet::new(), 0);
        for number in numbers {
            match seen.insert(*number) {
                false => account.doubled.push(name(number)),
                true if *number < last => account.disordered.push(name(number)),
                true => last = *number,
            }
        }
    }
    for talk in said {
        let numbers = log.numbers.get(&(talk.talker, talk.conversation.clone()));
        if numbers.is_some_and(|all| all.contains(&talk.number)) {
            account.heard += 1;
        } else if log.is_told_of(talk) && !local.contains(&talk.talker) {
            account.told += 1;
        } else {
            account.silent.push(format!("{} in {}: {}", talk.talker, talk.conversation, talk.number));
        }
    }
    account
}

/// The updates and the `missed` of a listener.
#[derive(Default)]
struct Log {
    /// The numbers of the updates, by talker and conversation.
    numbers: BTreeMap<(usize, String), Vec<u64>>,
    /// The times of each `missed` that says that all is back, with its conversations. `None` stands for all.
    told: Vec<(Instant, Option<Vec<String>>)>,
    /// Whether the beginning of an outage was told, and not yet its end.
    is_away: bool,
}

impl Log {
    fn update(&mut self, argument: &str, account: &mut Account) {
        let value: Value = serde_json::from_str(argument).unwrap();
        let id = value["messageID"].as_str().and_then(|id| id.split_once('.'));
        let parsed = id.and_then(|(talker, number)| Some((talker.parse().ok()?, number.parse().ok()?)));
        match (parsed, value["conversation"].as_str()) {
            (Some((talker, number)), Some(conversation)) if value.get("missed").is_none() => {
                self.numbers.entry((talker, conversation.to_owned())).or_default().push(number);
            }
            _ => account.wrong.push(argument.to_owned()),
        }
    }

    fn missed(&mut self, at: Instant, argument: &str, account: &mut Account) {
        account.times_told += 1;
        let value: Value = serde_json::from_str(argument).unwrap();
        let ids = value["conversations"].as_array();
        let ids = ids.map(|ids| ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect());
        if !value["ongoing"].as_bool().unwrap() {
            self.is_away &= ids.is_some();
            self.told.push((at, ids));
        } else if std::mem::replace(&mut self.is_away, true) {
            account.wrong.push("the beginning of an outage was told twice".into());
        }
    }

    /// Whether it was told after this talk that news of its conversation may be lost.
    fn is_told_of(&self, talk: &Said) -> bool {
        let is_in = |ids: &Option<Vec<String>>| ids.as_ref().is_none_or(|ids| ids.contains(&talk.conversation));
        self.told.iter().any(|(at, ids)| *at >= talk.at && is_in(ids))
    }
}

/// What a talker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Talk,
    /// Says so many talks at once, and waits.
    Say(usize),
    End,
}

/// What all talkers share.
#[derive(Default)]
struct Ledger {
    said: Mutex<Vec<Said>>,
    /// The talkers whose sessions have ended.
    ended: Mutex<BTreeSet<usize>>,
}

/// A listener on a node.
pub struct Listener {
    /// Its node.
    pub node: usize,
    heard: Arc<Mutex<Vec<(Instant, Heard)>>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Writes down what a client hears.
    pub fn start(node: usize, mut client: Client) -> Self {
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let log = heard.clone();
        let task = tokio::spawn(async move {
            loop {
                let news = client.hear().await;
                let is_end = matches!(news, Heard::End(_));
                log.lock().push((Instant::now(), news));
                if is_end {
                    // The client is kept, so that it does not close anything by itself.
                    std::future::pending::<()>().await;
                }
            }
        });
        Self { node, heard, task }
    }

    /// Everything that it has heard so far.
    pub fn heard(&self) -> Vec<(Instant, Heard)> {
        self.heard.lock().clone()
    }

    /// Waits until what it has heard is enough.
    pub async fn until(&self, what: &str, is_enough: impl Fn(&[(Instant, Heard)]) -> bool) {
        let begun = Instant::now();
        while !is_enough(&self.heard.lock()) {
            assert!(begun.elapsed() < DEADLINE, "the listener on {}: {what}: {:?}", self.node, self.heard().last());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it has heard this event.
    pub async fn hears(&self, event: &Heard) {
        self.until(&format!("{event:?}"), |heard| heard.iter().any(|(_, news)| news == event)).await;
    }

    /// How often it has heard this event.
    pub fn times(&self, event: &Heard) -> usize {
        self.heard.lock().iter().filter(|(_, news)| news == event).count()
    }

    fn is_alive(&self) -> bool {
        !matches!(self.heard.lock().last(), Some((_, Heard::End(_))))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Talkers and listeners at work.
pub struct Load {
    ledger: Arc<Ledger>,
    orders: watch::Sender<Order>,
    /// The node of each talker.
    talkers: Vec<usize>,
    pub conversations: Vec<String>,
    pub listeners: Vec<Listener>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Has `listener0` and so on join at all nodes, and `talker0` and so on at these ones. They talk when everybody has
    /// heard a talk of each of them.
    pub async fn start(addrs: &[SocketAddr], talkers: &[usize], conversations: &[&str]) -> Self {
        let ledger = Arc::<Ledger>::default();
        let mut listeners = Vec::new();
        for (node, addr) in addrs.iter().enumerate() {
            let kind = KINDS[node % KINDS.len()];
            let client = join_at(*addr, kind, &format!("listener{node}"), conversations).await;
            listeners.push(Listener::start(node, client));
        }
        let ids: Vec<_> = conversations.iter().map(|id| (*id).to_owned()).collect();
        let (orders, order) = watch::channel(Order::Say(ids.len()));
        let mut tasks = Vec::new();
        for (talker, node) in talkers.iter().enumerate() {
            let client = join_at(addrs[*node], Kind::WebSocket, &format!("talker{talker}"), conversations).await;
            tasks.push(tokio::spawn(talk(client, talker, ids.clone(), ledger.clone(), order.clone())));
        }
        let load = Self { ledger, orders, talkers: talkers.to_vec(), conversations: ids, listeners, tasks };
        let begun = Instant::now();
        while load.said().len() < talkers.len() * conversations.len() {
            assert!(begun.elapsed() < DEADLINE, "nobody talks");
            tokio::time::sleep(LOOK).await;
        }
        load.are_heard().await;
        load.go_on();
        load
    }

    /// The names of all users, for MAX.
    pub fn users(nodes: usize, talkers: usize) -> Vec<String> {
        let listeners = (0..nodes).map(|node| format!("listener{node}"));
        listeners.chain((0..talkers).map(|talker| format!("talker{talker}"))).collect()
    }

    /// Everything that was said so far.
    pub fn said(&self) -> Vec<Said> {
        self.ledger.said.lock().clone()
    }

    /// Waits until so many more talks were said.
    pub async fn goes_on_for(&self, talks: usize) {
        let (begun, before) = (Instant::now(), self.ledger.said.lock().len());
        while self.ledger.said.lock().len() < before + talks {
            assert!(begun.elapsed() < DEADLINE, "the talkers do not talk");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Has each talker talk all the time.
    pub fn go_on(&self) {
        self.orders.send_replace(Order::Talk);
    }

    /// Has each talker say so many talks at once, and then wait.
    pub async fn say_at_once(&self, talks: usize) {
        self.orders.send_replace(Order::Say(talks));
        let living = self.talkers.len() - self.ledger.ended.lock().len();
        self.goes_on_for(talks * living).await;
    }

    /// The times from a talk to when a listener has heard it, of the talks of one talker in this time, in order.
    pub fn latencies(&self, listener: &Listener, talker: usize, from: Instant, to: Instant) -> Vec<Duration> {
        let heard = listener.heard();
        let said = self.said().into_iter().filter(|talk| talk.talker == talker && (from..to).contains(&talk.at));
        let latency = |talk: Said| {
            let id = format!("{:?}", message_id(talk.talker, talk.number));
            let is_it = |(_, news): &&(Instant, Heard)| matches!(news, Heard::Event(_, text) if text.contains(&id));
            heard.iter().find(is_it).map(|(at, _)| at.saturating_duration_since(talk.at))
        };
        let mut all: Vec<_> = said.filter_map(latency).collect();
        all.sort_unstable();
        all
    }

    /// The account of one listener now.
    pub fn account_of(&self, listener: &Listener) -> Account {
        let is_local = |talker: &usize| self.talkers[*talker] == listener.node;
        let local: Vec<_> = (0..self.talkers.len()).filter(is_local).collect();
        // In this order, so that each talk that was heard is known.
        let heard = listener.heard();
        account(&self.said(), &heard, &local)
    }

    /// Ends the talks, waits until each listener has heard the last one of each talker in each conversation and its
    /// account is clean, and returns the accounts of all listeners whose sessions live.
    ///
    /// # Panics
    /// An account does not become clean.
    pub async fn finish(self, what: &str) -> Vec<Account> {
        let begun = Instant::now();
        loop {
            self.say_at_once(self.conversations.len()).await;
            let mut looks = 0;
            while looks < LOOKS_MAX && !self.have_all_heard_the_last() {
                tokio::time::sleep(LOOK).await;
                looks += 1;
            }
            if self.have_all_heard_the_last() {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "{what}: the nodes do not hear one another any more");
        }
        loop {
            let living = self.listeners.iter().filter(|listener| listener.is_alive());
            let all: Vec<_> = living.map(|listener| self.account_of(listener)).collect();
            let sum = Account::sum(&all);
            if sum.is_clean() {
                println!("{what}: {sum}");
                self.orders.send_replace(Order::End);
                return all;
            }
            assert!(begun.elapsed() < DEADLINE, "{what}: {sum}\n{sum:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn are_heard(&self) {
        let begun = Instant::now();
        while !self.have_all_heard_the_last() {
            assert!(begun.elapsed() < DEADLINE, "not everybody hears everybody");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether each listener has heard the last talk of each talker in each conversation. Those whose sessions have
    /// ended do not count.
    fn have_all_heard_the_last(&self) -> bool {
        let (said, ended) = (self.said(), self.ledger.ended.lock().clone());
        let mut last = BTreeMap::new();
        for talk in said.iter().filter(|talk| !ended.contains(&talk.talker)) {
            last.insert((talk.talker, &talk.conversation), talk.number);
        }
        let is_heard = |listener: &Listener| {
            let heard = listener.heard.lock();
            last.iter().all(|((talker, conversation), number)| {
                heard.iter().rev().any(|(_, news)| match news {
                    Heard::Event(name, argument) if name == "update" => {
                        argument.contains(&format!("{conversation:?}"))
                            && argument.contains(&format!("{:?}", message_id(*talker, *number)))
                    }
                    _ => false,
                })
            })
        };
        self.listeners.iter().filter(|listener| listener.is_alive()).all(is_heard)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn talk(
    mut client: Client,
    talker: usize,
    conversations: Vec<String>,
    ledger: Arc<Ledger>,
    mut orders: watch::Receiver<Order>,
) {
    let mut number = 0;
    loop {
        let order = *orders.borrow_and_update();
        let talks = match order {
            Order::Talk => 1,
            Order::Say(talks) => talks,
            Order::End => return,
        };
        if client.has_ended() {
            ledger.ended.lock().insert(talker);
            return;
        }
        let mut packets = Vec::new();
        for _ in 0..talks {
            number += 1;
            let conversation = conversations[number as usize % conversations.len()].clone();
            packets.push(client.kind.event("talk", &talk_of(&conversation, &message_id(talker, number)), None));
            ledger.said.lock().push(Said { talker, conversation, number, at: Instant::now() });
        }
        client.send_all(&packets.iter().map(String::as_str).collect::<Vec<_>>()).await;
        match order {
            Order::Talk => tokio::time::sleep(PERIOD).await,
            _ => drop(orders.changed().await),
        }
    }
}
