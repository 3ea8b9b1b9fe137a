//! What shards have counted, in Prometheus's text format (version 0.0.4, read 2026-11).

use crate::canon::FaultClass;
use crate::iocore::redis::Counts;
use crate::iocore::run::Counters;
use crate::iocore::servers::Told;
use crate::net::{park, ring_flags, runtime};
use crate::node::serving::Shown;
use crate::shard::{Meters, ServerNews, State};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What is shown of an own server.
#[derive(Clone, Debug)]
pub struct Watching {
    news: ServerNews,
    stale_after: Duration,
}

impl Watching {
    pub fn of(told: &Told) -> Self {
        Self {
            news: told.news(),
            stale_after: told.server.health.stale_after(),
        }
    }
}

/// Of the link to Redis.
pub fn link(counts: &Counts) -> String {
    let mut page = Page(String::with_capacity(1_024));
    page.gauge(
        "redis_connected",
        "1 while Redis answers.",
        u8::from(counts.connected.load(Relaxed)),
    );
    let figures = [
        (
            "redis_asks_answered_total",
            "Asks for leases that Redis answered.",
            &counts.answered,
        ),
        (
            "redis_asks_failed_total",
            "Asks that it did not answer, or with an error.",
            &counts.failed,
        ),
        (
            "redis_connects_total",
            "Connections made to it.",
            &counts.connects,
        ),
    ];
    for (name, help, count) in figures {
        page.counter(name, help, count.load(Relaxed));
    }
    page.0
}

