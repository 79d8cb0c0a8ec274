//! The command line: its commands and options, the configuration that they make, and the output of the commands.

mod manual;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use rustix::process::{Signal, getpid, kill_process};

pub use self::manual::ManError;
use crate::bench::command::{self, BenchError, Files};
use crate::bench::options::BenchOptions;
use crate::config::cost::{Cost, Size};
use crate::config::{self, Config, File, Flag, Sources};
use crate::docs;
use crate::files::read_text;
use crate::healthcheck::{self, HealthcheckOptions};
use crate::limits::machine::Machine;
use crate::remote::address::{Access, Nowhere, Remote};
use crate::remote::caller::{self, CallError};
use crate::set::{self, SetOptions};
use crate::top::{self, TopError, TopOptions};
use crate::version;

/// Size limit of a configuration file. A larger file was probably named by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How long writing an error may take if standard error is blocked.
const COMPLAINT_TIMEOUT: Duration = Duration::from_secs(1);

/// The commands of maxtalk.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Run the service (the default)
    Serve(Options),
    /// Check the configuration, show the settings that differ from the defaults, show how much memory and how many open
    /// files it can take, and ask MAX whether it answers
    Check {
        /// The configuration.
        #[command(flatten)]
        options: Options,
        /// Do not ask MAX
        #[arg(long)]
        offline: bool,
        /// Try the Redis of a cluster and the RabbitMQ of MAX too: connect, subscribe and publish, bind
        #[arg(long, conflicts_with = "offline")]
        connect: bool,
        /// The size to show the cost of.
        #[command(flatten)]
        size: SizeOptions,
    },
    /// Print every setting with its default as an annotated TOML file
    Config,
    /// Print a dashboard for Grafana: import it there as JSON
    Grafana,
    /// Print alerting rules for Prometheus, as a file for its rule_files
    Alerts,
    /// Print a page of the documentation, or the list of the pages
    Docs {
        /// The name of the page
        #[arg(value_name = "PAGE", value_parser = PossibleValuesParser::new(pages()))]
        page: Option<String>,
    },
    /// Load a server with many clients, check every delivery, and report how fast it was
    Bench(Box<BenchOptions>),
    /// Show a running server in the terminal: its mailboxes, slow sessions and hot conversations
    Top(TopOptions),
    /// Change settings of a running server until its next start, or list those that may be changed
    Set(SetOptions),
    /// Ask a running server whether it is ready for clients; the exit code is 0 if it is, and 1 if not
    Healthcheck(HealthcheckOptions),
    /// Print a script that completes the commands and options of maxtalk in a shell
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual: the page of every command, or of one, in the form that man reads
    Man(ManOptions),
}

/// The options of `maxtalk man`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ManOptions {
    /// The command whose page is wanted (default: all pages, one after the other)
    pub command: Option<String>,
    /// Write each page into a file of its own in this folder, such as maxtalk-serve.1
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// The options of the commands that read a configuration.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Address where clients connect, such as 192.0.2.1:6545, localhost:6545, or :6545 for all (setting server.listen)
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Base URL of MAX; without one, an embedded demo MAX is used (setting max.url)
    #[arg(long, value_name = "URL")]
    pub max_url: Option<String>,
    /// Let other machines reach the demo MAX, which gives its tokens to everybody (setting demo.public)
    #[arg(long)]
    pub demo: bool,
    /// TOML file with settings, in the format that "maxtalk config" prints
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stop when standard input ends, and so when the process that holds its other end does
    #[arg(long, hide = true)]
    pub until_eof: bool,
}

/// The size of a server whose cost is shown.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeOptions {
    /// Show the cost of this number of sessions (default: limits.sessions_max)
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub sessions: Option<u64>,
    /// Show the cost of this number of conversations (default: as many as sessions)
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub conversations: Option<u64>,
}

/// Returns the names of the pages that `maxtalk docs` takes.
fn pages() -> impl Iterator<Item = PossibleValue> {
    docs::PAGES.iter().map(|page| PossibleValue::new(page.name).alias(page.file).help(page.about))
}

