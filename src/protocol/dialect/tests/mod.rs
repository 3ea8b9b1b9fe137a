//! Promises that hold between dialects, whichever two meet. What one dialect promises alone is tested in its own folder.

pub(in crate::protocol) mod folder;
mod recordings;
