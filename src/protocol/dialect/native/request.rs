//! Reads a client's request; writes one for a provider that speaks our dialect (another router), or for the archive.

use super::blocks::{
    boolean, braces, list, object, optional, raw, read_content, read_dialect, read_extra,
    read_extras, read_mark, write_block, write_extra, write_mark,
};
use super::schema::{Fields, ROLES, TextOr, text_of, word_of};
use crate::base::{NanoUsd, Str, Tokens};
use crate::canon::controls::{CACHE_MODES, ON_DISCONNECT, PRIORITIES, REBINDS, id};
use crate::canon::{
    Block, CacheHints, Controls, DialectName, Effort, Extra, Fault, OutputFormat, ProviderWishes,
    Reasoning, ReasoningMode, Request, Role, Sampling, Tool, ToolChoice, Turn,
};
use crate::protocol::dialect::{Dropped, Rules, Target};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Reads a client's request, its controls checked and left out.
pub fn read(body: &Bytes) -> Result<Request, Fault> {
    read_with_controls(body).map(|(request, _)| request)
}

/// Reads a client's request and what it says of its handling. `Err` names the field: unknown, missing, twice, or wrong.
pub fn read_with_controls(body: &Bytes) -> Result<(Request, Controls), Fault> {
    let text = text_of(body)?;
    read_fields(Fields::top(&text)?)
}

/// As `read_with_controls`, of fields from which an envelope's own were taken.
pub(super) fn read_fields(mut f: Fields<'_>) -> Result<(Request, Controls), Fault> {
    let request = Request {
        model: model(&mut f)?,
        system: read_content(&mut f, "system")?,
        turns: turns(&mut f)?,
        tools: f
            .objects("tools")?
            .unwrap_or_default()
            .into_iter()
            .map(tool)
            .collect::<Result<_, _>>()?,
        tool_choice: tool_choice(&mut f)?,
        parallel_tools: f.boolean("parallel_tools")?,
        sampling: sampling(&mut f)?,
        reasoning: reasoning(&mut f)?,
        output_format: output_format(&mut f)?,
        cache: cache(&mut f)?,
        stream: f.boolean("stream")?.unwrap_or(false),
        // Our streams always end with usage.
        stream_usage: true,
        user: f.text("user")?,
        metadata: f.json_object("metadata")?,
        service_tier: f.text("service_tier")?,
        extra: extras(&mut f)?,
        dialect: Some(crate::canon::DialectName::Native),
    };
    let controls = controls(&mut f)?;
    f.end()?;
    Ok((request, controls))
}

/// What only one dialect can say; `video`, which only a model that makes video can be told, is the native one's own.
fn extras(f: &mut Fields<'_>) -> Result<Vec<Extra>, Fault> {
    let mut extras = read_extras(f)?;
    extras.extend(f.json_object("video")?.map(|value| Extra {
        dialect: DialectName::Native,
        name: "video".into(),
        value,
    }));
    Ok(extras)
}

fn model(f: &mut Fields<'_>) -> Result<Str, Fault> {
    let model = f.text_needed("model")?;
    if model.is_empty() {
        Err(f.fault("model", "must not be empty"))
    } else {
        Ok(model)
    }
}

fn turns(f: &mut Fields<'_>) -> Result<Vec<Turn>, Fault> {
    match f.text_or_objects("input")? {
        None => Err(f.fault("input", "is missing")),
        Some(TextOr::Text(text)) => Ok(vec![Turn {
            role: Role::User,
            blocks: vec![Block::text(text)],
            name: None,
        }]),
        Some(TextOr::Objects(list)) => list.into_iter().map(turn).collect(),
    }
}

fn turn(mut f: Fields<'_>) -> Result<Turn, Fault> {
    let turn = Turn {
        role: f
            .word("role", ROLES)?
            .ok_or_else(|| f.fault("role", "is missing"))?,
        blocks: read_content(&mut f, "content")?,
        name: f.text("name")?,
    };
    f.end()?;
    Ok(turn)
}

