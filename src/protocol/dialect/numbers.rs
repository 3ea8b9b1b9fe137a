//! Questions whose answer is numbers: how many tokens a request is, and what vectors stand for texts.
//!
//! Clients ask in three ways to count (Messages, Responses, Gemini) and in two to embed (OpenAI's, Gemini's); providers answer in those and
//! in Bedrock's. Where both sides use the same words, bytes pass; here is what turns one into another.

use crate::base::{Str, Tokens};
use crate::canon::{DialectName, Fault, FaultClass, Malformed, Request, Usage};
use crate::protocol::dialect::embeddings::cloud::{self, Maker};
use crate::protocol::dialect::embeddings::{self, Embed};
use crate::protocol::dialect::gemini::count::{self, Counted};
use crate::protocol::dialect::splice::envelope;
use crate::protocol::dialect::{Dropped, Target, read_request, write_request};
use crate::protocol::json;
use crate::protocol::provider::bedrock;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Count,
    Embed,
    /// Gemini's form for several inputs.
    EmbedMany,
}

/// Where a provider departs from its dialect's own form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Plain,
    /// Google Cloud: the members of a request stand beside its contents.
    Vertex,
    /// Google Cloud's general call, which is all that its older embedding models know.
    Predict,
    /// Bedrock's runtime wraps the request that would be sent.
    Bedrock,
}

impl Form {
    /// Whether a request in the provider's dialect passes as it is.
    #[must_use]
    pub fn passes(self, question: Question, dialect: DialectName) -> bool {
        match (self, question) {
            (Self::Plain, _) | (Self::Vertex, Question::Embed | Question::EmbedMany) => true,
            // Google Cloud does not take the wrapped form of the Gemini API.
            (Self::Vertex, Question::Count) => dialect != DialectName::Gemini,
            // Nothing is counted by the general call.
            (Self::Bedrock | Self::Predict, _) => false,
        }
    }
}

/// A model as the client names it, and as its provider does.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub ours: &'a str,
    pub theirs: &'a str,
}

/// Both sides of a question.
#[derive(Clone, Copy, Debug)]
pub struct Sides {
    pub question: Question,
    pub client: DialectName,
    pub provider: DialectName,
    pub form: Form,
}

impl Sides {
    #[must_use]
    pub fn pass(&self) -> bool {
        self.client == self.provider && self.form.passes(self.question, self.provider)
    }

    /// The request for the provider, where it does not pass. `Err` names what cannot be said there.
    pub fn request(&self, body: &Bytes, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
        match self.question {
            Question::Count => self.count(body, target),
            Question::Embed | Question::EmbedMany => self.embed(body, target),
        }
    }

    fn count(&self, body: &Bytes, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
        let request = match self.client {
            DialectName::Gemini => count::read(body)?,
            // A limit is demanded of requests that are answered, not of those that are counted.
            DialectName::Messages => read_request(self.client, &with_limit(body)?)?,
            dialect => read_request(dialect, body)?,
        };
        let counted = counted_part(request);
        let (written, dropped) = match (self.provider, self.form) {
            (DialectName::Gemini, Form::Vertex) => count::write_for_vertex(&counted, target)?,
            (DialectName::Gemini, _) => count::write(&counted, target)?,
            (dialect, Form::Bedrock) => {
                let (body, dropped) = write_request(dialect, &counted, target)?;
                let body = match dialect {
                    DialectName::Messages => {
                        envelope(&body, bedrock::REMOVED, &bedrock::inserted(None))?
                    }
                    _ => std::iter::once(body).collect(),
                };
                (bedrock::count_tokens(dialect, &body), dropped)
            }
            (dialect, _) => {
                let (body, dropped) = write_request(dialect, &counted, target)?;
                (without_answers(&body, target.model)?, dropped)
            }
        };
        Ok((written, dropped))
    }

