//! The workload as written: every field must be there, and no other.

use crate::canned::Dialect;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    pub dialect: Dialect,
    pub body_bytes: usize,
    pub chunks: usize,
    pub rounds: usize,
    pub concurrency: usize,
    pub requests: u64,
    pub stream_requests: u64,
    pub warm_up_requests: u64,
    pub latency_seconds: f64,
    pub latency_load: f64,
    pub latency_connections: Vec<usize>,
}

/// `bench/canonical.yaml` as it was built in.
const CANONICAL: &str = include_str!("../../canonical.yaml");

impl Workload {
    /// The file, or the canonical one; and a hash of its text, under which figures can be compared.
    pub fn read(path: Option<&Path>) -> Result<(Self, String)> {
        let text = match path {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| path.display().to_string())?
            }
            None => CANONICAL.to_owned(),
        };
        let workload = Self::of(&text)?;
        let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        Ok((workload, format!("{hash:016x}")))
    }

    fn of(text: &str) -> Result<Self> {
        let workload: Self = serde_yaml::from_str(text).context("workload")?;
        ensure!(
            (1..=100).contains(&workload.rounds),
            "rounds: from 1 to 100"
        );
        ensure!(
            (1..=60_000).contains(&workload.concurrency),
            "concurrency: from 1 to 60000"
        );
        ensure!(
            workload.latency_load > 0.0 && workload.latency_load <= 1.0,
            "latency_load: a share of 1"
        );
        ensure!(
            (0.0..=600.0).contains(&workload.latency_seconds),
            "latency_seconds: up to 600"
        );
        Ok(workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_workload_is_right() {
        let (workload, _) = Workload::read(None).unwrap();
        assert_eq!((workload.body_bytes, workload.chunks), (1_024, 50));
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        assert!(Workload::of(&format!("{CANONICAL}\nhurry: true\n")).is_err());
    }
}
