//! Prefixes that Google keeps under a name and bills by the hour (`cachedContents`; Gemini API reference, Caching, and Vertex AI's context
//! caching, both read 2026-11).
//!
//! Pure: reads and writes the bodies of creation and change, the object that comes back, and lists of it. A prefix passes as the client wrote
//! it but for the model's name. What it costs, who keeps it and for whom is not known here.

use crate::base::{Str, Tokens, WallTime};
use crate::canon::{Fault, FaultClass};
use crate::protocol::dialect::splice::{Peek, envelope, peek_prefix};
use crate::protocol::json;
use crate::protocol::provider::when::rfc_3339;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use smallvec::SmallVec;
use std::time::Duration;

/// What a client asks to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Creation {
    /// Without `models/` or whose project before it.
    pub model: Str,
    /// How long, as far as is known beforehand.
    pub lives: Duration,
    pub peek: Peek,
}

/// What a provider says of a prefix that it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Whole, as the provider wrote it.
    pub name: Str,
    /// Without what stands before the last `/`; empty where it is not said.
    pub model: Str,
    pub tokens: Option<Tokens>,
    pub created: Option<WallTime>,
    pub expires: Option<WallTime>,
}

/// How long a prefix is kept that nobody says a time for (Gemini API docs, Context caching, read 2026-11).
pub const LIVES_DEFAULT: Duration = Duration::from_secs(3_600);

/// A body of creation or change, as far as we read it. In both spellings, as protobuf's JSON has it; a field that stands twice is an error
/// of serde's own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    model: Option<String>,
    ttl: Option<String>,
    #[serde(alias = "expire_time")]
    expire_time: Option<String>,
}

impl Said {
    fn of(body: &[u8]) -> Result<Self, Fault> {
        let wrong = |error: serde_json::Error| {
            // Its words for wrong types quote the value, so only the place is told.
            let (line, column) = (error.line(), error.column());
            let message =
                format!("the body is not JSON as it should be, at line {line} column {column}");
            Fault::new(FaultClass::Invalid, message)
        };
        // serde reads structs from arrays too.
        match body.trim_ascii_start().starts_with(b"{") {
            true => serde_json::from_slice(body).map_err(wrong),
            false => Err(Fault::new(
                FaultClass::Invalid,
                "the body must be a JSON object",
            )),
        }
    }

    /// How long from `now` on; `None` where nothing is said.
    fn lives(&self, now: WallTime) -> Result<Option<Duration>, Fault> {
        match (&self.ttl, &self.expire_time) {
            (Some(_), Some(_)) => Err(Fault::invalid("ttl", "ttl and expireTime are one choice")),
            (Some(ttl), None) => match seconds(ttl) {
                Some(lives) => Ok(Some(lives)),
                None => Err(Fault::invalid("ttl", "ttl must be seconds, as in \"300s\"")),
            },
            (None, Some(at)) => match rfc_3339(at, now) {
                Some(lives) => Ok(Some(lives)),
                None => Err(Fault::invalid(
                    "expireTime",
                    "expireTime must be a time, as in \"2026-11-01T12:00:00Z\"",
                )),
            },
            (None, None) => Ok(None),
        }
    }
}

/// A duration as protobuf's JSON writes it: `3.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let plain = |b: u8| b.is_ascii_digit() || b == b'.';
    let plain = !number.is_empty() && number.bytes().all(plain);
    let seconds = number.parse::<f64>().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads what shall be kept. `Err` names the field that is wrong or missing.
pub fn read_creation(body: &Bytes, now: WallTime) -> Result<Creation, Fault> {
    let peek = peek_prefix(body)?;
    let said = Said::of(body)?;
    let lives = said.lives(now)?.unwrap_or(LIVES_DEFAULT);
    let model = said.model.as_deref().map(bare_model).unwrap_or_default();
    if model.is_empty() {
        return Err(Fault::invalid("model", "model is missing"));
    }
    Ok(Creation {
        model: Str::from(model),
        lives,
        peek,
    })
}

/// The model's name without `models/`, or without the project, location and publisher of Google Cloud. A name of ours may have slashes itself.
#[must_use]
pub fn bare_model(name: &str) -> &str {
    if let Some(name) = name.strip_prefix("models/") {
        return name;
    }
    match name.split_once("publishers/") {
        Some((_, rest)) => rest.split_once("/models/").map_or(name, |(_, name)| name),
        None => name,
    }
}

/// The same with the provider's whole name of the model.
pub fn write_creation(body: &Bytes, model: &str) -> Result<SmallVec<[Bytes; 8]>, Fault> {
    envelope(body, &["model"], &members(&[("model", model)]))
}

