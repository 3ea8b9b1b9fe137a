//! Embeddings, in the words of OpenAI and of Google. Vectors are a function of the text and of length one.

use super::Fake;
use super::ask::Wrong;
use super::book::Wire;
use super::fault::Faults;
use super::gemini_ask::either;
use super::head::plain;
use super::json::{Tree, quoted};
use super::prompt::Prompt;
use super::refuse::Refusal;
use super::reply::Live;
use super::route::Deed;
use super::serve::Caller;
use crate::base::Instant;
use base64::Engine as _;
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl Fake {
    pub(super) fn embedded(
        &self,
        start: Instant,
        caller: &Caller<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let path_model = caller.route.model.as_deref();
        let model = path_model.or(tree.text_of("model")).unwrap_or("");
        let (body, tokens) = match caller.wire {
            Wire::Gemini => google(caller, tree)?,
            Wire::Converse => bedrock(model, tree)?,
            _ => self.embed(tree)?,
        };
        let mut live = plain(start, caller, body, faults);
        live.booked = true;
        live.entry.model = self.known_model(caller.wire, model)?.to_owned();
        // What comes back empty is not charged.
        live.entry.billed.uncached = if faults.empty_body { 0 } else { tokens };
        Ok(live)
    }

    /// Vectors that are a function of the text, of length one, and the tokens they cost.
    fn embed(&self, body: &Tree<'_>) -> Result<(String, u64), Refusal> {
        let missing = |field: &str| {
            Refusal::bad_request(Wrong::new(
                field,
                "missing_required_parameter",
                format!("Missing required parameter: '{field}'."),
            ))
        };
        let model = self.known_model(
            Wire::Chat,
            body.text_of("model").ok_or_else(|| missing("model"))?,
        )?;
        let input = body.get("input").ok_or_else(|| missing("input"))?;
        let one_text =
            input.text().is_some() || input.items().first().is_some_and(|i| i.whole().is_some());
        let inputs = if one_text {
            std::slice::from_ref(input)
        } else {
            input.items()
        };
        let size = body.get("dimensions").and_then(Tree::whole).unwrap_or(8);
        if inputs.is_empty() || inputs.len() > 2_048 || size == 0 || size > 3_072 {
            return Err(Refusal::bad_request(Wrong::new(
                "input",
                "invalid_value",
                "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
            )));
        }
        let packed = body.text_of("encoding_format") == Some("base64");
        let mut tokens = 0;
        let mut data = Vec::new();
        for (index, text) in inputs.iter().enumerate() {
            let mut prompt = Prompt::default();
            match text.text() {
                Some(text) => prompt.push(text.as_bytes()),
                None => prompt.push_tree(text),
            }
            tokens += prompt.tokens();
            let mut written = Vec::new();
            text.write(&mut written, "");
            let vector = written_vector(&written, size, packed);
            data.push(format!(
                "{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}"
            ));
        }
        let body = format!(
            "{{\"object\":\"list\",\"data\":[{}],\"model\":{},\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}",
            data.join(","),
            quoted(model)
        );
        Ok((body, tokens))
    }
}

