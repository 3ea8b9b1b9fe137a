//! Tools that a provider ran itself, as the items and events of OpenAI's hosted tools.
//!
//! Claude's `web_search`, `web_fetch`, code execution and MCP calls, and Gemini's code execution and searches, have items of the same
//! meaning here: `web_search_call`, `code_interpreter_call`, `mcp_call` (OpenAI API reference, streaming events, read 2026-11). Other
//! tools of providers have none; they stay what they were, named in `dropped`. The ids are ours and known to nobody, so that a client that
//! sends such an item back is not refused: `request::is_made` knows it and it is left out.

use super::encoder::Encoder;
use super::growing::{Kind, item_place, number, raw};
use crate::base::{Json, Str};
use crate::canon::{BlockStart, DialectName, ToolKind};
use crate::protocol::dialect::responses::MADE_MARK;
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::{Value, json as value};

/// One use of a tool, from its call to its result.
#[derive(Debug)]
pub(super) struct Run {
    tool: Tool,
    output: usize,
    /// The call's id at its provider, by which its result names it.
    call: Str,
    /// Of an MCP tool: its name and its server's.
    name: String,
    label: String,
    /// JSON text, as far as it has come.
    pub(super) input: String,
    done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Search,
    Fetch,
    Code,
    Mcp,
}

/// What came of it.
#[derive(Debug, Default)]
struct Found {
    failed: bool,
    urls: Vec<String>,
    said: String,
}

impl Tool {
    /// By the names of Claude's tools (Anthropic docs, server tools, read 2026-11).
    fn named(name: &str) -> Option<Self> {
        match name {
            "web_search" => Some(Self::Search),
            "web_fetch" => Some(Self::Fetch),
            "code_execution" | "bash_code_execution" | "text_editor_code_execution" => {
                Some(Self::Code)
            }
            _ => None,
        }
    }

    fn item(self) -> (&'static str, &'static str) {
        match self {
            Self::Search | Self::Fetch => ("web_search_call", "ws"),
            Self::Code => ("code_interpreter_call", "ci"),
            Self::Mcp => ("mcp_call", "mcp"),
        }
    }
}

impl Run {
    /// The use of a tool that begins with `block`; `None` for whatever has no item here.
    fn of(block: &BlockStart) -> Option<Self> {
        let run = |tool, call: &str, input: String| Self {
            tool,
            output: 0,
            call: Str::from(call),
            name: String::new(),
            label: String::new(),
            input,
            done: false,
        };
        match block {
            BlockStart::ToolCall {
                id,
                name,
                kind: ToolKind::Server,
            } => Some(run(Tool::named(name)?, id, String::new())),
            BlockStart::Other {
                dialect: DialectName::Messages,
                json,
            } => {
                let block: Value = json.read()?;
                if block["type"] != "mcp_tool_use" {
                    return None;
                }
                // Streamed, the input is an empty object first.
                let whole = block["input"].as_object().filter(|input| !input.is_empty());
                let input = whole.map_or_else(String::new, |_| block["input"].to_string());
                Some(Self {
                    name: text(&block["name"]),
                    label: text(&block["server_name"]),
                    ..run(Tool::Mcp, block["id"].as_str()?, input)
                })
            }
            BlockStart::Other {
                dialect: DialectName::Gemini,
                json,
            } => {
                let part: Value = json.read()?;
                let code = part.get("executableCode")?;
                let input = value!({ "code": code["code"] }).to_string();
                Some(run(
                    Tool::Code,
                    code["id"].as_str().unwrap_or_default(),
                    input,
                ))
            }
            _ => None,
        }
    }

    fn id(&self, answer: &str) -> String {
        format!("{}{MADE_MARK}{answer}_{}", self.tool.item().1, self.output)
    }

    /// What is run: the source, or the command; the whole input of what has neither.
    fn code(&self) -> String {
        let input: Value = serde_json::from_str(&self.input).unwrap_or_default();
        let code = input["code"].as_str().or(input["command"].as_str());
        let edits = input.get("path").is_some();
        code.filter(|_| !edits)
            .map_or_else(|| self.input.clone(), str::to_owned)
    }