fn tool(mut f: Fields<'_>) -> Result<Tool, Fault> {
    let kind = f.text("type")?;
    let tool = match kind.as_deref().unwrap_or("function") {
        "function" => Tool::Function {
            name: f.text_needed("name")?,
            description: f.text("description")?,
            schema: f.json("schema"),
            strict: f.boolean("strict")?,
            mark: read_mark(&mut f, "cache")?,
            extra: read_extras(&mut f)?,
        },
        "custom" => Tool::Custom {
            name: f.text_needed("name")?,
            description: f.text("description")?,
            format: f.json("format"),
        },
        "other" => Tool::Other {
            dialect: read_dialect(&mut f)?,
            json: f.json_needed("json")?,
        },
        _ => return Err(f.fault("type", "must be one of: function, custom, other")),
    };
    f.end()?;
    Ok(tool)
}

const TOOL_CHOICES: &[(&str, ToolChoice)] = &[
    ("auto", ToolChoice::Auto),
    ("none", ToolChoice::None),
    ("required", ToolChoice::Required),
];

/// A word, or `{name, custom}`, or `{allowed: […], required}`.
fn tool_choice(f: &mut Fields<'_>) -> Result<Option<ToolChoice>, Fault> {
    if !f.starts("tool_choice", '{') {
        return f.word("tool_choice", TOOL_CHOICES);
    }
    let Some(mut c) = f.object("tool_choice")? else {
        return Ok(None);
    };
    let choice = match c.text("name")? {
        Some(name) => ToolChoice::Named {
            name,
            custom: c.boolean("custom")?.unwrap_or(false),
        },
        None if c.starts("allowed", '[') => ToolChoice::Allowed {
            names: c.texts("allowed")?,
            required: c.boolean("required")?.unwrap_or(false),
        },
        None => return Err(f.fault("tool_choice", "must have a name or a list of allowed names")),
    };
    c.end()?;
    Ok(Some(choice))
}

fn sampling(f: &mut Fields<'_>) -> Result<Sampling, Fault> {
    Ok(Sampling {
        max_output: f.whole("max_output_tokens")?.map(Tokens),
        temperature: f.number("temperature")?,
        top_p: f.number("top_p")?,
        top_k: f.whole("top_k")?,
        stop: if f.starts("stop", '"') {
            f.text("stop")?.into_iter().collect()
        } else {
            f.texts("stop")?
        },
        seed: f.whole("seed")?,
        presence_penalty: f.number("presence_penalty")?,
        frequency_penalty: f.number("frequency_penalty")?,
        logit_bias: f.json_object("logit_bias")?,
        logprobs: f.boolean("logprobs")?,
        top_logprobs: f.whole("top_logprobs")?,
        choices: f.whole("choices")?,
        verbosity: f.text("verbosity")?,
    })
}

const MODES: &[(&str, ReasoningMode)] = &[
    ("off", ReasoningMode::Off),
    ("adaptive", ReasoningMode::Adaptive),
    ("between_tools", ReasoningMode::BetweenTools),
];
const EFFORTS: &[(&str, Effort)] = &[
    ("none", Effort::None),
    ("minimal", Effort::Minimal),
    ("low", Effort::Low),
    ("medium", Effort::Medium),
    ("high", Effort::High),
    ("xhigh", Effort::ExtraHigh),
    ("max", Effort::Max),
];

fn reasoning(f: &mut Fields<'_>) -> Result<Option<Reasoning>, Fault> {
    let Some(mut r) = f.object("reasoning")? else {
        return Ok(None);
    };
    let budget = r
        .whole("budget_tokens")?
        .map(|n| ReasoningMode::Budget(Tokens(n)));
    let mode = r.word("mode", MODES)?;
    if budget.is_some() && mode.is_some() {
        return Err(r.fault("budget_tokens", "excludes a mode"));
    }
    let effort = r.text("effort")?.map(|said| {
        let known = EFFORTS.iter().find(|(word, _)| said == *word);
        known.map_or(Effort::Other(said), |(_, effort)| effort.clone())
    });
    let reasoning = Reasoning {
        mode: budget.or(mode),
        effort,
        shown: r.boolean("shown")?,
    };
    r.end()?;
    Ok(Some(reasoning))
}

