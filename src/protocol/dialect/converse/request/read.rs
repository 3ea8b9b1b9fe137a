//! A Converse request → canon.
//!
//! Reads loosely where the API adds fields over time (what is unknown is kept as `Extra` or `Other`), strictly where a meaning would
//! have to be guessed; then the fault names the field and says what would be right.

use super::read_blocks::{Blocks, mark_of};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    DialectName, Extra, Fault, FaultClass, OutputFormat, Reasoning, ReasoningMode, Request, Role,
    Tool, ToolChoice, Turn,
};
use crate::protocol::dialect::messages::read::At;
use crate::protocol::dialect::messages::schema::{Fields, Path, effort};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads the body of `POST /model/{id}/converse` or `…/converse-stream`; `model` and `stream` stay empty, since the path says them.
/// Texts stay slices of `body` where they hold no escapes. `Err` is a 400 that names the field.
pub fn read(body: &Bytes) -> Result<Request, Fault> {
    let text = simdutf8::basic::from_utf8(body)
        .map_err(|_| Fault::new(FaultClass::Invalid, "the body must be UTF-8"))?;
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|e| {
        let message = format!(
            "the body must be one JSON object; it is malformed at line {} column {}",
            e.line(),
            e.column()
        );
        Fault::new(FaultClass::Invalid, message)
    })?;
    let body = Str::try_from(body.clone()).expect("checked above");
    let mut reader = Reader {
        body: &body,
        // This dialect always says what was used.
        request: Request {
            stream_usage: true,
            ..Request::default()
        },
    };
    reader.all(fields)?;
    Ok(reader.request)
}

struct Reader<'a> {
    body: &'a Str,
    request: Request,
}

