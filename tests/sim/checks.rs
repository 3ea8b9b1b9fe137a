//! What must hold when the world has come to rest.

use super::clients::text_of;
use super::films;
use super::kept;
use super::world::World;
use std::collections::BTreeMap;
use stokehold::base::{Instant, NanoUsd};
use stokehold::canon::{DialectName, Event, Usage};
use stokehold::fake::{Ended, Entry};
use stokehold::policy::bill::Price;
use stokehold::shard::stored::State;
use stokehold::shard::{LedgerRow, Outcome, Standing};

/// One call that a shard made.
pub struct Call {
    pub pool: usize,
    pub began: Instant,
    /// After something kept: it has no row, and draws on no limit.
    pub ask: bool,
    /// It got a connection. One that did not gives back what it drew on its limits: its provider never heard of it.
    pub sent: bool,
}

pub fn all(world: &World) {
    everyone_is_answered_once(world);
    healed_clients_are_served(world);
    nothing_is_left_open(world);
    each_call_has_one_row(world);
    every_answer_is_stored_to_its_end(world);
    no_pool_goes_over_its_rate(world);
    the_ledger_equals_the_books(world);
    no_tenant_has_more_than_its_share_at_once(world);
    nobody_waits_longer_than_the_queue_allows(world);
    clients_read_what_providers_said(world);
    usage_is_told_to_who_asked_for_it(world);
    kept::each_is_billed_once(world);
    films::each_job_is_paid_once(world);
}

/// We ask providers of Chat Completions for usage whoever pays; a client that did not ask sees no chunk without choices, which its program
/// may not expect (`choices[0]` of it fails). Who asked gets it once.
fn usage_is_told_to_who_asked_for_it(world: &World) {
    let chats = world.ended.iter().filter(|c| {
        c.plan.dialect == DialectName::Chat && c.plan.stream && !c.left && c.succeeded()
    });
    for client in chats {
        let asked = client.plan.asks_for_usage();
        let told = client.events().unwrap_or_default();
        let told = told.iter().filter(|e| matches!(e, Event::Usage(_))).count();
        let said = String::from_utf8_lossy(&client.got);
        assert_eq!(told, usize::from(asked), "asked: {asked}:\n{said}");
    }
}

/// What a client has of an answer is the beginning of what one provider said, and of one only.
fn clients_read_what_providers_said(world: &World) {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for heard in world.heard.iter().filter(|heard| !heard.ask) {
        let (id, text) = heard.text();
        said.insert(id, text);
    }
    let mut by_exchange: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in &world.rows {
        if let Some(text) = said.get(&*row.upstream_id) {
            by_exchange.entry(&row.exchange).or_default().push(text);
        }
    }
    // The rows of a shard that broke do not say whose answers they were.
    let lost = |exchange: &str| {
        let of = |row: &&LedgerRow| row.exchange == exchange && row.upstream_id.is_empty();
        world.crashed && world.rows.iter().any(|row| of(&row))
    };
    let check = |exchange: &str, got: &str, whole: bool| {
        if lost(exchange) {
            return;
        }
        let texts = by_exchange.get(exchange).cloned().unwrap_or_default();
        let fits = |text: &&str| text.starts_with(got) && (!whole || text.len() == got.len());
        assert!(
            got.is_empty() || texts.iter().any(fits),
            "{exchange}, whole: {whole}: {got:?} of {texts:?}"
        );
    };
    for client in world.ended.iter().filter(|c| c.plan.kept.is_none()) {
        for heard in client.heard.values().filter(|_| !client.crashed) {
            check(exchange_of(world, &heard.response), &heard.text, heard.done);
        }
        let head = client.head.as_ref();
        let id = head.and_then(|h| h.headers.iter().find(|(n, _)| *n == "x-stokehold-id"));
        let Some((_, exchange)) = id.filter(|_| client.status() == 200) else {
            continue;
        };
        if client.left || client.crashed || client.aborted || !client.reads_answers() {
            continue;
        }
        if let Ok(events) = client.events() {
            check(exchange, &text_of(&events), client.succeeded());
        }
    }
}

/// Whose answer has this id: the provider's own where that passed, else ours, which in Responses has a prefix.
fn exchange_of<'a>(world: &'a World, id: &'a str) -> &'a str {
    let row = world.rows.iter().find(|row| &*row.upstream_id == id);
    let ours = id.strip_prefix("resp_").unwrap_or(id);
    row.filter(|_| !id.is_empty())
        .map_or(ours, |row| &row.exchange)
}

