//! The rule that assigns users to conversations without a list: users and conversations are numbers. The demo MAX
//! answers by this rule for any number of people. Pure.

/// The golden ratio less 1. Its multiples modulo 1 fill the interval from 0 to 1 evenly.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Returns the sizes of the conversations into which `people` are divided, the largest first. Each conversation has
/// consecutive users, from user 0 and conversation 0 on. The sum is `people`; every size is at least two if there are
/// at least two people.
///
/// The number of conversations is `people` / `members`, rounded, but at least one, and at most half of `people`.
/// `members` counts as 2 if it is less.
///
/// Without `zipf`, sizes differ by at most one, so they are exactly `members` if that divides `people`. With `zipf`,
/// the k-th size is in proportion to 1/k^zipf, rounded, and at least two.
pub fn sizes(people: usize, members: usize, zipf: Option<f64>) -> Vec<usize> {
    if people == 0 {
        return Vec::new();
    }
    let members = members.max(2);
    let rounded = people / members + usize::from(people % members >= members.div_ceil(2));
    let count = rounded.clamp(1, (people / 2).max(1));
    let mut sizes = match zipf.filter(|exponent| *exponent > 0.0 && count > 1) {
        None => vec![people / count; count],
        Some(exponent) => heavy_tailed(people, count, exponent),
    };
    // The people that rounding has left out: at most one for each conversation.
    let left = people - sizes.iter().sum::<usize>();
    sizes.iter_mut().take(left).for_each(|size| *size += 1);
    sizes
}

/// Returns `count` sizes by the power law with a minimum of two, whose sum is as large as possible and at most
/// `people`. The scale is found by bisection, because the conversations at the minimum change how many people the
/// others share.
fn heavy_tailed(people: usize, count: usize, exponent: f64) -> Vec<usize> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let size = |scale: f64, weight: f64| ((scale * weight) as usize).max(2);
    let sum = |scale: f64| weights.iter().map(|weight| size(scale, *weight)).sum::<usize>();
    // Scale 0 gives every conversation two members, which fits. The upper end gives the first one too many.
    let (mut fits, mut too_many) = (0.0, people as f64 + 1.0);
    loop {
        let middle = (fits + too_many) / 2.0;
        if middle <= fits || middle >= too_many {
            break;
        }
        if sum(middle) <= people {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    weights.iter().map(|weight| size(fits, *weight)).collect()
}

/// The [`sizes`] in a form that answers for single users. It takes a few bytes per conversation.
///
/// Users may be in several conversations. Then all people are divided into conversations of these sizes several times.
/// The first time they stand in the order of their numbers, and each further time in another order.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The first place of each conversation of one division, and at the end the number of people.
    starts: Vec<usize>,
    /// For each division the distance between the places of two users whose numbers follow one another. It has no
    /// divisor in common with the number of people, so that each user has a place of its own.
    strides: Vec<usize>,
}

impl Rule {
    /// Makes the rule for these [`sizes`], with each user in as many conversations.
    pub fn new(people: usize, members: usize, zipf: Option<f64>, conversations_per_user: usize) -> Self {
        let ends = sizes(people, members, zipf).into_iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let starts = std::iter::once(0).chain(ends).collect();
        Self { starts, strides: (0..conversations_per_user).map(|division| stride(people, division)).collect() }
    }

    /// Returns the conversations of a user, rising, each with its size. Empty if there is no such user.
    pub fn conversations_of(&self, user: usize) -> impl Iterator<Item = (usize, usize)> {
        let people = self.starts.last().copied().unwrap_or(0);
        let divisions = self.strides.iter().enumerate().filter(move |_| user < people);
        divisions.filter_map(move |(division, &stride)| {
            let place = (user as u128 * stride as u128 % people as u128) as usize;
            let at = self.starts.partition_point(|start| *start <= place).checked_sub(1)?;
            let members = self.starts.get(at + 1)? - self.starts.get(at)?;
            Some((division * (self.starts.len() - 1) + at, members))
        })
    }
}

