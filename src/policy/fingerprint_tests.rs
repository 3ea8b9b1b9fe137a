use super::*;
use crate::base::Rng;
use std::collections::BTreeSet;

fn secret() -> InstanceSecret {
    InstanceSecret::new(&[7; 32])
}

type Part = (ElementKind, Vec<u8>);

const KINDS: [ElementKind; 11] = [
    ElementKind::Param,
    ElementKind::Turn,
    ElementKind::Tool,
    ElementKind::Schema,
    ElementKind::System,
    ElementKind::Text,
    ElementKind::Media,
    ElementKind::ToolCall,
    ElementKind::ToolResult,
    ElementKind::Thinking,
    ElementKind::Other,
];

fn prompt(rng: &mut Rng) -> Vec<Part> {
    let part = |rng: &mut Rng| {
        let kind = KINDS[rng.below(KINDS.len() as u64) as usize];
        let most = if rng.once_in(4) { 4_000 } else { 60 };
        let length = rng.below(most) as usize;
        (kind, (0..length).map(|_| rng.bits() as u8).collect())
    };
    (0..2 + rng.below(20)).map(|_| part(rng)).collect()
}

fn chain(parts: &[Part], blocks: Option<Blocks>) -> Chain {
    chain_of("acme", parts, blocks)
}

fn chain_of(tenant: &str, parts: &[Part], blocks: Option<Blocks>) -> Chain {
    let mut chain = Chain::new();
    chain.begin(&secret().salt(tenant), blocks);
    for (kind, bytes) in parts {
        let most = if *kind == ElementKind::Media {
            6_400
        } else {
            usize::MAX
        };
        chain.feed(&Element {
            kind: *kind,
            bytes,
            weight: bytes.len().min(most) as u32,
            mark: None,
        });
    }
    chain
}

fn blocks(rng: &mut Rng) -> Option<Blocks> {
    let all = [(128, 1_024), (16, 0), (64, 64), (512, 512), (16, 100)];
    let (size, after) = *all.get(rng.below(7) as usize)?;
    Some(Blocks {
        size: Tokens(size),
        after: Tokens(after),
    })
}

fn prints(chain: &Chain) -> Vec<Fingerprint> {
    chain.boundaries().iter().map(|b| b.fingerprint).collect()
}

#[test]
fn a_prompt_that_goes_on_keeps_the_chain_it_had() {
    let mut rng = Rng::seeded(1);
    for round in 0..300 {
        let (whole, cut) = (prompt(&mut rng), blocks(&mut rng));
        let some = rng.below(whole.len() as u64) as usize;
        let (short, long) = (chain(&whole[..some], cut), chain(&whole, cut));
        assert!(prints(&long).starts_with(&prints(&short)), "round {round}");
    }
}

#[test]
fn a_changed_byte_changes_every_boundary_behind_it_and_none_before() {
    let mut rng = Rng::seeded(2);
    for round in 0..600 {
        let (whole, cut) = (prompt(&mut rng), blocks(&mut rng));
        let part = rng.below(whole.len() as u64) as usize;
        let mut other = whole.clone();
        let changed = &mut other[part].1;
        if changed.is_empty() {
            changed.push(1);
        } else {
            let at = rng.below(changed.len() as u64) as usize;
            changed[at] ^= 1 + rng.below(255) as u8;
        }
        let before = chain(&whole[..part], cut).boundaries().len();
        let (a, b) = (chain(&whole, cut), chain(&other, cut));
        assert_eq!(prints(&a)[..before], prints(&b)[..before], "round {round}");
        let last = whole.len() - 1;
        let whole_ends = chain(&whole[..=part], cut).boundaries().len();
        let behind: BTreeSet<_> = prints(&a)[before..].iter().copied().collect();
        // Blocks that end within the element, before the byte, are still the same.
        let same = prints(&b)[before..]
            .iter()
            .filter(|f| behind.contains(f))
            .count();
        assert!(same <= whole_ends.saturating_sub(before), "round {round}");
        if whole[last].0.ends_prefix() {
            let tail = |c: &Chain| c.boundaries().last().map(|b| b.fingerprint);
            assert_ne!(tail(&a), tail(&b), "round {round}");
        }
    }
}

#[test]
fn what_is_moved_over_the_edge_of_an_element_changes_it() {
    let parts = |a: &str, b: &str| {
        let text = |s: &str| (ElementKind::Text, s.as_bytes().to_vec());
        chain(&[text(a), text(b)], None).boundaries()[1].fingerprint
    };
    assert_ne!(parts("ab", "c"), parts("a", "bc"));
    assert_ne!(parts("abc", ""), parts("", "abc"));
}

#[test]
fn kinds_tenants_scopes_and_secrets_each_have_fingerprints_of_their_own() {
    let mut seen = BTreeSet::new();
    for kind in KINDS.iter().filter(|k| k.ends_prefix()) {
        let parts = [(*kind, b"same".to_vec())];
        for tenant in ["acme", "acm", ""] {
            let made = chain_of(tenant, &parts, None);
            let print = made.boundaries()[0].fingerprint;
            for (account, model) in [("a", "m"), ("am", ""), ("", "am"), ("b", "m")] {
                let scope = secret().scope("anthropic", account, model);
                assert!(seen.insert(print.within(scope)), "{kind:?} {tenant}");
            }
        }
    }
    let (one, two) = (secret(), InstanceSecret::new(&[8; 32]));
    assert_ne!(one.salt("acme").0, two.salt("acme").0);
    assert_eq!(one.salt("acme").0, secret().salt("acme").0, "restarts");
}

