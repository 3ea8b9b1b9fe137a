//! How each kind of provider counts against its limits.
//!
//! The rules that we ship are built in (`config/limits.yaml`), so that a configuration which says nothing of them has them all the same; what
//! it does say changes single fields.

use crate::config::entries::{self, Said, set};
use crate::config::problem::Problems;
use crate::config::raw::{self, RawLimitRule};
use crate::policy::capacity::of_class;
use crate::policy::capacity::rule::{Ramp, Rule};
use crate::protocol::provider::ProviderKind;
use std::time::Duration;

/// The rules, in the order in which they are laid over each other.
#[derive(Default)]
pub struct Rules {
    entries: Vec<(ProviderKind, RawLimitRule)>,
}

impl Rules {
    pub fn of(raw: Vec<RawLimitRule>, problems: &mut Problems) -> Self {
        let shipped = |raw: raw::RawConfig| raw.limit_rules;
        Self {
            entries: entries::all(SHIPPED, shipped, raw, RawLimitRule::said, problems),
        }
    }

    /// The rule of a limit over these classes of models.
    pub fn find(&self, kind: ProviderKind, models: &[String]) -> Rule {
        let mut rule = Rule::default();
        for (of, entry) in &self.entries {
            if *of == kind && entry.is_of(models) {
                entry.lay_over(&mut rule);
            }
        }
        rule
    }
}

impl RawLimitRule {
    fn said(&self) -> Said<'_> {
        Said {
            kind: self.kind.as_ref(),
            source: self.source.as_ref(),
            read: self.read.as_ref(),
        }
    }

    /// A limit over several classes has a rule of some models only where all of its classes are theirs.
    fn is_of(&self, models: &[String]) -> bool {
        let Some(patterns) = &self.models else {
            return true;
        };
        let is = |model: &String| patterns.iter().any(|p| of_class(&p.value, model));
        !models.is_empty() && models.iter().all(is)
    }

    fn lay_over(&self, rule: &mut Rule) {
        if let Some(reads) = &self.cache_reads {
            let reads = reads.value;
            rule.reads_held = reads == Reads::Held;
            rule.reads_in_tokens = matches!(reads, Reads::Tokens | Reads::Counted);
            rule.reads_in_input = reads == Reads::Counted;
        }
        set(&mut rule.output, &self.output);
        set(&mut rule.output_times, &self.output_times);
        set(&mut rule.counted, &self.settles);
        set(&mut rule.failed, &self.failed_calls);
        set(&mut rule.requests_burst, &self.requests_burst);
        set(&mut rule.tokens_burst, &self.tokens_burst);
        set(&mut rule.day, &self.day);
        set(&mut rule.rounding, &self.rounding);
        set(&mut rule.tokens_told, &self.tokens_header);
        if let Some(guard) = &self.guard {
            rule.guard = permille(guard.value);
        }
        let mut ramp = rule.ramp.unwrap_or(Ramp {
            from: 1_000,
            over: Duration::ZERO,
        });
        set(&mut ramp.over, &self.ramp);
        if let Some(from) = &self.ramp_from {
            ramp.from = permille(from.value);
        }
        rule.ramp = (!ramp.over.is_zero()).then_some(ramp);
    }
}

/// What a cache had, as the file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Free,
    /// Counted among tokens together, not among input.
    Tokens,
    Counted,
    /// Held when a call is sent, given back in the end.
    Held,
}

/// Thousandths; the reader bounds it to 1.
fn permille(share: f64) -> u64 {
    (share * 1_000.0).round() as u64
}

