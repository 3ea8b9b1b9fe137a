//! Is this configuration right? Every problem with its place; or what it amounts to. Never shows a secret.

use crate::config::{Config, Key, Loaded, Model, Problem};
use serde::Serialize;
use std::fmt::Write;

/// What `stokehold check` prints, as `--json` has it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ok: bool,
    pub files: Vec<String>,
    pub problems: Vec<ProblemRow>,
    pub notes: Vec<String>,
    pub listen: Vec<String>,
    pub operator: Option<String>,
    pub shards: u16,
    pub tenants: Vec<TenantRow>,
    pub providers: Vec<ProviderRow>,
    pub pools: Vec<PoolRow>,
    pub models: Vec<ModelRow>,
}

#[derive(Debug, Serialize)]
pub struct ProblemRow {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub what: String,
    pub right: String,
}

#[derive(Debug, Serialize)]
pub struct TenantRow {
    pub id: String,
    pub keys: usize,
}

#[derive(Debug, Serialize)]
pub struct ProviderRow {
    pub id: String,
    pub kind: &'static str,
    /// `https://api.example.com:443`; `built in` for a fake of our own.
    pub origin: String,
    pub active: bool,
}

#[derive(Debug, Serialize)]
pub struct PoolRow {
    pub id: String,
    pub provider: String,
    pub cache_scope: String,
    pub keys: Vec<KeyRow>,
    pub limits: usize,
}

#[derive(Debug, Serialize)]
pub struct KeyRow {
    pub id: String,
    /// Where its credential comes from; `none` for own machines that want none.
    pub source: &'static str,
}

#[derive(Debug, Serialize)]
pub struct ModelRow {
    pub id: String,
    pub aliases: Vec<String>,
    pub endpoints: Vec<EndpointRow>,
    pub retired: Option<String>,
    pub successor: Option<String>,
    /// Whether that day has come.
    pub over: bool,
}

#[derive(Debug, Serialize)]
pub struct EndpointRow {
    pub provider: String,
    pub name: String,
    pub pools: Vec<String>,
    pub input_usd_per_million: f64,
    pub output_usd_per_million: f64,
    /// Whether this place has stopped serving the model.
    pub retired: bool,
}

impl Report {
    /// What there is to say of a configuration, right or wrong.
    #[must_use]
    pub fn of(loaded: &Result<Loaded, Vec<Problem>>) -> Self {
        match loaded {
            Ok(loaded) => Self::of_config(loaded),
            Err(problems) => Self::of_problems(problems),
        }
    }

    fn of_problems(problems: &[Problem]) -> Self {
        let row = |p: &Problem| ProblemRow {
            file: p.file.clone(),
            line: p.line,
            column: p.column,
            what: p.what.clone(),
            right: p.right.clone(),
        };
        let mut files: Vec<String> = problems.iter().map(|p| p.file.clone()).collect();
        files.dedup();
        Self {
            ok: false,
            files,
            problems: problems.iter().map(row).collect(),
            notes: Vec::new(),
            listen: Vec::new(),
            operator: None,
            shards: 0,
            tenants: Vec::new(),
            providers: Vec::new(),
            pools: Vec::new(),
            models: Vec::new(),
        }
    }

    fn of_config(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        Self {
            ok: true,
            files: loaded.files.clone(),
            problems: Vec::new(),
            notes: loaded.notes.clone(),
            listen: config
                .server
                .listen
                .iter()
                .map(ToString::to_string)
                .collect(),
            operator: Some(config.server.operator.to_string()),
            shards: config.server.shards,
            tenants: tenants(config),
            providers: providers(config),
            pools: pools(config),
            models: config.models.iter().map(|m| model(config, m)).collect(),
        }
    }

