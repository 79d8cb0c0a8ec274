//! Outboxes between which a client moves, from one node to another.

use super::super::moved::text;
use super::*;
use crate::delivery::fold::{Loss, News, Recount};
use crate::delivery::history::Bounds;
use crate::delivery::offset::Offset;
use crate::event::{ConversationId, SessionId, Talk, Username};

const KEPT: Bounds = Bounds { events_max: 100, bytes_max: 10_000 };

/// A conversation that is not asked for a recount.
#[derive(Debug)]
struct Uncounted(ConversationId);

impl Recount for Uncounted {
    fn conversation(&self) -> &ConversationId {
        &self.0
    }

    fn request(&self, _: SessionId) {}
}

/// An event with an offset of its own.
fn event(number: u32) -> Frame {
    Frame::text(&format!(r#"42/max,["update",{{"n":{number}}},{}]"#, Offset::draw().json()))
}

fn offset_of(frame: &Frame) -> String {
    let text = text(frame).unwrap();
    text[text.len() - 11..text.len() - 2].to_owned()
}

/// The numbers of events, and other packets as they are.
fn told(packets: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let number = |packet: &str| match packet.strip_prefix(r#"42/max,["update",{"n":"#) {
        Some(rest) => rest.split('}').next().unwrap().to_owned(),
        None => packet.to_owned(),
    };
    packets.into_iter().map(|packet| number(packet.as_ref())).collect()
}

fn taken(outbox: &Outbox) -> Vec<String> {
    let mut frames = Frames::new();
    outbox.take(&mut frames);
    outbox.written(frames.len(), frames.iter().map(Frame::len).sum());
    told(frames.iter().map(|frame| text(frame).unwrap_or("binary").to_owned()).collect::<Vec<_>>())
}

#[test]
fn a_client_gets_what_it_has_missed_and_nothing_twice() {
    let there = outbox(100, 10_000);
    there.keep_history(KEPT);
    let events: Vec<_> = (0..6).map(event).collect();
    events[..3].iter().for_each(|event| assert!(there.push(event.clone())));
    assert_eq!(taken(&there), ["0", "1", "2"]);
    events[3..].iter().for_each(|event| assert!(there.push(event.clone())));
    assert!(there.push(Frame::text("43/max,1[]")), "an answer for the former connection");
    let heard = offset_of(&events[1]);
    let unheard = there.take_unheard(Some(&heard)).unwrap();
    assert_eq!(told(&unheard.events), ["2", "3", "4", "5"]);
    assert_eq!((unheard.missed.len(), unheard.recounts.len(), unheard.has_outage), (0, 0, false));
    assert_eq!((there.len(), there.metrics.session_queue_bytes.get()), (0, 0));

    let here = outbox(100, 10_000);
    here.hold();
    here.keep_history(KEPT);
    // Both nodes have got 4 and 5. A heartbeat is no event.
    for frame in [event(4), Frame::text("2"), event(5), event(6)] {
        assert!(here.push(frame));
    }
    assert!(taken(&here).is_empty() && !here.has_frames());
    assert_eq!(here.drain_while(|_| true), 0);
    assert!(here.go_on(Some(&heard), &unheard.events));
    assert!(here.has_frames());
    assert_eq!(taken(&here), ["2", "3", "4", "5", "2", "6"]);
    assert_eq!((here.len(), here.metrics.session_queue_messages.get()), (0, 0));
    // It may be lost again before it has heard anything here.
    assert!(here.resume(Some(&heard)));
    assert_eq!(taken(&here), ["2", "3", "4", "5", "6"]);
    assert!(here.resume(Some(&offset_of(&events[4]))));
    assert_eq!(taken(&here), ["5", "6"]);
    assert!(!here.resume(Some(&offset_of(&event(0)))));
}

#[test]
fn of_users_who_come_and_go_the_last_news_stays() {
    let event = |name: &str| {
        let (user, name) = name.split_at(1);
        let name = ["joined", "left"][usize::from(name == "-")];
        let json = format!(r#"{{"conversation":"c","username":"{user}"}}"#);
        format!(r#"42/max,["{name}",{json},{}]"#, Offset::draw().json())
    };
    for (there, here, expected) in [
        ("a+ a-", "a- a+", "a+ a- a+"),
        ("a+", "a- a+", "a+ a- a+"),
        ("a- a+", "a- a+", "a- a+"),
        ("a+ a- a+", "a+ a-", "a+ a- a+ a-"),
        ("a+ b+", "b+ b- a-", "a+ b+ b- a-"),
        ("a+ b+ a-", "a- b+ b- a+", "a+ b+ a- b- a+"),
        ("a+", "a-", "a+ a-"),
        ("", "a+ a-", "a+ a-"),
    ] {
        let outbox = outbox(100, 10_000);
        outbox.hold();
        outbox.keep_history(KEPT);
        here.split_whitespace().for_each(|name| assert!(outbox.push(Frame::text(&event(name)))));
        let missed: Vec<_> = there.split_whitespace().map(|name| event(name).into()).collect();
        assert!(outbox.go_on(None, &missed));
        let mut frames = Frames::new();
        outbox.take(&mut frames);
        let stem = |packet: &str| Offset::stem(packet).map(str::to_owned);
        let stems: Vec<_> = frames.iter().map(|frame| text(frame).and_then(stem)).collect();
        let expected: Vec<_> = expected.split(' ').map(|name| stem(&event(name))).collect();
        assert_eq!(stems, expected, "{there} | {here}");
    }
}

#[test]
fn what_is_no_event_or_not_known_does_not_move() {
    let there = outbox(100, 10_000);
    there.keep_history(Bounds { events_max: 1, ..KEPT });
    (0..3).for_each(|number| assert!(there.push(event(number))));
    taken(&there);
    assert_eq!(there.take_unheard(None), None);
    assert_eq!(there.take_unheard(Some("no offset")), None);
    let here = outbox(100, 10_000);
    assert!(!here.go_on(None, &[]), "it has no history");
    here.hold();
    here.keep_history(KEPT);
    assert!(!here.go_on(None, &[r#"42/max,["update",{}]"#.into()]));
    assert!(!here.go_on(Some("no offset"), &[]));
    for frame in [event(1), Frame::text("2")] {
        assert!(here.push(frame));
    }
    here.give_up();
    assert_eq!(taken(&here), ["2"], "heartbeats stay");
    assert!(!here.is_numbered());
    assert_eq!((here.len(), here.metrics.session_queue_bytes.get()), (0, 0));
}

#[test]
fn folded_news_becomes_events_and_recounts() {
    let bounds = config::Outbox { messages_max: 4, bytes_max: 10_000, policy: OutboxPolicy::Fold, grace_ms: 30_000 };
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    let there = Outbox::new(Generation::Eio4, Arc::new(OutboxLimits::new(&bounds)), metrics);
    there.keep_history(KEPT);
    let update = |id: &str| {
        let talk = Talk { conversation: id.into(), timestamp: None, message_id: None };
        News::Update { namespace: "/max".into(), username: Username::parse("messi").unwrap(), talk }
    };
    while there.push_news(event(0), &update("c1")) {}
    there.push_news(event(0), &update("c2"));
    there.push_news(event(0), &update("c1"));
    there.push_news(event(0), &News::Presence(Arc::new(Uncounted("c3".into()))));
    let loss = |loss| News::Loss { namespace: "/max".into(), loss };
    there.push_news(event(0), &loss(Loss::Conversation("c4".into())));
    let Unheard { events, missed, has_outage, recounts } = there.take_unheard(None).unwrap();
    assert_eq!(told(&events[..4]), ["0", "0", "0", "0"]);
    let folded: Vec<_> = events[4..].iter().map(|event| Offset::stem(event).unwrap()).collect();
    let of = |id: &str, missed: u32| {
        format!(r#"42/max,["update",{{"username":"messi","conversation":"{id}","missed":{missed}}}"#)
    };
    assert_eq!(folded, [of("c1", 2), of("c2", 1)]);
    assert_eq!((missed, recounts, has_outage), (vec!["c4".into()], vec!["c3".into()], false));
    assert_eq!(there.metrics.behind_sessions.get(), 0);

    there.push_news(event(0), &loss(Loss::Outage(Outage { number: 1, over: false })));
    assert_eq!(there.len(), 1);
    assert!(there.is_in_outage());
    assert!(there.take_unheard(None).unwrap().has_outage, "it was told of the beginning alone");
    let here = outbox(100, 10_000);
    here.owe(&News::Presence(Arc::new(Uncounted("c3".into()))));
    assert_eq!(here.metrics.behind_sessions.get(), 1, "there is room, but it was missed elsewhere");
    here.close(CloseReason::Stop);
    here.owe(&update("c1"));
    assert_eq!(here.metrics.behind_sessions.get(), 0);
}

#[test]
fn a_session_whose_client_is_away_is_neither_slow_nor_behind() {
    let bounds = config::Outbox { messages_max: 4, bytes_max: 10_000, policy: OutboxPolicy::Fold, grace_ms: 30_000 };
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    let outbox = Outbox::new(Generation::Eio4, Arc::new(OutboxLimits::new(&bounds)), metrics.clone());
    let shown = || (metrics.slow_sessions.get(), metrics.behind_sessions.get());
    let fill = || while outbox.push_news(event(0), &News::Presence(Arc::new(Uncounted("c1".into())))) {};
    outbox.keep_history(KEPT);
    fill();
    assert_eq!(shown(), (1, 1));
    outbox.lose_reader();
    assert_eq!(shown(), (0, 0));
    fill();
    assert_eq!(shown(), (0, 0));
    assert!(!outbox.resume(Some("no offset")));
    assert_eq!(shown(), (0, 0));
    assert!(outbox.resume(None));
    assert_eq!(shown(), (1, 1));
    outbox.close(CloseReason::Stop);
    assert_eq!(shown(), (0, 0));
}
