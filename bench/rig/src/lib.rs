//! What measures the router: an upstream that costs little, a load that keeps its schedule, and both around the router, nginx or nothing.
//!
//! Holds no opinion on what is fast enough: it prints figures. In reading order.

#![allow(
    clippy::disallowed_methods,
    reason = "measuring is reading clocks; the ban is for the router"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures go to standard output, progress to standard error"
)]

/// Addresses, files, time: what every command is held to.
pub mod bounds;
/// Fixed answers in the providers' words.
pub mod canned;
/// An upstream that says them.
pub mod echo;
/// The fake provider over sockets.
pub mod fake;
/// One request, as bytes, with a number in it.
pub mod ask;
/// What came back, and when.
pub mod tally;
/// One exchange at a time over HTTP/1.1.
pub mod h1;
/// Many at a time over one HTTP/2 connection.
pub mod h2c;
/// When to ask.
pub mod pace;
/// The load: clients, schedule and tally together.
pub mod load;
/// A program under measurement: pinned, watched, ended by its pid.
pub mod process;
/// The router and nginx, with configurations for one measurement.
pub mod subject;
/// The workload as written.
pub mod workload;
/// Scenarios.
pub mod compare;
/// Many paced streams at once through the router.
pub mod streams;
/// The pure part of the router alone.
pub mod shard;
/// The ledger alone.
pub mod ledger;
/// Aligned columns for people.
pub mod table;
/// The decision by the piece.
pub mod micro;
