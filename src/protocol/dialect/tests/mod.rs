//! Promises that hold between dialects, whichever two meet. What one dialect promises alone is tested in its own folder.

mod conversations;
mod recordings;
mod tell;
mod unknown;
