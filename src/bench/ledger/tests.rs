//! Accounts of clean streams and of faulty ones: by example, and against a slow and plain model.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::Receipt::*;
use super::*;
use crate::event::{Scalar, ServerEvent, Talk, Username};

/// Returns the result of a listener that receives `numbers` in a conversation of `sent` talks, all of them due.
fn heard(numbers: &[u64], sent: u64) -> (Vec<Receipt>, Accounts) {
    let mut listener = Listener::new(0);
    let receipts = numbers.iter().map(|&number| listener.receive(number, sent)).collect();
    (receipts, listener.close(sent))
}

fn accounts(expected: u64, received: u64, lost: u64) -> Accounts {
    Accounts { expected, received, lost, ..Accounts::default() }
}

#[test]
fn a_clean_stream_balances() {
    assert_eq!(heard(&[1, 2, 3], 3), (vec![New; 3], accounts(3, 3, 0)));
    assert_eq!(heard(&[], 0), (vec![], accounts(0, 0, 0)));
}

#[test]
fn a_stream_may_begin_anywhere() {
    let mut listener = Listener::new(7);
    assert_eq!([8, 10, 10].map(|number| listener.receive(number, 10)), [New, New, Duplicate]);
    assert_eq!(listener.close(10), Accounts { duplicated: 1, ..accounts(3, 2, 1) });
}

#[test]
fn each_fault_is_caught() {
    let table: &[(&str, &[u64], u64, Receipt, Accounts)] = &[
        ("loses the first", &[2, 3], 3, New, accounts(3, 2, 1)),
        ("loses one between", &[1, 3], 3, New, accounts(3, 2, 1)),
        ("loses the last", &[1, 2], 4, New, accounts(4, 2, 2)),
        ("doubles", &[1, 2, 2], 2, Duplicate, Accounts { duplicated: 1, ..accounts(2, 2, 0) }),
        ("doubles later", &[1, 2, 3, 1], 3, Duplicate, Accounts { duplicated: 1, ..accounts(3, 3, 0) }),
        ("reorders", &[1, 3, 2], 3, OutOfOrder, Accounts { out_of_order: 1, ..accounts(3, 3, 0) }),
        ("reorders far", &[2, 3, 4, 1], 4, OutOfOrder, Accounts { out_of_order: 1, ..accounts(4, 4, 0) }),
        (
            "reorders and doubles",
            &[2, 1, 1],
            2,
            Duplicate,
            Accounts { duplicated: 1, out_of_order: 1, ..accounts(2, 2, 0) },
        ),
        ("foretells", &[1, 2, 3], 2, Misdelivered, Accounts { misdelivered: 1, ..accounts(2, 2, 0) }),
        ("invents", &[1, 2, 0], 2, Misdelivered, Accounts { misdelivered: 1, ..accounts(2, 2, 0) }),
    ];
    for (name, numbers, sent, last, expected) in table {
        let (receipts, accounts) = heard(numbers, *sent);
        assert_eq!((receipts.last(), accounts), (Some(last), *expected), "a server that {name}");
    }
}

#[test]
fn what_was_sent_before_it_listened_may_come_and_has_not_to() {
    let mut listener = Listener::new(5);
    assert_eq!(listener.receive(3, 5), Early);
    assert_eq!(listener.receive(5, 5), Early);
    assert_eq!(listener.receive(5, 5), Duplicate);
    assert_eq!(listener.receive(4, 6), OutOfOrder);
    assert_eq!(listener.receive(2, 6), OutOfOrder);
    assert_eq!(listener.receive(2, 6), Duplicate);
    assert_eq!(listener.receive(6, 6), New);
    assert_eq!(listener.close(7), Accounts { duplicated: 2, out_of_order: 2, ..accounts(2, 1, 1) });
}

#[test]
fn what_comes_after_leaving_is_not_due() {
    let mut listener = Listener::new(0);
    for number in [1, 2, 4] {
        listener.receive(number, 6);
    }
    assert_eq!(listener.leave(), accounts(4, 3, 1));
    assert_eq!(listener.receive(5, 6), Early);
    assert_eq!(listener.receive(5, 6), Duplicate);
    assert_eq!(listener.close(9), Accounts { duplicated: 1, ..accounts(0, 0, 0) });
    assert_eq!(Listener::new(4).leave(), accounts(0, 0, 0));
}

