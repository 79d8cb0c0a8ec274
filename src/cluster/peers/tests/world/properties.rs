//! The properties that hold when all is quiet.

use super::*;

impl World {
    pub(super) fn check(&mut self) {
        let living = self.living();
        let here = || living.iter().flat_map(|at| self.nodes[*at].here.keys());
        let truth: BTreeSet<_> = here().cloned().collect();
        let sum = here().count();
        let mut faults = Vec::new();
        for &at in &living {
            let node = &mut self.nodes[at];
            let is_quiet = node.queue.is_empty() && node.mailbox.is_empty();
            let Some(peers) = &mut node.peers else { continue };
            if !is_quiet || peers.next_deadline().is_some() {
                faults.push(format!("node {at} is not quiet: {:?} {:?} {peers:?}", node.queue, node.mailbox));
            }
            let presence_members_max = self.presence_members_max;
            let local =
                Local { here: &node.here, rules: &node.rules, presence_members_max, bus_up: true, now: self.now };
            let people = peers.people(&local);
            let expected = if presence_members_max == 0 || sum <= presence_members_max {
                People { inroom: truth.len(), names: Some(truth.iter().cloned().collect()), partial: false }
            } else {
                People { inroom: sum, names: None, partial: false }
            };
            if people != expected {
                faults.push(format!("P1: node {at} has {people:?}, not {expected:?}"));
            }
        }
        self.faults.append(&mut faults);
        for at in living {
            for (sid, session) in std::mem::take(&mut self.nodes[at].sessions) {
                self.check_session(at, sid, &session, &truth);
            }
        }
    }

    pub(super) fn check_session(&mut self, node: usize, sid: u64, session: &Session, truth: &BTreeSet<Username>) {
        let at = format!("session {sid} on node {node}");
        if let Some(view) = session.view.as_ref().filter(|view| *view != truth) {
            self.faults.push(format!("P2: {at} sees {view:?}, not {truth:?}"));
        }
        let Some(listening) = session.listening else {
            return self.faults.push(format!("{at} never listens"));
        };
        let mut last_of_node = BTreeMap::new();
        for (index, (id, time)) in session.updates.iter().enumerate() {
            let earlier = session.updates[..index].iter().rposition(|(earlier, _)| earlier == id);
            // The last 32 ids of announced messages are remembered for a minute.
            let is_remembered =
                |earlier: usize| index - earlier < 32 && *time - session.updates[earlier].1 < Duration::from_secs(60);
            if let Some(earlier) = earlier
                && (self.taken[*id].talker.is_some() || is_remembered(earlier))
            {
                self.faults.push(format!("P3: {at} hears update {id} twice"));
            }
            if self.taken[*id].talker.is_some()
                && last_of_node.insert(self.taken[*id].nodes[0], *id).is_some_and(|last| last > *id)
            {
                self.faults.push(format!("P4: {at} hears update {id} too late"));
            }
        }
        for (id, taken) in self.taken.iter().enumerate() {
            let is_told = session.updates.iter().any(|(told, _)| *told == id) || session.missed >= Some(taken.step);
            if taken.step <= listening || taken.talker == Some(sid) || taken.nodes.is_empty() || is_told {
                continue;
            }
            let is_unheard = |of: &Node| !of.alive && !of.known_by.contains(&node);
            if !taken.published && taken.nodes.iter().all(|of| is_unheard(&self.nodes[*of])) {
                // It ended with the node that took it, of which this one had never heard.
                self.figures.lost_with_node += 1;
                continue;
            }
            self.faults.push(format!("P3: {at}, listening since {listening}, misses update {id}, {taken:?}, silently"));
        }
    }
}
