//! How an own server is asked how it is: answers in, the next page to ask for out (`providers/selfhosted.md` 1, 2 and 4).
//!
//! One value a server, for as long as it is configured. Fetches nothing and waits for nothing: the I/O core does, and the simulator. Which
//! engine it is nobody says: pages are tried in an order, and those that told something are asked first from then on.

use crate::base::Tokens;
use crate::config;
use crate::policy::server::{Figures, Report, State};
use crate::protocol::provider::load::{self, Load};

/// What has been learned of one server, and where its poll stands.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Health pages, by how much they are worth asking.
    pages: Vec<String>,
    failures_max: u32,
    asking: Asking,
    /// The health page that answered last.
    page: usize,
    source: Option<Source>,
    /// Polls before pages of load are looked for again where there were none.
    rest: u32,
    /// Polls in a row without a good answer.
    failures: u32,
    state: State,
    /// Tokens of prompts, and those that were cached, as counted at the last poll.
    counted: Option<(u64, u64)>,
    hit_rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Nothing,
    /// A health page, and how many were asked in this poll.
    Health(usize, usize),
    Load(Source),
}

/// Where a load is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// SGLang: small, and it counts uncached tokens that wait.
    Loads,
    /// vLLM and TGI, and SGLang with `--enable-metrics`.
    Metrics,
    /// vLLM with `--enable-server-load-tracking`, where nothing lets its metrics through.
    Load,
}

/// What comes after an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This path (with its query) under the server's base URL.
    Ask(String),
    /// The poll is over, and this is what all shall know.
    Told(Report),
    /// The poll is over and brought nothing: what was told before grows old.
    Nothing,
}

/// In this order sources are looked for.
const SOURCES: [Source; 3] = [Source::Loads, Source::Metrics, Source::Load];
/// A minute with the usual pause: an engine does not learn to tell while it runs, but another may be started at its address.
const REST: u32 = 12;

impl Source {
    fn path(self) -> &'static str {
        match self {
            Self::Loads => "/v1/loads?include=core",
            Self::Metrics => "/metrics",
            Self::Load => "/load",
        }
    }

    fn after(self) -> Option<Self> {
        let at = SOURCES.iter().position(|source| *source == self)?;
        SOURCES.get(at + 1).copied()
    }
}

impl Probe {
    #[must_use]
    pub fn new(health: &config::Health) -> Self {
        let usual = || load::HEALTH_PATHS.map(str::to_owned).to_vec();
        Self {
            pages: health.path.clone().map_or_else(usual, |path| vec![path]),
            failures_max: health.failures,
            asking: Asking::Nothing,
            page: 0,
            source: None,
            rest: 0,
            failures: 0,
            state: State::Unknown,
            counted: None,
            hit_rate: None,
        }
    }

    /// Begins a poll: the path to ask for first.
    pub fn begin(&mut self) -> String {
        self.asking = Asking::Health(self.page, 1);
        self.pages[self.page].clone()
    }

    /// Status and body of what was asked for last; `None` where no answer came in time.
    pub fn answer(&mut self, answer: Option<(u16, &[u8])>) -> Next {
        match (self.asking, answer) {
            (Asking::Health(page, asked), Some((status, _))) => self.health(page, asked, status),
            (Asking::Health(..), None) => self.failed(),
            (Asking::Load(source), Some((200..=299, body))) => match self.figures(source, body) {
                Some(figures) => {
                    self.source = Some(source);
                    self.done(figures)
                }
                None => self.elsewhere(source),
            },
            (Asking::Load(source), Some((400..=499, _))) => self.elsewhere(source),
            // A page that fails now may be read again later; whether the server lives is not for it to say.
            (Asking::Load(_), _) => self.done(Figures::default()),
            (Asking::Nothing, _) => Next::Nothing,
        }
    }

