//! Transcripts and translations of sound, in the words of OpenAI (API reference, read 2026-11). What is heard is a function of the sound's length.
//!
//! Reads the form by itself: what the router makes of it is what is tested.

use super::Fake;
use super::Request;
use super::ask::Wrong;
use super::book::Wire;
use super::fault::Faults;
use super::head::{plain, typed};
use super::json::quoted;
use super::prompt::Prompt;
use super::refuse::Refusal;
use super::reply::Live;
use super::route::Deed;
use super::serve::Caller;
use crate::base::Instant;

/// The fields of a form, in its order.
struct Form<'a>(Vec<(String, Option<String>, &'a [u8])>);

impl<'a> Form<'a> {
    /// RFC 7578, as far as forms of clients need it.
    fn read(kind: &str, body: &'a [u8]) -> Option<Self> {
        let boundary = kind.split("boundary=").nth(1)?.trim_matches('"');
        let line = format!("--{boundary}");
        let mut fields = Vec::new();
        let mut rest = after(body, line.as_bytes())?;
        while !rest.starts_with(b"--") {
            let part = rest.strip_prefix(b"\r\n")?;
            let head_end = memchr::memmem::find(part, b"\r\n\r\n")?;
            let (head, content) = (
                std::str::from_utf8(&part[..head_end]).ok()?,
                &part[head_end + 4..],
            );
            let end = memchr::memmem::find(content, format!("\r\n{line}").as_bytes())?;
            fields.push((
                parameter(head, "name")?,
                parameter(head, "filename"),
                &content[..end],
            ));
            rest = &content[end + 2 + line.len()..];
        }
        Some(Self(fields))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let field = self.0.iter().find(|(n, ..)| n == name)?;
        std::str::from_utf8(field.2).ok()
    }

    fn file(&self) -> Option<&'a [u8]> {
        let named = self
            .0
            .iter()
            .find(|(name, file, _)| name == "file" && file.is_some());
        named.map(|(.., bytes)| *bytes)
    }
}

fn after<'a>(body: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(body, what).map(|at| &body[at + what.len()..])
}

fn parameter(head: &str, name: &str) -> Option<String> {
    let (_, rest) = head.split_once(&format!(" {name}=\""))?;
    rest.split('"').next().map(str::to_owned)
}

/// Seconds of a WAV, by its header; of anything else, by its size at 32 kbit/s.
fn seconds(sound: &[u8]) -> f64 {
    let four = |at: usize| {
        let bytes = sound.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let wav = sound.starts_with(b"RIFF") && sound.get(8..12) == Some(b"WAVE");
    // The plain form of 44 bytes, which clients' libraries write.
    match (wav, four(28), four(40)) {
        (true, Some(rate), Some(data)) if rate > 0 => f64::from(data) / f64::from(rate),
        _ => sound.len() as f64 / 4_000.0,
    }
}

impl Fake {
    pub(super) fn heard(
        &self,
        start: Instant,
        caller: &Caller<'_>,
        request: &Request<'_>,
        faults: &mut Faults,
    ) -> Result<Live, Refusal> {
        let kind = (request.header)("content-type").unwrap_or("");
        let form = Form::read(kind, request.body).ok_or_else(|| {
            wrong(
                "",
                "invalid_request",
                "Could not parse multipart form".to_owned(),
            )
        })?;
        let missing = |field: &'static str| {
            wrong(
                field,
                "missing_required_parameter",
                format!("you must provide a {field} parameter"),
            )
        };
        let named = form.text("model").ok_or_else(|| missing("model"))?;
        named
            .split('+')
            .skip(1)
            .for_each(|directive| faults.set(directive));
        let model = self.known_model(Wire::Chat, named)?;
        let file = form.file().ok_or_else(|| missing("file"))?;
        if file.is_empty() {
            return Err(wrong(
                "file",
                "audio_too_short",
                "Audio file is too short. Minimum audio length is 0.1 seconds.".to_owned(),
            ));
        }
        super::serve::scripted(caller.wire, faults)?;
        let whisper = model.contains("whisper");
        if caller.route.deed == Deed::Translate && !whisper {
            return Err(wrong(
                "model",
                "invalid_value",
                format!("Model {model} does not translate audio."),
            ));
        }
        let format = form.text("response_format").unwrap_or("json");
        let known: &[&str] = match (whisper, model.contains("diarize")) {
            (true, _) => &["json", "text", "srt", "verbose_json", "vtt"],
            (false, true) => &["json", "text", "diarized_json"],
            (false, false) => &["json"],
        };
        if !known.contains(&format) {
            let said = format!(
                "response_format '{format}' is not compatible with model '{model}'. Use 'json' or 'text' instead."
            );
            return Err(wrong("response_format", "unsupported_value", said));
        }
        let heard = Heard::of(
            caller.route.deed == Deed::Translate,
            seconds(file),
            form.text("prompt"),
            whisper,
        );
        // OpenAI API reference: streaming is not supported for whisper-1, and is ignored there.
        let streams = form.text("stream") == Some("true") && !whisper;
        let mut live = match (streams, format) {
            (true, _) => typed(
                start,
                caller,
                "text/event-stream",
                heard.events().into_bytes(),
                faults,
            ),
            (false, "text" | "srt" | "vtt") => typed(
                start,
                caller,
                "text/plain; charset=utf-8",
                heard.plain(format).into_bytes(),
                faults,
            ),
            (false, _) => plain(start, caller, heard.object(format), faults),
        };
        live.booked = true;
        live.entry.model = model.to_owned();
        live.entry.billed.uncached = heard.input;
        live.entry.billed.output = heard.output;
        live.entry.billed.audio_millis = heard.millis;
        Ok(live)
    }
}

