//! The members of a body, and its messages.

use super::block::mark;
use super::{Elements, Stage};
use crate::canon::{DialectName, ElementKind};
use crate::protocol::json::skim::Skim;
use std::ops::Range;

/// What a member of a body holds.
enum Holds {
    Tools,
    /// An object with tools and what is said of them (Converse).
    ToolConfig,
    /// An object of which a few members change how the prompt is read (Gemini).
    Generation,
    Schema,
    System,
    Turns,
    /// A parameter that stands before the given stage.
    Param(Stage),
    /// A mark for the last block.
    Automatic,
    /// Nothing that a model reads.
    Nothing,
}

pub(super) fn read(out: &mut Elements, dialect: DialectName, body: &[u8]) -> Option<()> {
    let mut skim = Skim::of(body);
    if dialect == DialectName::Native {
        // Nobody who caches prompts speaks it.
        skim.tighten()?;
        let at = skim.value()?;
        out.tight(&skim, Stage::Turns, ElementKind::Other, at);
        return Some(());
    }
    let mut reading = Reading { out, dialect };
    skim.members(|skim, name| {
        let holds = holds(dialect, &body[name.clone()]);
        reading.member(skim, name, holds)
    })
}

/// Messages: Anthropic docs, prompt caching, "what invalidates the cache", read 2026-08; where it is silent, a parameter changes all. Chat and
/// Responses: OpenAI docs, prompt caching, read 2026-08 (messages, images, tools and the schema count; sampling does not).
fn holds(dialect: DialectName, name: &[u8]) -> Holds {
    use DialectName::{Chat, Completions, Converse, Gemini, Messages, Native, Responses};
    match (dialect, name) {
        (_, b"tools") => Holds::Tools,
        (Messages, b"system") | (Converse, b"system") | (Responses, b"instructions") => {
            Holds::System
        }
        (Gemini, b"systemInstruction" | b"system_instruction") => Holds::System,
        (Messages | Chat | Converse, b"messages") => Holds::Turns,
        (Gemini, b"contents") | (Responses, b"input") | (Completions, b"prompt") => Holds::Turns,
        (Messages, b"cache_control") => Holds::Automatic,
        (Messages, b"thinking" | b"tool_choice") => Holds::Param(Stage::Turning),
        (
            Messages,
            b"output_config"
            | b"output_format"
            | b"speed"
            | b"mcp_servers"
            | b"container"
            | b"context_management"
            | b"anthropic_beta",
        ) => Holds::Param(Stage::Whole),
        (Chat, b"response_format") | (Responses, b"text") => Holds::Schema,
        (Chat, b"functions") => Holds::Tools,
        (
            Chat | Responses,
            b"reasoning_effort"
            | b"reasoning"
            | b"verbosity"
            | b"prompt_cache_key"
            | b"previous_response_id"
            | b"conversation"
            | b"prompt"
            | b"chat_template_kwargs"
            | b"thinking"
            | b"modalities"
            | b"cache_salt",
        ) => Holds::Param(Stage::Whole),
        (Completions, b"suffix" | b"cache_salt") => Holds::Param(Stage::Whole),
        (Gemini, b"cachedContent" | b"cached_content") => Holds::Param(Stage::Whole),
        (Gemini, b"toolConfig" | b"tool_config") => Holds::Param(Stage::Turning),
        (Gemini, b"generationConfig" | b"generation_config") => Holds::Generation,
        (Converse, b"toolConfig") => Holds::ToolConfig,
        (Converse, b"additionalModelRequestFields" | b"promptVariables" | b"performanceConfig") => {
            Holds::Param(Stage::Whole)
        }
        (Native | Messages | Chat | Responses | Gemini | Completions | Converse, _) => {
            Holds::Nothing
        }
    }
}

struct Reading<'e> {
    out: &'e mut Elements,
    dialect: DialectName,
}

