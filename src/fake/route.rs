//! Which API a path belongs to, what is wanted there, and what the path itself says: model, stream, project.
//!
//! Reads nothing of the body. Prefixes before the known tails (`/inference`, `/api`, `/openai`, `/anthropic`) are passed over, since
//! providers differ in nothing else there.

use super::book::Wire;

/// Under whose roof a dialect is spoken: ids, errors, headers and keys differ by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Platform {
    #[default]
    Own,
    /// The Gemini Developer API.
    Gemini,
    Vertex,
    /// Bedrock's runtime; Mantle is spoken to like its own provider.
    Bedrock,
}

/// How the events of a stream are cut from bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Sse,
    /// One JSON array, as Google streams without `alt=sse`.
    Array,
    /// `application/vnd.amazon.eventstream`.
    Aws,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Answer,
    /// The same, of a text that is gone on with.
    GoOn,
    Count,
    Embed,
    EmbedMany,
    /// Embeddings by Vertex' general call.
    Predict,
    Models,
    Model(String),
    Stored(String),
    Cancel(String),
    Inputs(String),
    Deferred(String),
    Video,
    /// Vertex asks for a job by its name in the body.
    VideoPoll,
    Operation(String),
    /// Prefixes kept under names, and one of them.
    Caches,
    Cache(String),
    File(String),
    /// Orders at OpenAI, and how one stands, and its bytes.
    Videos,
    VideoObject(String),
    VideoContent(String),
    /// Sound as text, in its own language or in English.
    Transcribe,
    Translate,
    GoogleToken,
    GoogleMetadata,
    AwsImdsToken,
    AwsImdsRoles,
    AwsImdsRole,
    AwsContainer,
    AwsSts,
    Health,
    Metrics,
    Load,
    Version,
    Nothing,
}

/// What a path says.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub wire: Wire,
    pub platform: Platform,
    pub framing: Framing,
    pub deed: Deed,
    /// The model, where the path names it.
    pub model: Option<String>,
    /// Whether to stream, where the path says it.
    pub stream: Option<bool>,
    pub project: Option<String>,
}

impl Route {
    fn of(wire: Wire, deed: Deed) -> Self {
        Self {
            wire,
            platform: Platform::Own,
            framing: Framing::Sse,
            deed,
            model: None,
            stream: None,
            project: None,
        }
    }

    /// The methods that are taken.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self.deed {
            Deed::Stored(_) | Deed::VideoObject(_) => &["GET", "DELETE"],
            Deed::Caches => &["GET", "POST"],
            Deed::Cache(_) => &["GET", "PATCH", "DELETE"],
            Deed::Models
            | Deed::Model(_)
            | Deed::Inputs(_)
            | Deed::Deferred(_)
            | Deed::Operation(_)
            | Deed::File(_)
            | Deed::VideoContent(_)
            | Deed::GoogleMetadata
            | Deed::AwsImdsRoles
            | Deed::AwsImdsRole
            | Deed::AwsContainer
            | Deed::Health
            | Deed::Metrics
            | Deed::Load
            | Deed::Version => &["GET"],
            Deed::AwsImdsToken => &["PUT"],
            _ => &["POST"],
        }
    }

    /// Asks how the engine is.
    pub(super) fn is_feeling(&self) -> bool {
        matches!(self.deed, Deed::Health | Deed::Metrics | Deed::Load)
    }

    /// Hands out credentials, and so asks for none of ours.
    pub(super) fn is_open(&self) -> bool {
        matches!(
            self.deed,
            Deed::GoogleToken
                | Deed::GoogleMetadata
                | Deed::AwsImdsToken
                | Deed::AwsImdsRoles
                | Deed::AwsImdsRole
                | Deed::AwsContainer
                | Deed::AwsSts
                | Deed::Health
                | Deed::Metrics
                | Deed::Load
                | Deed::Version
        )
    }
}

/// Reads `path` (no query) and `query`; `google` says that a key came as Google's keys come, `messages` that a header names a version.
pub(super) fn route(path: &str, query: &str, google: bool, messages: bool) -> Route {
    if let Some(route) = bedrock(path) {
        return route;
    }
    if let Some(route) = googles(path, query, google) {
        return route;
    }
    if let Some(deed) = credentials(path) {
        return Route::of(Wire::Chat, deed);
    }
    openais(path, messages)
}

