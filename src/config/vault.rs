//! Provider keys at rest: `vault.json` of the data directory, each key sealed by itself with ChaCha20-Poly1305 under one master key.
//!
//! Pure: files, variables and random bytes are given. A key's name is sealed with it, so that two cannot change places; what is wrong is told
//! without a letter of any secret.

use crate::base::Secret;
use crate::config::secret::{Outside, credential};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// All that is sealed. To be written whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    version: u32,
    secrets: BTreeMap<String, Sealed>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    nonce: String,
    sealed: String,
    /// Unix time.
    changed: i64,
}

/// What seals and opens.
pub struct MasterKey(LessSafeKey);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// What is wrong, and what would be right.
type Wrong = (String, String);

/// Where the vault of a data directory lies.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("vault.json")
}

impl MasterKey {
    pub const BYTES: usize = 32;

    /// From 64 hexadecimal digits, as `stokehold vault key` makes them.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(of_hex(text.trim())?);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// From `STOKEHOLD_VAULT_KEY`, the file that `STOKEHOLD_VAULT_KEY_FILE` names, or systemd's credential `stokehold-vault-key`.
    pub fn find(outside: Outside<'_>) -> Result<Self, Wrong> {
        let set = |name: &str| (outside.env)(name).filter(|v| !v.is_empty());
        let (from, text) = match (set(VARIABLE), set(FILE_VARIABLE)) {
            (Some(text), _) => (VARIABLE.to_owned(), Zeroizing::new(text)),
            (None, Some(file)) => (file.clone(), of_file(Path::new(&file), outside)?),
            (None, None) => {
                let file = credential(CREDENTIAL, outside.env).map_err(|_| {
                    let right = format!("set {VARIABLE}, or {FILE_VARIABLE} to a file, or LoadCredential={CREDENTIAL}: of systemd");
                    ("there is no master key for the vault".to_owned(), right)
                })?;
                (file.display().to_string(), of_file(&file, outside)?)
            }
        };
        Self::read(&text).ok_or_else(|| {
            let right = "64 hexadecimal digits, as `stokehold vault key` makes them";
            (format!("{from} holds no master key"), right.to_owned())
        })
    }
}

fn of_file(path: &Path, outside: Outside<'_>) -> Result<Zeroizing<String>, Wrong> {
    (outside.read)(path).map(Zeroizing::new).map_err(|error| {
        let what = format!(
            "cannot read the vault's master key at {}: {error}",
            path.display()
        );
        (what, "a file this user may read".to_owned())
    })
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            version: VERSION,
            secrets: BTreeMap::new(),
        }
    }
}

impl Vault {
    /// What `text` holds, still sealed.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        let right = "the file as `stokehold vault` wrote it, or a copy of it".to_owned();
        let vault: Self = serde_json::from_str(text)
            .map_err(|error| (format!("the vault is damaged: {error}"), right.clone()))?;
        match vault.version {
            VERSION => Ok(vault),
            other => Err((format!("the vault has version {other}"), right)),
        }
    }

    /// As it is written down.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers") + "\n"
    }

    /// Seals `secret` under `name`, over what was there. `nonce` must be random, and is used once.
    pub fn set(
        &mut self,
        name: &str,
        secret: &str,
        (key, nonce): (&MasterKey, [u8; 12]),
        now: i64,
    ) -> Option<()> {
        let mut bytes = Zeroizing::new(secret.as_bytes().to_vec());
        // Sealed in place, and a tag behind it: without this it might move and leave a copy.
        bytes.reserve(CHACHA20_POLY1305.tag_len());
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed = key
            .0
            .seal_in_place_append_tag(unique, bound(name), &mut *bytes);
        sealed.ok()?;
        let sealed = Sealed {
            nonce: hex(&nonce),
            sealed: hex(&bytes),
            changed: now,
        };
        self.secrets.insert(name.to_owned(), sealed);
        Some(())
    }

    /// The secret called `name`.
    pub fn open(&self, name: &str, key: &MasterKey) -> Result<Secret, Wrong> {
        let sealed = self.secrets.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.secrets.keys().map(String::as_str).collect();
            let right = match known.is_empty() {
                true => format!("`stokehold vault set {name}`: it is empty"),
                false => format!(
                    "one of {}, or `stokehold vault set {name}`",
                    known.join(", ")
                ),
            };
            (format!("the vault has no secret {name:?}"), right)
        })?;
        let shut = || {
            let right = "the master key that sealed it, and the file as it was written".to_owned();
            (format!("the vault's secret {name:?} does not open"), right)
        };
        let nonce = of_hex(&sealed.nonce).and_then(|n| <[u8; 12]>::try_from(n).ok());
        let nonce = Nonce::assume_unique_for_key(nonce.ok_or_else(shut)?);
        let mut bytes = Zeroizing::new(of_hex(&sealed.sealed).ok_or_else(shut)?);
        let opened = key.0.open_in_place(nonce, bound(name), &mut bytes);
        let opened = opened.map_err(|_| shut())?;
        let text = std::str::from_utf8(opened).map_err(|_| shut())?;
        Ok(Secret::new(text.to_owned()))
    }

    /// False when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        self.secrets.remove(name).is_some()
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Names, and when each was set last, in Unix time.
    pub fn names(&self) -> impl Iterator<Item = (&str, i64)> {
        self.secrets
            .iter()
            .map(|(name, s)| (name.as_str(), s.changed))
    }
}

