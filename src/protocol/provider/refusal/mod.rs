//! Refusals: a status, headers and a body, of whoever answered → `Fault`.
//!
//! What comes back is told by who answered, not by the dialect that was asked in: Google refuses before Claude is reached, a proxy refuses before
//! Google is, OpenRouter quotes whoever it called. So all shapes are read wherever they come from, the dialects' readers do the common part,
//! and what a provider means by its words is said here, in tables. Deliberately does not say what to do about it: `policy::retry` does.
//! In reading order.

mod google;
mod wait;
mod words;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

use crate::canon::{DialectName, Fault, FaultClass};
use crate::protocol::dialect;
use crate::protocol::provider::{Headers, ProviderKind, hints::Hints};
use serde_json::Value;

/// What a refusal means. Total, and never without a message.
pub(super) fn read(
    kind: ProviderKind,
    _dialect: DialectName,
    status: u16,
    headers: &Headers,
    body: &[u8],
    hints: &Hints,
) -> Fault {
    let said = Said::of(kind, status, headers, body);
    let mut fault = said.told();
    fault.class = said.class(fault.class, &fault.message);
    fault.code = fault.code.or_else(|| said.code());
    fault.field = fault.field.or_else(|| google::field(&said.value));
    fault.retry_after = wait::of(&said, &fault, hints);
    fault.upstream_status = fault.upstream_status.or(Some(status));
    fault
}

/// The failure that a body of status 200 holds instead of an answer; `None` where it may be an answer. Costs nothing where the body
/// cannot be one, which is nearly always.
pub(super) fn in_success(
    kind: ProviderKind,
    dialect: DialectName,
    headers: &Headers,
    body: &[u8],
    hints: &Hints,
) -> Option<Fault> {
    let body = body.trim_ascii();
    let first = body.first().copied();
    let is_failure = match first {
        None => true,
        Some(b'{' | b'[') if body.len() > LONGEST_FAILURE => false,
        Some(b'{' | b'[') => serde_json::from_slice(body).is_ok_and(|value| is_error(&value)),
        Some(b'<') => true,
        // What else it may be the decoder says, with the place.
        Some(_) => false,
    };
    is_failure.then(|| read(kind, dialect, 200, headers, body, hints))
}

/// No provider writes a failure that long, and an answer of that length need not be parsed to know that it is none.
const LONGEST_FAILURE: usize = 64 * 1024;

/// Whether a whole body is an error and nothing else. An answer that broke off (choices and an error) is the decoder's.
fn is_error(body: &Value) -> bool {
    let body = one(body);
    let Some(object) = body.as_object() else {
        return false;
    };
    // `done`: how a long-running operation ended is its answer, also where it ended badly.
    let answers = [
        "content",
        "candidates",
        "output",
        "data",
        "embeddings",
        "done",
    ];
    if answers.iter().any(|name| object.contains_key(*name)) {
        return false;
    }
    let chose = |choices: &Value| choices.as_array().is_some_and(|c| !c.is_empty());
    if object.get("choices").is_some_and(chose) {
        return false;
    }
    let is_said = |v: &Value| !v.is_null() && v.as_str() != Some("");
    object.get("error").is_some_and(is_said)
        || object.get("object").and_then(Value::as_str) == Some("error")
        || object.get("type").and_then(Value::as_str) == Some("error")
}

/// Google's servers wrap an error in an array where a stream was asked for.
fn one(body: &Value) -> &Value {
    match body {
        Value::Array(items) => items.first().unwrap_or(&Value::Null),
        other => other,
    }
}

/// Everything that was said.
struct Said<'a> {
    kind: ProviderKind,
    status: u16,
    headers: &'a Headers,
    /// The error's object, taken out of arrays and events; `Null` where the body is no JSON.
    value: Value,
    body: &'a [u8],
}

impl<'a> Said<'a> {
    fn of(kind: ProviderKind, status: u16, headers: &'a Headers, body: &'a [u8]) -> Self {
        let body = unframed(body);
        let value = match serde_json::from_slice(body) {
            Ok(Value::Array(items)) => items.into_iter().next().unwrap_or(Value::Null),
            Ok(value) => value,
            Err(_) => Value::Null,
        };
        Self {
            kind,
            status,
            headers,
            value,
            body,
        }
    }

