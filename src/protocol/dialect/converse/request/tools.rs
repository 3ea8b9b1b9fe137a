//! Canon's tools and the choice between them → `toolConfig`.

use super::write_blocks::{Points, write_point};
use crate::base::{Json, Str};
use crate::canon::{BlockKind, DialectName, Extra, Fault, Request, Tool, ToolChoice};
use crate::protocol::dialect::messages::schema::{Fields, Object, type_of};
use crate::protocol::dialect::messages::write::Rulings;
use bytes::BytesMut;
use std::borrow::Cow;

/// The tools that may be called, and the choice as this API can say it.
pub(super) struct Tools<'a> {
    /// A list of allowed ones narrows them.
    pub list: Cow<'a, [Tool]>,
    pub choice: Option<ToolChoice>,
}

impl<'a> Tools<'a> {
    pub(super) fn plan(request: &'a Request, rules: &mut Rulings<'_>) -> Result<Self, Fault> {
        let mut tools = Self {
            list: Cow::Borrowed(&request.tools),
            choice: request.tool_choice.clone(),
        };
        tools.narrow()?;
        tools.forbid(request, rules)?;
        let asks = matches!(
            tools.choice,
            Some(ToolChoice::Required | ToolChoice::Named { .. })
        );
        if asks && tools.list.is_empty() {
            let message = "asks for a call, but there are no tools";
            return Err(Fault::invalid("tool_choice", message));
        }
        Ok(tools)
    }

    pub(super) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    /// This API cannot allow a part of the tools. One allowed tool that must be called is that tool by name, which leaves the tools as they are;
    /// else the others are left out, which keeps the promise and costs the cache.
    fn narrow(&mut self) -> Result<(), Fault> {
        let Some(ToolChoice::Allowed { names, required }) = self.choice.clone() else {
            return Ok(());
        };
        let known = |name: &Str| self.list.iter().any(|t| name_of(t).as_ref() == Some(name));
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
                let allowed = |t: &&Tool| name_of(t).is_some_and(|n| names.contains(&n));
                if !self.list.iter().all(|t| allowed(&t)) {
                    self.list = self.list.iter().filter(allowed).cloned().collect();
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

    /// There is no word for "none" here (`providers/bedrock.md` 7). Without tools none can be called; but where the conversation holds calls, the
    /// API demands their tools.
    fn forbid(&mut self, request: &Request, rules: &mut Rulings<'_>) -> Result<(), Fault> {
        if self.choice != Some(ToolChoice::None) || self.list.is_empty() {
            return Ok(());
        }
        let mut called = false;
        request.each_block(&mut |block| {
            called |= matches!(
                block.kind,
                BlockKind::ToolCall { .. } | BlockKind::ToolResult { .. }
            );
        });
        if called {
            self.choice = None;
            let why = "the converse api cannot forbid calls while the conversation holds some; leave it out";
            return rules.unsayable("tool_choice", why);
        }
        self.list = Cow::Borrowed(&[]);
        Ok(())
    }

    pub(super) fn write(
        &self,
        points: &mut Points,
        rules: &mut Rulings<'_>,
        config: &mut Object<'_>,
    ) -> Result<(), Fault> {
        if self.list.is_empty() {
            return Ok(());
        }
        config.try_array("tools", self.list.iter().enumerate(), |(i, tool), out| {
            write_tool(i, tool, points, rules, out)
        })?;
        let choice = match &self.choice {
            None | Some(ToolChoice::None) => return Ok(()),
            Some(choice) => choice,
        };
        let mut object = Object::open(config.value("toolChoice"));
        match choice {
            ToolChoice::Required => object.value("any").extend_from_slice(b"{}"),
            ToolChoice::Named { name, .. } => {
                let mut tool = Object::open(object.value("tool"));
                tool.text("name", name);
                tool.close();
            }
            _ => object.value("auto").extend_from_slice(b"{}"),
        }
        object.close();
        Ok(())
    }
}

fn name_of(tool: &Tool) -> Option<Str> {
    match tool {
        Tool::Function { name, .. } | Tool::Custom { name, .. } => Some(name.clone()),
        Tool::Other { json, .. } => {
            let mut fields = Fields::of(json.get())?;
            let system = fields.take("systemTool");
            match system.and_then(|raw| Fields::of(raw.get())) {
                Some(mut inner) => inner.text(json.text(), "name"),
                None => fields.text(json.text(), "name"),
            }
        }
    }
}

fn write_tool(
    index: usize,
    tool: &Tool,
    points: &mut Points,
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
            write_spec(
                name,
                description.as_deref(),
                schema.as_ref(),
                *strict,
                &sayable(index, extra, rules),
                out,
            );
            if let Some(mark) = points.next(*mark) {
                out.extend_from_slice(b",");
                write_point(mark, out);
            }
        }
        Tool::Custom {
            name,
            description,
            format,
        } => {
            let said = custom_description(index, description.as_deref(), format.as_ref(), rules);
            let schema = Json::of(&serde_json::json!({
                "type": "object",
                "properties": {"input": {"type": "string"}},
                "required": ["input"],
            }));
            write_spec(name, said.as_deref(), Some(&schema), None, &[], out);
        }
        Tool::Other { dialect, json } if *dialect == DialectName::Converse => {
            out.extend_from_slice(json.get().as_bytes());
        }
        Tool::Other { json, .. } => {
            let kind = type_of(json).unwrap_or_default();
            let message = format!("is of type {kind:?}, which the converse api does not have");
            return Err(Fault::invalid(format!("tools[{index}]"), message));
        }
    }
    Ok(())
}

