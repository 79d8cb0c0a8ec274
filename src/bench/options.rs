//! The command line of `maxtalk bench`: its flags, which of them exclude one another, and the plan that they make.

mod sweep;
mod values;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use url::Url;

pub use self::sweep::SweepOptions;
pub use self::values::Weights;
use self::values::{
    connections, conversations_per_user, duration, endpoint, generations, lag, members, payload_bytes, per_second,
    ramp, server_url, share, sizes, spawned, threads, transports, window,
};
use super::engine::Credentials;
use super::knee::Objective;
use super::plan::{LAG_MAX, Pace, Plan, Sizes, Way};
use super::protocol::{ChatProtocol, ProtocolError};
use super::sweep::grid::{Grid, GridError};
use crate::files::read_text;
use crate::protocol::{Generation, TransportKind};

/// As a file name, this is standard output.
pub const STDOUT: &str = "-";

/// Open files besides those of connections. Most are those of a server's demo MAX: each call under way has two ends.
const FILES_BESIDE: usize = 768;
/// Size limit of the file of tokens.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Size limit of the file of a protocol.
const PROTOCOL_BYTES_MAX: u64 = 64 << 10;

/// The flags of `maxtalk bench`.
#[derive(Args, Clone, Debug, PartialEq)]
#[group(skip)]
#[command(group(ArgGroup::new("target").required(true)))]
#[command(group(ArgGroup::new("search").args(["find_knee", "sweep"]).multiple(true)))]
pub struct BenchOptions {
    /// Server to load, such as http://127.0.0.1:6545. Its path is the namespace; the default is /max, or that of
    /// --protocol. Given again, it names another node of the same cluster: the connections are spread over all
    #[arg(long, value_name = "URL", group = "target", value_parser = server_url)]
    pub url: Vec<Url>,
    /// Start this program's server on loopback, with enough people in its demo MAX, and stop it afterwards. With a
    /// number from 2 to 16, that many nodes of a cluster and a redis-server of their own
    #[arg(
        long,
        value_name = "NODES",
        group = "target",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = spawned,
        conflicts_with_all = ["pid", "user_prefix", "token_file"],
    )]
    pub spawn: Option<usize>,
    /// Number of connections, one user each: at most 100,000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = connections)]
    pub connections: usize,
    /// Average members of a conversation. Ignored with --url, where MAX decides
    #[arg(long, value_name = "N", default_value = "10", value_parser = members)]
    pub members: usize,
    /// Conversations of each user, with other members each time: at most 1000. Ignored with --url, where MAX decides
    #[arg(long, value_name = "N", default_value = "1", value_parser = conversations_per_user)]
    pub conversations_per_user: usize,
    /// Sizes of the conversations of --spawn: even, or zipf:S, where the k-th largest is proportional to 1/k^S, with S
    /// at most 10 (default 1)
    #[arg(long, value_name = "even|zipf[:S]", default_value = "even", value_parser = sizes)]
    pub sizes: Sizes,
    /// Talks per second over all conversations, on schedule whatever the server does: at most 1,000,000. 0 sends none
    #[arg(long, value_name = "N", default_value = "1000", value_parser = per_second, conflicts_with = "window")]
    pub rate: f64,
    /// Send the talks of every ten seconds within one second, at ten times the rate, and none in the other nine
    #[arg(long, conflicts_with = "window")]
    pub bursts: bool,
    /// Talks in flight, at most 100,000: the next one is sent when all members have heard one. Replaces --rate
    #[arg(long, value_name = "N", value_parser = window)]
    pub window: Option<usize>,
    /// Measured time, such as 500ms, 30s, 2m: at most 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Time of talks before the measured time, such as 500ms, 30s, 2m: at most 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,
    /// Connections opened per second: 0.1 to 1,000,000
    #[arg(long, value_name = "N", default_value = "2000", value_parser = ramp)]
    pub ramp: f64,
    /// Approximate bytes of an update, at most 356. The messageID is padded to reach them
    #[arg(long, value_name = "N", default_value = "150", value_parser = payload_bytes)]
    pub payload_bytes: usize,
    /// Transports (websocket, polling), each with a weight
    #[arg(long, value_name = "websocket=9,polling=1", default_value = "websocket", value_parser = transports)]
    pub transports: Weights<TransportKind>,
    /// Generations of the protocol (eio4, eio3, 0.9), each with a weight
    #[arg(long, value_name = "eio4=8,eio3=1,0.9=1", default_value = "eio4", value_parser = generations)]
    pub generations: Weights<Generation>,
    /// Leaves per second, each followed by a new join: at most 1,000,000
    #[arg(long, value_name = "N", default_value = "0", value_parser = per_second)]
    pub churn: f64,
    /// Percentage of the connections that stop reading after they have joined
    #[arg(long, value_name = "N%", value_parser = share)]
    pub slow: Option<f64>,
    /// Prefix of the usernames. A number from 0 follows it
    #[arg(long, value_name = "TEXT", default_value = "u")]
    pub user_prefix: String,
    /// File with one line per connection: a token, or a username and a token. Without it, users join without tokens
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Process id of the server on this machine, to measure its CPU time and memory. Of several nodes, that of each, in
    /// the order of --url
    #[arg(long, value_name = "N")]
    pub pid: Vec<u32>,
    /// Threads that make the load, at most the number of cores
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads)]
    pub threads: usize,
    /// Seed of all random choices: the same seed makes the same run
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Path of the Socket.IO endpoint
    #[arg(long, value_name = "PATH", default_value = "/socket.io/", value_parser = endpoint)]
    pub path: String,
    /// File (TOML) that says what another Socket.IO chat server calls its events and their fields. Needs --url
    #[arg(long, value_name = "FILE", conflicts_with = "spawn")]
    pub protocol: Option<PathBuf>,
    /// Write the report as JSON. Without FILE, it replaces the table on standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    pub json: Option<PathBuf>,
    /// Write the report as an HTML page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the corrected delivery latencies, in ms, as a percentile distribution for HdrHistogram's tools
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    pub hgrm: Option<PathBuf>,
    /// Search for the highest rate that holds the objective of --slo: the rate is doubled from --rate on, then bisected
    #[arg(long, conflicts_with_all = ["window", "bursts"])]
    pub find_knee: bool,
    /// Objective of the search: bounds of delivery percentiles (p99<50ms) and of the maximum (max<1s), and loss=0
    #[arg(long, value_name = "OBJECTIVE", default_value = "p99<50ms,loss=0", requires = "search")]
    pub slo: Objective,
    /// How much later than planned a talk may be sent, at p99, until the bench itself is doubted: 100us to 1h. Bursts
    /// may always be late by a twentieth of their length. Default: 1ms; in a search a tenth of the smallest bound of
    /// --slo, and at least 1ms
    #[arg(long, value_name = "TIME", value_parser = lag, conflicts_with = "window")]
    pub lag_max: Option<Duration>,
    /// The flags of a sweep.
    #[command(flatten)]
    pub sweep: SweepOptions,
    /// Allow a target on another machine. Ask its owner first
    #[arg(long)]
    pub allow_remote: bool,
    /// Show no progress bar and no table, only the verdict
    #[arg(long, short)]
    pub quiet: bool,
    /// Show five lines in place of the table: plan, rates, latencies, whether the figures can be trusted, whether all
    /// was delivered
    #[arg(long, conflicts_with = "quiet")]
    pub brief: bool,
}