fn output_format(f: &mut Fields<'_>) -> Result<Option<OutputFormat>, Fault> {
    let Some(mut o) = f.object("output_format")? else {
        return Ok(None);
    };
    let kind = o.text_needed("type")?;
    let format = match &*kind {
        "text" => OutputFormat::Text,
        "json_object" => OutputFormat::JsonObject,
        "json_schema" => OutputFormat::JsonSchema {
            name: o.text("name")?,
            description: o.text("description")?,
            schema: o.json_needed("schema")?,
            strict: o.boolean("strict")?,
        },
        _ => return Err(o.fault("type", "must be one of: text, json_object, json_schema")),
    };
    o.end()?;
    Ok(Some(format))
}

fn cache(f: &mut Fields<'_>) -> Result<CacheHints, Fault> {
    let Some(mut c) = f.object("cache")? else {
        return Ok(CacheHints::default());
    };
    let hints = CacheHints {
        key: c.text("key")?,
        automatic: read_mark(&mut c, "automatic")?,
        options: c.object("options")?.map(read_extra).transpose()?,
    };
    c.end()?;
    Ok(hints)
}

fn controls(f: &mut Fields<'_>) -> Result<Controls, Fault> {
    let deadline: Option<u64> = f.whole("deadline_ms")?;
    if deadline == Some(0) {
        return Err(f.fault("deadline_ms", "must be over 0"));
    }
    Ok(Controls {
        session: short(f, "session")?,
        priority: f.word("priority", PRIORITIES)?,
        deadline: deadline.map(Duration::from_millis),
        on_disconnect: f.word("on_disconnect", ON_DISCONNECT)?,
        providers: providers(f)?,
        max_cost: max_cost(f)?,
        cache: f.word("cache_mode", CACHE_MODES)?,
        rebind: f.word("rebind", REBINDS)?,
        idempotency_key: short(f, "idempotency_key")?,
    })
}

fn short(f: &mut Fields<'_>, name: &str) -> Result<Option<Str>, Fault> {
    match f.text(name)? {
        Some(text) if id(&text).is_none() => {
            Err(f.fault(name, "must be 1 to 256 visible characters"))
        }
        said => Ok(said),
    }
}

fn max_cost(f: &mut Fields<'_>) -> Result<Option<NanoUsd>, Fault> {
    let Some(usd) = f.number("max_cost_usd")? else {
        return Ok(None);
    };
    match NanoUsd::of_usd(usd) {
        Some(cost) if cost >= NanoUsd::ZERO => Ok(Some(cost)),
        _ => Err(f.fault("max_cost_usd", "must be a number of dollars, 0 or more")),
    }
}

fn providers(f: &mut Fields<'_>) -> Result<ProviderWishes, Fault> {
    let Some(mut p) = f.object("providers")? else {
        return Ok(ProviderWishes::default());
    };
    let wishes = ProviderWishes {
        allow: p.texts("allow")?,
        deny: p.texts("deny")?,
        order: p.texts("order")?,
    };
    p.end()?;
    Ok(wishes)
}

/// Writes a request. The dialect can say everything, so only the model's rules drop or refuse.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut gate = Gate {
        rules: target.rules,
        dropped: Dropped::new(),
    };
    let mut out = BytesMut::with_capacity(1024);
    out.extend_from_slice(b"{");
    json::field("model", target.model, &mut out);
    write_conversation(request, &mut gate, &mut out)?;
    write_sampling(&request.sampling, &mut gate, &mut out)?;
    if let Some(reasoning) = gate.open("reasoning", request.reasoning.as_ref())? {
        write_reasoning(reasoning, &mut out);
    }
    if let Some(format) = gate.open("output_format", request.output_format.as_ref())? {
        write_format(format, &mut out);
    }
    write_cache(&request.cache, &mut out);
    if target.stream {
        boolean("stream", true, &mut out);
    }
    write_notes(request, &mut gate, &mut out)?;
    out.extend_from_slice(b"}");
    Ok((out.freeze(), gate.dropped))
}

/// What the target's model does not take, by canon's names.
struct Gate<'a> {
    rules: &'a Rules,
    dropped: Dropped,
}

