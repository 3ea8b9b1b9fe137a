//! OpenAI's `/v1/videos` (API reference, read 2026-08) ⇄ the same jobs: as JSON, or as the form that official clients send.

use super::video::{ImageRole, Resolution, VideoImage, VideoJob, VideoState};
use crate::base::{Json, Str};
use crate::canon::{Fault, FaultClass, Source};
use crate::protocol::dialect::chat::errors;
use crate::protocol::json;
use crate::protocol::multipart::Part;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// What a video object says beside how the job stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    pub id: Str,
    /// As the client named it.
    pub model: Str,
    /// Seconds since 1970.
    pub created: i64,
    pub completed: Option<i64>,
    pub prompt: Str,
    pub seconds: Option<u32>,
    pub size: Option<Str>,
}

/// Reads the body of `POST /v1/videos`.
pub fn read_openai(body: &[u8]) -> Result<VideoJob, Fault> {
    let value: Value = serde_json::from_slice(body).map_err(|e| {
        let place = format!(
            "the body is not JSON, line {} column {}",
            e.line(),
            e.column()
        );
        Fault::new(FaultClass::Invalid, place).with_code("invalid_json")
    })?;
    if !value.is_object() {
        return Err(Fault::new(
            FaultClass::Invalid,
            "the body is not a JSON object",
        ));
    }
    of_object(&value)
}

fn of_object(value: &Value) -> Result<VideoJob, Fault> {
    let text = |name: &str| {
        value[name]
            .as_str()
            .filter(|s| !s.is_empty())
            .map(Str::from)
    };
    let need =
        |name: &str| text(name).ok_or_else(|| Fault::invalid(name, format!("`{name}` is missing")));
    let (resolution, aspect) = match text("size") {
        Some(size) => picture(&size)?,
        None => (None, None),
    };
    let mut job = VideoJob {
        model: need("model")?,
        prompt: need("prompt")?,
        images: reference(&value["input_reference"])?,
        seconds: seconds(&value["seconds"])?,
        resolution,
        aspect,
        ..VideoJob::default()
    };
    let known = ["model", "prompt", "input_reference", "seconds", "size"];
    for (name, value) in value.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) && !value.is_null() {
            job.parameters
                .push((Str::from(name.as_str()), Json::of(value)));
        }
    }
    Ok(job)
}

/// Reads the fields of the form that official clients make of the same request: a reference is a file, or its members stand in brackets.
pub fn read_openai_form(parts: &[Part], body: &[u8]) -> Result<VideoJob, Fault> {
    let mut object = serde_json::Map::new();
    let mut uploads = Vec::new();
    for part in parts {
        let bytes = &body[part.bytes.clone()];
        if part.name == "input_reference" && part.file_name.is_some() {
            uploads.push(upload(part, bytes));
            continue;
        }
        let wrong = || Fault::invalid(&*part.name, "expected text");
        let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        match part.name.strip_prefix("input_reference[") {
            Some(member) => {
                let into = object.entry("input_reference");
                let into = into.or_insert_with(|| Value::Object(serde_json::Map::new()));
                into[member.trim_end_matches(']')] = text.into();
            }
            None => {
                object.insert(part.name.clone(), text.into());
            }
        }
    }
    if uploads.len() > 1 {
        return Err(Fault::invalid("input_reference", "expected one image"));
    }
    let mut job = of_object(&Value::Object(object))?;
    if !uploads.is_empty() {
        job.images = uploads;
    }
    Ok(job)
}

fn upload(part: &Part, bytes: &[u8]) -> VideoImage {
    use base64::Engine as _;
    let media_type = part.media_type.as_deref();
    VideoImage {
        role: ImageRole::First,
        source: Source::Base64 {
            media_type: Str::from(media_type.unwrap_or("application/octet-stream")),
            data: Str::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        },
    }
}

/// OpenAI has it as a string.
fn seconds(value: &Value) -> Result<Option<u32>, Fault> {
    let said = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let whole = said.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let wrong = || Fault::invalid("seconds", "expected a whole number over 0");
    whole.map(Some).ok_or_else(wrong)
}

