//! OpenAI's APIs beside chat: Completions and transcripts.

use super::*;
use crate::base::Tokens;

const KIND: &str = "multipart/form-data; boundary=b";

/// The call that was made, under way.
fn called(rig: &mut Rig) -> Call {
    let call = rig.calls().pop().expect("a call");
    rig.on(Input::Sent {
        attempt: call.attempt,
    });
    call
}

fn text(call: &Call) -> String {
    String::from_utf8(call.body.concat()).expect("text")
}

#[test]
fn completions_pass_where_the_provider_has_them() {
    let yaml = one_provider("selfhosted", POOL).replace("name: m0", "name: up");
    let mut rig = Rig::new(&yaml);
    let asked = r#"{"model":"m0","prompt":["a","b"],"echo":true,"min_p":0.5,"max_tokens":9}"#;
    let client = rig.ask_with("/v1/completions", asked, &[]);
    let call = called(&mut rig);
    assert_eq!(&*call.path, "/v1/completions");
    assert_eq!(text(&call), asked.replace("m0", "up"));
    let said = r#"{"id":"c","object":"text_completion","created":1,"model":"up","choices":[{"text":"x","index":0,"finish_reason":"stop"},{"text":"y","index":1,"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;
    rig.up(call.attempt, 200, &[("content-type", "application/json")]);
    rig.say(call.attempt, said);
    rig.end(call.attempt);
    assert_eq!(rig.told(client).2, said, "bytes pass");
    assert_eq!(rig.rows[0].usage.output, Some(Tokens(2)));
    rig.rests();
}

