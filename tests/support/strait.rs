//! The way from one node to Redis, which a test may close while other nodes still get through.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A Unix socket that leads to the one of a Redis.
pub struct Strait {
    dir: TempDir,
    redis: PathBuf,
    open: Arc<Mutex<Vec<JoinHandle<()>>>>,
    listener: Option<JoinHandle<()>>,
}

impl Strait {
    /// Opens the way to the socket of a Redis.
    pub fn to(redis: &Path) -> Self {
        let mut strait =
            Self { dir: tempfile::tempdir().unwrap(), redis: redis.to_owned(), open: Arc::default(), listener: None };
        strait.open();
        strait
    }

    /// The URL of this way.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Breaks all connections, and lets no new ones through.
    pub fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        std::fs::remove_file(self.socket()).unwrap();
        self.open.lock().drain(..).for_each(|connection| connection.abort());
    }

    /// Lets connections through again.
    pub fn open(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (redis, open) = (self.redis.clone(), self.open.clone());
        self.listener = Some(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let redis = redis.clone();
                let connection = tokio::spawn(async move {
                    if let Ok(mut far) = UnixStream::connect(redis).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
                open.lock().push(connection);
            }
        }));
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("strait")
    }
}
