//! Credentials that the router fetches by itself, end to end: a client asks, the I/O core has bought a token or assumed a role, and the
//! provider checks what it is shown. The places that hand them out are the fake's, and so is the provider.

use super::environment::{self, Language};
use super::router::{CLIENT_KEY, Router};
use super::{Service, fakes};
use ring::rsa::{KeyPair, PublicKeyComponents};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use stokehold::fake::{AwsKey, GoogleAccount, Settings, Verify};
use stokehold::node::fakes::rsa_verifier;

const PEM: &str = include_str!("../../src/protocol/provider/google_auth_test_key.pem");
const EMAIL: &str = "router@project.iam.gserviceaccount.com";
/// As `aud` of what is signed says it, wherever the server really is: Google's tools are configured so too.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// What the server knows of an account's keys: which are good, by the number in their id, and which was shown last.
#[derive(Default)]
struct Keys {
    good_from: AtomicU32,
    shown: AtomicU32,
}

/// Checks the signature, and that its key is one of the good.
fn verify(keys: &Arc<Keys>) -> Verify {
    let der = PrivatePkcs8KeyDer::from_pem_slice(PEM.as_bytes()).unwrap();
    let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
    let signed = rsa_verifier(public.n, public.e);
    let keys = Arc::clone(keys);
    Verify(Arc::new(move |message, signature| {
        let number = key_number(message);
        keys.shown.store(number, Ordering::SeqCst);
        number >= keys.good_from.load(Ordering::SeqCst) && (signed.0)(message, signature)
    }))
}

/// The number in the id of the key that a JWT names.
fn key_number(message: &[u8]) -> u32 {
    use base64::Engine as _;
    let head = message.split(|b| *b == b'.').next().unwrap();
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head);
    let head: serde_json::Value = serde_json::from_slice(&head.unwrap()).unwrap();
    head["kid"].as_str().unwrap().parse().unwrap()
}

fn write_key(at: &Path, number: u32) {
    let file = serde_json::json!({
        "type": "service_account", "project_id": "p", "client_email": EMAIL, "private_key": PEM,
        "private_key_id": number.to_string(), "token_uri": AUDIENCE,
    });
    // Whole or not at all, as whoever replaces keys does it.
    let new = at.with_extension("new");
    fs::write(&new, file.to_string()).unwrap();
    fs::rename(new, at).unwrap();
}

/// Quick, and with no key that one could have by heart.
fn quick() -> Settings {
    Settings {
        first_token: Duration::from_millis(2),
        between_tokens: Duration::from_micros(100),
        output_tokens: 16,
        keys: Some(Vec::new()),
        ..Settings::default()
    }
}

fn serve(settings: Settings) -> fakes::Fakes {
    fakes::serve_at((Ipv4Addr::LOCALHOST, 0).into(), settings).unwrap()
}

/// A router before one fake: models with what stands at their provider, their key, and the provider's name of them.
fn configuration(at: SocketAddr, models: &[(&str, &str, &str, &str)]) -> String {
    let mut yaml = format!(
        "server: {{listen: 127.0.0.1:0, operator: 127.0.0.1:0, shards: 2, pin: false, drain: 5s}}\n\
         data_dir: DATA\nlog: {{level: error}}\n\
         tenants: [{{id: tests, keys: [{{id: tests-1, secret: {CLIENT_KEY}}}]}}]\nproviders:\n"
    );
    for (model, provider, key, _) in models {
        yaml += &format!(
            "  - {{id: at-{model}, {provider}, base_url: 'http://{at}', pools: [{{id: pool-{model}, keys: [{{id: key-{model}, {key}}}]}}]}}\n"
        );
    }
    yaml += "models:\n";
    for (model, _, _, name) in models {
        yaml += &format!(
            "  - {{id: {model}, endpoints: [{{provider: at-{model}, name: '{name}', price: {{input: 1, output: 5}}}}], context: 200_000, output_max: 8_000}}\n"
        );
    }
    yaml
}

