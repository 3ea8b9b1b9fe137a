use super::*;
use crate::base::{Rng, WallTime};
use crate::protocol::provider::hints;
use std::time::Duration;

/// 2026-11-23T02:00:20Z
const NOW: WallTime = WallTime(1_795_399_220_000_000_000);

fn fault_of(kind: ProviderKind, status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    let headers: Headers = headers.iter().copied().collect();
    let hints = hints::read(&headers, NOW);
    let dialect = DialectName::Chat;
    kind.fault(dialect, status, &headers, body.as_bytes(), &hints)
}

fn class(kind: ProviderKind, status: u16, body: &str) -> FaultClass {
    fault_of(kind, status, &[], body).class
}

#[test]
fn every_providers_refusal_has_its_class() {
    use FaultClass as C;
    use ProviderKind as P;
    for (kind, status, body, wanted) in [
        (
            P::Anthropic,
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            C::Overloaded,
        ),
        (
            P::Anthropic,
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"x","details":{"error_code":"enforced_spend_limit_reached"}}}"#,
            C::Billing,
        ),
        (
            P::Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
            C::Billing,
        ),
        (
            P::Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01."}}"#,
            C::Billing,
        ),
        (
            P::Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            C::ContextTooLong,
        ),
        (
            P::OpenAi,
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":"billing_hard_limit_reached"}}"#,
            C::Billing,
        ),
        (
            P::OpenAi,
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            C::Billing,
        ),
        (
            P::OpenAi,
            429,
            r#"{"error":{"message":"m","type":"x","code":"slow_down"}}"#,
            C::RateLimited,
        ),
        (
            P::Gemini,
            400,
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
            C::Unauthenticated,
        ),
        (
            P::Gemini,
            400,
            r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
            C::ContextTooLong,
        ),
        (
            P::Gemini,
            429,
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}"#,
            C::Billing,
        ),
        (
            P::Gemini,
            503,
            r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#,
            C::Overloaded,
        ),
        (
            P::Gemini,
            403,
            r#"{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}"#,
            C::Forbidden,
        ),
        (
            P::Gemini,
            500,
            r#"{"error":{"code":500,"message":"x","status":"INTERNAL"}}"#,
            C::UpstreamBroken,
        ),
        (
            P::Gemini,
            404,
            r#"{"error":{"code":404,"message":"models/x is not found for API version v1beta","status":"NOT_FOUND"}}"#,
            C::ModelNotFound,
        ),
        (
            P::Vertex,
            400,
            r#"{"error":{"code":400,"message":"Project 1 is not allowed to use Publisher Model claude","status":"FAILED_PRECONDITION"}}"#,
            C::ModelNotFound,
        ),
        (
            P::Vertex,
            429,
            r#"[{"error":{"code":429,"message":"Resource exhausted. Please try again later.","status":"RESOURCE_EXHAUSTED"}}]"#,
            C::Overloaded,
        ),
        (
            P::Vertex,
            429,
            r#"{"error":{"code":429,"message":"Quota exceeded for aiplatform.googleapis.com/online_prediction_input_tokens_per_minute_per_base_model with base model: anthropic-claude-opus-4.","status":"RESOURCE_EXHAUSTED"}}"#,
            C::RateLimited,
        ),
        (
            P::Vertex,
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            C::Overloaded,
        ),
        (
            P::Vertex,
            401,
            r#"{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}"#,
            C::Unauthenticated,
        ),
        (
            P::Xai,
            400,
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xai-abcdefgh. Try again"}"#,
            C::Unauthenticated,
        ),
        (
            P::Xai,
            403,
            r#"{"code":"The caller does not have permission","error":"Your team 1 has either used all available credits or reached its monthly spending limit."}"#,
            C::Billing,
        ),
        (
            P::Xai,
            429,
            r#"{"code":"Some resource has been exhausted","error":"Your team has used all available credits"}"#,
            C::Billing,
        ),
        (
            P::Xai,
            404,
            r#"{"code":"Some requested entity was not found","error":"The model grok-3 does not exist or your team 1 does not have access to it."}"#,
            C::ModelNotFound,
        ),
        (
            P::Xai,
            403,
            r#"{"code":"x","error":"content violates usage guidelines"}"#,
            C::ContentPolicy,
        ),
        (
            P::Xai,
            429,
            r#"{"error":{"message":"too many","type":"x","code":"rate_limit_exceeded"}}"#,
            C::RateLimited,
        ),
        (
            P::Fireworks,
            402,
            r#"{"error":{"object":"error","type":"invalid_request_error","message":"x"}}"#,
            C::Billing,
        ),
        (
            P::Fireworks,
            412,
            r#"{"error":{"object":"error","type":"x","message":"Account a is suspended"}}"#,
            C::Billing,
        ),
        (P::Fireworks, 412, "", C::Billing),
        (
            P::Fireworks,
            503,
            r#"{"error":{"message":"overloaded"}}"#,
            C::Overloaded,
        ),
        (
            P::Fireworks,
            404,
            r#"{"error":{"message":"Model not found, inaccessible, and/or not deployed","code":"NOT_FOUND"}}"#,
            C::ModelNotFound,
        ),
        (P::Fireworks, 400, r#"{"error":"text"}"#, C::Invalid),
        (
            P::OpenRouter,
            402,
            r#"{"error":{"code":402,"message":"This request requires more credits"}}"#,
            C::Billing,
        ),
        (
            P::OpenRouter,
            403,
            r#"{"error":{"code":403,"message":"m","metadata":{"reasons":["violence"],"flagged_input":"…"}}}"#,
            C::ContentPolicy,
        ),
        (
            P::OpenRouter,
            403,
            r#"{"error":{"code":403,"message":"Key limit exceeded (monthly limit)"}}"#,
            C::Billing,
        ),
        (
            P::OpenRouter,
            404,
            r#"{"error":{"code":404,"message":"No endpoints found matching your data policy"}}"#,
            C::ModelNotFound,
        ),
        (
            P::OpenRouter,
            502,
            r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"X","error_type":"provider_overloaded"}}}"#,
            C::Overloaded,
        ),
        (
            P::OpenRouter,
            400,
            r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"provider_name":"X","raw":"{\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}"}}}"#,
            C::ContextTooLong,
        ),
        (P::OpenRouter, 524, "error code: 524", C::UpstreamTimeout),
        (
            P::SelfHosted,
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            C::ContextTooLong,
        ),
        (
            P::SelfHosted,
            503,
            r#"{"error":{"message":"The engine is currently busy","type":"x","param":null,"code":503}}"#,
            C::Overloaded,
        ),
        (
            P::SelfHosted,
            404,
            r#"{"error":{"message":"The model `m` does not exist.","type":"NotFoundError","param":null,"code":404}}"#,
            C::ModelNotFound,
        ),
        (
            P::SelfHosted,
            429,
            r#"{"error":"Model is overloaded","error_type":"overloaded"}"#,
            C::Overloaded,
        ),
        (
            P::SelfHosted,
            422,
            r#"{"detail":[{"loc":["body","n"],"msg":"field required"}]}"#,
            C::Invalid,
        ),
        (
            P::Bedrock,
            400,
            r#"{"message":"Invocation of model ID x with on-demand throughput isn’t supported."}"#,
            C::ModelNotFound,
        ),
        (
            P::Bedrock,
            400,
            r#"{"__type":"com.amazon.coral#ValidationException","Message":"Input is too long for requested model."}"#,
            C::ContextTooLong,
        ),
        (
            P::Bedrock,
            403,
            r#"{"message":"You don't have access to the model with the specified model ID."}"#,
            C::ModelNotFound,
        ),
        (P::Bedrock, 424, "{}", C::UpstreamBroken),
        (P::OpenAi, 500, "", C::UpstreamBroken),
        (P::OpenAi, 301, "", C::UpstreamBroken),
        (
            P::OpenAi,
            502,
            "<html>bad gateway</html>",
            C::UpstreamBroken,
        ),
        (
            P::OpenAi,
            521,
            "<html>web server is down</html>",
            C::Unavailable,
        ),
        (P::OpenAi, 413, "<html>too large</html>", C::TooLarge),
        (
            P::OpenAi,
            429,
            "<!doctype html><title>Slow down</title>",
            C::RateLimited,
        ),
        (P::OpenAi, 499, "", C::UpstreamBroken),
        (
            P::Xai,
            503,
            "data: {\"error\":{\"message\":\"m\",\"code\":\"server_is_overloaded\"}}\n\n",
            C::Overloaded,
        ),
    ] {
        let fault = fault_of(kind, status, &[], body);
        assert_eq!(fault.class, wanted, "{kind:?} {status} {body}");
        assert!(
            !fault.message.is_empty() && !fault.message.contains('<'),
            "{body}"
        );
        assert_eq!(fault.upstream_status, Some(status), "{body}");
    }
}

