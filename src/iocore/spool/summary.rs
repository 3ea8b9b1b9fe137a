//! What is said of an answer beside its words: a JSON object, the same in lists and in replies.

use super::index::Entry;
use crate::base::NanoUsd;
use crate::iocore::ledger::{told, wire as row};
use crate::shard::stored::About;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Usage, cost and timing are those of the ledger's rows.
#[must_use]
pub fn of(entry: &Entry) -> String {
    let opened = &entry.opened;
    let mut said = Map::new();
    said.insert("id".into(), json!(&*opened.name));
    said.insert("status".into(), json!(entry.state().as_str()));
    said.insert("model".into(), json!(&*opened.model));
    said.insert("dialect".into(), json!(opened.dialect.as_str()));
    said.insert("form".into(), json!(opened.form.as_str()));
    said.insert("created".into(), json!(opened.started.seconds()));
    if let Some(closed) = &entry.closed {
        said.insert("ended_ms".into(), json!(closed.at.millis()));
        said.insert("http_status".into(), json!(closed.status));
    }
    said.insert("client_key".into(), json!(&*opened.key));
    if !opened.session.is_empty() {
        said.insert("session".into(), json!(&*opened.session));
    }
    said.insert("bytes".into(), json!(entry.bytes));
    let rows: Vec<Value> = entry
        .rows
        .iter()
        .filter_map(|bytes| row::decode(bytes).ok())
        .map(|row| told::json(&row))
        .collect();
    let cost: i64 = rows
        .iter()
        .filter_map(|r| r["cost_nano_usd"].as_i64())
        .sum();
    said.insert("cost_nano_usd".into(), json!(cost));
    said.insert("attempts".into(), Value::Array(rows));
    Value::Object(said).to_string()
}

/// The same for whoever tells the whole of it.
#[must_use]
pub fn about(entry: &Entry) -> About {
    let rows = entry
        .rows
        .iter()
        .filter_map(|bytes| row::decode(bytes).ok());
    let mut about = About {
        model: entry.opened.model.clone(),
        created: entry.opened.started.seconds(),
        ..About::default()
    };
    // In the order they ended: the last is the one that answered.
    for row in rows {
        about.endpoint = (&*row.names[4]).into();
        about.decision = (&*row.decision).into();
        about.usage = told::usage(&row);
        about.cost = NanoUsd(about.cost.0.saturating_add(row.figures.cost));
        let micros = u64::try_from(row.figures.total).unwrap_or_default();
        about.total = Duration::from_micros(micros);
    }
    about
}
