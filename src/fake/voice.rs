//! Writes answers as Chat and Messages say them, whole or event by event; the other dialects have a file each.
//!
//! OpenAI API reference (Chat Completions, streaming) and Anthropic docs (Messages, streaming), read 2026-08. Written by hand and not with our codecs, so
//! that both cannot be wrong together.

use super::answer::{Block, Kind, Said, Stop, signature};
use super::book::Wire;
use super::cache::Split;
use super::json::{quote, quoted};
use super::manner::{Manner, reasoning};
use super::route::{Framing, Platform};
use super::voice_converse::framed;
use super::voice_responses::Standing;

/// One thing that happens in a stream; choice, block and piece by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Open(u32),
    BlockOpen(u32, u32),
    Ping,
    Unknown,
    Piece(u32, u32, u32),
    BlockClose(u32, u32),
    Finish(u32),
    Usage,
    Done,
}

impl Item {
    /// Comes after all content.
    pub(super) fn is_terminal(self) -> bool {
        matches!(self, Self::Finish(_) | Self::Usage | Self::Done)
    }
}

/// How far one telling of an answer is. A stored answer may be told several times at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The number of the next event, where events have numbers.
    pub sequence: u64,
    /// Events up to this number are left out.
    pub after: Option<u64>,
}

/// All that an answer says, and in which words.
#[derive(Debug)]
pub(super) struct Voice {
    pub wire: Wire,
    pub id: String,
    pub model: String,
    pub created: i64,
    pub said: Vec<Said>,
    pub split: Split,
    pub include_usage: bool,
    /// Of a chunk, up to `choices`. Empty for other dialects than Chat.
    pub start: String,
    pub platform: Platform,
    pub framing: Framing,
    pub manner: Manner,
    /// Own machines tell of their cache.
    pub cache_report: bool,
    /// Members of a response that repeat the request.
    pub echo: String,
    pub background: bool,
    pub encrypted: bool,
    pub draws: bool,
    pub perf: bool,
    /// Completions: `text_completion` objects.
    pub text: bool,
}

impl Voice {
    pub(super) fn chunk_start(&mut self) {
        self.start = format!(
            "{{\"id\":{},\"object\":\"{}\",\"created\":{},\"model\":{},{}",
            quoted(&self.id),
            match self.text {
                true => "text_completion",
                false => "chat.completion.chunk",
            },
            self.created,
            quoted(&self.model),
            self.beside_choices()
        );
    }

    /// The events of the stream in order; choices take turns, piece by piece.
    pub(super) fn plan(&self, unknown: bool) -> Vec<Item> {
        let mut items = Vec::new();
        let choices = self.said.len() as u32;
        items.extend((0..choices).map(Item::Open));
        let mut lanes: Vec<_> = self
            .said
            .iter()
            .zip(0..)
            .map(|(said, c)| lane(said, c).into_iter())
            .collect();
        loop {
            let before = items.len();
            items.extend(lanes.iter_mut().filter_map(Iterator::next));
            if items.len() == before {
                break;
            }
        }
        if self.wire == Wire::Messages && self.platform != Platform::Bedrock {
            items.insert(items.len().min(2), Item::Ping);
        }
        if unknown {
            items.insert(items.len().min(2), Item::Unknown);
        }
        items.extend((0..choices).map(Item::Finish));
        if self.wire == Wire::Chat && self.include_usage && self.manner != Manner::Fireworks {
            items.push(Item::Usage);
        }
        items.push(Item::Done);
        items
    }

    pub(super) fn tokens(&self) -> u64 {
        self.said.iter().map(Said::tokens).sum()
    }

    pub(super) fn reasoning(&self) -> u64 {
        let blocks = self.said.iter().flat_map(|s| &s.blocks);
        blocks.filter(|b| b.reasons()).map(Block::tokens).sum()
    }

    /// Whether the final usage is in the event of `item`.
    pub(super) fn tells(&self, item: Item) -> bool {
        match self.wire {
            Wire::Chat if self.manner == Manner::Fireworks => matches!(item, Item::Finish(_)),
            Wire::Chat => item == Item::Usage,
            _ => matches!(item, Item::Finish(_)),
        }
    }

    pub(super) fn block(&self, choice: u32, block: u32) -> &Block {
        &self.said[choice as usize].blocks[block as usize]
    }