    fn health(&mut self, page: usize, asked: usize, status: u16) -> Next {
        let well = match (status, load::health(status)) {
            // Both engines say so of themselves: starting, shutting down, or an engine that died behind its HTTP server.
            (503, _) => State::Draining,
            (_, load::Health::Well) => State::Well,
            (_, load::Health::Unwell) => return self.failed(),
            (_, load::Health::Unknown) if asked < self.pages.len() => {
                let page = (page + 1) % self.pages.len();
                self.asking = Asking::Health(page, asked + 1);
                return Next::Ask(self.pages[page].clone());
            }
            // None of its pages tells. It answers, so it lives.
            (_, load::Health::Unknown) => State::Well,
        };
        (self.page, self.state, self.failures) = (page, well, 0);
        match self.source {
            Some(source) => self.ask(source),
            None if self.rest > 0 => {
                self.rest -= 1;
                self.done(Figures::default())
            }
            None => self.ask(SOURCES[0]),
        }
    }

    fn ask(&mut self, source: Source) -> Next {
        self.asking = Asking::Load(source);
        Next::Ask(source.path().to_owned())
    }

    /// `source` tells nothing: the next one is tried, or, where it told before, all of them with the next poll.
    fn elsewhere(&mut self, source: Source) -> Next {
        if self.source.take().is_none() {
            if let Some(next) = source.after() {
                return self.ask(next);
            }
            self.rest = REST;
        }
        self.done(Figures::default())
    }

    fn done(&mut self, figures: Figures) -> Next {
        self.asking = Asking::Nothing;
        Next::Told(Report {
            state: self.state,
            figures,
        })
    }

    /// A server that is not well goes on being told, so that this does not grow old; one that was well is believed to be until it is down.
    fn failed(&mut self) -> Next {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.failures_max {
            self.state = State::Down;
        }
        match self.state {
            State::Unknown | State::Well => {
                self.asking = Asking::Nothing;
                Next::Nothing
            }
            State::Draining | State::Down => self.done(Figures::default()),
        }
    }

    /// What the page says, if that is how busy the server is.
    fn figures(&mut self, source: Source, body: &[u8]) -> Option<Figures> {
        let load = match source {
            Source::Loads => load::sglang_loads(body)?,
            Source::Metrics => load::prometheus(std::str::from_utf8(body).ok()?),
            // Without its flag vLLM says zero for ever: only one that has counted something counts.
            Source::Load => load::vllm_load(body)
                .filter(|load| load.running != Some(0) || self.source == Some(source))?,
        };
        let hit_rate = self.hit_rate(&load);
        let figures = Figures {
            running: load.running,
            waiting: load.waiting,
            waiting_uncached: load.waiting_uncached_tokens.map(Tokens),
            running_max: load.running_max,
            kv_use: load.kv_usage.map(|share| share.clamp(0.0, 1.0)),
            kv_max: load.kv_tokens_max.map(Tokens),
            hit_rate,
        };
        figures.queue().map(|_| figures)
    }

