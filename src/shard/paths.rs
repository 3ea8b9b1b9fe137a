//! What a client may ask for, by method and path.

use crate::base::Str;
use crate::canon::{DialectName, Fault, FaultClass};
use crate::protocol::provider::Deed;
use crate::shard::cached;
use crate::shard::fetch::{self, Want};
use crate::shard::kept;
use crate::shard::task::Task;
use crate::shard::video;

/// What a request line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// A model is asked to do something.
    Do(Line),
    Models {
        dialect: DialectName,
    },
    Model {
        dialect: DialectName,
        name: String,
    },
    /// Something of answers that are stored here.
    Stored {
        dialect: DialectName,
        wanted: Box<fetch::Wanted>,
    },
    /// A WebSocket, of the native dialect or of Responses.
    Socket {
        dialect: DialectName,
    },
    Refused {
        dialect: DialectName,
        fault: Fault,
    },
}

/// What the request line says of a request, over its body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub dialect: DialectName,
    pub task: Task,
    pub stream: Option<bool>,
    /// Gemini names the model in the path.
    pub model: Option<Str>,
    /// A stream is a JSON array and not SSE (Gemini without `alt=sse`).
    pub array: bool,
    /// Of which video, where it is about one.
    pub video: Option<Box<video::paths::Wanted>>,
    /// A kept answer that something is asked of.
    pub kept: Option<Box<kept::Wanted>>,
    /// A cached prefix that something is asked of.
    pub cached: Option<Box<cached::paths::Wanted>>,
}

impl Line {
    pub fn new(dialect: DialectName, task: Task) -> Self {
        Self {
            dialect,
            task,
            stream: None,
            model: None,
            array: false,
            video: None,
            kept: None,
            cached: None,
        }
    }
}

/// What the head says beside method and path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside<'a> {
    pub query: &'a [u8],
    pub websocket: bool,
    /// The client sent `anthropic-version`: three families share the path of the models.
    pub anthropic: bool,
    /// The client showed its key as Google's do.
    pub google: bool,
}

/// Where a WebSocket is served.
const SOCKETS: [&[u8]; 2] = [b"/api/v1/ws", b"/v1/responses"];

/// Reads method and path.
pub(super) fn read(method: &[u8], path: &[u8], beside: Beside<'_>) -> Ask {
    let path = path
        .strip_suffix(b"/")
        .filter(|p| !p.is_empty())
        .unwrap_or(path);
    // Codex falls back at once on 426, and on nothing else (FIELD-BUGS 67).
    if beside.websocket && !SOCKETS.contains(&path) {
        return refused(
            dialect_of(path),
            FaultClass::UpgradeRequired,
            "no WebSocket is served at this path; use HTTP",
        );
    }
    let Some((needs, ask)) = fixed(path, beside)
        .or_else(|| stored(method, path, beside.query))
        .or_else(|| kept(method, path, beside.query))
        .or_else(|| gemini(path, beside.query))
        .or_else(|| video::paths::read(method, path, beside.query))
        .or_else(|| cached::paths::read(method, path, beside.query))
        .or_else(|| listed(path, beside))
    else {
        return unknown(path);
    };
    // HEAD asks for what GET would say, and writers leave out the body.
    if method == needs.as_bytes() || (method == b"HEAD" && needs == "GET") {
        return ask;
    }
    let said = format!(
        "{} is not served at this path; use {needs}",
        String::from_utf8_lossy(method)
    );
    refused(dialect_of(path), FaultClass::MethodNotAllowed, said)
}

/// Paths without anything to fill in, with their method.
fn fixed(path: &[u8], beside: Beside<'_>) -> Option<(&'static str, Ask)> {
    use DialectName::{Chat, Completions, Messages, Native, Responses};
    let of = |dialect, task| ("POST", Ask::Do(Line::new(dialect, task)));
    Some(match path {
        b"/v1/chat/completions" => of(Chat, Task::Generate),
        b"/v1/completions" => of(Completions, Task::Generate),
        // OpenAI docs, WebSocket mode, read 2026-11.
        b"/v1/responses" if beside.websocket => ("GET", Ask::Socket { dialect: Responses }),
        b"/v1/responses" => of(Responses, Task::Generate),
        b"/v1/responses/input_tokens" => of(Responses, Task::CountTokens),
        b"/v1/embeddings" => of(Chat, Task::Embed),
        b"/v1/audio/transcriptions" => of(Chat, Task::Transcribe),
        b"/v1/audio/translations" => of(Chat, Task::Translate),
        b"/v1/messages" => of(Messages, Task::Generate),
        b"/v1/messages/count_tokens" => of(Messages, Task::CountTokens),
        b"/api/v1/generate" => of(Native, Task::Generate),
        b"/api/v1/stream" => {
            let line = Line::new(Native, Task::Generate);
            let stream = Some(true);
            ("POST", Ask::Do(Line { stream, ..line }))
        }
        b"/v1/models" => {
            let dialect = listing(beside);
            ("GET", Ask::Models { dialect })
        }
        b"/api/v1/usage" => ("GET", usage(beside.query)),
        b"/api/v1/models" => ("GET", Ask::Models { dialect: Native }),
        b"/v1beta/models" => (
            "GET",
            Ask::Models {
                dialect: DialectName::Gemini,
            },
        ),
        b"/api/v1/ws" if beside.websocket => ("GET", Ask::Socket { dialect: Native }),
        b"/api/v1/ws" => (
            "GET",
            refused(
                Native,
                FaultClass::UpgradeRequired,
                "this path takes a WebSocket upgrade",
            ),
        ),
        _ => return None,
    })
}

