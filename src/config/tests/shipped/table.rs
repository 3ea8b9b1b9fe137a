//! `docs/models.md`: the catalogue as a table for people, made here and kept in the repository.

use super::everything;
use crate::base::Tokens;
use crate::config::{Config, Gives, Model, Takes};

#[test]
fn the_table_of_models_is_that_of_the_catalogue() {
    let path = format!("{}/docs/models.md", env!("CARGO_MANIFEST_DIR"));
    let made = table(&everything());
    if std::env::var_os("STOKEHOLD_WRITE").is_some() {
        std::fs::write(&path, &made).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/models.md is stale: STOKEHOLD_WRITE=1 cargo test table writes it"
    );
}

fn table(config: &Config) -> String {
    let mut out = HEAD.to_owned();
    for model in &config.models {
        let cells = [
            names(model),
            providers(config, model),
            model.context.map_or_else(String::new, short),
            model.output_max.map_or_else(String::new, short),
            takes(model.takes),
            gives(model.gives),
            prices(config, model),
            remarks(config, model),
        ];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

fn names(model: &Model) -> String {
    let aliases = model.aliases.iter().map(|a| format!(", `{a}`"));
    format!("`{}`{}", model.name, aliases.collect::<String>())
}

/// Each provider once, in the order of the catalogue; in brackets from when it no longer serves the model.
fn providers(config: &Config, model: &Model) -> String {
    let mut named: Vec<String> = Vec::new();
    for id in &model.endpoints {
        let endpoint = &config.endpoints[usize::from(id.0)];
        let mut name = config.providers[usize::from(endpoint.provider.0)]
            .name
            .clone();
        if endpoint.retired_from.is_some() {
            name.push_str(" (ends)");
        }
        if !named.contains(&name) {
            named.push(name);
        }
    }
    named.join(", ")
}

/// The first place's, in and out per million.
fn prices(config: &Config, model: &Model) -> String {
    let price = &config.endpoints[usize::from(model.endpoints[0].0)].price;
    if let Some((resolution, usd)) = price.video_second.first() {
        return format!("{} a second ({resolution})", usd.usd());
    }
    if let Some(minute) = price.audio_minute {
        return format!("{} a minute", minute.usd());
    }
    if let Some(each) = price.output_image_each {
        return format!("{} a picture", each.usd());
    }
    let (input, output) = (
        price.input.usd_per_million(),
        price.output.usd_per_million(),
    );
    format!("{input} / {output}")
}

fn short(tokens: Tokens) -> String {
    match tokens.0 {
        n if n >= 1_000_000 => format!("{}M", n as f64 / 1e6),
        n => format!("{}K", n as f64 / 1e3),
    }
}

fn words(all: &[(bool, &str)]) -> String {
    let said: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, w)| *w).collect();
    said.join(", ")
}

fn takes(t: Takes) -> String {
    words(&[
        (t.images, "images"),
        (t.documents, "documents"),
        (t.audio, "audio"),
        (t.video, "video"),
        (t.tools, "tools"),
    ])
}

fn gives(g: Gives) -> String {
    words(&[
        (g.text, "text"),
        (g.images, "images"),
        (g.audio, "audio"),
        (g.video, "video"),
        (g.embeddings, "embeddings"),
    ])
}

fn remarks(config: &Config, model: &Model) -> String {
    let retired = model.retired.as_ref().map(|r| {
        let next = r.successor.as_deref().unwrap_or("none");
        format!("ends {}: `{next}`", r.on)
    });
    let mut said: Vec<String> = retired.into_iter().chain(model.note.clone()).collect();
    for id in &model.endpoints {
        let endpoint = &config.endpoints[usize::from(id.0)];
        let kind = super::kind_of(config, endpoint).as_str();
        let note = endpoint.price_note.as_ref();
        let note = note.map(|note| format!("price at {kind}: {note}"));
        said.extend(note.filter(|note| !said.contains(note)));
    }
    said.join("; ").replace('|', "/")
}

const HEAD: &str = "# Models

Made by a test from `config/models.yaml` and `config/prices.yaml`; `STOKEHOLD_WRITE=1 cargo test table` writes it again. Beside text,
what a model takes and what it gives. Context is input and output together. The price is dollars per million tokens, in and out, at the
first place of the list; the others, caches, tiers and long prompts are in the price list. UNVERIFIED says that no page of the provider
itself was found for it.

| model and aliases | at | context | output | takes | gives | price | remarks |
|---|---|---|---|---|---|---|---|
";