#[test]
fn awss_exceptions_are_told_by_their_header() {
    use FaultClass as C;
    for (exception, status, wanted) in [
        (
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            429,
            C::RateLimited,
        ),
        ("ModelNotReadyException", 429, C::Overloaded),
        ("ServiceQuotaExceededException", 400, C::Billing),
        ("ExpiredTokenException", 403, C::Unauthenticated),
        ("AccessDeniedException", 403, C::Forbidden),
        ("ModelTimeoutException", 408, C::UpstreamTimeout),
        ("ModelErrorException", 424, C::UpstreamBroken),
        ("ServiceUnavailableException", 503, C::Overloaded),
        ("ResourceNotFoundException", 404, C::ModelNotFound),
        ("SomethingNewException", 400, C::Invalid),
    ] {
        let headers = [("x-amzn-errortype", exception)];
        let fault = fault_of(
            ProviderKind::Bedrock,
            status,
            &headers,
            r#"{"message":"m"}"#,
        );
        assert_eq!(fault.class, wanted, "{exception}");
        let name = exception.split(':').next();
        assert_eq!((fault.message.as_str(), fault.code.as_deref()), ("m", name));
    }
}

/// FIELD-BUGS 28: keys that were refused went on being used.
#[test]
fn a_dead_key_is_not_taken_for_a_wrong_request() {
    let is_dead = |class| matches!(class, FaultClass::Unauthenticated | FaultClass::Billing);
    for (kind, status, body) in [
        (
            ProviderKind::Xai,
            400,
            r#"{"code":"c","error":"Incorrect API key provided: x"}"#,
        ),
        (
            ProviderKind::Gemini,
            400,
            r#"{"error":{"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#,
        ),
        (ProviderKind::OpenAi, 401, ""),
        (ProviderKind::OpenAi, 402, ""),
        (
            ProviderKind::Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
        ),
    ] {
        let found = class(kind, status, body);
        assert!(is_dead(found), "{kind:?} {body}: {found:?}");
    }
}

