//! Canon → a provider's request.
//!
//! The same request gives the same bytes, and the fields stand in the order in which the API renders them: tools, system, messages
//! (`providers/anthropic.md` 7.1). What this API cannot say is refused with a 400 that names the field, unless the target's rules
//! drop it; hints, which change no answer, are left out and reported.

use super::schema::{Fields, Object, Path};
use super::write_blocks::BlockWriter;
use super::write_thinking::Thinking;
use super::write_turns::arrange;
use crate::base::{Json, Str};
use crate::canon::{CacheMark, DialectName, Extra, Fault, OutputFormat, Request, Tool, ToolChoice};
use crate::protocol::dialect::{Dropped, Target, responses};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// Writes the body of `POST /v1/messages`. `Err` is a 400 that names what this API, or the target's model, cannot say.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut writer = Writer {
        request,
        target,
        rules: Rulings::of(target),
        tools: Cow::Borrowed(&request.tools),
        choice: request.tool_choice.clone(),
    };
    writer.refuse_unsayable()?;
    writer.narrow_tools()?;
    let mut out = BytesMut::with_capacity(size_hint(request));
    writer.all(&mut out)?;
    Ok((out.freeze(), writer.rules.into_dropped()))
}

/// Room for the bytes that are copied, so that a large image does not make the buffer grow by doubling.
fn size_hint(request: &Request) -> usize {
    use crate::canon::{BlockKind, Source};
    let mut bytes = 1024;
    request.each_block(&mut |block| {
        bytes += 64
            + match &block.kind {
                BlockKind::Text { text, .. } | BlockKind::Thinking { text } => text.len(),
                BlockKind::Image { source, .. } | BlockKind::Document { source, .. } => {
                    match source {
                        Source::Base64 { data, .. } => data.len(),
                        Source::Text { text, .. } => text.len(),
                        _ => 128,
                    }
                }
                BlockKind::Other { json, .. } => json.get().len(),
                _ => 256,
            };
    });
    bytes
}

/// What the target takes, and what was left out so far.
pub(in crate::protocol::dialect) struct Rulings<'a> {
    target: &'a Target<'a>,
    dropped: Dropped,
}

impl<'a> Rulings<'a> {
    pub(in crate::protocol::dialect) fn of(target: &'a Target<'a>) -> Self {
        Self {
            target,
            dropped: Dropped::new(),
        }
    }

    pub(in crate::protocol::dialect) fn into_dropped(self) -> Dropped {
        self.dropped
    }

    pub(in crate::protocol::dialect) fn drops(&self, name: &str) -> bool {
        self.target.rules.drop.iter().any(|n| n == name)
    }

    pub(in crate::protocol::dialect) fn refuses(&self, name: &str) -> bool {
        self.target.rules.refuse.iter().any(|n| n == name)
    }

    /// Reports `name` as left out, once.
    pub(in crate::protocol::dialect) fn dropped(&mut self, name: impl Into<String>) {
        let name = name.into();
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }

    /// Whether a parameter that this API has may be written: false when dropped by rule, a fault when refused by rule.
    pub(in crate::protocol::dialect) fn takes(&mut self, name: &str) -> Result<bool, Fault> {
        if self.drops(name) {
            self.dropped(name);
            return Ok(false);
        }
        if self.refuses(name) {
            let message = format!("{} does not take it; leave it out", self.target.model);
            return Err(Fault::invalid(name, message).with_code("unsupported_parameter"));
        }
        Ok(true)
    }

    /// A parameter that this API does not have: reported when dropped by rule, else a fault.
    pub(in crate::protocol::dialect) fn unsayable(
        &mut self,
        name: &str,
        why: &str,
    ) -> Result<(), Fault> {
        if self.drops(name) {
            self.dropped(name);
            return Ok(());
        }
        Err(Fault::invalid(name, why).with_code("unsupported_parameter"))
    }
}

struct Writer<'a> {
    request: &'a Request,
    target: &'a Target<'a>,
    rules: Rulings<'a>,
    /// Those that may be called: a list of allowed ones narrows them.
    tools: Cow<'a, [Tool]>,
    choice: Option<ToolChoice>,
}

