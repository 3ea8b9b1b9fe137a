//! How a service account, a user or a machine comes to a token of Google's (providers/vertex.md 3; RFC 7523).
//!
//! Makes what is sent to a token server and reads what it answers. Knows no socket and no clock: the time is an argument, and where the
//! server's clock is another, so is the server's.

use crate::base::{Secret, WallTime};
use crate::protocol::provider::form;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What may be called with the token.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Google takes no longer assertion than an hour.
const ASSERTION_SECONDS: i64 = 3_600;
/// Of a server whose clock is a little behind ours an assertion must not be from the future.
const BACKDATED_SECONDS: i64 = 10;

/// A file of credentials, as Google hands them out.
#[derive(Clone, Debug)]
pub enum KeyFile {
    ServiceAccount(ServiceAccount),
    /// What `gcloud auth application-default login` leaves.
    User(User),
}

#[derive(Clone, Debug)]
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    /// DER, as base64 in PEM has it.
    key: Secret,
    pkcs1: bool,
    token_uri: String,
    project: Option<String>,
}

#[derive(Clone, Debug)]
pub struct User {
    client_id: String,
    client_secret: Secret,
    refresh_token: Secret,
    project: Option<String>,
}

/// The JSON of both, as Google documents it (read 2026-11). What else it holds is of no use here.
#[derive(Deserialize)]
struct Json {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    project_id: Option<String>,
    quota_project_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

/// A call of a token server: a POST of a form.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub url: String,
    /// Holds secrets.
    pub form: Secret,
}

/// A token, and how long it is good for from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub secret: Secret,
    pub lifetime: Duration,
}

/// Why a token server gave none. Its words are shown, cut short; it never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    /// The server is at fault, or busy.
    pub passing: bool,
    /// It may be that the two clocks are apart: to be tried again with the server's.
    pub clock: bool,
}

impl KeyFile {
    /// Reads a file's text. The error says what is wrong and shows none of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text)
            .map_err(|e| format!("not a key file: JSON wrong at line {}", e.line()))?;
        match json.kind.as_deref() {
            Some("service_account") => ServiceAccount::of(json).map(Self::ServiceAccount),
            Some("authorized_user") => User::of(json).map(Self::User),
            Some(other) => Err(format!(
                "credentials of type {:?} are not served",
                other.chars().take(40).collect::<String>()
            )),
            None => Err("not a key file: it has no type".to_owned()),
        }
    }

    /// The project it belongs to.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount(account) => account.project.as_deref(),
            Self::User(user) => user.project.as_deref(),
        }
    }

    /// What to ask, at `now` of the token server's clock. `token_url` wins over what the file names.
    pub fn request(&self, now: WallTime, token_url: Option<&str>) -> Result<TokenRequest, String> {
        match self {
            Self::ServiceAccount(account) => {
                let assertion = account.assertion(now)?;
                Ok(TokenRequest {
                    url: token_url.unwrap_or(&account.token_uri).to_owned(),
                    form: Secret::new(form::write(&[
                        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                        ("assertion", assertion.expose()),
                    ])),
                })
            }
            Self::User(user) => Ok(TokenRequest {
                url: token_url.unwrap_or(TOKEN_URI).to_owned(),
                form: Secret::new(form::write(&[
                    ("grant_type", "refresh_token"),
                    ("client_id", &user.client_id),
                    ("client_secret", user.client_secret.expose()),
                    ("refresh_token", user.refresh_token.expose()),
                ])),
            }),
        }
    }
}

fn wanted<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("not a key file: it has no {name}"))
}

impl ServiceAccount {
    fn of(json: Json) -> Result<Self, String> {
        let pem = Secret::new(wanted(json.private_key, "private_key")?);
        let (key, pkcs1) = body_of_pem(pem.expose())?;
        let account = Self {
            email: wanted(json.client_email, "client_email")?,
            key_id: json.private_key_id,
            key,
            pkcs1,
            token_uri: json.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned()),
            project: json.project_id,
        };
        // Told when it is read, not an hour later.
        account.pair()?;
        Ok(account)
    }

    fn pair(&self) -> Result<RsaKeyPair, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("private_key: {why}");
        let der = STANDARD
            .decode(self.key.expose())
            .map_err(|_| wrong(&"not base64"))?;
        let der = zeroize::Zeroizing::new(der);
        let pair = if self.pkcs1 {
            RsaKeyPair::from_der(&der)
        } else {
            RsaKeyPair::from_pkcs8(&der)
        };
        pair.map_err(|e| wrong(&e))
    }

    /// A JWT that says who we are (RFC 7523, section 3), signed with RS256. Costs about a millisecond.
    fn assertion(&self, now: WallTime) -> Result<Secret, String> {
        let input = self.signing_input(now.seconds() - BACKDATED_SECONDS);
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public().modulus_len()];
        // PKCS#1 v1.5 draws no random number for its value, only for blinding.
        pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            input.as_bytes(),
            &mut signature,
        )
        .map_err(|_| "the assertion could not be signed".to_owned())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(Secret::new(format!("{input}.{signature}")))
    }

    fn signing_input(&self, issued: i64) -> String {
        let head = Head {
            alg: "RS256",
            typ: "JWT",
            kid: self.key_id.as_deref(),
        };
        let claims = Claims {
            iss: &self.email,
            scope: SCOPE,
            // What the file names, also where the call goes to a private stand-in: the audience is who believes us.
            aud: &self.token_uri,
            iat: issued,
            exp: issued + ASSERTION_SECONDS,
        };
        format!("{}.{}", base64url(&head), base64url(&claims))
    }
}

