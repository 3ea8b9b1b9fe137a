//! How busy an own machine is: what SGLang, vLLM and TGI say of themselves (`providers/selfhosted.md` 1 to 3) → numbers with one meaning.
//!
//! Pure functions over what was fetched; who fetches it, how often, and what to make of it is decided elsewhere. What an engine does not
//! say is `None`, never zero: an engine that counts nothing is not an idle one.

use serde_json::Value;

/// One engine, all of its ranks and replicas behind one port together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests in a batch now.
    pub running: Option<u64>,
    /// Requests that wait for one.
    pub waiting: Option<u64>,
    /// Input tokens of those that wait and that no cache holds: the work before a new request's first token.
    pub waiting_uncached_tokens: Option<u64>,
    /// Share of the KV pool in use, 0 to 1; of the fullest rank, since that is the one that evicts.
    pub kv_usage: Option<f64>,
    /// Tokens that the KV pool holds.
    pub kv_tokens_max: Option<u64>,
    /// Requests that fit into a batch.
    pub running_max: Option<u64>,
    /// Tokens generated a second.
    pub generated_per_second: Option<f64>,
    /// Since the engine began: tokens of prompts, and those of them that were read from its cache. Their quotient over two readings is the hit rate.
    pub prompt_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    /// The engine's own hit rate, 0 to 1, where it says one.
    pub hit_rate: Option<f64>,
    /// Requests thrown out of a batch for want of memory, since the engine began.
    pub preempted: Option<u64>,
}

/// What a health page's status means. The body is empty on all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    /// Starting, shutting down, or silent for too long.
    Unwell,
    /// No such page there: it tells nothing.
    Unknown,
}

#[must_use]
pub fn health(status: u16) -> Health {
    match status {
        200..=299 => Health::Well,
        // 404, 405, and 401 where the page wants a key: the engine lives, but this page does not say how.
        401 | 403 | 404 | 405 => Health::Unknown,
        _ => Health::Unwell,
    }
}

/// The path of each engine's cheapest health page. SGLang's `/health` may run a token through the model, so `/ready` is asked there.
pub const HEALTH_PATHS: [&str; 2] = ["/ready", "/health"];

/// Reads a page of `/metrics` in Prometheus' text form (exposition format 0.0.4), of whichever engine. Names that are not ours, comments and
/// lines that do not parse are passed over; series of one name that differ by labels are added up, but for shares, of which the largest counts.
#[must_use]
pub fn prometheus(text: &str) -> Load {
    let (mut load, mut hits, mut queries) = (Load::default(), None, None);
    for line in text.lines() {
        match sample(line) {
            // vLLM before it counted tokens of prompts by their source: tokens looked up and found, preempted requests counted again.
            Some(("vllm:prefix_cache_hits_total", value)) => add(&mut hits, value),
            Some(("vllm:prefix_cache_queries_total", value)) => add(&mut queries, value),
            Some((name, value)) => load.take(name, value),
            None => {}
        }
    }
    if load.cached_tokens.is_none() && hits.is_some() {
        load.cached_tokens = hits;
        load.prompt_tokens = queries.or(load.prompt_tokens);
    }
    load
}

/// Name and value of one line; labels and the time behind the value are left out.
fn sample(line: &str) -> Option<(&str, f64)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let rest = match rest.strip_prefix('{') {
        Some(labels) => after_labels(labels)?,
        None => rest,
    };
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((name, value))
}

/// What follows the closing brace, which may also stand within a label's value.
fn after_labels(labels: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in labels.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return labels.get(at + 1..),
            _ => {}
        }
    }
    None
}

