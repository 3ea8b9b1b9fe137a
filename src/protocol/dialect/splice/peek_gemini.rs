//! One pass over a Gemini request's JSON: flags and counts, nothing built.
//!
//! Model and stream stand in the path, so there is nothing to find for them, and nothing to change when the body passes. Both spellings of a
//! name count as one; a field that we route on and that stands twice is refused, since the provider might read the other.

use super::Peek;
use super::peek::plain_string;
use crate::canon::{Fault, FaultClass};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// Reads what routing needs. `Err` names the field that is wrong or missing. Costs one UTF-8 check and one pass.
pub(super) fn peek(body: &Bytes) -> Result<Peek, Fault> {
    let (peek, has_contents) = scan(body)?;
    if !has_contents {
        return Err(Fault::invalid("contents", "contents is missing"));
    }
    Ok(peek)
}

/// The same of a prefix that shall be cached, which need not have contents: an instruction or tools will do.
pub fn peek_prefix(body: &Bytes) -> Result<Peek, Fault> {
    scan(body).map(|(peek, _)| peek)
}

/// Also whether there are contents.
fn scan(body: &Bytes) -> Result<(Peek, bool), Fault> {
    let text = simdutf8::compat::from_utf8(body).map_err(|e| {
        let at = e.valid_up_to();
        Fault::new(
            FaultClass::Invalid,
            format!("the body is not UTF-8 at byte {at}"),
        )
    })?;
    let mut scan = Scan {
        body,
        peek: Peek {
            stream_usage: true,
            ..Peek::default()
        },
        seen: Vec::new(),
        reading: None,
        twice: false,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(&mut scan).and_then(|()| json.end());
    read.map_err(|error| scan.fault_of(&error))?;
    let has_contents = scan.seen.contains(&Top::Contents);
    Ok((scan.peek, has_contents))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Top {
    Contents,
    Instruction,
    Tools,
    Config,
    Cached,
    Other,
}

impl Top {
    fn of(name: &str) -> Self {
        match name {
            "contents" => Self::Contents,
            "systemInstruction" | "system_instruction" => Self::Instruction,
            "tools" => Self::Tools,
            "generationConfig" | "generation_config" => Self::Config,
            "cachedContent" | "cached_content" => Self::Cached,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Contents => "contents",
            Self::Instruction => "systemInstruction",
            Self::Tools => "tools",
            Self::Config => "generationConfig",
            Self::Cached => "cachedContent",
            Self::Other => "",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Contents => "an array of contents",
            Self::Instruction => "a content, which is an object",
            Self::Tools => "an array of tools",
            Self::Config => "an object whose maxOutputTokens is a whole number",
            Self::Cached => "a string",
            Self::Other => "JSON",
        }
    }
}

struct Scan<'b> {
    body: &'b Bytes,
    peek: Peek,
    seen: Vec<Top>,
    reading: Option<Top>,
    twice: bool,
}

impl Scan<'_> {
    /// Without serde_json's words for wrong types: they quote the value.
    fn fault_of(&self, error: &serde_json::Error) -> Fault {
        match self.reading {
            Some(top) if self.twice => {
                let name = top.name();
                Fault::invalid(name, format!("{name} stands twice"))
            }
            Some(top) if error.is_data() => {
                let (name, expected) = (top.name(), top.expected());
                Fault::invalid(name, format!("{name} must be {expected}"))
            }
            None if error.is_data() => {
                Fault::new(FaultClass::Invalid, "the body must be a JSON object")
            }
            _ => Fault::new(
                FaultClass::Invalid,
                format!("the body is not JSON: {error}"),
            ),
        }
    }

    /// Takes the value of a small field. `None`: it is wrong.
    fn small(&mut self, top: Top, raw: &RawValue) -> Option<()> {
        let text = raw.get();
        if text == "null" {
            return Some(());
        }
        match top {
            Top::Tools => {
                let inside = text.strip_prefix('[').map(str::trim_start);
                let filled = inside.is_none_or(|rest| !rest.starts_with(']'));
                self.peek.tools |= filled;
                self.peek.prompt_bytes += if filled { text.len() } else { 0 };
                text.starts_with(['[', '{']).then_some(())
            }
            Top::Config => {
                self.peek.max_output = limit(text)?;
                Some(())
            }
            Top::Cached => {
                if text != "\"\"" {
                    let start = text.as_ptr() as usize - self.body.as_ptr() as usize;
                    let at = start..start + text.len();
                    self.peek.cached = Some(plain_string(self.body, text, &at)?);
                    self.peek.cached_at = at;
                    self.peek.server_state = true;
                }
                Some(())
            }
            Top::Contents | Top::Instruction | Top::Other => Some(()),
        }
    }
}

