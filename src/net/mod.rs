//! The hot path: drives the shard, knows no LLM. One executor a core. In reading order.

pub mod hyper_rt;
pub mod ring_flags;
pub mod runtime;
pub mod wheel;
