//! Google's token server and metadata server.

use super::*;

pub const PEM: &str = include_str!("../../../protocol/provider/google_auth_test_key.pem");

pub fn account(name: &str) -> String {
    serde_json::json!({
        "type": "service_account", "client_email": name, "private_key": PEM, "private_key_id": format!("kid-of-{name}"),
        "token_uri": "https://oauth2.googleapis.com/token", "project_id": "x",
    })
    .to_string()
}

fn claims(got: &Got) -> serde_json::Value {
    let part = got
        .field("assertion")
        .split('.')
        .nth(1)
        .expect("three parts");
    let json = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

/// As Google's: an assertion must be of now, by its own clock, give or take five minutes.
pub fn token_server(clock: i64) -> impl FnMut(&Got) -> Reply {
    let mut given = 0;
    move |got| {
        assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/token"));
        let claims = claims(got);
        let issued = claims["iat"].as_i64().expect("a time");
        let (status, body) = if (issued - clock).abs() > 300
            || claims["exp"].as_i64() <= Some(clock)
        {
            let said = r#"{"error":"invalid_grant","error_description":"Invalid JWT: Check your iat and exp values."}"#;
            (400, said.to_owned())
        } else {
            given += 1;
            let who = claims["iss"].as_str().expect("a name");
            (
                200,
                format!(
                    r#"{{"access_token":"ya29.{who}-{given}","expires_in":3599,"token_type":"Bearer"}}"#
                ),
            )
        };
        Reply {
            status,
            date: clock,
            body,
        }
    }
}

fn keyed(path: &str, url: &str) -> KeySource {
    let key = format!("google: {{service_account: '{path}', token_url: '{url}/token'}}");
    source("vertex", &key, &[])
}

#[test]
fn a_key_that_is_replaced_on_disk_is_the_one_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(&folder, "key.json", &account("old"));
    beside(token_server(START), |url| async move {
        let source = keyed(&path, &url);
        let (first, _) = once(&source, 0).await;
        let first = first.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            (bearer(&first), first.lifetime),
            ("ya29.old-1", Some(Duration::from_secs(3_599)))
        );
        write(&folder, "key.json", &account("new"));
        let (second, _) = once(&source, 0).await;
        assert_eq!(
            bearer(&second.unwrap_or_else(|e| panic!("{e}"))),
            "ya29.new-2"
        );
        write(&folder, "key.json", "half of it");
        let (broken, _) = once(&source, 0).await;
        assert_eq!(
            broken.err().as_deref(),
            Some("not a key file: JSON wrong at line 1")
        );
    });
}

#[test]
fn a_clock_that_is_off_is_corrected_by_the_servers() {
    for minutes in [-10, 10] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(&folder, "key.json", &account("a"));
        beside(token_server(START + 60 * minutes), |url| async move {
            let source = keyed(&path, &url);
            let (first, skew) = once(&source, 0).await;
            assert_eq!(bearer(&first.unwrap_or_else(|e| panic!("{e}"))), "ya29.a-1");
            assert_eq!(skew, 60 * minutes * 1_000_000_000);
            // What was learned is kept: the next is right at once.
            let (second, kept) = once(&source, skew).await;
            assert_eq!(
                bearer(&second.unwrap_or_else(|e| panic!("{e}"))),
                "ya29.a-2"
            );
            assert_eq!(kept, skew);
        });
    }
}

#[test]
fn a_grant_that_is_refused_for_another_reason_is_asked_for_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(&folder, "key.json", &account("a"));
    let asked = Rc::new(RefCell::new(0));
    let count = Rc::clone(&asked);
    let handler = move |_: &Got| {
        *count.borrow_mut() += 1;
        reply(
            400,
            r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
        )
    };
    beside(handler, |url| async move {
        let (refused, skew) = once(&keyed(&path, &url), 0).await;
        let why = refused.err().expect("refused");
        assert_eq!(
            why,
            "the token server answered 400: invalid_grant: Invalid JWT Signature."
        );
        assert_eq!((skew, *asked.borrow()), (0, 1));
    });
}

#[test]
fn the_metadata_server_is_asked_as_it_wants() {
    let handler = |got: &Got| {
        assert_eq!(
            (got.method.as_str(), got.header("metadata-flavor")),
            ("GET", "Google")
        );
        let path = "/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform";
        assert_eq!(got.path, path);
        reply(
            200,
            r#"{"access_token":"of-machine","expires_in":1200,"token_type":"Bearer"}"#,
        )
    };
    beside(handler, |url| async move {
        let explicit = source(
            "vertex",
            &format!("google: {{metadata: true, metadata_url: '{url}'}}"),
            &[],
        );
        // The same at the end of the default chain, by Google's own variable.
        let host = url.trim_start_matches("http://").to_owned();
        let chain = source(
            "gemini",
            "google: {}",
            &[("GCE_METADATA_HOST", &host), ("HOME", "/nowhere")],
        );
        for source in [explicit, chain] {
            let (fetched, _) = once(&source, 0).await;
            let fetched = fetched.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(
                (bearer(&fetched), fetched.lifetime),
                ("of-machine", Some(Duration::from_secs(1_200)))
            );
        }
    });
}

#[test]
fn a_users_own_credentials_are_found_where_gcloud_leaves_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let user =
        r#"{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}"#;
    write(&folder, "application_default_credentials.json", user);
    let home = folder.path().display().to_string();
    let handler = |got: &Got| {
        assert_eq!(
            got.body,
            "grant_type=refresh_token&client_id=i&client_secret=s&refresh_token=r"
        );
        reply(200, r#"{"access_token":"of-user","expires_in":"3599"}"#)
    };
    beside(handler, |url| async move {
        let key = format!("google: {{token_url: '{url}/token'}}");
        let source = source("gemini", &key, &[("CLOUDSDK_CONFIG", &home)]);
        let (fetched, _) = once(&source, 0).await;
        assert_eq!(
            bearer(&fetched.unwrap_or_else(|e| panic!("{e}"))),
            "of-user"
        );
    });
}