    /// What the dialects' readers make of it.
    fn told(&self) -> Fault {
        if self.is_page() {
            let class = match self.status {
                // A page is no word of the provider's: a proxy's 401 or 403 condemns no key of ours, and its 400 no request.
                200..=403 | 407 => FaultClass::UpstreamBroken,
                status => dialect::read_error(DialectName::Chat, status, b"").class,
            };
            let status = self.status;
            return Fault::new(
                class,
                format!("the provider answered status {status} with a page"),
            );
        }
        let inner = self.value.get("error").is_some_and(Value::is_object);
        let is_anthropics =
            inner && self.value.get("type").and_then(Value::as_str) == Some("error");
        let grammar = if is_anthropics {
            DialectName::Messages
        } else {
            DialectName::Chat
        };
        // A body of status 200 has its status inside, or none; to Messages 200 is no status at all.
        let mut fault = dialect::read_error(grammar, self.status, self.body);
        if self.status == 200 {
            fault.upstream_status = fault.upstream_status.filter(|s| *s != 200);
        }
        // AWS: `Message` in front of some services.
        if let Some(text) = self.value.get("Message").and_then(Value::as_str) {
            fault.message = bounded(text);
        }
        if let Some(quoted) = self.quoted() {
            let status = self.status;
            let inner = dialect::read_error(DialectName::Chat, status, quoted.as_bytes());
            fault.message = format!("{}: {}", fault.message, inner.message);
            if fault.class == dialect::read_error(DialectName::Chat, status, b"").class {
                fault.class = inner.class;
            }
        }
        fault
    }

    fn is_page(&self) -> bool {
        let typed = self
            .header("content-type")
            .is_some_and(|t| t.starts_with("text/html"));
        self.value.is_null()
            && (self.body.trim_ascii_start().starts_with(b"<") || (typed && !self.body.is_empty()))
    }

    /// OpenRouter quotes the provider that it called.
    fn quoted(&self) -> Option<String> {
        match self.at("/error/metadata/raw")? {
            Value::String(raw) if !raw.is_empty() => Some(raw.clone()),
            raw @ Value::Object(_) => Some(raw.to_string()),
            _ => None,
        }
    }

    fn at(&self, path: &str) -> Option<&Value> {
        self.value.pointer(path)
    }

    fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_str().filter(|s| !s.is_empty())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.text(name.as_bytes()).map(str::trim)
    }

    /// AWS's exception, in a header or in the body, without the address behind it.
    fn exception(&self) -> Option<&str> {
        let said = self
            .header("x-amzn-errortype")
            .or_else(|| self.text_at("/__type"))?;
        let name = said.split(':').next().unwrap_or(said);
        Some(name.rsplit('#').next().unwrap_or(name))
    }

    /// The most exact witness decides: an enumerated word of the provider's own, then its sentences, then what the dialect's reader made of it.
    fn class(&self, base: FaultClass, message: &str) -> FaultClass {
        if self.is_page() {
            return words::of_edge(self.status).unwrap_or(base);
        }
        words::of_sentences(self.kind, self.status, message)
            .or_else(|| self.exception().and_then(words::of_aws))
            .or_else(|| self.of_openrouter())
            .or_else(|| google::class(&self.value, self.kind, message))
            .or_else(|| words::of_status(self.kind, self.status, base))
            .unwrap_or(base)
    }

    fn of_openrouter(&self) -> Option<FaultClass> {
        let metadata = self.at("/error/metadata")?;
        if let Some(class) = metadata
            .get("error_type")
            .and_then(Value::as_str)
            .and_then(words::of_openrouter)
        {
            return Some(class);
        }
        // A moderator refused the prompt; a key that may not do something has no reasons.
        let flagged = metadata.get("flagged_input").is_some() || metadata.get("reasons").is_some();
        (self.status == 403 && flagged).then_some(FaultClass::ContentPolicy)
    }

    /// The word by which a client's program may tell this failure from others.
    fn code(&self) -> Option<String> {
        let word = self
            .exception()
            .or_else(|| google::reason(&self.value))
            .or_else(|| self.text_at("/error/metadata/error_type"))
            .or_else(|| self.text_at("/error/status"))
            // xAI: both `code` and `error` are texts at the top.
            .or_else(|| self.text_at("/code"))?;
        Some(bounded(word))
    }
}

/// The data of a body's first event, where a refusal came as a stream; else the body.
fn unframed(body: &[u8]) -> &[u8] {
    let starts = body.starts_with(b"data:") || body.starts_with(b"event:");
    if !starts {
        return body;
    }
    let lines = body.split(|b| *b == b'\n');
    lines
        .map(<[u8]>::trim_ascii)
        .find_map(|line| line.strip_prefix(b"data:"))
        .map_or(body, <[u8]>::trim_ascii)
}

fn bounded(text: &str) -> String {
    text.chars().take(2_000).collect()
}
