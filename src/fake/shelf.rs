//! Prefixes that are kept under names (Google's `cachedContents`; Gemini API reference, Caching, read 2026-11): made, shown, prolonged,
//! deleted, and read by requests that name them. Billed by the token when they are made, and by the time when they end.
//!
//! Not here: what a prefix says. Answers depend on a prompt's length alone as far as caches go, so only that is kept.

use super::Fake;
use super::answer::letters;
use super::ask::Wrong;
use super::book::{Billed, Ended, Entry, Wire};
use super::fault::Faults;
use super::gemini_ask::{either, prefix};
use super::head::plain;
use super::json::{Tree, quoted};
use super::limit::rfc3339;
use super::refuse::Refusal;
use super::reply::Live;
use super::route::{Deed, Platform, query_value};
use super::serve::Caller;
use crate::base::{Instant, Now, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// One prefix.
struct Kept {
    /// Whole, as it is told.
    name: String,
    organisation: String,
    key: String,
    /// As it is told: with what stands before it.
    model: String,
    display: Option<String>,
    tokens: u64,
    begun: Instant,
    ends: Instant,
    created: WallTime,
    updated: WallTime,
    expires: WallTime,
}

/// All of them, by the last part of their names.
#[derive(Default)]
pub(super) struct Shelf {
    kept: BTreeMap<String, Kept>,
}

const KEPT_MAX: usize = 1_024;
/// Where nobody says for how long.
const LIVES: Duration = Duration::from_secs(3_600);

impl Kept {
    fn told(&self) -> String {
        let display = self
            .display
            .as_deref()
            .map(|name| format!("\"displayName\":{},", quoted(name)));
        format!(
            "{{\"name\":{},\"model\":{},{}\"createTime\":\"{}\",\"updateTime\":\"{}\",\"expireTime\":\"{}\",\"usageMetadata\":{{\"totalTokenCount\":{}}}}}",
            quoted(&self.name),
            quoted(&self.model),
            display.unwrap_or_default(),
            time(self.created),
            time(self.updated),
            time(self.expires),
            self.tokens
        )
    }

    /// The entry of the book when it ends at `end`.
    fn bill(self, end: Instant) -> Entry {
        let millis = end.min(self.ends).since(self.begun).as_millis() as u64;
        Entry {
            model: bare(&self.model).to_owned(),
            id: self.name,
            key: self.key,
            organisation: self.organisation,
            wire: Wire::Gemini,
            billed: Billed {
                kept_token_millis: self.tokens.saturating_mul(millis),
                ..Billed::default()
            },
            ended: Ended::Complete,
            told: true,
        }
    }
}

/// With microseconds, as Google writes them.
fn time(at: WallTime) -> String {
    let whole = rfc3339(at.seconds());
    let micros = at.0.rem_euclid(1_000_000_000) / 1_000;
    format!("{}.{micros:06}Z", whole.trim_end_matches('Z'))
}

fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

impl Shelf {
    /// Bills of what has ended by itself.
    pub(super) fn bills(&mut self, now: Instant) -> Vec<Entry> {
        let over = self.kept.iter().filter(|(_, kept)| kept.ends <= now);
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        let over = over.iter().filter_map(|id| self.kept.remove(id));
        over.map(|kept| kept.bill(now)).collect()
    }

    fn own(&mut self, now: Instant, caller: &Caller<'_>, name: &str) -> Result<&mut Kept, Refusal> {
        let kept = self.kept.get_mut(bare(name));
        let own = kept.filter(|kept| kept.organisation == caller.organisation && now < kept.ends);
        own.ok_or_else(Refusal::no_cache)
    }

    /// How long the prefix of that name is, for a request of `model`.
    pub(super) fn reads(
        &mut self,
        now: Instant,
        caller: &Caller<'_>,
        name: &str,
        model: &str,
    ) -> Result<u64, Refusal> {
        // A whole name, or nothing: here as at Google an id alone is none.
        if !name.contains("cachedContents/") {
            return Err(Refusal::bad_request(Wrong::plain(
                "Invalid CachedContent name: it must be of the form cachedContents/{id}.",
            )));
        }
        let kept = self.own(now, caller, name)?;
        if kept.name != name {
            return Err(Refusal::no_cache());
        }
        if bare(&kept.model) != model {
            return Err(Refusal::bad_request(Wrong::plain(format!(
                "Model used by GenerateContent request (models/{model}) and CachedContent ({}) has to be the same.",
                kept.model
            ))));
        }
        Ok(kept.tokens)
    }
}

impl Fake {
    pub(super) fn shelved(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let json = |body: String| Ok(plain(now.instant, caller, body, faults));
        self.bill(now);
        match (&caller.route.deed, caller.method) {
            (Deed::Caches, "POST") => self.shelve(now, caller, tree, faults),
            (Deed::Caches, _) => json(self.shelf.page(caller)),
            (Deed::Cache(id), "PATCH") => {
                let lives = lives(tree, now)?.ok_or_else(|| {
                    let said = "* UpdateCachedContentRequest.cached_content.expiration: required oneof field 'expiration' must have one initialized field";
                    Refusal::bad_request(Wrong::plain(said))
                })?;
                let kept = self.shelf.own(now.instant, caller, id)?;
                (kept.ends, kept.expires) = (now.instant + lives, now.wall + lives);
                kept.updated = now.wall;
                json(kept.told())
            }
            (Deed::Cache(id), "DELETE") => {
                self.shelf.own(now.instant, caller, id)?;
                if let Some(gone) = self.shelf.kept.remove(id) {
                    self.book.write(gone.bill(now.instant));
                }
                json("{}".to_owned())
            }
            (Deed::Cache(id), _) => json(self.shelf.own(now.instant, caller, id)?.told()),
            _ => Err(Refusal::no_path(caller.wire, caller.method, caller.path)),
        }
    }

    fn shelve(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let whole = tree.text_of("model").unwrap_or("");
        check(caller, tree, whole)?;
        let model = self.known_model(Wire::Gemini, bare(whole))?;
        let ask = prefix(tree, model).map_err(Refusal::bad_request)?;
        let lives = lives(tree, now)?.unwrap_or(LIVES);
        let (tokens, least) = (ask.prompt.tokens(), self.cache.min_tokens(model));
        if tokens < least {
            return Err(Refusal::bad_request(Wrong::plain(format!(
                "Cached content is too small. total_token_count={tokens}, min_total_token_count={least}"
            ))));
        }
        if self.shelf.kept.len() >= KEPT_MAX {
            return Err(Refusal::crowded(Wire::Gemini));
        }
        let id = letters(caller.salt, 24).to_lowercase();
        let root = match (
            caller.route.platform,
            caller.path.split_once("cachedContents"),
        ) {
            (Platform::Vertex, Some((before, _))) => before
                .trim_start_matches('/')
                .split_once('/')
                .map_or("", |(_, root)| root),
            _ => "",
        };
        let before = whole.strip_suffix(bare(whole)).unwrap_or("");
        let kept = Kept {
            name: format!("{root}cachedContents/{id}"),
            organisation: caller.organisation.clone(),
            key: caller.key.clone(),
            model: format!("{before}{model}"),
            display: either(tree, "displayName")
                .and_then(Tree::text)
                .map(str::to_owned),
            tokens,
            begun: now.instant,
            ends: now.instant + lives,
            created: now.wall,
            updated: now.wall,
            expires: now.wall + lives,
        };
        let mut live = plain(now.instant, caller, kept.told(), faults);
        live.booked = true;
        live.entry.model = model.to_owned();
        live.entry.id.clone_from(&kept.name);
        live.entry.billed.uncached = tokens;
        self.shelf.kept.insert(id, kept);
        Ok(live)
    }
}

/// What Google takes of a prefix, and how it names the model at each of its doors.
fn check(caller: &Caller<'_>, tree: &Tree<'_>, model: &str) -> Result<(), Refusal> {
    const FIELDS: [&str; 9] = [
        "model",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "ttl",
        "expireTime",
        "displayName",
        "kmsKeyName",
    ];
    let wrong = |said: String| Err(Refusal::bad_request(Wrong::plain(said)));
    let Tree::Object(entries) = tree else {
        return wrong("Invalid JSON payload received. Expected a message object.".to_owned());
    };
    let known = |key: &str| {
        FIELDS.iter().any(|field| {
            let value = either(tree, field);
            value.is_some_and(|v| tree.get(key).is_some_and(|k| std::ptr::eq(k, v)))
        })
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !known(key)) {
        return wrong(format!(
            "Invalid JSON payload received. Unknown name \"{key}\": Cannot find field."
        ));
    }
    let good = match caller.route.platform {
        Platform::Vertex => {
            model.starts_with("projects/") && model.contains("/publishers/google/models/")
        }
        _ => model.starts_with("models/"),
    };
    match good {
        true => Ok(()),
        false => wrong(format!(
            "* CreateCachedContentRequest.model: unexpected model name format: {model}"
        )),
    }
}

/// For how long from now on; `None` where nothing is said.
fn lives(tree: &Tree<'_>, now: Now) -> Result<Option<Duration>, Refusal> {
    let wrong = |name: &str| {
        let said = format!("Invalid value at 'cached_content.{name}'");
        Refusal::bad_request(Wrong::plain(said))
    };
    if let Some(ttl) = tree.get("ttl") {
        let seconds = ttl
            .text()
            .and_then(|t| t.strip_suffix('s')?.parse::<f64>().ok());
        let lives = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        return lives.map(Some).ok_or_else(|| wrong("ttl"));
    }
    let Some(at) = either(tree, "expireTime").and_then(Tree::text) else {
        return Ok(None);
    };
    let at = unix(at).ok_or_else(|| wrong("expire_time"))?;
    let left = u64::try_from(at - now.wall.seconds()).map_err(|_| wrong("expire_time"))?;
    Ok(Some(Duration::from_secs(left)))
}

/// Whole seconds since 1970 of a time in UTC. Years begin in March here, so that the day a leap year has more is its last.
fn unix(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year;
    // 1970 began so many days after 1 March of the year 0.
    Some((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}

impl Shelf {
    /// One page of what is the caller's, in the order of names.
    fn page(&self, caller: &Caller<'_>) -> String {
        let size = query_value(caller.query, "pageSize").and_then(|s| s.parse().ok());
        let size: usize = size.filter(|size| *size > 0).unwrap_or(100);
        let after = query_value(caller.query, "pageToken").unwrap_or("");
        let mut own = self
            .kept
            .iter()
            .filter(|(id, kept)| kept.organisation == caller.organisation && id.as_str() > after);
        let page: Vec<_> = own.by_ref().take(size).collect();
        let next = page.last().filter(|_| own.next().is_some());
        let next = next.map(|(id, _)| format!(",\"nextPageToken\":{}", quoted(id)));
        let told: Vec<String> = page.iter().map(|(_, kept)| kept.told()).collect();
        format!(
            "{{\"cachedContents\":[{}]{}}}",
            told.join(","),
            next.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for seconds in [0, 951_782_400, 1_700_000_000, 1_790_000_000, 4_102_444_799] {
            let text = time(WallTime(seconds * 1_000_000_000 + 5_000));
            assert!(text.ends_with(".000005Z"), "{text}");
            assert_eq!(unix(&text), Some(seconds), "{text}");
        }
        assert_eq!(unix("soon"), None);
    }
}