    fn embed(&self, body: &Bytes, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
        let embed = self.read_embed(body)?;
        match (self.provider, self.form) {
            (_, Form::Bedrock) => match Maker::of(target.model) {
                Some(maker) => maker.write(&embed, target.model),
                None => Err(Fault::invalid(
                    "model",
                    "this model does not embed; at Bedrock's runtime those of Titan, Nova and Cohere do",
                )),
            },
            (_, Form::Predict) if target.model.contains("claude") => {
                Err(Fault::invalid("model", "this model does not embed"))
            }
            (_, Form::Predict) => cloud::write_predict(&embed),
            (DialectName::Gemini, _) => embeddings::write_gemini(&embed, target.model),
            _ => Ok(embeddings::write_openai(&embed, target.model)),
        }
    }

    fn read_embed(&self, body: &[u8]) -> Result<Embed, Fault> {
        match self.client {
            DialectName::Gemini => embeddings::read_gemini(body),
            _ => embeddings::read_openai(body),
        }
    }

    /// The answer for the client and what is billed for it. `asked` is the client's own request. `Err`: the provider's answer is none.
    pub fn answer(
        &self,
        asked: &Bytes,
        body: &Bytes,
        model: Named<'_>,
    ) -> Result<(Bytes, Usage), Malformed> {
        match self.question {
            Question::Count => {
                let counted = self
                    .counted(body)
                    .ok_or_else(|| Malformed::at("body: no count of tokens"))?;
                let said = if self.pass() {
                    body.clone()
                } else {
                    self.say_count(&counted)
                };
                Ok((said, Usage::default()))
            }
            Question::Embed | Question::EmbedMany => self.embedded(asked, body, model),
        }
    }

    fn counted(&self, body: &[u8]) -> Option<Counted> {
        let of = |total| Counted {
            total: Tokens(total),
            ..Counted::default()
        };
        match (self.provider, self.form) {
            (_, Form::Bedrock) => bedrock::counted(body).map(of),
            (DialectName::Gemini, _) => count::read_answer(body),
            _ => {
                #[derive(Deserialize)]
                struct Answer {
                    input_tokens: u64,
                }
                let answer: Answer = serde_json::from_slice(body).ok()?;
                Some(of(answer.input_tokens))
            }
        }
    }

    fn say_count(&self, counted: &Counted) -> Bytes {
        let mut out = BytesMut::new();
        match self.client {
            DialectName::Gemini => return count::write_answer(counted),
            // OpenAI API reference, input token counts, read 2026-08.
            DialectName::Responses => {
                out.extend_from_slice(b"{\"object\":\"response.input_tokens\",\"input_tokens\":");
            }
            _ => out.extend_from_slice(b"{\"input_tokens\":"),
        }
        json::integer(counted.total.0, &mut out);
        out.extend_from_slice(b"}");
        out.freeze()
    }

    fn embedded(
        &self,
        asked: &Bytes,
        body: &Bytes,
        model: Named<'_>,
    ) -> Result<(Bytes, Usage), Malformed> {
        let read = match (self.provider, self.form) {
            (_, Form::Bedrock) => Maker::of(model.theirs).and_then(|maker| maker.read(body)),
            (DialectName::Gemini, _) => embeddings::read_gemini_answer(body),
            _ => embeddings::read_openai_answer(body),
        };
        let embedded = read.ok_or_else(|| Malformed::at("body: no embeddings"))?;
        let usage = embedded.usage.clone();
        if self.pass() {
            return Ok((body.clone(), usage));
        }
        let asked = self.read_embed(asked).unwrap_or_default();
        let said = match self.client {
            DialectName::Gemini => embeddings::write_gemini_answer(&embedded, asked.batch),
            _ => embeddings::write_openai_answer(&embedded, model.ours, asked.encoding),
        };
        Ok((said, usage))
    }
}

/// What of a request is counted: its prompt, not how its answer shall be.
fn counted_part(request: Request) -> Request {
    Request {
        model: request.model,
        system: request.system,
        turns: request.turns,
        tools: request.tools,
        tool_choice: request.tool_choice,
        reasoning: request.reasoning,
        ..Request::default()
    }
}

