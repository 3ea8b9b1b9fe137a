//! Sound to words, at a provider that has OpenAI's `/v1/audio/transcriptions`: the client's form goes there, and what comes back passes.
//!
//! The form comes again out of the body for each attempt; nothing of the sound is copied.

use crate::canon::{DialectName, Fault, Usage};
use crate::config;
use crate::policy::capacity::Ask as Draw;
use crate::protocol::dialect::splice::Peek;
use crate::protocol::dialect::transcripts;
use crate::protocol::provider::CallHead;
use crate::shard::Headers;
use crate::shard::exchange::{Attempt, Exchange, ModelIdOrNone};
use crate::shard::input::Slices;
use crate::shard::relay::Relay;
use crate::shard::task::Task;

impl Exchange {
    pub fn transcribes(&self) -> bool {
        matches!(self.task, Task::Transcribe | Task::Translate)
    }

    pub(super) fn understand_transcript(&mut self) -> Result<(), Fault> {
        let asked = self.transcript_asked()?;
        let model = self.model_named(&asked.model)?;
        self.asked.model = ModelIdOrNone(Some(model));
        self.asked.peek = Peek {
            model: asked.model,
            stream: asked.stream,
            stream_usage: true,
            ..Peek::default()
        };
        // How many tokens a sound is nobody knows before it was heard.
        self.asked.ask = Draw::default();
        Ok(())
    }

    fn transcript_asked(&self) -> Result<transcripts::Asked, Fault> {
        // A body that is no form is refused as one without a boundary.
        transcripts::read(self.passing.form.as_deref().unwrap_or_default(), &self.body)
    }

    /// `Err` where the provider has no such API, which nothing can stand in for.
    pub(super) fn transcript_dialect(
        &self,
        provider: &config::Provider,
    ) -> Result<DialectName, Fault> {
        let dialect = DialectName::Chat;
        if provider.kind.offers(self.task.operation(), dialect) {
            return Ok(dialect);
        }
        let name = &provider.name;
        let message = format!("the provider {name} has no API that transcribes audio");
        Err(Fault::invalid("model", message))
    }

    pub(super) fn transcript_body(&self, endpoint: &config::Endpoint) -> Result<Slices, Fault> {
        let asked = self.transcript_asked()?;
        let body = transcripts::named(&self.body, &asked, &endpoint.name);
        Ok(body.into_iter().collect())
    }

    /// Says of a call's body that it is the client's form, and takes an answer in any of the formats that a form may ask for.
    pub(super) fn transcript_head(&self, head: &mut CallHead) {
        if let (true, Some(kind)) = (self.transcribes(), &self.passing.form) {
            head.headers
                .retain(|(name, _)| name != "content-type" && name != "accept");
            head.add("content-type", kind.clone());
            head.add("accept", "*/*".to_owned());
        }
    }

    /// `usage`, with the length of the sound where the answer told nothing (`text`, `srt`, `vtt`), out of the sound itself. A length by the
    /// sound's size alone is an estimate.
    pub(super) fn heard(&self, attempt: &Attempt, relay: &Relay, usage: Usage) -> Usage {
        let told = relay.usage.input_uncached.is_some() || relay.usage.input_audio_millis.is_some();
        if !self.transcribes() || told {
            return usage;
        }
        let Some((millis, guessed)) = self.sound() else {
            return usage;
        };
        let price = &self.config.endpoints[attempt.endpoint.0 as usize].price;
        Usage {
            input_audio_millis: Some(millis),
            // Tokens are not known by a sound's length.
            estimated: !relay.done || guessed || price.audio_minute.is_none(),
            ..usage
        }
    }

    /// What hearing it all used, of which nobody says whether it was heard.
    pub(super) fn unheard(&self) -> Option<Usage> {
        let (millis, _) = self.transcribes().then(|| self.sound()).flatten()?;
        Some(Usage {
            estimated: true,
            ..transcripts::timed(millis)
        })
    }

    /// Milliseconds of the sound, to the whole second as those are paid that are paid by length (OpenAI's price list); and whether that is a guess.
    fn sound(&self) -> Option<(u64, bool)> {
        let kind = self.passing.form.as_deref().unwrap_or_default();
        let (millis, guessed) = transcripts::heard(kind, &self.body)?;
        Some(((millis + 500) / 1_000 * 1_000, guessed))
    }

    /// Takes note of what kind of text the answer is, which only its provider knows.
    pub(super) fn transcript_answered(&mut self, headers: &Headers) {
        if self.transcribes() {
            self.answer_kind = headers.text(b"content-type").map(Into::into);
        }
    }
}
