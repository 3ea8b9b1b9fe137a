//! Tables of right and wrong files, and the files that we ship.

mod caching;
mod health;
mod properties;
mod shipped;

use super::*;
use crate::config::load::{self, Loaded, parse_for_tests};
use crate::config::problem::Problems;
use crate::config::yaml::{Node, NodeKind};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Loads the first of `files`, with `(name, text)` each.
fn load_files(files: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| path == Path::new(name));
        found
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let env = |name: &str| {
        env.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    };
    load::load(files[0].0, &read, &env, 4)
}

fn problems(files: &[(&str, &str)], env: &[(&str, &str)]) -> Vec<String> {
    match load_files(files, env) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Loads a file of the folder `config` with what it includes.
fn shipped(name: &str, env: &[(&str, &str)]) -> Loaded {
    let read = |path: &Path| std::fs::read_to_string(path);
    let env = |name: &str| {
        env.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    };
    let root = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
    load::load(&root, &read, &env, 4).unwrap_or_else(|p| panic!("{name}: {p:#?}"))
}

const PROVIDER: &str = "providers: [{id: s, kind: selfhosted, base_url: 'http://h:1'}]\n";

/// What is written → every problem, to the letter.
const WRONG: &[(&str, &[&str])] = &[
    (
        "server:\n  shards: many\n",
        &[
            "a:2:11: server.shards is not a number of shards: auto, or a whole number from 1 to 1024",
        ],
    ),
    (
        "server: {drain: 30}",
        &["a:1:17: server.drain is \"30\": a time from 0 to 24h, such as 250ms, 30s, 5m or 1h"],
    ),
    (
        "server: [1]",
        &["a:1:9: server is a list: a section: `field: value`"],
    ),
    (
        "server: {listen: localhost}",
        &[
            "a:1:18: not an address to listen at: an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
        ],
    ),
    (
        "server: {listen: []}",
        &["a:1:9: server.listen is empty: at least one address"],
    ),
    (
        "server: {operator: '0.0.0.0:1'}",
        &[
            "a:1:20: server.operator is 0.0.0.0:1 without server.operator_key: an address on loopback, or a key",
        ],
    ),
    (
        "server: {operator: '127.0.0.1:8080'}",
        &["a:1:20: server.operator is 127.0.0.1:8080, where clients are served: a port of its own"],
    ),
    (
        "server: {runtime: iouring}",
        &[
            "a:1:19: server.runtime is \"iouring\": did you mean \"io_uring\"? known: auto, io_uring, epoll",
        ],
    ),
    (
        "server: {tls: {key: k}}",
        &["a:1:15: server.tls has no certificate: add it"],
    ),
    (
        "server: {pin: yes}",
        &["a:1:15: server.pin is \"yes\": `true` or `false`"],
    ),
    (
        "limits: {body_bytes_max: 64KB}",
        &[
            "a:1:26: limits.body_bytes_max is \"64KB\": a size from 1KiB to 1GiB, such as 64KiB or 32MiB",
        ],
    ),
    (
        "limits: {body_bytes_max: 1GiB}",
        &[
            "a:1:26: limits.body_bytes_max (1GiB) is over limits.bodies_bytes_max (512MiB): room for one body at least",
        ],
    ),
    (
        "routing: {retry_budget: 1.5, attempts_max: 0}",
        &[
            "a:1:25: routing.retry_budget is \"1.5\": a number from 0 to 1",
            "a:1:44: routing.attempts_max is \"0\": a whole number from 1 to 20, such as 1_000",
        ],
    ),
    (
        "routing: {backoff: 20s}",
        &[
            "a:1:20: routing.backoff (20s) is over routing.backoff_max (8s): the first wait at most the longest",
        ],
    ),
    (
        "log: {}\nlog: {}\n",
        &["a:2:1: field \"log\" written twice: the other is at a:1: keep one"],
    ),
    (
        "tenents: []",
        &[
            "a:1:1: unknown field \"tenents\" in the file: did you mean \"tenants\"? known: include, data_dir, server, limits, log, ledger, spool, redis, timeouts, routing, video, tenants, providers, prices, limit_rules, cache_rules, seal_rules, models, optional_providers",
        ],
    ),
    (
        "tenants: [{keys: []}]",
        &["a:1:11: tenants has no id: add it"],
    ),
    (
        "tenants: [{id: t}, {id: t}]",
        &["a:1:25: tenant \"t\" is there twice: the other is at a:1: rename one"],
    ),
    (
        "tenants: [{id: t, keys: [{id: k}]}]",
        &["a:1:26: client key \"k\" needs one of secret and sha256: give exactly one"],
    ),
    (
        "tenants: [{id: t, keys: [{id: k, sha256: sk-hidden}]}]",
        &["a:1:42: not a SHA-256: 64 hexadecimal digits, as of `printf %s \"$KEY\" | sha256sum`"],
    ),
    (
        "tenants: [{id: t, keys: [{id: k, secret: x}, {id: l, secret: x}]}]",
        &["a:1:51: the same client key is there twice: the other is at a:1: each client key once"],
    ),
    (
        "tenants: [{id: t, limits: {usd_per_day: lots}}]",
        &["a:1:41: tenants.limits.usd_per_day is \"lots\": dollars, such as 50 or 0.01"],
    ),
    (
        "providers: [{id: b, kind: bedrock}]",
        &[
            "a:1:13: a bedrock provider without region: region: us-east-1, or AWS_REGION in the environment",
        ],
    ),
    (
        "providers: [{id: b, kind: bedrock, region: US, project: p}]",
        &[
            "a:1:44: not a region: such as us-east-1, europe-west1, eu or global",
            "a:1:57: project: on a provider of kind bedrock: leave it out",
        ],
    ),
    (
        "providers: [{id: b, kind: openai, region: us, api: mantle}]",
        &[
            "a:1:43: region: on a provider of kind openai: leave it out",
            "a:1:52: api: on a provider of kind openai: leave it out",
        ],
    ),
    (
        "providers: [{id: b, kind: vertex, pools: [{id: p, keys: [{id: k, google: {metadata: true}}]}]}]",
        &["a:1:13: a vertex provider without project: project: the id of the Google Cloud project"],
    ),
    (
        "providers: [{id: b, kind: openai, pools: [{id: p, keys: [{id: k, secret: s, aws: {}}, {id: l, aws: {}}]}]}]",
        &[
            "a:1:58: key \"k\" has more than one source: one of secret, aws and google",
            "a:1:100: aws: on a key of a provider of kind openai: secret:",
        ],
    ),
    (
        "providers: [{id: b, kind: bedrock, region: r, pools: [{id: p, keys: [{id: k}, {id: l, aws: {access_key_id: a}}, {id: m, aws: {role_arn: x}}, {id: n, aws: {external_id: x}}]}]}]",
        &[
            "a:1:70: key \"k\" has no secret: secret:, or aws: {} for AWS's own chain",
            "a:1:92: aws: with half a static key: access_key_id and secret_access_key, or profile",
            "a:1:137: not a role's ARN: arn:aws:iam::…:role/…",
            "a:1:169: an external_id or session_name without role_arn: role_arn: arn:aws:iam::…",
        ],
    ),
    (
        "providers: [{id: b, kind: vertex, pools: [{id: p, keys: [{id: k, google: {service_account: '{\"hidden\"'}}, {id: l, google: {service_account: none.json}}, \
         {id: m, google: {service_account: x, metadata: true}}, {id: n, google: {token_url: x}}, {id: o, google: {service_account: 'env:NONE'}}]}]}]",
        &[
            "a:1:74: service_account: not a key file: JSON wrong at line 1: the JSON of a service account's key, or gcloud's default credentials",
            "a:1:123: cannot read none.json: entity not found: a key file that this user may read",
            "a:1:170: google: with service_account and metadata: one of them",
            "a:1:237: the URL does not begin with http:// or https://: such as https://sts.example.com",
            "a:1:276: variable NONE is not set: the key file's path or its JSON there",
        ],
    ),
    (
        "providers: [{id: b, kind: bedrock, region: r, headers: {x: '${secret}'}, query: {'a b': c, d: e, d2: '${secret}'}, pools: [{id: p, keys: [{id: k, aws: {}}, {id: l, aws: {}}]}]}]",
        &[
            "a:1:13: b: ${secret} with a key that signs: a key with secret: or google:",
            "a:1:82: not a name of a query: letters, digits, `-`, `_`, `.` and `$`",
            "a:1:157: key \"l\" is the same secret as key \"k\": each credential once",
        ],
    ),
    (
        "providers: [{id: b, kind: bedrok}]",
        &[
            "a:1:27: unknown kind \"bedrok\": did you mean \"bedrock\"? known: anthropic, bedrock, vertex, openai, gemini, xai, fireworks, openrouter, selfhosted, fake",
        ],
    ),
    (
        "providers: [{id: b, kind: antropic}]",
        &[
            "a:1:27: unknown kind \"antropic\": did you mean \"anthropic\"? known: anthropic, bedrock, vertex, openai, gemini, xai, fireworks, openrouter, selfhosted, fake",
        ],
    ),
    (
        "providers: [{id: b, kind: selfhosted}]",
        &[
            "a:1:13: a selfhosted provider without base_url: where it is, such as http://10.0.0.5:8000/v1",
        ],
    ),
    (
        "providers: [{id: b, kind: openai, base_url: 'ftp://x'}]",
        &[
            "a:1:45: base_url does not begin with http:// or https://: such as https://api.example.com or http://10.0.0.5:8000/v1",
        ],
    ),
    (
        "providers: [{id: b, kind: openai, fake: {}}]",
        &[
            "a:1:41: fake: on a provider that is not built in: kind: fake without base_url, or no fake:",
        ],
    ),
    (
        "providers: [{id: b, kind: fake, headers: {Host: x, 'a b': y}}]",
        &[
            "a:1:43: header host is set by the router: leave it out",
            "a:1:52: not a header's name: letters, digits and `-`",
        ],
    ),
    (
        "providers: [{id: b, kind: openai, pools: [{id: p, keys: [{id: k}]}]}]",
        &[
            "a:1:58: key \"k\" has no secret: \"${NAME:-}\", env:NAME, file:/path, credential:NAME or vault:NAME",
        ],
    ),
    (
        "providers: [{id: b, kind: openai, pools: [{id: p, keys: [{id: k, secret: s}, {id: l, secret: s}]}]}]",
        &["a:1:94: key \"l\" is the same secret as key \"k\": each credential once"],
    ),
    (
        "providers: [{id: b, kind: fake, pools: [{id: p, keys: [{id: k}], limits: [{models: ['gpt-[56]']}]}]}]",
        &[
            "a:1:85: \"gpt-[56]\" is not a pattern of model names: letters of a model's name, and `*` for any run of characters",
        ],
    ),
    (
        "models: [{id: m, endpoints: [{provider: nobody}]}]",
        &["a:1:41: unknown provider \"nobody\": known: "],
    ),
    (
        "models: [{id: m}]",
        &["a:1:15: model \"m\" has no endpoint: endpoints: [{provider: …}]"],
    ),
    (
        "prices: [{kind: fake, model: m, input: 1, output: 2, source: s, read: May}]",
        &["a:1:71: not a day: the day the source was read, such as 2026-11-23"],
    ),
    (
        "models: [{id: m, rules: {clamp: {temperatur: 0..1, top_p: 1..0, top_k: many}}, endpoints: [{provider: x}]}]\noptional_providers: [x]\n",
        &[
            "a:1:34: \"temperatur\" cannot be clamped: did you mean \"temperature\"? known: max_output, temperature, top_p, top_k, presence_penalty, frequency_penalty, top_logprobs, choices",
            "a:1:59: not a range: the least and the most, such as 0..1 or 1..64_000",
            "a:1:72: not a range: the least and the most, such as 0..1 or 1..64_000",
        ],
    ),
    (
        "models: [{id: m, gives: [txt], endpoints: [{provider: x, speaks: [chats], retired: soon}]}]\noptional_providers: x\n",
        &[
            "a:1:26: unknown word \"txt\" in models.gives: did you mean \"text\"? known: text, images, audio, video, embeddings",
            "a:1:67: unknown dialect \"chats\": did you mean \"chat\"? known: chat, messages, responses, gemini, completions, converse",
            "a:1:84: not a day: such as 2026-07-23",
        ],
    ),
    (
        "prices:\n  - {kind: fake, model: m, input: 1, output: 2, long_context: [{over: 9, input_times: 1, output_times: 1}, {over: 9, input_times: 2, output_times: 1}], source: s, read: 2026-11-23}\n  - {kind: fake, model: m, from: 2026-02-30, input: 1, output: 2, source: s, read: 2026-11-23}\n  - {kind: fake, model: n, from: 2026-02-28, input: 1, output: 2, source: s, read: 2026-11-23}\n  - {kind: fake, model: m, from: 2026-03-01, input: 1, output: 2, cache: {mode: none}, source: s, read: 2026-11-23}\n",
        &[
            "a:2:115: two steps over 9 tokens: each length once",
            "a:3:34: not a day: the first day it holds, such as 2026-11-23",
            "a:4:34: fake/n has no price to change: an entry without from:, for the days before",
            "a:5:74: cache rules do not change by the day: in the entry without from:",
        ],
    ),
    (
        "data_dir: ${HOME_OF_DATA}",
        &["a:1:11: variable HOME_OF_DATA is not set: set it, or write ${HOME_OF_DATA:-default}"],
    ),
    (
        "data_dir: ${HOME",
        &["a:1:11: `${` without its `}`: write `${NAME}` or `$$`"],
    ),
    (
        "include: none.yaml",
        &[
            "a:1:10: cannot read none.yaml: entity not found: a file this user may read, in UTF-8; a path in `include:` is relative to its file",
        ],
    ),
    (
        "log: &a {}\nledger: *a\n",
        &[
            "a:1:9: anchors are not read: remove it",
            "a:2:9: aliases are not read: write the value again",
        ],
    ),
    (
        "- a\n",
        &["a:1:1: the file is a list: a section: `field: value`"],
    ),
];

#[test]
fn each_mistake_is_told_with_its_place_and_what_would_be_right() {
    for (text, want) in WRONG {
        assert_eq!(problems(&[("a", text)], &[]), *want, "{text}");
    }
}

#[test]
fn a_missing_certificate_is_told_before_the_start() {
    let text = "server: {tls: {certificate: c.pem, key: k.pem}}\nproviders: [{id: s, kind: selfhosted, base_url: 'https://h', ca: n.pem}]\n";
    let told = problems(
        &[
            ("a", text),
            ("c.pem", "-----BEGIN CERTIFICATE-----"),
            ("k.pem", "secret-hidden"),
        ],
        &[],
    );
    let want = [
        "a:1:41: k.pem is not PEM: a file with a line `-----BEGIN …-----`",
        "a:2:66: cannot read n.pem: entity not found: a file this user may read",
    ];
    assert_eq!(told, want);
}

#[test]
fn names_are_visible_letters() {
    let text = "tenants: [{id: 'a b'}, {id: ''}, {id: naïve}]\n";
    let told = problems(&[("a", text)], &[]);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told.iter().all(|t| t.contains("not a name for a tenant")),
        "{told:#?}"
    );
}

