//! A client's request body, whole and within bounds: its own size, its time, and the memory of all bodies together.
//!
//! A body of one frame is passed on as it came; else it is joined once. What it takes of the memory bound it holds until the last
//! slice of it is dropped, wherever that is, since that is when the memory is free.

use super::wheel::Wheel;
use crate::config::Limits;
use crate::shard::BodyFault;
use bytes::{Bytes, BytesMut};
use futures_lite::future::or;
use http_body::Body;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of request bodies that are in memory. Atomic because a slice may be dropped on the I/O core.
#[derive(Debug, Default)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn taken(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn hold(&self) -> Hold {
        Hold {
            taken: Arc::clone(&self.0),
            bytes: 0,
        }
    }
}

/// A part of the budget, given back when dropped.
struct Hold {
    taken: Arc<AtomicU64>,
    bytes: u64,
}

impl Hold {
    fn grow(&mut self, more: u64, bound: u64) -> Result<(), BodyFault> {
        if self.taken.load(Ordering::Relaxed).saturating_add(more) > bound {
            return Err(BodyFault::NoMemory);
        }
        self.taken.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body with what it holds of the budget.
struct Held {
    body: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

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
    let late = wheel.sleep(limits.body_time);
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
        late.await;
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
        self.hold.grow(data.len() as u64, self.memory_max)?;
        if self.hold.bytes > self.bytes_max {
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
        Bytes::from_owner(Held {
            body,
            _hold: self.hold,
        })
    }
}
