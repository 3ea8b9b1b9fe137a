//! A ledger row as bytes, with names instead of ids: what a spool keeps of an attempt until the ledger has it, and longer than a configuration
//! lasts.
//!
//! One byte of version, then fields: a number of seven bits with, in its lowest bit, whether a number or a text follows; numbers as varints (signed
//! ones folded), texts with their length before them. A field that is not known is passed over, so that an older program reads what a newer one
//! wrote. No checksum: the spool's frames have one.

use super::figures::{COUNTS, Figures};
use super::price::{self, read_varint, varint};
use super::{names, schema};
use crate::config::Config;
use crate::shard::LedgerRow;
use std::borrow::Cow;

/// One row, borrowed from the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireRow<'a> {
    pub exchange: Cow<'a, str>,
    /// In the order of the ledger's columns: tenant, client key, model, provider, endpoint, pool, key, dialect, outcome.
    pub names: [Cow<'a, str>; 9],
    pub upstream_id: Cow<'a, str>,
    pub decision: Cow<'a, str>,
    pub session: Option<Cow<'a, str>>,
    pub service_tier: Option<Cow<'a, str>>,
    pub video_resolution: Option<Cow<'a, str>>,
    /// The unit prices, as they travel.
    pub prices: Cow<'a, [u8]>,
    pub figures: Figures,
}

/// Why bytes are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// None of this program's versions.
    Version(u8),
    /// They end within a field.
    Cut,
    /// A text is not UTF-8.
    NotText,
    /// Without this nothing can be written down.
    Lacks(&'static str),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(found) => write!(f, "a row of version {found}"),
            Self::Cut => f.write_str("a row that is cut off"),
            Self::NotText => f.write_str("a row with a text that is not UTF-8"),
            Self::Lacks(what) => write!(f, "a row without {what}"),
        }
    }
}

impl std::error::Error for WireError {}

/// Appends `row` to `out`. Allocates nothing but what `out` grows by: some 250 bytes.
pub fn encode(row: &LedgerRow, out: &mut Vec<u8>) {
    let figures = Figures::of(row);
    out.push(VERSION);
    text(out, field::EXCHANGE, &row.exchange);
    encode_names(row, out);
    text(out, field::UPSTREAM_ID, &row.upstream_id);
    text(out, field::DECISION, row.decision);
    let maybe = [
        (field::SESSION, &row.session),
        (field::TIER, &row.usage.service_tier),
        (field::RESOLUTION, &row.usage.output_video_resolution),
    ];
    for (number, said) in maybe {
        if let Some(said) = said {
            text(out, number, said);
        }
    }
    let prices = price::of(row);
    if !prices.is_empty() {
        bytes(out, field::PRICES, &prices);
    }
    encode_figures(&figures, out);
}

/// Reads what `encode` wrote, to its end. Never panics, whatever the bytes are.
pub fn decode(bytes: &[u8]) -> Result<WireRow<'_>, WireError> {
    let (version, mut rest) = bytes.split_first().ok_or(WireError::Cut)?;
    if *version != VERSION {
        return Err(WireError::Version(*version));
    }
    let mut row = WireRow::default();
    while !rest.is_empty() {
        rest = row.field(rest)?;
    }
    if row.exchange.is_empty() {
        return Err(WireError::Lacks("an exchange"));
    }
    if row.figures.attempt == 0 {
        return Err(WireError::Lacks("an attempt"));
    }
    Ok(row)
}

impl Default for WireRow<'_> {
    fn default() -> Self {
        let mut names = [const { Cow::Borrowed("?") }; 9];
        names[KEY] = Cow::Borrowed("-");
        Self {
            exchange: Cow::default(),
            names,
            upstream_id: Cow::default(),
            decision: Cow::default(),
            session: None,
            service_tier: None,
            video_resolution: None,
            prices: Cow::default(),
            figures: Figures::default(),
        }
    }
}

