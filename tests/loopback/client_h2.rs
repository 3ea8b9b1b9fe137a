//! HTTP/2 by the `h2` crate, by prior knowledge or over TLS, each on a runtime of the test's own thread.

use super::client::{Answer, Head, trusting};
use super::words::Ask;
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use h2::RecvStream;
use h2::client::SendRequest;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Runs `script` with a client of HTTP/2 by prior knowledge, at most 25 seconds. The connection ends with it.
pub fn h2c<T>(at: SocketAddr, script: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
    on_runtime(async move {
        let stream = TcpStream::connect(at).await.expect("connects");
        stream.set_nodelay(true).expect("an option");
        over(stream, script).await
    })
}

/// The same over TLS; the server must choose `h2`.
pub fn h2_tls<T>(
    at: SocketAddr,
    pem: &Path,
    script: impl AsyncFnOnce(SendRequest<Bytes>) -> T,
) -> T {
    let connector = futures_rustls::TlsConnector::from(trusting(pem, &[b"h2", b"http/1.1"]));
    on_runtime(async move {
        let stream = TcpStream::connect(at).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector
            .connect(name, Turned(stream))
            .await
            .expect("a session");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        over(Turned(stream), script).await
    })
}

pub fn on_runtime<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let bounded = async { tokio::time::timeout(Duration::from_secs(25), task).await };
    let local = tokio::task::LocalSet::new();
    local
        .block_on(&runtime.expect("a runtime"), bounded)
        .expect("in time")
}

async fn over<S, T>(stream: S, script: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (send, connection) = h2::client::handshake(stream).await.expect("shakes hands");
    let running = tokio::task::spawn_local(async move { drop(connection.await) });
    let done = script(send.ready().await.expect("ready")).await;
    running.abort();
    done
}

/// Sends `ask`; the answer is awaited apart.
pub fn send(send: &mut SendRequest<Bytes>, ask: &Ask) -> h2::client::ResponseFuture {
    let mut request = http::Request::post(format!("http://localhost{}", ask.path()));
    for (name, value) in ask.all_headers() {
        request = request.header(name, value);
    }
    let request = request.body(()).expect("a request");
    let (answer, mut body) = send.send_request(request, false).expect("sent");
    body.send_data(Bytes::from(ask.body.to_string()), true)
        .expect("sent");
    answer
}

/// Asks and reads the answer whole; an error is a stream that was reset.
pub async fn ask(client: &mut SendRequest<Bytes>, ask: &Ask) -> Result<Answer, h2::Error> {
    *client = client.clone().ready().await?;
    let answer = send(client, ask).await?;
    let (head, mut body) = answer.into_parts();
    let mut all = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        all.extend_from_slice(&piece?);
    }
    let headers = head.headers.iter();
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    Ok(Answer {
        head: Head {
            status: head.status.as_u16(),
            headers: headers.map(|(n, v)| (n.to_string(), text(v))).collect(),
        },
        body: all,
    })
}

/// The next of a body, which is then given back to the window.
pub async fn piece(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = body.data().await?;
    if let Ok(bytes) = &piece {
        // A stream that has ended has no window.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    Some(piece)
}

/// The traits of one family over those of the other: `futures_rustls` wants the one, `h2` and tokio have the other.
struct Turned<S>(S);

impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for Turned<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        Pin::new(&mut self.0)
            .poll_read(cx, &mut into)
            .map_ok(|()| into.filled().len())
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> AsyncWrite for Turned<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> tokio::io::AsyncRead for Turned<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(cx, into.initialize_unfilled());
        read.map_ok(|count| into.advance(count))
    }
}

impl<S: AsyncWrite + Unpin> tokio::io::AsyncWrite for Turned<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
