//! Promises that hold between dialects, whichever two meet. What one dialect promises alone is tested in its own folder.

pub(crate) mod conversations;
pub(crate) mod folder;
mod recordings;
pub(crate) mod tell;
mod unknown;
mod unknown_asked;
