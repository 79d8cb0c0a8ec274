//! The log: env_logger writes into a bounded queue, and a thread of its own writes the queue to standard error. If
//! standard error stalls, is full or is closed, nobody waits: lines without room are lost and counted.
//!
//! Text of clients is [escaped](escape) in the log, and refusals are [limited](log_refusal) to a number per second.

mod backlog;
pub mod limiter;
mod line;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use env_logger::{Builder, Target};
use log::Level;
use parking_lot::{Condvar, Mutex};

use backlog::Backlog;
use limiter::Limiter;
pub use line::{LINE_BYTES_MAX, LogFormat, Look};

/// [`escape`] cuts longer names and ids.
const ESCAPED_BYTES_MAX: usize = 256;

/// How long the thread waits for lines before it logs the number of suppressed refusals.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

/// How soon the thread tries again when a non-blocking standard error takes nothing.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The target of what [`log_refusal`] logs.
const REFUSALS_TARGET: &str = "maxtalk::refusals";

static LINES_LOST: AtomicU64 = AtomicU64::new(0);
static REFUSALS: Mutex<Limiter> = Mutex::new(Limiter::new(10));

/// Why the log does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system does not give a descriptor or a thread.
    #[error("the log cannot start: {0}")]
    Io(#[from] io::Error),
    /// There is a logger already.
    #[error("the log cannot start: {0}")]
    Taken(#[from] log::SetLoggerError),
}

/// The running log of this process.
#[derive(Clone)]
pub struct Logging {
    queue: Arc<Queue>,
}

/// Starts the log of this process. Records that pass `filter` (in the form of env_logger) go to standard error; at most
/// `lines_max` lines wait. Panics are logged too. If `greets`, all lines wait for [`Logging::greet`], but for a second
/// at most.
///
/// # Errors
/// See [`StartError`].
pub fn start(
    filter: &str,
    look: Look,
    greets: bool,
    lines_max: usize,
    refusals_per_second_max: u32,
) -> Result<Logging, StartError> {
    let queue = Arc::new(Queue::new(lines_max, look, &LINES_LOST));
    queue.state.lock().is_held = greets;
    REFUSALS.lock().set_per_second_max(refusals_per_second_max);
    // A descriptor of our own: other writers to standard error must not wait for a lock that a stalled write holds.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    Builder::new()
        .parse_filters(filter)
        .format(move |formatter, record| {
            let time = formatter.timestamp_millis().to_string();
            let line = look.line(&time, record.level(), record.target(), *record.args());
            formatter.write_all(line.as_bytes())
        })
        .target(Target::Pipe(Box::new(Entrance(queue.clone()))))
        .try_init()?;
    let exit = queue.clone();
    thread::Builder::new().name("log".to_owned()).spawn(move || drain(&exit, stderr))?;
    panic::set_hook(Box::new(log_panic));
    Ok(Logging { queue })
}

impl Logging {
    /// Writes `lines` as they are, before those held back.
    pub fn greet(&self, lines: &str) {
        let mut state = self.queue.state.lock();
        state.backlog.push_first(lines.as_bytes());
        state.is_held = false;
        self.queue.arrived.notify_one();
    }

    /// Waits until all lines are written, at most for `timeout`. Returns whether they are.
    pub fn flush(&self, timeout: Duration) -> bool {
        // The limit per second does not apply to this line: there may be no other opportunity to log it.
        tell_refusals(REFUSALS.lock().take_suppressed());
        self.queue.wait_until_written(Instant::now() + timeout)
    }
}

/// Returns the number of log lines lost since the start of the process.
pub fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

/// Shows text from outside for the log: quoted, with control characters, line breaks and changes of the writing
/// direction escaped, and cut if too long.
pub fn escape(text: &str) -> impl fmt::Display + '_ {
    let shown = &text[..text.floor_char_boundary(ESCAPED_BYTES_MAX)];
    let more = text.len() - shown.len();
    fmt::from_fn(move |f| match more {
        0 => write!(f, "{shown:?}"),
        _ => write!(f, "{shown:?}(+{more} bytes)"),
    })
}

/// Logs a refusal at info, up to the limit of lines per second. Further ones are counted, and the next line that passes
/// says "and n more before". The caller [escapes](escape) text from outside.
pub fn log_refusal(now: Instant, refusal: fmt::Arguments<'_>) {
    if !log::log_enabled!(target: REFUSALS_TARGET, Level::Info) {
        return;
    }
    let admitted = REFUSALS.lock().admit(now);
    if let Some(suppressed) = admitted {
        log::info!(target: REFUSALS_TARGET, "{refusal}{suppressed}");
    }
}

fn tell_refusals(suppressed: u64) {
    if suppressed > 0 {
        log::info!(target: REFUSALS_TARGET, "and {suppressed} more refusals");
    }
}

fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => log::error!("{info}\n{backtrace}"),
        _ => log::error!("{info}"),
    }
}

/// The queue between those who log and the thread that writes.
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    written: Condvar,
    /// Lines without room, or whose write failed.
    lost: &'static AtomicU64,
}

struct State {
    backlog: Backlog,
    /// Whether the thread is writing lines that it has taken.
    writing: bool,
    /// Whether the thread shall take no lines yet.
    is_held: bool,
}

