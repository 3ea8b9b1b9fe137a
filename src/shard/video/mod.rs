//! Jobs that make video: a client starts one and comes back for it, or waits for it on a native stream.
//!
//! | who asks | start | afterwards |
//! |---|---|---|
//! | Google's clients | `:predictLongRunning` names an operation | the operation, `:fetchPredictOperation`, the file |
//! | OpenAI's | `POST /v1/videos` gives a video object | the object, its content |
//! | native | a request for a model that makes video alone | progress, then a block that says where the video is |
//!
//! Whoever started it, and whether anyone comes back or not: the exchange of the start goes on without its client and asks how the job stands
//! until it is over (`film`; what its client hears is in `tell`), since only then it is known what it costs. So a job has one row in the ledger, with the seconds that were made;
//! where its end cannot be seen (a shard that stops, a provider that does not say for `video.wait`) the row holds what was ordered, as an
//! estimate. Clients that ask cost nothing and have rows of their own that say so (`follow`).
//!
//! No table of jobs: what a client must be told again stands in the name that it was given (`protocol/dialect/gemini/video_name.rs`), and
//! whose key to ask with in the table of issuers.

pub(super) mod paths;
mod ask;
mod film;
mod tell;
mod follow;
mod issuer;

use crate::base::{EndpointId, Instant, KeyId, Now, Str};
use crate::canon::{DialectName, Fault, FaultClass, Fold, Usage};
use crate::config;
use crate::policy::bill::bill;
use crate::policy::capacity::Ask as Draw;
use crate::protocol::dialect::Encoder;
use crate::protocol::dialect::gemini::{video, video_native};
use crate::protocol::dialect::splice::Peek;
use crate::protocol::multipart;
use crate::protocol::provider::{Operation, ProviderKind};
use crate::shard::ClientHead;
use crate::shard::desk::Desk;
use crate::shard::exchange::{Exchange, ModelIdOrNone};
use crate::shard::issued::Place;
use crate::shard::task::{Deed, Task};
use paths::{Name, Wanted};
use video::VideoJob;

/// What an exchange about a video knows.
#[derive(Debug)]
pub(super) struct Case {
    pub deed: Deed,
    /// What the provider is asked just now.
    pub operation: Operation,
    wanted: Wanted,
    /// Where the client found this router: `https://host`.
    origin: Option<Str>,
    /// The type of the client's body, where it is a form.
    form: Option<Box<str>>,
    /// What a start asks for.
    job: VideoJob,
    /// Where the job was started; `None` for a start, and where nobody knows.
    issuer: Option<Place>,
    /// The job runs.
    film: Option<Film>,
    /// Its client wants no answer any more. The provider makes it all the same, and is paid.
    cancelled: bool,
    /// The node is about to stop.
    leaving: bool,
    /// What the bytes that pass are called.
    media_type: Str,
    redirects: u8,
}

/// A job that runs.
#[derive(Debug)]
struct Film {
    /// The provider's name of it.
    name: Str,
    /// For its provider's other answers, which are not told.
    status: Option<u16>,
    ends_at: Instant,
    /// Questions in a row that were not answered.
    failures: u32,
    teller: Teller,
    told: Option<Option<u8>>,
}

/// Who waits for a job, and how he is told.
#[derive(Debug)]
enum Teller {
    /// The start was answered, and that was all.
    Nobody,
    Stream(Box<Encoder>),
    Whole(Box<Fold>),
}

/// In whose words a provider makes video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The Gemini API.
    Gemini,
    Vertex,
    OpenAi,
}

impl Form {
    fn of(kind: ProviderKind) -> Option<Self> {
        match kind {
            ProviderKind::Gemini => Some(Self::Gemini),
            ProviderKind::Vertex => Some(Self::Vertex),
            ProviderKind::OpenAi => Some(Self::OpenAi),
            _ => None,
        }
    }

    fn dialect(self) -> DialectName {
        match self {
            Self::Gemini | Self::Vertex => DialectName::Gemini,
            Self::OpenAi => DialectName::Chat,
        }
    }
}

impl Case {
    /// Of a request whose path named `wanted`.
    pub fn of(deed: Deed, wanted: Wanted, head: &ClientHead, tls: bool) -> Box<Self> {
        let form = head
            .headers
            .text(b"content-type")
            .filter(|kind| multipart::is_form(kind));
        Box::new(Self {
            form: form.map(Box::from),
            ..Self::new(deed, wanted, origin(head, tls))
        })
    }

    fn new(deed: Deed, wanted: Wanted, origin: Option<Str>) -> Self {
        let operation = match (deed, &wanted.name) {
            (Deed::Start, _) => Operation::VideoStart,
            (Deed::Delete, _) => Operation::VideoDelete,
            // Where a file lies is asked first.
            (Deed::Poll, _) | (Deed::Content, Name::Ticket(_)) => Operation::VideoPoll,
            (Deed::Content, _) => Operation::VideoContent,
        };
        Self {
            deed,
            operation,
            wanted,
            origin,
            form: None,
            job: VideoJob::default(),
            issuer: None,
            film: None,
            cancelled: false,
            leaving: false,
            media_type: Str::new(),
            redirects: 0,
        }
    }

    /// Bytes pass as they come.
    pub fn carries(&self) -> bool {
        self.operation == Operation::VideoContent
    }

    /// About a job that was started by another exchange.
    pub fn follows(&self) -> bool {
        self.deed != Deed::Start
    }

