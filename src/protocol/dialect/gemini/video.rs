//! Video that takes minutes: a job is started, asked about, and in the end there are files (Veo on Vertex AI and, once, the Gemini API;
//! docs read 2026-08).
//!
//! Pure: reads and writes the bodies of `:predictLongRunning`, of operations and of `:fetchPredictOperation`. When to ask again, and whom, is
//! not known here. OpenAI's form of the same jobs is in `video_openai`.

use super::errors;
use crate::base::{Json, Str};
use crate::canon::{Fault, FaultClass, Source, Usage};
use crate::protocol::json;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

pub use super::video_openai::{
    Job, read_openai, read_openai_form, read_openai_job, resolution_of, size, write_openai,
    write_openai_job,
};

/// What a video is to be made of. What is `None` was not said, and the provider's default holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoJob {
    /// Empty where the path says it.
    pub model: Str,
    pub prompt: Str,
    pub images: Vec<VideoImage>,
    /// A video to go on with.
    pub video: Option<Source>,
    pub seconds: Option<u32>,
    pub resolution: Option<Resolution>,
    pub aspect: Option<Str>,
    /// Videos wanted; `None` is one.
    pub count: Option<u32>,
    /// What only one provider knows (`negativePrompt`, `generateAudio`, …), by its own names, in order.
    pub parameters: Vec<(Str, Json)>,
}

/// An image and what it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoImage {
    pub role: ImageRole,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRole {
    First,
    Last,
    /// What shall appear, or how it shall look: the provider's word (`asset`, `style`).
    Reference(Str),
}

/// How fine the picture is, by the words of price lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    P720,
    P1080,
    K4,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum VideoState {
    /// `progress` in percent, where the provider says.
    Running {
        progress: Option<u8>,
    },
    /// Where the videos are. Fewer than were asked for when some were withheld, and then `withheld` says why.
    Done {
        videos: Vec<Source>,
        withheld: Vec<Str>,
    },
    Failed(Box<Fault>),
}

impl Resolution {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P720 => "720p",
            Self::P1080 => "1080p",
            Self::K4 => "4k",
        }
    }

    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::P720, Self::P1080, Self::K4]
            .into_iter()
            .find(|r| r.as_str().eq_ignore_ascii_case(word))
    }
}

// Veo's own, where a request does not say (Vertex AI docs, Veo, read 2026-08).
pub const SECONDS_DEFAULT: u32 = 8;
pub const RESOLUTION_DEFAULT: Resolution = Resolution::P720;

impl VideoJob {
    /// What a bill needs of `seconds` of this job's video.
    #[must_use]
    pub fn usage(&self, seconds: u64) -> Usage {
        let resolution = self.resolution.unwrap_or(RESOLUTION_DEFAULT);
        Usage {
            output_video_millis: Some(seconds * 1_000),
            output_video_resolution: Some(Str::from_static(resolution.as_str())),
            ..Usage::default()
        }
    }

    /// Seconds of each of its videos.
    #[must_use]
    pub fn seconds_each(&self) -> u64 {
        u64::from(self.seconds.unwrap_or(SECONDS_DEFAULT))
    }

    /// Seconds of video that are paid for when `state` is where the job ended: withheld videos are not charged.
    #[must_use]
    pub fn seconds_billed(&self, state: &VideoState) -> u64 {
        match state {
            VideoState::Done { videos, .. } => {
                u64::from(self.seconds.unwrap_or(SECONDS_DEFAULT)) * videos.len() as u64
            }
            VideoState::Running { .. } | VideoState::Failed(_) => 0,
        }
    }

    /// Seconds of video to be expected, for a bill before the fact.
    #[must_use]
    pub fn seconds_wanted(&self) -> u64 {
        u64::from(self.seconds.unwrap_or(SECONDS_DEFAULT)) * u64::from(self.count.unwrap_or(1))
    }
}

