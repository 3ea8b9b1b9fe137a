//! `stokehold keys`: client keys of the running router, made, listed, rotated and revoked through its port for operators.

use super::operator;
use crate::config::Config;
use crate::config::wish::Wish;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The running router's port for operators; without it, as the configuration has it
    #[arg(long, global = true, value_name = "ADDRESS")]
    operator: Option<SocketAddr>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key. Its text is told this once
    Create(Box<Create>),
    /// All keys, those of the file too
    List,
    /// Another text for a key, with the same name and rights
    Rotate {
        name: String,
        /// So many seconds the text before is good as well
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        overlap: u64,
    },
    /// Refuse a key from now on
    Revoke { name: String },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose key it is: a tenant's id
    #[arg(long)]
    tenant: String,
    /// What it is called in ledger and lists
    #[arg(long)]
    name: Option<String>,
    /// Models it may use, * for any letters; several by commas. Without it all
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Providers it may use, by their ids
    #[arg(long, value_delimiter = ',')]
    providers: Vec<String>,
    /// APIs it may be shown to: chat, responses, messages, gemini, completions, native
    #[arg(long, value_delimiter = ',')]
    dialects: Vec<String>,
    /// Requests a minute
    #[arg(long)]
    rpm: Option<u64>,
    /// Tokens a minute
    #[arg(long)]
    tpm: Option<u64>,
    /// Requests at once
    #[arg(long)]
    concurrent: Option<u64>,
    /// Dollars a UTC day
    #[arg(long, value_name = "USD")]
    usd_per_day: Option<f64>,
    /// Dollars a UTC month
    #[arg(long, value_name = "USD")]
    usd_per_month: Option<f64>,
    /// Of requests that do not say it: interactive or batch
    #[arg(long)]
    priority: Option<String>,
    /// The day from which it is refused, such as 2027-01-31
    #[arg(long, value_name = "DAY")]
    expires: Option<String>,
}

impl From<Create> for Wish {
    fn from(asked: Create) -> Self {
        Self {
            tenant: asked.tenant,
            name: asked.name,
            models: asked.models,
            providers: asked.providers,
            dialects: asked.dialects,
            rpm: asked.rpm,
            tpm: asked.tpm,
            concurrent: asked.concurrent,
            usd_per_day: asked.usd_per_day,
            usd_per_month: asked.usd_per_month,
            priority: asked.priority,
            expires: asked.expires,
        }
    }
}

const PATH: &str = "/admin/v1/keys";

/// Asks the running router, and writes what it says as a table or as JSON.
pub fn run(args: Args, config: &Config, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let ask = |line: (&str, &str), body: Option<&str>| -> anyhow::Result<Value> {
        let (status, said) = operator::ask(config, args.operator, line, body)?;
        let told: Option<Value> = serde_json::from_str(&said).ok();
        match (status, told) {
            (200..=299, Some(told)) => Ok(told),
            (_, Some(told)) if told["error"].is_string() => {
                bail!("{}", told["error"].as_str().unwrap_or_default())
            }
            _ => bail!("{said}"),
        }
    };
    let told = match args.what {
        What::Create(asked) => {
            let wish = serde_json::to_string(&Wish::from(*asked))?;
            ask(("POST", PATH), Some(&wish))?
        }
        What::List => {
            let told = ask(("GET", PATH), None)?;
            if !as_json {
                return list(&told, out);
            }
            told
        }
        What::Rotate { name, overlap } => {
            let body = json!({"overlap_seconds": overlap}).to_string();
            ask(
                ("POST", &format!("{PATH}/{}/rotate", plain(&name)?)),
                Some(&body),
            )?
        }
        What::Revoke { name } => ask(("DELETE", &format!("{PATH}/{}", plain(&name)?)), None)?,
    };
    if as_json {
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?);
    }
    let name = told["name"].as_str().context("the router's answer")?;
    match told["key"].as_str() {
        Some(key) => writeln!(
            out,
            "{name}: {key}\nIt is not shown again: only its hash is kept."
        )?,
        None => writeln!(out, "{name} is revoked.")?,
    }
    Ok(())
}

/// A name that can stand in a path.
fn plain(name: &str) -> anyhow::Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        bail!("{name:?} is no name of a client key: stokehold keys list shows them");
    }
    Ok(name)
}

fn list(told: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let keys = told["keys"].as_array().context("the router's answer")?;
    let head = ["name", "tenant", "ends", "state", "rights"].map(str::to_owned);
    let mut rows = vec![head];
    for key in keys {
        let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
        let state = match (key["revoked"].is_null(), key["source"].as_str()) {
            (false, _) => "revoked",
            (true, Some("file")) => "of the file",
            (true, _) => "good",
        };
        let mut rights = key["rights"].clone();
        if let Some(rights) = rights.as_object_mut() {
            rights.remove("tenant");
        }
        let rights = rights.as_object().filter(|rights| !rights.is_empty());
        rows.push([
            text(&key["name"]),
            text(&key["rights"]["tenant"]),
            text(&key["ends"]),
            state.to_owned(),
            rights.map_or_else(String::new, |rights| json!(rights).to_string()),
        ]);
    }
    for row in &rows {
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max();
        let cells = row.iter().enumerate();
        let cells = cells.map(|(at, cell)| format!("{cell:<w$}", w = width(at).unwrap_or(0)));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
