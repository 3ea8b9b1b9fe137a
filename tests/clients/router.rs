//! A router in this process before the fake, which it takes for a provider of the wire format that a test wants.

use super::{FAKE_KEY, FAULTS, FAULTY, MODEL};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use stokehold::node::{self, Node};
use tempfile::TempDir;

/// A running router, and the folder with its configuration and ledger.
pub struct Router {
    node: Node,
    folder: TempDir,
}

/// The key of its one client.
pub const CLIENT_KEY: &str = "sk-client";

impl Router {
    /// Calls the fake at `upstream` as a provider of `kind`.
    pub fn before(upstream: SocketAddr, kind: &str, shards: usize) -> Self {
        Self::start(&configuration(upstream, kind, shards))
    }

    /// Serves by `yaml`, in which `DATA` stands for a new folder.
    pub fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stokehold.yaml");
        let data = folder.path().join("data");
        fs::write(&file, yaml.replace("DATA", data.to_str().unwrap())).unwrap();
        let loaded = node::read_config(&file).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let node = Node::start(loaded).unwrap();
        Self { node, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// Ends it, which must go well.
    pub fn stop(self) {
        self.end().close().unwrap();
    }

    /// The same, leaving its folder.
    pub fn end(self) -> TempDir {
        self.node.stop().unwrap();
        self.folder
    }

    pub fn ledger(&self) -> std::path::PathBuf {
        self.folder.path().join("data/ledger.sqlite")
    }
}

/// A model at a provider of each kind: the model as clients name it, the provider's kind, what else stands at the provider, the key, and the
/// provider's own name of the model, which tells the dialect it is asked in.
pub const EVERYWHERE: [(&str, &str, &str, &str, &str); 15] = [
    (
        "via-anthropic",
        "anthropic",
        "",
        SECRET,
        "claude-sonnet-4-5",
    ),
    (
        "via-bedrock-claude",
        "bedrock",
        "region: us-east-1, ",
        SIGNS,
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    (
        "via-bedrock-nova",
        "bedrock",
        "region: us-east-1, ",
        SECRET,
        "amazon.nova-pro-v1:0",
    ),
    (
        "via-mantle-claude",
        "bedrock",
        "region: us-east-1, api: mantle, ",
        SECRET,
        "anthropic.claude-opus-4-8",
    ),
    (
        "via-mantle-open",
        "bedrock",
        "region: us-east-1, api: mantle, ",
        SECRET,
        "openai.gpt-oss-120b",
    ),
    (
        "via-vertex-claude",
        "vertex",
        "project: p, region: us-east5, ",
        SECRET,
        "claude-sonnet-4-5@20250929",
    ),
    (
        "via-vertex-gemini",
        "vertex",
        "project: p, region: us-east5, ",
        SECRET,
        "gemini-3.8-flash",
    ),
    ("via-openai", "openai", "", SECRET, "gpt-6-sol"),
    ("via-openai-chat", "openai", "", SECRET, "gpt-4.1"),
    ("via-gemini", "gemini", "", SECRET, "gemini-3.8-flash"),
    ("via-xai", "xai", "", SECRET, "grok-5"),
    (
        "via-xai-chat",
        "xai",
        "",
        SECRET,
        "grok-4-fast-non-reasoning",
    ),
    (
        "via-fireworks",
        "fireworks",
        "",
        SECRET,
        "accounts/fireworks/models/kimi",
    ),
    (
        "via-openrouter",
        "openrouter",
        "",
        SECRET,
        "anthropic/claude-sonnet-4.5",
    ),
    ("via-own", "selfhosted", "", SECRET, "qwen"),
];
const SECRET: &str = "secret: sk-fake-upstream";
const SIGNS: &str = "aws: {access_key_id: AKIDFAKE, secret_access_key: fake-secret}";

/// Models that make video, at each kind of provider that can be asked for it.
pub const FILMS: [(&str, &str, &str, &str, &str); 3] = [
    (
        "film-gemini",
        "gemini",
        "",
        SECRET,
        "veo-3.1-generate-preview",
    ),
    (
        "film-vertex",
        "vertex",
        "project: p, region: us-east5, ",
        SECRET,
        "veo-3.1-generate-001",
    ),
    ("film-openai", "openai", "", SECRET, "sora-2"),
];

/// Models that embed, where each has words of its own.
pub const EMBEDDERS: [(&str, &str, &str, &str, &str); 4] = [
    ("embed-openai", "openai", "", SECRET, "text-embedding-4"),
    ("embed-gemini", "gemini", "", SECRET, "gemini-embedding-2"),
    (
        "embed-vertex",
        "vertex",
        "project: p, region: us-east5, ",
        SECRET,
        "gemini-embedding-001",
    ),
    (
        "embed-bedrock",
        "bedrock",
        "region: us-east-1, ",
        SIGNS,
        "cohere.embed-v4:0",
    ),
];

/// Every model of `EVERYWHERE`, those of `EMBEDDERS`, and those of `FILMS`; `at` tells where a kind of provider is played.
pub fn everywhere(at: &dyn Fn(&str) -> SocketAddr) -> String {
    let mut all = Lists::default();
    for (model, kind, more, key, name) in EVERYWHERE.iter().chain(&EMBEDDERS).chain(&FILMS) {
        let shape = if model.starts_with("embed") {
            "gives: [embeddings]"
        } else if model.starts_with("film") {
            "takes: [images], gives: [video]"
        } else {
            TAKES
        };
        all.add(model, (kind, at(kind), more, key), (name, shape));
    }
    all.configuration("video: {poll: 100ms}\n")
}

/// Every model of `EVERYWHERE` once a word, each with a provider of its own, since one that was seen to fail is treated with caution.
pub fn everywhere_by_words(at: &dyn Fn(&str) -> SocketAddr) -> String {
    let mut all = Lists::default();
    for (model, kind, more, key, name) in &EVERYWHERE {
        for word in WORDS {
            let shape = match word {
                "slow" => format!("{TAKES}, timeouts: {{first_byte: 100ms, stall: 100ms}}"),
                _ => TAKES.to_owned(),
            };
            let place = (*kind, at(kind), *more, *key);
            all.add(&format!("{model}-{word}"), place, (name, &shape));
        }
    }
    // One attempt: what is told of it is what is looked at.
    all.configuration("routing: {attempts_max: 1, backoff: 20ms, breaker_open: 500ms}\n")
}

const TAKES: &str = "takes: [images, documents, tools], context: 200_000, output_max: 8_000";
/// As `errors.py` has them.
const WORDS: [&str; 14] = [
    "faulty",
    "key",
    "slow",
    "odd",
    "broken",
    "own",
    "limited-chat-whole",
    "limited-chat-streamed",
    "limited-responses-whole",
    "limited-responses-streamed",
    "limited-messages-whole",
    "limited-messages-streamed",
    "limited-gemini-whole",
    "limited-gemini-streamed",
];

/// A configuration's providers and models, as they are written.
#[derive(Default)]
struct Lists {
    providers: String,
    models: String,
}

impl Lists {
    /// A model and a provider of its own for it: of which kind, where, what else stands there, and the key; the provider's name of the
    /// model, and what else stands at the model.
    fn add(
        &mut self,
        model: &str,
        (kind, address, more, key): (&str, SocketAddr, &str, &str),
        (name, shape): (&str, &str),
    ) {
        let _ = writeln!(
            self.providers,
            "  - {{id: at-{model}, kind: {kind}, base_url: 'http://{address}', {more}pools: [{{id: pool-{model}, keys: [{{id: key-{model}, {key}}}]}}]}}"
        );
        let _ = writeln!(
            self.models,
            "  - {{id: {model}, endpoints: [{{provider: at-{model}, name: '{name}', price: {{input: 1, output: 5}}}}], {shape}}}"
        );
    }

    fn configuration(&self, more: &str) -> String {
        let Self { providers, models } = self;
        format!(
            "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: 2, pin: false, drain: 5s}}\n\
             data_dir: DATA\n\
             log: {{level: error}}\n\
             {more}\
             tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}]\n\
             providers:\n{providers}models:\n{models}"
        )
    }
}

/// The key of a second tenant.
pub const OTHER_KEY: &str = "sk-other";

/// Two accounts at `upstream`, each in a provider of its own, behind one model `both`; `one` and `two` are at one of them; and a model of
/// Anthropic's, which keeps nothing.
pub fn keeping(upstream: SocketAddr, tenants: usize) -> String {
    let second = format!(", {{id: other, keys: [{{id: other-1, secret: {OTHER_KEY}}}]}}");
    let second = if tenants > 1 { &*second } else { "" };
    let price = "price: {input: 1, output: 5}";
    let provider = |name: &str| {
        format!(
            "  - {{id: at-{name}, kind: openai, base_url: 'http://{upstream}', pools: [{{id: pool-{name}, keys: [{{id: key-{name}, secret: sk-{name}}}]}}]}}\n"
        )
    };
    let at = |name: &str| format!("{{provider: at-{name}, name: gpt-6-sol, {price}}}");
    let (one, two) = (at("one"), at("two"));
    format!(
        "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: 4, pin: false, drain: 5s}}\n\
         data_dir: DATA\n\
         log: {{level: error}}\n\
         tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}{second}]\n\
         providers:\n{}{}  - {{id: claude, kind: anthropic, base_url: 'http://{upstream}', pools: [{{id: pool-c, keys: [{{id: key-c, secret: sk-one}}]}}]}}\n\
         models:\n  - {{id: both, endpoints: [{one}, {two}]}}\n  - {{id: one, endpoints: [{one}]}}\n  - {{id: two, endpoints: [{two}]}}\n  \
         - {{id: claude, endpoints: [{{provider: claude, name: claude-sonnet-4-5, {price}}}]}}\n",
        provider("one"),
        provider("two")
    )
}

/// The Gemini API with two accounts behind the models `flash` and `other`, and Vertex AI behind `cloud`, all at `upstream`; two tenants.
pub fn caching(upstream: SocketAddr) -> String {
    let price = "price: {input: 1, output: 5, cache_read: 0.1, cache_storage_hour: 4.5}";
    format!(
        "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: 4, pin: false, drain: 5s}}\n\
         data_dir: DATA\n\
         log: {{level: error}}\n\
         tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}, {{id: other, keys: [{{id: other-1, secret: {OTHER_KEY}}}]}}]\n\
         providers:\n  \
         - {{id: api, kind: gemini, base_url: 'http://{upstream}', pools: [{{id: one, keys: [{{id: key-one, secret: sk-one}}]}}, {{id: two, keys: [{{id: key-two, secret: sk-two}}]}}]}}\n  \
         - {{id: google, kind: vertex, project: p, region: us-east5, base_url: 'http://{upstream}', pools: [{{id: three, keys: [{{id: key-three, secret: sk-one}}]}}]}}\n\
         models:\n  \
         - {{id: flash, endpoints: [{{provider: api, name: gemini-3.8-flash, {price}}}]}}\n  \
         - {{id: other, endpoints: [{{provider: api, name: gemini-3.7-flash, {price}}}]}}\n  \
         - {{id: cloud, endpoints: [{{provider: google, name: gemini-3.8-flash, {price}}}]}}\n"
    )
}

/// Models that hear, at one fake.
pub fn hearing(upstream: SocketAddr) -> String {
    let by_minute = "price: {input: 0, output: 0, audio_minute: 0.006}";
    let by_token = "price: {input: 2.5, output: 10}";
    format!(
        "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: 2, pin: false, drain: 5s}}\n\
         data_dir: DATA\n\
         log: {{level: error}}\n\
         tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}]\n\
         providers:\n  \
         - {{id: openai, kind: openai, base_url: 'http://{upstream}', pools: [{{id: one, keys: [{{id: key-one, secret: {FAKE_KEY}}}]}}]}}\n\
         models:\n  \
         - {{id: whisper, takes: [audio], endpoints: [{{provider: openai, name: whisper-1, {by_minute}}}]}}\n  \
         - {{id: words, takes: [audio], endpoints: [{{provider: openai, name: gpt-4o-transcribe, {by_token}}}]}}\n  \
         - {{id: speakers, takes: [audio], endpoints: [{{provider: openai, name: gpt-4o-transcribe-diarize, {by_token}}}]}}\n"
    )
}

/// One provider for what works and one for each kind of fault, all of them the same fake: a limit or a breaker of one shall not be felt
/// by the others. Waits are short, since tests wait too.
fn configuration(upstream: SocketAddr, kind: &str, shards: usize) -> String {
    let mut yaml = format!(
        "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: {shards}, pin: false, drain: 5s}}\n\
         data_dir: DATA\n\
         log: {{level: error}}\n\
         routing: {{attempts_max: 2, backoff: 20ms, breaker_open: 500ms}}\n\
         tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}]\n"
    );
    let names: Vec<String> = std::iter::once(MODEL.to_owned())
        .chain(FAULTS.iter().map(|fault| format!("{FAULTY}-{fault}")))
        .collect();
    let mut list = |section: &str, line: &dyn Fn(&str) -> String| {
        let _ = writeln!(yaml, "{section}:");
        for name in &names {
            let _ = writeln!(yaml, "  - {{{}}}", line(name));
        }
    };
    list("providers", &|name| {
        format!(
            "id: at-{name}, kind: {kind}, base_url: 'http://{upstream}', pools: [{{id: pool-{name}, keys: [{{id: key-{name}, secret: {FAKE_KEY}}}]}}]"
        )
    });
    list("models", &|name| {
        format!(
            "id: {name}, endpoints: [{{provider: at-{name}}}], takes: [images, documents, tools], context: 200_000, output_max: 64_000"
        )
    });
    let cache = match kind {
        "anthropic" => "{mode: breakpoints, min_tokens: 1_024, ttls: [5m, 1h]}",
        _ => "{mode: prefix, min_tokens: 1_024, ttls: [5m]}",
    };
    list("prices", &|name| {
        format!(
            "kind: {kind}, model: {name}, input: 1, output: 5, cache_read: 0.1, cache: {cache}, source: made up, read: 2026-11-23"
        )
    });
    yaml
}