#[test]
fn references_within_the_catalogue_are_checked() {
    let table = [
        (
            "models: [{id: m, endpoints: [{provider: t}]}]",
            "a:2:41: unknown provider \"t\": known: s",
        ),
        (
            "models: [{id: m, endpoints: [{provider: s, pools: [x]}]}]",
            "a:2:52: unknown pool \"x\" of this provider: known: s",
        ),
        (
            "models: [{id: m, aliases: [m], endpoints: [{provider: s}]}]",
            "a:2:28: model name \"m\" is there twice: the other is at a:2: rename one",
        ),
        (
            "models: [{id: m, takes: [image], endpoints: [{provider: s}]}]",
            "a:2:26: unknown word \"image\" in models.takes: did you mean \"images\"? known: images, documents, audio, video, tools",
        ),
        (
            "models: [{id: m, retired: {on: 2026-13-01, successor: n}, endpoints: [{provider: s}]}]",
            "a:2:32: not a day: such as 2026-07-23",
        ),
    ];
    for (text, want) in table {
        let file = format!("{PROVIDER}{text}\n");
        let got = problems(&[("a", &file)], &[]);
        assert_eq!(got.first().map(String::as_str), Some(want), "{text}");
    }
}

#[test]
fn a_paid_model_needs_a_price() {
    let text = "providers: [{id: o, kind: openai, pools: [{id: p, keys: [{id: k, secret: s}]}]}]\nmodels: [{id: m, endpoints: [{provider: o}]}]\n";
    let want = "a:2:30: no price for \"m\" at a provider of kind openai: an entry in prices:, or price: here";
    assert_eq!(problems(&[("a", text)], &[]), [want]);
}

