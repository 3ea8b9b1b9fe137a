//! `messages` → the system's blocks and turns.
//!
//! Leading system and developer messages are canon's `system`, later ones turns. Consecutive `tool` messages become one user's turn,
//! since other dialects want all results of a batch together.

use super::node::{Members, Node};
use super::parts;
use super::read::optional;
use crate::base::{Json, Str};
use crate::canon::{
    Block, BlockKind, DialectName, Fault, Request, Role, Source, ToolInput, ToolKind, Turn,
};
use crate::protocol::dialect::chat::char_boundary;
use crate::protocol::json;
use bytes::BytesMut;

pub(super) fn read(node: &Node<'_, '_>, request: &mut Request) -> Result<(), Fault> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.wrong("at least one message"));
    }
    let mut reader = Reader {
        request,
        legacy_calls: Vec::new(),
        in_results: false,
    };
    for (i, raw) in items.iter().enumerate() {
        reader.message(i, &node.item(i, raw))?;
    }
    Ok(())
}

struct Reader<'r> {
    request: &'r mut Request,
    /// Name and made-up id of `function_call`s that no `function` message has answered.
    legacy_calls: Vec<(Str, Str)>,
    /// The last message was a tool's, so that the next result joins its turn.
    in_results: bool,
}

impl Reader<'_> {
    fn message(&mut self, number: usize, node: &Node<'_, '_>) -> Result<(), Fault> {
        let members = node.members()?;
        let role = members.need(node, "role")?;
        let joins = std::mem::take(&mut self.in_results);
        match &*role.string()? {
            "system" | "developer" => self.system(node, &members),
            "user" => self.user(node, &members),
            "assistant" => self.assistant(number, node, &members),
            "tool" => {
                let id = members.need(node, "tool_call_id")?.string()?;
                self.result(id, joins, node, &members)
            }
            "function" => {
                let id = self.legacy_id(&members.need(node, "name")?)?;
                self.result(id, joins, node, &members)
            }
            _ => Err(role.wrong("`developer`, `system`, `user`, `assistant` or `tool`")),
        }
    }

    fn system<'a>(&mut self, node: &Node<'a, '_>, members: &Members<'a>) -> Result<(), Fault> {
        let mut blocks = parts::content(&members.need(node, "content")?)?;
        unknown(node, members, &["role", "content", "name"], &mut blocks);
        let name = optional(members.get(node, "name"))?;
        // A name has no place in canon's system, so a named message stays a turn.
        if self.request.turns.is_empty() && name.is_none() {
            self.request.system.append(&mut blocks);
        } else {
            self.turn(Role::System, blocks, name);
        }
        Ok(())
    }

    fn user<'a>(&mut self, node: &Node<'a, '_>, members: &Members<'a>) -> Result<(), Fault> {
        let mut blocks = parts::content(&members.need(node, "content")?)?;
        unknown(node, members, &["role", "content", "name"], &mut blocks);
        self.turn(Role::User, blocks, optional(members.get(node, "name"))?);
        Ok(())
    }

    fn turn(&mut self, role: Role, blocks: Vec<Block>, name: Option<Str>) {
        self.request.turns.push(Turn { role, blocks, name });
    }

    fn result<'a>(
        &mut self,
        id: Str,
        joins: bool,
        node: &Node<'a, '_>,
        members: &Members<'a>,
    ) -> Result<(), Fault> {
        let mut content = match members.get(node, "content") {
            Some(content) => parts::content(&content)?,
            None => Vec::new(),
        };
        if content == [Block::text("")] {
            content.clear();
        }
        let known = ["role", "content", "name", "tool_call_id"];
        unknown(node, members, &known, &mut content);
        let block = Block::plain(BlockKind::ToolResult {
            id,
            name: optional(members.get(node, "name"))?,
            content,
            is_error: false,
        });
        self.in_results = true;
        match self.request.turns.last_mut().filter(|_| joins) {
            Some(turn) => turn.blocks.push(block),
            None => self.turn(Role::User, vec![block], None),
        }
        Ok(())
    }

    /// The legacy form has no ids: a result belongs to the latest call of its name.
    fn legacy_id(&mut self, name: &Node<'_, '_>) -> Result<Str, Fault> {
        let wanted = name.string()?;
        let found = self.legacy_calls.iter().rposition(|(n, _)| *n == wanted);
        let at =
            found.ok_or_else(|| name.wrong("the name of a function that was called before"))?;
        Ok(self.legacy_calls.remove(at).1)
    }

    fn assistant<'a>(
        &mut self,
        number: usize,
        node: &Node<'a, '_>,
        members: &Members<'a>,
    ) -> Result<(), Fault> {
        let mut blocks = thinking(node, members)?;
        if let Some(content) = members.get(node, "content") {
            let said = parts::content(&content)?;
            // `content: ""` beside tool calls is how several clients say null.
            blocks.extend(said.into_iter().filter(|b| *b != Block::text("")));
        }
        if let Some(refusal) = members.get(node, "refusal") {
            blocks.push(Block::plain(BlockKind::Refusal {
                text: refusal.string()?,
            }));
        }
        if let Some(audio) = members.get(node, "audio") {
            blocks.push(Block::plain(BlockKind::Audio {
                source: Source::File {
                    id: audio.members()?.need(&audio, "id")?.string()?,
                },
                format: None,
            }));
        }
        if let Some(images) = members.get(node, "images") {
            for (i, raw) in images.items()?.iter().enumerate() {
                let image = images.item(i, raw);
                let part = image.members()?.need(&image, "image_url")?;
                blocks.push(Block::plain(parts::image(&part)?));
            }
        }
        if let Some(calls) = members.get(node, "tool_calls") {
            for (i, raw) in calls.items()?.iter().enumerate() {
                blocks.push(call(&calls.item(i, raw))?);
            }
        }
        if let Some(function) = members.get(node, "function_call") {
            let id = Str::from(format!("call_legacy_{number}"));
            let block = function_call(id.clone(), &function)?;
            if let BlockKind::ToolCall { name, .. } = &block.kind {
                self.legacy_calls.push((name.clone(), id));
            }
            blocks.push(block);
        }
        unknown(node, members, ASSISTANT, &mut blocks);
        self.turn(
            Role::Assistant,
            blocks,
            optional(members.get(node, "name"))?,
        );
        Ok(())
    }
}