const NO_EQUIVALENT: &str = "the messages api has no equivalent; leave it out";

impl Writer<'_> {
    /// What other dialects say and this API does not (`providers/openai.md` 15, rule 10). A value that asks for what would happen anyway
    /// is no ask.
    fn refuse_unsayable(&mut self) -> Result<(), Fault> {
        let s = &self.request.sampling;
        let asks = [
            ("n", s.choices.is_some_and(|n| n != 1)),
            ("seed", s.seed.is_some()),
            (
                "presence_penalty",
                s.presence_penalty.is_some_and(|p| p != 0.0),
            ),
            (
                "frequency_penalty",
                s.frequency_penalty.is_some_and(|p| p != 0.0),
            ),
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
                self.rules.unsayable(name, NO_EQUIVALENT)?;
            }
        }
        if self.request.output_format == Some(OutputFormat::JsonObject) {
            // An instruction in the prompt would be a promise that the API does not keep.
            let why = "any JSON object cannot be asked of the messages api; give a json_schema";
            self.rules.unsayable("response_format", why)?;
        }
        for extra in &self.request.extra {
            self.refuse_extra(extra)?;
        }
        self.report_hints();
        Ok(())
    }

    /// Another dialect's field is refused, but for those that steer bookkeeping or speed and not the answer.
    fn refuse_extra(&mut self, extra: &Extra) -> Result<(), Fault> {
        const HINTS: [&str; 9] = [
            "store",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "stream_options",
            "metadata",
            "moderation",
        ];
        if extra.dialect == DialectName::Messages {
            if extra.name.starts_with("messages[") {
                return self.rules.unsayable(&extra.name, NO_EQUIVALENT);
            }
            return Ok(());
        }
        if responses::is_aside(extra) {
            // Responses keeps answers without being asked: that this one is not kept is news to who asked for it.
            if !(&*extra.name == "store" && extra.value.get() == "null") {
                self.rules.dropped(&*extra.name);
            }
            return Ok(());
        }
        let harmless = HINTS.contains(&&*extra.name)
            || (extra.name == "modalities"
                && extra.value.read::<Vec<String>>() == Some(vec!["text".to_owned()]))
            || extra.value.get() == "null";
        if harmless {
            self.rules.dropped(&*extra.name);
            return Ok(());
        }
        self.rules.unsayable(&extra.name, NO_EQUIVALENT)
    }

    fn report_hints(&mut self) {
        if self.request.metadata.is_some() {
            self.rules.dropped("metadata");
        }
        if self.request.cache.key.is_some() {
            self.rules.dropped("prompt_cache_key");
        }
        if let Some(options) = &self.request.cache.options {
            self.rules.dropped(&*options.name);
        }
    }

    /// This API cannot allow a part of the tools. One allowed tool that must be called is that tool by name, which leaves the tools, and
    /// so the cached prefix, as they are; else the others are left out, which keeps the promise and costs the cache.
    fn narrow_tools(&mut self) -> Result<(), Fault> {
        let Some(ToolChoice::Allowed { names, required }) = self.choice.clone() else {
            return Ok(());
        };
        let known = |name: &Str| {
            self.tools
                .iter()
                .any(|t| tool_name(t).as_ref() == Some(name))
        };
        if let Some(stranger) = names.iter().find(|name| !known(name)) {
            let message = format!("allows {stranger:?}, which is not among tools");
            return Err(Fault::invalid("tool_choice", message));
        }
        self.choice = Some(match (&names[..], required) {
            ([], _) => ToolChoice::None,
            ([name], true) => ToolChoice::Named {
                name: name.clone(),
                custom: false,
            },
            _ => {
                let allowed = |t: &&Tool| tool_name(t).is_some_and(|n| names.contains(&n));
                if !self.tools.iter().all(|t| allowed(&t)) {
                    self.tools = self.tools.iter().filter(allowed).cloned().collect();
                }
                if required {
                    ToolChoice::Required
                } else {
                    ToolChoice::Auto
                }
            }
        });
        Ok(())
    }

    fn all(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        let request = self.request;
        let max_tokens = request
            .sampling
            .max_output
            .map_or(self.target.max_output_default, |t| t.0);
        let forced = matches!(
            self.choice,
            Some(ToolChoice::Required | ToolChoice::Named { .. })
        );
        let thinking = Thinking::plan(
            request,
            max_tokens,
            forced,
            self.target.rules.thinking_budget,
            &mut self.rules,
        )?;
        let mut marks = Marks::plan(request, &self.tools)?;
        if marks.over() {
            self.rules.dropped("cache_control");
        }
        let mut body = Object::open(out);
        body.text("model", self.target.model);
        body.count("max_tokens", max_tokens);
        self.tools(&mut body, &mut marks)?;
        self.content(&mut body, &mut marks)?;
        self.tool_choice(&mut body)?;
        thinking.write(request, &mut body);
        self.output_config(&mut body, &thinking);
        self.sampling(&mut body)?;
        self.notes(&mut body)?;
        body.close();
        Ok(())
    }

    fn tools(&mut self, body: &mut Object<'_>, marks: &mut Marks) -> Result<(), Fault> {
        if self.tools.is_empty() {
            return Ok(());
        }
        let (tools, rules) = (&self.tools, &mut self.rules);
        body.try_array("tools", tools.iter().enumerate(), |(i, tool), out| {
            write_tool(i, tool, marks, rules, out)
        })
    }

    fn content(&mut self, body: &mut Object<'_>, marks: &mut Marks) -> Result<(), Fault> {
        let turns = arrange(self.request, &mut self.rules)?;
        let mut blocks = BlockWriter {
            marks,
            rules: &mut self.rules,
        };
        let path = Path::Root.field("system");
        let system = blocks.kept(&self.request.system, &path)?;
        if !system.is_empty() {
            body.try_array("system", system, |(i, block), out| {
                blocks.system_block(block, &path.index(i), out)
            })?;
        }
        body.try_array("messages", &turns, |turn, out| blocks.turn(turn, out))
    }

    fn tool_choice(&mut self, body: &mut Object<'_>) -> Result<(), Fault> {
        let choice = self.choice.as_ref();
        if self.tools.is_empty() {
            // The API takes a choice only beside tools; without them these two say nothing.
            return match choice {
                None | Some(ToolChoice::Auto | ToolChoice::None) => Ok(()),
                Some(_) => Err(Fault::invalid(
                    "tool_choice",
                    "asks for a call, but there are no tools",
                )),
            };
        }
        let word = match (choice, self.request.parallel_tools) {
            (None, None | Some(true)) => return Ok(()),
            (None | Some(ToolChoice::Auto | ToolChoice::Allowed { .. }), _) => "auto",
            (Some(ToolChoice::None), _) => "none",
            (Some(ToolChoice::Required), _) => "any",
            (Some(ToolChoice::Named { .. }), _) => "tool",
        };
        let mut object = Object::typed(body.value("tool_choice"), word);
        if let Some(ToolChoice::Named { name, .. }) = choice {
            object.text("name", name);
        }
        if let (Some(parallel), true) = (self.request.parallel_tools, word != "none") {
            object.flag("disable_parallel_tool_use", !parallel);
        }
        extras_within(self.request, "tool_choice", &mut object);
        object.close();
        Ok(())
    }

    fn output_config(&mut self, body: &mut Object<'_>, thinking: &Thinking) {
        let format = match &self.request.output_format {
            Some(OutputFormat::JsonSchema {
                description,
                schema,
                strict,
                ..
            }) => {
                if description.is_some() {
                    self.rules
                        .dropped("response_format.json_schema.description");
                }
                // This API always holds the answer to the schema.
                if *strict == Some(false) {
                    self.rules.dropped("response_format.json_schema.strict");
                }
                Some(schema)
            }
            Some(OutputFormat::Text | OutputFormat::JsonObject) | None => None,
        };
        let others = extras_of(self.request, "output_config").next().is_some();
        if format.is_none() && thinking.effort.is_none() && !others {
            return;
        }
        let mut object = Object::open(body.value("output_config"));
        object.text_if("effort", thinking.effort.as_ref());
        if let Some(schema) = format {
            let mut inner = Object::typed(object.value("format"), "json_schema");
            inner.json("schema", schema);
            extras_within(self.request, "output_config.format", &mut inner);
            inner.close();
        }
        extras_within(self.request, "output_config", &mut object);
        object.close();
    }

    fn sampling(&mut self, body: &mut Object<'_>) -> Result<(), Fault> {
        let s = &self.request.sampling;
        if let Some(t) = s.temperature
            && self.rules.takes("temperature")?
        {
            // Section 2: 0 to 1, where other dialects go to 2.
            if !(0.0..=1.0).contains(&t) {
                let message = format!("is {t}; the messages api takes 0 to 1");
                return Err(Fault::invalid("temperature", message));
            }
            body.float("temperature", t);
        }
        if let Some(p) = s.top_p
            && self.rules.takes("top_p")?
        {
            body.float("top_p", p);
        }
        if let Some(k) = s.top_k
            && self.rules.takes("top_k")?
        {
            body.count("top_k", k);
        }
        if !s.stop.is_empty() && self.rules.takes("stop")? {
            body.array("stop_sequences", &s.stop, |stop, out| {
                super::schema::string(stop, out);
            });
        }
        Ok(())
    }

    fn notes(&mut self, body: &mut Object<'_>) -> Result<(), Fault> {
        let request = self.request;
        if let Some(mark) = request.cache.automatic {
            body.mark(mark);
        }
        let others = extras_of(request, "metadata").next().is_some();
        if request.user.is_some() || others {
            let mut object = Object::open(body.value("metadata"));
            object.text_if("user_id", request.user.as_ref());
            extras_within(request, "metadata", &mut object);
            object.close();
        }
        match request.service_tier.as_deref() {
            None => {}
            Some(word @ ("auto" | "standard_only")) => body.text("service_tier", word),
            // OpenAI's word for no tier of its own.
            Some("default") => body.text("service_tier", "standard_only"),
            Some(_) => self.rules.dropped("service_tier"),
        }
        for extra in &request.extra {
            if extra.dialect == DialectName::Messages && !extra.name.contains(['.', '[']) {
                body.json(&extra.name, &extra.value);
            }
        }
        if self.target.stream {
            body.flag("stream", true);
        }
        Ok(())
    }
}