/// A changed hash would lose every warm prefix at an upgrade, unseen.
#[test]
fn fingerprints_stay_the_same_from_release_to_release() {
    let parts = [
        (ElementKind::System, b"\"be brief\"".to_vec()),
        (ElementKind::Turn, b"\"user\"".to_vec()),
        (ElementKind::Text, b"\"hello\"".to_vec()),
    ];
    let made = chain(&parts, None);
    let last = made.boundaries()[1].fingerprint;
    assert_eq!((last.chain, last.tag), STORED);
}

#[test]
fn parameters_and_speakers_end_no_prefix_but_change_what_follows() {
    let text = (ElementKind::Text, b"\"x\"".to_vec());
    let with = |kind, what: &str| chain(&[(kind, what.as_bytes().to_vec()), text.clone()], None);
    for kind in [ElementKind::Param, ElementKind::Turn] {
        let (a, b) = (with(kind, "user"), with(kind, "assistant"));
        assert_eq!(a.boundaries().len(), 1);
        assert_ne!(prints(&a), prints(&b));
    }
}

#[test]
fn blocks_end_where_the_provider_says_and_never_twice_at_one_place() {
    let cut = Blocks {
        size: Tokens(128),
        after: Tokens(1_024),
    };
    let text = (ElementKind::Text, vec![b'x'; 40_000]);
    let made = chain(&[text.clone(), text], Some(cut));
    let at: Vec<u64> = made.boundaries().iter().map(|b| b.tokens().0).collect();
    assert_eq!(at[..4], [1_024, 1_152, 1_280, 1_408]);
    assert!(at.is_sorted_by(|a, b| a < b), "{at:?}");
    let blocks = made.boundaries().iter().filter(|b| b.at == At::Block);
    for block in blocks {
        assert_eq!(block.tokens().0 % 128, 0);
    }
}

#[test]
fn boundaries_of_small_blocks_are_few_and_near_however_long_the_prompt() {
    let cut = Blocks {
        size: Tokens(16),
        after: Tokens(0),
    };
    let made = chain(&[(ElementKind::Text, vec![b'x'; 600_000])], Some(cut));
    let at: Vec<u64> = made.boundaries().iter().map(|b| b.tokens().0).collect();
    assert!(at.len() < 600, "{}", at.len());
    for pair in at.windows(2) {
        assert!(pair[1] - pair[0] <= (pair[0] / 64).max(16), "{pair:?}");
    }
}

#[test]
fn a_run_of_tool_results_is_one_position() {
    use ElementKind::*;
    let kinds = [
        Text, ToolCall, ToolCall, Turn, ToolResult, ToolResult, Text, Text,
    ];
    let parts: Vec<Part> = kinds.iter().map(|k| (*k, b"x".to_vec())).collect();
    let made = chain(&parts, None);
    let positions: Vec<u16> = made.boundaries().iter().map(|b| b.position).collect();
    assert_eq!(positions, [1, 2, 2, 3, 3, 4, 5]);
    let ends: Vec<bool> = made.boundaries().iter().map(|b| b.ends_turn).collect();
    assert_eq!(ends, [false, false, true, false, false, false, false]);
}

#[test]
fn the_opener_stays_while_a_conversation_goes_on_and_differs_between_two() {
    use ElementKind::*;
    let part = |kind, text: &str| (kind, text.as_bytes().to_vec());
    let first = |system: &str, user: &str| {
        vec![
            part(Tool, "t"),
            part(System, "billing 17"),
            part(System, system),
            part(Turn, "user"),
            part(Text, "reminder"),
            part(Text, user),
        ]
    };
    let opener = |parts: &[Part]| chain(parts, None).opener();
    let mut long = first("env a", "hi");
    long[0] = part(Tool, "another tool");
    long[1] = part(System, "billing 18");
    long.extend([
        part(Turn, "assistant"),
        part(Text, "hello"),
        part(Turn, "user"),
        part(Text, "go on"),
    ]);
    assert_eq!(opener(&first("env a", "hi")), opener(&long));
    assert_ne!(opener(&first("env a", "hi")), opener(&first("env b", "hi")));
    assert_ne!(opener(&first("env a", "hi")), opener(&first("env a", "ho")));
}

/// FIELD-BUGS 71: many sessions under one system prompt are not one session.
#[test]
fn ten_thousand_sessions_under_one_system_prompt_spread_over_the_shards() {
    use ElementKind::*;
    let mut counts = [0_u32; 8];
    for n in 0..10_000 {
        let parts = [
            (System, vec![b's'; 8_000]),
            (Turn, b"user".to_vec()),
            (Text, format!("session-{n}").into_bytes()),
        ];
        counts[usize::from(chain(&parts, None).opener().owner(8))] += 1;
    }
    for count in counts {
        assert!((1_125..=1_375).contains(&count), "{counts:?}");
    }
}

/// FIELD-BUGS 72: `session-1` is not `session-12`.
#[test]
fn an_opener_that_begins_like_another_is_another() {
    use ElementKind::*;
    let of = |text: &str| chain(&[(Turn, vec![]), (Text, text.as_bytes().to_vec())], None).opener();
    assert_ne!(of("session-1"), of("session-12"));
}

#[test]
fn what_weighs_less_than_its_bytes_is_counted_so() {
    let made = chain(&[(ElementKind::Media, vec![b'A'; 600_000])], None);
    assert_eq!(made.tokens(), Tokens(1_600));
}

const STORED: (u64, u64) = (12_167_993_904_816_646_414, 15_895_603_737_301_786_713);
