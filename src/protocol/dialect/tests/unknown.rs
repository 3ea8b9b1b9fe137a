//! What came after this was written: names of events, fields, blocks, deltas, stop reasons, models, counters and errors that nobody knows.
//!
//! Each row puts one of them into an ordinary answer. It passes where both sides speak the same dialect, is kept or passed over where the
//! answer is translated, and the text around it survives in every client's dialect, streamed and whole.

mod rows;

use super::tell::{CLIENTS, cut, failed, folded, lifted, of_sse, of_whole, streamed, text, whole};
use crate::base::Tokens;
use crate::canon::{DialectName, Event, StopReason};
use crate::protocol::dialect::splice::{Pass, is_lifted, lift_whole};
use crate::protocol::dialect::{read_error, write_error};
use DialectName::{Chat, Converse, Gemini, Messages, Native, Responses};
use rows::{ERRORS, HERE, NEITHER, ROWS, STOPS, body, stream};

fn put(into: &str, (from, to): (&str, &str), what: &str) -> String {
    let changed = into.replace(from, to);
    assert_ne!(changed, into, "{what}: {from} does not stand in {into}");
    changed
}

/// The answer that a decoder made of a row is whole, and each client is told its text and end.
fn tells(what: &str, events: &[Event], stop: &StopReason) {
    let answer = folded(events);
    assert!(answer.done && answer.error.is_none(), "{what}: {answer:?}");
    assert_eq!(text(&answer), "before after", "{what}");
    assert_eq!(answer.stops.len(), 1, "{what}");
    assert_eq!(&answer.stops[0].1, stop, "{what}");
    assert_eq!(
        (answer.usage.input_total(), answer.usage.output),
        (Tokens(10), Some(Tokens(4))),
        "{what}"
    );
    assert!(answer.blocks.iter().all(|b| b.stopped), "{what}");
    for to in CLIENTS {
        let (bytes, _) = streamed(to, events);
        let stream = of_sse(to, &bytes).unwrap_or_else(|e| panic!("{what} to {to:?}: {e}"));
        let body = whole(to, events);
        let whole = of_whole(to, &body).unwrap_or_else(|e| panic!("{what} to {to:?}: {e}"));
        for told in [stream, whole] {
            let told = folded(&told);
            assert!(told.done, "{what} to {to:?}");
            assert_eq!(text(&told), "before after", "{what} to {to:?}");
            assert_eq!(told.stops[0].1, heard(to, stop), "{what} to {to:?}");
            assert_eq!(told.usage.output, Some(Tokens(4)), "{what} to {to:?}");
        }
    }
}

/// Google's clients know a list of reasons in capitals, of which one is for all others (Gemini API docs, FinishReason, read 2026-08).
fn heard(to: DialectName, stop: &StopReason) -> StopReason {
    match (to, stop) {
        (Gemini, StopReason::Other(word)) if word.chars().any(char::is_lowercase) => {
            StopReason::Other("OTHER".into())
        }
        _ => stop.clone(),
    }
}