/// All figures, summed over shards; those of own servers by provider.
pub fn text(shown: &[Shown], ledger: &Counters, servers: &[Watching]) -> String {
    let shards: Vec<&Meters> = shown.iter().map(|s| &s.meters).collect();
    let shards = &shards[..];
    let mut page = Page(String::with_capacity(8_192));
    let sum = |of: fn(&Meters) -> u64| shards.iter().map(|m| of(m)).sum::<u64>();
    page.counter(
        "exchanges_begun_total",
        "Requests taken in.",
        sum(|m| m.exchanges_begun),
    );
    page.counter(
        "exchanges_done_total",
        "Answers told whole.",
        sum(|m| m.exchanges_done),
    );
    page.by_class(
        "exchanges_failed_total",
        "Failures told to clients.",
        shards,
        |m| &m.exchanges_failed,
    );
    page.counter(
        "clients_gone_total",
        "Clients that left before their end.",
        sum(|m| m.clients_gone),
    );
    page.counter(
        "slow_clients_dropped_total",
        "Clients that did not read.",
        sum(|m| m.slow_clients_dropped),
    );
    page.counter("attempts_total", "Calls of providers.", sum(|m| m.attempts));
    page.counter(
        "attempts_done_total",
        "Calls answered whole.",
        sum(|m| m.attempts_done),
    );
    page.by_class("attempts_failed_total", "Calls that failed.", shards, |m| {
        &m.attempts_failed
    });
    page.counter(
        "attempts_cancelled_total",
        "Calls given up: for their clients, or because another call answered first.",
        sum(|m| m.attempts_cancelled),
    );
    page.counter(
        "retries_total",
        "Attempts after one that failed.",
        sum(|m| m.retries),
    );
    page.counter(
        "hedges_total",
        "Calls begun beside others that were late.",
        sum(|m| m.hedges),
    );
    page.counter(
        "keep_warm_total",
        "Requests made to keep prompts in caches.",
        sum(|m| m.pings),
    );
    page.counter(
        "cache_marks_total",
        "Cache marks decided on for clients.",
        sum(|m| m.cache_marks),
    );
    page.counter(
        "cache_help_refused_total",
        "Requests refused for what was added for caches, and sent again without.",
        sum(|m| m.unhelped),
    );
    page.counter(
        "rebound_total",
        "Requests sent without reasoning or signatures that nobody in reach could read.",
        sum(|m| m.rebound),
    );
    page.counter(
        "video_questions_total",
        "Calls about videos within an attempt, after its first.",
        sum(|m| m.video_questions),
    );
    page.counter(
        "waited_total",
        "Requests that waited for headroom.",
        sum(|m| m.waited),
    );
    page.counter(
        "unauthenticated_total",
        "Client keys refused.",
        sum(|m| m.unauthenticated),
    );
    page.counter(
        "broken_promises_total",
        "Faults of our own.",
        sum(|m| m.broken_promises),
    );
    page.counter(
        "tokens_input_total",
        "Input tokens, cached or not.",
        sum(|m| m.tokens_input.0),
    );
    page.counter(
        "tokens_cache_read_total",
        "Input tokens read from caches.",
        sum(|m| m.tokens_cache_read.0),
    );
    page.counter(
        "tokens_cache_write_total",
        "Input tokens written to caches.",
        sum(|m| m.tokens_cache_write.0),
    );
    page.counter(
        "tokens_output_total",
        "Output tokens.",
        sum(|m| m.tokens_output.0),
    );
    page.counter(
        "requests_gated_total",
        "Requests that waited for another to write a prompt that they share.",
        sum(|m| m.gated),
    );
    page.counter(
        "cache_tokens_expected_total",
        "Input tokens that were expected to be read from caches that are known.",
        sum(|m| m.cached_expected.0),
    );
    page.counter(
        "cache_tokens_billed_total",
        "Input tokens that were, of the same answers.",
        sum(|m| m.cached_billed.0),
    );
    let regret: i64 = shards.iter().map(|m| m.cache_regret.0).sum();
    page.counter(
        "cache_regret_nano_usd_total",
        "Paid for tokens that some place was expected to have in its cache, beyond reading them, in billionths of a dollar.",
        regret,
    );
    page.counter(
        "cache_drifts_total",
        "Caches that turned out not to keep their promised lifetime.",
        sum(|m| m.cache_drifts),
    );
    let cost: i64 = shards.iter().map(|m| m.cost.0).sum();
    page.counter(
        "cost_nano_usd_total",
        "Billed, in billionths of a dollar.",
        cost,
    );
    page.histogram(
        "first_byte_seconds",
        "From a call to its first byte.",
        shards,
        |m| &m.first_byte_us,
    );
    page.histogram("attempt_seconds", "From a call to its end.", shards, |m| {
        &m.total_us
    });
    let written = ledger.read();
    page.counter(
        "ledger_rows_written_total",
        "Rows of the ledger.",
        written.rows_written,
    );
    page.counter(
        "ledger_commits_failed_total",
        "Commits that were tried again.",
        written.commits_failed,
    );
    page.gauge(
        "ledger_rows_waiting",
        "Rows not written yet.",
        written.rows_waiting,
    );
    page.gauge(
        "spool_bytes",
        "Of answers on disk, prepared files included.",
        written.spool_bytes,
    );
    page.gauge(
        "spool_answers",
        "Answers in the spool.",
        written.spool_answers,
    );
    page.gauge(
        "spool_answers_running",
        "Those of them that still come.",
        written.spool_running,
    );
    page.counter(
        "spool_segments_late_total",
        "Files that a shard had to make itself, since none lay ready.",
        written.spool_late,
    );
    page.counter(
        "spool_records_lost_total",
        "Records that found no room on the disk.",
        written.spool_lost,
    );
    page.counter(
        "spool_answers_dropped_total",
        "Answers forgotten for room.",
        written.spool_dropped,
    );
    page.counter(
        "log_lines_dropped_total",
        "Log lines that found no room.",
        written.lines_dropped,
    );
    page.counter(
        "task_panics_total",
        "Connection tasks that panicked.",
        runtime::task_panics(),
    );
    page.gauge(
        "cooperative_rings",
        "io_uring rings made with COOP_TASKRUN.",
        ring_flags::cooperative_rings(),
    );
    page.counter(
        "bounded_parks_total",
        "Waits of io_uring executors that ended by their bound.",
        park::bounded_parks(),
    );
    page.counter(
        "wrong_parks_total",
        "Waits that began although there was work at hand.",
        park::wrong_parks(),
    );
    page.gauge("shards", "Executors.", shards.len());
    page.open(shown);
    page.servers(servers);
    page.0
}

struct Page(String);

/// Reads one figure of what a shard shows.
type Figure = fn(&Shown) -> u64;

/// Reads one figure of what a server says; `None` where it does not say it.
type OfServer<'a> = &'a dyn Fn(&ServerNews) -> Option<f64>;

