//! Canon → a provider's body: the top level and tools.
//!
//! Fields come in one fixed order, so that the same request is the same bytes: tools, instructions, conversation, then the rest. What this
//! dialect, or the target's model, cannot say is a fault that names it, or is left out and reported: by rule, or where it changes nothing.

use super::write_turns;
use crate::canon::{DialectName, Extra, Fault, Request, Tool, ToolChoice};
use crate::protocol::dialect::responses;
use crate::protocol::dialect::{Dropped, Target};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};

/// Writes a request of generateContent. Model and stream are the path's to say.
pub fn write(request: &Request, target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    let mut writer = Writer {
        out: BytesMut::from("{"),
        dropped: Vec::new(),
        target,
    };
    writer.tools(request)?;
    write_turns::write(request, &mut writer)?;
    writer.config(request)?;
    writer.hints(request)?;
    writer.extras(request)?;
    writer.out.extend_from_slice(b"}");
    Ok((writer.out.freeze(), writer.dropped))
}

pub(super) struct Writer<'t> {
    pub out: BytesMut,
    dropped: Dropped,
    pub target: &'t Target<'t>,
}

impl Writer<'_> {
    /// Says that `name` was left out, once.
    pub(super) fn report(&mut self, name: &str) {
        if !self.dropped.iter().any(|d| d == name) {
            self.dropped.push(name.to_owned());
        }
    }

    fn is_dropped(&mut self, name: &str) -> bool {
        let dropped = self.target.rules.drop.iter().any(|d| d == name);
        if dropped {
            self.report(name);
        }
        dropped
    }

    /// Whether to write `name`: not where a rule drops it; a fault where the model does not take it.
    pub(super) fn takes(&mut self, name: &str) -> Result<bool, Fault> {
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
    pub(super) fn cannot(&mut self, name: &str, field: &str, why: &str) -> Result<(), Fault> {
        if self.is_dropped(name) {
            return Ok(());
        }
        Err(Fault::invalid(field, why).with_code("unsupported_value"))
    }

    pub(super) fn key(&mut self, name: &str) -> &mut BytesMut {
        json::key(name, &mut self.out);
        &mut self.out
    }

    /// Whether thinking, and with it signatures, is of the generation before Gemini 3.
    pub(super) fn is_older(&self) -> bool {
        self.target.rules.thinking_budget
    }

    fn tools(&mut self, request: &Request) -> Result<(), Fault> {
        if !request.tools.is_empty() && self.takes("tools")? {
            self.tool_list(&request.tools)?;
        }
        let whole = request.extra.iter().any(|e| is(e, "toolConfig"));
        match &request.tool_choice {
            Some(choice) if !whole && self.takes("tool_choice")? => self.choice(choice, request)?,
            _ => {}
        }
        if request.parallel_tools == Some(false) && request.forces_one_tool() {
            // Who must call this one tool has no other to call beside it.
            self.report("parallel_tool_calls");
        } else if request.parallel_tools == Some(false) {
            let why = "this model may always call several tools at once";
            self.cannot("parallel_tool_calls", "parallel_tool_calls", why)?;
        }
        Ok(())
    }

    /// Functions stand together, tools of Google's own each by itself.
    fn tool_list(&mut self, tools: &[Tool]) -> Result<(), Fault> {
        self.key("tools").extend_from_slice(b"[");
        let mut within = false;
        for (i, tool) in tools.iter().enumerate() {
            let function = matches!(tool, Tool::Function { .. });
            if function && !within {
                json::comma(&mut self.out);
                self.out.extend_from_slice(b"{\"functionDeclarations\":[");
            } else if !function && within {
                self.out.extend_from_slice(b"]}");
            }
            within = function;
            self.tool(i, tool)?;
        }
        if within {
            self.out.extend_from_slice(b"]}");
        }
        self.out.extend_from_slice(b"]");
        if self.out.ends_with(b"\"tools\":[]") {
            let end = self.out.len() - b"\"tools\":[]".len();
            // The comma before it goes too.
            let end = if self.out[end - 1] == b',' {
                end - 1
            } else {
                end
            };
            self.out.truncate(end);
        }
        Ok(())
    }

    fn tool(&mut self, number: usize, tool: &Tool) -> Result<(), Fault> {
        let field = format!("tools[{number}]");
        match tool {
            Tool::Function { .. } => self.function(tool),
            Tool::Custom { .. } => {
                let why = "this model's provider has no tools that take free text";
                self.cannot("custom_tools", &field, why)
            }
            Tool::Other {
                dialect: DialectName::Gemini,
                json,
            } => {
                json::comma(&mut self.out);
                self.out.extend_from_slice(json.get().as_bytes());
                Ok(())
            }
            Tool::Other { dialect, .. } => {
                let why = format!(
                    "a tool of the dialect {} that this model's provider does not have",
                    dialect.as_str()
                );
                self.cannot("server_tools", &field, &why)
            }
        }
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
            // Prefixes are cached without being asked.
            self.report("tools.cache_control");
        }
        if *strict == Some(true) {
            self.report("tools.strict");
        }
        json::comma(&mut self.out);
        self.out.extend_from_slice(b"{");
        json::field("name", name, &mut self.out);
        if let Some(description) = description {
            json::field("description", description, &mut self.out);
        }
        if let Some(schema) = schema {
            // Takes what other APIs take, where `parameters` is a language of its own (Gemini API reference, read 2026-08).
            self.key("parametersJsonSchema")
                .extend_from_slice(schema.get().as_bytes());
        }
        for extra in extra {
            self.extra(extra)?;
        }
        self.out.extend_from_slice(b"}");
        Ok(())
    }

    fn choice(&mut self, choice: &ToolChoice, request: &Request) -> Result<(), Fault> {
        let (mode, names): (&str, &[_]) = match choice {
            ToolChoice::Auto => ("AUTO", &[]),
            ToolChoice::None => ("NONE", &[]),
            ToolChoice::Required => ("ANY", &[]),
            ToolChoice::Named { name, .. } => ("ANY", std::slice::from_ref(name)),
            ToolChoice::Allowed {
                names,
                required: true,
            } => ("ANY", names),
            ToolChoice::Allowed { names, .. } => ("VALIDATED", names),
        };
        // Google refuses a choice among nothing.
        if request.tools.is_empty() && mode != "ANY" {
            return Ok(());
        }
        let out = self.key("toolConfig");
        out.extend_from_slice(b"{\"functionCallingConfig\":{");
        json::field("mode", mode, out);
        if !names.is_empty() {
            json::key("allowedFunctionNames", out);
            out.extend_from_slice(b"[");
            for name in names {
                json::comma(out);
                json::string(name, out);
            }
            out.extend_from_slice(b"]");
        }
        out.extend_from_slice(b"}}");
        Ok(())
    }

    /// What is left after `generationConfig`, which has its own.
    fn extras(&mut self, request: &Request) -> Result<(), Fault> {
        for extra in &request.extra {
            if !super::write_config::is_config(extra) {
                self.extra(extra)?;
            }
        }
        Ok(())
    }

    pub(super) fn extra(&mut self, extra: &Extra) -> Result<(), Fault> {
        if extra.dialect != DialectName::Gemini {
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
            let name = extra.name.strip_prefix("generationConfig.");
            json::comma(&mut self.out);
            json::string(name.unwrap_or(&extra.name), &mut self.out);
            self.out.extend_from_slice(b":");
            self.out.extend_from_slice(extra.value.get().as_bytes());
        }
        Ok(())
    }
}

pub(super) fn is(extra: &Extra, name: &str) -> bool {
    extra.dialect == DialectName::Gemini && *extra.name == *name
}
