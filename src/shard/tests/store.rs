//! The store as a value, over notes in memory: what the keeper of the spool answers, without files.

use super::named::{
    About, Asker, Begun, Claim, DialectName, ExchangeId, Form, Found, Note, Piece, Question, State,
    Str, Told, Usage, What,
};
use bytes::Bytes;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Store {
    pub answers: BTreeMap<String, Kept>,
    pending: BTreeMap<(String, [u8; 32]), (Str, [u8; 32])>,
    waiting: Vec<Question>,
    pub pieces: std::cell::Cell<usize>,
}

#[derive(Debug)]
pub struct Kept {
    tenant: String,
    exchange: ExchangeId,
    form: Form,
    dialect: DialectName,
    claim: Option<Claim>,
    pub sent: Vec<u8>,
    pub state: State,
    pub status: u16,
    kind: Str,
    pub usage: Usage,
}

impl Store {
    pub fn note(&mut self, note: Note) {
        let what = format!("{note:?}");
        let of = |answers: &mut BTreeMap<String, Kept>, exchange| {
            let mut all = std::mem::take(answers).into_iter();
            let mut found = None;
            for (name, kept) in &mut all {
                if kept.exchange == exchange && kept.state == State::Running {
                    found = Some(name.clone());
                }
                answers.insert(name, kept);
            }
            found.unwrap_or_else(|| panic!("{exchange:?} has not begun: {what}"))
        };
        match note {
            Note::Begun(begun) => self.begun(*begun),
            Note::Called { exchange, row } => {
                assert_eq!(*row.exchange, *of(&mut self.answers, exchange));
            }
            Note::Sent {
                exchange,
                at,
                bytes,
            } => {
                let name = of(&mut self.answers, exchange);
                let kept = self.answers.get_mut(&name).expect("it");
                assert_eq!(at, kept.sent.len() as u64, "no gap and no overlap");
                kept.sent.extend_from_slice(&bytes);
            }
            // What the step did that broke the shard was never done: not even that it had begun.
            Note::Ended {
                exchange,
                state: State::Interrupted,
                ..
            } if !self.runs(exchange) => {}
            Note::Ended {
                exchange,
                state,
                status,
                kind,
                ..
            } => {
                let name = of(&mut self.answers, exchange);
                let kept = self.answers.get_mut(&name).expect("it");
                (kept.state, kept.status, kept.kind) = (state, status, kind);
            }
        }
    }

    fn runs(&self, exchange: ExchangeId) -> bool {
        let mut all = self.answers.values();
        all.any(|kept| kept.exchange == exchange && kept.state == State::Running)
    }

    fn begun(&mut self, begun: Begun) {
        let config = &begun.under.0;
        let tenant = config.tenants[usize::from(begun.tenant.0)].name.clone();
        if let Some(claim) = begun.claim {
            self.pending.remove(&(tenant.clone(), claim.key));
        }
        let kept = Kept {
            tenant,
            exchange: begun.exchange,
            form: begun.form,
            dialect: begun.dialect,
            claim: begun.claim,
            sent: Vec::new(),
            state: State::Running,
            status: 200,
            kind: Str::new(),
            usage: Usage::default(),
        };
        let twice = self.answers.insert(begun.name.to_string(), kept);
        assert!(twice.is_none(), "begun twice");
    }

    /// What is asked is asked after all that was noted before it.
    pub fn ask(&mut self, question: Question) {
        self.waiting.push(question);
    }

    /// What can be said now.
    pub fn tell(&mut self) -> Vec<(Asker, Told)> {
        let mut told = Vec::new();
        for question in std::mem::take(&mut self.waiting) {
            match self.reply(&question) {
                Some(reply) => told.extend(reply.map(|told| (question.asker, told))),
                None => self.waiting.push(question),
            }
        }
        told
    }

    fn find(&self, tenant: &str, id: &str) -> Option<&Kept> {
        self.answers.get(id).filter(|kept| kept.tenant == tenant)
    }

