//! The hot path: drives the shard, knows no LLM. One executor a core. In reading order.

pub mod runtime;

pub mod ring_flags;

pub mod park;

pub mod threads;

pub mod ring;

pub mod wheel;

pub mod hyper_rt;