impl<'a> Reader<'a> {
    fn at(&self) -> At<'a> {
        At { body: self.body }
    }

    /// Named fields first, each by a method; what is left is kept in order.
    fn all(&mut self, mut fields: Fields<'_>) -> Result<(), Fault> {
        self.inference(&mut fields)?;
        self.tool_config(&mut fields)?;
        self.model_fields(&mut fields)?;
        self.output_config(&mut fields)?;
        self.notes(&mut fields)?;
        self.system(&mut fields)?;
        self.messages(&mut fields)?;
        for (name, raw) in fields.left() {
            self.extra(name, raw);
        }
        Ok(())
    }

    /// Keeps what canon has no word for; a dot in `name` says within which field it stood.
    fn extra(&mut self, name: &str, raw: &RawValue) {
        self.request.extra.push(Extra {
            dialect: DialectName::Converse,
            name: Str::from(name),
            value: Json::within(self.body, raw),
        });
    }

    fn extras_left(&mut self, within: &str, fields: &Fields<'_>) {
        for (name, raw) in fields.left() {
            self.extra(&format!("{within}.{name}"), raw);
        }
    }

    fn object<'r>(&self, fields: &mut Fields<'r>, name: &str) -> Result<Option<Fields<'r>>, Fault> {
        match fields.take(name) {
            None => Ok(None),
            Some(raw) => Ok(Some(self.at().object(raw, &Path::Root.field(name))?)),
        }
    }

    fn inference(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(mut config) = self.object(fields, "inferenceConfig")? else {
            return Ok(());
        };
        let at = self.at();
        let path = Path::Root.field("inferenceConfig");
        let sampling = &mut self.request.sampling;
        if let Some(raw) = config.take("maxTokens") {
            let path = path.field("maxTokens");
            sampling.max_output = Some(Tokens(at.read(raw, &path, "a whole number of tokens")?));
        }
        if let Some(raw) = config.take("temperature") {
            sampling.temperature = Some(at.read(raw, &path.field("temperature"), "a number")?);
        }
        if let Some(raw) = config.take("topP") {
            sampling.top_p = Some(at.read(raw, &path.field("topP"), "a number")?);
        }
        if let Some(raw) = config.take("stopSequences") {
            let path = path.field("stopSequences");
            for (i, raw) in at.items(raw, &path)?.into_iter().enumerate() {
                sampling.stop.push(at.text(raw, &path.index(i))?);
            }
        }
        self.extras_left("inferenceConfig", &config);
        Ok(())
    }

    fn tool_config(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(mut config) = self.object(fields, "toolConfig")? else {
            return Ok(());
        };
        let path = Path::Root.field("toolConfig");
        if let Some(raw) = config.take("tools") {
            let path = path.field("tools");
            for (i, raw) in self.at().items(raw, &path)?.into_iter().enumerate() {
                self.tool(raw, &path.index(i))?;
            }
        }
        if let Some(raw) = config.take("toolChoice") {
            let choice = self.tool_choice(raw, &path.field("toolChoice"))?;
            self.request.tool_choice = Some(choice);
        }
        self.extras_left("toolConfig", &config);
        Ok(())
    }

    /// A union: one member says what it is. A cache point belongs to the tool ahead of it.
    fn tool(&mut self, raw: &RawValue, path: &Path<'_>) -> Result<(), Fault> {
        let at = self.at();
        let mut fields = at.object(raw, path)?;
        let other = Tool::Other {
            dialect: DialectName::Converse,
            json: at.json(raw),
        };
        let tool = if let Some(point) = fields.take("cachePoint") {
            let found = mark_of(self.body, point);
            match (self.request.tools.last_mut(), found) {
                (Some(Tool::Function { mark, .. }), Some(found))
                    if mark.is_none() && fields.all_taken() =>
                {
                    *mark = Some(found);
                    return Ok(());
                }
                _ => other,
            }
        } else if let Some(spec) = fields.take("toolSpec") {
            self.tool_spec(spec, &path.field("toolSpec"))?
        } else {
            // `systemTool`, and what came after this was written.
            other
        };
        self.request.tools.push(tool);
        Ok(())
    }

    fn tool_spec(&self, raw: &RawValue, path: &Path<'_>) -> Result<Tool, Fault> {
        let at = self.at();
        let mut spec = at.object(raw, path)?;
        let name = spec
            .text(self.body, "name")
            .ok_or_else(|| path.field("name").fault("is required: a string"))?;
        let description = match spec.take("description") {
            Some(raw) => Some(at.text(raw, &path.field("description"))?),
            None => None,
        };
        let strict = match spec.take("strict") {
            Some(raw) => Some(at.read(raw, &path.field("strict"), "true or false")?),
            None => None,
        };
        let schema = match spec.take("inputSchema") {
            Some(raw) => {
                let mut inner = at.object(raw, &path.field("inputSchema"))?;
                inner.take("json").map(|raw| at.json(raw))
            }
            None => None,
        };
        Ok(Tool::Function {
            name,
            description,
            schema,
            strict,
            mark: None,
            extra: spec
                .left()
                .map(|(name, raw)| Extra {
                    dialect: DialectName::Converse,
                    name: Str::from(name),
                    value: at.json(raw),
                })
                .collect(),
        })
    }

    fn tool_choice(&self, raw: &RawValue, path: &Path<'_>) -> Result<ToolChoice, Fault> {
        let mut choice = self.at().object(raw, path)?;
        if choice.take("auto").is_some() {
            return Ok(ToolChoice::Auto);
        }
        if choice.take("any").is_some() {
            return Ok(ToolChoice::Required);
        }
        if let Some(raw) = choice.take("tool") {
            let path = path.field("tool");
            let name = self.at().object(raw, &path)?.text(self.body, "name");
            return Ok(ToolChoice::Named {
                name: name.ok_or_else(|| path.field("name").fault("is required: a tool's name"))?,
                custom: false,
            });
        }
        Err(path.fault("must be an object with auto, any or tool"))
    }

    /// What is merged into the model's own request. Canon's words are those of Claude; other models' stay as they are.
    fn model_fields(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let name = "additionalModelRequestFields";
        let Some(mut more) = self.object(fields, name)? else {
            return Ok(());
        };
        if let Some(raw) = more.take("top_k") {
            match raw.get().parse() {
                Ok(k) => self.request.sampling.top_k = Some(k),
                Err(_) => self.extra(&format!("{name}.top_k"), raw),
            }
        }
        if let Some(raw) = more.take("thinking")
            && !self.thinking(raw)
        {
            self.extra(&format!("{name}.thinking"), raw);
        }
        if let Some(raw) = more.take("tool_choice")
            && !self.one_call_at_a_time(raw)
        {
            self.extra(&format!("{name}.tool_choice"), raw);
        }
        self.extras_left(name, &more);
        Ok(())
    }

    /// False: a form that canon cannot say, to be kept whole.
    fn thinking(&mut self, raw: &RawValue) -> bool {
        let Some(mut thinking) = Fields::of(raw.get()) else {
            return false;
        };
        let mode = match thinking.text(self.body, "type").as_deref() {
            Some("adaptive") => ReasoningMode::Adaptive,
            Some("disabled") => ReasoningMode::Off,
            Some("between_tools") => ReasoningMode::BetweenTools,
            Some("enabled") => match thinking.count("budget_tokens") {
                Some(n) => ReasoningMode::Budget(Tokens(n)),
                None => return false,
            },
            _ => return false,
        };
        let shown = match thinking.text(self.body, "display").as_deref() {
            None => None,
            Some("summarized") => Some(true),
            Some("omitted") => Some(false),
            Some(_) => return false,
        };
        if !thinking.all_taken() {
            return false;
        }
        let reasoning = self.reasoning();
        (reasoning.mode, reasoning.shown) = (Some(mode), shown);
        true
    }

    /// Claude's own `tool_choice`, which Converse's lacks a word of: whether calls may be parallel. It repeats the choice itself.
    fn one_call_at_a_time(&mut self, raw: &RawValue) -> bool {
        let Some(mut choice) = Fields::of(raw.get()) else {
            return false;
        };
        let off = choice.take("disable_parallel_tool_use").map(RawValue::get);
        let kind = choice.text(self.body, "type");
        let same = match (&self.request.tool_choice, kind.as_deref()) {
            (None | Some(ToolChoice::Auto), Some("auto"))
            | (Some(ToolChoice::Required), Some("any")) => true,
            (Some(ToolChoice::Named { name, .. }), Some("tool")) => {
                choice.text(self.body, "name").as_ref() == Some(name)
            }
            _ => false,
        };
        match off {
            Some("true" | "false") if same && choice.all_taken() => {
                self.request.parallel_tools = Some(off == Some("false"));
                true
            }
            _ => false,
        }
    }

    fn reasoning(&mut self) -> &mut Reasoning {
        self.request.reasoning.get_or_insert(Reasoning {
            mode: None,
            effort: None,
            shown: None,
        })
    }

    fn output_config(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(mut config) = self.object(fields, "outputConfig")? else {
            return Ok(());
        };
        let path = Path::Root.field("outputConfig");
        if let Some(raw) = config.take("effort") {
            let word = self.at().text(raw, &path.field("effort"))?;
            self.reasoning().effort = Some(effort(word));
        }
        if let Some(raw) = config.take("textFormat") {
            match self.text_format(raw) {
                Some(format) => self.request.output_format = Some(format),
                None => self.extra("outputConfig.textFormat", raw),
            }
        }
        self.extras_left("outputConfig", &config);
        Ok(())
    }

    /// `None`: a form that canon cannot say. The schema is JSON within a string.
    fn text_format(&self, raw: &RawValue) -> Option<OutputFormat> {
        let mut format = Fields::of(raw.get())?;
        if format.text(self.body, "type").as_deref() != Some("json_schema") {
            return None;
        }
        let mut structure = Fields::of(format.take("structure")?.get())?;
        let mut schema = Fields::of(structure.take("jsonSchema")?.get())?;
        let read = OutputFormat::JsonSchema {
            name: schema.text(self.body, "name"),
            description: schema.text(self.body, "description"),
            schema: Json::parse(schema.text(self.body, "schema")?).ok()?,
            strict: None,
        };
        let whole = format.all_taken() && structure.all_taken() && schema.all_taken();
        whole.then_some(read)
    }

    fn notes(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        if let Some(raw) = fields.take("requestMetadata") {
            let path = Path::Root.field("requestMetadata");
            self.at().object(raw, &path)?;
            self.request.metadata = Some(self.at().json(raw));
        }
        if let Some(raw) = fields.take("serviceTier") {
            let path = Path::Root.field("serviceTier");
            let mut tier = self.at().object(raw, &path)?;
            let word = tier.text(self.body, "type");
            self.request.service_tier =
                Some(word.ok_or_else(|| path.field("type").fault("is required: a string"))?);
            self.extras_left("serviceTier", &tier);
        }
        Ok(())
    }

    fn system(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(raw) = fields.take("system") else {
            return Ok(());
        };
        let path = Path::Root.field("system");
        self.request.system = Blocks::new(self.body).content(raw, &path)?;
        Ok(())
    }

    fn messages(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let path = Path::Root.field("messages");
        // A stored prompt may hold them all.
        let Some(raw) = fields.take("messages") else {
            return Ok(());
        };
        for (i, raw) in self.at().items(raw, &path)?.into_iter().enumerate() {
            let path = path.index(i);
            let mut message = self.at().object(raw, &path)?;
            let role = match message.text(self.body, "role").as_deref() {
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system") => Role::System,
                _ => {
                    let right = "must be \"user\", \"assistant\" or \"system\"";
                    return Err(path.field("role").fault(right));
                }
            };
            let at = path.field("content");
            let content = message
                .take("content")
                .ok_or_else(|| at.fault("is required: an array of blocks"))?;
            let blocks = Blocks::new(self.body).content(content, &at)?;
            self.extras_left(&path.to_string(), &message);
            let turns = &mut self.request.turns;
            match turns.last_mut() {
                None if role == Role::System => self.request.system.extend(blocks),
                Some(last) if last.role == role => last.blocks.extend(blocks),
                _ => turns.push(Turn {
                    role,
                    blocks,
                    name: None,
                }),
            }
        }
        Ok(())
    }
}
