//! Who waits for headroom, and whose turn it is.
//!
//! Interactive before batch, then tenants in turn, then in the order they came; being looked at and not served costs nobody a place. Who
//! waits claims the limits it waits for: nobody behind it, and no newcomer, takes of those before it; what nobody waits for is free to all.
//! So a large request is not starved by small ones, and one tenant's wish for one provider delays nobody who can be served by another.
//!
//! Cost: a settlement looks at those it serves and at one more for each limit that is still full, each found by one scan of the line
//! (1,000 who wait: some microseconds). An input that frees nothing costs two comparisons.

use crate::base::{ExchangeId, Instant, TenantId};
use smallvec::SmallVec;

#[derive(Debug)]
pub(super) struct Line {
    waiting: Vec<Waiting>,
    tickets: u64,
    last_tenant: TenantId,
    /// Something was freed, or somebody came or left, since the last look.
    stirred: bool,
    /// When the next who waits for a time wants to try.
    next_at: Instant,
    /// Set while turns are given: what those who were looked at in this round still wait for.
    round: Option<SmallVec<[Claim; 4]>>,
}

/// Limits of one pool: its number, and a bit for each limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub pool: u32,
    pub limits: u64,
}

pub(super) type Claims = SmallVec<[Claim; 2]>;

/// A place in the order of arrival; an exchange keeps it for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub exchange: ExchangeId,
    pub tenant: TenantId,
    pub batch: bool,
    pub ticket: Ticket,
    /// To be tried then. With claims, sooner when something is freed.
    pub at: Instant,
    /// Empty for who waits for a time alone.
    pub claims: Claims,
    /// It could go elsewhere, and waits since that is cheaper: others may take what it waits for.
    pub yields: bool,
}

impl Claim {
    /// Of those who wait for the same prompt to be written: one is looked at, and the others when that one goes.
    pub fn gate(name: u64) -> Self {
        Self {
            // Pools are numbered from below.
            pool: GATES | (name as u32 & !CREDENTIALS),
            limits: 1 << (name >> 58),
        }
    }

    /// Of those whose tenant's limits hold them up.
    pub fn tenant(tenant: TenantId) -> Self {
        Self {
            pool: TENANTS | u32::from(tenant.0),
            limits: 1,
        }
    }

    fn meets(self, other: Self) -> bool {
        self.pool == other.pool && self.limits & other.limits != 0
    }
}

/// Where tenants' numbers begin; pools are counted from zero.
const TENANTS: u32 = 1 << 30;
/// Where numbers begin that are no pools', and a bit that all of those have that stand for credentials (`Epoch::credential_claim`).
const GATES: u32 = 1 << 31;
const CREDENTIALS: u32 = 1 << 16;

impl Default for Line {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            tickets: 0,
            last_tenant: TenantId(0),
            stirred: false,
            next_at: Instant::NEVER,
            round: None,
        }
    }
}

impl Line {
    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn wait(&mut self, who: Waiting) {
        match &mut self.round {
            // Looked at and not served: what it waits for is not given to those behind it.
            Some(claimed) if !who.yields => claimed.extend_from_slice(&who.claims),
            Some(_) => {}
            None => self.stirred = true,
        }
        self.next_at = self.next_at.min(who.at);
        self.waiting.push(who);
    }

    /// Whether others come first at these limits.
    pub fn is_claimed(&self, claim: Claim, batch: bool) -> bool {
        match &self.round {
            Some(claimed) => claimed.iter().any(|c| c.meets(claim)),
            None => self
                .waiting
                .iter()
                .filter(|w| w.batch <= batch && !w.yields)
                .any(|w| w.claims.iter().any(|c| c.meets(claim))),
        }
    }

    /// How many wait for one of these limits.
    pub fn behind(&self, claim: Claim) -> u64 {
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|w| w.claims.iter().any(|c| c.meets(claim)));
        waiting.count() as u64
    }

    /// An exchange waits no more.
    pub fn left(&mut self, exchange: ExchangeId) {
        let before = self.waiting.len();
        self.waiting.retain(|w| w.exchange != exchange);
        self.stirred |= self.waiting.len() < before;
    }

    /// Somebody settled, or a limit is other than it was.
    pub fn stir(&mut self) {
        self.stirred |= !self.waiting.is_empty();
    }

    /// Begins to give turns; false when there is no reason to.
    pub fn begin_round(&mut self, now: Instant) -> bool {
        let reason = !self.waiting.is_empty() && (self.stirred || self.next_at <= now);
        if reason {
            self.round = Some(SmallVec::new());
        }
        reason
    }

    /// Takes the next whose turn it is out of the line.
    pub fn next(&mut self, now: Instant, tried: &[ExchangeId]) -> Option<Waiting> {
        let claimed = self.round.as_ref()?;
        let free = |c: &Claim| !claimed.iter().any(|other| other.meets(*c));
        let ready = |w: &Waiting| {
            let may = match w.claims.is_empty() {
                true => w.at <= now,
                false => (self.stirred || w.at <= now) && w.claims.iter().any(free),
            };
            may && !tried.contains(&w.exchange)
        };
        let turn = |w: &Waiting| {
            let tenant = w.tenant.0.wrapping_sub(self.last_tenant.0.wrapping_add(1));
            (w.batch, tenant, w.ticket)
        };
        let waiting = self.waiting.iter().enumerate();
        let (at, _) = waiting
            .filter(|(_, w)| ready(w))
            .min_by_key(|(_, w)| turn(w))?;
        // Order is by ticket, so the places may be mixed.
        Some(self.waiting.swap_remove(at))
    }

    /// Who had its turn took it.
    pub fn served(&mut self, tenant: TenantId) {
        self.last_tenant = tenant;
    }

    pub fn is_waiting(&self, exchange: ExchangeId) -> bool {
        self.waiting.iter().any(|w| w.exchange == exchange)
    }

    /// Who is behind a claim that is still full is woken by what frees it, not by the time.
    pub fn end_round(&mut self, now: Instant) {
        self.round = None;
        self.stirred = false;
        let later = self.waiting.iter().map(|w| w.at).filter(|at| *at > now);
        self.next_at = later.min().unwrap_or(Instant::NEVER);
    }
}
