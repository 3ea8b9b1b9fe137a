//! A call's signature within the call's id, for clients whose dialect has no place for it, or that give back nothing of a call but its id.
//!
//! Google signs a model's call, and its newer models refuse the next turn without that signature (Gemini docs, thought signatures, read
//! 2026-11). Every client gives a call's id back, with the call and with its result, since that is how the two are matched: so a client is told
//! the id with the signature behind it, and a request is read as if the id had been the short one and the signature had stood with the call.
//! Canon has both apart, and no provider sees a packed id, also where bytes pass (`splice::ids`).
//!
//! `<id>_stokehold_sig_<form><check><signature>`, of characters that all APIs take in ids. The check is of all the rest, so an id of others is
//! never changed, and one that was cut or changed on its way is an id like any other: the signature is lost, not forged.

use super::Encoder;
use crate::base::Str;
use crate::canon::{
    Answer, AnswerBlock, BlockKind, BlockStart, Delta, DialectName, Event, Request,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::BytesMut;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Between an id and what is packed behind it.
const MARK: &str = "_stokehold_sig_";

/// Of base64 digits, which hold 36 bits: one in 64 billion of the ids that have the mark by chance would be taken for ours.
const CHECK: usize = 6;

/// Bytes of a signature that is packed; a longer one is left to the codec, which says it in the dialect's own place or reports `signature` as
/// left out, and Google is then shown its word for calls without. 32 KiB = several times the largest seen (a few kB), twice a call in a request.
const SIGNATURE_MAX: usize = 32 << 10;

/// How the signature is spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// It was base64, padded, as Google writes bytes: the same bytes in the other alphabet.
    Base64,
    /// It was any text.
    Text,
}

impl Form {
    fn letter(self) -> u8 {
        match self {
            Self::Base64 => b'b',
            Self::Text => b't',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        [Self::Base64, Self::Text]
            .into_iter()
            .find(|form| form.letter() == letter)
    }
}

/// `id` with `signature` behind it; `None` for an empty signature and for one that is too long.
fn pack(id: &str, signature: &str) -> Option<Str> {
    if signature.is_empty() || signature.len() > SIGNATURE_MAX {
        return None;
    }
    let (form, spelled) = match STANDARD.decode(signature) {
        Ok(bytes) => (Form::Base64, URL_SAFE_NO_PAD.encode(bytes)),
        Err(_) => (Form::Text, URL_SAFE_NO_PAD.encode(signature)),
    };
    let letter = char::from(form.letter());
    let check = check(id, form, &spelled);
    Some(Str::from(format!("{id}{MARK}{letter}{check}{spelled}")))
}

/// The id and the signature that `packed` holds; `None` for any id that is not packed. Costs a search of an id.
pub(super) fn unpack(packed: &str) -> Option<(&str, String)> {
    // The first place may be a mark of the id's own, or of another router's further up.
    memchr::memmem::find_iter(packed.as_bytes(), MARK).find_map(|at| {
        let (id, rest) = (&packed[..at], packed.get(at + MARK.len()..)?);
        let form = Form::of(*rest.as_bytes().first()?)?;
        let (said, spelled) = rest.get(1..)?.split_at_checked(CHECK)?;
        if said != check(id, form, spelled) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(spelled).ok()?;
        let signature = match form {
            Form::Base64 => STANDARD.encode(bytes),
            Form::Text => String::from_utf8(bytes).ok()?,
        };
        Some((id, signature))
    })
}

fn check(id: &str, form: Form, spelled: &str) -> String {
    let of_id = xxh3_64_with_seed(id.as_bytes(), u64::from(form.letter()));
    let of_both = of_id ^ xxh3_64(spelled.as_bytes()).rotate_left(32);
    let mut digits = URL_SAFE_NO_PAD.encode(of_both.to_le_bytes());
    digits.truncate(CHECK);
    digits
}

/// Whether a packed id may stand in `text`. Costs one search; what has no room for one costs nothing.
pub(super) fn may_stand(text: &str) -> bool {
    text.len() > MARK.len() + CHECK
        && memchr::memmem::find(text.as_bytes(), MARK.as_bytes()).is_some()
}

/// Takes a request's ids apart. A signature that stands with its call in the dialect's own place counts before a packed one.
pub(super) fn take_apart(request: &mut Request) {
    for block in request.turns.iter_mut().flat_map(|t| &mut t.blocks) {
        match &mut block.kind {
            BlockKind::ToolCall { id, .. } => {
                if let Some(signature) = shorten(id) {
                    block.signature.get_or_insert_with(|| signature.into());
                }
            }
            BlockKind::ToolResult { id, .. } => {
                shorten(id);
            }
            _ => {}
        }
    }
}

/// Makes a packed id short, and gives what was behind it.
fn shorten(id: &mut Str) -> Option<String> {
    let (short, signature) = unpack(id)?;
    *id = id.slice_ref(short);
    Some(signature)
}

/// Whether a client of `dialect` is told packed ids. Gemini and our own dialect say a signature with its call, and their clients give a call
/// back as it was; in the dialects of OpenAI there is a place that many clients do not know (`extra_content`), so both are told.
fn packs(dialect: DialectName) -> bool {
    match dialect {
        DialectName::Messages | DialectName::Chat | DialectName::Responses => true,
        DialectName::Native
        | DialectName::Gemini
        | DialectName::Completions
        | DialectName::Converse => false,
    }
}

/// `start` with its id packed, where `next` brings the signature of the call that begins.
fn packed_start(start: &Event, next: Option<&Event>) -> Option<Event> {
    let Event::BlockStart {
        index,
        choice,
        block: BlockStart::ToolCall { id, name, kind },
    } = start
    else {
        return None;
    };
    let Some(Event::BlockDelta {
        index: of,
        delta: Delta::Signature(signature),
    }) = next
    else {
        return None;
    };
    let id = (of == index).then(|| pack(id, signature))??;
    Some(Event::BlockStart {
        index: *index,
        choice: *choice,
        block: BlockStart::ToolCall {
            id,
            name: name.clone(),
            kind: kind.clone(),
        },
    })
}

impl Encoder {
    /// Appends events that came together, in the client's words. As `event` for each of them, but that a call whose signature comes right
    /// behind its start is told with it in its id, where the client's dialect needs that.
    pub fn events(&mut self, events: &[Event], out: &mut BytesMut) {
        let dialect = self.dialect();
        let mut rest = events.iter();
        while let Some(event) = rest.next() {
            let next = rest.as_slice().first();
            match packed_start(event, next).filter(|_| packs(dialect)) {
                Some(start) => {
                    self.event(&start, out);
                    // Said with the id, and nowhere else here.
                    if dialect == DialectName::Messages {
                        rest.next();
                    }
                }
                None => self.event(event, out),
            }
        }
    }