    /// One JSON object on several lines.
    ///
    /// # Errors
    /// None in practice: every field can be written.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Tables for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        if self.ok {
            self.summary(&mut out);
        } else {
            self.problems(&mut out);
        }
        out
    }

    fn problems(&self, out: &mut String) {
        for p in &self.problems {
            let place = match p.line {
                0 => p.file.clone(),
                line => format!("{}:{line}:{}", p.file, p.column),
            };
            push(out, format!("{place}: {}\n    {}", p.what, p.right));
        }
        let count = self.problems.len();
        push(
            out,
            format!("\n{count} problem{}", if count == 1 { "" } else { "s" }),
        );
    }

    fn summary(&self, out: &mut String) {
        let listen = self.listen.join(", ");
        let operator = self.operator.as_deref().unwrap_or("none");
        push(out, format!("files      {}", self.files.join(", ")));
        push(
            out,
            format!(
                "serves     {listen}; operators at {operator}; shards: {}",
                self.shards
            ),
        );
        for t in &self.tenants {
            push(out, format!("tenant     {}; keys: {}", t.id, t.keys));
        }
        out.push('\n');
        table(
            out,
            &["PROVIDER", "KIND", "WHERE", "STATE"],
            self.provider_rows(),
        );
        table(
            out,
            &["POOL", "PROVIDER", "CACHE SCOPE", "LIMITS", "KEYS"],
            self.pool_rows(),
        );
        table(
            out,
            &[
                "MODEL",
                "ENDPOINT",
                "POOLS",
                "$ IN / OUT PER MILLION",
                "NOTE",
            ],
            self.models.iter().flat_map(model_rows).collect(),
        );
        for note in &self.notes {
            push(out, format!("note: {note}"));
        }
        let served = self
            .models
            .iter()
            .filter(|m| !m.endpoints.is_empty() && !m.over)
            .count();
        push(
            out,
            format!(
                "fine: {served} of {} models can be served",
                self.models.len()
            ),
        );
    }

    fn provider_rows(&self) -> Vec<Vec<String>> {
        let state = |p: &ProviderRow| if p.active { "used" } else { "no key" };
        let row = |p: &ProviderRow| {
            vec![
                p.id.clone(),
                p.kind.to_owned(),
                p.origin.clone(),
                state(p).to_owned(),
            ]
        };
        self.providers.iter().map(row).collect()
    }

    fn pool_rows(&self) -> Vec<Vec<String>> {
        let key = |k: &KeyRow| match k.source {
            "secret" => k.id.clone(),
            "none" => format!("{} (none needed)", k.id),
            source => format!("{} ({source})", k.id),
        };
        let row = |p: &PoolRow| {
            let keys: Vec<String> = p.keys.iter().map(key).collect();
            vec![
                p.id.clone(),
                p.provider.clone(),
                p.cache_scope.clone(),
                p.limits.to_string(),
                keys.join(", "),
            ]
        };
        self.pools.iter().map(row).collect()
    }
}

fn tenants(config: &Config) -> Vec<TenantRow> {
    let keys = |i: usize| {
        config
            .client_keys
            .iter()
            .filter(|k| usize::from(k.tenant.0) == i)
            .count()
    };
    let rows = config.tenants.iter().enumerate();
    rows.map(|(i, t)| TenantRow {
        id: t.name.clone(),
        keys: keys(i),
    })
    .collect()
}

fn providers(config: &Config) -> Vec<ProviderRow> {
    let active = |i: usize| config.pools.iter().any(|p| usize::from(p.provider.0) == i);
    let row = |(i, p): (usize, &crate::config::Provider)| {
        let origin = &config.origins[usize::from(p.origin.0)];
        let scheme = if origin.tls { "https" } else { "http" };
        ProviderRow {
            id: p.name.clone(),
            kind: p.kind.as_str(),
            origin: match origin.port {
                0 => "built in".to_owned(),
                port => format!("{scheme}://{}:{port}{}", origin.host, p.base_path),
            },
            active: active(i),
        }
    };
    config.providers.iter().enumerate().map(row).collect()
}

fn pools(config: &Config) -> Vec<PoolRow> {
    let key = |k: &Key| KeyRow {
        id: k.name.clone(),
        source: k.source.noun(),
    };
    let row = |p: &crate::config::Pool| PoolRow {
        id: p.name.clone(),
        provider: config.providers[usize::from(p.provider.0)].name.clone(),
        cache_scope: p.cache_scope.clone(),
        keys: p
            .keys
            .iter()
            .map(|k| key(&config.keys[usize::from(k.0)]))
            .collect(),
        limits: p.limits.len(),
    };
    config.pools.iter().map(row).collect()
}

