//! Embeddings: one small type, and the words of OpenAI's `/v1/embeddings` and of Gemini's `embedContent` and `batchEmbedContents` for it
//! (OpenAI and Gemini API references, read 2026-08).
//!
//! Vectors stay in the precision in which they came. Inputs are text or tokens: images and audio, which some models embed, are refused by name.

pub mod cloud;

use crate::base::{Json, Str, Tokens};
use crate::canon::{Fault, FaultClass, Usage};
use crate::protocol::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// What is to be embedded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embed {
    /// Empty where the path says it.
    pub model: Str,
    pub inputs: Vec<Input>,
    pub dimensions: Option<u32>,
    pub encoding: Option<Encoding>,
    /// What the vectors are for, by Gemini's word (`RETRIEVAL_DOCUMENT`).
    pub task: Option<Str>,
    /// The title of a document, for Gemini's `RETRIEVAL_DOCUMENT`.
    pub title: Option<Str>,
    pub user: Option<Str>,
    /// False for `embedContent`, whose answer is one vector and no list.
    pub batch: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Text(Str),
    /// As the model's own tokens, which only OpenAI takes.
    Tokens(Vec<u32>),
}

/// How OpenAI's clients want their vectors. Gemini knows numbers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Float,
    /// Base64 of little-endian 32-bit floats.
    Base64,
}

/// The vectors, in the order of the inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedded {
    /// Empty where the provider does not say.
    pub model: Str,
    pub vectors: Vec<Vec<f32>>,
    pub usage: Usage,
}

// OpenAI API reference, embeddings, read 2026-08; Gemini takes no more than 100, which its provider refuses itself.
const INPUTS_MAX: usize = 2_048;

fn parsed(body: &[u8]) -> Result<Value, Fault> {
    let value: Value = serde_json::from_slice(body).map_err(|e| {
        let place = format!(
            "the body is not JSON, line {} column {}",
            e.line(),
            e.column()
        );
        Fault::new(FaultClass::Invalid, place).with_code("invalid_json")
    })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Fault::new(
            FaultClass::Invalid,
            "the body is not a JSON object",
        ))
    }
}

fn text(value: &Value, name: &str) -> Option<Str> {
    value[name]
        .as_str()
        .filter(|s| !s.is_empty())
        .map(Str::from)
}

fn dimensions(value: &Value, field: &str) -> Result<Option<u32>, Fault> {
    if value.is_null() {
        return Ok(None);
    }
    let whole = value.as_u64().and_then(|n| u32::try_from(n).ok());
    let wrong = || Fault::invalid(field, "expected a whole number over 0");
    whole.filter(|n| *n > 0).map(Some).ok_or_else(wrong)
}

/// Reads a client's body in OpenAI's words.
pub fn read_openai(body: &[u8]) -> Result<Embed, Fault> {
    let value = parsed(body)?;
    let missing = |name: &str| Fault::invalid(name, format!("`{name}` is missing"));
    let encoding = match value["encoding_format"].as_str() {
        None if value["encoding_format"].is_null() => None,
        Some("float") => Some(Encoding::Float),
        Some("base64") => Some(Encoding::Base64),
        _ => {
            let why = "expected `float` or `base64`";
            return Err(Fault::invalid("encoding_format", why));
        }
    };
    Ok(Embed {
        model: text(&value, "model").ok_or_else(|| missing("model"))?,
        inputs: openai_inputs(&value["input"])?,
        dimensions: dimensions(&value["dimensions"], "dimensions")?,
        encoding,
        user: text(&value, "user"),
        batch: true,
        ..Embed::default()
    })
}

/// A string, strings, tokens, or lists of tokens.
fn openai_inputs(value: &Value) -> Result<Vec<Input>, Fault> {
    let wrong = || {
        let why = "expected a string, an array of strings, or arrays of tokens, none of them empty";
        Fault::invalid("input", why)
    };
    let inputs = match value {
        Value::String(text) => vec![Input::Text(Str::from(text.as_str()))],
        Value::Array(items) if items.iter().all(Value::is_u64) => vec![tokens(value)?],
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(Input::Text(Str::from(text.as_str()))),
                Value::Array(_) => tokens(item),
                _ => Err(wrong()),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(wrong()),
    };
    let empty = |input: &Input| match input {
        Input::Text(text) => text.is_empty(),
        Input::Tokens(tokens) => tokens.is_empty(),
    };
    if inputs.is_empty() || inputs.iter().any(empty) {
        return Err(wrong());
    }
    if inputs.len() > INPUTS_MAX {
        let why = format!("{} inputs; {INPUTS_MAX} at most", inputs.len());
        return Err(Fault::invalid("input", why));
    }
    Ok(inputs)
}

