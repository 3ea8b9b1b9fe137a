//! A workload, replayed against simulated endpoints: what each policy would have cost.
//!
//! The files in reading order: a trace (`trace`) is run (`run`) through endpoints (`endpoint`, made of `cache`, `limit` and `book`) under a
//! policy (`policy` is the seam; `baseline` and `lifetime` are those known from elsewhere, `ours` is what a shard does), and becomes rows (`row`), which `reference` puts
//! beside the figures of ROUTING 4.4; `command` is `stokehold replay`. Time, chance and order are values: the same trace and seed give the
//! same rows. It replays token counts, not bytes: what codecs and connections do to a request is the business of the simulator in `tests`.

/// What was asked, by whom and when.
pub mod trace;
/// A provider's prompt cache.
pub mod cache;
/// A provider's rate limits.
pub mod limit;
/// What was used, and what it costs.
pub mod book;
/// A provider's endpoint.
pub mod endpoint;
/// What is decided about a request: the seam where a policy is put in.
pub mod policy;
/// Where requests go, as others decide it.
pub mod baseline;
/// How long prompts stay cached, as others decide it.
pub mod lifetime;
/// The production decision, as a replay sees it.
pub mod ours;
/// The closed loop.
pub mod run;
/// Results side by side.
pub mod row;
/// What is to be shown, and whether it is.
pub mod goal;
/// A table as a page for a browser.
mod page;
/// The rows of ROUTING 4.4, and ours for the same question.
pub mod reference;
/// What a trace does not show by itself.
pub mod scenario;
/// `stokehold replay`.
pub mod command;
