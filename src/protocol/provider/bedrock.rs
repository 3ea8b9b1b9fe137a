//! Models on AWS: paths, envelope and signature (`providers/bedrock.md` 1 to 4).
//!
//! The runtime names the model in the path and streams by the path; Mantle speaks OpenAI's and Anthropic's paths.

use crate::canon::DialectName;
use crate::protocol::provider::{
    Asking, AwsCredential, CallHead, Envelope, Operation, Place, Signing, Tongue, anthropic,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;

pub(super) fn tongue(model: &str, place: &Place) -> Tongue {
    use DialectName::{Chat, Converse, Messages, Responses};
    match (place.mantle, model.contains("anthropic.")) {
        (true, true) => Tongue::only(&[Messages]),
        (true, false) => Tongue::only(&[Chat, Responses]),
        (false, true) => Tongue {
            well: &[Messages],
            also: &[Converse],
        },
        (false, false) => Tongue::only(&[Converse]),
    }
}

#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    if asking.place.mantle {
        return mantle(asking);
    }
    let method = match (asking.operation, asking.dialect, asking.stream) {
        (Operation::CountTokens, ..) => "count-tokens",
        (_, DialectName::Converse, true) => "converse-stream",
        (_, DialectName::Converse, false) => "converse",
        (_, _, true) => "invoke-with-response-stream",
        (_, _, false) => "invoke",
    };
    let path = format!("/model/{}/{method}", segment(asking.model));
    let mut head = CallHead::post(path, false);
    if asking.stream {
        head.add("x-amzn-bedrock-accept", "application/json");
    }
    head
}

fn mantle(asking: &Asking<'_>) -> CallHead {
    let path = match (asking.dialect, asking.operation) {
        (DialectName::Messages, Operation::CountTokens) => "/anthropic/v1/messages/count_tokens",
        (DialectName::Messages, _) => "/anthropic/v1/messages",
        (DialectName::Responses, _) => "/v1/responses",
        (_, _) => "/v1/chat/completions",
    };
    let mut head = CallHead::post(path, asking.stream);
    if asking.dialect == DialectName::Messages {
        anthropic::speak(&mut head, asking.client);
        head.pass("anthropic-beta", asking.client.anthropic_beta);
    }
    head
}

pub(super) fn envelope(asking: &Asking<'_>) -> Option<Envelope> {
    (asking.dialect == DialectName::Messages && !asking.place.mantle).then_some(Envelope {
        remove: &["model", "stream", "anthropic_version"],
        insert: Cow::Borrowed(r#""anthropic_version":"bedrock-2023-05-31""#),
    })
}

/// SigV4 (bedrock.md 3.2): signs host, date, content type and, for temporary credentials, their token.
pub(super) fn sign(head: &mut CallHead, aws: &AwsCredential, signing: &Signing<'_>) {
    let at = stamp(signing.now.seconds());
    let (date, region) = (
        &at[..8],
        signing.place.region.as_deref().unwrap_or_default(),
    );
    let service = if signing.place.mantle {
        "bedrock-mantle"
    } else {
        "bedrock"
    };
    if let Some(token) = &aws.session_token {
        head.add("x-amz-security-token", token.expose().to_owned());
    }
    let mut signed: Vec<(&str, &str)> = vec![("host", signing.host), ("x-amz-date", &at)];
    let own = head.headers.iter().filter(|(n, _)| {
        **n == *"content-type" || n.starts_with("x-amz") || n.starts_with("anthropic-")
    });
    signed.extend(own.map(|(n, v)| (&**n, v.trim())));
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(n, _)| *n).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n", head.method);
    for part in signing
        .base_path
        .split('/')
        .chain(head.path.split('/').skip(1))
        .skip(1)
    {
        canonical.push('/');
        canonical.push_str(&segment(part));
    }
    canonical.push_str("\n\n");
    for (name, value) in &signed {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", hex(&hash(signing.body)));
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let digest = hex(&Sha256::digest(&canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}");
    let secret = format!("AWS4{}", aws.secret_access_key.expose());
    let key = [date, region, service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        });
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let id = &aws.access_key_id;
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    head.add("authorization", value);
    head.add("x-amz-date", at);
}

/// RFC 3986's unreserved letters stay, all others are encoded: one segment of a path.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `20261122T000000Z`.
fn stamp(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = super::when::civil(days);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

fn hash(body: &[Bytes]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    body.iter().for_each(|slice| hasher.update(slice));
    hasher.finalize().into()
}

/// RFC 2104 over SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let inner = Sha256::new()
        .chain_update(block.map(|b| b ^ 0x36))
        .chain_update(text);
    let outer = Sha256::new().chain_update(block.map(|b| b ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Secret, WallTime};
    use crate::protocol::provider::tests::asking;

    fn signed(
        head: &mut CallHead,
        place: &Place,
        host: &str,
        body: &'static str,
        token: Option<&str>,
    ) -> String {
        let aws = AwsCredential {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|t| Secret::new(t.to_owned())),
        };
        head.headers
            .retain(|(n, _)| *n != "accept" && *n != "x-amzn-bedrock-accept");
        let (first, second) = body.split_at(9);
        let slices = [Bytes::from(first), Bytes::from(second)];
        sign(
            head,
            &aws,
            &Signing {
                host,
                base_path: "",
                body: &slices,
                now: WallTime(1_795_305_600_000_000_000),
                place,
            },
        );
        let value = head.header("authorization").expect("signed");
        value.rsplit('=').next().expect("a signature").to_owned()
    }

    /// The vectors of `providers/bedrock.md` 3.3, computed with botocore.
    #[test]
    fn signatures_are_those_of_aws() {
        let mut place = Place {
            region: Some("us-east-1".to_owned()),
            ..Place::default()
        };
        let host = "bedrock-runtime.us-east-1.amazonaws.com";
        let body = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
        let sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
        for (model, dialect, stream, token, wanted) in [
            (
                sonnet,
                DialectName::Messages,
                false,
                None,
                "367ad01876449cbcdb8e8db2924375a0f50d3cb04321c407497bcf4c4d566085",
            ),
            (
                sonnet,
                DialectName::Messages,
                true,
                Some("TOKENEXAMPLE"),
                "000a0666ad8c22d05d75bde7f1147e214b40ebc2d94b9ebeec8a72e6c9c31784",
            ),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6",
                DialectName::Converse,
                false,
                None,
                "0e97b4694f0153d63a0aa9addbcbf7253bb2cbc88aea5745686b166857f9dfed",
            ),
        ] {
            let mut head = call(&Asking {
                stream,
                place: &place,
                ..asking(model, dialect)
            });
            assert_eq!(
                signed(&mut head, &place, host, body, token),
                wanted,
                "{}",
                head.path
            );
        }
        place.mantle = true;
        let body = r#"{"model":"anthropic.claude-opus-4-8","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
        let mut head = call(&Asking {
            place: &place,
            ..asking("anthropic.claude-opus-4-8", DialectName::Messages)
        });
        let host = "bedrock-mantle.us-east-1.api.aws";
        assert_eq!(
            signed(&mut head, &place, host, body, None),
            "ecd3c786e22454c7a6eb94afa9a4c444f78691f4b15730414ce787ce2545488e"
        );
    }
}
