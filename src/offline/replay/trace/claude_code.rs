//! Coding-agent sessions, one a line, captured by a proxy and without text.
//!
//! Ids are local to a session. Where sessions begin with the same model and equally many tokens of tools and system text, those first
//! blocks are given one common name, since in truth they are the same text (ROUTING 4.1). A sub-agent is a stream of its own that begins
//! within the session. A prompt's ids count whole blocks; the rest, under 64 tokens, is in `prompt_tokens` only.

use super::{
    BlockId, Lines, Prompt, Request, Run, Session, Stop, Stream, Trace, TraceError, seconds,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Deserialize)]
struct Line {
    id: String,
    block_size: u32,
    tool_tokens: u32,
    system_tokens: u32,
    requests: Vec<Entry>,
}

/// A request, or a sub-agent with requests of its own.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Entry {
    /// `s` streams and `n` does not; a replay cares for neither.
    #[serde(rename = "s", alias = "n")]
    Request(Asked),
    #[serde(rename = "subagent")]
    SubAgent(SubAgent),
}

#[derive(Deserialize)]
struct Asked {
    t: f64,
    model: String,
    #[serde(rename = "in")]
    input: u32,
    #[serde(rename = "out")]
    output: u32,
    #[serde(default)]
    input_types: Vec<String>,
    #[serde(default)]
    output_types: Vec<String>,
    #[serde(default)]
    stop: String,
    keep: u32,
    add: Vec<(u32, u32)>,
}

#[derive(Deserialize)]
struct SubAgent {
    t: f64,
    #[serde(default)]
    tool_tokens: u32,
    #[serde(default)]
    system_tokens: u32,
    requests: Vec<Entry>,
}

/// Reads `first` and the lines after it.
pub fn read(first: String, mut lines: Lines) -> Result<Trace, TraceError> {
    let mut reader = Reader::default();
    let mut next = Some(first);
    while let Some(text) = next {
        let line: Line = serde_json::from_str(&text).map_err(|e| lines.wrong(e.to_string()))?;
        reader.session(&line).map_err(|what| lines.wrong(what))?;
        next = lines.next()?;
    }
    Ok(reader.trace)
}

#[derive(Default)]
struct Reader {
    trace: Trace,
    models: BTreeMap<String, u16>,
    /// Names of shared heads and of what is a session's own; each is the upper half of its block ids.
    names: BTreeMap<Name, u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Head(Head),
    /// By session and model: a cache entry of one model is nothing to another.
    Own(u32, u16),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    model: u16,
    tool_tokens: u32,
    system_tokens: u32,
}

/// What a stream has said so far: ids as in the file.
struct Told {
    session: u32,
    tool_tokens: u32,
    system_tokens: u32,
    at: Duration,
    /// The prompt before, and the first, which has the head that the token counts are of.
    last: Prompt,
    first: Option<Prompt>,
    /// Blocks and elements of the earlier prompts that the present one continues, shortest first.
    continued: Vec<(u32, u32)>,
    /// Elements of the answer before, which the next prompt repeats.
    answered: u32,
}

impl Reader {
    fn session(&mut self, line: &Line) -> Result<(), String> {
        let size = line.block_size;
        if size == 0 || (self.trace.block_tokens != 0 && self.trace.block_tokens != size) {
            return Err(format!("block_size {size} differs from the lines before"));
        }
        self.trace.block_tokens = size;
        let session = self.trace.sessions.len() as u32;
        let streams = self.trace.streams.len() as u32;
        let told = Told::new(session, line.tool_tokens, line.system_tokens);
        let begins = Duration::ZERO;
        self.stream(told, begins, &line.requests)?;
        self.sub_agents(session, begins, &line.requests)?;
        self.trace.sessions.push(Session {
            key: super::key(&line.id),
            kin: kin(&line.requests),
            starts: None,
            streams: streams..self.trace.streams.len() as u32,
        });
        Ok(())
    }

    /// The sub-agents among `entries`, and theirs.
    fn sub_agents(
        &mut self,
        session: u32,
        from: Duration,
        entries: &[Entry],
    ) -> Result<(), String> {
        for entry in entries {
            let Entry::SubAgent(agent) = entry else {
                continue;
            };
            let begins = from + time(agent.t)?;
            let told = Told::new(session, agent.tool_tokens, agent.system_tokens);
            self.stream(told, begins, &agent.requests)?;
            self.sub_agents(session, begins, &agent.requests)?;
        }
        Ok(())
    }

    fn stream(
        &mut self,
        mut told: Told,
        begins: Duration,
        entries: &[Entry],
    ) -> Result<(), String> {
        let requests = self.trace.requests.len() as u32;
        for entry in entries {
            if let Entry::Request(asked) = entry {
                let request = self.request(&mut told, asked)?;
                self.trace.requests.push(request);
            }
        }
        let end = self.trace.requests.len() as u32;
        if end > requests {
            self.trace.streams.push(Stream {
                session: told.session,
                begins,
                requests: requests..end,
            });
        }
        Ok(())
    }

