//! Canon → a provider's body: the top level and tools. Turns are written in `turns`.
//!
//! Fields come in one fixed order, so that the same request is the same bytes and a provider's prompt cache can match. What this
//! dialect, or the target's model, cannot say is a fault that names it, or is left out and reported where a rule says so.

use super::turns;
use crate::base::Str;
use crate::canon::{
    DialectName, Effort, Extra, Fault, OutputFormat, Reasoning, ReasoningMode, Request, Sampling,
    Tool, ToolChoice,
};
use crate::protocol::dialect::{Dropped, Target, responses};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// Writes a request for a speaker of Chat Completions.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut writer = Writer {
        out: BytesMut::from("{"),
        dropped: Vec::new(),
        target,
    };
    json::field("model", target.model, &mut writer.out);
    turns::write(request, &mut writer)?;
    writer.tools(request)?;
    writer.sampling(&request.sampling)?;
    writer.reasoning(request.reasoning.as_ref())?;
    writer.output_format(request.output_format.as_ref())?;
    writer.hints(request)?;
    writer.stream(request);
    writer.extras(request)?;
    writer.out.extend_from_slice(b"}");
    Ok((writer.out.freeze(), writer.dropped))
}

pub(in crate::protocol::dialect) struct Writer<'t> {
    pub out: BytesMut,
    pub(in crate::protocol::dialect) dropped: Dropped,
    pub(in crate::protocol::dialect) target: &'t Target<'t>,
}

