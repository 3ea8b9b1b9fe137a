//! A provider of our own, as a value: wire formats, prompt cache, limits, faults, and the book of what it billed.
//!
//! Deliberately uses none of our codecs, so that they and the fake cannot be wrong together. Has no clock, no socket and no chance
//! but its seed: whoever drives it gives the time and does the waiting. The number of answers under way is the driver's to bound.
//! Not here: batches, uploads, the WebSocket mode of Responses. In reading order: what is asked, what is answered, and what it costs.

mod json;
mod route;
mod ask;
mod chat_ask;
mod text_ask;
mod converse_ask;
mod gemini_ask;
mod messages_ask;
mod responses_ask;
mod prompt;
mod answer;
mod voice;
mod voice_converse;
mod voice_gemini;
mod voice_responses;
mod manner;
pub use manner::Manner;
mod aws;
pub use aws::AwsKey;
mod tokens;
pub use tokens::{GoogleAccount, Verify};
mod cache;
mod embed;
mod engine;
pub use engine::Engine;
mod fetch;
mod film;
mod head;
mod refuse;
mod shelf;
mod sound;
mod inputs;
mod store;
pub use cache::CacheModel;
mod limit;
pub use limit::Limits;
mod fault;
pub use fault::{FaultScript, Faults};
mod book;
pub use book::{Billed, Book, Ended, Entry, Wire};
mod reply;
pub use reply::Step;
mod serve;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_engine;
#[cfg(test)]
mod tests_wires;

use crate::base::{FixedHasher, Instant, Now, WallTime};
use cache::Cache;
use limit::Buckets;
use reply::Live;
use shelf::Shelf;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use store::Store;
use tokens::Issued;

/// How a fake behaves when nobody asks for faults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From the request to the first token.
    pub first_token: Duration,
    pub between_tokens: Duration,
    /// Tokens of an answer of text.
    pub output_tokens: u64,
    pub limits: Limits,
    /// Models (by the beginning of their name) that share one set of limits, and the set's name. Others have their own.
    pub classes: Vec<(String, String)>,
    pub cache: CacheModel,
    /// Keys and the organisation (or workspace) each belongs to: the scope of caches and limits. `None` takes any key, all of one organisation.
    pub keys: Option<Vec<(String, String)>>,
    /// `None` knows every model.
    pub models: Option<Vec<String>>,
    /// The largest body, in bytes.
    pub body_max: usize,
    /// Entries of the book that are kept.
    pub book_entries: usize,
    pub seed: u64,
    /// The small differences of whom we stand for; the path says the dialect.
    pub manner: Manner,
    /// Own machines (vLLM, SGLang) say how much of a prompt was cached.
    pub cache_report: bool,
    /// Answers that own machines say they make at once; of more they say that they wait.
    pub batch: u64,
    /// From the order of a video to its end.
    pub video: Duration,
    /// Whose assertions the token endpoint takes. With one, Vertex' paths take only tokens issued here.
    pub google: Option<GoogleAccount>,
    /// By how many seconds its clock is ahead of whoever drives it; where it is, answers tell the time.
    pub ahead: i64,
    /// Keys by which requests are signed. With some, signatures are checked; the first is the one that our metadata servers hand out.
    pub aws: Vec<AwsKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            first_token: Duration::from_millis(50),
            between_tokens: Duration::from_millis(5),
            output_tokens: 64,
            limits: Limits::default(),
            classes: Vec::new(),
            cache: CacheModel::default(),
            keys: None,
            models: None,
            // Messages takes 32 MB (Anthropic docs, read 2026-08).
            body_max: 32 << 20,
            book_entries: 4_096,
            seed: 1,
            manner: Manner::Plain,
            cache_report: false,
            // What vLLM takes into a batch by default on most cards.
            batch: 256,
            video: Duration::from_secs(2),
            google: None,
            ahead: 0,
            aws: Vec::new(),
        }
    }
}

/// One HTTP request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// With or without a query.
    pub path: &'a str,
    /// The value of the header of this lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    pub body: &'a [u8],
}

/// Names an answer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyId(pub u64);

/// A provider.
pub struct Fake {
    settings: Settings,
    cache: Cache,
    buckets: BTreeMap<(String, String), Buckets>,
    live: HashMap<u64, Live, FixedHasher>,
    /// Answers under way by organisation.
    open: BTreeMap<String, usize>,
    faults: FaultScript,
    engine: Engine,
    book: Book,
    count: u64,
    store: Store,
    shelf: Shelf,
    issued: Issued,
}

impl Fake {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            cache: Cache::new(settings.cache.clone()),
            buckets: BTreeMap::new(),
            live: HashMap::default(),
            open: BTreeMap::new(),
            faults: FaultScript::new(settings.seed),
            engine: Engine::default(),
            book: Book::new(settings.book_entries),
            count: 0,
            store: Store::default(),
            shelf: Shelf::default(),
            issued: Issued::default(),
            settings,
        }
    }

    /// Takes a request whole. Its answer is then fetched by `next`.
    pub fn handle(&mut self, now: Now, request: &Request<'_>) -> ReplyId {
        self.count += 1;
        let id = ReplyId(self.count);
        let off = self.settings.ahead;
        let own = Now {
            wall: WallTime(now.wall.0.saturating_add(off.saturating_mul(1_000_000_000))),
            ..now
        };
        let mut live = self.serve(own, request);
        if let (true, Some((_, headers))) = (off != 0, &mut live.head) {
            headers.push(("date", limit::http_date(own.wall.seconds())));
        }
        *self
            .open
            .entry(live.entry.organisation.clone())
            .or_default() += 1;
        self.live.insert(id.0, live);
        id
    }

    /// What the answer does next. After `End` or `Reset` the id is forgotten, and a forgotten one answers `End`.
    pub fn next(&mut self, id: ReplyId, now: Now) -> Step {
        let Some(live) = self.live.get_mut(&id.0) else {
            return Step::End;
        };
        let step = live.step(now.instant);
        if matches!(step, Step::Head { .. } | Step::Bytes(_)) {
            self.cache.commit(&mut live.writes, now.instant);
        }
        if matches!(step, Step::End | Step::Reset) {
            let ended = if live.cut || step == Step::Reset {
                Ended::Cut
            } else {
                Ended::Complete
            };
            self.settle(id, now.instant, ended);
        }
        step
    }

    /// The caller went away: what was produced so far is billed.
    pub fn hung_up(&mut self, id: ReplyId, now: Now) {
        if let Some(ended) = self.live.get(&id.0).map(Live::left) {
            self.settle(id, now.instant, ended);
        }
    }

    fn settle(&mut self, id: ReplyId, now: Instant, ended: Ended) {
        let Some(live) = self.live.remove(&id.0) else {
            return;
        };
        if let Some(open) = self.open.get_mut(&live.entry.organisation) {
            *open = open.saturating_sub(1);
        }
        let scope = (live.entry.organisation.clone(), live.class.clone());
        let Some(entry) = live.into_entry(now, ended) else {
            return;
        };
        if let Some(buckets) = self.buckets.get_mut(&scope) {
            buckets.produced(entry.billed.output, now);
        }
        self.book.write(entry);
    }

    /// Writes into the book what was made in the background, or kept, until `now`.
    pub fn settle_background(&mut self, now: Now) {
        self.bill(now);
    }

    /// What was billed. A request is written when it ends.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Faults to come.
    pub fn faults(&mut self) -> &mut FaultScript {
        &mut self.faults
    }

    /// What it says of itself from now on, whatever is true.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Answers under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.live.len()
    }
}
