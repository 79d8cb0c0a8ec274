//! A conversation among the nodes of a cluster. [`Peers`] decides; this file gives it the users on this node and the
//! time, and carries out its effects.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, SpawnHandle};
use tokio::sync::oneshot;

use super::fan_out::{Except, FanOut};
use super::{ConversationActor, ConversationMessage, ConversationSettings, People};
use crate::actors::announcement::Relay;
use crate::actors::members::{self, Members};
use crate::actors::pending_entries::PendingEntry;
use crate::cluster::door::{Closed, Door, FromBus};
use crate::cluster::message::Message;
use crate::cluster::peers::{Cause, Change, Effects, Here, Local, Peers, Rules, Update};
use crate::cluster::port::Port;
use crate::cluster::queue::Overflow;
use crate::delivery::fold::{Loss, News, Outage};
use crate::delivery::outbox::Outbox;
use crate::event::{ConversationId, ServerEvent, Talk, Username};
use crate::mailbox::{Handling, SendError, WeakMailbox};
use crate::metrics::{BusGap, BusGapLabel, DeliveryPath};

/// The cluster, as the conversations of a server see it.
#[derive(Debug)]
pub struct ClusterSettings {
    /// The way to the other nodes.
    pub port: Arc<dyn Port>,
    /// The rules of the peers of each conversation.
    pub rules: Rules,
    /// Longest wait of a join for the channels of its conversations.
    pub attach_timeout: Duration,
}

/// The part of a conversation that it has in a cluster only.
#[derive(Debug)]
pub(super) struct Clustered {
    peers: Peers,
    stage: Stage,
    /// Entries that count as handled when the conversation is subscribed.
    entries: Vec<PendingEntry>,
    /// Asks that are answered when the peers have told who is there. A session has one ask under way.
    asks: Vec<oneshot::Sender<People>>,
    /// Users whose last session here has left since this node said that it ends. They count until it has ended.
    departed: BTreeSet<Username>,
    /// The outage that goes on.
    outage: Option<Outage>,
    timer: Option<(Instant, SpawnHandle)>,
}

/// How far a conversation is with its subscription.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It waits for the subscription, at most until then.
    Attaching(Instant),
    /// It waits until then for what the peers know.
    Settling(Instant),
    /// Nothing waits: it is settled, or the bus is away.
    Ready,
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Attaching(until) | Self::Settling(until) => Some(until),
            Self::Ready => None,
        }
    }
}

impl Clustered {
    /// Begins a life of a conversation. The number of the life is higher than those before.
    pub(super) fn new(id: &ConversationId, life: u64, settings: &ClusterSettings) -> Self {
        // Nobody waits for a bus that is away.
        let stage = match settings.port.is_up(id) {
            true => Stage::Attaching(Instant::now() + settings.attach_timeout),
            false => Stage::Ready,
        };
        let (entries, asks) = (Vec::new(), Vec::new());
        let departed = BTreeSet::new();
        Self { peers: Peers::new(life), stage, entries, asks, departed, outage: None, timer: None }
    }

    /// Takes an entry that has been handled.
    fn entered(&mut self, entry: PendingEntry) {
        match self.stage {
            Stage::Attaching(_) => self.entries.push(entry),
            Stage::Settling(_) | Stage::Ready => {
                self.peers.listens_unsubscribed();
                entry.handled();
            }
        }
    }

    fn release_entries(&mut self) {
        self.entries.drain(..).for_each(PendingEntry::handled);
    }
}

/// The users on this node: those with sessions, and those who have departed while it ends.
struct Users<'a> {
    members: &'a Members<Arc<Outbox>>,
    departed: &'a BTreeSet<Username>,
}

impl Here for Users<'_> {
    fn find(&self, username: &Username) -> Option<&Username> {
        self.members.user(username).or_else(|| self.departed.get(username))
    }

    fn users(&self) -> impl Iterator<Item = &Username> {
        self.members.users().chain(self.departed)
    }

    fn count(&self) -> usize {
        self.members.users().len() + self.departed.len()
    }
}

