//! The steps of a move, one by one, and among several nodes whose letters are lost, come twice, or come late.

use proptest::prelude::*;

use super::*;
use crate::event::Username;

fn node(number: u64) -> NodeId {
    NodeId::from_random(number)
}

fn of(taker: usize) -> Return {
    Return { node: node(10 + taker as u64), number: taker as u64 }
}

fn offer() -> Offer {
    Offer { sid: "s".into(), username: Username::parse("messi").unwrap(), conversations: vec!["c".into()] }
}

fn offered(taker: usize) -> Letter {
    Letter::Offer { of: of(taker), from: node(1), offer: offer() }
}

fn handed_over(taker: usize) -> Letter {
    Letter::Handover { of: of(taker), handover: Handover::default() }
}

fn refused(taker: usize, why: Refused) -> Letter {
    Letter::Refusal { of: of(taker), why }
}

#[test]
fn a_session_is_claimed_entered_and_taken() {
    let mut taker = Taker::default();
    assert_eq!(taker.hear(handed_over(0)), Step::Wait, "nobody has asked for it");
    assert_eq!(taker.entered(true), Step::Wait);
    assert_eq!(taker.hear(offered(0)), Step::Enter(offer()));
    assert_eq!(taker.hear(offered(0)), Step::Wait, "it came before");
    assert_eq!(taker.entered(true), Step::Take(node(1)));
    assert_eq!(taker.hear(handed_over(0)), Step::GoOn(Handover::default()));
    for step in [taker.hear(handed_over(0)), taker.late(), taker.entered(true)] {
        assert_eq!(step, Step::Wait);
    }
}

#[test]
fn a_client_begins_anew_whichever_step_fails() {
    let pid = |taker: &mut Taker| taker.hear(refused(0, Refused::UnknownPid));
    let offset = |taker: &mut Taker| taker.hear(refused(0, Refused::UnknownOffset));
    let late = |taker: &mut Taker| taker.late();
    let claimed = |_: &mut Taker| Step::Wait;
    let entering = |taker: &mut Taker| taker.hear(offered(0));
    let taken = |taker: &mut Taker| {
        taker.hear(offered(0));
        taker.entered(true)
    };
    type Move = fn(&mut Taker) -> Step;
    let table: [(Move, Move, RecoveryResult); 7] = [
        (claimed, pid, RecoveryResult::UnknownPid),
        (claimed, late, RecoveryResult::Late),
        (entering, |taker| taker.entered(false), RecoveryResult::Busy),
        (entering, late, RecoveryResult::Late),
        (taken, pid, RecoveryResult::UnknownPid),
        (taken, offset, RecoveryResult::UnknownOffset),
        (taken, late, RecoveryResult::Late),
    ];
    for (before, fails, result) in table {
        let mut taker = Taker::default();
        before(&mut taker);
        assert_eq!(fails(&mut taker), Step::BeginAnew(result));
        assert_eq!(taker.hear(handed_over(0)), Step::Wait, "it is over");
    }
}

#[test]
fn only_the_newest_claim_may_take_a_session() {
    let mut giver = Giver::default();
    let claim = |taker| Asked::Claim { of: of(taker), heard: Some("o".into()) };
    let take = |taker| Asked::Take { of: of(taker) };
    assert_eq!(giver.ask(take(0)), Give::Refuse(of(0)));
    assert_eq!(giver.ask(claim(0)), Give::Offer(of(0)));
    assert_eq!(giver.ask(claim(1)), Give::Offer(of(1)));
    assert_eq!(giver.ask(take(0)), Give::Refuse(of(0)));
    assert_eq!(giver.ask(take(1)), Give::HandOver(of(1), Some("o".into())));
    assert_eq!(giver.ask(take(1)), Give::Refuse(of(1)), "it has been taken");
    giver.ask(claim(0));
    giver.withdraw();
    assert_eq!(giver.ask(take(0)), Give::Refuse(of(0)));
}

