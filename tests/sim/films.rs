//! Clients that have video made: they start a job, ask how it stands, fetch what came of it; or leave, or never come back.

use super::clients::Plan;
use super::network::moment;
use super::world::{FaultsDrawn, World};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use stokehold::base::Rng;
use stokehold::canon::DialectName;
use stokehold::fake::Entry;
use stokehold::shard::{LedgerRow, Outcome};

/// What such a client asks for.
#[derive(Clone, Debug)]
pub struct Film {
    pub method: &'static str,
    pub path: String,
    pub what: Wanted,
    /// How often it will come back.
    pub comes_back: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Start,
    Standing,
    Bytes,
}

impl Film {
    pub fn is_json(&self) -> bool {
        self.what != Wanted::Bytes
    }

    fn after(&self, path: String, what: Wanted) -> Self {
        Self {
            method: "GET",
            path,
            what,
            comes_back: self.comes_back - 1,
        }
    }
}

/// The model that makes video.
pub const MODEL: &str = "v0";

/// A provider of video, of which the fake plays whichever is drawn; its keys are of different projects.
pub fn provider(rng: &mut Rng) -> String {
    let kind = ["gemini", "vertex", "openai"][rng.below(3) as usize];
    let more = match kind {
        "vertex" => "\n  project: p\n  region: us-east5",
        _ => "",
    };
    let limits = match rng.below(3) {
        0 => format!("[{{rpm: {}}}]", 60 + rng.below(300)),
        1 => format!("[{{concurrent: {}}}]", 4 + rng.below(8)),
        _ => "[]".to_owned(),
    };
    format!(
        "- id: films\n  kind: {kind}\n  base_url: http://films.test{more}\n  pools:\n  - id: films\n    \
         keys: [{{id: films0, secret: sk-films0-end}}, {{id: films1, secret: sk-films1-end}}]\n    limits: {limits}\n"
    )
}

pub fn model() -> String {
    format!(
        "- id: {MODEL}\n  takes: [images]\n  gives: [video]\n  timeouts: {{connect: 2s, first_byte: 10s, stall: 5s, total: 120s}}\n  \
         endpoints: [{{provider: films, name: {MODEL}, price: {{input: 0, output: 0, video_second: [{{resolution: 720p, usd: 0.1}}, {{resolution: 1080p, usd: 0.4}}]}}}}]\n"
    )
}

pub const KEYS: [(&str, &str); 2] = [("sk-films0-end", "one"), ("sk-films1-end", "two")];

/// An order, in Google's words, in OpenAI's or in ours.
pub fn plan(rng: &mut Rng, faults: FaultsDrawn) -> Plan {
    let dialect = [DialectName::Gemini, DialectName::Chat, DialectName::Native];
    let dialect = dialect[rng.below(3) as usize];
    let (seconds, fine) = (4 + 2 * rng.below(3), rng.once_in(2));
    let prompt = match rng.below(6) {
        0 if faults.provider => "a cat [[fake: video_fails]]",
        1 if faults.provider => "a cat [[fake: video_withheld=1]]",
        _ => "a cat",
    };
    let stream = dialect == DialectName::Native && rng.once_in(2);
    let resolution = if fine { "1080p" } else { "720p" };
    let (path, body) = match dialect {
        DialectName::Gemini => (
            format!("/v1beta/models/{MODEL}:predictLongRunning"),
            serde_json::json!({"instances": [{"prompt": prompt}], "parameters": {"durationSeconds": seconds, "resolution": resolution}}),
        ),
        DialectName::Chat => (
            "/v1/videos".to_owned(),
            serde_json::json!({"model": MODEL, "prompt": prompt, "seconds": seconds.to_string(), "size": if fine { "1920x1080" } else { "1280x720" }}),
        ),
        _ => (
            format!("/api/v1/{}", if stream { "stream" } else { "generate" }),
            serde_json::json!({"model": MODEL, "input": prompt, "video": {"seconds": seconds, "resolution": resolution}}),
        ),
    };
    let native = dialect == DialectName::Native;
    let comes_back = if native { 0 } else { rng.below(8) };
    let mut headers = vec![("host", "us.test".to_owned())];
    if native && rng.once_in(6) {
        headers.push(("x-stokehold-deadline", format!("{}s", 1 + rng.below(60))));
    }
    Plan {
        dialect,
        stream,
        body: Bytes::from(body.to_string()),
        key: if rng.once_in(3) { "sk-b" } else { "sk-a" },
        headers,
        body_fault: None,
        leaves_after: (faults.clients_leave && rng.once_in(3)).then(|| 3 * moment(rng)),
        slow: None,
        must_succeed: false,
        says: Vec::new(),
        comes_back: false,
        kept: None,
        film: Some(Film {
            method: "POST",
            path,
            what: Wanted::Start,
            comes_back,
        }),
    }
}

