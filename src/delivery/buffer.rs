//! The read buffer, shared by the sockets of a thread.

use std::cell::RefCell;

/// The largest number of bytes of one read.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// One buffer, used by one socket after the other.
#[derive(Debug)]
pub struct ReadBuffer(RefCell<Box<[u8]>>);

impl Default for ReadBuffer {
    fn default() -> Self {
        Self(RefCell::new(vec![0; READ_BUFFER_BYTES].into_boxed_slice()))
    }
}

impl ReadBuffer {
    /// Lends the buffer for as long as `read` runs.
    pub fn with<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> T {
        read(&mut self.0.borrow_mut())
    }
}
