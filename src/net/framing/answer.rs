//! One HTTP/1.1 answer, taken out of its framing: bytes in as the network cut them, head and data out.
//!
//! Pure: knows no socket. All data of one read comes out as one `Bytes` however many chunks it held, for one copy and one
//! allocation. Bounded: a head, a chunk's size line and the trailers have a length at which the answer counts as malformed.

use super::chunks::Chunks;
use super::{Malformed, digits, kept};
use crate::shard::Headers;
use bytes::{Bytes, BytesMut};
use std::mem::MaybeUninit;

/// Reads one answer. Feed it until it is done.
pub(in crate::net) struct Reader {
    stage: Stage,
    /// A head that is not whole yet.
    pending: Vec<u8>,
    /// Answers to `HEAD` have no body.
    bodiless: bool,
    keep: bool,
}

enum Stage {
    Head,
    /// Bytes that are still to come.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Done,
}

/// What one read brought.
#[derive(Debug, Default, PartialEq)]
pub(in crate::net) struct Fed {
    pub(in crate::net) head: Option<(u16, Headers)>,
    pub(in crate::net) data: Bytes,
    pub(in crate::net) done: bool,
}

const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
impl Reader {
    pub(in crate::net) fn new(method: &str) -> Self {
        Self {
            stage: Stage::Head,
            pending: Vec::new(),
            bodiless: method == "HEAD",
            keep: true,
        }
    }

    /// Whether the connection may carry another request. True only of an answer that is done.
    pub(in crate::net) fn may_keep(&self) -> bool {
        self.keep && matches!(self.stage, Stage::Done)
    }

    /// Takes what one read brought.
    pub(in crate::net) fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        let mut fed = Fed::default();
        if !matches!(self.stage, Stage::Head) {
            self.data(bytes, &mut fed)?;
            return Ok(fed);
        }
        if self.pending.is_empty() {
            self.head(bytes, &mut fed)?;
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(bytes);
            self.head(&joined, &mut fed)?;
        }
        Ok(fed)
    }

    /// The connection ended. True when the answer is whole by that.
    pub(in crate::net) fn ended(&mut self) -> bool {
        let whole = matches!(self.stage, Stage::UntilClose | Stage::Done);
        if whole {
            self.stage = Stage::Done;
        }
        self.keep = false;
        whole
    }

    fn head(&mut self, mut bytes: &[u8], fed: &mut Fed) -> Result<(), Malformed> {
        loop {
            // Room for the most headers, of which an answer has ten: what is not used is not even cleared.
            let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            let mut head = httparse::Response::new(&mut []);
            let parsed = httparse::ParserConfig::default()
                .parse_response_with_uninit_headers(&mut head, bytes, &mut room)
                .map_err(|_| "the answer's head is malformed")?;
            let httparse::Status::Complete(length) = parsed else {
                if bytes.len() > HEAD_BYTES_MAX {
                    return Err("the answer's head is too large");
                }
                self.pending = bytes.to_vec();
                return Ok(());
            };
            bytes = &bytes[length..];
            let status = head.code.unwrap_or(0);
            match status {
                101 => return Err("the provider switched protocols unasked"),
                // 100, 102, 103: the answer is still to come (RFC 9110 section 15.2).
                100..=199 => continue,
                200..=999 => {}
                _ => return Err("the answer's status is out of range"),
            }
            self.stage = self.framing_of(&head, status)?;
            fed.head = Some((status, kept(head.headers)));
            return self.data(bytes, fed);
        }
    }

    /// RFC 9112 section 6.3, and section 9.3 for what may be kept.
    fn framing_of(
        &mut self,
        head: &httparse::Response<'_, '_>,
        status: u16,
    ) -> Result<Stage, Malformed> {
        let (mut length, mut coding) = (None, Coding::None);
        self.keep = head.version == Some(1);
        for header in head.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let said = digits(value)?;
                if length.is_some_and(|before| before != said) {
                    return Err("two content-lengths that differ");
                }
                length = Some(said);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                coding = coding.and(value)?;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for token in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keep = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") && head.version == Some(0) {
                        self.keep = true;
                    }
                }
            }
        }
        if coding != Coding::None && (length.is_some() || head.version == Some(0)) {
            // Somebody in between may have read it the other way: never reuse what may be out of step. HTTP/1.0 has no codings, so there
            // the framing is faulty whatever is said (section 6.1).
            self.keep = false;
        }
        Ok(match (coding, length) {
            _ if self.bodiless || status == 204 || status == 304 => Stage::Done,
            (Coding::Chunked, _) => Stage::Chunked(Chunks::default()),
            (Coding::Other, _) | (Coding::None, None) => {
                self.keep = false;
                Stage::UntilClose
            }
            (Coding::None, Some(0)) => Stage::Done,
            (Coding::None, Some(length)) => Stage::Length(length),
        })
    }

    fn data(&mut self, bytes: &[u8], fed: &mut Fed) -> Result<(), Malformed> {
        let used = match &mut self.stage {
            Stage::Length(left) => {
                let count =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                fed.data = Bytes::copy_from_slice(&bytes[..count]);
                *left -= count as u64;
                if *left == 0 {
                    self.stage = Stage::Done;
                }
                count
            }
            Stage::Chunked(chunks) => {
                let mut data = BytesMut::with_capacity(bytes.len());
                let used = chunks.take(bytes, &mut data)?;
                fed.data = data.freeze();
                if chunks.is_done() {
                    self.stage = Stage::Done;
                }
                used
            }
            Stage::UntilClose => {
                fed.data = Bytes::copy_from_slice(bytes);
                bytes.len()
            }
            Stage::Head | Stage::Done => 0,
        };
        // Bytes after an answer belong to nobody.
        self.keep &= used == bytes.len();
        fed.done = matches!(self.stage, Stage::Done);
        Ok(())
    }
}