    /// Of late, by what was counted since the last poll; else as the engine says it. While nothing is asked the last one stands.
    fn hit_rate(&mut self, load: &Load) -> Option<f64> {
        let (Some(prompt), Some(cached)) = (load.prompt_tokens, load.cached_tokens) else {
            return load.hit_rate;
        };
        match self.counted.replace((prompt, cached)) {
            Some((p, c)) if prompt > p && cached >= c => {
                let share = (cached - c) as f64 / (prompt - p) as f64;
                self.hit_rate = Some(share.min(1.0));
            }
            // The engine was started again, and counts from zero.
            Some((p, c)) if prompt < p || cached < c => self.hit_rate = None,
            _ => {}
        }
        self.hit_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A server: what it answers to each path.
    type Pages<'a> = &'a [(&'a str, u16, &'a str)];

    fn probe(path: Option<&str>) -> Probe {
        Probe::new(&config::Health {
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures: 3,
            path: path.map(str::to_owned),
        })
    }

    /// One poll: what was asked for, and what came of it. A path that is not among `pages` gets no answer.
    fn poll(probe: &mut Probe, pages: Pages<'_>) -> (Vec<String>, Next) {
        let mut asked = vec![probe.begin()];
        loop {
            let path = asked.last().expect("the first");
            let path = path.split('?').next().expect("a path");
            let page = pages.iter().find(|(of, ..)| *of == path);
            match probe.answer(page.map(|(_, status, body)| (*status, body.as_bytes()))) {
                Next::Ask(path) => asked.push(path),
                over => return (asked, over),
            }
        }
    }

    fn told(probe: &mut Probe, pages: Pages<'_>) -> Report {
        match poll(probe, pages) {
            (_, Next::Told(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    const LOADS: &str = r#"{"loads":[{"num_running_reqs":4,"num_waiting_reqs":2,"num_waiting_uncached_tokens":700,"token_usage":0.41,"cache_hit_rate":0.8,"max_total_num_tokens":9000,"max_running_requests":64}]}"#;
    const METRICS: &str = "vllm:num_requests_running 8\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.25\nvllm:prompt_tokens_total 1000\nvllm:prompt_tokens_cached_total 400\n";

    #[test]
    fn sglang_is_asked_for_its_cheap_page_and_its_loads() {
        let (mut p, pages) = (
            probe(None),
            &[("/ready", 200, ""), ("/v1/loads", 200, LOADS)],
        );
        let (asked, over) = poll(&mut p, pages);
        assert_eq!(asked, ["/ready", "/v1/loads?include=core"]);
        let Next::Told(report) = over else {
            panic!("{over:?}")
        };
        assert_eq!(report.state, State::Well);
        assert_eq!(
            report.figures,
            Figures {
                running: Some(4),
                waiting: Some(2),
                waiting_uncached: Some(Tokens(700)),
                running_max: Some(64),
                kv_use: Some(0.41),
                kv_max: Some(Tokens(9_000)),
                hit_rate: Some(0.8),
            }
        );
    }

    #[test]
    fn vllm_is_found_once_and_asked_for_its_metrics_from_then_on() {
        let mut p = probe(None);
        let pages: Pages<'_> = &[
            ("/ready", 404, ""),
            ("/health", 200, ""),
            ("/v1/loads", 404, ""),
            ("/metrics", 200, METRICS),
        ];
        let (asked, _) = poll(&mut p, pages);
        assert_eq!(
            asked,
            ["/ready", "/health", "/v1/loads?include=core", "/metrics"]
        );
        assert_eq!(poll(&mut p, pages).0, ["/health", "/metrics"]);
    }

    #[test]
    fn the_hit_rate_is_that_of_what_was_counted_since_the_last_poll() {
        let mut p = probe(None);
        let mut rate = |prompt: u64, cached: u64| {
            let page = format!(
                "vllm:num_requests_running 1\nvllm:prompt_tokens_total {prompt}\nvllm:prompt_tokens_cached_total {cached}\n"
            );
            let pages: Pages<'_> = &[
                ("/ready", 200, ""),
                ("/v1/loads", 404, ""),
                ("/metrics", 200, &page),
            ];
            told(&mut p, pages).figures.hit_rate
        };
        assert_eq!(rate(1_000, 900), None, "nothing is known of late");
        assert_eq!(rate(2_000, 1_150), Some(0.25));
        assert_eq!(rate(2_000, 1_150), Some(0.25), "nothing was asked");
        assert_eq!(rate(10, 0), None, "it was started again");
        assert_eq!(rate(20, 10), Some(1.0));
    }

    #[test]
    fn three_failures_make_a_server_down_and_one_answer_makes_it_well() {
        let mut p = probe(None);
        let well: Pages<'_> = &[("/ready", 200, ""), ("/v1/loads", 200, LOADS)];
        told(&mut p, well);
        for bad in [&[] as Pages<'_>, &[("/ready", 500, "")]] {
            assert_eq!(poll(&mut p, bad).1, Next::Nothing);
            assert_eq!(poll(&mut p, bad).1, Next::Nothing);
            for _ in 0..5 {
                let report = told(&mut p, bad);
                assert_eq!(report.state, State::Down, "and told again, to stay news");
                assert_eq!(report.figures, Figures::default());
            }
            assert_eq!(told(&mut p, well).state, State::Well);
        }
        poll(&mut p, &[]);
        poll(&mut p, &[]);
        told(&mut p, well);
        assert_eq!(poll(&mut p, &[]).1, Next::Nothing, "counted from zero");
    }

    #[test]
    fn a_server_that_was_never_heard_of_is_down_after_as_many() {
        let mut p = probe(None);
        assert_eq!(poll(&mut p, &[]).1, Next::Nothing);
        assert_eq!(poll(&mut p, &[]).1, Next::Nothing);
        assert_eq!(told(&mut p, &[]).state, State::Down);
    }

    #[test]
    fn a_503_counts_at_once_and_until_it_is_taken_back_or_the_server_is_gone() {
        let mut p = probe(None);
        let draining: Pages<'_> = &[("/ready", 503, ""), ("/v1/loads", 200, LOADS)];
        let report = told(&mut p, draining);
        assert_eq!(
            (report.state, report.figures.queue()),
            (State::Draining, Some(6)),
            "what runs there still counts"
        );
        assert_eq!(told(&mut p, &[]).state, State::Draining);
        assert_eq!(told(&mut p, &[]).state, State::Draining);
        assert_eq!(told(&mut p, &[]).state, State::Down);
        assert_eq!(told(&mut p, draining).state, State::Draining);
        let well: Pages<'_> = &[("/ready", 200, ""), ("/v1/loads", 200, LOADS)];
        assert_eq!(told(&mut p, well).state, State::Well);
    }

    #[test]
    fn garbage_and_silence_where_the_load_is_told_condemn_no_server() {
        let mut p = probe(None);
        let ready = ("/ready", 200, "");
        let pages: [(&str, u16, &str); 4] = [
            ("/v1/loads", 200, "<html>"),
            ("/v1/loads", 200, r#"{"loads":[]}"#),
            ("/v1/loads", 200, r#"{"loads":[{"num_running_reqs":"x"}]}"#),
            ("/v1/loads", 502, ""),
        ];
        for page in pages {
            let report = told(&mut p, &[ready, page]);
            assert_eq!(
                (report.state, report.figures),
                (State::Well, Figures::default()),
                "{page:?}"
            );
        }
        let bytes = [&b"vllm:num_requests_running 1\n"[..], &[0xff]].concat();
        let mut p = probe(None);
        p.begin();
        p.answer(Some((200, b"")));
        p.answer(Some((404, b"")));
        let next = p.answer(Some((200, &bytes)));
        assert_eq!(next, Next::Ask("/load".to_owned()), "no text is no page");
    }

    #[test]
    fn a_page_that_told_and_stops_to_is_looked_for_again() {
        let mut p = probe(None);
        let well: Pages<'_> = &[("/ready", 200, ""), ("/v1/loads", 200, LOADS)];
        told(&mut p, well);
        let other: Pages<'_> = &[
            ("/ready", 200, ""),
            ("/v1/loads", 404, ""),
            ("/metrics", 200, METRICS),
        ];
        assert_eq!(told(&mut p, other).figures, Figures::default());
        assert_eq!(told(&mut p, other).figures.running, Some(8));
    }

    #[test]
    fn a_server_that_tells_nothing_is_not_asked_for_its_load_each_time() {
        let mut p = probe(Some("/up"));
        let pages: Pages<'_> = &[
            ("/up", 404, ""),
            ("/v1/loads", 404, ""),
            ("/metrics", 404, ""),
            ("/load", 200, r#"{"server_load":0}"#),
        ];
        let (asked, over) = poll(&mut p, pages);
        assert_eq!(asked.len(), 4);
        let silent = Report {
            state: State::Well,
            figures: Figures::default(),
        };
        assert_eq!(over, Next::Told(silent), "a zero without the flag is none");
        for _ in 0..REST {
            assert_eq!(poll(&mut p, pages).0, ["/up"]);
        }
        let counting: Pages<'_> = &[
            ("/up", 404, ""),
            ("/v1/loads", 404, ""),
            ("/metrics", 404, ""),
            ("/load", 200, r#"{"server_load":3}"#),
        ];
        assert_eq!(told(&mut p, counting).figures.running, Some(3));
        assert_eq!(told(&mut p, pages).figures.running, Some(0));
    }
}
