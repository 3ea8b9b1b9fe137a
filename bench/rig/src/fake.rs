//! The fake provider over sockets, as the node serves it.

use crate::bounds;
use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;
use stokehold::fake::{Manner, Settings};
use stokehold::node::fakes;

#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9300", value_parser = bounds::loopback)]
    listen: SocketAddr,
    /// From a request to its first token
    #[arg(long, default_value = "0ms", value_parser = bounds::duration)]
    first_token: Duration,
    /// Between two tokens
    #[arg(long, default_value = "0ms", value_parser = bounds::duration)]
    between: Duration,
    /// Tokens of an answer
    #[arg(long, default_value_t = 64)]
    output_tokens: u64,
    /// The largest request taken
    #[arg(long, default_value_t = 32 << 20)]
    body_bytes: usize,
    /// Whose small differences it has: plain, xai, fireworks, openrouter, vllm, sglang
    #[arg(long, default_value = "plain")]
    manner: Manner,
    /// Ends after this time
    #[arg(long, default_value = "30m", value_parser = bounds::duration)]
    time_limit: Duration,
}

pub fn main(args: &Args) -> Result<()> {
    bounds::files(65_536)?;
    let running = fakes::serve_at(args.listen, settings(args))?;
    for address in &running.addresses {
        println!("fake at http://{address}");
    }
    // Being told to stop, or the time being up, is how it ends.
    let ended = bounds::run::<()>(args.time_limit, std::future::pending());
    running.stop();
    ended
}

fn settings(args: &Args) -> Settings {
    Settings {
        first_token: args.first_token,
        between_tokens: args.between,
        output_tokens: args.output_tokens,
        body_max: args.body_bytes,
        manner: args.manner,
        ..Settings::default()
    }
}
