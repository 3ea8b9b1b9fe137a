//! Transcripts: what must be known of OpenAI's `/v1/audio/transcriptions` (OpenAI API reference, audio, read 2026-11), whose forms and answers
//! pass as they are.
//!
//! Deliberately translates nothing: no other API of a provider takes a form of sound and gives back its words. In answers only usage and the end
//! are looked for; those in `text`, `srt` and `vtt` say neither.

use crate::base::{Json, Str, Tokens};
use crate::canon::{Event, Fault, Malformed, Usage};
use crate::protocol::dialect::chat::errors;
use crate::protocol::dialect::counts::Counts;
use crate::protocol::dialect::splice::Pass;
use crate::protocol::framing::sse::SseEvent;
use crate::protocol::{multipart, sound};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::ops::Range;

/// What a form asks, as far as routing needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub model: Str,
    /// Where its bytes stand in the body.
    pub model_at: Range<usize>,
    pub stream: bool,
}

/// Reads a form of content type `kind`. `Err` names the field that is wrong or missing.
pub fn read(kind: &str, body: &Bytes) -> Result<Asked, Fault> {
    let parts = multipart::read(kind, body)?;
    let find = |name: &str| parts.iter().find(|part| part.name == name);
    let text = |name: &str| -> Result<Option<(&str, Range<usize>)>, Fault> {
        let Some(part) = find(name) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&body[part.bytes.clone()]);
        let text = text.map_err(|_| Fault::invalid(name, format!("{name} is not UTF-8")))?;
        Ok(Some((text, part.bytes.clone())))
    };
    let missing = |name: &str| Fault::invalid(name, format!("{name} is missing"));
    let (model, model_at) = text("model")?
        .filter(|(model, _)| !model.is_empty())
        .ok_or_else(|| missing("model"))?;
    find("file").ok_or_else(|| missing("file"))?;
    let stream = match text("stream")?.map(|(word, _)| word) {
        None | Some("" | "false" | "False" | "0") => false,
        Some("true" | "True" | "1") => true,
        Some(_) => return Err(Fault::invalid("stream", "stream must be true or false")),
    };
    Ok(Asked {
        model: Str::from(model),
        model_at,
        stream,
    })
}

/// `body`, read as `asked`, for a provider that calls the model `model`: nothing is copied but the name.
#[must_use]
pub fn named(body: &Bytes, asked: &Asked, model: &str) -> Vec<Bytes> {
    if *asked.model == *model {
        return vec![body.clone()];
    }
    vec![
        body.slice(..asked.model_at.start),
        Bytes::copy_from_slice(model.as_bytes()),
        body.slice(asked.model_at.end..),
    ]
}

/// Seconds, as usage says them.
#[derive(Deserialize)]
struct Timed {
    seconds: f64,
}

impl Timed {
    fn of(usage: &str) -> Option<u64> {
        serde_json::from_str::<Self>(usage)
            .ok()
            .and_then(|t| millis(t.seconds))
    }
}

/// `None` where it is no length: negative, or longer than a year.
fn millis(seconds: f64) -> Option<u64> {
    let millis = (seconds * 1e3).round();
    (0.0..=3.2e10).contains(&millis).then_some(millis as u64)
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    /// Of the sound, in seconds, in `verbose_json`: a number, or one in a text (OpenAI's types have had both).
    #[serde(borrow, default)]
    duration: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl Said<'_> {
    fn told(&self, data: &[u8], out: &mut Vec<Event>) {
        if self.error.is_some() {
            let value: Value = serde_json::from_slice(data).unwrap_or_default();
            let fault = errors::read_value(None, &value);
            out.push(Event::Error(Box::new(fault)));
        } else if let Some(usage) = self.usage.and_then(|raw| usage(Json::of_raw(raw))) {
            out.push(Event::Usage(Box::new(usage)));
        } else if let Some(millis) = self.length() {
            out.push(Event::Usage(Box::new(timed(millis))));
        }
    }

    fn length(&self) -> Option<u64> {
        millis(self.duration?.get().trim_matches('"').parse().ok()?)
    }
}

