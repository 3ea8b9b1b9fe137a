//! How AWS's security token service is asked for a role's credentials (AWS STS API 2011-06-15, read 2026-11), and how credentials of
//! AWS's are read wherever they come from.
//!
//! Makes requests and reads answers; knows no socket and no clock. It signs for the token service alone: a form POSTed to `/`.

use crate::base::{Secret, WallTime};
use crate::protocol::provider::{AwsCredential, form, when};
use ring::{digest, hmac};
use serde::Deserialize;
use std::fmt::Write as _;
use std::time::Duration;

/// A call of the token service.
#[derive(Clone, Debug)]
pub struct StsRequest {
    pub headers: Vec<(&'static str, Secret)>,
    /// Holds a token where there is no signature.
    pub form: Secret,
}

/// What a role is taken on with.
#[derive(Clone, Copy, Debug)]
pub struct Role<'a> {
    pub arn: &'a str,
    pub session_name: &'a str,
    pub external_id: Option<&'a str>,
}

/// Where a signature is good.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub service: &'a str,
    pub region: &'a str,
    /// As the `host` header says it.
    pub host: &'a str,
    /// As SigV4 wants it: encoded once more than on the wire.
    pub path: &'a str,
    pub content_type: &'a str,
}

/// Credentials and how long they are good for, where they end at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub credential: AwsCredential,
    pub lifetime: Option<Duration>,
}

/// The usual host of the service in `region`.
#[must_use]
pub fn url(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts.{region}.amazonaws.com{suffix}")
}

impl Role<'_> {
    /// `AssumeRole`, signed with `by`. `host`: as the `host` header will say it.
    #[must_use]
    pub fn assume(
        &self,
        by: &AwsCredential,
        region: &str,
        host: &str,
        now: WallTime,
    ) -> StsRequest {
        let mut fields = self.fields("AssumeRole");
        if let Some(id) = self.external_id {
            fields.push(("ExternalId", id));
        }
        let form = form::write(&fields);
        let scope = Scope {
            service: "sts",
            region,
            host,
            path: "/",
            content_type: FORM,
        };
        let mut headers = sign(by, &scope, form.as_bytes(), now);
        headers.push(("content-type", Secret::new(FORM.to_owned())));
        StsRequest {
            headers,
            form: Secret::new(form),
        }
    }

    /// `AssumeRoleWithWebIdentity`: the token is the proof, so nothing is signed.
    #[must_use]
    pub fn assume_with(&self, token: &str) -> StsRequest {
        let mut fields = self.fields("AssumeRoleWithWebIdentity");
        fields.push(("WebIdentityToken", token));
        StsRequest {
            headers: vec![("content-type", Secret::new(FORM.to_owned()))],
            form: Secret::new(form::write(&fields)),
        }
    }

    /// An hour, the service's default, is also the most that a role taken on by a role may have.
    fn fields<'a>(&'a self, action: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("Action", action),
            ("Version", "2011-06-15"),
            ("RoleArn", self.arn),
            ("RoleSessionName", self.session_name),
        ]
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The headers of a signature, version 4 (providers/bedrock.md 3.2), over content type, host and date.
#[must_use]
pub fn sign(
    by: &AwsCredential,
    scope: &Scope<'_>,
    body: &[u8],
    now: WallTime,
) -> Vec<(&'static str, Secret)> {
    let (day, time) = stamp(now);
    let date = format!("{day}T{time}Z");
    let token = by.session_token.as_ref();
    let mut names = "content-type;host;x-amz-date".to_owned();
    let mut lines = format!(
        "content-type:{}\nhost:{}\nx-amz-date:{date}\n",
        scope.content_type, scope.host
    );
    if let Some(token) = token {
        names.push_str(";x-amz-security-token");
        // Writing to a String does not fail.
        let _ = writeln!(lines, "x-amz-security-token:{}", token.expose());
    }
    let canonical = format!(
        "POST\n{}\n\n{lines}\n{names}\n{}",
        scope.path,
        hex(digest::digest(&digest::SHA256, body).as_ref())
    );
    let area = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{area}\n{hash}");
    let signature = hex(mac(signing_key(by, &day, scope).as_ref(), &to_sign).as_ref());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{area}, SignedHeaders={names}, Signature={signature}",
        by.access_key_id
    );
    let mut headers = vec![
        ("authorization", Secret::new(authorization)),
        ("x-amz-date", Secret::new(date)),
    ];
    headers.extend(token.map(|token| ("x-amz-security-token", token.clone())));
    headers
}

