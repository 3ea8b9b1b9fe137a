//! The official SDKs, unmodified but for base URL and key, in their own languages.
//!
//! What is checked stands in the scripts of `clients/`; here is what they are run against. First the fake alone, so that the fake and
//! our decoders cannot be wrong together; then a router before it, each SDK against providers of either wire format.

/// Credentials that the router fetches.
pub mod credentials;
/// Python, Node and the SDKs, installed when missing.
pub mod environment;
/// A router before the fake.
pub mod router;

use environment::Language;
use router::Router;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use stokehold::fake::{AwsKey, Book, Ended, Manner, Settings};
use stokehold::node::fakes;

/// The models that the scripts name, and those they use with faults, one a kind of fault.
const MODEL: &str = "fake-small";
const FAULTY: &str = "fake-faulty";
const FAULTS: [&str; 7] = ["429", "429-retried", "500", "502", "event", "cut", "end"];

/// What answers, and as whom it is asked.
struct Service {
    address: SocketAddr,
    key: &'static str,
    /// The wire format of the provider behind a router; empty without a router.
    behind: &'static str,
}

impl Service {
    /// Runs one script of `clients/` to its end.
    fn bears(&self, language: Language, script: &str) {
        self.bears_with(language, script, &[]);
    }

    /// The same with more in its environment.
    fn bears_with(&self, language: Language, script: &str, more: &[(&str, String)]) {
        self.bears_at_least(CHECKS_MIN, language, script, more);
    }

    /// The same of a script with fewer checks than others.
    fn bears_at_least(
        &self,
        least: usize,
        language: Language,
        script: &str,
        more: &[(&str, String)],
    ) {
        let mut command = language.command(script);
        command
            .envs(more.iter().map(|(name, value)| (name, value)))
            .env("BASE_URL", format!("http://{}", self.address))
            .env("KEY", self.key)
            .env("MODEL", MODEL)
            .env("FAULTY_MODEL", FAULTY)
            .env("BEHIND", self.behind);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        let behind = self.behind;
        environment::keep(&format!("{script}-{behind}"), &output.stdout);
        assert!(
            output.status.success(),
            "{script} (behind: {behind:?}) found:\n{said}\n{complained}"
        );
        // A script that runs nothing has not passed.
        let passed = said.lines().last().and_then(|l| l.split(' ').next());
        let passed: usize = passed.and_then(|n| n.parse().ok()).unwrap_or(0);
        assert!(passed >= least, "{script} ran {passed} checks only");
    }
}

/// Each script has at least so many checks.
const CHECKS_MIN: usize = 15;

fn faulty_models() -> impl Iterator<Item = String> {
    FAULTS.iter().map(|fault| format!("{FAULTY}-{fault}"))
}

/// A fake that is quick, and knows one key and the models of the scripts.
fn fake() -> fakes::Fakes {
    let settings = Settings {
        first_token: Duration::from_millis(5),
        between_tokens: Duration::from_micros(200),
        output_tokens: 24,
        keys: Some(vec![(FAKE_KEY.to_owned(), "org-fake".to_owned())]),
        models: Some(
            std::iter::once(MODEL.to_owned())
                .chain(faulty_models())
                .collect(),
        ),
        ..Settings::default()
    };
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    fakes::serve_at(any_port, settings).unwrap()
}

const FAKE_KEY: &str = "sk-fake-upstream";

/// Runs `script` against the fake alone.
fn fake_bears(language: Language, script: &str) {
    if environment::left_out() {
        return;
    }
    let fakes = fake();
    let service = Service {
        address: fakes.addresses[0],
        key: FAKE_KEY,
        behind: "",
    };
    service.bears(language, script);
    fakes.stop();
}

#[test]
fn the_fake_is_a_provider_to_openai_for_python() {
    fake_bears(Language::Python, "openai_sdk.py");
}

#[test]
fn the_fake_is_a_provider_to_anthropic_for_python() {
    fake_bears(Language::Python, "anthropic_sdk.py");
}

#[test]
fn the_fake_is_a_provider_to_openai_for_node() {
    fake_bears(Language::Node, "openai_sdk.mjs");
}

#[test]
fn the_fake_is_a_provider_to_anthropic_for_node() {
    fake_bears(Language::Node, "anthropic_sdk.mjs");
}