#[test]
fn files_merge_and_a_conflict_names_both_places() {
    let a = "include: [d/b.yaml]\nlog: {level: debug}\ntenants: [{id: one}]\n";
    let b = "include: c.yaml\nlog: {format: json}\ntenants: [{id: two}]\n";
    let c = "tenants: [{id: three}]\n";
    let loaded =
        load_files(&[("a.yaml", a), ("d/b.yaml", b), ("d/c.yaml", c)], &[]).expect("right");
    let names: Vec<&str> = loaded
        .config
        .tenants
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert_eq!(
        (loaded.config.log.level, loaded.config.log.format),
        (LogLevel::Debug, LogFormat::Json)
    );
    assert_eq!(loaded.files, ["a.yaml", "d/b.yaml", "d/c.yaml"]);

    let b = "log: {level: info}\ntenants: [{id: one}]\n";
    let want = [
        "d/b.yaml:1:7: field \"level\" is in two files: the other is at a.yaml:2: keep one",
        "d/b.yaml:2:16: tenant \"one\" is there twice: the other is at a.yaml:3: rename one",
    ];
    assert_eq!(problems(&[("a.yaml", a), ("d/b.yaml", b)], &[]), want);
}

#[test]
fn a_circle_of_includes_is_refused() {
    let b = "include: ../d/../a.yaml\n";
    let want = [
        "d/b.yaml:1:10: d/../d/../a.yaml is included twice: it is where reading began: remove this",
    ];
    assert_eq!(
        problems(&[("a.yaml", "include: d/b.yaml\n"), ("d/b.yaml", b)], &[]),
        want
    );
}

