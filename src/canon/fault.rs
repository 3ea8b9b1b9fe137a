//! What can go wrong with a request, and whose fault it is. The client is told, in its own dialect.

use std::time::Duration;

/// A failure as a client may hear of it: never a key, never prompt text.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub class: FaultClass,
    /// Lower case, no full stop, with the value and the place.
    pub message: String,
    /// The request's field at fault, as a path (`messages[3].content[0].source`).
    pub field: Option<String>,
    /// The provider's own code, or ours (`model_not_found`).
    pub code: Option<String>,
    /// When another try can succeed.
    pub retry_after: Option<Duration>,
    /// The provider's HTTP status, when a provider said this.
    pub upstream_status: Option<u16>,
}

/// What kind of failure it is. The dialects name and number these as their own specifications do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultClass {
    /// The request is wrong: 400.
    Invalid,
    /// The prompt does not fit the model's window: 400.
    ContextTooLong,
    /// The provider's rules forbid the content: 400.
    ContentPolicy,
    /// No or a wrong client key: 401.
    Unauthenticated,
    /// The account has no money left, or its spend limit is reached; waiting does not help: 402, in OpenAI's dialects 429.
    Billing,
    /// The key may not do this: 403.
    Forbidden,
    /// No such path or answer: 404.
    NotFound,
    /// No such model: 404.
    ModelNotFound,
    MethodNotAllowed,
    /// The request took too long to arrive: 408.
    RequestTimeout,
    /// 409.
    Conflict,
    /// 413.
    TooLarge,
    /// 426: a WebSocket is not served here.
    UpgradeRequired,
    /// A limit of the client's tenant or of every pool: 429.
    RateLimited,
    /// Ours, a broken promise: 500.
    Internal,
    /// The provider answered what is not its own format, or broke off: 502.
    UpstreamBroken,
    /// No endpoint can be reached, or we are draining: 503.
    Unavailable,
    /// The provider is overloaded: 529 in Messages, 503 elsewhere.
    Overloaded,
    /// A time limit towards the provider passed: 504.
    UpstreamTimeout,
}

impl Fault {
    #[must_use]
    pub fn new(class: FaultClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            field: None,
            code: None,
            retry_after: None,
            upstream_status: None,
        }
    }

    /// The request is wrong at `field`.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(FaultClass::Invalid, message)
        }
    }

    #[must_use]
    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self {
            code: Some(code.into()),
            ..self
        }
    }

    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }
}

impl FaultClass {
    /// The status most dialects give it; Messages says 529 for `Overloaded`.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid | Self::ContextTooLong | Self::ContentPolicy => 400,
            Self::Unauthenticated => 401,
            Self::Billing => 402,
            Self::Forbidden => 403,
            Self::NotFound | Self::ModelNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UpgradeRequired => 426,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::UpstreamBroken => 502,
            Self::Unavailable | Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self {
            Self::Invalid
            | Self::ContextTooLong
            | Self::ContentPolicy
            | Self::Unauthenticated
            | Self::Billing
            | Self::Forbidden
            | Self::NotFound
            | Self::ModelNotFound
            | Self::MethodNotAllowed
            | Self::TooLarge
            | Self::UpgradeRequired => false,
            Self::RequestTimeout
            | Self::Conflict
            | Self::RateLimited
            | Self::Internal
            | Self::UpstreamBroken
            | Self::Unavailable
            | Self::Overloaded
            | Self::UpstreamTimeout => true,
        }
    }

    /// The word that logs, metrics and native errors say.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::ContextTooLong => "context_too_long",
            Self::ContentPolicy => "content_policy",
            Self::Unauthenticated => "unauthenticated",
            Self::Billing => "billing",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::ModelNotFound => "model_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::UpgradeRequired => "upgrade_required",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::UpstreamBroken => "upstream_broken",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }
}

/// A provider said what its dialect does not allow. `place` names the event or field and, where known, the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub place: String,
}

impl Malformed {
    #[must_use]
    pub fn at(place: impl Into<String>) -> Self {
        Self {
            place: place.into(),
        }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed: {}", self.place)
    }
}

impl std::error::Error for Malformed {}