impl ConversationActor {
    /// Calls the state machine of the peers. `None` if this process is alone.
    fn with_peers<T>(&mut self, call: impl FnOnce(&mut Peers, &Local<'_, Users<'_>>) -> T) -> Option<T> {
        let (clustered, settings) = (self.clustered.as_mut()?, self.settings.cluster.as_ref()?);
        let local = Local {
            here: &Users { members: &self.members, departed: &clustered.departed },
            rules: &settings.rules,
            presence_members_max: self.settings.presence_members_max.get(),
            bus_up: settings.port.is_up(&self.id),
            now: Instant::now(),
        };
        Some(call(&mut clustered.peers, &local))
    }

    /// Tells all members of a user who came or went on this node, and the other nodes.
    pub(super) fn tell_peers_of(
        &mut self,
        change: &members::Change,
        except: Except,
        handling: Handling,
        ctx: &mut Context<Self>,
    ) {
        if self.departs(change) {
            return;
        }
        let effects = self.with_peers(|peers, local| match change {
            members::Change::Joined(username) => peers.came(username, local),
            members::Change::Left(username) => peers.went(username, local),
            members::Change::None => Effects::default(),
        });
        if let Some(effects) = effects {
            self.carry_out(effects, DeliveryPath::Local, except, Some(handling), ctx);
        }
    }

    /// Tells the other nodes of a user who has come here from one of them, and the members nothing.
    pub(super) fn tell_peers_of_return(
        &mut self,
        change: &members::Change,
        handling: Handling,
        ctx: &mut Context<Self>,
    ) {
        let members::Change::Joined(username) = change else { return };
        if let Some(effects) = self.with_peers(|peers, local| peers.returned(username, local)) {
            self.carry_out(effects, DeliveryPath::Local, Except::Nobody, Some(handling), ctx);
        }
    }

    /// Ends the handling of an entry: its join may go on, or waits for the subscription.
    pub(super) fn entered(&mut self, entry: PendingEntry, outbox: &Outbox, ctx: &mut Context<Self>) {
        let Some(clustered) = &mut self.clustered else { return entry.handled() };
        clustered.entered(entry);
        if let Some(outage) = clustered.outage {
            let (mut broadcast, _) = self.outage_event(outage);
            outbox.push_news(outbox.frame_of(&mut broadcast), &self.news_of(Loss::Outage(outage)));
        }
        self.set_timer(ctx);
    }

    /// Tells the other nodes of a talk on this one.
    pub(super) fn tell_peers_of_talk(&mut self, username: &Username, talk: &Talk) {
        if self.clustered.is_none() {
            // A talk is told even if its message was told before.
            self.is_new(talk);
            return;
        }
        let message = self.with_peers(|peers, local| peers.talk(username.clone(), talk.clone(), local));
        self.publish(message);
    }

    /// Tells the other nodes of an announcement on this one. If that is required and fails, the message counts as not
    /// told, so that it can be announced again.
    pub(super) fn relay(&mut self, update: &Update, is_required: bool) -> Relay {
        let Some(message) = self.with_peers(|peers, local| peers.announce(update.clone(), local)) else {
            return if self.is_new(&update.talk) { Relay::Alone } else { Relay::ToldAlready };
        };
        let (Some(message), Some(settings)) = (message, &self.settings.cluster) else { return Relay::ToldAlready };
        match settings.port.publish_counted(&self.id, &message) {
            Ok(heard) => Relay::Queued(heard),
            Err(Overflow) => {
                if is_required {
                    let _ = self.with_peers(|peers, _| peers.forget(&update.talk));
                }
                Relay::Full
            }
        }
    }

    /// Notes news that all nodes get by themselves. Returns whether the members have to be told; `None` if this process
    /// is alone.
    pub(super) fn is_new_in_cluster(&mut self, talk: &Talk) -> Option<bool> {
        self.with_peers(|peers, local| peers.is_new(talk, local.now))
    }

    /// Takes a user who leaves while this node ends, and may come back elsewhere. Returns whether nobody is told.
    fn departs(&mut self, change: &members::Change) -> bool {
        let is_leaving = self.is_leaving();
        let Some(clustered) = &mut self.clustered else { return false };
        match change {
            members::Change::Left(username) if is_leaving => clustered.departed.insert(username.clone()),
            members::Change::Joined(username) => clustered.departed.remove(username),
            members::Change::Left(_) | members::Change::None => false,
        }
    }