#[test]
fn a_page_of_a_proxy_condemns_no_key_and_no_request() {
    for status in [200, 302, 400, 401, 402, 403, 407] {
        let page = "<html><h1>403 Forbidden</h1></html>";
        assert_eq!(
            class(ProviderKind::OpenAi, status, page),
            FaultClass::UpstreamBroken,
            "{status}"
        );
        let typed = fault_of(
            ProviderKind::OpenAi,
            status,
            &[("content-type", "text/html")],
            "Access denied",
        );
        assert_eq!(typed.class, FaultClass::UpstreamBroken, "{status}");
    }
}

#[test]
fn a_spend_cap_is_never_told_to_be_waited_for() {
    let headers = [
        ("retry-after", "5"),
        ("x-ratelimit-reset", "9"),
        ("x-ratelimit-remaining", "0"),
    ];
    for (kind, status, body) in [
        (
            ProviderKind::OpenAi,
            429,
            r#"{"error":{"message":"m. Please try again in 6s.","code":"organization_spend_limit_exceeded"}}"#,
        ),
        (
            ProviderKind::OpenAi,
            429,
            r#"{"error":{"message":"m","code":"billing_hard_limit_reached"}}"#,
        ),
        (
            ProviderKind::Anthropic,
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"contract_spend_limit_reached"}}}"#,
        ),
        (
            ProviderKind::OpenRouter,
            402,
            r#"{"error":{"code":402,"message":"Insufficient credits"}}"#,
        ),
        (ProviderKind::Fireworks, 412, ""),
    ] {
        let fault = fault_of(kind, status, &headers, body);
        assert_eq!(
            (fault.class, fault.retry_after),
            (FaultClass::Billing, None),
            "{body}"
        );
        assert!(!fault.class.retryable());
    }
}

