use super::*;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

const PEM: &str = include_str!("google_auth_test_key.pem");

fn file(uri: &str) -> String {
    serde_json::json!({
        "type": "service_account", "client_email": "gateway@example-project.iam.gserviceaccount.com",
        "private_key": PEM, "private_key_id": "0123456789abcdef", "token_uri": uri,
        "project_id": "example-project", "universe_domain": "googleapis.com",
    })
    .to_string()
}

fn account() -> ServiceAccount {
    match KeyFile::parse(&file(TOKEN_URI)) {
        Ok(KeyFile::ServiceAccount(account)) => account,
        other => panic!("{other:?}"),
    }
}

/// The check value of providers/vertex.md 3.1.
#[test]
fn the_signing_input_is_to_the_letter() {
    assert_eq!(
        account().signing_input(1_795_305_600),
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjAxMjM0NTY3ODlhYmNkZWYifQ.eyJpc3MiOiJnYXRld2F5QGV4YW1wbGUtcHJvamVjdC5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSIsInNjb3BlIjoiaHR0cHM6Ly93d3cuZ29vZ2xlYXBpcy5jb20vYXV0aC9jbG91ZC1wbGF0Zm9ybSIsImF1ZCI6Imh0dHBzOi8vb2F1dGgyLmdvb2dsZWFwaXMuY29tL3Rva2VuIiwiaWF0IjoxNzk1MzA1NjAwLCJleHAiOjE3OTUzMDkyMDB9"
    );
}

#[test]
fn an_assertion_is_signed_by_the_accounts_key() {
    let account = account();
    let now = WallTime(1_795_305_610_000_000_000);
    let assertion = account.assertion(now).expect("signed");
    let (input, signature) = assertion.expose().rsplit_once('.').expect("three parts");
    assert_eq!(input, account.signing_input(1_795_305_600));
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let pair = account.pair().expect("a pair");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public
        .verify(input.as_bytes(), &signature)
        .expect("verifies");
    assert!(public.verify(b"other", &signature).is_err());
}

#[test]
fn a_request_names_its_grant_and_goes_where_it_is_told() {
    let file = KeyFile::parse(&file("https://t.example/token")).expect("a file");
    let request = file.request(WallTime(0), None).expect("a request");
    assert_eq!(request.url, "https://t.example/token");
    let begin = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey";
    assert!(request.form.expose().starts_with(begin));
    let told = file
        .request(WallTime(0), Some("http://here"))
        .expect("a request");
    assert_eq!(told.url, "http://here");
    assert_eq!(file.project(), Some("example-project"));

    let user = r#"{"type":"authorized_user","client_id":"i","client_secret":"s/","refresh_token":"1//r","quota_project_id":"q"}"#;
    let user = KeyFile::parse(user).expect("a file");
    let request = user.request(WallTime(0), None).expect("a request");
    assert_eq!(request.url, TOKEN_URI);
    assert_eq!(
        request.form.expose(),
        "grant_type=refresh_token&client_id=i&client_secret=s%2F&refresh_token=1%2F%2Fr"
    );
    assert_eq!(user.project(), Some("q"));
}

#[test]
fn what_is_no_key_file_is_told_without_being_shown() {
    let table = [
        ("hidden", "not a key file: JSON wrong at line 1"),
        ("{}", "not a key file: it has no type"),
        (
            r#"{"type":"external_account"}"#,
            "credentials of type \"external_account\" are not served",
        ),
        (
            r#"{"type":"service_account","client_email":"e"}"#,
            "not a key file: it has no private_key",
        ),
        (
            r#"{"type":"service_account","private_key":"hidden"}"#,
            "private_key: not PEM",
        ),
        (
            r#"{"type":"service_account","client_email":"e","private_key":"-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----"}"#,
            "private_key: not base64",
        ),
        (
            r#"{"type":"service_account","client_email":"e","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}"#,
            "private_key: InvalidEncoding",
        ),
        (
            r#"{"type":"authorized_user","client_id":"i","client_secret":"hidden"}"#,
            "not a key file: it has no refresh_token",
        ),
    ];
    for (text, want) in table {
        match KeyFile::parse(text) {
            Err(why) => assert_eq!(why, want, "{text}"),
            Ok(_) => panic!("{text}"),
        }
    }
    let shown = format!("{:?}", account());
    assert!(!shown.contains("MII"), "{shown}");
}

#[test]
fn answers_are_read_in_all_their_forms() {
    let token = |body: &str| read_answer(200, body.as_bytes()).map(|t| t.lifetime.as_secs());
    assert_eq!(
        token(r#"{"access_token":"ya29.x","expires_in":3599}"#),
        Ok(3_599)
    );
    assert_eq!(
        token(r#"{"access_token":"ya29.x","expires_in":"120"}"#),
        Ok(120)
    );
    assert_eq!(token(r#"{"access_token":"ya29.x"}"#), Ok(3_600));
    let refused = |status, body: &str| match read_answer(status, body.as_bytes()) {
        Err(refused) => (refused.why, refused.passing, refused.clock),
        Ok(token) => panic!("{token:?}"),
    };
    let grant = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    assert_eq!(
        refused(400, grant),
        (
            "the token server answered 400: invalid_grant: Invalid JWT Signature.".to_owned(),
            false,
            true
        )
    );
    for (status, body) in [
        (500, ""),
        (429, "{}"),
        (200, "<html>"),
        (200, r#"{"access_token":"a b"}"#),
        (503, r#"{"error":{"code":503}}"#),
    ] {
        let (why, passing, clock) = refused(status, body);
        assert_eq!((passing, clock), (true, false), "{why}");
    }
    assert!(!refused(404, "no such account").1);
    assert_eq!(
        metadata_url("http://m"),
        "http://m/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform"
    );
}
