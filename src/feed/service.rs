//! The feed, as the other parts of the server use it. A thread of its own does the rest, so that nobody waits for
//! RabbitMQ.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::port::{Audience, Port};
use super::settings::Settings;
use super::shared::Shared;
use super::task::Task;
use super::wire::Layout;
pub use crate::cluster::status::Status;
use crate::delivery::fold::Outage;
use crate::event::ConversationId;
use crate::metrics::Metrics;

/// The wait before a task that has panicked is started anew.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// The time that the thread has to end.
const END_MAX: Duration = Duration::from_secs(1);

/// The feed. All threads share it.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    /// Is dropped by the thread of the feed when it ends.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Feed {
    /// Starts the feed on a thread of its own. It connects for ever: a RabbitMQ that is away is no error. `outages` is
    /// the number of the last outage that sessions were told of, which all who tell of outages share.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: Settings,
        metrics: Arc<Metrics>,
        audience: Arc<dyn Audience>,
        outages: Arc<AtomicU64>,
    ) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            settings,
            metrics,
            audience,
            status: Mutex::new(Status::Down { since: Instant::now(), why: "not yet connected".into() }),
            bindings: Mutex::default(),
            outage: AtomicU64::new(0),
            outages,
            was_up: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            wake: Notify::new(),
        });
        let (alive, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let theirs = shared.clone();
        let main = move || {
            let _alive: oneshot::Sender<()> = alive;
            LocalSet::new().block_on(&runtime, keep_running(theirs));
            // A name may be resolved for ever.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("feed".into()).spawn(main)?;
        Ok(Arc::new(Self { shared, ended: Mutex::new(Some(ended)) }))
    }

    /// Whether the feed is up.
    pub fn status(&self) -> Status {
        self.shared.status.lock().clone()
    }

    /// Returns the URL without secrets.
    pub fn url(&self) -> String {
        self.shared.settings.url.shown()
    }

    /// Ends the thread of the feed. The future need not be awaited.
    pub fn stop(&self) -> impl Future<Output = ()> + use<> {
        self.end();
        let ended = self.ended.lock().take();
        async move {
            if let Some(ended) = ended {
                // It is dropped and sends nothing.
                tokio::time::timeout(END_MAX, ended).await.ok();
            }
        }
    }

    fn end(&self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        self.shared.wake.notify_one();
    }

    /// Whether each conversation has an exchange of its own.
    fn binds_conversations(&self) -> bool {
        self.shared.settings.reader.layout == Layout::V3
    }
}

impl Port for Feed {
    fn attach(&self, id: &ConversationId, life: u64) {
        if self.binds_conversations() {
            self.shared.bindings.lock().attach(id, life);
            self.shared.wake.notify_one();
        }
    }

    fn detach(&self, id: &ConversationId, life: u64) {
        if self.binds_conversations() {
            self.shared.bindings.lock().detach(id, life);
            self.shared.wake.notify_one();
        }
    }

    fn outage(&self) -> Option<Outage> {
        let number = self.shared.outage.load(Ordering::SeqCst);
        (number != 0).then_some(Outage { number, over: false })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs the task. A panic in it ends the connection, not the feed.
async fn keep_running(shared: Arc<Shared>) {
    while spawn_local(Task::new(shared.clone()).run()).await.is_err() {
        log::error!("the task of the feed at {} has panicked, and is started anew", shared.settings.url.shown());
        tokio::time::sleep(RESTART_AFTER).await;
    }
}