fn bears(router: &Router, models: &str, ask_for: &str) {
    let service = Service {
        address: router.address(),
        key: CLIENT_KEY,
        behind: "all",
    };
    let more = [
        ("MODELS", models.to_owned()),
        ("ASK_FOR", ask_for.to_owned()),
    ];
    service.bears_with(Language::Python, "credentials.py", &more);
}

const VERTEX: &str = "kind: vertex, project: p, region: us-east5";
const CLAUDE: &str = "claude-sonnet-4-5@20250929";
const FLASH: &str = "gemini-3.8-flash";

/// The server's clock is off by a quarter of an hour, either way: what is signed must be of its time. The account's key is replaced while
/// tokens run out every few seconds, and the old one is refused from then on: nobody notices.
#[test]
fn vertex_is_asked_with_tokens_of_a_service_account_through_rotation_and_skew() {
    if environment::left_out() {
        return;
    }
    for ahead in [900, -900] {
        let keys = Arc::new(Keys::default());
        let fakes = serve(Settings {
            google: Some(GoogleAccount {
                email: EMAIL.to_owned(),
                audience: AUDIENCE.to_owned(),
                verify: verify(&keys),
                token_seconds: 4,
            }),
            ahead,
            ..quick()
        });
        let at = fakes.addresses[0];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vertex.json");
        write_key(&file, 1);
        let key = format!(
            "google: {{service_account: '{}', token_url: 'http://{at}/token'}}",
            file.display()
        );
        let models = [
            ("vertex-claude", VERTEX, &*key, CLAUDE),
            ("vertex-gemini", VERTEX, &*key, FLASH),
        ];
        let router = Router::start(&configuration(at, &models));
        bears(&router, "vertex-claude vertex-gemini", "0.1");
        assert_eq!(keys.shown.load(Ordering::SeqCst), 1);
        write_key(&file, 2);
        keys.good_from.store(2, Ordering::SeqCst);
        // Over the end of every token that the first key bought.
        bears(&router, "vertex-claude vertex-gemini", "4.5");
        assert_eq!(keys.shown.load(Ordering::SeqCst), 2);
        router.stop();
        fakes.stop();
    }
}

/// What the metadata servers and STS hand out: a key of some hours, which is good only with its token.
fn session() -> AwsKey {
    AwsKey {
        access_key: "ASIAFAKE".to_owned(),
        secret: "secret-of-hours".to_owned(),
        session_token: Some("token-of-hours".to_owned()),
        account: "account-fake".to_owned(),
    }
}

#[test]
fn what_metadata_servers_and_sts_hand_out_is_what_providers_are_shown() {
    if environment::left_out() {
        return;
    }
    let fakes = serve(Settings {
        google: Some(GoogleAccount {
            email: EMAIL.to_owned(),
            audience: AUDIENCE.to_owned(),
            // No key is anybody's business here.
            verify: Verify(Arc::new(|_, _| false)),
            token_seconds: 4,
        }),
        aws: vec![session()],
        keys: None,
        ..quick()
    });
    let at = fakes.addresses[0];
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("none");
    // Neither files nor variables of this machine: of the chain only the instance's metadata is left.
    let chain = format!(
        "aws: {{metadata_url: 'http://{at}', credentials_file: '{0}', config_file: '{0}'}}",
        nothing.display()
    );
    let role = format!(
        "aws: {{access_key_id: AKIDLONG, secret_access_key: long, role_arn: 'arn:aws:iam::123456789012:role/router', token_url: 'http://{at}'}}"
    );
    let metadata = format!("google: {{metadata: true, metadata_url: 'http://{at}'}}");
    let bedrock = "kind: bedrock, region: us-east-1";
    let claude = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let models = [
        ("instance-claude", bedrock, &*chain, claude),
        ("instance-nova", bedrock, &*chain, "amazon.nova-pro-v1:0"),
        ("role-claude", bedrock, &*role, claude),
        ("vertex-gemini", VERTEX, &*metadata, FLASH),
    ];
    let router = Router::start(&configuration(at, &models));
    bears(
        &router,
        "instance-claude instance-nova role-claude vertex-gemini",
        "0.1",
    );
    router.stop();
    fakes.stop();
}
