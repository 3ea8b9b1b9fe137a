//! A core on a thread of its own with a scripted brain, and blocking sockets around it.

use crate::base::{AttemptId, ClientId, Instant, Now, OriginId, Slab};
use crate::base::{ByteCount, FixedHasher};
use crate::config::{Http2, Limits, Origin, Tls};
use crate::net::accept;
use crate::net::drain::{Drained, drain};
use crate::net::run::{Core, Setup, Standing, Steps};
use crate::net::runtime::{self, Runtime, bind, glommio, tokio as epoll};
use crate::net::tls::{Origins, server};
use crate::shard::{BodyFault, Call, ClientHead, Input, Output, ResponseHead};
use bytes::Bytes;
use crossbeam::atomic::AtomicCell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    IoUring,
    Epoll,
}

/// Runs a promise on every runtime that this machine allows.
pub(super) fn on_both(promise: impl Fn(On)) {
    promise(On::Epoll);
    if runtime::io_uring_available().is_ok() {
        promise(On::IoUring);
    }
}

/// What a test can watch and do from outside.
#[derive(Default)]
struct Shared {
    standing: AtomicCell<Standing>,
    gone: AtomicU64,
    failed: AtomicU64,
    heads: AtomicU64,
    paused: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
    /// Has an origin: calls it for all but `/echo`.
    front: AtomicBool,
    drain_ms: AtomicU64,
    drained: AtomicCell<Option<Drained>>,
}

pub(super) struct Rig {
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(super) struct Options {
    pub(super) limits: Limits,
    pub(super) origin: Option<Origin>,
    pub(super) tls: Option<Tls>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: limits(),
            origin: None,
            tls: None,
        }
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        connections_max: 2000,
        exchanges_max: 5000,
        h2_streams_max: 2000,
        header_bytes_max: 32 << 10,
        header_count_max: 64,
        body_bytes_max: ByteCount(1 << 20),
        bodies_bytes_max: ByteCount(64 << 20),
        header_time: Duration::from_millis(600),
        body_time: Duration::from_millis(600),
        keep_alive: Duration::from_secs(5),
        sse_comment: Duration::from_secs(15),
        client_buffer_bytes: 64 << 10,
        slow_client: Duration::from_secs(30),
        event_bytes_max: 1 << 20,
        answer_bytes_max: 1 << 20,
        upstream_idle_max: 16,
        upstream_idle: Duration::from_secs(5),
        upstream_h2_streams: 100,
        issued_max: 100,
        prefixes_max: 100,
        queue_max: 10,
        queue_time: Duration::from_secs(1),
    }
}

pub(super) fn plain(to: SocketAddr) -> Origin {
    Origin {
        host: to.ip().to_string(),
        port: to.port(),
        tls: false,
        http2: Http2::Auto,
        ca: None,
    }
}

impl Rig {
    pub(super) fn start(on: On, options: Options) -> Self {
        let socket = bind(([127, 0, 0, 1], 0).into(), 1024).expect("a port");
        let addr = socket.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let run = move || match on {
            On::Epoll => {
                epoll::Epoll::run(async {
                    live(epoll::Epoll::here(), socket, options, watched).await;
                })
                .expect("epoll");
            }
            On::IoUring => {
                let executor = glommio::executor("rig").expect("a ring");
                executor.run(async {
                    live(glommio::IoUring::here(), socket, options, watched).await;
                });
            }
        };
        let thread = std::thread::Builder::new().spawn(run).expect("a thread");
        Self {
            addr,
            shared,
            thread: Some(thread),
        }
    }

    pub(super) fn to(on: On, upstream: SocketAddr) -> Self {
        let origin = Some(plain(upstream));
        Self::start(
            on,
            Options {
                origin,
                ..Options::default()
            },
        )
    }

    pub(super) fn standing(&self) -> Standing {
        self.shared.standing.load()
    }

    pub(super) fn gone(&self) -> u64 {
        self.shared.gone.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    pub(super) fn heads(&self) -> u64 {
        self.shared.heads.load(Ordering::Relaxed)
    }

    pub(super) fn paused(&self) -> u64 {
        self.shared.paused.load(Ordering::Relaxed)
    }

    /// Bytes that came from upstream so far.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn begin_drain(&self, limit: Duration) {
        self.shared
            .drain_ms
            .store(limit.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn drained(&self) -> Option<Drained> {
        self.shared.drained.load()
    }

    pub(super) fn connect(&self) -> TcpStream {
        connect(self.addr)
    }

    /// All slabs are empty: nothing of a client, a call or a body is left.
    pub(super) fn is_clean(&self) {
        until("all is given back", || {
            let now = self.standing();
            (now.connections, now.clients, now.calls, now.body_bytes) == (0, 0, 0, 0)
        });
    }

    /// The core still answers.
    pub(super) fn is_well(&self) {
        let mut client = self.connect();
        client
            .write_all(&post("/echo", b"well?", "connection: close\r\n"))
            .expect("sent");
        let (head, body) = whole(&mut client);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, b"well?");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended
                .expect("a thread")
                .expect("the core's thread did not panic");
        }
    }
}