    /// Whether the item is a token of reasoning.
    pub(super) fn reasons(&self, item: Item) -> bool {
        matches!(item, Item::Piece(c, b, _) if self.block(c, b).reasons())
    }

    /// Appends the event of `item`, if it has one.
    pub(super) fn item(&self, item: Item, run: &mut Run, out: &mut Vec<u8>) {
        match self.wire {
            Wire::Chat => self.chat_item(item, out),
            Wire::Responses => self.responses_item(item, run, out),
            Wire::Gemini => self.gemini_item(item, run, out),
            Wire::Messages | Wire::Converse if self.framing == Framing::Aws => {
                let mut lines = Vec::new();
                self.lined(item, &mut lines);
                framed(self.wire, &lines, out);
            }
            Wire::Messages | Wire::Converse => self.lined(item, out),
        }
    }

    fn lined(&self, item: Item, out: &mut Vec<u8>) {
        match self.wire {
            Wire::Converse => self.converse_item(item, out),
            _ => self.messages_item(item, out),
        }
    }

    /// Appends an event that says what went wrong after the head.
    pub(super) fn error_event(&self, run: &mut Run, out: &mut Vec<u8>, request_id: &str) {
        match self.wire {
            Wire::Chat => self.chat_error(out),
            Wire::Responses => self.responses_error(run, out),
            Wire::Gemini => self.gemini_error(run, out),
            Wire::Messages | Wire::Converse => {
                let mut lines = Vec::new();
                event(
                    &mut lines,
                    "error",
                    &format!(
                        "\"error\":{{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}},\"request_id\":{}",
                        quoted(request_id)
                    ),
                );
                match self.framing {
                    Framing::Aws => framed(self.wire, &lines, out),
                    _ => out.extend_from_slice(&lines),
                }
            }
        }
    }

    fn chat_item(&self, item: Item, out: &mut Vec<u8>) {
        match item {
            Item::Open(_) | Item::BlockOpen(..) if self.text => {}
            Item::Piece(c, b, p) if self.text => {
                let block = self.block(c, b);
                if matches!(block.kind, Kind::Text | Kind::Refusal) {
                    self.text_chunk(c, block.piece(p as usize), "null", out);
                }
            }
            Item::Finish(c) if self.text => {
                let finish = quoted(finish(&self.said[c as usize].stop));
                self.text_chunk(c, "", &finish, out);
            }
            Item::Open(c) => {
                if c == 0 && self.manner == Manner::OpenRouter {
                    out.extend_from_slice(b": OPENROUTER PROCESSING\n\n");
                }
                self.chunk(
                    out,
                    c,
                    "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}",
                    "null",
                );
            }
            Item::BlockOpen(c, b) => self.chat_call(c, b, out),
            Item::Piece(c, b, p) => self.chat_piece(c, b, p, out),
            Item::Finish(c) => {
                self.chunk(out, c, "{}", &quoted(finish(&self.said[c as usize].stop)))
            }
            Item::Unknown => {
                out.extend_from_slice(b": keep-alive\n\ndata: ");
                out.extend_from_slice(self.start.as_bytes());
                out.extend_from_slice(b"\"choices\":[],\"novelty\":{\"a\":[1]}}\n\n");
            }
            Item::Usage => {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(self.start.as_bytes());
                out.extend_from_slice(b"\"choices\":[],\"usage\":");
                out.extend_from_slice(self.chat_usage().as_bytes());
                out.extend_from_slice(b"}\n\n");
            }
            Item::Done => out.extend_from_slice(b"data: [DONE]\n\n"),
            Item::Ping | Item::BlockClose(..) => {}
        }
    }

