//! What clients are told of a job that they started: at once by its name, or natively as it goes on, with where the videos are in the end.

use super::{Form, Teller};
use crate::base::{NanoUsd, Now, Str};
use crate::canon::{DialectName, Event, Fault, Source, Usage};
use crate::policy::bill::bill;
use crate::protocol::dialect::gemini::video::{self, Job, VideoState};
use crate::protocol::dialect::gemini::video_name::{OperationName, Ticket};
use crate::protocol::dialect::{self, Closing, Encoder};
use crate::shard::desk::Desk;
use crate::shard::exchange::{Attempt, Down, Exchange};
use crate::shard::{Output, ResponseHead, reply, settle, stream};
use bytes::{Bytes, BytesMut};

impl Exchange {
    pub(super) fn teller(&self, attempt: &Attempt) -> Teller {
        let streams = self.streams() || matches!(self.down, Down::Socket { .. });
        match (self.dialect, &self.down, streams) {
            (_, Down::Gone, _) => Teller::Nobody,
            (DialectName::Native, _, true) => {
                Teller::Stream(Box::new(Encoder::new(self.dialect, self.opening(attempt))))
            }
            (DialectName::Native, _, false) => Teller::Whole(Box::default()),
            _ => Teller::Nobody,
        }
    }

    /// Answers a start, after which nobody waits.
    pub(super) fn tell_started(
        &mut self,
        attempt: &Attempt,
        form: Form,
        body: &Bytes,
        id: &Str,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let Some(case) = &self.video else { return };
        let said = match (self.dialect, form) {
            (DialectName::Gemini, _) => {
                let model = &*self.asked.peek.model;
                let root = &*case.wanted.root;
                let name = OperationName { root, model, id }.write();
                let same = form != Form::OpenAi;
                let retold = same.then(|| video::retell(body, &name, &|_| None));
                retold
                    .flatten()
                    .unwrap_or_else(|| video::write_started(&name))
            }
            (_, Form::OpenAi) => body.clone(),
            (_, Form::Gemini | Form::Vertex) => {
                let ticket = self.ticket(id, now);
                let job = Job {
                    prompt: case.job.prompt.clone(),
                    ..self.job_of(&ticket)
                };
                video::write_openai_job(&job, &VideoState::Running { progress: None })
            }
        };
        self.answer_video(attempt, said, stream::JSON.into(), &self.come_back(), out);
        self.part();
    }

    /// When an official client of OpenAI's shall ask again.
    pub(super) fn come_back(&self) -> Vec<(&'static str, Str)> {
        let millis = self.config.video.poll.as_millis();
        match self.dialect {
            DialectName::Chat => vec![("openai-poll-after-ms", millis.to_string().into())],
            _ => Vec::new(),
        }
    }

    /// What OpenAI's clients are to know the job by.
    pub(super) fn ticket(&self, id: &Str, now: Now) -> Ticket {
        let job = self.video.as_ref().map(|case| &case.job);
        let size = job.and_then(video::size).unwrap_or("1280x720");
        let seconds = job.and_then(|job| job.seconds);
        Ticket {
            model: self.asked.peek.model.clone(),
            id: id.clone(),
            created: now.wall.seconds(),
            seconds: seconds.unwrap_or(video::SECONDS_DEFAULT),
            size: Str::from_static(size),
        }
    }

    pub(super) fn job_of(&self, ticket: &Ticket) -> Job {
        Job {
            id: ticket.write(),
            model: ticket.model.clone(),
            created: ticket.created,
            seconds: Some(ticket.seconds),
            size: Some(ticket.size.clone()),
            ..Job::default()
        }
    }

    pub(super) fn tell_begun(
        &mut self,
        attempt: &Attempt,
        id: &Str,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        let began = Event::Started {
            id: id.clone(),
            model: Str::from(&*endpoint.name),
            created: Some(now.wall.seconds()),
        };
        self.tell_events(attempt, &[began], now, out);
    }

    /// Tells who waits natively.
    pub(super) fn tell_events(
        &mut self,
        attempt: &Attempt,
        events: &[Event],
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let mut said = BytesMut::new();
        match self
            .video
            .as_mut()
            .and_then(|case| case.film.as_mut())
            .map(|f| &mut f.teller)
        {
            Some(Teller::Stream(encoder)) => {
                events.iter().for_each(|e| encoder.event(e, &mut said))
            }
            Some(Teller::Whole(fold)) => events.iter().for_each(|e| fold.event(e)),
            Some(Teller::Nobody) | None => {}
        }
        self.tell(attempt, now, &mut said, out);
    }

