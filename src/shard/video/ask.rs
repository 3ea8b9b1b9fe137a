//! What a provider is asked about a video, in its own words.

use super::paths::Name;
use super::{Case, Form};
use crate::base::Str;
use crate::canon::{DialectName, Fault, FaultClass, Source};
use crate::config;
use crate::protocol::dialect::gemini::video::{self, VideoJob};
use crate::protocol::dialect::gemini::video_name::OperationName;
use crate::protocol::multipart;
use crate::protocol::provider::{CallHead, Operation};
use crate::shard::exchange::Exchange;
use crate::shard::input::Slices;
use bytes::Bytes;

impl Exchange {
    /// In whose words `provider` is asked. `Err` where it makes no video, or cannot do what is wanted.
    pub fn video_dialect(
        &self,
        case: &Case,
        provider: &config::Provider,
    ) -> Result<DialectName, Fault> {
        let name = &provider.name;
        let Some(form) = Form::of(provider.kind) else {
            let message =
                format!("the provider {name} makes no video that this router can ask for");
            return Err(Fault::invalid("model", message));
        };
        if !provider.kind.offers(case.operation, form.dialect()) {
            let message = match case.operation {
                Operation::VideoDelete => format!(
                    "the provider {name} keeps videos by its own rules and deletes none when asked"
                ),
                _ => format!(
                    "the provider {name} keeps no files of videos: they lie in the operation or in a bucket"
                ),
            };
            return Err(Fault::new(FaultClass::Invalid, message).with_code("unsupported_value"));
        }
        Ok(form.dialect())
    }

    /// The provider's own name of what is asked about; empty for a start.
    pub fn video_name(
        &self,
        provider: &config::Provider,
        endpoint: &config::Endpoint,
    ) -> Result<Str, Fault> {
        let Some(case) = &self.video else {
            return Ok(Str::new());
        };
        if let Some(film) = &case.film {
            return Ok(film.name.clone());
        }
        let id = match &case.wanted.name {
            Name::None => return Ok(Str::new()),
            Name::Operation { id, .. } | Name::Video(id) => id,
            Name::Ticket(ticket) => &ticket.id,
            Name::File(id) => id,
        };
        match (Form::of(provider.kind), &case.wanted.name) {
            (Some(Form::OpenAi), _) if case.carries() && !case.wanted.query.is_empty() => {
                Ok(Str::from(format!("{id}?{}", case.wanted.query)))
            }
            (Some(Form::OpenAi), _) | (_, Name::File(_)) => Ok(id.clone()),
            _ => {
                let root = provider.kind.operations_root(&provider.place);
                let name = OperationName::long(&root, bare(&endpoint.name), id);
                name.ok_or_else(|| {
                    Fault::new(FaultClass::NotFound, "this is no name of a video's job")
                })
            }
        }
    }

    /// The body of a call about a video. `Err` names what this provider cannot be told.
    pub fn video_body(
        &self,
        case: &Case,
        provider: &config::Provider,
        endpoint: &config::Endpoint,
        name: &str,
    ) -> Result<Slices, Fault> {
        let form = Form::of(provider.kind);
        match (case.operation, form) {
            (Operation::VideoStart, Some(form)) => self.order(case, form, &endpoint.name),
            (Operation::VideoPoll, Some(Form::Vertex)) => {
                Ok(Slices::from_iter([video::write_fetch(name)]))
            }
            _ => Ok(Slices::new()),
        }
    }

    fn order(&self, case: &Case, form: Form, model: &str) -> Result<Slices, Fault> {
        let whole = |body: Bytes| Ok(Slices::from_iter([body]));
        let same = self.dialect == form.dialect();
        match (form, &case.form) {
            // The path names the model.
            (Form::Gemini | Form::Vertex, _) if same => whole(self.body.clone()),
            (Form::Gemini | Form::Vertex, _) => whole(video::write(&for_google(&case.job)?)?),
            (Form::OpenAi, Some(kind)) if same => self.form_for(kind, model),
            (Form::OpenAi, None) if same && *case.job.model == *model => whole(self.body.clone()),
            (Form::OpenAi, _) => whole(video::write_openai(&for_openai(&case.job, model))?),
        }
    }

    /// The client's form with the provider's name of the model in it.
    fn form_for(&self, kind: &str, model: &str) -> Result<Slices, Fault> {
        let parts = multipart::read(kind, &self.body)?;
        let named = parts.iter().find(|part| part.name == "model");
        let named = named.ok_or_else(|| Fault::invalid("model", "`model` is missing"))?;
        if self.body[named.bytes.clone()] == *model.as_bytes() {
            return Ok(Slices::from_iter([self.body.clone()]));
        }
        Ok(Slices::from_iter([
            self.body.slice(..named.bytes.start),
            Bytes::copy_from_slice(model.as_bytes()),
            self.body.slice(named.bytes.end..),
        ]))
    }

    /// Says of a call's body that it is a form, where it is the client's own.
    pub fn video_head(&self, case: &Case, dialect: DialectName, head: &mut CallHead) {
        let passes = case.operation == Operation::VideoStart && dialect == self.dialect;
        if let (true, Some(kind)) = (passes, &case.form) {
            head.headers.retain(|(name, _)| name != "content-type");
            head.add("content-type", kind.to_string());
        }
    }
}

/// The name alone, without a publisher before it.
pub(super) fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

/// An order in OpenAI's words says nothing in Google's names; what neither knows cannot be told.
fn for_google(job: &VideoJob) -> Result<VideoJob, Fault> {
    let foreign = job.parameters.iter().find(|(name, _)| !name.contains('.'));
    if let Some((name, _)) = foreign {
        let why = "it cannot be said to this model's provider";
        return Err(Fault::invalid(&**name, why).with_code("unsupported_value"));
    }
    if let Some(image) = job
        .images
        .iter()
        .find(|i| matches!(i.source, Source::File { .. }))
    {
        let why = format!(
            "{:?} image must be uploaded with the request, as base64 or lie in a bucket: this model's provider knows no file ids",
            image.role
        );
        return Err(Fault::invalid("input_reference", why).with_code("unsupported_value"));
    }
    Ok(job.clone())
}

fn for_openai(job: &VideoJob, model: &str) -> VideoJob {
    let plain = |(name, value): &(Str, crate::base::Json)| {
        let name = name.strip_prefix("parameters.").unwrap_or(name);
        (Str::from(name), value.clone())
    };
    VideoJob {
        model: Str::from(model),
        parameters: job.parameters.iter().map(plain).collect(),
        ..job.clone()
    }
}