impl Queue {
    fn new(lines_max: usize, look: Look, lost: &'static AtomicU64) -> Self {
        let state = State { backlog: Backlog::new(lines_max, look), writing: false, is_held: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), written: Condvar::new(), lost }
    }

    fn push(&self, line: &[u8]) {
        if self.state.lock().backlog.push(line) {
            self.arrived.notify_one();
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the next lines; `None` if none came for [`SETTLE_INTERVAL`]. The lines taken before count as written.
    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        state.writing = false;
        // A start that takes long shall not be silent.
        self.arrived.wait_while_for(&mut state, |state| state.is_held, SETTLE_INTERVAL);
        state.is_held = false;
        if state.backlog.is_empty() {
            self.written.notify_all();
            self.arrived.wait_for(&mut state, SETTLE_INTERVAL);
        }
        let lines = state.backlog.take();
        state.writing = lines.is_some();
        lines
    }

    fn wait_until_written(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        state.is_held = false;
        self.arrived.notify_one();
        while state.writing || !state.backlog.is_empty() {
            if self.written.wait_until(&mut state, deadline).timed_out() {
                return !state.writing && state.backlog.is_empty();
            }
        }
        true
    }
}

/// The entrance of the queue, for env_logger: each write is one record.
struct Entrance(Arc<Queue>);

impl Write for Entrance {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs the thread that writes.
fn drain(queue: &Queue, mut output: impl Write) {
    loop {
        match queue.take() {
            Some(lines) => {
                if write_patiently(&mut output, &lines).is_err() {
                    let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                    queue.lost.fetch_add(lost as u64, Ordering::Relaxed);
                }
            }
            None => {
                let suppressed = REFUSALS.lock().settle(Instant::now());
                tell_refusals(suppressed);
            }
        }
    }
}

/// Writes all `lines`, even if another process has made the output non-blocking: this thread has nothing else to do.
fn write_patiently(output: &mut impl Write, mut lines: &[u8]) -> io::Result<()> {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_INTERVAL),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn text_from_outside_cannot_leave_its_quotes_or_its_line() {
        let table = [
            ("alice", r#""alice""#),
            ("o'brien \"é\\", r#""o'brien \"é\\""#),
            ("a\nb\r\tc\0", r#""a\nb\r\tc\0""#),
            ("\u{1b}[31mred\u{7f}\u{9b}", r#""\u{1b}[31mred\u{7f}\u{9b}""#),
            ("\u{202e}evil\u{2066}\u{200f}\u{61c}", r#""\u{202e}evil\u{2066}\u{200f}\u{61c}""#),
            ("\u{2028}\u{feff}\u{200b}", r#""\u{2028}\u{feff}\u{200b}""#),
        ];
        for (text, shown) in table {
            assert_eq!(escape(text).to_string(), shown);
        }
        let long = "é".repeat(300);
        assert_eq!(escape(&long).to_string(), format!("\"{}\"(+344 bytes)", "é".repeat(128)));
        assert_eq!(escape(&"x".repeat(256)).to_string().len(), 258);
    }

    /// An output that takes a write for each message it receives, and sends back the bytes that it took.
    struct Stalled(mpsc::Receiver<()>, mpsc::Sender<String>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_output_stops_nobody_and_says_later_what_it_lost() {
        static LOST: AtomicU64 = AtomicU64::new(0);
        let queue = Arc::new(Queue::new(2, Look::default(), &LOST));
        let (go, may_write) = mpsc::channel();
        let (say, said) = mpsc::channel();
        let exit = queue.clone();
        thread::spawn(move || drain(&exit, Stalled(may_write, say)));

        for n in 0..100 {
            queue.push(format!("line {n}\n").as_bytes());
        }
        // Of 100 lines, two wait, and the thread may have taken some of the first ones: the others are lost.
        let lost = LOST.load(Ordering::Relaxed);
        assert!((90..=98).contains(&lost), "{lost}");
        assert!(!queue.wait_until_written(Instant::now()), "nothing is written yet");

        for _ in 0..100 {
            let _ = go.send(());
        }
        assert!(queue.wait_until_written(Instant::now() + Duration::from_secs(10)));
        queue.push(b"after\n");
        assert!(queue.wait_until_written(Instant::now() + Duration::from_secs(10)));
        let all = said.try_iter().collect::<String>();
        assert!(all.starts_with("line 0\n") && all.ends_with("after\n"), "{all}");
        // The thread may have taken its first lines when some were lost already: then there are two notices.
        let notices = all.lines().filter(|line| line.contains("lines lost"));
        let told = notices.filter_map(|notice| notice.split(' ').find_map(|word| word.parse::<u64>().ok()));
        assert_eq!(told.sum::<u64>(), lost, "{all}");
    }

    #[test]
    fn lines_are_written_only_once_the_thread_has_written_them() {
        static LOST: AtomicU64 = AtomicU64::new(0);
        let queue = Queue::new(2, Look::default(), &LOST);
        assert!(queue.wait_until_written(Instant::now()), "there are none");
        queue.push(b"one\n");
        assert!(!queue.wait_until_written(Instant::now()), "it waits");
        assert_eq!(queue.take().as_deref(), Some(&b"one\n"[..]));
        assert!(!queue.wait_until_written(Instant::now()), "it is taken and not yet written");
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_is_survived() {
        static LOST: AtomicU64 = AtomicU64::new(0);
        let queue = Arc::new(Queue::new(8, Look::default(), &LOST));
        let exit = queue.clone();
        thread::spawn(move || drain(&exit, Broken));
        queue.push(b"one\n");
        assert!(queue.wait_until_written(Instant::now() + Duration::from_secs(10)));
        queue.push(b"two\n");
        assert!(queue.wait_until_written(Instant::now() + Duration::from_secs(10)));
        assert_eq!(LOST.load(Ordering::Relaxed), 2);
    }
}
