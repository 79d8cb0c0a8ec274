//! Open files: how many the process itself needs, and how many are left for clients.

use super::Error;
use crate::config::{Config, cost};
use crate::files::raise_file_limit;

/// The fewest connections with which a server starts.
const CONNECTIONS_MIN: u64 = 8;

/// Returns the process's limit on open files, after raising it as far as allowed.
pub(super) fn limit() -> u64 {
    match raise_file_limit(0) {
        Ok(files) => files,
        Err(error) => {
            log::warn!("the limit on open files could not be raised: {error}");
            rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft)
        }
    }
}

/// Returns how many open files a server needs at least, with this number of workers.
pub(super) fn needed(config: &Config, workers: usize) -> u64 {
    cost::files_reserved(config, workers) + CONNECTIONS_MIN
}

/// Returns how many connections of clients fit in this limit on open files, with this number of workers.
///
/// # Errors
/// [`Error::Files`] if too few are left.
pub(super) fn for_clients(limit: u64, config: &Config, workers: usize) -> Result<usize, Error> {
    let calls = config.max.inflight_max;
    let reserve = cost::files_reserved(config, workers);
    let needed = needed(config, workers);
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
