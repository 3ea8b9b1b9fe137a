//! What can go wrong on purpose: asked for by the request itself (a header `x-fake-stall-after: 3`, `[[fake: stall_after=3 torn]]` in
//! the last user text, `model+stall_after=3` as the model) or by a script of the test.

use crate::base::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// Faults and peculiarities of one answer; several may hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Refuse with this status and the dialect's own envelope.
    pub status: Option<u16>,
    /// Said with `status`.
    pub retry_after: Option<Duration>,
    /// Fall silent for ever after so many events (a body that is not streamed is one event).
    pub stall_after: Option<u64>,
    /// Reset the connection after so many bytes of the body.
    pub cut_after: Option<u64>,
    /// Give the event of this number one byte a step.
    pub torn: Option<u64>,
    /// Before the head, besides the ordinary wait.
    pub slow_first_byte: Option<Duration>,
    /// An error event instead of the event of this number.
    pub error_event_after: Option<u64>,
    /// A clean end without finish reason, usage or end mark.
    pub no_terminal: bool,
    /// What a proxy in front says when it finds nobody behind.
    pub html_502: bool,
    /// A refusal's body under status 200, as some gateways say what went wrong behind them.
    pub as_200: bool,
    /// A refusal's body as the only element of an array, as Google's streams that are JSON arrays say it.
    pub in_array: bool,
    /// 200 and nothing.
    pub empty_body: bool,
    /// The right bytes as `text/plain`.
    pub wrong_content_type: bool,
    /// An event and members that nobody knows, among the others.
    pub unknown_event: bool,
    /// A video's job ends in an error, which costs nothing.
    pub video_fails: bool,
    /// So many videos of a job are withheld, and cost nothing.
    pub video_withheld: Option<u64>,
    /// Instead of the settings' own.
    pub output_tokens: Option<u64>,
    pub first_token: Option<Duration>,
    pub between_tokens: Option<Duration>,
}

/// Directives as headers.
const NAMES: [&str; 17] = [
    "x-fake-status",
    "x-fake-retry-after",
    "x-fake-stall-after",
    "x-fake-cut-after",
    "x-fake-torn",
    "x-fake-slow-first-byte",
    "x-fake-error-event-after",
    "x-fake-no-terminal",
    "x-fake-html-502",
    "x-fake-as-200",
    "x-fake-in-array",
    "x-fake-empty-body",
    "x-fake-wrong-content-type",
    "x-fake-unknown-event",
    "x-fake-output-tokens",
    "x-fake-first-token",
    "x-fake-between-tokens",
];

impl Faults {
    /// Takes a directive: `torn`, `stall_after=3`. Times are in milliseconds, `retry_after` in seconds. Unknown ones are ignored.
    pub fn set(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let number = value.trim().trim_end_matches("ms").parse::<u64>().ok();
        let millis = number.map(Duration::from_millis);
        match name.trim().replace('-', "_").as_str() {
            "status" => {
                self.status = number
                    .and_then(|n| u16::try_from(n).ok())
                    .filter(|s| (400..600).contains(s))
            }
            "retry_after" => self.retry_after = number.map(Duration::from_secs),
            "stall_after" => self.stall_after = number,
            "cut_after" => self.cut_after = number,
            "torn" => self.torn = Some(number.unwrap_or(2)),
            "slow_first_byte" => self.slow_first_byte = millis,
            "error_event_after" => self.error_event_after = number,
            "no_terminal" => self.no_terminal = true,
            "html_502" => self.html_502 = true,
            "as_200" => self.as_200 = true,
            "in_array" => self.in_array = true,
            "empty_body" => self.empty_body = true,
            "wrong_content_type" => self.wrong_content_type = true,
            "unknown_event" => self.unknown_event = true,
            "video_fails" => self.video_fails = true,
            "video_withheld" => self.video_withheld = Some(number.unwrap_or(1)),
            "output_tokens" => self.output_tokens = number.map(|n| n.min(OUTPUT_MAX)),
            "first_token" => self.first_token = millis,
            "between_tokens" => self.between_tokens = millis,
            _ => {}
        }
    }

    pub(super) fn set_from_text(&mut self, text: &str) {
        let Some((_, rest)) = text.split_once("[[fake:") else {
            return;
        };
        let Some((directives, _)) = rest.split_once("]]") else {
            return;
        };
        for directive in directives.split([' ', ',']) {
            self.set(directive);
        }
    }

    pub(super) fn set_from_headers<'a>(&mut self, header: &dyn Fn(&str) -> Option<&'a str>) {
        for name in NAMES {
            if let (Some(value), Some(name)) = (header(name), name.strip_prefix("x-fake-")) {
                self.set(&format!("{name}={value}"));
            }
        }
    }
}

/// The most output tokens that a directive may ask for, since an answer is held in memory.
pub(super) const OUTPUT_MAX: u64 = 1_000_000;

/// Faults of requests to come, whatever they ask.
#[derive(Debug)]
pub struct FaultScript {
    next: VecDeque<Faults>,
    chances: Vec<(f64, Faults)>,
    rng: Rng,
}

impl FaultScript {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            next: VecDeque::new(),
            chances: Vec::new(),
            rng: Rng::seeded(seed),
        }
    }

    /// The next `times` requests have `faults`.
    pub fn next(&mut self, times: usize, faults: &Faults) {
        self.next.extend(std::iter::repeat_n(faults.clone(), times));
    }

    /// Every request has `faults` with `probability`; of several the first that comes true. Drawn from our own seed.
    pub fn chance(&mut self, probability: f64, faults: Faults) {
        self.chances.push((probability, faults));
    }

    /// No faults from now on.
    pub fn heal(&mut self) {
        self.next.clear();
        self.chances.clear();
    }

    pub(super) fn draw(&mut self) -> Faults {
        if let Some(faults) = self.next.pop_front() {
            return faults;
        }
        for (probability, faults) in &self.chances {
            if self.rng.unit() < *probability {
                return faults.clone();
            }
        }
        Faults::default()
    }
}
