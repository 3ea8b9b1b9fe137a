//! How each kind of provider's prompt cache behaves: the price list says what it costs, this says how it is found and how long it lives.
//!
//! The rules that we ship are built in (`config/caches.yaml`); what a configuration says changes single fields.

use crate::base::Tokens;
use crate::config::entries::{self, Said, set};
use crate::config::problem::Problems;
use crate::config::raw::{self, RawCacheRule};
use crate::config::{CacheMode, CacheRules};
use crate::policy::fingerprint::Blocks;
use crate::policy::prefix::{Matching, Rules};
use crate::protocol::provider::ProviderKind;
use std::time::Duration;

/// The rules, in the order in which they are laid over each other.
#[derive(Default)]
pub struct Caching {
    entries: Vec<(ProviderKind, RawCacheRule)>,
}

/// What the entries for one cache come to.
#[derive(Clone, Copy, Debug)]
struct Behaviour {
    look_back: u16,
    implicit: bool,
    refreshes: bool,
    long_protects: bool,
    /// `None`: matches at marks.
    blocks: Option<Tokens>,
    ttl: Duration,
}

impl Caching {
    pub fn of(raw: Vec<RawCacheRule>, problems: &mut Problems) -> Self {
        let shipped = |raw: raw::RawConfig| raw.cache_rules;
        Self {
            entries: entries::all(SHIPPED, shipped, raw, RawCacheRule::said, problems),
        }
    }

    /// The rules of a cache; `None` where there is none, or where nobody says how it behaves: nothing is expected of it then.
    pub fn find(&self, kind: ProviderKind, model: &str, listed: &CacheRules) -> Option<Rules> {
        let mode = listed.mode;
        let mut found = None;
        let fits = |(of, entry): &&(ProviderKind, RawCacheRule)| {
            *of == kind
                && entry.mode.as_ref().is_some_and(|m| m.value == mode)
                && entry.is_of(model)
        };
        for (_, entry) in self.entries.iter().filter(fits) {
            entry.lay_over(found.get_or_insert(Behaviour::UNSAID));
        }
        let found = found.filter(|_| mode != CacheMode::None)?;
        let size = listed.block_tokens.filter(|size| size.0 > 0);
        let matching = match found.blocks {
            None => Matching::Breakpoints {
                look_back: found.look_back,
                implicit: found.implicit,
            },
            Some(blocks) => Matching::Blocks(Blocks {
                size: size.unwrap_or(blocks),
                after: listed.min_tokens,
            }),
        };
        // What a price list promises of marks is exact; of caches that keep by themselves it is a maximum at best.
        let promised = listed.ttls.first().filter(|_| found.blocks.is_none());
        Some(Rules {
            matching,
            min_tokens: listed.min_tokens,
            ttl: promised.copied().unwrap_or(found.ttl),
            refreshes: found.refreshes,
            long_protects: found.long_protects,
        })
    }
}

impl Behaviour {
    const UNSAID: Self = Self {
        look_back: 1,
        implicit: false,
        refreshes: false,
        long_protects: false,
        blocks: None,
        ttl: Duration::from_secs(300),
    };
}

impl RawCacheRule {
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

    fn lay_over(&self, on: &mut Behaviour) {
        if let Some(look_back) = &self.look_back {
            on.look_back = look_back.value as u16;
        }
        set(&mut on.implicit, &self.implicit);
        set(&mut on.refreshes, &self.refreshes);
        set(&mut on.long_protects, &self.long_protects);
        if let Some(blocks) = &self.blocks {
            on.blocks = (blocks.value > 0).then_some(Tokens(blocks.value));
        }
        set(&mut on.ttl, &self.ttl);
    }
}

const SHIPPED: &str = include_str!("../../config/caches.yaml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    fn listed(mode: CacheMode) -> CacheRules {
        CacheRules {
            mode,
            min_tokens: Tokens(1_024),
            ttls: vec![Duration::from_secs(300)],
            ..CacheRules::default()
        }
    }

    fn find(kind: ProviderKind, mode: CacheMode) -> Option<Rules> {
        let caching = Caching::of(Vec::new(), &mut Problems::default());
        caching.find(kind, "model", &listed(mode))
    }

    #[test]
    fn the_shipped_rules_are_read_without_a_problem_and_say_where_they_are_from() {
        let mut problems = Problems::default();
        let raw = entries::raw_of(SHIPPED, &mut problems).expect("a section");
        for entry in &raw.cache_rules {
            entries::check(&entry.said(), &mut problems);
            assert!(
                entry.source.is_some() && entry.read.is_some(),
                "{:?}",
                entry.kind
            );
            assert!(
                entry.refreshes.is_some() && entry.ttl.is_some(),
                "{:?}",
                entry.kind
            );
            assert!(
                entry.blocks.is_some() != entry.look_back.is_some(),
                "{:?}",
                entry.kind
            );
        }
        assert!(problems.is_empty(), "{:?}", problems.sorted());
    }

    #[test]
    fn each_provider_matches_as_its_documentation_says() {
        let marks = |kind, mode| match find(kind, mode).map(|r| r.matching) {
            Some(Matching::Breakpoints {
                look_back,
                implicit,
            }) => Some((look_back, implicit)),
            _ => None,
        };
        let (marked, both) = (CacheMode::Breakpoints, CacheMode::Both);
        assert_eq!(marks(ProviderKind::Anthropic, marked), Some((20, false)));
        assert_eq!(marks(ProviderKind::OpenAi, both), Some((80, true)));
        assert_eq!(marks(ProviderKind::Gemini, both), None, "in blocks");
        assert_eq!(find(ProviderKind::Anthropic, CacheMode::None), None);
        // FIELD-BUGS 11: in steps of 128 from 1,024 on.
        let old = find(ProviderKind::OpenAi, CacheMode::Prefix).expect("rules");
        assert_eq!(
            old.matching,
            Matching::Blocks(Blocks {
                size: Tokens(128),
                after: Tokens(1_024)
            })
        );
        assert_eq!(
            old.ttl,
            Duration::from_secs(1_800),
            "not what is promised at most"
        );
    }

    #[test]
    fn a_configuration_changes_single_fields() {
        let text = |more: &str| {
            format!(
                "tenants: [{{id: t, keys: [{{id: k, secret: sk}}]}}]\n\
                 providers: [{{id: a, kind: anthropic, pools: [{{id: p, keys: [{{id: k, secret: s}}]}}]}}]\n\
                 models: [{{id: m, endpoints: [{{provider: a, price: {{input: 1, output: 1}}, cache: {{mode: breakpoints, ttls: [1h]}}}}]}}]\n{more}"
            )
        };
        let rules = |more: &str| parse_for_tests(&text(more)).endpoints[0].cache.rules;
        let plain = rules("").expect("rules");
        assert_eq!(
            plain.ttl,
            Duration::from_secs(3_600),
            "as the price list says"
        );
        let changed = rules(
            "cache_rules: [{kind: anthropic, mode: breakpoints, models: [m*], look_back: 7}]\n",
        );
        let matching = changed.expect("rules").matching;
        assert_eq!(
            matching,
            Matching::Breakpoints {
                look_back: 7,
                implicit: false
            }
        );
        assert_eq!(
            rules(
                "cache_rules: [{kind: anthropic, mode: breakpoints, models: [x*], look_back: 7}]\n"
            ),
            Some(plain)
        );
    }
}
