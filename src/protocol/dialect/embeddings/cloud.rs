//! Embeddings in the words of the clouds' general calls: Google Cloud's `:predict` and Bedrock's InvokeModel, where each maker has a form of
//! its own (Vertex AI and Bedrock user guides, read 2026-11; Nova's form is from the guide alone and was not seen recorded).
//!
//! A maker that embeds one text a call is asked for one: several are refused by name, since several calls would be several bills.

use super::{Embed, Embedded, Input, used, vector};
use crate::base::Str;
use crate::canon::Fault;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Whose form a model of Bedrock's runtime has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Titan,
    Cohere,
    Nova,
}

impl Maker {
    /// By the model's id, whatever region or profile stands before it.
    #[must_use]
    pub fn of(model: &str) -> Option<Self> {
        let has = |part: &str| model.contains(part);
        match () {
            () if has("amazon.titan-embed-text") => Some(Self::Titan),
            () if has("cohere.embed") => Some(Self::Cohere),
            () if has("amazon.nova") && has("embeddings") => Some(Self::Nova),
            () => None,
        }
    }

    /// The body of InvokeModel, and what was left out of it.
    pub fn write(self, embed: &Embed, model: &str) -> Result<(Bytes, Vec<String>), Fault> {
        let mut dropped = left_out(&[
            ("user", embed.user.is_some()),
            ("title", embed.title.is_some()),
        ]);
        let body = match self {
            Self::Titan => {
                dropped.extend(left_out(&[("taskType", embed.task.is_some())]));
                titan(embed, model)?
            }
            Self::Cohere => cohere(embed, model)?,
            Self::Nova => nova(embed)?,
        };
        Ok((Bytes::from(body.to_string()), dropped))
    }

    /// The vectors of an answer. Only Titan counts tokens in its body; of others a header does. `None` for what is none.
    #[must_use]
    pub fn read(self, body: &[u8]) -> Option<Embedded> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let all = |list: &Value, of: fn(&Value) -> &Value| {
            let items = list.as_array()?.iter();
            items.map(|item| vector(of(item))).collect::<Option<_>>()
        };
        let vectors: Vec<Vec<f32>> = match self {
            Self::Titan => vec![vector(&value["embedding"])?],
            // Keyed by type where types were asked for, as we do; a bare list else.
            Self::Cohere => match &value["embeddings"] {
                Value::Object(typed) => all(typed.get("float")?, |v| v)?,
                list => all(list, |v| v)?,
            },
            Self::Nova => all(&value["embeddings"], |item| &item["embedding"])?,
        };
        Some(Embedded {
            model: Str::new(),
            vectors,
            usage: used(value["inputTextTokenCount"].as_u64(), &Value::Null),
        })
    }
}

fn left_out(said: &[(&str, bool)]) -> Vec<String> {
    let is = said.iter().filter(|(_, is)| *is);
    is.map(|(name, _)| (*name).to_owned()).collect()
}

fn texts(embed: &Embed) -> Result<Vec<&str>, Fault> {
    let text = |(i, input): (usize, &'_ Input)| match input {
        Input::Text(_) => Ok(()),
        Input::Tokens(_) => {
            let why = "this model's provider takes text, not tokens";
            Err(Fault::invalid(format!("input[{i}]"), why).with_code("unsupported_value"))
        }
    };
    embed.inputs.iter().enumerate().try_for_each(text)?;
    let said = embed.inputs.iter().filter_map(|input| match input {
        Input::Text(text) => Some(&**text),
        Input::Tokens(_) => None,
    });
    Ok(said.collect())
}

fn one_text(embed: &Embed) -> Result<&str, Fault> {
    match texts(embed)?[..] {
        [one] => Ok(one),
        ref all => {
            let why = format!(
                "{} inputs; this model embeds one text a request, so ask once for each",
                all.len()
            );
            Err(Fault::invalid("input", why).with_code("unsupported_value"))
        }
    }
}

/// Of the second version; the first knows no size of the vector.
fn titan(embed: &Embed, model: &str) -> Result<Value, Fault> {
    let mut body = json!({"inputText": one_text(embed)?});
    if let Some(dimensions) = embed.dimensions {
        if model.contains("embed-text-v1") {
            return Err(fixed_size());
        }
        body["dimensions"] = dimensions.into();
    }
    Ok(body)
}

