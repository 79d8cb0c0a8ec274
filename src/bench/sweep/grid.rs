//! The cells of a sweep: each setting under each load, several times. Their order, the settings of their servers, and
//! how long they take. Pure.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use super::axis::{Axis, Value};
use crate::bench::plan::{Pace, Plan, Random};
use crate::bench::target::Set;
use crate::config::{self, Config, Flag, Sources};

/// Most settings of a grid.
const SETTINGS_MAX: usize = 256;
/// The flag of an axis, for messages.
const FLAG: &str = "--sweep";
/// Time to start a server, to wait until it is at rest, and to stop it.
const AROUND: Duration = Duration::from_millis(1_500);
/// The time at the end of a run in which talks that were refused or lost are waited for.
const WAITED: Duration = Duration::from_secs(5);
/// Trials of a search for the knee that begins within a factor of sixteen.
const TRIALS: u32 = 10;
/// Trials of the longest search, each made three times.
const TRIALS_MAX: u32 = 72;

/// How the talks of a load come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// At a steady rate.
    Steady,
    /// In bursts of ten times the rate, with silence between them.
    Bursts,
}

impl Pattern {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Steady, Self::Bursts];

    /// Returns the name that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursts => "in bursts",
        }
    }
}

/// A load. Shown as "95 %, in bursts, with slow readers".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// The rate in percent of the knee.
    pub percent: u32,
    /// How the talks come.
    pub pattern: Pattern,
    /// Whether some readers are slow.
    pub slow: bool,
}

impl Load {
    /// Returns the pace of the talks, if the knee is at this rate.
    pub fn pace(self, knee: f64) -> Pace {
        let rate = knee * f64::from(self.percent) / 100.0;
        match self.pattern {
            Pattern::Steady => Pace::Open { rate },
            Pattern::Bursts => Pace::Bursts { rate },
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slow = if self.slow { ", with slow readers" } else { "" };
        write!(f, "{} %, {}{slow}", self.percent, self.pattern.as_str())
    }
}

/// One run: a setting under a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The number of the setting, in the order of the grid.
    pub setting: usize,
    /// The load.
    pub load: Load,
    /// The number of the repeat, from 0.
    pub repeat: u32,
}

/// The settings, the loads, and how often each of them is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The limits and their values.
    pub axes: Vec<Axis>,
    /// The settings: each has one value of each axis. The values of the last axis change fastest.
    pub settings: Vec<Vec<Value>>,
    /// The loads, rising.
    pub loads: Vec<Load>,
    /// How often each setting is run under each load.
    pub repeats: u32,
    /// The share of slow readers under the loads that have some.
    pub slow_share: f64,
    /// The seed of the order.
    pub seed: u64,
}

/// Why there is no grid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Two axes are of the same limit.
    #[error("{FLAG} names {0} twice: give all its values at once")]
    Twice(&'static str),
    /// There are too many settings.
    #[error("{FLAG} makes {0} combinations of values, and {SETTINGS_MAX} are the most")]
    TooMany(usize),
    /// The configuration does not allow a value, or a combination of values.
    #[error(transparent)]
    Config(#[from] config::Error),
}

/// How long a sweep takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// The time if the runs are neither lossy nor doubtful.
    pub usual: Duration,
    /// The time if all of them are, and each is repeated.
    pub longest: Duration,
}

