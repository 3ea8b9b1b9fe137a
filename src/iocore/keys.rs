//! Client keys that were made at run time, in a file of the data directory.
//!
//! Of a key only its SHA-256 is kept: the text is told once, when it is made. A key that was revoked stays in the file, since the ledger names
//! it; one that was rotated may be good beside its successor for a while. The file is small and written seldom, on a thread that may block.

use crate::config::hash_client_key;
use crate::config::wish::Wish;
use anyhow::{Context as _, anyhow, bail};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

use crate::base::WallTime;

const NAME: &str = "keys.sqlite";

/// The file, open.
#[derive(Debug)]
pub struct Keys {
    file: Connection,
}

/// One key, as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stored {
    pub name: String,
    /// The last letters of its text, to know it by.
    pub ends: String,
    #[serde(skip)]
    pub sha256: [u8; 32],
    /// What it was rotated from, and until when that is good.
    #[serde(skip)]
    pub before: Option<([u8; 32], WallTime)>,
    /// Seconds since 1970.
    pub created: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<i64>,
    pub rights: Wish,
}

/// A key's text; told once.
pub struct Secret(pub String);

impl Keys {
    /// Opens the file in `folder`, or makes it. Whoever calls has claimed the folder.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let file = Connection::open(&path).with_context(|| path.display().to_string())?;
        file.busy_timeout(Duration::from_secs(5))?;
        // FULL: a key that was shown to somebody must be known after a power loss.
        file.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS keys (
               name TEXT PRIMARY KEY, ends TEXT NOT NULL, sha256 BLOB NOT NULL UNIQUE,
               before BLOB, before_until INTEGER,
               created INTEGER NOT NULL, rotated INTEGER, revoked INTEGER, rights TEXT NOT NULL
             ) STRICT;",
        )
        .with_context(|| path.display().to_string())?;
        Ok(Self { file })
    }

    /// All, the oldest first.
    pub fn all(&self) -> anyhow::Result<Vec<Stored>> {
        let mut rows = self.file.prepare(
            "SELECT name, ends, sha256, before, before_until, created, rotated, revoked, rights
             FROM keys ORDER BY created, rowid",
        )?;
        let found = rows.query_map([], |row| Ok(stored(row)))?;
        found.map(|one| one?).collect()
    }

    /// A new key with these rights, under `wish.name` or a name of its own.
    pub fn create(&mut self, wish: &Wish, now: WallTime) -> anyhow::Result<(Stored, Secret)> {
        let secret = draw()?;
        let name = match &wish.name {
            Some(name) => name.clone(),
            None => format!("key-{}", &secret.0[7..15]),
        };
        if self.find(&name)?.is_some() {
            bail!("name: there is, or was, a client key {name:?} already");
        }
        let rights = Wish {
            name: None,
            ..wish.clone()
        };
        self.file.execute(
            "INSERT INTO keys (name, ends, sha256, created, rights) VALUES (:name, :ends, :sha256, :created, :rights)",
            named_params! {
                ":name": name, ":ends": ends(&secret), ":sha256": hash_client_key(&secret.0),
                ":created": now.seconds(), ":rights": serde_json::to_string(&rights)?,
            },
        )?;
        Ok((self.must_find(&name)?, secret))
    }

    /// Another text for the key; the one before is good for `overlap` more.
    pub fn rotate(
        &mut self,
        name: &str,
        overlap: Duration,
        now: WallTime,
    ) -> anyhow::Result<(Stored, Secret)> {
        let known = self.must_find(name)?;
        if known.revoked.is_some() {
            bail!("the client key {name:?} was revoked: make another");
        }
        let secret = draw()?;
        let until = (!overlap.is_zero()).then(|| (now + overlap).0);
        self.file.execute(
            "UPDATE keys SET ends = :ends, sha256 = :sha256, before = :before, before_until = :until, rotated = :now
             WHERE name = :name",
            named_params! {
                ":name": name, ":ends": ends(&secret), ":sha256": hash_client_key(&secret.0),
                ":before": until.map(|_| known.sha256), ":until": until, ":now": now.seconds(),
            },
        )?;
        Ok((self.must_find(name)?, secret))
    }

    /// The key is refused from now on.
    pub fn revoke(&mut self, name: &str, now: WallTime) -> anyhow::Result<Stored> {
        self.must_find(name)?;
        self.file.execute(
            "UPDATE keys SET revoked = ifnull(revoked, :now), before = NULL, before_until = NULL WHERE name = :name",
            named_params! { ":name": name, ":now": now.seconds() },
        )?;
        self.must_find(name)
    }

    fn find(&self, name: &str) -> anyhow::Result<Option<Stored>> {
        let found = self.file.query_row(
            "SELECT name, ends, sha256, before, before_until, created, rotated, revoked, rights FROM keys WHERE name = :name",
            named_params! { ":name": name },
            |row| Ok(stored(row)),
        );
        found.optional()?.transpose()
    }

    fn must_find(&self, name: &str) -> anyhow::Result<Stored> {
        let found = self.find(name)?;
        found.ok_or_else(|| anyhow!("there is no client key {name:?} that was made at run time"))
    }
}

