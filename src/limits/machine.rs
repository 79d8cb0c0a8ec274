//! The limits that the machine and the system set to the process: cores, memory, open files, and the buffers of the
//! kernel.

use std::fs;
use std::thread;

use super::memory;

/// The largest buffers of a TCP connection where the system does not tell them: the defaults of Linux.
const TCP_DEFAULTS: [u64; 2] = [6 << 20, 4 << 20];

/// The limits of one machine. `None` is no limit, or one that the system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// The lowest memory limit of the process's control groups, in bytes.
    pub group_bytes: Option<u64>,
    /// Files that the process may have open, after it has raised its soft limit.
    pub files: Option<u64>,
    /// The largest receive buffer of a TCP connection, in bytes: `net.ipv4.tcp_rmem`.
    pub receive_buffer_bytes: u64,
    /// The largest send buffer of a TCP connection whose size is left to the kernel, in bytes: `net.ipv4.tcp_wmem`.
    pub send_buffer_bytes: u64,
    /// The most memory for the buffers of all TCP connections of the machine, in bytes: `net.ipv4.tcp_mem`.
    pub tcp_bytes: Option<u64>,
}

impl Machine {
    /// Asks the system.
    pub fn read() -> Self {
        let [receive_default, send_default] = TCP_DEFAULTS;
        let page_bytes = rustix::param::page_size() as u64;
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory::of_machine(),
            group_bytes: memory::control_group(),
            files: rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(_, hard)| hard),
            receive_buffer_bytes: largest("tcp_rmem").unwrap_or(receive_default),
            send_buffer_bytes: largest("tcp_wmem").unwrap_or(send_default),
            tcp_bytes: largest("tcp_mem").map(|pages| pages.saturating_mul(page_bytes)),
        }
    }

    /// Returns the memory that the process may use at most, in bytes.
    pub fn usable_bytes(&self) -> u64 {
        self.group_bytes.map_or(self.memory_bytes, |group| group.min(self.memory_bytes))
    }
}

/// Returns the last of the three numbers of a setting of the kernel.
fn largest(setting: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{setting}")).ok()?;
    text.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 26);
        assert!(machine.files.is_some_and(|files| files >= 16));
        assert!(machine.receive_buffer_bytes >= 4096 && machine.send_buffer_bytes >= 4096);
    }

    #[test]
    fn the_lowest_limit_on_memory_holds() {
        let machine = Machine { memory_bytes: 100, group_bytes: None, ..Machine::read() };
        assert_eq!(machine.usable_bytes(), 100);
        assert_eq!(Machine { group_bytes: Some(70), ..machine }.usable_bytes(), 70);
        assert_eq!(Machine { group_bytes: Some(200), ..machine }.usable_bytes(), 100);
    }
}
