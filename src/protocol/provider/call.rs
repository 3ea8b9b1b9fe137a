//! What a call is made of: asked, addressed, signed, framed.
//!
//! On the hot path: most header values are words known beforehand and are borrowed, not copied.

use crate::base::{Secret, WallTime};
use crate::canon::DialectName;
use crate::protocol::provider::{Operation, Place};
use bytes::Bytes;
use smallvec::SmallVec;
use std::borrow::Cow;

/// What a call is made of, beside its body and credential.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub operation: Operation,
    pub dialect: DialectName,
    pub stream: bool,
    /// The provider's own name of the model.
    pub model: &'a str,
    pub place: &'a Place,
    pub client: &'a ClientHeaders<'a>,
    /// What calls of one conversation have in common, for providers that steer them to the machine that holds its cache. Told on as it
    /// is where it fits into a header, else as a hash: whoever does not want to show a client's word hashes it first.
    pub affinity: Option<&'a str>,
    /// For `Operation::VideoPoll`, `Operation::Kept` and `Operation::Cached`: the name as the provider gave it; else empty.
    /// A query may follow it after `?`.
    pub operation_name: &'a str,
}

/// What of a client's own headers a provider may see or need: never its credentials.
#[derive(Clone, Debug, Default)]
pub struct ClientHeaders<'a> {
    pub anthropic_version: Option<&'a str>,
    pub anthropic_beta: Option<&'a str>,
    pub openai_beta: Option<&'a str>,
    /// `http-referer` and `x-openrouter-title` (or the older `x-title`), by which OpenRouter's clients say which program they are.
    pub openrouter_referer: Option<&'a str>,
    pub openrouter_title: Option<&'a str>,
}

/// Names (lower case) and values of headers.
pub type HeaderList = SmallVec<[(Cow<'static, str>, Cow<'static, str>); 6]>;

/// What a call of a provider looks like, beside its body.
#[derive(Clone, Debug, PartialEq)]
pub struct CallHead {
    pub method: &'static str,
    /// Path and query, to be appended to the base URL's path.
    pub path: Cow<'static, str>,
    /// Everything but `host`, `content-length` and what HTTP itself adds.
    pub headers: HeaderList,
}

impl CallHead {
    /// A call that sends JSON and wants JSON back, or a stream of events.
    #[must_use]
    pub fn post(path: impl Into<Cow<'static, str>>, stream: bool) -> Self {
        let mut head = Self {
            method: "POST",
            path: path.into(),
            headers: HeaderList::new(),
        };
        head.add("content-type", "application/json");
        head.add(
            "accept",
            if stream {
                "text/event-stream"
            } else {
                "application/json"
            },
        );
        head
    }

    /// A call without a body.
    #[must_use]
    pub fn get(path: impl Into<Cow<'static, str>>) -> Self {
        Self::bare("GET", path, false)
    }

    /// The same by any method.
    #[must_use]
    pub fn bare(method: &'static str, path: impl Into<Cow<'static, str>>, stream: bool) -> Self {
        let mut head = Self {
            method,
            path: path.into(),
            headers: HeaderList::new(),
        };
        let wanted = ["application/json", "text/event-stream"];
        head.add("accept", wanted[usize::from(stream)]);
        head
    }

    pub fn add(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        self.headers.push((Cow::Borrowed(name), value.into()));
    }

    /// Adds `name` where the client said something; nothing else.
    pub fn pass(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value.to_owned());
        }
    }

    /// Adds the id that keeps a conversation where its cache is. No id may break a header (RFC 9110, section 5.5) or be longer than what all who
    /// read one take (OpenRouter: 256).
    pub fn steer(&mut self, name: &'static str, affinity: Option<&str>) {
        const LONGEST: usize = 256;
        match affinity {
            None | Some("") => {}
            Some(id) if id.len() <= LONGEST && id.bytes().all(|b| b.is_ascii_graphic()) => {
                self.add(name, id.to_owned());
            }
            Some(id) => self.add(name, format!("{:016x}", fnv(id))),
        }
    }

    /// Adds a key or token as a bearer (RFC 6750, section 2.1).
    pub fn bearer(&mut self, secret: &Secret) {
        self.add("authorization", format!("Bearer {}", secret.expose()));
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| *n == name)?;
        Some(&found.1)
    }
}

/// FNV-1a: the same on every machine and in every version, as affinity needs; collisions cost a warm cache, nothing else.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `text` as part of a path: what would end the path or the segment is percent-encoded (RFC 3986, section 3.3); the `@`, `:` and `/` of models'
/// names stay.
#[must_use]
pub(super) fn in_path(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'@' | b':' | b'/')
    };
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(out)
}

/// How a body differs from its dialect's own, at the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Members to be taken out.
    pub remove: &'static [&'static str],
    /// Members to be put in, as JSON text without the braces: `"a":"b"` or `"a":"b","c":[1]`. Never empty.
    pub insert: Cow<'static, str>,
}

/// What a signature covers beside the head.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// As the `host` header will say it.
    pub host: &'a str,
    /// The base URL's path, which stands before the head's.
    pub base_path: &'a str,
    /// The body in the slices in which it will be sent.
    pub body: &'a [Bytes],
    pub now: WallTime,
    pub place: &'a Place,
}

/// How an answer is cut into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Sse,
    /// `application/vnd.amazon.eventstream`.
    EventStream(FramesOf),
    /// One body, one JSON value.
    Whole,
}

/// What an AWS event stream's frames hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramesOf {
    /// `chunk` frames with the model's own events inside, in base64.
    Invoke,
    /// Converse's events.
    Converse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affinity_is_never_a_broken_header() {
        let steered = |id: Option<&str>| {
            let mut head = CallHead::get("/");
            head.steer("x-id", id);
            head.header("x-id").map(str::to_owned)
        };
        assert_eq!(steered(Some("conv-1")).as_deref(), Some("conv-1"));
        assert_eq!((steered(None), steered(Some(""))), (None, None));
        for wild in ["a\r\nx-key: 1", "späße", &"x".repeat(257)] {
            let hash = steered(Some(wild)).expect("a hash");
            assert_eq!(hash.len(), 16, "{hash}");
            assert_eq!(Some(hash), steered(Some(wild)), "the same each time");
        }
    }

    #[test]
    fn a_models_name_cannot_leave_its_place_in_the_path() {
        for (name, path) in [
            ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929"),
            ("a?b#c;d e%", "a%3Fb%23c%3Bd%20e%25"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(in_path(name), path);
        }
    }
}