/// Reads the body of `:predictLongRunning`.
pub fn read(body: &[u8]) -> Result<VideoJob, Fault> {
    let value: Value = serde_json::from_slice(body).map_err(|e| {
        let place = format!(
            "the body is not JSON, line {} column {}",
            e.line(),
            e.column()
        );
        Fault::new(FaultClass::Invalid, place).with_code("invalid_json")
    })?;
    let instance = &value["instances"][0];
    if !instance.is_object() {
        return Err(Fault::invalid(
            "instances",
            "expected an array of one instance",
        ));
    }
    if value["instances"]
        .as_array()
        .is_some_and(|all| all.len() > 1)
    {
        let why = "expected one instance; several videos are asked for by sampleCount";
        return Err(Fault::invalid("instances", why));
    }
    let mut job = VideoJob {
        prompt: Str::from(instance["prompt"].as_str().unwrap_or_default()),
        images: images(instance)?,
        video: some_source(&instance["video"], "instances[0].video")?,
        ..VideoJob::default()
    };
    parameters(&value, &mut job)?;
    keep("instances[0].", instance, INSTANCE, &mut job);
    keep("", &value, &["instances", "parameters"], &mut job);
    if job.prompt.is_empty() && job.images.is_empty() && job.video.is_none() {
        return Err(Fault::invalid(
            "instances[0].prompt",
            "there must be a prompt, an image or a video",
        ));
    }
    Ok(job)
}

const INSTANCE: &[&str] = &["prompt", "image", "lastFrame", "referenceImages", "video"];
const PARAMETERS: &[&str] = &[
    "durationSeconds",
    "resolution",
    "aspectRatio",
    "sampleCount",
];

/// What is not known here goes on under its own path.
fn keep(path: &str, object: &Value, known: &[&str], job: &mut VideoJob) {
    let members = object.as_object().into_iter().flatten();
    for (name, value) in members.filter(|(n, v)| !known.contains(&n.as_str()) && !v.is_null()) {
        let name = Str::from(format!("{path}{name}"));
        job.parameters.push((name, Json::of(value)));
    }
}

fn parameters(value: &Value, job: &mut VideoJob) -> Result<(), Fault> {
    let given = &value["parameters"];
    let whole = |name: &str| match &given[name] {
        Value::Null => Ok(None),
        value => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) if n > 0 => Ok(Some(n)),
            _ => Err(Fault::invalid(
                format!("parameters.{name}"),
                "expected a whole number over 0",
            )),
        },
    };
    job.seconds = whole("durationSeconds")?;
    job.count = whole("sampleCount")?;
    job.aspect = given["aspectRatio"].as_str().map(Str::from);
    job.resolution = match &given["resolution"] {
        Value::Null => None,
        value => {
            let known = value.as_str().and_then(Resolution::of);
            let why = "expected `720p`, `1080p` or `4k`";
            Some(known.ok_or_else(|| Fault::invalid("parameters.resolution", why))?)
        }
    };
    keep("parameters.", given, PARAMETERS, job);
    Ok(())
}

fn images(instance: &Value) -> Result<Vec<VideoImage>, Fault> {
    let mut images = Vec::new();
    for (name, role) in [("image", ImageRole::First), ("lastFrame", ImageRole::Last)] {
        let path = format!("instances[0].{name}");
        let source = some_source(&instance[name], &path)?;
        images.extend(source.map(|source| VideoImage { role, source }));
    }
    let references = instance["referenceImages"].as_array();
    for (i, reference) in references.into_iter().flatten().enumerate() {
        let path = format!("instances[0].referenceImages[{i}].image");
        let source = some_source(&reference["image"], &path)?;
        let source = source.ok_or_else(|| Fault::invalid(path, "`image` is missing"))?;
        let role = reference["referenceType"].as_str().unwrap_or("asset");
        images.push(VideoImage {
            role: ImageRole::Reference(Str::from(role)),
            source,
        });
    }
    Ok(images)
}

/// Bytes, or where they lie: an object of either.
fn some_source(value: &Value, path: &str) -> Result<Option<Source>, Fault> {
    if value.is_null() {
        return Ok(None);
    }
    let wrong = || Fault::invalid(path, "expected `bytesBase64Encoded` or `gcsUri`");
    source_of(value).map(Some).ok_or_else(wrong)
}

fn source_of(value: &Value) -> Option<Source> {
    let text = |name: &str| value[name].as_str().filter(|s| !s.is_empty());
    let mime = text("mimeType").or_else(|| text("encoding")).map(Str::from);
    // The Gemini API's clients have other names for the same.
    let bytes = [
        "bytesBase64Encoded",
        "imageBytes",
        "videoBytes",
        "encodedVideo",
    ];
    if let Some(data) = bytes.iter().find_map(|name| text(name)) {
        return Some(Source::Base64 {
            media_type: mime.unwrap_or_else(|| Str::from_static("application/octet-stream")),
            data: Str::from(data),
        });
    }
    let url = text("gcsUri").or_else(|| text("uri"))?;
    Some(Source::Url {
        url: Str::from(url),
        media_type: mime,
    })
}

