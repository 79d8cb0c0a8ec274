//! One HTTP/1 connection. A request is read, the `App` answers it, and the answer is written before the next request is
//! looked at: pipelined requests stay in the kernel. Each head, body and answer has its deadline, and other tasks run
//! between two requests. A WebSocket request takes the socket out of here.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_http::{Payload, Request};
use actix_service::boxed::BoxService;
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::error::ErrorRequestTimeout;
use actix_web::http::{Method, StatusCode};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::newcomers::Newcomers;
use super::request::{self, Head, HeadError, Length};
use super::response::{Asked, Framing, NO_ROOM, write_head};
use super::socket::reset_on_drop;
use super::wire::{Incoming, Wire, linger, send_at_once};
use crate::limits::clients::{Clients, ConnectionSlot};
use crate::metrics::{Limit, ListenerName, Metrics};
use crate::turns::Rest;

/// Bodies up to this size are copied behind their head, so that one write sends both.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// How long a client may take for the rest of a head, or to read more of an answer, once the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The `App` of a listener, on one thread.
pub type AppService = BoxService<Request, ServiceResponse<BoxBody>, actix_web::Error>;

/// Takes over the connections that become WebSockets.
pub trait Upgrade {
    /// Returns whether this WebSocket request is for a path that serves WebSockets. Any other is answered by the `App`.
    fn takes(&self, request: &Request) -> bool;

    /// Continues the connection as a WebSocket.
    fn upgrade(&self, request: Request, socket: Upgraded) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// A connection that leaves HTTP.
#[derive(Debug)]
pub struct Upgraded {
    /// The socket.
    pub stream: TcpStream,
    /// Bytes that arrived behind the request.
    pub read: Vec<u8>,
    /// Its slot among the open connections.
    pub slot: ConnectionSlot,
    /// See [`Service::stopping`].
    pub stopping: watch::Receiver<bool>,
}

/// The deadlines of a listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// The time from the connect to the first byte, then the time for a head, then the time for a body.
    pub request: Duration,
    /// The time from the end of an answer to the next request.
    pub keep_alive: Duration,
    /// The time in which the client must read some of an answer.
    pub write: Duration,
}

/// The settings and counters that all connections of a thread share.
pub struct Service {
    /// The name of the listener in the metrics.
    pub listener: ListenerName,
    /// Answers requests.
    pub app: AppService,
    /// Takes WebSockets; `None` on a listener that has none.
    pub upgrade: Option<Box<dyn Upgrade>>,
    /// The deadlines of each connection.
    pub deadlines: Deadlines,
    /// The largest head of a request.
    pub head_bytes_max: usize,
    /// The connected clients.
    pub clients: Arc<Clients>,
    /// The clients whose first request is not served yet.
    pub newcomers: Rc<Newcomers>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// True when the server stops: every answer is then the last one of its connection.
    pub stopping: watch::Receiver<bool>,
}

/// The result of waiting for the next request.
enum Next {
    Head(Box<Head>),
    /// The connection ends without an answer.
    Over,
    Refused(StatusCode),
    /// Memory is too short for the request.
    Crowded,
}