    fn request(&mut self, told: &mut Told, asked: &Asked) -> Result<Request, String> {
        let local = told.prompt(asked)?;
        let size = self.trace.block_tokens;
        let blocks = local.blocks();
        if u64::from(blocks) * u64::from(size) > u64::from(asked.input) {
            return Err(format!(
                "{blocks} blocks of {size} are more than the {} tokens of `in`",
                asked.input
            ));
        }
        let at = time(asked.t)?;
        let gap = at.saturating_sub(told.at);
        told.at = told.at.max(at);
        let model = self.model(&asked.model)?;
        let head_blocks = told.head(&local, size);
        let prompt = self.named(told, model, head_blocks, &local);
        let position = told.position(asked, blocks);
        told.last = local;
        Ok(Request {
            gap,
            model,
            stop: stop(&asked.stop),
            prompt,
            prompt_tokens: asked.input,
            output_tokens: asked.output,
            head_blocks,
            is_after_tool: asked.input_types.iter().any(|kind| kind == "tool_result"),
            position,
        })
    }

    /// `local` with its head under the common name, and the rest under the session's.
    fn named(&mut self, told: &Told, model: u16, head_blocks: u32, local: &Prompt) -> Prompt {
        let head = self.name(Name::Head(Head {
            model,
            tool_tokens: told.tool_tokens,
            system_tokens: told.system_tokens,
        }));
        let own = self.name(Name::Own(told.session, model));
        let shared = Run {
            first: BlockId(u64::from(head) << 32),
            blocks: head_blocks,
        };
        let rest = local.trailing(head_blocks).map(|run| Run {
            first: BlockId(u64::from(own) << 32 | run.first.0),
            ..run
        });
        Prompt::of(std::iter::once(shared).chain(rest))
    }

    fn name(&mut self, name: Name) -> u32 {
        let next = self.names.len() as u32;
        *self.names.entry(name).or_insert(next)
    }

    fn model(&mut self, name: &str) -> Result<u16, String> {
        if let Some(known) = self.models.get(name) {
            return Ok(*known);
        }
        let new = u16::try_from(self.models.len()).map_err(|_| "over 65,536 models".to_owned())?;
        self.models.insert(name.to_owned(), new);
        self.trace.models.push(name.into());
        Ok(new)
    }
}

impl Told {
    fn new(session: u32, tool_tokens: u32, system_tokens: u32) -> Self {
        Self {
            session,
            tool_tokens,
            system_tokens,
            at: Duration::ZERO,
            last: Prompt::default(),
            first: None,
            continued: Vec::new(),
            answered: 0,
        }
    }

    /// The prompt of `asked` in the ids of the file.
    fn prompt(&mut self, asked: &Asked) -> Result<Prompt, String> {
        let had = self.last.blocks();
        if asked.keep > had {
            return Err(format!(
                "keep {} of the {had} blocks of the request before",
                asked.keep
            ));
        }
        let mut added = Vec::with_capacity(asked.add.len());
        for (start, count) in &asked.add {
            if start.checked_add(*count).is_none() {
                return Err(format!("ids from {start}, {count} of them, are too large"));
            }
            added.push(Run {
                first: BlockId(u64::from(*start)),
                blocks: *count,
            });
        }
        let prompt = self.last.extended(asked.keep, added);
        self.continued.retain(|(blocks, _)| *blocks <= asked.keep);
        if self.first.is_none() {
            self.first = Some(prompt.clone());
        }
        Ok(prompt)
    }

    /// Blocks of tools and system text, if `prompt` still begins with them.
    fn head(&self, prompt: &Prompt, block_tokens: u32) -> u32 {
        let told =
            (u64::from(self.tool_tokens) + u64::from(self.system_tokens)) / u64::from(block_tokens);
        let shared = self.first.as_ref().map_or(0, |first| first.shared(prompt));
        // A token count can exceed the first prompt itself; then nothing is known of the head.
        if told <= u64::from(shared) {
            told as u32
        } else {
            0
        }
    }

    /// The file names kinds of content and not how many of each, so this is a lower bound: a look-back reaches farther than in truth.
    /// Elements up to the end of a prompt of `blocks`: those of the earlier prompt it continues, the answer to it, and its own.
    fn position(&mut self, asked: &Asked, blocks: u32) -> u32 {
        let before = match self.continued.last() {
            Some((_, position)) => position + self.answered,
            None => 0,
        };
        let position = before + (asked.input_types.len() as u32).max(1);
        self.continued.push((blocks, position));
        self.answered = asked.output_types.len() as u32;
        position
    }
}

/// Copies and branches of a session begin alike: the sizes of the first three requests tell them from others.
fn kin(entries: &[Entry]) -> u64 {
    let mut name = String::new();
    let asked = entries.iter().filter_map(|entry| match entry {
        Entry::Request(asked) => Some(asked),
        Entry::SubAgent(_) => None,
    });
    for asked in asked.take(3) {
        name += &format!("{} {} {}\n", asked.model, asked.input, asked.output);
    }
    super::key(&name)
}

fn stop(said: &str) -> Stop {
    match said {
        "end_turn" => Stop::EndTurn,
        "tool_use" => Stop::ToolUse,
        _ => Stop::Unknown,
    }
}

fn time(t: f64) -> Result<Duration, String> {
    seconds(t).ok_or_else(|| format!("t {t} is no time"))
}