#[test]
fn variables_stand_in_values_and_their_values_are_never_shown() {
    let text = "data_dir: /x/${A}/${B:-b}/${C:-c}/$$1\nlimits: {queue_max: \"${A}\"}\nlog: {level: '${A}'}\n";
    let want = [
        "a:2:21: limits.queue_max is \"${A}\": a whole number from 0 to 1000000, such as 1_000",
        "a:3:14: log.level is \"${A}\": known: error, warn, info, debug, trace",
    ];
    assert_eq!(
        problems(&[("a", text)], &[("A", "hidden"), ("C", "")]),
        want
    );
    let first = text.lines().next().expect("a line");
    let loaded = load_files(&[("a", first)], &[("A", "a${B}"), ("C", "")]).expect("right");
    assert_eq!(loaded.config.data_dir, Path::new("/x/a${B}/b/c/$1"));
}

#[test]
fn secrets_come_from_text_environment_file_and_systemd() {
    let text = "providers:\n  - {id: o, kind: openai, pools: [{id: p, keys: [{id: a, secret: sk-1}, {id: b, secret: 'env:KEY'}, \
                {id: c, secret: 'file:/run/key'}, {id: d, secret: 'credential:key'}, {id: e, secret: '${NONE:-}'}]}]}\n";
    let env = [("KEY", "sk-2"), ("CREDENTIALS_DIRECTORY", "/run/cred")];
    let loaded = load_files(
        &[
            ("a", text),
            ("/run/key", "sk-3\n"),
            ("/run/cred/key", "sk-4"),
        ],
        &env,
    )
    .expect("right");
    let secrets: Vec<&str> = loaded
        .config
        .keys
        .iter()
        .filter_map(|k| match &k.source {
            KeySource::Secret(secret) => Some(secret.expose()),
            _ => None,
        })
        .collect();
    assert_eq!(secrets, ["sk-1", "sk-2", "sk-3", "sk-4"]);
    assert_eq!(
        loaded.notes,
        [
            "there is no tenant: every request is refused",
            "key e has no secret: left out"
        ]
    );

    let told = problems(&[("a", text)], &[]).join("\n");
    for part in [
        "variable KEY is not set",
        "cannot read /run/key",
        "CREDENTIALS_DIRECTORY is not set",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn sources_that_expire_are_described_with_what_the_environment_says() {
    let key = serde_json::json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r",
        "quota_project_id": "from-file"});
    let text = "providers:\n\
        - {id: b, kind: bedrock, pools: [{id: p, keys: [{id: a, aws: {}}, {id: b, aws: {profile: dev, region: eu-west-1, role_arn: 'arn:r', external_id: x}},\
           {id: c, aws: {access_key_id: AK, secret_access_key: 'env:KEY'}}, {id: d, aws: {profile: ''}}, {id: e, aws: {role_arn: '${NONE:-}'}},\
           {id: f, aws: {access_key_id: '', secret_access_key: ''}}]}]}\n\
        - {id: v, kind: vertex, region: eu, pools: [{id: q, keys: [{id: g, google: {}}, {id: h, google: {metadata: true}}, {id: i, google: {service_account: ''}}]}]}\n\
        - {id: w, kind: vertex, pools: [{id: r, keys: [{id: j, google: {service_account: ''}}]}]}\n";
    let env = [
        ("AWS_REGION", "us-west-2"),
        ("AWS_ACCESS_KEY_ID", "AKENV"),
        ("KEY", "sk"),
        ("HOME", "/home/u"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/adc.json"),
    ];
    let loaded = load_files(&[("a", text), ("/adc.json", &key.to_string())], &env).expect("right");
    let nouns: Vec<_> = loaded
        .config
        .keys
        .iter()
        .map(|k| (k.name.as_str(), k.source.noun()))
        .collect();
    assert_eq!(
        nouns,
        [
            ("a", "aws chain"),
            ("b", "aws profile"),
            ("c", "aws static"),
            ("g", "google service account"),
            ("h", "google metadata"),
        ]
    );
    let notes = loaded.notes.join("\n");
    for name in ["key d", "key e", "key f", "key i", "key j", "provider w"] {
        assert!(notes.contains(name), "{notes}");
    }
    let KeySource::Aws(chain) = &loaded.config.keys[0].source else {
        panic!("{nouns:?}")
    };
    assert_eq!(
        (chain.region.as_str(), chain.environment.len()),
        ("us-west-2", 1)
    );
    assert_eq!(
        chain.credentials_file,
        Path::new("/home/u/.aws/credentials")
    );
    let KeySource::Aws(profile) = &loaded.config.keys[1].source else {
        panic!("{nouns:?}")
    };
    assert_eq!(
        (profile.region.as_str(), profile.environment.len()),
        ("eu-west-1", 0)
    );
    assert_eq!(
        profile.role.as_ref().and_then(|r| r.external_id.as_deref()),
        Some("x")
    );
    let place = &loaded.config.providers[1].place;
    assert_eq!(
        (place.region.as_deref(), place.project.as_deref()),
        (Some("eu"), Some("from-file"))
    );
    let host = |i: usize| {
        loaded.config.origins[usize::from(loaded.config.providers[i].origin.0)]
            .host
            .clone()
    };
    assert_eq!(
        [host(0), host(1)],
        [
            "bedrock-runtime.us-west-2.amazonaws.com",
            "aiplatform.eu.rep.googleapis.com"
        ]
    );
    assert!(!format!("{:?}", loaded.config).contains("AKENV"));
}

#[test]
fn azure_style_hosts_are_described_by_headers_query_and_path() {
    let text = "providers: [{id: z, kind: openai, base_url: 'https://r.openai.azure.com/openai/deployments/gpt/v1', unversioned: true, \
        headers: {api-key: '${secret}', x: 'a ${B}'}, query: {api-version: 2025-04-01-preview}, pools: [{id: p, keys: [{id: k, secret: s}]}]}]\n";
    let loaded = load_files(&[("a", text)], &[("B", "b")]).expect("right");
    let provider = &loaded.config.providers[0];
    assert_eq!(provider.base_path, "/openai/deployments/gpt/v1");
    assert!(provider.places_secret() && provider.place.unversioned);
    let fill = |at: &(String, Template)| (at.0.clone(), at.1.fill(Some("s")));
    let two = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let headers: Vec<_> = provider.headers.iter().map(fill).collect();
    assert_eq!(headers, [two("api-key", "s"), two("x", "a b")]);
    assert_eq!(
        fill(&provider.query[0]),
        two("api-version", "2025-04-01-preview")
    );
    // Elsewhere it is a variable like any other.
    let told = problems(&[("a", "data_dir: '${secret}'")], &[]);
    assert!(told[0].contains("variable secret is not set"), "{told:?}");
}

/// What `docs/providers.md` shows is a configuration.
#[test]
fn the_example_of_the_documentation_is_right() {
    let path = format!("{}/docs/providers.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the page");
    let blocks: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 2);
    let yaml = format!("providers:\n{}", blocks.concat());
    let loaded = load_files(&[("a", &yaml)], &[("AZURE_OPENAI_API_KEY", "k")]).expect("right");
    let provider = &loaded.config.providers[0];
    assert_eq!(provider.base_path, "/openai/deployments/DEPLOYMENT");
    assert!(provider.places_secret() && provider.place.unversioned);
    let health = loaded.config.providers[1].health.as_ref();
    assert!(health.is_some_and(|health| health.every == Duration::from_secs(2)));
}