/// As it is today: prices and places have their days.
fn model(config: &Config, model: &Model) -> ModelRow {
    let now = super::usage::now();
    let endpoint = |id: &crate::base::EndpointId| {
        let e = &config.endpoints[usize::from(id.0)];
        EndpointRow {
            provider: config.providers[usize::from(e.provider.0)].name.clone(),
            name: e.name.clone(),
            pools: e
                .pools
                .iter()
                .map(|p| config.pools[usize::from(p.0)].name.clone())
                .collect(),
            input_usd_per_million: e.price.on(now).input.usd_per_million(),
            output_usd_per_million: e.price.on(now).output.usd_per_million(),
            retired: e.is_retired(now),
        }
    };
    ModelRow {
        id: model.name.clone(),
        aliases: model.aliases.clone(),
        endpoints: model.endpoints.iter().map(endpoint).collect(),
        retired: model.retired.as_ref().map(|r| r.on.clone()),
        successor: model.retired.as_ref().and_then(|r| r.successor.clone()),
        over: model.retired.as_ref().is_some_and(|r| r.is_over(now)),
    }
}

fn ends(over: bool) -> &'static str {
    if over { "retired" } else { "ends" }
}

/// One row an endpoint; one for a model without any.
fn model_rows(model: &ModelRow) -> Vec<Vec<String>> {
    let note = match (&model.retired, &model.successor) {
        (Some(on), Some(next)) => format!("{} {on}, see {next}", ends(model.over)),
        (Some(on), None) => format!("{} {on}", ends(model.over)),
        _ => String::new(),
    };
    if model.endpoints.is_empty() {
        let dash = || "-".to_owned();
        return vec![vec![model.id.clone(), dash(), dash(), dash(), note]];
    }
    let row = |e: &EndpointRow| {
        vec![
            model.id.clone(),
            format!("{}/{}", e.provider, e.name),
            e.pools.join(", "),
            format!("{} / {}", e.input_usd_per_million, e.output_usd_per_million),
            if e.retired {
                "no longer there".to_owned()
            } else {
                note.clone()
            },
        ]
    };
    model.endpoints.iter().map(row).collect()
}

/// Columns as wide as their widest cell, and a blank line after.
fn table(out: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    let mut all = vec![head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    let width = |i: usize| all.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        push(out, line.trim_end());
    }
    out.push('\n');
}

fn push(out: &mut String, line: impl AsRef<str>) {
    out.push_str(line.as_ref());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::path::Path;

    fn report(yaml: &'static str) -> Report {
        Report::of(&load(
            "a.yaml",
            &|_: &Path| Ok(yaml.to_owned()),
            &|_| None,
            2,
        ))
    }

    const FINE: &str = "
tenants: [{id: t, keys: [{id: k, secret: sk-client-hidden}]}]
providers:
  - {id: a, kind: anthropic, headers: {x-key: header-hidden}, pools: [{id: p, keys: [{id: one, secret: sk-provider-hidden}, {id: two, secret: ''}]}]}
  - {id: b, kind: openai, pools: [{id: q, keys: [{id: three, secret: ''}]}]}
models:
  - {id: m, endpoints: [{provider: a, price: {input: 3, output: 15}}, {provider: b, price: {input: 1, output: 2}}]}
";

    #[test]
    fn a_right_configuration_is_shown_without_its_secrets() {
        let report = report(FINE);
        let (text, json) = (report.text(), report.json().expect("json"));
        for shown in [&text, &json] {
            assert!(!shown.contains("hidden"), "{shown}");
        }
        assert!(text.contains("m      a/m       p      3 / 15"), "{text}");
        assert!(
            text.contains("note: provider b has no key: it is not used"),
            "{text}"
        );
        assert!(
            text.contains("note: key two has no secret: left out"),
            "{text}"
        );
        assert!(
            text.ends_with("fine: 1 of 1 models can be served\n"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_one_is_all_its_problems() {
        let report = report("server: {listn: 1}\nlimits: {queue_max: many}\n");
        let want = "a.yaml:1:10: unknown field \"listn\" in server\n    did you mean \"listen\"? known: listen, operator, \
                    operator_key, shards, runtime, pin, tls, backlog, drain\na.yaml:2:21: limits.queue_max is \"many\"\n    \
                    a whole number from 0 to 1000000, such as 1_000\n\n2 problems\n";
        assert_eq!(report.text(), want);
        let json: serde_json::Value =
            serde_json::from_str(&report.json().expect("json")).expect("json");
        assert_eq!(json["problems"][1]["line"], 2);
        assert_eq!(json["ok"], false);
    }
}
