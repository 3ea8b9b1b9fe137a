//! What an exchange tells the spool of its answer, and the claims by which a request finds an answer that is there already.
//!
//! Cost of an answer that is stored: three boxed notes, and a reference counted up for each piece.

use crate::base::{ExchangeId, Now, Str};
use crate::canon::{Fault, FaultClass};
use crate::shard::desk::Desk;
use crate::shard::exchange::{Down, Exchange, OpenAttempt, Phase};
use crate::shard::stored::{Asker, Begun, Claim, Form, Note, Question, State, Told, What};
use crate::shard::task::Task;
use crate::shard::{LedgerRow, Mail, Output, Under, stream};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How an exchange's answer is stored.
#[derive(Debug)]
pub(super) struct Storing {
    /// Bytes of it that the spool has.
    sent: u64,
    pub state: State,
    pub status: u16,
    pub kind: Str,
}

/// The store is behind the I/O core, which answers within a millisecond; one that does not is gone.
pub(super) const STORE_TIME: Duration = Duration::from_secs(10);

impl Exchange {
    /// Whether its answer is one that somebody may come back for.
    pub fn is_storable(&self, desk: &Desk) -> bool {
        let asks = matches!(
            self.task,
            Task::Generate | Task::Embed | Task::EmbedMany | Task::Transcribe | Task::Translate
        );
        desk.spools && asks && self.video.is_none() && !self.is_ping()
    }

    fn form_of_answer(&self) -> Form {
        match (&self.down, self.streams(), self.array) {
            (Down::Socket { .. }, ..) => Form::Frames,
            (_, true, true) => Form::Array,
            (_, true, false) => Form::Sse,
            (_, false, _) => Form::Whole,
        }
    }

    /// A call is about to go out.
    pub fn note_call(&mut self, desk: &Desk, open: OpenAttempt, now: Now, out: &mut Vec<Output>) {
        if self.storing.is_none() {
            if !self.is_storable(desk) {
                return;
            }
            self.note_begun(out);
        }
        let row: LedgerRow = self.row_of_open(open, true, now);
        let (exchange, row) = (self.id, Box::new(row));
        out.push(Output::Post(Mail::Spool(Note::Called { exchange, row })));
    }

    fn note_begun(&mut self, out: &mut Vec<Output>) {
        let form = self.form_of_answer();
        let keeps = self.config.tenants[self.tenant.0 as usize].keep_prompts;
        let begun = Begun {
            under: Under(self.config.clone()),
            exchange: self.id,
            name: self.name.clone(),
            tenant: self.tenant,
            client_key: self.client_key,
            model: self.model(),
            dialect: self.dialect,
            form,
            started: self.begun.wall,
            session: self.controls.session.clone().unwrap_or_default(),
            claim: self.claim,
            prompt: keeps.then(|| self.body.clone()).filter(|b| !b.is_empty()),
        };
        let kind = match form {
            Form::Sse | Form::Frames => stream::EVENT_STREAM,
            Form::Array => stream::ARRAY,
            Form::Whole => stream::JSON,
        };
        // The claim is the answer's now.
        self.claim = None;
        self.storing = Some(Box::new(Storing {
            sent: 0,
            state: State::Failed,
            status: 200,
            kind: Str::from_static(kind),
        }));
        out.push(Output::Post(Mail::Spool(Note::Begun(Box::new(begun)))));
    }

    /// A piece of the answer, before it goes to whoever listens.
    pub fn note_sent(&mut self, bytes: &Bytes, out: &mut Vec<Output>) {
        let exchange = self.id;
        if let Some(storing) = self.storing.as_mut().filter(|_| !bytes.is_empty()) {
            let at = storing.sent;
            storing.sent += bytes.len() as u64;
            out.push(Output::Post(Mail::Spool(Note::Sent {
                exchange,
                at,
                bytes: bytes.clone(),
            })));
        }
    }

    /// The answer's own status and kind, where they are not those of a good one.
    pub fn note_head(&mut self, status: u16, kind: &str) {
        if let Some(storing) = &mut self.storing {
            storing.status = status;
            if kind != &*storing.kind {
                storing.kind = kind.into();
            }
        }
    }