impl<'a> WireRow<'a> {
    fn field(&mut self, from: &'a [u8]) -> Result<&'a [u8], WireError> {
        let (tag, rest) = read_varint(from).ok_or(WireError::Cut)?;
        let (number, value) = (tag >> 1, tag & 1);
        let (told, rest) = read_varint(rest).ok_or(WireError::Cut)?;
        if value == NUMBER {
            self.number(number, told);
            return Ok(rest);
        }
        let length = usize::try_from(told).unwrap_or(usize::MAX);
        let (bytes, rest) = rest.split_at_checked(length).ok_or(WireError::Cut)?;
        self.text(number, bytes)?;
        Ok(rest)
    }

    fn text(&mut self, number: u64, bytes: &'a [u8]) -> Result<(), WireError> {
        if number == field::PRICES {
            self.prices = Cow::Borrowed(bytes);
            return Ok(());
        }
        let name = number.wrapping_sub(field::NAMES) as usize;
        let known =
            name < schema::NAMES.len() || (field::EXCHANGE..=field::RESOLUTION).contains(&number);
        if !known {
            return Ok(());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| WireError::NotText)?;
        let text = Cow::Borrowed(text);
        match number {
            field::EXCHANGE => self.exchange = text,
            field::UPSTREAM_ID => self.upstream_id = text,
            field::DECISION => self.decision = text,
            field::SESSION => self.session = Some(text),
            field::TIER => self.service_tier = Some(text),
            field::RESOLUTION => self.video_resolution = Some(text),
            // An endpoint travels without its provider, which stands before it.
            _ if name == ENDPOINT => {
                self.names[name] = Cow::Owned(format!("{}/{text}", self.names[PROVIDER]));
            }
            _ => self.names[name] = text,
        }
        Ok(())
    }

    fn number(&mut self, number: u64, told: u64) {
        let figures = &mut self.figures;
        let name = number.wrapping_sub(field::NAMES) as usize;
        if name < schema::NAMES.len() {
            self.names[name] = Cow::Owned(format!("?{told}"));
            return;
        }
        let count = number.wrapping_sub(field::COUNTS) as usize;
        if count < COUNTS {
            figures.counts[count] = Some(bounded(count, told));
            return;
        }
        match number {
            field::ATTEMPT => figures.attempt = u8::try_from(told).unwrap_or(u8::MAX),
            field::FLAGS => {
                figures.last = told & 1 != 0;
                figures.failed = told & 2 != 0;
                figures.streamed = told & 4 != 0;
                figures.estimated = told & 8 != 0;
            }
            field::STARTED => figures.started = unfolded(told),
            field::STATUS => figures.status = u16::try_from(told).ok(),
            field::COST => figures.cost = unfolded(told),
            field::QUEUED => figures.queued = super::figures::bounded(told),
            field::GATED => figures.gated = super::figures::bounded(told),
            field::FIRST_BYTE => figures.first_byte = Some(super::figures::bounded(told)),
            field::FIRST_TOKEN => figures.first_token = Some(super::figures::bounded(told)),
            field::TOTAL => figures.total = super::figures::bounded(told),
            // Of a version to come.
            _ => {}
        }
    }
}

/// What a provider says that it cost may be less than nothing; nothing else may.
fn bounded(count: usize, told: u64) -> i64 {
    match count == PROVIDER_COST {
        true => unfolded(told),
        false => super::figures::bounded(told),
    }
}

fn encode_names(row: &LedgerRow, out: &mut Vec<u8>) {
    let config: &Config = &row.under.0;
    let endpoint = config.endpoints.get(usize::from(row.endpoint.0));
    let provider = endpoint.and_then(|e| config.providers.get(usize::from(e.provider.0)));
    let tenant = config.tenants.get(usize::from(row.tenant.0));
    let model = config.models.get(usize::from(row.model.0));
    let pool = config.pools.get(usize::from(row.pool.0));
    let place = u64::from(row.endpoint.0);
    let named = [
        (tenant.map(|t| &t.name), u64::from(row.tenant.0)),
        (
            config.client_key(row.client_key).map(|k| &k.name),
            u64::from(row.client_key.0),
        ),
        (model.map(|m| &m.name), u64::from(row.model.0)),
        (provider.map(|p| &p.name), place),
        (endpoint.and(provider).and(endpoint).map(|e| &e.name), place),
        (pool.map(|p| &p.name), u64::from(row.pool.0)),
    ];
    for (number, (name, id)) in (field::NAMES..).zip(named) {
        match name {
            Some(name) => text(out, number, name),
            None => count(out, number, id),
        }
    }
    let key = |at: usize| config.keys.get(at).map(|k| &k.name);
    if let Some(id) = row.key {
        match key(usize::from(id.0)) {
            Some(name) => text(out, field::NAMES + KEY as u64, name),
            None => count(out, field::NAMES + KEY as u64, u64::from(id.0)),
        }
    }
    text(out, field::NAMES + 7, row.dialect.as_str());
    text(out, field::NAMES + 8, names::outcome(row.outcome));
}

fn encode_figures(figures: &Figures, out: &mut Vec<u8>) {
    let flags = u64::from(figures.last)
        | u64::from(figures.failed) << 1
        | u64::from(figures.streamed) << 2
        | u64::from(figures.estimated) << 3;
    count(out, field::ATTEMPT, figures.attempt.into());
    count(out, field::FLAGS, flags);
    count(out, field::STARTED, folded(figures.started));
    if let Some(status) = figures.status {
        count(out, field::STATUS, status.into());
    }
    for (at, told) in figures.counts.iter().enumerate() {
        if let Some(told) = *told {
            let told = match at == PROVIDER_COST {
                true => folded(told),
                false => told.unsigned_abs(),
            };
            count(out, field::COUNTS + at as u64, told);
        }
    }
    count(out, field::COST, folded(figures.cost));
    let times = [
        (field::QUEUED, Some(figures.queued).filter(|t| *t != 0)),
        (field::GATED, Some(figures.gated).filter(|t| *t != 0)),
        (field::FIRST_BYTE, figures.first_byte),
        (field::FIRST_TOKEN, figures.first_token),
        (field::TOTAL, Some(figures.total)),
    ];
    for (number, time) in times {
        if let Some(time) = time {
            count(out, number, time.unsigned_abs());
        }
    }
}

fn count(out: &mut Vec<u8>, number: u64, told: u64) {
    varint(number << 1 | NUMBER, |byte| out.push(byte));
    varint(told, |byte| out.push(byte));
}

fn text(out: &mut Vec<u8>, number: u64, text: &str) {
    bytes(out, number, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(number << 1 | TEXT, |byte| out.push(byte));
    varint(bytes.len() as u64, |byte| out.push(byte));
    out.extend_from_slice(bytes);
}

/// Small numbers of either sign become small ones.
fn folded(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unfolded(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

const VERSION: u8 = 1;
const NUMBER: u64 = 0;
const TEXT: u64 = 1;
/// Places in a row's names.
const PROVIDER: usize = 3;
const ENDPOINT: usize = 4;
const KEY: usize = 6;
/// Its place among the counts.
const PROVIDER_COST: usize = 14;

/// Numbers of fields. They never change; new ones are added.
mod field {
    pub const EXCHANGE: u64 = 1;
    pub const UPSTREAM_ID: u64 = 2;
    pub const DECISION: u64 = 3;
    pub const SESSION: u64 = 4;
    pub const TIER: u64 = 5;
    pub const RESOLUTION: u64 = 6;
    pub const PRICES: u64 = 7;
    pub const ATTEMPT: u64 = 8;
    pub const FLAGS: u64 = 9;
    pub const STARTED: u64 = 10;
    pub const STATUS: u64 = 11;
    pub const COST: u64 = 12;
    pub const QUEUED: u64 = 13;
    pub const GATED: u64 = 14;
    pub const FIRST_BYTE: u64 = 15;
    pub const FIRST_TOKEN: u64 = 16;
    pub const TOTAL: u64 = 17;
    /// Nine, in the order of the names.
    pub const NAMES: u64 = 20;
    /// As many as there are counts, in their order.
    pub const COUNTS: u64 = 32;
}

/// A provider's word: cut, since nobody vouches for its length.
pub fn cut(said: &str) -> &str {
    let end = said.char_indices().nth(64);
    end.map_or(said, |(at, _)| &said[..at])
}

#[cfg(test)]
mod tests;
