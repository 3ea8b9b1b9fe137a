//! Answers told and told again: what the tests of this folder have in common.

use crate::base::Str;
use crate::canon::{Answer, BlockStart, DialectName, Event, Fault, Fold};
use crate::protocol::dialect::packed_ids::unpack;
use crate::protocol::dialect::splice::{Lift, Pass};
use crate::protocol::dialect::{Closing, Decoder, Encoder, Opening, write_answer};
use crate::protocol::framing::sse;
use bytes::{Bytes, BytesMut};

/// What clients speak.
pub const CLIENTS: [DialectName; 5] = [
    DialectName::Native,
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
];

pub fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

/// An answer that a client was told, as it is read when that gives it back: a signature in a call's id stands with the call.
pub fn given_back(mut answer: Answer) -> Answer {
    for block in &mut answer.blocks {
        if let BlockStart::ToolCall { id, .. } = &mut block.start
            && let Some((short, signature)) = unpack(&id.clone())
        {
            *id = Str::from(short);
            // Where it stands in the dialect's own place too, it is the same.
            let said = block.signature.get_or_insert_with(|| signature.clone());
            assert_eq!(*said, signature);
        }
    }
    answer
}

pub fn cut(body: &[u8]) -> Vec<sse::SseEvent> {
    let mut framing = sse::Decoder::new(1 << 26);
    framing.feed(Bytes::copy_from_slice(body));
    let mut events = Vec::new();
    while let Some(event) = framing.next().expect("shorter than the bound") {
        events.push(event);
    }
    events.extend(framing.rest());
    events
}

/// A stream as `dialect` reads it.
pub fn of_sse(dialect: DialectName, body: &[u8]) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    for event in cut(body) {
        decoder.event(&event, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// A body as `dialect` reads it.
pub fn of_whole(dialect: DialectName, body: &[u8]) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    let body = Bytes::copy_from_slice(body);
    decoder.whole(&body, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// What passes of a stream, and what is lifted from it.
pub fn lifted(dialect: DialectName, body: &[u8]) -> Result<(Vec<Pass>, Vec<Event>), String> {
    let (mut lift, mut out) = (Lift::new(dialect, true), Vec::new());
    let mut passes = Vec::new();
    for event in cut(body) {
        passes.push(lift.event(&event, &mut out).map_err(|e| e.to_string())?);
    }
    lift.finish(&mut out).map_err(|e| e.to_string())?;
    Ok((passes, out))
}

pub fn opening(answer: &Answer) -> Opening {
    Opening {
        id: answer.id.clone(),
        model: "asked".into(),
        stream_usage: true,
        ..Opening::default()
    }
}

/// `events` as a client of `to` is told them in a stream, and what was left out.
pub fn streamed(to: DialectName, events: &[Event]) -> (Bytes, Vec<String>) {
    let opening = opening(&folded(events));
    let (mut encoder, mut out) = (Encoder::new(to, opening), BytesMut::new());
    encoder.events(events, &mut out);
    encoder.finish(&Closing::default(), &mut out);
    (out.freeze(), encoder.dropped().to_vec())
}

/// The same in one body.
pub fn whole(to: DialectName, events: &[Event]) -> Bytes {
    let answer = folded(events);
    write_answer(to, &answer, &opening(&answer), &Closing::default())
}

/// A stream that begins with `events` and breaks with `fault`.
pub fn failed(to: DialectName, events: &[Event], fault: &Fault) -> Bytes {
    let opening = opening(&folded(events));
    let (mut encoder, mut out) = (Encoder::new(to, opening), BytesMut::new());
    encoder.events(events, &mut out);
    encoder.fail(fault, &Closing::default(), &mut out);
    out.freeze()
}

/// All that is said in text.
pub fn text(answer: &Answer) -> String {
    let said = |b: &&crate::canon::AnswerBlock| matches!(b.start, BlockStart::Text);
    let blocks = answer.blocks.iter().filter(said);
    blocks.map(|b| b.text.as_str()).collect()
}
