//! The slots of a Redis Cluster: the one of a channel, the master of each, and which shard follows which master when
//! that changes. Pure.

use super::address::Host;

/// The slots of a Redis Cluster.
pub const SLOTS: usize = 16_384;

/// Returns the slot of a channel: that of its hash tag, which is what stands between the first `{` and the next `}`, or
/// of all of it if there is none or it is empty.
pub fn slot(name: &[u8]) -> u16 {
    let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &name[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0).map(|close| &rest[..close])
    });
    crc16(tag.unwrap_or(name)) % SLOTS as u16
}

/// CRC-16 with the polynomial `0x1021` and nothing inverted.
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = table();
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

/// The masters of a Cluster, and the slots of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The masters that have slots.
    pub masters: Vec<Host>,
    /// The place in `masters` of the master of each slot. `None`: no master has it.
    owners: Box<[Option<u16>]>,
}

impl Topology {
    /// Reads ranges of slots with their masters. `None` if a range is none, or if no master has a slot.
    pub fn of(ranges: impl IntoIterator<Item = (u64, u64, Host)>) -> Option<Self> {
        let mut masters: Vec<Host> = Vec::new();
        let mut owners = vec![None; SLOTS].into_boxed_slice();
        for (first, last, host) in ranges {
            let place = masters.iter().position(|master| *master == host).unwrap_or_else(|| {
                masters.push(host);
                masters.len() - 1
            });
            let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
            owners.get_mut(first..=last)?.fill(Some(u16::try_from(place).ok()?));
        }
        (!masters.is_empty()).then_some(Self { masters, owners })
    }

    /// Returns the master of a slot.
    pub fn owner(&self, slot: u16) -> Option<&Host> {
        self.owners.get(usize::from(slot)).copied().flatten().map(|place| &self.masters[usize::from(place)])
    }
}

/// A way from the present shards to those of a topology.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shards that there are to be: each with its present place, if it is there already, and its master. The first
    /// ones are those that were there, in their order.
    pub seats: Vec<(Option<usize>, Host)>,
    /// The place in `seats` of the shard of each slot.
    pub slots: Box<[u16]>,
}

