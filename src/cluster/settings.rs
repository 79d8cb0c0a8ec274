//! The settings of the bus.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
pub use crate::config::Dialect;

/// The settings of the bus.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers: `redis://`, `rediss://`, `unix://` or `redis+sentinel://h1,h2,h3/name`. Each of several is a shard
    /// with conversations of its own. Or `redis+cluster://h1,h2,h3` alone.
    pub urls: Vec<Arc<str>>,
    /// The file with the password. It is read at each connect. `None`: the password of the URL, or none.
    pub password_file: Option<PathBuf>,
    /// The file with the password of the Sentinels. `None`: they have none.
    pub sentinel_password_file: Option<PathBuf>,
    /// The file with the certificates of the authorities for `rediss://`. `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The files with the certificate of this client and with its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The beginning of all channels, which separates installations in one Redis.
    pub prefix: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The dialect.
    pub dialect: Dialect,
    /// The name of this node, for people.
    pub name: Arc<str>,
    /// The tag at the beginning of the sids of this node.
    pub tag: Arc<str>,
    /// The events of Node servers and emitters that are news.
    pub events: Vec<Arc<str>>,
    /// Whether an event to all of the namespace is news for all conversations.
    pub namespace_wide: bool,
    /// The channel of python-socketio.
    pub python_channel: Option<Arc<str>>,
    /// The time between two heartbeats of this node.
    pub heartbeat: Duration,
    /// The time without a heartbeat after which another node counts as gone.
    pub silent: Duration,
    /// The time that the bus may be away before conversations are told.
    pub tell_after: Duration,
    /// The time over which conversations are told that the bus is back.
    pub missed_spread: Duration,
    /// The messages that may wait to be published, of each shard.
    pub queue_messages_max: usize,
    /// The bytes that may wait to be published, of each shard.
    pub queue_bytes_max: usize,
    /// The messages that may be published and not yet be answered.
    pub inflight_max: usize,
    /// The channels of one `SUBSCRIBE`.
    pub subscribe_batch: usize,
    /// The channels that may be asked for and not yet be confirmed.
    pub subscribe_window: usize,
    /// The conversations that are told in one second that they are subscribed again.
    pub resync_per_s: u32,
    /// The bytes of the longest message.
    pub message_bytes_max: usize,
    /// The longest wait before the next try to connect.
    pub reconnect_max: Duration,
    /// The bytes of the longest id of a conversation.
    pub id_bytes_max: usize,
    /// The most conversations of one session.
    pub conversations_max: usize,
}

impl Default for Settings {
    /// The settings of the documentation, without a server.
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            password_file: None,
            sentinel_password_file: None,
            ca_file: None,
            client_certificate: None,
            prefix: "socket.io".into(),
            namespace: "/max".into(),
            dialect: Dialect::Classic,
            name: "".into(),
            tag: "".into(),
            events: vec!["update".into()],
            namespace_wide: false,
            python_channel: None,
            heartbeat: Duration::from_secs(2),
            silent: Duration::from_secs(10),
            tell_after: Duration::from_secs(2),
            missed_spread: Duration::from_secs(2),
            queue_messages_max: 8192,
            queue_bytes_max: 8 * 1024 * 1024,
            inflight_max: 4096,
            subscribe_batch: 512,
            subscribe_window: 2048,
            resync_per_s: 5000,
            message_bytes_max: 65_536,
            reconnect_max: Duration::from_secs(5),
            id_bytes_max: 256,
            conversations_max: 1000,
        }
    }
}

impl Settings {
    /// Returns the settings of a configuration, for a node with this tag at the beginning of its sids.
    pub fn of(config: &config::Config, tag: &str) -> Self {
        let cluster = &config.cluster;
        let ms = Duration::from_millis;
        Self {
            urls: cluster.url.iter().map(|url| url.reveal().clone()).collect(),
            password_file: cluster.password_file.clone(),
            sentinel_password_file: cluster.sentinel_password_file.clone(),
            ca_file: cluster.ca_file.clone(),
            client_certificate: cluster.certificate_file.clone().zip(cluster.key_file.clone()),
            prefix: cluster.prefix.as_str().into(),
            namespace: config.protocol.namespace.as_str().into(),
            dialect: cluster.dialect,
            name: cluster.node.clone().unwrap_or_else(machine_name).into(),
            tag: tag.into(),
            events: cluster.events.iter().map(|event| event.as_str().into()).collect(),
            namespace_wide: cluster.namespace_wide,
            python_channel: cluster.python_channel.as_deref().map(Arc::from),
            heartbeat: ms(cluster.heartbeat_ms),
            silent: ms(cluster.silent_ms),
            tell_after: ms(cluster.tell_after_ms),
            missed_spread: ms(cluster.missed_spread_ms),
            queue_messages_max: cluster.queue_messages_max,
            queue_bytes_max: cluster.queue_bytes_max,
            inflight_max: cluster.inflight_max,
            subscribe_batch: cluster.subscribe_batch,
            subscribe_window: cluster.subscribe_window,
            resync_per_s: cluster.resync_per_second_max,
            message_bytes_max: cluster.message_bytes_max,
            reconnect_max: ms(cluster.reconnect_ms_max),
            id_bytes_max: config.limits.id_bytes_max,
            conversations_max: config.max.conversations_max,
        }
    }
}

/// Returns the name of this machine.
fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