/// The nodes of a client that comes back to several of them, and the letters between them.
#[derive(Default)]
struct World {
    giver: Giver,
    /// Whether the session is still with the giver.
    is_here: bool,
    takers: [Taker; 3],
    ends: [Option<bool>; 3],
    to_giver: Vec<Asked>,
    to_taker: Vec<(usize, Letter)>,
}

impl World {
    fn new() -> Self {
        let to_giver = (0..3).map(|taker| Asked::Claim { of: of(taker), heard: None }).collect();
        Self { is_here: true, to_giver, ..Self::default() }
    }

    /// The giver takes the letter at this place.
    fn give(&mut self, at: usize) {
        let asked = self.to_giver.remove(at);
        let taker = asked.of().number as usize;
        let answer = match (self.is_here, asked) {
            (false, _) => refused(taker, Refused::UnknownPid),
            (true, asked) => match self.giver.ask(asked) {
                Give::Offer(_) => offered(taker),
                Give::Refuse(_) => refused(taker, Refused::UnknownPid),
                Give::HandOver(..) => {
                    self.is_here = false;
                    handed_over(taker)
                }
            },
        };
        self.to_taker.push((taker, answer));
    }

    fn does(&mut self, taker: usize, step: Step) {
        match step {
            Step::Wait | Step::Enter(_) => {}
            Step::Take(_) => self.to_giver.push(Asked::Take { of: of(taker) }),
            Step::GoOn(_) => self.ends[taker] = Some(true),
            Step::BeginAnew(_) => self.ends[taker] = Some(false),
        }
    }

    fn take(&mut self, at: usize) {
        let (taker, letter) = self.to_taker.remove(at);
        let step = self.takers[taker].hear(letter);
        self.does(taker, step);
    }
}

proptest! {
    /// However letters are lost, doubled, and overtake one another: at most one node goes on with the session, only
    /// after it was handed over to it, and every client knows in the end whether it goes on. If nothing is lost and
    /// nobody is late, one of them goes on.
    #[test]
    fn a_session_is_on_one_node(steps in prop::collection::vec((0..7usize, 0..64usize), 0..60)) {
        let mut world = World::new();
        let mut is_fair = true;
        for (step, which) in steps {
            let (to_giver, to_taker) = (world.to_giver.len(), world.to_taker.len());
            let taker = which % 3;
            match step {
                0 | 1 if to_giver > 0 => world.give(which % to_giver),
                2 | 3 if to_taker > 0 => world.take(which % to_taker),
                4 => {
                    let step = world.takers[taker].entered(true);
                    world.does(taker, step);
                }
                5 if to_taker > 0 => {
                    let copy = world.to_taker[which % to_taker].clone();
                    world.to_taker.push(copy);
                }
                6 if which % 2 == 0 && to_taker > 0 => {
                    is_fair = false;
                    world.to_taker.remove(which % to_taker);
                }
                6 => {
                    is_fair = false;
                    let step = world.takers[taker].late();
                    world.does(taker, step);
                }
                _ => {}
            }
            prop_assert!(world.ends.iter().filter(|end| **end == Some(true)).count() <= 1);
            prop_assert!(!world.is_here || !world.ends.contains(&Some(true)));
        }
        // In the end everything arrives, and everybody enters.
        for _ in 0..20 {
            while !world.to_giver.is_empty() {
                world.give(0);
            }
            while !world.to_taker.is_empty() {
                world.take(0);
            }
            for taker in 0..3 {
                let step = world.takers[taker].entered(true);
                world.does(taker, step);
            }
        }
        for taker in 0..3 {
            let step = world.takers[taker].late();
            world.does(taker, step);
        }
        prop_assert!(world.ends.iter().all(Option::is_some));
        let went_on = world.ends.iter().filter(|end| **end == Some(true)).count();
        prop_assert!(went_on == 1 || (went_on == 0 && !is_fair), "{:?}", world.ends);
        prop_assert!(!is_fair || !world.is_here);
    }
}
