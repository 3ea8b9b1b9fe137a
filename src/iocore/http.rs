//! Calls of token servers, metadata services and own servers' pages: one small request, one small answer, one connection each.
//!
//! Over hyper and rustls on the I/O core's runtime. No redirects, no proxies: whoever answers for another host would be shown a secret.

use crate::base::WallTime;
use crate::config::parse_url;
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

/// A client; certificates are read when TLS is first wanted.
#[derive(Default)]
pub struct Http {
    tls: OnceCell<Arc<ClientConfig>>,
    /// A PEM file of certificates to trust beside the system's.
    ca: Option<PathBuf>,
}

/// One request. Values of headers and the body may be secrets: never logged.
pub struct Ask<'a> {
    pub method: &'static str,
    pub url: &'a str,
    pub headers: Vec<(&'a str, String)>,
    pub body: Vec<u8>,
    /// From the first look-up to the answer's last byte.
    pub patience: Duration,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    /// The server's own time, from its `date` header.
    pub date: Option<WallTime>,
    pub body: Bytes,
}

/// No answer of these servers is near so large.
const ANSWER_BYTES_MAX: usize = 1 << 20;
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The `host` header for `url`: with the port, unless that is the scheme's own.
pub fn host(url: &str) -> Result<String, String> {
    let (base, _) = url.split_once('?').unwrap_or((url, ""));
    let url = parse_url(base).map_err(|why| format!("the URL {why}"))?;
    let name = if url.host.contains(':') {
        format!("[{}]", url.host)
    } else {
        url.host
    };
    let usual = if url.tls { 443 } else { 80 };
    Ok(if url.port == usual {
        name
    } else {
        format!("{name}:{}", url.port)
    })
}

impl Http {
    /// Trusts who is certified by `ca` as well.
    pub fn trusting(ca: Option<PathBuf>) -> Self {
        Self {
            tls: OnceCell::new(),
            ca,
        }
    }

    /// The error tells the host and what went wrong, nothing that was sent.
    pub async fn call(&self, ask: Ask<'_>) -> Result<Answer, String> {
        let host = host(ask.url)?;
        let patience = ask.patience;
        let called = tokio::time::timeout(patience, self.exchange(ask, &host)).await;
        called
            .unwrap_or_else(|_| Err(format!("no answer in {patience:?}")))
            .map_err(|error| format!("{host}: {error}"))
    }

    async fn exchange(&self, ask: Ask<'_>, host: &str) -> Result<Answer, String> {
        let (base, query) = ask.url.split_once('?').unwrap_or((ask.url, ""));
        let url = parse_url(base).map_err(str::to_owned)?;
        // As written: a slash at the end means something to metadata services, and `parse_url` drops it.
        let from = base.find("://").map_or(0, |at| at + 3);
        let path = base[from..].find('/').map_or("/", |at| &base[from + at..]);
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{path}{mark}{query}"))
            .header("host", host)
            .header(
                "user-agent",
                concat!("stokehold/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(ask.body)))
            .map_err(|_| "a request that no header can carry".to_owned())?;
        let tcp = TcpStream::connect((url.host.as_str(), url.port))
            .await
            .map_err(|e| e.to_string())?;
        if url.tls {
            let name = ServerName::try_from(url.host).map_err(|e| e.to_string())?;
            let tls = self.tls().await?;
            let stream = futures_rustls::TlsConnector::from(tls).connect(name, Plain(tcp));
            let stream = stream.await.map_err(|e| format!("TLS: {e}"))?;
            send(Wire(stream), request).await
        } else {
            send(Wire(Plain(tcp)), request).await
        }
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let made = self.tls.get_or_try_init(|| async {
            // Reads the system's files.
            let ca = self.ca.clone();
            tokio::task::spawn_blocking(move || client_tls(ca.as_deref()))
                .await
                .map_err(|e| e.to_string())?
        });
        made.await.cloned()
    }
}

fn wall(seconds: i64) -> WallTime {
    WallTime(seconds.saturating_mul(1_000_000_000))
}

/// The system's certificates; where it has none (small containers), the built-in ones.
fn client_tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(ca) = ca {
        let read = CertificateDer::pem_file_iter(ca).and_then(Iterator::collect);
        let own: Vec<_> = read.map_err(|e| format!("{}: {e}", ca.display()))?;
        roots.add_parsable_certificates(own);
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn send<S>(wire: Wire<S>, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(wire)
        .await
        .map_err(|e| e.to_string())?;
    let answered = async move {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let date = head.headers.get("date").and_then(|d| d.to_str().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            date: date.and_then(crate::shard::http_date).map(wall),
            body: body.map_err(|e| e.to_string())?.to_bytes(),
        })
    };
    // The connection is driven beside its one answer; where it ends first, what it brought is still to be read.
    match select(pin!(answered), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answered)) => answered.await,
    }
}

/// A socket of tokio's, as rustls wants it.
struct Plain(TcpStream);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(to);
        let read = Pin::new(&mut self.0).poll_read(cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Plain {
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

/// A stream, as hyper wants it.
struct Wire<S>(S);

impl<S: AsyncRead + Unpin> hyper::rt::Read for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut to: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // 4 KiB hold all but the longest of these answers.
        let mut scratch = [0; 4_096];
        let most = scratch.len().min(to.remaining());
        let read = Pin::new(&mut self.0).poll_read(cx, &mut scratch[..most]);
        read.map_ok(|length| to.put_slice(&scratch[..length]))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Wire<S> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
    use rustls::ServerConfig;
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::net::TcpListener;

    /// A certificate for `localhost`, as a server shows it and as a client trusts it.
    fn both() -> (ServerConfig, ClientConfig) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let ring = || Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(ring())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(ring())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (server, client)
    }

    async fn serve(listener: TcpListener, config: Arc<ServerConfig>) {
        loop {
            let (tcp, _) = listener.accept().await.expect("accepted");
            let tls = futures_rustls::TlsAcceptor::from(Arc::clone(&config));
            let Ok(mut stream) = tls.accept(Plain(tcp)).await else {
                continue;
            };
            let mut head = [0; 1_024];
            let length = stream.read(&mut head).await.expect("a request");
            assert!(head[..length].starts_with(b"POST /token?x HTTP/1.1\r\nhost: localhost:"));
            // In chunks, as real ones answer.
            let answer = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.expect("written");
            stream.flush().await.expect("written");
        }
    }

    #[test]
    fn a_server_is_called_over_tls_and_a_stranger_is_not() {
        let (server, client) = both();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
            let port = listener.local_addr().expect("an address").port();
            let url = format!("https://localhost:{port}/token?x");
            let ask = || Ask {
                method: "POST",
                url: &url,
                headers: Vec::new(),
                body: Vec::new(),
                patience: PATIENCE,
            };
            let calls = async {
                let trusting = Http {
                    tls: OnceCell::new_with(Some(Arc::new(client))),
                    ca: None,
                };
                let answer = trusting.call(ask()).await.unwrap_or_else(|e| panic!("{e}"));
                assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
                assert_eq!(answer.date.map(WallTime::seconds), Some(784_111_777));
                let refused = Http::default().call(ask()).await.err();
                let refused = refused.expect("not trusted");
                assert!(
                    refused.starts_with(&format!("localhost:{port}: TLS: ")),
                    "{refused}"
                );
            };
            tokio::select! {
                () = serve(listener, Arc::new(server)) => {}
                () = calls => {}
            }
        });
    }
}