/// By the rows: an exchange holds its tenant from before its first attempt to after its last.
fn no_tenant_has_more_than_its_share_at_once(world: &World) {
    if world.jumped || world.crashed {
        return;
    }
    for (tenant, config) in world.config.tenants.iter().enumerate() {
        let Some(most) = config.limits.concurrent else {
            continue;
        };
        let mut edges: Vec<(i64, i64)> = Vec::new();
        for row in world
            .rows
            .iter()
            .filter(|r| usize::from(r.tenant.0) == tenant && !kept::is_bill(r))
            // A job goes on when its tenant's hold of it is given back.
            .filter(|r| r.usage.output_video_millis.is_none())
        {
            let end = row.started + row.total;
            edges.extend([(row.started.0, 1), (end.0, -1)]);
        }
        edges.sort_unstable();
        let mut at_once = 0;
        for (_, step) in edges {
            at_once += step;
            assert!(
                at_once <= most as i64,
                "tenant {tenant}: {at_once} of {most}"
            );
        }
    }
}

fn nobody_waits_longer_than_the_queue_allows(world: &World) {
    let most = world.config.limits.queue_time;
    for row in &world.rows {
        assert!(row.queued <= most, "{row:?}");
    }
}

/// Who stays is told how it ended: by an answer of its dialect, whole or with the dialect's own error, or by a status.
fn everyone_is_answered_once(world: &World) {
    for client in &world.ended {
        if client.left || client.crashed {
            continue;
        }
        for (id, heard) in &client.heard {
            let ends = usize::from(heard.asked);
            assert!(client.aborted || heard.ends == ends, "{id}: {heard:?}");
        }
        assert!(client.ended, "{:?} was never answered", client.plan);
        if client.plan.kept.is_some() {
            continue;
        }
        if !client.reads_answers() {
            let whole = client.status() != 200 || client.aborted || client.succeeded();
            assert!(whole, "{:?}: {:?}", client.plan, client.got);
            let bytes = client
                .plan
                .film
                .as_ref()
                .is_some_and(|film| !film.is_json());
            assert!(bytes || !client.aborted, "{:?}", client.plan);
            continue;
        }
        if client.status() == 200 && !client.aborted {
            let answer = client.answer();
            let shown = String::from_utf8_lossy(&client.got[..client.got.len().min(3_000)]);
            assert!(
                answer.is_ok(),
                "{answer:?} of {:?} {}:\n{shown}",
                client.plan.dialect,
                client.plan.stream
            );
        }
        if client.aborted {
            assert!(
                client.plan.slow.is_some(),
                "only who does not read is broken off: {:?}",
                client.plan
            );
        }
    }
}

fn healed_clients_are_served(world: &World) {
    for client in world.ended.iter().filter(|c| c.plan.must_succeed) {
        let said = String::from_utf8_lossy(&client.got);
        assert!(
            client.succeeded(),
            "after all faults ended: {} {said}",
            client.status()
        );
    }
}

/// FIELD-BUGS 47: however its client or its provider left.
fn nothing_is_left_open(world: &World) {
    for (i, node) in world.nodes.iter().enumerate() {
        assert_eq!(node.shard.standing(), Standing::default(), "shard {i}");
        assert_eq!(node.shard.bodies().taken(), 0, "bytes that shard {i} holds");
        assert!(node.clients.is_empty(), "shard {i} still has clients");
    }
}

/// Each attempt in the ledger exactly once; of each exchange one row is the last, and it is.
/// The store itself has seen that no piece is missing and none is there twice.
fn every_answer_is_stored_to_its_end(world: &World) {
    for (id, kept) in world.nodes.iter().flat_map(|node| &node.store.answers) {
        assert_ne!(kept.state, State::Running, "{id}");
        let rows = world.rows.iter().filter(|row| *row.exchange == **id);
        let done = rows
            .clone()
            .any(|row| row.outcome == Outcome::Done && row.last);
        assert!(rows.count() > 0, "{id}");
        if done && kept.state == State::Complete {
            assert!(!kept.sent.is_empty(), "{id}");
        }
    }
}

fn each_call_has_one_row(world: &World) {
    let rows = || world.rows.iter().filter(|row| !kept::is_bill(row));
    let calls = world.calls.iter().filter(|call| !call.ask).count();
    let within = world.calls_within_attempts();
    assert_eq!(
        rows().count() as u64 + within,
        calls as u64,
        "one row for each call"
    );
    let mut by_exchange: BTreeMap<&str, Vec<&LedgerRow>> = BTreeMap::new();
    for row in rows() {
        by_exchange.entry(&row.exchange).or_default().push(row);
    }
    for (exchange, rows) in by_exchange {
        let mut numbers: Vec<u8> = rows.iter().map(|row| row.attempt).collect();
        // Of two calls at once the later may end first.
        numbers.sort_unstable();
        let count: Vec<u8> = (1..=rows.len() as u8).collect();
        assert_eq!(numbers, count, "attempts of {exchange}");
        let last: Vec<bool> = rows.iter().map(|row| row.last).collect();
        let only_the_last: Vec<bool> = (1..=rows.len()).map(|n| n == rows.len()).collect();
        assert_eq!(last, only_the_last, "last rows of {exchange}: {rows:?}");
        let done = rows
            .iter()
            .filter(|row| row.outcome == Outcome::Done)
            .count();
        assert!(done <= 1, "{exchange} was answered {done} times");
        if done == 1 {
            assert!(
                rows.last().unwrap().last,
                "{exchange}: the answer is the last attempt"
            );
        }
    }
}