    fn chunk(&self, out: &mut Vec<u8>, choice: u32, delta: &str, finish: &str) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(self.start.as_bytes());
        out.extend_from_slice(b"\"choices\":[{\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(choice).as_bytes());
        out.extend_from_slice(b",\"delta\":");
        out.extend_from_slice(delta.as_bytes());
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        out.extend_from_slice(finish.as_bytes());
        if self.manner == Manner::OpenRouter {
            out.extend_from_slice(b",\"native_finish_reason\":");
            out.extend_from_slice(finish.as_bytes());
        }
        out.extend_from_slice(b"}]");
        if self.manner == Manner::Fireworks && finish != "null" {
            let tail = format!(",\"usage\":{}{}", self.chat_usage(), self.perf_metrics());
            out.extend_from_slice(tail.as_bytes());
        } else if self.include_usage && matches!(self.manner, Manner::Plain | Manner::Fireworks) {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// Which of the choice's calls the block is.
    pub(super) fn call_index(&self, choice: u32, block: u32) -> usize {
        let before = &self.said[choice as usize].blocks[..block as usize];
        before
            .iter()
            .filter(|b| matches!(b.kind, Kind::Tool { .. }))
            .count()
    }

    fn chat_call(&self, c: u32, b: u32, out: &mut Vec<u8>) {
        let Kind::Tool { id, name, custom } = &self.block(c, b).kind else {
            return;
        };
        let (kind, input) = if *custom {
            ("custom", "input")
        } else {
            ("function", "arguments")
        };
        let delta = format!(
            "{{\"tool_calls\":[{{\"index\":{},\"id\":{},\"type\":\"{kind}\",\"{kind}\":{{\"name\":{},\"{input}\":{}}}}}]}}",
            self.call_index(c, b),
            quoted(id),
            quoted(name),
            // xAI gives calls whole.
            match self.manner {
                Manner::Xai => quoted(&self.block(c, b).text),
                _ => "\"\"".to_owned(),
            }
        );
        self.chunk(out, c, &delta, "null");
    }

    fn chat_piece(&self, c: u32, b: u32, p: u32, out: &mut Vec<u8>) {
        let block = self.block(c, b);
        let text = quoted(block.piece(p as usize));
        let delta = match &block.kind {
            Kind::Thinking { shown: true } => match reasoning(self.manner, block.piece(p as usize))
            {
                Some(members) => format!("{{{members}}}"),
                None => return,
            },
            Kind::Hidden | Kind::Thinking { .. } => return,
            Kind::Tool { .. } if self.manner == Manner::Xai => return,
            Kind::Text => format!("{{\"content\":{text}}}"),
            Kind::Refusal => format!("{{\"refusal\":{text}}}"),
            Kind::Tool { custom, .. } => {
                let (kind, input) = if *custom {
                    ("custom", "input")
                } else {
                    ("function", "arguments")
                };
                format!(
                    "{{\"tool_calls\":[{{\"index\":{},\"{kind}\":{{\"{input}\":{text}}}}}]}}",
                    self.call_index(c, b)
                )
            }
        };
        self.chunk(out, c, &delta, "null");
    }

    pub(super) fn input(&self) -> u64 {
        let s = &self.split;
        s.uncached + s.read + s.written_5m + s.written_1h
    }

    fn messages_item(&self, item: Item, out: &mut Vec<u8>) {
        match item {
            Item::Open(_) => {
                let message = self.message("", "null", "null", 1, 0);
                event(out, "message_start", &format!("\"message\":{message}"));
            }
            Item::BlockOpen(c, b) => {
                let block = match &self.block(c, b).kind {
                    Kind::Thinking { .. } | Kind::Hidden => {
                        "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}".to_owned()
                    }
                    Kind::Text | Kind::Refusal => "{\"type\":\"text\",\"text\":\"\"}".to_owned(),
                    Kind::Tool { id, name, .. } => format!(
                        "{{\"type\":\"tool_use\",\"id\":{},\"name\":{},\"input\":{{}}}}",
                        quoted(id),
                        quoted(name)
                    ),
                };
                event(
                    out,
                    "content_block_start",
                    &format!("\"index\":{b},\"content_block\":{block}"),
                );
                if matches!(self.block(c, b).kind, Kind::Tool { .. }) {
                    delta(out, b, "input_json_delta", "partial_json", "");
                }
            }
            Item::Piece(c, b, p) => self.messages_piece(c, b, p, out),
            Item::BlockClose(c, b) => {
                if let Kind::Thinking { shown } = self.block(c, b).kind {
                    let text = if shown {
                        self.block(c, b).text.as_str()
                    } else {
                        ""
                    };
                    delta(out, b, "signature_delta", "signature", &signature(text));
                }
                event(out, "content_block_stop", &format!("\"index\":{b}"));
            }
            Item::Ping => {
                event(out, "ping", "");
                if self.platform == Platform::Vertex {
                    // Google puts this in (Vertex docs, read 2026-11).
                    event(
                        out,
                        "vertex_event",
                        &format!(
                            "\"usage\":{{\"input_tokens\":{},\"output_tokens\":1,\"cache_creation_input_tokens\":null,\"cache_read_input_tokens\":null}}",
                            self.split.uncached
                        ),
                    );
                }
            }
            Item::Unknown => event(out, "novelty", "\"a\":[1]"),
            Item::Finish(c) => self.message_delta(c, out),
            Item::Done if self.platform == Platform::Bedrock => {
                event(out, "message_stop", &self.invocation_metrics());
            }
            Item::Done => event(out, "message_stop", ""),
            Item::Usage => {}
        }
    }

    fn messages_piece(&self, c: u32, b: u32, p: u32, out: &mut Vec<u8>) {
        let block = self.block(c, b);
        let piece = block.piece(p as usize);
        match block.kind {
            Kind::Thinking { shown: true } => delta(out, b, "thinking_delta", "thinking", piece),
            Kind::Thinking { shown: false } | Kind::Hidden => {}
            Kind::Text | Kind::Refusal => delta(out, b, "text_delta", "text", piece),
            Kind::Tool { .. } => delta(out, b, "input_json_delta", "partial_json", piece),
        }
    }

    fn message_delta(&self, choice: u32, out: &mut Vec<u8>) {
        let (stop, sequence) = stop(&self.said[choice as usize].stop);
        let s = &self.split;
        event(
            out,
            "message_delta",
            &format!(
                "\"delta\":{{\"stop_reason\":{stop},\"stop_sequence\":{sequence}}},\"usage\":{{\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"output_tokens\":{},\"output_tokens_details\":{{\"thinking_tokens\":{}}}}}",
                s.uncached,
                s.written_5m + s.written_1h,
                s.read,
                self.tokens(),
                self.reasoning()
            ),
        );
    }

    fn message(
        &self,
        content: &str,
        stop: &str,
        sequence: &str,
        output: u64,
        thinking: u64,
    ) -> String {
        let s = &self.split;
        format!(
            "{{\"id\":{},\"type\":\"message\",\"role\":\"assistant\",\"model\":{},\"content\":[{content}],\"stop_reason\":{stop},\"stop_sequence\":{sequence},\"usage\":{{\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"cache_creation\":{{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":{}}},\"output_tokens\":{output},\"output_tokens_details\":{{\"thinking_tokens\":{thinking}}},\"service_tier\":\"standard\"}}}}",
            quoted(&self.id),
            quoted(&self.model),
            s.uncached,
            s.written_5m + s.written_1h,
            s.read,
            s.written_5m,
            s.written_1h
        )
    }

