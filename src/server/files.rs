//! Open files: what the process needs for itself, and what is left for clients.

use super::Error;
use crate::config::Config;
use crate::files::raise_file_limit;

/// What is open beside what is counted below: standard streams, the log, certificates as they are read, the resolver.
const OWN: u64 = 16;

/// Connections to the operator's listener at the same time.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 16;

/// What one thread with a runtime holds open.
const PER_THREAD: u64 = 4;

/// A server for fewer connections than these is none.
const CONNECTIONS_MIN: u64 = 8;

/// The limit of the process, raised as far as it may be.
pub(super) fn limit() -> u64 {
    match raise_file_limit(0) {
        Ok(files) => files,
        Err(error) => {
            log::warn!("the limit on open files could not be raised: {error}");
            rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft)
        }
    }
}

/// How many connections of clients there can be, with so many open files and worker threads.
///
/// # Errors
/// [`Error::Files`] if too few are left.
pub(super) fn for_clients(limit: u64, config: &Config, workers: usize) -> Result<usize, Error> {
    // The workers, and the threads that run the registry, hear signals, accept, and serve the operator.
    let threads = workers as u64 + 5;
    let calls = config.max.inflight_max;
    let reserve = OWN + ADMIN_CONNECTIONS_MAX as u64 + PER_THREAD * threads + calls as u64;
    let needed = reserve + CONNECTIONS_MIN;
    if limit < needed {
        return Err(Error::Files { limit, needed, workers, calls });
    }
    let left = usize::try_from(limit - reserve).unwrap_or(usize::MAX);
    match config.limits.connections_max {
        0 => Ok(left),
        wanted if wanted <= left => Ok(wanted),
        wanted => {
            log::warn!("limits.connections_max is {wanted}, but the limit on open files leaves {left}");
            Ok(left)
        }
    }
}