impl Gate<'_> {
    /// `value`, unless a rule takes it out.
    fn open<T>(&mut self, name: &str, value: Option<T>) -> Result<Option<T>, Fault> {
        if value.is_none() {
            return Ok(None);
        }
        if self.rules.drop.iter().any(|n| n == name) {
            self.dropped.push(name.to_owned());
            return Ok(None);
        }
        if self.rules.refuse.iter().any(|n| n == name) {
            return Err(Fault::invalid(
                name,
                format!("{name} is not taken by this model"),
            ));
        }
        Ok(value)
    }
}

fn write_conversation(r: &Request, gate: &mut Gate<'_>, out: &mut BytesMut) -> Result<(), Fault> {
    if !r.system.is_empty() {
        list("system", &r.system, out, write_block);
    }
    list("input", &r.turns, out, write_turn);
    if !r.tools.is_empty() {
        list("tools", &r.tools, out, write_tool);
    }
    if let Some(choice) = gate.open("tool_choice", r.tool_choice.as_ref())? {
        write_choice(choice, out);
    }
    if let Some(parallel) = gate.open("parallel_tools", r.parallel_tools)? {
        boolean("parallel_tools", parallel, out);
    }
    Ok(())
}

fn write_turn(turn: &Turn, out: &mut BytesMut) {
    braces(out, |out| {
        json::field("role", word_of(ROLES, &turn.role), out);
        list("content", &turn.blocks, out, write_block);
        optional("name", &turn.name, out);
    });
}

fn write_tool(tool: &Tool, out: &mut BytesMut) {
    braces(out, |out| match tool {
        Tool::Function {
            name,
            description,
            schema,
            strict,
            mark,
            extra,
        } => {
            json::field("type", "function", out);
            json::field("name", name, out);
            optional("description", description, out);
            if let Some(schema) = schema {
                raw("schema", schema.get(), out);
            }
            if let Some(strict) = strict {
                boolean("strict", *strict, out);
            }
            write_mark("cache", *mark, out);
            if !extra.is_empty() {
                list("extra", extra, out, write_extra);
            }
        }
        Tool::Custom {
            name,
            description,
            format,
        } => {
            json::field("type", "custom", out);
            json::field("name", name, out);
            optional("description", description, out);
            if let Some(format) = format {
                raw("format", format.get(), out);
            }
        }
        Tool::Other {
            dialect,
            json: value,
        } => {
            json::field("type", "other", out);
            json::field("dialect", dialect.as_str(), out);
            raw("json", value.get(), out);
        }
    });
}

fn write_choice(choice: &ToolChoice, out: &mut BytesMut) {
    match choice {
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => {
            json::field("tool_choice", word_of(TOOL_CHOICES, choice), out);
        }
        ToolChoice::Named { name, custom } => object("tool_choice", out, |out| {
            json::field("name", name, out);
            if *custom {
                boolean("custom", true, out);
            }
        }),
        ToolChoice::Allowed { names, required } => object("tool_choice", out, |out| {
            list("allowed", names, out, |name, out| json::string(name, out));
            if *required {
                boolean("required", true, out);
            }
        }),
    }
}

fn write_sampling(s: &Sampling, gate: &mut Gate<'_>, out: &mut BytesMut) -> Result<(), Fault> {
    let wholes = [
        (
            "max_output",
            "max_output_tokens",
            s.max_output.map(|t| i128::from(t.0)),
        ),
        ("top_k", "top_k", s.top_k.map(i128::from)),
        ("seed", "seed", s.seed.map(i128::from)),
        (
            "top_logprobs",
            "top_logprobs",
            s.top_logprobs.map(i128::from),
        ),
        ("choices", "choices", s.choices.map(i128::from)),
    ];
    for (name, field, value) in wholes {
        if let Some(value) = gate.open(name, value)? {
            json::key(field, out);
            json::integer(value, out);
        }
    }
    let numbers = [
        ("temperature", s.temperature),
        ("top_p", s.top_p),
        ("presence_penalty", s.presence_penalty),
        ("frequency_penalty", s.frequency_penalty),
    ];
    for (name, value) in numbers {
        // JSON has no word for what is not finite; no reader of ours makes it.
        if let Some(value) = gate.open(name, value.filter(|v| v.is_finite()))? {
            raw(
                name,
                &serde_json::to_string(&value).expect("a float always serialises"),
                out,
            );
        }
    }
    if let Some(stop) = gate.open("stop", (!s.stop.is_empty()).then_some(&s.stop))? {
        list("stop", stop, out, |text, out| json::string(text, out));
    }
    if let Some(bias) = gate.open("logit_bias", s.logit_bias.as_ref())? {
        raw("logit_bias", bias.get(), out);
    }
    if let Some(logprobs) = gate.open("logprobs", s.logprobs)? {
        boolean("logprobs", logprobs, out);
    }
    optional(
        "verbosity",
        &gate.open("verbosity", s.verbosity.clone())?,
        out,
    );
    Ok(())
}