/// `/model/{id}/{action}` (Bedrock service model, read 2026-11).
fn bedrock(path: &str) -> Option<Route> {
    let (model, action) = path.strip_prefix("/model/")?.rsplit_once('/')?;
    let (wire, deed, stream) = match action {
        "invoke" if model.contains("embed") => (Wire::Converse, Deed::Embed, false),
        "invoke" => (Wire::Messages, Deed::Answer, false),
        "invoke-with-response-stream" => (Wire::Messages, Deed::Answer, true),
        "converse" => (Wire::Converse, Deed::Answer, false),
        "converse-stream" => (Wire::Converse, Deed::Answer, true),
        "count-tokens" => (Wire::Converse, Deed::Count, false),
        _ => (Wire::Converse, Deed::Nothing, false),
    };
    Some(Route {
        platform: Platform::Bedrock,
        framing: Framing::Aws,
        model: Some(percent_decoded(model)),
        stream: Some(stream),
        ..Route::of(wire, deed)
    })
}

fn googles(path: &str, query: &str, google: bool) -> Option<Route> {
    let mut parts = path.strip_prefix('/')?.splitn(2, '/');
    let (version, rest) = (parts.next()?, parts.next().unwrap_or(""));
    if !matches!(version, "v1" | "v1beta" | "v1beta1") {
        return None;
    }
    let mut route = Route::of(Wire::Gemini, Deed::Nothing);
    if !query.split('&').any(|pair| pair == "alt=sse") {
        route.framing = Framing::Array;
    }
    let mut rest = rest;
    route.platform = Platform::Gemini;
    if let Some(after) = rest.strip_prefix("projects/") {
        let (project, after) = after.split_once('/')?;
        let (_, after) = after.strip_prefix("locations/")?.split_once('/')?;
        (route.platform, route.project) = (Platform::Vertex, Some(project.to_owned()));
        if after == "endpoints/openapi/chat/completions" {
            (route.wire, route.deed) = (Wire::Chat, Deed::Answer);
            return Some(route);
        }
        rest = after;
    }
    if let Some(after) = rest.strip_prefix("publishers/anthropic/models/") {
        return Some(claude_at_vertex(route, after));
    }
    let publisher = rest.strip_prefix("publishers/google/");
    route.platform = match publisher {
        Some(_) => Platform::Vertex,
        None => route.platform,
    };
    let rest = publisher.unwrap_or(rest);
    if let Some(id) = rest.strip_prefix("files/") {
        route.deed = Deed::File(id.trim_end_matches(":download").to_owned());
        return Some(route);
    }
    if let Some(below) = rest.strip_prefix("cachedContents") {
        route.deed = match below.strip_prefix('/') {
            Some(id) => Deed::Cache(percent_decoded(id)),
            None if below.is_empty() => Deed::Caches,
            None => Deed::Nothing,
        };
        return Some(route);
    }
    let after = rest.strip_prefix("models").filter(|_| {
        // `/v1/models` is everybody's; only a key of Google's tells whose list is wanted.
        version != "v1" || google || publisher.is_some() || rest.contains(':')
    });
    match after {
        Some(after) => google_models(&mut route, rest, after),
        None if version == "v1" && publisher.is_none() => return None,
        None => {}
    }
    // What no Google path is may still be an own one under `/v1beta/openai`.
    (route.deed != Deed::Nothing || !rest.starts_with("openai/")).then_some(route)
}

fn google_models(route: &mut Route, whole: &str, after: &str) {
    let name = after.trim_start_matches('/');
    if name.is_empty() {
        route.deed = Deed::Models;
    } else if name.contains("/operations/") {
        route.deed = Deed::Operation(whole.to_owned());
    } else if let Some((model, action)) = name.rsplit_once(':') {
        route.model = Some(percent_decoded(model));
        (route.deed, route.stream) = match action {
            "generateContent" => (Deed::Answer, Some(false)),
            "streamGenerateContent" => (Deed::Answer, Some(true)),
            "countTokens" => (Deed::Count, Some(false)),
            "embedContent" => (Deed::Embed, Some(false)),
            "batchEmbedContents" => (Deed::EmbedMany, Some(false)),
            "predict" => (Deed::Predict, Some(false)),
            "predictLongRunning" => (Deed::Video, Some(false)),
            "fetchPredictOperation" => (Deed::VideoPoll, Some(false)),
            _ => (Deed::Nothing, None),
        };
    } else {
        route.deed = Deed::Model(percent_decoded(name));
    }
}

