//! The allocations of a delivery: none per recipient.

#[path = "../benches/support/room.rs"]
mod room;
#[path = "../benches/support/mod.rs"]
mod support;

use allocation_counter::measure;
use room::Room;

#[test]
fn a_recipient_costs_no_allocation() {
    let system = actix_rt::System::new();
    let counts = [1, 10, 1_000].map(|listeners| {
        let room = system.block_on(Room::with(listeners));
        let talk = || system.block_on(room.talk(listeners));
        // The first talks grow the lists to their size.
        (0..100).for_each(|_| talk());
        measure(|| (0..100).for_each(|_| talk())).count_total
    });
    assert_eq!(counts[0], counts[2], "{counts:?}");
}
