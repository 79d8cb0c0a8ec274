//! Tests of the history of events.

use super::*;
use proptest::prelude::*;

const WIDE: Bounds = Bounds { events_max: 1000, bytes_max: 1_000_000 };

/// An event with an offset of its own, and the offset.
fn event() -> (Frame, Offset) {
    let offset = Offset::draw();
    (Frame::text(&format!(r#"42/max,["update",{{"n":1}},{}]"#, offset.json())), offset)
}

fn events(count: usize) -> (Vec<Frame>, Vec<Offset>) {
    (0..count).map(|_| event()).unzip()
}

fn resumed(history: &mut History, heard: Option<Offset>, queued: &[Frame]) -> Option<Vec<Frame>> {
    history.resume(heard, queued.iter().cloned().collect()).ok().map(|missed| missed.to_vec())
}

#[test]
fn a_client_gets_what_came_after_the_event_that_it_names() {
    let (frames, offsets) = events(6);
    let ack = Frame::text("43/max,1[{}]");
    let begin = |bounds| {
        let mut history = History::new(bounds, offsets[0]);
        history.wrote(frames[..4].iter().chain([&ack]));
        history
    };
    let queued = [frames[4].clone(), ack.clone(), frames[5].clone()];
    for (heard, from) in [(0, 1), (3, 4), (4, 5), (5, 6)] {
        let missed = resumed(&mut begin(WIDE), Some(offsets[heard]), &queued);
        assert_eq!(missed.as_deref(), Some(&frames[from..]), "after {heard}");
    }
    assert_eq!(resumed(&mut begin(WIDE), None, &queued).as_deref(), Some(&frames[..]));
    let unknown = Offset::draw();
    assert_eq!(begin(WIDE).resume(Some(unknown), queued.iter().cloned().collect()).unwrap_err().len(), 3);

    let narrow = Bounds { events_max: 2, ..WIDE };
    assert_eq!(resumed(&mut begin(narrow), Some(offsets[1]), &[]).as_deref(), Some(&frames[2..4]), "the one before");
    for heard in [Some(offsets[0]), None] {
        assert_eq!(resumed(&mut begin(narrow), heard, &[]), None, "given up");
    }
    let small = Bounds { bytes_max: 2 * frames[0].len(), ..WIDE };
    assert_eq!(begin(small).len(), 2);
    let mut gap = begin(WIDE);
    gap.left_out();
    assert_eq!(resumed(&mut gap, Some(offsets[3]), &[]), None);
}

#[test]
fn an_offset_of_an_earlier_session_stands_for_none() {
    let earlier = Offset::draw();
    let (frames, offsets) = events(3);
    let mut history = History::new(WIDE, offsets[0]);
    history.wrote(frames[..1].iter());
    assert_eq!(resumed(&mut history, Some(earlier), &frames[1..]).as_deref(), Some(&frames[..]));
    assert_eq!(resumed(&mut history, Some(earlier), &frames).as_deref(), Some(&frames[..]), "and once more");
    history.wrote(frames.iter());
    history.beat([].iter());
    history.answered();
    assert_eq!(resumed(&mut history, Some(earlier), &[]), None, "the client has shown that it has heard them");
}

#[test]
fn the_answer_to_a_heartbeat_shows_what_has_arrived() {
    let (frames, offsets) = events(20);
    let mut history = History::new(WIDE, offsets[0]);
    history.wrote(frames[..10].iter());
    history.beat(frames[10..12].iter());
    history.wrote(frames[10..].iter());
    history.answered();
    assert_eq!(history.len(), 8);
    history.answered();
    assert_eq!(history.len(), 8, "it answers one heartbeat once");
    history.took_back(frames[15..].iter());
    assert_eq!(resumed(&mut history, Some(offsets[11]), &frames[15..]).as_deref(), Some(&frames[12..]));
}

proptest! {
    /// Whatever is written, taken back and confirmed, a client that has heard the first n events gets exactly the
    /// others, or is not recovered; and it is recovered if the bounds were never reached.
    #[test]
    fn nothing_is_lost_and_nothing_doubled(
        steps in prop::collection::vec((0..4usize, 0..5usize), 0..40),
        heard_part in 0..=100usize,
        events_max in prop_oneof![Just(3usize), Just(1000)],
    ) {
        let began = Offset::draw();
        let mut history = History::new(Bounds { events_max, ..WIDE }, began);
        let (mut all, mut queued, mut in_flight) = (Vec::new(), Frames::new(), Vec::new());
        let (mut arrived, mut beat) = (0, None);
        for (step, count) in steps {
            match step {
                0 => for _ in 0..count {
                    let (frame, offset) = event();
                    all.push((frame.clone(), offset));
                    queued.push(frame);
                },
                1 => {
                    in_flight = std::mem::take(&mut queued).to_vec();
                    history.wrote(in_flight.iter());
                }
                2 => {
                    let at = in_flight.len() - count.min(in_flight.len());
                    let back = in_flight.split_off(at);
                    history.took_back(back.iter());
                    queued.insert_many(0, back);
                }
                _ => match beat.take() {
                    None => {
                        history.beat(queued.iter());
                        beat = Some(all.len());
                    }
                    // Only a heartbeat that was written can be answered, and so all events before it were.
                    Some(before) if before <= all.len() - queued.len() => {
                        history.answered();
                        arrived = before;
                    }
                    unwritten => beat = unwritten,
                },
            }
        }
        let written = all.len() - queued.len();
        let heard = arrived + (written - arrived.min(written)) * heard_part / 100;
        let offset = heard.checked_sub(1).map(|at| all[at].1);
        match history.resume(offset, queued) {
            Ok(missed) => {
                let expected: Vec<_> = all[heard..].iter().map(|(frame, _)| frame.clone()).collect();
                prop_assert_eq!(missed.to_vec(), expected);
            }
            Err(_) => prop_assert!(events_max == 3),
        }
    }
}
