//! Who is called: a dialect + a framing + a URL + a signature + hints.

pub mod anthropic;
pub mod bedrock;
pub mod hints;
pub mod openai;
pub mod selfhosted;
pub mod sigv4;

use crate::base::{Secret, WallTime};
use crate::canon::{DialectName, Fault};

/// The kinds of providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    Anthropic,
    OpenAi,
    /// Models on AWS: Converse, Claude's own grammar over event streams, and the hosts that speak OpenAI's and Anthropic's APIs.
    Bedrock,
    /// Claude and Gemini on Google Cloud.
    Vertex,
    /// Google's API for developers.
    Gemini,
    Xai,
    Fireworks,
    OpenRouter,
    /// SGLang, vLLM and other own machines that speak Chat Completions.
    SelfHosted,
    /// Our own, for trying out and for tests; speaks Chat Completions and Messages.
    Fake,
}

impl ProviderKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Anthropic,
        Self::Bedrock,
        Self::Vertex,
        Self::OpenAi,
        Self::Gemini,
        Self::Xai,
        Self::Fireworks,
        Self::OpenRouter,
        Self::SelfHosted,
        Self::Fake,
    ];
}

/// What a provider is shown to let us in. Kept by whoever refreshes it; a call borrows it.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A key as the provider gave it out; each kind knows its header.
    Key(Secret),
    /// A token that was bought with something else (Google service account, metadata server), sent as a bearer.
    Bearer(Secret),
    /// Signs each request (SigV4).
    Aws(AwsCredential),
}

#[derive(Clone, Debug)]
pub struct AwsCredential {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
}

/// Where within a provider, as its configuration names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `us-east-1`, `europe-west1`, `us`, `global`.
    pub region: Option<String>,
    /// Google Cloud's project.
    pub project: Option<String>,
    /// Bedrock's hosts that speak OpenAI's and Anthropic's APIs (Mantle), instead of its runtime.
    pub mantle: bool,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Generate,
    CountTokens,
    Embed,
    /// Begins a video; the answer names an operation.
    VideoStart,
    /// Asks how an operation stands.
    VideoPoll,
}

/// Header fields of an answer as received, names in lower case.
pub type Headers = [(bytes::Bytes, bytes::Bytes)];

/// What a call of a provider looks like, beside its body.
#[derive(Clone, Debug, PartialEq)]
pub struct CallHead {
    pub method: &'static str,
    /// Path and query, to be appended to the base URL's path.
    pub path: String,
    /// Everything but `host`, `content-length` and what HTTP itself adds.
    pub headers: Vec<(&'static str, String)>,
}

/// What of a client's own headers a provider may see or need: never its credentials.
#[derive(Clone, Debug, Default)]
pub struct ClientHeaders<'a> {
    pub anthropic_version: Option<&'a str>,
    pub anthropic_beta: Option<&'a str>,
    pub openai_beta: Option<&'a str>,
}

impl ProviderKind {
    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
            Self::Gemini => "gemini",
            Self::Xai => "xai",
            Self::Fireworks => "fireworks",
            Self::OpenRouter => "openrouter",
            Self::SelfHosted => "selfhosted",
            Self::Fake => "fake",
        }
    }

    /// The dialect in which this provider is asked for a client of `client`: the client's own where it speaks it, so that bytes pass.
    #[must_use]
    pub fn dialect_for(self, client: DialectName) -> DialectName {
        match (self, client) {
            (Self::Anthropic, _) | (Self::Fake, DialectName::Messages) => DialectName::Messages,
            (_, _) => DialectName::Chat,
        }
    }

    /// Method, path and headers of a call in `dialect`.
    #[must_use]
    pub fn call(
        self,
        dialect: DialectName,
        key: Option<&Secret>,
        client: &ClientHeaders<'_>,
        stream: bool,
    ) -> CallHead {
        match (self, dialect) {
            (Self::Anthropic, _) | (Self::Fake, DialectName::Messages) => {
                anthropic::call(key, client, stream)
            }
            (Self::OpenAi, _) | (Self::Fake, _) => openai::call(key, client, stream),
            (_, _) => selfhosted::call(key, client, stream),
        }
    }

    /// What the provider's answer (of any status) says of its limits.
    #[must_use]
    pub fn hints(self, headers: &Headers, now: WallTime) -> hints::Hints {
        hints::read(headers, now)
    }

    /// What a refusal means: the dialect's own reading, then what its headers said.
    #[must_use]
    pub fn fault(
        self,
        dialect: DialectName,
        status: u16,
        body: &[u8],
        hints: &hints::Hints,
    ) -> Fault {
        let mut fault = super::dialect::read_error(dialect, status, body);
        if fault.retry_after.is_none() {
            fault.retry_after = hints.retry_after;
        }
        fault
    }
}
