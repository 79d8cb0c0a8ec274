//! Redis, and the part of each node that speaks with it.

use super::*;

impl World {
    pub(super) fn redis_takes(&mut self, packet: &Packet) {
        if let Packet::Message(Message { content: Content::Update { talk, .. }, .. }) = packet {
            self.taken[id_of(talk)].published = true;
        }
        for node in self.nodes.iter_mut().filter(|node| node.alive && node.listens) {
            if node.subscribed || !matches!(packet, Packet::Message(_)) {
                node.socket.push_back(packet.clone());
            }
        }
    }

    pub(super) fn cut_publishing(&mut self, at: usize) {
        self.nodes[at].publishes = false;
        // These were taken, but the answers never came: they are sent again later.
        if self.redis && self.chance(50) {
            let count = self.random.random_range(1..8);
            let again: Vec<_> = self.nodes[at].queue.iter().take(count).cloned().collect();
            for message in again {
                self.redis_takes(&Packet::Message(message));
            }
        }
    }

    pub(super) fn cut_listening(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        (node.listens, node.subscribed) = (false, false);
        node.socket.clear();
    }

    pub(super) fn link(&mut self, at: usize) {
        let tick = self.tick;
        let node = &mut self.nodes[at];
        if !self.redis || node.listens {
            return;
        }
        (node.listens, node.linked) = (true, tick);
        // Silence while the link was down proves nothing.
        node.neighbours.values_mut().for_each(|neighbour| neighbour.heard = tick);
        if node.peers.is_some() {
            self.subscribe(at);
        }
    }

    pub(super) fn subscribe(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.subscribed = true;
        let again = std::mem::replace(&mut node.was_subscribed, true);
        node.mailbox.push_back(FromBus::Attached { again, covered: false });
    }

    pub(super) fn send(&mut self, at: usize, message: Message) {
        if let Content::Presence(presence) = &message.content {
            match presence {
                Presence::Ask { .. } => self.figures.asks += 1,
                Presence::State { users: Users::Count(_), .. } => self.figures.counts += 1,
                Presence::State { users: Users::Names(names), .. }
                    if self.presence_members_max > 0 && names.len() > self.presence_members_max =>
                {
                    self.faults.push(format!("{} names above the limit", names.len()));
                }
                _ => {}
            }
        }
        let is_always_taken = matches!(message.content, Content::Presence(Presence::State { .. } | Presence::Gone));
        let node = &mut self.nodes[at];
        if node.queue.len() >= self.queue_max && !is_always_taken {
            let is_noted = self.random.random_range(0..4) > 0;
            node.overflowed |= is_noted;
            node.has_holes |= !is_noted;
        } else {
            node.queue.push_back(message);
        }
    }

    pub(super) fn flush(&mut self, at: usize) {
        if self.redis
            && self.nodes[at].publishes
            && let Some(message) = self.nodes[at].queue.pop_front()
        {
            self.redis_takes(&Packet::Message(message));
        }
        let node = &mut self.nodes[at];
        let has_room = node.queue.len() < self.queue_max;
        if node.overflowed && has_room && node.peers.is_some() {
            node.overflowed = false;
            node.mailbox.push_back(FromBus::Room);
        }
        // A state that was queued before the hole must not seem to fill it.
        if node.has_holes && node.queue.is_empty() && node.publishes && self.redis {
            node.has_holes = false;
            self.redis_takes(&Packet::Holes(at));
        }
    }

    pub(super) fn deliver(&mut self, at: usize) {
        let tick = self.tick;
        let Some(packet) = self.nodes[at].socket.pop_front() else { return };
        let of = match &packet {
            Packet::Heartbeat(of) | Packet::Bye(of) | Packet::Holes(of) => *of,
            Packet::Message(message) => index(message.stamp.unwrap().node),
        };
        if of == at {
            return;
        }
        let neighbour = Neighbour { heard: tick, silent: false, ends: None };
        let neighbour = self.nodes[at].neighbours.entry(of).or_insert(neighbour);
        neighbour.heard = tick;
        let was_silent = std::mem::take(&mut neighbour.silent);
        match packet {
            Packet::Message(message) => self.offer(at, FromBus::Message(message)),
            Packet::Heartbeat(_) if was_silent => self.offer(at, FromBus::Heard(node_id(of))),
            Packet::Heartbeat(_) => {}
            Packet::Holes(_) => self.offer(at, FromBus::Doubt(node_id(of))),
            Packet::Bye(_) => neighbour.ends = Some(tick + GRACE_TICKS),
        }
    }

    pub(super) fn offer(&mut self, at: usize, news: FromBus) {
        let node = &mut self.nodes[at];
        if node.peers.is_none() {
            return;
        }
        if node.mailbox.len() < self.mailbox_max {
            node.mailbox.push_back(news);
        } else if node.mailbox.back() != Some(&FromBus::Lost) {
            // Each message that is lost is lost before a `Lost`: what came in between may be older than what is lost.
            node.mailbox.push_back(FromBus::Lost);
        }
    }

    /// A heartbeat of all nodes, and all deadlines until then.
    pub(super) fn heartbeat(&mut self) {
        self.pass(HEARTBEAT);
        self.tick += 1;
        for at in self.living() {
            if self.redis && self.nodes[at].publishes && (self.calm || self.chance(90)) {
                self.redis_takes(&Packet::Heartbeat(at));
            }
            self.notice(at);
        }
    }

    /// Notices which nodes are silent, and which have ended.
    pub(super) fn notice(&mut self, at: usize) {
        let tick = self.tick;
        let node = &mut self.nodes[at];
        let can_tell = node.listens && tick - node.linked >= SILENT_TICKS;
        let mut news = Vec::new();
        node.neighbours.retain(|of, neighbour| match neighbour.ends {
            Some(ends) if ends <= tick => {
                news.push(FromBus::Ended(node_id(*of)));
                false
            }
            Some(_) => true,
            None => {
                if can_tell && !neighbour.silent && tick - neighbour.heard >= SILENT_TICKS {
                    neighbour.silent = true;
                    news.push(FromBus::Silent(node_id(*of)));
                }
                true
            }
        });
        news.into_iter().for_each(|news| self.offer(at, news));
    }
}
