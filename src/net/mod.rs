//! The hot path: drives the shard, knows no LLM. One executor a core. In reading order.

pub mod runtime;
