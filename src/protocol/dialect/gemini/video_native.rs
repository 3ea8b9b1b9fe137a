//! A native request for a model that makes video → the job; and how the job stands → native events: progress, then blocks with references.

use super::video::{ImageRole, Resolution, VideoImage, VideoJob};
use crate::base::{Json, Str};
use crate::canon::{
    BlockKind, BlockStart, DialectName, Event, Extra, Fault, Request, Role, Source, StopReason,
    Usage,
};
use serde_json::Value;

/// What `request` wants made. `Err` names what no video model can be told.
pub fn of_request(request: &Request) -> Result<VideoJob, Fault> {
    refuse_talk(request)?;
    let mut job = VideoJob {
        model: request.model.clone(),
        count: request.sampling.choices,
        ..VideoJob::default()
    };
    let mut images = Vec::new();
    let mut prompt = String::new();
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        match &block.kind {
            BlockKind::Text { text, .. } => {
                if !prompt.is_empty() {
                    prompt.push('\n');
                }
                prompt.push_str(text);
            }
            BlockKind::Image { source, .. } => images.push(source.clone()),
            BlockKind::Video { source } if job.video.is_none() => job.video = Some(source.clone()),
            BlockKind::Video { .. } => {
                return Err(cannot("input", "one video can be gone on with"));
            }
            _ => {
                return Err(cannot(
                    "input",
                    "a video is made of text, images and a video",
                ));
            }
        }
    }
    job.prompt = Str::from(prompt);
    if let Some(seed) = request.sampling.seed {
        job.parameters
            .push(("parameters.seed".into(), Json::of(&seed)));
    }
    let mut roles = None;
    for extra in &request.extra {
        roles = options(extra, &mut job)?.or(roles);
    }
    job.images = with_roles(images, roles)?;
    if job.prompt.is_empty() && job.images.is_empty() && job.video.is_none() {
        return Err(Fault::invalid(
            "input",
            "there must be a prompt, an image or a video",
        ));
    }
    Ok(job)
}

/// A video is asked for once: a conversation, tools and the words' own knobs mean nothing to it, and dropping them would hide that.
fn refuse_talk(request: &Request) -> Result<(), Fault> {
    let knobs = &request.sampling;
    let words = "it means nothing to a model that makes video";
    let turns_are_one = matches!(&request.turns[..], [turn] if turn.role == Role::User);
    for (said, field, why) in [
        (
            !request.system.is_empty(),
            "system",
            "a video has no instructions; say it in the input",
        ),
        (
            !turns_are_one,
            "input",
            "a video is made of one turn of the user",
        ),
        (
            !request.tools.is_empty(),
            "tools",
            "a model that makes video calls no tools",
        ),
        (
            request.tool_choice.is_some(),
            "tool_choice",
            "a model that makes video calls no tools",
        ),
        (request.reasoning.is_some(), "reasoning", words),
        (request.output_format.is_some(), "output_format", words),
        (knobs.max_output.is_some(), "max_output_tokens", words),
        (knobs.temperature.is_some(), "temperature", words),
        (knobs.top_p.is_some(), "top_p", words),
        (knobs.top_k.is_some(), "top_k", words),
        (!knobs.stop.is_empty(), "stop", words),
        (knobs.presence_penalty.is_some(), "presence_penalty", words),
        (
            knobs.frequency_penalty.is_some(),
            "frequency_penalty",
            words,
        ),
        (knobs.logit_bias.is_some(), "logit_bias", words),
        (knobs.logprobs.is_some(), "logprobs", words),
        (knobs.top_logprobs.is_some(), "top_logprobs", words),
        (knobs.verbosity.is_some(), "verbosity", words),
        (request.service_tier.is_some(), "service_tier", words),
    ] {
        if said {
            return Err(cannot(field, why));
        }
    }
    Ok(())
}

/// `video: {seconds, resolution, aspect_ratio, count, image_roles, parameters}`; returns what the images are for.
fn options(extra: &Extra, job: &mut VideoJob) -> Result<Option<Vec<ImageRole>>, Fault> {
    let ours = extra.dialect == DialectName::Native && &*extra.name == "video";
    let value: Option<Value> = extra.value.read().filter(|_| ours);
    let Some(Value::Object(fields)) = value else {
        return Err(cannot(&extra.name, "it cannot be said of a video"));
    };
    let mut roles = None;
    for (name, value) in &fields {
        let path = format!("video.{name}");
        let wrong = |what: &str| Fault::invalid(path.clone(), format!("{path} must be {what}"));
        let whole = || {
            let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
            let number = number.filter(|n| *n > 0);
            number.ok_or_else(|| wrong("a whole number over 0"))
        };
        match name.as_str() {
            "seconds" => job.seconds = Some(whole()?),
            "count" => job.count = Some(whole()?),
            "resolution" => {
                let known = value.as_str().and_then(Resolution::of);
                job.resolution = Some(known.ok_or_else(|| wrong("one of: 720p, 1080p, 4k"))?);
            }
            "aspect_ratio" => {
                let said = value.as_str().map(Str::from);
                job.aspect = Some(said.ok_or_else(|| wrong("a string"))?);
            }
            "image_roles" => {
                roles = Some(read_roles(value).ok_or_else(|| wrong("a list of words"))?)
            }
            "parameters" => {
                let Value::Object(theirs) = value else {
                    return Err(wrong("an object"));
                };
                let named =
                    |(n, v): (&String, &Value)| (format!("parameters.{n}").into(), Json::of(v));
                job.parameters.extend(theirs.iter().map(named));
            }
            _ => return Err(Fault::invalid(path.clone(), format!("{path} is not known"))),
        }
    }
    Ok(roles)
}

