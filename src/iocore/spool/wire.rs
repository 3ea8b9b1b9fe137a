//! What `Begun` and `Ended` hold, as bytes: numbers little-endian, texts after their length. Names, not places in tables: the configuration may
//! be another one when they are read.

use crate::base::{Str, WallTime};
use crate::canon::DialectName;
use crate::shard::stored::{Begun, Claim, Form, State};

/// What a segment says of an answer's beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub name: Str,
    pub tenant: Str,
    pub key: Str,
    pub model: Str,
    pub session: Str,
    pub dialect: DialectName,
    pub form: Form,
    pub started: WallTime,
    pub claim: Option<Claim>,
}

/// And of its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    pub state: State,
    pub status: u16,
    pub kind: Str,
    pub at: WallTime,
}

pub fn write_begun(begun: &Begun, out: &mut Vec<u8>) {
    let config = &begun.under.0;
    // Nobody's name is `?`: an answer that cannot be told whose it is is found by nobody.
    let tenant = config.tenants.get(usize::from(begun.tenant.0));
    let key = config.client_keys.get(begun.client_key.0 as usize);
    let model = config.models.get(usize::from(begun.model.0));
    let names = [
        tenant.map_or("?", |t| &t.name),
        key.map_or("?", |k| &k.name),
        model.map_or("?", |m| &m.name),
    ];
    write_text(&begun.name, out);
    for text in names.into_iter().chain([&*begun.session]) {
        write_text(text, out);
    }
    write_text(begun.dialect.as_str(), out);
    write_text(begun.form.as_str(), out);
    out.extend_from_slice(&begun.started.0.to_le_bytes());
    if let Some(claim) = begun.claim {
        out.extend_from_slice(&claim.key);
        out.extend_from_slice(&claim.asked);
    }
}

pub fn write_ended(state: State, status: u16, kind: &str, at: WallTime, out: &mut Vec<u8>) {
    write_text(state.as_str(), out);
    out.extend_from_slice(&status.to_le_bytes());
    write_text(kind, out);
    out.extend_from_slice(&at.0.to_le_bytes());
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // No name comes near: those of the configuration and of clients are bounded.
    let len = text.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..len]);
}

/// `None` for bytes that are none of ours, or a later version's.
#[must_use]
pub fn read_begun(bytes: &[u8]) -> Option<Opened> {
    let mut rest = Rest(bytes);
    let opened = Opened {
        name: rest.text()?.into(),
        tenant: rest.text()?.into(),
        key: rest.text()?.into(),
        model: rest.text()?.into(),
        session: rest.text()?.into(),
        dialect: DialectName::named(rest.text()?)?,
        form: Form::named(rest.text()?)?,
        started: WallTime(i64::from_le_bytes(rest.array()?)),
        claim: None,
    };
    let claim = rest
        .array()
        .and_then(|key| Some((key, rest.array()?)))
        .map(|(key, asked)| Claim { key, asked });
    Some(Opened { claim, ..opened })
}

#[must_use]
pub fn read_ended(bytes: &[u8]) -> Option<Closed> {
    let mut rest = Rest(bytes);
    Some(Closed {
        state: State::named(rest.text()?)?,
        status: u16::from_le_bytes(rest.array()?),
        kind: rest.text()?.into(),
        at: WallTime(i64::from_le_bytes(rest.array()?)),
    })
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}
