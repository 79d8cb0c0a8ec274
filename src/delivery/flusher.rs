//! The flusher of a worker writes the outboxes of its sessions to their sockets. It has tasks of its own, so that a
//! broadcast wakes no session: one task for each [`Audience`], so that packets for few do not wait behind those for
//! many. A session's own task is woken when its socket has input, has room again after it was full, or has ended.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::outbox::Outbox;
use super::ready::{self, Audience, Entry};
use super::slab::Slab;
use super::transport::{Sink, Transport};
use crate::event::CloseReason;
use crate::turns::Rest;

/// Sockets written in one turn (about 0.5 ms of work) before other tasks run and the runtime polls the sockets.
const SOCKETS_PER_TURN: usize = 128;

/// A turn writes at least one in this many of the sockets that wait. So even if the list is filled as fast as it is
/// written, an entry is written within this many turns: before conversations can push more than an outbox holds.
const TURNS_MAX: usize = 64;

/// The sockets of a worker.
#[derive(Debug)]
pub struct Flusher {
    worker: u32,
    /// `None` if the socket was taken out and its handle still holds the key. Borrowed while a transport reads or
    /// writes: neither the transport nor its sink may call the flusher.
    sockets: RefCell<Slab<Option<SocketEntry>>>,
    /// The keys of sockets that took no more when they were written to.
    blocked: RefCell<Vec<u32>>,
    write_timeout: Duration,
}

/// A socket and the outbox that is written to it.
#[derive(Debug)]
struct SocketEntry {
    transport: Box<dyn Transport>,
    outbox: Arc<Outbox>,
    /// Wakes the session's task.
    task: Waker,
    /// Why the socket has ended, until the session's task learns of it.
    ended: Option<CloseReason>,
    /// Whether the key is among the blocked ones.
    watched: bool,
}

/// A session's handle of its socket. When the handle is dropped, the flusher forgets the socket.
#[derive(Debug)]
pub struct SocketHandle {
    flusher: Rc<Flusher>,
    key: u32,
}

impl Flusher {
    /// Starts the flusher of this thread. Has to be called within the thread's runtime.
    pub fn start(write_timeout: Duration) -> Rc<Self> {
        let (sockets, blocked) = (RefCell::default(), RefCell::default());
        let flusher = Rc::new(Self { worker: ready::register_worker(), sockets, blocked, write_timeout });
        actix_rt::spawn(watch(flusher.clone()));
        for audience in [Audience::Few, Audience::Many] {
            // The task paces itself; tokio would interrupt it after 128 sockets that are ready.
            actix_rt::spawn(tokio::task::unconstrained(run(flusher.clone(), audience)));
        }
        flusher
    }

    /// Writes `outbox` to `transport` from now on.
    pub fn carry(self: &Rc<Self>, transport: Box<dyn Transport>, outbox: &Arc<Outbox>) -> SocketHandle {
        let socket =
            SocketEntry { transport, outbox: outbox.clone(), task: Waker::noop().clone(), ended: None, watched: false };
        let key = self.sockets.borrow_mut().insert(Some(socket));
        outbox.write_by(Some(Entry { worker: self.worker, key }));
        SocketHandle { flusher: self.clone(), key }
    }

    /// Writes to a socket. If that panics, only this socket ends.
    fn flush(&self, key: u32) {
        let flush = |socket: &mut SocketEntry| {
            socket.flush();
            self.watch(key, socket);
        };
        if catch_unwind(AssertUnwindSafe(|| self.with(key, flush))).is_err() {
            self.with(key, |socket| socket.end(CloseReason::Panic));
        }
    }

    /// Notes the key of a socket that takes no more.
    fn watch(&self, key: u32, socket: &mut SocketEntry) {
        if !socket.watched && socket.transport.blocked_since().is_some() {
            socket.watched = true;
            self.blocked.borrow_mut().push(key);
        }
    }

    /// Writes to a socket once more, and ends it if it has taken nothing for too long. The last write is needed because
    /// the runtime does not wake the task of a socket that takes only a little.
    fn check_blocked(&self, key: u32) {
        if self.with(key, |socket| std::mem::take(&mut socket.watched)) != Some(true) {
            return;
        }
        self.flush(key);
        self.with(key, |socket| {
            if socket.transport.blocked_since().is_some_and(|since| since.elapsed() >= self.write_timeout) {
                socket.end(CloseReason::WriteTimeout);
            }
        });
    }

