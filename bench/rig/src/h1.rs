//! One exchange at a time over one HTTP/1.1 connection, kept alive. One write a request; reads go into one buffer.

use crate::tally::{Failure, Seen};
use bytes::{Buf, BytesMut};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    to: SocketAddr,
    stream: Option<TcpStream>,
    read: BytesMut,
}

/// A read's room: an answer of a few KB comes in one.
const READ_BYTES: usize = 16 << 10;

impl Client {
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to,
            stream: None,
            read: BytesMut::with_capacity(READ_BYTES),
        }
    }

    /// Sends `letter` and reads the answer into `seen`. After a failure the next exchange begins with a new connection.
    pub async fn exchange(&mut self, letter: &[u8], seen: &mut Seen) -> Result<(), Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        if stream.write_all(letter).await.is_err() {
            return Err(Failure::Closed);
        }
        let head = self.head(&mut stream).await?;
        self.body(&mut stream, &head, seen).await?;
        if !head.closes {
            self.stream = Some(stream);
        }
        match head.status {
            200 => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }

    async fn connect(&mut self) -> Result<TcpStream, Failure> {
        self.read.clear();
        let stream = TcpStream::connect(self.to).await;
        let stream = stream.map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        Ok(stream)
    }

    async fn head(&mut self, stream: &mut TcpStream) -> Result<Head, Failure> {
        loop {
            if let Some((head, length)) = Head::of(&self.read)? {
                self.read.advance(length);
                return Ok(head);
            }
            if !self.more(stream).await? {
                return Err(Failure::Closed);
            }
        }
    }

    async fn body(
        &mut self,
        stream: &mut TcpStream,
        head: &Head,
        seen: &mut Seen,
    ) -> Result<(), Failure> {
        let mut framing = head.framing;
        loop {
            let before = seen.bytes();
            let over = framing.take(&mut self.read, seen)?;
            seen.read(before);
            if over {
                return Ok(());
            }
            if !self.more(stream).await? {
                return match framing {
                    Framing::UntilClosed => Ok(()),
                    _ => Err(Failure::Closed),
                };
            }
        }
    }

    /// Whether there was more to read.
    async fn more(&mut self, stream: &mut TcpStream) -> Result<bool, Failure> {
        self.read.reserve(READ_BYTES);
        match stream.read_buf(&mut self.read).await {
            Ok(count) => Ok(count > 0),
            Err(_) => Err(Failure::Closed),
        }
    }
}

struct Head {
    status: u16,
    framing: Framing,
    closes: bool,
}

/// Where a body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(usize),
    /// So many bytes of this chunk are left, its line end included; 0 before a size.
    Chunked(usize),
    /// After the last chunk: trailers, of which we expect none, and an empty line.
    Trailers,
    UntilClosed,
}

impl Head {
    /// The head at the beginning of `read`, and its length.
    fn of(read: &[u8]) -> Result<Option<(Self, usize)>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(read).map_err(|_| Failure::Malformed)?;
        let httparse::Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let mut head = Self {
            status: response.code.unwrap_or(0),
            framing: Framing::UntilClosed,
            closes: response.version == Some(0),
        };
        for header in response.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or("").trim();
            if header.name.eq_ignore_ascii_case("content-length") {
                head.framing = Framing::Length(value.parse().map_err(|_| Failure::Malformed)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                head.framing = Framing::Chunked(0);
            } else if header.name.eq_ignore_ascii_case("connection") {
                head.closes |= value.eq_ignore_ascii_case("close");
            }
        }
        head.closes |= head.framing == Framing::UntilClosed;
        Ok(Some((head, length)))
    }
}

impl Framing {
    /// Gives what `read` holds of the body to `seen`; whether the body is over.
    fn take(&mut self, read: &mut BytesMut, seen: &mut Seen) -> Result<bool, Failure> {
        loop {
            match *self {
                Self::UntilClosed => {
                    seen.body(read);
                    read.clear();
                    return Ok(false);
                }
                Self::Length(left) => {
                    let count = left.min(read.len());
                    seen.body(&read[..count]);
                    read.advance(count);
                    *self = Self::Length(left - count);
                    return Ok(left == count);
                }
                Self::Chunked(0) => match size(read)? {
                    None => return Ok(false),
                    Some((0, line)) => {
                        read.advance(line);
                        *self = Self::Trailers;
                    }
                    Some((size, line)) => {
                        read.advance(line);
                        *self = Self::Chunked(size.saturating_add(LINE_END));
                    }
                },
                Self::Chunked(left) => {
                    if read.is_empty() {
                        return Ok(false);
                    }
                    let count = left.min(read.len());
                    seen.body(&read[..count.min(left.saturating_sub(LINE_END))]);
                    read.advance(count);
                    *self = Self::Chunked(left - count);
                }
                Self::Trailers => match memchr::memchr(b'\n', read) {
                    None => return Ok(false),
                    Some(at) => {
                        let empty = at <= 1;
                        read.advance(at + 1);
                        if empty {
                            return Ok(true);
                        }
                    }
                },
            }
        }
    }
}

/// Bytes of `\r\n`.
const LINE_END: usize = 2;

/// A chunk's size, and the length of the line that says it.
fn size(read: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let Some(at) = memchr::memchr(b'\n', read) else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&read[..at]).map_err(|_| Failure::Malformed)?;
    let digits = line.split(';').next().unwrap_or("").trim();
    let size = usize::from_str_radix(digits, 16).map_err(|_| Failure::Malformed)?;
    Ok(Some((size, at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn read(framing: Framing, parts: &[&[u8]]) -> Result<(Seen, bool), Failure> {
        let (mut framing, mut seen) = (framing, Seen::new(Instant::now()));
        let (mut bytes, mut over) = (BytesMut::new(), false);
        for part in parts {
            assert!(!over);
            bytes.extend_from_slice(part);
            over = framing.take(&mut bytes, &mut seen)?;
        }
        Ok((seen, over))
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let bytes = b"5\r\nhello\r\n6;x=y\r\n\nworld\r\n0\r\n\r\n";
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let (seen, over) = read(Framing::Chunked(0), &[head, tail]).unwrap();
            assert!(over && seen.bytes() == 11, "cut at {cut}");
            assert!(seen.ends_with(b"hello\nworld"), "cut at {cut}");
        }
    }

    #[test]
    fn a_size_that_is_no_number_is_an_error() {
        let read = read(Framing::Chunked(0), &[b"zz\r\n"]);
        assert_eq!(read.err(), Some(Failure::Malformed));
    }

    #[test]
    fn heads_say_how_the_body_ends() {
        let framing = |head: &[u8]| Head::of(head).unwrap().map(|(head, _)| head.framing);
        let known = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(framing(known), Some(Framing::Length(3)));
        let open = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(framing(open), Some(Framing::UntilClosed));
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