/// Fields of a tool that only one dialect knows: this one's are written, others' reported.
fn sayable<'e>(index: usize, extra: &'e [Extra], rules: &mut Rulings<'_>) -> Vec<&'e Extra> {
    for extra in extra.iter().filter(|e| e.dialect != DialectName::Converse) {
        rules.dropped(format!("tools[{index}].{}", extra.name));
    }
    let own = extra.iter().filter(|e| e.dialect == DialectName::Converse);
    own.collect()
}

fn write_spec(
    name: &str,
    description: Option<&str>,
    schema: Option<&Json>,
    strict: Option<bool>,
    extra: &[&Extra],
    out: &mut BytesMut,
) {
    let mut tool = Object::open(out);
    let mut spec = Object::open(tool.value("toolSpec"));
    spec.text("name", name);
    // An empty description is refused (Converse, ToolSpecification: at least one character).
    if let Some(description) = description.filter(|d| !d.is_empty()) {
        spec.text("description", description);
    }
    let mut input = Object::open(spec.value("inputSchema"));
    match schema {
        Some(schema) => input.json("json", schema),
        None => input
            .value("json")
            .extend_from_slice(br#"{"type":"object","properties":{}}"#),
    }
    input.close();
    if let Some(strict) = strict {
        spec.flag("strict", strict);
    }
    for extra in extra {
        spec.json(&extra.name, &extra.value);
    }
    spec.close();
    tool.close();
}

/// A tool that takes free text becomes one that takes an object with the text in `input`. Its grammar cannot be enforced: it is told to
/// the model and reported as left out.
fn custom_description(
    index: usize,
    description: Option<&str>,
    format: Option<&Json>,
    rules: &mut Rulings<'_>,
) -> Option<String> {
    let Some(grammar) = format.filter(|f| type_of(f).as_deref() != Some("text")) else {
        return description.map(str::to_owned);
    };
    rules.dropped(format!("tools[{index}].custom.format"));
    let ahead = description.map_or(String::new(), |d| format!("{d}\n\n"));
    let grammar = grammar.get();
    Some(format!(
        "{ahead}The text in `input` must follow this format: {grammar}"
    ))
}