impl Grid {
    /// Creates the grid of these axes, under loads of these percentages, without slow readers and, unless their share
    /// is 0, also with them.
    ///
    /// # Errors
    /// Two axes are of the same limit, or there are too many combinations.
    pub fn new(axes: Vec<Axis>, percents: &[u32], slow_share: f64, repeats: u32, seed: u64) -> Result<Self, GridError> {
        if let Some(at) = (1..axes.len()).find(|at| axes[..*at].iter().any(|axis| axis.key == axes[*at].key)) {
            return Err(GridError::Twice(axes[at].key));
        }
        let count = axes.iter().fold(1_usize, |count, axis| count.saturating_mul(axis.values.len()));
        if count > SETTINGS_MAX {
            return Err(GridError::TooMany(count));
        }
        let settings = axes.iter().fold(vec![Vec::new()], |settings, axis| {
            let with = |setting: &Vec<Value>| {
                let setting = setting.clone();
                axis.values.iter().map(move |value| [setting.clone(), vec![value.clone()]].concat())
            };
            settings.iter().flat_map(with).collect()
        });
        let slow = if slow_share > 0.0 { &[false, true][..] } else { &[false] };
        let mut loads = Vec::new();
        for (&percent, pattern) in percents.iter().flat_map(|percent| Pattern::ALL.map(|pattern| (percent, pattern))) {
            loads.extend(slow.iter().map(|&slow| Load { percent, pattern, slow }));
        }
        loads.sort_unstable();
        loads.dedup();
        Ok(Self { axes, settings, loads, repeats, slow_share, seed })
    }

    /// Returns the configuration without the sweep, if each setting of the grid can be configured in this environment.
    ///
    /// # Errors
    /// All problems, each once.
    pub fn check(&self, environment: &[(OsString, OsString)]) -> Result<Config, GridError> {
        let load = |flags| Config::load(Sources { file: None, environment: environment.to_vec(), flags });
        let present = load(Vec::new())?;
        let mut problems = Vec::new();
        for setting in 0..self.settings.len() {
            let flag = |(key, value)| Flag { name: FLAG, key, value };
            if let Err(error) = load(self.sets(setting).into_iter().map(flag).collect()) {
                problems.extend(error.0);
            }
        }
        let mut each: Vec<config::Problem> = Vec::new();
        for problem in problems {
            if !each.contains(&problem) {
                each.push(problem);
            }
        }
        if each.is_empty() { Ok(present) } else { Err(config::Error(each).into()) }
    }

