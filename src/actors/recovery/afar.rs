//! The way of a session between two nodes: what this node asks of others, and what others ask of it.

use std::sync::Arc;

use super::errands::Errand;
use super::moving::Asked;
use super::{Claim, Recovery, Registration, Request, parse};
use crate::cluster::letters::{HOPS_MAX, Handover, Letter, Letterbox, Offer, Refused, Return, Unsent};
use crate::cluster::message::NodeId;
use crate::delivery::offset::Offset;
use crate::delivery::outbox::Outbox;
use crate::metrics::{Limit, RecoveryResult};

impl<T> Recovery<T> {
    /// Claims the session with this pid at the node that has it. `heard` is the offset of the last event that the
    /// client has heard.
    ///
    /// # Errors
    /// No living node is known to have it, `heard` is no offset, the bus is away, or too many claims are under way.
    pub fn claim_elsewhere(&self, pid: &str, heard: Option<&str>) -> Result<Errand, RecoveryResult> {
        let cluster = self.cluster.as_ref().ok_or(RecoveryResult::UnknownPid)?;
        let (tag, key) = parse(pid).ok_or(RecoveryResult::UnknownPid)?;
        let moved = cluster.moved.lock().get(key);
        let holder = moved.filter(|node| cluster.post.lives(*node)).or_else(|| cluster.post.holder(tag));
        let holder = holder.ok_or(RecoveryResult::UnknownPid)?;
        if heard.is_some_and(|heard| Offset::parse(heard).is_none()) {
            return Err(RecoveryResult::UnknownOffset);
        }
        let Some(errand) = cluster.errands.begin() else {
            self.metrics.limited(Limit::Returns);
            return Err(RecoveryResult::Busy);
        };
        let (pid, heard) = (pid.into(), heard.map(Into::into));
        let claim = Letter::Claim { of: errand.of, pid, heard, hops: 0 };
        cluster.post.send(holder, &claim).map_err(|_| RecoveryResult::Late)?;
        Ok(errand)
    }

    /// Takes the session with this pid from the node that has offered it.
    ///
    /// # Errors
    /// The bus is away.
    pub fn take_from(&self, node: NodeId, errand: &Errand, pid: &str) -> Result<(), Unsent> {
        let cluster = self.cluster.as_ref().ok_or(Unsent::Away)?;
        cluster.post.send(node, &Letter::Take { of: errand.of, pid: pid.into() })
    }

    /// Returns whether events may have been lost between two nodes although both have said all.
    pub fn may_lose(&self) -> bool {
        self.settings.has_feed || self.cluster.as_ref().is_some_and(|cluster| !cluster.post.is_ordered())
    }

    /// Enters the session behind this outbox, which has moved to this node, under its pid. `None` if the pid is none,
    /// or its session is here already.
    pub fn adopt(self: &Arc<Self>, pid: &str, outbox: &Arc<Outbox>) -> Option<Registration<T>> {
        let (tag, key) = parse(pid)?;
        let claim = Claim::new((*tag != *self.settings.tag).then(|| tag.into()), outbox);
        {
            let mut shard = self.shard(key).lock();
            if shard.contains_key(&key) {
                return None;
            }
            shard.insert(key, claim.clone());
        }
        if let Some(cluster) = &self.cluster {
            cluster.moved.lock().forget(key);
        }
        Some(Registration { recovery: self.clone(), key, claim, counts: false })
    }

    /// Has the session with this pid answer another node. Returns false if it is not here.
    fn ask(&self, pid: &str, asked: Asked) -> bool {
        let Some(claim) = self.find(pid) else { return false };
        let Some(outbox) = claim.outbox.upgrade() else { return false };
        let mut request = claim.request.lock();
        // Its client has come back here since it was offered, or somebody else has claimed it.
        if matches!(asked, Asked::Take { .. }) && (request.is_some() || !claim.is_kept()) {
            return false;
        }
        let older = request.replace(Request::Elsewhere(asked));
        drop(request);
        self.refuse_request(older);
        outbox.wake();
        true
    }
}

