//! What each kind of provider makes that only it can read, and what it does with what others made.
//!
//! The rules that we ship are built in (`config/seals.yaml`); what a configuration says changes single fields.

use crate::canon::Maker;
use crate::config::entries::{self, Said, set};
use crate::config::problem::Problems;
use crate::config::raw::{self, RawSealRule};
use crate::policy::seals::{Reading, SealRule, Within};
use crate::protocol::provider::ProviderKind;

/// The rules, in the order in which they are laid over each other.
#[derive(Default)]
pub struct Sealing {
    entries: Vec<(ProviderKind, RawSealRule)>,
}

/// What the entries for one endpoint come to; the fields that nobody spoke of are the strictest.
struct Laid {
    by: Option<Maker>,
    within: Within,
    beyond: Reading,
    other_model: Reading,
    foreign: Reading,
}

impl Sealing {
    pub fn of(raw: Vec<RawSealRule>, problems: &mut Problems) -> Self {
        let shipped = |raw: raw::RawConfig| raw.seal_rules;
        Self {
            entries: entries::all(SHIPPED, shipped, raw, RawSealRule::said, problems),
        }
    }

    /// The rule of a model at a provider of this kind; `None` where nobody says who makes its seals: it has none.
    pub fn find(&self, kind: ProviderKind, model: &str) -> Option<SealRule> {
        let mut laid = Laid {
            by: None,
            within: Within::Account,
            beyond: Reading::Refused,
            other_model: Reading::Refused,
            foreign: Reading::Refused,
        };
        for (of, entry) in &self.entries {
            if *of == kind && entry.is_of(model) {
                entry.lay_over(&mut laid);
            }
        }
        Some(SealRule {
            by: laid.by?,
            within: laid.within,
            beyond: laid.beyond,
            other_model: laid.other_model,
            foreign: laid.foreign,
        })
    }
}

impl RawSealRule {
    fn said(&self) -> Said<'_> {
        Said {
            kind: self.kind.as_ref(),
            source: self.source.as_ref(),
            read: self.read.as_ref(),
        }
    }

    fn is_of(&self, model: &str) -> bool {
        entries::names(self.models.as_deref(), model)
    }

    fn lay_over(&self, on: &mut Laid) {
        if let Some(by) = &self.by {
            on.by = Some(by.value);
        }
        set(&mut on.within, &self.within);
        set(&mut on.beyond, &self.beyond);
        set(&mut on.other_model, &self.other_model);
        set(&mut on.foreign, &self.foreign);
    }
}

const SHIPPED: &str = include_str!("../../config/seals.yaml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    #[test]
    fn the_shipped_rules_are_whole_and_say_where_they_are_from() {
        let mut problems = Problems::default();
        let raw = entries::raw_of(SHIPPED, &mut problems).expect("a section");
        let mut seen = Vec::new();
        for entry in &raw.seal_rules {
            entries::check(&entry.said(), &mut problems);
            let kind = entry.kind.as_ref().expect("required").value.clone();
            assert!(entry.source.is_some() && entry.read.is_some(), "{kind}");
            if !seen.contains(&kind) {
                let whole = entry.models.is_none()
                    && entry.by.is_some()
                    && entry.within.is_some()
                    && entry.beyond.is_some()
                    && entry.other_model.is_some()
                    && entry.foreign.is_some();
                assert!(whole, "the first of {kind}");
                seen.push(kind);
            }
        }
        assert!(problems.is_empty(), "{:?}", problems.sorted());
    }

    #[test]
    fn each_provider_reads_what_its_documentation_says() {
        let all = Sealing::of(Vec::new(), &mut Problems::default());
        let rule = |kind, model: &str| all.find(kind, model).expect("a rule");
        for (kind, old, new) in [
            (
                ProviderKind::Anthropic,
                "claude-opus-4-1",
                "claude-opus-5-5",
            ),
            (
                ProviderKind::Bedrock,
                "us.anthropic.claude-sonnet-4-5",
                "global.anthropic.claude-fable-5-2",
            ),
            (
                ProviderKind::Vertex,
                "claude-haiku-4-5@20251001",
                "claude-haiku-5-5",
            ),
        ] {
            let (old, new) = (rule(kind, old), rule(kind, new));
            assert_eq!((old.by, new.by), (Maker::Anthropic, Maker::Anthropic));
            assert_eq!(
                (old.within, new.within),
                (Within::Anywhere, Within::Account)
            );
            assert_eq!(
                (old.other_model, new.other_model),
                (Reading::Read, Reading::Ignored)
            );
            assert_eq!(new.beyond, Reading::Ignored);
            assert_eq!(
                (old.foreign, new.foreign),
                (Reading::Refused, Reading::Refused)
            );
        }
        assert_eq!(
            rule(ProviderKind::Bedrock, "amazon.nova-pro-v1:0").by,
            Maker::Amazon
        );
        assert_eq!(
            rule(ProviderKind::Vertex, "gemini-3.8-flash"),
            rule(ProviderKind::Gemini, "gemini-3.8-flash")
        );
        assert_eq!(rule(ProviderKind::OpenAi, "gpt-5").beyond, Reading::Refused);
        assert_eq!(all.find(ProviderKind::SelfHosted, "qwen"), None);
    }

    #[test]
    fn a_configuration_changes_single_fields() {
        let config = parse_for_tests(
            "tenants: [{id: t, keys: [{id: k, secret: sk}]}]\n\
             providers: [{id: o, kind: openai, pools: [{id: p, keys: [{id: k, secret: s}]}]}]\n\
             models:\n- {id: m, endpoints: [{provider: o, price: {input: 1, output: 1}}]}\n\
             - {id: n, endpoints: [{provider: o, price: {input: 1, output: 1}}]}\n\
             seal_rules: [{kind: openai, models: [n], beyond: ignored}]\n",
        );
        let [m, n] = [0, 1].map(|at: usize| config.endpoints[at].seals.expect("a rule"));
        assert_eq!((m.beyond, n.beyond), (Reading::Refused, Reading::Ignored));
        assert_eq!(
            SealRule {
                beyond: m.beyond,
                ..n
            },
            m
        );
    }
}