fn cohere(embed: &Embed, model: &str) -> Result<Value, Fault> {
    let mut body = json!({
        "texts": texts(embed)?,
        // It must be said. What is stored is what most callers embed first, and both sides of a search are told apart by it alone.
        "input_type": match embed.task.as_deref() {
            Some("RETRIEVAL_QUERY" | "QUESTION_ANSWERING" | "CODE_RETRIEVAL_QUERY") => "search_query",
            Some("CLASSIFICATION") => "classification",
            Some("CLUSTERING" | "SEMANTIC_SIMILARITY") => "clustering",
            _ => "search_document",
        },
        "embedding_types": ["float"],
    });
    if let Some(dimensions) = embed.dimensions {
        // The third version has one size.
        if model.contains("-v3") {
            return Err(fixed_size());
        }
        body["output_dimension"] = dimensions.into();
    }
    Ok(body)
}

fn nova(embed: &Embed) -> Result<Value, Fault> {
    let purpose = match embed.task.as_deref() {
        Some("RETRIEVAL_QUERY" | "QUESTION_ANSWERING" | "CODE_RETRIEVAL_QUERY") => "TEXT_RETRIEVAL",
        Some("CLASSIFICATION") => "CLASSIFICATION",
        Some("CLUSTERING" | "SEMANTIC_SIMILARITY") => "CLUSTERING",
        _ => "GENERIC_INDEX",
    };
    let mut params = json!({
        "embeddingPurpose": purpose,
        "text": {"truncationMode": "NONE", "value": one_text(embed)?},
    });
    if let Some(dimensions) = embed.dimensions {
        params["embeddingDimension"] = dimensions.into();
    }
    Ok(json!({
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": params,
    }))
}

fn fixed_size() -> Fault {
    let why = "this model's vectors have one size; leave it out";
    Fault::invalid("dimensions", why).with_code("unsupported_parameter")
}

