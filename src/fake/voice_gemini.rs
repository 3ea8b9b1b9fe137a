//! Writes answers as `generateContent` says them (Gemini API reference, read 2026-11): every chunk is a whole response with some parts.

use super::answer::{Block, Kind, Said, Stop, signature};
use super::json::quoted;
use super::route::{Framing, Platform};
use super::voice::{Item, Run, Voice};

/// A picture of one grey dot, as PNG.
const DOT: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

impl Voice {
    pub(super) fn gemini_item(&self, item: Item, run: &mut Run, out: &mut Vec<u8>) {
        match item {
            Item::Piece(c, b, p) => {
                if let Some(part) =
                    gemini_part(self.block(c, b), self.block(c, b).piece(p as usize))
                {
                    self.chunk_of(c, &[part], None, run, out);
                }
            }
            // A call comes whole, when all of it is there.
            Item::BlockClose(c, b) => {
                if matches!(self.block(c, b).kind, Kind::Tool { .. }) {
                    self.chunk_of(c, &[self.gemini_call(c, b)], None, run, out);
                }
            }
            Item::Finish(c) => {
                let mut parts = Vec::new();
                if self.draws {
                    parts.push(drawn());
                }
                parts.push(format!(
                    "{{\"text\":\"\"{}}}",
                    self.seal(&self.said[c as usize])
                ));
                self.chunk_of(
                    c,
                    &parts,
                    Some(finish(&self.said[c as usize].stop)),
                    run,
                    out,
                );
            }
            Item::Unknown => self.put(
                &format!("{{\"novelty\":{{\"a\":[1]}},{}}}", self.named()),
                run,
                out,
            ),
            Item::Done if self.framing == Framing::Array => out.extend_from_slice(b"\n]\n"),
            _ => {}
        }
    }

    pub(super) fn gemini_error(&self, run: &mut Run, out: &mut Vec<u8>) {
        let error = "{\"error\":{\"code\":503,\"message\":\"The model is overloaded. Please try again later.\",\"status\":\"UNAVAILABLE\"}}";
        self.put(error, run, out);
        if self.framing == Framing::Array {
            out.extend_from_slice(b"\n]\n");
        }
    }

