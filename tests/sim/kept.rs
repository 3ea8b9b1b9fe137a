//! Clients that come back for answers that were made in the background, and what must hold of their bills.

use super::clients::{Client, Plan};
use super::network::{What, moment};
use super::world::World;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stokehold::base::Rng;
use stokehold::canon::{DialectName, Usage};
use stokehold::fake::Ended;
use stokehold::shard::{LedgerRow, Outcome};

/// What is asked of an answer.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub path: String,
    pub query: String,
    /// By another tenant than the one it belongs to.
    pub foreign: bool,
}

/// How many times it is asked for, over some seconds.
const ASKS: u64 = 6;

impl Plan {
    /// Makes it ask for an answer in the background.
    pub fn in_the_background(&mut self) {
        let mut body: serde_json::Value = serde_json::from_slice(&self.body).expect("ours");
        body["background"] = serde_json::json!(true);
        self.body = Bytes::from(body.to_string());
        self.comes_back = true;
    }

    fn after(id: &str, owner: &'static str, rng: &mut Rng) -> Self {
        let foreign = rng.once_in(5);
        let other = if owner == "sk-a" { "sk-b" } else { "sk-a" };
        let (method, below, stream) = match rng.below(8) {
            0 => ("DELETE", "", false),
            1 => ("POST", "/cancel", false),
            2 => ("GET", "/input_items", false),
            3 => ("GET", "", true),
            _ => ("GET", "", false),
        };
        let query = match stream {
            true => format!("stream=true&starting_after={}", rng.below(9)),
            false => String::new(),
        };
        Self {
            dialect: DialectName::Responses,
            stream,
            body: Bytes::new(),
            key: if foreign { other } else { owner },
            headers: Vec::new(),
            body_fault: None,
            leaves_after: None,
            slow: None,
            must_succeed: false,
            says: Vec::new(),
            film: None,
            comes_back: false,
            kept: Some(Ask {
                method,
                path: format!("/v1/responses/{id}{below}"),
                query,
                foreign,
            }),
        }
    }
}

/// The id of a kept answer that a client has read so far.
fn id_in(client: &Client) -> Option<String> {
    let text = String::from_utf8_lossy(&client.got);
    let (_, rest) = text.split_once("\"id\":\"resp_")?;
    let (id, _) = rest.split_once('"')?;
    Some(format!("resp_{id}"))
}

impl World {
    /// A client is gone, and perhaps comes back for what it asked for.
    pub fn gone(&mut self, client: Client) {
        let id = Some(&client).filter(|c| c.plan.comes_back).and_then(id_in);
        if let Some(id) = id {
            for _ in 0..self.rng.below(ASKS) {
                let at = self.now + moment(&mut self.rng);
                let plan = Plan::after(&id, client.plan.key, &mut self.rng);
                let shard = self.rng.below(self.nodes.len() as u64) as usize;
                let plan = Box::new(plan);
                self.events.push(at, What::Arrive { shard, plan });
            }
            self.kept.insert(id, client.plan.key);
        }
        self.ended.push(client);
    }

    /// Everybody looks once more at what was kept for them, when all is well again.
    pub fn look_at_last(&mut self) {
        for (id, owner) in self.kept.clone() {
            for _ in 0..2 {
                let mut plan = Plan::after(&id, owner, &mut self.rng);
                plan.key = owner;
                plan.stream = false;
                plan.kept = Some(Ask {
                    method: "GET",
                    path: format!("/v1/responses/{id}"),
                    query: String::new(),
                    foreign: false,
                });
                let at = self.now + Duration::from_millis(self.rng.below(1_000));
                let shard = self.rng.below(self.nodes.len() as u64) as usize;
                let plan = Box::new(plan);
                self.events.push(at, What::Arrive { shard, plan });
            }
        }
    }
}

/// A bill that stands apart from the attempt that asked for the answer.
pub fn is_bill(row: &LedgerRow) -> bool {
    row.decision == "background"
}

/// The creation of an answer in the background, which is billed apart.
pub fn is_creation(row: &LedgerRow, backgrounds: &BTreeSet<String>) -> bool {
    let made = backgrounds.contains(&*row.upstream_id);
    made && row.outcome == Outcome::Done && row.usage == Usage::default()
}

/// The ids of answers that providers made in the background.
pub fn backgrounds(world: &World) -> BTreeSet<String> {
    let mark = b"\"background\":true";
    let of = world.heard.iter().filter(|heard| !heard.ask);
    let of = of.filter(|heard| heard.bytes.windows(mark.len()).any(|w| w == mark));
    of.map(|heard| heard.text().0).collect()
}

/// Of each answer one bill, as the ledger keeps them (the first of a name): what the provider billed, where it said so.
pub fn each_is_billed_once(world: &World) {
    let mut bills: BTreeMap<&str, &LedgerRow> = BTreeMap::new();
    for row in world.rows.iter().filter(|row| is_bill(row)) {
        assert_eq!(
            (&row.exchange, row.attempt, row.last),
            (&row.upstream_id, 1, true)
        );
        let first = bills.entry(&row.exchange).or_insert(row);
        // One shard may have its answer deleted, and its prompt billed by an estimate, while another fetches it.
        let guessed = first.usage.estimated || row.usage.estimated;
        assert!(
            guessed || (&first.usage, first.cost) == (&row.usage, row.cost),
            "{first:?} {row:?}"
        );
    }
    let entries: BTreeMap<&str, _> = world
        .fakes
        .iter()
        .flat_map(|fake| fake.book().entries())
        .map(|entry| (entry.id.as_str(), entry))
        .collect();
    for (id, bill) in &bills {
        match entries.get(id) {
            Some(entry) if entry.ended == Ended::Complete && !bill.usage.estimated => {
                super::checks::equal(world, entry, bill);
            }
            _ => assert!(bill.usage.estimated, "{bill:?} of {:?}", entries.get(id)),
        }
    }
    for client in world.ended.iter().filter(|c| !c.left && !c.crashed) {
        let Some(ask) = &client.plan.kept else {
            continue;
        };
        assert!(client.ended, "{ask:?} was never answered");
        assert!(
            !ask.foreign || client.status() >= 400,
            "{ask:?} was answered"
        );
        let answer: serde_json::Value = serde_json::from_slice(&client.got).unwrap_or_default();
        if client.status() == 200 && answer["usage"].is_object() && answer["background"] == true {
            let id = answer["id"].as_str().expect("an id");
            // Where the ledger had no room it stays owed until the next look.
            assert!(
                bills.contains_key(id) || world.was_short_of_rows,
                "{id} has no bill"
            );
        }
    }
}