/// Writes a body of Google Cloud's `:predict`. Its answer is read as Gemini's own.
pub fn write_predict(embed: &Embed) -> Result<(Bytes, Vec<String>), Fault> {
    let instance = |text: &&str| {
        let mut one = Map::new();
        one.insert("content".to_owned(), Value::from(*text));
        for (name, said) in [("task_type", &embed.task), ("title", &embed.title)] {
            if let Some(said) = said {
                one.insert(name.to_owned(), Value::from(&**said));
            }
        }
        Value::Object(one)
    };
    let instances: Vec<Value> = texts(embed)?.iter().map(instance).collect();
    let mut body = json!({"instances": instances});
    if let Some(dimensions) = embed.dimensions {
        body["parameters"] = json!({"outputDimensionality": dimensions});
    }
    let dropped = left_out(&[("user", embed.user.is_some())]);
    Ok((Bytes::from(body.to_string()), dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed(inputs: &[&str]) -> Embed {
        Embed {
            inputs: inputs.iter().map(|i| Input::Text((*i).into())).collect(),
            batch: true,
            ..Embed::default()
        }
    }

    fn written(maker: Maker, embed: &Embed, model: &str) -> Value {
        let (body, _) = maker.write(embed, model).expect("sayable");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn each_maker_is_known_by_its_models() {
        for (model, maker) in [
            ("amazon.titan-embed-text-v2:0", Some(Maker::Titan)),
            ("us.cohere.embed-v4:0", Some(Maker::Cohere)),
            (
                "amazon.nova-2-multimodal-embeddings-v1:0",
                Some(Maker::Nova),
            ),
            ("amazon.nova-2-lite-v1:0", None),
            ("anthropic.claude-opus-5-5", None),
        ] {
            assert_eq!(Maker::of(model), maker, "{model}");
        }
    }

    #[test]
    fn each_maker_is_asked_and_read_in_its_own_words() {
        let ask = Embed {
            dimensions: Some(256),
            task: Some("RETRIEVAL_QUERY".into()),
            ..embed(&["a"])
        };
        assert_eq!(
            written(Maker::Titan, &ask, "amazon.titan-embed-text-v2:0"),
            json!({"inputText": "a", "dimensions": 256})
        );
        assert_eq!(
            written(Maker::Cohere, &ask, "cohere.embed-v4:0"),
            json!({"texts": ["a"], "input_type": "search_query", "embedding_types": ["float"], "output_dimension": 256})
        );
        let nova = written(
            Maker::Nova,
            &ask,
            "amazon.nova-2-multimodal-embeddings-v1:0",
        );
        let params = &nova["singleEmbeddingParams"];
        assert_eq!(params["text"]["value"], "a");
        assert_eq!(params["embeddingPurpose"], "TEXT_RETRIEVAL");
        assert_eq!(params["embeddingDimension"], 256);

        let read = |maker: Maker, body: Value| maker.read(body.to_string().as_bytes());
        let titan = json!({"embedding": [0.5, 1.0], "inputTextTokenCount": 3});
        let titan = read(Maker::Titan, titan).expect("an answer");
        assert_eq!(titan.vectors, [[0.5, 1.0]]);
        assert_eq!(titan.usage.input_total().0, 3);
        for embeddings in [json!({"float": [[0.5], [1.0]]}), json!([[0.5], [1.0]])] {
            let read = read(Maker::Cohere, json!({"embeddings": embeddings}));
            assert_eq!(read.expect("an answer").vectors, [[0.5], [1.0]]);
        }
        let nova = json!({"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5]}]});
        assert_eq!(read(Maker::Nova, nova).expect("an answer").vectors, [[0.5]]);
        for maker in [Maker::Titan, Maker::Cohere, Maker::Nova] {
            assert_eq!(read(maker, json!({"message": "no"})), None);
        }
    }

    #[test]
    fn what_a_maker_does_not_take_is_refused_by_name() {
        let refused = |maker: Maker, embed: &Embed, model: &str| {
            let fault = maker.write(embed, model).expect_err("not sayable");
            fault.field.expect("a name")
        };
        let two = embed(&["a", "b"]);
        assert_eq!(
            refused(Maker::Titan, &two, "amazon.titan-embed-text-v2:0"),
            "input"
        );
        assert_eq!(
            refused(
                Maker::Nova,
                &two,
                "amazon.nova-2-multimodal-embeddings-v1:0"
            ),
            "input"
        );
        let tokens = Embed {
            inputs: vec![Input::Tokens(vec![1])],
            ..Embed::default()
        };
        assert_eq!(
            refused(Maker::Cohere, &tokens, "cohere.embed-v4:0"),
            "input[0]"
        );
        let sized = Embed {
            dimensions: Some(256),
            ..embed(&["a"])
        };
        for (maker, model) in [
            (Maker::Titan, "amazon.titan-embed-text-v1"),
            (Maker::Cohere, "cohere.embed-english-v3"),
        ] {
            assert_eq!(refused(maker, &sized, model), "dimensions");
        }
    }

    #[test]
    fn what_is_left_out_is_told() {
        let ask = Embed {
            user: Some("u".into()),
            task: Some("CLUSTERING".into()),
            ..embed(&["a"])
        };
        let told = |maker: Maker| maker.write(&ask, "m").expect("sayable").1;
        assert_eq!(told(Maker::Titan), ["user", "taskType"]);
        assert_eq!(told(Maker::Cohere), ["user"]);
        assert_eq!(write_predict(&ask).expect("sayable").1, ["user"]);
    }

    #[test]
    fn google_clouds_general_call_is_written_whole() {
        let ask = Embed {
            dimensions: Some(2),
            title: Some("t".into()),
            task: Some("RETRIEVAL_DOCUMENT".into()),
            ..embed(&["a", "b"])
        };
        let (body, dropped) = write_predict(&ask).expect("sayable");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let one =
            |text: &str| json!({"content": text, "task_type": "RETRIEVAL_DOCUMENT", "title": "t"});
        assert_eq!(
            body,
            json!({"instances": [one("a"), one("b")], "parameters": {"outputDimensionality": 2}})
        );
        assert_eq!(dropped, Vec::<String>::new());
    }
}