fn tokens(value: &Value) -> Result<Input, Fault> {
    let wrong = || Fault::invalid("input", "expected tokens, which are whole numbers");
    let numbers = value.as_array().ok_or_else(wrong)?.iter();
    let token = |n: &Value| n.as_u64().and_then(|n| u32::try_from(n).ok());
    let tokens: Option<Vec<u32>> = numbers.map(token).collect();
    tokens.map(Input::Tokens).ok_or_else(wrong)
}

/// Writes a provider's body in OpenAI's words, for `model`. Vectors are asked for as base64, which is a third of the bytes and exact. Names
/// what was left out: what vectors are for changes nothing that OpenAI can be told.
#[must_use]
pub fn write_openai(embed: &Embed, model: &str) -> (Bytes, Vec<String>) {
    let mut out = BytesMut::from("{");
    json::field("model", model, &mut out);
    json::key("input", &mut out);
    out.extend_from_slice(b"[");
    for input in &embed.inputs {
        json::comma(&mut out);
        match input {
            Input::Text(text) => json::string(text, &mut out),
            Input::Tokens(tokens) => {
                let list = serde_json::to_string(tokens).expect("numbers are JSON");
                out.extend_from_slice(list.as_bytes());
            }
        }
    }
    out.extend_from_slice(b"]");
    if let Some(dimensions) = embed.dimensions {
        json::key("dimensions", &mut out);
        json::integer(dimensions, &mut out);
    }
    json::field("encoding_format", "base64", &mut out);
    if let Some(user) = &embed.user {
        json::field("user", user, &mut out);
    }
    out.extend_from_slice(b"}");
    let left_out = [("taskType", &embed.task), ("title", &embed.title)];
    let dropped = left_out.iter().filter(|(_, v)| v.is_some());
    (
        out.freeze(),
        dropped.map(|(n, _)| (*n).to_owned()).collect(),
    )
}

/// Reads a client's body of `embedContent` or `batchEmbedContents`, in either spelling of names. Requests of one batch must agree, but for
/// what they embed.
pub fn read_gemini(body: &[u8]) -> Result<Embed, Fault> {
    let value = parsed(body)?;
    let Some(requests) = value["requests"].as_array() else {
        return one(&value, "");
    };
    let mut all: Option<Embed> = None;
    for (i, request) in requests.iter().enumerate() {
        let embed = one(request, &format!("requests[{i}]."))?;
        let Some(known) = &mut all else {
            all = Some(Embed {
                batch: true,
                ..embed
            });
            continue;
        };
        let agrees = known.dimensions == embed.dimensions
            && known.task == embed.task
            && known.title == embed.title;
        if !agrees {
            let why = "its taskType, title and outputDimensionality must be those of the first";
            return Err(Fault::invalid(format!("requests[{i}]"), why));
        }
        known.inputs.extend(embed.inputs);
    }
    all.ok_or_else(|| Fault::invalid("requests", "expected at least one request"))
}

fn one(value: &Value, path: &str) -> Result<Embed, Fault> {
    let either = |camel: &str, snake: &str| {
        let found = value.get(camel).or_else(|| value.get(snake));
        found.cloned().unwrap_or_default()
    };
    let dims = either("outputDimensionality", "output_dimensionality");
    let task = either("taskType", "task_type");
    Ok(Embed {
        inputs: vec![Input::Text(content(&value["content"], path)?)],
        dimensions: dimensions(&dims, &format!("{path}outputDimensionality"))?,
        task: task.as_str().map(Str::from),
        title: text(value, "title"),
        ..Embed::default()
    })
}