/// `maxOutputTokens` of a config, if it says so; `None` for what is no config.
fn limit(text: &str) -> Option<Option<u64>> {
    #[derive(Deserialize)]
    struct Config<'a> {
        #[serde(borrow, rename = "maxOutputTokens", alias = "max_output_tokens")]
        limit: Option<&'a RawValue>,
    }
    // serde reads structs from arrays too.
    text.starts_with('{').then_some(())?;
    let config: Config<'_> = serde_json::from_str(text).ok()?;
    let Some(raw) = config.limit else {
        return Some(None);
    };
    let text = raw.get().trim_matches('"');
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.parse().ok().map(Some)
}

impl<'de> Visitor<'de> for &mut Scan<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(top) = map.next_key_seed(Key(Top::of))? {
            self.reading = Some(top);
            if top != Top::Other && self.seen.contains(&top) {
                self.twice = true;
                return Err(A::Error::custom("twice"));
            }
            if top != Top::Other {
                self.seen.push(top);
            }
            match top {
                Top::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
                Top::Contents => map.next_value_seed(List(&mut self.peek, contents))?,
                Top::Instruction => map.next_value_seed(Instruction(&mut self.peek))?,
                _ => {
                    let raw = map.next_value::<&RawValue>()?;
                    if self.small(top, raw).is_none() {
                        return Err(A::Error::custom("wrong"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A field's name, as what `of` makes of it.
struct Key<T>(fn(&str) -> T);

impl<'de, T> DeserializeSeed<'de> for Key<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl<T> Visitor<'_> for Key<T> {
    type Value = T;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field's name")
    }
    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// Reads one object of a list.
type Reader = fn(&mut Peek, &RawValue) -> Result<(), serde_json::Error>;

/// A list of objects, or one of them alone, as Google takes it.
struct List<'p>(&'p mut Peek, Reader);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        // An object alone is rare and small; a list is walked without being kept.
        let raw = <&RawValue>::deserialize(from)?;
        list(self.0, raw, self.1).map_err(D::Error::custom)
    }
}

fn list(peek: &mut Peek, raw: &RawValue, read: Reader) -> Result<(), serde_json::Error> {
    if raw.get().starts_with('{') {
        return read(peek, raw);
    }
    struct Items<'p>(&'p mut Peek, Reader);
    impl<'de> Visitor<'de> for Items<'_> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array of objects")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            while let Some(raw) = seq.next_element::<&RawValue>()? {
                (self.1)(self.0, raw).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Items(peek, read))
}

struct Instruction<'p>(&'p mut Peek);

impl<'de> DeserializeSeed<'de> for Instruction<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let raw = <&RawValue>::deserialize(from)?;
        if raw.get() == "null" {
            return Ok(());
        }
        content(self.0, raw).map_err(D::Error::custom)
    }
}

fn contents(peek: &mut Peek, raw: &RawValue) -> Result<(), serde_json::Error> {
    peek.turns = peek.turns.saturating_add(1);
    content(peek, raw)
}

