//! The built-in fake providers over real HTTP, HTTP/1.1 and h2c, on a thread of their own: for trying out, for tests, for `bench/`.
//!
//! Holds no rule: the fake says what happens and when, this waits and writes. Answers under way are bounded by the connections that
//! are taken, and those by `CONNECTIONS_MAX`.

use crate::config::{Config, FakeProvider, KeySource};
use crate::fake::{Book, Engine, Fake, Limits, ReplyId, Request, Settings, Step, Verify};
use crate::net::hyper_rt::{HyperExecutor, HyperStream};
use crate::net::runtime::tokio::Epoll;
use crate::net::runtime::{Runtime, bind, clock};
use bytes::Bytes;
use futures_lite::AsyncReadExt;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Running fakes; they end with the process, or when this is dropped.
#[derive(Debug)]
pub struct Fakes {
    /// By fake of the configuration, where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Dropped, it stops its fake.
    asks: Vec<Asks>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Reaches a fake on its own thread.
type Asks = tokio::sync::mpsc::UnboundedSender<Word>;

/// What a fake is told or asked for.
enum Word {
    /// A copy of its book.
    Book(std::sync::mpsc::Sender<Book>),
    /// What to say of itself; answered when it is heard.
    Engine(Engine, std::sync::mpsc::Sender<()>),
}

/// Connections one fake takes at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 60_000;

/// Binds and serves each fake of the configuration on a port of its own on loopback.
pub fn start(config: &Config) -> io::Result<Fakes> {
    let mut fakes = Fakes {
        addresses: Vec::new(),
        asks: Vec::new(),
        threads: Vec::new(),
    };
    for provider in &config.fakes {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), 4_096)?;
        fakes.addresses.push(listener.local_addr()?);
        fakes.add(listener, settings(config, provider))?;
    }
    Ok(fakes)
}

/// One fake at an address of the caller's, until the process ends; for `bench/` and tests.
pub fn serve_at(at: SocketAddr, settings: Settings) -> io::Result<Fakes> {
    let mut fakes = Fakes {
        addresses: Vec::new(),
        asks: Vec::new(),
        threads: Vec::new(),
    };
    let listener = bind(at, 4_096)?;
    fakes.addresses.push(listener.local_addr()?);
    fakes.add(listener, settings)?;
    Ok(fakes)
}

/// Checks RS256 with a public key of these components, big-endian; for the fake's token endpoint, which knows no cryptography.
#[must_use]
pub fn rsa_verifier(modulus: Vec<u8>, exponent: Vec<u8>) -> Verify {
    Verify(std::sync::Arc::new(move |message, signature| {
        let key = ring::signature::RsaPublicKeyComponents {
            n: &modulus,
            e: &exponent,
        };
        let kind = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
        key.verify(kind, message, signature).is_ok()
    }))
}