#[test]
fn no_problem_shows_a_secret() {
    let text = "server: {operator_key: 'sk hidden', operator: x}\ntenants: [{id: t, keys: [{id: k, secret: 'sk hidden', shars: 1}]}, {id: u, keys: [sk-hidden]}]\n\
                providers: [{id: o, kind: openai, headers: {a: \"hidden\\n\"}, pools: [{id: p, keys: [{id: k, secret: \"hidden\\u0001\"}, {id: l, secret: [hidden]}]}]}]\n";
    let told = problems(&[("a", text)], &[]);
    assert!(told.len() >= 7, "{told:#?}");
    assert!(!told.join("\n").contains("hidden"), "{told:#?}");
}

#[test]
fn client_keys_are_found_by_their_hash() {
    let config = parse_for_tests(
        "tenants: [{id: t, keys: [{id: a, secret: one}, {id: b, sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae}]}]",
    );
    let by_hash = config.client_keys_by_hash();
    // The second is the SHA-256 of `foo`, as `sha256sum` has it.
    for (key, name) in [("one", "a"), ("foo", "b")] {
        let id = by_hash.get(&hash_client_key(key)).copied().expect("known");
        assert_eq!(config.client_key(id).map(|k| k.name.as_str()), Some(name));
    }
    assert_eq!(by_hash.get(&hash_client_key("two")), None);
}

