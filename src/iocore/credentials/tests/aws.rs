//! AWS's chain, each place of it against a server of ours.

use super::*;
use crate::shard::AwsCredential;

fn xml(id: &str) -> String {
    format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret-of-{id}</SecretAccessKey>\
         <SessionToken>token-of-{id}</SessionToken><Expiration>2026-11-22T01:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

const ONE: &str = r#"{"Code":"Success","AccessKeyId":"ASIAONE","SecretAccessKey":"s","Token":"t","Expiration":"2026-11-22T06:00:00Z"}"#;

fn aws(fetched: Result<Fetched, String>) -> (AwsCredential, Option<u64>) {
    let fetched = fetched.unwrap_or_else(|e| panic!("{e}"));
    match fetched.credential {
        Credential::Aws(aws) => (aws, fetched.lifetime.map(|l| l.as_secs())),
        other => panic!("{other:?}"),
    }
}

async fn id(source: &KeySource) -> String {
    aws(once(source, 0).await.0).0.access_key_id
}

#[test]
fn static_keys_and_the_environment_need_no_server() {
    let nobody = |got: &Got| panic!("{got:?}");
    beside(nobody, |_| async {
        let fixed = source(
            "bedrock",
            "aws: {access_key_id: AK, secret_access_key: 'env:S', session_token: t}",
            &[("S", "sk")],
        );
        let (key, lifetime) = aws(once(&fixed, 0).await.0);
        assert_eq!(
            (
                key.access_key_id.as_str(),
                key.secret_access_key.expose(),
                lifetime
            ),
            ("AK", "sk", None)
        );
        assert_eq!(key.session_token, Some(Secret::new("t".to_owned())));
        let env = [
            ("AWS_ACCESS_KEY_ID", "AKENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_PROFILE", "none"),
        ];
        assert_eq!(id(&source("bedrock", "aws: {}", &env)).await, "AKENV");
    });
}

/// Each role is signed for with the credentials of the one before it.
#[test]
fn profiles_take_roles_on_one_after_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[profile far]\nrole_arn = arn:aws:iam::2:role/far\nsource_profile = near\nexternal_id = ext\n\
                  [profile near]\nrole_arn = arn:aws:iam::1:role/near\nsource_profile = near\nrole_session_name = me\n\
                  [profile loop]\nrole_arn = arn:x\nsource_profile = pool\n[profile pool]\nrole_arn = arn:x\nsource_profile = loop\n\
                  [profile sso]\nsso_session = x\n";
    let config = write(&folder, "config", config);
    let credentials = write(
        &folder,
        "credentials",
        "[near]\naws_access_key_id = AKBASE\naws_secret_access_key = s\n",
    );
    let mut by = Vec::new();
    let handler = move |got: &Got| {
        assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/"));
        assert_eq!(got.header("x-amz-date"), "20261122T000000Z");
        let signed = got.header("authorization");
        assert!(
            signed.contains("/20261122/eu-west-1/sts/aws4_request"),
            "{signed}"
        );
        let who = signed
            .split(['=', '/'])
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        by.push(who.clone());
        let shown = (
            who.as_str(),
            got.field("RoleArn"),
            got.field("RoleSessionName"),
            got.field("ExternalId"),
            got.header("x-amz-security-token"),
        );
        match shown {
            ("AKBASE", "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fnear", "me", "", "") => {
                reply(200, xml("ASIANEAR"))
            }
            (
                "ASIANEAR",
                "arn%3Aaws%3Aiam%3A%3A2%3Arole%2Ffar",
                "stokehold",
                "ext",
                "token-of-ASIANEAR",
            ) => reply(200, xml("ASIAFAR")),
            ("ASIAFAR", "arn%3Aown", "gate", "", "token-of-ASIAFAR") => reply(200, xml("ASIAOWN")),
            other => panic!("{other:?}"),
        }
    };
    beside(handler, |url| async move {
        let of = |profile: &str, role: &str| {
            let files = format!("config_file: {config}, credentials_file: {credentials}");
            source(
                "bedrock",
                &format!("aws: {{profile: {profile}, {files}, token_url: '{url}'{role}}}"),
                &[],
            )
        };
        let (key, lifetime) = aws(once(&of("far", ""), 0).await.0);
        assert_eq!(
            (key.access_key_id.as_str(), lifetime),
            ("ASIAFAR", Some(3_600))
        );
        assert_eq!(
            id(&of("far", ", role_arn: 'arn:own', session_name: gate")).await,
            "ASIAOWN"
        );
        let told = |profile: &'static str| {
            let source = of(profile, "");
            async move { once(&source, 0).await.0.err().unwrap_or_default() }
        };
        assert!(
            told("loop").await.contains("is its own source"),
            "{}",
            told("loop").await
        );
        assert!(
            told("sso")
                .await
                .contains("single sign-on, which is not served")
        );
        assert_eq!(
            told("none").await,
            "no profile \"none\" in the shared files"
        );
    });
}

#[test]
fn a_web_identity_is_shown_unsigned() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = write(&folder, "token", "jwt.of.pod\n");
    let handler = |got: &Got| {
        assert_eq!(got.header("authorization"), "");
        assert_eq!(got.field("Action"), "AssumeRoleWithWebIdentity");
        assert_eq!(
            (got.field("WebIdentityToken"), got.field("RoleSessionName")),
            ("jwt.of.pod", "pod")
        );
        reply(200, xml("ASIAPOD"))
    };
    beside(handler, |url| async move {
        let env = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
            ("AWS_ROLE_ARN", "arn:r"),
            ("AWS_ROLE_SESSION_NAME", "pod"),
            ("AWS_ENDPOINT_URL_STS", &url),
            ("HOME", "/nowhere"),
        ];
        assert_eq!(id(&source("bedrock", "aws: {}", &env)).await, "ASIAPOD");
    });
}