fn wrong(field: &str, code: &'static str, said: String) -> Refusal {
    Refusal::bad_request(Wrong::new(field, code, said))
}

/// What was heard, and what that costs.
struct Heard {
    words: Vec<String>,
    seconds: f64,
    /// By the minute: milliseconds; else tokens of sound and of the prompt.
    by_time: bool,
    millis: u64,
    audio: u64,
    input: u64,
    output: u64,
}

impl Heard {
    fn of(translated: bool, seconds: f64, prompt: Option<&str>, by_time: bool) -> Self {
        let first = if translated { "translated" } else { "heard" };
        let said = format!("I {first} {seconds:.1} seconds of sound.");
        let words: Vec<String> = said.split(' ').map(str::to_owned).collect();
        let mut asked = Prompt::default();
        asked.push(prompt.unwrap_or("").as_bytes());
        // Ten tokens a second of sound, as OpenAI's audio models count.
        let audio = (seconds * 10.0).ceil() as u64;
        let text = asked.tokens();
        // OpenAI's price list: rounded to the nearest second.
        let whole = seconds.round() as u64;
        Self {
            output: if by_time { 0 } else { words.len() as u64 },
            input: if by_time { 0 } else { audio + text },
            millis: if by_time { whole * 1_000 } else { 0 },
            words,
            seconds,
            by_time,
            audio,
        }
    }

    fn text(&self) -> String {
        self.words.join(" ")
    }

    fn usage(&self) -> String {
        if self.by_time {
            return format!(
                "{{\"type\":\"duration\",\"seconds\":{}}}",
                self.millis / 1_000
            );
        }
        format!(
            "{{\"type\":\"tokens\",\"input_tokens\":{},\"input_token_details\":{{\"text_tokens\":{},\"audio_tokens\":{}}},\"output_tokens\":{},\"total_tokens\":{}}}",
            self.input,
            self.input - self.audio,
            self.audio,
            self.output,
            self.input + self.output
        )
    }

    fn object(&self, format: &str) -> String {
        let (text, usage, end) = (quoted(&self.text()), self.usage(), self.seconds);
        match format {
            "verbose_json" => format!(
                "{{\"task\":\"transcribe\",\"language\":\"english\",\"duration\":{end},\"text\":{text},\"segments\":[{{\"id\":0,\"seek\":0,\"start\":0.0,\"end\":{end},\"text\":{text},\"tokens\":[1],\"temperature\":0.0,\"avg_logprob\":-0.2,\"compression_ratio\":1.1,\"no_speech_prob\":0.01}}],\"usage\":{usage}}}"
            ),
            "diarized_json" => format!(
                "{{\"task\":\"transcribe\",\"duration\":{end},\"text\":{text},\"segments\":[{{\"type\":\"transcript.text.segment\",\"id\":\"seg_1\",\"start\":0.0,\"end\":{end},\"text\":{text},\"speaker\":\"A\"}}],\"usage\":{usage}}}"
            ),
            _ => format!("{{\"text\":{text},\"usage\":{usage}}}"),
        }
    }

    fn plain(&self, format: &str) -> String {
        let text = self.text();
        let clock = |mark: char| {
            let millis = (self.seconds * 1e3) as u64;
            format!(
                "00:{:02}:{:02}{mark}{:03}",
                millis / 60_000,
                millis / 1_000 % 60,
                millis % 1_000
            )
        };
        match format {
            "srt" => format!("1\n00:00:00,000 --> {}\n{text}\n\n\n", clock(',')),
            "vtt" => format!("WEBVTT\n\n00:00:00.000 --> {}\n{text}\n\n", clock('.')),
            _ => format!("{text}\n"),
        }
    }

    fn events(&self) -> String {
        let mut events = String::new();
        for (n, word) in self.words.iter().enumerate() {
            let delta = if n == 0 {
                word.clone()
            } else {
                format!(" {word}")
            };
            events += &format!(
                "data: {{\"type\":\"transcript.text.delta\",\"delta\":{}}}\n\n",
                quoted(&delta)
            );
        }
        let (text, usage) = (quoted(&self.text()), self.usage());
        events
            + &format!(
                "data: {{\"type\":\"transcript.text.done\",\"text\":{text},\"usage\":{usage}}}\n\n"
            )
    }
}