async fn live<R: Runtime>(runtime: R, socket: TcpListener, options: Options, shared: Arc<Shared>) {
    let origins: Vec<Origin> = options.origin.into_iter().collect();
    shared.front.store(!origins.is_empty(), Ordering::Relaxed);
    let setup = Setup {
        brain: Rc::new(RefCell::new(Proxy::new(Arc::clone(&shared)))),
        limits: options.limits,
        origins: Origins::prepare(&origins).expect("good origins"),
        resolve: Rc::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })),
        post: Box::new(|_| {}),
        tell: Box::new(|_, _| {}),
        on_broken: Box::new(|| panic!("the brain panicked")),
    };
    let tls = options
        .tls
        .map(|tls| server(&tls).expect("a good certificate"));
    let core = Core::start(runtime.clone(), setup);
    let listener = runtime.listen(socket).expect("a listener");
    runtime.spawn(accept::listen(core.clone(), listener, tls));
    while !shared.stop.load(Ordering::Relaxed) {
        shared.standing.store(core.standing());
        let limit = shared.drain_ms.swap(0, Ordering::Relaxed);
        if limit > 0 {
            let (core, shared) = (core.clone(), Arc::clone(&shared));
            runtime.spawn(async move {
                let drained = drain(&core, Duration::from_millis(limit)).await;
                shared.drained.store(Some(drained));
            });
        }
        runtime.sleep(Duration::from_millis(5)).await;
    }
}

/// Answers `/echo` and WebSockets itself, never answers `/silent`, opens an answer without end on `/open`, calls origin 0 for anything else.
struct Proxy {
    calls: Slab<ClientId>,
    clients: HashMap<ClientId, Client, FixedHasher>,
    shared: Arc<Shared>,
}

struct Client {
    head: ClientHead,
    attempt: Option<AttemptId>,
    begun: bool,
}

impl Proxy {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            calls: Slab::new(5000),
            clients: HashMap::default(),
            shared,
        }
    }

    fn head(&mut self, client: ClientId, head: ClientHead, out: &mut Vec<Output>) {
        self.shared.heads.fetch_add(1, Ordering::Relaxed);
        let (socket, silent) = (head.websocket, head.path == "/silent");
        let stream = head.path == "/open";
        self.clients.insert(
            client,
            Client {
                head,
                attempt: None,
                begun: false,
            },
        );
        if socket {
            out.push(Output::Upgrade {
                client,
                accept: "accepted".to_owned(),
            });
        } else if stream {
            out.push(Output::Respond {
                client,
                head: ok(),
                body: Bytes::from("a"),
                end: false,
            });
        } else if !silent {
            out.push(Output::ReadBody {
                client,
                bytes_max: 1 << 20,
            });
        }
    }

    fn body(&mut self, client: ClientId, body: Bytes, out: &mut Vec<Output>) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        if known.head.path.starts_with(b"/echo") && !self.shared.front.load(Ordering::Relaxed)
            || known.head.path == "/echo"
        {
            self.clients.remove(&client);
            out.push(Output::Respond {
                client,
                head: ok(),
                body,
                end: true,
            });
            return;
        }
        let attempt = AttemptId(self.calls.insert(client).expect("room"));
        known.attempt = Some(attempt);
        out.push(Output::Call(Box::new(Call {
            attempt,
            origin: OriginId(0),
            method: if known.head.method == "GET" {
                "GET"
            } else {
                "POST"
            },
            path: String::from_utf8(known.head.path.to_vec()).expect("text"),
            headers: [("x-test".into(), "yes".into())].into_iter().collect(),
            body: [body].into_iter().collect(),
        })));
    }

    fn failed(&mut self, attempt: AttemptId, why: String, out: &mut Vec<Output>) {
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        let Some(client) = self.calls.remove(attempt.0) else {
            return;
        };
        if self
            .clients
            .remove(&client)
            .is_some_and(|known| known.begun)
        {
            out.push(Output::Abort { client });
        } else {
            let head = ResponseHead {
                status: 502,
                headers: Vec::new(),
            };
            out.push(Output::Respond {
                client,
                head,
                body: why.into(),
                end: true,
            });
        }
    }

    fn gone(&mut self, client: ClientId, out: &mut Vec<Output>) {
        self.shared.gone.fetch_add(1, Ordering::Relaxed);
        if let Some(attempt) = self.clients.remove(&client).and_then(|known| known.attempt) {
            self.calls.remove(attempt.0);
            out.push(Output::Cancel { attempt });
        }
    }

    fn attempt(&self, client: ClientId) -> Option<AttemptId> {
        self.clients.get(&client)?.attempt
    }
}

