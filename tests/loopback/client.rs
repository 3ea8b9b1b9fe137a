//! HTTP/1.1 by hand, plain or over TLS: so that what we say is compared with the RFC and not with a library.

use super::house::KEY;
use super::words::Ask;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A connection, and what came on it and was not read yet.
pub struct Conn {
    stream: Box<dyn Stream>,
    come: Vec<u8>,
}

pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// The head of an answer, names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

/// An answer that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| &**value)
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }
}

/// Connects, with a bound on every read and write.
pub fn dial(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("connects");
    let bound = Some(Duration::from_secs(15));
    stream.set_read_timeout(bound).expect("a bound");
    stream.set_write_timeout(bound).expect("a bound");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Trusts the certificate at `pem` and offers these protocols.
pub fn trusting(pem: &Path, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(pem).expect("a certificate");
    roots.add(certificate).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

impl Conn {
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            come: Vec::new(),
        }
    }

    pub fn plain(at: SocketAddr) -> Self {
        Self::over(dial(at))
    }

    pub fn tls(at: SocketAddr, pem: &Path) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let session =
            ClientConnection::new(trusting(pem, &[b"http/1.1"]), name).expect("a session");
        Self::over(StreamOwned::new(session, dial(at)))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
        self.stream.flush().expect("sent");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    pub fn ask(&mut self, ask: &Ask) -> Answer {
        self.send(&ask.http1());
        self.answer()
    }

    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(&request("GET", path, headers, b""));
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        let head = self.head();
        let body = self.body(&head).expect("a body that ends as it should");
        Answer { head, body }
    }

    pub fn head(&mut self) -> Head {
        self.try_head().expect("an answer")
    }

    pub fn try_head(&mut self) -> io::Result<Head> {
        let head = self.take_through(b"\r\n\r\n")?;
        let text = String::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = text.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok());
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok(Head {
            status: status.ok_or_else(|| io::Error::other(text.clone()))?,
            headers: lines.filter_map(field).collect(),
        })
    }

    /// The body whole; an error when it is cut.
    pub fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(head)? {
            body.extend_from_slice(&piece);
            if head.header("transfer-encoding").is_none() {
                break;
            }
        }
        Ok(body)
    }

    /// The next chunk; `None` at the end. A body of known length is one chunk.
    pub fn piece(&mut self, head: &Head) -> io::Result<Option<Vec<u8>>> {
        if head.header("transfer-encoding") == Some("chunked") {
            let size = self.take_through(b"\r\n")?;
            let size = String::from_utf8(size).map_err(io::Error::other)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = self.take(size + 2)?;
            if chunk.split_off(size) != b"\r\n" {
                return Err(io::Error::other("a chunk without end"));
            }
            return Ok((size > 0).then_some(chunk));
        }
        let length = head.header("content-length").and_then(|l| l.parse().ok());
        match length {
            Some(length) => self.take(length).map(Some),
            None => Err(io::Error::other("neither length nor chunks")),
        }
    }

    /// Reads on until `wanted` has come within the body, and gives all that came.
    pub fn until_said(&mut self, wanted: &str) -> String {
        while !String::from_utf8_lossy(&self.come).contains(wanted) {
            self.more().expect(wanted);
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.come)).into_owned()
    }

    /// All until the other side closes or the connection breaks.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.come);
        // A reset keeps what came before it.
        let _ = self.stream.read_to_end(&mut all);
        all
    }

    pub fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.come.len() < count {
            self.more()?;
        }
        let rest = self.come.split_off(count);
        Ok(std::mem::replace(&mut self.come, rest))
    }

    fn take_through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let at = self.come.windows(mark.len()).position(|w| w == mark);
            if let Some(at) = at {
                return self.take(at + mark.len());
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut some = [0; 16 << 10];
        match self.stream.read(&mut some) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.come.extend_from_slice(&some[..count]);
                Ok(())
            }
            // A read with a bound is broken off by any signal, and executors send some to their own process (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut said = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        said += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        said += &format!("content-length: {}\r\n", body.len());
    }
    [said.as_bytes(), b"\r\n", body].concat()
}

/// A plain request is answered.
pub fn is_served(at: SocketAddr) {
    let answer = Conn::plain(at).ask(&Ask::chat("own", "are you well?"));
    assert_eq!(answer.head.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("\"choices\""),
        "{KEY}: {}",
        answer.text()
    );
}
