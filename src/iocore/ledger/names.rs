//! Ids of the configuration → the names that are written down. An id the configuration does not have becomes `?7`, never a panic:
//! the row is money.

use crate::base::{ClientKeyId, EndpointId, KeyId, ModelId, PoolId, TenantId};
use crate::canon::DialectName;
use crate::shard::{LedgerRow, Outcome};
use std::borrow::Cow;

/// All that a row's names depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Of {
    generation: u64,
    tenant: TenantId,
    client_key: ClientKeyId,
    model: ModelId,
    endpoint: EndpointId,
    pool: PoolId,
    key: Option<KeyId>,
    dialect: DialectName,
    outcome: &'static str,
}

impl Of {
    pub fn row(row: &LedgerRow) -> Self {
        Self {
            generation: row.under.0.generation,
            tenant: row.tenant,
            client_key: row.client_key,
            model: row.model,
            endpoint: row.endpoint,
            pool: row.pool,
            key: row.key,
            dialect: row.dialect,
            outcome: outcome(row.outcome),
        }
    }
}

/// The texts of a row, in the order of `schema`'s name columns.
pub fn of(row: &LedgerRow) -> [Cow<'_, str>; 9] {
    let config = &*row.under.0;
    let endpoint = config.endpoints.get(usize::from(row.endpoint.0));
    let provider = endpoint.and_then(|e| config.providers.get(usize::from(e.provider.0)));
    let place = endpoint.zip(provider);
    [
        or_number(
            config
                .tenants
                .get(usize::from(row.tenant.0))
                .map(|t| &t.name),
            row.tenant.0.into(),
        ),
        or_number(
            config.client_key(row.client_key).map(|k| &k.name),
            row.client_key.0,
        ),
        or_number(
            config.models.get(usize::from(row.model.0)).map(|m| &m.name),
            row.model.0.into(),
        ),
        or_number(provider.map(|p| &p.name), row.endpoint.0.into()),
        match place {
            Some((endpoint, provider)) => {
                Cow::Owned(format!("{}/{}", provider.name, endpoint.name))
            }
            None => or_number(None, row.endpoint.0.into()),
        },
        or_number(
            config.pools.get(usize::from(row.pool.0)).map(|p| &p.name),
            row.pool.0.into(),
        ),
        match row.key {
            Some(key) => or_number(
                config.keys.get(usize::from(key.0)).map(|k| &k.name),
                key.0.into(),
            ),
            None => Cow::Borrowed("-"),
        },
        Cow::Borrowed(row.dialect.as_str()),
        Cow::Borrowed(outcome(row.outcome)),
    ]
}

fn or_number(name: Option<&String>, id: u32) -> Cow<'_, str> {
    name.map_or_else(
        || Cow::Owned(format!("?{id}")),
        |name| Cow::Borrowed(name.as_str()),
    )
}

/// `done`, `cancelled`, or the class of the failure.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Failed(class) => class.as_str(),
        Outcome::Cancelled => "cancelled",
    }
}
