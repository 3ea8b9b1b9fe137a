//! One HTTP/1.1 request, taken out of its framing: the head as the shard reads it, then the body.
//!
//! What two readers could take for two things is refused, never mended: a length beside a coding, two lengths that differ, a coding
//! beside `chunked` (RFC 9112 sections 6.1 and 6.3). Bounded by what its caller gives.

use super::chunks::Chunks;
use super::{Malformed, digits, kept};
use crate::shard::ClientHead;
use bytes::{Bytes, BytesMut};
use std::mem::MaybeUninit;
use std::net::IpAddr;

/// A request's head, and what it says of the connection.
#[derive(Debug)]
pub(in crate::net) struct Asked {
    pub(in crate::net) head: ClientHead,
    pub(in crate::net) body: Body,
    pub(in crate::net) manner: Manner,
}

/// How the client wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Manner {
    /// Another request may follow.
    pub(in crate::net) keep: bool,
    /// HTTP/1.0 knows no chunks, and wants to be told what is kept.
    pub(in crate::net) old: bool,
    /// Answers to `HEAD` have no body.
    pub(in crate::net) bodiless: bool,
    /// The body is sent only after `100 Continue`.
    pub(in crate::net) expects: bool,
}

/// Most that a head may have.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Bounds {
    pub(in crate::net) bytes: usize,
    pub(in crate::net) fields: usize,
}

/// Why a head is not taken. Before it is read it has no dialect, so the reason is told in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Refusal {
    Malformed(Malformed),
    TooLarge,
    Version,
    /// A coding that we do not understand (RFC 9112 section 6.1).
    Coding,
}

impl Refusal {
    pub(in crate::net) fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooLarge => 431,
            Self::Version => 505,
            Self::Coding => 501,
        }
    }

    pub(in crate::net) fn why(self) -> &'static str {
        match self {
            Self::Malformed(why) => why,
            Self::TooLarge => "the request's head is too large, or has too many fields",
            Self::Version => "HTTP/1.1, HTTP/1.0 and HTTP/2 are served",
            Self::Coding => "a transfer-encoding other than `chunked` is not served",
        }
    }
}

/// Room for fields on the stack; what is not used is not even cleared.
const FIELDS: usize = 128;

/// Reads a head at the beginning of `bytes`, and how long it is; `None` while it is not whole.
pub(in crate::net) fn read(
    bytes: &[u8],
    bounds: Bounds,
    peer: IpAddr,
) -> Result<Option<(Asked, usize)>, Refusal> {
    if bounds.fields <= FIELDS {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        return parse(bytes, bounds.bytes, &mut room[..bounds.fields], peer);
    }
    parse(
        bytes,
        bounds.bytes,
        &mut vec![MaybeUninit::uninit(); bounds.fields],
        peer,
    )
}

/// Whether a head may end in `bytes`, of which `seen` were looked at before. Cheaper than to parse again at every byte of a slow client.
pub(in crate::net) fn may_end(bytes: &[u8], seen: usize) -> bool {
    let new = &bytes[seen.saturating_sub(2)..];
    memchr::memchr_iter(b'\n', new)
        .any(|at| new[at + 1..].starts_with(b"\n") || new[at + 1..].starts_with(b"\r\n"))
}

fn parse<'b>(
    bytes: &'b [u8],
    bytes_max: usize,
    room: &mut [MaybeUninit<httparse::Header<'b>>],
    peer: IpAddr,
) -> Result<Option<(Asked, usize)>, Refusal> {
    let mut head = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut head, bytes, room)
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => Refusal::TooLarge,
            httparse::Error::Version => Refusal::Version,
            _ => Refusal::Malformed("the request's head is malformed"),
        })?;
    match parsed {
        httparse::Status::Complete(length) if length <= bytes_max => {
            asked(&head, peer).map(|asked| Some((asked, length)))
        }
        httparse::Status::Partial if bytes.len() <= bytes_max => Ok(None),
        _ => Err(Refusal::TooLarge),
    }
}