impl Load {
    fn take(&mut self, name: &str, value: f64) {
        // The Prometheus form of SGLang's `/v1/loads` writes `sglang_`.
        let Some((engine, name)) = name.split_once([':', '_']) else {
            return;
        };
        match (engine, name) {
            ("sglang", "num_running_reqs")
            | ("vllm", "num_requests_running")
            | ("tgi", "batch_current_size") => add(&mut self.running, value),
            ("sglang", "num_queue_reqs" | "num_waiting_reqs")
            | ("vllm", "num_requests_waiting")
            | ("tgi", "queue_size") => add(&mut self.waiting, value),
            ("sglang", "num_waiting_uncached_tokens") => {
                add(&mut self.waiting_uncached_tokens, value);
            }
            // 0 to 1 despite its name; the older name is still said by old versions.
            ("sglang", "token_usage")
            | ("vllm", "kv_cache_usage_perc" | "gpu_cache_usage_perc") => {
                most(&mut self.kv_usage, value);
            }
            ("sglang", "max_total_num_tokens") => add(&mut self.kv_tokens_max, value),
            ("sglang", "max_running_requests") => add(&mut self.running_max, value),
            ("sglang", "gen_throughput") => sum(&mut self.generated_per_second, value),
            ("sglang", "cache_hit_rate") => most(&mut self.hit_rate, value),
            ("sglang" | "vllm", "prompt_tokens_total") => add(&mut self.prompt_tokens, value),
            ("sglang", "cached_tokens_total") | ("vllm", "prompt_tokens_cached_total") => {
                add(&mut self.cached_tokens, value);
            }
            ("sglang", "num_retracted_reqs") | ("vllm", "num_preemptions_total") => {
                add(&mut self.preempted, value);
            }
            _ => {}
        }
    }
}

/// Reads SGLang's `/v1/loads` (JSON): one entry a rank. `None` if it is something else.
#[must_use]
pub fn sglang_loads(body: &[u8]) -> Option<Load> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let ranks = value.get("loads")?.as_array()?;
    let mut load = Load::default();
    for rank in ranks {
        let get = |name: &str| rank.get(name).and_then(Value::as_f64);
        for (into, name) in [
            (&mut load.running, "num_running_reqs"),
            (&mut load.waiting, "num_waiting_reqs"),
            (
                &mut load.waiting_uncached_tokens,
                "num_waiting_uncached_tokens",
            ),
            (&mut load.kv_tokens_max, "max_total_num_tokens"),
            (&mut load.running_max, "max_running_requests"),
        ] {
            if let Some(n) = get(name) {
                add(into, n);
            }
        }
        if let Some(share) = get("token_usage") {
            most(&mut load.kv_usage, share);
        }
        if let Some(rate) = get("cache_hit_rate") {
            most(&mut load.hit_rate, rate);
        }
        if let Some(speed) = get("gen_throughput") {
            sum(&mut load.generated_per_second, speed);
        }
    }
    Some(load)
}

/// Reads vLLM's `/load`: requests under way, where the engine counts them. `None` if it is something else.
#[must_use]
pub fn vllm_load(body: &[u8]) -> Option<Load> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let running = value.get("server_load")?.as_f64()?;
    let mut load = Load::default();
    add(&mut load.running, running);
    Some(load)
}

fn add(into: &mut Option<u64>, value: f64) {
    // A cast of a float saturates: below zero is zero.
    *into = Some(into.unwrap_or_default().saturating_add(value as u64));
}

fn sum(into: &mut Option<f64>, value: f64) {
    *into = Some(into.unwrap_or_default() + value);
}