/// Writes the body of `:predictLongRunning`. `Err` names an image that is neither bytes nor in a bucket.
pub fn write(job: &VideoJob) -> Result<Bytes, Fault> {
    let mut out = BytesMut::from("{\"instances\":[{");
    if !job.prompt.is_empty() {
        json::field("prompt", &job.prompt, &mut out);
    }
    for (i, image) in job.images.iter().enumerate() {
        let name = match image.role {
            ImageRole::First => "image",
            ImageRole::Last => "lastFrame",
            ImageRole::Reference(_) => continue,
        };
        json::key(name, &mut out);
        write_source(&image.source, &format!("images[{i}]"), &mut out)?;
    }
    write_references(job, &mut out)?;
    if let Some(video) = &job.video {
        json::key("video", &mut out);
        write_source(video, "video", &mut out)?;
    }
    write_kept(job, "instances[0].", &mut out);
    out.extend_from_slice(b"}],\"parameters\":{");
    for (name, number) in [("durationSeconds", job.seconds), ("sampleCount", job.count)] {
        if let Some(number) = number {
            json::key(name, &mut out);
            json::integer(number, &mut out);
        }
    }
    let resolution = job.resolution.map(Resolution::as_str);
    for (name, word) in [
        ("resolution", resolution),
        ("aspectRatio", job.aspect.as_deref()),
    ] {
        if let Some(word) = word {
            json::field(name, word, &mut out);
        }
    }
    write_kept(job, "parameters.", &mut out);
    out.extend_from_slice(b"}");
    write_kept(job, "", &mut out);
    out.extend_from_slice(b"}");
    Ok(out.freeze())
}

fn write_references(job: &VideoJob, out: &mut BytesMut) -> Result<(), Fault> {
    let mut any = false;
    for (i, image) in job.images.iter().enumerate() {
        let ImageRole::Reference(role) = &image.role else {
            continue;
        };
        if !std::mem::replace(&mut any, true) {
            json::key("referenceImages", out);
            out.extend_from_slice(b"[");
        }
        json::comma(out);
        out.extend_from_slice(b"{\"image\":");
        write_source(&image.source, &format!("images[{i}]"), out)?;
        json::field("referenceType", role, out);
        out.extend_from_slice(b"}");
    }
    if any {
        out.extend_from_slice(b"]");
    }
    Ok(())
}

fn write_source(source: &Source, path: &str, out: &mut BytesMut) -> Result<(), Fault> {
    out.extend_from_slice(b"{");
    let mime = match source {
        Source::Base64 { media_type, data } => {
            json::field("bytesBase64Encoded", data, out);
            Some(media_type)
        }
        Source::Url { url, media_type } if url.starts_with("gs://") => {
            json::field("gcsUri", url, out);
            media_type.as_ref()
        }
        // The Gemini API's own files, by the address that it gave out.
        Source::Url { url, media_type } if url.contains("generativelanguage.googleapis.com/") => {
            json::field("uri", url, out);
            media_type.as_ref()
        }
        Source::Url { .. } | Source::File { .. } | Source::Text { .. } | Source::Blocks(_) => {
            let why = "it must be base64 or lie in a bucket (gs://) for this model's provider";
            return Err(Fault::invalid(path, why).with_code("unsupported_value"));
        }
    };
    if let Some(mime) = mime {
        json::field("mimeType", mime, out);
    }
    out.extend_from_slice(b"}");
    Ok(())
}

/// What was kept under `path`, and no deeper.
fn write_kept(job: &VideoJob, path: &str, out: &mut BytesMut) {
    for (name, value) in &job.parameters {
        let Some(own) = name.strip_prefix(path).filter(|n| !n.contains('.')) else {
            continue;
        };
        json::comma(out);
        json::string(own, out);
        out.extend_from_slice(b":");
        out.extend_from_slice(value.get().as_bytes());
    }
}

