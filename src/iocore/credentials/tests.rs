//! Against servers of our own on loopback, with a clock of our own.

use super::*;
use crate::base::Secret;
use crate::config;
use crate::iocore::lane::Lane;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

mod aws;
mod google;
mod keeper;

/// 2026-11-22T00:00:00Z.
const START: i64 = 1_795_305_600;

/// A request as a server received it.
#[derive(Clone, Debug)]
struct Got {
    method: String,
    path: String,
    /// Lower-case names.
    headers: Vec<(String, String)>,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, v)| v)
    }

    /// A field of the form in the body, with `%` as it came.
    fn field(&self, name: &str) -> &str {
        let mut fields = self.body.split('&').filter_map(|f| f.split_once('='));
        fields.find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }
}

struct Reply {
    status: u16,
    /// Seconds since 1970, for the `date` header.
    date: i64,
    body: String,
}

fn reply(status: u16, body: impl Into<String>) -> Reply {
    Reply {
        status,
        date: START,
        body: body.into(),
    }
}

/// Runs `test` beside a server that answers by `handler`; gives it the server's URL.
fn beside<T, F: Future<Output = T>>(
    handler: impl FnMut(&Got) -> Reply,
    test: impl FnOnce(String) -> F,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let limit = Duration::from_secs(20);
        tokio::select! {
            () = serve(listener, handler) => panic!("the server ended"),
            done = tokio::time::timeout(limit, test(url)) => done.expect("in time"),
        }
    })
}

async fn serve(listener: TcpListener, mut handler: impl FnMut(&Got) -> Reply) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let Some(got) = receive(&mut stream).await else {
            continue;
        };
        let Reply { status, date, body } = handler(&got);
        let text = format!(
            "HTTP/1.1 {status} X\r\ndate: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            http_date(date),
            body.len()
        );
        // A client that has gone is its own affair.
        let _ = stream.write_all(text.as_bytes()).await;
    }
}

async fn receive(stream: &mut tokio::net::TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let (head, at) = loop {
        if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break (String::from_utf8_lossy(&bytes[..at]).into_owned(), at + 4);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers = lines.filter_map(|l| l.split_once(": "));
    let mut got = Got {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        headers: headers
            .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
            .collect(),
        body: String::new(),
    };
    let length: usize = got.header("content-length").parse().unwrap_or(0);
    while bytes.len() < at + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    got.body = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
    Some(got)
}

/// Days since `START`'s are not needed: the tests stay within a day or so of it.
fn http_date(seconds: i64) -> String {
    let since = seconds - START;
    let (day, rest) = (22 + since.div_euclid(86_400), since.rem_euclid(86_400));
    let (h, m, s) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("Sun, {day:02} Nov 2026 {h:02}:{m:02}:{s:02} GMT")
}

/// A clock that goes only when it is told to.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> Now {
        let nanos = self.0.load(Ordering::SeqCst);
        Now {
            instant: Instant(1_000_000_000 + nanos),
            wall: WallTime(START * 1_000_000_000 + nanos as i64),
        }
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }
}

fn world() -> World {
    let clock = Clock::default();
    World {
        clock: Arc::new(move || clock.now()),
        http: Arc::new(Http::default()),
    }
}

/// The source of a key that is written so, through the whole of the configuration.
fn source(kind: &str, key: &str, env: &[(&str, &str)]) -> KeySource {
    let text = format!(
        "providers: [{{id: p, kind: {kind}, {} pools: [{{id: q, keys: [{{id: k, {key}}}]}}]}}]\n",
        match kind {
            "vertex" => "project: x,",
            "bedrock" => "region: eu-west-1,",
            _ => "",
        }
    );
    let read = |path: &Path| -> io::Result<String> {
        match path.to_str() {
            Some("a.yaml") => Ok(text.clone()),
            _ => std::fs::read_to_string(path),
        }
    };
    let env = |name: &str| {
        let found = env.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| (*v).to_owned())
    };
    let loaded = config::load("a.yaml", &read, &env, 1).unwrap_or_else(|p| panic!("{p:?}"));
    loaded.config.keys[0].source.clone()
}

/// One fetch: the outcome, with the skew that it left.
async fn once(source: &KeySource, skew: Skew) -> (Result<Fetched, String>, Skew) {
    let outcome = fetch(source.clone(), skew, world()).await;
    (outcome.result, outcome.skew)
}

fn bearer(fetched: &Fetched) -> &str {
    match &fetched.credential {
        Credential::Bearer(token) => token.expose(),
        other => panic!("{other:?}"),
    }
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}
