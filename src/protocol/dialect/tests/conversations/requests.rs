//! Requests: from a client of each dialect to a provider of each.

use super::lines::of_request;
use super::{CLIENTS, Fate, Fates, PROVIDERS, ask};
use crate::canon::{DialectName, Fault, Request};
use crate::protocol::dialect::{Dropped, Rules, Target, read_request, write_request};
use bytes::Bytes;

fn written(to: DialectName, request: &Request) -> Result<(Bytes, Dropped), Fault> {
    let rules = Rules::default();
    let target = Target {
        // Converse has fields of each family of models.
        model: match to {
            DialectName::Converse => "anthropic.claude-sonnet-4-6",
            _ => "asked",
        },
        stream: request.stream,
        max_output_default: 99,
        rules: &rules,
    };
    write_request(to, request, &target)
}

/// What arrives, and its fate.
fn through(to: DialectName, request: &Request, what: &str) -> (Fate, Option<Request>) {
    let (bytes, told) = match written(to, request) {
        Ok(written) => written,
        Err(fault) => {
            let field = fault.field.unwrap_or_default();
            assert!(
                !field.is_empty() && !fault.message.is_empty(),
                "{what}: a refusal without a place"
            );
            return (Fate::Refused(field), None);
        }
    };
    let back = read_request(to, &bytes);
    let back = back.unwrap_or_else(|f| panic!("{what} in {to:?}: what we wrote is unread: {f:?}"));
    let fate = Fate::of(&of_request(request), &of_request(&back), told);
    (fate, Some(back))
}

pub(super) fn fates(fates: &mut Fates) {
    for (name, request) in ask::all() {
        for dialect in CLIENTS.into_iter().chain([DialectName::Converse]) {
            let (fate, _) = through(dialect, &request, name);
            fates.insert(("request", name, dialect.as_str()), fate);
        }
    }
}

fn lost(fate: &Fate) -> Vec<String> {
    match fate {
        Fate::Arrives { lost, .. } => lost.clone(),
        Fate::Refused(_) => Vec::new(),
    }
}

/// What arrives is what was said, less what the client's dialect and then the provider's cannot say, and no more than that.
#[test]
fn a_conversation_arrives_by_every_pair_of_dialects() {
    let mut pairs = std::collections::BTreeMap::new();
    for (name, request) in ask::all() {
        for client in CLIENTS {
            let (_, said) = through(client, &request, name);
            let Some(said) = said else { continue };
            for provider in PROVIDERS {
                let what = format!("{name}: {} to {}", client.as_str(), provider.as_str());
                let (fate, arrived) = through(provider, &said, &what);
                let count: &mut [u32; 2] = pairs
                    .entry((client.as_str(), provider.as_str()))
                    .or_default();
                count[usize::from(arrived.is_none())] += 1;
                let Some(arrived) = arrived else { continue };
                let known = [client, provider].map(|d| lost(&through(d, &request, &what).0));
                let whole = Fate::of(&of_request(&request), &of_request(&arrived), Vec::new());
                let unknown = |line: &&String| !known.concat().contains(line);
                let news = lost(&whole).iter().filter(unknown).count();
                let told = matches!(&fate, Fate::Arrives { told, .. } if !told.is_empty());
                assert!(news == 0 || told, "{what}: {whole}, by way of {fate}");
            }
        }
    }
    assert_eq!(pairs.len(), 25);
    for ((client, provider), [arrive, refused]) in &pairs {
        println!("{client} to {provider}: {arrive} arrive, {refused} are refused by name");
        assert!(*arrive >= 20, "{client} to {provider}");
    }
}
