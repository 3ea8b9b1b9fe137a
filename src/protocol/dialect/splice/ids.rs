//! The ids of calls in bytes that pass, made short where this router packed a signature into them (`packed_ids`).
//!
//! Looks only where calls and their results stand: members of turns and items, of their content, and of a message's calls. What a tool is
//! called with and what the text says stays, whatever it looks like.

use super::request::Edit;
use crate::protocol::dialect::packed_ids;
use crate::protocol::json::walk::{Broken, Start, Walk};
use bytes::Bytes;
use std::ops::Range;

/// What changes in `body`, and whether a signature is lost by it: in the dialects of OpenAI one may stand beside the id as well, and passes.
/// Costs one pass. Nothing for a body that is no JSON, which was refused before.
pub(super) fn shortened(body: &Bytes) -> (Vec<Edit>, bool) {
    let Ok(text) = std::str::from_utf8(body) else {
        return (Vec::new(), false);
    };
    let mut ids = Ids {
        text,
        edits: Vec::new(),
        lost: false,
    };
    let read = Walk::of(text).members(|walk, name| match &*name.text()? {
        "messages" | "input" => ids.list(walk),
        _ => walk.value().map(drop),
    });
    debug_assert!(read.is_ok(), "peek read this body");
    (ids.edits, ids.lost)
}

struct Ids<'b> {
    text: &'b str,
    edits: Vec<Edit>,
    lost: bool,
}

impl<'b> Ids<'b> {
    /// Turns, items, blocks or calls; what is none passes.
    fn list(&mut self, walk: &mut Walk<'b>) -> Result<(), Broken> {
        match walk.start() {
            Start::Array => walk.items(|walk| match walk.start() {
                Start::Object => self.entry(walk),
                _ => walk.value().map(drop),
            }),
            _ => walk.value().map(drop),
        }
    }

    fn entry(&mut self, walk: &mut Walk<'b>) -> Result<(), Broken> {
        let (mut unpacked, mut call, mut signed) = (false, false, false);
        walk.members(|walk, name| {
            match &*name.text()? {
                "content" | "tool_calls" => return self.list(walk),
                "id" | "tool_use_id" | "tool_call_id" | "call_id" => {
                    unpacked |= self.id(walk.value()?);
                    return Ok(());
                }
                // What only a call has, in one dialect or another.
                "input" | "arguments" | "function" | "custom" => call = true,
                "extra_content" => signed = true,
                _ => {}
            }
            walk.value().map(drop)
        })?;
        self.lost |= unpacked && call && !signed;
        Ok(())
    }

    /// True for a packed id, which becomes the short one.
    fn id(&mut self, value: &'b str) -> bool {
        if !packed_ids::may_stand(value) {
            return false;
        }
        let Ok(id) = serde_json::from_str::<String>(value) else {
            return false;
        };
        let Some((short, _)) = packed_ids::unpack(&id) else {
            return false;
        };
        let with = serde_json::to_string(short).expect("a string always serialises");
        self.edits.push(Edit {
            at: self.range(value),
            with: with.into(),
        });
        true
    }

    fn range(&self, value: &str) -> Range<usize> {
        let start = value.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Answer, AnswerBlock, BlockStart, DialectName, ToolKind};
    use crate::protocol::dialect::splice::{own_words, peek, splice_request};
    use crate::protocol::dialect::{Closing, Opening, Rules, write_answer};
    use serde_json::{Value, json};

    /// `call_1` as a client of `dialect` is told it, with a signature of `length` bytes.
    fn packed(dialect: DialectName, length: usize) -> String {
        let block = AnswerBlock {
            choice: 0,
            start: BlockStart::ToolCall {
                id: "call_1".into(),
                name: "f".into(),
                kind: ToolKind::Function,
            },
            text: "{}".to_owned(),
            base64: String::new(),
            signature: Some("s".repeat(length)),
            citations: Vec::new(),
            others: Vec::new(),
            stopped: true,
        };
        let answer = Answer {
            blocks: vec![block],
            done: true,
            ..Answer::default()
        };
        let body = write_answer(dialect, &answer, &Opening::default(), &Closing::default());
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        let id = match dialect {
            DialectName::Chat => &told["choices"][0]["message"]["tool_calls"][0]["id"],
            DialectName::Responses => &told["output"][0]["call_id"],
            _ => &told["content"][0]["id"],
        };
        let id = id.as_str().expect("an id").to_owned();
        assert!(id.len() > length && id.starts_with("call_1_"), "{id}");
        id
    }

