//! Where they stand in a request's bytes.
//!
//! Each turn, item and block is searched for a word before it is read, so that a long conversation costs the passing over and little more.

use super::{SIGNATURE, THOUGHT, seal, tell, unpacked};
use crate::canon::{DialectName, Maker, Seal};
use crate::protocol::dialect::splice::Edit;
use crate::protocol::dialect::{Dropped, gemini, packed_ids};
use crate::protocol::json::walk::{Broken, Start, Walk};
use bytes::Bytes;
use memchr::memmem;
use std::borrow::Cow;
use std::ops::Range;

pub(super) struct Find<'b, 'g> {
    text: &'b str,
    dialect: DialectName,
    go: &'g dyn Fn(&Seal) -> bool,
    pub seals: Vec<Seal>,
    pub edits: Vec<Edit>,
    pub told: Dropped,
}

/// What becomes of an entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

impl<'b, 'g> Find<'b, 'g> {
    /// Looks through all of `body`.
    pub fn through(dialect: DialectName, body: &'b Bytes, go: &'g dyn Fn(&Seal) -> bool) -> Self {
        let mut find = Self {
            text: std::str::from_utf8(body).unwrap_or_default(),
            dialect,
            go,
            seals: Vec::new(),
            edits: Vec::new(),
            told: Dropped::new(),
        };
        let conversation = match dialect {
            DialectName::Chat | DialectName::Messages => "messages",
            DialectName::Responses => "input",
            DialectName::Gemini => "contents",
            // Native requests are read whole; the other two have no such thing, or no client.
            DialectName::Native | DialectName::Completions | DialectName::Converse => return find,
        };
        let read = Walk::of(find.text).members(|walk, name| {
            let value = walk.value()?;
            if name.text()? == conversation && find.list(value, &mut Self::turn)? == Fate::Goes {
                // Nothing would be left to ask.
                find.edits.clear();
                find.told.clear();
            }
            Ok::<(), Broken>(())
        });
        debug_assert!(read.is_ok() || body.is_empty(), "peek read this body");
        find
    }