    fn is_leaving(&self) -> bool {
        self.settings.cluster.as_ref().is_some_and(|cluster| cluster.port.is_leaving())
    }

    fn publish(&self, messages: impl IntoIterator<Item = Message>) {
        let Some(settings) = &self.settings.cluster else { return };
        for message in messages {
            // The door hears of a message that does not fit when there is room again.
            let _ = settings.port.publish(&self.id, &message);
        }
    }

    /// Takes news of the bus.
    pub(super) fn hear_bus(&mut self, news: FromBus, handling: Handling, ctx: &mut Context<Self>) {
        if let FromBus::Outage { number, ongoing } = news {
            return self.tell_outage(Outage { number, over: !ongoing }, handling, ctx);
        }
        if let (FromBus::Lost, Some(settings)) = (&news, &self.settings.cluster) {
            settings.port.loss_is_handled(&self.id, self.tenure.life());
        }
        let is_attached = matches!(news, FromBus::Attached { .. });
        let Some(effects) = self.with_peers(|peers, local| peers.handle(news, local)) else { return };
        if is_attached {
            self.attached();
        }
        self.carry_out(effects, DeliveryPath::Bus, Except::Nobody, Some(handling), ctx);
    }

    fn attached(&mut self) {
        let (Some(clustered), Some(settings)) = (&mut self.clustered, &self.settings.cluster) else { return };
        clustered.release_entries();
        if let Some(until) = clustered.peers.settles_at(&settings.rules)
            && !matches!(clustered.stage, Stage::Settling(_))
        {
            clustered.stage = Stage::Settling(until);
        }
    }

    /// Answers an ask, or has it wait for what the peers know.
    pub(super) fn answer(&mut self, reply: oneshot::Sender<People>) {
        match &mut self.clustered {
            Some(clustered) if clustered.stage.deadline().is_some() => clustered.asks.push(reply),
            _ => drop(reply.send(self.people())),
        }
    }

    /// Returns the users on all nodes. `None` if this process is alone.
    pub(super) fn people_of_cluster(&mut self) -> Option<People> {
        let people = self.with_peers(|peers, local| peers.people(local))?;
        Some(People { inroom: people.inroom, people: people.names, partial: people.partial })
    }

    /// Tells the members of the beginning or the end of an outage.
    fn tell_outage(&mut self, outage: Outage, handling: Handling, ctx: &mut Context<Self>) {
        if let Some(clustered) = &mut self.clustered {
            if outage.over {
                // The end of an earlier outage may come late.
                clustered.outage.take_if(|present| outage.number >= present.number);
            } else {
                clustered.outage = Some(outage);
            }
        }
        let (broadcast, label) = self.outage_event(outage);
        let fan_out = FanOut::new(broadcast, label, self.news_of(Loss::Outage(outage)), Except::Nobody);
        self.broadcast(fan_out, handling, ctx);
    }

    fn outage_event(&self, outage: Outage) -> (super::Broadcast, super::EventLabel) {
        let event = ServerEvent::Missed { conversations: None, ongoing: !outage.over };
        self.encoder(&event, DeliveryPath::Bus)
    }

    fn news_of(&self, loss: Loss) -> News {
        News::Loss { namespace: self.settings.namespace.clone(), loss }
    }

    /// Carries out what the state machine has decided. `except` does not hear of changes.
    fn carry_out(
        &mut self,
        effects: Effects,
        path: DeliveryPath,
        except: Except,
        handling: Option<Handling>,
        ctx: &mut Context<Self>,
    ) {
        let Effects { changes, update, missed, sends } = effects;
        if let Some(cause) = missed {
            self.settings.metrics.bus_gaps.get_or_create(&BusGapLabel { cause: gap_of(cause) }).inc();
        }
        let mut fan_outs = VecDeque::new();
        if !self.members.is_empty() {
            for change in &changes {
                let event = match change {
                    Change::Joined(username) => ServerEvent::Joined { conversation: &self.id, username },
                    Change::Left(username) => ServerEvent::Left { conversation: &self.id, username },
                };
                let (broadcast, label) = self.encoder(&event, path);
                fan_outs.push_back(FanOut::new(broadcast, label, self.presence.clone(), except.clone()));
            }
            fan_outs.extend(update.map(|update| self.update_of_peer(update, handling.as_ref())));
            if missed.is_some() {
                let event = ServerEvent::Missed { conversations: Some(vec![&self.id]), ongoing: false };
                let (broadcast, label) = self.encoder(&event, path);
                let news = self.news_of(Loss::Conversation(self.id.clone()));
                fan_outs.push_back(FanOut::new(broadcast, label, news, Except::Nobody));
            }
        }
        self.publish(sends);
        self.broadcast_all(fan_outs, handling, ctx);
        self.set_timer(ctx);
    }