    /// Where a native client finds the videos: with us, by the address at which it found us, or in the bucket that was named.
    pub(super) fn places(
        &self,
        form: Form,
        id: &Str,
        videos: Vec<Source>,
        now: Now,
    ) -> Vec<Source> {
        let id = match form {
            Form::OpenAi => id.clone(),
            Form::Gemini | Form::Vertex => self.ticket(id, now).write(),
        };
        let place = |(sample, video): (usize, Source)| match video {
            Source::Url { url, media_type } if url.starts_with("gs://") => {
                Source::Url { url, media_type }
            }
            _ => Source::Url {
                url: self.content_at(&id, sample),
                media_type: Some("video/mp4".into()),
            },
        };
        videos.into_iter().enumerate().map(place).collect()
    }

    pub(super) fn content_at(&self, id: &str, sample: usize) -> Str {
        let origin = self.video.as_ref().and_then(|case| case.origin.as_deref());
        let origin = origin.unwrap_or_default();
        Str::from(match sample {
            0 => format!("{origin}/v1/videos/{id}/content"),
            n => format!("{origin}/v1/videos/{id}/content?sample={n}"),
        })
    }

    pub(super) fn tell_end(
        &mut self,
        attempt: &Attempt,
        usage: &Usage,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let closing = self.film_closing(attempt, self.cost_of(attempt, usage), now);
        let mut said = BytesMut::new();
        match self.take_teller() {
            Teller::Stream(mut encoder) => {
                encoder.finish(&closing, &mut said);
                self.tell(attempt, now, &mut said, out);
                self.end(out);
            }
            Teller::Whole(fold) => {
                let opening = self.opening(attempt);
                let body = dialect::write_answer(self.dialect, fold.answer(), &opening, &closing);
                self.answer_video(attempt, body, stream::JSON.into(), &[], out);
            }
            Teller::Nobody => {}
        }
    }

    pub(super) fn take_teller(&mut self) -> Teller {
        let film = self.video.as_mut().and_then(|case| case.film.as_mut());
        film.map_or(Teller::Nobody, |film| {
            std::mem::replace(&mut film.teller, Teller::Nobody)
        })
    }

    pub(super) fn cost_of(&self, attempt: &Attempt, usage: &Usage) -> NanoUsd {
        let endpoint = &self.config.endpoints[attempt.endpoint.0 as usize];
        bill(usage, endpoint.price.on(self.begun.wall))
    }

    pub(super) fn film_closing(&self, attempt: &Attempt, cost: NanoUsd, now: Now) -> Closing {
        Closing {
            cost: self.tally.cost + cost,
            first_byte: attempt.first_byte.map(|at| at - self.begun.instant),
            total: now.instant - self.begun.instant,
        }
    }

    /// Who waits hears `fault` as the last word; the job is not touched by it.
    pub(super) fn dismiss(
        &mut self,
        desk: &mut Desk,
        attempt: &Attempt,
        fault: &Fault,
        cost: NanoUsd,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let told = settle::for_client(fault);
        let closing = self.film_closing(attempt, cost, now);
        match self.take_teller() {
            Teller::Stream(mut encoder) => {
                let mut said = BytesMut::new();
                encoder.fail(&told, &closing, &mut said);
                self.tell(attempt, now, &mut said, out);
                self.end(out);
            }
            Teller::Whole(_) => {
                if let Down::Http(client) = self.down {
                    let (status, body) = dialect::write_error(self.dialect, &told, &self.name);
                    let more = reply::retry_after(&told);
                    let head = self.response_head(Some(attempt), status, stream::JSON, &more);
                    out.push(Output::Respond {
                        client,
                        head,
                        body,
                        end: true,
                    });
                }
                self.ended = true;
            }
            Teller::Nobody => return,
        }
        desk.meters.failed(told.class);
        self.part();
        self.release_tenant(desk, now);
    }

    /// Answers the client whole.
    pub(super) fn answer_video(
        &mut self,
        attempt: &Attempt,
        body: Bytes,
        kind: Str,
        more: &[(&'static str, Str)],
        out: &mut Vec<Output>,
    ) {
        self.saw = true;
        self.ended = true;
        self.head_sent = true;
        if let Down::Http(client) = self.down {
            let head = self.video_head_of(attempt, kind, more);
            out.push(Output::Respond {
                client,
                head,
                body,
                end: true,
            });
        }
    }

    /// The head of an answer of any type.
    pub(super) fn video_head_of(
        &self,
        attempt: &Attempt,
        kind: Str,
        more: &[(&'static str, Str)],
    ) -> ResponseHead {
        let mut head = self.response_head(Some(attempt), 200, stream::JSON, more);
        if let Some((_, said)) = head
            .headers
            .iter_mut()
            .find(|(name, _)| *name == "content-type")
        {
            *said = kind;
        }
        head
    }
}
