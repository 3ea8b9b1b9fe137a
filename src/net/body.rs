//! A client's request body, whole and within bounds: its own size, its time, and the memory of all bodies together.
//!
//! A body of one frame is passed on as it came; else it is joined once. What it takes of the memory bound it holds until the last
//! slice of it is dropped, wherever that is, since that is when the memory is free.

use super::wheel::Wheel;
use crate::base::{Budget, Hold, OverBudget};
use crate::config::Limits;
use crate::shard::BodyFault;
use bytes::{Bytes, BytesMut};
use futures_lite::future::or;
use http_body::Body;
use http_body_util::BodyExt;

/// Reads `body` to its end. A length over the limit is refused before anything is read, so a client that waits for
/// `100 Continue` sends nothing in vain.
pub(super) async fn collect<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    bytes_max: u64,
    limits: &Limits,
    budget: &Budget,
    wheel: &Wheel,
) -> Result<Bytes, BodyFault> {
    let said = body.size_hint().exact();
    if said.is_some_and(|length| length > bytes_max) {
        return Err(BodyFault::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut whole = Whole {
        hold: budget.hold(),
        bytes_max,
        memory_max: limits.bodies_bytes_max.0,
        reserve: said.map_or(0, |length| length.min(RESERVE_BYTES_MAX) as usize),
        first: Bytes::new(),
        rest: BytesMut::new(),
    };
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyFault::Malformed)?;
            if let Ok(data) = frame.into_data() {
                whole.push(data)?;
            }
        }
        Ok(())
    };
    or(reading, async {
        // Only who must wait for more gets here: a body that came with its head costs no work on the wheel.
        wheel.sleep(limits.body_time).await;
        Err(BodyFault::TooSlow)
    })
    .await?;
    Ok(whole.finish())
}

/// A length is only said, so no more than this is set aside for it at once.
const RESERVE_BYTES_MAX: u64 = 1 << 20;

struct Whole {
    hold: Hold,
    bytes_max: u64,
    memory_max: u64,
    reserve: usize,
    /// All of it while one frame has come.
    first: Bytes,
    rest: BytesMut,
}

impl Whole {
    fn push(&mut self, data: Bytes) -> Result<(), BodyFault> {
        let more = self.hold.grow(data.len() as u64, self.memory_max);
        more.map_err(|OverBudget| BodyFault::NoMemory)?;
        if self.hold.bytes() > self.bytes_max {
            return Err(BodyFault::TooLarge);
        }
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
            return Ok(());
        }
        if self.rest.is_empty() {
            self.rest
                .reserve(self.reserve.max(self.first.len() + data.len()));
            self.rest
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
        Ok(())
    }

    fn finish(self) -> Bytes {
        let body = if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        };
        if body.is_empty() {
            return body;
        }
        self.hold.keep(body)
    }
}