/// In no stretch of time more calls than a full bucket and what flowed in since.
fn no_pool_goes_over_its_rate(world: &World) {
    // A shard that comes back alone begins with full buckets: what it had used is not kept anywhere yet. Where there are others they hold
    // what was granted, and who grants begins with nothing.
    if world.crashed && world.nodes.len() == 1 {
        return;
    }
    for (pool, config) in world.config.pools.iter().enumerate() {
        for limit in &config.limits {
            let Some(rpm) = limit.rpm else { continue };
            let mut times: Vec<u64> = world
                .calls
                .iter()
                .filter(|c| c.pool == pool && !c.ask && c.sent)
                .map(|c| c.began.0)
                .collect();
            times.sort_unstable();
            for from in 0..times.len() {
                for to in from..times.len() {
                    let span = u128::from(times[to] - times[from]);
                    let most = u128::from(rpm) + span * u128::from(rpm) / 60_000_000_000 + 1;
                    let sent = (to - from + 1) as u128;
                    assert!(sent <= most, "{sent} of {most} in pool {pool}");
                }
            }
        }
    }
}

/// Every whole answer is billed as the provider billed it; every other is marked as an estimate, and no refusal costs anything.
fn the_ledger_equals_the_books(world: &World) {
    let backgrounds = kept::backgrounds(world);
    let own = |row: &&LedgerRow| !kept::is_bill(row) && !kept::is_creation(row, &backgrounds);
    let mut rows: BTreeMap<&str, &LedgerRow> = BTreeMap::new();
    for row in world.rows.iter().filter(|row| !row.upstream_id.is_empty()) {
        if own(&row) {
            rows.insert(&row.upstream_id, row);
        }
    }
    for fake in &world.fakes {
        assert_eq!(fake.open(), 0, "answers nobody waits for are hung up");
        for entry in fake.book().entries() {
            if entry.model == films::MODEL {
                continue;
            }
            match (entry.ended, rows.get(entry.id.as_str())) {
                (Ended::Complete, Some(row)) if row.outcome == Outcome::Done => {
                    equal(world, entry, row)
                }
                (Ended::Refused(_), Some(row)) => {
                    assert_eq!(row.cost, NanoUsd::ZERO, "a refusal costs nothing: {row:?}")
                }
                (Ended::Complete | Ended::Cut | Ended::HungUp, Some(row))
                    if row.outcome != Outcome::Done =>
                {
                    assert!(
                        row.usage.estimated || row.usage == Usage::default(),
                        "{row:?}"
                    );
                }
                _ => {}
            }
        }
    }
    let whole: usize = world
        .fakes
        .iter()
        .flat_map(|f| f.book().entries())
        .filter(|e| e.ended == Ended::Complete && e.told && e.model != films::MODEL)
        .count();
    let done = world
        .rows
        .iter()
        .filter(|row| row.outcome == Outcome::Done && own(row) && !films::is_film(world, row))
        .count();
    assert!(
        done <= whole,
        "{done} answers, of which the providers know {whole}"
    );
}

pub fn equal(world: &World, entry: &Entry, row: &LedgerRow) {
    let u = &row.usage;
    let of = |t: Option<stokehold::base::Tokens>| t.map_or(0, |t| t.0);
    let b = entry.billed;
    assert!(!u.estimated, "{row:?}");
    assert_eq!(
        [
            of(u.input_uncached),
            of(u.cache_read),
            of(u.cache_write_5m),
            of(u.cache_write_1h),
            of(u.output)
        ],
        [b.uncached, b.read, b.written_5m, b.written_1h, b.output],
        "{entry:?}\n{row:?}"
    );
    let price = &world.config.endpoints[row.endpoint.0 as usize].price;
    assert_eq!(row.cost, priced(entry, price), "{entry:?}");
}

/// The bill again, in the plainest way.
fn priced(entry: &Entry, price: &Price) -> NanoUsd {
    let b = entry.billed;
    let at = |p: Option<stokehold::base::TokenPrice>| u128::from(p.unwrap_or(price.input).0);
    let pico = u128::from(b.uncached) * u128::from(price.input.0)
        + u128::from(b.read) * at(price.cache_read)
        + u128::from(b.written_5m) * at(price.cache_write_5m)
        + u128::from(b.written_1h) * at(price.cache_write_1h)
        + u128::from(b.output) * u128::from(price.output.0);
    NanoUsd(((pico + 500) / 1_000) as i64)
}