    /// Calls `work` with the socket at a key. `None` if there is no socket.
    fn with<T>(&self, key: u32, work: impl FnOnce(&mut SocketEntry) -> T) -> Option<T> {
        self.sockets.borrow_mut().get_mut(key)?.as_mut().map(work)
    }
}

/// Writes to the sockets that wait on the list of `audience`.
async fn run(flusher: Rc<Flusher>, audience: Audience) {
    // `written` counts since the last rest: a short list may be filled again as fast as it is written.
    let (mut keys, mut written) = (VecDeque::new(), 0);
    loop {
        poll_fn(|cx| {
            ready::take(audience, &mut keys, cx.waker());
            if keys.is_empty() {
                written = 0;
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        let most = keys.len().div_ceil(TURNS_MAX).max(SOCKETS_PER_TURN);
        let turn = keys.len().min(most - written);
        keys.drain(..turn).for_each(|key| flusher.flush(key));
        written += turn;
        if written >= SOCKETS_PER_TURN {
            // A rest, and not `yield_now`, so that the runtime polls the sockets too.
            Rest::default().await;
            written = 0;
        }
    }
}

/// Ends the sockets that take nothing for too long. This adds nothing to the cost of a delivery: blocked sockets are
/// few, and checked seldom.
async fn watch(flusher: Rc<Flusher>) {
    loop {
        tokio::time::sleep(flusher.write_timeout / 4).await;
        let mut keys = flusher.blocked.take();
        keys.sort_unstable();
        keys.dedup();
        for keys in keys.chunks(SOCKETS_PER_TURN) {
            keys.iter().for_each(|key| flusher.check_blocked(*key));
            Rest::default().await;
        }
    }
}

impl SocketEntry {
    /// Writes as much as the socket takes. If the socket has ended, the session's task is told.
    fn flush(&mut self) {
        self.outbox.unlist();
        if let Poll::Ready(reason) = self.transport.poll_write(&mut Context::from_waker(&self.task), &self.outbox) {
            self.end(reason);
        }
    }

    /// Tells the session's task that the socket has ended.
    fn end(&mut self, reason: CloseReason) {
        self.ended = Some(reason);
        self.task.wake_by_ref();
    }

    /// Keeps the waker of the session's task, which is running.
    fn attend(&mut self, task: &Waker) {
        self.task.clone_from(task);
    }
}

impl SocketHandle {
    /// As [`Transport::poll_read`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<CloseReason> {
        let read = |socket: &mut SocketEntry| {
            socket.attend(cx.waker());
            match socket.ended.take() {
                Some(reason) => Poll::Ready(reason),
                None => socket.transport.poll_read(cx, sink),
            }
        };
        self.flusher.with(self.key, read).unwrap_or(Poll::Pending)
    }

    /// As [`Transport::poll_write`], from the socket's outbox.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let write = |socket: &mut SocketEntry| {
            socket.attend(cx.waker());
            if let Some(reason) = socket.ended.take() {
                return Poll::Ready(reason);
            }
            let written = socket.transport.poll_write(cx, &socket.outbox);
            self.flusher.watch(self.key, socket);
            written
        };
        self.flusher.with(self.key, write).unwrap_or(Poll::Pending)
    }

    /// As [`Transport::close`].
    pub fn close(self, reason: CloseReason) {
        if let Some(socket) = self.take() {
            socket.transport.close(reason);
        }
    }

    /// Closes the socket because the session goes on by another transport. Unwritten frames go back to the outbox.
    pub fn retire(self, reason: CloseReason) {
        if let Some(mut socket) = self.take() {
            socket.outbox.put_back(socket.transport.give_up_unwritten());
            socket.transport.close(reason);
        }
    }

    /// Writes `outbox` from now on, which takes over what waits in the present one.
    pub fn write_from(&self, outbox: &Arc<Outbox>) {
        let entry = Entry { worker: self.flusher.worker, key: self.key };
        self.flusher.with(self.key, |socket| {
            socket.outbox.write_by(None);
            outbox.inherit(&socket.outbox, socket.transport.give_up_unwritten());
            outbox.write_by(Some(entry));
            socket.outbox = outbox.clone();
        });
    }

    /// Takes the socket out. The key stays reserved until the handle is dropped.
    fn take(&self) -> Option<SocketEntry> {
        let socket = self.flusher.sockets.borrow_mut().get_mut(self.key)?.take()?;
        socket.outbox.write_by(None);
        Some(socket)
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        drop(self.take());
        self.flusher.sockets.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Frames;
    use super::super::outbox::tests::{Wakes, limits};
    use super::*;
    use crate::metrics::{Metrics, ReadAtScrape};
    use crate::protocol::Generation;
    use crate::protocol::frame::{Frame, Payload};
    use futures_util::task::waker;
    use std::cell::Cell;
    use std::fmt;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::time::Instant;
    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;

    /// A socket that has no input, and writes as a test says.
    struct WriteOnly<W>(W);

    impl<W> fmt::Debug for WriteOnly<W> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("WriteOnly")
        }
    }

    /// A socket that never takes anything.
    #[derive(Debug)]
    struct Stuck(Rc<Cell<usize>>);

    impl Transport for Stuck {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut Sink<'_>) -> Poll<CloseReason> {
            Poll::Pending
        }

        fn poll_write(&mut self, _: &mut Context<'_>, _: &Outbox) -> Poll<CloseReason> {
            self.0.set(self.0.get() + 1);
            Poll::Pending
        }

        fn poll_send(&mut self, _: &mut Context<'_>, _: &Frame, _: usize) -> Poll<CloseReason> {
            Poll::Pending
        }

        fn blocked_since(&self) -> Option<Instant> {
            Instant::now().checked_sub(Duration::from_secs(60))
        }

        fn give_up_unwritten(&mut self) -> Frames {
            Frames::new()
        }

        fn close(self: Box<Self>, _: CloseReason) {}
    }

    #[actix_rt::test]
    async fn a_socket_that_takes_nothing_for_too_long_is_ended() {
        let flusher = Flusher::start(Duration::from_millis(40));
        let wakes = Arc::new(Wakes::default());
        let task = waker(wakes.clone());
        let (bounds, metrics) = (limits(9, 99), Metrics::new(&[], ReadAtScrape::default()));
        let outbox = Arc::new(Outbox::new(Generation::Eio4, bounds, metrics));
        let writes = Rc::new(Cell::new(0));
        let mut socket = flusher.carry(Box::new(Stuck(writes.clone())), &outbox);
        let mut cx = Context::from_waker(&task);
        for _ in 0..3 {
            assert!(socket.poll_write(&mut cx).is_pending());
        }
        assert_eq!(*flusher.blocked.borrow(), [0], "once");
        let woken = async {
            while wakes.0.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), woken).await.expect("the session hears of it");
        assert!(writes.get() > 3, "it had a last chance");
        // A session that does not read at the moment learns of it too.
        assert_eq!(socket.poll_write(&mut cx), Poll::Ready(CloseReason::WriteTimeout));
    }

    impl<W: FnMut(Frames, &Outbox) -> Poll<CloseReason>> Transport for WriteOnly<W> {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut Sink<'_>) -> Poll<CloseReason> {
            Poll::Pending
        }

        fn poll_write(&mut self, _: &mut Context<'_>, outbox: &Outbox) -> Poll<CloseReason> {
            let mut frames = Frames::new();
            outbox.take(&mut frames);
            (self.0)(frames, outbox)
        }

        fn poll_send(&mut self, _: &mut Context<'_>, _: &Frame, _: usize) -> Poll<CloseReason> {
            Poll::Pending
        }

        fn blocked_since(&self) -> Option<Instant> {
            None
        }

        fn give_up_unwritten(&mut self) -> Frames {
            Frames::new()
        }

        fn close(self: Box<Self>, _: CloseReason) {}
    }

    fn write_only(write: impl FnMut(Frames, &Outbox) -> Poll<CloseReason> + 'static) -> Box<dyn Transport> {
        Box::new(WriteOnly(write))
    }

    /// A socket that writes everything `writes` times, and then breaks.
    fn fragile(name: usize, mut writes: usize, log: Rc<RefCell<Vec<usize>>>) -> Box<dyn Transport> {
        write_only(move |frames, outbox| {
            if frames.is_empty() {
                return Poll::Pending;
            }
            assert_ne!(name, usize::MAX, "as it was told");
            if writes == 0 {
                return Poll::Ready(CloseReason::TransportError);
            }
            writes -= 1;
            outbox.written(frames.len(), frames.iter().map(Frame::len).sum());
            log.borrow_mut().push(name);
            Poll::Pending
        })
    }

    struct Scene {
        flusher: Rc<Flusher>,
        metrics: Arc<Metrics>,
        log: Rc<RefCell<Vec<usize>>>,
    }

    impl Scene {
        fn new() -> Self {
            let metrics = Metrics::new(&[], ReadAtScrape::default());
            Self { flusher: Flusher::start(Duration::from_secs(3600)), metrics, log: Rc::default() }
        }

        fn carry(&self, name: usize, writes: usize) -> (SocketHandle, Arc<Outbox>) {
            let bounds = limits(100, 10_000);
            let outbox = Arc::new(Outbox::new(Generation::Eio4, bounds, self.metrics.clone()));
            (self.flusher.carry(fragile(name, writes, self.log.clone()), &outbox), outbox)
        }

        async fn until_written(&self, count: usize) {
            for _ in 0..100_000 {
                if self.log.borrow().len() >= count {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("{:?}", self.log.borrow());
        }
    }

    #[actix_rt::test]
    async fn a_broadcast_wakes_no_session() {
        let scene = Scene::new();
        let wakes = Arc::new(Wakes::default());
        let task = waker(wakes.clone());
        let mut carried: Vec<_> = (0..600).map(|name| scene.carry(name, 1)).collect();
        for (socket, outbox) in &mut carried {
            outbox.register(&task);
            assert!(socket.poll_write(&mut Context::from_waker(&task)).is_pending());
        }
        for (_, outbox) in &carried {
            outbox.push(Frame::text("4a"));
        }
        let (log, seen) = (scene.log.clone(), Rc::new(RefCell::new(Vec::new())));
        let others = seen.clone();
        actix_rt::spawn(async move {
            while log.borrow().len() < 600 {
                others.borrow_mut().push(log.borrow().len());
                tokio::task::yield_now().await;
            }
        });
        scene.until_written(600).await;
        assert!(seen.borrow().contains(&SOCKETS_PER_TURN), "others have their turns in between: {seen:?}");
        assert_eq!(*scene.log.borrow(), (0..600).collect::<Vec<_>>(), "the first first");
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }

    #[actix_rt::test]
    async fn packets_for_few_overtake_those_for_many() {
        let scene = Scene::new();
        let carried: Vec<_> = (0..1000).map(|name| scene.carry(name, 2)).collect();
        let many = ready::batch(Audience::Many);
        for (_, outbox) in &carried[..999] {
            outbox.push(Frame::text("4a"));
        }
        drop(many);
        scene.until_written(1).await;
        carried[999].1.push(Frame::text("4b"));
        scene.until_written(1000).await;
        let log = scene.log.borrow();
        let at = log.iter().position(|name| *name == 999).unwrap();
        assert!(at <= 2 * SOCKETS_PER_TURN, "behind {at}");
    }

    /// A task that waits for input runs between two turns, even if pushes wake the flusher all the time.
    #[actix_rt::test]
    async fn pushes_do_not_keep_the_runtime_from_the_sockets() {
        let scene = Scene::new();
        let carried: Vec<_> = (0..4000).map(|name| scene.carry(name, 1)).collect();
        let (mut near, far) = tokio::net::UnixStream::pair().unwrap();
        let ((ready, reads), log) = (oneshot::channel(), scene.log.clone());
        let reading = actix_rt::spawn(async move {
            let _ = ready.send(());
            near.read_u8().await.unwrap();
            log.borrow().len()
        });
        reads.await.unwrap();
        let mut outboxes = carried.iter().map(|(_, outbox)| outbox.clone()).collect::<Vec<_>>().into_iter();
        outboxes.by_ref().take(3900).for_each(|outbox| assert!(outbox.push(Frame::text("4a"))));
        actix_rt::spawn(poll_fn(move |cx| {
            let Some(outbox) = outboxes.next() else { return Poll::Ready(()) };
            outbox.push(Frame::text("4b"));
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        far.try_write(b"x").unwrap();
        let written = reading.await.unwrap();
        assert!(written <= 2 * SOCKETS_PER_TURN, "{written} were served first");
    }

    /// A socket that pushes to another outbox whenever it is written to.
    fn restless(writes: Rc<Cell<usize>>, next: Rc<RefCell<Option<Arc<Outbox>>>>) -> Box<dyn Transport> {
        write_only(move |_, _| {
            writes.set(writes.get() + 1);
            if writes.get() < 10_000 {
                next.borrow().iter().for_each(|next| assert!(next.push(Frame::text("4a"))));
            }
            Poll::Pending
        })
    }

    /// Other tasks run even if the list is always short and never empty for long.
    #[actix_rt::test]
    async fn endless_pushes_let_others_run() {
        let scene = Scene::new();
        let (writes, next) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
        let bounds = limits(1_000_000, 1_000_000_000);
        let carry = |next| {
            let outbox = Arc::new(Outbox::new(Generation::Eio4, bounds.clone(), scene.metrics.clone()));
            (scene.flusher.carry(restless(writes.clone(), next), &outbox), outbox)
        };
        let (_first, first) = carry(next.clone());
        let (_second, second) = carry(Rc::new(RefCell::new(Some(first.clone()))));
        next.replace(Some(second));
        first.push(Frame::text("4a"));
        tokio::task::yield_now().await;
        assert!(writes.get() > 0);
        assert!(writes.get() <= 2 * SOCKETS_PER_TURN, "{} without a rest", writes.get());
    }

    #[actix_rt::test]
    async fn an_outbox_that_its_session_writes_is_on_the_list_once() {
        let scene = Scene::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut carried: Vec<_> = (0..3).map(|name| scene.carry(name, 100)).collect();
        for _ in 0..50 {
            for (socket, outbox) in &mut carried {
                outbox.push(Frame::text("4a"));
                assert!(socket.poll_write(&mut cx).is_pending());
            }
        }
        let mut keys = VecDeque::new();
        ready::take(Audience::Few, &mut keys, cx.waker());
        assert_eq!(keys, [0, 1, 2]);
        keys.drain(..).for_each(|key| scene.flusher.flush(key));
        for (_, outbox) in &carried {
            outbox.push(Frame::text("4b"));
        }
        ready::take(Audience::Few, &mut keys, cx.waker());
        assert_eq!(keys, [0, 1, 2], "and again after the flush");
    }

    #[actix_rt::test]
    async fn a_socket_that_panics_takes_no_other_with_it() {
        let scene = Scene::new();
        let (mut panics, outbox) = scene.carry(usize::MAX, 1);
        outbox.push(Frame::text("4a"));
        let (_socket, other) = scene.carry(1, 1);
        other.push(Frame::text("4b"));
        scene.until_written(1).await;
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(panics.poll_read(&mut cx, &mut |_| Ok(true)), Poll::Ready(CloseReason::Panic));
    }

    #[actix_rt::test]
    async fn a_session_hears_of_the_end_of_its_socket() {
        let scene = Scene::new();
        let wakes = Arc::new(Wakes::default());
        let task = waker(wakes.clone());
        let mut cx = Context::from_waker(&task);
        let (mut broken, outbox) = scene.carry(0, 0);
        assert!(broken.poll_read(&mut cx, &mut |_| Ok(true)).is_pending());
        outbox.push(Frame::text("4a"));
        let (_socket, other) = scene.carry(1, 1);
        other.push(Frame::text("4b"));
        scene.until_written(1).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(broken.poll_read(&mut cx, &mut |_| Ok(true)), Poll::Ready(CloseReason::TransportError));
    }

    #[actix_rt::test]
    async fn a_key_is_used_again_and_the_former_socket_is_not_written() {
        let scene = Scene::new();
        let (socket, outbox) = scene.carry(0, 1);
        outbox.push(Frame::text("4a"));
        socket.close(CloseReason::TransportClose);
        let (next, other) = scene.carry(1, 1);
        other.push(Frame::text("4b"));
        scene.until_written(1).await;
        assert_eq!((scene.log.borrow().as_slice(), outbox.len()), ([1].as_slice(), 1));
        assert_eq!(next.key, 0);
    }

    #[actix_rt::test]
    async fn a_push_on_another_thread_goes_out_without_waking_the_session() {
        let scene = Scene::new();
        let wakes = Arc::new(Wakes::default());
        let task = waker(wakes.clone());
        let (mut socket, outbox) = scene.carry(0, 1);
        outbox.register(&task);
        assert!(socket.poll_write(&mut Context::from_waker(&task)).is_pending());
        std::thread::spawn(move || outbox.push(Frame::text("4a"))).join().unwrap();
        scene.until_written(1).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }

    /// A socket that reports every frame.
    fn telltale(name: usize, heard: mpsc::Sender<(usize, u64)>) -> Box<dyn Transport> {
        write_only(move |frames, outbox| {
            for frame in frames {
                outbox.written(1, frame.len());
                let Payload::Text(number) = frame.payload() else { continue };
                heard.send((name, number.parse().unwrap())).unwrap();
            }
            Poll::Pending
        })
    }

    /// A thread with a flusher, and its outboxes. If a wake is lost, it sleeps for ever.
    struct OtherThread {
        outboxes: Vec<Arc<Outbox>>,
        stop: oneshot::Sender<()>,
        thread: std::thread::JoinHandle<()>,
    }

    impl OtherThread {
        fn start(metrics: &Arc<Metrics>, names: std::ops::Range<usize>, heard: &mpsc::Sender<(usize, u64)>) -> Self {
            let (stop, stopped) = oneshot::channel();
            let (ready, outboxes) = mpsc::channel();
            let (metrics, heard) = (metrics.clone(), heard.clone());
            let thread = std::thread::spawn(move || {
                actix_rt::System::new().block_on(async move {
                    let flusher = Flusher::start(Duration::from_secs(3600));
                    let bounds = limits(1_000_000, 1_000_000_000);
                    let carry = |name| {
                        let outbox = Arc::new(Outbox::new(Generation::Eio4, bounds.clone(), metrics.clone()));
                        (flusher.carry(telltale(name, heard.clone()), &outbox), outbox)
                    };
                    let (sockets, carried): (Vec<_>, Vec<_>) = names.map(carry).unzip();
                    ready.send(carried).unwrap();
                    let _ = stopped.await;
                    drop(sockets);
                });
            });
            Self { outboxes: outboxes.recv().unwrap(), stop, thread }
        }
    }

    #[test]
    fn nothing_is_lost_or_overtaken_between_threads() {
        const OUTBOXES: usize = 20;
        const FRAMES: u64 = 3_000;
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let (sender, heard) = mpsc::channel();
        let workers = [0, 1].map(|n| OtherThread::start(&metrics, n * OUTBOXES..(n + 1) * OUTBOXES, &sender));
        let outboxes: Vec<_> = workers.iter().flat_map(|worker| &worker.outboxes).collect();
        let mut next = [0; 2 * OUTBOXES];
        let mut hear = || {
            let (name, number) = heard.recv_timeout(Duration::from_secs(30)).expect("a flusher sleeps");
            assert_eq!(number, next[name], "of {name}");
            next[name] += 1;
        };
        // Each of these pushes finds the other thread asleep or falling asleep.
        for number in 0..FRAMES {
            outboxes[number as usize % 2 * OUTBOXES].push(Frame::text(&(number / 2).to_string()));
            hear();
        }
        std::thread::scope(|scope| {
            for producer in 0..4 {
                let outboxes = &outboxes;
                scope.spawn(move || {
                    for number in 0..FRAMES {
                        let _batching = (producer % 2 == 0).then(|| ready::batch(Audience::Many));
                        for name in (0..2 * OUTBOXES).filter(|name| name % 4 == producer) {
                            let start = if name % OUTBOXES == 0 { FRAMES / 2 } else { 0 };
                            outboxes[name].push(Frame::text(&(start + number).to_string()));
                        }
                    }
                });
            }
            (0..2 * OUTBOXES as u64 * FRAMES).for_each(|_| hear());
        });
        assert_eq!(metrics.session_queue_messages.get(), 0);
        for worker in workers {
            worker.stop.send(()).unwrap();
            worker.thread.join().unwrap();
        }
    }
}
