//! What hyper asks of a runtime, over the seam: streams, time-outs and tasks.

use super::runtime::{Runtime, instant_of};
use super::wheel::{self, Wheel};
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::rt::{ReadBufCursor, Sleep, Timer};
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A stream of the seam (or TLS over one) as hyper wants it.
#[derive(Debug)]
pub struct HyperStream<S>(S);

impl<S> HyperStream<S> {
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    pub fn get_ref(&self) -> &S {
        &self.0
    }

    pub fn into_inner(self) -> S {
        self.0
    }
}

/// What one read can bring: four TLS records, and what a loopback or a fast network has ready at once.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    /// One a thread, not one a connection: an idle connection should hold no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for HyperStream<S> {
    /// By way of a buffer of this thread: hyper's is not initialised, to zero all of it costs more than to copy what has come.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(scratch.len());
            let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut scratch[..room]))?;
            buf.put_slice(&scratch[..read]);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for HyperStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    /// Both runtimes send many slices in one call, so hyper need not copy heads and bodies together.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

/// hyper's tasks on this thread: HTTP/2 streams and connections.
#[derive(Clone, Copy, Debug)]
pub struct HyperExecutor<R>(pub R);

/// A handle is never pinned, and hyper's HTTP/2 client asks for this.
impl<R> Unpin for HyperExecutor<R> {}

impl<R: Runtime, F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for HyperExecutor<R> {
    /// `Runtime::spawn` never polls inside the caller, which h2 depends on: it would send once for every response.
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// hyper's time-outs, on the wheel of the shard.
#[derive(Clone, Debug)]
pub struct HyperTimer(pub Wheel);

impl Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep(self.0.sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep(self.0.sleep_until(instant_of(deadline))))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(own) => own.get_mut().0.reset(instant_of(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

struct HyperSleep(wheel::Sleep);

impl Future for HyperSleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl Sleep for HyperSleep {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::tests::{Case, on_both};
    use crate::net::runtime::{bind, clock};
    use bytes::Bytes;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use std::convert::Infallible;

    async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let body = request
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        Ok(Response::new(Full::new(body)))
    }

    async fn connected<R: Runtime>(rt: &R) -> (HyperStream<R::Stream>, HyperStream<R::Stream>) {
        let socket = bind(([127, 0, 0, 1], 0).into(), 16).expect("an address");
        let address = socket.local_addr().expect("bound");
        let listener = rt.listen(socket).expect("taken over");
        let near = rt.connect(address).await.expect("connected");
        let (far, _) = rt.accept(&listener).await.expect("accepted");
        (HyperStream::new(near), HyperStream::new(far))
    }

    #[derive(Clone, Copy)]
    struct Http1;
    impl Case for Http1 {
        async fn run<R: Runtime>(self, rt: R) {
            let (near, far) = connected(&rt).await;
            let timer = HyperTimer(Wheel::start(&rt));
            rt.spawn(async move {
                let mut server = hyper::server::conn::http1::Builder::new();
                server
                    .timer(timer)
                    .header_read_timeout(Duration::from_secs(5));
                let _ = server.serve_connection(far, service_fn(echo)).await;
            });
            let (mut client, connection) = hyper::client::conn::http1::handshake(near)
                .await
                .expect("begun");
            rt.spawn(async move { drop(connection.await) });
            for size in [1, 100_000, 3_000_000] {
                let sent = Bytes::from(vec![7; size]);
                let request = Request::post("/")
                    .body(Full::new(sent.clone()))
                    .expect("valid");
                let answer = client.send_request(request).await.expect("answered");
                let got = answer
                    .into_body()
                    .collect()
                    .await
                    .expect("a body")
                    .to_bytes();
                assert!(got == sent, "{} of {size}", got.len());
            }
        }
    }
    #[test]
    fn http1_bodies_pass_whole_on_both_runtimes() {
        on_both(Http1);
    }

    #[derive(Clone, Copy)]
    struct Http2;
    impl Case for Http2 {
        async fn run<R: Runtime>(self, rt: R) {
            let (near, far) = connected(&rt).await;
            let executor = HyperExecutor(rt.clone());
            let timer = HyperTimer(Wheel::start(&rt));
            let serving = HyperExecutor(rt.clone());
            rt.spawn(async move {
                let mut server = hyper::server::conn::http2::Builder::new(serving);
                server
                    .timer(timer)
                    .keep_alive_interval(Duration::from_millis(30));
                let _ = server.serve_connection(far, service_fn(echo)).await;
            });
            let (client, connection) = hyper::client::conn::http2::handshake(executor, near)
                .await
                .expect("begun");
            rt.spawn(async move { drop(connection.await) });
            let asks = (1..=20_usize).map(|n| {
                let mut client = client.clone();
                async move {
                    let sent = Bytes::from(vec![n as u8; n * 10_000]);
                    let request = Request::post("http://x/").body(Full::new(sent.clone()));
                    let answer = client.send_request(request.expect("valid")).await;
                    let body = answer.expect("answered").into_body();
                    assert!(body.collect().await.expect("a body").to_bytes() == sent);
                }
            });
            futures_util::future::join_all(asks).await;
        }
    }
    #[test]
    fn http2_streams_run_side_by_side_on_both_runtimes() {
        on_both(Http2);
    }

    #[derive(Clone, Copy)]
    struct SlowHead;
    impl Case for SlowHead {
        async fn run<R: Runtime>(self, rt: R) {
            let (near, far) = connected(&rt).await;
            let timer = HyperTimer(Wheel::start(&rt));
            rt.spawn(async move {
                let mut server = hyper::server::conn::http1::Builder::new();
                server
                    .timer(timer)
                    .header_read_timeout(Duration::from_millis(60));
                let _ = server.serve_connection(far, service_fn(echo)).await;
            });
            let (mut near, begun) = (near.into_inner(), clock().instant);
            near.write_all(b"POST / HT").await.expect("open");
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.expect("closed in order");
            let took = clock().instant.since(begun);
            assert!(
                took >= Duration::from_millis(50) && took < Duration::from_secs(5),
                "{took:?}"
            );
        }
    }
    #[test]
    fn a_head_that_never_ends_is_timed_out_by_the_wheel() {
        on_both(SlowHead);
    }
}