const SHIPPED: &str = include_str!("../../config/limits.yaml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;
    use crate::policy::capacity::DayEnd;
    use crate::policy::capacity::rule::{Counted, Failed, Held};

    fn find(kind: ProviderKind, model: &str) -> Rule {
        Rules::of(Vec::new(), &mut Problems::default()).find(kind, &[model.to_owned()])
    }

    #[test]
    fn the_shipped_rules_are_whole_and_say_where_they_are_from() {
        let mut problems = Problems::default();
        let raw = entries::raw_of(SHIPPED, &mut problems).expect("a section");
        for entry in &raw.limit_rules {
            entries::check(&entry.said(), &mut problems);
            let has_source = entry.source.is_some() && entry.read.is_some();
            assert!(has_source, "{:?}", entry.kind);
        }
        assert!(problems.is_empty(), "{:?}", problems.sorted());
        for kind in ProviderKind::ALL {
            let first = raw.limit_rules.iter().find(|e| {
                let named = e.kind.as_ref().map(|k| k.value.as_str());
                named == Some(kind.as_str())
            });
            let first = first.unwrap_or_else(|| panic!("no rule for {}", kind.as_str()));
            let whole = first.models.is_none()
                && first.cache_reads.is_some()
                && first.output.is_some()
                && first.output_times.is_some()
                && first.settles.is_some()
                && first.failed_calls.is_some()
                && first.requests_burst.is_some()
                && first.tokens_burst.is_some()
                && first.guard.is_some()
                && first.day.is_some()
                && first.rounding.is_some()
                && first.tokens_header.is_some()
                && first.ramp.is_some()
                && first.ramp_from.is_some();
            assert!(whole, "{}", kind.as_str());
        }
    }

    /// FIELD-BUGS 22 and 31: the table of the providers' rules.
    #[test]
    fn each_provider_counts_as_its_documentation_says() {
        let anthropic = find(ProviderKind::Anthropic, "claude-sonnet-*");
        assert_eq!(anthropic.output, Held::Nothing);
        assert!(!anthropic.reads_in_input && !anthropic.tokens_told);
        assert_eq!(anthropic.requests_burst, Duration::from_secs(1));
        assert!(find(ProviderKind::Anthropic, "claude-3-5-haiku-20241022").reads_in_input);
        let bedrock = find(ProviderKind::Bedrock, "us.anthropic.claude-opus-4-8*");
        assert_eq!((bedrock.output, bedrock.output_times), (Held::Most, 5));
        assert!(bedrock.reads_held && !bedrock.reads_in_tokens);
        assert_eq!(find(ProviderKind::Bedrock, "amazon.nova-*").output_times, 1);
        assert_eq!(find(ProviderKind::Bedrock, "*").output_times, 5, "careful");
        let openai = find(ProviderKind::OpenAi, "gpt-5");
        assert_eq!(
            (openai.output, openai.counted, openai.failed, openai.day),
            (
                Held::Larger,
                Counted::AsHeld,
                Failed::AsHeld,
                DayEnd::Rolling
            )
        );
        assert_eq!(find(ProviderKind::Gemini, "*").day, DayEnd::Pacific);
        assert_eq!(find(ProviderKind::Fake, "*").ramp, None);
    }

    #[test]
    fn a_rule_can_be_changed_field_by_field() {
        let config = parse_for_tests(
            "limit_rules:\n- {kind: openai, guard: 0.1, ramp: 0s}\n\
             - {kind: openai, models: [\"gpt-5*\"], output: expected, settles: used}\n\
             providers:\n- {id: o, kind: openai, pools: [{id: p, keys: [{id: k, secret: s}], limits: [{rpm: 1},\
             {models: [gpt-5, gpt-5-mini], rpm: 1}, {models: [gpt-5, o3], rpm: 1}]}]}\n",
        );
        let rules: Vec<Rule> = config.pools[0].limits.iter().map(|l| l.rule).collect();
        let [all, five, mixed] = rules[..] else {
            panic!("{rules:?}")
        };
        assert_eq!((all.guard, all.ramp, all.output), (100, None, Held::Larger));
        assert_eq!((five.output, five.counted), (Held::Expected, Counted::Used));
        assert_eq!(five.guard, 100);
        assert_eq!(mixed, all, "not all of it is of the class");
    }
}
