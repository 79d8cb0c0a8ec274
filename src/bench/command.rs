//! The whole command: one run, the search for the knee, or a sweep; the files of the report, and the exit code.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::interrupt::{INTERRUPTED, Interrupt};
use super::options::{BenchOptions, OptionsError, STDOUT};
use super::outcome::Report;
use super::report::{self, Sheet, page, text};
use super::subject::{Subject, SubjectError};
use super::sweep::Sweep;
use super::sweep::conduct::{self, SweepError};
use super::target::{self, FileLimitError};
use super::trials;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The flags are invalid.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Two reports would be written to the same file.
    #[error("{first} and {second} name the same file, {}: give each one of its own", .path.display())]
    SameFile {
        /// The one flag.
        first: &'static str,
        /// The other one.
        second: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Too few files may be open.
    #[error(transparent)]
    Files(#[from] FileLimitError),
    /// There is no server, or the run has no figures.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The sweep cannot be made.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The system has no thread, or does not report signals.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The report cannot be written.
    #[error("{path}: cannot be written: {cause}")]
    Unwritable {
        /// The file.
        path: String,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
}

/// The result of a bench.
pub enum Outcome {
    /// One run, or the best one of a search for the knee.
    Run(Box<Report>),
    /// A sweep.
    Sweep(Box<Sweep>),
}

impl Outcome {
    /// Returns the report.
    pub fn sheet(&self) -> Sheet {
        match self {
            Self::Run(report) => report::of_run(report),
            Self::Sweep(sweep) => report::of_sweep(sweep),
        }
    }

    /// Returns the exit code: 0 if the outcome is good, [`INTERRUPTED`] if it was interrupted and shows no fault of the
    /// server, and otherwise 1.
    pub fn code(&self) -> u8 {
        let (interrupted, is_clean, is_good) = match self {
            Self::Run(report) => (report.interrupted.is_some(), report.is_clean(), report.is_good()),
            // A sweep overloads its servers, so it is clean if they make no mistake.
            Self::Sweep(sweep) => (sweep.interrupted, sweep.faults().is_empty(), sweep.is_good()),
        };
        match (interrupted && is_clean, is_good) {
            (true, _) => INTERRUPTED,
            (false, is_good) => u8::from(!is_good),
        }
    }
}

/// Returns what the sweep of these options would do, and how long it would take.
///
/// # Errors
/// The sweep cannot be made.
pub fn plan(options: &BenchOptions) -> Result<String, BenchError> {
    Ok(report::plan_of_sweep(&conduct::plan(options)?))
}

/// Runs the bench. SIGINT or SIGTERM ends it with the figures so far; a second signal ends it at once.
///
/// # Errors
/// There is no report.
pub fn run(options: &BenchOptions) -> Result<Outcome, BenchError> {
    let interrupt = Interrupt::listen()?;
    let users = options.users()?;
    target::raise_file_limit(options.files())?;
    if options.sweep.is_asked_for() {
        return Ok(Outcome::Sweep(Box::new(conduct::conduct(options, &interrupt)?)));
    }
    let mut subject = Subject::start(options, options.plan(), users, &[])?;
    let report = if options.find_knee {
        trials::find(options.rate, &options.slo, options.quiet, |pace| subject.run(pace, &interrupt))
    } else {
        subject.run(options.pace(), &interrupt)
    };
    Ok(Outcome::Run(Box::new(subject.end(report)?)))
}

/// Returns the text for standard output: JSON, five lines, the judgements, or the table.
pub fn output(options: &BenchOptions, sheet: &Sheet) -> String {
    match &options.json {
        Some(path) if path == Path::new(STDOUT) => sheet.json().to_owned(),
        _ if options.brief => text::brief(sheet),
        _ if options.quiet => text::verdicts(sheet),
        _ => text::table(sheet),
    }
}

/// The files for the report. They are opened before the run, because a wrong path must not cost one.
#[derive(Debug)]
pub struct Files {
    json: Option<Output>,
    html: Option<Output>,
    hgrm: Option<Output>,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: fs::File,
    /// Whether the file was created here and is still empty. It is then removed on drop.
    is_new: bool,
}

impl Files {
    /// Opens the files that the options name. Their contents stay until [`write`](Self::write).
    ///
    /// # Errors
    /// A file cannot be written, or two flags name the same file.
    pub fn open(options: &BenchOptions) -> Result<Self, BenchError> {
        let open = |path: &PathBuf| Output::open(path).map_err(|cause| unwritable(path, cause));
        let json = options.json.as_ref().filter(|path| *path != Path::new(STDOUT));
        let named = [("--json", json), ("--html", options.html.as_ref()), ("--hgrm", options.hgrm.as_ref())];
        for (at, (second, path)) in named.iter().enumerate() {
            let same = named[..at].iter().find(|(_, other)| other.is_some() && other == path);
            if let (Some((first, _)), Some(path)) = (same, path) {
                return Err(BenchError::SameFile { first, second, path: (*path).clone() });
            }
        }
        let [json, html, hgrm] = named.map(|(_, path)| path.map(open).transpose());
        Ok(Self { json: json?, html: html?, hgrm: hgrm? })
    }

    /// Writes the report to all files.
    ///
    /// # Errors
    /// The first file that could not be written. The others are written anyway.
    pub fn write(self, sheet: &Sheet) -> Result<(), BenchError> {
        let json = self.json.map(|output| output.write(sheet.json()));
        let html = self.html.map(|output| output.write(&page::page(sheet)));
        let hgrm = self.hgrm.map(|output| output.write(sheet.hgrm()));
        [json, html, hgrm].into_iter().flatten().collect()
    }
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let (file, is_new) = match fs::File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (fs::File::options().write(true).open(path)?, false)
            }
            created => (created?, true),
        };
        Ok(Self { path: path.to_owned(), file, is_new })
    }

    fn write(mut self, text: &str) -> Result<(), BenchError> {
        self.is_new = false;
        let write = |mut file: &fs::File| {
            // Only regular files have old contents to be cut off.
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            file.write_all(text.as_bytes())
        };
        write(&self.file).map_err(|cause| unwritable(&self.path, cause))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_new {
            // An empty file that is left behind does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, cause: io::Error) -> BenchError {
    BenchError::Unwritable { path: path.display().to_string(), cause }
}
