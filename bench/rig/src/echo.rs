//! An upstream that says fixed answers as cheaply as can be, over HTTP/1.1 with keep-alive and over h2c, on one thread.
//!
//! Reads of a request its path, its length and whether it wants a stream; checks nothing. One write an answer, or one an event where
//! paced. Connections and streams are bounded by the load that a bench makes, and by the limit of open files.

use crate::bounds;
use crate::canned::{Canned, Dialect};
use anyhow::Result;
use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9301", value_parser = bounds::loopback)]
    listen: SocketAddr,
    /// Bytes of an answer that is not streamed
    #[arg(long, default_value_t = 1_024)]
    body_bytes: usize,
    /// Pieces of text of one that is
    #[arg(long, default_value_t = 50)]
    chunks: usize,
    /// From a request to its first event
    #[arg(long, default_value = "0ms", value_parser = bounds::duration)]
    first_token: Duration,
    /// Between two events; 0 says all of them in one write
    #[arg(long, default_value = "0ms", value_parser = bounds::duration)]
    between: Duration,
    /// Ends after this time
    #[arg(long, default_value = "30m", value_parser = bounds::duration)]
    time_limit: Duration,
}

/// What is said, and when.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub body_bytes: usize,
    pub chunks: usize,
    pub first_token: Duration,
    pub between: Duration,
}

pub fn main(args: &Args) -> Result<()> {
    bounds::files(65_536)?;
    let settings = Settings {
        body_bytes: args.body_bytes,
        chunks: args.chunks,
        first_token: args.first_token,
        between: args.between,
    };
    let listener = stokehold::net::runtime::bind(args.listen, 4_096)?;
    println!("echo at http://{}", listener.local_addr()?);
    bounds::run(args.time_limit, serve(listener, settings))
}

/// Serves until dropped. Needs a `LocalSet`.
pub async fn serve(listener: std::net::TcpListener, settings: Settings) -> Result<()> {
    let answers = Rc::new(Answers::new(settings));
    let listener = TcpListener::from_std(listener)?;
    loop {
        // Out of files: those that wait are taken when others leave.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let answers = Rc::clone(&answers);
        // How a connection ends is its client's business.
        spawn_local(async move {
            let _ = connection(stream, &answers).await;
        });
    }
}

struct Answers {
    settings: Settings,
    chat: Written,
    messages: Written,
}

/// A canned answer with HTTP/1.1's framing around it.
struct Written {
    canned: Canned,
    whole: Bytes,
    stream_head: Bytes,
    /// Each event as an HTTP chunk.
    chunks: Vec<Bytes>,
    /// All of it.
    stream: Bytes,
}

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Written {
    fn new(dialect: Dialect, settings: Settings) -> Self {
        let canned = Canned::new(dialect, settings.body_bytes, settings.chunks);
        let mut whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: {}\r\n\r\n",
            canned.whole.len()
        )
        .into_bytes();
        whole.extend_from_slice(&canned.whole);
        let mut chunks: Vec<Bytes> = canned.events.iter().map(|e| chunk(e)).collect();
        chunks.push(Bytes::from_static(LAST_CHUNK));
        let stream = [STREAM_HEAD, &chunks.concat()].concat();
        Self {
            canned,
            whole: whole.into(),
            stream_head: Bytes::from_static(STREAM_HEAD),
            chunks,
            stream: stream.into(),
        }
    }
}

fn chunk(event: &[u8]) -> Bytes {
    let size = format!("{:x}\r\n", event.len());
    Bytes::from([size.as_bytes(), event, b"\r\n"].concat())
}

impl Answers {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            chat: Written::new(Dialect::Chat, settings),
            messages: Written::new(Dialect::Messages, settings),
        }
    }

    fn to(&self, path: &str) -> Option<&Written> {
        Dialect::of(path).map(|dialect| match dialect {
            Dialect::Chat => &self.chat,
            Dialect::Messages => &self.messages,
        })
    }

    fn at_once(&self) -> bool {
        self.settings.first_token.is_zero() && self.settings.between.is_zero()
    }

    /// When event `at` is due, of an answer to a request that was read at `begun`.
    fn due(&self, begun: Instant, at: usize) -> Instant {
        let times = u32::try_from(at).unwrap_or(u32::MAX);
        begun + self.settings.first_token + self.settings.between.saturating_mul(times)
    }

    /// How long one takes that is not streamed: as long as its stream would.
    fn whole_due(&self, begun: Instant) -> Instant {
        self.due(begun, self.settings.chunks)
    }
}

/// The first bytes of an HTTP/2 client (RFC 9113, 3.4), as far as tells it from HTTP/1.1.
const H2_BEGINS: &[u8] = b"PRI";