/// Messages' own reader wants the limit that a request to be counted does not have.
fn with_limit(body: &Bytes) -> Result<Bytes, Fault> {
    Ok(envelope(body, &["max_tokens"], "\"max_tokens\":1")?
        .concat()
        .into())
}

/// Counting takes no word about the answer (Anthropic and OpenAI API references, read 2026-08).
fn without_answers(body: &Bytes, model: &str) -> Result<Bytes, Fault> {
    let mut named = BytesMut::from("\"model\":\"");
    json::escaped(model, &mut named);
    named.extend_from_slice(b"\"");
    let named = Str::try_from(named.freeze())
        .map_err(|_| Fault::new(FaultClass::Internal, "a model's name is not UTF-8"))?;
    let answers = [
        "model",
        "max_tokens",
        "max_output_tokens",
        "stream",
        "stream_options",
        "store",
        "include",
    ];
    Ok(envelope(body, &answers, &named)?.concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::Rules;
    use serde_json::{Value, json};

    const NAMED: Named<'static> = Named {
        ours: "ours",
        theirs: "amazon.titan-embed-text-v2:0",
    };

    fn sides(question: Question, client: DialectName, provider: DialectName, form: Form) -> Sides {
        Sides {
            question,
            client,
            provider,
            form,
        }
    }

    fn asked(sides: &Sides, body: &Value) -> Value {
        let target = Target {
            model: "theirs",
            stream: false,
            max_output_default: 100,
            rules: &Rules::default(),
        };
        let body = Bytes::from(body.to_string());
        let (written, _) = sides.request(&body, &target).expect("sayable");
        serde_json::from_slice(&written).expect("JSON")
    }

    fn told(sides: &Sides, asked: &Value, body: &Value) -> Value {
        let (asked, body) = (
            Bytes::from(asked.to_string()),
            Bytes::from(body.to_string()),
        );
        let (said, _) = sides.answer(&asked, &body, NAMED).expect("an answer");
        serde_json::from_slice(&said).expect("JSON")
    }

    #[test]
    fn a_count_is_asked_and_told_in_each_sides_words() {
        use DialectName::{Converse, Gemini, Messages, Responses};
        let messages =
            json!({"model": "m", "system": "s", "messages": [{"role": "user", "content": "hi"}]});
        let gemini = sides(Question::Count, Messages, Gemini, Form::Plain);
        let request = asked(&gemini, &messages);
        let inner = &request["generateContentRequest"];
        assert_eq!(inner["model"], "models/theirs");
        assert_eq!(inner["contents"][0]["parts"][0]["text"], "hi");
        let answer = told(&gemini, &messages, &json!({"totalTokens": 7}));
        assert_eq!(answer, json!({"input_tokens": 7}));

        let responses = sides(Question::Count, Messages, Responses, Form::Plain);
        let request = asked(&responses, &messages);
        assert_eq!(request["model"], "theirs");
        let names: Vec<&String> = request.as_object().expect("an object").keys().collect();
        assert!(
            !names
                .iter()
                .any(|n| ["stream", "store", "max_output_tokens"].contains(&&***n)),
            "{names:?}"
        );

        let bedrock = sides(Question::Count, Messages, Messages, Form::Bedrock);
        assert!(!bedrock.pass());
        assert!(asked(&bedrock, &messages)["input"]["invokeModel"]["body"].is_string());
        let converse = sides(Question::Count, Responses, Converse, Form::Bedrock);
        let said = asked(&converse, &json!({"model": "m", "input": "hi"}));
        assert_eq!(said["input"]["converse"]["messages"][0]["role"], "user");
        assert_eq!(
            told(&converse, &json!({}), &json!({"inputTokens": 9})),
            json!({"object": "response.input_tokens", "input_tokens": 9})
        );

        let own = sides(Question::Count, Messages, Messages, Form::Plain);
        assert!(own.pass());
        let said = json!({"input_tokens": 3, "context_management": {"original_input_tokens": 5}});
        assert_eq!(told(&own, &messages, &said), said);
    }

    #[test]
    fn embeddings_cross_in_both_directions() {
        use DialectName::{Chat, Gemini};
        let openai = json!({"model": "m", "input": ["a", "b"], "dimensions": 2});
        let up = sides(Question::Embed, Chat, Gemini, Form::Plain);
        let request = asked(&up, &openai);
        assert!(request.to_string().contains("\"a\""), "{request}");
        let answer = json!({"embeddings": [{"values": [0.5, 1.0]}, {"values": [0.25, 0.0]}]});
        let said = told(&up, &openai, &answer);
        assert_eq!(said["data"][1]["embedding"], json!([0.25, 0.0]));
        assert_eq!(
            (&said["object"], &said["model"]),
            (&json!("list"), &json!("ours"))
        );

        let down = sides(Question::Embed, Gemini, Chat, Form::Plain);
        let gemini = json!({"content": {"parts": [{"text": "a"}]}});
        assert_eq!(asked(&down, &gemini)["model"], "theirs");
        let answer = json!({"object": "list", "model": "theirs", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}});
        assert_eq!(
            told(&down, &gemini, &answer)["embedding"]["values"],
            json!([1.0])
        );
        let (_, usage) = down
            .answer(
                &Bytes::from(gemini.to_string()),
                &Bytes::from(answer.to_string()),
                NAMED,
            )
            .expect("an answer");
        assert_eq!(usage.input_total(), Tokens(4));
    }

    #[test]
    fn the_clouds_embed_in_forms_of_their_own_for_either_client() {
        use DialectName::{Chat, Gemini};
        let openai = json!({"model": "m", "input": "a", "encoding_format": "base64"});
        let gemini = json!({"requests": [{"content": {"parts": [{"text": "a"}]}}]});
        let predicted = json!({"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 2}}}]});
        let titan = json!({"embedding": [1.0], "inputTextTokenCount": 2});
        for (client, ask, question) in [
            (Chat, &openai, Question::Embed),
            (Gemini, &gemini, Question::EmbedMany),
        ] {
            let general = sides(question, client, Gemini, Form::Predict);
            assert!(!general.pass());
            assert_eq!(
                asked(&general, ask),
                json!({"instances": [{"content": "a"}]})
            );
            let runtime = sides(question, client, Chat, Form::Bedrock);
            let target = Target {
                model: NAMED.theirs,
                stream: false,
                max_output_default: 1,
                rules: &Rules::default(),
            };
            let (body, _) = runtime
                .request(&Bytes::from(ask.to_string()), &target)
                .expect("sayable");
            assert_eq!(body, r#"{"inputText":"a"}"#);
            for (sides, answer) in [(general, &predicted), (runtime, &titan)] {
                let said = told(&sides, ask, answer);
                match client {
                    Chat => {
                        assert_eq!(said["data"][0]["embedding"], "AACAPw==");
                        assert_eq!(said["usage"]["prompt_tokens"], 2);
                    }
                    _ => assert_eq!(said["embeddings"][0]["values"], json!([1.0])),
                }
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed_and_what_cannot_be_said_is_refused() {
        use DialectName::{Chat, Converse, Messages};
        let count = sides(Question::Count, Messages, Messages, Form::Plain);
        for body in ["", "{}", "<html>", r#"{"error":{}}"#] {
            assert!(
                count
                    .answer(&Bytes::new(), &Bytes::from(body), NAMED)
                    .is_err(),
                "{body}"
            );
        }
        let embed = sides(Question::Embed, Chat, Converse, Form::Bedrock);
        let target = Target {
            model: "t",
            stream: false,
            max_output_default: 1,
            rules: &Rules::default(),
        };
        let body = Bytes::from_static(br#"{"model":"m","input":"x"}"#);
        assert!(embed.request(&body, &target).is_err());
    }
}