fn read_roles(value: &Value) -> Option<Vec<ImageRole>> {
    let role = |word: &Value| {
        Some(match word.as_str()? {
            "first" => ImageRole::First,
            "last" => ImageRole::Last,
            other => ImageRole::Reference(Str::from(other)),
        })
    };
    value.as_array()?.iter().map(role).collect()
}

/// One image is where the video begins, two are its ends; of more it must be said.
fn with_roles(images: Vec<Source>, said: Option<Vec<ImageRole>>) -> Result<Vec<VideoImage>, Fault> {
    let roles = match said {
        Some(roles) => roles,
        None if images.len() <= 2 => vec![ImageRole::First, ImageRole::Last],
        None => Vec::new(),
    };
    if roles.len() < images.len() {
        let why =
            "say of each image what it is for: first, last, or a provider's word such as asset";
        return Err(Fault::invalid("video.image_roles", why));
    }
    let both = images.into_iter().zip(roles);
    Ok(both
        .map(|(source, role)| VideoImage { role, source })
        .collect())
}

fn cannot(field: &str, why: &str) -> Fault {
    Fault::invalid(field, why).with_code("unsupported_value")
}

/// How far the job is. Only a native client can be told; `percent` where the provider says it.
#[must_use]
pub fn progress(percent: Option<u8>) -> Event {
    Event::Other {
        dialect: DialectName::Native,
        name: "progress".into(),
        choice: 0,
        json: Json::of(&serde_json::json!({"percent": percent})),
    }
}

/// The good end: a block for each video, why others were withheld, what is billed.
#[must_use]
pub fn told(videos: &[Source], withheld: &[Str], usage: Usage) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, video) in videos.iter().enumerate() {
        let index = index as u32;
        let (media_type, url) = match video {
            Source::Url { url, media_type } => (media_type.clone(), Some(url.clone())),
            Source::Base64 { media_type, .. } => (Some(media_type.clone()), None),
            Source::File { .. } | Source::Text { .. } | Source::Blocks(_) => (None, None),
        };
        let media_type = media_type.or(Some("video/mp4".into()));
        let block = BlockStart::Video { media_type, url };
        events.push(Event::BlockStart {
            index,
            choice: 0,
            block,
        });
        events.push(Event::BlockStop { index });
    }
    if !withheld.is_empty() {
        let reasons: Vec<&str> = withheld.iter().map(|reason| &**reason).collect();
        events.push(Event::Other {
            dialect: DialectName::Native,
            name: "withheld".into(),
            choice: 0,
            json: Json::of(&serde_json::json!({"reasons": reasons})),
        });
    }
    events.push(Event::Usage(Box::new(usage)));
    events.push(Event::Stop {
        choice: 0,
        reason: StopReason::EndTurn,
        sequence: None,
    });
    events.push(Event::Done);
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::native::request;
    use bytes::Bytes;

    fn job(body: &str) -> Result<VideoJob, Fault> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        of_request(&request::read(&body).expect("a native request"))
    }

    #[test]
    fn a_native_request_says_all_that_a_job_can_be() {
        let body = r#"{"model":"veo","input":[{"role":"user","content":[{"type":"text","text":"a cat"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}},{"type":"image","source":{"type":"url","url":"gs://b/l.png"}}]}],"seed":7,"video":{"seconds":6,"resolution":"1080p","aspect_ratio":"9:16","count":2,"parameters":{"negativePrompt":"dogs"}}}"#;
        let job = job(body).expect("a job");
        assert_eq!(
            (&*job.prompt, job.seconds, job.count),
            ("a cat", Some(6), Some(2))
        );
        assert_eq!(
            (job.resolution, job.aspect.as_deref()),
            (Some(Resolution::P1080), Some("9:16"))
        );
        let roles: Vec<_> = job.images.iter().map(|i| &i.role).collect();
        assert_eq!(roles, [&ImageRole::First, &ImageRole::Last]);
        let names: Vec<_> = job.parameters.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["parameters.seed", "parameters.negativePrompt"]);
    }

    #[test]
    fn what_no_video_can_be_told_is_named() {
        for (more, field) in [
            (r#""system":"be brief""#, "system"),
            (r#""tools":[{"name":"f"}]"#, "tools"),
            (r#""temperature":1"#, "temperature"),
            (r#""video":{"seconds":0}"#, "video.seconds"),
            (r#""video":{"resolution":"8k"}"#, "video.resolution"),
            (r#""video":{"fast":true}"#, "video.fast"),
            (
                r#""extra":[{"dialect":"chat","name":"store","value":true}]"#,
                "store",
            ),
        ] {
            let body = format!(r#"{{"model":"veo","input":"a cat",{more}}}"#);
            let fault = job(&body).expect_err(more);
            assert_eq!(fault.field.as_deref(), Some(field), "{more}");
        }
        let talk = r#"{"model":"veo","input":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
        assert_eq!(job(talk).expect_err("talk").field.as_deref(), Some("input"));
    }
}
