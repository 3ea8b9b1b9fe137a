//! `usage` ⇄ canon's normal form (`providers/bedrock.md` 7).

use crate::base::{Json, Str, Tokens};
use crate::canon::Usage;
use crate::protocol::dialect::messages::schema::{Fields, Object, items_of};
use serde_json::value::RawValue;

/// One usage object. `inputTokens` leaves out what was read from and written to the cache. `None`: it is no object.
pub(super) fn read(body: &Str, raw: &RawValue) -> Option<Usage> {
    let mut fields = Fields::of(raw.get())?;
    let mut usage = Usage {
        input_uncached: fields.count("inputTokens").map(Tokens),
        output: fields.count("outputTokens").map(Tokens),
        raw: Some(Json::within(body, raw)),
        ..Usage::default()
    };
    // Older answers, and Nova's, have the longer names alone.
    let read = fields.count("cacheReadInputTokens");
    usage.cache_read = read
        .or(fields.count("cacheReadInputTokenCount"))
        .map(Tokens);
    let written = fields.count("cacheWriteInputTokens");
    if let Some(total) = written.or(fields.count("cacheWriteInputTokenCount")) {
        let hours1 = written_for_an_hour(body, &mut fields).min(total);
        usage.cache_write_1h = Some(Tokens(hours1));
        // What the details do not explain lives as long as a point that says nothing.
        usage.cache_write_5m = Some(Tokens(total - hours1));
    }
    Some(usage)
}

fn written_for_an_hour(body: &Str, fields: &mut Fields<'_>) -> u64 {
    let details = fields.take("cacheDetails").and_then(items_of);
    let hours1 = |raw: &RawValue| {
        let mut detail = Fields::of(raw.get())?;
        let is_hour = detail.text(body, "ttl").as_deref() == Some("1h");
        detail.count("inputTokens").filter(|_| is_hour)
    };
    details
        .unwrap_or_default()
        .into_iter()
        .filter_map(hours1)
        .fold(0, u64::saturating_add)
}

/// Writes a usage object as the API does. Lives of caches that this API does not have count with the nearest one, so that the sum is right.
pub(super) fn write(usage: &Usage, object: &mut Object<'_>) {
    let count = |t: Option<Tokens>| t.unwrap_or_default().0;
    object.count("inputTokens", count(usage.input_uncached));
    object.count("outputTokens", count(usage.output));
    let total = usage.input_total() + usage.output.unwrap_or_default();
    object.count("totalTokens", total.0);
    if let Some(Tokens(n)) = usage.cache_read {
        object.count("cacheReadInputTokens", n);
    }
    let short = count(usage.cache_write_5m).saturating_add(count(usage.cache_write_30m));
    let long = count(usage.cache_write_1h).saturating_add(count(usage.cache_write_12h));
    let said = usage.cache_write_5m.or(usage.cache_write_1h).is_some();
    if said || short > 0 || long > 0 {
        object.count("cacheWriteInputTokens", short.saturating_add(long));
        // Longer lives first, as the API has them.
        let details = [("1h", long), ("5m", short)];
        let told = details.into_iter().filter(|(_, n)| *n > 0);
        object.array("cacheDetails", told, |(ttl, n), out| {
            let mut detail = Object::open(out);
            detail.text("ttl", ttl);
            detail.count("inputTokens", n);
            detail.close();
        });
    }
}
