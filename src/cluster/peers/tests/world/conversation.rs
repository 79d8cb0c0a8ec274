//! The conversation on each node: its members, and its calls to the peers.

use super::*;

impl World {
    /// Makes a call to the peers of a node, and carries out the effects.
    pub(super) fn drive(
        &mut self,
        at: usize,
        skip: Option<u64>,
        call: impl FnOnce(&mut Peers, &Local<'_, BTreeMap<Username, usize>>) -> Effects,
    ) {
        let redis = self.redis;
        let node = &mut self.nodes[at];
        let Some(peers) = &mut node.peers else { return };
        let bus_up = redis && node.publishes && node.listens;
        let presence_members_max = self.presence_members_max;
        let local = Local { here: &node.here, rules: &node.rules, presence_members_max, bus_up, now: self.now };
        let effects = call(peers, &local);
        if effects.changes.iter().any(|change| {
            let (Change::Joined(user) | Change::Left(user)) = change;
            let is_same = |other: &&Change| matches!(other, Change::Joined(same) | Change::Left(same) if same == user);
            effects.changes.iter().filter(is_same).count() > 1
        }) {
            self.faults.push(format!("P2: node {at} tells {:?} at once", effects.changes));
        }
        let names = effects
            .sends
            .iter()
            .any(|message| matches!(message.content, Content::Presence(Presence::Come { .. } | Presence::Go { .. })));
        if names && local.exceeds(peers.total(&local)) {
            self.faults.push(format!("node {at} sends {:?} above the limit", effects.sends));
        }
        let is_told = |sid: &u64| Some(*sid) != skip;
        for (sid, session) in node.sessions.iter_mut().filter(|(sid, _)| is_told(sid)) {
            for change in &effects.changes {
                let Some(view) = &mut session.view else { continue };
                let is_real = match change {
                    Change::Joined(user) => view.insert(user.clone()),
                    Change::Left(user) => view.remove(user),
                };
                if !is_real {
                    self.faults.push(format!("P2: session {sid} on node {at} is told {change:?} for nothing"));
                }
            }
            if let Some(update) = &effects.update {
                session.updates.push((id_of(&update.talk), self.now));
                self.figures.updates += 1;
            }
            if effects.missed.is_some() {
                session.missed = Some(self.step);
                self.figures.missed += 1;
            }
        }
        for change in &effects.changes {
            match change {
                Change::Joined(_) => self.figures.joined += 1,
                Change::Left(_) => self.figures.left += 1,
            }
        }
        effects.sends.into_iter().for_each(|message| self.send(at, message));
        self.look(at);
    }

    /// Lets the sessions of a node ask for people, if they can get names, and lose track if not.
    pub(super) fn look(&mut self, at: usize) {
        let redis = self.redis;
        let node = &mut self.nodes[at];
        let Some(peers) = &mut node.peers else { return };
        let bus_up = redis && node.publishes && node.listens;
        let presence_members_max = self.presence_members_max;
        let local = Local { here: &node.here, rules: &node.rules, presence_members_max, bus_up, now: self.now };
        if !peers.presents(&local) {
            node.sessions.values_mut().for_each(|session| session.view = None);
            return;
        }
        if peers.settles_at(&node.rules).is_some_and(|settled| self.now < settled) {
            return;
        }
        for session in node.sessions.values_mut().filter(|s| s.view.is_none() && s.listening.is_some()) {
            session.view = peers.people(&local).names.map(|names| names.into_iter().collect());
        }
    }

    /// Tells sessions that they listen, and lets them ask for people.
    pub(super) fn watch(&mut self) {
        self.pass(Duration::ZERO);
        for at in self.living() {
            let node = &mut self.nodes[at];
            for session in node.sessions.values_mut().filter(|session| session.listening.is_none()) {
                if node.attached {
                    session.listening = Some(self.step);
                } else if self.now >= session.joined_at + ATTACH {
                    session.listening = Some(self.step);
                    node.peers.as_mut().unwrap().listens_unsubscribed();
                }
            }
            self.look(at);
        }
    }

    pub(super) fn handle(&mut self, at: usize) {
        let Some(news) = self.nodes[at].mailbox.pop_front() else { return };
        if matches!(news, FromBus::Attached { .. }) {
            self.nodes[at].attached = true;
        }
        self.drive(at, None, |peers, local| peers.handle(news, local));
        self.watch();
    }

    pub(super) fn join(&mut self, at: usize) {
        let name = ["a", "b", "c", "d", "e"][self.random.random_range(0..5)];
        let user = Username::parse(name).unwrap();
        let node = &mut self.nodes[at];
        if node.peers.is_none() {
            node.lives += 1;
            node.peers = Some(Peers::new(node.lives));
            (node.was_subscribed, node.attached, node.overflowed) = (false, false, false);
            if node.listens {
                self.subscribe(at);
            }
        }
        self.sessions += 1;
        let sid = self.sessions;
        let session = Session {
            user: user.clone(),
            joined_at: self.now,
            listening: None,
            view: None,
            updates: Vec::new(),
            missed: None,
        };
        let node = &mut self.nodes[at];
        node.sessions.insert(sid, session);
        let count = node.here.entry(user.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.drive(at, Some(sid), |peers, local| peers.came(&user, local));
        }
        self.watch();
    }

    pub(super) fn leave(&mut self, at: usize) {
        let of = self.nodes[at].sessions.len();
        if of == 0 {
            return;
        }
        let chosen = self.random.random_range(0..of);
        let node = &mut self.nodes[at];
        let sid = *node.sessions.keys().nth(chosen).unwrap();
        let Session { user, .. } = node.sessions.remove(&sid).unwrap();
        let count = node.here.get_mut(&user).unwrap();
        *count -= 1;
        if *count == 0 {
            node.here.remove(&user);
            self.drive(at, None, |peers, local| peers.went(&user, local));
        }
    }

    /// Ends the conversation on a node if it has no members. It has lingered until now.
    pub(super) fn retire(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.sessions.is_empty() || node.peers.is_none() {
            return;
        }
        let mut gone = None;
        self.drive(at, None, |peers, local| {
            gone = peers.end(local);
            Effects::default()
        });
        gone.into_iter().for_each(|message| self.send(at, message));
        let node = &mut self.nodes[at];
        (node.peers, node.subscribed) = (None, false);
        node.mailbox.clear();
    }

    /// Stops a node as planned: it says so, and its users stay visible for a while. It sends all that waits.
    pub(super) fn stop(&mut self, at: usize) {
        if self.redis && self.nodes[at].publishes {
            while {
                let node = &self.nodes[at];
                !node.queue.is_empty() || node.has_holes || node.overflowed && node.peers.is_some()
            } {
                self.flush(at);
                self.nodes[at].mailbox.retain(|news| *news == FromBus::Room);
                self.handle(at);
            }
            self.redis_takes(&Packet::Bye(at));
        }
        self.kill(at);
    }

    pub(super) fn kill(&mut self, at: usize) {
        let knows = |node: &&Node| {
            let roll = node.peers.as_ref().and_then(|peers| peers.roll.as_ref());
            roll.is_some_and(|roll| roll.peers.iter().any(|peer| peer.node == node_id(at) && !peer.hidden))
        };
        let known_by = self.living().into_iter().filter(|other| knows(&&self.nodes[*other])).collect();
        (self.nodes[at].alive, self.nodes[at].known_by) = (false, known_by);
    }

    pub(super) fn talk(&mut self, at: usize) {
        let of = self.nodes[at].sessions.len();
        if of == 0 {
            return;
        }
        let chosen = self.random.random_range(0..of);
        let (sid, user) = self.nodes[at].sessions.iter().nth(chosen).map(|(sid, s)| (*sid, s.user.clone())).unwrap();
        let id = self.taken.len();
        self.taken.push(Taken { step: self.step, nodes: vec![at], talker: Some(sid), published: false });
        let mut message = None;
        self.drive(at, None, |peers, local| {
            message = Some(peers.talk(user, talk(id, false), local));
            Effects::default()
        });
        self.tell(at, id, Some(sid));
        message.into_iter().for_each(|message| self.send(at, message));
    }

    /// A back end announces one message to one or two nodes.
    pub(super) fn announce(&mut self) {
        let id = self.taken.len();
        self.taken.push(Taken { step: self.step, nodes: Vec::new(), talker: None, published: false });
        for _ in 0..2 {
            let living = self.living();
            let at = living[self.random.random_range(0..living.len())];
            let update = Update {
                username: Username::parse("max").unwrap(),
                talk: talk(id, true),
                except: Vec::new(),
                except_self: false,
            };
            let mut message = None;
            self.drive(at, None, |peers, local| {
                message = peers.announce(update, local);
                Effects::default()
            });
            if let Some(message) = message {
                self.taken[id].nodes.push(at);
                self.tell(at, id, None);
                self.send(at, message);
            }
        }
    }

    pub(super) fn tell(&mut self, at: usize, id: usize, talker: Option<u64>) {
        let now = self.now;
        for (_, session) in self.nodes[at].sessions.iter_mut().filter(|(sid, _)| Some(**sid) != talker) {
            session.updates.push((id, now));
        }
    }
}
