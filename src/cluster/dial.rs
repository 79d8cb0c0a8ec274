//! The stream to a host whose name may have several addresses. The connections to Redis and to RabbitMQ share it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The time that an address has before the next one is tried.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// The time that the last address has.
const LAST_ADDRESS_MAX: Duration = Duration::from_secs(3);

/// The reason why there is no stream.
#[derive(Debug)]
pub enum DialError {
    /// The name does not resolve.
    Unresolved(io::Error),
    /// The name has no address.
    NoAddress,
    /// The last address cannot be reached.
    Unreachable(SocketAddr, io::Error),
}

/// Connects to the first address of a name that takes a connection.
///
/// # Errors
/// There is none.
pub async fn dial(name: &str, port: u16) -> Result<TcpStream, DialError> {
    let found: Vec<_> = lookup_host((name, port)).await.map_err(DialError::Unresolved)?.collect();
    let mut failed = DialError::NoAddress;
    for (at, address) in found.iter().enumerate() {
        let most = if at + 1 < found.len() { NEXT_ADDRESS_AFTER } else { LAST_ADDRESS_MAX };
        let connected = timeout(most, TcpStream::connect(address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = DialError::Unreachable(*address, error),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn the_first_address_that_takes_a_connection_is_used() {
        // On most machines this name is ::1 first, where nobody listens.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(dial("localhost", port).await.unwrap().peer_addr().unwrap(), listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(dial("localhost", port).await, Err(DialError::Unreachable(..))));
        assert!(matches!(dial("no name", port).await, Err(DialError::Unresolved(_))));
    }
}
