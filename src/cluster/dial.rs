//! The stream to a host whose name may have several addresses. The connections to Redis and to RabbitMQ share it.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The time that an address has before the next one is tried.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// The time that the last address has.
const LAST_ADDRESS_MAX: Duration = Duration::from_secs(3);

/// Connects to the first address of a name that takes a connection.
///
/// # Errors
/// There is none. The text says why.
pub async fn dial(name: &str, port: u16) -> Result<TcpStream, Arc<str>> {
    let found =
        lookup_host((name, port)).await.map_err(|error| format!("the name {name} does not resolve: {error}"))?;
    let found: Vec<_> = found.collect();
    let mut failed = format!("the name {name} has no address").into();
    for (at, address) in found.iter().enumerate() {
        let most = if at + 1 < found.len() { NEXT_ADDRESS_AFTER } else { LAST_ADDRESS_MAX };
        let connected = timeout(most, TcpStream::connect(address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = unreachable(address, &error),
        }
    }
    Err(failed)
}

/// Returns why a server could not be reached.
pub fn unreachable(place: &dyn Display, error: &io::Error) -> Arc<str> {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => ": no server listens there",
        io::ErrorKind::NotFound => ": there is no such socket",
        io::ErrorKind::PermissionDenied => ": this process may not use it",
        _ => "",
    };
    format!("{place} cannot be reached: {error}{hint}").into()
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
        assert!(dial("localhost", port).await.unwrap_err().contains("no server listens there"));
        assert!(dial("no name", port).await.unwrap_err().contains("does not resolve"));
    }
}