/// `1280x720` → 720p, 16:9. The shorter side names the resolution.
fn picture(size: &str) -> Result<(Option<Resolution>, Option<Str>), Fault> {
    let wrong = || Fault::invalid("size", "expected a width and a height, as 1280x720");
    let (width, height) = size.split_once('x').ok_or_else(wrong)?;
    let side = |s: &str| s.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong);
    let (width, height) = (side(width)?, side(height)?);
    let resolution = match width.min(height) {
        0..=720 => Resolution::P720,
        721..=1_080 => Resolution::P1080,
        _ => Resolution::K4,
    };
    let aspect = match width.cmp(&height) {
        std::cmp::Ordering::Less => "9:16",
        std::cmp::Ordering::Greater => "16:9",
        std::cmp::Ordering::Equal => "1:1",
    };
    Ok((Some(resolution), Some(Str::from_static(aspect))))
}

/// The resolution of a size that a provider names; `None` for what is no size.
#[must_use]
pub fn resolution_of(size: &str) -> Option<Resolution> {
    picture(size).ok()?.0
}

/// The width and height of a job; `None` where neither was said.
#[must_use]
pub fn size(job: &VideoJob) -> Option<&'static str> {
    let portrait = job.aspect.as_deref() == Some("9:16");
    let resolution = job
        .resolution
        .or(job.aspect.as_ref().map(|_| Resolution::P720));
    Some(match (resolution?, portrait) {
        (Resolution::P720, false) => "1280x720",
        (Resolution::P720, true) => "720x1280",
        (Resolution::P1080, false) => "1920x1080",
        (Resolution::P1080, true) => "1080x1920",
        (Resolution::K4, false) => "3840x2160",
        (Resolution::K4, true) => "2160x3840",
    })
}

/// `{"image_url": …}` or a string: a data URL or an address; `{"file_id": …}`.
fn reference(value: &Value) -> Result<Vec<VideoImage>, Fault> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let url = value.as_str().or(value["image_url"].as_str());
    let wrong = || Fault::invalid("input_reference", "expected an image's URL or file id");
    let source = match (url, value["file_id"].as_str()) {
        (Some(url), _) => of_url(url).ok_or_else(wrong)?,
        (None, Some(id)) => Source::File { id: Str::from(id) },
        (None, None) => return Err(wrong()),
    };
    Ok(vec![VideoImage {
        role: ImageRole::First,
        source,
    }])
}

fn of_url(url: &str) -> Option<Source> {
    let Some(rest) = url.strip_prefix("data:") else {
        return (!url.is_empty()).then(|| Source::Url {
            url: Str::from(url),
            media_type: None,
        });
    };
    let (mime, data) = rest.split_once(";base64,")?;
    Some(Source::Base64 {
        media_type: Str::from(mime),
        data: Str::from(data),
    })
}

/// Writes the body of `POST /v1/videos`. `Err` names what OpenAI has no words for.
pub fn write_openai(job: &VideoJob) -> Result<Bytes, Fault> {
    let mut out = BytesMut::from("{");
    json::field("model", &job.model, &mut out);
    json::field("prompt", &job.prompt, &mut out);
    if let Some(seconds) = job.seconds {
        json::field("seconds", &seconds.to_string(), &mut out);
    }
    if let Some(size) = size(job) {
        json::field("size", size, &mut out);
    }
    let cannot = |field: &str, why: &str| Fault::invalid(field, why).with_code("unsupported_value");
    if job.video.is_some() {
        return Err(cannot(
            "video",
            "this model's provider makes no video of a video here",
        ));
    }
    if job.count.is_some_and(|n| n > 1) {
        return Err(cannot(
            "count",
            "this model's provider makes one video at a time",
        ));
    }
    for (i, image) in job.images.iter().enumerate() {
        let field = format!("images[{i}]");
        if i > 0 || image.role != ImageRole::First {
            return Err(cannot(
                &field,
                "this model's provider takes a first image alone",
            ));
        }
        write_reference(&image.source, &field, &mut out)?;
    }
    for (name, value) in &job.parameters {
        if name.contains('.') {
            let why = "it cannot be said to this model's provider";
            return Err(cannot(name, why));
        }
        json::comma(&mut out);
        json::string(name, &mut out);
        out.extend_from_slice(b":");
        out.extend_from_slice(value.get().as_bytes());
    }
    out.extend_from_slice(b"}");
    Ok(out.freeze())
}