    fn dialect(&self) -> DialectName {
        match self {
            Self::Native(_) => DialectName::Native,
            Self::Chat(_) => DialectName::Chat,
            Self::Messages(_) => DialectName::Messages,
            Self::Responses(_) => DialectName::Responses,
            Self::Gemini(_) => DialectName::Gemini,
            Self::Completions(_) => DialectName::Completions,
            Self::Converse(_) => DialectName::Converse,
        }
    }
}

/// The answer as a client of `dialect` is told it whole. `None`: as it is.
pub(super) fn packed_answer(dialect: DialectName, answer: &Answer) -> Option<Answer> {
    let packs = packs(dialect) && answer.blocks.iter().any(|b| packed_id(b).is_some());
    packs.then(|| {
        let mut packed = answer.clone();
        for block in &mut packed.blocks {
            if let (Some(longer), BlockStart::ToolCall { id, .. }) =
                (packed_id(block), &mut block.start)
            {
                *id = longer;
            }
        }
        packed
    })
}

fn packed_id(block: &AnswerBlock) -> Option<Str> {
    let BlockStart::ToolCall { id, .. } = &block.start else {
        return None;
    };
    pack(id, block.signature.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    const SIGNATURE: &str = "c2lnbmF0dXJl/+8=";

    /// Text of characters that matter here: of both alphabets, of the mark, and of neither.
    fn text(rng: &mut Rng, most: u64) -> String {
        let pieces = [
            "a", "_", "-", "+", "/", "=", "Zm9v", MARK, "_sig_", "\u{fc}", "\"", " ",
        ];
        let piece = |rng: &mut Rng| pieces[rng.below(pieces.len() as u64) as usize];
        (0..rng.below(most)).map(|_| piece(rng)).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked_whatever_it_is() {
        for seed in 0..4_000 {
            let mut rng = Rng::seeded(seed);
            let (id, mut signature) = (text(&mut rng, 8), text(&mut rng, 40));
            if seed % 2 == 0 {
                signature = STANDARD.encode(&signature);
            }
            let Some(packed) = pack(&id, &signature) else {
                assert_eq!(signature, "", "seed {seed}");
                continue;
            };
            assert_eq!(unpack(&packed), Some((&*id, signature)), "seed {seed}");
        }
    }

    #[test]
    fn an_id_of_others_is_never_changed() {
        for seed in 0..20_000 {
            let id = text(&mut Rng::seeded(seed), 12);
            assert_eq!(unpack(&id), None, "seed {seed}: {id}");
        }
        for id in ["", "toolu_01A09q90qw90lq917835lq9", "call_abc", MARK] {
            assert_eq!(unpack(id), None);
        }
    }

    /// A client that cuts ids, or changes one character, gives back what is no packed id, and neither a wrong signature nor a panic.
    #[test]
    fn a_packed_id_that_was_cut_or_changed_is_an_id_like_any_other() {
        let packed = pack("call_1", SIGNATURE).expect("short");
        for at in 0..packed.len() {
            assert_eq!(unpack(&packed[..at]), None, "cut at {at}");
            let mut changed = packed.to_string().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(unpack(&changed), None, "changed at {at}");
        }
        assert_eq!(unpack(&format!("{packed}A")), None);
    }

    #[test]
    fn what_one_router_packed_another_packs_again_and_each_takes_its_own() {
        let inner = pack("call_1", SIGNATURE).expect("short");
        let outer = pack(&inner, "other").expect("short");
        assert_eq!(unpack(&outer), Some((&*inner, "other".to_owned())));
        assert_eq!(unpack(&inner), Some(("call_1", SIGNATURE.to_owned())));
    }

    #[test]
    fn a_packed_id_keeps_to_the_pattern_of_ids_and_a_signature_to_its_bound() {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        for length in [1, 2, 3, 300, SIGNATURE_MAX] {
            let packed = pack("toolu_1", &"\u{7f}".repeat(length)).expect("within the bound");
            assert!(packed.chars().all(fits), "{length}");
            // Base64 of text is a third longer.
            assert!(packed.len() <= 7 + MARK.len() + 1 + CHECK + (length * 4).div_ceil(3));
        }
        assert_eq!(pack("toolu_1", &"A".repeat(SIGNATURE_MAX + 4)), None);
        assert_eq!(pack("toolu_1", ""), None);
        // Google's own spelling is not encoded twice.
        let google = STANDARD.encode([7; 3_000]);
        let packed = pack("toolu_1", &google).expect("short");
        assert_eq!(packed.len(), 7 + MARK.len() + 1 + CHECK + google.len());
    }
}
