//! Where a secret comes from: the text itself, `env:NAME`, `file:/path`, `credential:NAME` of systemd, or `vault:NAME`.
//!
//! Problems name the source, never the value.

use crate::base::Secret;
use crate::config::env::{Env, is_name};
use crate::config::problem::Problems;
use crate::config::read::At;
use crate::config::vault;
use std::io;
use std::path::{Path, PathBuf};

/// Reads a file whole.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The world outside, as far as a configuration may see of it.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    pub read: ReadFile<'a>,
    pub env: Env<'a>,
    /// Where the vault lies.
    pub data_dir: &'a str,
}

/// The secret that `written` stands for. `None` if it is empty, which leaves it out, or if there was a problem.
pub fn find(written: &At<String>, outside: Outside<'_>, problems: &mut Problems) -> Option<Secret> {
    let text = match source(&written.value, outside) {
        Ok(text) => text,
        Err((what, right)) => {
            problems.add(written.place, what, right);
            return None;
        }
    };
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return None;
    }
    // It goes into a header: a blank or control character there would end the line.
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        let right = "visible ASCII letters only; a file may end with one line end";
        problems.add(
            written.place,
            "a secret with a letter that no header can carry",
            right,
        );
        return None;
    }
    Some(Secret::new(secret.to_owned()))
}

fn source(written: &str, outside: Outside<'_>) -> Result<String, (String, String)> {
    if let Some(name) = written.strip_prefix("env:") {
        return variable(name, outside.env);
    }
    if let Some(path) = written.strip_prefix("file:") {
        return file(Path::new(path), outside.read);
    }
    if let Some(name) = written.strip_prefix("credential:") {
        return file(&credential(name, outside.env)?, outside.read);
    }
    if let Some(name) = written.strip_prefix("vault:") {
        return vault::find(name, outside).map(|secret| secret.expose().to_owned());
    }
    Ok(written.to_owned())
}

fn variable(name: &str, env: Env<'_>) -> Result<String, (String, String)> {
    if !is_name(name) {
        let right = "letters, digits and `_` after `env:`";
        return Err(("not a name of a variable".to_owned(), right.to_owned()));
    }
    env(name).ok_or_else(|| {
        let right = format!("set it, or write \"${{{name}:-}}\" to leave the key out without it");
        (format!("variable {name} is not set"), right)
    })
}

/// Where systemd has put the credential of this name.
pub fn credential(name: &str, env: Env<'_>) -> Result<PathBuf, (String, String)> {
    // systemd's own rule: a credential's name is a file name (systemd.exec(5), read 2026-08).
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        let right = "the file name given by LoadCredential=";
        return Err(("not a name of a credential".to_owned(), right.to_owned()));
    }
    let directory = env("CREDENTIALS_DIRECTORY").filter(|d| !d.is_empty());
    let directory = directory.ok_or_else(|| {
        let right = "run under systemd with LoadCredential=, or use `file:`";
        (
            "CREDENTIALS_DIRECTORY is not set".to_owned(),
            right.to_owned(),
        )
    })?;
    Ok(Path::new(&directory).join(name))
}

fn file(path: &Path, read: ReadFile<'_>) -> Result<String, (String, String)> {
    read(path).map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        (what, "a file this user may read".to_owned())
    })
}