#[derive(Serialize)]
struct Head<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

fn base64url(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("texts and numbers can always be written");
    URL_SAFE_NO_PAD.encode(json)
}

impl User {
    fn of(json: Json) -> Result<Self, String> {
        Ok(Self {
            client_id: wanted(json.client_id, "client_id")?,
            client_secret: Secret::new(wanted(json.client_secret, "client_secret")?),
            refresh_token: Secret::new(wanted(json.refresh_token, "refresh_token")?),
            project: json.quota_project_id,
        })
    }
}

/// The base64 between PEM's lines, and whether it is PKCS#1 (`RSA PRIVATE KEY`) and not PKCS#8.
fn body_of_pem(pem: &str) -> Result<(Secret, bool), String> {
    let wrong = || "private_key: not PEM".to_owned();
    let (_, rest) = pem.split_once("-----BEGIN ").ok_or_else(wrong)?;
    let (label, rest) = rest.split_once("-----").ok_or_else(wrong)?;
    let (body, _) = rest.split_once("-----END").ok_or_else(wrong)?;
    let body = body.chars().filter(|c| !c.is_whitespace()).collect();
    match label {
        "PRIVATE KEY" => Ok((Secret::new(body), false)),
        "RSA PRIVATE KEY" => Ok((Secret::new(body), true)),
        _ => Err("private_key: not a private key of RSA".to_owned()),
    }
}

/// Where a machine's own token is found on the metadata server at `base`; asked with the header `metadata-flavor: Google`.
#[must_use]
pub fn metadata_url(base: &str) -> String {
    let mut url =
        format!("{base}/computeMetadata/v1/instance/service-accounts/default/token?scopes=");
    form::encode(SCOPE, &mut url);
    url
}

/// What a token server or the metadata server answers. Both take the same form (RFC 6749, sections 5.1 and 5.2).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<Seconds>,
    error: Option<serde_json::Value>,
    error_description: Option<String>,
}

/// A number, or a text of one, as some servers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

/// Reads an answer. A token without a lifetime is taken for one of an hour, Google's own.
pub fn read_answer(status: u16, body: &[u8]) -> Result<Token, Refused> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let token = answer
        .as_ref()
        .filter(|_| status == 200)
        .and_then(|a| a.access_token.as_deref())
        // It goes into a header.
        .filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    match (token, &answer) {
        (Some(token), Some(answer)) => Ok(Token {
            secret: Secret::new(token.to_owned()),
            lifetime: lifetime(answer.expires_in.as_ref()),
        }),
        _ => Err(refused(status, answer.as_ref())),
    }
}

fn lifetime(written: Option<&Seconds>) -> Duration {
    let seconds = match written {
        Some(Seconds::Number(n)) => Some(*n),
        Some(Seconds::Text(text)) => text.parse().ok(),
        None => None,
    };
    let seconds = seconds.filter(|s: &f64| s.is_finite() && *s >= 0.0);
    Duration::from_secs_f64(seconds.unwrap_or(3_600.0).min(86_400.0))
}

fn refused(status: u16, answer: Option<&Answer>) -> Refused {
    let code = answer
        .and_then(|a| a.error.as_ref()?.as_str())
        .unwrap_or_default();
    let described = answer.and_then(|a| a.error_description.as_deref());
    let described: String = described.unwrap_or_default().chars().take(200).collect();
    let busy = [
        "internal_failure",
        "server_error",
        "temporarily_unavailable",
    ];
    Refused {
        why: match (code, &*described) {
            ("", _) => format!("the token server answered {status}"),
            (code, "") => format!("the token server answered {status}: {code}"),
            (code, said) => format!("the token server answered {status}: {code}: {said}"),
        },
        passing: matches!(status, 200 | 408 | 429 | 500..) || busy.contains(&code),
        // Google says "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and
        // exp values" then, under the same code as for a key that was deleted.
        clock: code == "invalid_grant",
    }
}

#[cfg(test)]
#[path = "google_auth_tests.rs"]
mod tests;
