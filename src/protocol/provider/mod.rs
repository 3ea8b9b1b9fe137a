//! Who is called: a dialect + a framing + a URL + a signature + hints.
//!
//! A call is made of values: what is asked, where, for whom → method, path, headers; then its credential. Deliberately knows no socket, no
//! clock and no prices, and never a body's content beside what a provider's envelope wants at its top level. In reading order.

mod call;
pub use call::{Asking, CallHead, ClientHeaders, Envelope, FramesOf, Framing, HeaderList, Signing};
pub mod anthropic;
pub mod bedrock;
pub mod openai;
pub mod vertex;

pub mod fireworks;
pub mod gemini;
pub mod openrouter;
pub mod selfhosted;
pub mod xai;

/// Percent-encoding, for queries and for token servers.
pub mod form;
/// How a service account, a user or a machine comes to a token of Google's.
pub mod google_auth;
/// How AWS's security token service is asked for a role's credentials.
pub mod sts;
pub mod sigv4;

pub mod hints;
pub mod load;
mod refusal;
/// Keys and marks for prompt caches.
pub mod steering;
/// Times in headers and bodies, in every form that providers write.
pub mod when;

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
    /// Our own, for trying out and for tests; speaks Chat Completions, Completions and Messages.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A key as the provider gave it out; each kind knows its header.
    Key(Secret),
    /// A token that was bought with something else (Google service account, metadata server), sent as a bearer.
    Bearer(Secret),
    /// Signs each request (SigV4).
    Aws(AwsCredential),
}

#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The base URL's path stands where other speakers of OpenAI's API have `/v1` (Azure's `/openai/deployments/NAME`, `/api/paas/v4`).
    pub unversioned: bool,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Generate,
    CountTokens,
    Embed,
    /// Several inputs in one call; the same as `Embed` but at Google, where it is another method with another body.
    EmbedMany,
    /// Writes down what a sound says (OpenAI's `/v1/audio/transcriptions`).
    Transcribe,
    /// The same, into English (OpenAI's `/v1/audio/translations`).
    Translate,
    /// Begins a video; the answer names an operation.
    VideoStart,
    /// Asks how an operation stands.
    VideoPoll,
    /// Fetches the bytes of a video.
    VideoContent,
    /// Takes a video off the provider's disks.
    VideoDelete,
    /// Asks after an answer in Responses that the provider keeps, by its id.
    Kept(Deed),
    /// Something with a prefix that Google keeps under a name (`cachedContents`).
    Cached(CacheDeed),
}

/// What is wanted of a prefix that is kept under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheDeed {
    Create,
    Get,
    /// Lets it live longer or shorter.
    Update,
    Delete,
}

/// What is asked of an answer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Fetch,
    Delete,
    Cancel,
    /// The items that it answered.
    Inputs,
}