impl<T: Send> Letterbox for Recovery<T> {
    fn deliver(&self, letter: Letter) {
        let Some(cluster) = &self.cluster else { return };
        match letter {
            Letter::Claim { of, pid, heard, hops } => {
                if self.ask(&pid, Asked::Claim { of, heard: heard.clone() }) {
                    return;
                }
                let moved = parse(&pid).and_then(|(_, key)| cluster.moved.lock().get(key));
                let next = moved.filter(|node| hops < HOPS_MAX && cluster.post.lives(*node));
                let claim = Letter::Claim { of, pid, heard, hops: hops.saturating_add(1) };
                if next.is_none_or(|node| cluster.post.send(node, &claim).is_err()) {
                    cluster.refuse(of, Refused::UnknownPid);
                }
            }
            Letter::Take { of, pid } => {
                if !self.ask(&pid, Asked::Take { of }) {
                    cluster.refuse(of, Refused::UnknownPid);
                }
            }
            Letter::Offer { of, .. } | Letter::Handover { of, .. } | Letter::Refusal { of, .. } => {
                cluster.errands.give(of, letter);
            }
        }
    }
}

impl<T> Registration<T> {
    /// Takes out what another node asks.
    pub fn take_asked(&self) -> Option<Asked> {
        let mut request = self.claim.request.lock();
        match request.take_if(|request| matches!(request, Request::Elsewhere(_)))? {
            Request::Elsewhere(asked) => Some(asked),
            Request::Here(_) => None,
        }
    }

    /// Offers the session to the node that has claimed it. Returns whether it could: what it has may be too much for a
    /// letter.
    pub fn offer(&self, of: Return, offer: Offer) -> bool {
        let Some(cluster) = &self.recovery.cluster else { return false };
        let letter = Letter::Offer { of, from: cluster.post.node(), offer };
        let is_too_long = cluster.post.send(of.node, &letter) == Err(Unsent::TooLong);
        if is_too_long {
            cluster.refuse(of, Refused::UnknownPid);
        }
        !is_too_long
    }

    /// Refuses what another node asks.
    pub fn refuse(&self, of: Return, why: Refused) {
        if let Some(cluster) = &self.recovery.cluster {
            cluster.refuse(of, why);
        }
    }

    /// Returns whether the session may have yet to be told of news of the bus.
    pub fn is_owed_news(&self) -> bool {
        self.recovery.cluster.as_ref().is_some_and(|cluster| cluster.post.owes_news())
    }

