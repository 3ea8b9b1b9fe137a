//! Whom a job was started with, so that later questions go to the same project.

use super::Case;
use crate::base::PoolId;
use crate::canon::{Fault, FaultClass};
use crate::shard::Output;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Exchange};
use crate::shard::gossip::{Gossip, News};
use crate::shard::issued::{Found, Name, Place, PlaceName};

impl Exchange {
    /// Where `name` was given out to this tenant; `None` when nobody knows (any more). `Err` when it is another's, of whom this one shall
    /// learn nothing.
    pub(super) fn issuer(&self, desk: &mut Desk, name: &str) -> Result<Option<Place>, Fault> {
        let name = Name::of(self.tenant_name(), name);
        match desk.issued.find(name) {
            Found::Here { place, .. } => Ok(desk.epoch(self.epoch).place_named(place)),
            Found::Unknown => Ok(None),
            Found::Anothers => {
                let fault = Fault::new(FaultClass::NotFound, "there is no such video");
                Err(fault.with_code("unknown_video"))
            }
        }
    }

    /// Remembers that `name` was given out at this attempt's place, here and at the other shards.
    pub(super) fn issue(
        &self,
        desk: &mut Desk,
        attempt: &Attempt,
        name: &str,
        out: &mut Vec<Output>,
    ) {
        let name = Name::of(self.tenant_name(), name);
        let place = Place {
            endpoint: attempt.endpoint,
            pool: attempt.pool,
            key: attempt.key,
        };
        let place = PlaceName::of(&self.config, place);
        // The exchange that started it writes down what it costs, whoever asks.
        let owed = false;
        desk.issued.learn(name, place, owed);
        out.push(Output::Tell(Gossip {
            under: self.config.generation,
            news: News::Issued { name, place, owed },
        }));
    }

    /// The provider keeps it no more. The others forget it when it is the oldest.
    pub(super) fn forget_issued(&self, desk: &mut Desk) {
        if let Some(name) = self.video.as_ref().and_then(|case| case.issued_as()) {
            desk.issued.forget(Name::of(self.tenant_name(), &name));
        }
    }

    fn tenant_name(&self) -> &str {
        &self.config.tenants[self.tenant.0 as usize].name
    }
}

impl Case {
    /// Whether keys of `pool` may be asked with.
    pub fn may_draw(&self, pool: PoolId) -> bool {
        self.issuer.is_none_or(|place| place.pool == pool)
    }
}
