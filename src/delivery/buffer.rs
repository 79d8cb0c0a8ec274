//! The buffer that the sockets of a thread are read into.

use std::cell::RefCell;

/// Bytes that one read may bring.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// One buffer, for one socket after the other.
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
