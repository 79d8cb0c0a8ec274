//! Tests of news that a cluster has lost.

use super::*;
use crate::delivery::fold::{Loss, News, Outage};
use crate::event::{ConversationId, SessionId};
use crate::protocol::frame::Payload;

fn outbox_of(policy: OutboxPolicy, messages_max: usize) -> Outbox {
    let limits = OutboxLimits::new(&config::Outbox { messages_max, bytes_max: 100_000, policy, grace_ms: 30_000 });
    Outbox::new(Generation::Eio4, Arc::new(limits), Metrics::new(&[], ReadAtScrape::default()))
}

fn loss_of(conversation: &str) -> News {
    News::Loss { namespace: "/max".into(), loss: Loss::Conversation(conversation.into()) }
}

fn outage(number: u64, over: bool) -> News {
    News::Loss { namespace: "/max".into(), loss: Loss::Outage(Outage { number, over }) }
}

/// Takes and writes what is queued.
fn read(outbox: &Outbox) -> Vec<String> {
    let mut taken = Frames::new();
    outbox.take(&mut taken);
    outbox.written(taken.len(), taken.iter().map(Frame::len).sum());
    let texts = taken.iter().map(|frame| match frame.payload() {
        Payload::Text(text) => text.to_owned(),
        Payload::Binary(_) => unreachable!("events are text"),
    });
    texts.collect()
}

#[test]
fn each_outage_begins_once_and_ends_once() {
    let outbox = outbox_of(OutboxPolicy::Fold, 10);
    for (news, is_told) in [
        (outage(1, false), true),
        (outage(1, false), false),
        (outage(1, true), true),
        (outage(1, false), false),
        (outage(1, true), false),
        (outage(3, true), true),
        (outage(3, false), false),
        (outage(4, false), true),
    ] {
        assert_eq!(outbox.push_news(frame(10), &news), is_told, "{news:?}");
    }
}

/// Losses that do not fit are told in one list, under each policy that keeps the session.
#[test]
fn losses_that_do_not_fit_are_told_later() {
    for policy in [OutboxPolicy::Fold, OutboxPolicy::Drop] {
        let outbox = outbox_of(policy, 4);
        assert!((0..4).all(|_| outbox.push(frame(10))));
        for news in [loss_of("b"), loss_of("a"), loss_of("b"), outage(1, false)] {
            assert!(!outbox.push_news(frame(10), &news), "{policy:?}");
        }
        read(&outbox);
        assert!(outbox.catch_up(SessionId(7)).unwrap().is_none(), "{policy:?}: nothing is owed any more");
        let (ongoing, list) =
            (r#"42/max,["missed",{"ongoing":true}]"#, r#"{"conversations":["a","b"],"ongoing":false}"#);
        assert_eq!(read(&outbox), [ongoing.to_owned(), format!(r#"42/max,["missed",{list}]"#)], "{policy:?}");
    }
}

#[test]
fn the_end_of_an_outage_covers_the_losses_before_it() {
    let outbox = outbox_of(OutboxPolicy::Fold, 1);
    assert!(outbox.push(frame(10)));
    for news in [loss_of("a"), outage(1, false), outage(1, true), loss_of("b")] {
        outbox.push_news(frame(10), &news);
    }
    read(&outbox);
    let _ = outbox.catch_up(SessionId(7));
    let (over, list) = (r#"["missed",{"ongoing":false}]"#, r#"["missed",{"conversations":["b"],"ongoing":false}]"#);
    assert_eq!(read(&outbox), [format!("42/max,{over}"), format!("42/max,{list}")]);
}

/// A session that has left the conversation does not hear of its losses.
#[test]
fn losses_of_a_conversation_that_was_left_are_forgotten() {
    let outbox = outbox_of(OutboxPolicy::Fold, 1);
    assert!(outbox.push(frame(10)));
    outbox.push_news(frame(10), &loss_of("a"));
    outbox.forget(&ConversationId::from("a"));
    read(&outbox);
    assert!(outbox.catch_up(SessionId(7)).unwrap().is_none());
    assert_eq!(read(&outbox), [""; 0]);
}