/// Why the flags are invalid.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A file cannot be read.
    #[error("{} (flag {flag}): cannot be read: {cause}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The file of `--protocol` describes no protocol.
    #[error("{} (flag --protocol): {cause}", .path.display())]
    Protocol {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: ProtocolError,
    },
    /// The file of `--token-file` has fewer lines than there are connections.
    #[error(
        "{} (flag --token-file) has {lines} lines, and --connections {connections} needs as many", .path.display()
    )]
    TooFewLines {
        /// The file.
        path: PathBuf,
        /// The number of lines with text.
        lines: usize,
        /// The number of connections.
        connections: usize,
    },
}

impl BenchOptions {
    /// Returns the pace of the talks.
    pub fn pace(&self) -> Pace {
        match self.window {
            Some(window) => Pace::Closed { window },
            None if self.bursts => Pace::Bursts { rate: self.rate },
            None => Pace::Open { rate: self.rate },
        }
    }

    /// Returns the plan that the flags make.
    pub fn plan(&self) -> Plan {
        let ways = self.generations.0.iter().flat_map(|&(generation, by_generation)| {
            let ways = self.transports.0.iter();
            ways.map(move |&(transport, weight)| (Way { generation, transport }, weight * by_generation))
        });
        Plan {
            connections: self.connections,
            members: self.members,
            conversations_per_user: self.conversations_per_user,
            sizes: if self.spawn.is_none() { Sizes::Learnt } else { self.sizes },
            pace: self.pace(),
            ramp: self.ramp,
            duration: self.duration,
            warm_up: self.warm_up,
            payload_bytes: self.payload_bytes,
            mix: ways.collect(),
            churn: self.churn,
            slow_share: self.slow.unwrap_or(0.0),
            user_prefix: self.user_prefix.clone(),
            seed: self.seed,
            lag_max: if self.find_knee { self.lag_max_of_search() } else { self.lag_max.unwrap_or(LAG_MAX) },
        }
    }

