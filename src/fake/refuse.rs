//! Refusals, in the envelopes of each dialect and manner (OpenAI error codes and Anthropic errors, both read 2026-08; Google, AWS and the
//! others 2026-11).

use super::ask::Wrong;
use super::book::Wire;
use super::json::quoted;
use super::limit::{Kind, Short};
use super::manner::Manner;
use super::reply::Headers;
use super::route::Platform;
use super::serve::Caller;
use std::time::Duration;

/// A refusal before it is written.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub kind: &'static str,
    pub wrong: Wrong,
    pub headers: Headers,
    /// Which limit of Google was met, and how long to wait.
    pub quota: Option<(Kind, u64, Duration)>,
}

impl Refusal {
    pub(super) fn bad_request(wrong: Wrong) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            wrong,
            headers: Headers::new(),
            quota: None,
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
            quota: None,
        }
    }

    pub(super) fn no_key(wire: Wire) -> Self {
        match wire {
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => Self::coded(
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
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => Self::coded(
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
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => Self::coded(
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
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => Self::coded(
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
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => Self::coded(
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
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => {
                Self::coded(429, "requests", Some("rate_limit_exceeded"), message)
            }
            Wire::Messages => Self::coded(429, "rate_limit_error", None, message),
        };
        refusal.headers.push(("retry-after", "1".to_owned()));
        refusal
    }

    /// A scripted status, as the dialect would say it.
    pub(super) fn scripted(wire: Wire, status: u16, retry_after: Option<Duration>) -> Self {
        let mut refusal = match wire {
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => {
                Self::scripted_chat(status)
            }
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
            Wire::Chat | Wire::Responses | Wire::Gemini | Wire::Converse => {
                chat_limited(short, organisation, model)
            }
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
        if matches!(wire, Wire::Gemini | Wire::Converse) {
            // Google says it in the body, Bedrock not at all.
            refusal.quota = Some((short.kind, short.limit, short.wait));
            return refusal;
        }
        refusal.headers.push(("retry-after", seconds.to_string()));
        if wire != Wire::Messages {
            let millis = short.wait.as_nanos().div_ceil(1_000_000);
            refusal.headers.push(("retry-after-ms", millis.to_string()));
        }
        refusal
    }

    /// A request that AWS does not know the sender of.
    pub(super) fn signature(kind: &'static str, said: &str) -> Self {
        Self::coded(403, kind, None, said)
    }

    /// A call of Google's that needs a token.
    pub(super) fn no_token() -> Self {
        Self::coded(
            401,
            "authentication_error",
            None,
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        )
    }

    /// Something that is not there, or not this caller's.
    /// Google's for a prefix that was never kept, is kept no more, or is another project's.
    pub(super) fn no_cache() -> Self {
        let message = "CachedContent not found (or permission denied)";
        Self::coded(403, "permission_error", None, message)
    }

    pub(super) fn not_found(message: String) -> Self {
        Self::coded(404, "invalid_request_error", None, message)
    }

    /// What AWS calls it (Bedrock docs, read 2026-11).
    pub(super) fn exception(&self) -> &'static str {
        match self.status {
            403 if self.kind.ends_with("Exception") => self.kind,
            400 | 405 | 413 | 422 => "ValidationException",
            401 | 403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            408 => "ModelTimeoutException",
            424 => "ModelErrorException",
            429 => "ThrottlingException",
            503 | 529 => "ServiceUnavailableException",
            _ => "InternalServerException",
        }
    }

    /// The body of the refusal, as the caller is used to it.
    pub(super) fn body(&self, caller: &Caller<'_>) -> String {
        let message = quoted(&self.wrong.message);
        // The model's own server answers in its own words, even at Google.
        let from_model = caller.wire == Wire::Messages && matches!(self.status, 400 | 413 | 529);
        match (caller.route.platform, caller.wire) {
            (Platform::Bedrock, _) => format!("{{\"message\":{message}}}"),
            (Platform::Vertex | Platform::Gemini, _) if !from_model => self.google(caller),
            (_, Wire::Messages) => format!(
                "{{\"type\":\"error\",\"error\":{{\"type\":\"{}\",\"message\":{message}}},\"request_id\":{}}}",
                self.kind,
                quoted(&caller.request_id)
            ),
            _ => self.openai(caller.manner, caller.wire, &message),
        }
    }

    fn openai(&self, manner: Manner, wire: Wire, message: &str) -> String {
        let or_null = |text: Option<&str>| text.map_or("null".to_owned(), quoted);
        let (param, code) = (
            or_null(self.wrong.param.as_deref()),
            or_null(self.wrong.code),
        );
        let status = self.status;
        match manner {
            Manner::Xai if wire == Wire::Chat => {
                let code = match status {
                    400 => "Client specified an invalid argument",
                    401 | 403 => {
                        "The caller does not have permission to execute the specified operation"
                    }
                    404 => "Some requested entity was not found",
                    429 => "Some resource has been exhausted",
                    _ => "The service is currently unavailable",
                };
                format!("{{\"code\":\"{code}\",\"error\":{message}}}")
            }
            Manner::OpenRouter => {
                let kind = match status {
                    401 => "authentication",
                    402 => "payment_required",
                    403 => "permission_denied",
                    404 => "not_found",
                    413 => "payload_too_large",
                    429 => "rate_limit_exceeded",
                    529 => "provider_overloaded",
                    502 | 503 => "provider_unavailable",
                    500.. => "server",
                    _ => "invalid_request",
                };
                format!(
                    "{{\"error\":{{\"code\":{status},\"message\":{message},\"metadata\":{{\"error_type\":\"{kind}\"}}}},\"user_id\":\"user_fake\"}}"
                )
            }
            Manner::Fireworks => format!(
                "{{\"error\":{{\"object\":\"error\",\"type\":\"{}\",\"message\":{message},\"code\":{code}}}}}",
                self.kind
            ),
            Manner::Sglang => format!(
                "{{\"object\":\"error\",\"message\":{message},\"type\":\"{}\",\"param\":{param},\"code\":{status}}}",
                engine_kind(status)
            ),
            Manner::Vllm => format!(
                "{{\"error\":{{\"message\":{message},\"type\":\"{}\",\"param\":{param},\"code\":{status}}}}}",
                engine_kind(status)
            ),
            Manner::Plain | Manner::Xai => format!(
                "{{\"error\":{{\"message\":{message},\"type\":\"{}\",\"param\":{param},\"code\":{code}}}}}",
                self.kind
            ),
        }
    }

    /// `google.rpc.Status` (Gemini API docs, read 2026-11).
    fn google(&self, caller: &Caller<'_>) -> String {
        let status = match self.status {
            400 | 405 | 413 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ABORTED",
            429 => "RESOURCE_EXHAUSTED",
            499 => "CANCELLED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            _ => "INTERNAL",
        };
        let details = match (caller.route.platform, self.quota) {
            (Platform::Gemini, Some((kind, limit, wait))) => {
                let (metric, id) = match kind {
                    Kind::Requests => (
                        "generate_content_paid_tier_requests",
                        "GenerateRequestsPerMinutePerProjectPerModel",
                    ),
                    _ => (
                        "generate_content_paid_tier_input_token_count",
                        "GenerateContentPaidTierInputTokensPerModelPerMinute",
                    ),
                };
                let model = quoted(caller.route.model.as_deref().unwrap_or(""));
                format!(
                    ",\"details\":[{{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":[{{\"quotaMetric\":\"generativelanguage.googleapis.com/{metric}\",\"quotaId\":\"{id}\",\"quotaDimensions\":{{\"location\":\"global\",\"model\":{model}}},\"quotaValue\":\"{limit}\"}}]}},{{\"@type\":\"type.googleapis.com/google.rpc.Help\",\"links\":[{{\"description\":\"Learn more about Gemini API quotas\",\"url\":\"https://ai.google.dev/gemini-api/docs/rate-limits\"}}]}},{{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"{}.{:09}s\"}}]",
                    wait.as_secs(),
                    wait.subsec_nanos()
                )
            }
            _ => String::new(),
        };
        // Vertex says a quota so, and "Resource exhausted" where it is the place that is full (Vertex AI docs, read 2026-11).
        let message = match (caller.route.platform, self.status) {
            (Platform::Vertex, 429) => format!(
                "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model with base model: {}. Please submit a quota increase request.",
                caller.route.model.as_deref().unwrap_or("")
            ),
            _ => self.wrong.message.clone(),
        };
        format!(
            "{{\"error\":{{\"code\":{},\"message\":{},\"status\":\"{status}\"{details}}}}}",
            self.status,
            quoted(&message)
        )
    }
}

fn engine_kind(status: u16) -> &'static str {
    match status {
        401 | 403 => "AuthenticationError",
        404 => "NotFoundError",
        429 => "RateLimitError",
        500.. => "InternalServerError",
        _ => "BadRequestError",
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