/// Tokens, or seconds, which stand beside them in milliseconds.
fn usage(raw: Json) -> Option<Usage> {
    let counts = Counts::of(raw.get())?;
    let by_time = counts.text("/type") == Some("duration");
    let none = by_time.then_some(Tokens::ZERO);
    Some(Usage {
        input_uncached: counts.at("/input_tokens").or(none),
        input_audio: counts.at("/input_token_details/audio_tokens"),
        output: counts.at("/output_tokens").or(none),
        input_audio_millis: by_time.then(|| Timed::of(raw.get())).flatten(),
        raw: Some(raw.clone()),
        ..Usage::default()
    })
}

/// What hearing so much sound used, where it is paid by its length.
#[must_use]
pub fn timed(millis: u64) -> Usage {
    Usage {
        input_uncached: Some(Tokens::ZERO),
        output: Some(Tokens::ZERO),
        input_audio_millis: Some(millis),
        ..Usage::default()
    }
}

/// Bytes of sound in a second, where nothing says its length: 32 kbit/s, which is how little speech is packed to. Rather too long than too
/// short, for a bill too low is never noticed.
const BYTES_A_SECOND: u64 = 4_000;

/// How long the sound of a form is, and whether that is a guess by its size.
#[must_use]
pub fn heard(kind: &str, body: &Bytes) -> Option<(u64, bool)> {
    let parts = multipart::read(kind, body).ok()?;
    let file = parts.iter().find(|part| part.name == "file")?;
    let bytes = &body[file.bytes.clone()];
    Some(match sound::millis(bytes) {
        Some(millis) => (millis, false),
        None => (bytes.len() as u64 * 1_000 / BYTES_A_SECOND, true),
    })
}

/// What is told of an answer in one body, in whichever of its formats: `Usage` if it says so, and `Done`; or `Error`.
pub fn whole(body: &Bytes, out: &mut Vec<Event>) {
    if let Ok(said) = serde_json::from_slice::<Said<'_>>(body) {
        said.told(body, out);
    }
    if !matches!(out.last(), Some(Event::Error(_))) {
        out.push(Event::Done);
    }
}

/// Watches a stream of events that passes. One value an attempt.
#[derive(Debug, Default)]
pub struct TranscriptLift {
    /// The whole text was told.
    told: bool,
    ended: bool,
}