/// Serves a connection until it ends.
pub async fn serve(service: Rc<Service>, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
    let wire = Rc::new(RefCell::new(Wire::new(stream)));
    let mut is_first = true;
    if !service.welcome(&wire, slot.address()).await {
        return;
    }
    if !service.clients.may_stay(std::time::Instant::now()) {
        return service.turn_away(&wire);
    }
    loop {
        let head = match service.next_head(&wire, std::mem::take(&mut is_first)).await {
            Next::Head(head) => *head,
            Next::Over => return,
            Next::Refused(status) => {
                let answer = HttpResponse::build(status).body(format!("{status}\n"));
                if service.write(&wire, answer, Asked::UNREADABLE).await.is_ok() {
                    service.linger(wire).await;
                }
                return;
            }
            Next::Crowded => return service.turn_away(&wire),
        };
        let Head { mut request, length, persists, expects_continue, asks_for_websocket } = head;
        request.head_mut().peer_addr = Some(peer);
        if asks_for_websocket && let Some(upgrade) = service.upgrade.as_ref().filter(|upgrade| upgrade.takes(&request))
        {
            // No request is under way, so nothing else holds the socket.
            let Some(wire) = Rc::into_inner(wire) else { return };
            let Wire { stream, incoming, .. } = wire.into_inner();
            let (read, stopping) = (incoming.to_vec(), service.stopping.clone());
            return upgrade.upgrade(request, Upgraded { stream, read, slot, stopping }).await;
        }
        let may_persist = persists && !*service.stopping.borrow() && !service.clients.is_crowded();
        let asked = Asked::new(&request.head().method, request.head().version, may_persist);
        let Some(answer) = service.answer(&wire, request, length, expects_continue).await else { return };
        let asked = Asked { persists: asked.persists && wire.borrow_mut().skip_rest(), ..asked };
        match service.write(&wire, answer, asked).await {
            Ok(true) => {}
            Ok(false) => return service.linger(wire).await,
            Err(_) => return,
        }
        if wire.borrow_mut().is_ahead() {
            // Pipelined requests would otherwise keep this thread from everyone else.
            Rest::default().await;
        }
    }
}

impl Service {
    /// Waits until the client begins its first request, then for the client's turn; waiting for the turn does not count
    /// as the client's time. Returns false if no request comes: browsers open connections in advance, and such a
    /// connection is just closed.
    async fn welcome(&self, wire: &RefCell<Wire>, address: IpAddr) -> bool {
        let mut stopping = self.stopping.clone();
        let has_come = tokio::select! {
            biased;
            ready = poll_fn(|cx| wire.borrow().stream.poll_read_ready(cx)) => ready.is_ok(),
            () = sleep_until(Instant::now() + self.deadlines.request) => false,
            _ = stopping.wait_for(|stops| *stops) => false,
        };
        if has_come {
            // At a stop, clients that wait for their turn are answered at once.
            tokio::select! {
                () = self.newcomers.pass(address) => {}
                _ = stopping.wait_for(|stops| *stops) => {}
            }
        }
        has_come
    }

    /// Waits for a request and reads its head. If `is_first`, the request has already begun to arrive.
    async fn next_head(&self, wire: &RefCell<Wire>, is_first: bool) -> Next {
        let mut stopping = self.stopping.clone();
        let mut is_stopping = false;
        let mut looked_at = 0;
        wire.borrow_mut().skip_blanks();
        let mut has_begun = is_first || !wire.borrow().incoming.is_empty();
        let begun = Instant::now();
        let mut due = begun + if has_begun { self.deadlines.request } else { self.deadlines.keep_alive };
        loop {
            if let Some(next) = self.read_head(&mut wire.borrow_mut().incoming, &mut looked_at) {
                return next;
            }
            let kept = wire.borrow().incoming.len();
            if !self.clients.may_keep(kept) {
                return Next::Crowded;
            }
            let nothing_yet = kept == 0;
            if !nothing_yet && !std::mem::replace(&mut has_begun, true) {
                due = Instant::now() + self.deadlines.request;
            }
            tokio::select! {
                biased;
                filled = poll_fn(|cx| wire.borrow_mut().poll_fill(cx)) => match filled {
                    Ok(bytes) if bytes > 0 => {}
                    _ => return Next::Over,
                },
                () = sleep_until(due) => {
                    if nothing_yet {
                        return Next::Over;
                    }
                    self.metrics.limited(Limit::RequestTime);
                    return Next::Refused(StatusCode::REQUEST_TIMEOUT);
                }
                _ = stopping.wait_for(|stops| *stops), if !is_stopping => {
                    if nothing_yet {
                        return Next::Over;
                    }
                    is_stopping = true;
                    due = due.min(Instant::now() + STOP_PATIENCE);
                }
            }
        }
    }

