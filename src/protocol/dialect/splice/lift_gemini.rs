//! Lifts from an answer of Gemini that passes by.
//!
//! Nearly every chunk carries usage, so each is parsed; its parts are not, but as far as needed to know whether something was said and whether
//! a function was called, since Gemini ends both answers with the same word.

use super::Pass;
use super::lift::read;
use crate::base::{Json, Str};
use crate::canon::{Event, Malformed, StopReason, Usage};
use crate::protocol::dialect::gemini::errors;
use crate::protocol::dialect::gemini::events::stop::{self, Finish};
use crate::protocol::dialect::gemini::events::{CANDIDATES_MAX, read_usage};
use crate::protocol::dialect::gemini::schema::{self, Candidate, Chunk, FunctionCall, Part};
use crate::protocol::framing::sse::SseEvent;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

#[derive(Debug)]
pub(super) struct GeminiLift {
    started: bool,
    ended: bool,
    said: bool,
    candidates: Vec<Known>,
    usage: Option<Json>,
    searches: u64,
    call: Finder<'static>,
    call_snake: Finder<'static>,
}

/// What a candidate has said so far.
#[derive(Debug, Default)]
struct Known {
    number: u32,
    stopped: bool,
    called: bool,
}

impl GeminiLift {
    pub fn new() -> Self {
        Self {
            started: false,
            ended: false,
            said: false,
            candidates: Vec::new(),
            usage: None,
            searches: 0,
            call: Finder::new(b"\"functionCall\""),
            call_snake: Finder::new(b"\"function_call\""),
        }
    }

    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        let data = sse.data.trim_ascii();
        if self.ended || data.is_empty() || data == b"[DONE]" {
            return Ok(Pass::Forward);
        }
        if data.starts_with(b"[") {
            let mut pass = Pass::Forward;
            for chunk in &read::<Vec<Chunk<'_>>>("chunk", data)? {
                if !self.ended {
                    pass = self.chunk(chunk, data, &sse.name, out)?;
                }
            }
            return Ok(pass);
        }
        self.chunk(&read("chunk", data)?, data, &sse.name, out)
    }

    fn chunk(
        &mut self,
        chunk: &Chunk<'_>,
        data: &[u8],
        name: &[u8],
        out: &mut Vec<Event>,
    ) -> Result<Pass, Malformed> {
        if chunk.error.is_some() || name == b"error" {
            self.ended = true;
            let fault = errors::read_chunk(&String::from_utf8_lossy(data));
            out.push(Event::Error(Box::new(fault)));
            return Ok(Pass::Broken);
        }
        self.start(chunk, out);
        self.lift_usage(chunk, out);
        for (position, candidate) in chunk.candidates.iter().flatten().enumerate() {
            if self.candidate(position, candidate, out)? == Pass::Broken {
                return Ok(Pass::Broken);
            }
        }
        let blocked = chunk.prompt_feedback.is_some_and(stop::is_blocked);
        if blocked && self.candidates.is_empty() {
            self.candidates.push(Known {
                stopped: true,
                ..Known::default()
            });
            out.push(Event::Stop {
                choice: 0,
                reason: StopReason::ContentFilter,
                sequence: None,
            });
        }
        Ok(Pass::Forward)
    }

    fn start(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let text = |raw| schema::text(&Str::new(), raw);
        out.push(Event::Started {
            id: text(chunk.response_id).unwrap_or_default(),
            model: text(chunk.model_version).unwrap_or_default(),
            created: text(chunk.create_time).and_then(|t| schema::seconds(&t)),
        });
    }

    fn lift_usage(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        let candidates = chunk.candidates.iter().flatten();
        let searches: u64 = candidates.map(Candidate::searches).sum();
        let raw = chunk.usage_metadata.map(Json::of_raw);
        let same = raw.is_none() || raw == self.usage;
        if same && searches <= self.searches {
            return;
        }
        self.searches = self.searches.max(searches);
        let read = raw.clone().and_then(read_usage);
        self.usage = raw.or(self.usage.take());
        out.push(Event::Usage(Box::new(Usage {
            web_searches: Some(self.searches).filter(|n| *n > 0),
            ..read.unwrap_or_default()
        })));
    }

    fn candidate(
        &mut self,
        position: usize,
        told: &Candidate<'_>,
        out: &mut Vec<Event>,
    ) -> Result<Pass, Malformed> {
        let number = told.index.unwrap_or(position as u32);
        let at = match self.candidates.iter().position(|c| c.number == number) {
            Some(at) => at,
            None if self.candidates.len() >= CANDIDATES_MAX => {
                return Err(Malformed::at("chunk: too many candidates"));
            }
            None => {
                self.candidates.push(Known {
                    number,
                    ..Known::default()
                });
                self.candidates.len() - 1
            }
        };
        if !self.candidates[at].stopped {
            self.parts(at, told)?;
        }
        let word = schema::some_text(&Str::new(), told.finish_reason);
        let known = &mut self.candidates[at];
        let Some(word) = word.filter(|_| !std::mem::replace(&mut known.stopped, true)) else {
            return Ok(Pass::Forward);
        };
        match stop::read(&word, self.said, known.called) {
            Finish::Stop(reason) => out.push(Event::Stop {
                choice: number,
                reason,
                sequence: None,
            }),
            Finish::Failed(fault) => {
                self.ended = true;
                out.push(Event::Error(fault));
                return Ok(Pass::Broken);
            }
        }
        Ok(Pass::Forward)
    }

    /// Looks into the parts where something is still to be learned from them.
    fn parts(&mut self, at: usize, told: &Candidate<'_>) -> Result<(), Malformed> {
        let written = told.content.map_or("", RawValue::get).as_bytes();
        let may_call = !self.candidates[at].called
            && (self.call.find(written).is_some() || self.call_snake.find(written).is_some());
        if self.said && !may_call {
            return Ok(());
        }
        let wrong = || Malformed::at("chunk: content without a list of parts");
        for raw in told.parts().ok_or_else(wrong)? {
            let part: Part<'_> = serde_json::from_str(raw.get())
                .map_err(|_| Malformed::at("chunk: a part that is no object"))?;
            self.said |= part.says(raw);
            self.candidates[at].called |= part.function_call.is_some_and(is_named);
        }
        Ok(())
    }

    /// Only what was finished is whole: Gemini has no end mark.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        if self.candidates.is_empty() || self.candidates.iter().any(|c| !c.stopped) {
            return Err(Malformed::at(
                "the stream ended without a finishReason for every candidate",
            ));
        }
        self.ended = true;
        out.push(Event::Done);
        Ok(())
    }
}

/// Whether it begins a call; pieces that follow have no name.
fn is_named(raw: &RawValue) -> bool {
    let call: FunctionCall<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    schema::some_text(&Str::new(), call.name).is_some()
}
