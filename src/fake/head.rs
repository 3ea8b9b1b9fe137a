//! Heads of answers: what a provider says beside the body, and the answers that are written at once.

use super::book::{Billed, Ended, Entry, Wire};
use super::cache::Writes;
use super::fault::Faults;
use super::limit::{Bucket, Buckets, go_duration, rfc3339};
use super::refuse::Refusal;
use super::reply::{Body, Headers, Live};
use super::route::Platform;
use super::serve::Caller;
use super::voice::Run;
use crate::base::{Instant, Now};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) fn blank(
    start: Instant,
    caller: &Caller<'_>,
    status: u16,
    kind: &str,
    faults: Faults,
) -> Live {
    let kind = if faults.wrong_content_type {
        "text/plain"
    } else {
        kind
    };
    let mut headers: Headers = vec![("content-type", kind.to_owned())];
    match (caller.route.platform, caller.wire) {
        (Platform::Bedrock, _) => {
            headers.push(("x-amzn-requestid", caller.request_id.clone()));
            headers.push(("x-amzn-bedrock-content-type", "application/json".to_owned()));
        }
        (Platform::Vertex | Platform::Gemini, _) => {
            headers.push(("server", "scaffolding on HTTPServer2".to_owned()));
            headers.push(("vary", "Origin, X-Origin, Referer".to_owned()));
        }
        (Platform::Own, Wire::Messages) => {
            headers.push(("request-id", caller.request_id.clone()));
            headers.push(("anthropic-organization-id", caller.organisation.clone()));
        }
        (Platform::Own, _) => {
            headers.push(("x-request-id", caller.request_id.clone()));
            headers.push(("openai-version", "2020-10-01".to_owned()));
            headers.push(("openai-organization", caller.organisation.clone()));
            headers.push(("openai-processing-ms", "1".to_owned()));
        }
    }
    Live {
        entry: Entry {
            id: caller.request_id.clone(),
            key: caller.key.clone(),
            organisation: caller.organisation.clone(),
            model: String::new(),
            wire: caller.wire,
            billed: Billed::default(),
            ended: Ended::Complete,
            told: false,
        },
        booked: false,
        class: String::new(),
        head: Some((status, headers)),
        body: Body::Fixed(Bytes::new()),
        start,
        first: Duration::ZERO,
        between: Duration::ZERO,
        faults,
        writes: Writes::new(),
        request_id: caller.request_id.clone(),
        cut: false,
        at: 0,
        run: Run::default(),
        produced: 0,
        events: 0,
        bytes: 0,
        queue: VecDeque::new(),
        last: None,
    }
}

pub(super) fn plain(start: Instant, caller: &Caller<'_>, body: String, faults: &Faults) -> Live {
    typed(start, caller, "application/json", body.into_bytes(), faults)
}

/// An answer of another type than JSON.
pub(super) fn typed(
    start: Instant,
    caller: &Caller<'_>,
    kind: &str,
    body: Vec<u8>,
    faults: &Faults,
) -> Live {
    let mut live = blank(start, caller, 200, kind, faults.clone());
    live.body = Body::Fixed(if faults.empty_body {
        Bytes::new()
    } else {
        Bytes::from(body)
    });
    live
}

pub(super) fn refused(
    start: Instant,
    caller: &Caller<'_>,
    refusal: Refusal,
    faults: Faults,
) -> Live {
    let html = faults.html_502 && refusal.status == 502;
    let kind = if html {
        "text/html"
    } else {
        "application/json"
    };
    let status = if faults.as_200 { 200 } else { refusal.status };
    let mut live = blank(start, caller, status, kind, faults);
    live.booked = true;
    live.entry.ended = Ended::Refused(refusal.status);
    let body = match html {
        true => "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n".to_owned(),
        false if live.faults.in_array => format!("[{}]", refusal.body(caller)),
        false => refusal.body(caller),
    };
    live.body = Body::Fixed(Bytes::from(body));
    if let Some((_, headers)) = &mut live.head {
        if caller.route.platform == Platform::Bedrock && !html && status != 200 {
            headers.push(("x-amzn-errortype", refusal.exception().to_owned()));
        }
        headers.extend(refusal.headers);
    }
    live
}

pub(super) fn limit_headers(wire: Wire, buckets: &mut Buckets, now: Now) -> Headers {
    let mut headers = Headers::new();
    // Neither Google nor Bedrock says what is left.
    if matches!(wire, Wire::Gemini | Wire::Converse) {
        return headers;
    }
    let wire = if wire == Wire::Messages {
        wire
    } else {
        Wire::Chat
    };
    let families: [(&mut Option<Bucket>, [&'static str; 3]); 4] = [
        (
            &mut buckets.requests,
            match wire {
                Wire::Messages => [
                    "anthropic-ratelimit-requests-limit",
                    "anthropic-ratelimit-requests-remaining",
                    "anthropic-ratelimit-requests-reset",
                ],
                _ => [
                    "x-ratelimit-limit-requests",
                    "x-ratelimit-remaining-requests",
                    "x-ratelimit-reset-requests",
                ],
            },
        ),
        (
            &mut buckets.input,
            [
                "anthropic-ratelimit-input-tokens-limit",
                "anthropic-ratelimit-input-tokens-remaining",
                "anthropic-ratelimit-input-tokens-reset",
            ],
        ),
        (
            &mut buckets.output,
            [
                "anthropic-ratelimit-output-tokens-limit",
                "anthropic-ratelimit-output-tokens-remaining",
                "anthropic-ratelimit-output-tokens-reset",
            ],
        ),
        (
            &mut buckets.tokens,
            [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ],
        ),
    ];
    for (bucket, names) in families {
        let theirs = names[0].starts_with('x') == (wire == Wire::Chat);
        let Some(bucket) = bucket.as_mut().filter(|_| theirs) else {
            continue;
        };
        let (left, wait) = (
            bucket.remaining(now.instant),
            bucket.until_full(now.instant),
        );
        // Token counts of Messages are rounded to the nearest thousand (Anthropic docs, read 2026-08).
        let rounded = wire == Wire::Messages && names[0].contains("tokens");
        let left = if rounded {
            (left + 500) / 1_000 * 1_000
        } else {
            left
        };
        let reset = match wire {
            Wire::Messages => {
                rfc3339((now.wall + wait + Duration::from_nanos(999_999_999)).seconds())
            }
            _ => go_duration(wait),
        };
        for (name, value) in
            names
                .into_iter()
                .zip([bucket.limit().to_string(), left.to_string(), reset])
        {
            headers.push((name, value));
        }
    }
    headers
}
