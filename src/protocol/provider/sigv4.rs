//! AWS Signature Version 4 in headers (`providers/bedrock.md` 3.2; AWS General Reference, "Create a signed request", read 2026-11).
//!
//! Everything a signature depends on is an argument, the time too. Not here: where credentials come from, and signatures in a query.
//! Written by hand and not with the `aws-sigv4` crate: through `aws-smithy-runtime-api` that one brings tokio and the SDK's
//! types into a room that has neither, and it has no way to hash a body that lies in slices; what is left of it are forty lines.

use crate::base::WallTime;
use crate::protocol::provider::AwsCredential;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;

/// What a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    pub method: &'a str,
    /// As the `host` header says it: no default port.
    pub host: &'a str,
    /// Path and query as they go over the wire, encoded once; the base URL's path included.
    pub path: &'a str,
    /// Headers to be signed beside `host`, `x-amz-date` and the session's token. Leave out what proxies change (`user-agent`, `connection`, …).
    pub headers: &'a [(&'a str, &'a str)],
    /// The body in the slices in which it will be sent.
    pub body: &'a [Bytes],
    pub region: &'a str,
    /// `bedrock`, `bedrock-mantle`, `aws-external-anthropic`.
    pub service: &'a str,
    pub now: WallTime,
}

/// The headers that carry a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    pub authorization: String,
    /// `x-amz-date`
    pub date: String,
    /// `x-amz-security-token`, with temporary credentials.
    pub token: Option<String>,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signed({}, …)", self.date)
    }
}

/// Signs. Costs one hash of the body and a dozen of little things.
#[must_use]
pub fn sign(covered: &Covered<'_>, credential: &AwsCredential) -> Signed {
    let date = stamp(covered.now);
    let token = credential
        .session_token
        .as_ref()
        .map(|t| t.expose().to_owned());
    let headers = Headers::of(covered, &date, token.as_deref());
    let canonical = canonical_request(covered, &headers);
    let scope = format!(
        "{}/{}/{}/aws4_request",
        &date[..DAY],
        covered.region,
        covered.service
    );
    let to_sign = format!(
        "{ALGORITHM}\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(&canonical))
    );
    let key = signing_key(covered, &date[..DAY], credential);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
        credential.access_key_id,
        headers.names(),
        hex(&hmac(&key, to_sign.as_bytes()))
    );
    Signed {
        authorization,
        date,
        token,
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
// `YYYYMMDD` of `YYYYMMDDTHHMMSSZ`.
const DAY: usize = 8;

/// Names in lower case and values as the signature wants them, sorted by name; the values of one name joined in their order.
struct Headers<'a>(Vec<(Cow<'a, str>, String)>);

impl<'a> Headers<'a> {
    fn of(covered: &Covered<'a>, date: &str, token: Option<&str>) -> Self {
        let mut all: Vec<(Cow<'a, str>, String)> = vec![
            (Cow::Borrowed("host"), trimmed(covered.host)),
            (Cow::Borrowed("x-amz-date"), date.to_owned()),
        ];
        if let Some(token) = token {
            all.push((Cow::Borrowed("x-amz-security-token"), trimmed(token)));
        }
        for (name, value) in covered.headers {
            all.push((Cow::Owned(name.to_ascii_lowercase()), trimmed(value)));
        }
        // Stable: values of one name keep their order.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut joined: Vec<(Cow<'a, str>, String)> = Vec::with_capacity(all.len());
        for (name, value) in all {
            match joined.last_mut() {
                Some((last, values)) if *last == name => {
                    values.push(',');
                    values.push_str(&value);
                }
                _ => joined.push((name, value)),
            }
        }
        Self(joined)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.join(";")
    }
}

/// Without spaces around, and with one where there are several within.
fn trimmed(value: &str) -> String {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    words.join(" ")
}

fn canonical_request(covered: &Covered<'_>, headers: &Headers<'_>) -> String {
    let (path, query) = covered.path.split_once('?').unwrap_or((covered.path, ""));
    let mut out = format!(
        "{}\n{}\n{}\n",
        covered.method,
        canonical_path(path),
        canonical_query(query)
    );
    for (name, value) in &headers.0 {
        let _ = writeln!(out, "{name}:{value}");
    }
    let _ = write!(out, "\n{}\n{}", headers.names(), body_hash(covered.body));
    out
}

