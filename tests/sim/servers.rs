//! Own servers that are asked how they are, by the very probes of the I/O core.
//!
//! Drawn from a stream of their own. What they say of themselves has nothing to do with what they do: a server that calls itself down goes on
//! answering, so that a run without other faults must still succeed whole.

use super::network::What;
use super::world::World;
use std::sync::Arc;
use std::time::Duration;
use stokehold::base::{Now, Rng};
use stokehold::config::Config;
use stokehold::fake::{Engine, Fake, Request, Step};
use stokehold::shard::{Input, Next, Probe, ServerNews, State, Watched, watched};

pub struct Servers {
    rng: Rng,
    asked: Vec<Asked>,
    /// Reports that told of a server which takes nothing.
    pub shut: u64,
    /// Reports of a load.
    pub loads: u64,
}

struct Asked {
    server: Watched,
    fake: usize,
    probe: Probe,
}

impl Servers {
    pub fn drawn(seed: u64, config: &Config) -> Self {
        let fake = |server: &Watched| {
            let mut providers = config.providers.iter();
            let of = providers.find(|p| p.name == server.name.provider);
            of.expect("it is one of them").origin.0 as usize
        };
        let asked = |server: Watched| Asked {
            fake: fake(&server),
            probe: Probe::new(&server.health),
            server,
        };
        Self {
            rng: Rng::seeded(seed ^ 0x5e17e5),
            asked: watched(config).into_iter().map(asked).collect(),
            shut: 0,
            loads: 0,
        }
    }
}

impl World {
    /// Half of the runs ask.
    pub fn draw_servers(&mut self) {
        if self.servers.rng.once_in(2) {
            return;
        }
        for which in 0..self.servers.asked.len() {
            for n in 0..30 {
                let at = self.now + Duration::from_millis(n * 1_000 + self.servers.rng.below(900));
                self.events.push(at, What::Server { which });
            }
            for _ in 0..self.servers.rng.below(8) {
                let at = self.now + Duration::from_millis(self.servers.rng.below(25_000));
                let engine = engine(&mut self.servers.rng);
                self.events.push(at, What::Feels { which, engine });
            }
        }
    }

    /// All are well, and say so once more.
    pub fn heal_servers(&mut self) {
        for which in 0..self.servers.asked.len() {
            self.feel(which, Engine::default());
            self.events.push(self.now, What::Server { which });
        }
    }

    pub fn feel(&mut self, which: usize, engine: Engine) {
        let fake = self.servers.asked[which].fake;
        *self.fakes[fake].engine() = engine;
    }

    /// One poll; its news reach each shard in its own time.
    pub fn poll_server(&mut self, which: usize) {
        let now = self.wall();
        let asked = &mut self.servers.asked[which];
        let mut path = asked.probe.begin();
        let report = loop {
            let page = page(&mut self.fakes[asked.fake], now, &path);
            let answer = page.as_ref().map(|(status, body)| (*status, &body[..]));
            match asked.probe.answer(answer) {
                Next::Ask(next) => path = next,
                Next::Told(report) => break report,
                Next::Nothing => return,
            }
        };
        let name = asked.server.name.clone();
        self.servers.shut += u64::from(matches!(report.state, State::Down | State::Draining));
        self.servers.loads += u64::from(report.figures.queue().is_some());
        for shard in 0..self.nodes.len() {
            let age = Duration::from_micros(100 + self.servers.rng.below(2_000));
            let name = name.clone();
            let input = Input::Server(Arc::new(ServerNews { name, report, age }));
            self.events.push(self.now + age, What::In { shard, input });
        }
    }
}

fn engine(rng: &mut Rng) -> Engine {
    Engine {
        health: [None, Some(503), Some(500), Some(404)][rng.below(4) as usize],
        garbage: rng.once_in(4),
        stall: rng.once_in(4),
    }
}

/// Status and body, if they come at once.
fn page(fake: &mut Fake, now: Now, path: &str) -> Option<(u16, Vec<u8>)> {
    let id = fake.handle(
        now,
        &Request {
            method: "GET",
            path,
            header: &|_| None,
            body: b"",
        },
    );
    let (mut said, mut body) = (0, Vec::new());
    loop {
        match fake.next(id, now) {
            Step::Head { status, .. } => said = status,
            Step::Bytes(bytes) => body.extend_from_slice(&bytes),
            Step::End => return Some((said, body)),
            Step::Wait(_) | Step::Stall | Step::Reset => {
                fake.hung_up(id, now);
                return None;
            }
        }
    }
}
