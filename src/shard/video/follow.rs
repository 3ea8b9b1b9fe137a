//! Questions about a job that another exchange started: how it stands, its bytes, that it be deleted. They go to whom it was started with.

use super::paths::Name;
use super::{Case, Form};
use crate::base::{ModelId, Now, Str};
use crate::canon::{DialectName, Fault, FaultClass, Source, Usage};
use crate::protocol::dialect::gemini::video::{self, Product, VideoState};
use crate::protocol::dialect::gemini::video_name::{OperationName, file_id};
use crate::protocol::dialect::splice::Peek;
use crate::protocol::provider::Operation;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Down, Exchange, ModelIdOrNone, Phase};
use crate::shard::relay::Relay;
use crate::shard::stream;
use crate::shard::{Headers, Outcome, Output, ResponseHead};
use base64::Engine as _;
use bytes::Bytes;

/// Google's own download takes one; more is a circle.
const REDIRECTS_MAX: u8 = 3;

impl Exchange {
    pub(super) fn understand_follow(
        &mut self,
        desk: &mut Desk,
        case: &mut Case,
    ) -> Result<(), Fault> {
        if case.wanted.name == Name::None {
            let name = video::read_fetch(&self.body)?;
            let known = OperationName::read(&name);
            let wrong =
                || Fault::invalid("operationName", "this is no name of a video's operation");
            let known = known.ok_or_else(wrong)?;
            case.wanted.root = known.root.into();
            case.wanted.name = Name::Operation {
                model: known.model.into(),
                id: known.id.into(),
            };
        }
        case.issuer = match case.issued_as() {
            Some(name) => self.issuer(desk, &name)?,
            None => None,
        };
        let model = match case.issuer {
            Some(place) => self.config.endpoints[place.endpoint.0 as usize].model,
            None => self.model_to_try(case)?,
        };
        self.asked.model = ModelIdOrNone(Some(model));
        let name = match &case.wanted.name {
            Name::Operation { model, .. } if !model.is_empty() => model.clone(),
            Name::Ticket(ticket) => ticket.model.clone(),
            _ => Str::from(&*self.config.models[model.0 as usize].name),
        };
        self.asked.peek = Peek {
            model: name,
            // What is fetched passes as it comes.
            stream: case.carries(),
            ..Peek::default()
        };
        Ok(())
    }

    /// Nobody here knows who was asked: where there is one tenant, those who could have been are asked in turn.
    fn model_to_try(&self, case: &Case) -> Result<ModelId, Fault> {
        if self.config.tenants.len() > 1 {
            let message = "this router does not know (any more) with whom that video was started: such names are kept in memory, a bounded number of them; and it asks no other tenant's provider on a guess";
            return Err(Fault::new(FaultClass::NotFound, message).with_code("unknown_video"));
        }
        let named = match &case.wanted.name {
            Name::Operation { model, .. } if !model.is_empty() => {
                self.config.model_names.get(&**model).copied()
            }
            Name::Ticket(ticket) => self.config.model_names.get(&*ticket.model).copied(),
            Name::Video(_) => self.first_model(&[Form::OpenAi]),
            Name::File(_) => self.first_model(&[Form::Gemini]),
            Name::Operation { .. } | Name::None => self.first_model(&[Form::Gemini, Form::Vertex]),
        };
        named.ok_or_else(|| {
            let message = "no model that this router knows can have made this video";
            Fault::new(FaultClass::NotFound, message).with_code("unknown_video")
        })
    }

    /// The first model that makes video at a provider of these forms.
    fn first_model(&self, forms: &[Form]) -> Option<ModelId> {
        let config = &self.config;
        let makes = |e: &&crate::config::Endpoint| {
            let form = Form::of(config.providers[e.provider.0 as usize].kind);
            let gives = config.models[e.model.0 as usize].gives.video;
            gives && form.is_some_and(|form| forms.contains(&form))
        };
        config.endpoints.iter().find(makes).map(|e| e.model)
    }

