//! Lifts from an answer in Responses (OpenAI API reference, read 2026-08), and from its other speakers.
//!
//! SSE's names tell which events are deltas, and those are not parsed; the rest is read by the outline that the decoder uses too, so both
//! say the same.

use super::Pass;
use crate::base::Str;
use crate::canon::{Event, Malformed};
use crate::protocol::dialect::responses::errors;
use crate::protocol::dialect::responses::events::outline::{Kind, Outline, kind_of, read};
use crate::protocol::dialect::responses::schema::{Response, StreamEvent};
use crate::protocol::framing::sse::SseEvent;

#[derive(Debug, Default)]
pub(super) struct ResponsesLift(Outline);

impl ResponsesLift {
    pub fn event(&mut self, sse: &SseEvent, out: &mut Vec<Event>) -> Result<Pass, Malformed> {
        let data = sse.data.trim_ascii();
        if self.0.ended || data.is_empty() || data == b"[DONE]" {
            return Ok(Pass::Forward);
        }
        let by_name = std::str::from_utf8(&sse.name).map_or(Kind::Foreign, Kind::of);
        if by_name != Kind::Foreign && self.0.mark(by_name) {
            return Ok(Pass::Forward);
        }
        let body =
            Str::try_from(sse.data.slice_ref(data)).map_err(|_| Malformed::at("not UTF-8"))?;
        let event: StreamEvent<'_> = super::lift::read("event of Responses", data)?;
        let (name, kind) = kind_of(&sse.name, &event);
        match kind {
            Kind::Error => {
                self.0.ended = true;
                out.push(Event::Error(Box::new(errors::read_event(&body))));
                Ok(Pass::Broken)
            }
            Kind::Ends => {
                let response: Response<'_> = match event.response {
                    Some(raw) => read("response", raw)?,
                    None => Response::default(),
                };
                self.0.end(&name, &response, &body, out)?;
                let broken = matches!(out.last(), Some(Event::Error(_)));
                Ok(if broken { Pass::Broken } else { Pass::Forward })
            }
            _ => self.0.see(kind, &event, &body, out).map(|()| Pass::Forward),
        }
    }

    pub fn finish(&self) -> Result<(), Malformed> {
        if self.0.ended {
            Ok(())
        } else {
            Err(Malformed::at("the stream ended before response.completed"))
        }
    }
}