/// Reads a number of sessions or conversations.
fn parse_count(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| format!("allowed: a whole number from 1 to {}", u64::MAX))
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A named file cannot be read as text.
    #[error("{what}: cannot be read: {cause}")]
    Unreadable {
        /// The file, and the setting or flag that names it.
        what: String,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The configuration is invalid.
    #[error(transparent)]
    Invalid(#[from] config::Error),
}

/// Reads the command line of this process. Ends the process with 0 after printing help or version, and with 2 if the
/// command line is invalid.
pub fn parse() -> Command {
    CommandLine::parse().command().unwrap_or_else(|error| error.exit())
}

/// Writes `text` to standard output. A closed pipe is not an error.
///
/// # Errors
/// The write fails, such as on a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Runs the load bench and shows its report, or shows the plan of a sweep. The exit code is 1 if the run is not valid,
/// not clean, or no rate held the objective; or if the sweep recommends nothing, or found a fault of the server. It is
/// 130 if a clean run or a sweep was interrupted.
///
/// # Errors
/// There is no report, or it cannot be shown.
pub fn bench(options: &BenchOptions) -> Result<ExitCode, BenchError> {
    let show =
        |text: &str| print(text).map_err(|cause| BenchError::Unwritable { path: "standard output".to_owned(), cause });
    if options.sweep.plan {
        show(&command::plan(options)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = Files::open(options)?;
    let outcome = command::run(options)?;
    let sheet = outcome.sheet();
    // If a file cannot be written, standard output still gets the report.
    let written = files.write(&sheet);
    show(&command::output(options, &sheet))?;
    written?;
    Ok(ExitCode::from(outcome.code()))
}

/// Why a command for a running server fails.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no configuration.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The configuration does not say where the server is.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is nothing to show.
    #[error(transparent)]
    Top(#[from] TopError),
    /// The system refuses a runtime, or the output.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RemoteError {
    /// Returns the exit code: 2 if the command line asks for what cannot be, otherwise 1.
    pub fn code(&self) -> u8 {
        if matches!(self, Self::Top(error) if error.is_usage()) { 2 } else { 1 }
    }
}

/// Shows a running server.
///
/// # Errors
/// See [`RemoteError`].
pub fn top(options: &TopOptions) -> Result<ExitCode, RemoteError> {
    options.check()?;
    Ok(ExitCode::from(top::run(remote(&options.access)?, options)?))
}

/// Changes settings of a running server, or lists those that may be changed.
///
/// # Errors
/// See [`RemoteError`].
pub fn set(options: &SetOptions) -> Result<ExitCode, RemoteError> {
    let text = caller::run(set::run(remote(&options.access)?, &options.pairs))??;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks a running server whether it is ready for clients.
///
/// # Errors
/// See [`RemoteError`].
pub fn healthcheck(options: &HealthcheckOptions) -> Result<ExitCode, RemoteError> {
    print(&caller::run(healthcheck::run(remote(&options.access)?, options.timeout))??)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the script that completes commands and options in a shell.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command_of_clap(), "maxtalk", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Prints pages of the manual, or writes them into files.
///
/// # Errors
/// See [`ManError`].
pub fn man(options: &ManOptions) -> Result<(), ManError> {
    let pages = manual::pages(CommandLine::command_of_clap())?;
    match (&options.dir, &options.command) {
        (Some(dir), _) => manual::write(&pages, dir),
        (None, None) => Ok(print(&pages.iter().map(|page| page.text.as_str()).collect::<String>())?),
        (None, Some(name)) => match pages.iter().find(|page| page.command == *name) {
            Some(page) => Ok(print(&page.text)?),
            None => Err(ManError::Unknown(name.clone())),
        },
    }
}

/// Finds the server by the options and the configuration.
fn remote(access: &Access) -> Result<Remote, RemoteError> {
    let options = Options { config: access.config.clone(), ..Options::default() };
    let config = Config::load_of_running(options.sources()?).map_err(LoadError::from)?;
    Ok(Remote::find(access.admin.clone(), &config)?)
}

/// Sends SIGTERM to this process when its standard input ends.
///
/// # Errors
/// The system has no thread for that.
pub fn stop_at_eof() -> io::Result<()> {
    let wait = || {
        // A read error counts as the end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = kill_process(getpid(), Signal::TERM);
    };
    thread::Builder::new().name("standard input".to_owned()).spawn(wait).map(drop)
}

/// Writes `error` to standard error. Waits at most a second if standard error is blocked.
pub fn complain(error: &dyn std::error::Error) {
    let lines = error.to_string().lines().map(|line| format!("maxtalk: {line}\n")).collect::<String>();
    let (done, written) = mpsc::channel();
    let writer = thread::Builder::new().spawn(move || {
        // If this fails too, only the exit code reports the error.
        let _ = io::stderr().write_all(lines.as_bytes());
        let _ = done.send(());
    });
    if writer.is_ok() {
        let _ = written.recv_timeout(COMPLAINT_TIMEOUT);
    }
}

impl Options {
    /// Loads the configuration from the file, the environment and these options.
    ///
    /// # Errors
    /// A file cannot be read, or the configuration is invalid.
    pub fn load(&self) -> Result<Config, LoadError> {
        let config = Config::load(self.sources()?)?;
        if let Some(path) = &config.max.ca_file {
            let named = || config.describe("max.ca_file");
            read_text(path, FILE_BYTES_MAX).map_err(|cause| LoadError::Unreadable { what: named(), cause })?;
        }
        Ok(config)
    }

    fn sources(&self) -> Result<Sources, LoadError> {
        let file = match &self.config {
            Some(path) => {
                let named = || format!("file {} (flag --config)", path.display());
                let text =
                    read_text(path, FILE_BYTES_MAX).map_err(|cause| LoadError::Unreadable { what: named(), cause })?;
                Some(File { path: path.display().to_string(), text })
            }
            None => None,
        };
        let flag = |name, key, value: &Option<String>| value.clone().map(|value| Flag { name, key, value });
        let flags = [
            flag("--listen", "server.listen", &self.listen),
            flag("--max-url", "max.url", &self.max_url),
            flag("--demo", "demo.public", &self.demo.then(|| "true".to_owned())),
        ];
        let environment = std::env::vars_os().collect();
        Ok(Sources { file, environment, flags: flags.into_iter().flatten().collect() })
    }

    /// Loads the configuration, and returns it with the report that `maxtalk check` prints.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn check(&self, size: SizeOptions) -> Result<(Config, String), LoadError> {
        let config = self.load()?;
        let machine = Machine::read();
        let size = Size::of(&config, &machine, size.sessions, size.conversations);
        let cost = Cost::of(&config, size, &machine).report();
        let file = self.config.as_ref().map_or(String::new(), |path| format!(" (file {})", path.display()));
        let changed = config.changed().map(|setting| format!("  {setting}\n")).collect::<String>();
        let warnings = config.warnings().iter().map(|warning| format!("warning: {warning}\n")).collect::<String>();
        let report = format!("configuration is valid{file}\n{changed}{warnings}{cost}");
        Ok((config, report))
    }

    /// Returns these options, with the unset ones taken from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            max_url: self.max_url.or(other.max_url),
            demo: self.demo || other.demo,
            config: self.config.or(other.config),
            until_eof: self.until_eof || other.until_eof,
        }
    }
}

/// The command line as clap parses it.
#[derive(Debug, Parser)]
#[command(
    name = "maxtalk",
    version,
    long_version = version::FULL.as_str(),
    about = env!("CARGO_PKG_DESCRIPTION"),
    after_help = AFTER_HELP
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

const AFTER_HELP: &str = "\
Each setting section.key of the file is also the environment variable MAXTALK_SECTION__KEY, with two underscores.
Flags override the environment, which overrides the file, which overrides the defaults.";

impl CommandLine {
    /// Returns the command, with the options before and after its name merged.
    fn command(self) -> Result<Command, clap::Error> {
        match self.command.unwrap_or_else(|| Command::Serve(Options::default())) {
            Command::Serve(options) => Ok(Command::Serve(options.or(self.options))),
            Command::Check { options, offline, connect, size } => {
                Ok(Command::Check { options: options.or(self.options), offline, connect, size })
            }
            Command::Bench(options) if options.contradiction().is_some() => {
                let message = options.contradiction().unwrap_or_default();
                Err(Self::command_of_clap().error(ErrorKind::ArgumentConflict, message))
            }
            Command::Set(options) if options.repeated().is_some() => {
                let message = format!("{} is given twice", options.repeated().unwrap_or_default());
                Err(Self::command_of_clap().error(ErrorKind::ArgumentConflict, message))
            }
            command if self.options == Options::default() => Ok(command),
            command => {
                let message = match command {
                    Command::Bench(_) => {
                        "\"maxtalk bench\" loads the server of --url, or one of its own: these options are for \
                         \"maxtalk serve\""
                    }
                    Command::Grafana => {
                        "\"maxtalk grafana\" prints the same for every configuration, and takes no options"
                    }
                    Command::Alerts => {
                        "\"maxtalk alerts\" prints the same for every configuration, and takes no options"
                    }
                    Command::Docs { .. } => {
                        "\"maxtalk docs\" prints the same for every configuration, and takes no options"
                    }
                    Command::Completions { .. } | Command::Man(_) => {
                        "\"maxtalk completions\" and \"maxtalk man\" print the same for every configuration"
                    }
                    Command::Top(_) | Command::Set(_) | Command::Healthcheck(_) => {
                        "\"maxtalk top\", \"maxtalk set\" and \"maxtalk healthcheck\" are for a running server: write \
                         --config after their names"
                    }
                    _ => "\"maxtalk config\" prints the defaults and takes no options: did you mean \"maxtalk check\"?",
                };
                Err(Self::command_of_clap().error(ErrorKind::ArgumentConflict, message))
            }
        }
    }

    fn command_of_clap() -> clap::Command {
        <Self as CommandFactory>::command()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &[&str]) -> Result<Command, ErrorKind> {
        let words = ["maxtalk"].iter().chain(line);
        CommandLine::try_parse_from(words).and_then(CommandLine::command).map_err(|error| error.kind())
    }

    #[test]
    fn options_stand_before_and_behind_the_command() {
        let listen = |address: &str| Options { listen: Some(address.to_owned()), ..Options::default() };
        let check = |address: &str, offline| Command::Check {
            options: listen(address),
            offline,
            connect: false,
            size: SizeOptions::default(),
        };
        let table: &[(&[&str], Result<Command, ErrorKind>)] = &[
            (&[], Ok(Command::Serve(Options::default()))),
            (&["serve"], Ok(Command::Serve(Options::default()))),
            (&["--listen", "a"], Ok(Command::Serve(listen("a")))),
            (&["--demo"], Ok(Command::Serve(Options { demo: true, ..Options::default() }))),
            (&["-c", "a", "serve"], Ok(Command::Serve(Options { config: Some("a".into()), ..Options::default() }))),
            (&["serve", "--listen", "a"], Ok(Command::Serve(listen("a")))),
            (&["--listen", "a", "check"], Ok(check("a", false))),
            (&["--listen", "a", "check", "--listen", "b", "--offline"], Ok(check("b", true))),
            (&["--offline"], Err(ErrorKind::UnknownArgument)),
            (&["config"], Ok(Command::Config)),
            (&["--listen", "a", "config"], Err(ErrorKind::ArgumentConflict)),
            (&["--listen", "a", "alerts"], Err(ErrorKind::ArgumentConflict)),
            (&["grafana"], Ok(Command::Grafana)),
            (&["docs"], Ok(Command::Docs { page: None })),
            (&["docs", "tuning"], Ok(Command::Docs { page: Some("tuning".to_owned()) })),
            (&["docs", "tuning.md"], Ok(Command::Docs { page: Some("tuning.md".to_owned()) })),
            (&["docs", "tunning"], Err(ErrorKind::InvalidValue)),
            (&["config", "--listen", "a"], Err(ErrorKind::UnknownArgument)),
            (&["--listen"], Err(ErrorKind::InvalidValue)),
            (&["bench", "--url", "http://x", "--sweep", "mailbox.session=1,2"], Err(ErrorKind::ArgumentConflict)),
            (&["bench", "--sweep", "mailbox.session=1,2"], Err(ErrorKind::MissingRequiredArgument)),
            (&["--config", "a", "top"], Err(ErrorKind::ArgumentConflict)),
            (&["set"], Ok(Command::Set(SetOptions::default()))),
            (&["set", "a.b"], Err(ErrorKind::ValueValidation)),
            (&["set", "a.b=1", "a.b=2"], Err(ErrorKind::ArgumentConflict)),
            (&["top", "--interval", "0.01"], Err(ErrorKind::ValueValidation)),
            (&["top", "--admin", "https://a"], Err(ErrorKind::ValueValidation)),
            (&["--config", "a", "healthcheck"], Err(ErrorKind::ArgumentConflict)),
            (&["healthcheck", "--timeout", "0"], Err(ErrorKind::ValueValidation)),
            (&["completions", "fish"], Ok(Command::Completions { shell: Shell::Fish })),
            (&["completions", "tcsh"], Err(ErrorKind::InvalidValue)),
            (&["completions"], Err(ErrorKind::MissingRequiredArgument)),
            (&["--listen", "a", "man"], Err(ErrorKind::ArgumentConflict)),
            (&["man"], Ok(Command::Man(ManOptions::default()))),
            (&["man", "serve", "--dir", "a"], Err(ErrorKind::ArgumentConflict)),
            (&["--listne", "a"], Err(ErrorKind::UnknownArgument)),
            (&["srve"], Err(ErrorKind::InvalidSubcommand)),
            (&["--version"], Err(ErrorKind::DisplayVersion)),
            (&["-V"], Err(ErrorKind::DisplayVersion)),
            (&["--help"], Err(ErrorKind::DisplayHelp)),
        ];
        for (line, expected) in table {
            assert_eq!(command(line), *expected, "{line:?}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command_of_clap().debug_assert();
    }

    #[test]
    fn each_command_has_a_page_that_names_its_options() {
        let pages = manual::pages(CommandLine::command_of_clap()).unwrap();
        let clap = CommandLine::command_of_clap();
        let commands: Vec<_> = clap.get_subcommands().map(clap::Command::get_name).collect();
        let names: Vec<_> = pages.iter().map(|page| page.command.as_str()).collect();
        assert_eq!(names, [&["maxtalk"][..], &commands].concat());
        assert!(commands.contains(&"bench") && commands.contains(&"man"));
        for (command, page) in clap.get_subcommands().zip(&pages[1..]) {
            assert_eq!(page.file, format!("maxtalk-{}.1", command.get_name()));
            let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
            for long in shown.filter_map(clap::Arg::get_long) {
                let option = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(page.text.contains(&option), "{option} in {}", page.text);
            }
        }
    }
}