/// Reads how long a prefix shall live from now on: nothing else of it can be changed. `Err` where that is not said.
pub fn read_change(body: &[u8], now: WallTime) -> Result<Duration, Fault> {
    let lives = Said::of(body)?.lives(now)?;
    lives.ok_or_else(|| {
        let message =
            "ttl or expireTime is missing: nothing else of a cached prefix can be changed";
        Fault::invalid("ttl", message)
    })
}

/// The change alone: what names prefix and model stands in the path and may be another's name for it.
pub fn write_change(body: &Bytes) -> Result<SmallVec<[Bytes; 8]>, Fault> {
    envelope(body, &["name", "model"], "")
}

/// Reads an object that a provider answers with. `None` for what is none.
#[must_use]
pub fn read_told(body: &[u8]) -> Option<Told> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object {
        name: String,
        model: Option<String>,
        create_time: Option<String>,
        expire_time: Option<String>,
        usage_metadata: Option<Counts>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counts {
        total_token_count: Option<u64>,
    }
    let object: Object = serde_json::from_slice(body).ok()?;
    id_of(&object.name)?;
    let time = |text: Option<String>| {
        let since_1970 = rfc_3339(&text?, WallTime(0))?;
        Some(WallTime(0) + since_1970)
    };
    let model = object.model.unwrap_or_default();
    Some(Told {
        name: object.name.into(),
        model: Str::from(model.rsplit('/').next().unwrap_or_default()),
        tokens: object
            .usage_metadata
            .and_then(|counts| counts.total_token_count)
            .map(Tokens),
        created: time(object.create_time),
        expires: time(object.expire_time),
    })
}