    /// Hands the session over, and remembers where it is. Events that are too much for a letter are left out.
    pub fn move_to(self, of: Return, mut handover: Handover) {
        let Some(cluster) = &self.recovery.cluster else { return };
        cluster.moved.lock().note(self.key, of.node);
        let letter = Letter::Handover { of, handover: handover.clone() };
        if cluster.post.send(of.node, &letter) == Err(Unsent::TooLong) {
            handover.events = None;
            if cluster.post.send(of.node, &Letter::Handover { of, handover }) == Err(Unsent::TooLong) {
                cluster.refuse(of, Refused::UnknownOffset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;
    use crate::actors::recovery::{Claimant, RecoverySettings};
    use crate::cluster::letters::Post;
    use crate::delivery::history::Bounds;
    use crate::delivery::outbox::tests::limits;
    use crate::event::Username;
    use crate::ids::Ids;
    use crate::metrics::{Metrics, ReadAtScrape};
    use crate::protocol::Generation;

    /// The way to the other nodes, whose letters a test carries. All nodes live but the one with the number 9.
    #[derive(Debug)]
    struct Carrier {
        node: NodeId,
        sent: Mutex<Vec<(NodeId, Letter)>>,
        refuses: Mutex<Option<Unsent>>,
    }

    impl Post for Carrier {
        fn node(&self) -> NodeId {
            self.node
        }

        fn holder(&self, tag: &str) -> Option<NodeId> {
            let number = tag.strip_prefix('n')?.parse().ok()?;
            Some(NodeId::from_random(number)).filter(|node| *node != self.node && self.lives(*node))
        }

        fn lives(&self, node: NodeId) -> bool {
            node != NodeId::from_random(9)
        }

        fn is_ordered(&self) -> bool {
            true
        }

        fn owes_news(&self) -> bool {
            false
        }

        fn send(&self, to: NodeId, letter: &Letter) -> Result<(), Unsent> {
            if let Some(refuses) = *self.refuses.lock() {
                return Err(refuses);
            }
            self.sent.lock().push((to, letter.clone()));
            Ok(())
        }
    }

    struct Node {
        recovery: Arc<Recovery<u8>>,
        carrier: Arc<Carrier>,
        outbox: Arc<Outbox>,
        ids: Ids,
    }

    impl Node {
        fn new(number: u64) -> Self {
            let metrics = Metrics::new(&[], ReadAtScrape::default());
            let carrier =
                Carrier { node: NodeId::from_random(number), sent: Mutex::default(), refuses: Mutex::default() };
            let (carrier, ids) = (Arc::new(carrier), Ids::from_system().unwrap());
            let settings = RecoverySettings {
                window: Duration::from_secs(9),
                claim: Duration::from_secs(3),
                kept_max: 9,
                history: Bounds { events_max: 9, bytes_max: 999 },
                asked_only: false,
                tag: format!("n{number}").into(),
                has_feed: false,
            };
            let outbox = Arc::new(Outbox::new(Generation::Eio4, limits(9, 999), metrics.clone()));
            let recovery = Recovery::new(settings, Some(carrier.clone()), &ids, metrics);
            Self { recovery, carrier, outbox, ids }
        }

        fn enter(&self) -> Registration<u8> {
            self.recovery.enter(&self.ids, &self.outbox)
        }

        /// Returns the one letter that was sent since the last call.
        fn sent(&self) -> (NodeId, Letter) {
            let sent = std::mem::take(&mut *self.carrier.sent.lock());
            assert_eq!(sent.len(), 1, "{sent:?}");
            sent[0].clone()
        }
    }

    fn offer() -> Offer {
        Offer { sid: "s".into(), username: Username::parse("messi").unwrap(), conversations: Vec::new() }
    }

    #[test]
    fn a_session_moves_by_letters_and_its_pid_leads_to_it() {
        let nodes = [1, 2, 3].map(Node::new);
        let [one, two, three] = &nodes;
        let mut session = one.enter();
        session.keep().unwrap();
        let pid = session.pid();
        let mut errand = two.recovery.claim_elsewhere(&pid, Some("012345678")).unwrap();
        let (to, claim) = two.sent();
        assert_eq!(to, one.carrier.node);
        one.recovery.deliver(claim);
        assert_eq!(session.claimant(), Claimant::Elsewhere);
        let of = errand.of;
        assert_eq!(session.take_asked(), Some(Asked::Claim { of, heard: Some("012345678".into()) }));
        assert!(session.offer(of, offer()));
        let (to, offered) = one.sent();
        assert_eq!(to, two.carrier.node);
        two.recovery.deliver(offered.clone());
        assert_eq!(errand.letters.try_recv(), Ok(offered));
        two.recovery.take_from(one.carrier.node, &errand, &pid).unwrap();
        one.recovery.deliver(two.sent().1);
        assert_eq!(session.take_asked(), Some(Asked::Take { of }));
        session.move_to(of, Handover::default());
        two.recovery.deliver(one.sent().1);
        assert!(matches!(errand.letters.try_recv(), Ok(Letter::Handover { .. })));
        let mut moved = two.recovery.adopt(&pid, &two.outbox).unwrap();
        moved.keep().unwrap();
        assert_eq!(moved.pid(), pid);
        assert!(two.recovery.adopt(&pid, &two.outbox).is_none(), "it is here");
        assert!(two.recovery.claim(&pid).is_some());
        drop(moved.take_claim());
        // On the third node, the tag leads to the first, and from there to the second.
        let errand = three.recovery.claim_elsewhere(&pid, None).unwrap();
        let (to, claim) = three.sent();
        assert_eq!(to, one.carrier.node);
        one.recovery.deliver(claim);
        let (to, claim) = one.sent();
        assert!(to == two.carrier.node && matches!(claim, Letter::Claim { hops: 1, .. }), "{claim:?}");
        two.recovery.deliver(claim);
        assert_eq!(moved.take_asked(), Some(Asked::Claim { of: errand.of, heard: None }));
        // And on the first node itself.
        one.recovery.claim_elsewhere(&pid, None).unwrap();
        assert_eq!(one.sent().0, two.carrier.node);
        drop(moved);
        assert!(two.recovery.claim(&pid).is_none());
    }

    #[test]
    fn a_claim_that_leads_nowhere_is_refused() {
        let (one, two) = (Node::new(1), Node::new(2));
        let pid = one.enter().pid();
        for unknown in [&pid[..9], &format!("n9{}", &pid[2..]), &format!("x{pid}")] {
            assert_eq!(two.recovery.claim_elsewhere(unknown, None).unwrap_err(), RecoveryResult::UnknownPid);
        }
        assert_eq!(one.recovery.claim_elsewhere(&pid, None).unwrap_err(), RecoveryResult::UnknownPid, "its own");
        let long = two.recovery.claim_elsewhere(&pid, Some(&"0".repeat(60_000)));
        assert_eq!(long.unwrap_err(), RecoveryResult::UnknownOffset);
        let mut errand = two.recovery.claim_elsewhere(&pid, None).unwrap();
        one.recovery.deliver(two.sent().1);
        let refusal = Letter::Refusal { of: errand.of, why: Refused::UnknownPid };
        assert_eq!(one.sent(), (two.carrier.node, refusal.clone()));
        two.recovery.deliver(refusal.clone());
        assert_eq!(errand.letters.try_recv(), Ok(refusal));
        // Forwarded too often.
        let key = parse(&pid).unwrap().1;
        let cluster = one.recovery.cluster.as_ref().unwrap();
        cluster.moved.lock().note(key, NodeId::from_random(3));
        one.recovery.deliver(Letter::Claim { of: errand.of, pid: pid.as_str().into(), heard: None, hops: HOPS_MAX });
        assert!(matches!(one.sent().1, Letter::Refusal { .. }));
        *two.carrier.refuses.lock() = Some(Unsent::Away);
        assert_eq!(two.recovery.claim_elsewhere(&pid, None).unwrap_err(), RecoveryResult::Late);
    }

    #[test]
    fn who_is_not_answered_by_the_session_is_refused() {
        let (one, two) = (Node::new(1), Node::new(2));
        let mut session = one.enter();
        session.keep().unwrap();
        let pid: Box<str> = session.pid().into();
        let of = |number| Return { node: two.carrier.node, number };
        let claim = |number| Letter::Claim { of: of(number), pid: pid.clone(), heard: None, hops: 0 };
        let refused = |number| (two.carrier.node, Letter::Refusal { of: of(number), why: Refused::UnknownPid });
        one.recovery.deliver(claim(1));
        one.recovery.deliver(claim(2));
        assert_eq!(one.sent(), refused(1), "a newer claim counts");
        one.recovery.deliver(Letter::Take { of: of(1), pid: pid.clone() });
        assert_eq!(one.sent(), refused(1));
        let _claimed = one.recovery.claim(&pid).unwrap();
        assert_eq!((one.sent(), session.claimant()), (refused(2), Claimant::Here));
        one.recovery.deliver(claim(3));
        assert_eq!(session.take_asked(), Some(Asked::Claim { of: of(3), heard: None }));
        session.resume();
        one.recovery.deliver(Letter::Take { of: of(3), pid: pid.clone() });
        assert_eq!(one.sent(), refused(3), "its client has come back here");
        one.recovery.deliver(claim(3));
        drop(session);
        assert_eq!(one.sent(), refused(3), "the session has ended");
        one.recovery.deliver(Letter::Take { of: of(3), pid: pid.clone() });
        assert_eq!(one.sent(), refused(3));
    }

    #[test]
    fn an_offer_that_is_too_long_is_a_refusal() {
        let (one, two) = (Node::new(1), Node::new(2));
        let (session, of) = (one.enter(), Return { node: two.carrier.node, number: 1 });
        *one.carrier.refuses.lock() = Some(Unsent::TooLong);
        assert!(!session.offer(of, offer()));
        *one.carrier.refuses.lock() = Some(Unsent::Away);
        assert!(session.offer(of, offer()), "it is as if it were lost");
    }
}
