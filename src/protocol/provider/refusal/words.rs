//! Tables: a provider's own words → the class they mean. Words of the API first, sentences where there is nothing else.

use crate::canon::FaultClass;
use crate::protocol::provider::ProviderKind;

/// AWS's exceptions (`providers/bedrock.md` 5).
pub(super) fn of_aws(exception: &str) -> Option<FaultClass> {
    Some(match exception {
        "ValidationException" | "ConflictException" => FaultClass::Invalid,
        // Raising a quota is a matter of days: as a spend limit, waiting does not help.
        "ServiceQuotaExceededException" => FaultClass::Billing,
        "AccessDeniedException" => FaultClass::Forbidden,
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException" => FaultClass::Unauthenticated,
        "ResourceNotFoundException" | "FTUFormNotFilled" => FaultClass::ModelNotFound,
        "ModelTimeoutException" => FaultClass::UpstreamTimeout,
        "ModelErrorException"
        | "ModelStreamErrorException"
        | "InternalServerException"
        | "InternalFailure" => FaultClass::UpstreamBroken,
        "ThrottlingException" | "TooManyRequestsException" => FaultClass::RateLimited,
        "ModelNotReadyException" | "ServiceUnavailableException" | "ServiceUnavailable" => {
            FaultClass::Overloaded
        }
        _ => return None,
    })
}

/// OpenRouter's `error_type` (`providers/openrouter.md` 7).
pub(super) fn of_openrouter(error_type: &str) -> Option<FaultClass> {
    Some(match error_type {
        "context_length_exceeded" | "token_limit_exceeded" => FaultClass::ContextTooLong,
        "max_tokens_exceeded"
        | "string_too_long"
        | "invalid_request"
        | "invalid_prompt"
        | "precondition_failed"
        | "unprocessable"
        | "invalid_image"
        | "image_too_large"
        | "image_too_small"
        | "unsupported_image_format"
        | "image_not_found"
        | "image_download_failed" => FaultClass::Invalid,
        "authentication" => FaultClass::Unauthenticated,
        "permission_denied" => FaultClass::Forbidden,
        "payment_required" => FaultClass::Billing,
        "rate_limit_exceeded" => FaultClass::RateLimited,
        "provider_overloaded" => FaultClass::Overloaded,
        "provider_unavailable" => FaultClass::Unavailable,
        "not_found" => FaultClass::ModelNotFound,
        "payload_too_large" => FaultClass::TooLarge,
        "content_policy_violation" | "refusal" => FaultClass::ContentPolicy,
        "server" => FaultClass::UpstreamBroken,
        "timeout" => FaultClass::UpstreamTimeout,
        _ => return None,
    })
}

/// What is said in a sentence only. Money first: it comes under 400, 402, 403 and 429, and retrying it is useless under each.
pub(super) fn of_sentences(kind: ProviderKind, status: u16, message: &str) -> Option<FaultClass> {
    let low = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| low.contains(w));
    let under = |statuses: &[u16]| status == 200 || statuses.contains(&status);
    if under(&[400, 402, 403, 429]) && says(&MONEY) {
        return Some(FaultClass::Billing);
    }
    if under(&[400, 403]) && says(&KEYS) {
        return Some(FaultClass::Unauthenticated);
    }
    if under(&[400, 413, 422, 500]) && says(&TOO_LONG) {
        return Some(FaultClass::ContextTooLong);
    }
    if under(&[400, 403, 404, 410]) && says(&NO_MODEL) {
        return Some(FaultClass::ModelNotFound);
    }
    if under(&[404, 410]) && low.contains("model") && says(&MISSING) {
        return Some(FaultClass::ModelNotFound);
    }
    if under(&[400, 403]) && says(&FORBIDDEN_CONTENT) {
        return Some(FaultClass::ContentPolicy);
    }
    // xAI under status 200, vLLM and SGLang with a full queue: capacity, and retryable elsewhere at once.
    let busy = says(&[
        "service is currently unavailable",
        "request queue is full",
        "engine is currently busy",
    ]);
    if busy || (kind == ProviderKind::Vertex && low.starts_with("resource exhausted")) {
        // vertex.md 8: "Resource exhausted" is the location's capacity, "Quota exceeded" is our own.
        return Some(FaultClass::Overloaded);
    }
    None
}

/// Spend caps and empty accounts, as each provider says them.
const MONEY: [&str; 18] = [
    // OpenAI and its like; Google's spend cap says the first words too, and is told apart by its quotas (`google`).
    "insufficient balance",
    "insufficient credits",
    "insufficient funds",
    "credit balance",
    "out of credits",
    "billing hard limit",
    "billing_hard_limit",
    // OpenRouter.
    "requires more credits",
    "key limit exceeded",
    // xAI.
    "used all available credits",
    "monthly spending limit",
    "doesn't have any credits",
    // Anthropic.
    "api usage limits",
    // Fireworks.
    "spending limit",
    "account is suspended",
    "account suspended",
    "payment required",
    // Google, where a project has no billing account.
    "requires billing to be enabled",
];

/// A wrong key under a status that says something else (xAI and Google: 400).
const KEYS: [&str; 6] = [
    "incorrect api key",
    "invalid api key",
    "api key not valid",
    "api key expired",
    "api key not found",
    "security token included in the request",
];

const TOO_LONG: [&str; 12] = [
    "prompt is too long",
    "input is too long",
    "maximum context length",
    "maximum prompt length",
    "context length exceeded",
    "exceeds the available context size",
    "exceeds the model's context length",
    "longer than the model's context length",
    "exceeds the maximum number of tokens",
    "exceeds the maximum input token",
    "input token count",
    "too many input tokens",
];

/// This place does not have the model; another may.
const NO_MODEL: [&str; 10] = [
    "provided model identifier is invalid",
    "on-demand throughput isn",
    "don't have access to the model",
    "do not have access to the model",
    "not allowed to use publisher model",
    "no endpoints found",
    "no longer available",
    "is not a valid model id",
    "model not exist",
    "unknown model",
];

const MISSING: [&str; 6] = [
    "not found",
    "does not exist",
    "not exist",
    "deprecated",
    "not supported",
    "retired",
];

const FORBIDDEN_CONTENT: [&str; 4] = [
    "content violates usage guidelines",
    "content management policy",
    "flagged by moderation",
    "requires moderation on",
];

/// Statuses that one provider gives a meaning of its own.
pub(super) fn of_status(kind: ProviderKind, status: u16, base: FaultClass) -> Option<FaultClass> {
    match (kind, status, base) {
        // fireworks.md 6: the account is suspended, or a precondition of it fails.
        (ProviderKind::Fireworks, 412, FaultClass::Invalid) => Some(FaultClass::Billing),
        // bedrock.md 5: the model failed behind the API.
        (_, 424, FaultClass::Invalid) => Some(FaultClass::UpstreamBroken),
        (_, 410, FaultClass::Invalid) => Some(FaultClass::NotFound),
        // The client or a proxy went away, which tells nothing of the request.
        (_, 499, FaultClass::Invalid) => Some(FaultClass::UpstreamBroken),
        (_, 425, FaultClass::Invalid) => Some(FaultClass::Overloaded),
        _ => of_edge(status),
    }
}

/// Cloudflare's own statuses, page or no page: it did not reach the provider.
pub(super) fn of_edge(status: u16) -> Option<FaultClass> {
    matches!(status, 521 | 523 | 530).then_some(FaultClass::Unavailable)
}
