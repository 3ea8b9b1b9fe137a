//! Errors.

use crate::canon::{Fault, FaultClass};
use bytes::Bytes;

pub fn read(_status: u16, _body: &[u8]) -> Fault {
    Fault::new(FaultClass::UpstreamBroken, "not yet")
}

pub fn write(_fault: &Fault, _id: &str) -> (u16, Bytes) {
    (500, Bytes::new())
}