fn ok() -> ResponseHead {
    ResponseHead {
        status: 200,
        headers: vec![("x-by", "brain".into())],
    }
}

impl Steps for Proxy {
    fn on(&mut self, _: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Head { client, head } => self.head(client, head, out),
            Input::Body { client, body } => self.body(client, body, out),
            Input::BodyFailed { client, why } => {
                self.clients.remove(&client);
                let status = match why {
                    BodyFault::TooLarge => 413,
                    BodyFault::TooSlow => 408,
                    BodyFault::NoMemory => 503,
                    BodyFault::Malformed => 400,
                };
                let head = ResponseHead {
                    status,
                    headers: Vec::new(),
                };
                out.push(Output::Respond {
                    client,
                    head,
                    body: Bytes::from("no"),
                    end: true,
                });
            }
            Input::SocketBytes { client, bytes } => {
                let bye = bytes.ends_with(b"bye");
                out.push(Output::Write { client, bytes });
                if bye {
                    out.push(Output::End { client });
                }
            }
            Input::ClientGone { client } => self.gone(client, out),
            Input::Congested { client } => {
                self.shared.paused.fetch_add(1, Ordering::Relaxed);
                out.extend(
                    self.attempt(client)
                        .map(|attempt| Output::Pause { attempt }),
                );
            }
            Input::Eased { client } => {
                out.extend(
                    self.attempt(client)
                        .map(|attempt| Output::Resume { attempt }),
                );
            }
            Input::UpstreamHead {
                attempt, status, ..
            } => {
                let Some(&client) = self.calls.get(attempt.0) else {
                    return;
                };
                self.clients.get_mut(&client).expect("known").begun = true;
                let head = ResponseHead {
                    status,
                    headers: Vec::new(),
                };
                out.push(Output::Respond {
                    client,
                    head,
                    body: Bytes::new(),
                    end: false,
                });
            }
            Input::UpstreamBytes { attempt, bytes } => {
                self.shared
                    .bytes
                    .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let Some(&client) = self.calls.get(attempt.0) else {
                    return;
                };
                out.push(Output::Write { client, bytes });
            }
            Input::UpstreamEnd { attempt } => {
                let Some(client) = self.calls.remove(attempt.0) else {
                    return;
                };
                self.clients.remove(&client);
                out.push(Output::End { client });
            }
            Input::UpstreamFailed { attempt, why } => self.failed(attempt, format!("{why:?}"), out),
            _ => {}
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

pub(super) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time-out");
    stream
        .set_write_timeout(Some(Duration::from_secs(10)))
        .expect("a time-out");
    stream
}

pub(super) fn post(path: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: h\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Everything until the end of the connection, as head and body.
pub(super) fn whole(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a clean end");
    let at = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(bytes.len(), |at| at + 4);
    let body = bytes.split_off(at);
    (String::from_utf8(bytes).expect("text"), body)
}

/// Reads until `end` has come; all that came.
pub(super) fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end.as_bytes()) {
        let read = some(stream, &mut byte).expect("bytes");
        assert_eq!(read, 1, "{}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).expect("text")
}

/// One read. glommio's preempt timers interrupt the calls of other threads.
pub(super) fn some(stream: &mut TcpStream, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Waits for `holds`, ten seconds at most.
pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let began = runtime::clock().instant;
    while !holds() {
        assert!(
            runtime::clock().instant - began < Duration::from_secs(10),
            "{what}"
        );
        pause(5);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own thread")]
pub(super) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// An upstream that gives each connection, with its number from 0, to `serve`, on a thread of its own.
pub(super) fn upstream(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    let accept = move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let serve = Arc::clone(&serve);
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a time-out");
            let thread = std::thread::Builder::new();
            thread
                .spawn(move || serve(number, stream))
                .expect("a thread");
        }
    };
    std::thread::Builder::new().spawn(accept).expect("a thread");
    addr
}

/// One request, as an upstream reads it; `None` at the connection's end.
pub(super) fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if some(stream, &mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