/// The members of an object with the names of both spellings; `None`: it is no object.
fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, serde_json::Error> {
    if !raw.get().starts_with('{') {
        return Err(serde_json::Error::custom("not an object"));
    }
    serde_json::from_str(raw.get())
}

fn content(peek: &mut Peek, raw: &RawValue) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        parts: Option<&'a RawValue>,
    }
    let content: Content<'_> = object(raw)?;
    content
        .parts
        .map_or(Ok(()), |parts| list(peek, parts, part))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow, alias = "thought_signature")]
    thought_signature: Option<&'a RawValue>,
    #[serde(borrow, alias = "inline_data")]
    inline_data: Option<&'a RawValue>,
    #[serde(borrow, alias = "file_data")]
    file_data: Option<&'a RawValue>,
    #[serde(borrow, alias = "function_call")]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, alias = "function_response")]
    function_response: Option<&'a RawValue>,
    #[serde(borrow, alias = "executable_code")]
    executable_code: Option<&'a RawValue>,
    #[serde(borrow, alias = "code_execution_result")]
    code_execution_result: Option<&'a RawValue>,
}

fn part(peek: &mut Peek, raw: &RawValue) -> Result<(), serde_json::Error> {
    let part: Part<'_> = object(raw)?;
    // Quotes are not content.
    let text = part.text.map_or(0, |t| t.get().len().saturating_sub(2));
    let read_as_text = [
        part.function_call,
        part.executable_code,
        part.code_execution_result,
    ];
    let json: usize = read_as_text.iter().flatten().map(|r| r.get().len()).sum();
    peek.prompt_bytes += text + json;
    peek.has_thinking |= part.thought_signature.is_some_and(|s| s.get() != "\"\"");
    for data in [part.inline_data, part.file_data].into_iter().flatten() {
        media(peek, data)?;
    }
    part.function_response
        .map_or(Ok(()), |response| result(peek, response))
}

/// What a part of bytes, or at an address, is, by the head of its type.
fn media(peek: &mut Peek, raw: &RawValue) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Media<'a> {
        #[serde(borrow, alias = "mime_type")]
        mime_type: Option<&'a RawValue>,
        #[serde(borrow, alias = "file_uri")]
        file_uri: Option<&'a RawValue>,
    }
    let media: Media<'_> = object(raw)?;
    let uri = media.file_uri.map_or("", |u| u.get().trim_matches('"'));
    // What lies in Google's file store or in a bucket is one project's; anybody may fetch what is on the web.
    let stored = uri.contains("generativelanguage.googleapis.com/") || !uri.starts_with("http");
    peek.server_state |= !uri.is_empty() && stored;
    let mime = media.mime_type.map_or("", |m| m.get().trim_matches('"'));
    match mime.split('/').next() {
        Some("image") => peek.images = true,
        Some("audio") => peek.audio = true,
        Some("video") => peek.video = true,
        // Without a type it is a video of YouTube or a file that its store knows.
        Some("") if uri.contains("youtu") => peek.video = true,
        _ => peek.documents = true,
    }
    Ok(())
}