impl Writer<'_> {
    /// Says that `name` was left out, once.
    pub(in crate::protocol::dialect) fn report(&mut self, name: &str) {
        if !self.dropped.iter().any(|d| d == name) {
            self.dropped.push(name.to_owned());
        }
    }

    pub(in crate::protocol::dialect) fn is_dropped(&mut self, name: &str) -> bool {
        let dropped = self.target.rules.drop.iter().any(|d| d == name);
        if dropped {
            self.report(name);
        }
        dropped
    }

    /// Whether to write `name`: not where a rule drops it; a fault where the model does not take it.
    pub(in crate::protocol::dialect) fn takes(&mut self, name: &str) -> Result<bool, Fault> {
        if self.is_dropped(name) {
            return Ok(false);
        }
        if self.target.rules.refuse.iter().any(|r| r == name) {
            let message = format!("the model does not take `{name}`; leave it out");
            return Err(Fault::invalid(name, message).with_code("unsupported_parameter"));
        }
        Ok(true)
    }

    /// This dialect has no words for `name`: dropped where a rule says so, else a fault at `field`.
    pub(in crate::protocol::dialect) fn cannot(
        &mut self,
        name: &str,
        field: &str,
        why: &str,
    ) -> Result<(), Fault> {
        if self.is_dropped(name) {
            return Ok(());
        }
        Err(Fault::invalid(field, why).with_code("unsupported_value"))
    }

    pub(in crate::protocol::dialect) fn key(&mut self, name: &str) -> &mut BytesMut {
        json::key(name, &mut self.out);
        &mut self.out
    }

    pub(in crate::protocol::dialect) fn string(
        &mut self,
        name: &str,
        value: Option<&Str>,
    ) -> Result<(), Fault> {
        match value {
            Some(value) if self.takes(name)? => json::field(name, value, &mut self.out),
            _ => {}
        }
        Ok(())
    }

    pub(in crate::protocol::dialect) fn integer(
        &mut self,
        name: &str,
        value: Option<impl itoa::Integer>,
    ) -> Result<(), Fault> {
        match value {
            Some(n) if self.takes(name)? => json::integer(n, self.key(name)),
            _ => {}
        }
        Ok(())
    }

    pub(in crate::protocol::dialect) fn raw(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), Fault> {
        match value {
            Some(text) if self.takes(name)? => self.key(name).extend_from_slice(text.as_bytes()),
            _ => {}
        }
        Ok(())
    }

    pub(in crate::protocol::dialect) fn boolean(
        &mut self,
        name: &str,
        value: Option<bool>,
    ) -> Result<(), Fault> {
        self.raw(name, value.map(|b| if b { "true" } else { "false" }))
    }

    pub(in crate::protocol::dialect) fn number(
        &mut self,
        name: &str,
        value: Option<f64>,
    ) -> Result<(), Fault> {
        // serde_json writes the shortest decimal that reads back; JSON has no words for NaN and infinity.
        let text = value
            .filter(|n| n.is_finite())
            .map(|n| serde_json::to_string(&n).expect("a finite number is JSON"));
        self.raw(name, text.as_deref())
    }

    fn sampling(&mut self, s: &Sampling) -> Result<(), Fault> {
        let limit = if self.target.rules.legacy_max_tokens {
            "max_tokens"
        } else {
            "max_completion_tokens"
        };
        self.drawing(s, limit)?;
        self.boolean("logprobs", s.logprobs)?;
        self.integer("top_logprobs", s.top_logprobs)?;
        self.choices(s)?;
        self.string("verbosity", s.verbosity.as_ref())
    }

    /// How tokens are drawn, and when to stop: what Completions has too. `limit`: what the output limit is called.
    pub(in crate::protocol::dialect) fn drawing(
        &mut self,
        s: &Sampling,
        limit: &str,
    ) -> Result<(), Fault> {
        if s.max_output.is_some() && self.takes("max_output")? {
            self.integer(limit, s.max_output.map(|t| t.0))?;
        }
        self.number("temperature", s.temperature)?;
        self.number("top_p", s.top_p)?;
        // Own machines take it; OpenAI's models have it among their `refuse`.
        self.integer("top_k", s.top_k)?;
        if !s.stop.is_empty() && self.takes("stop")? {
            self.key("stop").extend_from_slice(b"[");
            for stop in &s.stop {
                json::comma(&mut self.out);
                json::string(stop, &mut self.out);
            }
            self.out.extend_from_slice(b"]");
        }
        self.integer("seed", s.seed)?;
        self.number("presence_penalty", s.presence_penalty)?;
        self.number("frequency_penalty", s.frequency_penalty)?;
        self.raw("logit_bias", s.logit_bias.as_ref().map(|j| j.get()))
    }

    pub(in crate::protocol::dialect) fn choices(&mut self, s: &Sampling) -> Result<(), Fault> {
        if s.choices.is_some() && self.takes("choices")? {
            self.integer("n", s.choices)?;
        }
        Ok(())
    }

    /// A budget becomes a word, by the table in the provider's notes (minimal 512, low 2k, medium 8k, high 24k, then the maximum).
    fn reasoning(&mut self, reasoning: Option<&Reasoning>) -> Result<(), Fault> {
        let Some(reasoning) = reasoning else {
            return Ok(());
        };
        if !self.takes("reasoning")? {
            return Ok(());
        }
        if reasoning.shown == Some(false) {
            // OpenAI shows none anyway; own machines cannot be asked not to.
            self.report("reasoning.shown");
        }
        let word = match (reasoning.mode, &reasoning.effort) {
            (Some(ReasoningMode::Off), _) => "none",
            (_, Some(effort)) => effort_word(effort),
            (Some(ReasoningMode::Budget(tokens)), None) => match tokens.0 {
                0 => "none",
                1..=768 => "minimal",
                769..=4_096 => "low",
                4_097..=12_288 => "medium",
                12_289..=32_768 => "high",
                _ => "xhigh",
            },
            (Some(ReasoningMode::BetweenTools), None) => {
                self.report("reasoning.between_tools");
                return Ok(());
            }
            // The model decides, as it does unasked.
            (Some(ReasoningMode::Adaptive) | None, None) => return Ok(()),
        };
        self.string("reasoning_effort", Some(&Str::from(word)))
    }

    fn output_format(&mut self, format: Option<&OutputFormat>) -> Result<(), Fault> {
        let Some(format) = format else { return Ok(()) };
        if !self.takes("output_format")? || !self.takes("response_format")? {
            return Ok(());
        }
        let out = self.key("response_format");
        match format {
            OutputFormat::Text => out.extend_from_slice(b"{\"type\":\"text\"}"),
            OutputFormat::JsonObject => out.extend_from_slice(b"{\"type\":\"json_object\"}"),
            OutputFormat::JsonSchema {
                name,
                description,
                schema,
                strict,
            } => {
                out.extend_from_slice(b"{\"type\":\"json_schema\",\"json_schema\":{");
                // OpenAI demands a name; dialects without one are given this.
                json::field("name", name.as_deref().unwrap_or("response"), out);
                if let Some(description) = description {
                    json::field("description", description, out);
                }
                json::key("schema", out);
                out.extend_from_slice(schema.get().as_bytes());
                strict_flag(*strict, out);
                out.extend_from_slice(b"}}");
            }
        }
        Ok(())
    }

    fn hints(&mut self, request: &Request) -> Result<(), Fault> {
        self.string("prompt_cache_key", request.cache.key.as_ref())?;
        if let Some(options) = &request.cache.options {
            self.extra(options)?;
        }
        if request.cache.automatic.is_some() {
            // OpenAI caches of itself; that the client wished it needs no word.
            self.report("cache.automatic");
        }
        let same = |e: &&Extra| &*e.name == "safety_identifier";
        let identifier = request.extra.iter().find(same);
        let said_there = identifier
            .and_then(|e| e.value.read::<String>())
            .is_some_and(|id| request.user.as_deref() == Some(&id));
        // The field under which the client said it is written with the extras.
        if !said_there {
            self.string("user", request.user.as_ref())?;
        }
        self.raw("metadata", request.metadata.as_ref().map(|j| j.get()))?;
        self.string("service_tier", request.service_tier.as_ref())
    }

    /// Usage is always asked for: without it nobody knows what was spent.
    fn stream(&mut self, request: &Request) {
        if !self.target.stream {
            return;
        }
        let is_options = |e: &&Extra| is_chat(e) && &*e.name == "stream_options";
        let options = request.extra.iter().find(is_options);
        self.key("stream").extend_from_slice(b"true");
        self.key("stream_options")
            .extend_from_slice(b"{\"include_usage\":true");
        let members: Option<serde_json::Map<String, serde_json::Value>> =
            options.and_then(|e| e.value.read());
        for (name, value) in members.iter().flatten() {
            if name != "include_usage" {
                json::comma(&mut self.out);
                json::string(name, &mut self.out);
                self.out.extend_from_slice(b":");
                self.out.extend_from_slice(value.to_string().as_bytes());
            }
        }
        self.out.extend_from_slice(b"}");
    }

    fn extras(&mut self, request: &Request) -> Result<(), Fault> {
        for extra in &request.extra {
            if !(is_chat(extra) && &*extra.name == "stream_options") {
                self.extra(extra)?;
            }
        }
        Ok(())
    }

    pub(in crate::protocol::dialect) fn extra(&mut self, extra: &Extra) -> Result<(), Fault> {
        if !is_chat(extra) {
            if responses::is_aside(extra) {
                // Responses keeps answers without being asked: that this one is not kept is news to who asked for it.
                if !(&*extra.name == "store" && extra.value.get() == "null") {
                    self.report(&extra.name);
                }
                return Ok(());
            }
            let why = format!(
                "`{}` of the dialect {} cannot be said to this model",
                extra.name,
                extra.dialect.as_str()
            );
            return self.cannot(&extra.name, &extra.name, &why);
        }
        if self.takes(&extra.name)? {
            json::comma(&mut self.out);
            json::string(&extra.name, &mut self.out);
            self.out.extend_from_slice(b":");
            self.out.extend_from_slice(extra.value.get().as_bytes());
        }
        Ok(())
    }

    fn tools(&mut self, request: &Request) -> Result<(), Fault> {
        if !request.tools.is_empty() && self.takes("tools")? {
            self.key("tools").extend_from_slice(b"[");
            for (i, tool) in request.tools.iter().enumerate() {
                self.tool(i, tool)?;
            }
            self.out.extend_from_slice(b"]");
        }
        if let Some(choice) = &request.tool_choice
            && self.takes("tool_choice")?
        {
            let out = self.key("tool_choice");
            tool_choice(choice, &request.tools, out);
        }
        self.boolean("parallel_tool_calls", request.parallel_tools)
    }

    fn tool(&mut self, number: usize, tool: &Tool) -> Result<(), Fault> {
        match tool {
            Tool::Function { .. } => self.function(tool)?,
            Tool::Custom {
                name,
                description,
                format,
            } => {
                json::comma(&mut self.out);
                let out = &mut self.out;
                out.extend_from_slice(b"{\"type\":\"custom\",\"custom\":{");
                json::field("name", name, out);
                if let Some(description) = description {
                    json::field("description", description, out);
                }
                if let Some(format) = format {
                    json::key("format", out);
                    out.extend_from_slice(format.get().as_bytes());
                }
                out.extend_from_slice(b"}}");
            }
            Tool::Other {
                dialect: DialectName::Chat,
                json,
            } => {
                json::comma(&mut self.out);
                self.out.extend_from_slice(json.get().as_bytes());
            }
            Tool::Other { dialect, .. } => {
                let why = format!(
                    "a tool of the dialect {} that this model's provider does not have",
                    dialect.as_str()
                );
                self.cannot("server_tools", &format!("tools[{number}]"), &why)?;
            }
        }
        Ok(())
    }

    fn function(&mut self, tool: &Tool) -> Result<(), Fault> {
        let Tool::Function {
            name,
            description,
            schema,
            strict,
            mark,
            extra,
        } = tool
        else {
            return Ok(());
        };
        if mark.is_some() {
            // Breakpoints stand on content parts only (OpenAI docs, prompt caching, read 2026-08).
            self.report("tools.cache_control");
        }
        json::comma(&mut self.out);
        let out = &mut self.out;
        out.extend_from_slice(b"{\"type\":\"function\",\"function\":{");
        json::field("name", name, out);
        if let Some(description) = description {
            json::field("description", description, out);
        }
        if let Some(schema) = schema {
            json::key("parameters", out);
            out.extend_from_slice(schema.get().as_bytes());
        }
        strict_flag(*strict, out);
        for extra in extra {
            self.extra(extra)?;
        }
        self.out.extend_from_slice(b"}}");
        Ok(())
    }
}

