//! Arguments → upstream, load or comparison; a table of contents.

#![allow(clippy::print_stderr, reason = "errors are for people at a terminal")]

use clap::{Parser, Subcommand};
use rig::{compare, echo, fake, ledger, load, micro, shard};
use std::process::ExitCode;

/// Measures Stokehold on one machine. Loopback only; every command ends by itself.
#[derive(Parser)]
#[command(name = "rig", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the fake provider: a cache, limits and a book, at some cost a request
    Fake(fake::Args),
    /// Serve fixed answers as cheaply as can be, so that the router is what is measured
    Echo(echo::Args),
    /// Ask, and tell how long it took
    Load(load::Args),
    /// Step the pure part of the router alone, for counting instructions
    Shard(shard::Args),
    /// Pieces of the decision by themselves: nanoseconds and instructions
    Micro(micro::Args),
    /// Write the ledger alone, and tell rows a second and CPU a row
    Ledger(ledger::Args),
    /// Measure the router beside nginx and beside nothing
    Compare(compare::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Fake(args) => fake::main(&args),
        Command::Echo(args) => echo::main(&args),
        Command::Load(args) => load::main(&args),
        Command::Shard(args) => shard::main(&args),
        Command::Micro(args) => micro::main(&args),
        Command::Ledger(args) => ledger::main(&args),
        Command::Compare(args) => compare::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}
