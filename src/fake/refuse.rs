//! Refusals, in the envelopes of both dialects (OpenAI error codes and Anthropic errors, both read 2026-08).

use super::ask::Wrong;
use super::book::Wire;
use super::json::quoted;
use super::limit::{Kind, Short};
use super::reply::Headers;
use std::time::Duration;

/// A refusal before it is written.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub kind: &'static str,
    pub wrong: Wrong,
    pub headers: Headers,
}

impl Refusal {
    pub(super) fn bad_request(wrong: Wrong) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            wrong,
            headers: Headers::new(),
        }
    }

    fn coded(
        status: u16,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let wrong = Wrong {
            message: message.into(),
            param: None,
            code,
        };
        Self {
            status,
            kind,
            wrong,
            headers: Headers::new(),
        }
    }

    pub(super) fn no_key(wire: Wire) -> Self {
        match wire {
            Wire::Chat => Self::coded(
                401,
                "invalid_request_error",
                None,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            ),
            Wire::Messages => Self::coded(
                401,
                "authentication_error",
                None,
                "x-api-key header is required",
            ),
        }
    }

    pub(super) fn wrong_key(wire: Wire) -> Self {
        match wire {
            Wire::Chat => Self::coded(
                401,
                "invalid_request_error",
                Some("invalid_api_key"),
                "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
            ),
            Wire::Messages => Self::coded(401, "authentication_error", None, "invalid x-api-key"),
        }
    }

    pub(super) fn no_model(wire: Wire, model: &str) -> Self {
        match wire {
            Wire::Chat => Self::coded(
                404,
                "invalid_request_error",
                Some("model_not_found"),
                format!("The model `{model}` does not exist or you do not have access to it."),
            ),
            Wire::Messages => Self::coded(404, "not_found_error", None, format!("model: {model}")),
        }
    }

    pub(super) fn no_path(wire: Wire, method: &str, path: &str) -> Self {
        match wire {
            Wire::Chat => Self::coded(
                404,
                "invalid_request_error",
                None,
                format!("Invalid URL ({method} {path})"),
            ),
            Wire::Messages => Self::coded(404, "not_found_error", None, "Not found"),
        }
    }

    pub(super) fn wrong_method(method: &str, path: &str) -> Self {
        Self::coded(
            405,
            "invalid_request_error",
            Some("method_not_supported"),
            format!("Not allowed to {method} on {path}."),
        )
    }

    pub(super) fn too_large(wire: Wire) -> Self {
        match wire {
            Wire::Chat => Self::coded(
                413,
                "invalid_request_error",
                None,
                "Request body is too large.",
            ),
            Wire::Messages => Self::coded(
                413,
                "request_too_large",
                None,
                "Request exceeds the maximum size",
            ),
        }
    }

    pub(super) fn crowded(wire: Wire) -> Self {
        let message = "Number of concurrent connections has exceeded your rate limit. Please try again later.";
        let mut refusal = match wire {
            Wire::Chat => Self::coded(429, "requests", Some("rate_limit_exceeded"), message),
            Wire::Messages => Self::coded(429, "rate_limit_error", None, message),
        };
        refusal.headers.push(("retry-after", "1".to_owned()));
        refusal
    }

    /// A scripted status, as the dialect would say it.
    pub(super) fn scripted(wire: Wire, status: u16, retry_after: Option<Duration>) -> Self {
        let mut refusal = match wire {
            Wire::Chat => Self::scripted_chat(status),
            Wire::Messages => Self::scripted_messages(status),
        };
        if let Some(wait) = retry_after {
            refusal
                .headers
                .push(("retry-after", wait.as_secs().to_string()));
        }
        refusal
    }

    fn scripted_chat(status: u16) -> Self {
        let (kind, code, message) = match status {
            401 => {
                return Self {
                    status,
                    ..Self::wrong_key(Wire::Chat)
                };
            }
            403 => (
                "invalid_request_error",
                Some("unsupported_country_region_territory"),
                "Country, region, or territory not supported",
            ),
            413 => return Self::too_large(Wire::Chat),
            429 => (
                "requests",
                Some("rate_limit_exceeded"),
                "Rate limit reached for requests",
            ),
            503 => (
                "server_error",
                Some("server_is_overloaded"),
                "The engine is currently overloaded, please try again later",
            ),
            500.. => (
                "server_error",
                None,
                "The server had an error while processing your request. Sorry about that!",
            ),
            _ => ("invalid_request_error", None, "Invalid request"),
        };
        Self::coded(status, kind, code, message)
    }

    fn scripted_messages(status: u16) -> Self {
        let (kind, message) = match status {
            401 => ("authentication_error", "invalid x-api-key"),
            402 => (
                "billing_error",
                "Your credit balance is too low to access the Anthropic API.",
            ),
            403 => (
                "permission_error",
                "Your API key does not have permission to use the specified resource.",
            ),
            404 => ("not_found_error", "Not found"),
            409 => ("conflict_error", "Conflict"),
            413 => ("request_too_large", "Request exceeds the maximum size"),
            429 => (
                "rate_limit_error",
                "This request would exceed your organization's rate limit. Please try again later.",
            ),
            504 => ("timeout_error", "Request timed out"),
            529 => ("overloaded_error", "Overloaded"),
            500.. => ("api_error", "Internal server error"),
            _ => ("invalid_request_error", "Invalid request"),
        };
        Self::coded(status, kind, None, message)
    }

    /// A bucket is short.
    pub(super) fn limited(wire: Wire, short: &Short, organisation: &str, model: &str) -> Self {
        let seconds = short.wait.as_nanos().div_ceil(1_000_000_000);
        let mut refusal = match wire {
            Wire::Chat => chat_limited(short, organisation, model),
            Wire::Messages => {
                let what = match short.kind {
                    Kind::Requests => "requests",
                    Kind::Input | Kind::Tokens => "input tokens",
                    Kind::Output => "output tokens",
                };
                Self::coded(
                    429,
                    "rate_limit_error",
                    None,
                    format!(
                        "This request would exceed your organization's rate limit of {} {what} per minute (org: {organisation}, model: {model}). For details, refer to: https://docs.claude.com/en/api/rate-limits.",
                        short.limit
                    ),
                )
            }
        };
        if short.never {
            return refusal;
        }
        refusal.headers.push(("retry-after", seconds.to_string()));
        if wire == Wire::Chat {
            let millis = short.wait.as_nanos().div_ceil(1_000_000);
            refusal.headers.push(("retry-after-ms", millis.to_string()));
        }
        refusal
    }

    /// The body of the refusal.
    pub(super) fn body(&self, wire: Wire, request_id: &str) -> String {
        let message = quoted(&self.wrong.message);
        let or_null = |text: Option<&str>| text.map_or("null".to_owned(), quoted);
        match wire {
            Wire::Chat => format!(
                "{{\"error\":{{\"message\":{message},\"type\":\"{}\",\"param\":{},\"code\":{}}}}}",
                self.kind,
                or_null(self.wrong.param.as_deref()),
                or_null(self.wrong.code)
            ),
            Wire::Messages => format!(
                "{{\"type\":\"error\",\"error\":{{\"type\":\"{}\",\"message\":{message}}},\"request_id\":{}}}",
                self.kind,
                quoted(request_id)
            ),
        }
    }
}

fn chat_limited(short: &Short, organisation: &str, model: &str) -> Refusal {
    let (kind, unit) = match short.kind {
        Kind::Requests => ("requests", "requests per min (RPM)"),
        Kind::Input | Kind::Output | Kind::Tokens => ("tokens", "tokens per min (TPM)"),
    };
    let message = if short.never {
        format!(
            "Request too large for {model} in organization {organisation} on {unit}: Limit {}, Requested {}. The input or output tokens must be reduced in order to run successfully.",
            short.limit, short.asked
        )
    } else {
        format!(
            "Rate limit reached for {model} in organization {organisation} on {unit}: Limit {}, Used {}, Requested {}. Please try again in {}.",
            short.limit,
            short.used,
            short.asked,
            super::limit::go_duration(short.wait)
        )
    };
    Refusal::coded(429, kind, Some("rate_limit_exceeded"), message)
}
