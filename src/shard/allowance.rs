//! What tenants and their keys may use here, taken and given back together.

use crate::base::{ClientKeyId, FixedHasher, NanoUsd, Now, TenantId};
use crate::config::{Config, TenantLimits};
use crate::policy::admission::{Allowance, Budget, Refusal};
use crate::policy::capacity::{Ask, Numbers, Reservation, Used};
use crate::shard::desk::Epoch;
use crate::shard::leases::{Here, Scope};
use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;

/// Who asks.
pub(super) type Who = (TenantId, ClientKeyId);

/// What an exchange holds of its tenant's limits, and of its key's own.
#[derive(Debug)]
#[must_use = "must be settled"]
pub(super) struct Admitted {
    tenant: Reservation,
    key: Option<Reservation>,
}

impl Epoch {
    /// Takes hold of what a tenant and its key may use, or says why not.
    pub fn admit(&mut self, who: Who, ask: Ask, now: Now) -> Result<Admitted, Refusal> {
        let key = match &self.keys[who.1.0 as usize] {
            Some(key) => {
                let allowance = &mut *key.borrow_mut();
                let admitted = allowance.admit(ask, now.instant, now.wall);
                self.leaseholds
                    .stir_key(who.1, allowance.limit(), now.instant);
                Some(admitted?)
            }
            None => None,
        };
        let admitted = {
            let allowance = &mut *self.tenants[who.0.0 as usize].borrow_mut();
            let admitted = allowance.admit(ask, now.instant, now.wall);
            self.leaseholds
                .stir_tenant(who.0, allowance.limit(), now.instant);
            admitted
        };
        match admitted {
            Ok(tenant) => Ok(Admitted { tenant, key }),
            Err(refusal) => {
                self.settle_key(who.1, key, None, NanoUsd::ZERO, now);
                Err(refusal)
            }
        }
    }

    /// Gives back what `admit` took, for what was used (`None`: nothing was sent) and spent.
    pub fn settle(
        &mut self,
        who: Who,
        held: Admitted,
        used: Option<Used>,
        cost: NanoUsd,
        now: Now,
    ) {
        {
            let allowance = &mut *self.tenants[who.0.0 as usize].borrow_mut();
            allowance.settle(held.tenant, used, cost, now.instant, now.wall);
            self.leaseholds
                .stir_tenant(who.0, allowance.limit(), now.instant);
        }
        self.settle_key(who.1, held.key, used, cost, now);
    }

    fn settle_key(
        &mut self,
        key: ClientKeyId,
        held: Option<Reservation>,
        used: Option<Used>,
        cost: NanoUsd,
        now: Now,
    ) {
        if let (Some(held), Some(of)) = (held, &self.keys[key.0 as usize]) {
            let allowance = &mut *of.borrow_mut();
            allowance.settle(held, used, cost, now.instant, now.wall);
            self.leaseholds
                .stir_key(key, allowance.limit(), now.instant);
        }
    }

    /// Adds the cost of what outlasted its hold.
    pub fn charge(&self, who: Who, cost: NanoUsd, now: Now) {
        self.tenant(who.0).charge(cost, now.wall);
        if let Some(key) = &self.keys[who.1.0 as usize] {
            key.borrow_mut().charge(cost, now.wall);
        }
    }

    /// The tenant's standing.
    pub fn tenant(&self, tenant: TenantId) -> RefMut<'_, Allowance> {
        self.tenants[tenant.0 as usize].borrow_mut()
    }
}

/// What was spent before this process began, as the ledger says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    pub tenants: Vec<Spending>,
    pub client_keys: Vec<Spending>,
}

/// Of one tenant or client key, by its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spending {
    pub name: String,
    /// In this UTC day, and in this month.
    pub day: NanoUsd,
    pub month: NanoUsd,
}