/// We ask for usage where the client did not: neither the last chunk nor a null in the others reaches it.
#[test]
fn usage_that_was_not_asked_for_leaves_no_trace_in_a_stream_that_passes() {
    for (asked, nulls) in [("", 0), (r#","stream_options":{"include_usage":true}"#, 2)] {
        let mut rig = Rig::new(&one_provider("selfhosted", POOL));
        let body = format!(r#"{{"model":"m0","prompt":"p","stream":true{asked}}}"#);
        let client = rig.ask_with("/v1/completions", &body, &[]);
        let call = called(&mut rig);
        assert!(text(&call).contains(r#""include_usage":true"#));
        rig.stream(call.attempt);
        for chunk in [
            r#"{"id":"c","choices":[{"index":0,"text":"a","finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"text":"b","finish_reason":"length"}],"usage":null}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#,
            "[DONE]",
        ] {
            rig.say(call.attempt, &format!("data: {chunk}\n\n"));
        }
        rig.end(call.attempt);
        let (_, _, told) = rig.told(client);
        assert_eq!(told.matches(r#""usage":null"#).count(), nulls, "{told}");
        assert_eq!(told.contains("prompt_tokens"), nulls > 0, "{told}");
        assert!(told.contains(r#""text":"a""#) && told.ends_with("data: [DONE]\n\n"));
        assert_eq!(rig.rows[0].usage.output, Some(Tokens(2)));
        rig.rests();
    }
}

#[test]
fn completions_of_a_model_that_only_chats_are_one_message_and_its_reply() {
    for (stream, said) in [
        (true, format!("{FIRST}{STOP}{USAGE}{DONE}")),
        (false, WHOLE.to_owned()),
    ] {
        let mut rig = Rig::new(&one_provider("openai", POOL));
        let asked =
            format!(r#"{{"model":"m0","prompt":"go on","max_tokens":9,"stream":{stream}}}"#);
        let client = rig.ask_with("/v1/completions", &asked, &[]);
        let call = called(&mut rig);
        assert_eq!(&*call.path, "/v1/chat/completions");
        let body: serde_json::Value = serde_json::from_str(&text(&call)).expect("JSON");
        assert_eq!(body["messages"][0]["role"], "user");
        assert!(body["messages"].to_string().contains("go on"), "{body}");
        if body["stream"] == true {
            rig.stream(call.attempt);
            rig.say(call.attempt, &format!("{FIRST}{STOP}{USAGE}{DONE}"));
        } else {
            rig.up(call.attempt, 200, &[("content-type", "application/json")]);
            rig.say(call.attempt, &said);
        }
        rig.end(call.attempt);
        let (status, _, told) = rig.told(client);
        assert_eq!(status, 200, "{told}");
        assert!(told.contains(r#""object":"text_completion""#), "{told}");
        assert!(
            told.contains(r#""text":"#) && !told.contains("delta"),
            "{told}"
        );
        assert_eq!(told.contains("data: "), stream, "{told}");
        rig.rests();
    }
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let client = rig.ask_with(
        "/v1/completions",
        r#"{"model":"m0","prompt":["a","b"]}"#,
        &[],
    );
    let (status, _, told) = rig.told(client);
    assert_eq!(status, 400);
    assert!(told.contains(r#""param":"prompt""#), "{told}");
}

fn form(model: &str, more: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n\
         --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n{more}--b--\r\n"
    )
}

#[test]
fn a_sound_goes_to_who_transcribes_and_its_words_come_as_they_are() {
    for (kind, said, output) in [
        (
            "application/json",
            r#"{"text":"hi","usage":{"type":"tokens","input_tokens":9,"output_tokens":3}}"#,
            Some(Tokens(3)),
        ),
        (
            "text/plain; charset=utf-8",
            "1\n00:00 --> 00:01\nhi\n",
            None,
        ),
    ] {
        let yaml = one_provider("openai", POOL).replace("name: m0", "name: up");
        let mut rig = Rig::new(&yaml);
        let asked = form("m0", "");
        let client = rig.ask_with(
            "/v1/audio/transcriptions",
            &asked,
            &[("content-type", KIND)],
        );
        let call = called(&mut rig);
        assert_eq!(&*call.path, "/v1/audio/transcriptions");
        assert!(text(&call).contains("RIFF") && !text(&call).contains("m0"));
        let has = |(n, v): &(_, _)| *n == "content-type" && *v == KIND;
        let kinds = call.headers.iter().map(|(n, v)| (&**n, &**v));
        assert_eq!(kinds.filter(has).count(), 1, "{:?}", call.headers);
        rig.up(call.attempt, 200, &[("content-type", kind)]);
        rig.say(call.attempt, said);
        rig.end(call.attempt);
        let (status, headers, told) = rig.told(client);
        assert_eq!((status, &*told), (200, said));
        assert_eq!(header(&headers, "content-type"), Some(kind));
        let usage = &rig.rows[0].usage;
        assert_eq!(usage.output.filter(|_| !usage.estimated), output);
        rig.rests();
    }
}

#[test]
fn a_transcript_that_streams_passes_event_by_event() {
    let mut rig = Rig::new(&one_provider("openai", POOL));
    let more = "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n";
    let asked = form("m0", more);
    let client = rig.ask_with(
        "/v1/audio/transcriptions",
        &asked,
        &[("content-type", KIND)],
    );
    let call = called(&mut rig);
    rig.stream(call.attempt);
    let said = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hi\"}\n\n\
        data: {\"type\":\"transcript.text.done\",\"text\":\"hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":9,\"output_tokens\":3}}\n\n\
        data: [DONE]\n\n";
    rig.say(call.attempt, said);
    rig.end(call.attempt);
    assert_eq!(rig.told(client).2, said);
    assert_eq!(rig.rows[0].usage.output, Some(Tokens(3)));
    rig.rests();
}

/// A second of silence, as a form for whoever costs six cents for ten minutes.
fn second_of_sound(translates: bool, said: &str, whole: bool) -> (Option<u64>, i64, bool) {
    let price = "price: {input: 0, output: 0, audio_minute: 0.006}";
    let yaml = one_provider("openai", POOL).replace(PRICE, price);
    let mut rig = Rig::new(&yaml);
    let mut sound = "RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x40\x1f\0\0".to_owned();
    if !whole {
        sound = "no container ".to_owned();
    }
    sound.push_str(&"\0".repeat(8_000));
    let asked = form("m0", "").replace("RIFF", &sound);
    let path = match translates {
        true => "/v1/audio/translations",
        false => "/v1/audio/transcriptions",
    };
    let client = rig.ask_with(path, &asked, &[("content-type", KIND)]);
    let call = called(&mut rig);
    assert_eq!(&*call.path, path);
    rig.up(call.attempt, 200, &[("content-type", "text/plain")]);
    rig.say(call.attempt, said);
    rig.end(call.attempt);
    assert_eq!(rig.told(client).2, said);
    assert_eq!(rig.rows.len(), 1);
    let row = &rig.rows[0];
    let billed = (
        row.usage.input_audio_millis,
        row.cost.0,
        row.usage.estimated,
    );
    rig.rests();
    billed
}

#[test]
fn a_sound_is_as_long_as_the_answer_says_or_else_as_its_container_says() {
    let (told, timed) = (
        r#"{"text":"hi","usage":{"type":"duration","seconds":2}}"#,
        r#"{"text":"hi","duration":1.5}"#,
    );
    for translates in [false, true] {
        let of = |said, whole| second_of_sound(translates, said, whole);
        assert_eq!(of(told, true), (Some(2_000), 200_000, false));
        assert_eq!(of(timed, true), (Some(1_500), 150_000, false));
        assert_eq!(of("hi", true), (Some(1_000), 100_000, false));
        assert_eq!(of("hi", false), (Some(2_000), 200_000, true));
    }
}

#[test]
fn who_cannot_transcribe_is_not_asked_and_the_client_is_told_why() {
    let mut rig = Rig::new(&one_provider("anthropic", POOL));
    for (asked, kind, param) in [
        (form("m0", ""), KIND, "\"param\":\"model\""),
        (form("nobody", ""), KIND, "model_not_found"),
        ("{}".to_owned(), "application/json", "multipart/form-data"),
    ] {
        let client = rig.ask_with(
            "/v1/audio/transcriptions",
            &asked,
            &[("content-type", kind)],
        );
        let (status, _, told) = rig.told(client);
        assert!(
            (400..500).contains(&status) && told.contains(param),
            "{status} {told}"
        );
    }
    rig.rests();
}
