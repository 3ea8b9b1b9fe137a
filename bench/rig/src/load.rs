//! The load: clients, schedule and tally on one thread.

use crate::ask::{Ask, Letter};
use crate::bounds;
use crate::canned::Dialect;
use crate::pace::{Bounds, Pace};
use crate::tally::{Failure, Seen, Tally};
use crate::{h1, h2c};
use anyhow::{Result, ensure};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Args {
    /// Whom to ask, on loopback; a path is put before the dialect's own
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = bounds::url)]
    url: (SocketAddr, String),
    #[arg(long, default_value = "sk-dev")]
    key: String,
    #[arg(long, default_value = "fake-small")]
    model: String,
    #[arg(long, value_enum, default_value = "chat")]
    dialect: Dialect,
    /// Exchanges at once; with --rate, the most
    #[arg(long, default_value_t = 100)]
    concurrency: usize,
    /// Stop after so many [default: as many as --seconds allows]
    #[arg(long)]
    requests: Option<u64>,
    /// Begin none after so many seconds [default: 10 without --requests]
    #[arg(long)]
    seconds: Option<f64>,
    /// Asks a second, whether or not answers come (open loop); else each client asks when it has its answer
    #[arg(long)]
    rate: Option<f64>,
    /// Ask for streams
    #[arg(long)]
    stream: bool,
    /// Between two events of a stream: gaps over ten times this are counted as stalls
    #[arg(long, value_parser = bounds::duration)]
    pace: Option<Duration>,
    /// HTTP/2 without TLS instead of HTTP/1.1
    #[arg(long)]
    h2c: bool,
    /// Connections of HTTP/2 [default: one for every 100 clients]
    #[arg(long)]
    connections: Option<usize>,
    /// Bytes of a request's body
    #[arg(long, default_value_t = 1_024)]
    body_bytes: usize,
    /// Clients begin spread over this time
    #[arg(long, default_value = "0ms", value_parser = bounds::duration)]
    ramp: Duration,
    /// Gives up on what is unfinished after this time
    #[arg(long, default_value = "2m", value_parser = bounds::duration)]
    time_limit: Duration,
    #[arg(long)]
    json: bool,
}

/// Whom to ask what, how often.
#[derive(Clone, Debug)]
pub struct Plan {
    pub to: SocketAddr,
    pub ask: Ask,
    pub concurrency: usize,
    pub requests: u64,
    /// None is begun after it.
    pub time: Duration,
    /// Asks a second of an open loop.
    pub rate: Option<f64>,
    pub pace: Option<Duration>,
    /// Connections of HTTP/2; `None` is HTTP/1.1.
    pub h2c: Option<usize>,
    pub ramp: Duration,
    /// What is not finished by then is counted so.
    pub limit: Duration,
}

pub fn main(args: &Args) -> Result<()> {
    let plan = plan(args)?;
    let report = bounds::run(args.time_limit + GRACE, run(plan))?.report();
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{}", report.text()),
    }
    ensure!(report.done > 0, "nothing was answered");
    Ok(())
}

/// For the tally after the load's own limit.
const GRACE: Duration = Duration::from_secs(5);

fn plan(args: &Args) -> Result<Plan> {
    ensure!(
        args.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e6),
        "--rate is between 0 and 1,000,000 a second"
    );
    let seconds = match (args.seconds, args.requests) {
        (Some(seconds), _) => Duration::try_from_secs_f64(seconds)?,
        (None, None) => Duration::from_secs(10),
        (None, Some(_)) => args.time_limit,
    };
    let h2c = args
        .connections
        .unwrap_or(args.concurrency.div_ceil(100))
        .max(1);
    Ok(Plan {
        to: args.url.0,
        ask: Ask {
            dialect: args.dialect,
            model: args.model.clone(),
            key: args.key.clone(),
            stream: args.stream,
            body_bytes: args.body_bytes,
            prefix: args.url.1.trim_end_matches('/').to_owned(),
        },
        concurrency: args.concurrency.max(1),
        requests: args.requests.unwrap_or(u64::MAX),
        time: seconds.min(args.time_limit),
        rate: args.rate,
        pace: args.pace,
        h2c: args.h2c.then_some(h2c),
        ramp: args.ramp,
        limit: args.time_limit,
    })
}