fn stored(row: &Row<'_>) -> anyhow::Result<Stored> {
    let before: (Option<[u8; 32]>, Option<i64>) = (row.get(3)?, row.get(4)?);
    Ok(Stored {
        name: row.get(0)?,
        ends: row.get(1)?,
        sha256: row.get(2)?,
        before: before.0.zip(before.1.map(WallTime)),
        created: row.get(5)?,
        rotated: row.get(6)?,
        revoked: row.get(7)?,
        rights: serde_json::from_str(&row.get::<_, String>(8)?)?,
    })
}

/// `sk-stk-` and 43 letters: 256 random bits.
fn draw() -> anyhow::Result<Secret> {
    let mut bytes = [0; 32];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| anyhow!("the system gives no random bytes"))?;
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = "sk-stk-".to_owned();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        held += 8;
        while held >= 6 {
            held -= 6;
            text.push(char::from(LETTERS[(bits >> held) as usize & 63]));
        }
    }
    text.push(char::from(LETTERS[(bits << (6 - held)) as usize & 63]));
    Ok(Secret(text))
}

fn ends(secret: &Secret) -> &str {
    &secret.0[secret.0.len() - 4..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_790_000_000_000_000_000);

    fn wish(tenant: &str) -> Wish {
        Wish {
            tenant: tenant.to_owned(),
            models: vec!["claude-*".to_owned()],
            rpm: Some(60),
            ..Wish::default()
        }
    }

    #[test]
    fn a_key_is_told_once_and_known_by_its_hash_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keys = Keys::open(folder.path()).expect("open");
        let (made, secret) = keys.create(&wish("a"), NOW).expect("made");
        assert!(
            secret.0.starts_with("sk-stk-") && secret.0.len() == 50,
            "{}",
            secret.0
        );
        assert_eq!(made.sha256, hash_client_key(&secret.0));
        assert!(secret.0.ends_with(&made.ends) && made.name.starts_with("key-"));
        let (_, other) = keys.create(&wish("a"), NOW).expect("made");
        assert_ne!(secret.0, other.0);
        drop(keys);
        let keys = Keys::open(folder.path()).expect("open again");
        let all = keys.all().expect("read");
        assert_eq!((all.len(), &all[0]), (2, &made));
        assert_eq!(all[0].rights, wish("a"));
        let text = std::fs::read(folder.path().join(NAME)).expect("a file");
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(&secret.0), "the text of a key is nowhere");
    }

    #[test]
    fn a_rotated_key_is_good_for_its_overlap_and_a_revoked_one_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keys = Keys::open(folder.path()).expect("open");
        let named = Wish {
            name: Some("ci".to_owned()),
            ..wish("a")
        };
        let (first, _) = keys.create(&named, NOW).expect("made");
        let twice = keys.create(&named, NOW).map(|_| ());
        assert!(
            twice
                .expect_err("it is there")
                .to_string()
                .contains("\"ci\"")
        );
        let hour = Duration::from_secs(3_600);
        let (second, _) = keys.rotate("ci", hour, NOW).expect("rotated");
        assert_eq!(second.before, Some((first.sha256, NOW + hour)));
        let (third, _) = keys.rotate("ci", Duration::ZERO, NOW).expect("rotated");
        assert_eq!(third.before, None);
        let gone = keys.revoke("ci", NOW).expect("revoked");
        assert_eq!(gone.revoked, Some(NOW.seconds()));
        let later = keys.revoke("ci", NOW + hour).expect("revoked again");
        assert_eq!(later.revoked, gone.revoked, "the first time counts");
        assert!(keys.rotate("ci", hour, NOW).is_err());
        assert!(keys.revoke("nobody", NOW).is_err());
        let again = keys.create(&named, NOW).map(|_| ());
        assert!(again.is_err(), "the ledger knows another by that name");
    }
}