/// The name of an operation, from the answer to a start or from any later one. `None` for what has none.
#[must_use]
pub fn operation_name(body: &[u8]) -> Option<Str> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let name = value["name"].as_str().filter(|n| !n.is_empty())?;
    Some(Str::from(name))
}

/// The body of `:fetchPredictOperation`, by which Vertex is asked; the Gemini API is asked at the operation's own path.
#[must_use]
pub fn write_fetch(operation: &str) -> Bytes {
    let mut out = BytesMut::from("{");
    json::field("operationName", operation, &mut out);
    out.extend_from_slice(b"}");
    out.freeze()
}

/// Reads the body of `:fetchPredictOperation`.
pub fn read_fetch(body: &[u8]) -> Result<Str, Fault> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let name = value.and_then(|v| v["operationName"].as_str().map(Str::from));
    name.filter(|n| !n.is_empty())
        .ok_or_else(|| Fault::invalid("operationName", "`operationName` is missing"))
}

/// How the job stands, from an operation of either product. `Failed` also for what is no operation.
#[must_use]
pub fn read_operation(body: &[u8]) -> VideoState {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return broken("the provider's operation is not JSON");
    };
    if value.get("error").is_some_and(|e| !e.is_null()) {
        return VideoState::Failed(Box::new(failure(&value)));
    }
    if value["done"] != true {
        let percent = &value["metadata"]["progressPercent"];
        let percent = percent.as_u64().or(percent.as_f64().map(|p| p as u64));
        return VideoState::Running {
            progress: percent.map(|p| p.min(100) as u8),
        };
    }
    let response = &value["response"];
    let (videos, withheld) = (videos(response), withheld(response));
    if videos.is_empty() {
        let why = if withheld.is_empty() {
            return broken("the provider's operation is done and has no video");
        } else {
            withheld.join("; ")
        };
        let fault = Fault::new(FaultClass::ContentPolicy, why).with_code("video_withheld");
        return VideoState::Failed(Box::new(fault));
    }
    VideoState::Done { videos, withheld }
}

fn broken(why: &str) -> VideoState {
    VideoState::Failed(Box::new(Fault::new(FaultClass::UpstreamBroken, why)))
}

/// Errors of operations carry google.rpc.Code's numbers, not HTTP's.
fn failure(value: &Value) -> Fault {
    let mut value = value.clone();
    let code = value["error"]["code"].as_u64().filter(|c| *c < 100);
    if let (Some(code), Some(error)) = (code, value["error"].as_object_mut()) {
        let (status, word) = match code {
            1 => (499, "CANCELLED"),
            3 => (400, "INVALID_ARGUMENT"),
            4 => (504, "DEADLINE_EXCEEDED"),
            5 => (404, "NOT_FOUND"),
            7 => (403, "PERMISSION_DENIED"),
            8 => (429, "RESOURCE_EXHAUSTED"),
            9 => (400, "FAILED_PRECONDITION"),
            10 => (409, "ABORTED"),
            14 => (503, "UNAVAILABLE"),
            16 => (401, "UNAUTHENTICATED"),
            _ => (500, "INTERNAL"),
        };
        error.insert("code".to_owned(), status.into());
        error.entry("status").or_insert_with(|| word.into());
    }
    errors::read_value(None, &value)
}

/// Every name that the two products and their clients have for the list.
fn videos(response: &Value) -> Vec<Source> {
    let inner = &response["generateVideoResponse"];
    let lists = [
        &response["videos"],
        &inner["generatedSamples"],
        &inner["generatedVideos"],
        &response["generatedSamples"],
        &response["generatedVideos"],
    ];
    let found = lists.iter().find_map(|l| l.as_array());
    let items = found.into_iter().flatten();
    items
        .filter_map(|item| {
            let video = item.get("video").unwrap_or(item);
            source_of(video)
        })
        .collect()
}

/// Why videos were withheld.
fn withheld(response: &Value) -> Vec<Str> {
    let inner = response.get("generateVideoResponse").unwrap_or(response);
    let reasons = inner["raiMediaFilteredReasons"].as_array();
    let told: Vec<Str> = (reasons.into_iter().flatten())
        .filter_map(|r| r.as_str().map(Str::from))
        .collect();
    let count = inner["raiMediaFilteredCount"].as_u64().unwrap_or_default();
    if told.is_empty() && count > 0 {
        return vec![Str::from(format!("{count} withheld by the provider"))];
    }
    told
}

