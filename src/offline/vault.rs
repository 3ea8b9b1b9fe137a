//! `stokehold vault`: provider keys at rest, set, listed, removed and rotated. Needs no router that runs; one that does takes them at its next
//! reload.

use crate::base::Secret;
use crate::config::Outside;
use crate::config::vault::{MasterKey, Vault, hex, is_name, path};
use anyhow::{Context as _, anyhow, bail};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory, as `data_dir` in the configuration
    #[arg(
        long,
        global = true,
        default_value = "./data",
        env = "STOKEHOLD_DATA_DIR"
    )]
    data_dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print a new master key, for STOKEHOLD_VAULT_KEY, a file or a systemd credential
    Key,
    /// Keep a secret, read from standard input; the configuration names it as `secret: vault:NAME`
    Set { name: String },
    /// Names of what is kept
    List,
    /// Forget a secret
    Remove { name: String },
    /// Another text, read from standard input, for a secret that is kept
    Rotate { name: String },
}

pub fn run(
    args: Args,
    json: bool,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let file = path(&args.data_dir);
    match args.what {
        What::Key => writeln!(out, "{}", hex(&*random::<{ MasterKey::BYTES }>()?))?,
        What::List => list(&read(&file)?, json, out)?,
        What::Set { name } => {
            change(&args.data_dir, |vault| set(vault, &name, input))?;
            writeln!(
                out,
                "{name} is kept; the configuration names it as `secret: vault:{name}`"
            )?;
        }
        What::Rotate { name } => {
            change(&args.data_dir, |vault| match vault.has(&name) {
                true => set(vault, &name, input),
                false => bail!("the vault has no secret {name:?}"),
            })?;
            writeln!(
                out,
                "{name} is changed; a router that runs takes it at its next reload (SIGHUP)"
            )?;
        }
        What::Remove { name } => {
            change(&args.data_dir, |vault| match vault.remove(&name) {
                true => Ok(()),
                false => bail!("the vault has no secret {name:?}"),
            })?;
            writeln!(out, "{name} is forgotten")?;
        }
    }
    Ok(())
}

fn set(vault: &mut Vault, name: &str, input: &mut dyn Read) -> anyhow::Result<()> {
    if !is_name(name) {
        bail!("a name has 1 to 64 letters, digits, dots, dashes or underscores");
    }
    let read = |path: &Path| std::fs::read_to_string(path);
    let env = |name: &str| std::env::var(name).ok();
    let outside = Outside {
        read: &read,
        env: &env,
        data_dir: "",
    };
    let key = MasterKey::find(outside);
    let key = key.map_err(|(what, right)| anyhow!("{what}; right would be: {right}"))?;
    let secret = secret(input)?;
    let sealed = vault.set(
        name,
        secret.expose(),
        (&key, *random()?),
        super::usage::now().seconds(),
    );
    sealed.context("it cannot be sealed")
}

/// One line of standard input, nowhere else: an argument would stand in the list of processes.
fn secret(input: &mut dyn Read) -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_MAX));
    input.take(SECRET_MAX as u64).read_to_string(&mut text)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || !line.bytes().all(|b| b.is_ascii_graphic()) {
        bail!("standard input must be the secret: one line of visible ASCII letters");
    }
    Ok(Secret::new(line.to_owned()))
}

const SECRET_MAX: usize = 16_384;

fn random<const N: usize>() -> anyhow::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let drawn = SystemRandom::new().fill(&mut *bytes);
    drawn.map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(bytes)
}

fn read(file: &Path) -> anyhow::Result<Vault> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            Vault::read(&text).map_err(|(what, right)| anyhow!("{what}; right would be: {right}"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vault::default()),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// Reads, changes and writes the file, while no other command does.
fn change(
    data_dir: &Path,
    how: impl FnOnce(&mut Vault) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(data_dir).with_context(|| data_dir.display().to_string())?;
    let lock = owned(&data_dir.join("vault.lock"))?;
    lock.lock().context("the vault's lock")?;
    let file = path(data_dir);
    let mut vault = read(&file)?;
    how(&mut vault)?;
    // Beside, to the disk, and then in its place: a crash leaves the one or the other, whole.
    let beside = data_dir.join("vault.json.new");
    let mut new = owned(&beside)?;
    new.write_all(vault.text().as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&beside, &file).with_context(|| file.display().to_string())?;
    File::open(data_dir)?.sync_all()?;
    Ok(())
}

/// Empty, and its owner's alone.
fn owned(path: &Path) -> anyhow::Result<File> {
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(true).mode(0o600);
    how.open(path).with_context(|| path.display().to_string())
}

fn list(vault: &Vault, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let day = |at: i64| crate::iocore::calendar::date(at.div_euclid(86_400));
    if json {
        let all = vault
            .names()
            .map(|(name, at)| json!({"name": name, "changed": at}));
        writeln!(out, "{}", json!({"secrets": all.collect::<Vec<_>>()}))?;
        return Ok(());
    }
    let mut table = vec![vec!["name".to_owned(), "changed".to_owned()]];
    table.extend(
        vault
            .names()
            .map(|(name, at)| vec![name.to_owned(), day(at)]),
    );
    super::usage::aligned(&table, 2, out)
}