/// `:embedContent`, `:batchEmbedContents` and Vertex' `:predict` (Gemini and Vertex API references, read 2026-11).
fn google(caller: &Caller<'_>, body: &Tree<'_>) -> Result<(String, u64), Refusal> {
    let empty = |what: &str| {
        Refusal::bad_request(Wrong::plain(format!("* {what}: value must not be empty")))
    };
    let parameters = body.get("parameters").unwrap_or(&Tree::Null);
    let (requests, key) = match caller.route.deed {
        Deed::EmbedMany => (
            body.get("requests").map(Tree::items).unwrap_or_default(),
            "requests",
        ),
        Deed::Predict => (
            body.get("instances").map(Tree::items).unwrap_or_default(),
            "instances",
        ),
        _ => (std::slice::from_ref(body), "content"),
    };
    if requests.is_empty() {
        return Err(empty(key));
    }
    let (mut all, mut tokens) = (Vec::new(), 0);
    for one in requests {
        let content = one.get("content").ok_or_else(|| empty("content"))?;
        let config = either(one, "embedContentConfig");
        let size = [Some(one), config, Some(parameters)].into_iter().flatten();
        let size = size
            .filter_map(|t| either(t, "outputDimensionality")?.whole())
            .next();
        let size = size.unwrap_or(8);
        if size == 0 || size > 3_072 {
            return Err(Refusal::bad_request(Wrong::plain(
                "* output_dimensionality: out of range",
            )));
        }
        let mut written = Vec::new();
        let mut prompt = Prompt::default();
        match content.text() {
            Some(text) => written.extend_from_slice(text.as_bytes()),
            None => content.write(&mut written, "role"),
        }
        prompt.push(&written);
        tokens += prompt.tokens();
        let vector = written_vector(&written, size, false);
        all.push(match caller.route.deed {
            Deed::Predict => format!(
                "{{\"embeddings\":{{\"values\":{vector},\"statistics\":{{\"token_count\":{},\"truncated\":false}}}}}}",
                prompt.tokens()
            ),
            _ => format!("{{\"values\":{vector}}}"),
        });
    }
    let usage = format!("\"usageMetadata\":{{\"promptTokenCount\":{tokens}}}");
    let body = match caller.route.deed {
        Deed::EmbedMany => format!("{{\"embeddings\":[{}],{usage}}}", all.join(",")),
        Deed::Predict => format!("{{\"predictions\":[{}]}}", all.join(",")),
        _ => format!("{{\"embedding\":{},{usage}}}", all.join(",")),
    };
    Ok((body, tokens))
}

/// Titan's, Cohere's and Nova's forms within InvokeModel (Bedrock user guide, read 2026-11).
fn bedrock(model: &str, body: &Tree<'_>) -> Result<(String, u64), Refusal> {
    let missing = |field: &str| {
        Refusal::bad_request(Wrong::plain(format!(
            "Malformed input request: #: required key [{field}] not found, please reformat your input and try again."
        )))
    };
    let whole = |tree: Option<&Tree<'_>>, name: &str| tree?.get(name).and_then(Tree::whole);
    let mut tokens = 0;
    let mut vector = |text: &str, size: Option<u64>| {
        let mut prompt = Prompt::default();
        prompt.push(text.as_bytes());
        tokens += prompt.tokens();
        written_vector(text.as_bytes(), size.unwrap_or(8), false)
    };
    let said = if model.contains("titan") {
        let text = body
            .text_of("inputText")
            .ok_or_else(|| missing("inputText"))?;
        let one = vector(text, whole(Some(body), "dimensions"));
        format!(
            "{{\"embedding\":{one},\"embeddingsByType\":{{\"float\":{one}}},\"inputTextTokenCount\":{tokens}}}"
        )
    } else if model.contains("cohere") {
        let texts = body.get("texts").map(Tree::items).unwrap_or_default();
        body.text_of("input_type")
            .ok_or_else(|| missing("input_type"))?;
        if texts.is_empty() {
            return Err(missing("texts"));
        }
        let size = whole(Some(body), "output_dimension");
        let all: Vec<String> = texts
            .iter()
            .map(|t| vector(t.text().unwrap_or(""), size))
            .collect();
        format!(
            "{{\"id\":\"embed\",\"response_type\":\"embeddings_by_type\",\"embeddings\":{{\"float\":[{}]}}}}",
            all.join(",")
        )
    } else {
        let params = body.get("singleEmbeddingParams");
        let text = params.and_then(|p| p.get("text")?.text_of("value"));
        let text = text.ok_or_else(|| missing("singleEmbeddingParams"))?;
        let one = vector(text, whole(params, "embeddingDimension"));
        format!("{{\"embeddings\":[{{\"embeddingType\":\"TEXT\",\"embedding\":{one}}}]}}")
    };
    Ok((said, tokens))
}

fn written_vector(text: &[u8], size: u64, packed: bool) -> String {
    let raw: Vec<f64> = (0..size)
        .map(|at| (xxh3_64_with_seed(text, at) % 2_001) as f64 / 1_000.0 - 1.0)
        .collect();
    let length = raw
        .iter()
        .map(|x| x * x)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    let vector = raw.iter().map(|x| (x / length) as f32);
    if packed {
        let bytes: Vec<u8> = vector.flat_map(f32::to_le_bytes).collect();
        return quoted(&base64::engine::general_purpose::STANDARD.encode(bytes));
    }
    let numbers: Vec<String> = vector.map(|x| format!("{x}")).collect();
    format!("[{}]", numbers.join(","))
}