    /// How it ends, unless something else is said later.
    pub fn note_state(&mut self, state: State) {
        if let Some(storing) = &mut self.storing {
            storing.state = state;
        }
    }

    /// Nothing more comes; to be called once, when it settles.
    pub fn note_end(&mut self, desk: &mut Desk, now: Now, out: &mut Vec<Output>) {
        desk.abandoned.remove(&self.id);
        if let Some(storing) = self.storing.take() {
            out.push(Output::Post(Mail::Spool(Note::Ended {
                exchange: self.id,
                state: storing.state,
                status: storing.status,
                kind: storing.kind,
                at: now.wall,
            })));
        }
        if let Some(claim) = self.claim.take() {
            self.ask_store(What::Unclaim { key: claim.key }, out);
        }
    }

    /// The shard's state is not believed any more, or there is no time left: what was sent stays as it is.
    pub fn note_interrupted(&self, now: Now, out: &mut Vec<Output>) {
        if let Some(storing) = &self.storing {
            out.push(Output::Post(Mail::Spool(Note::Ended {
                exchange: self.id,
                state: State::Interrupted,
                status: storing.status,
                kind: storing.kind.clone(),
                at: now.wall,
            })));
        }
    }

    fn ask_store(&self, what: What, out: &mut Vec<Output>) {
        let tenant = &self.config.tenants[self.tenant.0 as usize].name;
        out.push(Output::Post(Mail::Ask(Box::new(Question {
            asker: Asker::Exchange(self.id),
            tenant: tenant.as_str().into(),
            what,
        }))));
    }

    /// Asks whether there is an answer to this request already; `None` where it has no key of its own, or nothing is stored.
    pub fn claim(&mut self, desk: &Desk, now: Now, out: &mut Vec<Output>) -> Option<Phase> {
        let key = self.controls.idempotency_key.as_ref()?;
        if !self.is_storable(desk) || matches!(self.down, Down::Socket { .. }) {
            return None;
        }
        let tenant = self.config.tenants[self.tenant.0 as usize].name.as_bytes();
        let claim = Claim {
            key: digest(&[tenant, key.as_bytes()]),
            asked: digest(&[
                self.dialect.as_str().as_bytes(),
                self.path_model.as_deref().unwrap_or_default().as_bytes(),
                &[u8::from(self.streams()), u8::from(self.array)],
                &self.body,
            ]),
        };
        self.claim = Some(claim);
        let name = self.name.clone();
        self.ask_store(What::Claim { claim, name }, out);
        Some(Phase::Claiming(now.instant + STORE_TIME))
    }

    /// What the store says of the claim.
    pub fn claimed(
        &mut self,
        desk: &mut Desk,
        now: Now,
        told: Told,
        out: &mut Vec<Output>,
    ) -> Phase {
        match told {
            Told::Free => self.enter(desk, now, now.instant, out),
            Told::Taken { id, same: true } => {
                // Whoever asked first has the claim.
                self.claim = None;
                self.handed = Some(id);
                self.ended = true;
                self.settled(desk, now, out)
            }
            Told::Taken { same: false, .. } => {
                self.claim = None;
                let message = "this idempotency-key was used for another request; use a new one for each request";
                let fault = Fault::invalid("idempotency-key", message);
                let fault = fault.with_code("idempotency_key_reused");
                self.refuse(desk, now, &fault, out)
            }
            Told::Unreadable(_)
            | Told::Found(_)
            | Told::Piece(_)
            | Told::Listed { .. }
            | Told::Usage(_)
            | Told::Done(_) => self.unclaimable(desk, now, out),
        }
    }

    /// Asking a provider might pay twice.
    pub fn unclaimable(&mut self, desk: &mut Desk, now: Now, out: &mut Vec<Output>) -> Phase {
        let message =
            "it cannot be said at the moment whether this idempotency-key has an answer already";
        let fault = Fault::new(FaultClass::Unavailable, message).after(Duration::from_secs(1));
        self.refuse(desk, now, &fault, out)
    }
}

impl Desk {
    /// Whether one more answer may be finished for nobody.
    pub fn may_abandon(&mut self, exchange: ExchangeId) -> bool {
        let most = self.config().spool.abandoned_max;
        if self.abandoned.len() >= most {
            return false;
        }
        self.abandoned.insert(exchange);
        true
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