impl TranscriptLift {
    /// Appends what is lifted: `Usage`, `Done`, `Error`.
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        let data = sse.data.trim_ascii();
        if self.ended || data.is_empty() {
            return Ok(Pass::Forward);
        }
        if data == b"[DONE]" {
            return self.finish(out).map(|()| Pass::Forward);
        }
        let said: Said<'_> = serde_json::from_slice(data)
            .map_err(|e| Malformed::at(format!("event at byte {}", e.column())))?;
        said.told(data, out);
        if said.error.is_some() {
            self.ended = true;
            return Ok(Pass::Broken);
        }
        self.told |= said.kind.as_deref() == Some("transcript.text.done");
        Ok(Pass::Forward)
    }

    /// `Err` when the event that tells the whole text is missing.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if !self.told && !self.ended {
            return Err(Malformed::at(
                "the stream ended before transcript.text.done",
            ));
        }
        if !std::mem::replace(&mut self.ended, true) {
            out.push(Event::Done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::FaultClass;
    use crate::protocol::dialect::tests::folder::cut;

    const KIND: &str = "multipart/form-data; boundary=b";

    fn form(fields: &[(&str, &str)]) -> Bytes {
        let part = |(name, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let parts: String = fields.iter().map(part).collect();
        Bytes::from(format!("{parts}--b--\r\n"))
    }

    #[test]
    fn a_form_passes_with_its_models_name_alone_exchanged() {
        let body = form(&[("file", "RIFF\r\n--x"), ("model", "m"), ("stream", "true")]);
        let asked = read(KIND, &body).expect("a form");
        assert_eq!((&*asked.model, asked.stream), ("m", true));
        let wanted = form(&[("file", "RIFF\r\n--x"), ("model", "up"), ("stream", "true")]);
        assert_eq!(named(&body, &asked, "up").concat(), wanted);
        assert_eq!(named(&body, &asked, "m"), std::slice::from_ref(&body));
    }

    #[test]
    fn what_is_wrong_with_a_form_is_said_by_its_field() {
        for (fields, field) in [
            (&[("file", "x")][..], "model"),
            (&[("file", "x"), ("model", "")], "model"),
            (&[("model", "m")], "file"),
            (
                &[("file", "x"), ("model", "m"), ("stream", "yes")],
                "stream",
            ),
        ] {
            let fault = read(KIND, &form(fields)).expect_err(field);
            assert_eq!(
                (fault.class, fault.field.as_deref()),
                (FaultClass::Invalid, Some(field))
            );
        }
        let json = read("application/json", &Bytes::from_static(b"{}"));
        assert_eq!(json.expect_err("no form").class, FaultClass::Invalid);
    }

    fn lifted(stream: &str, piece: usize) -> Result<Vec<Event>, Malformed> {
        let (mut lift, mut out) = (TranscriptLift::default(), Vec::new());
        for event in cut(stream.as_bytes(), piece).expect("events") {
            lift.event(&event, &mut out)?;
        }
        lift.finish(&mut out)?;
        Ok(out)
    }

    const STREAM: &str = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"usage\"}\n\n\
        data: {\"type\":\"transcript.text.done\",\"text\":\"usage\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":37,\"input_token_details\":{\"text_tokens\":2,\"audio_tokens\":35},\"output_tokens\":5,\"total_tokens\":42}}\n\n";

    #[test]
    fn a_streams_usage_and_end_are_found_however_it_is_cut() {
        for end in ["", "data: [DONE]\n\n"] {
            let stream = format!("{STREAM}{end}");
            for piece in 1..stream.len() {
                let events = lifted(&stream, piece).expect("whole");
                let [Event::Usage(usage), Event::Done] = &events[..] else {
                    panic!("{events:?}")
                };
                assert_eq!(
                    (usage.input_uncached, usage.input_audio, usage.output),
                    (Some(Tokens(37)), Some(Tokens(35)), Some(Tokens(5)))
                );
            }
        }
        let first = &STREAM[..STREAM.find("\n\n").expect("there") + 2];
        assert!(lifted(first, 64).is_err());
        let failed = lifted("data: {\"error\":{\"message\":\"no\"}}\n\n", 64);
        assert!(matches!(&failed.expect("told")[..], [Event::Error(_)]));
    }

    #[test]
    fn an_answer_in_one_body_is_read_for_its_usage_in_json_and_not_in_texts() {
        let told = |body: &'static str| {
            let mut out = Vec::new();
            whole(&Bytes::from_static(body.as_bytes()), &mut out);
            out
        };
        assert_eq!(
            told("1\n00:00:00,000 --> 00:00:01,000\nhi\n"),
            [Event::Done]
        );
        assert_eq!(told(r#"{"text":"hi"}"#), [Event::Done]);
        let timed = told(r#"{"text":"hi","usage":{"type":"duration","seconds":3}}"#);
        let [Event::Usage(usage), Event::Done] = &timed[..] else {
            panic!("{timed:?}")
        };
        assert_eq!(
            (usage.input_uncached, usage.output),
            (Some(Tokens::ZERO), Some(Tokens::ZERO))
        );
        assert_eq!(usage.input_audio_millis, Some(3_000));
        for said in [
            r#"{"text":"hi","duration":2.5,"segments":[]}"#,
            r#"{"text":"hi","duration":"2.5"}"#,
        ] {
            let [Event::Usage(usage), Event::Done] = &told(said)[..] else {
                panic!("{said}")
            };
            assert_eq!(usage.input_audio_millis, Some(2_500));
        }
        let failed = told(r#"{"error":{"message":"no"}}"#);
        assert!(matches!(&failed[..], [Event::Error(_)]), "{failed:?}");
    }
}