impl Page {
    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        // A String takes all.
        let _ = writeln!(self.0, "stokehold_{name}{labels} {value}");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(
            self.0,
            "# HELP stokehold_{name} {help}\n# TYPE stokehold_{name} {kind}"
        );
    }

    /// What is held open at this time: all but the idle ones are zero when nothing is going on.
    fn open(&mut self, shown: &[Shown]) {
        let sum = |of: fn(&Shown) -> u64| shown.iter().map(of).sum::<u64>();
        let figures: [(&str, &str, Figure); 9] = [
            (
                "shard_restarts",
                "Lives of shards that ended in a panic.",
                |s| u64::from(s.restarts),
            ),
            ("connections_open", "Connections of clients.", |s| {
                s.sockets.connections as u64
            }),
            ("clients_open", "Requests on them.", |s| {
                s.sockets.clients as u64
            }),
            (
                "body_bytes_held",
                "Bytes of request bodies in memory.",
                |s| s.sockets.body_bytes,
            ),
            ("calls_open", "Calls of providers under way.", |s| {
                s.sockets.calls as u64
            }),
            ("upstream_idle", "Idle connections to providers.", |s| {
                s.sockets.upstream_idle as u64
            }),
            ("upstream_h2", "HTTP/2 connections to providers.", |s| {
                s.sockets.upstream_h2 as u64
            }),
            ("exchanges_open", "Exchanges that have not settled.", |s| {
                s.open.exchanges as u64
            }),
            (
                "exchanges_waiting",
                "Exchanges that wait for headroom.",
                |s| s.open.waiting as u64,
            ),
        ];
        for (name, help, of) in figures {
            self.gauge(name, help, sum(of));
        }
    }

    /// What own servers said at their last poll; what routing does not believe any more is not shown either.
    fn servers(&mut self, servers: &[Watching]) {
        let whole = |count: Option<u64>| count.map(|count| count as f64);
        let figures: [(&str, &str, OfServer); 7] = [
            (
                "server_up",
                "1: an own server takes requests; 0: it is down, or draining.",
                &|n| n.is_up().map(|up| f64::from(u8::from(up))),
            ),
            (
                "server_draining",
                "1: it says itself that it takes nothing new.",
                &|n| Some(f64::from(u8::from(n.report.state == State::Draining))),
            ),
            ("server_running", "Requests in its batch.", &|n| {
                whole(n.report.figures.running)
            }),
            ("server_waiting", "Requests that wait there.", &|n| {
                whole(n.report.figures.waiting)
            }),
            (
                "server_kv_use",
                "Share of its KV cache in use, 0 to 1.",
                &|n| n.report.figures.kv_use,
            ),
            (
                "server_hit_rate",
                "Share of prompts that its prefix cache had of late, 0 to 1.",
                &|n| n.report.figures.hit_rate,
            ),
            (
                "server_heard_seconds",
                "Since its last poll that told something.",
                &|n| Some(n.age.as_secs_f64()),
            ),
        ];
        let fresh = |server: &&Watching| server.news.age < server.stale_after;
        for (name, help, of) in figures {
            self.head(name, help, "gauge");
            for server in servers.iter().filter(fresh) {
                if let Some(value) = of(&server.news) {
                    // An id of the configuration: letters, digits and few signs, but who knows.
                    let provider = server.news.name.provider.escape_default();
                    self.line(name, &format!("{{provider=\"{provider}\"}}"), value);
                }
            }
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.line(name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.line(name, "", value);
    }

    fn by_class(
        &mut self,
        name: &str,
        help: &str,
        shards: &[&Meters],
        of: fn(&Meters) -> &BTreeMap<FaultClass, u64>,
    ) {
        let mut sums: BTreeMap<FaultClass, u64> = BTreeMap::new();
        for (class, count) in shards.iter().flat_map(|m| of(m)) {
            *sums.entry(*class).or_default() += count;
        }
        self.head(name, help, "counter");
        for (class, count) in sums {
            self.line(name, &format!("{{class=\"{}\"}}", class.as_str()), count);
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        shards: &[&Meters],
        of: fn(&Meters) -> &Histogram<u64>,
    ) {
        self.head(name, help, "histogram");
        let mut count = 0;
        let mut sum_us = 0.0;
        let mut below = vec![0; BOUNDS_US.len()];
        for histogram in shards.iter().map(|m| of(m)) {
            count += histogram.len();
            sum_us += histogram.mean() * histogram.len() as f64;
            for (below, bound) in below.iter_mut().zip(BOUNDS_US) {
                *below += histogram.count_between(0, bound);
            }
        }
        for (below, bound) in below.iter().zip(BOUNDS_US) {
            self.line(
                &format!("{name}_bucket"),
                &format!("{{le=\"{}\"}}", bound as f64 / 1e6),
                below,
            );
        }
        self.line(&format!("{name}_bucket"), "{le=\"+Inf\"}", count);
        self.line(&format!("{name}_sum"), "", sum_us / 1e6);
        self.line(&format!("{name}_count"), "", count);
    }
}

/// From a local machine's answer to a long reasoning one.
const BOUNDS_US: [u64; 12] = [
    1_000,
    5_000,
    25_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];
