//! The people of the demo and their conversations at the start.

/// Usernames and names, all invented. The conversations below refer to them by index.
pub(super) const PEOPLE: [(&str, &str); 7] = [
    ("aina.roca", "Aina Roca"),
    ("bernat.puig", "Bernat Puig"),
    ("carla.vidal", "Carla Vidal"),
    ("dídac.muñoz", "Dídac Muñoz"),
    ("elena.soler", "Elena Soler i Güell"),
    ("ferran.camps", "Ferran Camps"),
    ("greta.lindqvist", "Greta Lindqvist"),
];

/// The username and name of the service account, a MAX Manager.
pub(super) const SERVICE: (&str, &str) = ("maxtalk.service", "maxtalk");

/// A conversation at the start: its name, its people and its messages. The first of the people owns it. A message is
/// its author, its age in minutes, and its text.
pub(super) type History = (Option<&'static str>, &'static [usize], &'static [(usize, i64, &'static str)]);

/// The conversations at the start.
pub(super) const CONVERSATIONS: &[History] = &[
    (
        Some("Friday hike"),
        &[0, 1, 2, 3, 4],
        &[
            (0, 195, "The forecast is fine for Friday. Who is in for Sant Jeroni?"),
            (1, 190, "Me! The 8:36 train, as last time?"),
            (3, 182, "I can bring the car for three of you."),
            (2, 61, "Car for me, please. My knees thank you, Dídac 🙏"),
            (4, 12, "I will be there. Do not forget the map this time."),
        ],
    ),
    (
        Some("Release crew"),
        &[5, 0, 6],
        &[
            (5, 88, "The candidate is on staging. Please break it."),
            (6, 80, "Broke it. Search with an empty query spins for ever."),
            (0, 41, "Fixed and deployed, have another go."),
            (6, 33, "Holds so far. Going for the big import next."),
        ],
    ),
    (
        None,
        &[0, 1],
        &[
            (1, 150, "Did you take my umbrella yesterday?"),
            (0, 148, "Green, with a wooden handle? It is on my desk."),
            (1, 147, "You saved me. I will pass by at five."),
        ],
    ),
    (None, &[2, 0], &[(2, 25, "Coffee before the review?"), (0, 23, "Ten minutes, the usual place ☕")]),
    (None, &[3, 4], &[(4, 310, "How was the concert?"), (3, 300, "Loud, long and lovely. I have lost my voice.")]),
    (
        None,
        &[6, 5],
        &[(5, 70, "Thanks for the report, that one was nasty."), (6, 66, "Any time. I enjoy it a bit too much.")],
    ),
];