/// The text of a content: its parts one after the other.
fn content(value: &Value, path: &str) -> Result<Str, Fault> {
    let parts = match &value["parts"] {
        Value::Array(parts) => parts.iter().collect(),
        part @ Value::Object(_) => vec![part],
        _ => {
            let field = format!("{path}content.parts");
            return Err(Fault::invalid(field, "expected an array of parts"));
        }
    };
    let mut said = String::new();
    for (i, part) in parts.iter().enumerate() {
        let text = part["text"].as_str().ok_or_else(|| {
            let field = format!("{path}content.parts[{i}]");
            Fault::invalid(
                field,
                "expected a part with `text`, which is all that is embedded",
            )
        })?;
        said.push_str(text);
    }
    Ok(Str::from(said))
}

/// Writes a provider's body of `batchEmbedContents`, for `model`. `Err` for tokens, which only their own model's maker can read.
pub fn write_gemini(embed: &Embed, model: &str) -> Result<(Bytes, Vec<String>), Fault> {
    let mut out = BytesMut::from("{\"requests\":[");
    for (i, input) in embed.inputs.iter().enumerate() {
        let Input::Text(text) = input else {
            let why = "this model's provider takes text, not tokens";
            return Err(Fault::invalid(format!("input[{i}]"), why).with_code("unsupported_value"));
        };
        json::comma(&mut out);
        out.extend_from_slice(b"{\"model\":\"models/");
        json::escaped(model, &mut out);
        out.extend_from_slice(b"\",\"content\":{\"parts\":[{");
        json::field("text", text, &mut out);
        out.extend_from_slice(b"}]}");
        for (name, value) in [("taskType", &embed.task), ("title", &embed.title)] {
            if let Some(value) = value {
                json::field(name, value, &mut out);
            }
        }
        if let Some(dimensions) = embed.dimensions {
            json::key("outputDimensionality", &mut out);
            json::integer(dimensions, &mut out);
        }
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"]}");
    let user = embed.user.is_some().then(|| "user".to_owned());
    Ok((out.freeze(), user.into_iter().collect()))
}

/// Reads a provider's answer in OpenAI's words. `None` for what is none.
#[must_use]
pub fn read_openai_answer(body: &[u8]) -> Option<Embedded> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let mut numbered = Vec::new();
    for (position, item) in value["data"].as_array()?.iter().enumerate() {
        let index = item["index"].as_u64().unwrap_or(position as u64);
        numbered.push((index, vector(&item["embedding"])?));
    }
    numbered.sort_by_key(|(index, _)| *index);
    let usage = &value["usage"];
    let input = usage["prompt_tokens"]
        .as_u64()
        .or(usage["total_tokens"].as_u64());
    Some(Embedded {
        model: text(&value, "model").unwrap_or_default(),
        vectors: numbered.into_iter().map(|(_, v)| v).collect(),
        usage: used(input, usage),
    })
}

fn used(input: Option<u64>, raw: &Value) -> Usage {
    Usage {
        input_uncached: input.map(Tokens),
        raw: (!raw.is_null()).then(|| Json::of(raw)),
        ..Usage::default()
    }
}

/// Numbers, or base64 of little-endian 32-bit floats.
fn vector(value: &Value) -> Option<Vec<f32>> {
    if let Some(text) = value.as_str() {
        let bytes = STANDARD.decode(text).ok()?;
        let (floats, rest) = bytes.as_chunks::<4>();
        return rest
            .is_empty()
            .then(|| floats.iter().map(|b| f32::from_le_bytes(*b)).collect());
    }
    let numbers = value.as_array()?.iter();
    numbers.map(|n| n.as_f64().map(|f| f as f32)).collect()
}

/// Reads a provider's answer of either Gemini method; also `:predict` of Vertex. `None` for what is none.
#[must_use]
pub fn read_gemini_answer(body: &[u8]) -> Option<Embedded> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let usage = &value["usageMetadata"];
    if let Some(predictions) = value["predictions"].as_array() {
        let inner = || predictions.iter().map(|p| &p["embeddings"]);
        let counts = inner().filter_map(|e| e["statistics"]["token_count"].as_u64());
        let input: u64 = counts.sum();
        return Some(Embedded {
            model: Str::new(),
            vectors: inner()
                .map(|e| vector(&e["values"]))
                .collect::<Option<_>>()?,
            usage: used((input > 0).then_some(input), &Value::Null),
        });
    }
    let vectors = match value["embeddings"].as_array() {
        Some(list) => list
            .iter()
            .map(|e| vector(&e["values"]))
            .collect::<Option<_>>()?,
        None => vec![vector(&value["embedding"]["values"])?],
    };
    Some(Embedded {
        model: Str::new(),
        vectors,
        usage: used(usage["promptTokenCount"].as_u64(), usage),
    })
}

