//! The closed loop: requests come, are placed, wait, are served, and only then does the pause to the next one begin.
//!
//! Event by event over simulated time; a day of traffic takes a second. The next request of a stream is sent when the recorded gap has
//! passed since the one before it was really sent, so a policy that makes clients wait sees less traffic, as in life. Sessions
//! without an absolute time are placed by chance at a rate that the setup names.

use super::book::Book;
use super::cache::{Ask, Mark, Semantics};
use super::endpoint::{self, Answer, Endpoint, Served};
use super::policy::{Asked, Choice, Idle, Marks, Policy, Pools};
use super::trace::{Half, Request, Trace, span};
use super::{cache, lifetime};
use crate::base::{Instant, Rng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// What a trace is run through.
#[derive(Clone, Debug)]
pub struct Setup {
    pub pools: usize,
    /// All pools are alike.
    pub endpoint: endpoint::Setup,
    /// Of the placement of sessions and of chance losses.
    pub seed: u64,
    /// Only these sessions; `None` for all.
    pub half: Option<Half>,
    /// Requests later than this in their session are left out, as ROUTING 4.6 does for routing.
    pub longest: Option<Duration>,
    /// As if requests had come so often, on average, over eight hours in which sessions start evenly drawn.
    pub requests_per_second: f64,
}

/// 38,728 requests in 8 hours (ROUTING 4.4), so that a part of its sessions has the same concurrency.
pub const REFERENCE_RATE: f64 = 38_728.0 / REFERENCE_WINDOW;
const REFERENCE_WINDOW: f64 = 28_800.0;

impl Default for Setup {
    fn default() -> Self {
        Self {
            pools: 1,
            endpoint: endpoint::Setup::default(),
            seed: 1,
            half: None,
            longest: None,
            requests_per_second: REFERENCE_RATE,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// By session, for those that took part.
    pub sessions: BTreeMap<u32, Book>,
    /// Answers 429, and attempts that met an outage.
    pub refusals: u64,
    /// Requests that an endpoint called invalid; none for a sound policy.
    pub invalid: u64,
    /// From the arrival of a request to its sending, sorted.
    pub delays: Vec<Duration>,
    /// From the arrival to the first byte, sorted.
    pub first_bytes: Vec<Duration>,
    /// Sum of the times that requests were in flight within the window.
    pub busy: Duration,
    /// Over which sessions start.
    pub window: Duration,
}

impl Outcome {
    #[must_use]
    pub fn book(&self) -> Book {
        let mut all = Book::default();
        self.sessions.values().for_each(|book| all += *book);
        all
    }

    /// Requests in flight at all pools, on average over the window.
    #[must_use]
    pub fn in_flight(&self) -> f64 {
        self.busy.as_secs_f64() / self.window.as_secs_f64().max(1.0)
    }
}

/// The value below which `share` of `sorted` lies; zero of nothing.
#[must_use]
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// Runs `trace` under `policy`. The same arguments give the same outcome.
#[must_use]
pub fn run(trace: &Trace, setup: &Setup, policy: &mut dyn Policy) -> Outcome {
    let mut run = Run::new(trace, setup, policy);
    run.place_sessions();
    while let Some(Reverse((now, _, event))) = run.queue.pop() {
        run.on(now, event);
    }
    run.outcome.delays.sort_unstable();
    run.outcome.first_bytes.sort_unstable();
    run.outcome
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ended {
        endpoint: usize,
    },
    Arrives {
        stream: usize,
    },
    Again {
        stream: usize,
    },
    Idle {
        stream: usize,
        request: usize,
        pings: u32,
    },
}

struct Run<'a> {
    trace: &'a Trace,
    setup: &'a Setup,
    policy: &'a mut dyn Policy,
    endpoints: Vec<Endpoint>,
    in_flight: Vec<u32>,
    /// Earliest first; at one time in the order in which events were made.
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    made: u64,
    streams: Vec<Stream>,
    outcome: Outcome,
}

/// Where a stream of the trace has got to.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// The request that comes next, or waits; after the last, the last.
    at: usize,
    end: usize,
    arrived: Instant,
    refused: Vec<bool>,
    /// When the first of those that refused may be asked again.
    again: Option<Instant>,
    /// The request sent last, its marks and where it went.
    sent: Option<usize>,
    marks: Marks,
    endpoint: usize,
}

/// Between two tries of a request that has nowhere to go and was told no time.
const PATIENCE: Duration = Duration::from_secs(1);
/// A wait of nothing would never end.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl<'a> Run<'a> {
    fn new(trace: &'a Trace, setup: &'a Setup, policy: &'a mut dyn Policy) -> Self {
        let mut seeds = Rng::seeded(setup.seed ^ 0x5eed);
        let pools = setup.pools.max(1);
        Self {
            trace,
            setup,
            policy,
            endpoints: (0..pools)
                .map(|_| Endpoint::new(&setup.endpoint, seeds.bits()))
                .collect(),
            in_flight: vec![0; pools],
            queue: BinaryHeap::new(),
            made: 0,
            streams: vec![Stream::default(); trace.streams.len()],
            outcome: Outcome::default(),
        }
    }

    /// Lets every stream of the chosen sessions begin.
    fn place_sessions(&mut self) {
        let taken: Vec<u32> = (0..self.trace.sessions.len() as u32)
            .filter(|session| {
                self.setup
                    .half
                    .is_none_or(|half| self.trace.half(*session) == half)
            })
            .collect();
        let mut offsets = Vec::new();
        for session in &taken {
            for stream in span(&self.trace.sessions[*session as usize].streams) {
                self.cut(stream, &mut offsets);
            }
        }
        self.outcome.window = window(&offsets, self.setup.requests_per_second);
        let mut rng = Rng::seeded(self.setup.seed);
        for session in taken {
            self.outcome.sessions.insert(session, Book::default());
            let session = &self.trace.sessions[session as usize];
            let chance = self.outcome.window.mul_f64(rng.unit());
            self.begin(session, session.starts.unwrap_or(chance));
        }
    }

    fn begin(&mut self, session: &super::trace::Session, starts: Duration) {
        for stream in span(&session.streams) {
            let Stream { at, end, .. } = self.streams[stream];
            if at < end {
                let begins = starts + self.trace.streams[stream].begins;
                let first = begins + self.trace.requests[at].gap;
                self.plan(Instant::default() + first, Event::Arrives { stream });
            }
        }
    }

    /// Leaves out what is too late in its session; appends how late the rest are.
    fn cut(&mut self, stream: usize, offsets: &mut Vec<Duration>) {
        let told = &self.trace.streams[stream];
        let requests = span(&told.requests);
        let mut at = told.begins;
        let before = offsets.len();
        for request in requests.clone() {
            at += self.trace.requests[request].gap;
            if self.setup.longest.is_some_and(|longest| at > longest) {
                break;
            }
            offsets.push(at);
        }
        let state = &mut self.streams[stream];
        state.at = requests.start;
        state.end = requests.start + offsets.len() - before;
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.queue.push(Reverse((at, self.made, event)));
    }

    fn on(&mut self, now: Instant, event: Event) {
        match event {
            Event::Ended { endpoint } => self.in_flight[endpoint] -= 1,
            Event::Arrives { stream } => {
                self.streams[stream].arrived = now;
                self.place(now, stream);
            }
            Event::Again { stream } => self.place(now, stream),
            Event::Idle {
                stream,
                request,
                pings,
            } => self.idle(now, stream, request, pings),
        }
    }

    /// Tries endpoints until one takes the waiting request of `stream`, or it has to wait.
    fn place(&mut self, now: Instant, stream: usize) {
        let state = &mut self.streams[stream];
        state.refused.clear();
        state.refused.resize(self.in_flight.len(), false);
        state.again = None;
        // Each try marks one endpoint; one more would repeat.
        for _ in 0..self.in_flight.len() {
            match self.choose(now, stream) {
                Choice::Send(endpoint) => {
                    if self.send(now, stream, endpoint) {
                        return;
                    }
                }
                Choice::Wait(wait) => {
                    return self.plan(now + wait.max(WAIT_MIN), Event::Again { stream });
                }
                Choice::Refused => break,
            }
        }
        let again = self.streams[stream].again.unwrap_or(now + PATIENCE);
        self.plan(again, Event::Again { stream });
    }

    fn choose(&mut self, now: Instant, stream: usize) -> Choice {
        let marks = self.places(stream);
        let state = &self.streams[stream];
        let asked = describe(self.trace, stream, state.at, &marks, &state.refused);
        let pools = Pools {
            endpoints: &self.endpoints,
            in_flight: &self.in_flight,
        };
        self.policy.choose(now, &asked, &pools)
    }

    /// True when that is the end of the request: served, or invalid.
    fn send(&mut self, now: Instant, stream: usize, endpoint: usize) -> bool {
        let places = self.places(stream);
        let state = &self.streams[stream];
        let mut asked = describe(self.trace, stream, state.at, &places, &state.refused);
        let hit = self.endpoints[endpoint].look(now, &asked.ask);
        let marks = self.policy.marks(&asked, &hit);
        asked.ask.marks = &marks;
        let answer = self.endpoints[endpoint].ask(now, &asked.ask);
        if let Answer::Served(served) = &answer {
            self.policy.served(now, &asked, endpoint, served);
        }
        match &answer {
            Answer::Limited { retry_after } => {
                self.policy
                    .refused(now, &asked, endpoint, Some(*retry_after));
            }
            Answer::Down => self.policy.refused(now, &asked, endpoint, None),
            Answer::Served(_) | Answer::Invalid(_) => {}
        }
        match answer {
            Answer::Served(served) => self.take(now, stream, endpoint, marks, &served),
            Answer::Limited { retry_after } => self.refuse(stream, endpoint, now + retry_after),
            Answer::Down => self.refuse(stream, endpoint, now + PATIENCE),
            Answer::Invalid(_) => {
                self.outcome.invalid += 1;
                self.next(now, stream);
                true
            }
        }
    }

    fn refuse(&mut self, stream: usize, endpoint: usize, again: Instant) -> bool {
        self.outcome.refusals += 1;
        let state = &mut self.streams[stream];
        state.refused[endpoint] = true;
        state.again = Some(state.again.map_or(again, |earlier| earlier.min(again)));
        false
    }

    fn take(
        &mut self,
        now: Instant,
        stream: usize,
        endpoint: usize,
        marks: Marks,
        served: &Served,
    ) -> bool {
        self.write_down(stream, served.book);
        let state = &mut self.streams[stream];
        state.marks = marks;
        state.endpoint = endpoint;
        let (request, arrived) = (state.at, state.arrived);
        state.sent = Some(request);
        self.outcome.delays.push(now - arrived);
        self.outcome.first_bytes.push(served.first_byte - arrived);
        let closes = Instant::default() + self.outcome.window;
        self.outcome.busy += served.ended.min(closes) - now.min(closes);
        self.in_flight[endpoint] += 1;
        self.plan(served.ended, Event::Ended { endpoint });
        let due = now + self.until_idle();
        self.plan(
            due,
            Event::Idle {
                stream,
                request,
                pings: 0,
            },
        );
        self.next(now, stream);
        true
    }

    fn write_down(&mut self, stream: usize, book: Book) {
        let session = self.trace.streams[stream].session;
        *self.outcome.sessions.entry(session).or_default() += book;
    }

    /// The stream's next request comes when the recorded gap has passed.
    fn next(&mut self, now: Instant, stream: usize) {
        let Stream { at, end, .. } = self.streams[stream];
        if at + 1 < end {
            let gap = self.trace.requests[at + 1].gap;
            self.streams[stream].at += 1;
            self.plan(now + gap, Event::Arrives { stream });
        }
    }

    fn until_idle(&self) -> Duration {
        let short = self.setup.endpoint.cache.lives.short;
        short.saturating_sub(lifetime::MARGIN)
    }

    /// `request` was sent, or pinged for the `pings`th time, nearly a lifetime ago. Does nothing when its stream has gone on.
    fn idle(&mut self, now: Instant, stream: usize, request: usize, pings: u32) {
        let state = &self.streams[stream];
        if state.sent != Some(request) || state.marks.is_empty() {
            return;
        }
        let asked = describe(self.trace, stream, request, &state.marks, &[]);
        let endpoint = state.endpoint;
        let book = match self.policy.idle(&asked, pings) {
            Idle::Rest => return,
            Idle::Ping => self.endpoints[endpoint].ping(now, &asked.ask),
            Idle::Lengthen => self.endpoints[endpoint].lengthen(now, &asked.ask),
        };
        self.write_down(stream, book);
        let due = now + self.until_idle();
        let pings = pings + 1;
        self.plan(
            due,
            Event::Idle {
                stream,
                request,
                pings,
            },
        );
    }

    /// Where a cache would be of use: at the end of the head, at the end of the prompt, and, where the provider looks for nothing
    /// farther, at the end of the prompt before.
    fn places(&self, stream: usize) -> Marks {
        let at = self.streams[stream].at;
        let request = &self.trace.requests[at];
        let blocks = request.prompt.blocks();
        let mut marks = Marks::new();
        if (1..blocks).contains(&request.head_blocks) {
            marks.push(mark(request.head_blocks, 1));
        }
        let near = !matches!(
            self.setup.endpoint.cache.semantics,
            Semantics::Entries { look_back: None }
        );
        let first = self.trace.streams[stream].requests.start as usize;
        if near && at > first {
            let before = &self.trace.requests[at - 1];
            let kept = before.prompt.blocks();
            let whole = before.prompt.shared(&request.prompt) == kept;
            if whole && (request.head_blocks + 1..blocks).contains(&kept) {
                marks.push(mark(kept, before.position));
            }
        }
        if blocks > 0 {
            marks.push(mark(blocks, request.position));
        }
        marks
    }
}

