//! What may be asked about videos, by method and path: Google's operations and files, OpenAI's `/v1/videos`.

use crate::base::Str;
use crate::canon::{DialectName, FaultClass};
use crate::protocol::dialect::gemini::video_name::{OperationName, Ticket, file_id};
use crate::shard::paths::{Ask, Line, percent_decode, refused};
use crate::shard::task::{Deed, Task};

/// What a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct Wanted {
    /// What a client of Google Cloud names before `models/`, which its operations shall begin with as well.
    pub root: Str,
    pub name: Name,
    /// Which of a job's videos, from 0.
    pub sample: usize,
    /// Which form of an OpenAI video: `variant=thumbnail`.
    pub query: Str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum Name {
    /// Of a start; and of an operation that the body names.
    #[default]
    None,
    /// Google's, by the model as the client names it (empty where it did not) and the id.
    Operation { model: Str, id: Str },
    /// A job at Google in OpenAI's words.
    Ticket(Box<Ticket>),
    /// OpenAI's own.
    Video(Str),
    /// Google's.
    File(Str),
}

/// Reads a path about videos, with its method. `None` for any other.
pub(in crate::shard) fn read(
    method: &[u8],
    path: &[u8],
    query: &[u8],
) -> Option<(&'static str, Ask)> {
    let path = std::str::from_utf8(path).ok()?;
    match path.strip_prefix("/v1/videos") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            Some(openais(method, rest.trim_start_matches('/'), query))
        }
        _ => googles(path),
    }
}

fn ask(dialect: DialectName, deed: Deed, wanted: Wanted) -> Ask {
    Ask::Do(Line {
        stream: Some(false),
        video: Some(Box::new(wanted)),
        ..Line::new(dialect, Task::Video(deed))
    })
}

/// OpenAI API reference, Videos, read 2026-08.
fn openais(method: &[u8], rest: &str, query: &[u8]) -> (&'static str, Ask) {
    let no = |class, message: &str| refused(DialectName::Chat, class, message);
    let of = |deed, id: &str, query: &[u8]| match video(id, query) {
        Some(wanted) => ask(DialectName::Chat, deed, wanted),
        None => no(FaultClass::NotFound, "this is no id of a video"),
    };
    match rest.split_once('/') {
        None if rest.is_empty() && method == b"GET" => (
            "GET",
            no(
                FaultClass::NotFound,
                "no list of videos is kept by this router; ask for each by its id",
            ),
        ),
        None if rest.is_empty() => (
            "POST",
            ask(DialectName::Chat, Deed::Start, Wanted::default()),
        ),
        None if method == b"DELETE" => ("DELETE", of(Deed::Delete, rest, b"")),
        None if matches!(rest, "characters" | "edits" | "extensions") => {
            ("POST", no(FaultClass::NotFound, CHANGED))
        }
        None => ("GET", of(Deed::Poll, rest, b"")),
        Some((id, "content")) => ("GET", of(Deed::Content, id, query)),
        Some((_, "remix")) => ("POST", no(FaultClass::NotFound, CHANGED)),
        Some(_) => (
            "GET",
            no(
                FaultClass::NotFound,
                "nothing is served at this path below a video",
            ),
        ),
    }
}

const CHANGED: &str = "videos are not remixed, edited or extended through /v1/videos here; with a model of Google's a video is gone on with by `instances[0].video` at :predictLongRunning";

