//! Our own broken promises: a panic under test, the end of one exchange in service.

/// A promise of ours that did not hold. Whoever meets it ends that one exchange, counts it and logs it:
/// a core carries thousands of streams that are paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// `Err` when `holds` is false, after a panic in builds with debug assertions (tests and simulation). For what we promise
/// ourselves; what came from outside is never asserted on, it is an error.
pub fn must(holds: bool, promise: &'static str) -> Result<(), Broken> {
    debug_assert!(holds, "broken promise: {promise}");
    if holds { Ok(()) } else { Err(Broken(promise)) }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "broken promise: {}", self.0)
    }
}

impl std::error::Error for Broken {}
