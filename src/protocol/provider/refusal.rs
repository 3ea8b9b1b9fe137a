//! Refusals: a status, headers and a body, of whoever answered, → `Fault`.

use crate::canon::{DialectName, Fault};
use crate::protocol::dialect;
use crate::protocol::provider::{Headers, ProviderKind, hints::Hints};

pub(super) fn read(
    _kind: ProviderKind,
    dialect: DialectName,
    status: u16,
    _headers: &Headers,
    body: &[u8],
    hints: &Hints,
) -> Fault {
    let mut fault = dialect::read_error(dialect, status, body);
    if fault.retry_after.is_none() {
        fault.retry_after = hints.retry_after;
    }
    fault
}

pub(super) fn in_success(
    kind: ProviderKind,
    dialect: DialectName,
    headers: &Headers,
    body: &[u8],
    hints: &Hints,
) -> Option<Fault> {
    body.is_empty()
        .then(|| read(kind, dialect, 502, headers, body, hints))
}
