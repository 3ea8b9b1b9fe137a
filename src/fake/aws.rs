//! What AWS adds to HTTP: event-stream frames and signatures, written from its documents and from nothing of ours.
//!
//! The CRC is the one of zlib, by a table; HMAC is RFC 2104 over SHA-256. Costs: one pass over the bytes each.

use super::Request;
use sha2::{Digest as _, Sha256};

/// A key with its secret, and to whose account it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKey {
    pub access_key: String,
    pub secret: String,
    /// `None` for a long-lived key; otherwise it must come with every request.
    pub session_token: Option<String>,
    pub account: String,
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut value, mut bit) = (at as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xEDB8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

static CRC: [u32; 256] = crc_table();

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (crc >> 8) ^ CRC[usize::from((crc as u8) ^ byte)]
    })
}

/// Appends one message of `vnd.amazon.eventstream`; `headers` are strings (type 7).
pub(super) fn frame(out: &mut Vec<u8>, headers: &[(&str, &str)], payload: &[u8]) {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(name.len() as u8);
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&(value.len() as u16).to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let start = out.len();
    // 16 = two lengths and two CRCs.
    let total = 16 + written.len() + payload.len();
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(written.len() as u32).to_be_bytes());
    let prelude = crc32(&out[start..]);
    out.extend_from_slice(&prelude.to_be_bytes());
    out.extend_from_slice(&written);
    out.extend_from_slice(payload);
    let whole = crc32(&out[start..]);
    out.extend_from_slice(&whole.to_be_bytes());
}

/// Appends an event.
pub(super) fn event(out: &mut Vec<u8>, name: &str, payload: &[u8]) {
    let headers = [
        (":event-type", name),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    frame(out, &headers, payload);
}

/// Appends what ends a stream early.
pub(super) fn exception(out: &mut Vec<u8>, name: &str, payload: &[u8]) {
    let headers = [
        (":exception-type", name),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    frame(out, &headers, payload);
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let both = |b: &u8| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]];
    bytes.iter().flat_map(both).map(char::from).collect()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|b| b ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|b| b ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// The parts of an `Authorization: AWS4-HMAC-SHA256 …`.
struct Signed<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    headers: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    fn read(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix("AWS4-HMAC-SHA256")?;
        let value = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            parts.find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
        };
        let mut scope = value("Credential")?.split('/');
        let mut next = || scope.next();
        Some(Self {
            access_key: next()?,
            date: next()?,
            region: next()?,
            service: next()?,
            headers: value("SignedHeaders")?,
            signature: value("Signature")?,
        })
    }
}

/// Whose request this is, by its signature: the account, or the kind of error and what is said (SigV4, read 2026-11).
pub(super) fn check<'k>(
    keys: &'k [AwsKey],
    request: &Request<'_>,
    wall_seconds: i64,
) -> Result<&'k AwsKey, (&'static str, &'static str)> {
    let header = |name: &str| (request.header)(name);
    let signed = header("authorization").and_then(Signed::read);
    let signed = signed.ok_or((
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ))?;
    let key = keys
        .iter()
        .find(|k| k.access_key == signed.access_key)
        .ok_or((
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ))?;
    if key.session_token.as_deref() != header("x-amz-security-token") {
        return Err((
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    let date = header("x-amz-date").unwrap_or("");
    let at = seconds_of(date).filter(|_| date.starts_with(signed.date));
    // Skew over five minutes is refused.
    if at.is_none_or(|at| (at - wall_seconds).abs() > 300) {
        return Err((
            "InvalidSignatureException",
            "Signature expired or not yet current.",
        ));
    }
    let wanted = signature(&signed, request, date, &key.secret);
    if wanted != signed.signature {
        return Err((
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
        ));
    }
    Ok(key)
}

fn signature(signed: &Signed<'_>, request: &Request<'_>, date: &str, secret: &str) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        request.method,
        encoded_again(path),
        pairs.join("&")
    );
    for name in signed.headers.split(';') {
        let value = (request.header)(name).unwrap_or("");
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        canonical.push_str(&format!("{name}:{}\n", words.join(" ")));
    }
    let hash = match (request.header)("x-amz-content-sha256") {
        Some("UNSIGNED-PAYLOAD") => "UNSIGNED-PAYLOAD".to_owned(),
        _ => hex(&Sha256::digest(request.body)),
    };
    canonical.push_str(&format!("\n{}\n{hash}", signed.headers));
    let scope = format!(
        "{}/{}/{}/aws4_request",
        signed.date, signed.region, signed.service
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let start = hmac(format!("AWS4{secret}").as_bytes(), signed.date.as_bytes());
    let key = [signed.region, signed.service, "aws4_request"]
        .iter()
        .fold(start, |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, text.as_bytes()))
}

/// Every segment of the path as sent, percent-encoded once more.
fn encoded_again(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `20261122T000000Z` as seconds since 1970.
fn seconds_of(date: &str) -> Option<i64> {
    let number = |from: usize, to: usize| date.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    // Days from the civil date, in eras of 400 years that begin on 1 March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;

    fn checked(path: &str, signature: &str, at: i64) -> bool {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
        );
        let keys = [AwsKey {
            access_key: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            account: "1".into(),
        }];
        let header = |name: &str| match name {
            "authorization" => Some(authorization.as_str()),
            "content-type" => Some("application/json"),
            "host" => Some("bedrock-runtime.us-east-1.amazonaws.com"),
            "x-amz-date" => Some("20261122T000000Z"),
            _ => None,
        };
        let request = Request {
            method: "POST",
            path,
            header: &header,
            body: BODY.as_bytes(),
        };
        check(&keys, &request, at).is_ok()
    }

    /// Vectors made with botocore and a second implementation.
    #[test]
    fn signatures_are_those_of_botocore() {
        let at = seconds_of("20261122T000000Z").unwrap();
        assert_eq!(at, 1_795_305_600);
        let encoded = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke";
        let good = "367ad01876449cbcdb8e8db2924375a0f50d3cb04321c407497bcf4c4d566085";
        assert!(checked(encoded, good, at + 299));
        assert!(!checked(encoded, good, at + 301), "skew");
        assert!(
            !checked(&encoded.replace("%3A", ":"), good, at),
            "another path"
        );
        let literal = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke";
        assert!(checked(
            literal,
            "e59cccf3844216dd18194361ac434fd80dbd1f00ac5c1207622b0c0495f85af3",
            at
        ));
    }

    #[test]
    fn frames_are_those_of_botocore() {
        let mut out = Vec::new();
        event(&mut out, "chunk", br#"{"bytes":"eyJ0eXBlIjoicGluZyJ9"}"#);
        assert_eq!(
            hex(&out),
            "0000007b0000004b0a2e96af0b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b226279746573223a2265794a306558426c496a6f6963476c755a794a39227da01f56c4"
        );
        out.clear();
        frame(&mut out, &[], b"");
        assert_eq!(hex(&out), "000000100000000005c248eb7d98c8ff");
    }
}
