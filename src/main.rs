//! Arguments → configuration → node, or an offline command; a table of contents.

#![allow(clippy::print_stderr, reason = "errors are for people at a terminal")]

use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use stokehold::config::{Config, Loaded, Problem};
use stokehold::node;
use stokehold::offline::check::Report;
use stokehold::offline::explain;
use stokehold::offline::keys;
use stokehold::offline::replay::command as replay;
use stokehold::offline::usage;
use stokehold::offline::vault;

/// Each thread frees what it took itself, nearly always: an allocator with a heap a thread serves the shards without sharing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An inference router: one appliance between programs that use large language models and the providers that serve them.
#[derive(Parser)]
#[command(name = "stokehold", version, about, after_help = EXIT_CODES)]
struct Cli {
    /// The configuration; without it ./config/stokehold.yaml, else /etc/stokehold/stokehold.yaml
    #[arg(long, global = true, value_name = "PATH", env = "STOKEHOLD_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Tell every problem of the configuration, or what it amounts to
    Check,
    /// What was spent
    Usage(usage::Args),
    /// Client keys of the running router: make, list, rotate, revoke
    Keys(keys::Args),
    /// Keys of providers, kept encrypted in the data directory: set, list, remove, rotate
    Vault(vault::Args),
    /// Why a request goes where it goes: all that could serve it, and each term of what that would cost
    Explain(explain::Args),
    /// What each policy would have cost on a recorded workload
    Replay(replay::Args),
}

const EXIT_CODES: &str =
    "Exit codes: 0 fine, 1 failure while running, 2 wrong arguments, 3 wrong configuration";
const FAILED: u8 = 1;
const MISCONFIGURED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // These read no configuration.
    if let Some(Command::Usage(args)) = cli.command {
        return ended(usage::run(args, &mut std::io::stdout()));
    }
    if let Some(Command::Vault(args)) = cli.command {
        let (input, out) = (&mut std::io::stdin(), &mut std::io::stdout());
        return ended(vault::run(args, cli.json, input, out));
    }
    if let Some(Command::Replay(args)) = cli.command {
        return ended(replay::run(&args, cli.json, &mut std::io::stdout()));
    }
    let Some(path) = cli.config.clone().or_else(node::default_config) else {
        eprintln!(
            "no configuration: neither ./config/stokehold.yaml nor /etc/stokehold/stokehold.yaml is there; name one by --config"
        );
        return MISCONFIGURED.into();
    };
    let loaded = node::read_config(&path);
    match cli.command {
        Some(Command::Check) => check(&loaded, cli.json),
        Some(Command::Explain(args)) => explain(&args, loaded, cli.json),
        Some(Command::Keys(args)) => of_config(loaded, |config| {
            keys::run(args, &config, cli.json, &mut std::io::stdout())
        }),
        _ => serve(loaded),
    }
}

fn serve(loaded: Result<Loaded, Vec<Problem>>) -> ExitCode {
    match loaded {
        // Standard output is for what was asked for.
        Err(_) => {
            eprint!("{}", Report::of(&loaded).text());
            MISCONFIGURED.into()
        }
        Ok(loaded) => ended(node::serve(loaded)),
    }
}

fn explain(args: &explain::Args, loaded: Result<Loaded, Vec<Problem>>, json: bool) -> ExitCode {
    of_config(loaded, |config| {
        explain::run(args, config, json, &mut std::io::stdout())
    })
}

/// A command that needs a configuration, and serves nothing.
fn of_config(
    loaded: Result<Loaded, Vec<Problem>>,
    run: impl FnOnce(Config) -> anyhow::Result<()>,
) -> ExitCode {
    match loaded {
        Err(_) => {
            eprint!("{}", Report::of(&loaded).text());
            MISCONFIGURED.into()
        }
        Ok(loaded) => ended(run(loaded.config)),
    }
}

fn ended(how: anyhow::Result<()>) -> ExitCode {
    match how {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stokehold: {error:#}");
            FAILED.into()
        }
    }
}

fn check(loaded: &Result<Loaded, Vec<Problem>>, json: bool) -> ExitCode {
    let report = Report::of(loaded);
    let text = match json.then(|| report.json()) {
        None => report.text(),
        Some(Ok(json)) => json + "\n",
        Some(Err(error)) => {
            eprintln!("stokehold: {error}");
            return FAILED.into();
        }
    };
    // A reader that has seen enough (`| head`) is no failure; `print!` would panic.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if report.ok {
        ExitCode::SUCCESS
    } else {
        MISCONFIGURED.into()
    }
}