fn write_reference(source: &Source, field: &str, out: &mut BytesMut) -> Result<(), Fault> {
    json::key("input_reference", out);
    out.extend_from_slice(b"{");
    match source {
        Source::File { id } => json::field("file_id", id, out),
        Source::Url { url, .. } => json::field("image_url", url, out),
        Source::Base64 { media_type, data } => {
            json::key("image_url", out);
            out.extend_from_slice(b"\"data:");
            json::escaped(media_type, out);
            out.extend_from_slice(b";base64,");
            json::escaped(data, out);
            out.extend_from_slice(b"\"");
        }
        Source::Text { .. } | Source::Blocks(_) => {
            return Err(Fault::invalid(field, "an image cannot be text"));
        }
    }
    out.extend_from_slice(b"}");
    Ok(())
}

/// A video object. Where its bytes are is `/v1/videos/{id}/content`, so it does not say.
#[must_use]
pub fn write_openai_job(job: &Job, state: &VideoState) -> Bytes {
    let (status, progress) = match state {
        VideoState::Running { progress: None } => ("queued", 0),
        VideoState::Running { progress: Some(p) } => ("in_progress", *p),
        VideoState::Done { .. } => ("completed", 100),
        VideoState::Failed(_) => ("failed", 0),
    };
    let mut out = BytesMut::from("{");
    json::field("id", &job.id, &mut out);
    json::field("object", "video", &mut out);
    json::field("model", &job.model, &mut out);
    json::field("status", status, &mut out);
    json::key("progress", &mut out);
    json::integer(progress, &mut out);
    json::key("created_at", &mut out);
    json::integer(job.created, &mut out);
    if let Some(completed) = job.completed {
        json::key("completed_at", &mut out);
        json::integer(completed, &mut out);
    }
    // Who asks later is not told again what the job was ordered with.
    if !job.prompt.is_empty() {
        json::field("prompt", &job.prompt, &mut out);
    }
    if let Some(seconds) = job.seconds {
        json::field("seconds", &seconds.to_string(), &mut out);
    }
    if let Some(size) = &job.size {
        json::field("size", size, &mut out);
    }
    json::key("error", &mut out);
    match state {
        VideoState::Failed(fault) => {
            out.extend_from_slice(b"{");
            let code = fault.code.as_deref().unwrap_or(fault.class.as_str());
            json::field("code", code, &mut out);
            json::field("message", &fault.message, &mut out);
            out.extend_from_slice(b"}");
        }
        VideoState::Running { .. } | VideoState::Done { .. } => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

/// Reads a video object. A finished one has its bytes at `content`, which is told as the file of its id. `None` for what is none.
#[must_use]
pub fn read_openai_job(body: &[u8]) -> Option<(Job, VideoState)> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| value[name].as_str().map(Str::from);
    let job = Job {
        id: text("id")?,
        model: text("model").unwrap_or_default(),
        created: value["created_at"].as_i64().unwrap_or_default(),
        completed: value["completed_at"].as_i64(),
        prompt: text("prompt").unwrap_or_default(),
        seconds: seconds(&value["seconds"]).ok().flatten(),
        size: text("size"),
    };
    let progress = value["progress"].as_u64().map(|p| p.min(100) as u8);
    let state = match value["status"].as_str()? {
        "completed" => VideoState::Done {
            videos: vec![Source::File { id: job.id.clone() }],
            withheld: Vec::new(),
        },
        "failed" | "cancelled" => VideoState::Failed(Box::new(errors::read_value(None, &value))),
        "in_progress" => VideoState::Running {
            progress: Some(progress.unwrap_or_default()),
        },
        // `queued`, and words to come.
        _ => VideoState::Running { progress: None },
    };
    Some((job, state))
}

impl Job {
    /// The object of a job that was just asked for.
    #[must_use]
    pub fn of(asked: &VideoJob, id: Str, model: Str, created: i64) -> Self {
        Self {
            id,
            model,
            created,
            completed: None,
            prompt: asked.prompt.clone(),
            seconds: asked.seconds,
            size: size(asked).map(Str::from_static),
        }
    }
}