impl Reading<'_> {
    fn member(&mut self, skim: &mut Skim<'_>, name: Range<usize>, holds: Holds) -> Option<()> {
        if skim.next()? == b'n' {
            // Null is as good as not there.
            return skim.value().map(drop);
        }
        match holds {
            Holds::Tools => self.each(skim, Stage::Tools, Some(ElementKind::Tool)),
            Holds::ToolConfig => self.tool_config(skim),
            Holds::Generation => self.generation(skim),
            Holds::Schema => self.param(skim, name, Stage::Schema, ElementKind::Schema),
            Holds::System => self.content(skim, Stage::System, Some(ElementKind::System)),
            Holds::Turns => self.turns(skim),
            Holds::Param(stage) => self.param(skim, name, stage, ElementKind::Param),
            Holds::Automatic => {
                self.out.automatic = mark(skim.bytes(), skim)?;
                Some(())
            }
            Holds::Nothing => skim.value().map(drop),
        }
    }

    fn param(
        &mut self,
        skim: &mut Skim<'_>,
        name: Range<usize>,
        stage: Stage,
        kind: ElementKind,
    ) -> Option<()> {
        let value = skim.value()?;
        let bytes = skim.bytes();
        self.out.param(stage, kind, &bytes[name], &bytes[value]);
        Some(())
    }

    /// The blocks of an array; or the one value that stands for an array of one.
    fn each(&mut self, skim: &mut Skim<'_>, stage: Stage, kind: Option<ElementKind>) -> Option<()> {
        self.out.alone = skim.next()? != b'[';
        if !self.out.alone {
            return skim.items(|skim| self.out.block(skim, stage, kind));
        }
        let passed = self.out.block(skim, stage, kind);
        self.out.alone = false;
        passed
    }

    /// What a message or an instruction says: a text, blocks, or Gemini's object of parts.
    fn content(
        &mut self,
        skim: &mut Skim<'_>,
        stage: Stage,
        kind: Option<ElementKind>,
    ) -> Option<()> {
        if self.dialect != DialectName::Gemini || skim.next()? != b'{' {
            return self.each(skim, stage, kind);
        }
        let bytes = skim.bytes();
        skim.members(|skim, name| match &bytes[name] {
            b"parts" => self.each(skim, stage, kind),
            // An instruction's role says nothing.
            _ => skim.value().map(drop),
        })
    }

    fn tool_config(&mut self, skim: &mut Skim<'_>) -> Option<()> {
        let bytes = skim.bytes();
        skim.members(|skim, name| match &bytes[name.clone()] {
            b"tools" => self.each(skim, Stage::Tools, Some(ElementKind::Tool)),
            _ => self.param(skim, name, Stage::Turning, ElementKind::Param),
        })
    }

    fn generation(&mut self, skim: &mut Skim<'_>) -> Option<()> {
        if skim.next()? != b'{' {
            return skim.value().map(drop);
        }
        let bytes = skim.bytes();
        skim.members(|skim, name| {
            let said = &bytes[name.clone()];
            let reads = [&b"Schema"[..], b"_schema", b"MimeType", b"mime_type"];
            if reads.iter().any(|end| said.ends_with(end)) {
                return self.param(skim, name, Stage::Schema, ElementKind::Schema);
            }
            let level = [&b"thinking"[..], b"mediaRes", b"media_res"];
            if level.iter().any(|start| said.starts_with(start)) {
                return self.param(skim, name, Stage::Whole, ElementKind::Param);
            }
            skim.value().map(drop)
        })
    }

    fn turns(&mut self, skim: &mut Skim<'_>) -> Option<()> {
        match skim.next()? {
            b'[' => skim.items(|skim| self.turn(skim)),
            b'{' => self.turn(skim),
            _ => {
                self.turn_of(b"\"user\"");
                self.out.block(skim, Stage::Turns, None)
            }
        }
    }

    fn turn(&mut self, skim: &mut Skim<'_>) -> Option<()> {
        if skim.tighten()? != b'{' {
            return self.out.block(skim, Stage::Turns, None);
        }
        let Some(role) = role_of(skim.clone()) else {
            // Gemini's user need not say so. Items of Responses that nobody speaks are blocks.
            if self.dialect == DialectName::Gemini {
                self.turn_of(b"\"user\"");
                return self.message(skim, None);
            }
            return self.out.block(skim, Stage::Turns, None);
        };
        let role = &skim.bytes()[role];
        let kind = match role {
            b"\"system\"" | b"\"developer\"" => Some(ElementKind::System),
            b"\"tool\"" | b"\"function\"" => Some(ElementKind::ToolResult),
            _ => None,
        };
        if kind == Some(ElementKind::System) {
            // Within the conversation, and so not a turn of it.
            self.out
                .param(Stage::Turns, ElementKind::Param, b"role", role);
        } else {
            self.turn_of(role);
        }
        self.message(skim, kind)
    }

    fn turn_of(&mut self, role: &[u8]) {
        let from = self.out.copied.len();
        self.out.copied.extend_from_slice(role);
        self.out
            .push_copied(Stage::Turns, ElementKind::Turn, from, None);
    }

    /// All of a message but its role.
    fn message(&mut self, skim: &mut Skim<'_>, kind: Option<ElementKind>) -> Option<()> {
        let (bytes, mut has_content) = (skim.bytes(), false);
        skim.members(|skim, name| {
            let (said, next) = (&bytes[name.clone()], skim.next()?);
            match said {
                b"role" => skim.value().map(drop),
                // Of Responses, which need not say it.
                b"type" if self.dialect == DialectName::Responses => skim.value().map(drop),
                b"cache_control" => {
                    let mark = mark(bytes, skim)?;
                    self.out.mark_last(Stage::Turns, mark);
                    Some(())
                }
                _ if next == b'n' => skim.value().map(drop),
                b"content" | b"parts" => {
                    has_content = true;
                    self.each(skim, Stage::Turns, kind)
                }
                // What it is a message of comes before it; what comes behind must still count.
                _ if next == b'"' && !has_content && kind_of(said).is_none() => {
                    self.param(skim, name, Stage::Turns, ElementKind::Param)
                }
                _ => self.aside(skim, name),
            }
        })
    }

    /// A member of a message beside its content: calls, reasoning.
    fn aside(&mut self, skim: &mut Skim<'_>, name: Range<usize>) -> Option<()> {
        let kind = kind_of(&skim.bytes()[name.clone()]).unwrap_or(ElementKind::Other);
        self.param(skim, name, Stage::Turns, kind)
    }
}

fn kind_of(name: &[u8]) -> Option<ElementKind> {
    match name {
        b"tool_calls" | b"function_call" => Some(ElementKind::ToolCall),
        b"reasoning" | b"reasoning_content" | b"reasoning_details" => Some(ElementKind::Thinking),
        b"refusal" => Some(ElementKind::Text),
        b"audio" | b"images" => Some(ElementKind::Media),
        _ => None,
    }
}

/// Where the role of a message stands, which nearly always comes first; else what comes before it is passed twice.
fn role_of(mut skim: Skim<'_>) -> Option<Range<usize>> {
    let (bytes, mut found) = (skim.bytes(), None);
    // Ends at the role: `None` stops the walk.
    let _ = skim.members(|skim, name| {
        let value = skim.value()?;
        if &bytes[name] == b"role" {
            found = Some(value);
            return None;
        }
        Some(())
    });
    found
}