#[test]
fn shards_follow_the_cores() {
    let shards = |cores, text: &'static str| {
        let loaded =
            load::load("a", &|_: &Path| Ok(text.to_owned()), &|_| None, cores).expect("right");
        (loaded.config.server.shards, loaded.config.server.pin)
    };
    assert_eq!(shards(1, ""), (1, true));
    assert_eq!(shards(8, ""), (7, true));
    assert_eq!(shards(8, "server: {}"), (7, true));
    assert_eq!(shards(2, "server: {shards: 4, pin: true}"), (4, false));
}

#[test]
fn origins_are_shared_and_fakes_are_not() {
    let config = parse_for_tests(
        "providers:\n  - {id: a, kind: selfhosted, base_url: 'http://h:8000/v1/'}\n  - {id: b, kind: selfhosted, base_url: 'http://H:8000/x/v1'}\n  - {id: c, kind: fake}\n  - {id: d, kind: fake}\n",
    );
    let origins: Vec<u16> = config.providers.iter().map(|p| p.origin.0).collect();
    assert_eq!(origins, [0, 0, 1, 2]);
    let paths: Vec<&str> = config
        .providers
        .iter()
        .map(|p| p.base_path.as_str())
        .collect();
    assert_eq!(paths, ["", "/x", "", ""]);
    assert_eq!(config.fakes.len(), 2);
}