impl Plan {
    /// Plans the way. `present` has the master of each shard, if it has one, and `slots` the place of the shard of each
    /// slot. A shard stays with its master. One whose master has no slots any more follows the one that has got the
    /// most of them and has no shard: so it is when a replica has taken over. A slot that no master has stays where it
    /// is.
    pub fn new(present: &[Option<Host>], slots: &[u16], topology: &Topology) -> Self {
        let masters = &topology.masters;
        // For each master the place of its shard.
        let mut shards: Vec<Option<usize>> =
            masters.iter().map(|master| present.iter().position(|host| host.as_ref() == Some(master))).collect();
        loop {
            let mut shared = vec![0_usize; masters.len() * present.len()];
            for (slot, shard) in slots.iter().enumerate() {
                let Some(master) = topology.owners[slot].map(usize::from) else { continue };
                let is_free = shards[master].is_none() && !shards.contains(&Some(usize::from(*shard)));
                shared[master * present.len() + usize::from(*shard)] += usize::from(is_free);
            }
            let most = shared.iter().enumerate().max_by_key(|(at, count)| (**count, usize::MAX - at));
            let Some((at, _)) = most.filter(|(_, count)| **count > 0) else { break };
            shards[at / present.len()] = Some(at % present.len());
        }
        let keeps = |shard: usize| {
            let has_master = shards.contains(&Some(shard));
            has_master
                || slots.iter().zip(&topology.owners).any(|(at, owner)| usize::from(*at) == shard && owner.is_none())
        };
        let mut seats = Vec::new();
        let mut place_of_shard = vec![0_u16; present.len()];
        for (shard, host) in present.iter().enumerate() {
            let master = shards.iter().position(|place| *place == Some(shard)).map(|master| masters[master].clone());
            if let Some(host) = master.or_else(|| host.clone()).filter(|_| keeps(shard)) {
                place_of_shard[shard] = seats.len() as u16;
                seats.push((Some(shard), host));
            }
        }
        let mut place_of_master = Vec::new();
        for (master, shard) in masters.iter().zip(&shards) {
            place_of_master.push(shard.map_or(seats.len() as u16, |shard| place_of_shard[shard]));
            if shard.is_none() {
                seats.push((None, master.clone()));
            }
        }
        let place = |(shard, owner): (&u16, &Option<u16>)| {
            owner.map_or(place_of_shard[usize::from(*shard)], |master| place_of_master[usize::from(master)])
        };
        let slots = slots.iter().zip(&topology.owners).map(place).collect();
        Self { seats, slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_the_slot_that_redis_gives_it() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // Each number is what CLUSTER KEYSLOT of Redis 7.0.15 answers.
        for (name, expected) in [
            ("socket.io#/max#519b00000000000000000000#", 7783),
            ("", 0),
            ("foo", 12182),
            ("{foo}", 12182),
            ("a{foo}b{bar}", 12182),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar", 15278),
            ("foo}bar{", 11073),
        ] {
            assert_eq!(slot(name.as_bytes()), expected, "{name}");
        }
    }

    fn host(port: u16) -> Host {
        Host { name: "h".into(), port }
    }

    fn topology(ranges: &[(u64, u64, u16)]) -> Topology {
        Topology::of(ranges.iter().map(|(first, last, port)| (*first, *last, host(*port)))).unwrap()
    }

    fn plan(present: &[Option<u16>], before: &[(u64, u64, u16)], after: &[(u64, u64, u16)]) -> Plan {
        let present: Vec<_> = present.iter().map(|port| port.map(host)).collect();
        let mut slots = vec![0; SLOTS];
        for (first, last, shard) in before {
            slots[*first as usize..=*last as usize].fill(*shard);
        }
        Plan::new(&present, &slots, &topology(after))
    }

    /// The seats as ports, and the place of the shard of some slots.
    fn shown(plan: &Plan) -> (Vec<(Option<usize>, u16)>, [u16; 4]) {
        let seats = plan.seats.iter().map(|(shard, host)| (*shard, host.port)).collect();
        (seats, [0, 5000, 10000, 16383].map(|slot| plan.slots[slot]))
    }

    #[test]
    fn ranges_that_are_none_are_no_topology() {
        assert!(Topology::of([]).is_none());
        for (first, last) in [(0, 16_384), (u64::MAX, 0), (5, 3)] {
            assert!(Topology::of([(first, last, host(1))]).is_none(), "{first} {last}");
        }
        let topology = topology(&[(0, 9, 1), (10, 10, 2), (11, 20, 1)]);
        assert_eq!(topology.masters.len(), 2);
        assert_eq!(
            [9, 10, 11, 21].map(|slot| topology.owner(slot).map(|host| host.port)),
            [Some(1), Some(2), Some(1), None]
        );
    }

    #[test]
    fn the_first_topology_gives_the_shard_that_waits_a_master() {
        let after = [(0, 5000, 1), (5001, 10000, 2), (10001, 16383, 3)];
        let plan = plan(&[None], &[], &after);
        assert_eq!(shown(&plan), (vec![(Some(0), 3), (None, 1), (None, 2)], [1, 1, 2, 0]));
    }

    #[test]
    fn a_shard_stays_with_its_master_and_follows_the_replica_that_takes_over() {
        let before = [(0, 5000, 0), (5001, 10000, 1), (10001, 16383, 2)];
        let three = [Some(1), Some(2), Some(3)];
        let moved = plan(&three, &before, &[(0, 4999, 1), (5000, 10000, 2), (10001, 16383, 3)]);
        assert_eq!(shown(&moved), (vec![(Some(0), 1), (Some(1), 2), (Some(2), 3)], [0, 1, 1, 2]));
        let failed_over = plan(&three, &before, &[(0, 5000, 1), (5001, 10000, 9), (10001, 16383, 3)]);
        assert_eq!(shown(&failed_over), (vec![(Some(0), 1), (Some(1), 9), (Some(2), 3)], [0, 0, 1, 2]));
        let both = plan(&three, &before, &[(0, 5000, 8), (5001, 10000, 9), (10001, 16383, 3)]);
        assert_eq!(shown(&both), (vec![(Some(0), 8), (Some(1), 9), (Some(2), 3)], [0, 0, 1, 2]));
    }

    #[test]
    fn masters_come_and_go() {
        let before = [(0, 5000, 0), (5001, 10000, 1), (10001, 16383, 2)];
        let three = [Some(1), Some(2), Some(3)];
        let less = plan(&three, &before, &[(0, 10000, 1), (10001, 16383, 3)]);
        assert_eq!(shown(&less), (vec![(Some(0), 1), (Some(2), 3)], [0, 0, 0, 1]));
        let more = plan(&three, &before, &[(0, 4000, 1), (4001, 5000, 4), (5001, 10000, 2), (10001, 16383, 3)]);
        assert_eq!(shown(&more), (vec![(Some(0), 1), (Some(1), 2), (Some(2), 3), (None, 4)], [0, 3, 1, 2]));
        let unowned = plan(&three, &before, &[(0, 5000, 1), (10001, 16383, 3)]);
        assert_eq!(shown(&unowned), (vec![(Some(0), 1), (Some(1), 2), (Some(2), 3)], [0, 0, 1, 2]));
    }
}