    fn as_item(&self, id: &str, status: &str, found: &Found) -> BytesMut {
        let input: Value = serde_json::from_str(&self.input).unwrap_or_default();
        let item = match self.tool {
            Tool::Search => {
                let query = text(&input["query"]);
                let queries = match &input["queries"] {
                    Value::Array(queries) => queries.clone(),
                    _ if query.is_empty() => Vec::new(),
                    _ => vec![value!(query)],
                };
                let mut action = value!({"type": "search", "query": query, "queries": queries});
                if !found.urls.is_empty() {
                    let source = |url: &String| value!({"type": "url", "url": url});
                    action["sources"] = found.urls.iter().map(source).collect();
                }
                value!({"type": "web_search_call", "id": id, "status": status, "action": action})
            }
            Tool::Fetch => {
                let action = value!({"type": "open_page", "url": text(&input["url"])});
                value!({"type": "web_search_call", "id": id, "status": status, "action": action})
            }
            Tool::Code => {
                let logs = value!([{"type": "logs", "logs": found.said}]);
                let outputs = match status {
                    "in_progress" | "incomplete" => Value::Null,
                    _ if found.said.is_empty() => value!([]),
                    _ => logs,
                };
                // The types demand a container, and none of OpenAI's ran this.
                value!({"type": "code_interpreter_call", "id": id, "status": status, "code": self.code(), "container_id": "", "outputs": outputs})
            }
            Tool::Mcp => {
                let said = |is: bool| is.then(|| value!(found.said));
                let over = matches!(status, "completed" | "failed");
                value!({"type": "mcp_call", "id": id, "status": status, "name": self.name, "server_label": self.label,
                    "arguments": self.input, "approval_request_id": null,
                    "output": said(over && !found.failed), "error": said(over && found.failed)})
            }
        };
        BytesMut::from(item.to_string().as_bytes())
    }
}

impl Found {
    /// Of Claude's `…_tool_result` (Anthropic docs, server tools and MCP connector, read 2026-11).
    fn in_block(block: &Value) -> Self {
        let content = &block["content"];
        let entries = match content {
            Value::Array(entries) => &entries[..],
            one => std::slice::from_ref(one),
        };
        let mut found = Self {
            failed: block["is_error"] == true,
            ..Self::default()
        };
        for entry in entries {
            found.failed |= text(&entry["type"]).ends_with("_error");
            found.urls.extend(entry["url"].as_str().map(str::to_owned));
            for name in ["stdout", "stderr", "text", "error_code"] {
                found.said.push_str(&text(&entry[name]));
            }
        }
        found
    }

    /// Of Gemini's `codeExecutionResult` (Gemini API reference, `Outcome`, read 2026-11).
    fn in_part(result: &Value) -> Self {
        Self {
            failed: result["outcome"]
                .as_str()
                .is_some_and(|o| o != "OUTCOME_OK"),
            said: text(&result["output"]),
            ..Self::default()
        }
    }
}

impl Encoder {
    /// Makes an item of a block with which the use of a tool begins.
    pub(super) fn hosted(&mut self, block: &BlockStart) -> Option<Kind> {
        let run = Run::of(block)?;
        let output = self.next_output();
        self.runs.push(Run { output, ..run });
        Some(Kind::Hosted {
            at: self.runs.len() - 1,
        })
    }

    fn step(&mut self, at: usize, step: &str, out: &mut BytesMut) {
        let run = &self.runs[at];
        let (id, output) = (run.id(&self.opening.id), run.output);
        let kind = format!("response.{}.{step}", run.tool.item().0);
        self.wire
            .emit(&kind, out, |out| item_place(&id, output, out));
    }

    pub(super) fn hosted_added(&mut self, at: usize, out: &mut BytesMut) {
        let run = &self.runs[at];
        let output = run.output;
        let mut item = run.as_item(&run.id(&self.opening.id), "in_progress", &Found::default());
        if run.tool == Tool::Code {
            // Its code comes in the events that follow.
            let mut bare: Value = serde_json::from_slice(&item).unwrap_or_default();
            bare["code"] = value!("");
            item = BytesMut::from(bare.to_string().as_bytes());
        }
        self.wire.emit("response.output_item.added", out, |out| {
            number("output_index", output as u64, out);
            raw("item", &item, out);
        });
        self.step(at, "in_progress", out);
    }

    /// The call is whole, and the tool runs.
    pub(super) fn hosted_called(&mut self, at: usize, out: &mut BytesMut) {
        let run = &self.runs[at];
        let (id, output) = (run.id(&self.opening.id), run.output);
        let (tool, code, input) = (run.tool, run.code(), run.input.clone());
        match tool {
            Tool::Search | Tool::Fetch => self.step(at, "searching", out),
            Tool::Code => {
                self.said_whole(
                    "code_interpreter_call_code",
                    (&id, output),
                    ("code", &code),
                    out,
                );
                self.step(at, "interpreting", out);
            }
            Tool::Mcp => {
                self.said_whole(
                    "mcp_call_arguments",
                    (&id, output),
                    ("arguments", &input),
                    out,
                );
            }
        }
    }

    /// A text in one piece: its delta and its end.
    fn said_whole(
        &mut self,
        of: &str,
        (id, output): (&str, usize),
        (field, said): (&str, &str),
        out: &mut BytesMut,
    ) {
        for (end, field) in [("delta", "delta"), ("done", field)] {
            self.wire.emit(&format!("response.{of}.{end}"), out, |out| {
                item_place(id, output, out);
                json::field(field, said, out);
            });
        }
    }