    /// Tells how a job stands.
    pub(super) fn told_standing(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: Box<Relay>,
        body: &Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let form = self.form_at(&attempt);
        let Some(state) = self.standing(form, body) else {
            let fault = relay.no_answer(body, "no video's job");
            return self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out);
        };
        self.succeeded(desk, &attempt);
        if let VideoState::Done { videos, .. } = &state {
            self.issue_files(desk, &attempt, videos, out);
        }
        let said = match self.dialect {
            DialectName::Gemini => self.as_operation(form, body, state.clone()),
            _ => self.as_object(form, body, &state),
        };
        let Some(said) = said else {
            let fault = Fault::new(FaultClass::NotFound, "this is no id of a video");
            return self.close_with(desk, attempt, &fault, now, out);
        };
        let more = match state {
            VideoState::Running { .. } => self.come_back(),
            VideoState::Done { .. } | VideoState::Failed(_) => Vec::new(),
        };
        self.answer_video(&attempt, said, stream::JSON.into(), &more, out);
        self.close(desk, attempt, &relay, now, out)
    }

    /// For Google's clients: under the name that they asked by, with files where they can fetch them.
    fn as_operation(&self, form: Form, body: &Bytes, state: VideoState) -> Option<Bytes> {
        let case = self.video.as_ref()?;
        let (name, product) = match &case.wanted.name {
            Name::Operation { model, id } if model.is_empty() => {
                (Str::from(format!("operations/{id}")), Product::GeminiApi)
            }
            Name::Operation { model, id } => {
                let root = &*case.wanted.root;
                let product = match root.is_empty() {
                    true => Product::GeminiApi,
                    false => Product::Vertex,
                };
                (OperationName { root, model, id }.write(), product)
            }
            _ => return None,
        };
        let same = match form {
            Form::Gemini => product == Product::GeminiApi,
            Form::Vertex => product == Product::Vertex,
            Form::OpenAi => false,
        };
        let origin = case.origin.as_deref().unwrap_or_default();
        let address = |place: &str| {
            let file = file_id(place)?;
            Some(format!("{origin}/v1beta/files/{file}:download?alt=media"))
        };
        if same {
            return video::retell(body, &name, &address);
        }
        let state = match state {
            VideoState::Done { videos, withheld } => VideoState::Done {
                videos: videos
                    .into_iter()
                    .map(|v| self.moved(v, &address))
                    .collect(),
                withheld,
            },
            other => other,
        };
        Some(video::write_operation(&name, &state, product))
    }

    fn moved(&self, video: Source, address: &dyn Fn(&str) -> Option<String>) -> Source {
        match video {
            Source::Url { url, media_type } => Source::Url {
                url: address(&url).map_or(url, Str::from),
                media_type,
            },
            Source::File { id } => Source::Url {
                url: self.content_at(&id, 0),
                media_type: Some("video/mp4".into()),
            },
            other => other,
        }
    }

    /// For OpenAI's clients. `None` for a name that is no ticket of ours, where Google was asked.
    fn as_object(&self, form: Form, body: &Bytes, state: &VideoState) -> Option<Bytes> {
        match (form, &self.video.as_ref()?.wanted.name) {
            (Form::OpenAi, _) => Some(body.clone()),
            (_, Name::Ticket(ticket)) => Some(video::write_openai_job(&self.job_of(ticket), state)),
            _ => None,
        }
    }

    /// The operation says where the bytes are: in it, or in a file that is fetched next.
    pub(super) fn found(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        relay: Box<Relay>,
        body: &Bytes,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let form = self.form_at(&attempt);
        let Some(state) = self.standing(form, body) else {
            let fault = relay.no_answer(body, "no video's job");
            return self.attempt_failed(desk, attempt, Some(relay), now, fault.into(), out);
        };
        self.succeeded(desk, &attempt);
        let video = match self.sample_of(state) {
            Ok(video) => video,
            Err(fault) => return self.close_with(desk, attempt, &fault, now, out),
        };
        let fault = match video {
            Source::Base64 { media_type, data } => {
                match base64::engine::general_purpose::STANDARD.decode(data.as_bytes()) {
                    Ok(bytes) => {
                        self.answer_video(&attempt, bytes.into(), media_type, &[], out);
                        return self.close(desk, attempt, &relay, now, out);
                    }
                    Err(_) => Fault::new(
                        FaultClass::UpstreamBroken,
                        "the provider's video is not base64",
                    ),
                }
            }
            Source::Url { url, .. } => match file_id(&url).filter(|_| form == Form::Gemini) {
                Some(file) => {
                    self.end_call(desk, &mut attempt, now);
                    return self.fetch_file(desk, attempt, file.into(), now, out);
                }
                None => {
                    let message = format!(
                        "the video lies at {url}, where the request that ordered it wanted it; this router has no access there"
                    );
                    Fault::new(FaultClass::Invalid, message).with_code("video_elsewhere")
                }
            },
            _ => Fault::new(
                FaultClass::UpstreamBroken,
                "the provider does not say where the video is",
            ),
        };
        self.close_with(desk, attempt, &fault, now, out)
    }

    fn sample_of(&self, state: VideoState) -> Result<Source, Fault> {
        let sample = self.video.as_ref().map_or(0, |case| case.wanted.sample);
        match state {
            VideoState::Running { .. } => {
                let fault = Fault::new(FaultClass::Conflict, "the video is not made yet");
                Err(fault
                    .with_code("video_not_ready")
                    .after(self.config.video.poll))
            }
            VideoState::Failed(fault) => Err(*fault),
            VideoState::Done { videos, .. } => {
                let count = videos.len();
                videos.into_iter().nth(sample).ok_or_else(|| {
                    let message = format!("there are {count} videos, counted from 0");
                    Fault::invalid("sample", message)
                })
            }
        }
    }

    fn fetch_file(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        file: Str,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        if let Some(case) = &mut self.video {
            case.wanted.name = Name::File(file);
            case.operation = Operation::VideoContent;
        }
        self.asked.peek.stream = true;
        attempt.streams = true;
        match self.call_again(desk, &mut attempt, now, out) {
            Ok(()) => Phase::Calling(attempt),
            Err(fault) => self.close_with(desk, attempt, &fault, now, out),
        }
    }

    /// The bytes begin: what they are called.
    pub fn carry(&mut self, headers: &Headers) {
        if let Some(case) = &mut self.video {
            let kind = headers
                .text(b"content-type")
                .unwrap_or("application/octet-stream");
            case.media_type = Str::from(kind);
        }
    }

    /// The head under which bytes pass; `None` for an exchange that passes none.
    pub fn carried_head(&self, attempt: &Attempt) -> Option<ResponseHead> {
        let case = self.video.as_ref().filter(|case| case.carries())?;
        Some(self.video_head_of(attempt, case.media_type.clone(), &[]))
    }

    /// All bytes have passed.
    pub(super) fn carried(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        relay: &Relay,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        self.succeeded(desk, &attempt);
        if self.head_sent {
            self.saw = true;
            self.end(out);
        } else {
            let kind = self
                .video
                .as_ref()
                .map_or(Str::new(), |case| case.media_type.clone());
            self.answer_video(&attempt, Bytes::new(), kind, &[], out);
        }
        self.close(desk, attempt, relay, now, out)
    }

    /// The provider says that the bytes lie elsewhere. At the same place they are fetched with the same key; to another the client is sent
    /// on, and no key goes there.
    pub fn redirected(
        &mut self,
        desk: &mut Desk,
        mut attempt: Box<Attempt>,
        now: Now,
        (status, headers): (u16, &Headers),
        out: &mut Vec<Output>,
    ) -> Phase {
        let place = headers.text(b"location").map(str::to_owned);
        let case = self
            .video
            .as_mut()
            .filter(|case| case.carries() && case.redirects < REDIRECTS_MAX);
        let (Some(place), Some(case)) = (place, case) else {
            let fault = Fault::new(
                FaultClass::UpstreamBroken,
                "the provider sends on and on, or nowhere",
            );
            return self.redirect_ends(desk, attempt, &fault, now, out);
        };
        case.redirects += 1;
        // Nothing more of this answer is of interest; the connection is not worth reading it to its end.
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        if let Some(path) = self.within(&attempt, &place) {
            self.end_call(desk, &mut attempt, now);
            return match self.call_path(desk, &mut attempt, path, now, out) {
                Ok(()) => Phase::Calling(attempt),
                Err(fault) => self.redirect_ends(desk, attempt, &fault, now, out),
            };
        }
        self.saw = true;
        self.ended = true;
        if let Down::Http(client) = self.down {
            let more = [("location", Str::from(place))];
            let head = self.response_head(Some(&attempt), status, stream::JSON, &more);
            out.push(Output::Respond {
                client,
                head,
                body: Bytes::new(),
                end: true,
            });
        }
        self.settle_attempt(
            desk,
            attempt,
            Usage::default(),
            Str::new(),
            Outcome::Done,
            now,
        );
        self.settled(desk, now, out)
    }

    fn redirect_ends(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        out.push(Output::Cancel {
            attempt: attempt.id,
        });
        self.close_with(desk, attempt, fault, now, out)
    }

    /// The path of `place` where it is the provider's own.
    fn within(&self, attempt: &Attempt, place: &str) -> Option<String> {
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        let provider = &self.config.providers[endpoint.provider.0 as usize];
        let origin = &self.config.origins[provider.origin.0 as usize];
        let scheme = if origin.tls { "https" } else { "http" };
        let own = format!("{scheme}://{}", origin.authority());
        let path = place.strip_prefix(&*own).unwrap_or(place);
        (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
    }

    /// The provider has answered, and the client is told that it is nothing good.
    pub(super) fn close_with(
        &mut self,
        desk: &mut Desk,
        attempt: Box<Attempt>,
        fault: &Fault,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Phase {
        let outcome = Outcome::Done;
        self.settle_attempt(desk, attempt, Usage::default(), Str::new(), outcome, now);
        self.refuse(desk, now, fault, out)
    }
}