#[test]
fn what_is_declared_is_neither_received_nor_lost() {
    let mut listener = Listener::new(0);
    assert_eq!(listener.receive(1, 9), New);
    assert_eq!(listener.receive(2, 9), New);
    assert_eq!(listener.declare_missing(2, 0), []);
    assert_eq!(listener.declare_missing(2, 1), [], "it is the only one that was skipped, and here it is");
    assert_eq!(listener.declare_missing(2, 4), [(3, 5)]);
    assert_eq!(listener.receive(6, 9), New);
    assert_eq!(listener.receive(4, 9), Duplicate, "it was settled");
    // Of 7 and 8, the latter came.
    assert_eq!(listener.receive(8, 9), New);
    assert_eq!(listener.declare_missing(6, 3), [(7, 7)]);
    assert_eq!(listener.close(9), Accounts { declared_missing: 4, duplicated: 1, ..accounts(9, 4, 1) });
}

#[test]
fn a_declaration_reaches_over_several_gaps() {
    let mut listener = Listener::new(0);
    for number in [1, 4, 6, 8, 12] {
        assert_eq!(listener.receive(number, 14), New);
    }
    assert_eq!(listener.declare_missing(2, 9), [(3, 3), (5, 5), (7, 7), (9, 10)]);
    assert_eq!(listener.close(14), Accounts { declared_missing: 5, ..accounts(14, 5, 4) });
}

#[test]
fn a_declaration_beyond_what_was_sent_is_noticed() {
    let mut listener = Listener::new(0);
    assert_eq!(listener.receive(1, 3), New);
    listener.declare_missing(1, u64::MAX);
    assert_eq!(listener.receive(4, 4), New, "it was not swallowed");
    assert_eq!(listener.close(4), Accounts { declared_missing: 2, misdelivered: 1, ..accounts(4, 2, 0) });
}

#[test]
fn a_listener_is_small() {
    assert!(size_of::<Listener>() <= 40, "{}", size_of::<Listener>());
    let mut listener = Listener::new(0);
    for number in 1..=1000 {
        listener.receive(number, 1000);
    }
    assert!(listener.faults.is_none(), "it takes no memory where all goes well");
}

/// One step of a stream.
#[derive(Clone, Debug)]
enum Step {
    Send(u64),
    /// Receives some number that was sent, or almost.
    Receive(u64),
    /// Receives the next number, as from a correct server.
    Next,
    Declare(u64, u64),
    /// Hears that anything may be lost.
    Tell,
    Leave,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u64).prop_map(Step::Send),
        4 => (0..70_u64).prop_map(Step::Receive),
        8 => Just(Step::Next),
        1 => (0..70_u64, 0..30_u64).prop_map(|(first, count)| Step::Declare(first, count)),
        1 => Just(Step::Tell),
        1 => Just(Step::Leave),
    ];
    vec(step, 0..60)
}

/// A listener made of sets.
struct Model {
    due: u64,
    sent: u64,
    told: u64,
    came: BTreeSet<u64>,
    declared: BTreeSet<u64>,
    faults: Accounts,
}

impl Model {
    fn new(due: u64, sent: u64) -> Self {
        Self { due, sent, told: 0, came: BTreeSet::new(), declared: BTreeSet::new(), faults: Accounts::default() }
    }

    fn is_settled(&self, number: u64) -> bool {
        self.came.contains(&number) || self.declared.contains(&number)
    }

    fn highest(&self) -> u64 {
        self.came.union(&self.declared).copied().max().unwrap_or(0)
    }

    fn receive(&mut self, number: u64) -> Receipt {
        if number == 0 || number > self.sent {
            self.faults.misdelivered += 1;
            return Misdelivered;
        }
        if self.is_settled(number) {
            self.faults.duplicated += 1;
            return Duplicate;
        }
        let highest = self.highest();
        self.came.insert(number);
        if number < highest {
            self.faults.out_of_order += 1;
            return OutOfOrder;
        }
        if number < self.due { Early } else { New }
    }