fn result(peek: &mut Peek, raw: &RawValue) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow)]
        response: Option<&'a RawValue>,
        #[serde(borrow)]
        parts: Option<&'a RawValue>,
    }
    let response: Response<'_> = object(raw)?;
    let told = [response.name, response.response];
    peek.prompt_bytes += told.iter().flatten().map(|r| r.get().len()).sum::<usize>();
    response
        .parts
        .map_or(Ok(()), |parts| list(peek, parts, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<Peek, Fault> {
        peek(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn both_spellings_are_read_in_any_order() {
        for body in [
            r#"{"generationConfig":{"maxOutputTokens":7},"tools":[{"googleSearch":{}}],"systemInstruction":{"parts":[{"text":"ab"}]},"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"fileData":{"mimeType":"audio/mp3","fileUri":"https://x.example/a.mp3"}},{"text":"c"}]},{"role":"model","parts":[{"functionCall":{"a":1},"thoughtSignature":"s"}]},{"parts":[{"functionResponse":{"name":"f","response":{},"parts":[{"inlineData":{"mimeType":"application/pdf","data":""}}]}}]}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"inline_data":{"mime_type":"image/png","data":"AAAA"}},{"file_data":{"mime_type":"audio/mp3","file_uri":"https://x.example/a.mp3"}},{"text":"c"}]},{"role":"model","parts":[{"function_call":{"a":1},"thought_signature":"s"}]},{"parts":[{"function_response":{"name":"f","response":{},"parts":[{"inline_data":{"mime_type":"application/pdf","data":""}}]}}]}],"system_instruction":{"parts":{"text":"ab"}},"generation_config":{"max_output_tokens":"7"},"tools":[{"googleSearch":{}}]}"#,
        ] {
            let peek = of(body).expect("right");
            assert!(peek.images && peek.audio && peek.documents && peek.tools && peek.has_thinking);
            assert!(!peek.video && !peek.server_state && !peek.stream && peek.stream_usage);
            assert_eq!((peek.turns, peek.max_output), (3, Some(7)));
            // "ab", "c", the call, the result's name and response, the tools.
            assert_eq!(peek.prompt_bytes, 2 + 1 + 7 + 3 + 2 + 21);
            assert_eq!((&*peek.model, peek.model_at), ("", 0..0));
        }
    }

    #[test]
    fn what_lies_at_google_pins_the_request() {
        for part in [
            r#"{"fileData":{"mimeType":"video/mp4","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/a"}}"#,
            r#"{"fileData":{"mimeType":"video/mp4","fileUri":"gs://b/a"}}"#,
        ] {
            let peek = of(&format!(r#"{{"contents":{{"parts":{part}}}}}"#)).expect("right");
            assert!(peek.server_state && peek.video && peek.turns == 1, "{part}");
        }
        let peek = of(r#"{"contents":[],"cachedContent":"cachedContents/a"}"#).expect("right");
        assert!(peek.server_state);
        assert_eq!(peek.cached.as_deref(), Some("cachedContents/a"));
        assert_eq!(peek.cached_at, 31..49);
        assert!(
            !of(r#"{"contents":[],"cachedContent":null}"#)
                .expect("right")
                .server_state
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field, message) in [
            ("{}", "contents", "contents is missing"),
            (
                r#"{"contents":"secret"}"#,
                "contents",
                "contents must be an array of contents",
            ),
            (
                r#"{"contents":["secret"]}"#,
                "contents",
                "contents must be an array of contents",
            ),
            (
                r#"{"contents":[{"parts":[7]}]}"#,
                "contents",
                "contents must be an array of contents",
            ),
            (
                r#"{"contents":[],"contents":[]}"#,
                "contents",
                "contents stands twice",
            ),
            (
                r#"{"contents":[],"generationConfig":{},"generation_config":{}}"#,
                "generationConfig",
                "generationConfig stands twice",
            ),
            (
                r#"{"contents":[],"generationConfig":{"maxOutputTokens":"x"}}"#,
                "generationConfig",
                "generationConfig must be an object whose maxOutputTokens is a whole number",
            ),
            (
                r#"{"contents":[],"tools":7}"#,
                "tools",
                "tools must be an array of tools",
            ),
        ] {
            let fault = of(body).expect_err(body);
            assert_eq!(
                (fault.field.as_deref(), &*fault.message),
                (Some(field), message),
                "{body}"
            );
        }
        let told = |body: &[u8]| {
            peek(&Bytes::copy_from_slice(body))
                .expect_err("wrong")
                .message
        };
        assert_eq!(told(b"[]"), "the body must be a JSON object");
        assert!(told(b"{\"contents\":[").starts_with("the body is not JSON: EOF"));
        assert_eq!(told(b"{\"\xff\":1}"), "the body is not UTF-8 at byte 2");
    }
}