fn listing(beside: Beside<'_>) -> DialectName {
    if beside.anthropic {
        DialectName::Messages
    } else if beside.google {
        DialectName::Gemini
    } else {
        DialectName::Chat
    }
}

/// `/v1beta/models/NAME:method`, and the same below the project and publisher that clients of Google Cloud name (Gemini API docs, read
/// 2026-08).
fn gemini(path: &[u8], query: &[u8]) -> Option<(&'static str, Ask)> {
    let path = std::str::from_utf8(path).ok()?;
    let version = path.strip_prefix("/v1")?;
    let (_, rest) = version.split_once("/models/")?;
    let (name, method) = rest.rsplit_once(':')?;
    let task = match method {
        "generateContent" | "streamGenerateContent" => Task::Generate,
        "countTokens" => Task::CountTokens,
        "embedContent" => Task::Embed,
        "batchEmbedContents" => Task::EmbedMany,
        _ => return None,
    };
    let streams = method == "streamGenerateContent";
    let sse = query.split(|b| *b == b'&').any(|pair| pair == b"alt=sse");
    let line = Line {
        stream: Some(streams),
        model: Some(percent_decode(name.as_bytes())?.into()),
        array: streams && !sse,
        ..Line::new(DialectName::Gemini, task)
    };
    Some(("POST", Ask::Do(line)))
}

/// `/v1/responses/ID` and what is below it (OpenAI API reference, responses, read 2026-11).
fn kept(method: &[u8], path: &[u8], query: &[u8]) -> Option<(&'static str, Ask)> {
    let rest = std::str::from_utf8(path.strip_prefix(b"/v1/responses/")?).ok()?;
    let (id, below) = match rest.split_once('/') {
        Some((id, below)) => (id, Some(below)),
        None => (rest, None),
    };
    // Ids are letters and digits of their provider. `compact` is a call of its own, which is not served.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) || id == "compact" {
        return None;
    }
    let (needs, deed) = match (below, method) {
        (None, b"GET" | b"HEAD") => ("GET", Deed::Fetch),
        (None, b"DELETE") => ("DELETE", Deed::Delete),
        (None, _) => ("GET or DELETE", Deed::Fetch),
        (Some("cancel"), _) => ("POST", Deed::Cancel),
        (Some("input_items"), _) => ("GET", Deed::Inputs),
        (Some(_), _) => return None,
    };
    let mut pairs = query.split(|b| *b == b'&');
    let stream = deed == Deed::Fetch && pairs.any(|pair| pair == b"stream=true");
    let wanted = kept::Wanted {
        deed,
        id: id.into(),
        query: without_key(query)?.into(),
    };
    let line = Line {
        stream: Some(stream),
        kept: Some(Box::new(wanted)),
        ..Line::new(DialectName::Responses, Task::Kept(deed))
    };
    Some((needs, Ask::Do(line)))
}