/// Fields of an assistant's message that are read, or that clients echo from answers and no model is shown: `annotations`, `logprobs`.
const ASSISTANT: &[&str] = &[
    "role",
    "content",
    "name",
    "refusal",
    "audio",
    "images",
    "tool_calls",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "annotations",
    "logprobs",
];

/// A field that we do not know becomes a block without a type, which `turns` writes back as a field.
fn unknown<'a>(node: &Node<'a, '_>, members: &Members<'a>, known: &[&str], to: &mut Vec<Block>) {
    for (name, raw) in &members.0 {
        let value = node.field(&name.0, raw);
        if let Some(value) = value.filter(|_| !known.contains(&&*name.0)) {
            let mut out = BytesMut::from("{");
            json::string(&name.0, &mut out);
            out.extend_from_slice(b":");
            out.extend_from_slice(value.json().get().as_bytes());
            out.extend_from_slice(b"}");
            let text = Str::try_from(out).expect("made of strings");
            if let Ok(json) = Json::parse(text) {
                to.push(Block::plain(BlockKind::Other {
                    dialect: DialectName::Chat,
                    json,
                }));
            }
        }
    }
}

/// Earlier thinking, in the fields that speakers have agreed on: one plain text, and entries with signatures.
fn thinking<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Vec<Block>, Fault> {
    let plain = ["reasoning_content", "reasoning"]
        .into_iter()
        .find_map(|name| members.get(node, name));
    let plain = optional(plain)?.filter(|s| !s.is_empty());
    let mut blocks = Vec::new();
    let mut rest = plain.unwrap_or_default();
    if let Some(details) = members.get(node, "reasoning_details") {
        let items = details.items()?;
        for (i, raw) in items.iter().enumerate() {
            detail(&details.item(i, raw), &mut rest, &mut blocks)?;
        }
    }
    if !rest.is_empty() {
        blocks.push(Block::plain(BlockKind::Thinking { text: rest }));
    }
    Ok(blocks)
}