#[test]
fn own_machines_need_no_keys() {
    let config = parse_for_tests(
        "providers:\n  - {id: a, kind: selfhosted, base_url: 'http://h:1'}\n  - {id: b, kind: selfhosted, base_url: 'http://h:2', pools: [{id: p, limits: [{concurrent: 8}]}]}\n\
         models: [{id: m, endpoints: [{provider: a}, {provider: b}]}]\n",
    );
    let pools: Vec<&str> = config.pools.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(pools, ["a", "p"]);
    assert!(config.keys.iter().all(|k| k.source == KeySource::None));
    assert_eq!(config.models[0].endpoints.len(), 2);
    assert_eq!(config.pools[1].limits[0].models, ["*"]);
}

// --- the files we ship ---

#[test]
fn out_of_the_box_only_the_fake_provider_is_used() {
    let loaded = shipped("stokehold.yaml", &[]);
    let served = loaded
        .config
        .models
        .iter()
        .filter(|m| !m.endpoints.is_empty());
    let names: Vec<&str> = served.map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["fake-small", "fake-large", "fake-thinking"]);
    assert!(
        loaded
            .notes
            .contains(&"provider anthropic has no key: it is not used".to_owned())
    );
}

#[test]
fn a_key_in_the_environment_is_enough_to_use_a_provider() {
    let env = [("ANTHROPIC_API_KEY", "sk-a"), ("OPENAI_API_KEY", "sk-o")];
    let config = shipped("stokehold.yaml", &env).config;
    assert!(
        config
            .models
            .iter()
            .any(|m| m.name == "gpt-5.4" && !m.endpoints.is_empty())
    );
    let table = [
        (
            "claude-sonnet-4-5",
            "claude-sonnet-4-5-20250929",
            3.0,
            CacheMode::Breakpoints,
        ),
        (
            "claude-opus-4-1-20250805",
            "claude-opus-4-1-20250805",
            15.0,
            CacheMode::Breakpoints,
        ),
        ("gpt-5.1", "gpt-5.1", 1.25, CacheMode::Prefix),
        ("gpt-5.6", "gpt-5.6-sol", 4.0, CacheMode::Both),
    ];
    for (asked, name, input, cache) in table {
        let model = &config.models[usize::from(config.model_names[asked].0)];
        let endpoint = &config.endpoints[usize::from(model.endpoints[0].0)];
        assert_eq!(endpoint.name, name);
        assert_eq!(endpoint.price.input.usd_per_million(), input, "{asked}");
        assert_eq!(endpoint.cache.mode, cache, "{asked}");
    }
}