/// The last part of a prefix's name, which is the same in every form; `None` for what is no such name.
#[must_use]
pub fn id_of(name: &str) -> Option<&str> {
    let id = match name.rsplit_once("cachedContents/") {
        Some((_, id)) => id,
        // The official client takes the id alone.
        None => name,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let good = !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(plain);
    good.then_some(id)
}

/// Longer ones are no provider's.
const ID_BYTES_MAX: usize = 256;

/// The provider's object under the names by which its client knows prefix and model, and without the prefix itself, which no provider repeats.
/// `None` for what is no object.
#[must_use]
pub fn retell(object: &Bytes, name: &str, model: &str) -> Option<Bytes> {
    let inserted = members(&[("name", name), ("model", model)]);
    let told = envelope(object, &["name", "model"], &inserted).ok()?;
    Some(Bytes::from(told.concat()))
}

/// What of an object is worth remembering. `None` for what is no object.
#[must_use]
pub fn without_prefix(object: &Bytes) -> Option<Bytes> {
    let prefix = ["contents", "systemInstruction", "tools", "toolConfig"];
    let kept = envelope(object, &prefix, "").ok()?;
    Some(Bytes::from(kept.concat()))
}

/// One page of objects; `next` names the page after it.
#[must_use]
pub fn write_list(objects: &[Bytes], next: Option<&str>) -> Bytes {
    let mut out = BytesMut::from("{");
    // Nothing at all is left out, as ProtoJSON does.
    if !objects.is_empty() {
        json::key("cachedContents", &mut out);
        out.extend_from_slice(b"[");
        for object in objects {
            json::comma(&mut out);
            out.extend_from_slice(object);
        }
        out.extend_from_slice(b"]");
    }
    if let Some(next) = next {
        json::field("nextPageToken", next, &mut out);
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

/// `"a":"b","c":"d"`.
fn members(pairs: &[(&str, &str)]) -> String {
    let mut out = BytesMut::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.extend_from_slice(b",");
        }
        json::string(name, &mut out);
        out.extend_from_slice(b":");
        json::string(value, &mut out);
    }
    String::from_utf8(out.to_vec()).expect("made of strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_700_000_000_000_000_000);

    fn creation(body: &str) -> Result<Creation, Fault> {
        read_creation(&Bytes::copy_from_slice(body.as_bytes()), NOW)
    }

    #[test]
    fn a_creation_says_model_and_time_in_every_spelling() {
        for (model, lives, seconds) in [
            ("models/g", r#","ttl":"300s""#, 300.0),
            ("g", r#","ttl":"1.5s""#, 1.5),
            ("publishers/google/models/g", "", 3_600.0),
            (
                "projects/p/locations/l/publishers/google/models/g",
                r#","expireTime":"2023-11-14T22:14:20Z""#,
                60.0,
            ),
            ("models/g", r#","expire_time":"2023-11-14T22:14:20Z""#, 60.0),
        ] {
            let body = format!(
                r#"{{"model":"{model}","systemInstruction":{{"parts":[{{"text":"abc"}}]}}{lives}}}"#
            );
            let read = creation(&body).expect("right");
            assert_eq!((&*read.model, read.lives.as_secs_f64()), ("g", seconds));
            assert_eq!(read.peek.prompt_bytes, 3);
        }
        assert_eq!(bare_model("models/meta/llama"), "meta/llama");
    }

    #[test]
    fn what_is_wrong_with_a_creation_is_named() {
        for (body, field) in [
            (r#"{"contents":[]}"#, Some("model")),
            (r#"{"model":"m","ttl":"300"}"#, Some("ttl")),
            (r#"{"model":"m","ttl":"-3s"}"#, Some("ttl")),
            (r#"{"model":"m","ttl":"infs"}"#, Some("ttl")),
            (r#"{"model":"m","expireTime":"soon"}"#, Some("expireTime")),
            (
                r#"{"model":"m","ttl":"3s","expireTime":"2023-11-14T22:14:20Z"}"#,
                Some("ttl"),
            ),
            (r#"{"model":"m","contents":"secret"}"#, Some("contents")),
            (r#"{"model":"m","model":"n"}"#, None),
            (r#"{"model":7}"#, None),
            ("[]", None),
        ] {
            let fault = creation(body).expect_err(body);
            assert_eq!(fault.class, FaultClass::Invalid);
            assert_eq!(fault.field.as_deref(), field, "{body}");
            assert!(!fault.message.contains("secret"), "{fault:?}");
        }
    }

    #[test]
    fn the_prefix_passes_to_the_byte_and_the_model_has_its_providers_name() {
        let body = Bytes::from_static(
            br#"{"contents": [ {"parts":[]} ], "model":"models/a", "ttl":"3s"}"#,
        );
        let sent = write_creation(&body, "models/g").expect("right").concat();
        let text = String::from_utf8(sent).expect("text");
        assert!(text.contains(r#""contents": [ {"parts":[]} ]"#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&value["model"], &value["ttl"]),
            (&"models/g".into(), &"3s".into())
        );
    }

    #[test]
    fn a_change_is_of_the_time_alone() {
        let body = Bytes::from_static(br#"{"name":"cachedContents/a","ttl":"7s"}"#);
        assert_eq!(read_change(&body, NOW), Ok(Duration::from_secs(7)));
        let sent = write_change(&body).expect("right").concat();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&sent).expect("JSON"),
            serde_json::json!({"ttl": "7s"})
        );
        let fault = read_change(br#"{"displayName":"x"}"#, NOW).expect_err("no time");
        assert_eq!(fault.field.as_deref(), Some("ttl"));
    }

    #[test]
    fn an_object_is_read_and_told_on_under_other_names() {
        let body = Bytes::from_static(br#"{"name":"projects/7/locations/l/cachedContents/12","model":"projects/p/locations/l/publishers/google/models/g","displayName":"mine","createTime":"2023-11-14T22:13:20Z","updateTime":"2023-11-14T22:13:20Z","expireTime":"2023-11-14T22:14:20.5Z","usageMetadata":{"totalTokenCount":4100},"contents":[{}]}"#);
        let told = read_told(&body).expect("an object");
        assert_eq!((&*told.model, told.tokens), ("g", Some(Tokens(4_100))));
        assert_eq!(told.created, Some(NOW));
        assert_eq!(told.expires, Some(NOW + Duration::from_millis(60_500)));
        assert_eq!(id_of(&told.name), Some("12"));
        let kept = without_prefix(&body).expect("an object");
        let told = retell(&kept, "cachedContents/12", "models/mine").expect("an object");
        let value: serde_json::Value = serde_json::from_slice(&told).expect("JSON");
        assert_eq!(value["name"], "cachedContents/12");
        assert_eq!(
            (&value["model"], &value["displayName"]),
            (&"models/mine".into(), &"mine".into())
        );
        assert!(value.get("contents").is_none());
        for other in [
            "{}",
            r#"{"name":"models/g:x"}"#,
            "[]",
            r#"{"error":{"code":500}}"#,
        ] {
            assert_eq!(read_told(other.as_bytes()), None, "{other}");
        }
        let page = write_list(&[told.clone(), told], Some("t"));
        let value: serde_json::Value = serde_json::from_slice(&page).expect("JSON");
        assert_eq!(value["cachedContents"].as_array().map(Vec::len), Some(2));
        assert_eq!(value["nextPageToken"], "t");
        assert_eq!(&*write_list(&[], None), b"{}");
    }
}