/// What a client asks next that was answered with `body`; `None` when it has what it wanted, or does not come back.
pub fn next(plan: &Plan, body: &[u8]) -> Option<Plan> {
    let film = plan.film.as_ref().filter(|film| film.comes_back > 0)?;
    let said: Value = serde_json::from_slice(body).ok()?;
    let next = match plan.dialect {
        DialectName::Gemini if said["done"] == true => {
            let samples = &said["response"]["generateVideoResponse"]["generatedSamples"];
            let uri = samples[0]["video"]["uri"].as_str()?;
            // Who did not say where it found us is told the path alone.
            let path = uri.strip_prefix("http://us.test").unwrap_or(uri);
            assert!(path.starts_with("/v1"), "fetched from us: {uri}");
            film.after(path.to_owned(), Wanted::Bytes)
        }
        DialectName::Gemini => {
            let name = said["name"].as_str()?;
            film.after(format!("/v1beta/{name}"), Wanted::Standing)
        }
        DialectName::Chat => {
            let path = format!("/v1/videos/{}", said["id"].as_str()?);
            match said["status"].as_str()? {
                "completed" => film.after(path + "/content", Wanted::Bytes),
                "failed" => return None,
                _ => film.after(path, Wanted::Standing),
            }
        }
        _ => return None,
    };
    Some(Plan {
        body: Bytes::new(),
        leaves_after: None,
        film: Some(next),
        ..plan.clone()
    })
}

/// When the next question is asked: often sooner than it need be, and seldom from where the last was answered.
pub fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.below(15_000))
}

/// Each job that a provider billed has one row with its cost, whoever asked about it and how often; what is not known to have been made is
/// an estimate.
pub fn each_job_is_paid_once(world: &World) {
    let mut rows: BTreeMap<&str, Vec<&LedgerRow>> = BTreeMap::new();
    for row in orders(world) {
        rows.entry(&row.upstream_id).or_default().push(row);
    }
    // An answer that was lost may have had an id of its request.
    let named: Vec<&Entry> = jobs(world).collect();
    let known = |row: &&LedgerRow| named.iter().any(|entry| entry.id == *row.upstream_id);
    let guessed: Vec<&LedgerRow> = orders(world).filter(|row| !known(row)).collect();
    for row in &guessed {
        assert!(
            row.usage.estimated && row.outcome != Outcome::Done,
            "{row:?}"
        );
    }
    let guessed = guessed.len();
    let mut lost = 0;
    for entry in &named {
        match rows.remove(entry.id.as_str()).as_deref() {
            None => lost += 1,
            Some([row]) if row.usage.estimated => {
                assert_ne!(row.outcome, Outcome::Done, "{row:?}");
            }
            Some([row]) => {
                let seconds = row.usage.output_video_millis.map(|m| m / 1_000);
                assert_eq!(
                    seconds,
                    Some(entry.billed.video_seconds),
                    "{entry:?}\n{row:?}"
                );
                let fine = row.usage.output_video_resolution.as_deref() == Some("1080p");
                let a_second = if fine { 400_000_000 } else { 100_000_000 };
                let cost = a_second * entry.billed.video_seconds as i64;
                assert_eq!(row.cost.0, cost, "{entry:?}\n{row:?}");
            }
            Some(several) => panic!("{entry:?} is paid more than once: {several:?}"),
        }
    }
    // Of a job whose beginning was never told to us, what was ordered is written down as an estimate.
    assert!(
        lost <= guessed,
        "{lost} jobs are not paid, {guessed} are guessed"
    );
    let free = world.rows.iter().filter(|row| is_film(world, row));
    let free = free.filter(|row| row.usage.output_video_millis.is_none());
    for row in free {
        assert_eq!(row.cost.0, 0, "a question costs nothing: {row:?}");
    }
}

/// The rows of what was ordered.
fn orders(world: &World) -> impl Iterator<Item = &LedgerRow> {
    let rows = world.rows.iter().filter(|row| is_film(world, row));
    rows.filter(|row| row.usage.output_video_millis.is_some())
}

pub fn is_film(world: &World, row: &LedgerRow) -> bool {
    world.config.models[usize::from(row.model.0)].name == MODEL
}

fn jobs(world: &World) -> impl Iterator<Item = &Entry> {
    let entries = world.fakes.iter().flat_map(|fake| fake.book().entries());
    entries.filter(|entry| {
        entry.model == MODEL && (entry.id.contains("operations/") || entry.id.starts_with("video_"))
    })
}

/// How many jobs were billed, and how many were asked after to the end.
pub fn count(world: &World) -> (u64, u64) {
    let fetched = |c: &&super::clients::Client| {
        let film = c.plan.film.as_ref();
        film.is_some_and(|f| f.what == Wanted::Bytes) && c.succeeded()
    };
    let fetched = world.ended.iter().filter(fetched).count();
    (jobs(world).count() as u64, fetched as u64)
}