    /// `None`: later. `Some(None)`: nothing is to be said.
    fn reply(&mut self, question: &Question) -> Option<Option<Told>> {
        let tenant = &*question.tenant;
        let awaited = |id: &str| self.pending.values().any(|(name, _)| &**name == id);
        Some(Some(match &question.what {
            What::Claim { claim, name } => {
                let at = (tenant.to_owned(), claim.key);
                let begun = self.answers.iter().find(|(_, kept)| {
                    let is = kept.claim.is_some_and(|c| c.key == claim.key);
                    let good = matches!(kept.state, State::Running | State::Complete);
                    kept.tenant == tenant && is && good
                });
                if let Some((id, kept)) = begun {
                    let same = kept.claim.is_some_and(|c| c.asked == claim.asked);
                    let id = id.as_str().into();
                    Told::Taken { id, same }
                } else if let Some((id, asked)) = self.pending.get(&at) {
                    let same = *asked == claim.asked;
                    let id = id.clone();
                    Told::Taken { id, same }
                } else {
                    self.pending.insert(at, (name.clone(), claim.asked));
                    Told::Free
                }
            }
            What::Unclaim { key } => {
                self.pending.remove(&(tenant.to_owned(), *key));
                return Some(None);
            }
            What::Look { id, whole } => match self.find(tenant, id) {
                Some(kept) => Told::Found(Some(Box::new(kept.found(id, *whole)))),
                None if awaited(id) => return None,
                None => Told::Found(None),
            },
            What::Read { id, from } => match self.find(tenant, id) {
                Some(kept) => {
                    let rest = &kept.sent[(*from as usize).min(kept.sent.len())..];
                    if rest.is_empty() && kept.state == State::Running {
                        return None;
                    }
                    // Small pieces, cut anywhere: nobody may rely on where they end.
                    self.pieces.set(self.pieces.get() + 1);
                    let bytes = &rest[..rest.len().min(1 + self.pieces.get() * 37 % 200)];
                    let next = from + bytes.len() as u64;
                    let done = next == kept.sent.len() as u64 && kept.state != State::Running;
                    Told::Piece(Some(Piece {
                        bytes: Bytes::copy_from_slice(bytes),
                        next,
                        end: done.then_some(kept.state),
                    }))
                }
                None if awaited(id) => return None,
                None => Told::Piece(None),
            },
            What::List { .. } => {
                let own = self
                    .answers
                    .iter()
                    .filter(|(_, kept)| kept.tenant == tenant);
                let answers = own
                    .map(|(id, _)| format!("{{\"id\":\"{id}\"}}").into())
                    .collect();
                Told::Listed {
                    answers,
                    more: false,
                }
            }
            What::Usage { .. } => Told::Usage(Ok("{}".into())),
            What::Cancel { id } => Told::Done(
                self.find(tenant, id)
                    .is_some_and(|k| k.state == State::Running),
            ),
            What::Delete { id } => {
                let ended = self
                    .find(tenant, id)
                    .is_some_and(|k| k.state != State::Running);
                if ended {
                    self.answers.remove(&**id);
                }
                Told::Done(ended)
            }
        }))
    }
}

impl Kept {
    fn found(&self, id: &str, whole: bool) -> Found {
        Found {
            id: id.into(),
            dialect: self.dialect,
            form: self.form,
            state: self.state,
            status: self.status,
            kind: self.kind.clone(),
            summary: format!("{{\"id\":\"{id}\",\"status\":\"{}\"}}", self.state.as_str()).into(),
            about: About {
                usage: self.usage.clone(),
                ..About::default()
            },
            sent: whole.then(|| Bytes::copy_from_slice(&self.sent)),
        }
    }

    pub fn exchange(&self) -> ExchangeId {
        self.exchange
    }
}

/// What is said where nothing is known; `None` where nothing is to be said.
pub fn unknown(what: &What) -> Option<Told> {
    Some(match what {
        What::Claim { .. } => Told::Free,
        What::Unclaim { .. } => return None,
        What::Look { .. } => Told::Found(None),
        What::Read { .. } => Told::Piece(None),
        What::List { .. } => Told::Listed {
            answers: Vec::new(),
            more: false,
        },
        What::Usage { .. } => Told::Usage(Ok("{}".into())),
        What::Cancel { .. } | What::Delete { .. } => Told::Done(false),
    })
}