    /// Entries of an array, of which `each` says what becomes of them. `Goes` where none stays; it is then not cut itself.
    fn list(
        &mut self,
        array: &'b str,
        each: &mut dyn FnMut(&mut Self, &'b str) -> Result<Fate, Broken>,
    ) -> Result<Fate, Broken> {
        let mut entries: Vec<(Range<usize>, Fate)> = Vec::new();
        let mut walk = Walk::of(array);
        if walk.start() != Start::Array {
            return Ok(Fate::Stays);
        }
        walk.items(|walk| {
            let value = walk.value()?;
            let mut fate = Fate::Stays;
            if value.starts_with('{') && may_hold(self.dialect, value) {
                let before = self.edits.len();
                fate = each(self, value)?;
                if fate == Fate::Goes {
                    self.edits.truncate(before);
                }
            }
            entries.push((self.range(value), fate));
            Ok::<(), Broken>(())
        })?;
        if entries.iter().all(|(_, fate)| *fate == Fate::Goes) {
            let fate = match entries.is_empty() {
                true => Fate::Stays,
                false => Fate::Goes,
            };
            return Ok(fate);
        }
        self.cut(&entries);
        Ok(Fate::Stays)
    }

    /// Takes entries out, each with one comma.
    fn cut(&mut self, entries: &[(Range<usize>, Fate)]) {
        let mut stays = false;
        for (at, (range, fate)) in entries.iter().enumerate() {
            if *fate == Fate::Stays {
                stays = true;
                continue;
            }
            let gone = match (stays, entries.get(at + 1)) {
                (true, _) => entries[at - 1].0.end..range.end,
                (false, Some((next, _))) => range.start..next.start,
                (false, None) => range.clone(),
            };
            self.edits.push(Edit {
                at: gone,
                with: Bytes::new(),
            });
        }
    }

    fn turn(&mut self, turn: &'b str) -> Result<Fate, Broken> {
        match self.dialect {
            DialectName::Messages => match member(turn, "content")? {
                Some(content) => self.list(content, &mut Self::block),
                None => Ok(Fate::Stays),
            },
            DialectName::Gemini => match member(turn, "parts")? {
                Some(parts) => self.list(parts, &mut Self::part),
                None => Ok(Fate::Stays),
            },
            DialectName::Responses => self.item(turn),
            _ => self.message(turn),
        }
    }

    /// Of Messages (Anthropic docs, extended thinking, read 2026-08).
    fn block(&mut self, block: &'b str) -> Result<Fate, Broken> {
        let kind = member(block, "type")?;
        let words = match kind {
            Some("\"thinking\"") => member(block, "signature")?,
            Some("\"redacted_thinking\"") => member(block, "data")?,
            Some("\"tool_use\"") => return self.packed(member(block, "id")?),
            _ => None,
        };
        Ok(self.thought(words, Some(Maker::Anthropic)))
    }

    /// Of Responses (OpenAI docs, reasoning and compaction, read 2026-09).
    fn item(&mut self, item: &'b str) -> Result<Fate, Broken> {
        match member(item, "type")? {
            Some("\"reasoning\"") => Ok(self.thought(member(item, "encrypted_content")?, None)),
            // All that was said before it: without it there is no conversation.
            Some("\"compaction\"" | "\"compaction_summary\"") => {
                let words = member(item, "encrypted_content")?.and_then(string);
                if let Some(seal) = words.and_then(|w| seal(&w, None)) {
                    self.seals.push(Seal {
                        needed: true,
                        ..seal
                    });
                }
                Ok(Fate::Stays)
            }
            Some("\"function_call\"" | "\"custom_tool_call\"") => {
                self.googles(item)?;
                self.packed(member(item, "call_id")?)
            }
            _ => Ok(Fate::Stays),
        }
    }

    /// Of Chat Completions: OpenRouter's details and Google's signatures of calls.
    fn message(&mut self, message: &'b str) -> Result<Fate, Broken> {
        if let Some(details) = member(message, "reasoning_details")? {
            let all = self.list(details, &mut Self::detail)?;
            if all == Fate::Goes {
                // The array stays, empty: what stands beside it is the message's.
                let range = self.range(details);
                self.edits.push(Edit {
                    at: range,
                    with: Bytes::from_static(b"[]"),
                });
            }
        }
        if let Some(calls) = member(message, "tool_calls")? {
            self.list(calls, &mut |find, call| {
                find.googles(call)?;
                find.packed(member(call, "id")?)
            })?;
        }
        Ok(Fate::Stays)
    }

    /// OpenRouter docs, reasoning tokens, read 2026-08: each entry says whose it is.
    fn detail(&mut self, detail: &'b str) -> Result<Fate, Broken> {
        let words = match member(detail, "signature")? {
            Some(words) if words != "null" => Some(words),
            _ => member(detail, "data")?,
        };
        let format = member(detail, "format")?.unwrap_or_default();
        let maker = [
            ("\"anthropic-", Maker::Anthropic),
            ("\"openai-", Maker::OpenAi),
            ("\"xai-", Maker::Xai),
            ("\"google-", Maker::Google),
        ];
        let maker = maker.iter().find(|(head, _)| format.starts_with(head));
        Ok(self.thought(words, maker.map(|(_, maker)| *maker)))
    }

    /// A call's signature in Google's own place of OpenAI's dialects.
    fn googles(&mut self, call: &'b str) -> Result<(), Broken> {
        let mut value = Some(call);
        for name in ["extra_content", "google", "thought_signature"] {
            value = match value {
                Some(object) if object.starts_with('{') => member(object, name)?,
                _ => None,
            };
        }
        if let Some(value) = value {
            self.unsigned(value);
        }
        Ok(())
    }

    /// Of Gemini (Gemini docs, thought signatures, read 2026-11).
    fn part(&mut self, part: &'b str) -> Result<Fate, Broken> {
        let mut members: Vec<(Range<usize>, Cow<'b, str>, &'b str)> = Vec::new();
        Walk::of(part).members(|walk, name| {
            let value = walk.value()?;
            let name = name.text()?;
            let end = self.range(value).end;
            let start = match &name {
                Cow::Borrowed(name) => self.range(name).start - 1,
                // None of ours is written so.
                Cow::Owned(_) => self.range(value).start,
            };
            members.push((start..end, name, value));
            Ok::<(), Broken>(())
        })?;
        let is = |name: &str| matches!(name, "thoughtSignature" | "thought_signature");
        let Some(at) = members.iter().position(|(_, name, _)| is(name)) else {
            return Ok(Fate::Stays);
        };
        let holds = |wanted: [&str; 2]| {
            let mut members = members.iter();
            members.find(|(_, name, _)| wanted.contains(&&**name))
        };
        if holds(["functionCall", "function_call"]).is_some() {
            self.unsigned(members[at].2);
            return Ok(Fate::Stays);
        }
        let goes = self.goes(members[at].2, Some(Maker::Google));
        if !goes {
            return Ok(Fate::Stays);
        }
        let text = holds(["text", "text"]).map(|(_, _, value)| *value);
        if members.len() == 1 || text == Some("\"\"") {
            // An empty text stands only for its signature.
            tell(&mut self.told, SIGNATURE);
            return Ok(Fate::Goes);
        }
        tell(&mut self.told, SIGNATURE);
        let entries: Vec<(Range<usize>, Fate)> = members
            .iter()
            .enumerate()
            .map(|(n, (range, ..))| {
                let fate = if n == at { Fate::Goes } else { Fate::Stays };
                (range.clone(), fate)
            })
            .collect();
        self.cut(&entries);
        Ok(Fate::Stays)
    }

    /// A signature without which newer models refuse the call: Google's word for one that was lost takes its place.
    fn unsigned(&mut self, value: &'b str) {
        if self.goes(value, Some(Maker::Google)) {
            tell(&mut self.told, SIGNATURE);
            let at = self.range(value);
            self.edits.push(Edit {
                at,
                with: format!("\"{}\"", gemini::NO_SIGNATURE).into(),
            });
        }
    }

    /// A signature that this router packed into an id. It leaves bytes that pass anyway.
    fn packed(&mut self, id: Option<&'b str>) -> Result<Fate, Broken> {
        let packed = id.filter(|id| packed_ids::may_stand(id)).and_then(string);
        if let Some(signature) = packed.and_then(|id| unpacked(&id)) {
            self.seals.extend(seal(&signature, Some(Maker::Google)));
        }
        Ok(Fate::Stays)
    }

    fn thought(&mut self, value: Option<&'b str>, stands: Option<Maker>) -> Fate {
        match value {
            Some(value) if self.goes(value, stands) => {
                tell(&mut self.told, THOUGHT);
                Fate::Goes
            }
            _ => Fate::Stays,
        }
    }

    fn goes(&mut self, value: &'b str, stands: Option<Maker>) -> bool {
        let Some(seal) = string(value).and_then(|words| match gemini::is_no_signature(&words) {
            true => None,
            false => seal(&words, stands),
        }) else {
            return false;
        };
        self.seals.push(seal);
        (self.go)(&seal)
    }

    fn range(&self, value: &str) -> Range<usize> {
        let start = value.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + value.len()
    }
}

/// The value of an object's member.
fn member<'b>(object: &'b str, wanted: &str) -> Result<Option<&'b str>, Broken> {
    let mut found = None;
    Walk::of(object).members(|walk, name| {
        let value = walk.value()?;
        if name.text()? == wanted {
            found = Some(value);
        }
        Ok::<(), Broken>(())
    })?;
    Ok(found)
}

/// What a string says; `None` for what is none.
fn string(value: &str) -> Option<Cow<'_, str>> {
    if !value.starts_with('"') {
        return None;
    }
    Walk::of(value).string().ok()?.text().ok()
}

/// Whether it is worth reading. A word of the model's costs a reading and no more.
fn may_hold(dialect: DialectName, value: &str) -> bool {
    let words: &[&str] = match dialect {
        DialectName::Messages => &["\"signature\"", "\"redacted_thinking\""],
        DialectName::Responses => &["\"encrypted_content\"", "\"thought_signature\""],
        DialectName::Gemini => &["\"thoughtSignature\"", "\"thought_signature\""],
        _ => &[
            "\"signature\"",
            "\"reasoning.encrypted\"",
            "\"thought_signature\"",
        ],
    };
    let has = |word: &&str| memmem::find(value.as_bytes(), word.as_bytes()).is_some();
    words.iter().any(has) || packed_ids::may_stand(value)
}