async fn connection(mut stream: TcpStream, answers: &Rc<Answers>) -> Result<()> {
    let mut begin = [0; 3];
    // A client's first write is longer than this; one that is not speaks HTTP/1.1 to us.
    if stream.peek(&mut begin).await? == 0 {
        return Ok(());
    }
    if begin == H2_BEGINS {
        http2(stream, answers).await
    } else {
        http1(&mut stream, answers).await
    }
}

async fn http1(stream: &mut TcpStream, answers: &Answers) -> Result<()> {
    let mut read = BytesMut::with_capacity(READ_BYTES);
    loop {
        let asked = loop {
            if let Some(asked) = Asked::of(&read)? {
                break asked;
            }
            read.reserve(READ_BYTES);
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let begun = Instant::now();
        let written = answers.to(&asked.path);
        let streams = wants_stream(&read[asked.head..asked.end]);
        read.advance(asked.end);
        match written {
            None => stream.write_all(NOT_FOUND).await?,
            Some(written) if streams && answers.at_once() => {
                stream.write_all(&written.stream).await?;
            }
            Some(written) if streams => paced(stream, answers, written, begun).await?,
            Some(written) => {
                if !answers.at_once() {
                    sleep_until(answers.whole_due(begun)).await;
                }
                stream.write_all(&written.whole).await?;
            }
        }
    }
}

/// Room for a read: a request of a few KB comes in one.
const READ_BYTES: usize = 8 << 10;

async fn paced(
    stream: &mut TcpStream,
    answers: &Answers,
    written: &Written,
    begun: Instant,
) -> Result<()> {
    stream.write_all(&written.stream_head).await?;
    for (at, chunk) in written.chunks.iter().enumerate() {
        // The last chunk has no event: it follows at once.
        if at < written.canned.events.len() {
            sleep_until(answers.due(begun, at)).await;
        }
        stream.write_all(chunk).await?;
    }
    Ok(())
}

struct Asked {
    path: String,
    head: usize,
    end: usize,
}

impl Asked {
    /// The request at the beginning of `read`, if it is there to its last byte.
    fn of(read: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = request.parse(read)? else {
            return Ok(None);
        };
        let length = request
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case("content-length"));
        let length = match length {
            Some(value) => std::str::from_utf8(value.value)?.trim().parse::<usize>()?,
            None => 0,
        };
        let end = head.saturating_add(length);
        Ok((read.len() >= end).then(|| Self {
            path: request.path.unwrap_or("").to_owned(),
            head,
            end,
        }))
    }
}

fn wants_stream(body: &[u8]) -> bool {
    [&b"\"stream\":true"[..], b"\"stream\": true"]
        .iter()
        .any(|said| memmem::find(body, said).is_some())
}

async fn http2(stream: TcpStream, answers: &Rc<Answers>) -> Result<()> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(20_000)
        .handshake::<_, Bytes>(stream)
        .await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        let answers = Rc::clone(answers);
        spawn_local(async move {
            let _ = http2_answer(request, respond, &answers).await;
        });
    }
    Ok(())
}

async fn http2_answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    answers: &Answers,
) -> Result<()> {
    let begun = Instant::now();
    let (head, mut body) = request.into_parts();
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        read.extend_from_slice(&data);
    }
    let Some(written) = answers.to(head.uri.path()) else {
        let nothing = http::Response::builder().status(404).body(())?;
        respond.send_response(nothing, true)?;
        return Ok(());
    };
    let streams = wants_stream(&read);
    let kind = match streams {
        true => "text/event-stream; charset=utf-8",
        false => "application/json",
    };
    let response = http::Response::builder()
        .header("content-type", kind)
        .header("x-request-id", "req_bench");
    if !streams {
        if !answers.at_once() {
            sleep_until(answers.whole_due(begun)).await;
        }
        let mut send = respond.send_response(response.body(())?, false)?;
        send.send_data(written.canned.whole.clone(), true)?;
        return Ok(());
    }
    let mut send = respond.send_response(response.body(())?, false)?;
    for (at, event) in written.canned.events.iter().enumerate() {
        if !answers.at_once() {
            sleep_until(answers.due(begun, at)).await;
        }
        send.send_data(event.clone(), at + 1 == written.canned.events.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_when_whole() {
        let bytes = b"POST /v1/messages HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
        for cut in 0..bytes.len() {
            assert!(Asked::of(&bytes[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        let asked = Asked::of(bytes).unwrap().unwrap();
        assert_eq!(&bytes[asked.head..asked.end], b"body");
        assert_eq!(asked.path, "/v1/messages");
    }

    #[test]
    fn nothing_is_waited_for_where_no_time_is_set() {
        let settings = Settings {
            body_bytes: 1_024,
            chunks: 2,
            first_token: Duration::ZERO,
            between: Duration::from_millis(10),
        };
        let answers = Answers::new(settings);
        let begun = Instant::now();
        assert!(!answers.at_once());
        assert_eq!(answers.due(begun, 3) - begun, Duration::from_millis(30));
    }
}
