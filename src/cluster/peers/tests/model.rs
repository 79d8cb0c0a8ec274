//! Random runs of a world of nodes, with the properties that hold once all is quiet.
//!
//! * P1: every node sees the users with a session on a living node, and no others.
//! * P2: the people that a session was told and its events since give that set, and each event is a real change.
//! * P3: every update came once to every session that listened, or the session was told later that it missed some.
//! * P4: the updates of one node come in its order.

use super::world::{Figures, World};

/// Runs the worlds of these seeds. Returns the sum of their figures.
fn run(seeds: std::ops::Range<u64>) -> Figures {
    let mut sum = Figures::default();
    let mut faults = Vec::new();
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        match World::new(seed).run() {
            Ok(figures) => sum += figures,
            Err(fault) => faults.push(format!("seed {seed}: {fault}")),
        }
    }
    let first: Vec<_> = faults.iter().take(5).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} of {runs} runs failed:\n{}", faults.len(), first.join("\n"));
    sum
}

#[test]
fn random_worlds_come_to_rest_with_everybody_told() {
    let sum = run(0..1_000);
    let tried = [sum.joined, sum.left, sum.updates, sum.missed, sum.asks, sum.counts];
    assert!(tried.iter().all(|figure| *figure > 1_000), "{sum:?}");
}

#[test]
#[ignore = "it takes minutes"]
fn many_random_worlds_come_to_rest_with_everybody_told() {
    let sum = run(1_000..30_000);
    assert!(sum.lost_with_node < 1_000, "{sum:?}");
}