/// The answer in OpenAI's words: `model` as the client named it, vectors as `encoding` says.
#[must_use]
pub fn write_openai_answer(answer: &Embedded, model: &str, encoding: Option<Encoding>) -> Bytes {
    let mut out = BytesMut::from("{\"object\":\"list\",\"data\":[");
    for (i, vector) in answer.vectors.iter().enumerate() {
        json::comma(&mut out);
        out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
        json::integer(i, &mut out);
        json::key("embedding", &mut out);
        match encoding {
            Some(Encoding::Base64) => {
                let bytes: Vec<u8> = vector.iter().flat_map(|f| f.to_le_bytes()).collect();
                json::string(&STANDARD.encode(bytes), &mut out);
            }
            Some(Encoding::Float) | None => numbers(vector, &mut out),
        }
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"]");
    json::field("model", model, &mut out);
    let input = answer.usage.input_total().0;
    out.extend_from_slice(b",\"usage\":{");
    for name in ["prompt_tokens", "total_tokens"] {
        json::key(name, &mut out);
        json::integer(input, &mut out);
    }
    out.extend_from_slice(b"}}");
    out.freeze()
}

/// The answer in Gemini's words; `batch` as the client asked.
#[must_use]
pub fn write_gemini_answer(answer: &Embedded, batch: bool) -> Bytes {
    let mut out = BytesMut::from("{");
    let one = answer.vectors.first().filter(|_| !batch);
    if let Some(vector) = one {
        out.extend_from_slice(b"\"embedding\":{\"values\":");
        numbers(vector, &mut out);
        out.extend_from_slice(b"}");
    } else {
        out.extend_from_slice(b"\"embeddings\":[");
        for vector in &answer.vectors {
            json::comma(&mut out);
            out.extend_from_slice(b"{\"values\":");
            numbers(vector, &mut out);
            out.extend_from_slice(b"}");
        }
        out.extend_from_slice(b"]");
    }
    if answer.usage.input_uncached.is_some() {
        out.extend_from_slice(b",\"usageMetadata\":{\"promptTokenCount\":");
        json::integer(answer.usage.input_total().0, &mut out);
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

/// The shortest decimals that read back; what is no number is 0, since JSON has no word for it.
fn numbers(vector: &[f32], out: &mut BytesMut) {
    out.extend_from_slice(b"[");
    for number in vector {
        json::comma(out);
        let number = if number.is_finite() { *number } else { 0.0 };
        let text = serde_json::to_string(&number).expect("a finite number is JSON");
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(b"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openais_inputs_of_every_form_are_read() {
        let told = |input: &str| {
            let body = format!(
                r#"{{"model":"m","input":{input},"dimensions":3,"encoding_format":"base64","user":"u"}}"#
            );
            read_openai(body.as_bytes())
        };
        let a = || Input::Text("a".into());
        for (input, wanted) in [
            ("\"a\"", vec![a()]),
            ("[\"a\",\"b\"]", vec![a(), Input::Text("b".into())]),
            ("[1,2]", vec![Input::Tokens(vec![1, 2])]),
            (
                "[[1],[2,3]]",
                vec![Input::Tokens(vec![1]), Input::Tokens(vec![2, 3])],
            ),
        ] {
            let embed = told(input).expect(input);
            assert_eq!(embed.inputs, wanted);
            assert_eq!(
                (embed.dimensions, embed.encoding),
                (Some(3), Some(Encoding::Base64))
            );
            let (bytes, _) = write_openai(&embed, "m");
            assert_eq!(read_openai(&bytes), Ok(embed));
        }
        for input in [
            "7",
            "[]",
            "\"\"",
            "[{}]",
            "[[]]",
            "[1,\"a\"]",
            "[1.5]",
            "null",
        ] {
            assert_eq!(
                told(input).expect_err(input).field.as_deref(),
                Some("input"),
                "{input}"
            );
        }
        let many = format!("[{}\"a\"]", "\"a\",".repeat(INPUTS_MAX));
        told(&many).expect_err("too many");
    }

    #[test]
    fn a_request_crosses_to_gemini_and_back() {
        let embed =
            read_openai(br#"{"model":"m","input":["a","b"],"dimensions":768}"#).expect("right");
        let (bytes, dropped) = write_gemini(&embed, "g").expect("can be said");
        assert!(dropped.is_empty());
        let back = read_gemini(&bytes).expect("right");
        assert_eq!(
            (&back.inputs, back.dimensions, back.batch),
            (&embed.inputs, Some(768), true)
        );
        let tokens = read_openai(br#"{"model":"m","input":[1]}"#).expect("right");
        write_gemini(&tokens, "g").expect_err("tokens are OpenAI's");
    }

    #[test]
    fn geminis_requests_are_read_in_both_forms_and_spellings() {
        let one = read_gemini(br#"{"content":{"parts":[{"text":"a"},{"text":"b"}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":5}"#).expect("right");
        assert_eq!(one.inputs, [Input::Text("ab".into())]);
        assert!(!one.batch && one.task.as_deref() == Some("RETRIEVAL_QUERY"));
        let (bytes, dropped) = write_openai(&one, "o");
        assert_eq!(dropped, ["taskType"]);
        assert_eq!(read_openai(&bytes).expect("right").dimensions, Some(5));
        let batch = read_gemini(br#"{"requests":[{"model":"models/x","content":{"parts":{"text":"a"}},"output_dimensionality":5}]}"#).expect("right");
        assert_eq!((batch.dimensions, batch.batch), (Some(5), true));
        for (body, field) in [
            (r#"{"requests":[]}"#, "requests"),
            (r#"{}"#, "content.parts"),
            (
                r#"{"content":{"parts":[{"inlineData":{}}]}}"#,
                "content.parts[0]",
            ),
            (
                r#"{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"a"}]},"taskType":"X"}]}"#,
                "requests[1]",
            ),
        ] {
            assert_eq!(
                read_gemini(body.as_bytes())
                    .expect_err(body)
                    .field
                    .as_deref(),
                Some(field)
            );
        }
    }

    #[test]
    fn answers_read_back_bit_by_bit_in_every_form() {
        let answer = Embedded {
            model: "m".into(),
            vectors: vec![vec![0.1, -2.5e-8, 3.0], vec![f32::MIN_POSITIVE, 1.0, 0.0]],
            usage: Usage {
                input_uncached: Some(Tokens(9)),
                ..Usage::default()
            },
        };
        for encoding in [None, Some(Encoding::Float), Some(Encoding::Base64)] {
            let body = write_openai_answer(&answer, "m", encoding);
            let again = read_openai_answer(&body).expect("an answer");
            assert_eq!(again.vectors, answer.vectors);
            assert_eq!(again.usage.input_total(), Tokens(9));
        }
        let again = read_gemini_answer(&write_gemini_answer(&answer, true)).expect("an answer");
        assert_eq!(
            (again.vectors.len(), again.usage.input_total()),
            (2, Tokens(9))
        );
        let one = read_gemini_answer(&write_gemini_answer(&answer, false)).expect("an answer");
        assert_eq!(one.vectors, answer.vectors[..1]);
    }

    #[test]
    fn vectors_come_in_the_order_of_their_index_and_vertexs_form_is_read() {
        let body = br#"{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}],"usage":{"total_tokens":4}}"#;
        let answer = read_openai_answer(body).expect("an answer");
        assert_eq!(answer.vectors, [[1.0], [2.0]]);
        assert_eq!(answer.usage.input_uncached, Some(Tokens(4)));
        let body =
            br#"{"predictions":[{"embeddings":{"values":[1,2],"statistics":{"token_count":3}}}]}"#;
        let answer = read_gemini_answer(body).expect("an answer");
        assert_eq!(
            (answer.vectors, answer.usage.input_uncached),
            (vec![vec![1.0, 2.0]], Some(Tokens(3)))
        );
        for wrong in [
            &b"{}"[..],
            b"[]",
            b"{\"data\":[{\"embedding\":\"!\"}]}",
            b"{\"embedding\":{\"values\":[\"a\"]}}",
        ] {
            assert_eq!(read_openai_answer(wrong), None);
            assert_eq!(read_gemini_answer(wrong), None);
        }
    }
}