    /// The same conversation with `id` for its call, which its tool and its user have words like.
    fn asked(dialect: DialectName, id: &str, quoted: &str) -> String {
        let input = json!({"id": quoted, "tool_use_id": quoted, "call_id": quoted});
        let body = match dialect {
            DialectName::Chat => json!({"model": "m", "messages": [
                {"role": "user", "content": [{"type": "text", "text": quoted}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": id, "type": "function", "function": {"name": "f", "arguments": input.to_string()}},
                    {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": id, "content": quoted}]}),
            DialectName::Responses => json!({"model": "m", "input": [
                {"role": "user", "content": quoted},
                {"type": "function_call", "id": "fc_1", "call_id": id, "name": "f", "arguments": input.to_string()},
                {"type": "function_call_output", "call_id": id, "output": quoted}]}),
            _ => json!({"model": "m", "max_tokens": 9, "messages": [
                {"role": "user", "content": quoted},
                {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": input}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": quoted}]}]}]}),
        };
        body.to_string()
    }

    const DIALECTS: [DialectName; 3] = [
        DialectName::Chat,
        DialectName::Messages,
        DialectName::Responses,
    ];

    fn passed(dialect: DialectName, body: &str) -> (String, Vec<String>, usize) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let peek = peek(dialect, &body).expect("right");
        let rules = Rules::default();
        let (slices, told) =
            own_words(dialect, &body, &peek, "m", &rules, None).expect("it passes");
        let spliced = splice_request(dialect, &body, &peek, "m").expect("it passes");
        assert_eq!(slices.concat(), spliced.concat());
        let text = String::from_utf8(slices.concat()).expect("UTF-8");
        (text, told, slices.len())
    }

    #[test]
    fn a_provider_of_the_clients_dialect_sees_the_short_id_and_every_other_byte() {
        for dialect in DIALECTS {
            for length in [1, 5_000] {
                let long = packed(dialect, length);
                let (text, told, _) = passed(dialect, &asked(dialect, &long, &long));
                assert_eq!(text, asked(dialect, "call_1", &long), "{dialect:?}");
                assert_eq!(told, ["signature"], "{dialect:?}");
            }
        }
    }

    #[test]
    fn ids_that_are_not_packed_pass_though_they_look_alike() {
        for dialect in DIALECTS {
            let long = packed(dialect, 30);
            for id in ["call_1", "a_stokehold_sig_b", &long[..long.len() - 1]] {
                let body = asked(dialect, id, &long);
                let (text, told, slices) = passed(dialect, &body);
                assert_eq!((text, told, slices), (body, Vec::new(), 1), "{dialect:?}");
            }
        }
    }

    /// A speaker of Chat Completions that is Google's reads the signature in its own place.
    #[test]
    fn a_signature_that_passes_beside_the_id_is_not_told_as_lost() {
        let long = packed(DialectName::Chat, 30);
        let mut body: Value =
            serde_json::from_str(&asked(DialectName::Chat, &long, "x")).expect("JSON");
        body["messages"][1]["tool_calls"][0]["extra_content"] =
            json!({"google": {"thought_signature": "s"}});
        let (text, told, _) = passed(DialectName::Chat, &body.to_string());
        assert!(!text.contains("stokehold") && text.contains("thought_signature"));
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn a_long_conversation_is_sent_in_few_pieces() {
        let id = packed(DialectName::Messages, 10);
        let turn = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id}]});
        let body = json!({"model": "m", "max_tokens": 1, "messages": vec![turn; 100]}).to_string();
        let (text, _, slices) = passed(DialectName::Messages, &body);
        assert_eq!(text, body.replace(&id, "call_1"));
        assert_eq!(slices, 1);
    }
}