    /// The answer as one body.
    pub(super) fn whole(&self) -> Vec<u8> {
        match self.wire {
            Wire::Chat if self.text => self.text_whole(),
            Wire::Chat => self.chat_whole(),
            Wire::Messages => self.messages_whole(),
            Wire::Responses => self.response(Standing::Done).into_bytes(),
            Wire::Gemini => self.gemini_whole().into_bytes(),
            Wire::Converse => self.converse_whole().into_bytes(),
        }
    }

    fn chat_whole(&self) -> Vec<u8> {
        let choices: Vec<String> = self
            .said
            .iter()
            .enumerate()
            .map(|(at, said)| chat_choice(at, said, self.manner))
            .collect();
        format!(
            "{{\"id\":{},\"object\":\"chat.completion\",\"created\":{},\"model\":{},{}\"choices\":[{}],\"usage\":{}{}}}",
            quoted(&self.id),
            self.created,
            quoted(&self.model),
            self.beside_choices(),
            choices.join(","),
            self.chat_usage(),
            self.perf_metrics()
        )
        .into_bytes()
    }

    fn messages_whole(&self) -> Vec<u8> {
        let said = &self.said[0];
        let content: Vec<String> = said.blocks.iter().map(messages_block).collect();
        let (stop, sequence) = stop(&said.stop);
        self.message(
            &content.join(","),
            &stop,
            &sequence,
            self.tokens(),
            self.reasoning(),
        )
        .into_bytes()
    }
}

/// One choice's items between its opening and its end.
fn lane(said: &Said, choice: u32) -> Vec<Item> {
    let mut items = Vec::new();
    for (block, b) in said.blocks.iter().zip(0..) {
        items.push(Item::BlockOpen(choice, b));
        items.extend((0..block.cuts.len() as u32).map(|p| Item::Piece(choice, b, p)));
        items.push(Item::BlockClose(choice, b));
    }
    items
}

