//! A client key that is asked for at run time, as JSON: the words of the configuration's client keys.

use super::{Config, Rights, TenantLimits, value};
use crate::base::{NanoUsd, Tokens};
use crate::canon::DialectName;
use crate::canon::controls::{PRIORITIES, Priority};
use crate::config::resolve::SERVED;
use crate::policy::capacity::of_class;
use serde::{Deserialize, Serialize};

/// What is wanted of a key. All but the tenant may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    pub tenant: String,
    /// What it is called in ledger and lists; without it one is made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dialects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
    /// Dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_month: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// A day such as `2027-01-31`, from whose first moment (UTC) it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Wish {
    /// What it amounts to. `Err` names the field and says what would be right.
    pub fn rights(&self) -> Result<Rights, String> {
        let dialect = |word: &String| -> Result<DialectName, String> {
            let known = SERVED.iter().find(|d| d.as_str() == word);
            known.copied().ok_or_else(|| {
                let right = SERVED.map(DialectName::as_str).join(", ");
                format!("dialects: {word:?} is no API of this router; there are {right}")
            })
        };
        let priority = |word: &String| -> Result<Priority, String> {
            let found = PRIORITIES.iter().find(|(name, _)| name == word);
            found
                .map(|(_, priority)| *priority)
                .ok_or_else(|| format!("priority: {word:?} is neither interactive nor batch"))
        };
        let usd = |field: &str, dollars: Option<f64>| -> Result<Option<NanoUsd>, String> {
            let Some(dollars) = dollars else {
                return Ok(None);
            };
            let read = Some(dollars).filter(|d| (0.0..=1e9).contains(d));
            let read = read.and_then(NanoUsd::of_usd);
            read.map(Some)
                .ok_or_else(|| format!("{field}: dollars from 0 to 1000000000"))
        };
        let day = |text: &String| {
            value::day(text)
                .ok_or_else(|| format!("expires: {text:?} is no day such as 2027-01-31"))
        };
        Ok(Rights {
            models: self.models.clone(),
            providers: self.providers.clone(),
            dialects: self
                .dialects
                .iter()
                .map(dialect)
                .collect::<Result<_, _>>()?,
            limits: TenantLimits {
                rpm: self.rpm,
                tpm: self.tpm.map(Tokens),
                concurrent: self.concurrent,
                usd_per_day: usd("usd_per_day", self.usd_per_day)?,
                usd_per_month: usd("usd_per_month", self.usd_per_month)?,
            },
            priority: self.priority.as_ref().map(priority).transpose()?,
            expires: self.expires.as_ref().map(day).transpose()?,
        })
    }

    /// Whether `config` has what it names. `Err` as for `rights`.
    pub fn fits(&self, config: &Config) -> Result<(), String> {
        let names = |all: Vec<&str>| match all.is_empty() {
            true => "there are none".to_owned(),
            false => format!("there are {}", all.join(", ")),
        };
        if !config.tenants.iter().any(|t| t.name == self.tenant) {
            let known = config.tenants.iter().map(|t| t.name.as_str()).collect();
            let tenant = &self.tenant;
            return Err(format!("tenant: there is no {tenant:?}; {}", names(known)));
        }
        for wanted in &self.providers {
            if !config.providers.iter().any(|p| p.name == *wanted) {
                let known = config.providers.iter().map(|p| p.name.as_str()).collect();
                return Err(format!(
                    "providers: there is no {wanted:?}; {}",
                    names(known)
                ));
            }
        }
        for pattern in &self.models {
            if !config
                .model_names
                .keys()
                .any(|name| of_class(pattern, name))
            {
                return Err(format!(
                    "models: none is called {pattern:?}; GET /v1/models lists those that there are"
                ));
            }
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match &self.name {
            Some(name) if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) => {
                Err("name: 1 to 64 letters, digits, dots, dashes or underscores".to_owned())
            }
            Some(name) if config.client_keys.iter().any(|key| key.name == *name) => {
                Err(format!("name: there is a client key {name:?} already"))
            }
            _ => Ok(()),
        }
    }
}