    fn put(&self, json: &str, run: &mut Run, out: &mut Vec<u8>) {
        let (before, after) = match (self.framing, run.sequence) {
            (Framing::Array, 0) => ("[", ""),
            (Framing::Array, _) => (",\r\n", ""),
            _ => ("data: ", "\r\n\r\n"),
        };
        run.sequence += 1;
        for part in [before, json, after] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    fn chunk_of(
        &self,
        choice: u32,
        parts: &[String],
        stop: Option<&str>,
        run: &mut Run,
        out: &mut Vec<u8>,
    ) {
        let candidate = candidate(choice as usize, parts, stop);
        let json = format!(
            "{{\"candidates\":[{candidate}],\"usageMetadata\":{},{}}}",
            self.gemini_usage(stop.is_some()),
            self.named()
        );
        self.put(&json, run, out);
    }

    fn named(&self) -> String {
        format!(
            "\"modelVersion\":{},\"responseId\":{}",
            quoted(&self.model),
            quoted(&self.id)
        )
    }

    /// The signature of a text answer that was thought about.
    fn seal(&self, said: &Said) -> String {
        let calls = said
            .blocks
            .iter()
            .any(|b| matches!(b.kind, Kind::Tool { .. }));
        match self.reasoning() > 0 && !calls {
            true => format!(",\"thoughtSignature\":{}", quoted(&signature(""))),
            false => String::new(),
        }
    }

    /// Only the first call of a group is signed (Gemini docs on thought signatures, read 2026-11).
    fn gemini_call(&self, c: u32, b: u32) -> String {
        let block = self.block(c, b);
        let Kind::Tool { id, name, .. } = &block.kind else {
            return "{\"text\":\"\"}".to_owned();
        };
        let first = self.call_index(c, b) == 0;
        let sealed = match first {
            true => format!(",\"thoughtSignature\":{}", quoted(&signature(name))),
            false => String::new(),
        };
        let whole = super::json::Tree::parse(block.text.as_bytes()).is_some();
        let args = if whole { block.text.as_str() } else { "{}" };
        format!(
            "{{\"functionCall\":{{\"id\":{},\"name\":{},\"args\":{args}}}{sealed}}}",
            quoted(id),
            quoted(name)
        )
    }

    fn gemini_usage(&self, last: bool) -> String {
        let (prompt, thoughts) = (self.input(), self.reasoning());
        let text = |count: u64| format!("[{{\"modality\":\"TEXT\",\"tokenCount\":{count}}}]");
        let traffic = match self.platform {
            Platform::Vertex => ",\"trafficType\":\"ON_DEMAND\"",
            _ => "",
        };
        if !last {
            return format!(
                "{{\"promptTokenCount\":{prompt},\"totalTokenCount\":{prompt},\"promptTokensDetails\":{}{traffic}}}",
                text(prompt)
            );
        }
        let some = |name: &str, count: u64| match count {
            0 => String::new(),
            count => format!("\"{name}\":{count},"),
        };
        let cached = match self.split.read {
            0 => String::new(),
            read => format!(
                "\"cachedContentTokenCount\":{read},\"cacheTokensDetails\":{},",
                text(read)
            ),
        };
        format!(
            "{{\"promptTokenCount\":{prompt},{cached}\"candidatesTokenCount\":{},{}\"totalTokenCount\":{},\"promptTokensDetails\":{}{traffic}}}",
            self.tokens() - thoughts,
            some("thoughtsTokenCount", thoughts),
            prompt + self.tokens(),
            text(prompt)
        )
    }

    pub(super) fn gemini_whole(&self) -> String {
        let candidates: Vec<String> = self
            .said
            .iter()
            .zip(0..)
            .map(|(said, c)| {
                let blocks = said.blocks.iter().zip(0..);
                let mut parts: Vec<String> = blocks
                    .filter_map(|(block, b)| match block.kind {
                        Kind::Tool { .. } => Some(self.gemini_call(c, b)),
                        _ => gemini_part(block, &block.text),
                    })
                    .collect();
                if self.draws {
                    parts.push(drawn());
                }
                let sealed = self.seal(said);
                if let Some(last) = parts.last_mut().filter(|_| !sealed.is_empty()) {
                    last.truncate(last.len() - 1);
                    last.push_str(&format!("{sealed}}}"));
                }
                candidate(c as usize, &parts, Some(finish(&said.stop)))
            })
            .collect();
        format!(
            "{{\"candidates\":[{}],\"usageMetadata\":{},{}}}",
            candidates.join(","),
            self.gemini_usage(true),
            self.named()
        )
    }
}

fn drawn() -> String {
    format!("{{\"inlineData\":{{\"mimeType\":\"image/png\",\"data\":\"{DOT}\"}}}}")
}

fn gemini_part(block: &Block, text: &str) -> Option<String> {
    match block.kind {
        Kind::Thinking { shown: true } => {
            Some(format!("{{\"text\":{},\"thought\":true}}", quoted(text)))
        }
        Kind::Text | Kind::Refusal => Some(format!("{{\"text\":{}}}", quoted(text))),
        Kind::Hidden | Kind::Thinking { shown: false } | Kind::Tool { .. } => None,
    }
}

fn candidate(index: usize, parts: &[String], stop: Option<&str>) -> String {
    let stop = stop.map(|s| format!("\"finishReason\":\"{s}\","));
    format!(
        "{{\"content\":{{\"parts\":[{}],\"role\":\"model\"}},{}\"index\":{index}}}",
        parts.join(","),
        stop.unwrap_or_default()
    )
}

fn finish(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Tool => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
    }
}