    /// Returns how late the generator may be in the trials of a search.
    pub fn lag_max_of_search(&self) -> Duration {
        self.lag_max.unwrap_or_else(|| self.slo.lag_max())
    }

    /// Returns why these flags cannot go together, and what to write instead. `None` if they can.
    pub fn contradiction(&self) -> Option<String> {
        let nodes = self.spawn.unwrap_or(self.url.len());
        match (self.sweep.is_asked_for(), self.spawn) {
            (true, None) => {
                let why = "a sweep starts its own servers: \"--sweep\" needs \"--spawn\" in place of \"--url\"";
                return Some(why.to_owned());
            }
            (true, Some(2..)) => {
                let why = "a sweep compares limits of one server: \"--sweep\" needs \"--spawn\" without a number";
                return Some(why.to_owned());
            }
            _ => {}
        }
        if !self.pid.is_empty() && self.pid.len() != nodes {
            let why = "the process of each node is needed: give \"--pid\" as often as \"--url\", in the same order";
            return Some(why.to_owned());
        }
        (self.connections < nodes).then(|| {
            format!("each node needs a connection: give \"--connections\" {nodes} or more, or name fewer nodes")
        })
    }

    /// Returns the grid of the sweep that is asked for.
    ///
    /// # Errors
    /// Two axes are of the same limit, or there are too many combinations.
    pub fn grid(&self) -> Result<Grid, GridError> {
        self.sweep.grid(self.slow, self.seed)
    }

