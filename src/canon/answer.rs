//! A whole answer: what its events add up to.

use crate::base::Json;
use crate::base::Str;
use crate::canon::{BlockStart, Citation, Delta, DialectName, Event, Fault, StopReason, Usage};

/// An answer as far as it has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub id: Str,
    pub model: Str,
    pub created: Option<i64>,
    /// In order of their index.
    pub blocks: Vec<AnswerBlock>,
    /// By choice.
    pub stops: Vec<(u32, StopReason, Option<Str>)>,
    pub usage: Usage,
    /// What only one dialect says, in order: (dialect, name, choice, value).
    pub others: Vec<(DialectName, Str, u32, Json)>,
    /// The provider's own end mark came.
    pub done: bool,
    pub error: Option<Box<Fault>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AnswerBlock {
    pub choice: u32,
    pub start: BlockStart,
    /// Text, thinking, refusal, tool input, base64 bytes, or a transcript's text: whatever this kind of block is made of.
    pub text: String,
    /// Base64 bytes of audio, whose `text` is the transcript.
    pub base64: String,
    pub signature: Option<String>,
    pub citations: Vec<Citation>,
    pub others: Vec<(DialectName, Json)>,
    pub stopped: bool,
}

/// Adds events up to an answer. Memory is bounded by who feeds it.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    answer: Answer,
}

impl Fold {
    /// Takes the next event. Deltas for a block that never started are ignored: decoders do not make them.
    pub fn event(&mut self, event: &Event) {
        let answer = &mut self.answer;
        match event {
            Event::Started { id, model, created } => {
                answer.id.clone_from(id);
                answer.model.clone_from(model);
                answer.created = *created;
            }
            Event::BlockStart {
                index: _,
                choice,
                block,
            } => answer.blocks.push(AnswerBlock {
                choice: *choice,
                start: block.clone(),
                text: String::new(),
                base64: String::new(),
                signature: None,
                citations: Vec::new(),
                others: Vec::new(),
                stopped: false,
            }),
            Event::BlockDelta { index, delta } => {
                if let Some(block) = answer.blocks.get_mut(*index as usize) {
                    block.delta(delta);
                }
            }
            Event::BlockStop { index } => {
                if let Some(block) = answer.blocks.get_mut(*index as usize) {
                    block.stopped = true;
                }
            }
            Event::Usage(usage) => answer.usage.update(usage),
            Event::Stop {
                choice,
                reason,
                sequence,
            } => {
                answer
                    .stops
                    .push((*choice, reason.clone(), sequence.clone()));
            }
            Event::Done => answer.done = true,
            Event::Error(fault) => answer.error = Some(fault.clone()),
            Event::Other {
                dialect,
                name,
                choice,
                json,
            } => {
                answer
                    .others
                    .push((*dialect, name.clone(), *choice, json.clone()));
            }
        }
    }

    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    #[must_use]
    pub fn into_answer(self) -> Answer {
        self.answer
    }
}

impl AnswerBlock {
    fn delta(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(s)
            | Delta::Thinking(s)
            | Delta::ToolInput(s)
            | Delta::Refusal(s)
            | Delta::Transcript(s) => {
                self.text.push_str(s);
            }
            Delta::Base64(s) => self.base64.push_str(s),
            Delta::Signature(s) => self.signature.get_or_insert_default().push_str(s),
            Delta::Citation(citation) => self.citations.push(citation.clone()),
            Delta::Other { dialect, json } => self.others.push((*dialect, json.clone())),
        }
    }
}

impl Answer {
    /// The answer as events again, each block in one piece: what a dialect that streams says when the provider did not.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Started {
            id: self.id.clone(),
            model: self.model.clone(),
            created: self.created,
        }];
        for (index, block) in self.blocks.iter().enumerate() {
            let index = index as u32;
            events.push(Event::BlockStart {
                index,
                choice: block.choice,
                block: block.start.clone(),
            });
            block.deltas(|delta| events.push(Event::BlockDelta { index, delta }));
            events.push(Event::BlockStop { index });
        }
        for (dialect, name, choice, json) in &self.others {
            events.push(Event::Other {
                dialect: *dialect,
                name: name.clone(),
                choice: *choice,
                json: json.clone(),
            });
        }
        for (choice, reason, sequence) in &self.stops {
            events.push(Event::Stop {
                choice: *choice,
                reason: reason.clone(),
                sequence: sequence.clone(),
            });
        }
        if self.usage != Usage::default() {
            events.push(Event::Usage(Box::new(self.usage.clone())));
        }
        match &self.error {
            Some(fault) => events.push(Event::Error(fault.clone())),
            None if self.done => events.push(Event::Done),
            None => {}
        }
        events
    }
}

impl AnswerBlock {
    fn deltas(&self, mut push: impl FnMut(Delta)) {
        for citation in &self.citations {
            push(Delta::Citation(citation.clone()));
        }
        for (dialect, json) in &self.others {
            push(Delta::Other {
                dialect: *dialect,
                json: json.clone(),
            });
        }
        if !self.base64.is_empty() {
            push(Delta::Base64(Str::from(self.base64.as_str())));
        }
        let mut signature = (self.signature.as_deref()).map(|s| Delta::Signature(Str::from(s)));
        if let BlockStart::ToolCall { .. } = self.start {
            signature.take().into_iter().for_each(&mut push);
        }
        if !self.text.is_empty() {
            let text = Str::from(self.text.as_str());
            push(match self.start {
                BlockStart::Thinking => Delta::Thinking(text),
                BlockStart::ToolCall { .. } => Delta::ToolInput(text),
                BlockStart::Refusal => Delta::Refusal(text),
                BlockStart::Audio { .. } => Delta::Transcript(text),
                _ => Delta::Text(text),
            });
        }
        signature.into_iter().for_each(push);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_again_what_it_was_told() {
        let events = vec![
            Event::Started {
                id: "a".into(),
                model: "m".into(),
                created: Some(1),
            },
            Event::BlockStart {
                index: 0,
                choice: 0,
                block: BlockStart::Thinking,
            },
            Event::BlockDelta {
                index: 0,
                delta: Delta::Thinking("hm".into()),
            },
            Event::BlockDelta {
                index: 0,
                delta: Delta::Signature("s".into()),
            },
            Event::BlockStop { index: 0 },
            Event::Stop {
                choice: 0,
                reason: StopReason::EndTurn,
                sequence: None,
            },
            Event::Done,
        ];
        let mut fold = Fold::default();
        events.iter().for_each(|e| fold.event(e));
        assert_eq!(fold.into_answer().events(), events);
    }
}
