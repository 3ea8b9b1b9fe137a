//! Canon → a Converse request: the top level.
//!
//! The same request gives the same bytes. What this API cannot say is refused with a 400 that names the field, unless the target's rules drop it;
//! hints, which change no answer, are left out and reported. What only the model's maker has a word for goes into
//! `additionalModelRequestFields`, which Bedrock merges into the model's own request.

use super::family::Family;
use super::tools::Tools;
use super::write_blocks::{BlockWriter, Points};
use super::write_turns::arrange;
use crate::base::{Str, Tokens};
use crate::canon::{
    DialectName, Effort, Extra, Fault, OutputFormat, Reasoning, ReasoningMode, Request, ToolChoice,
};
use crate::protocol::dialect::messages::schema::{Object, Path, string};
use crate::protocol::dialect::messages::write::Rulings;
use crate::protocol::dialect::messages::write_thinking::Thinking;
use crate::protocol::dialect::responses;
use crate::protocol::dialect::{Dropped, Target};
use bytes::{Bytes, BytesMut};

/// Writes the body of `POST /model/{id}/converse` or `…/converse-stream`; neither the model nor `stream` stands in it. `Err` is a 400 that
/// names what this API, or the target's model, cannot say.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut rules = Rulings::of(target);
    let family = Family::of(target.model);
    refuse_unsayable(request, family, &mut rules)?;
    let tools = Tools::plan(request, &mut rules)?;
    let mut writer = Writer {
        request,
        target,
        family,
        tools,
        rules,
    };
    let mut out = BytesMut::with_capacity(1024);
    writer.all(&mut out)?;
    Ok((out.freeze(), writer.rules.into_dropped()))
}

const NO_EQUIVALENT: &str = "the converse api has no equivalent; leave it out";
const MODEL_FIELDS: &str = "additionalModelRequestFields";

/// What other dialects say and this API does not. A value that asks for what would happen anyway is no ask.
fn refuse_unsayable(
    request: &Request,
    family: Family,
    rules: &mut Rulings<'_>,
) -> Result<(), Fault> {
    let s = &request.sampling;
    let weighs = |penalty: Option<f64>| penalty.is_some_and(|p| p != 0.0);
    let asks = [
        ("n", s.choices.is_some_and(|n| n != 1)),
        ("seed", s.seed.is_some()),
        ("presence_penalty", weighs(s.presence_penalty)),
        ("frequency_penalty", weighs(s.frequency_penalty)),
        (
            "logit_bias",
            s.logit_bias.as_ref().is_some_and(|b| b.get() != "{}"),
        ),
        ("logprobs", s.logprobs == Some(true)),
        ("top_logprobs", s.top_logprobs.is_some_and(|n| n > 0)),
        (
            "verbosity",
            s.verbosity.as_deref().is_some_and(|v| v != "medium"),
        ),
    ];
    for (name, asked) in asks {
        if asked {
            rules.unsayable(name, NO_EQUIVALENT)?;
        }
    }
    if request.output_format == Some(OutputFormat::JsonObject) {
        let why = "any JSON object cannot be asked of the converse api; give a json_schema";
        rules.unsayable("response_format", why)?;
    }
    for extra in &request.extra {
        refuse_extra(extra, family, rules)?;
    }
    report_hints(request, rules);
    Ok(())
}

/// Another dialect's field is refused, but for those that steer bookkeeping or speed and not the answer, and Anthropic's own where
/// the model is Claude.
fn refuse_extra(extra: &Extra, family: Family, rules: &mut Rulings<'_>) -> Result<(), Fault> {
    const HINTS: [&str; 11] = [
        "store",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "stream_options",
        "metadata",
        "moderation",
        "inference_geo",
        "diagnostics",
    ];
    let within_a_turn = extra.name.starts_with("messages[");
    let sayable = match extra.dialect {
        DialectName::Converse => !within_a_turn,
        DialectName::Messages => family == Family::Claude && is_claudes(&extra.name),
        _ => false,
    };
    if sayable {
        return Ok(());
    }
    if responses::is_aside(extra) {
        // Responses keeps answers without being asked: that this one is not kept is news to who asked for it.
        if !(&*extra.name == "store" && extra.value.get() == "null") {
            rules.dropped(&*extra.name);
        }
        return Ok(());
    }
    let harmless = HINTS.contains(&&*extra.name)
        || extra.name.starts_with("metadata.")
        || (extra.name == "modalities"
            && extra.value.read::<Vec<String>>() == Some(vec!["text".to_owned()]))
        || extra.value.get() == "null";
    if harmless {
        rules.dropped(&*extra.name);
        return Ok(());
    }
    rules.unsayable(&extra.name, NO_EQUIVALENT)
}