impl Fakes {
    fn add(&mut self, listener: std::net::TcpListener, settings: Settings) -> io::Result<()> {
        let (asks, asked) = tokio::sync::mpsc::unbounded_channel();
        let name = format!("fake-{}", self.threads.len());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // A fake that cannot run is one whose provider cannot be reached: the router says so by itself.
            let _ = Epoll::run(serve(listener, settings, asked));
        })?;
        self.asks.push(asks);
        self.threads.push(thread);
        Ok(())
    }

    /// What each has billed so far.
    #[must_use]
    pub fn books(&self) -> Vec<Book> {
        let ask = |asks: &Asks| {
            let (answer, answered) = std::sync::mpsc::channel();
            asks.send(Word::Book(answer)).ok()?;
            answered.recv().ok()
        };
        // A fake that is gone has no book any more.
        self.asks.iter().filter_map(ask).collect()
    }

    /// The first fake says this of itself from now on.
    pub fn feel(&self, engine: Engine) {
        let (heard, hears) = std::sync::mpsc::channel();
        if let Some(asks) = self.asks.first()
            && asks.send(Word::Engine(engine, heard)).is_ok()
        {
            // One that is gone says nothing of itself.
            let _ = hears.recv();
        }
    }

    /// Puts the ports they listen on into the configuration that described them.
    pub fn fill_in(&self, config: &mut Config) {
        let fakes: Vec<_> = config.fakes.iter().map(|fake| fake.origin).collect();
        for (origin, address) in fakes.into_iter().zip(&self.addresses) {
            config.origins[usize::from(origin.0)].port = address.port();
        }
    }

    /// The same for a configuration read later: fakes are known by their provider's name, and none is started then.
    pub fn carry_over(&self, old: &Config, new: &mut Config) -> Result<(), Vec<String>> {
        let name = |config: &Config, fake: &FakeProvider| {
            config.providers[usize::from(fake.provider.0)].name.clone()
        };
        let mut wrong = Vec::new();
        for fake in new.fakes.clone() {
            let wanted = name(new, &fake);
            match old.fakes.iter().position(|f| name(old, f) == wanted) {
                Some(at) => {
                    new.origins[usize::from(fake.origin.0)].port = self.addresses[at].port()
                }
                None => wrong.push(format!(
                    "provider {wanted}: a built-in fake starts only with the router; restart it"
                )),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Stops all of them and waits for their threads.
    pub fn stop(mut self) {
        self.asks.clear();
        for thread in self.threads.drain(..) {
            // A fake that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }

    /// Waits for as long as the fakes serve: for ever, unless one dies.
    pub fn join(mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn settings(config: &Config, provider: &FakeProvider) -> Settings {
    let keys = config
        .pools
        .iter()
        .filter(|pool| pool.provider == provider.provider)
        .flat_map(|pool| {
            let of = |key: &crate::base::KeyId| match &config.keys[key.0 as usize].source {
                KeySource::Secret(secret) => Some(secret),
                KeySource::None | KeySource::Aws(_) | KeySource::Google(_) => None,
            };
            pool.keys
                .iter()
                .filter_map(of)
                .map(|secret| (secret.expose().to_owned(), pool.cache_scope.clone()))
        });
    let keys: Vec<_> = keys.collect();
    Settings {
        first_token: provider.first_token,
        between_tokens: provider.between_tokens,
        output_tokens: provider.output_tokens,
        limits: Limits {
            rpm: provider.rpm,
            itpm: provider.itpm.map(|t| t.0),
            otpm: provider.otpm.map(|t| t.0),
            ..Limits::default()
        },
        keys: (!keys.is_empty()).then_some(keys),
        ..Settings::default()
    }
}

async fn serve(
    listener: std::net::TcpListener,
    settings: Settings,
    mut asked: tokio::sync::mpsc::UnboundedReceiver<Word>,
) -> io::Result<()> {
    let runtime = Epoll::here();
    let listener = runtime.listen(listener)?;
    let fake = Rc::new(RefCell::new(Fake::new(settings)));
    let open = Rc::new(Cell::new(0_usize));
    let accept = async {
        loop {
            if open.get() >= CONNECTIONS_MAX {
                runtime.sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
            let Ok((stream, _)) = runtime.accept(&listener).await else {
                continue;
            };
            let (fake, open) = (Rc::clone(&fake), Rc::clone(&open));
            open.set(open.get() + 1);
            runtime.spawn(async move {
                connection(runtime, stream, fake).await;
                open.set(open.get() - 1);
            });
        }
    };
    futures_lite::future::or(accept, async {
        while let Some(word) = asked.recv().await {
            // Who asked may have gone.
            let mut fake = fake.borrow_mut();
            match word {
                Word::Book(answer) => {
                    fake.settle_background(clock());
                    let _ = answer.send(fake.book().clone());
                }
                Word::Engine(engine, heard) => {
                    *fake.engine() = engine;
                    let _ = heard.send(());
                }
            }
        }
    })
    .await;
    Ok(())
}

/// The first bytes that an HTTP/2 client says (RFC 9113, 3.4), as far as tells it from HTTP/1.1.
const H2_BEGINS: &[u8; 3] = b"PRI";

async fn connection<S>(runtime: Epoll, mut stream: S, fake: Rc<RefCell<Fake>>)
where
    S: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin + 'static,
{
    let mut begin = [0; 3];
    if stream.read_exact(&mut begin).await.is_err() {
        return;
    }
    let stream = HyperStream::new(Begun {
        begin,
        said: 0,
        stream,
    });
    let service = service_fn(move |request| answer(Rc::clone(&fake), request));
    // How a connection ends is the caller's business, and in the book.
    if &begin == H2_BEGINS {
        let _ = hyper::server::conn::http2::Builder::new(HyperExecutor(runtime))
            .max_concurrent_streams(10_000)
            .serve_connection(stream, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(stream, service)
            .await;
    }
}

async fn answer(
    fake: Rc<RefCell<Fake>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Reply>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
    // HTTP/2 says the host in the URI.
    let authority = head
        .uri
        .authority()
        .map(hyper::http::uri::Authority::as_str);
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.or(authority.filter(|_| name == "host"))
    };
    let asked = Request {
        method: head.method.as_str(),
        path,
        header: &header,
        body: &body,
    };
    let id = fake.borrow_mut().handle(clock(), &asked);
    let mut reply = Reply {
        fake,
        id,
        wait: None,
        over: false,
    };
    let (status, headers) = std::future::poll_fn(|cx| reply.poll_head(cx)).await?;
    let mut response = hyper::Response::new(reply);
    *response.status_mut() = hyper::StatusCode::from_u16(status).map_err(io::Error::other)?;
    for (name, value) in headers {
        response
            .headers_mut()
            .append(name, value.parse().map_err(io::Error::other)?);
    }
    Ok(response)
}

/// One answer under way. Dropped before its end, its caller has hung up.
struct Reply {
    fake: Rc<RefCell<Fake>>,
    id: ReplyId,
    wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
    over: bool,
}

impl Reply {
    /// The next thing that is not waiting; pending for ever once the answer has fallen silent.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            let now = clock();
            let step = self.fake.borrow_mut().next(self.id, now);
            match step {
                Step::Wait(at) => self.wait = Some(Box::pin(Epoll::here().sleep(at - now.instant))),
                Step::Stall => return Poll::Pending,
                step => return Poll::Ready(step),
            }
        }
    }

    #[expect(
        clippy::type_complexity,
        reason = "status and headers, taken apart by the one caller"
    )]
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(u16, Vec<(&'static str, String)>)>> {
        match ready!(self.poll_step(cx)) {
            Step::Head { status, headers } => Poll::Ready(Ok((status, headers))),
            _ => {
                self.over = true;
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        match ready!(this.poll_step(cx)) {
            Step::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Step::End => {
                this.over = true;
                Poll::Ready(None)
            }
            _ => {
                this.over = true;
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.over {
            self.fake.borrow_mut().hung_up(self.id, clock());
        }
    }
}

/// A stream whose first bytes were read to tell what it speaks.
struct Begun<S> {
    begin: [u8; 3],
    said: usize,
    stream: S,
}

impl<S: futures_lite::AsyncRead + Unpin> futures_lite::AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let left = &self.begin[self.said..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.said += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: futures_lite::AsyncWrite + Unpin> futures_lite::AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
