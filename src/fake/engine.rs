//! How an own machine says it is: its health page, its metrics, its load (SGLang 0.5.23 and vLLM 0.33, read 2026-11).
//!
//! The figures are those of the answers under way and of the book. Faults here are scripted apart from those of answers.

use super::Fake;
use super::fault::Faults;
use super::head::{blank, typed};
use super::manner::Manner;
use super::reply::{Body, Live};
use super::route::Deed;
use super::serve::Caller;
use crate::base::Now;
use std::fmt::Write as _;
use std::time::Duration;

/// What an engine says of itself instead of the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// The status of its health page; 503 says that it starts or stops.
    pub health: Option<u16>,
    /// Its metrics and its load are a page of something else.
    pub garbage: bool,
    /// None of these pages is ever answered.
    pub stall: bool,
}

/// What is under way and what was.
struct Standing {
    running: u64,
    waiting: u64,
    kv_use: f64,
    prompt_tokens: u64,
    cached_tokens: u64,
}

/// Tokens of the KV cache, as on one large card.
const KV_TOKENS: u64 = 200_000;
/// How long a page takes that is never answered: longer than anybody waits.
const NEVER: Duration = Duration::from_secs(3_600);

impl Fake {
    /// A page on how the engine is.
    pub(super) fn feels(&self, now: Now, caller: &Caller<'_>, faults: &Faults) -> Live {
        let mut faults = faults.clone();
        if self.engine.stall {
            faults.slow_first_byte = Some(NEVER);
        }
        let page = |kind: &str, body: String| {
            let body = match self.engine.garbage {
                true => "<html><body>It works!</body></html>\n".to_owned(),
                false => body,
            };
            typed(now.instant, caller, kind, body.into_bytes(), &faults)
        };
        let empty = |status| blank(now.instant, caller, status, "text/plain", faults.clone());
        match (&caller.route.deed, caller.path, caller.manner) {
            (Deed::Health, ..) => empty(self.engine.health.unwrap_or(200)),
            (Deed::Metrics, ..) => page("text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            // Each engine has its own page, and not the other's.
            (_, "/load", Manner::Sglang) | (_, "/v1/loads", Manner::Vllm) => empty(404),
            (_, "/load", _) => {
                let running = self.standing().running;
                page("application/json", format!("{{\"server_load\":{running}}}"))
            }
            _ => page("application/json", self.loads()),
        }
    }

    fn standing(&self) -> Standing {
        let said = || {
            self.live
                .values()
                .filter(|live| matches!(live.body, Body::Said { .. }))
        };
        let open = said().count() as u64;
        let held: u64 = said()
            .map(|live| {
                let b = live.entry.billed;
                b.uncached + b.read + b.written_5m + b.written_1h + live.produced
            })
            .sum();
        let b = self.book.totals();
        Standing {
            running: open.min(self.settings.batch),
            waiting: open.saturating_sub(self.settings.batch),
            kv_use: (held as f64 / KV_TOKENS as f64).min(1.0),
            prompt_tokens: b.uncached + b.read + b.written_5m + b.written_1h,
            cached_tokens: b.read,
        }
    }

    fn metrics(&self) -> String {
        let s = self.standing();
        let (labels, names) = match self.settings.manner {
            Manner::Sglang => (
                "{model_name=\"fake-small\",tp_rank=\"0\"}",
                [
                    "sglang:num_running_reqs",
                    "sglang:num_queue_reqs",
                    "sglang:token_usage",
                    "sglang:prompt_tokens_total",
                    "sglang:cached_tokens_total",
                ],
            ),
            _ => (
                "{engine=\"0\",model_name=\"fake-small\"}",
                [
                    "vllm:num_requests_running",
                    "vllm:num_requests_waiting",
                    "vllm:kv_cache_usage_perc",
                    "vllm:prompt_tokens_total",
                    "vllm:prompt_tokens_cached_total",
                ],
            ),
        };
        let values = [
            s.running as f64,
            s.waiting as f64,
            s.kv_use,
            s.prompt_tokens as f64,
            s.cached_tokens as f64,
        ];
        let mut out = String::new();
        for (name, value) in names.into_iter().zip(values) {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            // A String takes all.
            let _ = write!(out, "# TYPE {name} {kind}\n{name}{labels} {value}\n");
        }
        out
    }

    fn loads(&self) -> String {
        let s = self.standing();
        let rate = match s.prompt_tokens {
            0 => 0.0,
            all => s.cached_tokens as f64 / all as f64,
        };
        format!(
            "{{\"version\":\"0.5.23\",\"loads\":[{{\"dp_rank\":0,\"num_running_reqs\":{},\"num_waiting_reqs\":{},\"num_waiting_uncached_tokens\":0,\"token_usage\":{},\"cache_hit_rate\":{rate},\"max_total_num_tokens\":{KV_TOKENS},\"max_running_requests\":{}}}]}}",
            s.running, s.waiting, s.kv_use, self.settings.batch
        )
    }
}
