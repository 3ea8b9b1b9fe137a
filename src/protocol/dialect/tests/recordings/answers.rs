//! Recorded answers: decoded, said again, told to others.

use super::normal::essence;
use super::told::Told;
use super::{CLIENTS, Outcome, Recording, Tally, refusals};
use crate::canon::{Answer, DialectName, Event, Fold};
use crate::protocol::dialect::tests::folder::{of_sse, of_whole};
use crate::protocol::dialect::tests::tell::given_back;
use crate::protocol::dialect::{Closing, Encoder, Opening, write_answer};
use bytes::{Bytes, BytesMut};

pub(super) fn check(recording: &Recording, dialect: DialectName, tally: &mut Tally) {
    if recording.json["response"].is_null() {
        return;
    }
    if !(200..300).contains(&recording.status()) {
        return refusals::check(recording, dialect, tally);
    }
    let name = dialect.as_str();
    let events = match recording.events(dialect, usize::MAX) {
        Ok(events) => events,
        Err(why) => return tally.note(recording, "decode", name, Err(why)),
    };
    tally.note(
        recording,
        "decode",
        name,
        decoded_well(recording, dialect, &events),
    );
    // A recorded failure within a stream: there is no whole answer to compare, and every client hears of the failure.
    if let Some(Event::Error(fault)) = events.last() {
        for to in CLIENTS {
            let of = refusals::broke_off(to, &events, fault);
            tally.note(recording, "broken", to.as_str(), of);
        }
        return;
    }
    tally.note(recording, "again", name, again(dialect, &events));
    for to in CLIENTS.into_iter().filter(|to| *to != dialect) {
        tally.note(recording, "answer", to.as_str(), told_in(to, &events));
    }
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    events.iter().for_each(|e| fold.event(e));
    fold.into_answer()
}

/// However the network cuts it, it says the same; and it says something, and ends.
fn decoded_well(recording: &Recording, dialect: DialectName, events: &[Event]) -> Outcome {
    for piece in [1, 7, 4096] {
        if recording.events(dialect, piece)? != events {
            return Err(format!("in pieces of {piece} bytes it says something else"));
        }
    }
    let answer = folded(events);
    if answer.error.is_none() && (!answer.done || answer.stops.is_empty()) {
        return Err("it has no end".to_owned());
    }
    if let Some(open) = answer
        .blocks
        .iter()
        .find(|b| !b.stopped && answer.error.is_none())
    {
        return Err(format!("a block was left open: {open:?}"));
    }
    Ok("-")
}

/// What was said in one form, and what was named as left out.
struct Said {
    form: &'static str,
    answer: Answer,
}

/// `events` in the words of `to`, streamed and whole, read again; and what was named as left out.
fn said_in(to: DialectName, events: &[Event]) -> Result<(Vec<Said>, Vec<String>), String> {
    let answer = folded(events);
    let opening = Opening {
        id: answer.id.clone(),
        model: answer.model.clone(),
        created: answer.created.unwrap_or_default(),
        stream_usage: true,
        ..Opening::default()
    };
    let closing = Closing::default();
    let (mut encoder, mut out) = (Encoder::new(to, opening.clone()), BytesMut::new());
    encoder.events(events, &mut out);
    encoder.finish(&closing, &mut out);
    let whole: Bytes = write_answer(to, &answer, &opening, &closing);
    let said = [
        ("stream", of_sse(to, &out, usize::MAX)),
        ("whole", of_whole(to, &whole)),
    ];
    let said = said.into_iter().map(|(form, events)| {
        let answer = folded(&events.map_err(|why| format!("{form}: {why}"))?);
        let answer = given_back(answer);
        Ok(Said { form, answer })
    });
    Ok((
        said.collect::<Result<_, String>>()?,
        encoder.dropped().to_vec(),
    ))
}

/// In its own dialect nothing is lost.
fn again(dialect: DialectName, events: &[Event]) -> Outcome {
    let (said, dropped) = said_in(dialect, events)?;
    if !dropped.is_empty() {
        return Err(format!("drops {dropped:?} of its own"));
    }
    let wanted = essence(dialect, folded(events));
    for each in said {
        let got = essence(dialect, each.answer);
        if got != wanted {
            return Err(format!("{}: {}", each.form, difference(&wanted, &got)));
        }
    }
    Ok("same")
}

/// In another dialect all comes back but what is named.
fn told_in(to: DialectName, events: &[Event]) -> Outcome {
    let (said, dropped) = said_in(to, events)?;
    let mut wanted = Told::of(&folded(events));
    dropped.iter().for_each(|name| wanted.without(name));
    wanted.in_words_of(to);
    if to == DialectName::Responses {
        wanted.hosted += Told::run_by_gemini(&folded(events));
    }
    for each in said {
        if each.form == "whole" {
            wanted.in_one_body_of(to);
        }
        let got = Told::of(&each.answer);
        if got != wanted {
            let lines = difference(&wanted, &got);
            return Err(format!("{} (named {dropped:?}): {lines}", each.form));
        }
    }
    Ok(if dropped.is_empty() { "same" } else { "named" })
}

/// The lines in which two tellings differ.
pub(super) fn difference<T: std::fmt::Debug>(wanted: &T, got: &T) -> String {
    let (wanted, got) = (format!("{wanted:#?}"), format!("{got:#?}"));
    let lacks = wanted.lines().filter(|l| !got.lines().any(|g| g == *l));
    let has = got.lines().filter(|l| !wanted.lines().any(|w| w == *l));
    let shorten = |line: &str| line.chars().take(160).collect::<String>();
    let lacks = lacks.map(|l| format!("\n  - {}", shorten(l)));
    lacks
        .chain(has.map(|l| format!("\n  + {}", shorten(l))))
        .collect()
}
