//! Start: I/O core, shards, listeners; stop: the reverse.
