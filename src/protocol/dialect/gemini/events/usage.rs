//! `usageMetadata` ⇄ canon's one normal form.
//!
//! Google counts what came from the cache within the prompt, what tools read beside it, and thoughts beside what was said (Gemini API
//! reference, `UsageMetadata`, read 2026-08).

use crate::base::{Json, Str, Tokens};
use crate::canon::Usage;
use crate::protocol::json;
use bytes::BytesMut;
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    prompt_token_count: Option<Count>,
    cached_content_token_count: Option<Count>,
    candidates_token_count: Option<Count>,
    thoughts_token_count: Option<Count>,
    tool_use_prompt_token_count: Option<Count>,
    total_token_count: Option<Count>,
    prompt_tokens_details: Option<Vec<Detail>>,
    tool_use_prompt_tokens_details: Option<Vec<Detail>>,
    candidates_tokens_details: Option<Vec<Detail>>,
    traffic_type: Option<String>,
    service_tier: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    modality: Option<String>,
    token_count: Option<Count>,
}

/// A count as a number, of any spelling: what is none is not said.
#[derive(Clone, Copy)]
struct Count(Option<Tokens>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        // A cast of a float saturates.
        let float = || value.as_f64().map(|f| f as u64);
        let text = || value.as_str()?.parse().ok();
        Ok(Self(
            value.as_u64().or_else(float).or_else(text).map(Tokens),
        ))
    }
}

fn of(count: Option<Count>) -> Option<Tokens> {
    count?.0
}

/// Tokens of one modality in all the lists.
fn modality(lists: &[&Option<Vec<Detail>>], name: &str) -> Option<Tokens> {
    let details = lists.iter().flat_map(|l| l.iter().flatten());
    let mut of_name = details
        .filter(|d| d.modality.as_deref() == Some(name))
        .filter_map(|d| of(d.token_count))
        .peekable();
    of_name.peek()?;
    Some(of_name.sum())
}

/// Reads a `usageMetadata` object. `None` for what is no object of counts.
pub(in crate::protocol::dialect) fn read(raw: Json) -> Option<Usage> {
    let m: Metadata = raw.read()?;
    let (prompt, cached) = (of(m.prompt_token_count), of(m.cached_content_token_count));
    let tools = of(m.tool_use_prompt_token_count);
    let input = [&m.prompt_tokens_details, &m.tool_use_prompt_tokens_details];
    let output = [&m.candidates_tokens_details];
    Some(Usage {
        // What tools brought in is read anew, so it is never cached.
        input_uncached: prompt
            .map(|p| p.saturating_sub(cached.unwrap_or_default()) + tools.unwrap_or_default())
            .or(tools),
        cache_read: cached,
        output: output_of(&m, prompt.unwrap_or_default() + tools.unwrap_or_default()),
        reasoning: of(m.thoughts_token_count),
        input_audio: modality(&input, "AUDIO"),
        input_image: modality(&input, "IMAGE"),
        output_audio: modality(&output, "AUDIO"),
        output_image: modality(&output, "IMAGE"),
        service_tier: tier(&m),
        raw: Some(raw),
        ..Usage::default()
    })
}

/// All output. Thoughts are counted beside what was said, but for answers whose total tells that they are within.
fn output_of(m: &Metadata, input: Tokens) -> Option<Tokens> {
    let (said, thoughts) = (of(m.candidates_token_count), of(m.thoughts_token_count));
    let (Some(said), Some(thoughts)) = (said, thoughts) else {
        return said.or(thoughts);
    };
    let within = thoughts > Tokens::ZERO
        && thoughts <= said
        && of(m.total_token_count) == Some(input + said);
    Some(if within { said } else { said + thoughts })
}

/// What was paid for: the Gemini API's tier, or Vertex's kind of traffic.
fn tier(m: &Metadata) -> Option<Str> {
    if let Some(tier) = m.service_tier.as_deref().filter(|t| !t.is_empty()) {
        return Some(Str::from(tier.to_ascii_lowercase()));
    }
    let traffic = m.traffic_type.as_deref()?;
    Some(match traffic {
        "TRAFFIC_TYPE_UNSPECIFIED" => return None,
        "ON_DEMAND" => "standard".into(),
        other => {
            let word = other.strip_prefix("ON_DEMAND_").unwrap_or(other);
            Str::from(word.to_ascii_lowercase())
        }
    })
}