/// What `vault:NAME` in a configuration stands for.
pub fn find(name: &str, outside: Outside<'_>) -> Result<Secret, Wrong> {
    let path = path(Path::new(outside.data_dir));
    let text = (outside.read)(&path).map_err(|error| {
        let what = format!("cannot read the vault at {}: {error}", path.display());
        (what, format!("`stokehold vault set {name}` makes it"))
    })?;
    Vault::read(&text)?.open(name, &MasterKey::find(outside)?)
}

/// True for what a secret may be called.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(word)
}

fn bound(name: &str) -> Aad<Vec<u8>> {
    Aad::from([b"stokehold vault 1\0", name.as_bytes()].concat())
}

/// Lower case, two digits a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |d: u8| char::from(d).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

const VERSION: u32 = 1;
const VARIABLE: &str = "STOKEHOLD_VAULT_KEY";
const FILE_VARIABLE: &str = "STOKEHOLD_VAULT_KEY_FILE";
const CREDENTIAL: &str = "stokehold-vault-key";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: &str) -> MasterKey {
        MasterKey::read(&letter.repeat(64)).expect("a key")
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_under_its_name_alone() {
        let mut vault = Vault::default();
        for (name, secret) in [("a", "sk-secret-a"), ("b", "sk-secret-b")] {
            let nonce = [secret.len() as u8 + name.as_bytes()[0]; 12];
            vault
                .set(name, secret, (&key("1"), nonce), 7)
                .expect("sealed");
        }
        let text = vault.text();
        assert!(
            !text.contains("secret-a") && !text.contains(&hex(b"secret-a")),
            "{text}"
        );
        let read = Vault::read(&text).expect("ours");
        assert_eq!(read, vault);
        assert_eq!(
            read.open("b", &key("1")).expect("open").expose(),
            "sk-secret-b"
        );
        let (what, _) = read.open("a", &key("2")).expect_err("another key");
        assert_eq!(what, "the vault's secret \"a\" does not open");
        let (what, right) = read.open("c", &key("1")).expect_err("no such");
        assert!(
            what.contains("no secret \"c\"") && right.contains("a, b"),
            "{what}: {right}"
        );
        // Neither a changed letter nor a changed place is taken.
        let mut moved = read.clone();
        let other = moved.secrets["b"].clone();
        moved.secrets.insert("a".to_owned(), other);
        assert!(moved.open("a", &key("1")).is_err());
        for spoiled in [
            "",
            "{}",
            "{\"version\":2,\"secrets\":{}}",
            &text.replace("\"nonce\": \"", "\"nonce\": \"zz"),
        ] {
            let opened = Vault::read(spoiled).and_then(|v| v.open("a", &key("1")));
            assert!(opened.is_err(), "{spoiled}");
        }
        assert!(MasterKey::read("11").is_none() && MasterKey::read(&"x".repeat(64)).is_none());
        assert_eq!(format!("{:?}", key("1")), "MasterKey(…)");
    }

    #[test]
    fn a_configuration_takes_its_secret_from_the_vault_or_says_why_not() {
        let mut vault = Vault::default();
        vault
            .set("openai", "sk-from-vault", (&key("1"), [9; 12]), 7)
            .expect("sealed");
        let text = vault.text();
        let read = |path: &Path| match path.to_str() {
            Some("d/vault.json") => Ok(text.clone()),
            Some("k") => Ok("1".repeat(64) + "\n"),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let found = |variable: &str, value: &str, data_dir: &str| {
            let env = |name: &str| (name == variable).then(|| value.to_owned());
            let outside = Outside {
                read: &read,
                env: &env,
                data_dir,
            };
            find("openai", outside).map(|s| s.expose().to_owned())
        };
        let right = Ok("sk-from-vault".to_owned());
        assert_eq!(found("STOKEHOLD_VAULT_KEY", &"1".repeat(64), "d"), right);
        assert_eq!(found("STOKEHOLD_VAULT_KEY_FILE", "k", "d"), right);
        for (variable, value, data_dir, says) in [
            ("NONE", "", "d", "there is no master key"),
            (
                "STOKEHOLD_VAULT_KEY",
                "short",
                "d",
                "STOKEHOLD_VAULT_KEY holds no master key",
            ),
            (
                "STOKEHOLD_VAULT_KEY_FILE",
                "gone",
                "d",
                "cannot read the vault's master key at gone",
            ),
            (
                "STOKEHOLD_VAULT_KEY",
                "",
                "e",
                "cannot read the vault at e/vault.json",
            ),
        ] {
            let (what, _) = found(variable, value, data_dir).expect_err(says);
            assert!(what.contains(says), "{what}");
            assert!(!what.contains("short"), "{what}");
        }
    }
}