/// The answer to a start: the operation's name alone.
#[must_use]
pub fn write_started(operation: &str) -> Bytes {
    let mut out = BytesMut::from("{");
    json::field("name", operation, &mut out);
    out.extend_from_slice(b"}");
    out.freeze()
}

/// Which product's words an operation is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// `response.generateVideoResponse.generatedSamples[].video`
    GeminiApi,
    /// `response.videos[]`
    Vertex,
}

/// The operation `name` as it stands.
#[must_use]
pub fn write_operation(name: &str, state: &VideoState, product: Product) -> Bytes {
    let mut operation = Map::new();
    operation.insert("name".to_owned(), name.into());
    match state {
        VideoState::Running { progress } => {
            if let Some(percent) = progress {
                let metadata = serde_json::json!({"progressPercent": percent});
                operation.insert("metadata".to_owned(), metadata);
            }
        }
        VideoState::Done { videos, withheld } => {
            operation.insert("done".to_owned(), true.into());
            operation.insert("response".to_owned(), response(videos, withheld, product));
        }
        VideoState::Failed(fault) => {
            let (status, _) = errors::write(fault, "");
            operation.insert("done".to_owned(), true.into());
            let error = serde_json::json!({"code": code_of(status), "message": fault.message});
            operation.insert("error".to_owned(), error);
        }
    }
    Bytes::from(Value::Object(operation).to_string())
}

/// google.rpc.Code for an HTTP status.
fn code_of(status: u16) -> u64 {
    match status {
        400 | 413 | 426 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        408 | 504 => 4,
        409 => 10,
        429 => 8,
        502 | 503 => 14,
        _ => 13,
    }
}

/// The provider's operation under the name by which its client knows it, and with its files where the client can fetch them: `address` gives
/// the new place of an old one. Everything else stays as it was said. `None` for what is no operation.
#[must_use]
pub fn retell(body: &[u8], name: &str, address: &dyn Fn(&str) -> Option<String>) -> Option<Bytes> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    value.get("name")?;
    value["name"] = name.into();
    if let Some(response) = value.get_mut("response") {
        move_files(response, address);
    }
    Some(Bytes::from(value.to_string()))
}

fn move_files(value: &mut Value, address: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(place) if name == "uri" => {
                        if let Some(new) = address(place) {
                            *place = new;
                        }
                    }
                    other => move_files(other, address),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_files(item, address)),
        _ => {}
    }
}

fn response(videos: &[Source], withheld: &[Str], product: Product) -> Value {
    let video = |source: &Source| match (source, product) {
        (Source::Base64 { media_type, data }, Product::Vertex) => {
            serde_json::json!({"bytesBase64Encoded": &**data, "mimeType": &**media_type})
        }
        (Source::Base64 { media_type, data }, Product::GeminiApi) => {
            serde_json::json!({"encodedVideo": &**data, "encoding": &**media_type})
        }
        (Source::Url { url, media_type }, Product::Vertex) => {
            let mime = media_type.as_deref().unwrap_or("video/mp4");
            serde_json::json!({"gcsUri": &**url, "mimeType": mime})
        }
        (Source::Url { url, .. } | Source::File { id: url }, _) => {
            serde_json::json!({"uri": &**url})
        }
        // No video is text.
        (Source::Text { .. } | Source::Blocks(_), _) => Value::Null,
    };
    let list: Vec<Value> = match product {
        Product::Vertex => videos.iter().map(video).collect(),
        Product::GeminiApi => videos
            .iter()
            .map(|v| serde_json::json!({"video": video(v)}))
            .collect(),
    };
    let mut inner = Map::new();
    let name = match product {
        Product::Vertex => "videos",
        Product::GeminiApi => "generatedSamples",
    };
    inner.insert(name.to_owned(), list.into());
    if !withheld.is_empty() {
        let reasons: Vec<&str> = withheld.iter().map(|w| &**w).collect();
        inner.insert("raiMediaFilteredCount".to_owned(), reasons.len().into());
        inner.insert("raiMediaFilteredReasons".to_owned(), reasons.into());
    }
    match product {
        Product::Vertex => Value::Object(inner),
        Product::GeminiApi => serde_json::json!({"generateVideoResponse": inner}),
    }
}

#[cfg(test)]
#[path = "video_tests.rs"]
mod tests;