fn video(id: &str, query: &[u8]) -> Option<Wanted> {
    let id = percent_decode(id.as_bytes())?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if id.is_empty() || id.len() > 2_048 || !id.bytes().all(plain) {
        return None;
    }
    let said = |name: &str| {
        let mut pairs = query
            .split(|b| *b == b'&')
            .filter_map(|p| std::str::from_utf8(p).ok());
        pairs.find_map(|p| p.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let variant = said("variant").filter(|v| v.bytes().all(plain));
    Some(Wanted {
        name: match Ticket::read(&id) {
            Some(ticket) => Name::Ticket(Box::new(ticket)),
            None => Name::Video(id.into()),
        },
        sample: said("sample").and_then(|s| s.parse().ok()).unwrap_or(0),
        query: variant.map_or(Str::new(), |v| format!("variant={v}").into()),
        ..Wanted::default()
    })
}

/// `/v1beta/models/M:predictLongRunning`, `…/models/M/operations/ID`, `…/models/M:fetchPredictOperation`, `/v1beta/files/ID:download`, and
/// the first three below the project and publisher that clients of Google Cloud name (Gemini API and Vertex AI docs, read 2026-08).
fn googles(path: &str) -> Option<(&'static str, Ask)> {
    let (_, rest) = path.strip_prefix("/v1")?.split_once('/')?;
    let of = |method, deed, wanted| Some((method, ask(DialectName::Gemini, deed, wanted)));
    if rest.starts_with("files/") && rest.ends_with(":download") {
        let name = Name::File(file_id(rest)?.into());
        return of(
            "GET",
            Deed::Content,
            Wanted {
                name,
                ..Wanted::default()
            },
        );
    }
    // A client that kept the id alone.
    if let Some(id) = rest.strip_prefix("operations/") {
        let whole = format!("models/_/operations/{id}");
        let id = Str::from(OperationName::read(&whole)?.id);
        let name = Name::Operation {
            model: Str::new(),
            id,
        };
        return of(
            "GET",
            Deed::Poll,
            Wanted {
                name,
                ..Wanted::default()
            },
        );
    }
    if let Some(known) = OperationName::read(rest) {
        let name = Name::Operation {
            model: percent_decode(known.model.as_bytes())?.into(),
            id: known.id.into(),
        };
        let root = known.root.into();
        return of(
            "GET",
            Deed::Poll,
            Wanted {
                root,
                name,
                ..Wanted::default()
            },
        );
    }
    let (root, deed, model) = method_of(rest)?;
    let wanted = Wanted {
        root: root.into(),
        ..Wanted::default()
    };
    let (needs, Ask::Do(line)) = of("POST", deed, wanted)? else {
        return None;
    };
    let model = Some(percent_decode(model.as_bytes())?.into());
    Some((needs, Ask::Do(Line { model, ..line })))
}

/// Root, deed and model of `[…/]models/M:method`.
fn method_of(rest: &str) -> Option<(&str, Deed, &str)> {
    let (before, method) = rest.rsplit_once(':')?;
    let deed = match method {
        "predictLongRunning" => Deed::Start,
        "fetchPredictOperation" => Deed::Poll,
        _ => return None,
    };
    let at = match before.rfind("/models/") {
        Some(at) => at + 1,
        None => before.starts_with("models/").then_some(0)?,
    };
    let (root, model) = before.split_at(at);
    Some((root, deed, model.strip_prefix("models/")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deed, what it is about, and the model that the path names; `None` for a refusal.
    type Done = Option<(Deed, Wanted, Option<Str>)>;

    fn asked(method: &str, path: &str, query: &str) -> (&'static str, Done) {
        let (needs, ask) = read(method.as_bytes(), path.as_bytes(), query.as_bytes()).expect(path);
        let done = match ask {
            Ask::Do(line) => {
                let Task::Video(deed) = line.task else {
                    panic!("{path}")
                };
                Some((deed, *line.video.expect("wanted"), line.model))
            }
            _ => None,
        };
        (needs, done)
    }

    #[test]
    fn googles_paths_say_model_root_and_operation() {
        let cloud = "projects/p/locations/l/publishers/google/";
        for root in ["", cloud] {
            let (needs, done) = asked(
                "POST",
                &format!("/v1beta/{root}models/veo:predictLongRunning"),
                "",
            );
            let (deed, wanted, model) = done.expect("served");
            assert_eq!((needs, deed, &*wanted.root), ("POST", Deed::Start, root));
            assert_eq!(model.as_deref(), Some("veo"));
            let (needs, done) = asked(
                "GET",
                &format!("/v1beta1/{root}models/veo/operations/a-1"),
                "",
            );
            let (deed, wanted, _) = done.expect("served");
            assert_eq!((needs, deed, &*wanted.root), ("GET", Deed::Poll, root));
            let name = Name::Operation {
                model: "veo".into(),
                id: "a-1".into(),
            };
            assert_eq!(wanted.name, name);
        }
        let (_, done) = asked(
            "POST",
            &format!("/v1/{cloud}models/veo:fetchPredictOperation"),
            "",
        );
        assert_eq!(done.expect("served").0, Deed::Poll);
        let (_, done) = asked("GET", "/v1beta/operations/a", "");
        assert_eq!(
            done.expect("served").1.name,
            Name::Operation {
                model: "".into(),
                id: "a".into()
            }
        );
        let (_, done) = asked("GET", "/v1beta/files/abc:download", "alt=media");
        assert_eq!(done.expect("served").1.name, Name::File("abc".into()));
        for other in [
            "/v1beta/models/m:generateContent",
            "/v1/models/m",
            "/v1beta/files/abc",
            "/v1beta/files/..:download",
        ] {
            assert!(read(b"GET", other.as_bytes(), b"").is_none(), "{other}");
        }
    }

    #[test]
    fn openais_paths_name_videos_and_what_is_not_served_says_so() {
        let (needs, done) = asked("POST", "/v1/videos", "");
        assert_eq!((needs, done.map(|d| d.0)), ("POST", Some(Deed::Start)));
        let (_, done) = asked(
            "GET",
            "/v1/videos/video_1/content",
            "variant=thumbnail&sample=2",
        );
        let (deed, wanted, _) = done.expect("served");
        assert_eq!(
            (deed, wanted.sample, &*wanted.query),
            (Deed::Content, 2, "variant=thumbnail")
        );
        assert_eq!(wanted.name, Name::Video("video_1".into()));
        let ticket = Ticket {
            model: "veo".into(),
            id: "a".into(),
            created: 1,
            seconds: 8,
            size: "1280x720".into(),
        };
        let (_, done) = asked("DELETE", &format!("/v1/videos/{}", ticket.write()), "");
        let (deed, wanted, _) = done.expect("served");
        assert_eq!(
            (deed, wanted.name),
            (Deed::Delete, Name::Ticket(Box::new(ticket)))
        );
        for (method, path) in [
            ("GET", "/v1/videos"),
            ("POST", "/v1/videos/video_1/remix"),
            ("GET", "/v1/videos/a%2Fb"),
            ("GET", "/v1/videos/video_1/other"),
        ] {
            assert_eq!(asked(method, path, "").1, None, "{path}");
        }
    }
}
