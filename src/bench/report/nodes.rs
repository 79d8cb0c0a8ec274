//! The figures of a run over several nodes as grids: how much longer deliveries between nodes take, and what each
//! process used.

use super::distributions::distributions;
use super::sheet::{Grid, Row, row};
use super::words::{NONE, bytes, count, number, signed_ms};
use crate::bench::outcome::{Cluster, Report, Used};
use crate::bench::printable::printable;

/// The percentiles of the grid of latencies.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// Returns the latencies within a node and between nodes, and the difference. `None` if there is one server.
pub(super) fn latencies(report: &Report) -> Option<Grid> {
    let cluster = report.cluster.as_ref()?;
    let rows = [("within a node", &cluster.local), ("between nodes", &cluster.remote)];
    let mut grid = distributions("delivery by way, ms", rows.map(|(label, latency)| (label.to_owned(), latency)));
    let extra = PERCENTILES.map(|percentile| extra(cluster, percentile));
    grid.rows.push(row("extra latency of the bus", [String::new()].into_iter().chain(extra)));
    Some(grid)
}

/// Returns how much longer a delivery between nodes takes at this percentile.
pub(super) fn extra(cluster: &Cluster, percentile: f64) -> String {
    cluster.extra_us(percentile).map_or_else(|| NONE.to_owned(), signed_ms)
}

/// Returns what each process used, and all together. `None` if there is one server, or no process is known.
pub(super) fn processes(report: &Report) -> Option<Grid> {
    let cluster = report.cluster.as_ref()?;
    let all = cluster.used()?;
    let nodes = cluster.nodes.iter().zip(1..).filter_map(|(node, at)| {
        let label = format!("node {at}, {}", printable(&node.url, 60));
        Some(cells(label, count(node.connections), &node.used?))
    });
    let redis = cluster.redis.map(|used| cells("Redis".to_owned(), String::new(), &used));
    let connections = cluster.nodes.iter().map(|node| node.connections).sum();
    let all = cells("all together".to_owned(), count(connections), &all);
    let columns = ["users", "CPU, s", "/delivery", "/between", "joined", "peak"];
    Some(Grid::new("processes, CPU in µs", &columns, nodes.chain(redis).chain([all])))
}

fn cells(label: String, connections: String, used: &Used) -> Row {
    let memory = |pick: u64| if used.memory.is_some() { bytes(pick) } else { NONE.to_owned() };
    let of = used.memory.unwrap_or_default();
    row(
        label,
        [
            connections,
            number(used.cpu.as_secs_f64()),
            number(used.cpu_per_delivery),
            number(used.cpu_per_remote),
            memory(of.joined),
            memory(of.peak),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::samples;

    #[test]
    fn a_grid_adds_up_what_the_processes_used() {
        assert!(latencies(&samples::good()).is_none() && processes(&samples::good()).is_none());
        let report = samples::clustered();
        let rows = |grid: Grid| grid.rows.into_iter().map(|row| (row.label, row.cells)).collect::<Vec<_>>();
        let processes = rows(processes(&report).unwrap());
        let last = &processes[3];
        assert_eq!(last.0, "all together");
        assert_eq!(last.1, ["10,000", "5.34", "8.90", "17.8", "43.0 MiB", "86.0 MiB"]);
        assert_eq!(processes[2].1[..2], [String::new(), "0.480".to_owned()]);
        let latencies = rows(latencies(&report).unwrap());
        assert_eq!(latencies[2].0, "extra latency of the bus");
        assert_eq!(latencies[2].1[..2], [String::new(), "+0.320".to_owned()]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut report = samples::clustered();
        let cluster = report.cluster.as_mut().unwrap();
        cluster.nodes[1].used = None;
        cluster.remote.count = 0;
        assert_eq!(extra(cluster, 99.0), NONE);
        assert!(processes(&report).is_none());
    }
}
