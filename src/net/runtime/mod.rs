//! The seam: what the hot path asks of a runtime, and nothing more. One thread, one executor; nothing here is `Send`.
//!
//! glommio (io_uring) is the default, tokio's current-thread runtime (epoll) the control and the fall-back. No other room can tell
//! which is running.

use futures_lite::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A handle on the executor of this thread; cheap to clone.
pub trait Runtime: Clone + 'static {
    type Listener: 'static;
    /// A connected socket with TCP_NODELAY set. Reads and writes return what is there at once; a dropped future loses nothing.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// `io_uring` or `epoll`, as the start line says it.
    const NAME: &'static str;

    /// Takes over a bound, listening, non-blocking socket.
    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener>;

    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// By address only: names are resolved on the I/O core.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static;

    /// Runs `task` to its end on this thread, never before this call has returned. A panic in it ends only it, and is counted.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}