/// Every service but S3 encodes the path as sent once more, dots resolved: `%3A` is signed as `%253A` (`providers/bedrock.md` 3.2, step 3).
fn canonical_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len() + 16);
    for segment in &kept {
        out.push('/');
        encode(segment.as_bytes(), &mut out);
    }
    // A path that ends in a slash, or in dots that stand for one.
    if out.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        out.push('/');
    }
    out
}

/// Sorted by name, then value, both encoded exactly once whatever they were before.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded_once(name), encoded_once(value))
        })
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

fn encoded_once(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &after[if byte.is_some() { 2 } else { 0 }..];
    }
    let mut out = String::with_capacity(text.len());
    encode(&bytes, &mut out);
    out
}

/// Appends `bytes` with all but RFC 3986's unreserved letters percent-encoded.
pub(super) fn encode(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn body_hash(body: &[Bytes]) -> String {
    let mut hasher = Sha256::new();
    body.iter().for_each(|slice| hasher.update(slice));
    hex(&hasher.finalize())
}

fn signing_key(covered: &Covered<'_>, day: &str, credential: &AwsCredential) -> [u8; 32] {
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", credential.secret_access_key.expose()));
    let parts = [covered.region, covered.service, "aws4_request"];
    let first = hmac(secret.as_bytes(), day.as_bytes());
    parts
        .iter()
        .fold(first, |key, part| hmac(&key, part.as_bytes()))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = |b: &u8| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

/// `20261122T000000Z`. Before 1970 and after 9999 AWS does not take a request, so those years are not spelt right.
fn stamp(now: WallTime) -> String {
    let seconds = now.seconds();
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a count of days since 1970, by eras of 400 years that begin in March, so that a leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    fn credential(token: Option<&str>) -> AwsCredential {
        AwsCredential {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|t| Secret::new(t.to_owned())),
        }
    }

    fn signature(signed: &Signed) -> &str {
        signed
            .authorization
            .rsplit('=')
            .next()
            .expect("a signature")
    }

    /// Method, path, further headers, body, signature; of AWS's own suite `aws-sig-v4-test-suite`.
    type Vector<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

    const SUITE: &[Vector<'_>] = &[
        (
            "GET",
            "/",
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            &[],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET",
            "/?Param1=value2&Param1=Value1",
            &[],
            "",
            "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
        ),
        (
            "GET",
            "/?Param1=value2&Param1=value1",
            &[],
            "",
            "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
        ),
        (
            "GET",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            &[],
            "",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "GET",
            "/?ሴ=bar",
            &[],
            "",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "GET",
            "/?Param1=value1",
            &[],
            "",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "GET",
            "/ሴ",
            &[],
            "",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            &[],
            "",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "POST",
            "/",
            &[],
            "",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "POST",
            "/",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "POST",
            "/",
            &[(
                "Content-Type",
                "application/x-www-form-urlencoded; charset=utf8",
            )],
            "Param1=value1",
            "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        ),
        (
            "POST",
            "/",
            &[("My-Header1", "value1")],
            "",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "POST",
            "/",
            &[("My-Header1", "VALUE1")],
            "",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "GET",
            "/",
            &[
                ("My-Header1", "value2"),
                ("My-Header1", "value2"),
                ("My-Header1", "value1"),
            ],
            "",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "GET",
            "/",
            &[
                ("My-Header1", "value4"),
                ("My-Header1", "value1"),
                ("My-Header1", "value3"),
                ("My-Header1", "value2"),
            ],
            "",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "GET",
            "/",
            &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            "",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "GET",
            "/example/..",
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/example1/example2/../..",
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "//",
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/./",
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/./example",
            &[],
            "",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        (
            "GET",
            "//example//",
            &[],
            "",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "GET",
            "/example space/",
            &[],
            "",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
    ];

    #[test]
    fn the_published_suite_is_signed_as_published() {
        for (method, path, headers, body, wanted) in SUITE {
            let covered = Covered {
                method,
                host: "example.amazonaws.com",
                path,
                headers,
                body: &[Bytes::copy_from_slice(body.as_bytes())],
                region: "us-east-1",
                service: "service",
                now: WallTime(1_440_938_160_000_000_000),
            };
            let signed = sign(&covered, &credential(None));
            assert_eq!(signed.date, "20150830T123600Z");
            assert_eq!(signature(&signed), *wanted, "{method} {path} {headers:?}");
        }
    }

    const BODY: &str = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
    const MANTLE: &str = r#"{"model":"anthropic.claude-opus-4-8","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;

    fn bedrock<'a>(path: &'a str, body: &'a [Bytes]) -> Covered<'a> {
        Covered {
            method: "POST",
            host: "bedrock-runtime.us-east-1.amazonaws.com",
            path,
            headers: &[("content-type", "application/json")],
            body,
            region: "us-east-1",
            service: "bedrock",
            now: WallTime(1_795_305_600_000_000_000),
        }
    }

    /// `providers/bedrock.md` 3.3, computed with botocore and a second implementation.
    #[test]
    fn bedrock_calls_are_signed_as_botocore_signs_them() {
        let body = [Bytes::from_static(BODY.as_bytes())];
        let cases = [
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
                None,
                "367ad01876449cbcdb8e8db2924375a0f50d3cb04321c407497bcf4c4d566085",
            ),
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
                None,
                "e59cccf3844216dd18194361ac434fd80dbd1f00ac5c1207622b0c0495f85af3",
            ),
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream",
                Some("TOKENEXAMPLE"),
                "000a0666ad8c22d05d75bde7f1147e214b40ebc2d94b9ebeec8a72e6c9c31784",
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-sonnet-4-6/converse",
                None,
                "0e97b4694f0153d63a0aa9addbcbf7253bb2cbc88aea5745686b166857f9dfed",
            ),
        ];
        for (path, token, wanted) in cases {
            let signed = sign(&bedrock(path, &body), &credential(token));
            assert_eq!(signature(&signed), wanted, "{path}");
            assert_eq!(signed.token.as_deref(), token);
        }
        let body = [Bytes::from_static(MANTLE.as_bytes())];
        let mantle = Covered {
            host: "bedrock-mantle.us-east-1.api.aws",
            service: "bedrock-mantle",
            headers: &[
                ("content-type", "application/json"),
                ("anthropic-version", "2023-06-01"),
            ],
            ..bedrock("/anthropic/v1/messages", &body)
        };
        assert_eq!(
            signature(&sign(&mantle, &credential(None))),
            "ecd3c786e22454c7a6eb94afa9a4c444f78691f4b15730414ce787ce2545488e"
        );
    }

    #[test]
    fn the_canonical_request_is_the_documented_one() {
        let body = [Bytes::from_static(BODY.as_bytes())];
        let covered = bedrock(
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
            &body,
        );
        let headers = Headers::of(&covered, "20261122T000000Z", None);
        assert_eq!(
            canonical_request(&covered, &headers),
            "POST\n/model/us.anthropic.claude-sonnet-4-5-20250929-v1%253A0/invoke\n\ncontent-type:application/json\n\
             host:bedrock-runtime.us-east-1.amazonaws.com\nx-amz-date:20261122T000000Z\n\ncontent-type;host;x-amz-date\n\
             f4d78fc2785b44789662c0e3bea21fc5e8f54ca69b232186b3e5d1bb74e3ade7"
        );
        let key = signing_key(&covered, "20261122", &credential(None));
        assert_eq!(
            hex(&key),
            "c2443b379186ea2aa895ac3ec635fed374bb393d56ae3cc9692baa1a107c2262"
        );
    }

    #[test]
    fn a_body_in_slices_is_signed_as_one() {
        let path = "/model/m/invoke";
        let whole = [Bytes::from_static(BODY.as_bytes())];
        let wanted = sign(&bedrock(path, &whole), &credential(None));
        for cut in 0..=BODY.len() {
            let slices = [whole[0].slice(..cut), Bytes::new(), whole[0].slice(cut..)];
            let signed = sign(&bedrock(path, &slices), &credential(None));
            assert_eq!(signed, wanted, "cut at {cut}");
        }
    }

    #[test]
    fn the_calendar_knows_leap_years() {
        for (seconds, wanted) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_709_251_200, "20240301T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(WallTime(seconds * 1_000_000_000)), wanted);
        }
    }

    #[test]
    fn a_signature_does_not_print() {
        let signed = sign(&bedrock("/", &[]), &credential(Some("TOKENEXAMPLE")));
        let shown = format!("{signed:?}");
        assert!(
            !shown.contains("TOKEN") && !shown.contains("Credential"),
            "{shown}"
        );
    }
}