    /// Returns settings that the servers need in addition, if this is the configuration without the sweep.
    ///
    /// Each conversation of the bench has one talker, who stands for many. The bound on the talks of one session would
    /// keep such a talker from filling the mailbox of its conversation, so it is raised, unless the operator chose it.
    pub fn companions(&self, config: &Config) -> Vec<Set> {
        const TALKS_MAX: &str = "session.talks_max";
        let largest = self.axes.iter().filter(|axis| axis.key == "mailbox.conversation");
        let largest = largest.flat_map(|axis| &axis.values).max();
        let is_chosen = config.changed().any(|setting| setting.starts_with(&format!("{TALKS_MAX} ")));
        match largest {
            Some(Value::Number(largest)) if !is_chosen && *largest >= config.session.talks_max as u64 => {
                vec![(TALKS_MAX, (largest + 1).to_string())]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the keys and values of a setting.
    pub fn sets(&self, setting: usize) -> Vec<Set> {
        let values = self.settings.get(setting).into_iter().flatten();
        self.axes.iter().zip(values).map(|(axis, value)| (axis.key, value.to_string())).collect()
    }

    /// Returns the name of a setting: `mailbox.conversation = 64, outbox.bytes_max = 65536`.
    pub fn name(&self, setting: usize) -> String {
        let named = self.sets(setting).into_iter().map(|(key, value)| format!("{key} = {value}"));
        named.collect::<Vec<_>>().join(", ")
    }

    /// Returns the values of a setting in the order of the axes: `64, 65536`.
    pub fn short_name(&self, setting: usize) -> String {
        let values = self.settings.get(setting).into_iter().flatten().map(Value::to_string);
        values.collect::<Vec<_>>().join(", ")
    }

    /// Returns the settings that differ from one in a single value, which is the next in its axis: the smaller or
    /// earlier one, and the larger or later one, for each axis.
    pub fn neighbours(&self, setting: usize) -> Vec<[Option<usize>; 2]> {
        let Some(values) = self.settings.get(setting) else { return Vec::new() };
        let beside = |(at, axis): (usize, &Axis)| {
            let place = axis.values.iter().position(|value| *value == values[at])?;
            let with = |place: Option<usize>| {
                let mut other = values.clone();
                other[at] = axis.values.get(place?)?.clone();
                self.find(&other)
            };
            Some([with(place.checked_sub(1)), with(place.checked_add(1))])
        };
        self.axes.iter().enumerate().filter_map(beside).collect()
    }

    /// Returns the number of cells.
    pub fn runs(&self) -> usize {
        self.settings.len() * self.loads.len() * self.repeats as usize
    }

    /// Returns all cells in the order in which they are run. Each repeat covers all settings and loads before the next
    /// begins, in a random order: so a slow change of the machine favours none of them, and a sweep that is
    /// interrupted has about as many runs of each.
    pub fn cells(&self) -> Vec<Cell> {
        let mut random = Random::new(self.seed);
        let mut cells = Vec::new();
        for repeat in 0..self.repeats {
            let mut round = Vec::new();
            for setting in 0..self.settings.len() {
                round.extend(self.loads.iter().map(|&load| Cell { setting, load, repeat }));
            }
            random.shuffle(&mut round);
            cells.append(&mut round);
        }
        cells
    }

    /// Returns the number of the setting that has these values. `None` if there is none.
    pub fn find(&self, values: &[Value]) -> Option<usize> {
        self.settings.iter().position(|setting| setting == values)
    }

    /// Returns how long the sweep takes with runs of this plan, with or without a search for the knee.
    pub fn time(&self, plan: &Plan, searches: bool) -> Time {
        let ramp = Duration::try_from_secs_f64(plan.connections as f64 / plan.ramp).unwrap_or_default();
        let run = ramp + plan.warm_up + plan.duration;
        // Each part of a grid has a bound, so this fits.
        let cells = self.runs() as u32;
        let (usual, longest) = (AROUND + run, AROUND + run + WAITED);
        let [trials, trials_max] = if searches { [TRIALS, TRIALS_MAX] } else { [0, 0] };
        Time { usual: usual * (cells + trials), longest: longest * (2 * cells + trials_max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::samples;

    fn grid(axes: &[&str], percents: &[u32], slow: bool, repeats: u32) -> Grid {
        let axes = axes.iter().map(|axis| axis.parse().unwrap()).collect();
        Grid::new(axes, percents, if slow { 0.05 } else { 0.0 }, repeats, 7).unwrap()
    }

    #[test]
    fn a_grid_has_each_combination_under_each_load() {
        let grid = grid(&["mailbox.session=4,2", "outbox.bytes_max=65536,70000,80000"], &[95, 50, 95], true, 2);
        let names = (0..grid.settings.len()).map(|setting| grid.name(setting)).collect::<Vec<_>>();
        assert_eq!(names.len(), 6);
        assert_eq!(names[0], "mailbox.session = 2, outbox.bytes_max = 65536");
        assert_eq!(names[4], "mailbox.session = 4, outbox.bytes_max = 70000");
        assert_eq!(grid.short_name(4), "4, 70000");
        let loads = grid.loads.iter().map(Load::to_string).collect::<Vec<_>>();
        assert_eq!(
            loads[..4],
            [
                "50 %, steady",
                "50 %, steady, with slow readers",
                "50 %, in bursts",
                "50 %, in bursts, with slow readers"
            ]
        );
        assert_eq!(loads.len(), 8, "a load that is named twice is one");
        assert_eq!(grid.neighbours(4), [[Some(1), None], [Some(3), Some(5)]]);
        assert_eq!(grid.neighbours(0), [[None, Some(3)], [None, Some(1)]]);
        let load = grid.loads[2];
        assert_eq!(
            (load.pace(2_000.0), grid.loads[0].pace(2_000.0)),
            (Pace::Bursts { rate: 1_000.0 }, Pace::Open { rate: 1_000.0 })
        );
    }

    #[test]
    fn cells_come_in_random_order_repeat_by_repeat() {
        let grid = grid(&["mailbox.session=2,4,8"], &[50, 95], false, 3);
        let cells = grid.cells();
        assert_eq!(cells.len(), 3 * 4 * 3);
        let round = |repeat: usize| &cells[12 * repeat..12 * (repeat + 1)];
        for repeat in 0..3 {
            let mut places = round(repeat).iter().map(|cell| (cell.setting, cell.load)).collect::<Vec<_>>();
            assert!(round(repeat).iter().all(|cell| cell.repeat == repeat as u32));
            assert!(!places.is_sorted());
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), 12, "each once");
        }
        let order = |repeat: usize| round(repeat).iter().map(|cell| (cell.setting, cell.load)).collect::<Vec<_>>();
        assert_ne!(order(0), order(1));
        assert_eq!(cells, grid.cells(), "the seed decides");
        assert_ne!(cells, Grid { seed: 8, ..grid }.cells());
    }

    #[test]
    fn a_grid_that_cannot_be_is_refused() {
        let axes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Axis>>();
        let error = Grid::new(axes(&["mailbox.session=1,2", "mailbox.session=3,4"]), &[95], 0.05, 1, 1).unwrap_err();
        assert_eq!(error.to_string(), "--sweep names mailbox.session twice: give all its values at once");
        let values = (1..=17).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
        let many = [format!("mailbox.session={values}"), format!("mailbox.registry={values}")];
        let error = Grid::new(axes(&[&many[0], &many[1]]), &[95], 0.05, 1, 1).unwrap_err();
        assert_eq!(error, GridError::TooMany(289));
    }

    #[test]
    fn each_setting_is_checked_like_the_file() {
        let check = |axes: &[&str], environment: &[(&str, &str)]| {
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>();
            grid(axes, &[95], false, 1).check(&environment)
        };
        let config = check(&["mailbox.conversation=16,3000"], &[]).unwrap();
        assert_eq!(config, Config::default(), "the sweep is not in it");
        let error = check(&["mailbox.session=0,8", "mailbox.registry=5,x"], &[]).unwrap_err().to_string();
        let expected = [
            "mailbox.registry = \"x\" (flag --sweep): not an integer; allowed: an integer from 1 to 10000000",
            "mailbox.session = \"0\" (flag --sweep): out of range; allowed: an integer from 1 to 1000000",
        ];
        let mut lines = error.lines().collect::<Vec<_>>();
        lines.sort_unstable();
        assert_eq!(lines, expected, "each once");
        let environment = [("MAXTALK_OUTBOX__MESSAGES_MAX", "3100")];
        let error = check(&["mailbox.conversation=16,2200"], &environment).unwrap_err().to_string();
        assert!(
            error.contains("MAXTALK_OUTBOX__MESSAGES_MAX), mailbox.conversation = \"2200\" (flag --sweep), "),
            "{error}"
        );
        assert!(error.ends_with("allowed here: at least 3201") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn one_talker_may_fill_the_mailbox_of_its_conversation() {
        let companions = |axis: &str, environment: &[(&str, &str)]| {
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>();
            let grid = grid(&[axis], &[95], false, 1);
            grid.companions(&grid.check(&environment).unwrap())
        };
        assert_eq!(companions("mailbox.conversation=16,1024", &[]), [("session.talks_max", "1025".to_owned())]);
        assert_eq!(companions("mailbox.conversation=16,32", &[]), [], "the default is enough");
        assert_eq!(companions("mailbox.conversation=16,1024", &[("MAXTALK_SESSION__TALKS_MAX", "64")]), []);
        assert_eq!(companions("mailbox.session=16,1024", &[]), []);
    }

    #[test]
    fn the_time_is_that_of_all_cells() {
        let grid = grid(&["mailbox.session=2,4"], &[50, 95], true, 3);
        let plan = Plan { connections: 1_000, ramp: 500.0, ..samples::good().plan };
        // 2 s of ramp, 5 s of warm-up, 30 s, and what is around them: 48 times.
        let usual = Duration::from_millis(38_500);
        let time = grid.time(&plan, false);
        assert_eq!((time.usual, time.longest), (usual * 48, (usual + WAITED) * 96));
        let time = grid.time(&plan, true);
        assert_eq!((time.usual, time.longest), (usual * 58, (usual + WAITED) * 168));
    }
}