/// One entry. Without a text of its own it speaks of the next `text_bytes` of the plain text, or of all that is left of it.
fn detail(node: &Node<'_, '_>, rest: &mut Str, blocks: &mut Vec<Block>) -> Result<(), Fault> {
    let members = node.members()?;
    if let Some(data) = members.get(node, "data") {
        let data = data.string()?;
        blocks.push(Block::plain(BlockKind::RedactedThinking { data }));
        return Ok(());
    }
    let own = members.get(node, "text").or(members.get(node, "summary"));
    let text = match own {
        Some(own) => {
            let text = own.string()?;
            // The plain text is the entries' texts, one after the other, perhaps with breaks between.
            let left = rest.trim_start().strip_prefix(&*text).unwrap_or_default();
            *rest = rest.slice_ref(left);
            text
        }
        None => {
            let bytes = members.get(node, "text_bytes");
            let bytes = bytes.map(|b| b.value("a whole number")).transpose()?;
            let end = char_boundary(rest, bytes.unwrap_or(usize::MAX));
            let (head, tail) = rest.split_at(end);
            *rest = tail;
            head
        }
    };
    blocks.push(Block {
        signature: optional(members.get(node, "signature"))?,
        ..Block::plain(BlockKind::Thinking { text })
    });
    Ok(())
}

fn call(node: &Node<'_, '_>) -> Result<Block, Fault> {
    let members = node.members()?;
    let id = members.need(node, "id")?.string()?;
    if let Some(custom) = members.get(node, "custom") {
        let inner = custom.members()?;
        return Ok(Block::plain(BlockKind::ToolCall {
            id,
            name: inner.need(&custom, "name")?.string()?,
            input: ToolInput::Text(inner.need(&custom, "input")?.string()?),
            kind: ToolKind::Custom,
        }));
    }
    let block = function_call(id, &members.need(node, "function")?)?;
    Ok(Block {
        signature: thought_signature(node, &members)?,
        ..block
    })
}

/// Google's place for it in this dialect.
fn thought_signature<'a>(node: &Node<'a, '_>, members: &Members<'a>) -> Result<Option<Str>, Fault> {
    let Some(extra) = members.get(node, "extra_content") else {
        return Ok(None);
    };
    let inner = extra.members()?;
    let Some(google) = inner.get(&extra, "google") else {
        return Ok(None);
    };
    optional(google.members()?.get(&google, "thought_signature"))
}

fn function_call(id: Str, node: &Node<'_, '_>) -> Result<Block, Fault> {
    let members = node.members()?;
    let arguments = match members.get(node, "arguments") {
        // Some clients send the object itself.
        Some(object) if object.is_object() => ToolInput::Json(object.json()),
        Some(text) => arguments(text.string()?),
        None => ToolInput::Json(Json::empty_object()),
    };
    Ok(Block::plain(BlockKind::ToolCall {
        id,
        name: members.need(node, "name")?.string()?,
        input: arguments,
        kind: ToolKind::Function,
    }))
}

/// A model's arguments are meant to be JSON; where they are not, the text is kept as it is.
pub(in crate::protocol::dialect) fn arguments(text: Str) -> ToolInput {
    if text.trim().is_empty() {
        return ToolInput::Json(Json::empty_object());
    }
    match Json::parse(text.clone()) {
        Ok(json) => ToolInput::Json(json),
        Err(_) => ToolInput::Text(text),
    }
}