#[test]
fn the_time_to_wait_is_found_wherever_it_is_said() {
    let google = |id: &str| {
        format!(
            r#"{{"error":{{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaMetric":"m","quotaId":"{id}"}}]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}}]}}}}"#
        )
    };
    let openai = r#"{"error":{"message":"Rate limit reached. Please try again in 6s.","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let openrouter = r#"{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","metadata":{"headers":{"X-RateLimit-Reset":"1795399230000"}}}}"#;
    for (kind, headers, body, millis) in [
        (ProviderKind::OpenAi, &[][..], openai, 6_000),
        (ProviderKind::OpenAi, &[("retry-after", "2")], openai, 2_000),
        (
            ProviderKind::OpenAi,
            &[("retry-after", "2"), ("retry-after-ms", "1500")],
            openai,
            1_500,
        ),
        (
            ProviderKind::Gemini,
            &[],
            &google("GenerateContentPaidTierInputTokensPerModelPerMinute"),
            34_500,
        ),
        // Six hours to midnight in California, whatever RetryInfo says.
        (
            ProviderKind::Gemini,
            &[],
            &google("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            21_580_000,
        ),
        (ProviderKind::OpenRouter, &[], openrouter, 10_000),
        (
            ProviderKind::OpenRouter,
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1795399225000"),
            ],
            r#"{"error":{"code":429,"message":"m"}}"#,
            5_000,
        ),
        (
            ProviderKind::Bedrock,
            &[],
            r#"{"message":"Too many tokens per day, please wait before trying again."}"#,
            79_180_000,
        ),
        (
            ProviderKind::Vertex,
            &[],
            r#"{"error":{"code":429,"message":"Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_minute_per_base_model","status":"RESOURCE_EXHAUSTED"}}"#,
            40_000,
        ),
    ] {
        let fault = fault_of(kind, 429, headers, body);
        assert_eq!(fault.class, FaultClass::RateLimited, "{body}");
        assert_eq!(
            fault.retry_after,
            Some(Duration::from_millis(millis)),
            "{kind:?} {body}"
        );
    }
    let silent = fault_of(ProviderKind::Xai, 429, &[], "");
    assert_eq!(silent.retry_after, None);
    let left = [("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "9")];
    assert_eq!(
        fault_of(ProviderKind::OpenRouter, 429, &left, "").retry_after,
        None
    );
}

#[test]
fn openrouter_quotes_whoever_it_called() {
    let body = r#"{"error":{"code":429,"message":"Provider returned error","metadata":{"provider_name":"Google","raw":"m is temporarily rate-limited upstream"}}}"#;
    let fault = fault_of(ProviderKind::OpenRouter, 429, &[], body);
    assert_eq!(
        (fault.class, fault.message.as_str()),
        (
            FaultClass::RateLimited,
            "Provider returned error: m is temporarily rate-limited upstream"
        )
    );
}

#[test]
fn place_and_word_of_the_provider_are_kept() {
    let body = r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents[0].parts","description":"d"}]}]}}"#;
    let fault = fault_of(ProviderKind::Gemini, 400, &[], body);
    assert_eq!(fault.field.as_deref(), Some("contents[0].parts"));
    assert_eq!(fault.code.as_deref(), Some("INVALID_ARGUMENT"));
    let xai = fault_of(
        ProviderKind::Xai,
        400,
        &[],
        r#"{"code":"invalid-argument","error":"e"}"#,
    );
    assert_eq!(
        (xai.code.as_deref(), xai.message.as_str()),
        (Some("invalid-argument"), "e")
    );
}

#[test]
fn a_failure_under_status_200_is_told_from_an_answer() {
    let of = |body: &str| {
        let (headers, hints) = (Headers::default(), Hints::default());
        ProviderKind::Xai.fault_in_success(DialectName::Chat, &headers, body.as_bytes(), &hints)
    };
    for (body, wanted) in [
        (
            r#"{"error":{"message":"m","code":429}}"#,
            Some(FaultClass::RateLimited),
        ),
        (
            r#"{"error":{"message":"m"}}"#,
            Some(FaultClass::UpstreamBroken),
        ),
        (
            r#"[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]"#,
            Some(FaultClass::Overloaded),
        ),
        (
            r#"{"code":"The service is currently unavailable","error":"The service is currently unavailable"}"#,
            Some(FaultClass::Overloaded),
        ),
        (
            r#"{"object":"error","message":"m","type":"x","code":400}"#,
            Some(FaultClass::Invalid),
        ),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            Some(FaultClass::Overloaded),
        ),
        (
            r#"{"choices":[],"error":{"message":"m","code":502}}"#,
            Some(FaultClass::UpstreamBroken),
        ),
        ("", Some(FaultClass::UpstreamBroken)),
        ("  \n", Some(FaultClass::UpstreamBroken)),
        ("<html>", Some(FaultClass::UpstreamBroken)),
        (r#"{"choices":[{"index":0}],"error":null}"#, None),
        (
            r#"{"choices":[{"index":0}],"error":{"message":"broke off"}}"#,
            None,
        ),
        (
            r#"{"object":"response","output":[],"error":{"code":"server_error"}}"#,
            None,
        ),
        (
            r#"{"name":"operations/1","done":true,"error":{"code":3}}"#,
            None,
        ),
        (r#"{"input_tokens":3}"#, None),
        (r#"[{"candidates":[]}]"#, None),
        ("{broken", None),
    ] {
        let fault = of(body);
        assert_eq!(fault.as_ref().map(|f| f.class), wanted, "{body}");
        assert!(fault.is_none_or(|f| !f.message.is_empty()), "{body}");
    }
    let long = format!(
        r#"{{"error":{{"message":"{}"}}}}"#,
        "x".repeat(LONGEST_FAILURE)
    );
    assert_eq!(of(&long), None);
}

#[test]
fn no_key_is_told_on() {
    let body = r#"{"code":"c","error":"Incorrect API key provided: xai-abcdefgh. Try again"}"#;
    let fault = fault_of(ProviderKind::Xai, 400, &[], body);
    assert!(!fault.message.contains("xai-ab"), "{}", fault.message);
}

#[test]
fn garbage_is_a_refusal_too() {
    let mut rng = Rng::seeded(9);
    let words = [
        "{",
        "}",
        "[",
        "\"error\"",
        ":",
        "\"message\"",
        "null",
        "1",
        "\"metadata\"",
        "\"raw\"",
        "<",
        "data:",
        "\n",
        "\"details\"",
        ",",
    ];
    for _ in 0..5_000 {
        let body: String = (0..rng.below(12))
            .map(|_| words[rng.below(words.len() as u64) as usize])
            .collect();
        let status = rng.below(700) as u16;
        for kind in ProviderKind::ALL {
            let fault = fault_of(kind, status, &[("x-amzn-errortype", &body)], &body);
            assert!(!fault.message.is_empty(), "{status} {body}");
        }
    }
}