pub use crate::base::Headers;

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

    /// The dialect in which this provider is asked for `model` on behalf of a client of `client`: the client's own where the provider speaks
    /// it for this model, so that bytes pass; else `preferred` (a knob of the endpoint) where that is spoken, else the kind's own best.
    #[must_use]
    pub fn dialect_for(
        self,
        client: DialectName,
        model: &str,
        place: &Place,
        preferred: Option<DialectName>,
    ) -> DialectName {
        let tongue = self.tongue(model, place);
        let speaks = |dialect| tongue.well.contains(&dialect);
        if speaks(client) || (preferred == Some(client) && tongue.also.contains(&client)) {
            return client;
        }
        preferred
            .filter(|p| speaks(*p) || tongue.also.contains(p))
            .unwrap_or(tongue.well[0])
    }

    /// Whether `dialect` can be asked for at all, so that a knob that prefers it is no mistake.
    #[must_use]
    pub fn speaks(self, dialect: DialectName, model: &str, place: &Place) -> bool {
        let tongue = self.tongue(model, place);
        tongue.well.contains(&dialect) || tongue.also.contains(&dialect)
    }

    fn tongue(self, model: &str, place: &Place) -> Tongue {
        match self {
            Self::Anthropic => Tongue::only(&[DialectName::Messages]),
            Self::OpenAi => openai::tongue(model),
            Self::Bedrock => bedrock::tongue(model, place),
            Self::Vertex => vertex::tongue(model),
            Self::Gemini => gemini::TONGUE,
            Self::Xai => xai::tongue(model),
            Self::Fireworks => fireworks::TONGUE,
            Self::OpenRouter => openrouter::TONGUE,
            Self::SelfHosted => selfhosted::TONGUE,
            Self::Fake => Tongue::only(&[
                DialectName::Chat,
                DialectName::Messages,
                DialectName::Completions,
            ]),
        }
    }

    /// Whether the provider answers `operation` in `dialect`, so that nobody is asked for what he does not offer.
    #[must_use]
    pub fn offers(self, operation: Operation, dialect: DialectName) -> bool {
        use DialectName::{Chat, Gemini, Messages, Responses};
        match (operation, self) {
            (Operation::Generate, _) => true,
            (Operation::CountTokens, Self::Anthropic | Self::Fake) => dialect == Messages,
            (Operation::CountTokens, Self::OpenAi) => dialect == Responses,
            (Operation::CountTokens, Self::Bedrock) => dialect != Chat && dialect != Responses,
            (Operation::CountTokens, Self::Vertex) => matches!(dialect, Messages | Gemini),
            (Operation::CountTokens, Self::Gemini) => dialect == Gemini,
            (Operation::CountTokens, Self::SelfHosted) => dialect == Messages,
            (Operation::CountTokens, Self::Xai | Self::Fireworks | Self::OpenRouter) => false,
            (Operation::Embed | Operation::EmbedMany, Self::Anthropic | Self::Xai) => false,
            (Operation::Embed | Operation::EmbedMany, Self::Vertex) => dialect == Gemini,
            (Operation::Embed | Operation::EmbedMany, _) => true,
            (Operation::VideoStart | Operation::VideoPoll, Self::Vertex | Self::Gemini) => {
                dialect == Gemini
            }
            (Operation::VideoContent, Self::Gemini) => dialect == Gemini,
            (
                Operation::VideoStart
                | Operation::VideoPoll
                | Operation::VideoContent
                | Operation::VideoDelete,
                Self::OpenAi | Self::Xai,
            ) => dialect != Gemini,
            (
                Operation::VideoStart
                | Operation::VideoPoll
                | Operation::VideoContent
                | Operation::VideoDelete,
                _,
            ) => false,
            // vLLM and SGLang serve Whisper and its like there; Fireworks has a host for it, which is a base URL here.
            (
                Operation::Transcribe | Operation::Translate,
                Self::OpenAi | Self::SelfHosted | Self::Fireworks,
            ) => dialect == Chat,
            (Operation::Transcribe | Operation::Translate, _) => false,
            (Operation::Kept(_), kind) => dialect == Responses && kind.keeps_answers(),
            (Operation::Cached(_), Self::Vertex | Self::Gemini) => dialect == Gemini,
            (Operation::Cached(_), _) => false,
        }
    }

    /// Whether answers in Responses are kept unless told otherwise, to be fetched and gone on from (`openai.md` 5, `xai.md` 1 and `fireworks.md` 1
    /// of `providers/`). Engines that keep them in their own memory, if started so, are not counted: they forget with every restart.
    #[must_use]
    pub fn keeps_answers(self) -> bool {
        match self {
            Self::OpenAi | Self::Xai | Self::Fireworks => true,
            Self::Anthropic
            | Self::Bedrock
            | Self::Vertex
            | Self::Gemini
            | Self::OpenRouter
            | Self::SelfHosted
            | Self::Fake => false,
        }
    }

    /// Method, path (and query) and headers of a call, without its credential.
    #[must_use]
    pub fn call(self, asking: &Asking<'_>) -> CallHead {
        match (self, asking.dialect) {
            (Self::Anthropic, _) | (Self::Fake, DialectName::Messages) => anthropic::call(asking),
            (Self::OpenAi | Self::Fake, _) => openai::call(asking),
            (Self::Bedrock, _) => bedrock::call(asking),
            (Self::Vertex, _) => vertex::call(asking),
            (Self::Gemini, _) => gemini::call(asking),
            (Self::Xai, _) => xai::call(asking),
            (Self::Fireworks, _) => fireworks::call(asking),
            (Self::OpenRouter, _) => openrouter::call(asking),
            (Self::SelfHosted, _) => selfhosted::call(asking),
        }
    }

    /// What the name of a video's operation begins with, before `models/`; empty but on Google Cloud.
    #[must_use]
    pub fn operations_root(self, place: &Place) -> String {
        match self {
            Self::Vertex => vertex::operations_root(place),
            _ => String::new(),
        }
    }

    /// What the name of a cached prefix begins with, before `cachedContents/`; empty but on Google Cloud.
    #[must_use]
    pub fn caches_root(self, place: &Place) -> String {
        match self {
            Self::Vertex => vertex::caches_root(place),
            _ => String::new(),
        }
    }

    /// How the body differs from the dialect's own at its top level (Claude on Bedrock and on Google Cloud); `None` where it does not.
    #[must_use]
    pub fn envelope(self, asking: &Asking<'_>) -> Option<Envelope> {
        match self {
            Self::Bedrock => bedrock::envelope(asking),
            Self::Vertex => vertex::envelope(asking),
            Self::Anthropic
            | Self::OpenAi
            | Self::Gemini
            | Self::Xai
            | Self::Fireworks
            | Self::OpenRouter
            | Self::SelfHosted
            | Self::Fake => None,
        }
    }

    /// Adds the credential's headers; signs where the provider wants a signature, which costs one hash of the body.
    pub fn sign(self, head: &mut CallHead, credential: Option<&Credential>, signing: &Signing<'_>) {
        match (self, credential) {
            (_, None) => {}
            (_, Some(Credential::Aws(aws))) => bedrock::sign(head, aws, signing),
            (Self::Anthropic, Some(Credential::Key(key))) => anthropic::sign(head, key),
            (Self::Gemini, Some(Credential::Key(key))) => gemini::sign(head, key),
            // Google Cloud's own keys have two beginnings; any other text is an access token (`providers/vertex.md` 3).
            (Self::Vertex, Some(Credential::Key(key)))
                if ["AIza", "AQ."]
                    .iter()
                    .any(|start| key.expose().starts_with(start)) =>
            {
                gemini::sign(head, key);
            }
            (Self::Fake, Some(Credential::Key(key))) if head.path.starts_with("/v1/messages") => {
                anthropic::sign(head, key);
            }
            (_, Some(Credential::Key(secret) | Credential::Bearer(secret))) => head.bearer(secret),
        }
    }

    /// How the answer is cut into events. What the answer says of itself wins over what was asked: an error may come as JSON
    /// where a stream was wanted (xAI docs, read 2026-11).
    #[must_use]
    pub fn framing(self, asking: &Asking<'_>, content_type: Option<&[u8]>) -> Framing {
        let is = |kind: &[u8]| {
            content_type.is_some_and(|c| {
                c.get(..kind.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(kind))
            })
        };
        if is(b"text/event-stream") {
            Framing::Sse
        } else if is(b"application/vnd.amazon.eventstream") {
            Framing::EventStream(match asking.dialect {
                DialectName::Converse => FramesOf::Converse,
                _ => FramesOf::Invoke,
            })
        } else if is(b"application/json") || is(b"text/html") || !asking.stream {
            Framing::Whole
        } else if self == Self::Bedrock && !asking.place.mantle {
            Framing::EventStream(match asking.dialect {
                DialectName::Converse => FramesOf::Converse,
                _ => FramesOf::Invoke,
            })
        } else {
            Framing::Sse
        }
    }

    /// What the provider's answer (of any status) says of its limits.
    #[must_use]
    pub fn hints(self, headers: &Headers, now: WallTime) -> hints::Hints {
        hints::read(headers, now)
    }

    /// What a refusal (any status but 2xx) means, from its status, headers and body together. Total: HTML of a proxy, an empty body, an array
    /// and another provider's error are somebody's answer too.
    #[must_use]
    pub fn fault(
        self,
        dialect: DialectName,
        status: u16,
        headers: &Headers,
        body: &[u8],
        hints: &hints::Hints,
    ) -> Fault {
        refusal::read(self, dialect, status, headers, body, hints)
    }

    /// The failure that a body of status 200 holds instead of an answer; `None` where it may be an answer.
    #[must_use]
    pub fn fault_in_success(
        self,
        dialect: DialectName,
        headers: &Headers,
        body: &[u8],
        hints: &hints::Hints,
    ) -> Option<Fault> {
        refusal::in_success(self, dialect, headers, body, hints)
    }
}

/// What a provider speaks for one model.
#[derive(Clone, Copy, Debug)]
pub struct Tongue {
    /// What it speaks as its own; never empty, the first is the best for clients of other dialects.
    pub well: &'static [DialectName],
    /// What it also takes, with losses or by an engine's leave: only for endpoints that prefer it.
    pub also: &'static [DialectName],
}

impl Tongue {
    #[must_use]
    pub const fn only(well: &'static [DialectName]) -> Self {
        Self { well, also: &[] }
    }
}

#[cfg(test)]
mod tests;
