//! The places where Google and AWS hand out credentials: token endpoint, metadata servers, STS.
//!
//! Checks no signature by itself: RSA is given as a function, so that this room needs no cryptography beyond hashes.

use super::aws::AwsKey;
use super::json::{Tree, quoted};
use super::limit::rfc3339;
use super::route::percent_decoded;
use base64::Engine as _;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

type Check = dyn Fn(&[u8], &[u8]) -> bool + Send + Sync;

/// Whether the second is the RS256 signature of the first.
#[derive(Clone)]
pub struct Verify(pub Arc<Check>);

impl fmt::Debug for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verify")
    }
}

/// A service account, and what its tokens must say.
#[derive(Clone, Debug)]
pub struct GoogleAccount {
    pub email: String,
    /// As `aud` must name the token endpoint.
    pub audience: String,
    pub verify: Verify,
    /// Seconds that an access token lasts.
    pub token_seconds: i64,
}

/// Tokens that were issued and until when they hold, in seconds since 1970. Those that are over leave when new ones come.
#[derive(Debug, Default)]
pub(super) struct Issued {
    tokens: BTreeMap<String, i64>,
}

const TOKENS_MAX: usize = 4_096;

impl Issued {
    pub(super) fn holds(&self, token: &str, now: i64) -> bool {
        self.tokens.get(token).is_some_and(|until| now < *until)
    }

    /// Issues a token, as Google answers.
    pub(super) fn google(&mut self, letters: &str, now: i64, seconds: i64) -> String {
        let token = format!("ya29.{letters}");
        self.tokens.retain(|_, until| now < *until);
        if self.tokens.len() < TOKENS_MAX {
            self.tokens.insert(token.clone(), now + seconds);
        }
        format!(
            "{{\"access_token\":\"{token}\",\"expires_in\":{seconds},\"token_type\":\"Bearer\"}}"
        )
    }
}

/// Google allows clocks to differ by so many seconds.
const SKEW: i64 = 300;

/// Checks `POST /token` with a JWT: nothing when it is good, or `error` and `error_description`.
pub(super) fn assertion(
    account: &GoogleAccount,
    body: &[u8],
    now: i64,
) -> Result<(), (&'static str, &'static str)> {
    let text = String::from_utf8_lossy(body);
    let value = |name: &str| super::route::query_value(&text, name).map(percent_decoded);
    if value("grant_type").as_deref() != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
        return Err(("unsupported_grant_type", "Invalid grant_type"));
    }
    let jwt = value("assertion").ok_or(("invalid_request", "Missing parameter: assertion"))?;
    let bad = ("invalid_grant", "Invalid JWT Signature.");
    let (signed, signature) = jwt.rsplit_once('.').ok_or(bad)?;
    let (head, claims) = signed.split_once('.').ok_or(bad)?;
    let decode = |part: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| bad)
    };
    let (head, claims, signature) = (decode(head)?, decode(claims)?, decode(signature)?);
    let head = Tree::parse(&head).ok_or(bad)?;
    let claims = Tree::parse(&claims).ok_or(bad)?;
    if head.text_of("alg") != Some("RS256") || !(account.verify.0)(signed.as_bytes(), &signature) {
        return Err(bad);
    }
    if claims.text_of("iss") != Some(account.email.as_str()) {
        return Err(("invalid_grant", "Invalid grant: account not found"));
    }
    if claims.text_of("aud") != Some(account.audience.as_str()) {
        return Err(("invalid_grant", "Invalid JWT: Failed audience check."));
    }
    if claims.text_of("scope").is_none_or(str::is_empty) {
        return Err(("invalid_scope", "Empty or missing scope not allowed."));
    }
    let seconds = |name: &str| claims.get(name).and_then(Tree::number).map(|n| n as i64);
    let (Some(issued), Some(expires)) = (seconds("iat"), seconds("exp")) else {
        return Err(("invalid_grant", "Invalid JWT: iat and exp are required"));
    };
    let timely = issued <= now + SKEW && now - SKEW < expires && expires - issued <= 3_600;
    match timely {
        true => Ok(()),
        false => Err((
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
        )),
    }
}

/// Credentials as IMDSv2 and the container endpoint give them; they last an hour.
pub(super) fn aws_credentials(key: &AwsKey, now: i64) -> String {
    format!(
        "{{\"Code\":\"Success\",\"LastUpdated\":\"{}\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":{},\"SecretAccessKey\":{},\"Token\":{},\"Expiration\":\"{}\"}}",
        rfc3339(now),
        quoted(&key.access_key),
        quoted(&key.secret),
        quoted(key.session_token.as_deref().unwrap_or("")),
        rfc3339(now + 3_600)
    )
}

/// The answer of `AssumeRole` or `AssumeRoleWithWebIdentity`, as XML or as JSON; nothing for any other action.
pub(super) fn assumed(key: &AwsKey, body: &[u8], json: bool, now: i64) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let value = |name: &str| super::route::query_value(&text, name).map(percent_decoded);
    let action = value("Action")?;
    let web = action == "AssumeRoleWithWebIdentity";
    if !(web || action == "AssumeRole") || value("RoleArn").is_none() {
        return None;
    }
    if web && value("WebIdentityToken").is_none_or(|t| t.is_empty()) {
        return None;
    }
    let token = key.session_token.as_deref().unwrap_or("");
    if json {
        return Some(format!(
            "{{\"{action}Response\":{{\"{action}Result\":{{\"Credentials\":{{\"AccessKeyId\":{},\"SecretAccessKey\":{},\"SessionToken\":{},\"Expiration\":{}}}}},\"ResponseMetadata\":{{\"RequestId\":\"fake\"}}}}}}",
            quoted(&key.access_key),
            quoted(&key.secret),
            quoted(token),
            now + 3_600
        ));
    }
    Some(format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials></{action}Result><ResponseMetadata><RequestId>fake</RequestId></ResponseMetadata></{action}Response>",
        key.access_key,
        key.secret,
        rfc3339(now + 3_600)
    ))
}
