//! The channels that conversations want on one server, and how far their subscriptions are. Pure: `D` is the door of a
//! conversation.
//!
//! At most one command about a channel is under way. If it is not wanted any more when it is confirmed, or wanted again
//! when it is given up, then the next command follows.

use std::collections::{HashMap, VecDeque};

use crate::event::ConversationId;

/// The state of a channel on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscription {
    /// Not subscribed.
    Off,
    /// Asked for.
    Opening,
    /// Confirmed.
    On,
    /// Given up, and not yet confirmed.
    Closing,
}

/// The command about channels that has to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Subscribe these.
    Subscribe(Vec<ConversationId>),
    /// Unsubscribe these.
    Unsubscribe(Vec<ConversationId>),
}

/// A conversation that is to be told that it is subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed<D> {
    /// Its door.
    pub door: D,
    /// Its life.
    pub life: u64,
    /// Whether it was subscribed before in this life, or was to be.
    pub again: bool,
    /// Whether the end of an outage is told when all are subscribed, also to this one.
    pub covered: bool,
}

/// A conversation on its way from one server to another.
#[derive(Debug)]
pub struct Parcel<D> {
    /// The conversation.
    pub id: ConversationId,
    wanted: Wanted<D>,
}

#[derive(Debug)]
struct Wanted<D> {
    life: u64,
    door: D,
    again: bool,
    /// Whether the conversation was given `Lost`, and has neither handled it nor taken anything since.
    knows_loss: bool,
}

#[derive(Debug)]
struct Entry<D> {
    wanted: Option<Wanted<D>>,
    subscription: Subscription,
    is_queued: bool,
    /// Whether the server is not back in full before this channel is subscribed.
    is_awaited: bool,
}

/// The channels of one server.
#[derive(Debug)]
pub struct Attached<D> {
    entries: HashMap<ConversationId, Entry<D>>,
    /// The channels about which a command may have to be sent.
    changes: VecDeque<ConversationId>,
    wanted: usize,
    subscribed: usize,
    unconfirmed: usize,
    awaited: usize,
    /// Whether the end of an outage is told when all are subscribed.
    covers: bool,
}

impl<D: Clone> Attached<D> {
    /// Creates the state without any channel.
    pub fn new() -> Self {
        Self {
            entries: HashMap::new(),
            changes: VecDeque::new(),
            wanted: 0,
            subscribed: 0,
            unconfirmed: 0,
            awaited: 0,
            covers: false,
        }
    }

    /// Wants the channel of a conversation. Returns the conversation if it is subscribed already.
    pub fn attach(&mut self, id: &ConversationId, life: u64, door: D) -> Option<Confirmed<D>> {
        let entry = self.entries.entry(id.clone()).or_insert_with(Entry::new);
        match &entry.wanted {
            Some(present) if present.life >= life => return None,
            Some(_) => {}
            None => self.wanted += 1,
        }
        entry.wanted = Some(Wanted { life, door: door.clone(), again: false, knows_loss: false });
        let subscription = entry.subscription;
        self.note_change(id);
        // Nothing has passed it by: it is told of its subscription before anybody listens.
        (subscription == Subscription::On).then_some(Confirmed { door, life, again: false, covered: false })
    }

