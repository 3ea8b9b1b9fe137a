//! `docs/matrix.md`: what each client's API can have of each kind of provider, made here and kept in the repository.
//!
//! Every cell is an exchange: a real shard is asked by a client of one dialect for a model of one kind of provider, the call that it makes is
//! read as that provider would, and answered; or the refusal is looked at. Nothing in the table is written by hand but the names of its rows.
//! What a model takes beyond its API (pictures, sound) is the catalogue's to say, so here each model takes all.

mod cells;
mod features;

use super::*;
use crate::canon::DialectName;
use crate::protocol::dialect::tests::tell::CLIENTS;
use cells::Bench;
use features::{ANSWERS, OPERATIONS, REQUESTS};
use std::fmt::Write as _;

/// A place where a model may be asked.
struct Column {
    title: &'static str,
    /// The provider's YAML beside id, address and pools.
    provider: &'static str,
    /// The provider's name of a model that is typical there.
    model: &'static str,
    /// Its name of one that embeds; the same where there is none.
    embedder: &'static str,
}

const COLUMNS: [Column; 14] = [
    column("Anthropic", "kind: anthropic", "claude-opus-4-8"),
    column("OpenAI, reasoning", "kind: openai", "gpt-5.5"),
    column("OpenAI, others", "kind: openai", "gpt-4.1"),
    column("Gemini", "kind: gemini", "gemini-3.5-pro").embeds_by("gemini-embedding-2"),
    column(
        "Vertex, Gemini",
        "kind: vertex, project: p, region: global",
        "gemini-3.5-pro",
    )
    .embeds_by("gemini-embedding-001"),
    column(
        "Vertex, Claude",
        "kind: vertex, project: p, region: global",
        "claude-opus-4-8",
    ),
    column(
        "Bedrock, Claude",
        "kind: bedrock, region: us-east-1",
        "us.anthropic.claude-opus-4-8",
    ),
    column(
        "Bedrock, others",
        "kind: bedrock, region: us-east-1",
        "amazon.nova-pro-v1:0",
    )
    .embeds_by("cohere.embed-v4:0"),
    column(
        "Bedrock Mantle, Claude",
        "kind: bedrock, region: us-east-1, api: mantle",
        "anthropic.claude-opus-4-8",
    ),
    column(
        "Bedrock Mantle, others",
        "kind: bedrock, region: us-east-1, api: mantle",
        "openai.gpt-oss-120b",
    ),
    column("xAI", "kind: xai", "grok-4.5"),
    column(
        "Fireworks",
        "kind: fireworks",
        "accounts/fireworks/models/kimi-k2p6",
    ),
    column("OpenRouter", "kind: openrouter", "z-ai/glm-5"),
    column("own machine", "kind: selfhosted", "qwen3-32b"),
];

const fn column(title: &'static str, provider: &'static str, model: &'static str) -> Column {
    Column {
        title,
        provider,
        model,
        embedder: model,
    }
}

impl Column {
    const fn embeds_by(mut self, model: &'static str) -> Self {
        self.embedder = model;
        self
    }
}

/// One client's table.
fn table(client: DialectName, benches: &mut [Bench], out: &mut String) {
    let title = match client {
        DialectName::Native => "The native API",
        DialectName::Chat => "OpenAI Chat Completions",
        DialectName::Messages => "Anthropic Messages",
        DialectName::Responses => "OpenAI Responses",
        DialectName::Gemini => "Gemini generateContent",
        DialectName::Completions => "OpenAI Completions",
        DialectName::Converse => "Converse",
    };
    let titles: Vec<&str> = COLUMNS.iter().map(|c| c.title).collect();
    let rule = "|---".repeat(COLUMNS.len() + 1);
    write!(
        out,
        "\n## {title}\n\n| | {} |\n{rule}|\n",
        titles.join(" | ")
    )
    .expect("a String takes all");
    let mut row = |name: &str, cells: Vec<String>| {
        // Where the API has no words for it, there is nothing to say.
        if cells.iter().any(|cell| cell != cells::NO_WORDS) {
            writeln!(out, "| {name} | {} |", cells.join(" | ")).expect("a String takes all");
        }
    };
    for feature in REQUESTS {
        let cells = benches.iter_mut().map(|b| b.asked(client, feature));
        row(feature.title, cells.collect());
    }
    for feature in ANSWERS {
        let cells = benches.iter_mut().map(|b| b.answered(client, feature));
        row(feature.title, cells.collect());
    }
    row(
        "signatures come back to their issuer",
        benches.iter().map(|b| b.signed(client)).collect(),
    );
    for operation in OPERATIONS.iter().filter(|o| o.client == client) {
        let cells = benches.iter_mut().map(|b| b.operation(operation));
        row(operation.title, cells.collect());
    }
}

fn made() -> String {
    let mut benches: Vec<Bench> = COLUMNS.iter().map(Bench::new).collect();
    let mut out = HEAD.to_owned();
    for client in CLIENTS.into_iter().chain([DialectName::Completions]) {
        table(client, &mut benches, &mut out);
    }
    out
}

#[test]
fn the_matrix_is_what_the_shard_does() {
    let path = format!("{}/docs/matrix.md", env!("CARGO_MANIFEST_DIR"));
    let made = made();
    if std::env::var_os("STOKEHOLD_WRITE").is_some() {
        std::fs::write(&path, &made).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (kept, made) in kept.lines().zip(made.lines()) {
        assert_eq!(kept, made, "docs/matrix.md is stale: {AGAIN}");
    }
    assert!(kept == made, "docs/matrix.md is stale: {AGAIN}");
}

const AGAIN: &str = "STOKEHOLD_WRITE=1 cargo test matrix writes it";

const HEAD: &str = "# What each API can have of each provider

Made by a test that asks a real shard and reads its calls; `STOKEHOLD_WRITE=1 cargo test matrix` writes it again. One table for each API that
clients speak; a column is a kind of provider with one typical model.

- **passes**: the provider is asked in the client's own API, so what was said goes there byte for byte, and the answer comes back so.
- **works**: translated, and it arrives whole.
- *other words*: it arrives as the nearest that the other API can say (a refusal as text, a budget of thinking as an effort).
- *left out*: it does not change what is asked for, is left out, and named in `x-stokehold-dropped`; of answers, in the log.
- refused: 400 before anything is sent, naming the field (*kept elsewhere*: a file or an answer that lies with one provider and can be named in
  that provider's own API alone), or the status where nothing is served. A model's `drop_params` turns many of these into *left out*.
- not offered: the provider's API has no such thing.

A row is missing where the client's API itself has no words for it. What a model takes beyond its API is in [models.md](models.md): a provider may
still refuse what passes.
";