    /// Takes a head off the front of `incoming`, if it is complete. The first `looked_at` bytes do not contain its end.
    fn read_head(&self, incoming: &mut BytesMut, looked_at: &mut usize) -> Option<Next> {
        if *looked_at == 0 {
            request::skip_blanks(incoming);
        }
        let end = request::end_of_head(incoming, *looked_at);
        if end.is_none() && request::is_no_request(incoming) {
            return Some(self.refuse(HeadError::Malformed));
        }
        *looked_at = incoming.len();
        if end.unwrap_or(incoming.len()) > self.head_bytes_max {
            return Some(self.refuse(HeadError::TooLarge));
        }
        let head = request::read(&incoming.split_to(end?));
        Some(match head {
            Ok(head) => Next::Head(Box::new(head)),
            Err(error) => self.refuse(error),
        })
    }

    /// Turns a client away because memory is short. Lingering would take more memory.
    fn turn_away(&self, wire: &RefCell<Wire>) {
        self.metrics.limited(Limit::Memory);
        send_at_once(&wire.borrow().stream, NO_ROOM);
    }

    fn refuse(&self, error: HeadError) -> Next {
        if error == HeadError::TooLarge {
            self.metrics.limited(Limit::RequestHead);
        }
        Next::Refused(error.status())
    }

    /// Lets the `App` answer. Returns `None` if the client has gone in the meantime; the unfinished answer is dropped.
    async fn answer(
        &self,
        wire: &Rc<RefCell<Wire>>,
        mut request: Request,
        length: Length,
        expects_continue: bool,
    ) -> Option<HttpResponse<BoxBody>> {
        let only_asks = matches!(request.head().method, Method::GET | Method::HEAD);
        wire.borrow_mut().begin_body(length, expects_continue, only_asks);
        let mut due = None;
        if !wire.borrow().has_whole_body() {
            if !only_asks {
                *request.payload() = Payload::Stream { payload: Box::pin(Incoming(Rc::clone(wire))) };
            }
            due = Some(Box::pin(sleep_until(Instant::now() + self.deadlines.request)));
        }
        let mut answering = pin!(self.app.call(request));
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            if due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready()) {
                due = None;
                if wire.borrow_mut().give_up_body() {
                    self.metrics.limited(Limit::RequestTime);
                    if only_asks {
                        return Poll::Ready(Some(Err(ErrorRequestTimeout("the body is late\n"))));
                    }
                    // Polls the reader of the body again, which then sees the error.
                    cx.waker().wake_by_ref();
                }
            }
            if wire.borrow_mut().poll_gone(cx) { Poll::Ready(None) } else { Poll::Pending }
        });
        Some(match answered.await? {
            Ok(response) => response.into_parts().1,
            Err(error) => error.error_response(),
        })
    }

    /// Writes an answer. Returns whether the connection persists.
    async fn write(&self, wire: &RefCell<Wire>, answer: HttpResponse<BoxBody>, asked: Asked) -> io::Result<bool> {
        self.metrics.http_answered(self.listener, answer.status().as_u16());
        let (head, body) = answer.into_parts();
        let size = body.size();
        let mut out = Vec::with_capacity(512);
        let (framing, persists) = write_head(&mut out, head.head(), size, asked);
        let whole = match framing {
            Framing::Omitted => Ok(Bytes::new()),
            Framing::Plain => body.try_into_bytes(),
            Framing::Chunked => Err(body),
        };
        match whole {
            Ok(body) if body.len() <= COPIED_BYTES_MAX => {
                out.extend_from_slice(&body);
                self.send(wire, out.into()).await?;
            }
            Ok(body) => {
                self.send(wire, out.into()).await?;
                self.send(wire, body).await?;
            }
            Err(body) => {
                self.send(wire, out.into()).await?;
                return Ok(self.stream(wire, body, framing, size).await? && persists);
            }
        }
        Ok(persists)
    }

    /// Writes a body piece by piece. Returns false if it was not as long as its head says.
    async fn stream(&self, wire: &RefCell<Wire>, body: BoxBody, framing: Framing, size: BodySize) -> io::Result<bool> {
        let mut body = pin!(body);
        let mut bytes = 0;
        while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            let piece = piece.map_err(|_| io::ErrorKind::BrokenPipe)?;
            bytes += piece.len() as u64;
            if framing == Framing::Chunked && !piece.is_empty() {
                let mut chunk = Vec::with_capacity(piece.len() + 12);
                push_chunk(&mut chunk, &piece);
                self.send(wire, chunk.into()).await?;
            } else {
                self.send(wire, piece).await?;
            }
        }
        if framing == Framing::Chunked {
            self.send(wire, Bytes::from_static(b"0\r\n\r\n")).await?;
        }
        Ok(!matches!(size, BodySize::Sized(announced) if announced != bytes))
    }

    /// Writes all `bytes`, for as long as the client reads.
    async fn send(&self, wire: &RefCell<Wire>, mut bytes: Bytes) -> io::Result<()> {
        loop {
            match wire.borrow().stream.try_write(&bytes) {
                Ok(written) => bytes.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if !bytes.has_remaining() {
                return Ok(());
            }
            let writable = poll_fn(|cx| wire.borrow().stream.poll_write_ready(cx));
            let mut stopping = self.stopping.clone();
            let late_for_stop = async {
                let _ = stopping.wait_for(|stops| *stops).await;
                sleep(STOP_PATIENCE).await;
            };
            tokio::select! {
                biased;
                ready = writable => {
                    ready?;
                    continue;
                }
                () = sleep(self.deadlines.write) => self.metrics.limited(Limit::WriteTime),
                () = late_for_stop => {}
            }
            reset_on_drop(&wire.borrow().stream);
            return Err(io::ErrorKind::TimedOut.into());
        }
    }

    /// Ends a connection whose client may still be sending: see [`linger`].
    async fn linger(&self, wire: Rc<RefCell<Wire>>) {
        if let Some(wire) = Rc::into_inner(wire) {
            linger(wire.into_inner().stream, self.stopping.clone()).await;
        }
    }
}

fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::clients::Bounds;
    use crate::limits::memory::Memory;
    use crate::metrics::ReadAtScrape;
    use actix_service::boxed;
    use actix_web::dev::Service as _;
    use actix_web::{App, test, web};
    use std::cell::Cell;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A connection of a service that answers `ok`, and its client.
    async fn connection() -> (Pin<Box<dyn Future<Output = ()>>>, TcpStream) {
        let app = Rc::new(test::init_service(App::new().default_service(web::to(|| async { "ok" }))).await);
        let clients = Clients::new(Bounds::connections_only(10), Memory::UNLIMITED);
        let slot = clients.connect([127, 0, 0, 1].into(), std::time::Instant::now()).unwrap();
        let long = Duration::from_secs(600);
        let (_, stopping) = watch::channel(false);
        let service = Service {
            listener: ListenerName::Clients,
            app: boxed::service(actix_service::fn_service(move |request| {
                let answer = app.call(request);
                async move { answer.await.map(ServiceResponse::map_into_boxed_body) }
            })),
            upgrade: None,
            deadlines: Deadlines { request: long, keep_alive: long, write: long },
            head_bytes_max: 1000,
            clients,
            newcomers: Rc::default(),
            metrics: Metrics::new(&[], ReadAtScrape::default()),
            stopping,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        (Box::pin(serve(Rc::new(service), stream, peer, slot)), client)
    }

    #[actix_rt::test]
    async fn a_connection_is_small() {
        let (serving, _client) = connection().await;
        let bytes = size_of_val(&*serving);
        assert!(bytes < 2048, "{bytes} bytes");
    }

    #[actix_rt::test]
    async fn others_have_a_turn_between_two_requests() {
        const REQUESTS: usize = 1000;
        let (serving, mut client) = connection().await;
        client.write_all("GET / HTTP/1.1\r\n\r\n".repeat(REQUESTS).as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let turns = Rc::new(Cell::new(0));
        let counting = turns.clone();
        let others = actix_rt::spawn(async move {
            loop {
                counting.set(counting.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        actix_rt::spawn(serving).await.unwrap();
        others.abort();
        let mut read = String::new();
        client.read_to_string(&mut read).await.unwrap();
        assert_eq!(read.matches("ok").count(), REQUESTS);
        assert!(turns.get() >= REQUESTS, "{} turns of others", turns.get());
    }
}