#[test]
fn a_container_gives_its_credentials_for_its_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = write(&folder, "token", "Basic abc\n");
    let handler = |got: &Got| {
        assert_eq!(
            (got.path.as_str(), got.header("authorization")),
            ("/v1/credentials?id=1", "Basic abc")
        );
        reply(200, ONE)
    };
    beside(handler, |url| async move {
        let full = format!("{url}/v1/credentials?id=1");
        let env = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
        ];
        let (key, lifetime) = aws(once(&source("bedrock", "aws: {}", &env), 0).await.0);
        assert_eq!(
            (key.access_key_id.as_str(), lifetime),
            ("ASIAONE", Some(6 * 3_600))
        );
        // Nobody else is shown the token.
        let env = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x"),
            env[1],
        ];
        let (refused, _) = once(&source("bedrock", "aws: {}", &env), 0).await;
        assert!(
            refused
                .err()
                .unwrap_or_default()
                .contains("neither https nor on this machine")
        );
    });
}

#[test]
fn an_instance_is_asked_by_the_second_version_of_its_service() {
    let handler = |got: &Got| match (got.method.as_str(), got.path.as_str()) {
        ("PUT", "/latest/api/token") => {
            assert_eq!(got.header("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
            reply(200, "imds-token")
        }
        ("GET", path) => {
            assert_eq!(got.header("x-aws-ec2-metadata-token"), "imds-token");
            match path {
                "/latest/meta-data/iam/security-credentials/" => reply(200, "role-of-box\n"),
                "/latest/meta-data/iam/security-credentials/role-of-box" => reply(200, ONE),
                other => panic!("{other}"),
            }
        }
        other => panic!("{other:?}"),
    };
    let folder = tempfile::tempdir().expect("a folder");
    // A profile that only names a region does not end the chain.
    let config = write(&folder, "config", "[default]\nregion = x\n");
    beside(handler, |url| async move {
        let key = format!("aws: {{metadata_url: '{url}', config_file: {config}}}");
        assert_eq!(id(&source("bedrock", &key, &[])).await, "ASIAONE");
        let off = [("AWS_EC2_METADATA_DISABLED", "true")];
        let (none, _) = once(&source("bedrock", &key, &off), 0).await;
        assert!(none.err().unwrap_or_default().contains("no credentials in"));
    });
}

#[test]
fn a_program_may_give_credentials_and_what_it_says_is_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = write(&folder, "out.json", &ONE.replace("Token", "SessionToken"));
    let config = format!(
        "[profile good]\ncredential_process = cat '{json}'\n[profile bad]\ncredential_process = echo very-secret; exit 3\n\
         [profile odd]\ncredential_process = echo very-secret\n"
    );
    let config = write(&folder, "config", &config);
    let nobody = |got: &Got| panic!("{got:?}");
    beside(nobody, |_| async move {
        let of = |profile: &str| {
            source(
                "bedrock",
                &format!("aws: {{profile: {profile}, config_file: {config}}}"),
                &[],
            )
        };
        assert_eq!(id(&of("good")).await, "ASIAONE");
        for profile in ["bad", "odd"] {
            let (failed, _) = once(&of(profile), 0).await;
            let why = failed.err().expect("failed");
            assert!(
                why.starts_with("credential_process: ") && !why.contains("secret"),
                "{why}"
            );
        }
    });
}

#[test]
fn a_signature_that_is_too_old_is_made_again_by_the_services_clock() {
    for (minutes, date) in [(10, "20261122T001000Z"), (-10, "20261121T235000Z")] {
        let handler = move |got: &Got| {
            let (status, body) = if got.header("x-amz-date") == date {
                (200, xml("ASIATIME"))
            } else {
                let said = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error></ErrorResponse>";
                (403, said.to_owned())
            };
            Reply {
                status,
                date: START + 60 * minutes,
                body,
            }
        };
        beside(handler, |url| async move {
            let key = format!(
                "aws: {{access_key_id: a, secret_access_key: s, role_arn: 'arn:r', token_url: '{url}'}}"
            );
            let (fetched, skew) = once(&source("bedrock", &key, &[]), 0).await;
            let (key, lifetime) = aws(fetched);
            assert_eq!(key.access_key_id, "ASIATIME");
            // Its end is by the service's clock as well.
            assert_eq!(lifetime, Some((3_600 - 60 * minutes) as u64));
            assert_eq!(skew, 60 * minutes * 1_000_000_000);
        });
    }
}

#[test]
fn what_the_token_service_refuses_is_told_by_its_code() {
    let handler = |_: &Got| {
        reply(
            403,
            "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>",
        )
    };
    beside(handler, |url| async move {
        let key = format!(
            "aws: {{access_key_id: a, secret_access_key: s, role_arn: 'arn:r', token_url: '{url}'}}"
        );
        let (refused, _) = once(&source("bedrock", &key, &[]), 0).await;
        assert_eq!(
            refused.err().as_deref(),
            Some("the token service: AccessDenied: not yours")
        );
    });
}