    pub fn runs(&self) -> bool {
        self.film.is_some()
    }

    /// What is to be paid for all that was ordered.
    pub fn ordered(&self) -> Usage {
        match self.deed {
            Deed::Start => self.job.usage(self.job.seconds_wanted()),
            _ => Usage::default(),
        }
    }

    /// Whether `endpoint` may be asked: who started the job, or where nobody knows that, whoever can.
    pub fn may_ask(&self, endpoint: EndpointId) -> bool {
        self.issuer.is_none_or(|place| place.endpoint == endpoint)
    }

    /// The key that the job was started with.
    pub fn key(&self) -> Option<KeyId> {
        self.issuer.and_then(|place| place.key)
    }

    /// The bill to be expected at `endpoint`.
    pub fn cost(&self, endpoint: &config::Endpoint, now: Now) -> crate::base::NanoUsd {
        bill(&self.ordered(), endpoint.price.on(now.wall))
    }

    /// What the table of issuers knows the job by.
    fn issued_as(&self) -> Option<String> {
        Some(match &self.wanted.name {
            Name::None => return None,
            Name::Operation { id, .. } | Name::Video(id) => job_name(id),
            Name::Ticket(ticket) => job_name(&ticket.id),
            Name::File(id) => file_name(id),
        })
    }
}

fn job_name(id: &str) -> String {
    format!("videos/{id}")
}

fn file_name(id: &str) -> String {
    format!("files/{id}")
}

/// `https://host`, by which the client reached us: a proxy in front says how it was reached itself (`x-forwarded-proto`).
pub(super) fn origin(head: &ClientHead, tls: bool) -> Option<Str> {
    let host = head.headers.text(b"host").filter(|host| !host.is_empty())?;
    let said = head.headers.text(b"x-forwarded-proto").map(str::trim);
    let scheme = match said {
        Some("https") => "https",
        Some("http") => "http",
        _ if tls => "https",
        _ => "http",
    };
    Some(Str::from(format!("{scheme}://{host}")))
}

impl Exchange {
    /// What a request about a video asks for, and of which model.
    pub fn understand_video(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        let Some(mut case) = self.video.take() else {
            return Err(Fault::new(FaultClass::Internal, "no video is spoken of"));
        };
        let understood = match case.deed {
            Deed::Start => self.understand_start(&mut case),
            Deed::Poll | Deed::Content | Deed::Delete => self.understand_follow(desk, &mut case),
        };
        self.video = Some(case);
        understood
    }

    fn understand_start(&mut self, case: &mut Case) -> Result<(), Fault> {
        case.job = match (self.dialect, &case.form) {
            (DialectName::Gemini, _) => video::read(&self.body)?,
            (_, Some(kind)) => {
                let parts = multipart::read(kind, &self.body)?;
                video::read_openai_form(&parts, &self.body)?
            }
            (_, None) => video::read_openai(&self.body)?,
        };
        let name = self
            .path_model
            .clone()
            .unwrap_or_else(|| case.job.model.clone());
        let model = self.model_named(&name)?;
        self.asked.model = ModelIdOrNone(Some(model));
        if !self.config.models[model.0 as usize].gives.video {
            let message = format!("the model `{name}` makes no video");
            return Err(Fault::invalid("model", message));
        }
        case.job.model = name.clone();
        self.ask_for(&case.job, name, false)
    }

    fn ask_for(&mut self, job: &VideoJob, model: Str, stream: bool) -> Result<(), Fault> {
        let peek = Peek {
            model,
            stream,
            stream_usage: true,
            images: !job.images.is_empty(),
            video: job.video.is_some(),
            ..Peek::default()
        };
        self.can_take(&peek)?;
        // A provider counts orders, and no tokens.
        self.asked.ask = Draw::default();
        self.asked.peek = peek;
        Ok(())
    }

    /// Whether a model that is asked for an answer makes nothing but video.
    pub fn is_film(&self) -> bool {
        let gives = self.config.models[self.model().0 as usize].gives;
        gives.video && !gives.text
    }

    /// A request for an answer names a model that makes video alone: a native one is an order, since it can be told of what comes.
    pub fn order_video(&mut self) -> Result<(), Fault> {
        let Some(request) = self
            .request
            .as_ref()
            .filter(|_| self.dialect == DialectName::Native)
        else {
            let message = "the model makes video, which takes minutes: start it by POST /v1beta/models/{model}:predictLongRunning or POST /v1/videos, or ask natively";
            return Err(Fault::invalid("model", message));
        };
        let job = video_native::of_request(request)?;
        let aside = [
            ("user", request.user.is_some()),
            ("metadata", request.metadata.is_some()),
        ];
        let (model, stream) = (request.model.clone(), request.stream);
        let lost = aside.into_iter().filter(|(_, said)| *said);
        self.dropped = lost.map(|(name, _)| name.to_owned()).collect();
        self.ask_for(&job, model, stream)?;
        let origin = self.passing.origin.take();
        self.video = Some(Box::new(Case {
            job,
            ..Case::new(Deed::Start, Wanted::default(), origin)
        }));
        self.task = Task::Video(Deed::Start);
        Ok(())
    }

    /// What a call that failed is billed, where nobody can say what became of it.
    pub fn ordered(&self) -> Option<Usage> {
        let case = self.video.as_ref()?;
        Some(Usage {
            estimated: !case.follows(),
            ..case.ordered()
        })
    }
}