/// The extras that stood within `parent`, by their name there.
pub(in crate::protocol::dialect) fn extras_of<'r>(
    request: &'r Request,
    parent: &'r str,
) -> impl Iterator<Item = (&'r str, &'r Json)> {
    request.extra.iter().filter_map(move |extra| {
        let name = extra.name.strip_prefix(parent)?.strip_prefix('.')?;
        // `output_config.format.x` stands within `output_config.format`.
        let here = extra.dialect == DialectName::Messages && !name.contains('.');
        here.then_some((name, &extra.value))
    })
}

pub(in crate::protocol::dialect) fn extras_within(
    request: &Request,
    parent: &str,
    object: &mut Object<'_>,
) {
    for (name, value) in extras_of(request, parent) {
        object.json(name, value);
    }
}

fn tool_name(tool: &Tool) -> Option<Str> {
    match tool {
        Tool::Function { name, .. } | Tool::Custom { name, .. } => Some(name.clone()),
        Tool::Other { json, .. } => Fields::of(json.get())?.text(json.text(), "name"),
    }
}

fn write_tool(
    index: usize,
    tool: &Tool,
    marks: &mut Marks,
    rules: &mut Rulings<'_>,
    out: &mut BytesMut,
) -> Result<(), Fault> {
    match tool {
        Tool::Function {
            name,
            description,
            schema,
            strict,
            mark,
            extra,
        } => {
            let mut object = Object::open(out);
            object.text("name", name);
            object.text_if("description", description.as_ref());
            write_schema(schema.as_ref(), object.value("input_schema"));
            if let Some(strict) = strict {
                object.flag("strict", *strict);
            }
            for extra in extra {
                if extra.dialect == DialectName::Messages {
                    object.json(&extra.name, &extra.value);
                } else {
                    rules.dropped(format!("tools[{index}].{}", extra.name));
                }
            }
            if let Some(mark) = marks.next(*mark) {
                object.mark(mark);
            }
            object.close();
        }
        Tool::Custom {
            name,
            description,
            format,
        } => write_custom_tool(
            index,
            name,
            description.as_ref(),
            format.as_ref(),
            rules,
            out,
        ),
        Tool::Other { dialect, json } if *dialect == DialectName::Messages => {
            out.extend_from_slice(json.get().as_bytes());
        }
        Tool::Other { json, .. } => {
            let kind = super::schema::type_of(json).unwrap_or_default();
            let message = format!("is of type {kind:?}, which the messages api does not have");
            return Err(Fault::invalid(format!("tools[{index}]"), message));
        }
    }
    Ok(())
}