fn most(into: &mut Option<f64>, value: f64) {
    *into = Some(into.map_or(value, |had| had.max(value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vllms_page_is_read() {
        let load = prometheus(
            "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
             # TYPE vllm:num_requests_running gauge\n\
             vllm:num_requests_running{engine=\"0\",model_name=\"a}b\\\"c\"} 8.0\n\
             vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 3.0 1795399200000\n\
             vllm:num_requests_waiting{engine=\"0\"} 2.0\n\
             vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 2.0\n\
             vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
             vllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n\
             vllm:prompt_tokens_total{engine=\"0\"} 1.5e+06\n\
             vllm:prompt_tokens_cached_total{engine=\"0\"} 1000000\n\
             vllm:num_preemptions_total 4\n\
             vllm:time_to_first_token_seconds_bucket{le=\"+Inf\"} 5\n\
             vllm:generation_tokens_total NaN\n",
        );
        assert_eq!(
            load,
            Load {
                running: Some(11),
                waiting: Some(2),
                kv_usage: Some(0.75),
                prompt_tokens: Some(1_500_000),
                cached_tokens: Some(1_000_000),
                preempted: Some(4),
                ..Load::default()
            }
        );
    }

    #[test]
    fn an_older_vllm_says_what_it_looked_up_and_found() {
        let page = "vllm:prompt_tokens_total 90\nvllm:prefix_cache_queries_total{engine=\"0\"} 100\nvllm:prefix_cache_hits_total{engine=\"0\"} 60\n";
        let load = prometheus(page);
        assert_eq!(
            (load.prompt_tokens, load.cached_tokens),
            (Some(100), Some(60))
        );
        let newer = prometheus(&format!("{page}vllm:prompt_tokens_cached_total 50\n"));
        assert_eq!(
            (newer.prompt_tokens, newer.cached_tokens),
            (Some(90), Some(50))
        );
    }

    #[test]
    fn sglangs_page_is_read_in_both_spellings() {
        for mark in [':', '_'] {
            let page = "sglang:num_running_reqs{tp_rank=\"0\"} 5\nsglang:num_queue_reqs 7\nsglang:token_usage 0.5\n\
                        sglang:cache_hit_rate 0.9\nsglang:gen_throughput 120.5\nsglang:max_total_num_tokens 1000\n\
                        sglang:cached_tokens_total{cache_source=\"device\"} 10\nsglang:cached_tokens_total{cache_source=\"host\"} 5\n"
                .replace("sglang:", &format!("sglang{mark}"));
            let load = prometheus(&page);
            assert_eq!(
                load,
                Load {
                    running: Some(5),
                    waiting: Some(7),
                    kv_usage: Some(0.5),
                    kv_tokens_max: Some(1_000),
                    generated_per_second: Some(120.5),
                    cached_tokens: Some(15),
                    hit_rate: Some(0.9),
                    ..Load::default()
                }
            );
        }
    }

    #[test]
    fn what_an_engine_does_not_say_is_not_zero() {
        let load =
            prometheus("tgi_queue_size 3\ntgi_batch_current_size 0\nprocess_cpu_seconds_total 5\n");
        assert_eq!(
            (load.waiting, load.running, load.kv_usage),
            (Some(3), Some(0), None)
        );
        assert_eq!(
            prometheus("<html>not found</html>\n{\n}} 1\nvllm: 2\n"),
            Load::default()
        );
    }

    #[test]
    fn sglangs_loads_add_up_over_ranks() {
        let load = sglang_loads(
            br#"{"timestamp":1,"loads":[{"dp_rank":0,"num_running_reqs":2,"num_waiting_reqs":1,"num_waiting_uncached_tokens":300,"token_usage":0.41,"max_total_num_tokens":100,"max_running_requests":8,"gen_throughput":1.5,"cache_hit_rate":0.5},{"dp_rank":1,"num_running_reqs":3,"num_waiting_reqs":0,"num_waiting_uncached_tokens":0,"token_usage":0.2,"max_total_num_tokens":100,"max_running_requests":8,"gen_throughput":2.0}]}"#,
        );
        assert_eq!(
            load,
            Some(Load {
                running: Some(5),
                waiting: Some(1),
                waiting_uncached_tokens: Some(300),
                kv_usage: Some(0.41),
                kv_tokens_max: Some(200),
                running_max: Some(16),
                generated_per_second: Some(3.5),
                hit_rate: Some(0.5),
                ..Load::default()
            })
        );
        assert_eq!(sglang_loads(b"[]"), None);
        assert_eq!(sglang_loads(b"{}"), None);
        let vllm = vllm_load(br#"{"server_load": 4}"#).expect("a load");
        assert_eq!((vllm.running, vllm_load(b"4")), (Some(4), None));
    }

    #[test]
    fn a_health_page_that_is_not_there_condemns_no_engine() {
        for (status, wanted) in [
            (200, Health::Well),
            (503, Health::Unwell),
            (500, Health::Unwell),
            (404, Health::Unknown),
        ] {
            assert_eq!(health(status), wanted);
        }
    }
}