    fn declare(&mut self, first: u64, count: u64) {
        for number in first + 1..first + count {
            if number >= self.due && number <= self.sent && !self.is_settled(number) {
                self.declared.insert(number);
            }
        }
        self.faults.misdelivered += u64::from(count > 1 && first + count - 1 > self.sent);
    }

    fn account(&mut self, last: u64) -> Accounts {
        let due = self.due..=last;
        let mut accounts = mem::take(&mut self.faults);
        for number in due {
            accounts.expected += 1;
            accounts.received += u64::from(self.came.contains(&number));
            accounts.declared_missing += u64::from(self.declared.contains(&number));
            let never_came = !self.is_settled(number);
            accounts.told_missing += u64::from(never_came && number <= self.told);
            accounts.lost += u64::from(never_came && number > self.told);
        }
        self.due = u64::MAX;
        accounts
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_listener_accounts_as_its_model(joined in 0..10_u64, steps in steps()) {
        let (mut listener, mut sent) = (Listener::new(joined), joined);
        let mut model = Model::new(joined + 1, sent);
        for step in steps {
            match step {
                // Few enough that no gap is forgotten.
                Step::Send(count) => sent = (sent + count).min(60),
                Step::Receive(number) => {
                    let number = number % (sent + 3);
                    model.sent = sent;
                    prop_assert_eq!(listener.receive(number, sent), model.receive(number), "{}", number);
                }
                Step::Next => {
                    let number = model.highest().max(joined) + 1;
                    model.sent = sent;
                    prop_assert_eq!(listener.receive(number, sent), model.receive(number), "{}", number);
                }
                Step::Declare(first, count) => {
                    let first = first % (sent + 3);
                    listener.declare_missing(first, count);
                    model.declare(first, count);
                }
                Step::Tell => {
                    listener.tell(sent);
                    (model.sent, model.told) = (sent, sent);
                }
                Step::Leave => {
                    let highest = model.highest();
                    prop_assert_eq!(listener.leave(), model.account(highest));
                }
            }
        }
        model.sent = sent;
        let accounts = listener.close(sent);
        prop_assert_eq!(accounts, model.account(sent));
        let Accounts { received, declared_missing, told_missing, lost, .. } = accounts;
        prop_assert_eq!(accounts.expected, received + declared_missing + told_missing + lost);
    }

    #[test]
    fn beyond_the_bound_no_fault_is_overlooked(numbers in vec(1..400_u64, 0..600)) {
        let (mut listener, sent) = (Listener::new(0), 400);
        let mut model = Model::new(1, sent);
        for number in numbers {
            let (receipt, true_receipt) = (listener.receive(number, sent), model.receive(number));
            prop_assert!(receipt == true_receipt || (receipt, true_receipt) == (Duplicate, OutOfOrder));
            prop_assert!(listener.faults.as_ref().is_none_or(|faults| faults.gaps.len() <= GAPS_MAX));
        }
        let (accounts, truth) = (listener.close(sent), model.account(sent));
        let mistaken = truth.out_of_order - accounts.out_of_order;
        prop_assert_eq!(accounts.expected, truth.expected);
        prop_assert_eq!(accounts.lost, truth.lost + mistaken);
        prop_assert_eq!(accounts.received, truth.received - mistaken);
        prop_assert_eq!(accounts.duplicated, truth.duplicated + mistaken);
    }
}

#[test]
fn what_has_not_come_by_the_time_of_a_warning_is_told() {
    let mut listener = Listener::new(0);
    listener.receive(1, 4);
    listener.tell(4);
    assert_eq!((listener.receive(3, 6), listener.receive(3, 6)), (New, Duplicate), "it comes after all");
    assert_eq!(listener.receive(5, 6), New);
    let expected = Accounts { told_missing: 2, duplicated: 1, ..accounts(6, 3, 1) };
    assert_eq!(listener.close(6), expected, "2 and 4 were told of, 6 was not");
}

#[test]
fn gaps_that_are_forgotten_are_told_of_if_a_warning_came() {
    let mut listener = Listener::new(0);
    (1..=100).map(|number| 2 * number).for_each(|number| assert_eq!(listener.receive(number, 200), New));
    listener.tell(200);
    (101..=200).map(|number| 2 * number).for_each(|number| assert_eq!(listener.receive(number, 400), New));
    assert_eq!(listener.close(400), Accounts { told_missing: 100, ..accounts(400, 200, 100) });
}

#[test]
fn more_gaps_than_it_remembers_are_all_lost() {
    let odd = (0..1000).map(|number| 2 * number + 1).collect::<Vec<_>>();
    let mut listener = Listener::new(0);
    for &number in &odd {
        assert_eq!(listener.receive(number, 2000), New);
    }
    assert_eq!(listener.receive(1998, 2000), OutOfOrder, "a recent one is remembered");
    assert_eq!(listener.receive(2, 2000), Duplicate, "an old one is not, and stays lost");
    assert_eq!(listener.close(2000), Accounts { duplicated: 1, out_of_order: 1, ..accounts(2000, 1001, 999) });
}

#[test]
fn a_tally_adds_up_and_counts_strays() {
    let mut tally = Tally::default();
    tally.sent(3);
    tally.add(&Accounts { duplicated: 1, out_of_order: 2, misdelivered: 3, declared_missing: 4, ..accounts(9, 5, 2) });
    tally.stray(Stray::Own);
    let mut other = Tally::default();
    other.sent(4);
    other.stray(Stray::Own);
    other.stray(Stray::MessageId);
    other.stray(Stray::Earlier);
    tally.merge(&other);
    tally.add(&accounts(1, 1, 0));
    let sum = Accounts {
        sent: 7,
        expected: 10,
        received: 6,
        declared_missing: 4,
        told_missing: 0,
        lost: 2,
        duplicated: 1,
        out_of_order: 2,
        misdelivered: 6,
    };
    assert_eq!(tally.accounts(), sum);
    assert_eq!(tally.strays().collect::<Vec<_>>(), [(Stray::Own, 2), (Stray::MessageId, 1), (Stray::Earlier, 1)]);
    assert_eq!(Stray::ALL.map(|stray| stray as usize), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_message_id_says_which_talk_it_is() {
    assert_eq!(message_id("r5", 12, 0), "r5.12");
    assert_eq!(message_id("r5", 12, ENVELOPE_BYTES + 8), "r5.12...");
    assert_eq!(parse_message_id("r5.12..."), Some(("r5", 12)));
    assert_eq!(parse_message_id("a.b.10"), Some(("a.b", 10)));
    for garbled in ["", ".", "r", "r.", "12", ".12", "r.-1", "r.+1", "r.01", "r.1 ", "r.1x..", "r.18446744073709551616"]
    {
        assert_eq!(parse_message_id(garbled), None, "{garbled:?}");
    }
}

proptest! {
    #[test]
    fn a_message_id_is_read_as_written(run in "[a-z0-9.]{0,8}[a-z0-9]", number: u64, bytes in 0..600_usize) {
        let id = message_id(&run, number, bytes);
        prop_assert_eq!(parse_message_id(&id), Some((run.as_str(), number)));
    }
}

#[test]
fn an_update_takes_about_the_bytes_of_the_plan() {
    let raw = |json: &str| Scalar::parse(&RawValue::from_string(json.to_owned()).unwrap(), 4096).unwrap();
    for payload_bytes in [150, 1000] {
        let talk = Talk {
            conversation: "c123".into(),
            timestamp: Some(raw("12345678")),
            message_id: Some(raw(&format!("\"{}\"", message_id("k3f9", 123, payload_bytes)))),
        };
        let update = ServerEvent::Update { username: &Username::parse("u1234").unwrap(), talk: &talk, missed: None };
        let bytes = format!("42/max,[\"update\",{}]", update.json()).len();
        assert!(bytes.abs_diff(payload_bytes) <= 5, "{bytes} for {payload_bytes}");
    }
}