fn signing_key(by: &AwsCredential, day: &str, scope: &Scope<'_>) -> hmac::Tag {
    let secret = Secret::new(format!("AWS4{}", by.secret_access_key.expose()));
    let of_day = mac(secret.expose().as_bytes(), day);
    let of_region = mac(of_day.as_ref(), scope.region);
    let of_service = mac(of_region.as_ref(), scope.service);
    mac(of_service.as_ref(), "aws4_request")
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// `20261122` and `000000`. Days of the Gregorian calendar, years counted from March so that a leap day ends one.
fn stamp(now: WallTime) -> (String, String) {
    let (days, seconds) = (
        now.seconds().div_euclid(86_400),
        now.seconds().rem_euclid(86_400),
    );
    // 719,468 = days from 0000-03-01 to 1970-01-01; 146,097 days are 400 years.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, late) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + late;
    (
        format!("{year:04}{month:02}{day:02}"),
        format!(
            "{:02}{:02}{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        ),
    )
}

/// The XML of the token service: an answer with `Credentials`, or the error's code and message as a text.
pub fn read_answer(body: &str, now: WallTime) -> Result<Issued, (String, String)> {
    let field = |name: &str| element(body, name);
    let (Some(id), Some(secret)) = (field("AccessKeyId"), field("SecretAccessKey")) else {
        let code = field("Code").unwrap_or_default();
        return Err((code, field("Message").unwrap_or_default()));
    };
    issued(
        id,
        secret,
        field("SessionToken"),
        field("Expiration").as_deref(),
        now,
    )
    .ok_or_else(|| {
        (
            "".to_owned(),
            "credentials that no header can carry".to_owned(),
        )
    })
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.trim().replace("&lt;", "<").replace("&gt;", ">");
    let plain = plain.replace("&quot;", "\"").replace("&apos;", "'");
    Some(plain.replace("&amp;", "&"))
}

/// What containers, instances and processes give (`Token` there, `SessionToken` from a process).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "Token")]
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Reads JSON credentials. The error shows nothing of them.
pub fn read_json(body: &[u8], now: WallTime) -> Result<Issued, String> {
    let json: Json =
        serde_json::from_slice(body).map_err(|e| format!("not JSON at line {}", e.line()))?;
    let (Some(id), Some(secret)) = (json.access_key_id, json.secret_access_key) else {
        return Err("no AccessKeyId and SecretAccessKey in the answer".to_owned());
    };
    issued(
        id,
        secret,
        json.session_token,
        json.expiration.as_deref(),
        now,
    )
    .ok_or_else(|| "credentials that no header can carry".to_owned())
}

fn issued(
    id: String,
    secret: String,
    token: Option<String>,
    expiration: Option<&str>,
    now: WallTime,
) -> Option<Issued> {
    let token = token.filter(|t| !t.is_empty());
    let fits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !fits(&id) || !fits(&secret) || !token.as_deref().is_none_or(fits) {
        return None;
    }
    Some(Issued {
        credential: AwsCredential {
            access_key_id: id,
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
        },
        lifetime: expiration.and_then(|text| when::rfc_3339(text, now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T00:00:00Z.
    const NOW: WallTime = WallTime(1_795_305_600_000_000_000);

    fn key(token: Option<&str>) -> AwsCredential {
        AwsCredential {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|t| Secret::new(t.to_owned())),
        }
    }

    /// providers/bedrock.md 3.3, vectors 1 to 4.
    #[test]
    fn signatures_are_those_of_the_published_vectors() {
        let body = br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
        let table = [
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%253A0/invoke",
                None,
                "367ad01876449cbcdb8e8db2924375a0f50d3cb04321c407497bcf4c4d566085",
            ),
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
                None,
                "e59cccf3844216dd18194361ac434fd80dbd1f00ac5c1207622b0c0495f85af3",
            ),
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%253A0/invoke-with-response-stream",
                Some("TOKENEXAMPLE"),
                "000a0666ad8c22d05d75bde7f1147e214b40ebc2d94b9ebeec8a72e6c9c31784",
            ),
        ];
        for (path, token, want) in table {
            let scope = Scope {
                service: "bedrock",
                region: "us-east-1",
                host: "bedrock-runtime.us-east-1.amazonaws.com",
                path,
                content_type: "application/json",
            };
            let headers = sign(&key(token), &scope, body, NOW);
            assert!(headers[0].1.expose().ends_with(want), "{path}");
            assert_eq!(headers[1].1.expose(), "20261122T000000Z");
            assert_eq!(headers.len(), 2 + usize::from(token.is_some()));
        }
    }

    #[test]
    fn a_date_is_that_of_the_calendar() {
        let at = |seconds: i64| stamp(WallTime(seconds * 1_000_000_000));
        let two = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(at(0), two("19700101", "000000"));
        assert_eq!(at(951_782_399), two("20000228", "235959"));
        assert_eq!(at(951_782_400), two("20000229", "000000"));
        assert_eq!(at(4_107_542_399), two("21000228", "235959"));
        assert_eq!(at(4_107_542_400), two("21000301", "000000"));
    }

    #[test]
    fn answers_and_errors_of_the_service_are_read() {
        let xml = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId>\n<SecretAccessKey>s/+</SecretAccessKey>\
                   <SessionToken>t&amp;t</SessionToken><Expiration>2026-11-22T01:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let issued = read_answer(xml, NOW).expect("credentials");
        assert_eq!(issued.lifetime, Some(Duration::from_secs(3_600)));
        let token = issued.credential.session_token.expect("a token");
        assert_eq!(
            (issued.credential.access_key_id.as_str(), token.expose()),
            ("ASIA", "t&t")
        );
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        assert_eq!(
            read_answer(xml, NOW),
            Err(("AccessDenied".to_owned(), "no".to_owned()))
        );
        assert_eq!(
            read_answer("<html>", NOW),
            Err((String::new(), String::new()))
        );

        let json = br#"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2026-11-22T00:00:10Z"}"#;
        let issued = read_json(json, NOW).expect("credentials");
        assert_eq!(issued.lifetime, Some(Duration::from_secs(10)));
        assert!(issued.credential.session_token.is_some());
        assert!(read_json(br#"{"AccessKeyId":"A"}"#, NOW).is_err());
        assert!(
            read_json(
                b"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"a\\nb\"}",
                NOW
            )
            .is_err()
        );
    }

    #[test]
    fn a_role_is_asked_for_with_what_was_configured() {
        let role = Role {
            arn: "arn:aws:iam::1:role/r",
            session_name: "stokehold",
            external_id: Some("e x"),
        };
        let request = role.assume(&key(None), "eu-west-1", "sts.eu-west-1.amazonaws.com", NOW);
        assert_eq!(
            request.form.expose(),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=stokehold&ExternalId=e%20x"
        );
        let signed = request.headers[0].1.expose();
        assert!(
            signed.contains(
                "/eu-west-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date,"
            ),
            "{signed}"
        );
        let request = role.assume_with("jwt");
        assert!(request.form.expose().ends_with("&WebIdentityToken=jwt"));
        assert_eq!(request.headers.len(), 1);
        assert_eq!(url("cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
    }
}