fn asked(head: &httparse::Request<'_, '_>, peer: IpAddr) -> Result<Asked, Refusal> {
    let old = head.version == Some(0);
    let method = head.method.unwrap_or_default();
    let said = Said::of(head.headers, old)?;
    let (path, query) = target(head.path.unwrap_or_default());
    let framing = match (said.chunked, said.length) {
        (true, None) if !old => Framing::Chunked(Chunks::default()),
        (true, _) => return Err(Refusal::Malformed(TWO_FRAMINGS)),
        (false, length) => Framing::Length(length.unwrap_or(0)),
    };
    let content_length = (!said.chunked).then(|| said.length.unwrap_or(0));
    Ok(Asked {
        manner: Manner {
            keep: said.keeps && !said.closes,
            old,
            bodiless: method == "HEAD",
            // HTTP/1.0 does not know of it (RFC 9110 section 10.1.1).
            expects: said.expects && !old,
        },
        head: ClientHead {
            method: method_name(method),
            path: Bytes::copy_from_slice(path.as_bytes()),
            query: Bytes::copy_from_slice(query.as_bytes()),
            headers: kept(head.headers),
            content_length,
            // RFC 6455 section 4.2.1.
            websocket: said.websocket && said.upgrade && method == "GET" && !old,
            peer,
        },
        body: Body(framing),
    })
}

const TWO_FRAMINGS: Malformed =
    "a transfer-encoding stands beside a content-length, or in HTTP/1.0";

/// What the fields say of the connection and of the body's end.
struct Said {
    length: Option<u64>,
    chunked: bool,
    keeps: bool,
    closes: bool,
    upgrade: bool,
    websocket: bool,
    expects: bool,
}