/// `/api/v1/responses` and what is below it; and answers of ours that are asked for as Responses does it.
fn stored(method: &[u8], path: &[u8], query: &[u8]) -> Option<(&'static str, Ask)> {
    let (dialect, rest) = match path.strip_prefix(b"/api/v1/responses") {
        Some(rest) => (DialectName::Native, rest),
        None => (DialectName::Responses, path.strip_prefix(b"/v1/responses")?),
    };
    let native = dialect == DialectName::Native;
    let rest = std::str::from_utf8(rest).ok()?;
    let of = |needs, id: &str, want| {
        let id = id.into();
        let wanted = Box::new(fetch::Wanted { id, want });
        Some((needs, Ask::Stored { dialect, wanted }))
    };
    let number = |name| value(query, name)?.parse().ok();
    if rest.is_empty() && native {
        let before = value(query, "before").unwrap_or_default().into();
        let most = number("limit").unwrap_or(LISTED).clamp(1, LISTED_MAX) as u16;
        return of("GET", "", Want::List { before, most });
    }
    let rest = rest.strip_prefix('/')?;
    let (id, below) = match rest.split_once('/') {
        Some((id, below)) => (id, below),
        None => (rest, ""),
    };
    let ours = id.starts_with(OURS) && id.len() <= ID_BYTES_MAX;
    if !(native || ours) || id.is_empty() {
        return None;
    }
    let streams = value(query, "stream") == Some("true");
    match (below, method) {
        ("events", _) if native => {
            let after = number("after");
            of(
                "GET",
                id,
                Want::Events {
                    after,
                    numbered: true,
                },
            )
        }
        ("", b"DELETE") => of("DELETE", id, Want::Delete),
        ("", b"GET" | b"HEAD") if native => of("GET", id, Want::Answer),
        ("", b"GET" | b"HEAD") if streams => {
            let after = number("starting_after");
            of(
                "GET",
                id,
                Want::Events {
                    after,
                    numbered: false,
                },
            )
        }
        ("", b"GET" | b"HEAD") => of("GET", id, Want::Response),
        ("", _) => of("GET or DELETE", id, Want::Answer),
        ("cancel", _) => of("POST", id, Want::Cancel),
        _ => None,
    }
}

/// `/api/v1/usage?since=7d&until=now&by=model,day`.
fn usage(query: &[u8]) -> Ask {
    let said = |name, default: &str| {
        let value = value(query, name).filter(|value| !value.is_empty());
        let value = value.unwrap_or(default);
        // A comma, and the colon of a time, as some clients write them.
        let plain = value.replace("%2C", ",").replace("%2c", ",");
        plain.replace("%3A", ":").replace("%3a", ":").into()
    };
    let want = Want::Usage {
        since: said("since", "24h"),
        until: said("until", "now"),
        by: said("by", ""),
    };
    let id = Str::new();
    Ask::Stored {
        dialect: DialectName::Native,
        wanted: Box::new(fetch::Wanted { id, want }),
    }
}

/// What the names of our own answers begin with.
const OURS: &str = "stk_";

/// Answers of one page, unless said otherwise, and at most.
const LISTED: u64 = 20;
const LISTED_MAX: u64 = 100;

/// The first value of `name` in a query, as it stands there: ids and numbers need no escapes.
fn value<'a>(query: &'a [u8], name: &str) -> Option<&'a str> {
    let query = std::str::from_utf8(query).ok()?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// Longer ones are no provider's.
const ID_BYTES_MAX: usize = 256;

/// A query without the client's key, which is ours to read alone.
pub(super) fn without_key(query: &[u8]) -> Option<String> {
    let query = std::str::from_utf8(query).ok()?;
    let pairs = query.split('&').filter(|pair| !pair.starts_with("key="));
    Some(pairs.collect::<Vec<_>>().join("&"))
}

/// One model of a list.
fn listed(path: &[u8], beside: Beside<'_>) -> Option<(&'static str, Ask)> {
    let (dialect, name) = match path.strip_prefix(b"/v1beta/models/") {
        Some(name) => (DialectName::Gemini, name),
        None => (listing(beside), path.strip_prefix(b"/v1/models/")?),
    };
    let name = percent_decode(name)?;
    Some(("GET", Ask::Model { dialect, name }))
}

fn unknown(path: &[u8]) -> Ask {
    let shown: String = String::from_utf8_lossy(path).chars().take(200).collect();
    refused(
        dialect_of(path),
        FaultClass::NotFound,
        format!("nothing is served at {shown}"),
    )
}

pub(super) fn refused(dialect: DialectName, class: FaultClass, message: impl Into<String>) -> Ask {
    Ask::Refused {
        dialect,
        fault: Fault::new(class, message),
    }
}

/// In whose words a refusal at `path` is said.
pub(super) fn dialect_of(path: &[u8]) -> DialectName {
    if path.starts_with(b"/v1/messages") {
        DialectName::Messages
    } else if path.starts_with(b"/v1/responses") {
        DialectName::Responses
    } else if [&b"/v1beta"[..], b"/v1/projects/", b"/v1/cachedContents"]
        .iter()
        .any(|googles| path.starts_with(googles))
    {
        DialectName::Gemini
    } else if path.starts_with(b"/v1/") {
        DialectName::Chat
    } else {
        DialectName::Native
    }
}

