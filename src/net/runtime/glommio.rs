//! The seam on glommio: io_uring, one executor a core.
//!
//! As thin as it can be, with the cures that glommio 0.9.0 needs (each has a test that fails without it): a preempt timer of
//! 1 ms, waits with a bound (`park`), tasks that never run inside whoever spawns them and whose panics end nothing else, listeners with a backlog of our own,
//! accepts that may be dropped, writes of many slices in one call. Time-outs of glommio's streams are never used: they poison
//! the next read.

use super::ending::{self, Mortal};
use super::{Runtime, contained};
use crate::net::ring_flags;
use futures_lite::future::yield_now;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendmsg};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The executor of this thread.
#[derive(Clone, Copy, Debug)]
pub struct IoUring(());

/// An executor for this thread, with the settings that the hot path needs. Placement is the thread's own, so that a shard that
/// cannot be pinned still runs. Errors: the kernel refuses rings, or a file limit is met.
pub fn executor(name: &str) -> io::Result<LocalExecutor> {
    executor_with(name, PREEMPT)
}

pub(crate) fn executor_with(name: &str, preempt: Duration) -> io::Result<LocalExecutor> {
    ring_flags::keep_linked();
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .preempt_timer(preempt)
        .io_memory(IO_MEMORY_BYTES)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(io::Error::from)
}

/// How often a busy executor looks at its rings and at wakes from other threads. With glommio's default of 100 ms, two busy
/// executors answer each other in 100 ms. The shorter it is, the likelier it fires before a turn has polled anything, and the executor parks
/// with runnable tasks (`park`): at 200 µs within a second, at 1 ms only where the thread is kept off its core.
pub(crate) const PREEMPT: Duration = Duration::from_millis(1);

/// Registered with the kernel for files, which the hot path has none of, and counted against `memlock`; the default is 10 MiB.
const IO_MEMORY_BYTES: usize = 64 << 10;

impl IoUring {
    /// The executor that runs the caller; panics outside of one.
    #[must_use]
    pub fn here() -> Self {
        let _ = glommio::executor().id();
        Self(())
    }
}

impl Runtime for IoUring {
    type Listener = Listener;
    type Stream = Stream;
    const NAME: &'static str = "io_uring";

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        Ok(Listener(socket))
    }

    async fn accept(&self, listener: &Listener) -> io::Result<(Stream, SocketAddr)> {
        loop {
            match listener.0.accept() {
                Ok((socket, from)) => {
                    socket.set_nodelay(true)?;
                    return Ok((Stream(adopt(socket)), from));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.ready().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Stream(stream))
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        glommio::timer::sleep(time)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // On the heap once: each wrapper below, and glommio, would hold it in its own state and copy it there.
        let task = Box::pin(task);
        glommio::spawn_local(async move {
            // glommio polls a new task at once, inside the caller, who may hold a borrow.
            yield_now().await;
            contained(Mortal::new(task)).await;
        })
        .detach();
    }
}

/// Drops all tasks of this thread's executor, with what they hold, but the one that asks: for an executor that is given up while the process
/// lives on. Ends within two seconds also if a task should not.
pub(crate) async fn end_all() {
    ending::end();
    for _ in 0..ENDING_TURNS_MAX {
        if ending::all_ended() {
            break;
        }
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
    // The ring holds a file as long as something is asked of it; that it is not wanted any more must reach the kernel, and its answer us.
    glommio::timer::sleep(ENDING_REST).await;
    ending::begin_anew();
}

/// Of a millisecond each.
const ENDING_TURNS_MAX: u32 = 2_000;
const ENDING_REST: Duration = Duration::from_millis(20);

/// A listening socket. glommio's own has a fixed backlog, switches the blocking mode of a socket that other shards may share, and
/// loses a connection when an accept is dropped; so the accept is ours, and only the waiting is the ring's.
#[derive(Debug)]
pub struct Listener(std::net::TcpListener);

impl Listener {
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    /// Returns when a connection may be waiting. Dropping it loses nothing: nothing is taken here.
    async fn ready(&self) -> io::Result<()> {
        // glommio has no public way to wait for a descriptor, but a stream asks the ring for `POLLIN` as it is made, and reads when
        // that fires. A listening socket has nothing to read (ENOTCONN), which says that it has fired.
        // Costs one `dup` and one `close` for each time that we ran out of connections.
        let duplicate = self.0.try_clone()?;
        let mut watch = TcpStream::from(old_socket2::Socket::from(duplicate));
        let mut none = [0_u8; 1];
        match poll_fn(|cx| Pin::new(&mut watch).poll_read(cx, &mut none)).await {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        }
    }
}

/// glommio converts from the `socket2` it was built with, which is older than ours.
fn adopt(socket: std::net::TcpStream) -> TcpStream {
    TcpStream::from(old_socket2::Socket::from(socket))
}

/// A connected socket.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
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

    /// glommio's stream writes only the first slice; a head and its body would be two segments and two calls.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // 1,024 = UIO_MAXIOV; more is an error, fewer is a short write.
        let some = &bufs[..bufs.len().min(1024)];
        loop {
            match send_slices(&self.0, some) {
                Ok(sent) => return Poll::Ready(Ok(sent)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let Some(first) = some.iter().find(|slice| !slice.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        // No room: glommio tries once more with the first slice, then waits for room.
        let sent = ready!(Pin::new(&mut self.0).poll_write(cx, first))?;
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

fn send_slices(stream: &TcpStream, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<SockaddrStorage>(stream.as_raw_fd(), slices, &[], flags, None)
}
