//! How much to think: canon's mode and effort → `thinking` and `output_config.effort`.
//!
//! Two generations of models take two languages (section 4): newer ones `adaptive` and an effort, older ones a budget of tokens. What
//! was asked in one is said in the other by the table of `providers/openai.md` 15, rule 5.

use super::schema::Object;
use super::write::{Rulings, extras_of, extras_within};
use crate::base::{Str, Tokens};
use crate::canon::{Effort, Fault, Reasoning, ReasoningMode, Request};

/// What will be written.
#[derive(Debug, Default)]
pub(in crate::protocol::dialect) struct Thinking {
    mode: Option<ReasoningMode>,
    shown: Option<bool>,
    /// `output_config.effort`
    pub effort: Option<Str>,
}

// Section 4: `budget_tokens` is at least this.
const BUDGET_MIN: u64 = 1024;

impl Thinking {
    /// `forced`: a tool must be called, which models that think by budget refuse beside thinking.
    pub(in crate::protocol::dialect) fn plan(
        request: &Request,
        max_tokens: u64,
        forced: bool,
        by_budget: bool,
        rules: &mut Rulings<'_>,
    ) -> Result<Self, Fault> {
        let Some(reasoning) = &request.reasoning else {
            return Ok(Self::default());
        };
        if rules.drops("reasoning") || rules.drops("reasoning_effort") {
            rules.dropped("reasoning_effort");
            return Ok(Self::default());
        }
        if rules.refuses("reasoning") || rules.refuses("reasoning_effort") {
            let message = "the model does not reason; leave it out";
            return Err(Fault::invalid("reasoning_effort", message));
        }
        let mut plan = if by_budget {
            Self::by_budget(reasoning, max_tokens, forced, rules)?
        } else {
            Self::adaptive(reasoning)
        };
        if !matches!(plan.mode, None | Some(ReasoningMode::Off)) {
            plan.shown = reasoning.shown;
        }
        Ok(plan)
    }

    fn adaptive(reasoning: &Reasoning) -> Self {
        let effort = reasoning.effort.as_ref();
        let (mode, derived) = match (reasoning.mode, effort) {
            (Some(ReasoningMode::Off), _) | (None, Some(Effort::None)) => {
                (Some(ReasoningMode::Off), None)
            }
            (Some(ReasoningMode::Budget(Tokens(n))), None) => {
                (Some(ReasoningMode::Adaptive), Some(effort_for(n)))
            }
            (Some(ReasoningMode::Budget(_)), Some(_)) => (Some(ReasoningMode::Adaptive), None),
            // Models of 4.6 to 4.8 do not think unless told to, so an effort alone asks for it in words.
            (None, Some(_)) => (Some(ReasoningMode::Adaptive), None),
            (mode, _) => (mode, None),
        };
        let word = effort.and_then(effort_word).or(derived).map(Str::from);
        Self {
            mode,
            shown: None,
            effort: word,
        }
    }

    fn by_budget(
        reasoning: &Reasoning,
        max_tokens: u64,
        forced: bool,
        rules: &mut Rulings<'_>,
    ) -> Result<Self, Fault> {
        let effort = reasoning.effort.as_ref();
        let mode = match (reasoning.mode, effort) {
            (Some(ReasoningMode::Off), _) | (None, Some(Effort::None)) => Some(ReasoningMode::Off),
            (Some(ReasoningMode::Budget(Tokens(n))), _) => {
                if n < BUDGET_MIN || n >= max_tokens {
                    let message = format!(
                        "is {n}; must be at least {BUDGET_MIN} and less than max_tokens, which is {max_tokens}"
                    );
                    return Err(Fault::invalid("thinking.budget_tokens", message));
                }
                Some(ReasoningMode::Budget(Tokens(n)))
            }
            (None, None) => None,
            (_, effort) => match budget_for(effort, max_tokens) {
                Some(n) if !forced => Some(ReasoningMode::Budget(Tokens(n))),
                _ => {
                    rules.dropped("reasoning_effort");
                    None
                }
            },
        };
        // Those of these models that know efforts at all (Opus 4.5) are told it where the client spoke of both.
        let both = matches!(reasoning.mode, Some(ReasoningMode::Budget(_)));
        let word = effort.filter(|_| both).and_then(effort_word);
        Ok(Self {
            mode,
            shown: None,
            effort: word.map(Str::from),
        })
    }

    pub(in crate::protocol::dialect) fn write(&self, request: &Request, body: &mut Object<'_>) {
        let word = match self.mode {
            None => return,
            Some(ReasoningMode::Off) => "disabled",
            Some(ReasoningMode::Adaptive) => "adaptive",
            Some(ReasoningMode::Budget(_)) => "enabled",
            Some(ReasoningMode::BetweenTools) => "between_tools",
        };
        let mut object = Object::typed(body.value("thinking"), word);
        if let Some(ReasoningMode::Budget(Tokens(n))) = self.mode {
            object.count("budget_tokens", n);
        }
        match self.shown {
            Some(_) if extras_of(request, "thinking").any(|(name, _)| name == "display") => {}
            Some(true) => object.text("display", "summarized"),
            Some(false) => object.text("display", "omitted"),
            None => {}
        }
        extras_within(request, "thinking", &mut object);
        object.close();
    }
}

/// This API's word; its lowest is `low`. `None` for no effort at all.
fn effort_word(effort: &Effort) -> Option<&str> {
    match effort {
        Effort::None => None,
        Effort::Minimal | Effort::Low => Some("low"),
        Effort::Medium => Some("medium"),
        Effort::High => Some("high"),
        Effort::ExtraHigh => Some("xhigh"),
        Effort::Max => Some("max"),
        Effort::Other(word) => Some(word),
    }
}

/// The budget of an effort, within the output limit; at most half of it, so that an answer follows the thought. `None` where the limit
/// leaves no room for the least budget.
fn budget_for(effort: Option<&Effort>, max_tokens: u64) -> Option<u64> {
    let wanted = match effort {
        Some(Effort::None | Effort::Minimal) => BUDGET_MIN,
        Some(Effort::Low) => 2_048,
        Some(Effort::Medium | Effort::Other(_)) | None => 8_192,
        Some(Effort::High) => 16_384,
        Some(Effort::ExtraHigh | Effort::Max) => u64::MAX,
    };
    (max_tokens > BUDGET_MIN).then(|| wanted.min(max_tokens / 2).max(BUDGET_MIN))
}

/// The same table, backwards.
fn effort_for(budget: u64) -> &'static str {
    match budget {
        0..=4_095 => "low",
        4_096..=12_287 => "medium",
        _ => "high",
    }
}