/// The time over which to start sessions so that, within it, requests come as often as where `rate` was measured: sessions started over
/// eight hours, some of whose requests came later. `offsets` are those of all requests from the starts of their sessions.
fn window(offsets: &[Duration], rate: f64) -> Duration {
    // A request is within when its session starts early enough.
    let within = |window: f64| -> f64 {
        let share = |offset: &Duration| (1.0 - offset.as_secs_f64() / window).max(0.0);
        offsets.iter().map(share).sum()
    };
    let all = (offsets.len() as f64).max(1.0);
    let target = rate * within(REFERENCE_WINDOW) / all;
    // How often requests come within a window falls with its length once it is longer than the sessions, and rises before; the longest
    // that suffices is wanted, so halving starts from above. A trace too small for the rate gets the whole.
    let (mut short, mut long) = (all / rate / 8.0, (all / rate).max(1.0));
    for _ in 0..40 {
        let middle = (short + long) / 2.0;
        if within(middle) / middle > target {
            short = middle;
        } else {
            long = middle;
        }
    }
    Duration::from_secs_f64(long)
}

fn mark(blocks: u32, position: u32) -> Mark {
    Mark {
        blocks,
        position,
        life: cache::Life::Short,
    }
}

/// Request `index` as a policy is shown it.
fn describe<'t>(
    trace: &'t Trace,
    stream: usize,
    index: usize,
    marks: &'t [Mark],
    refused: &'t [bool],
) -> Asked<'t> {
    let request: &Request = &trace.requests[index];
    let session = trace.sessions[trace.streams[stream].session as usize].key;
    Asked {
        index,
        session,
        head: request.prompt.prefix(request.head_blocks).map(|id| id.0),
        ask: Ask {
            request,
            block_tokens: trace.block_tokens,
            marks,
            handle: session,
        },
        refused,
    }
}