    /// Gives the channel of a conversation up, unless another life has it.
    pub fn detach(&mut self, id: &ConversationId, life: u64) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.wanted.as_ref().is_none_or(|wanted| wanted.life != life) {
            return;
        }
        entry.wanted = None;
        self.wanted -= 1;
        self.settle(id);
        self.note_change(id);
    }

    /// Returns the door and life of a conversation.
    pub fn door(&self, id: &ConversationId) -> Option<(D, u64)> {
        self.entries.get(id)?.wanted.as_ref().map(|wanted| (wanted.door.clone(), wanted.life))
    }

    /// Notes that the door of a conversation took no message, or took one. Returns whether it has to be given `Lost`:
    /// it took none, and the last `Lost` was followed by a message that it took.
    pub fn note_offer(&mut self, id: &ConversationId, life: u64, was_taken: bool) -> bool {
        let wanted = self.entries.get_mut(id).and_then(|entry| entry.wanted.as_mut());
        match wanted {
            Some(wanted) if wanted.life == life => !std::mem::replace(&mut wanted.knows_loss, !was_taken) && !was_taken,
            _ => false,
        }
    }

    /// Notes that a conversation has handled the `Lost` that it was given.
    pub fn loss_is_handled(&mut self, id: &ConversationId, life: u64) {
        let wanted = self.entries.get_mut(id).and_then(|entry| entry.wanted.as_mut());
        if let Some(wanted) = wanted.filter(|wanted| wanted.life == life) {
            wanted.knows_loss = false;
        }
    }

    /// Whether the channel of a conversation is subscribed and confirmed.
    pub fn is_on(&self, id: &ConversationId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.subscription == Subscription::On)
    }

    /// Begins anew, because the connection is a new one: all wanted channels have to be subscribed, in the order that
    /// `order` brings them into. `covers`: the end of an outage is told when they are.
    pub fn connected(&mut self, covers: bool, order: impl FnOnce(&mut [ConversationId])) {
        self.disconnected();
        self.covers = covers;
        self.changes.clear();
        let mut ids: Vec<_> = self.entries.keys().cloned().collect();
        order(&mut ids);
        for entry in self.entries.values_mut() {
            (entry.is_queued, entry.is_awaited) = (true, true);
        }
        self.awaited = ids.len();
        self.changes = ids.into();
    }

    /// Forgets the subscriptions, because the connection is lost.
    pub fn disconnected(&mut self) {
        self.entries.retain(|_, entry| {
            if let Some(wanted) = &mut entry.wanted {
                wanted.again |= entry.subscription == Subscription::On;
            }
            entry.subscription = Subscription::Off;
            entry.is_awaited = false;
            entry.wanted.is_some()
        });
        (self.subscribed, self.unconfirmed, self.awaited) = (0, 0, 0);
    }

    /// Takes out the next command: at most `batch` channels, and no more than leave at most `window` unconfirmed.
    pub fn take(&mut self, batch: usize, window: usize) -> Option<Command> {
        let room = batch.min(window.saturating_sub(self.unconfirmed));
        let (mut ids, mut opens) = (Vec::new(), None);
        while ids.len() < room {
            let Some(id) = self.changes.front() else { break };
            let change = self.entries.get(id).and_then(Entry::change);
            if change.is_some() && opens.is_some() && change != opens {
                break;
            }
            let Some(id) = self.changes.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.is_queued = false;
            match change {
                Some(true) => entry.subscription = Subscription::Opening,
                Some(false) => {
                    entry.subscription = Subscription::Closing;
                    self.subscribed -= 1;
                }
                None => {
                    self.forget_if_idle(&id);
                    continue;
                }
            }
            opens = change;
            self.unconfirmed += 1;
            ids.push(id);
        }
        match opens {
            Some(true) => Some(Command::Subscribe(ids)),
            Some(false) => Some(Command::Unsubscribe(ids)),
            None => None,
        }
    }

    /// Notes that a channel is subscribed. Returns the conversation that is to be told.
    pub fn confirmed(&mut self, id: &ConversationId) -> Option<Confirmed<D>> {
        let entry = self.entries.get_mut(id)?;
        if entry.subscription != Subscription::Opening {
            return None;
        }
        entry.subscription = Subscription::On;
        self.unconfirmed -= 1;
        self.subscribed += 1;
        let covered = self.covers;
        let told = entry.wanted.as_ref().map(|Wanted { door, life, again, .. }| Confirmed {
            door: door.clone(),
            life: *life,
            again: *again,
            covered,
        });
        self.settle(id);
        self.note_change(id);
        told
    }

    /// Notes that a channel is not subscribed any more. Returns whether nobody asked for that: then it is wanted again.
    pub fn unsubscribed(&mut self, id: &ConversationId) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let was = std::mem::replace(&mut entry.subscription, Subscription::Off);
        match was {
            Subscription::Closing => self.unconfirmed -= 1,
            Subscription::On => self.subscribed -= 1,
            Subscription::Opening | Subscription::Off => entry.subscription = was,
        }
        let is_unasked = was == Subscription::On && entry.wanted.is_some();
        if let Some(wanted) = &mut entry.wanted {
            wanted.again |= is_unasked;
        }
        self.note_change(id);
        is_unasked
    }

    /// Notes that the server has refused a command.
    pub fn refused(&mut self, command: &Command) {
        let (Command::Subscribe(ids) | Command::Unsubscribe(ids)) = command;
        for id in ids {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            match entry.subscription {
                Subscription::Opening => {
                    entry.subscription = Subscription::Off;
                    if let Some(wanted) = &mut entry.wanted {
                        wanted.again = true;
                    }
                }
                Subscription::Closing => {
                    entry.subscription = Subscription::On;
                    self.subscribed += 1;
                }
                Subscription::On | Subscription::Off => continue,
            }
            self.unconfirmed -= 1;
            self.note_change(id);
        }
    }

    /// Notes that the server has answered a command about sharded channels, each of which has told by itself what has
    /// become of it. One that has not was refused: it is wanted again, or is not subscribed any more.
    pub fn answered(&mut self, command: &Command) {
        let (Command::Subscribe(ids) | Command::Unsubscribe(ids)) = command;
        for id in ids {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if matches!(entry.subscription, Subscription::Opening | Subscription::Closing) {
                entry.subscription = Subscription::Off;
                self.unconfirmed -= 1;
                self.note_change(id);
            }
        }
    }

    /// Takes out the conversations that belong to another server now. They have missed what came in between.
    pub fn take_out(&mut self, is_moved: impl Fn(&ConversationId) -> bool) -> Vec<Parcel<D>> {
        let moved: Vec<_> = self.entries.keys().filter(|id| is_moved(id)).cloned().collect();
        let mut parcels = Vec::new();
        for id in moved {
            self.settle(&id);
            let Some(entry) = self.entries.remove(&id) else { continue };
            match entry.subscription {
                Subscription::On => self.subscribed -= 1,
                Subscription::Opening | Subscription::Closing => self.unconfirmed -= 1,
                Subscription::Off => {}
            }
            if let Some(mut wanted) = entry.wanted {
                self.wanted -= 1;
                wanted.again |= entry.subscription == Subscription::On;
                parcels.push(Parcel { id, wanted });
            }
        }
        parcels
    }

    /// Wants the channel of a conversation that was another server's.
    pub fn put_in(&mut self, Parcel { id, wanted }: Parcel<D>) {
        let entry = self.entries.entry(id.clone()).or_insert_with(Entry::new);
        if entry.wanted.replace(wanted).is_none() {
            self.wanted += 1;
        }
        self.note_change(&id);
    }

    /// Whether all channels that were wanted when the connection was new are subscribed.
    pub fn is_complete(&self) -> bool {
        self.awaited == 0
    }

    /// Notes that the end of an outage is told to all conversations of now. It covers no later subscription.
    pub fn end_cover(&mut self) {
        self.covers = false;
    }

    /// All conversations that are wanted.
    pub fn ids(&self) -> Vec<ConversationId> {
        self.entries.iter().filter(|(_, entry)| entry.wanted.is_some()).map(|(id, _)| id.clone()).collect()
    }

    /// The channels that are wanted.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The channels that are subscribed.
    pub fn subscribed(&self) -> usize {
        self.subscribed
    }

    /// Notes that the server need not wait for this channel any more.
    fn settle(&mut self, id: &ConversationId) {
        if let Some(entry) = self.entries.get_mut(id)
            && std::mem::take(&mut entry.is_awaited)
        {
            self.awaited -= 1;
        }
    }

    fn note_change(&mut self, id: &ConversationId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.change().is_some() && !std::mem::replace(&mut entry.is_queued, true) {
            self.changes.push_back(id.clone());
        }
        self.forget_if_idle(id);
    }

    fn forget_if_idle(&mut self, id: &ConversationId) {
        let is_idle =
            |entry: &Entry<D>| entry.wanted.is_none() && entry.subscription == Subscription::Off && !entry.is_queued;
        if self.entries.get(id).is_some_and(is_idle) {
            self.settle(id);
            self.entries.remove(id);
        }
    }
}