#[test]
fn what_is_unknown_is_kept_or_passed_over_and_the_text_around_it_survives() {
    for (what, dialect, in_stream, in_body) in ROWS {
        let what = format!("{what} of {dialect:?}");
        if *in_stream != NEITHER {
            let said = put(&stream(*dialect), *in_stream, &what);
            let events =
                of_sse(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
            tells(&format!("{what}, streamed"), &events, &StopReason::EndTurn);
        }
        if *in_body != NEITHER {
            let said = put(&body(*dialect), *in_body, &what);
            let events =
                of_whole(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
            tells(&format!("{what}, whole"), &events, &StopReason::EndTurn);
        }
    }
}

#[test]
fn what_is_unknown_passes_by_and_what_is_lifted_is_what_the_decoder_reads() {
    for (what, dialect, in_stream, _) in ROWS.iter().filter(|row| row.2 != NEITHER) {
        let what = format!("{what} of {dialect:?}");
        let said = put(&stream(*dialect), *in_stream, &what);
        let (passes, lifted) =
            lifted(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(
            passes.iter().all(|p| *p == Pass::Forward),
            "{what}: {passes:?}"
        );
        let mut decoded = of_sse(*dialect, said.as_bytes()).expect("the test above");
        decoded.retain(is_lifted);
        assert_eq!(lifted, decoded, "{what}");
    }
    for (what, dialect, _, in_body) in ROWS.iter().filter(|row| row.3 != NEITHER) {
        let said = put(&body(*dialect), *in_body, what);
        let mut decoded = of_whole(*dialect, said.as_bytes()).expect("the test above");
        // Why it stopped the client reads itself.
        decoded.retain(|e| is_lifted(e) && !matches!(e, Event::Stop { .. }));
        let mut lifted = Vec::new();
        lift_whole(*dialect, &said.into(), &mut lifted).expect("passes");
        assert_eq!(lifted, decoded, "{what} of {dialect:?}");
    }
}

#[test]
fn a_reason_to_stop_that_is_new_ends_an_answer_well() {
    for (dialect, from, to) in STOPS {
        let what = format!("stop of {dialect:?}");
        let word = if *dialect == Gemini {
            "SATIATED"
        } else {
            "satiated"
        };
        let stop = StopReason::Other(word.into());
        let said = put(&stream(*dialect), (from, to), &what);
        let events = of_sse(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        tells(&what, &events, &stop);
        let (passes, lifted) = lifted(*dialect, said.as_bytes()).expect("passes");
        assert!(passes.iter().all(|p| *p == Pass::Forward), "{what}");
        assert!(
            lifted
                .iter()
                .any(|e| matches!(e, Event::Stop { reason, .. } if *reason == stop))
        );
        let said = put(&body(*dialect), (from, to), &what);
        let events = of_whole(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        tells(&what, &events, &stop);
    }
    // Responses says why an answer is incomplete, and a status that is new is an end all the same.
    for (from, to) in [
        (
            r#""status":"completed","output""#,
            r#""status":"incomplete","incomplete_details":{"reason":"satiated"},"output""#,
        ),
        (
            r#""status":"completed","output""#,
            r#""status":"satiated","output""#,
        ),
    ] {
        let said = put(&body(Responses), (from, to), to);
        let events = of_whole(Responses, said.as_bytes()).unwrap_or_else(|e| panic!("{to}: {e}"));
        let answer = folded(&events);
        assert!(answer.done, "{to}");
        assert_eq!(text(&answer), "before after");
        assert_eq!(
            answer.stops[0].1,
            StopReason::Other("satiated".into()),
            "{to}"
        );
    }
}

#[test]
fn a_refusal_of_a_new_type_keeps_its_words_and_the_class_of_its_status() {
    for (dialect, refusal) in [
        (
            Chat,
            r#"{"error":{"message":"all is lost","type":"hologram_error","code":"h1","new":1}}"#,
        ),
        (
            Messages,
            r#"{"type":"error","error":{"type":"hologram_error","message":"all is lost","new":1}}"#,
        ),
        (
            Responses,
            r#"{"error":{"message":"all is lost","type":"hologram_error","param":null,"new":1}}"#,
        ),
        (
            Gemini,
            r#"{"error":{"code":418,"message":"all is lost","status":"HOLOGRAM","details":[{"@type":"x"}]}}"#,
        ),
        (
            Converse,
            r#"{"message":"all is lost","__type":"HologramException"}"#,
        ),
    ] {
        for (status, retryable) in [(418, false), (429, true), (503, true), (599, true)] {
            let fault = read_error(dialect, status, refusal.as_bytes());
            assert_eq!(fault.message, "all is lost", "{dialect:?} {status}");
            assert_eq!(
                fault.class.retryable(),
                retryable,
                "{dialect:?} {status}: {fault:?}"
            );
            for to in CLIENTS {
                let (status, body) = write_error(to, &fault, "x");
                assert!(status >= 400, "{dialect:?} to {to:?}");
                let heard = read_error(to, status, &body);
                assert_eq!(heard.message, "all is lost", "{dialect:?} to {to:?}");
            }
        }
    }
}

#[test]
fn an_error_of_a_new_type_ends_the_stream_in_each_clients_words() {
    for (dialect, error) in ERRORS {
        let ordinary = stream(*dialect);
        let (head, _) = ordinary.split_once(HERE).expect("a place");
        let said = format!("{head}{error}");
        let events = of_sse(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{error}: {e}"));
        let Some((Event::Error(fault), before)) = events.split_last() else {
            panic!("{error}: {events:?}");
        };
        assert_eq!(fault.message, "all is lost", "{error}");
        let (passes, _) =
            lifted(*dialect, said.as_bytes()).unwrap_or_else(|e| panic!("{error}: {e}"));
        assert_eq!(passes.last(), Some(&Pass::Broken), "{error}");
        for to in CLIENTS {
            let bytes = failed(to, before, fault);
            let told = of_sse(to, &bytes).unwrap_or_else(|e| panic!("{error} to {to:?}: {e}"));
            let told = folded(&told);
            let heard = told
                .error
                .as_ref()
                .unwrap_or_else(|| panic!("{error} to {to:?}"));
            assert!(
                heard.message.contains("all is lost"),
                "{error} to {to:?}: {heard:?}"
            );
            assert!(!told.done, "{error} to {to:?}");
            assert_eq!(text(&told), "before ", "{error} to {to:?}");
        }
    }
}

#[test]
fn the_ordinary_answer_is_what_the_rows_take_it_for() {
    for dialect in [Chat, Messages, Responses, Gemini, Converse, Native] {
        let events = of_sse(dialect, stream(dialect).as_bytes()).expect("ordinary");
        tells(&format!("{dialect:?}"), &events, &StopReason::EndTurn);
        let events = of_whole(dialect, body(dialect).as_bytes()).expect("ordinary");
        tells(&format!("{dialect:?}"), &events, &StopReason::EndTurn);
        assert!(cut(stream(dialect).as_bytes()).len() > 1);
    }
}