impl Epoch {
    /// Counts this shard's part of what was spent before: the parts of all shards are the whole, as their budgets are.
    pub fn remember(&mut self, spent: &Spent, here: Here, now: Now) {
        // What cannot be divided is the first shard's.
        let part = |usd: NanoUsd| {
            let shards = i64::from(here.shards);
            let rest = if here.shard.0 == 0 { usd.0 % shards } else { 0 };
            NanoUsd(usd.0 / shards + rest)
        };
        for (tenant, allowance) in self.config.tenants.iter().zip(&self.tenants) {
            if let Some(known) = spent.tenants.iter().find(|s| s.name == tenant.name) {
                let (day, month) = (part(known.day), part(known.month));
                allowance.borrow_mut().remember(day, month, now.wall);
            }
        }
        for known in &spent.client_keys {
            // One that was rotated is there twice, with one allowance.
            let mut keys = self.config.client_keys.iter();
            let at = keys.position(|key| key.name == known.name);
            if let Some(Some(allowance)) = at.map(|at| &self.keys[at]) {
                let (day, month) = (part(known.day), part(known.month));
                allowance.borrow_mut().remember(day, month, now.wall);
            }
        }
    }

    /// Goes on with what tenants and keys have spent whose limits are others now.
    pub fn inherit_spending(&mut self, from: &Self) {
        for (new, tenant) in self.config.tenants.iter().enumerate() {
            let mut old = from.config.tenants.iter();
            if let Some(old) = old.position(|t| t.name == tenant.name) {
                go_on(&self.tenants[new], &from.tenants[old]);
            }
        }
        for (new, key) in self.config.client_keys.iter().enumerate() {
            let mut old = from.config.client_keys.iter();
            let old = old.position(|k| k.name == key.name);
            let old = old.and_then(|old| from.keys[old].as_ref());
            if let (Some(new), Some(old)) = (&self.keys[new], old) {
                go_on(new, old);
            }
        }
    }
}

fn go_on(new: &Rc<RefCell<Allowance>>, old: &Rc<RefCell<Allowance>>) {
    if !Rc::ptr_eq(new, old) {
        new.borrow_mut().go_on_from(&old.borrow());
    }
}

/// Each tenant's part in its limits.
pub(super) fn of_tenants(config: &Config, here: Here, epoch: u32) -> Vec<Rc<RefCell<Allowance>>> {
    let tenants = config.tenants.iter().map(|tenant| {
        let seat = here.seat(Scope::of_tenant(tenant), epoch);
        let limits = &tenant.limits;
        let share = Allowance::share(numbers_of(limits), budget_of(limits), &seat);
        Rc::new(RefCell::new(share))
    });
    tenants.collect()
}

/// Of keys with limits of their own. One that was rotated is there twice, with one allowance.
pub(super) fn of_keys(
    config: &Config,
    here: Here,
    epoch: u32,
) -> Vec<Option<Rc<RefCell<Allowance>>>> {
    let mut known: HashMap<&str, Rc<RefCell<Allowance>>, FixedHasher> = HashMap::default();
    let keys = config.client_keys.iter().map(|key| {
        let limits = &key.rights.limits;
        if *limits == TenantLimits::default() {
            return None;
        }
        let share = known.entry(&key.name).or_insert_with(|| {
            let seat = here.seat(Scope::of_key(key), epoch);
            let share = Allowance::share(numbers_of(limits), budget_of(limits), &seat);
            Rc::new(RefCell::new(share))
        });
        Some(Rc::clone(share))
    });
    keys.collect()
}

fn numbers_of(limits: &TenantLimits) -> Numbers {
    Numbers {
        requests: limits.rpm,
        tokens: limits.tpm.map(|tokens| tokens.0),
        concurrent: limits.concurrent,
        ..Numbers::default()
    }
}

fn budget_of(limits: &TenantLimits) -> Budget {
    Budget {
        day: limits.usd_per_day,
        month: limits.usd_per_month,
    }
}
