//! `usage` ⇄ canon's normal form (sections 5 to 7 of the provider's page).

use super::schema::{Fields, Object};
use crate::base::{Json, Str, Tokens};
use crate::canon::Usage;
use serde_json::value::RawValue;

/// What the usage objects of one answer said so far. Later ones are cumulative and often shorter: the split of cache writes by life is
/// told once, at the start.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol::dialect) struct Meter {
    hours1: u64,
    minutes5: u64,
}

impl Meter {
    /// One usage object; its fields replace earlier ones, what it does not say is `None`.
    pub(in crate::protocol::dialect) fn read(
        &mut self,
        body: &Str,
        raw: &RawValue,
    ) -> Option<Usage> {
        let mut fields = Fields::of(raw.get())?;
        let mut usage = Usage {
            input_uncached: fields.count("input_tokens").map(Tokens),
            cache_read: fields.count("cache_read_input_tokens").map(Tokens),
            output: fields.count("output_tokens").map(Tokens),
            service_tier: fields.text(body, "service_tier"),
            speed: fields.text(body, "speed"),
            geo: fields.text(body, "inference_geo"),
            raw: Some(Json::within(body, raw)),
            ..Usage::default()
        };
        if let Some(mut details) = object(&mut fields, "output_tokens_details") {
            usage.reasoning = details.count("thinking_tokens").map(Tokens);
        }
        if let Some(mut calls) = object(&mut fields, "server_tool_use") {
            usage.web_searches = calls.count("web_search_requests");
            usage.web_fetches = calls.count("web_fetch_requests");
        }
        self.cache_writes(&mut fields, &mut usage);
        add_compactions(&mut fields, &mut usage);
        Some(usage)
    }

    /// Writes within a server tool's loop are in the total and not always in the split; they live 5 minutes (section 7.1), so what the
    /// split does not explain is theirs.
    fn cache_writes(&mut self, fields: &mut Fields<'_>, usage: &mut Usage) {
        let split = object(fields, "cache_creation");
        let total = fields.count("cache_creation_input_tokens");
        if split.is_none() && total.is_none() {
            return;
        }
        if let Some(mut split) = split {
            self.hours1 = split.count("ephemeral_1h_input_tokens").unwrap_or(0);
            self.minutes5 = split.count("ephemeral_5m_input_tokens").unwrap_or(0);
        }
        if let Some(total) = total {
            self.hours1 = self.hours1.min(total);
            self.minutes5 = total - self.hours1;
        }
        usage.cache_write_1h = Some(Tokens(self.hours1));
        usage.cache_write_5m = Some(Tokens(self.minutes5));
    }
}

fn object<'a>(fields: &mut Fields<'a>, name: &str) -> Option<Fields<'a>> {
    Fields::of(fields.take(name)?.get())
}

/// A compaction is billed and is not in the numbers of the top level, which cover the message alone (seen in recorded answers: the last
/// `message` iteration equals them).
fn add_compactions(fields: &mut Fields<'_>, usage: &mut Usage) {
    let Some(items) = fields.take("iterations").and_then(super::schema::items_of) else {
        return;
    };
    for raw in items {
        let Some(mut iteration) = Fields::of(raw.get()) else {
            continue;
        };
        if iteration.text(&Str::new(), "type").as_deref() != Some("compaction") {
            continue;
        }
        let mut meter = Meter::default();
        let add = |into: &mut Option<Tokens>, tokens: u64| {
            if tokens > 0 {
                *into = Some(into.unwrap_or_default() + Tokens(tokens));
            }
        };
        let mut part = Usage::default();
        meter.cache_writes(&mut iteration, &mut part);
        let count = |n: Option<u64>| n.unwrap_or(0);
        add(
            &mut usage.input_uncached,
            count(iteration.count("input_tokens")),
        );
        add(
            &mut usage.cache_read,
            count(iteration.count("cache_read_input_tokens")),
        );
        add(&mut usage.output, count(iteration.count("output_tokens")));
        add(&mut usage.cache_write_1h, meter.hours1);
        add(&mut usage.cache_write_5m, meter.minutes5);
    }
}

/// Writes a usage object as the API does. Lives of caches that this API does not have count with the nearest one, so that the sum is right.
pub(super) fn write(usage: &Usage, object: &mut Object<'_>) {
    let count = |t: Option<Tokens>| t.unwrap_or_default().0;
    let short = count(usage.cache_write_5m).saturating_add(count(usage.cache_write_30m));
    let long = count(usage.cache_write_1h).saturating_add(count(usage.cache_write_12h));
    object.count("input_tokens", count(usage.input_uncached));
    object.count("cache_creation_input_tokens", short.saturating_add(long));
    object.count("cache_read_input_tokens", count(usage.cache_read));
    let mut split = Object::open(object.value("cache_creation"));
    split.count("ephemeral_5m_input_tokens", short);
    split.count("ephemeral_1h_input_tokens", long);
    split.close();
    object.count("output_tokens", count(usage.output));
    if let Some(Tokens(n)) = usage.reasoning {
        let mut details = Object::open(object.value("output_tokens_details"));
        details.count("thinking_tokens", n);
        details.close();
    }
    if usage.web_searches.is_some() || usage.web_fetches.is_some() {
        let mut calls = Object::open(object.value("server_tool_use"));
        calls.count("web_search_requests", usage.web_searches.unwrap_or(0));
        calls.count("web_fetch_requests", usage.web_fetches.unwrap_or(0));
        calls.close();
    }
    match usage.service_tier.as_deref() {
        // Chat's word for it (OpenAI API reference and Anthropic docs, read 2026-08).
        Some("default") => object.text("service_tier", "standard"),
        Some(tier) => object.text("service_tier", tier),
        None => {}
    }
    for (name, said) in [("inference_geo", &usage.geo), ("speed", &usage.speed)] {
        if let Some(said) = said {
            object.text(name, said);
        }
    }
}