#[test]
fn the_configuration_for_trying_out_is_right() {
    let config = shipped("dev.yaml", &[]).config;
    assert_eq!(config.fakes[0].output_tokens, 32);
    assert!(config.server.listen[0].ip().is_loopback());
}

/// `example.yaml` with every knob left out that need not be written.
const MINIMAL: &str = "
tenants: [{id: demo, keys: [{id: demo-1, secret: sk-demo}]}]
providers:
  - {id: anthropic, kind: anthropic, pools: [{id: org-a, keys: [{id: anthropic-1, secret: sk-example}]}]}
  - {id: fake, kind: fake}
models: [{id: example-model, endpoints: [{provider: anthropic}]}]
prices: [{kind: anthropic, model: example-model, input: 3, output: 15, source: made up, read: 2026-11-23}]
";

#[test]
fn the_example_is_exactly_the_defaults() {
    let example = shipped("example.yaml", &[]).config;
    assert_eq!(
        format!("{example:#?}"),
        format!("{:#?}", parse_for_tests(MINIMAL))
    );
}

#[test]
fn the_example_has_every_knob() {
    let path = format!("{}/config/example.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)
        .expect("the example")
        .replace("#= ", "");
    let env = [("STOKEHOLD_OPERATOR_KEY", "sk-op")];
    let pem = "-----BEGIN CERTIFICATE-----\n";
    let folder = "/etc/stokehold";
    let names = ["tls.pem", "tls.key", "private-ca.pem", "vertex.json"];
    let [tls, key, ca, google] = names.map(|f| format!("{folder}/{f}"));
    let user =
        r#"{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}"#;
    let files = [
        ("example.yaml", text.as_str()),
        (&tls, pem),
        (&key, pem),
        (&ca, pem),
        (&google, user),
    ];
    assert_eq!(problems(&files, &env), Vec::<String>::new());
    let mut problems = Problems::default();
    let tree = yaml::parse(&text, 0, &mut problems).expect("YAML");
    let mut written = BTreeSet::new();
    paths(&tree, "", &mut written);
    let missing: Vec<String> = fields()
        .into_iter()
        .filter(|f| !written.contains(f))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

fn paths(node: &Node, path: &str, out: &mut BTreeSet<String>) {
    match &node.kind {
        NodeKind::Map(entries) => {
            for entry in entries {
                let dot = if path.is_empty() { "" } else { "." };
                let full = format!("{path}{dot}{}", entry.key);
                paths(&entry.value, &full, out);
                out.insert(full);
            }
        }
        NodeKind::List(items) => items.iter().for_each(|i| paths(i, path, out)),
        NodeKind::Null | NodeKind::Scalar(_) => {}
    }
}
