//! Requests.

use crate::canon::{Fault, FaultClass, Request};
use crate::protocol::dialect::{Dropped, Target};
use bytes::Bytes;

pub fn read(_body: &Bytes) -> Result<Request, Fault> {
    Err(Fault::new(FaultClass::Invalid, "not yet"))
}

pub fn write(_request: &Request, _target: &Target<'_>) -> Result<(Bytes, Dropped), Fault> {
    Err(Fault::new(FaultClass::Invalid, "not yet"))
}