fn chat_choice(index: usize, said: &Said, manner: Manner) -> String {
    let text = |wanted: &Kind| {
        let block = said.blocks.iter().find(|b| b.kind == *wanted);
        block.map_or("null".to_owned(), |b| quoted(&b.text))
    };
    let calls: Vec<String> = said.blocks.iter().filter_map(chat_call).collect();
    let calls = match calls.is_empty() {
        true => String::new(),
        false => format!(",\"tool_calls\":[{}]", calls.join(",")),
    };
    let thought = said
        .blocks
        .iter()
        .find(|b| b.kind == Kind::Thinking { shown: true });
    let thought = thought.and_then(|b| reasoning(manner, &b.text));
    let thought = thought.map_or(String::new(), |members| format!(",{members}"));
    let native = match manner {
        Manner::OpenRouter => ",\"native_finish_reason\":\"stop\"",
        _ => "",
    };
    format!(
        "{{\"index\":{index},\"message\":{{\"role\":\"assistant\",\"content\":{}{thought}{calls},\"refusal\":{},\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"{}\"{native}}}",
        text(&Kind::Text),
        text(&Kind::Refusal),
        finish(&said.stop)
    )
}

fn chat_call(block: &Block) -> Option<String> {
    let Kind::Tool { id, name, custom } = &block.kind else {
        return None;
    };
    let (kind, input) = if *custom {
        ("custom", "input")
    } else {
        ("function", "arguments")
    };
    Some(format!(
        "{{\"id\":{},\"type\":\"{kind}\",\"{kind}\":{{\"name\":{},\"{input}\":{}}}}}",
        quoted(id),
        quoted(name),
        quoted(&block.text)
    ))
}

fn messages_block(block: &Block) -> String {
    match &block.kind {
        Kind::Hidden | Kind::Thinking { .. } => {
            let shown = block.kind == Kind::Thinking { shown: true };
            let text = if shown { block.text.as_str() } else { "" };
            format!(
                "{{\"type\":\"thinking\",\"thinking\":{},\"signature\":{}}}",
                quoted(text),
                quoted(&signature(text))
            )
        }
        Kind::Text | Kind::Refusal => {
            format!("{{\"type\":\"text\",\"text\":{}}}", quoted(&block.text))
        }
        Kind::Tool { id, name, .. } => {
            // Cut off by `max_tokens` it is no JSON any more, and an object must stand here.
            let whole = super::json::Tree::parse(block.text.as_bytes()).is_some();
            let input = if whole { block.text.as_str() } else { "{}" };
            format!(
                "{{\"type\":\"tool_use\",\"id\":{},\"name\":{},\"input\":{input}}}",
                quoted(id),
                quoted(name)
            )
        }
    }
}

pub(super) fn finish(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Refusal => "stop",
        Stop::Length => "length",
        Stop::Tool => "tool_calls",
    }
}

fn stop(stop: &Stop) -> (String, String) {
    let (reason, sequence) = match stop {
        Stop::End => ("end_turn", None),
        Stop::Length => ("max_tokens", None),
        Stop::Sequence(found) => ("stop_sequence", Some(quoted(found))),
        Stop::Tool => ("tool_use", None),
        Stop::Refusal => ("refusal", None),
    };
    (quoted(reason), sequence.unwrap_or("null".to_owned()))
}

/// Appends an event whose JSON begins with its own name and goes on with `members`.
pub(super) fn event(out: &mut Vec<u8>, name: &str, members: &str) {
    for part in ["event: ", name, "\ndata: {\"type\":\"", name, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
    if !members.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(members.as_bytes());
    out.extend_from_slice(b"}\n\n");
}

fn delta(out: &mut Vec<u8>, block: u32, kind: &str, member: &str, text: &str) {
    out.extend_from_slice(
        b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
    );
    out.extend_from_slice(itoa::Buffer::new().format(block).as_bytes());
    for part in [",\"delta\":{\"type\":\"", kind, "\",\"", member, "\":"] {
        out.extend_from_slice(part.as_bytes());
    }
    quote(out, text);
    out.extend_from_slice(b"}}\n\n");
}
