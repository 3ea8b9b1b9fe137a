//! Sampling, reasoning and the form of the answer → `generationConfig`; and what steers accounts and caches.

use super::write::{Writer, is};
use crate::base::Str;
use crate::canon::{
    DialectName, Effort, Extra, Fault, OutputFormat, Reasoning, ReasoningMode, Request, Sampling,
};
use crate::protocol::json;

/// Whether it belongs within `generationConfig`.
pub(super) fn is_config(extra: &Extra) -> bool {
    extra.dialect == DialectName::Gemini && extra.name.starts_with("generationConfig.")
}

// Gemini API reference, read 2026-08: "a maximum of 5".
const STOPS_MAX: usize = 5;

impl Writer<'_> {
    pub(super) fn config(&mut self, request: &Request) -> Result<(), Fault> {
        let before = self.out.len();
        self.key("generationConfig").extend_from_slice(b"{");
        let empty = self.out.len();
        self.sampling(&request.sampling)?;
        let whole = |name: &str| request.extra.iter().any(|e| is(e, name));
        if !whole("generationConfig.thinkingConfig") {
            self.reasoning(request.reasoning.as_ref())?;
        }
        self.output_format(request.output_format.as_ref())?;
        for extra in request.extra.iter().filter(|e| is_config(e)) {
            self.extra(extra)?;
        }
        if self.out.len() == empty {
            self.out.truncate(before);
        } else {
            self.out.extend_from_slice(b"}");
        }
        Ok(())
    }

    fn integer(
        &mut self,
        rule: &str,
        name: &str,
        value: Option<impl itoa::Integer>,
    ) -> Result<(), Fault> {
        match value {
            Some(n) if self.takes(rule)? => json::integer(n, self.key(name)),
            _ => {}
        }
        Ok(())
    }

    fn number(&mut self, rule: &str, name: &str, value: Option<f64>) -> Result<(), Fault> {
        match value.filter(|n| n.is_finite()) {
            Some(n) if self.takes(rule)? => {
                let text = serde_json::to_string(&n).expect("a finite number is JSON");
                self.key(name).extend_from_slice(text.as_bytes());
            }
            _ => {}
        }
        Ok(())
    }

    fn sampling(&mut self, s: &Sampling) -> Result<(), Fault> {
        // It bounds thinking and speaking together, as the limits of all other dialects do.
        let limit = s.max_output.map(|t| t.0);
        self.integer("max_output", "maxOutputTokens", limit)?;
        self.number("temperature", "temperature", s.temperature)?;
        self.number("top_p", "topP", s.top_p)?;
        self.integer("top_k", "topK", s.top_k)?;
        self.stops(&s.stop)?;
        self.integer("seed", "seed", s.seed)?;
        self.number("presence_penalty", "presencePenalty", s.presence_penalty)?;
        self.number("frequency_penalty", "frequencyPenalty", s.frequency_penalty)?;
        if s.logit_bias.is_some() {
            let why = "tokens cannot be favoured with this model's provider";
            self.cannot("logit_bias", "logit_bias", why)?;
        }
        if let Some(wanted) = s.logprobs
            && self.takes("logprobs")?
        {
            let word: &[u8] = if wanted { b"true" } else { b"false" };
            self.key("responseLogprobs").extend_from_slice(word);
        }
        self.integer("top_logprobs", "logprobs", s.top_logprobs)?;
        self.integer("choices", "candidateCount", s.choices)?;
        if s.verbosity.is_some() {
            self.report("verbosity");
        }
        Ok(())
    }

    fn stops(&mut self, stops: &[Str]) -> Result<(), Fault> {
        if stops.is_empty() || !self.takes("stop")? {
            return Ok(());
        }
        if stops.len() > STOPS_MAX {
            let why = format!(
                "{} stop sequences; this model's provider takes {STOPS_MAX} at most",
                stops.len()
            );
            return Err(Fault::invalid("stop", why).with_code("unsupported_value"));
        }
        self.key("stopSequences").extend_from_slice(b"[");
        for stop in stops {
            json::comma(&mut self.out);
            json::string(stop, &mut self.out);
        }
        self.out.extend_from_slice(b"]");
        Ok(())
    }

    fn reasoning(&mut self, reasoning: Option<&Reasoning>) -> Result<(), Fault> {
        let Some(reasoning) = reasoning else {
            return Ok(());
        };
        if !self.takes("reasoning")? {
            return Ok(());
        }
        if reasoning.mode == Some(ReasoningMode::BetweenTools) {
            self.report("reasoning.between_tools");
        }
        let off = is_off(reasoning);
        self.key("thinkingConfig").extend_from_slice(b"{");
        if self.is_older() {
            self.budget(reasoning)?;
        } else {
            self.level(reasoning);
        }
        // Other dialects show thinking where it was asked for; Gemini only when told so.
        let shown = reasoning.shown.unwrap_or(!off);
        if shown {
            self.key("includeThoughts").extend_from_slice(b"true");
        }
        self.out.extend_from_slice(b"}");
        Ok(())
    }

    /// Gemini 2.5 thinks up to so many tokens; efforts by the table of the provider's notes.
    fn budget(&mut self, reasoning: &Reasoning) -> Result<(), Fault> {
        let budget: i64 = match (reasoning.mode, &reasoning.effort) {
            (Some(ReasoningMode::Off), _) => 0,
            (Some(ReasoningMode::Budget(tokens)), _) => i64::try_from(tokens.0).unwrap_or(i64::MAX),
            (_, Some(effort)) => match effort {
                Effort::None => 0,
                Effort::Minimal => 512,
                Effort::Low => 2_048,
                Effort::Medium => 8_192,
                // The most that all models of this generation take.
                Effort::High | Effort::ExtraHigh | Effort::Max => 24_576,
                Effort::Other(word) => {
                    let why = format!("`{word}` is no effort that this model knows");
                    return self.cannot("reasoning_effort", "reasoning_effort", &why);
                }
            },
            (Some(ReasoningMode::Adaptive | ReasoningMode::BetweenTools), None) => -1,
            (None, None) => return Ok(()),
        };
        json::integer(budget, self.key("thinkingBudget"));
        Ok(())
    }

    /// Gemini 3 and later think at a level, and cannot be told not to.
    fn level(&mut self, reasoning: &Reasoning) {
        let least = self.least_level();
        if is_off(reasoning) {
            self.report("reasoning.off");
        }
        let level = match (reasoning.mode, &reasoning.effort) {
            (Some(ReasoningMode::Off), _) | (_, Some(Effort::None)) => Str::from(least),
            (_, Some(effort)) => match effort {
                Effort::Minimal | Effort::None => Str::from(least),
                Effort::Low => "LOW".into(),
                Effort::Medium => "MEDIUM".into(),
                // The most that all models of this generation take.
                Effort::High | Effort::Max => "HIGH".into(),
                Effort::ExtraHigh => "XHIGH".into(),
                Effort::Other(word) => word.to_ascii_uppercase().into(),
            },
            (Some(ReasoningMode::Budget(tokens)), None) => match tokens.0 {
                0..=768 => Str::from(least),
                769..=4_096 => "LOW".into(),
                4_097..=12_288 => "MEDIUM".into(),
                _ => "HIGH".into(),
            },
            // The model decides, as it does unasked.
            (Some(ReasoningMode::Adaptive | ReasoningMode::BetweenTools) | None, None) => return,
        };
        json::field("thinkingLevel", &level, &mut self.out);
    }

    /// `MINIMAL` is known to the smaller models alone (Gemini docs, thinking, read 2026-08).
    fn least_level(&self) -> &'static str {
        if self.target.model.contains("flash") {
            "MINIMAL"
        } else {
            "LOW"
        }
    }

    fn output_format(&mut self, format: Option<&OutputFormat>) -> Result<(), Fault> {
        let Some(format) = format else { return Ok(()) };
        if !self.takes("output_format")? || !self.takes("response_format")? {
            return Ok(());
        }
        let mime = match format {
            OutputFormat::Text => "text/plain",
            OutputFormat::JsonObject | OutputFormat::JsonSchema { .. } => "application/json",
        };
        json::field("responseMimeType", mime, &mut self.out);
        if let OutputFormat::JsonSchema {
            schema,
            description,
            ..
        } = format
        {
            if description.is_some() {
                self.report("output_format.description");
            }
            // What the schema is called and whether it is strict have no place: it always is.
            self.key("responseJsonSchema")
                .extend_from_slice(schema.get().as_bytes());
        }
        Ok(())
    }

    /// What other dialects say about accounts and caches: prefixes are cached here without being asked.
    pub(super) fn hints(&mut self, request: &Request) -> Result<(), Fault> {
        for (name, said) in [
            ("prompt_cache_key", request.cache.key.is_some()),
            ("cache.automatic", request.cache.automatic.is_some()),
            ("prompt_cache_options", request.cache.options.is_some()),
            ("user", request.user.is_some()),
            ("metadata", request.metadata.is_some()),
        ] {
            if said {
                self.report(name);
            }
        }
        match request.service_tier.as_deref() {
            // What is done unasked.
            None | Some("auto" | "default" | "standard_only" | "unspecified") => {}
            Some(tier @ ("standard" | "flex" | "priority")) => {
                if self.takes("service_tier")? {
                    json::field("serviceTier", tier, &mut self.out);
                }
            }
            Some(other) => {
                let why = format!("`{other}` is no tier of this model's provider");
                self.cannot("service_tier", "service_tier", &why)?;
            }
        }
        Ok(())
    }
}

fn is_off(reasoning: &Reasoning) -> bool {
    reasoning.mode == Some(ReasoningMode::Off) || reasoning.effort == Some(Effort::None)
}
