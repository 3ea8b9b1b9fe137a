//! Answers as JSON (Gemini API reference, `GenerateContentResponse`, read 2026-08; Vertex says the same with a few more fields).
//!
//! Only the outline is typed; values stay raw, since a field that nobody needs must not break a stream. Shared by the decoder and by what
//! is lifted from answers that pass, so that both see the same.

use super::node::{Text, camel};
use crate::base::{Json, Str, slice_of};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One chunk of a stream, or the whole answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::protocol::dialect) struct Chunk<'a> {
    #[serde(borrow)]
    pub candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    pub prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    pub usage_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub model_version: Option<&'a RawValue>,
    #[serde(borrow)]
    pub model_status: Option<&'a RawValue>,
    #[serde(borrow)]
    pub response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub create_time: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

/// One of the answers. What is not named here is kept in `others`.
#[derive(Debug, Default)]
pub(in crate::protocol::dialect) struct Candidate<'a> {
    pub index: Option<u32>,
    pub content: Option<&'a RawValue>,
    pub finish_reason: Option<&'a RawValue>,
    pub grounding: Option<&'a RawValue>,
    pub others: Vec<(Str, &'a RawValue)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Candidate<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Maps;
        impl<'de> Visitor<'de> for Maps {
            type Value = Candidate<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a candidate")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Candidate<'de>, A::Error> {
                let mut candidate = Candidate::default();
                while let Some((Text(name), raw)) =
                    map.next_entry::<Text<'_>, Option<&RawValue>>()?
                {
                    if let Some(raw) = raw {
                        candidate.member(&camel(name), raw);
                    }
                }
                Ok(candidate)
            }
        }
        from.deserialize_map(Maps)
    }
}

impl<'a> Candidate<'a> {
    fn member(&mut self, name: &str, raw: &'a RawValue) {
        match name {
            "index" => self.index = raw.get().parse().ok(),
            "content" => self.content = Some(raw),
            "finishReason" => self.finish_reason = Some(raw),
            "groundingMetadata" => self.grounding = Some(raw),
            _ => {
                self.others.retain(|(known, _)| known != name);
                self.others.push((Str::from(name), raw));
            }
        }
    }

    /// The parts of this piece of the answer, as written. `None`: they are not what the contract says.
    pub fn parts(&self) -> Option<Vec<&'a RawValue>> {
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            parts: Option<Vec<&'a RawValue>>,
        }
        let Some(raw) = self.content else {
            return Some(Vec::new());
        };
        let content: Content<'_> = serde_json::from_str(raw.get()).ok()?;
        Some(content.parts.unwrap_or_default())
    }

    /// Searches that Google made for this answer: each has a price.
    pub fn searches(&self) -> u64 {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Grounding {
            #[serde(default)]
            web_search_queries: Vec<serde::de::IgnoredAny>,
        }
        let grounding = self
            .grounding
            .and_then(|raw| serde_json::from_str::<Grounding>(raw.get()).ok());
        grounding.map_or(0, |g| g.web_search_queries.len() as u64)
    }
}

/// One part. Exactly one member says something; the others are about it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::protocol::dialect) struct Part<'a> {
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub thought: Option<&'a RawValue>,
    #[serde(borrow, alias = "thought_signature")]
    pub thought_signature: Option<&'a RawValue>,
    #[serde(borrow, alias = "function_call")]
    pub function_call: Option<&'a RawValue>,
    #[serde(borrow, alias = "inline_data")]
    pub inline_data: Option<&'a RawValue>,
    #[serde(borrow, alias = "file_data")]
    pub file_data: Option<&'a RawValue>,
}

impl Part<'_> {
    /// Whether the part, written as `raw`, says anything: an empty text does not.
    pub fn says(&self, raw: &RawValue) -> bool {
        let filled = |field: Option<&RawValue>| field.is_some_and(|r| r.get() != "\"\"");
        match self.text {
            Some(_) => filled(self.text) || filled(self.thought_signature),
            None => raw.get().trim_matches(['{', '}']).trim() != "",
        }
    }

    pub fn is_thought(&self) -> bool {
        self.thought.is_some_and(|r| r.get() == "true")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::protocol::dialect) struct FunctionCall<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub args: Option<&'a RawValue>,
    /// Vertex, where arguments are asked for in pieces.
    #[serde(borrow)]
    pub partial_args: Option<Vec<PartialArg<'a>>>,
    pub will_continue: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::protocol::dialect) struct PartialArg<'a> {
    #[serde(borrow)]
    pub json_path: Option<&'a RawValue>,
    #[serde(borrow)]
    pub string_value: Option<&'a RawValue>,
    #[serde(borrow)]
    pub number_value: Option<&'a RawValue>,
    #[serde(borrow)]
    pub bool_value: Option<&'a RawValue>,
    #[serde(borrow)]
    pub null_value: Option<&'a RawValue>,
}

/// `inlineData` and `fileData`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::protocol::dialect) struct Blob<'a> {
    #[serde(borrow, alias = "mime_type")]
    pub mime_type: Option<&'a RawValue>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow, alias = "file_uri")]
    pub file_uri: Option<&'a RawValue>,
}

/// A string, as a slice of `body` where it has no escapes; `None` for whatever else.
pub(in crate::protocol::dialect) fn text(body: &Str, raw: Option<&RawValue>) -> Option<Str> {
    let Text(text) = serde_json::from_str(raw?.get()).ok()?;
    Some(slice_of(body, &text))
}

/// As `text`, but an empty one is none.
pub(in crate::protocol::dialect) fn some_text(body: &Str, raw: Option<&RawValue>) -> Option<Str> {
    text(body, raw).filter(|t| !t.is_empty())
}

pub(in crate::protocol::dialect) fn json(body: &Str, raw: &RawValue) -> Json {
    Json::within(body, raw)
}

/// Seconds since 1970 of an RFC 3339 time, its fraction left out; `None` for what is none in UTC.
pub(in crate::protocol::dialect) fn seconds(time: &str) -> Option<i64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-').map(|p| p.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let whole = clock.split('.').next().unwrap_or(clock);
    let mut parts = whole.splitn(3, ':').map(|p| p.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let right = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second);
    right.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468
}

/// The RFC 3339 time of `seconds` since 1970.
pub(in crate::protocol::dialect) fn time(seconds: i64) -> String {
    let (day, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The year can be off by one when guessed by its mean length; the calendar settles it.
    let mut year = 1970 + day.div_euclid(366);
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= day {
        month += 1;
    }
    let of_month = day - days(year, month, 1) + 1;
    let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (seconds_told, told) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_774_116_715, "2026-03-21T18:11:55Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(time(seconds_told), told);
            assert_eq!(seconds(told), Some(seconds_told));
        }
        assert_eq!(seconds("2026-03-21T18:11:55.919086Z"), Some(1_774_116_715));
        for wrong in ["", "2026", "2026-13-01T00:00:00Z", "x-1-1T0:0:0Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