/// Stalls are gaps over so many times the pace.
pub const STALL_TIMES: u32 = 10;

/// Runs the load on this thread's `LocalSet`. Errors: it cannot begin; what fails later is in the tally.
pub async fn run(plan: Plan) -> Result<Tally> {
    bounds::need_files(plan.h2c.unwrap_or(plan.concurrency) as u64 + 64)?;
    let begun = Instant::now();
    let bounds = Bounds {
        requests: plan.requests,
        time: plan.time,
    };
    let tally = Tally::new(plan.pace.map(|pace| pace * STALL_TIMES));
    let shared = Rc::new(Shared {
        tally: RefCell::new(tally),
        pace: Pace::new(plan.concurrency, bounds, plan.rate),
        dialect: plan.ask.stream.then_some(plan.ask.dialect),
    });
    let mut clients = tokio::task::JoinSet::new();
    for (number, (wire, letter)) in wires(&plan).await?.into_iter().enumerate() {
        let wait = plan.ramp.mul_f64(number as f64 / plan.concurrency as f64);
        let client = client(Rc::clone(&shared), number, wire, letter, wait);
        clients.spawn_local(client);
    }
    let work = async {
        let all = async { while clients.join_next().await.is_some() {} };
        let (kept, ()) = tokio::join!(shared.pace.keep(), all);
        kept
    };
    // At the limit the clients are dropped, and what they had begun is unfinished.
    let kept = tokio::time::timeout(plan.limit, work).await;
    drop(clients);
    let fresh = Tally::new(None);
    let mut tally = shared.tally.replace(fresh);
    tally.elapsed = begun.elapsed();
    kept.unwrap_or(Ok(()))?;
    Ok(tally)
}

struct Shared {
    tally: RefCell<Tally>,
    pace: Pace,
    /// Of streams, which must end with its last words.
    dialect: Option<Dialect>,
}

enum Wire {
    H1(h1::Client),
    H2c(h2c::Client),
}

/// A connection (or a share in one) and a letter for each client.
async fn wires(plan: &Plan) -> Result<Vec<(Wire, Letter)>> {
    let Some(connections) = plan.h2c else {
        let letter = plan.ask.letter_h1(plan.to)?;
        let wire = |_| (Wire::H1(h1::Client::new(plan.to)), letter.clone());
        return Ok((0..plan.concurrency).map(wire).collect());
    };
    let letter = plan.ask.letter()?;
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(h2c::Client::connect(plan.to, &plan.ask).await?);
    }
    let wire = |at: usize| (Wire::H2c(open[at % open.len()].clone()), letter.clone());
    Ok((0..plan.concurrency).map(wire).collect())
}

async fn client(
    shared: Rc<Shared>,
    number: usize,
    mut wire: Wire,
    mut letter: Letter,
    wait: Duration,
) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let mut seen = Seen::new(Instant::now());
    while let Some((ask, intended)) = shared.pace.next(number).await {
        seen.again(intended);
        {
            let mut tally = shared.tally.borrow_mut();
            tally.asked += 1;
            tally.sent_bytes += letter.body_bytes() as u64;
        }
        let bytes = letter.numbered(ask);
        let how = match &mut wire {
            Wire::H1(client) => client.exchange(bytes, &mut seen).await,
            Wire::H2c(client) => client.exchange(bytes, &mut seen).await,
        };
        let how = how.and_then(|()| complete(shared.dialect, &seen));
        let failed = how.is_err();
        shared.tally.borrow_mut().ended(&seen, how);
        // What refuses at once must not be asked a million times a second.
        if failed {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

const AFTER_FAILURE: Duration = Duration::from_millis(10);

fn complete(dialect: Option<Dialect>, seen: &Seen) -> Result<(), Failure> {
    match dialect {
        Some(dialect) if !seen.ends_with(dialect.last_words()) => Err(Failure::Cut),
        _ => Ok(()),
    }
}