/// The API demands a schema of type object.
fn write_schema(schema: Option<&Json>, out: &mut BytesMut) {
    let text = schema.map_or("{}", Json::get);
    let typed = Fields::of(text).is_some_and(|mut f| f.take("type").is_some());
    match text.strip_prefix('{') {
        Some(rest) if !typed => {
            out.extend_from_slice(b"{\"type\":\"object\"");
            if !rest.trim_start().starts_with('}') {
                out.extend_from_slice(b",");
            }
            out.extend_from_slice(rest.as_bytes());
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// A tool that takes free text becomes one that takes an object with the text in `input`. Its grammar cannot be enforced: it is told to
/// the model and reported as left out.
fn write_custom_tool(
    index: usize,
    name: &str,
    description: Option<&Str>,
    format: Option<&Json>,
    rules: &mut Rulings<'_>,
    out: &mut BytesMut,
) {
    let grammar = format.filter(|f| super::schema::type_of(f).as_deref() != Some("text"));
    let mut said = description.map_or(String::new(), |d| d.to_string());
    if let Some(grammar) = grammar {
        rules.dropped(format!("tools[{index}].custom.format"));
        if !said.is_empty() {
            said.push_str("\n\n");
        }
        said.push_str("The text in `input` must follow this format: ");
        said.push_str(grammar.get());
    }
    let mut object = Object::open(out);
    object.text("name", name);
    if !said.is_empty() {
        object.text("description", &said);
    }
    object.value("input_schema").extend_from_slice(
        br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#,
    );
    object.close();
}

/// Which cache marks are written: at most 4 (section 7.1), the automatic one counted. Of more, the first stays, since what stands ahead of
/// it is shared by most requests, and the last ones, since the conversation grows there.
pub(super) struct Marks {
    seen: usize,
    all: usize,
    allowed: usize,
}

const MARKS_MAX: usize = 4;

impl Marks {
    fn plan(request: &Request, tools: &[Tool]) -> Result<Self, Fault> {
        let (mut all, mut fixed) = (0, usize::from(request.cache.automatic.is_some()));
        for tool in tools {
            match tool {
                Tool::Function { mark, .. } => all += usize::from(mark.is_some()),
                Tool::Other { json, .. } => fixed += usize::from(holds_mark(json)),
                Tool::Custom { .. } => {}
            }
        }
        request.each_block(&mut |block| match &block.kind {
            crate::canon::BlockKind::Other { json, .. } => {
                fixed += usize::from(block.mark.is_some() || holds_mark(json));
            }
            _ => all += usize::from(block.mark.is_some() && super::write_blocks::markable(block)),
        });
        if fixed > MARKS_MAX {
            let message = format!("stands {fixed} times; at most {MARKS_MAX} are taken");
            return Err(Fault::invalid("cache_control", message));
        }
        Ok(Self {
            seen: 0,
            all,
            allowed: MARKS_MAX - fixed,
        })
    }

    fn over(&self) -> bool {
        self.all > self.allowed
    }

    /// The next mark in the order of writing, if it is one of those that stay.
    pub(super) fn next(&mut self, mark: Option<CacheMark>) -> Option<CacheMark> {
        let mark = mark?;
        let position = self.seen;
        self.seen += 1;
        let last_ones = self.all - self.allowed.saturating_sub(1).min(self.all);
        let stays = !self.over()
            || (self.allowed > 0 && position == 0)
            || (self.allowed > 1 && position >= last_ones);
        stays.then_some(mark)
    }
}

pub(super) fn holds_mark(json: &Json) -> bool {
    Fields::of(json.get()).is_some_and(|mut f| f.take("cache_control").is_some())
}
