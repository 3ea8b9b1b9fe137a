//! A client's request → canon.
//!
//! Reads loosely where the API adds fields over time (what is unknown is kept as `Extra` or `Other`), strictly where a meaning would
//! have to be guessed; then the fault names the field and says what would be right.

use super::read_blocks::Blocks;
use super::schema::{Fields, Path, effort, items_of, text_of, ttl};
use crate::base::{Json, Str, Tokens};
use crate::canon::{
    CacheMark, DialectName, Effort, Extra, Fault, FaultClass, OutputFormat, Reasoning,
    ReasoningMode, Request, Role, Tool, ToolChoice, Turn,
};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads the body of `POST /v1/messages`. Texts stay slices of `body` where they hold no escapes. `Err` is a 400 that names the field.
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

/// The reader of one value at one place.
pub(in crate::protocol::dialect) struct At<'a> {
    pub(in crate::protocol::dialect) body: &'a Str,
}

impl At<'_> {
    pub(in crate::protocol::dialect) fn text(
        &self,
        raw: &RawValue,
        path: &Path<'_>,
    ) -> Result<Str, Fault> {
        text_of(self.body, raw).ok_or_else(|| path.fault("must be a string"))
    }

    pub(in crate::protocol::dialect) fn read<'r, T: serde::Deserialize<'r>>(
        &self,
        raw: &'r RawValue,
        path: &Path<'_>,
        what: &str,
    ) -> Result<T, Fault> {
        serde_json::from_str(raw.get()).map_err(|_| path.fault(format!("must be {what}")))
    }

    pub(in crate::protocol::dialect) fn object<'r>(
        &self,
        raw: &'r RawValue,
        path: &Path<'_>,
    ) -> Result<Fields<'r>, Fault> {
        self.read(raw, path, "an object")
    }

    pub(in crate::protocol::dialect) fn items<'r>(
        &self,
        raw: &'r RawValue,
        path: &Path<'_>,
    ) -> Result<Vec<&'r RawValue>, Fault> {
        items_of(raw).ok_or_else(|| path.fault("must be an array"))
    }

    pub(in crate::protocol::dialect) fn json(&self, raw: &RawValue) -> Json {
        Json::within(self.body, raw)
    }

    /// `cache_control`, taken out of `fields`; section 7.1.
    pub(in crate::protocol::dialect) fn mark(
        &self,
        fields: &mut Fields<'_>,
        path: &Path<'_>,
    ) -> Result<Option<CacheMark>, Fault> {
        let Some(raw) = fields.take("cache_control") else {
            return Ok(None);
        };
        let path = path.field("cache_control");
        let mut control = self.object(raw, &path)?;
        if control.text(self.body, "type").as_deref() != Some("ephemeral") {
            return Err(path.field("type").fault("must be \"ephemeral\""));
        }
        let life = match control.take("ttl") {
            None => None,
            Some(raw) => {
                let path = path.field("ttl");
                let word = self.text(raw, &path)?;
                Some(ttl(&word).ok_or_else(|| path.fault("must be \"5m\" or \"1h\""))?)
            }
        };
        Ok(Some(CacheMark { ttl: life }))
    }
}

