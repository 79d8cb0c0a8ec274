//! The program. Its allocator is chosen here, because a library must not.

use std::process::ExitCode;

/// The system's allocator never gives back the memory of a storm of clients: it returns only the end of its heap, where
/// something is always in use. jemalloc returns it, and was measured to cost no more per connection and per delivery.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    maxtalk::program::main()
}
