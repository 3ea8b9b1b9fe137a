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
