//! The demo MAX against the answers of the real one, without HTTP.

use super::*;

const NOW: i64 = 1_700_000_000;

fn world() -> World {
    let mut next = 0;
    let secret = || {
        next += 1;
        next
    };
    World::new(secret, NOW)
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn page(limit: usize, before: Option<&str>, after: Option<&str>) -> Page {
    Page::parse(Some(&limit.to_string()), before, after).unwrap()
}

fn names(who: &[usize]) -> Vec<String> {
    who.iter().map(|who| PEOPLE[*who].0.to_owned()).collect()
}

#[test]
fn everybody_has_a_conversation_and_ids_of_their_form() {
    let world = world();
    for (who, (name, _)) in PEOPLE.iter().enumerate() {
        let list = world.conversations(Actor(who));
        assert!(!ids(&list).is_empty(), "{name}");
        assert!(ids(&list).iter().all(|id| is_object_id(id)));
        let dates: Vec<_> =
            list.as_array().unwrap().iter().map(|c| c["lastMessage"]["published"].to_string()).collect();
        assert!(dates.is_sorted_by(|newer, older| newer >= older), "{dates:?}");
    }
    assert_eq!(world.conversations(Actor(PEOPLE.len())), json!([]));
}

#[test]
fn an_actor_needs_all_three_headers() {
    let world = world();
    let everybody = world.everybody();
    let token = everybody[3]["token"].as_str().unwrap();
    assert_eq!(everybody.as_array().unwrap().len(), PEOPLE.len());
    assert_eq!(world.actor("DÍDAC.Muñoz", token, SCOPE), Ok(Actor(3)));
    for (username, token, scope) in
        [("aina.roca", token, SCOPE), ("dídac.muñoz", "x", SCOPE), ("dídac.muñoz", token, ""), ("nobody", token, SCOPE)]
    {
        assert_eq!(world.actor(username, token, scope), Err(MaxError::unauthorized()));
    }
}

#[test]
fn pages_are_the_newest_within_their_bounds_and_say_if_there_are_more() {
    let mut world = world();
    let id = ids(&world.conversations(Actor(0)))[0].clone();
    let first = ids(&world.messages(Actor(0), &id, &page(0, None, None)).unwrap().0).len();
    for n in 0..20 {
        world.talk(Actor(0), &id, &format!("message {n}"), NOW + n / 7).unwrap();
    }
    let all = ids(&world.messages(Actor(0), &id, &page(0, None, None)).unwrap().0);
    assert_eq!(all.len(), first + 20);
    assert!(all.is_sorted() && all.iter().collect::<std::collections::BTreeSet<_>>().len() == all.len());
    let get = |page: Page| {
        let (list, more) = world.messages(Actor(0), &id, &page).unwrap();
        (ids(&list), more)
    };
    let count = all.len();
    assert_eq!(get(Page::parse(None, None, None).unwrap()), (all[count - 10..].to_vec(), true));
    assert_eq!(get(page(count, None, None)), (all.clone(), false));
    assert_eq!(get(page(3, Some(&all[9]), None)), (all[6..9].to_vec(), true));
    assert_eq!(get(page(9, Some(&all[9]), None)), (all[..9].to_vec(), false));
    assert_eq!(get(page(5, None, Some(&all[count - 3]))), (all[count - 2..].to_vec(), false));
    assert_eq!(get(page(2, None, Some(&all[0]))), (all[count - 2..].to_vec(), true));
}

#[test]
fn a_page_is_checked() {
    let id = "0123456789abcdef01234567";
    for (limit, before, after) in [
        (Some("x"), None, None),
        (Some("-1"), None, None),
        (Some(""), None, None),
        (None, Some("x"), None),
        (None, None, Some("0123456789ABCDEF01234567")),
        (None, Some(id), Some(id)),
    ] {
        assert_eq!(Page::parse(limit, before, after).unwrap_err().error, "InvalidSearchParams");
    }
}

#[test]
fn two_people_have_one_conversation_and_groups_are_new_each_time() {
    let mut world = world();
    let mut start = |who: &[usize]| {
        let message = world.start(Actor(who[0]), &names(who), Some("Name"), "hello", NOW).unwrap().0;
        message["contexts"][0]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(start(&[1, 4]), start(&[4, 1]));
    assert_ne!(start(&[1, 4, 5]), start(&[1, 4, 5]));
}

#[test]
fn a_start_is_checked() {
    let mut world = world();
    for (who, error) in [
        (names(&[]), "ValidationError"),
        (names(&[0]), "ValidationError"),
        (names(&[1, 2]), "ValidationError"),
        (names(&[0, 1, 1]), "ValidationError"),
        (vec!["aina.roca".to_owned(), "nobody".to_owned()], "UnknownUserError"),
        (vec!["aina.roca".to_owned(), SERVICE.0.to_owned()], "UnknownUserError"),
    ] {
        assert_eq!(world.start(Actor(0), &who, None, "hello", NOW).unwrap_err().error, error, "{who:?}");
    }
    for content in [String::new(), " \n".to_owned(), "é".repeat(CONTENT_CHARS_MAX + 1)] {
        assert_eq!(world.start(Actor(0), &names(&[0, 1]), None, &content, NOW).unwrap_err().status, 400);
    }
    let long = "x".repeat(NAME_CHARS_MAX + 1);
    assert_eq!(world.start(Actor(0), &names(&[0, 1, 2]), Some(&long), "hello", NOW).unwrap_err().status, 400);
}

#[test]
fn every_bound_holds() {
    let mut world = world();
    while world.conversations.len() < CONVERSATIONS_MAX {
        world.start(Actor(0), &names(&[0, 1, 2]), None, "hello", NOW).unwrap();
    }
    assert_eq!(world.start(Actor(0), &names(&[0, 1, 2]), None, "hello", NOW).unwrap_err().status, 403);
    let id = world.start(Actor(0), &names(&[0, 1]), None, "two still can", NOW).unwrap().0["contexts"][0]["id"].clone();
    let id = id.as_str().unwrap();
    for n in 0..MESSAGES_MAX + 5 {
        world.talk(Actor(1), id, &n.to_string(), NOW).unwrap();
    }
    let (list, more) = world.messages(Actor(0), id, &page(0, None, None)).unwrap();
    assert_eq!((list.as_array().unwrap().len(), more), (MESSAGES_MAX, false));
    assert_eq!(list[0]["object"]["content"], "5");
}

#[test]
fn strangers_see_nothing() {
    let mut world = world();
    let id = world.start(Actor(0), &names(&[0, 1]), None, "psst", NOW).unwrap().0["contexts"][0]["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(world.messages(Actor(2), id, &page(0, None, None)).unwrap_err().status, 403);
    assert_eq!(world.talk(Actor(2), id, "hello", NOW).unwrap_err().status, 403);
    assert_eq!(world.invite(Actor(2), id, PEOPLE[2].0, NOW).unwrap_err().status, 403);
    assert_eq!(world.expel(Actor(2), id, PEOPLE[0].0).unwrap_err().status, 403);
    assert_eq!(world.talk(Actor(2), "000000000000000000000000", "hello", NOW).unwrap_err().status, 404);
    assert!(world.profile(Actor(2), PEOPLE[0].0).unwrap().get("talkingIn").is_none());
    assert!(world.profile(Actor(PEOPLE.len()), PEOPLE[0].0).unwrap()["talkingIn"].is_array());
    assert_eq!(world.profile(Actor(0), SERVICE.0).unwrap_err().error, "UnknownUserError");
}

#[test]
fn a_group_grows_and_shrinks_and_two_stay_two() {
    let mut world = world();
    let group = world.start(Actor(0), &names(&[0, 1, 2]), None, "hello", NOW).unwrap().0["contexts"][0]["id"].clone();
    let group = group.as_str().unwrap();
    assert_eq!(world.invite(Actor(1), group, PEOPLE[3].0, NOW).unwrap_err().status, 403);
    assert!(world.invite(Actor(0), group, PEOPLE[3].0, NOW).unwrap().1);
    assert!(!world.invite(Actor(0), group, PEOPLE[3].0, NOW).unwrap().1);
    assert_eq!(world.expel(Actor(1), group, PEOPLE[2].0).unwrap_err().status, 403);
    world.expel(Actor(0), group, PEOPLE[2].0).unwrap();
    assert_eq!(world.expel(Actor(0), group, PEOPLE[2].0).unwrap_err().status, 404);
    world.expel(Actor(0), group, PEOPLE[0].0).unwrap();
    world.invite(Actor(1), group, PEOPLE[4].0, NOW).unwrap();
    world.expel(Actor(1), group, PEOPLE[4].0).unwrap();
    world.expel(Actor(3), group, PEOPLE[3].0).unwrap();
    assert_eq!(world.talk(Actor(1), group, "anybody?", NOW).unwrap_err().description, "This conversation is archived");
    world.expel(Actor(1), group, PEOPLE[1].0).unwrap();
    assert_eq!(world.talk(Actor(1), group, "hello", NOW).unwrap_err().status, 404);

    let pair = world.start(Actor(0), &names(&[0, 1]), None, "hello", NOW).unwrap().0["contexts"][0]["id"].clone();
    let pair = pair.as_str().unwrap();
    assert_eq!(world.invite(Actor(0), pair, PEOPLE[2].0, NOW).unwrap_err().status, 403);
    assert_eq!(world.expel(Actor(0), pair, PEOPLE[1].0).unwrap_err().status, 403);
    world.expel(Actor(1), pair, PEOPLE[1].0).unwrap();
    assert!(!ids(&world.conversations(Actor(1))).contains(&pair.to_owned()));
    assert_eq!(world.talk(Actor(0), pair, "hello", NOW).unwrap_err().status, 403);
    let again = world.start(Actor(1), &names(&[1, 0]), None, "back", NOW).unwrap().0;
    assert_eq!(again["contexts"][0]["id"], pair);
    assert_eq!(again["contexts"][0]["tags"], json!([]));
}

#[test]
fn a_group_without_a_name_is_called_after_the_others() {
    let mut world = world();
    let started = world.start(Actor(0), &names(&[0, 1, 2]), None, "hello", NOW).unwrap().0;
    assert_eq!(started["contexts"][0]["displayName"], format!("{}, {}", PEOPLE[1].1, PEOPLE[2].1));
    let bernats = world.conversations(Actor(1));
    assert_eq!(bernats[0]["displayName"], format!("{}, {}", PEOPLE[0].1, PEOPLE[2].1));
}

#[test]
fn the_ids_at_the_start_are_the_same_in_each_process() {
    let all = |world: &World| world.conversations.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    let (mut next, mut later) = (0, NOW);
    let mut start = || {
        later += 100;
        World::new(
            || {
                next += 7;
                next
            },
            later,
        )
    };
    let (one, mut other) = (start(), start());
    assert_eq!(all(&one), all(&other));
    let begun = other.start(Actor(0), &names(&[0, 1, 2]), None, "hello", NOW).unwrap().0;
    assert!(begun["contexts"][0]["id"].as_str() > all(&one).last().map(String::as_str));
}

#[test]
fn participants_are_known_by_the_conversation() {
    let mut world = world();
    let id = world.start(Actor(0), &names(&[0, 3]), None, "hello", NOW).unwrap().0["contexts"][0]["id"].clone();
    let participants = world.participants(id.as_str().unwrap());
    assert_eq!(participants.iter().map(|one| one.as_str()).collect::<Vec<_>>(), [PEOPLE[0].0, PEOPLE[3].0]);
    assert!(world.participants("nowhere").is_empty());
}

#[test]
fn ids_grow_even_when_the_clock_goes_back() {
    let mut world = world();
    let later = world.id(NOW + 10);
    assert!(world.id(NOW) > later);
    assert_eq!(date(NOW), "2023-11-14T22:13:20Z");
}
