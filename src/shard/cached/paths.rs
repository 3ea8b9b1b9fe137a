//! What may be asked about cached prefixes, by method and path: Google's `cachedContents`, and the same in a project of Google Cloud.

use crate::base::Str;
use crate::canon::DialectName;
use crate::protocol::dialect::gemini::cached::id_of;
use crate::protocol::provider::CacheDeed;
use crate::shard::paths::{Ask, Line, percent_decode, without_key};
use crate::shard::task::Task;

/// What a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct Wanted {
    /// `projects/P/locations/L/` as a client of Google Cloud wrote it, with which all names that it is told begin; empty for others.
    pub root: Str,
    /// Of the prefix; empty where none is named.
    pub id: Str,
    /// As the client wrote it, without a key that it shows there.
    pub query: Str,
}

/// Reads `/v1beta/cachedContents`, `…/cachedContents/ID`, and both below the project and location that clients of Google Cloud name (Gemini
/// API and Vertex AI docs, read 2026-11). `None` for any other path.
pub(in crate::shard) fn read(
    method: &[u8],
    path: &[u8],
    query: &[u8],
) -> Option<(&'static str, Ask)> {
    let path = std::str::from_utf8(path).ok()?;
    let (version, rest) = path.strip_prefix("/v1")?.split_once('/')?;
    if !matches!(version, "" | "beta" | "beta1") {
        return None;
    }
    let (root, name) = rest.split_at(rest.find("cachedContents")?);
    if !is_root(root) {
        return None;
    }
    let id = match name.strip_prefix("cachedContents")? {
        "" => None,
        below => Some(id_of(below.strip_prefix('/')?).filter(|id| below[1..] == **id)?),
    };
    let (needs, task) = match (id, method) {
        (None, b"GET" | b"HEAD") => ("GET", Task::CacheList),
        (None, b"POST") => ("POST", Task::Cached(CacheDeed::Create)),
        (None, _) => ("GET or POST", Task::CacheList),
        (Some(_), b"GET" | b"HEAD") => ("GET", Task::Cached(CacheDeed::Get)),
        (Some(_), b"PATCH") => ("PATCH", Task::Cached(CacheDeed::Update)),
        (Some(_), b"DELETE") => ("DELETE", Task::Cached(CacheDeed::Delete)),
        (Some(_), _) => ("GET, PATCH or DELETE", Task::Cached(CacheDeed::Get)),
    };
    let wanted = Wanted {
        root: root.into(),
        id: id.unwrap_or_default().into(),
        query: without_key(query)?.into(),
    };
    let line = Line {
        stream: Some(false),
        cached: Some(Box::new(wanted)),
        ..Line::new(DialectName::Gemini, task)
    };
    Some((needs, Ask::Do(line)))
}

/// Nothing, or `projects/P/locations/L/`.
fn is_root(root: &str) -> bool {
    let mut parts = root.split('/');
    let good = |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.len() <= 128);
    root.is_empty()
        || parts.next() == Some("projects")
            && good(parts.next())
            && parts.next() == Some("locations")
            && good(parts.next())
            && parts.next() == Some("")
            && parts.next().is_none()
}

/// The value of `name` in `query`, with its escapes undone; `None` where it is missing or empty.
pub(super) fn said(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    percent_decode(value.as_bytes()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_prefixes_at_both_of_googles_doors() {
        for root in ["", "projects/p/locations/us-east5/"] {
            for (method, below, needs, task, id) in [
                ("GET", "", "GET", Task::CacheList, ""),
                ("HEAD", "", "GET", Task::CacheList, ""),
                ("POST", "", "POST", Task::Cached(CacheDeed::Create), ""),
                ("PUT", "", "GET or POST", Task::CacheList, ""),
                ("GET", "/a-1", "GET", Task::Cached(CacheDeed::Get), "a-1"),
                ("PATCH", "/a", "PATCH", Task::Cached(CacheDeed::Update), "a"),
                (
                    "DELETE",
                    "/a",
                    "DELETE",
                    Task::Cached(CacheDeed::Delete),
                    "a",
                ),
                (
                    "POST",
                    "/a",
                    "GET, PATCH or DELETE",
                    Task::Cached(CacheDeed::Get),
                    "a",
                ),
            ] {
                let path = format!("/v1beta/{root}cachedContents{below}");
                let read = read(method.as_bytes(), path.as_bytes(), b"key=sk&updateMask=ttl");
                let Some((said, Ask::Do(line))) = read else {
                    panic!("{method} {path}")
                };
                let wanted = line.cached.expect("a prefix");
                assert_eq!((said, line.task), (needs, task), "{method} {path}");
                assert_eq!((&*wanted.root, &*wanted.id), (root, id));
                assert_eq!(&*wanted.query, "updateMask=ttl");
            }
        }
        for other in [
            "/v1beta/cachedContents/a/b",
            "/v1beta/cachedContents/..",
            "/v1beta/cachedContentsx",
            "/v1beta/other/cachedContents",
            "/v1beta/projects/p/cachedContents",
            "/v1beta/projects//locations/l/cachedContents",
            "/v2/cachedContents",
            "/v1/cachedContents/cachedContents/a",
        ] {
            assert!(read(b"GET", other.as_bytes(), b"").is_none(), "{other}");
        }
        assert_eq!(
            said("a=1&pageToken=5-x%2D", "pageToken").as_deref(),
            Some("5-x-")
        );
        assert_eq!(said("pageToken=", "pageToken"), None);
    }
}