/// Returns the stride of a division: 1 for the first, and for the others the first possible one from a share of the
/// people on. The shares are spread evenly.
fn stride(people: usize, division: usize) -> usize {
    let share = (division as f64 * GOLDEN).fract();
    let from = (people as f64 * share) as usize;
    (from.max(1)..).find(|&stride| gcd(stride, people) <= 1).unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn even_conversations_have_the_size_that_was_asked_for_or_nearly() {
        let table: &[(usize, usize, &[usize])] = &[
            (0, 10, &[]),
            (1, 10, &[1]),
            (2, 10, &[2]),
            (3, 2, &[3]),
            (4, 0, &[2, 2]),
            (7, 2, &[3, 2, 2]),
            (14, 10, &[14]),
            (15, 10, &[8, 7]),
            (20, 10, &[10, 10]),
            (24, 10, &[12, 12]),
            (26, 10, &[9, 9, 8]),
        ];
        for (people, members, expected) in table {
            assert_eq!(sizes(*people, *members, None), *expected, "{people} by {members}");
            assert_eq!(sizes(*people, *members, Some(0.0)), *expected, "{people} by {members}");
        }
        assert_eq!(sizes(5000, 10, None), [10; 500]);
    }

    #[test]
    fn a_heavy_tail_is_one() {
        let sizes = sizes(10_000, 10, Some(1.0));
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (1000, 10_000));
        for rank in [2, 3, 5, 10, 50] {
            let (expected, size) = (sizes[0] as f64 / rank as f64, sizes[rank - 1] as f64);
            assert!((size - expected).abs() <= 1.5, "rank {rank}: {size} for {expected}");
        }
        assert_eq!(sizes[999], 2);
    }

    #[test]
    fn a_user_is_in_the_conversation_of_its_number() {
        let rule = Rule::new(26, 10, None, 1);
        let table = [(0, Some((0, 9))), (8, Some((0, 9))), (9, Some((1, 9))), (25, Some((2, 8))), (26, None)];
        for (user, expected) in table {
            assert!(rule.conversations_of(user).eq(expected), "user {user}");
        }
        assert_eq!(Rule::default().conversations_of(0).count(), 0);
        assert_eq!(Rule::new(0, 10, None, 3).conversations_of(0).count(), 0);
    }

    #[test]
    fn further_conversations_have_other_members() {
        let rule = Rule::new(1000, 10, None, 5);
        for user in 0..1000 {
            let own: Vec<_> = rule.conversations_of(user).map(|(conversation, _)| conversation).collect();
            assert!(own.iter().enumerate().all(|(division, k)| k / 100 == division), "{own:?}");
            let is_with = |other: &usize| rule.conversations_of(*other).filter(|(k, _)| own.contains(k)).count();
            let together: Vec<_> = (0..1000).filter(|other| *other != user).map(|other| is_with(&other)).collect();
            assert_eq!(together.iter().sum::<usize>(), 5 * 9);
            assert!(together.iter().filter(|times| **times > 0).count() >= 30, "user {user} meets the same people");
        }
    }

    proptest! {
        #[test]
        fn everybody_is_somewhere_and_nobody_alone(
            people in 0_usize..3000, members in 0_usize..4000, zipf in prop::option::of(0.0..40.0_f64),
        ) {
            let sizes = sizes(people, members, zipf);
            prop_assert_eq!(sizes.iter().sum::<usize>(), people);
            prop_assert!(sizes.is_sorted_by(|larger, smaller| larger >= smaller));
            prop_assert!(people < 2 || sizes.iter().all(|size| *size >= 2));
            let rule = Rule::new(people, members, zipf, 1);
            let mut user = 0;
            for (conversation, &size) in sizes.iter().enumerate() {
                prop_assert!(rule.conversations_of(user).eq([(conversation, size)]));
                prop_assert!(rule.conversations_of(user + size - 1).eq([(conversation, size)]));
                user += size;
            }
            prop_assert_eq!(rule.conversations_of(people).count(), 0);

            let rule = Rule::new(people, members, zipf, 3);
            let mut counted = vec![0; 3 * sizes.len()];
            for (conversation, size) in (0..people).flat_map(|user| rule.conversations_of(user)) {
                prop_assert_eq!(size, sizes[conversation % sizes.len()]);
                counted[conversation] += 1;
            }
            prop_assert_eq!(counted, sizes.repeat(3));
        }
    }
}