    /// Ends the use of a tool of which `block` is the result. False where it is none that was told.
    pub(super) fn hosted_result(&mut self, block: &BlockStart, out: &mut BytesMut) -> bool {
        let BlockStart::Other { dialect, json } = block else {
            return false;
        };
        if self.runs.iter().all(|run| run.done) {
            return false;
        }
        let block: Value = json.read().unwrap_or_default();
        let (at, found) = match dialect {
            DialectName::Messages if text(&block["type"]).ends_with("_tool_result") => {
                let call = block["tool_use_id"].as_str();
                let is = |run: &Run| !run.done && Some(&*run.call) == call;
                (self.runs.iter().position(is), Found::in_block(&block))
            }
            DialectName::Gemini if block.get("codeExecutionResult").is_some() => {
                let is = |run: &Run| !run.done && run.tool == Tool::Code;
                let found = Found::in_part(&block["codeExecutionResult"]);
                (self.runs.iter().position(is), found)
            }
            _ => return false,
        };
        let Some(at) = at else { return false };
        self.hosted_done(at, Some(&found), out);
        true
    }

    fn hosted_done(&mut self, at: usize, found: Option<&Found>, out: &mut BytesMut) {
        let tool = self.runs[at].tool;
        let status = match found {
            None => "incomplete",
            Some(found) if found.failed => "failed",
            Some(_) => "completed",
        };
        // Only MCP has an event for a failure; of the others their items tell.
        if status == "completed" || (status == "failed" && tool == Tool::Mcp) {
            self.step(at, status, out);
        }
        let run = &mut self.runs[at];
        run.done = true;
        let id = run.id(&self.opening.id);
        let item = run.as_item(&id, status, found.unwrap_or(&Found::default()));
        let output = run.output;
        self.item_done(output, item, out);
    }

    /// Ends what never had a result: a turn that was paused, or cut.
    pub(super) fn hosted_end(&mut self, out: &mut BytesMut) {
        for at in 0..self.runs.len() {
            if !self.runs[at].done {
                self.hosted_done(at, None, out);
            }
        }
    }

    /// Gemini's searches, which it tells when they are over (Gemini docs, grounding with Google Search, read 2026-11). False where it tells
    /// none, or none that is new.
    pub(super) fn grounding(&mut self, metadata: &Json, out: &mut BytesMut) -> bool {
        let metadata: Value = metadata.read().unwrap_or_default();
        let queries = &metadata["webSearchQueries"];
        let Some(first) = queries.get(0).and_then(Value::as_str) else {
            return false;
        };
        let input = value!({"query": first, "queries": queries}).to_string();
        // Told again in a later chunk.
        if self.runs.iter().any(|run| run.input == input) {
            return true;
        }
        let output = self.next_output();
        self.runs.push(Run {
            tool: Tool::Search,
            output,
            call: Str::new(),
            name: String::new(),
            label: String::new(),
            input,
            done: false,
        });
        let at = self.runs.len() - 1;
        self.hosted_added(at, out);
        self.hosted_called(at, out);
        let chunks = metadata["groundingChunks"].as_array();
        let url = |chunk: &Value| chunk["web"]["uri"].as_str().map(str::to_owned);
        let found = Found {
            urls: chunks.into_iter().flatten().filter_map(url).collect(),
            ..Found::default()
        };
        self.hosted_done(at, Some(&found), out);
        true
    }

    /// The progress of an item of this dialect that came whole, so that who shows progress sees that it was.
    pub(super) fn progress(&mut self, output: usize, item: &Json, out: &mut BytesMut) {
        let item: Value = item.read().unwrap_or_default();
        let (Some(kind), Some(id)) = (item["type"].as_str(), item["id"].as_str()) else {
            return;
        };
        let failed = item["status"] == "failed" || !item["error"].is_null();
        let end = if failed { "failed" } else { "completed" };
        let steps: &[&str] = match kind {
            "web_search_call" | "file_search_call" => &["in_progress", "searching", end],
            "code_interpreter_call" => &["in_progress", "code", "interpreting", end],
            "mcp_call" => &["in_progress", "arguments", end],
            "mcp_list_tools" => &["in_progress", end],
            "image_generation_call" => &["in_progress", "generating", end],
            _ => return,
        };
        for step in steps {
            match *step {
                "code" | "arguments" => {
                    let of = match kind {
                        "mcp_call" => "mcp_call_arguments",
                        _ => "code_interpreter_call_code",
                    };
                    let said = item[*step].as_str().unwrap_or_default();
                    self.said_whole(of, (id, output), (step, said), out);
                }
                // Only MCP has events for failures.
                "failed" if !kind.starts_with("mcp_") => {}
                step => {
                    let kind = format!("response.{kind}.{step}");
                    self.wire
                        .emit(&kind, out, |out| item_place(id, output, out));
                }
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