/// A fake with another manner, that takes every model.
fn fake_of(manner: Manner) -> fakes::Fakes {
    let settings = Settings {
        first_token: Duration::from_millis(5),
        between_tokens: Duration::from_micros(200),
        output_tokens: 24,
        keys: Some(vec![(FAKE_KEY.to_owned(), "org-fake".to_owned())]),
        manner,
        video: Duration::from_millis(500),
        // As the script has them.
        aws: vec![AwsKey {
            access_key: "AKIDFAKE".to_owned(),
            secret: "fake-secret".to_owned(),
            session_token: None,
            account: "account-fake".to_owned(),
        }],
        ..Settings::default()
    };
    fakes::serve_at((Ipv4Addr::LOCALHOST, 0).into(), settings).unwrap()
}

#[test]
fn the_fakes_are_all_other_providers_to_their_own_packages() {
    if environment::left_out() {
        return;
    }
    let plain = fake_of(Manner::Plain);
    let manners = [
        ("XAI_URL", Manner::Xai),
        ("FIREWORKS_URL", Manner::Fireworks),
        ("OPENROUTER_URL", Manner::OpenRouter),
    ];
    let others: Vec<_> = manners
        .into_iter()
        .map(|(name, manner)| (name, fake_of(manner)))
        .collect();
    let more: Vec<_> = others
        .iter()
        .map(|(name, fakes)| (*name, format!("http://{}", fakes.addresses[0])))
        .collect();
    let service = Service {
        address: plain.addresses[0],
        key: FAKE_KEY,
        behind: "",
    };
    service.bears_with(Language::Python, "providers_sdk.py", &more);
    others.into_iter().for_each(|(_, fakes)| fakes.stop());
    plain.stop();
}

