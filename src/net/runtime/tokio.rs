//! The seam on tokio's current-thread runtime: epoll. The control in every comparison, and what serves where io_uring may not.

use super::{Runtime, contained};
use futures_lite::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The runtime of this thread.
#[derive(Clone, Copy, Debug)]
pub struct Epoll(());

impl Epoll {
    /// The runtime that runs the caller, which must be inside `run`; else `spawn` panics.
    #[must_use]
    pub fn here() -> Self {
        Self(())
    }

    /// Runs `main` to its end on this thread; what it spawned is dropped then. Errors: the kernel refuses an epoll or a timer.
    pub fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        Ok(tokio::task::LocalSet::new().block_on(&runtime, main))
    }
}

impl Runtime for Epoll {
    type Listener = TcpListener;
    type Stream = Stream;
    const NAME: &'static str = "epoll";

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<TcpListener> {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
        let (stream, from) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Stream(stream), from))
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Stream(stream))
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(time)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // On the heap once: tokio would copy it three times on its way there.
        tokio::task::spawn_local(contained(Box::pin(task)));
    }
}

/// A connected socket: tokio's, with the traits of the seam.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