    fn update_of_peer(&self, update: Update, handling: Option<&Handling>) -> FanOut {
        let Update { username, talk, except, except_self } = update;
        let except = Except::of(except, except_self.then(|| username.clone()));
        let mut fan_out = self.fan_out_of_update(username, talk, except, DeliveryPath::Bus);
        if let Some(handling) = handling {
            fan_out.measure(self.members.sessions(), self.entry.talks(), handling.sent());
        }
        fan_out
    }

    /// Sets the one timer of the cluster's part to the next deadline.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(clustered) = &mut self.clustered else { return };
        let deadline = [clustered.peers.next_deadline(), clustered.stage.deadline()].into_iter().flatten().min();
        if clustered.timer.map(|(at, _)| at) == deadline {
            return;
        }
        if let Some((_, timer)) = clustered.timer.take() {
            ctx.cancel_future(timer);
        }
        clustered.timer = deadline.map(|at| {
            let wait = at.saturating_duration_since(Instant::now());
            (at, ctx.run_later(wait, Self::handle_deadline))
        });
    }

    fn handle_deadline(&mut self, ctx: &mut Context<Self>) {
        let Some(clustered) = &mut self.clustered else { return };
        // actix runs a timer even if it was cancelled earlier in the very poll in which it is due.
        let Some((at, _)) = clustered.timer.take_if(|(at, _)| *at <= Instant::now()) else { return };
        if clustered.stage.deadline().is_some_and(|until| until <= at) {
            if matches!(clustered.stage, Stage::Attaching(_)) && !clustered.entries.is_empty() {
                clustered.peers.listens_unsubscribed();
            }
            clustered.stage = Stage::Ready;
            clustered.release_entries();
            let asks = std::mem::take(&mut clustered.asks);
            for ask in asks {
                let _ = ask.send(self.people());
            }
        }
        if let Some(effects) = self.with_peers(|peers, local| peers.handle_deadline(local)) {
            self.carry_out(effects, DeliveryPath::Bus, Except::Nobody, None, ctx);
        }
    }

    /// Tells the other nodes that the conversation ends here.
    pub(super) fn leave_cluster(&mut self) {
        if !self.is_leaving() {
            let message = self.with_peers(|peers, local| peers.end(local)).flatten();
            self.publish(message);
        }
        if let Some(settings) = &self.settings.cluster {
            settings.port.detach(&self.id, self.tenure.life());
        }
    }
}

/// Returns the label of a cause for which updates may be missed.
fn gap_of(cause: Cause) -> BusGap {
    match cause {
        Cause::Hole => BusGap::Hole,
        Cause::Subscription => BusGap::Resubscribed,
        Cause::Mailbox => BusGap::Mailbox,
        Cause::Silence => BusGap::Silent,
        Cause::NoAnswer => BusGap::NoAnswer,
    }
}

/// Opens the door of a conversation to the bus.
pub fn attach(settings: &ConversationSettings, id: &ConversationId, life: u64, door: WeakMailbox<ConversationActor>) {
    if let Some(cluster) = &settings.cluster {
        cluster.port.attach(id, life, Arc::new(door));
    }
}

impl Door for WeakMailbox<ConversationActor> {
    fn offer(&self, news: FromBus) -> Result<(), Closed> {
        let door = self.upgrade().ok_or(Closed::Gone)?;
        door.try_send(ConversationMessage::Bus(Box::new(news))).map_err(|error| match error {
            SendError::Full => Closed::Full,
            SendError::Closed => Closed::Gone,
        })
    }

    fn give(&self, news: FromBus) {
        if let Some(door) = self.upgrade() {
            door.send_always(ConversationMessage::Bus(Box::new(news)));
        }
    }
}