/// Fields of Anthropic's that Bedrock takes (`providers/bedrock.md` 4), and what stands within `thinking`.
fn is_claudes(name: &str) -> bool {
    name.starts_with("thinking.")
        || matches!(
            name,
            "anthropic_beta" | "context_management" | "safeguards" | "thinking"
        )
}

fn report_hints(request: &Request, rules: &mut Rulings<'_>) {
    if request.user.is_some() {
        rules.dropped("user");
    }
    if request.cache.key.is_some() {
        rules.dropped("prompt_cache_key");
    }
    if let Some(options) = &request.cache.options {
        rules.dropped(&*options.name);
    }
    // Converse has no automatic marks; the policy places its own.
    if request.cache.automatic.is_some() {
        rules.dropped("cache_control");
    }
}

struct Writer<'a> {
    request: &'a Request,
    target: &'a Target<'a>,
    family: Family,
    tools: Tools<'a>,
    rules: Rulings<'a>,
}

impl Writer<'_> {
    fn all(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        let mut points = Points::plan(self.request, &self.tools.list);
        if points.over() {
            self.rules.dropped("cache_control");
        }
        let mut body = Object::open(out);
        self.tool_config(&mut body, &mut points)?;
        self.content(&mut body, &mut points)?;
        self.inference(&mut body)?;
        let effort = self.model_fields(&mut body)?;
        self.output_config(&mut body, effort.as_ref());
        self.notes(&mut body);
        body.close();
        Ok(())
    }

    /// The extras that stood within `parent`, by their name there.
    fn extras_within(&self, parent: &str, object: &mut Object<'_>) {
        for extra in &self.request.extra {
            let name = extra.name.strip_prefix(parent);
            if let Some(name) = name.and_then(|n| n.strip_prefix('.'))
                && extra.dialect == DialectName::Converse
            {
                object.json(name, &extra.value);
            }
        }
    }

    fn has_extras(&self, parent: &str) -> bool {
        self.request.extra.iter().any(|e| {
            let name = e.name.strip_prefix(parent);
            e.dialect == DialectName::Converse && name.is_some_and(|n| n.starts_with('.'))
        })
    }

    fn tool_config(&mut self, body: &mut Object<'_>, points: &mut Points) -> Result<(), Fault> {
        if self.tools.list.is_empty() && !self.has_extras("toolConfig") {
            return Ok(());
        }
        let mut config = Object::open(body.value("toolConfig"));
        self.tools.write(points, &mut self.rules, &mut config)?;
        self.extras_within("toolConfig", &mut config);
        config.close();
        Ok(())
    }

    fn content(&mut self, body: &mut Object<'_>, points: &mut Points) -> Result<(), Fault> {
        let mut blocks = BlockWriter::new(points, &mut self.rules);
        let path = Path::Root.field("system");
        let system = blocks.kept(&self.request.system, &path)?;
        if !system.is_empty() {
            blocks.system(&system, &path, body.value("system"))?;
        }
        let turns = arrange(self.request, blocks.rules)?;
        body.try_array("messages", &turns, |turn, out| blocks.turn(turn, out))
    }

    fn inference(&mut self, body: &mut Object<'_>) -> Result<(), Fault> {
        let s = &self.request.sampling;
        let top_k = self.family == Family::Nova && s.top_k.is_some();
        let any = s.max_output.is_some()
            || s.temperature.is_some()
            || s.top_p.is_some()
            || !s.stop.is_empty()
            || top_k;
        if !any && !self.has_extras("inferenceConfig") {
            return Ok(());
        }
        let mut config = Object::open(body.value("inferenceConfig"));
        if let Some(Tokens(n)) = s.max_output
            && self.rules.takes("max_output")?
        {
            config.count("maxTokens", n);
        }
        if let Some(t) = s.temperature
            && self.rules.takes("temperature")?
        {
            // The API's own bounds (Converse, InferenceConfiguration, read 2026-11): 0 to 1, where other dialects go to 2.
            if !(0.0..=1.0).contains(&t) {
                let message = format!("is {t}; the converse api takes 0 to 1");
                return Err(Fault::invalid("temperature", message));
            }
            config.float("temperature", t);
        }
        if let Some(p) = s.top_p
            && self.rules.takes("top_p")?
        {
            config.float("topP", p);
        }
        if !s.stop.is_empty() && self.rules.takes("stop")? {
            config.array("stopSequences", &s.stop, |stop, out| string(stop, out));
        }
        self.extras_within("inferenceConfig", &mut config);
        config.close();
        Ok(())
    }

    /// Writes what goes to the model itself; what comes back is the effort, which Converse has a place of its own for.
    fn model_fields(&mut self, body: &mut Object<'_>) -> Result<Option<Str>, Fault> {
        let mut inner = BytesMut::new();
        let mut fields = Object::open(&mut inner);
        let top_k = match self.request.sampling.top_k {
            Some(k) if self.rules.takes("top_k")? => Some(k),
            _ => None,
        };
        let effort = match self.family {
            Family::Claude => {
                if let Some(k) = top_k {
                    fields.count("top_k", k);
                }
                self.parallel(&mut fields);
                self.claudes_extras(&mut fields);
                let thinking = self.thinking()?;
                thinking.write(self.request, &mut fields);
                thinking.effort
            }
            Family::Nova => {
                // Nova's own place for it (Amazon Nova user guide, "Complete request schema", read 2026-11).
                if let Some(k) = top_k {
                    let mut config = Object::open(fields.value("inferenceConfig"));
                    config.count("topK", k);
                    config.close();
                }
                self.refuse_serial()?;
                self.novas_reasoning(&mut fields)?;
                None
            }
            Family::GptOss | Family::Other => {
                if top_k.is_some() {
                    self.rules.unsayable("top_k", NO_EQUIVALENT)?;
                }
                self.refuse_serial()?;
                self.others_reasoning(&mut fields)?;
                None
            }
        };
        self.extras_within(MODEL_FIELDS, &mut fields);
        fields.close();
        if inner.len() > 2 {
            body.value(MODEL_FIELDS).extend_from_slice(&inner);
        }
        Ok(effort)
    }

    fn claudes_extras(&self, fields: &mut Object<'_>) {
        for extra in &self.request.extra {
            if extra.dialect == DialectName::Messages
                && is_claudes(&extra.name)
                && !extra.name.contains('.')
            {
                fields.json(&extra.name, &extra.value);
            }
        }
    }

    /// Claude's own `tool_choice` beside Converse's: the only place in which calls can be asked for one at a time. It must repeat the
    /// choice, since it takes its place.
    fn parallel(&mut self, fields: &mut Object<'_>) {
        let Some(parallel) = self.request.parallel_tools.filter(|_| self.tools.any()) else {
            return;
        };
        let choice = self.tools.choice.as_ref();
        let word = match choice {
            None | Some(ToolChoice::Auto | ToolChoice::Allowed { .. }) => "auto",
            Some(ToolChoice::Required) => "any",
            Some(ToolChoice::Named { .. }) => "tool",
            Some(ToolChoice::None) => return,
        };
        let mut object = Object::typed(fields.value("tool_choice"), word);
        if let Some(ToolChoice::Named { name, .. }) = choice {
            object.text("name", name);
        }
        object.flag("disable_parallel_tool_use", !parallel);
        object.close();
    }

    fn refuse_serial(&mut self) -> Result<(), Fault> {
        if self.request.parallel_tools == Some(false) && self.tools.any() {
            if self.request.forces_one_tool() {
                // Who must call this one tool has no other to call beside it.
                self.rules.dropped("parallel_tool_calls");
                return Ok(());
            }
            self.rules.unsayable("parallel_tool_calls", NO_EQUIVALENT)?;
        }
        Ok(())
    }

    fn thinking(&mut self) -> Result<Thinking, Fault> {
        let budget = match &self.request.reasoning {
            Some(Reasoning {
                mode: Some(ReasoningMode::Budget(Tokens(n))),
                ..
            }) => *n,
            _ => 0,
        };
        // Without a limit the model's own holds, which is over any budget (`providers/bedrock.md` 10).
        let default = self.target.max_output_default.max(budget.saturating_add(1));
        let limit = self.request.sampling.max_output.map_or(default, |t| t.0);
        let forced = matches!(
            self.tools.choice,
            Some(ToolChoice::Required | ToolChoice::Named { .. })
        );
        let by_budget = self.target.rules.thinking_budget;
        Thinking::plan(self.request, limit, forced, by_budget, &mut self.rules)
    }

    /// What was asked of the model's thought, for makers other than Anthropic; `None` where nothing was, or where a rule drops it.
    fn effort_asked(&mut self) -> Result<Option<&'static str>, Fault> {
        let Some(reasoning) = &self.request.reasoning else {
            return Ok(None);
        };
        for name in ["reasoning", "reasoning_effort"] {
            if !self.rules.takes(name)? {
                return Ok(None);
            }
        }
        Ok(match (reasoning.mode, &reasoning.effort) {
            (Some(ReasoningMode::Off), _) | (None, Some(Effort::None)) => Some("off"),
            (_, Some(Effort::Minimal | Effort::Low)) => Some("low"),
            (_, Some(Effort::High | Effort::ExtraHigh | Effort::Max)) => Some("high"),
            (_, Some(Effort::Medium | Effort::Other(_))) => Some("medium"),
            (Some(ReasoningMode::Budget(Tokens(n))), _) => Some(match n {
                0..=4_095 => "low",
                4_096..=12_287 => "medium",
                _ => "high",
            }),
            (Some(ReasoningMode::Adaptive | ReasoningMode::BetweenTools), _) => Some("medium"),
            (None, None) => None,
        })
    }

    /// Nova 2 (Amazon Nova 2 user guide, "Extended thinking", read 2026-11). Where a client has given Nova's own words, those hold.
    fn novas_reasoning(&mut self, fields: &mut Object<'_>) -> Result<(), Fault> {
        let own = format!("{MODEL_FIELDS}.reasoningConfig");
        if self.request.extra.iter().any(|e| e.name == own) {
            return Ok(());
        }
        let Some(word) = self.effort_asked()? else {
            return Ok(());
        };
        let mut config = Object::open(fields.value("reasoningConfig"));
        if word == "off" {
            config.text("type", "disabled");
        } else {
            config.text("type", "enabled");
            config.text("maxReasoningEffort", word);
        }
        config.close();
        Ok(())
    }

    fn others_reasoning(&mut self, fields: &mut Object<'_>) -> Result<(), Fault> {
        match (self.effort_asked()?, self.family) {
            (None, _) => Ok(()),
            // They always think, at least a little (Amazon Bedrock user guide, "OpenAI models", read 2026-11).
            (Some("off"), Family::GptOss) => {
                self.rules.dropped("reasoning_effort");
                Ok(())
            }
            (Some(word), Family::GptOss) => {
                fields.text("reasoning_effort", word);
                Ok(())
            }
            (Some("off"), _) => Ok(()),
            (Some(_), _) => self.rules.unsayable(
                "reasoning_effort",
                "how to ask this model to reason is not known; leave it out",
            ),
        }
    }

    fn output_config(&mut self, body: &mut Object<'_>, effort: Option<&Str>) {
        let format = match &self.request.output_format {
            Some(OutputFormat::JsonSchema { strict, .. }) => {
                // This API always holds the answer to the schema.
                if *strict == Some(false) {
                    self.rules.dropped("response_format.json_schema.strict");
                }
                self.request.output_format.as_ref()
            }
            Some(OutputFormat::Text | OutputFormat::JsonObject) | None => None,
        };
        if format.is_none() && effort.is_none() && !self.has_extras("outputConfig") {
            return;
        }
        let mut config = Object::open(body.value("outputConfig"));
        config.text_if("effort", effort);
        if let Some(format) = format {
            write_text_format(format, &mut config);
        }
        self.extras_within("outputConfig", &mut config);
        config.close();
    }

    fn notes(&mut self, body: &mut Object<'_>) {
        if let Some(metadata) = &self.request.metadata {
            // The API takes texts alone.
            let texts = metadata.read::<std::collections::BTreeMap<String, String>>();
            if texts.is_some() {
                body.json("requestMetadata", metadata);
            } else {
                self.rules.dropped("metadata");
            }
        }
        match self.request.service_tier.as_deref() {
            // `auto`: whatever the account has, which is what saying nothing means.
            None | Some("auto") => {}
            Some(word) => self.service_tier(word, body),
        }
        for extra in &self.request.extra {
            let ours = extra.dialect == DialectName::Converse;
            if ours && !extra.name.contains('.') {
                body.json(&extra.name, &extra.value);
            }
        }
    }

    fn service_tier(&mut self, word: &str, body: &mut Object<'_>) {
        let word = match word {
            "standard_only" | "standard" => "default",
            "priority" | "default" | "flex" | "reserved" => word,
            _ => return self.rules.dropped("service_tier"),
        };
        let mut tier = Object::typed(body.value("serviceTier"), word);
        self.extras_within("serviceTier", &mut tier);
        tier.close();
    }
}

/// The schema travels as a string of JSON.
fn write_text_format(format: &OutputFormat, config: &mut Object<'_>) {
    let OutputFormat::JsonSchema {
        name,
        description,
        schema,
        ..
    } = format
    else {
        return;
    };
    let mut text = Object::typed(config.value("textFormat"), "json_schema");
    let mut structure = Object::open(text.value("structure"));
    let mut inner = Object::open(structure.value("jsonSchema"));
    inner.text("schema", schema.get());
    inner.text_if("name", name.as_ref());
    inner.text_if("description", description.as_ref());
    inner.close();
    structure.close();
    text.close();
}
