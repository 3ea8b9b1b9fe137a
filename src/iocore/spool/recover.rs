//! What an earlier process left in the spool.
//!
//! The order of a start: segments are read to their last good record; answers that nobody goes on with are closed as interrupted, with what came
//! of them; rows that stand there are written into the ledger, which takes a row once; attempts that were out have a row too, of what they would
//! be billed if nothing more was heard. Only then is anything new begun. What is lost at most at each kind of crash: `docs/answers.md`.

use super::index::{Index, Rows};
use super::segment::Segment;
use crate::base::Now;
use crate::config::Config;
use crate::iocore::ledger::{Writer, wire as row};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    pub folder: PathBuf,
    pub index: Index,
}

/// Reads the spool in the data directory, which whoever calls has claimed, and brings the ledger up to it.
pub fn recover(config: &Config, ledger: &mut Writer, now: Now) -> io::Result<Recovered> {
    let folder = config.data_dir.join("spool");
    let mut index = Index::default();
    if config.spool.enabled {
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&folder)?;
    }
    let Ok(files) = std::fs::read_dir(&folder) else {
        return Ok(Recovered { folder, index });
    };
    let (mut segments, mut unused) = (0, 0);
    for file in files {
        let path = file?.path();
        if path.extension().is_none_or(|e| e != "spool") {
            continue;
        }
        match Segment::found(&path)? {
            Some(segment) => {
                index.add(Arc::new(segment));
                segments += 1;
            }
            // It lay ready, and nobody came to write it.
            None => {
                std::fs::remove_file(&path)?;
                unused += 1;
            }
        }
    }
    let mut rows = Rows::default();
    index.scan(|_| 0, Some(&mut rows))?;
    let cut = index.interrupt(now.wall);
    let mut owed = rows.0;
    let known: BTreeSet<(String, u8)> = owed.iter().filter_map(|bytes| named(bytes)).collect();
    for whose in &cut {
        let called = index.get(*whose).map(|entry| entry.called.clone());
        for bytes in called.unwrap_or_default() {
            if named(&bytes).is_some_and(|attempt| !known.contains(&attempt)) {
                index.add_row(*whose, bytes.clone());
                owed.push(bytes);
            }
        }
    }
    let owed: Vec<row::WireRow<'_>> = owed.iter().filter_map(|b| row::decode(b).ok()).collect();
    if !owed.is_empty() {
        ledger.insert_wire(&owed).map_err(|error| {
            io::Error::other(format!("rows of the spool cannot be written: {error}"))
        })?;
    }
    if segments > 0 {
        tracing::info!(
            segments,
            unused,
            answers = index.len(),
            interrupted = cut.len(),
            rows = owed.len(),
            "the spool of an earlier run was read"
        );
    }
    Ok(Recovered { folder, index })
}

/// Which attempt a row is of.
fn named(row: &[u8]) -> Option<(String, u8)> {
    let row = row::decode(row).ok()?;
    Some((row.exchange.to_string(), row.figures.attempt))
}