/// Fakes with the manner of each kind of provider.
struct Everybody {
    fakes: [(&'static str, fakes::Fakes); 5],
}

impl Everybody {
    fn start() -> Self {
        let manners = [
            ("xai", Manner::Xai),
            ("fireworks", Manner::Fireworks),
            ("openrouter", Manner::OpenRouter),
            ("selfhosted", Manner::Vllm),
            ("plain", Manner::Plain),
        ];
        Self {
            fakes: manners.map(|(kind, manner)| (kind, fake_of(manner))),
        }
    }

    /// Where a provider of `kind` is played.
    fn at(&self, kind: &str) -> SocketAddr {
        let of = |(k, fakes): &(&str, fakes::Fakes)| (*k == kind).then(|| fakes.addresses[0]);
        let found = self.fakes.iter().find_map(of);
        found.unwrap_or_else(|| self.fakes[4].1.addresses[0])
    }

    fn stop(self) {
        self.fakes.into_iter().for_each(|(_, fakes)| fakes.stop());
    }
}

/// Writes a configuration, given where a kind of provider is played.
type Configured = fn(&dyn Fn(&str) -> SocketAddr) -> String;

/// Runs `script` against a router with every kind of provider behind, as `configured`.
fn all_bear(language: Language, script: &str, configured: Configured) {
    if environment::left_out() {
        return;
    }
    let everybody = Everybody::start();
    let router = Router::start(&configured(&|kind| everybody.at(kind)));
    let models: Vec<&str> = router::EVERYWHERE
        .iter()
        .map(|(model, ..)| *model)
        .collect();
    let counted = "via-anthropic via-bedrock-claude via-vertex-gemini via-gemini via-openai";
    let embed: Vec<&str> = router::EMBEDDERS.iter().map(|(model, ..)| *model).collect();
    let films: Vec<&str> = router::FILMS.iter().map(|(model, ..)| *model).collect();
    let more = [
        ("FILMS", films.join(" ")),
        ("MODELS", models.join(" ")),
        ("COUNTED", counted.to_owned()),
        ("EMBEDDED", embed.join(" ")),
    ];
    let service = Service {
        address: router.address(),
        key: router::CLIENT_KEY,
        behind: "all",
    };
    service.bears_with(language, script, &more);
    router.stop();
    everybody.stop();
}

#[test]
fn four_official_clients_reach_every_provider() {
    all_bear(Language::Python, "through.py", router::everywhere);
}

#[test]
fn openai_for_python_reaches_every_provider_over_a_websocket() {
    all_bear(Language::Python, "responses_socket.py", router::everywhere);
}

#[test]
fn three_official_clients_for_node_reach_every_provider() {
    all_bear(Language::Node, "through.mjs", router::everywhere);
}

#[test]
fn the_ai_package_of_vercel_reaches_every_provider() {
    all_bear(Language::Node, "vercel.mjs", router::everywhere);
}

#[test]
fn litellm_and_langchain_reach_every_provider() {
    all_bear(Language::Frameworks, "frameworks.py", router::everywhere);
}

#[test]
fn what_fails_at_a_provider_is_told_as_each_client_expects() {
    all_bear(Language::Python, "errors.py", router::everywhere_by_words);
}

/// Two accounts of OpenAI's kind at one fake, which know nothing of each other's answers.
#[test]
fn kept_answers_are_fetched_resumed_and_gone_on_from_through_the_official_client() {
    if environment::left_out() {
        return;
    }
    let accounts = ["one", "two"].map(|name| (format!("sk-{name}"), format!("org-{name}")));
    let settings = Settings {
        first_token: Duration::from_millis(30),
        between_tokens: Duration::from_millis(1),
        output_tokens: 24,
        keys: Some(accounts.to_vec()),
        ..Settings::default()
    };
    let fakes = fakes::serve_at((Ipv4Addr::LOCALHOST, 0).into(), settings).unwrap();
    for (tenants, least) in [(1, 10), (2, 11)] {
        let before = whole(&fakes.books()[0]);
        let router = Router::start(&router::keeping(fakes.addresses[0], tenants));
        let service = Service {
            address: router.address(),
            key: router::CLIENT_KEY,
            behind: "responses",
        };
        let other = ("OTHER_KEY", router::OTHER_KEY.to_owned());
        let more = [("TENANTS", tenants.to_string()), other];
        service.bears_at_least(least, Language::Python, "kept.py", &more);
        let ledger = router.ledger();
        let written = ledger_sums(&ledger, || router.end());
        let after = whole(&fakes.books()[0]);
        // Every answer of the script is fetched to its end or has ended in the foreground, and none twice.
        let billed = [after[0] - before[0], after[1] - before[1]];
        assert_eq!(
            written, billed,
            "{tenants} tenants: the ledger, the fake's book"
        );
    }
    fakes.stop();
}

/// Two accounts of the Gemini API and a project of Google Cloud at one fake: who reads a prefix is led to who keeps it, and the ledger has what
/// making, reading and keeping it cost.
#[test]
fn cached_prefixes_are_made_read_and_paid_through_the_official_client() {
    if environment::left_out() {
        return;
    }
    let accounts = ["one", "two"].map(|name| (format!("sk-{name}"), format!("org-{name}")));
    let settings = Settings {
        first_token: Duration::from_millis(5),
        between_tokens: Duration::from_millis(1),
        keys: Some(accounts.to_vec()),
        ..Settings::default()
    };
    let fakes = fakes::serve_at((Ipv4Addr::LOCALHOST, 0).into(), settings).unwrap();
    let router = Router::start(&router::caching(fakes.addresses[0]));
    let service = Service {
        address: router.address(),
        key: router::CLIENT_KEY,
        behind: "gemini",
    };
    let other = [("OTHER_KEY", router::OTHER_KEY.to_owned())];
    service.bears_at_least(7, Language::Python, "cached.py", &other);
    let ledger = router.ledger();
    let folder = router.end();
    let base = rusqlite::Connection::open(&ledger).unwrap();
    let one = |sql: &str| base.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    let book = fakes.books().remove(0);
    let [input, output] = whole(&book);
    assert_eq!(
        [
            one("SELECT sum(ifnull(input_uncached,0) + ifnull(cache_read,0)) FROM attempt"),
            one("SELECT sum(ifnull(output,0)) FROM attempt"),
        ],
        [input, output],
        "the ledger, the fake's book"
    );
    let storage =
        "FROM attempt WHERE decision = (SELECT id FROM name WHERE text = 'cache storage')";
    let ended = book.entries().filter(|e| e.billed.kept_token_millis > 0);
    let rows = one(&format!("SELECT count(*) {storage} AND NOT estimated"));
    assert_eq!(rows, ended.count() as u64, "a row for each that has ended");
    // The last was kept when the node stopped: 300 seconds of it, at most 2,600 tokens at 1.25 thousandths of a nano-dollar a millisecond.
    let promised = one(&format!("SELECT sum(cost) {storage} AND estimated"));
    assert!((700_000..1_000_000).contains(&promised), "{promised}");
    let (paid, billed) = (
        one(&format!("SELECT sum(cost) {storage} AND NOT estimated")),
        book.totals().kept_token_millis * 125 / 100_000,
    );
    // Both measure from their own end of a connection.
    assert!(
        paid.abs_diff(billed) * 5 < billed,
        "{paid} paid, {billed} billed"
    );
    drop(folder);
    fakes.stop();
}

/// Sound as text in each of OpenAI's forms, and what it cost: by the fake's own book, to the nano-dollar.
#[test]
fn sound_is_heard_through_the_official_client_and_paid_by_its_length_or_its_tokens() {
    if environment::left_out() {
        return;
    }
    let fakes = fakes::serve_at((Ipv4Addr::LOCALHOST, 0).into(), Settings::default()).unwrap();
    let router = Router::start(&router::hearing(fakes.addresses[0]));
    let service = Service {
        address: router.address(),
        key: router::CLIENT_KEY,
        behind: "chat",
    };
    service.bears_at_least(6, Language::Python, "sound.py", &[]);
    let ledger = router.ledger();
    let folder = router.end();
    let base = rusqlite::Connection::open(&ledger).unwrap();
    let one = |sql: &str| base.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    let billed = fakes.books().remove(0).totals();
    assert!(billed.audio_millis > 0 && billed.uncached > 0);
    assert_eq!(
        one("SELECT sum(input_audio_millis) FROM attempt"),
        billed.audio_millis
    );
    assert_eq!(one("SELECT sum(estimated) FROM attempt"), 0);
    // $0.006 a minute, and $2.5 and $10 a million tokens.
    let cost = billed.audio_millis * 100 + billed.uncached * 2_500 + billed.output * 10_000;
    assert_eq!(one("SELECT sum(cost) FROM attempt"), cost);
    drop(folder);
    fakes.stop();
}

/// Input and output tokens of the answers that came to their end; of the others the ledger has estimates.
fn whole(book: &Book) -> [u64; 2] {
    let entries = book.entries().filter(|e| e.ended == Ended::Complete);
    entries.fold([0, 0], |[input, output], e| {
        let b = e.billed;
        [input + b.uncached + b.read, output + b.output]
    })
}

/// Input and output tokens in the ledger, once `end` has seen to it that all is written.
fn ledger_sums(ledger: &std::path::Path, end: impl FnOnce() -> tempfile::TempDir) -> [u64; 2] {
    let folder = end();
    let base = rusqlite::Connection::open(ledger).unwrap();
    let sql = "SELECT sum(ifnull(input_uncached,0) + ifnull(cache_read,0)), sum(ifnull(output,0)) FROM attempt WHERE NOT estimated";
    let sums = base.query_row(sql, [], |row| {
        Ok([row.get::<_, u64>(0)?, row.get::<_, u64>(1)?])
    });
    drop(folder);
    sums.unwrap()
}

/// Runs `script` against a router that takes the fake for a provider of `kind`.
fn router_bears(language: Language, script: &str, kind: &str, shards: usize) {
    if environment::left_out() {
        return;
    }
    let fakes = fake();
    let router = Router::before(fakes.addresses[0], kind, shards);
    let service = Service {
        address: router.address(),
        key: router::CLIENT_KEY,
        behind: if kind == "anthropic" {
            "messages"
        } else {
            "chat"
        },
    };
    service.bears(language, script);
    router.stop();
    fakes.stop();
}

#[test]
fn openai_for_python_reaches_openai() {
    router_bears(Language::Python, "openai_sdk.py", "openai", 2);
}

#[test]
fn openai_for_python_reaches_anthropic() {
    router_bears(Language::Python, "openai_sdk.py", "anthropic", 2);
}

#[test]
fn anthropic_for_python_reaches_own_machines() {
    router_bears(Language::Python, "anthropic_sdk.py", "selfhosted", 2);
}

#[test]
fn anthropic_for_python_reaches_anthropic_over_four_shards() {
    router_bears(Language::Python, "anthropic_sdk.py", "anthropic", 4);
}

#[test]
fn openai_for_node_reaches_openai_over_four_shards() {
    router_bears(Language::Node, "openai_sdk.mjs", "openai", 4);
}

#[test]
fn openai_for_node_reaches_anthropic() {
    router_bears(Language::Node, "openai_sdk.mjs", "anthropic", 2);
}

#[test]
fn anthropic_for_node_reaches_openai() {
    router_bears(Language::Node, "anthropic_sdk.mjs", "openai", 2);
}

#[test]
fn anthropic_for_node_reaches_anthropic() {
    router_bears(Language::Node, "anthropic_sdk.mjs", "anthropic", 2);
}