    /// Returns the names and tokens in the file of `--token-file`, line by line. Empty without that flag.
    ///
    /// # Errors
    /// The file cannot be read, or has fewer lines than there are connections.
    pub fn users(&self) -> Result<Vec<Credentials>, OptionsError> {
        let Some(path) = &self.token_file else { return Ok(Vec::new()) };
        let unreadable = |cause| OptionsError::Unreadable { path: path.clone(), flag: "--token-file", cause };
        let text = read_text(path, FILE_BYTES_MAX).map_err(unreadable)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            match line.split_once(char::is_whitespace) {
                Some((name, token)) => {
                    Credentials { name: Some(name.to_owned()), token: Some(token.trim_start().into()) }
                }
                None => Credentials { name: None, token: Some(line.into()) },
            }
        });
        let users = lines.take(self.connections).collect::<Vec<_>>();
        if users.len() < self.connections {
            let (path, lines, connections) = (path.clone(), users.len(), self.connections);
            return Err(OptionsError::TooFewLines { path, lines, connections });
        }
        Ok(users)
    }

    /// Returns the protocol of the server: that of the file of `--protocol`, or maxtalk's.
    ///
    /// # Errors
    /// The file cannot be read, or describes no protocol.
    pub fn protocol(&self) -> Result<ChatProtocol, OptionsError> {
        let Some(path) = &self.protocol else { return Ok(ChatProtocol::default()) };
        let unreadable = |cause| OptionsError::Unreadable { path: path.clone(), flag: "--protocol", cause };
        let text = read_text(path, PROTOCOL_BYTES_MAX).map_err(unreadable)?;
        ChatProtocol::parse(&text).map_err(|cause| OptionsError::Protocol { path: path.clone(), cause })
    }

    /// Returns the number of files that the run, or the server of `--spawn`, has open at most. A client that polls has
    /// two connections.
    pub fn files(&self) -> u64 {
        let polls = self.transports.0.iter().any(|&(kind, weight)| kind == TransportKind::Polling && weight > 0);
        let per_client = if polls { 2 } else { 1 };
        (per_client * self.connections + FILES_BESIDE) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use clap::error::ErrorKind;

    use super::values::{CONNECTIONS_MAX, PAYLOAD_BYTES_MAX, PER_SECOND_MAX, WINDOW_MAX};
    use super::*;
    use crate::bench::ledger;
    use crate::bench::outcome::{Report, samples};
    use crate::bench::report::{self, text};
    use crate::config::Config;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: BenchOptions,
    }

    fn parse(line: &str) -> Result<BenchOptions, clap::Error> {
        CommandLine::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).map(|line| line.options)
    }

    const PAGE: &str = include_str!("../docs/bench.md");

    /// Returns the arguments of the lines of the page that start a bench, without quotes.
    fn lines_of_the_page() -> Vec<String> {
        let lines = PAGE.lines().filter_map(|line| line.strip_prefix("maxtalk bench --"));
        lines.map(|rest| format!("--{}", rest.replace('"', ""))).collect()
    }

    #[test]
    fn the_lines_of_the_page_are_understood() {
        let lines = lines_of_the_page();
        assert!(lines.len() >= 2, "{lines:?}");
        for line in lines {
            assert!(parse(&line).is_ok(), "{line}");
        }
    }

    #[test]
    fn the_report_of_the_page_is_that_of_its_line() {
        let plan = parse(&lines_of_the_page()[0]).unwrap().plan();
        let conversations = plan.connections * plan.conversations_per_user / plan.members;
        let report = text::table(&report::of_run(&Report { plan, conversations, ..samples::good() }));
        let plan_in = |text: &str| -> Vec<String> {
            let lines = text.lines().skip_while(|line| !line.starts_with("  plan "));
            lines.take_while(|line| !line.starts_with("  server ")).map(str::to_owned).collect()
        };
        assert_eq!(plan_in(PAGE), plan_in(&report));
    }

    #[test]
    fn the_flags_of_the_page_have_the_defaults_that_it_says() {
        let command = <CommandLine as clap::CommandFactory>::command();
        let rows = PAGE.lines().skip_while(|line| *line != "| flag | default | says |").skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).collect::<Vec<_>>();
        assert!(rows.len() > 5, "{rows:?}");
        for row in rows {
            let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
            let flags = cells[1].split('`').filter_map(|part| part.strip_prefix("--"));
            let defaults = flags.map(|flag| {
                let name = flag.split(' ').next().unwrap();
                let argument = command.get_arguments().find(|argument| argument.get_long() == Some(name));
                let argument = argument.unwrap_or_else(|| panic!("there is no --{name}"));
                argument.get_default_values().first().map_or("none", |default| default.to_str().unwrap()).to_owned()
            });
            let defaults = defaults.collect::<Vec<_>>();
            let said = cells[2].split(", ").map(|default| default.trim_matches('`')).filter(|said| !said.is_empty());
            for (said, default) in said.zip(&defaults) {
                assert_eq!(said, default, "{row}");
            }
        }
    }

    #[test]
    fn flags_and_defaults_make_a_plan() {
        let options = parse("--url http://HOST --connections 10000 --members 10 --rate 2000 --duration 30s").unwrap();
        let websocket = Way { generation: Generation::Eio4, transport: TransportKind::WebSocket };
        let expected = Plan {
            connections: 10_000,
            members: 10,
            conversations_per_user: 1,
            sizes: Sizes::Learnt,
            pace: Pace::Open { rate: 2000.0 },
            ramp: 2000.0,
            duration: Duration::from_secs(30),
            warm_up: Duration::from_secs(1),
            payload_bytes: 150,
            mix: vec![(websocket, 1)],
            churn: 0.0,
            slow_share: 0.0,
            user_prefix: "u".to_owned(),
            seed: 1,
            lag_max: Duration::from_millis(1),
        };
        assert_eq!(options.plan(), expected);
        assert_eq!(options.files(), 10_768);
        let lag_max = |line: &str| parse(&format!("--spawn {line}")).unwrap().plan().lag_max;
        assert_eq!(lag_max("--find-knee"), Duration::from_millis(5));
        assert_eq!(lag_max("--find-knee --slo max<1s"), Duration::from_millis(100));
        assert_eq!(lag_max("--find-knee --lag-max 7ms"), Duration::from_millis(7));
        assert_eq!(lag_max("--lag-max 7ms"), Duration::from_millis(7));
        assert_eq!(parse("--spawn").unwrap().plan().sizes, Sizes::Even);
    }

    #[test]
    fn a_mix_multiplies_its_weights() {
        let options = parse("--spawn --transports websocket=9,polling=1 --generations eio4=8,0.9=2").unwrap();
        let mix = options.plan().mix.into_iter().map(|(way, weight)| (way.generation, way.transport, weight));
        let (socket, polling) = (TransportKind::WebSocket, TransportKind::Polling);
        let expected = [
            (Generation::Eio4, socket, 72),
            (Generation::Eio4, polling, 8),
            (Generation::Sio09, socket, 18),
            (Generation::Sio09, polling, 2),
        ];
        assert!(mix.eq(expected));
    }

    #[test]
    fn values_out_of_bounds_say_their_bounds() {
        let table = [
            ("--connections 100001", "a whole number from 2 to 100000"),
            ("--connections 1", "a whole number from 2 to 100000"),
            ("--duration 61m", "at most 1h"),
            ("--duration 10", "a time has a unit"),
            ("--duration 10d", "the units of time"),
            ("--duration .s", "a time is a number"),
            ("--lag-max 99us", "from 100us to 1h"),
            ("--window 0", "a whole number from 1"),
            ("--rate -1", "unexpected argument"),
            ("--payload-bytes 357", "a whole number from 1 to 356: a messageID of more than 256 bytes is refused"),
            ("--rate NaN", "a number from 0"),
            ("--ramp 0", "a number from 0.1"),
            ("--slow 5", "percent sign"),
            ("--slow 101%", "a number from 0 to 100"),
            ("--sizes pareto", "even, zipf"),
            ("--transports webtransport", "not one of websocket, polling"),
            ("--transports websocket=x", "the weight of websocket"),
            ("--generations eio4=0", "above 0"),
            ("--slo p99", "p99"),
            ("--path socket.io", "begins with a slash"),
            ("--sweep mailbox.session=1", "mailbox.session needs two values or more"),
            ("--sweep mailbox.session=1,2 --knee 0", "a number from 1"),
            ("--sweep mailbox.session=1,2 --loads 50,0", "a whole number from 1 to 1000"),
            ("--sweep mailbox.session=1,2 --loads ,", "a whole number from 1 to 1000"),
            ("--sweep mailbox.session=1,2 --loads 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most 16 percentages"),
            ("--sweep mailbox.session=1,2 --repeats 101", "a whole number from 1 to 100"),
        ];
        for (line, message) in table {
            let error = parse(&format!("--spawn --find-knee {line}")).or_else(|_| parse(&format!("--spawn {line}")));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
    }

    #[test]
    fn a_url_without_a_scheme_is_told_with_one() {
        for (url, message) in [
            ("127.0.0.1:6545", "write http://127.0.0.1:6545"),
            ("localhost:6545/chat", "write http://localhost:6545/chat"),
            ("localhost", "write http://localhost"),
            (":6545", "write http://127.0.0.1:6545"),
            ("http://", "host, port and namespace, such as http://127.0.0.1:6545/max"),
        ] {
            let error = parse(&format!("--url {url}")).unwrap_err().to_string();
            assert!(error.contains(&format!("{message}\n")), "{url}: {error}");
        }
        assert!(parse("--url https://x").is_ok(), "the target is refused later");
    }

    #[test]
    fn help_says_the_bounds() {
        let help = <CommandLine as clap::CommandFactory>::command().render_long_help().to_string();
        let help = |flag: &str| help.split("\n      --").find(|part| part.starts_with(flag)).unwrap().to_owned();
        let connections = CONNECTIONS_MAX.to_string();
        let table = [
            ("connections", connections.as_str()),
            ("window", &WINDOW_MAX.to_string()),
            ("rate", &PER_SECOND_MAX.to_string()),
            ("payload-bytes", &PAYLOAD_BYTES_MAX.to_string()),
            ("duration", "1h"),
            ("warm-up", "1h"),
            ("loads", "16 of them each at most 1000"),
            ("repeats", "100"),
        ];
        for (flag, max) in table {
            let help = help(flag);
            assert!(help.replace(',', "").contains(&format!("at most {max}")), "{help}");
        }
    }

    #[test]
    fn the_longest_payload_is_what_a_server_takes() {
        let id_bytes = |payload_bytes| ledger::message_id("", 0, payload_bytes).len();
        let id_bytes_max = Config::default().limits.id_bytes_max;
        assert_eq!((id_bytes(PAYLOAD_BYTES_MAX), id_bytes(PAYLOAD_BYTES_MAX + 1)), (id_bytes_max, id_bytes_max + 1));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table = [
            ("", ErrorKind::MissingRequiredArgument),
            ("--spawn --url http://x", ErrorKind::ArgumentConflict),
            ("--spawn --pid 1", ErrorKind::ArgumentConflict),
            ("--spawn --user-prefix x", ErrorKind::ArgumentConflict),
            ("--spawn --token-file x", ErrorKind::ArgumentConflict),
            ("--spawn --protocol x", ErrorKind::ArgumentConflict),
            ("--spawn --sweep mailbox.session=1,2 --hgrm x", ErrorKind::ArgumentConflict),
            ("--spawn --quiet --brief", ErrorKind::ArgumentConflict),
            ("--spawn --window 1 --lag-max 1ms", ErrorKind::ArgumentConflict),
            ("--spawn --rate 1 --window 1", ErrorKind::ArgumentConflict),
            ("--spawn --bursts --window 1", ErrorKind::ArgumentConflict),
            ("--spawn --bursts --find-knee", ErrorKind::ArgumentConflict),
            ("--spawn --find-knee --window 1", ErrorKind::ArgumentConflict),
            ("--spawn --slo p99<1ms", ErrorKind::MissingRequiredArgument),
            ("--spawn --sweep mailbox.session=1,2 --find-knee", ErrorKind::ArgumentConflict),
            ("--spawn --sweep mailbox.session=1,2 --window 3", ErrorKind::ArgumentConflict),
            ("--spawn --sweep mailbox.session=1,2 --bursts", ErrorKind::ArgumentConflict),
            ("--spawn --sweep mailbox.session=1,2 --pid 1", ErrorKind::ArgumentConflict),
            ("--spawn --plan", ErrorKind::MissingRequiredArgument),
            ("--spawn --knee 100", ErrorKind::MissingRequiredArgument),
            ("--spawn --loads 50", ErrorKind::MissingRequiredArgument),
            ("--spawn --repeats 1", ErrorKind::MissingRequiredArgument),
        ];
        for (line, kind) in table {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
        assert!(parse("--spawn --find-knee --slo p99<1ms --json").is_ok());
        assert!(parse("--spawn --sweep mailbox.session=1,2 --slo p99<1ms --rate 10 --plan").is_ok());
    }

    #[test]
    fn flags_of_several_nodes_that_contradict_one_another_say_what_to_write() {
        let said = |line: &str| parse(line).unwrap().contradiction();
        let table = [
            ("--url http://a --sweep mailbox.session=1,2", "needs \"--spawn\" in place of \"--url\""),
            ("--spawn 2 --sweep mailbox.session=1,2", "needs \"--spawn\" without a number"),
            ("--url http://a --url http://b --pid 1", "give \"--pid\" as often as \"--url\", in the same order"),
            ("--url http://a --pid 1 --pid 2", "give \"--pid\" as often as \"--url\""),
            ("--spawn 3 --connections 2", "give \"--connections\" 3 or more"),
        ];
        for (line, message) in table {
            assert!(said(line).is_some_and(|said| said.contains(message)), "{line}: {:?}", said(line));
        }
        for line in ["--spawn", "--spawn 3", "--spawn --sweep mailbox.session=1,2", "--url http://a --pid 1"] {
            assert_eq!(said(line), None, "{line}");
        }
        assert_eq!(said("--url http://a --url http://b --pid 1 --pid 2"), None);
        let many = parse("--spawn 17").unwrap_err().to_string();
        assert!(many.contains("a whole number from 1 to 16"), "{many}");
        assert_eq!(parse("--spawn --rate 5").unwrap().spawn, Some(1));
        assert_eq!(parse("--spawn 3 --rate 5").unwrap().spawn, Some(3));
    }

    #[test]
    fn a_sweep_has_a_grid() {
        let grid = |line: &str| parse(&format!("--spawn {line}")).unwrap().grid().unwrap();
        let default = grid("--sweep mailbox.session=2,4 --sweep max.inflight_max=8,16,32");
        assert_eq!((default.settings.len(), default.loads.len(), default.repeats), (6, 16, 3));
        assert_eq!((default.slow_share, default.seed), (0.05, 1));
        let small = grid("--sweep mailbox.session=2,4 --loads 95,50% --slow 0% --repeats 1 --seed 9");
        assert_eq!((small.loads.len(), small.loads[0].percent, small.repeats, small.seed), (4, 50, 1, 9));
        assert_eq!(grid("--sweep mailbox.session=2,4 --slow 20%").slow_share, 0.2);
        assert!(!parse("--spawn").unwrap().sweep.is_asked_for());
        assert_eq!(parse("--spawn --slow 20%").unwrap().plan().slow_share, 0.2);
    }

    #[test]
    fn tokens_come_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "t0\n\n messi  t1 \nt2\n").unwrap();
        let with = |connections| {
            let path = file.path().display();
            parse(&format!("--url http://x --connections {connections} --token-file {path}")).unwrap().users()
        };
        let line =
            |name: Option<&str>, token: &str| Credentials { name: name.map(str::to_owned), token: Some(token.into()) };
        assert_eq!(with(2).unwrap(), [line(None, "t0"), line(Some("messi"), "t1")]);
        assert_eq!(with(3).unwrap().len(), 3);
        let error = with(4).unwrap_err();
        assert!(matches!(error, OptionsError::TooFewLines { lines: 3, connections: 4, .. }), "{error}");
        assert!(error.to_string().contains("has 3 lines, and --connections 4"), "{error}");
        file.as_file().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(with(2).unwrap_err().to_string().ends_with(": cannot be read: longer than 67108864 bytes"));
    }
}
