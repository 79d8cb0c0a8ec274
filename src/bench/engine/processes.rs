//! The processes of the server during a run: those of its nodes, and that of the Redis between them. They are watched
//! from before the first connection.

use std::time::Duration;

use super::{Job, RunError};
use crate::bench::outcome::{Memory, Server, Used};
use crate::bench::target::Process;

/// The processes. There are none if the server is on another machine, or not known.
pub(super) struct Processes {
    nodes: Vec<Watched>,
    redis: Option<Watched>,
    /// CPU time of all nodes per joined connection, in µs.
    cpu_per_join: f64,
    /// Deliveries in the measured time, and those of them between nodes.
    deliveries: [u64; 2],
}

/// One process.
struct Watched {
    process: Process,
    /// Its CPU time before the first connection.
    begun: Duration,
    memory: Memory,
    /// Its CPU time in the measured time.
    cpu: Duration,
}

impl Watched {
    fn of(pid: u32) -> Result<Self, RunError> {
        let process = Process::of(pid).map_err(|cause| RunError::NoProcess { pid, cause })?;
        let memory = Memory { before: process.rss(), ..Memory::default() };
        Ok(Self { begun: process.cpu(), process, memory, cpu: Duration::ZERO })
    }

    fn used(&self, [deliveries, remote]: [u64; 2]) -> Used {
        let per = |number: u64| self.cpu.as_secs_f64() * 1e6 / number as f64;
        let (cpu_per_delivery, cpu_per_remote) = (per(deliveries), per(remote));
        Used { cpu: self.cpu, cpu_per_delivery, cpu_per_remote, memory: Some(self.memory) }
    }
}

impl Processes {
    /// Begins to watch the processes of a run.
    ///
    /// # Errors
    /// There is no such process, or the system is not Linux.
    pub(super) fn watch(job: &Job) -> Result<Self, RunError> {
        let nodes = job.pids.iter().map(|&pid| Watched::of(pid)).collect::<Result<_, _>>()?;
        let redis = job.redis.map(Watched::of).transpose()?;
        Ok(Self { nodes, redis, cpu_per_join: f64::NAN, deliveries: [0; 2] })
    }

    fn all(&self) -> impl Iterator<Item = &Watched> {
        self.nodes.iter().chain(&self.redis)
    }

    /// Returns the number of processes.
    pub(super) fn number(&self) -> u32 {
        self.all().count() as u32
    }

    /// Returns the CPU time of each process so far. A process that ends later keeps what was seen last.
    pub(super) fn cpu(&self) -> Vec<Duration> {
        self.all().map(|watched| watched.process.cpu()).collect()
    }

    /// Takes the figures with all joined.
    pub(super) fn have_joined(&mut self, joined: u64) {
        for Watched { process, memory, .. } in self.nodes.iter_mut().chain(&mut self.redis) {
            (memory.joined, memory.peak) = (process.rss(), process.rss_peak());
        }
        let cpu = self.nodes.iter().map(|watched| watched.process.cpu().saturating_sub(watched.begun));
        self.cpu_per_join = cpu.sum::<Duration>().as_secs_f64() * 1e6 / joined as f64;
    }

    /// Takes the figures of the measured time, from the CPU times before and after it. `deliveries` are those in it,
    /// and those of them between nodes.
    pub(super) fn have_been_measured(&mut self, before: &[Duration], after: &[Duration], deliveries: [u64; 2]) {
        let used = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before));
        for (watched, cpu) in self.nodes.iter_mut().chain(&mut self.redis).zip(used) {
            watched.cpu = cpu;
            watched.memory.peak = watched.process.rss_peak();
        }
        self.deliveries = deliveries;
    }

    /// Returns the sums over all nodes. `None` if no process is known.
    pub(super) fn server(&self) -> Option<Server> {
        let used = self.of_nodes().into_iter().reduce(Used::plus)?;
        let Used { cpu, cpu_per_delivery, memory, .. } = used;
        Some(Server { cpu, cpu_per_delivery, cpu_per_join: self.cpu_per_join, memory })
    }

    /// Returns the figures of each node. Empty if no process is known.
    pub(super) fn of_nodes(&self) -> Vec<Used> {
        self.nodes.iter().map(|watched| watched.used(self.deliveries)).collect()
    }

    /// Returns the figures of the Redis between the nodes, if it is known.
    pub(super) fn of_redis(&self) -> Option<Used> {
        self.redis.as_ref().map(|watched| watched.used(self.deliveries))
    }
}