/// Appends a `usageMetadata` object.
pub(super) fn write(usage: &Usage, out: &mut BytesMut) {
    let input = (usage.input_uncached.is_some() || usage.cache_read.is_some())
        .then(|| usage.input_total())
        .or(Some(usage.input_total()).filter(|t| *t > Tokens::ZERO));
    // Some speakers of other dialects count more thinking than output.
    let thoughts = usage
        .reasoning
        .map(|r| usage.output.map_or(r, |output| r.min(output)));
    let said = usage
        .output
        .map(|o| o.saturating_sub(thoughts.unwrap_or_default()));
    let total = input.unwrap_or_default() + usage.output.unwrap_or_default();
    out.extend_from_slice(b"{");
    for (name, count) in [
        ("promptTokenCount", input),
        ("candidatesTokenCount", said),
        ("totalTokenCount", Some(total)),
        ("cachedContentTokenCount", usage.cache_read),
        ("thoughtsTokenCount", thoughts),
    ] {
        if let Some(count) = count {
            json::key(name, out);
            json::integer(count.0, out);
        }
    }
    let parts = [("AUDIO", usage.input_audio), ("IMAGE", usage.input_image)];
    details("promptTokensDetails", input, &parts, out);
    let parts = [("AUDIO", usage.output_audio), ("IMAGE", usage.output_image)];
    details("candidatesTokensDetails", said, &parts, out);
    if let Some(tier) = &usage.service_tier {
        // Other dialects' word for it.
        let word = if &**tier == "default" {
            "standard"
        } else {
            tier
        };
        json::field("serviceTier", word, out);
    }
    out.extend_from_slice(b"}");
}

/// Appends how many tokens of `all` were of which kind; nothing where no kind is known.
fn details(name: &str, all: Option<Tokens>, parts: &[(&str, Option<Tokens>)], out: &mut BytesMut) {
    if parts.iter().all(|(_, n)| n.is_none()) {
        return;
    }
    let apart: Tokens = parts.iter().filter_map(|(_, n)| *n).sum();
    let text = all.unwrap_or_default().saturating_sub(apart);
    json::key(name, out);
    out.extend_from_slice(b"[");
    let known = parts.iter().filter_map(|(m, n)| Some((*m, (*n)?)));
    for (modality, count) in std::iter::once(("TEXT", text)).chain(known) {
        json::comma(out);
        out.extend_from_slice(b"{");
        json::field("modality", modality, out);
        json::key("tokenCount", out);
        json::integer(count.0, out);
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &'static str) -> Usage {
        read(Json::parse(text.into()).expect("json")).expect("an object")
    }

    #[test]
    fn cached_tokens_lie_within_the_prompt_and_tools_and_thoughts_beside() {
        let usage = told(
            r#"{"promptTokenCount":5000,"cachedContentTokenCount":4096,"candidatesTokenCount":80,"thoughtsTokenCount":200,"toolUsePromptTokenCount":70,"totalTokenCount":5350,"promptTokensDetails":[{"modality":"TEXT","tokenCount":4700},{"modality":"IMAGE","tokenCount":200},{"modality":"AUDIO","tokenCount":100}],"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":9}],"serviceTier":"STANDARD"}"#,
        );
        assert_eq!(usage.input_uncached, Some(Tokens(974)));
        assert_eq!(usage.input_total(), Tokens(5070));
        assert_eq!(
            (usage.output, usage.reasoning),
            (Some(Tokens(280)), Some(Tokens(200)))
        );
        assert_eq!(
            (usage.input_image, usage.input_audio, usage.output_audio),
            (Some(Tokens(200)), Some(Tokens(100)), Some(Tokens(9)))
        );
        assert_eq!(usage.service_tier.as_deref(), Some("standard"));
    }

    #[test]
    fn thoughts_within_what_was_said_are_told_by_the_total() {
        let usage = told(
            r#"{"promptTokenCount":10,"candidatesTokenCount":50,"thoughtsTokenCount":30,"totalTokenCount":60}"#,
        );
        assert_eq!(usage.output, Some(Tokens(50)));
    }

    #[test]
    fn what_was_not_said_is_unknown_and_nonsense_is_no_count() {
        let usage = told(r#"{"promptTokenCount":10,"totalTokenCount":10}"#);
        assert_eq!((usage.output, usage.cache_read), (None, None));
        let usage = told(r#"{"trafficType":"ON_DEMAND_FLEX"}"#);
        assert_eq!(
            (usage.input_uncached, usage.service_tier.as_deref()),
            (None, Some("flex"))
        );
        let usage =
            told(r#"{"promptTokenCount":-3,"candidatesTokenCount":{},"thoughtsTokenCount":4}"#);
        assert_eq!(
            (usage.input_uncached, usage.output),
            (Some(Tokens(0)), Some(Tokens(4)))
        );
        assert_eq!(read(Json::parse("7".into()).expect("json")), None);
    }

    #[test]
    fn what_we_write_we_read() {
        let usage = Usage {
            input_uncached: Some(Tokens(10)),
            cache_read: Some(Tokens(4)),
            output: Some(Tokens(9)),
            reasoning: Some(Tokens(3)),
            input_image: Some(Tokens(2)),
            service_tier: Some("flex".into()),
            ..Usage::default()
        };
        let mut out = BytesMut::new();
        write(&usage, &mut out);
        let text = Str::try_from(out).expect("UTF-8");
        let again = read(Json::parse(text).expect("json")).expect("an object");
        assert_eq!(Usage { raw: None, ..again }, usage);
    }
}