impl Said {
    fn of(fields: &[httparse::Header<'_>], old: bool) -> Result<Self, Refusal> {
        let mut said = Self {
            length: None,
            chunked: false,
            keeps: !old,
            closes: false,
            upgrade: false,
            websocket: false,
            expects: false,
        };
        for field in fields {
            said.field(field.name, field.value.trim_ascii())?;
        }
        Ok(said)
    }

    fn field(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        // Most names are told apart by their length alone.
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            6 if is("expect") => self.expects = value.eq_ignore_ascii_case(b"100-continue"),
            7 if is("upgrade") => self.websocket |= has(value, b"websocket"),
            10 if is("connection") => {
                self.keeps |= has(value, b"keep-alive");
                self.closes |= has(value, b"close");
                self.upgrade |= has(value, b"upgrade");
            }
            14 if is("content-length") => {
                let length = digits(value).map_err(Refusal::Malformed)?;
                if self.length.is_some_and(|before| before != length) {
                    return Err(Refusal::Malformed("two content-lengths that differ"));
                }
                self.length = Some(length);
            }
            17 if is("transfer-encoding") => {
                // Said once, and alone: who stands before us may see the end of anything else elsewhere.
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Coding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a list names `token`.
fn has(list: &[u8], token: &[u8]) -> bool {
    let mut parts = list.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    parts.any(|part| part.eq_ignore_ascii_case(token))
}

/// Path and query of a request's target (RFC 9112 section 3.2): `/path?query`, or a whole URL as a proxy is asked for it.
fn target(target: &str) -> (&str, &str) {
    let target = target.split('#').next().unwrap_or_default();
    let of_url = |(_, rest): (&'_ str, &'_ str)| rest.find(['/', '?']);
    let local = if target.starts_with('/') {
        target
    } else if let Some(url) = target.split_once("://") {
        of_url(url).map_or("/", |at| &url.1[at..])
    } else {
        target
    };
    match local.split_once('?') {
        Some(("", query)) => ("/", query),
        Some(both) => both,
        None => (local, ""),
    }
}

/// A method as the shard reads it; the common ones cost nothing.
pub(in crate::net) fn method_name(method: &str) -> Bytes {
    match method {
        "GET" => Bytes::from_static(b"GET"),
        "POST" => Bytes::from_static(b"POST"),
        "DELETE" => Bytes::from_static(b"DELETE"),
        other => Bytes::copy_from_slice(other.as_bytes()),
    }
}

/// A request's body, and how much of it is still to come.
#[derive(Debug)]
pub(in crate::net) struct Body(Framing);

#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(Chunks),
}

impl Body {
    /// Whether all of it was taken.
    pub(in crate::net) fn is_over(&self) -> bool {
        match &self.0 {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunks) => chunks.is_done(),
        }
    }

    /// The bytes that are still to come, where that was said.
    pub(in crate::net) fn left(&self) -> Option<u64> {
        match &self.0 {
            Framing::Length(left) => Some(*left),
            Framing::Chunked(_) => None,
        }
    }

    /// Takes from `ahead` what belongs to this body. No copy where that is the whole of it.
    pub(in crate::net) fn take(&mut self, ahead: &mut Vec<u8>) -> Result<Bytes, Malformed> {
        match &mut self.0 {
            Framing::Length(left) => {
                let has = ahead.len() as u64;
                if *left >= has {
                    *left -= has;
                    return Ok(Bytes::from(std::mem::take(ahead)));
                }
                let count = usize::try_from(*left).unwrap_or(ahead.len());
                *left = 0;
                let data = Bytes::copy_from_slice(&ahead[..count]);
                ahead.drain(..count);
                Ok(data)
            }
            Framing::Chunked(chunks) => {
                let mut data = BytesMut::with_capacity(ahead.len());
                let used = chunks.take(ahead, &mut data)?;
                ahead.drain(..used);
                Ok(data.freeze())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    const BOUNDS: Bounds = Bounds {
        bytes: 4096,
        fields: 20,
    };
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn whole(bytes: &[u8]) -> Asked {
        let read = read(bytes, BOUNDS, PEER).expect("well formed");
        let (asked, length) = read.expect("whole");
        assert_eq!(length, bytes.len());
        asked
    }

    fn refused(fields: &str) -> Option<u16> {
        let bytes = format!("POST /a HTTP/1.1\r\n{fields}\r\n");
        read(bytes.as_bytes(), BOUNDS, PEER)
            .err()
            .map(Refusal::status)
    }

    #[test]
    fn a_head_is_whole_at_its_last_byte_and_not_before() {
        let bytes = b"POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n";
        for cut in 0..bytes.len() {
            assert!(matches!(read(&bytes[..cut], BOUNDS, PEER), Ok(None)));
            assert!(!may_end(&bytes[..cut], cut.saturating_sub(1)), "{cut}");
        }
        for seen in 0..bytes.len() {
            assert!(may_end(bytes, seen), "{seen}");
        }
        let asked = whole(bytes);
        let head = &asked.head;
        assert_eq!(
            (&head.path[..], &head.query[..]),
            (&b"/v1/x"[..], &b"a=b"[..])
        );
        assert_eq!(head.headers.get(b"host"), Some(&b"h"[..]));
        assert_eq!((head.content_length, asked.body.left()), (Some(3), Some(3)));
        assert!(asked.manner.keep && !asked.manner.old);
    }

    #[test]
    fn what_says_two_things_is_refused() {
        let cases = [
            ("content-length: 4\r\n", None),
            ("content-length: 4\r\ncontent-length: 4\r\n", None),
            ("transfer-encoding: Chunked \r\n", None),
            ("content-length: 4\r\ncontent-length: 5\r\n", Some(400)),
            ("content-length: 4, 4\r\n", Some(400)),
            ("content-length: +4\r\n", Some(400)),
            ("content-length:\r\n", Some(400)),
            ("content-length: 99999999999999999999\r\n", Some(400)),
            (
                "content-length: 4\r\ntransfer-encoding: chunked\r\n",
                Some(400),
            ),
            (
                "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                Some(400),
            ),
            ("transfer-encoding: gzip, chunked\r\n", Some(501)),
            ("transfer-encoding: chunked, chunked\r\n", Some(501)),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                Some(501),
            ),
            (
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
                Some(501),
            ),
            ("transfer-encoding:\r\n", Some(501)),
            ("transfer-encoding : chunked\r\n", Some(400)),
            ("x: a\r\n folded: b\r\n", Some(400)),
        ];
        for (fields, want) in cases {
            assert_eq!(refused(fields), want, "{fields:?}");
        }
        let old = b"POST /a HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(read(old, BOUNDS, PEER).is_err());
        assert_eq!(refused(&"x: y\r\n".repeat(21)), Some(431));
        assert_eq!(refused(&"x: y\r\n".repeat(20)), None);
        assert_eq!(refused(&format!("x: {}\r\n", "y".repeat(5000))), Some(431));
        let version = read(b"GET / HTTP/9.9\r\n\r\n", BOUNDS, PEER);
        assert_eq!(version.err().map(Refusal::status), Some(505));
    }

    #[test]
    fn a_connection_is_kept_as_its_version_and_its_fields_say() {
        let kept = |version: &str, fields: &str| {
            let bytes = format!("GET / HTTP/{version}\r\n{fields}\r\n");
            whole(bytes.as_bytes()).manner.keep
        };
        assert!(kept("1.1", ""));
        assert!(!kept("1.1", "Connection: foo, Close\r\n"));
        assert!(!kept("1.0", ""));
        assert!(kept("1.0", "connection: Keep-Alive\r\n"));
        assert!(!kept(
            "1.1",
            "connection: close\r\nconnection: keep-alive\r\n"
        ));
    }

    #[test]
    fn a_websocket_is_asked_for_by_both_fields_and_by_get_alone() {
        let asks = |head: &str| whole(format!("{head}\r\n\r\n").as_bytes()).head.websocket;
        let fields = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade";
        assert!(asks(&format!("GET / HTTP/1.1\r\n{fields}")));
        assert!(!asks(&format!("POST / HTTP/1.1\r\n{fields}")));
        assert!(!asks(&format!("GET / HTTP/1.0\r\n{fields}")));
        assert!(!asks("GET / HTTP/1.1\r\nupgrade: websocket"));
    }

    #[test]
    fn a_target_is_read_in_every_form() {
        let cases = [
            ("/a/b?c=d?e", ("/a/b", "c=d?e")),
            ("/a#frag?x", ("/a", "")),
            ("http://host:1/a?b", ("/a", "b")),
            ("http://host", ("/", "")),
            ("http://host?q=1", ("/", "q=1")),
            ("*", ("*", "")),
            ("host:443", ("host:443", "")),
            ("/a?u=http://x/y", ("/a", "u=http://x/y")),
        ];
        for (given, want) in cases {
            assert_eq!(target(given), want, "{given}");
        }
    }

    #[test]
    fn a_body_ends_where_it_says_and_leaves_what_follows() {
        for (fields, bytes) in [
            ("content-length: 5", &b"helloGET /"[..]),
            (
                "transfer-encoding: chunked",
                &b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nT: r\r\n\r\nGET /"[..],
            ),
        ] {
            for cut in 0..=bytes.len() {
                let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
                let mut body = whole(head.as_bytes()).body;
                let (mut ahead, mut data) = (bytes[..cut].to_vec(), Vec::new());
                if !body.is_over() {
                    data.extend_from_slice(&body.take(&mut ahead).expect("good"));
                }
                ahead.extend_from_slice(&bytes[cut..]);
                if !body.is_over() {
                    data.extend_from_slice(&body.take(&mut ahead).expect("good"));
                }
                assert!(body.is_over());
                assert_eq!((&data[..], &ahead[..]), (&b"hello"[..], &b"GET /"[..]));
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_taken_without_a_panic() {
        let good = b"POST http://h/v1?q HTTP/1.1\r\nhost: h\r\nconnection: close, upgrade\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nx: y\r\n\r\n";
        let mut rng = Rng::seeded(7);
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..=rng.below(6) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.below(256) as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let Ok(Some((mut asked, used))) = read(&bytes, BOUNDS, PEER) else {
                continue;
            };
            let (mut ahead, all) = (bytes[used..].to_vec(), bytes.len() - used);
            let taken = asked.body.take(&mut ahead);
            assert!(taken.is_err() || ahead.len() <= all);
            assert!(ahead.is_empty() || asked.body.is_over() || taken.is_err());
        }
    }
}