/// What the `transfer-encoding` fields of an answer say together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    /// `chunked` and nothing else.
    Chunked,
    /// Others: such an answer ends with its connection (RFC 9112 section 6.3, item 4).
    Other,
}

impl Coding {
    /// With one more field. `chunked` beside anything is refused: twice it is forbidden (section 6.1), and what it would wrap is a coding
    /// that we did not say we take (section 7.4), so that its bytes would reach the client as if they were the answer.
    fn and(self, field: &[u8]) -> Result<Self, Malformed> {
        const BAD: Malformed = "a transfer coding beside `chunked`, or `chunked` twice";
        let mut all = self;
        for coding in field.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            all = match (all, coding.eq_ignore_ascii_case(b"chunked")) {
                // An empty element of a list says nothing (RFC 9110 section 5.6.1.2).
                _ if coding.is_empty() => all,
                (Self::None, true) => Self::Chunked,
                (Self::None | Self::Other, false) => Self::Other,
                (Self::Chunked, _) | (Self::Other, true) => return Err(BAD),
            };
        }
        // A field that says nothing is still a field: what follows is framed by nobody.
        Ok(if all == Self::None { Self::Other } else { all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Head, data and whether it is done, fed in `parts`.
    fn read(parts: &[&[u8]]) -> Result<(u16, Vec<u8>, bool, bool), Malformed> {
        let mut reader = Reader::new("POST");
        let (mut status, mut data, mut done) = (0, Vec::new(), false);
        for part in parts {
            let fed = reader.feed(part)?;
            status = fed.head.map_or(status, |(status, _)| status);
            data.extend_from_slice(&fed.data);
            done |= fed.done;
        }
        Ok((status, data, done, reader.may_keep()))
    }

    const CHUNKED: &[u8] = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;ext=\"a\"\r\nhello\r\n1\r\n,\r\n00A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n";

    #[test]
    fn a_chunked_answer_is_the_same_however_it_is_cut() {
        let want = Ok((200, b"hello,0123456789".to_vec(), true, true));
        for cut in 0..=CHUNKED.len() {
            let (head, tail) = CHUNKED.split_at(cut);
            assert_eq!(read(&[head, tail]), want, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = CHUNKED.chunks(1).collect();
        assert_eq!(read(&bytes), want);
    }

    #[test]
    fn an_answer_cut_short_is_never_whole() {
        for cut in 0..CHUNKED.len() {
            let mut reader = Reader::new("POST");
            let fed = reader.feed(&CHUNKED[..cut]).expect("good so far");
            assert!(!fed.done && !reader.ended(), "cut at {cut}");
        }
    }

    #[test]
    fn all_data_of_one_read_is_one_piece() {
        let mut reader = Reader::new("POST");
        let fed = reader.feed(CHUNKED).expect("good");
        assert_eq!(&fed.data[..], b"hello,0123456789");
    }

    #[test]
    fn only_a_clean_end_lets_a_connection_be_kept() {
        let cases: [(&[u8], bool, bool); 15] = [
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", true, true),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabX", true, false),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nab", true, false),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab", true, false),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nConnection: Keep-Alive\r\n\r\nab", true, true),
            (b"HTTP/1.1 204 No\r\n\r\n", true, true),
            (b"HTTP/1.1 200 OK\r\n\r\nab", false, false),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true, true),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                true,
                false,
            ),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: , Chunked ,\r\n\r\n0\r\n\r\n", true, true),
            (
                b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                true,
                false,
            ),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n", false, false),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", false, false),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\n0\r\n\r\n", false, false),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: gzip\r\n\r\nab",
                false,
                false,
            ),
        ];
        for (bytes, done, keep) in cases {
            let (_, _, is_done, may_keep) = read(&[bytes]).expect("good");
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!((is_done, may_keep), (done, keep), "{shown}");
        }
    }

    #[test]
    fn what_is_not_http_is_malformed() {
        let head = "HTTP/1.1 200 OK\r\n";
        let chunked = "transfer-encoding: chunked\r\n\r\n";
        let cases = [
            "garbage\r\n\r\n".to_owned(),
            "HTTP/1.1 101 Switching\r\n\r\n".to_owned(),
            format!("{head}content-length: -1\r\n\r\n"),
            format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\n"),
            format!("{head}content-length: 99999999999999999999\r\n\r\n"),
            format!("{head}transfer-encoding: identity, chunked, chunked\r\n\r\n0\r\n\r\n"),
            format!("{head}transfer-encoding: chunked\r\n{chunked}0\r\n\r\n"),
            format!("{head}transfer-encoding: gzip\r\n{chunked}0\r\n\r\n"),
            format!("{head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            format!("{head}{chunked}zz\r\n"),
            format!("{head}{chunked}\r\n"),
            format!("{head}{chunked}11111111111111111\r\n"),
            format!("{head}{chunked}1\r\nab"),
            format!("{head}{chunked}1;{}", "x".repeat(9000)),
            format!("{head}{chunked}0\r\n{}", "x: y\r\n".repeat(2000)),
            format!("{head}{}", "x: y\r\n".repeat(200)),
            format!("{head}x: {}", "y".repeat(70_000)),
        ];
        for case in cases {
            assert!(
                read(&[case.as_bytes()]).is_err(),
                "{}",
                &case[..case.len().min(80)]
            );
        }
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic() {
        let mut rng = crate::base::Rng::seeded(3);
        for _ in 0..20_000 {
            let mut bytes = CHUNKED.to_vec();
            for _ in 0..3 {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.bits() as u8;
            }
            let cut = rng.below(bytes.len() as u64) as usize;
            let _ = read(&[&bytes[..cut], &bytes[cut..]]);
        }
    }
}