/// `None` for what is not UTF-8 in the end.
pub(super) fn percent_decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let hex = |i: usize| char::from(*text.get(i)?).to_digit(16);
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str, beside: Beside<'_>) -> Ask {
        read(method.as_bytes(), path.as_bytes(), beside)
    }

    fn class(method: &str, path: &str, websocket: bool) -> Option<FaultClass> {
        let beside = Beside {
            websocket,
            ..Beside::default()
        };
        match ask(method, path, beside) {
            Ask::Refused { fault, .. } => Some(fault.class),
            _ => None,
        }
    }

    #[test]
    fn paths_and_methods_are_told_apart() {
        assert_eq!(class("POST", "/v1/chat/completions", false), None);
        assert_eq!(class("POST", "/v1/messages/", false), None);
        assert_eq!(class("POST", "/v1/responses", false), None);
        assert_eq!(
            class("GET", "/v1/messages", false),
            Some(FaultClass::MethodNotAllowed)
        );
        assert_eq!(class("GET", "/v1/responses", true), None);
        assert_eq!(
            class("GET", "/v1/responses", false),
            Some(FaultClass::MethodNotAllowed)
        );
        assert_eq!(
            class("GET", "/v1/chat/completions", true),
            Some(FaultClass::UpgradeRequired)
        );
        for path in [
            "/v1/responses/compact",
            "/v1/responses/a%2Fb",
            "/v1/responses/a..",
            "/v1/responses/resp_1/other",
            "/v1/responses/resp_1/cancel/x",
        ] {
            assert_eq!(class("POST", path, false), Some(FaultClass::NotFound));
        }
        assert_eq!(
            class("GET", "/api/v1/ws", false),
            Some(FaultClass::UpgradeRequired)
        );
        assert_eq!(class("GET", "/api/v1/ws", true), None);
        assert_eq!(class("GET", "/", false), Some(FaultClass::NotFound));
        assert_eq!(class("HEAD", "/v1/models", false), None);
    }

    #[test]
    fn a_kept_answer_is_asked_for_by_its_id() {
        for (method, path, query, deed, stream, left) in [
            ("GET", "resp_1", "", Deed::Fetch, false, ""),
            (
                "GET",
                "resp_1",
                "key=sk&stream=true&starting_after=4",
                Deed::Fetch,
                true,
                "stream=true&starting_after=4",
            ),
            (
                "DELETE",
                "resp_1",
                "stream=true",
                Deed::Delete,
                false,
                "stream=true",
            ),
            ("POST", "resp_1/cancel", "", Deed::Cancel, false, ""),
            (
                "GET",
                "resp_1/input_items",
                "limit=2&after=msg_1",
                Deed::Inputs,
                false,
                "limit=2&after=msg_1",
            ),
        ] {
            let beside = Beside {
                query: query.as_bytes(),
                ..Beside::default()
            };
            let Ask::Do(line) = ask(method, &format!("/v1/responses/{path}"), beside) else {
                panic!("{method} {path} is not served")
            };
            let wanted = line.kept.expect("an answer");
            assert_eq!((line.task, line.stream), (Task::Kept(deed), Some(stream)));
            assert_eq!((&*wanted.id, &*wanted.query), ("resp_1", left));
        }
        let wrong = |path| class("PUT", path, false);
        assert_eq!(wrong("/v1/responses/r"), Some(FaultClass::MethodNotAllowed));
        assert_eq!(
            wrong("/v1/responses/r/cancel"),
            Some(FaultClass::MethodNotAllowed)
        );
    }

    #[test]
    fn gemini_says_model_and_form_in_its_path() {
        let line = |path: &str, query: &'static [u8]| match ask(
            "POST",
            path,
            Beside {
                query,
                ..Beside::default()
            },
        ) {
            Ask::Do(line) => (line.task, line.stream, line.array, line.model),
            other => panic!("{other:?}"),
        };
        let name = |n: &'static str| Some(Str::from_static(n));
        assert_eq!(
            line("/v1beta/models/gemini-x:generateContent", b""),
            (Task::Generate, Some(false), false, name("gemini-x"))
        );
        assert_eq!(
            line(
                "/v1beta/models/a%2Fb:streamGenerateContent",
                b"key=x&alt=sse"
            ),
            (Task::Generate, Some(true), false, name("a/b"))
        );
        let vertex =
            "/v1beta1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent";
        assert_eq!(
            line(vertex, b""),
            (Task::Generate, Some(true), true, name("g"))
        );
        assert_eq!(
            line("/v1beta/models/e:batchEmbedContents", b""),
            (Task::EmbedMany, Some(false), false, name("e"))
        );
        assert_eq!(
            class("POST", "/v1beta/models/m:tuneContent", false),
            Some(FaultClass::MethodNotAllowed)
        );
    }

    #[test]
    fn a_models_name_may_be_escaped() {
        let beside = Beside {
            anthropic: true,
            ..Beside::default()
        };
        assert_eq!(
            ask("GET", "/v1/models/meta%2Fllama-3", beside),
            Ask::Model {
                dialect: DialectName::Messages,
                name: "meta/llama-3".to_owned()
            }
        );
        assert_eq!(percent_decode(b"%zz%4"), Some("%zz%4".to_owned()));
        assert_eq!(percent_decode(b"%ff"), None);
    }
}