impl Reader<'_> {
    fn at(&self) -> At<'_> {
        At { body: self.body }
    }

    /// Named fields first, each by a method; what is left is kept in order.
    fn all(&mut self, mut fields: Fields<'_>) -> Result<(), Fault> {
        self.model_and_limit(&mut fields)?;
        self.sampling(&mut fields)?;
        self.tools(&mut fields)?;
        self.tool_choice(&mut fields)?;
        self.thinking(&mut fields)?;
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
            dialect: DialectName::Messages,
            name: Str::from(name),
            value: Json::within(self.body, raw),
        });
    }

    fn extras_left(&mut self, within: &str, fields: &Fields<'_>) {
        for (name, raw) in fields.left() {
            self.extra(&format!("{within}.{name}"), raw);
        }
    }

    fn model_and_limit(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let path = Path::Root.field("model");
        let raw = fields
            .take("model")
            .ok_or_else(|| path.fault("is required: the name of a model"))?;
        self.request.model = self.at().text(raw, &path)?;
        let path = Path::Root.field("max_tokens");
        let what = "a whole number of tokens, 0 or more";
        let raw = fields
            .take("max_tokens")
            .ok_or_else(|| path.fault(format!("is required: {what}")))?;
        self.request.sampling.max_output = Some(Tokens(self.at().read(raw, &path, what)?));
        if let Some(raw) = fields.take("stream") {
            let path = Path::Root.field("stream");
            self.request.stream = self.at().read(raw, &path, "true or false")?;
        }
        Ok(())
    }

    fn sampling(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        for name in ["temperature", "top_p", "top_k", "stop_sequences"] {
            let Some(raw) = fields.take(name) else {
                continue;
            };
            let (at, path) = (At { body: self.body }, Path::Root.field(name));
            let sampling = &mut self.request.sampling;
            match name {
                "temperature" => sampling.temperature = Some(at.read(raw, &path, "a number")?),
                "top_p" => sampling.top_p = Some(at.read(raw, &path, "a number")?),
                "top_k" => sampling.top_k = Some(at.read(raw, &path, "a whole number")?),
                _ => {
                    for (i, raw) in at.items(raw, &path)?.into_iter().enumerate() {
                        sampling.stop.push(at.text(raw, &path.index(i))?);
                    }
                }
            }
        }
        Ok(())
    }

    fn tools(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(raw) = fields.take("tools") else {
            return Ok(());
        };
        let path = Path::Root.field("tools");
        for (i, raw) in self.at().items(raw, &path)?.into_iter().enumerate() {
            let tool = self.tool(raw, &path.index(i))?;
            self.request.tools.push(tool);
        }
        Ok(())
    }

    /// Section 3: a tool without a `type`, or of type `custom`, is described by a schema; every other type is the API's own.
    fn tool(&self, raw: &RawValue, path: &Path<'_>) -> Result<Tool, Fault> {
        let at = self.at();
        let mut fields = at.object(raw, path)?;
        let kind = fields.text(self.body, "type");
        if kind.is_some_and(|kind| kind != "custom") {
            return Ok(Tool::Other {
                dialect: DialectName::Messages,
                json: at.json(raw),
            });
        }
        let name = fields
            .text(self.body, "name")
            .ok_or_else(|| path.field("name").fault("is required: a string"))?;
        let schema = fields
            .take("input_schema")
            .filter(|raw| raw.get().starts_with('{'))
            .ok_or_else(|| {
                path.field("input_schema")
                    .fault("is required: a JSON schema of type object")
            })?;
        let description = match fields.take("description") {
            Some(raw) => Some(at.text(raw, &path.field("description"))?),
            None => None,
        };
        let strict = match fields.take("strict") {
            Some(raw) => Some(at.read(raw, &path.field("strict"), "true or false")?),
            None => None,
        };
        Ok(Tool::Function {
            name,
            description,
            schema: Some(at.json(schema)),
            strict,
            mark: at.mark(&mut fields, path)?,
            extra: fields
                .left()
                .map(|(name, raw)| Extra {
                    dialect: DialectName::Messages,
                    name: Str::from(name),
                    value: at.json(raw),
                })
                .collect(),
        })
    }

    fn tool_choice(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(raw) = fields.take("tool_choice") else {
            return Ok(());
        };
        let path = Path::Root.field("tool_choice");
        let mut choice = self.at().object(raw, &path)?;
        let kind = choice.text(self.body, "type").unwrap_or_default();
        self.request.tool_choice = Some(match &*kind {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" => ToolChoice::Named {
                name: choice
                    .text(self.body, "name")
                    .ok_or_else(|| path.field("name").fault("is required: a tool's name"))?,
                custom: false,
            },
            _ => {
                let message = "must be \"auto\", \"any\", \"tool\" or \"none\"";
                return Err(path.field("type").fault(message));
            }
        });
        if let Some(raw) = choice.take("disable_parallel_tool_use") {
            let path = path.field("disable_parallel_tool_use");
            let off: bool = self.at().read(raw, &path, "true or false")?;
            self.request.parallel_tools = Some(!off);
        }
        self.extras_left("tool_choice", &choice);
        Ok(())
    }

    fn reasoning(&mut self) -> &mut Reasoning {
        self.request.reasoning.get_or_insert(Reasoning {
            mode: None,
            effort: None,
            shown: None,
        })
    }

    /// Section 4: four forms; a fifth is kept whole.
    fn thinking(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(raw) = fields.take("thinking") else {
            return Ok(());
        };
        let path = Path::Root.field("thinking");
        let mut thinking = self.at().object(raw, &path)?;
        let kind = thinking
            .text(self.body, "type")
            .ok_or_else(|| path.field("type").fault("is required: a string"))?;
        let mode = match &*kind {
            "adaptive" => ReasoningMode::Adaptive,
            "disabled" => ReasoningMode::Off,
            "between_tools" => ReasoningMode::BetweenTools,
            "enabled" => {
                let path = path.field("budget_tokens");
                let what = "a whole number of tokens, 1024 or more";
                let raw = thinking
                    .take("budget_tokens")
                    .ok_or_else(|| path.fault(format!("is required: {what}")))?;
                ReasoningMode::Budget(Tokens(self.at().read(raw, &path, what)?))
            }
            _ => {
                self.extra("thinking", raw);
                return Ok(());
            }
        };
        self.reasoning().mode = Some(mode);
        if let Some(raw) = thinking.take("display") {
            match &*self.at().text(raw, &path.field("display"))? {
                "summarized" => self.reasoning().shown = Some(true),
                "omitted" => self.reasoning().shown = Some(false),
                _ => self.extra("thinking.display", raw),
            }
        }
        self.extras_left("thinking", &thinking);
        Ok(())
    }

    fn output_config(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let Some(raw) = fields.take("output_config") else {
            return Ok(());
        };
        let path = Path::Root.field("output_config");
        let mut config = self.at().object(raw, &path)?;
        if let Some(raw) = config.take("effort") {
            let word: Effort = effort(self.at().text(raw, &path.field("effort"))?);
            self.reasoning().effort = Some(word);
        }
        if let Some(raw) = config.take("format") {
            let path = path.field("format");
            let mut format = self.at().object(raw, &path)?;
            if format.text(self.body, "type").as_deref() == Some("json_schema") {
                let schema = format
                    .take("schema")
                    .ok_or_else(|| path.field("schema").fault("is required: a JSON schema"))?;
                self.request.output_format = Some(OutputFormat::JsonSchema {
                    name: None,
                    description: None,
                    schema: self.at().json(schema),
                    strict: None,
                });
                self.extras_left("output_config.format", &format);
            } else {
                self.extra("output_config.format", raw);
            }
        }
        // `task_budget` and what comes after it.
        self.extras_left("output_config", &config);
        Ok(())
    }

    fn notes(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        self.request.cache.automatic = self.at().mark(fields, &Path::Root)?;
        if let Some(raw) = fields.take("service_tier") {
            let path = Path::Root.field("service_tier");
            self.request.service_tier = Some(self.at().text(raw, &path)?);
        }
        if let Some(raw) = fields.take("metadata") {
            let path = Path::Root.field("metadata");
            let mut metadata = self.at().object(raw, &path)?;
            if let Some(raw) = metadata.take("user_id") {
                self.request.user = Some(self.at().text(raw, &path.field("user_id"))?);
            }
            self.extras_left("metadata", &metadata);
        }
        Ok(())
    }

    fn system(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        if let Some(raw) = fields.take("system") {
            let path = Path::Root.field("system");
            self.request.system = Blocks::new(self.body).content(raw, &path)?;
        }
        Ok(())
    }

    /// Section 2.1. Turns of one role in a row are one turn. A leading system message, which the API itself refuses, joins `system`.
    fn messages(&mut self, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let path = Path::Root.field("messages");
        let raw = fields
            .take("messages")
            .ok_or_else(|| path.fault("is required: an array of messages"))?;
        for (i, raw) in self.at().items(raw, &path)?.into_iter().enumerate() {
            let path = path.index(i);
            let (role, blocks) = self.message(raw, &path)?;
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
        if self.request.turns.is_empty() {
            return Err(path.fault("must hold at least one message of role user"));
        }
        Ok(())
    }

    fn message(
        &mut self,
        raw: &RawValue,
        path: &Path<'_>,
    ) -> Result<(Role, Vec<crate::canon::Block>), Fault> {
        let mut message = self.at().object(raw, path)?;
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
            .ok_or_else(|| at.fault("is required: a string or an array of blocks"))?;
        let blocks = Blocks::new(self.body).content(content, &at)?;
        self.extras_left(&path.to_string(), &message);
        Ok((role, blocks))
    }
}