fn is_chat(extra: &Extra) -> bool {
    extra.dialect == DialectName::Chat
}

fn strict_flag(strict: Option<bool>, out: &mut BytesMut) {
    if let Some(strict) = strict {
        json::key("strict", out);
        out.extend_from_slice(if strict { b"true" } else { b"false" });
    }
}

pub(in crate::protocol::dialect) fn effort_word(effort: &Effort) -> &str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
        Effort::Max => "max",
        Effort::Other(word) => word,
    }
}

fn tool_choice(choice: &ToolChoice, tools: &[Tool], out: &mut BytesMut) {
    let word: &[u8] = match choice {
        ToolChoice::Auto => b"\"auto\"",
        ToolChoice::None => b"\"none\"",
        ToolChoice::Required => b"\"required\"",
        ToolChoice::Named { name, custom } => return named(name, *custom, out),
        ToolChoice::Allowed { names, required } => {
            let head = b"{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":";
            out.extend_from_slice(head);
            out.extend_from_slice(if *required {
                b"\"required\""
            } else {
                b"\"auto\""
            });
            json::key("tools", out);
            out.extend_from_slice(b"[");
            for name in names {
                json::comma(out);
                let custom = |t: &Tool| matches!(t, Tool::Custom { name: n, .. } if n == name);
                named(name, tools.iter().any(custom), out);
            }
            b"]}}"
        }
    };
    out.extend_from_slice(word);
}

fn named(name: &str, custom: bool, out: &mut BytesMut) {
    let kind = if custom { "custom" } else { "function" };
    out.extend_from_slice(b"{");
    json::field("type", kind, out);
    json::key(kind, out);
    out.extend_from_slice(b"{");
    json::field("name", name, out);
    out.extend_from_slice(b"}}");
}