/// Claude under Google's roof (Vertex docs, read 2026-11): the model stands in the path, except for counting.
fn claude_at_vertex(mut route: Route, after: &str) -> Route {
    (route.wire, route.framing) = (Wire::Messages, Framing::Sse);
    let (model, action) = after.rsplit_once(':').unwrap_or((after, ""));
    (route.deed, route.stream) = match action {
        "rawPredict" if model == "count-tokens" => (Deed::Count, Some(false)),
        "rawPredict" => (Deed::Answer, Some(false)),
        "streamRawPredict" => (Deed::Answer, Some(true)),
        _ => (Deed::Nothing, None),
    };
    route.model = (route.deed == Deed::Answer).then(|| percent_decoded(model));
    route
}

fn credentials(path: &str) -> Option<Deed> {
    let google = "/computeMetadata/v1/instance/service-accounts/";
    Some(match path {
        "/token" => Deed::GoogleToken,
        "/latest/api/token" => Deed::AwsImdsToken,
        "/latest/meta-data/iam/security-credentials"
        | "/latest/meta-data/iam/security-credentials/" => Deed::AwsImdsRoles,
        "/v2/credentials" | "/v1/credentials" => Deed::AwsContainer,
        "/" | "/sts" => Deed::AwsSts,
        "/health" | "/health_generate" | "/ready" | "/ping" => Deed::Health,
        "/metrics" => Deed::Metrics,
        "/load" | "/v1/loads" => Deed::Load,
        "/version" => Deed::Version,
        _ if path.starts_with("/latest/meta-data/iam/security-credentials/") => Deed::AwsImdsRole,
        _ if path.starts_with(google) && path.ends_with("/token") => Deed::GoogleMetadata,
        _ => return None,
    })
}

fn openais(path: &str, messages: bool) -> Route {
    let ends = |tail: &str| path.ends_with(tail);
    let models = if messages { Wire::Messages } else { Wire::Chat };
    if ends("/v1/chat/completions") || ends("/openai/chat/completions") {
        return Route::of(Wire::Chat, Deed::Answer);
    }
    if ends("/v1/completions") || ends("/openai/completions") {
        return Route::of(Wire::Chat, Deed::GoOn);
    }
    if ends("/v1/audio/transcriptions") {
        return Route::of(Wire::Chat, Deed::Transcribe);
    }
    if ends("/v1/audio/translations") {
        return Route::of(Wire::Chat, Deed::Translate);
    }
    if ends("/v1/embeddings") || ends("/openai/embeddings") {
        return Route::of(Wire::Chat, Deed::Embed);
    }
    if ends("/v1/messages/count_tokens") {
        return Route::of(Wire::Messages, Deed::Count);
    }
    if ends("/v1/messages") {
        return Route::of(Wire::Messages, Deed::Answer);
    }
    if ends("/v1/responses") {
        return Route::of(Wire::Responses, Deed::Answer);
    }
    if ends("/v1/responses/input_tokens") {
        return Route::of(Wire::Responses, Deed::Count);
    }
    if let Some((_, id)) = path.split_once("/v1/responses/") {
        return Route::of(Wire::Responses, stored(id));
    }
    if ends("/v1/videos") {
        return Route::of(Wire::Chat, Deed::Videos);
    }
    if let Some((_, id)) = path.split_once("/v1/videos/") {
        return Route::of(
            Wire::Chat,
            match id.split_once('/') {
                None => Deed::VideoObject(id.to_owned()),
                Some((id, "content")) => Deed::VideoContent(id.to_owned()),
                Some(_) => Deed::Nothing,
            },
        );
    }
    if let Some((_, id)) = path.split_once("/v1/chat/deferred-completion/") {
        return Route::of(Wire::Chat, Deed::Deferred(id.to_owned()));
    }
    if ends("/v1/models") || ends("/v1/language-models") {
        return Route::of(models, Deed::Models);
    }
    if let Some((_, name)) = path.split_once("/v1/models/") {
        return Route::of(models, Deed::Model(percent_decoded(name)));
    }
    let wire = if path.contains("/v1/messages") || messages {
        Wire::Messages
    } else {
        Wire::Chat
    };
    Route::of(wire, Deed::Nothing)
}

fn stored(rest: &str) -> Deed {
    match rest.split_once('/') {
        None => Deed::Stored(rest.to_owned()),
        Some((id, "cancel")) => Deed::Cancel(id.to_owned()),
        Some((id, "input_items")) => Deed::Inputs(id.to_owned()),
        Some(_) => Deed::Nothing,
    }
}

/// The value of `name` in `query`.
pub(super) fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// `text` with its `%41` undone; what is no UTF-8 then is replaced.
pub(super) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        let byte = hex.and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
