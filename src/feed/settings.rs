//! The settings of the feed.

use std::path::PathBuf;
use std::time::Duration;

use super::wire::Reader;
use crate::config::{AmqpUrl, Config};

/// The settings of the feed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server, the user and the virtual host.
    pub url: AmqpUrl,
    /// The file with the password. It is read at each connect. `None`: the password of the URL.
    pub password_file: Option<PathBuf>,
    /// The file with the certificates of the authorities for `amqps://`. `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The reader of deliveries.
    pub reader: Reader,
    /// The users that are refreshed in one second; 0 for none.
    pub refreshes_per_second_max: u32,
    /// The bytes of the longest message.
    pub message_bytes_max: usize,
    /// The time that the server may be away before conversations are told.
    pub tell_after: Duration,
    /// The time over which conversations are told that the server is back.
    pub missed_spread: Duration,
    /// The longest wait before the next try to connect.
    pub reconnect_max: Duration,
}

impl Settings {
    /// Returns the settings of a configuration. `None` if it has no feed.
    pub fn of(config: &Config) -> Option<Self> {
        let feed = &config.feed;
        let url = feed.url.clone()?;
        let ms = Duration::from_millis;
        Some(Self {
            password_file: feed.password_file.clone(),
            ca_file: feed.ca_file.clone(),
            reader: Reader {
                layout: feed.layout,
                id_bytes_max: config.limits.id_bytes_max,
                vhost: url.vhost.as_ref().to_owned(),
            },
            url,
            refreshes_per_second_max: feed.refreshes_per_second_max,
            message_bytes_max: feed.message_bytes_max,
            tell_after: ms(feed.tell_after_ms),
            missed_spread: ms(feed.missed_spread_ms),
            reconnect_max: ms(feed.reconnect_ms_max),
        })
    }
}