fn write_reasoning(r: &Reasoning, out: &mut BytesMut) {
    object("reasoning", out, |out| {
        match &r.mode {
            None => {}
            Some(ReasoningMode::Budget(tokens)) => {
                json::key("budget_tokens", out);
                json::integer(tokens.0, out);
            }
            Some(mode) => json::field("mode", word_of(MODES, mode), out),
        }
        match &r.effort {
            None => {}
            Some(Effort::Other(word)) => json::field("effort", word, out),
            Some(effort) => json::field("effort", word_of(EFFORTS, effort), out),
        }
        if let Some(shown) = r.shown {
            boolean("shown", shown, out);
        }
    });
}

fn write_format(format: &OutputFormat, out: &mut BytesMut) {
    object("output_format", out, |out| match format {
        OutputFormat::Text => json::field("type", "text", out),
        OutputFormat::JsonObject => json::field("type", "json_object", out),
        OutputFormat::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            json::field("type", "json_schema", out);
            optional("name", name, out);
            optional("description", description, out);
            raw("schema", schema.get(), out);
            if let Some(strict) = strict {
                boolean("strict", *strict, out);
            }
        }
    });
}

fn write_cache(hints: &CacheHints, out: &mut BytesMut) {
    if *hints == CacheHints::default() {
        return;
    }
    object("cache", out, |out| {
        optional("key", &hints.key, out);
        write_mark("automatic", hints.automatic, out);
        if let Some(options) = &hints.options {
            json::key("options", out);
            write_extra(options, out);
        }
    });
}