impl<D> Entry<D> {
    fn new() -> Self {
        Self { wanted: None, subscription: Subscription::Off, is_queued: false, is_awaited: false }
    }

    /// The command that the channel needs: whether to subscribe it. `None`: none now.
    fn change(&self) -> Option<bool> {
        match (self.subscription, &self.wanted) {
            (Subscription::Off, Some(_)) => Some(true),
            (Subscription::On, None) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> ConversationId {
        ConversationId::from(number.to_string().as_str())
    }

    fn told(life: u64, again: bool) -> Option<Confirmed<u64>> {
        Some(Confirmed { door: life, life, again, covered: false })
    }

    fn told_covered(life: u64, again: bool) -> Option<Confirmed<u64>> {
        Some(Confirmed { door: life, life, again, covered: true })
    }

    fn subscribe(ids: &[u8]) -> Option<Command> {
        Some(Command::Subscribe(ids.iter().copied().map(id).collect()))
    }

    fn unsubscribe(ids: &[u8]) -> Option<Command> {
        Some(Command::Unsubscribe(ids.iter().copied().map(id).collect()))
    }

    #[test]
    fn a_channel_is_subscribed_told_and_given_up() {
        let mut all = Attached::new();
        assert_eq!(all.attach(&id(1), 7, 7), None);
        assert_eq!(all.take(512, 2048), subscribe(&[1]));
        assert_eq!(all.take(512, 2048), None);
        assert_eq!(all.confirmed(&id(1)), told(7, false));
        assert_eq!(all.confirmed(&id(1)), None, "a second confirmation tells nothing");
        assert!(all.is_on(&id(1)));
        all.detach(&id(1), 6);
        assert_eq!(all.take(512, 2048), None, "another life has it");
        all.detach(&id(1), 7);
        assert_eq!(all.take(512, 2048), unsubscribe(&[1]));
        assert!(!all.unsubscribed(&id(1)));
        assert!(all.entries.is_empty());
        assert_eq!((all.wanted(), all.subscribed(), all.unconfirmed), (0, 0, 0));
    }

    #[test]
    fn a_later_life_takes_the_channel_over() {
        let mut all = Attached::new();
        all.attach(&id(1), 7, 7);
        all.take(512, 2048);
        assert_eq!(all.attach(&id(1), 8, 8), None, "not yet confirmed");
        assert_eq!(all.confirmed(&id(1)), told(8, false));
        assert_eq!(all.attach(&id(1), 7, 7), None, "a late life");
        assert_eq!(all.attach(&id(1), 9, 9), told(9, false), "subscribed already");
        all.detach(&id(1), 9);
        assert_eq!(all.attach(&id(1), 10, 10), told(10, false), "not yet given up");
        assert_eq!(all.take(512, 2048), None);
        all.detach(&id(1), 10);
        assert_eq!(all.take(512, 2048), unsubscribe(&[1]));
        assert_eq!(all.attach(&id(1), 11, 11), None);
        assert_eq!(all.take(512, 2048), None, "one command about a channel at a time");
        assert!(!all.unsubscribed(&id(1)));
        assert_eq!(all.take(512, 2048), subscribe(&[1]));
        all.detach(&id(1), 11);
        assert_eq!(all.confirmed(&id(1)), None);
        assert_eq!(all.take(512, 2048), unsubscribe(&[1]));
    }

    #[test]
    fn what_a_server_has_not_confirmed_when_it_answers_was_refused() {
        let mut all = Attached::new();
        for number in 1..=2 {
            all.attach(&id(number), 7, 7);
        }
        let command = all.take(512, 2048).unwrap();
        all.confirmed(&id(1));
        all.answered(&command);
        assert_eq!(all.take(512, 2048), subscribe(&[2]));
        assert_eq!(all.confirmed(&id(2)), told(7, false), "it was never told that it is subscribed");
        all.detach(&id(1), 7);
        let command = all.take(512, 2048).unwrap();
        assert_eq!(Some(&command), unsubscribe(&[1]).as_ref());
        all.answered(&command);
        assert_eq!(all.take(512, 2048), None);
        assert_eq!((all.wanted(), all.subscribed(), all.unconfirmed), (1, 1, 0));
    }

    #[test]
    fn a_conversation_goes_to_another_server_and_may_have_missed_something() {
        let (mut one, mut other) = (Attached::new(), Attached::new());
        one.connected(false, |_| ());
        for number in 0..5 {
            one.attach(&id(number), 7, 7);
        }
        assert_eq!(one.take(2, 2048), subscribe(&[0, 1]));
        one.confirmed(&id(0));
        one.detach(&id(4), 7);
        let mut parcels = one.take_out(|moved| *moved != id(3));
        parcels.sort_by_key(|parcel| parcel.id.clone());
        assert_eq!(parcels.iter().map(|parcel| parcel.id.clone()).collect::<Vec<_>>(), [id(0), id(1), id(2)]);
        assert_eq!((one.wanted(), one.subscribed(), one.unconfirmed), (1, 0, 0));
        assert!(!one.unsubscribed(&id(0)), "the server takes away what has moved");
        assert_eq!(one.confirmed(&id(1)), None);
        assert_eq!(one.take(512, 2048), subscribe(&[3]));
        assert_eq!(one.take(512, 2048), None);

        parcels.into_iter().for_each(|parcel| other.put_in(parcel));
        assert_eq!(other.wanted(), 3);
        assert_eq!(other.take(512, 2048), subscribe(&[0, 1, 2]));
        assert_eq!(other.confirmed(&id(0)), told(7, true));
        assert_eq!(other.confirmed(&id(1)), told(7, false));
        assert_eq!(other.door(&id(2)), Some((7, 7)));
    }

    #[test]
    fn commands_are_cut_into_batches_and_bounded_by_the_window() {
        let mut all = Attached::new();
        for number in 0..7 {
            assert_eq!(all.attach(&id(number), 1, 1), None);
        }
        assert_eq!(all.take(3, 5), subscribe(&[0, 1, 2]));
        assert_eq!(all.take(3, 5), subscribe(&[3, 4]));
        assert_eq!(all.take(3, 5), None);
        all.confirmed(&id(0));
        all.detach(&id(0), 1);
        assert_eq!(all.take(3, 5), subscribe(&[5]));
        all.confirmed(&id(1));
        all.confirmed(&id(2));
        assert_eq!(all.take(3, 5), subscribe(&[6]), "a command has one direction");
        assert_eq!(all.take(3, 5), unsubscribe(&[0]));
    }

    #[test]
    fn a_new_connection_subscribes_all_again() {
        let mut all = Attached::new();
        for number in 0..3 {
            assert_eq!(all.attach(&id(number), 1, 1), None);
        }
        all.take(2, 9);
        all.confirmed(&id(0));
        all.disconnected();
        all.attach(&id(3), 1, 1);
        all.detach(&id(2), 1);
        all.connected(false, |ids| ids.sort());
        assert!(!all.is_complete());
        assert_eq!(all.take(9, 9), subscribe(&[0, 1, 3]));
        assert_eq!(all.confirmed(&id(0)), told(1, true));
        assert_eq!(all.confirmed(&id(1)), told(1, false), "it was never confirmed before");
        all.attach(&id(4), 1, 1);
        assert!(!all.is_complete());
        all.detach(&id(3), 1);
        assert!(all.is_complete(), "nobody waits for the third, and the fourth came later");
    }

    #[test]
    fn the_end_of_an_outage_covers_what_is_confirmed_before_it() {
        let mut all = Attached::new();
        for number in 0..3 {
            all.attach(&id(number), 1, 1);
        }
        all.connected(false, |ids| ids.sort());
        all.take(2, 9);
        assert_eq!(all.confirmed(&id(0)), told(1, false), "of the first connection no end is told");
        all.connected(true, |ids| ids.sort());
        all.attach(&id(4), 1, 1);
        all.take(9, 9);
        assert_eq!(all.confirmed(&id(0)), told_covered(1, true));
        assert_eq!(all.confirmed(&id(1)), told_covered(1, false));
        assert_eq!(all.confirmed(&id(4)), told_covered(1, false), "it came later, and is told with the others");
        all.disconnected();
        all.connected(true, |ids| ids.sort());
        all.take(9, 9);
        for (number, again) in [(0, true), (1, true), (2, false), (4, true)] {
            assert_eq!(all.confirmed(&id(number)), told_covered(1, again), "{number}");
        }
        assert!(all.is_complete());
        all.end_cover();
        assert!(all.unsubscribed(&id(0)), "nobody asked for it");
        all.take(9, 9);
        assert_eq!(all.confirmed(&id(0)), told(1, true), "it alone was lost");
    }

    #[test]
    fn a_channel_that_was_taken_away_or_refused_is_wanted_again() {
        let mut all = Attached::new();
        all.attach(&id(1), 1, 1);
        let command = all.take(9, 9).unwrap();
        all.refused(&command);
        assert_eq!(all.take(9, 9), subscribe(&[1]));
        assert_eq!(all.confirmed(&id(1)), told(1, true));
        assert!(all.unsubscribed(&id(1)), "nobody asked for it");
        assert!(!all.unsubscribed(&id(1)));
        assert_eq!(all.take(9, 9), subscribe(&[1]));
        assert_eq!(all.confirmed(&id(1)), told(1, true));
        all.detach(&id(1), 1);
        let command = all.take(9, 9).unwrap();
        all.refused(&command);
        assert_eq!(all.take(9, 9), unsubscribe(&[1]));
    }

    #[test]
    fn a_loss_is_told_once_until_a_message_was_taken() {
        let mut all = Attached::new();
        all.attach(&id(1), 1, 1);
        assert!(!all.note_offer(&id(1), 1, true));
        assert!(all.note_offer(&id(1), 1, false));
        assert!(!all.note_offer(&id(1), 1, false));
        assert!(!all.note_offer(&id(1), 1, true));
        assert!(all.note_offer(&id(1), 1, false));
        assert!(!all.note_offer(&id(1), 2, false), "another life");
        assert!(!all.note_offer(&id(2), 1, false), "nobody");
    }

    proptest! {
        /// Whatever happens, in the end the server has the wanted channels and no others, each life was told, and after
        /// a time without its channel it was told again.
        #[test]
        fn the_server_ends_with_the_wanted_channels(steps in prop::collection::vec((0u8..7, 0u8..4), 1..300)) {
            let (mut all, mut life) = (Attached::new(), 0);
            let mut wanted: BTreeMap<u8, u64> = BTreeMap::new();
            // The server, and the commands that are under way to it.
            let (mut server, mut sent): (HashSet<ConversationId>, VecDeque<Command>) = Default::default();
            // The lives that know that they are subscribed since the last break.
            let mut knowing: HashSet<u64> = HashSet::new();
            let answer = |all: &mut Attached<u64>, server: &mut HashSet<ConversationId>, command: Command| {
                let mut knows = Vec::new();
                match command {
                    Command::Subscribe(ids) => for id in ids {
                        server.insert(id.clone());
                        knows.extend(all.confirmed(&id).map(|told| told.life));
                    },
                    Command::Unsubscribe(ids) => for id in ids {
                        server.remove(&id);
                        assert!(!all.unsubscribed(&id));
                    },
                }
                knows
            };
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        life += 1;
                        wanted.insert(number, life);
                        knowing.extend(all.attach(&id(number), life, life).map(|told| told.life));
                    }
                    2 => if let Some(life) = wanted.remove(&number) { all.detach(&id(number), life) },
                    3 => sent.extend(all.take(2, 3)),
                    4 => if let Some(command) = sent.pop_front() {
                        knowing.extend(answer(&mut all, &mut server, command));
                    },
                    5 => if server.remove(&id(number)) && all.unsubscribed(&id(number)) {
                        knowing.remove(&wanted[&number]);
                    },
                    _ => {
                        server.clear();
                        sent.clear();
                        knowing.clear();
                        all.connected(false, |_| {});
                    }
                }
                prop_assert!(all.unconfirmed <= 3);
                prop_assert_eq!(all.wanted(), wanted.len());
            }
            while let Some(command) = sent.pop_front().or_else(|| all.take(2, 3)) {
                knowing.extend(answer(&mut all, &mut server, command));
            }
            let expected: HashSet<_> = wanted.keys().copied().map(id).collect();
            prop_assert_eq!(&server, &expected);
            prop_assert!(wanted.values().all(|life| knowing.contains(life)));
            prop_assert!(all.is_complete() && all.unconfirmed == 0);
            prop_assert_eq!(all.entries.len(), expected.len());
            prop_assert_eq!(all.subscribed(), expected.len());
        }
    }
}