fn write_notes(r: &Request, gate: &mut Gate<'_>, out: &mut BytesMut) -> Result<(), Fault> {
    optional("user", &gate.open("user", r.user.clone())?, out);
    if let Some(metadata) = gate.open("metadata", r.metadata.as_ref())? {
        raw("metadata", metadata.get(), out);
    }
    optional(
        "service_tier",
        &gate.open("service_tier", r.service_tier.clone())?,
        out,
    );
    if !r.extra.is_empty() {
        list("extra", &r.extra, out, write_extra);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{CacheMode, OnDisconnect, Priority};

    fn read_str(body: &str) -> Result<(Request, Controls), Fault> {
        read_with_controls(&Bytes::copy_from_slice(body.as_bytes()))
    }

    fn written(request: &Request, rules: &Rules) -> Result<(Bytes, Dropped), Fault> {
        write(
            request,
            &Target {
                model: &request.model,
                stream: request.stream,
                max_output_default: 1,
                rules,
            },
        )
    }

    const FULL: &str = r#"{"model":"m \"1\"","system":[{"type":"text","text":"s","cache":{"ttl":"1h"}}],"input":[
        {"role":"user","name":"ann","content":[
          {"type":"text","text":"\ud83d\ude00\n","citations":[{"dialect":"messages","json":{"type":"char_location"},"url":"u","title":"t","cited_text":"c"}],"cache":{}},
          {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="},"detail":"low"},
          {"type":"document","source":{"type":"blocks","blocks":[{"type":"text","text":"d"}]},"title":"t","context":"c","citations":true},
          {"type":"document","source":{"type":"text","media_type":"text/plain","text":"x"}},
          {"type":"audio","source":{"type":"url","url":"u","media_type":"audio/wav"},"format":"wav"},
          {"type":"video","source":{"type":"file","id":"f"}}]},
        {"role":"assistant","content":[
          {"type":"thinking","text":"hm","signature":"sig"},{"type":"redacted_thinking","data":"zz"},
          {"type":"tool_call","id":"1","name":"f","input":{"b":1.0, "a":2},"signature":"s2"},
          {"type":"tool_call","id":"2","name":"g","kind":"custom","input_text":"free"},
          {"type":"tool_call","id":"3","name":"h","kind":"server","input":null},
          {"type":"refusal","text":"no"},{"type":"other","dialect":"messages","json":{"type":"x"}}]},
        {"role":"system","content":"more"},
        {"role":"user","content":[{"type":"tool_result","id":"1","name":"f","content":[{"type":"text","text":"r","cache":{"ttl":"5m"}}],"is_error":true}]}],
      "tools":[{"type":"function","name":"f","description":"d","schema":{"type":"object"},"strict":true,"cache":{"ttl":"24h"},"extra":[{"dialect":"messages","name":"defer_loading","value":true}]},
        {"type":"custom","name":"g","description":"d","format":{"type":"text"}},{"type":"other","dialect":"messages","json":{"type":"web_search"}}],
      "tool_choice":{"allowed":["f","g"],"required":true},"parallel_tools":false,"max_output_tokens":9,"temperature":0.1,"top_p":1,"top_k":3,"stop":["a","b"],
      "seed":-4,"presence_penalty":-1.5,"frequency_penalty":2,"logit_bias":{"1":2},"logprobs":true,"top_logprobs":4,"choices":2,"verbosity":"low",
      "reasoning":{"budget_tokens":1024,"effort":"brutal","shown":false},
      "output_format":{"type":"json_schema","name":"n","description":"d","schema":{"type":"object"},"strict":false},
      "cache":{"key":"k","automatic":{"ttl":"12h"},"options":{"dialect":"chat","name":"prompt_cache_options","value":{"ttl":"30m"}}},
      "stream":true,"user":"u","metadata":{"a":"b"},"service_tier":"flex","extra":[{"dialect":"chat","name":"store","value":null}],
      "session":"s","priority":"batch","deadline_ms":1500,"on_disconnect":"cancel","providers":{"allow":["a"],"deny":["b"],"order":["c"]},
      "max_cost_usd":0.5,"cache_mode":"client","rebind":"never","idempotency_key":"i"}"#;

    #[test]
    fn everything_canon_has_survives_writing_and_reading() {
        let (request, controls) = read_str(FULL).expect("right");
        let (bytes, dropped) =
            written(&request, &Rules::default()).expect("everything can be said");
        assert!(dropped.is_empty());
        let (again, none) = read_with_controls(&bytes).expect("what we write we read");
        assert_eq!(again, request);
        assert_eq!(none, Controls::default(), "controls are for us alone");
        assert_eq!(request.turns.len(), 4);
        assert_eq!(
            request.turns[0].blocks.len() + request.turns[1].blocks.len(),
            13
        );
        assert_eq!(request.sampling.temperature, Some(0.1));
        assert_eq!(
            (
                controls.priority,
                controls.deadline,
                controls.on_disconnect,
                controls.cache,
                controls.max_cost
            ),
            (
                Some(Priority::Batch),
                Some(Duration::from_millis(1500)),
                Some(OnDisconnect::Cancel),
                Some(CacheMode::Client),
                Some(NanoUsd(500_000_000))
            )
        );
        assert_eq!(controls.providers.order, ["c"]);
    }

    #[test]
    fn short_forms_mean_the_same_as_long_ones() {
        let (short, _) = read_str(r#"{"model":"m","system":"s","input":"hi","stop":"x","tools":[{"name":"f"}],"tool_choice":"none"}"#).expect("right");
        let (long, _) = read_str(r#"{"model":"m","system":[{"type":"text","text":"s"}],"input":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"stop":["x"],"tools":[{"type":"function","name":"f"}],"tool_choice":"none"}"#).expect("right");
        assert_eq!(short, long);
        assert_eq!(short.tool_choice, Some(ToolChoice::None));
        for choice in [
            r#""auto""#,
            r#""required""#,
            r#"{"name":"f"}"#,
            r#"{"name":"f","custom":true}"#,
            r#"{"allowed":[]}"#,
        ] {
            let (request, _) = read_str(&format!(
                r#"{{"model":"m","input":[],"tool_choice":{choice}}}"#
            ))
            .expect("right");
            let (bytes, _) = written(&request, &Rules::default()).expect("right");
            assert_eq!(read(&bytes), Ok(request), "{choice}");
        }
        for reasoning in [
            r#"{"mode":"off"}"#,
            r#"{"mode":"adaptive","effort":"xhigh"}"#,
            r#"{"mode":"between_tools"}"#,
            "{}",
        ] {
            let (request, _) = read_str(&format!(
                r#"{{"model":"m","input":[],"reasoning":{reasoning}}}"#
            ))
            .expect("right");
            let (bytes, _) = written(&request, &Rules::default()).expect("right");
            assert_eq!(read(&bytes), Ok(request), "{reasoning}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let with = |field: &str| format!(r#"{{"model":"m","input":"x",{field}}}"#);
        let cases = [
            (r#"{"input":"x"}"#.to_owned(), "model"),
            (r#"{"model":"m"}"#.to_owned(), "input"),
            (r#"{"model":"m","input":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"base64","data":"x"}}]}]}"#.to_owned(), "input[0].content[1].source.media_type"),
            (r#"{"model":"m","input":[{"role":"usr"}]}"#.to_owned(), "input[0].role"),
            (r#"{"model":"m","input":[{"role":"user","content":[{"type":"text","text":"a","txt":1}]}]}"#.to_owned(), "input[0].content[0].txt"),
            (with(r#""temprature":1"#), "temprature"),
            (with(r#""temperature":"hot""#), "temperature"),
            (with(r#""temperature":1e999"#), "temperature"),
            (with(r#""max_output_tokens":-1"#), "max_output_tokens"),
            (with(r#""top_logprobs":4294967296"#), "top_logprobs"),
            (with(r#""reasoning":{"mode":"off","budget_tokens":1}"#), "reasoning.budget_tokens"),
            (with(r#""priority":"high""#), "priority"),
            (with(r#""providers":{"only":["a"]}"#), "providers.only"),
            (with(r#""max_cost_usd":-0.1"#), "max_cost_usd"),
            (with(r#""deadline_ms":0"#), "deadline_ms"),
            (with(r#""session":"""#), "session"),
            (with(r#""model":"n""#), "model"),
            (with(r#""metadata":[]"#), "metadata"),
            (with(r#""tools":[{"name":"f"},7]"#), "tools"),
        ];
        for (body, field) in cases {
            let fault = read_str(&body).expect_err(&body);
            assert_eq!(
                fault.field.as_deref(),
                Some(field),
                "{body}: {}",
                fault.message
            );
            assert!(fault.message.contains(field), "{}", fault.message);
        }
    }

    #[test]
    fn nesting_ends_somewhere() {
        let mut content = "\"x\"".to_owned();
        for _ in 0..200 {
            content = format!(r#"[{{"type":"tool_result","id":"i","content":{content}}}]"#);
        }
        let fault = read_str(&format!(
            r#"{{"model":"m","input":[{{"role":"user","content":{content}}}]}}"#
        ))
        .expect_err("deep");
        assert!(
            fault.message.ends_with("nested too deep"),
            "{}",
            fault.message
        );
    }

    #[test]
    fn rules_drop_openly_and_refuse_by_name() {
        let (request, _) =
            read_str(r#"{"model":"m","input":"x","seed":1,"temperature":0.5}"#).expect("right");
        let rules = Rules {
            drop: vec!["seed".to_owned()],
            refuse: vec!["seed".to_owned(), "top_p".to_owned()],
            ..Rules::default()
        };
        let (bytes, dropped) = written(&request, &rules).expect("dropped, not refused");
        assert_eq!(dropped, ["seed"]);
        assert_eq!(read(&bytes).expect("right").sampling.seed, None);
        let rules = Rules {
            refuse: vec!["temperature".to_owned()],
            ..Rules::default()
        };
        assert_eq!(
            written(&request, &rules)
                .expect_err("refused")
                .field
                .as_deref(),
            Some("temperature")
        );
    }
}
