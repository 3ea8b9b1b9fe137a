//! How one answer is read and written, by form.
//!
//! | the provider streams | same dialect | the client gets |
//! |---|---|---|
//! | yes | yes, and the client streams | the bytes as they are, watched by `Lift` |
//! | no | yes, and the client does not stream | the body as it is |
//! | anything else | | decoded to canon, then encoded as a stream or folded to one answer |
//!
//! Cost of a chunk that passes: one scan for event ends, one keyword scan, one copy into the buffer that is written; no allocation once the
//! buffers have grown.

use crate::base::{Headers, Str, Tokens};
use crate::canon::{Delta, DialectName, Event, Fault, FaultClass, Fold, Malformed, Usage};
use crate::protocol::dialect::numbers::{Named, Sides};
use crate::protocol::dialect::responses::socket::{self, Said};
use crate::protocol::dialect::splice::{self, Lift, Pass, lift_whole};
use crate::protocol::dialect::{self, Closing, Decoder, Encoder, Opening, seals, transcripts};
use crate::protocol::framing::{eventstream, sse};
use crate::protocol::provider::{FramesOf, Framing, ProviderKind, hints::Hints};
use bytes::{Bytes, BytesMut};

#[derive(Debug)]
pub(super) struct Relay {
    kind: ProviderKind,
    provider: DialectName,
    up: Up,
    down: Down,
    meaning: Meaning,
    /// Reused between chunks.
    events: Vec<Event>,
    pub usage: Usage,
    /// The provider's end mark was seen.
    pub done: bool,
    pub upstream_id: Str,
    /// What came that only its maker can read, by digest, for who takes it; looked for where `watches` says.
    pub seals: Vec<u128>,
    watches: bool,
    /// Pieces of an answer that came, to estimate its length by when nobody says.
    pieces: u64,
    /// Bytes of output that came, by a rough count; and how many tokens of it were told to who counts them.
    words: u64,
    /// Content has come.
    spoke: bool,
    produced: u64,
    /// Events that went on to the client as they were.
    passed: u64,
    /// The end mark was among what passed.
    end_told: bool,
    /// Bytes that came, where the answer is kept to be told at its end.
    kept: usize,
    answer_bytes_max: usize,
}

#[derive(Debug)]
enum Up {
    Stream(sse::Decoder),
    /// AWS's frames, told as the events they hold.
    Frames(Box<eventstream::Events>),
    /// What came so far: nearly always one piece, which is then not copied.
    Whole(Whole),
    /// Bytes that mean nothing to us.
    Bytes,
}

#[derive(Debug)]
enum Whole {
    Piece(Bytes),
    Joined(BytesMut),
}

impl Whole {
    fn add(&mut self, bytes: Bytes) {
        match self {
            Self::Piece(first) if first.is_empty() => *first = bytes,
            Self::Piece(first) => {
                let mut joined = BytesMut::with_capacity(2 * (first.len() + bytes.len()));
                joined.extend_from_slice(first);
                joined.extend_from_slice(&bytes);
                *self = Self::Joined(joined);
            }
            Self::Joined(joined) => joined.extend_from_slice(&bytes),
        }
    }

    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::Piece(Bytes::new())) {
            Self::Piece(bytes) => bytes,
            Self::Joined(joined) => joined.freeze(),
        }
    }
}

#[derive(Debug)]
enum Meaning {
    Lift(Lift),
    /// The same of a body in one piece.
    LiftWhole(DialectName),
    Decode(Decoder),
    Numbers(Box<Numbers>),
    /// The words of a sound, in one body.
    Transcript,
    /// A kept answer, or what is said of it: passes whatever it is.
    Kept(Option<Box<splice::Kept>>),
}

#[derive(Debug)]
enum Down {
    Pass,
    /// As frames of a WebSocket.
    PassFramed(Box<Framed>),
    PassWhole(Bytes),
    Encode(Box<Encoder>),
    Fold(Box<Fold>),
}

/// Events that pass to a WebSocket of Responses.
#[derive(Debug)]
struct Framed {
    lane: Option<Str>,
    /// Events of whole items, for an end that leaves them out.
    items: Vec<Bytes>,
    /// The event that ended the answer.
    last: Bytes,
}

impl Framed {
    fn pass(&mut self, event: &sse::SseEvent, out: &mut BytesMut) -> Result<(), Fault> {
        let data = event.data.trim_ascii();
        // Chat's mark, with which several speakers of this dialect end: no event, and here no end either.
        if data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        if memchr::memmem::find(data, b"\"response.output_item.done\"").is_some() {
            // A copy: a slice would keep all that came with it.
            self.items.push(Bytes::copy_from_slice(data));
        }
        socket::write_passing(data, self.lane.as_deref(), out)
            .map_err(|socket::NotText| broken("an event of the provider is no JSON in UTF-8"))
    }
}

/// A question whose answer is numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    pub sides: Sides,
    /// The client's request.
    pub asked: Bytes,
    /// The model as the client named it, and its provider's name for it.
    pub model: Str,
    pub theirs: Str,
    /// Tokens of input, where a header says them.
    pub counted: Option<Tokens>,
}

/// What a relay is made for.
#[derive(Debug)]
pub(super) struct Form {
    pub kind: ProviderKind,
    pub client: DialectName,
    pub provider: DialectName,
    pub client_streams: bool,
    pub framing: Framing,
    pub numbers: Option<Numbers>,
    /// A kept answer was asked for.
    pub kept: bool,
    /// The words of a sound were asked for.
    pub transcript: bool,
    /// The client's stream is a JSON array: no provider's bytes are.
    pub array: bool,
    pub stream_usage: bool,
    /// The answer may bring what only its maker can read.
    pub seals: bool,
    pub event_bytes_max: usize,
    pub answer_bytes_max: usize,
    /// The client listens on a WebSocket, where bytes cannot pass as they are.
    pub framed: bool,
    /// What comes is no answer in anybody's words: it is kept for who reads it, or passes as it is.
    pub apart: Option<Apart>,
    /// Its lane there (Responses).
    pub lane: Option<Str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    Kept,
    Passes,
}

impl Relay {
    pub fn new(form: Form, opening: impl FnOnce() -> Opening) -> Self {
        // The events of Responses are the same on a WebSocket; native ones carry the client's own ids there.
        let frames = form.framed && form.client == DialectName::Responses;
        let same = form.client == form.provider && (!form.framed || frames) && !form.array;
        let framing = match form.framing {
            // Who asked for one body is given one.
            _ if (form.kept || form.transcript) && !form.client_streams => Framing::Whole,
            framing => framing,
        };
        let provider_streams = framing != Framing::Whole;
        let (meaning, down) = match (form.client_streams, provider_streams) {
            _ if form.apart.is_some() => (Meaning::LiftWhole(form.client), Down::Pass),
            (true, _) if form.kept => (Meaning::Kept(None), Down::Pass),
            (false, _) if form.kept => (Meaning::Kept(None), Down::PassWhole(Bytes::new())),
            (true, true) if form.transcript => (Meaning::Lift(Lift::transcript()), Down::Pass),
            _ if form.transcript => (Meaning::Transcript, Down::PassWhole(Bytes::new())),
            _ if form.numbers.is_some() => (
                form.numbers
                    .map_or(Meaning::LiftWhole(form.client), |numbers| {
                        Meaning::Numbers(Box::new(numbers))
                    }),
                Down::PassWhole(Bytes::new()),
            ),
            (true, true) if same => (
                Meaning::Lift(Lift::new(form.client, form.stream_usage)),
                match frames {
                    true => Down::PassFramed(Box::new(Framed {
                        lane: form.lane,
                        items: Vec::new(),
                        last: Bytes::new(),
                    })),
                    false => Down::Pass,
                },
            ),
            (false, false) if same => (
                Meaning::LiftWhole(form.provider),
                Down::PassWhole(Bytes::new()),
            ),
            (true, _) => {
                let encoder = Encoder::new(form.client, opening());
                (
                    Meaning::Decode(Decoder::new(form.provider)),
                    Down::Encode(Box::new(encoder)),
                )
            }
            (false, _) => (
                Meaning::Decode(Decoder::new(form.provider)),
                Down::Fold(Box::default()),
            ),
        };
        let up = match framing {
            _ if form.apart == Some(Apart::Passes) => Up::Bytes,
            _ if form.apart == Some(Apart::Kept) => Up::Whole(Whole::Piece(Bytes::new())),
            Framing::Sse => Up::Stream(sse::Decoder::new(form.event_bytes_max)),
            Framing::EventStream(of) => {
                let holds = match of {
                    FramesOf::Invoke => eventstream::Holds::Invoke,
                    FramesOf::Converse => eventstream::Holds::Converse,
                };
                let events = eventstream::Events::new(holds, form.event_bytes_max);
                Up::Frames(Box::new(events))
            }
            Framing::Whole => Up::Whole(Whole::Piece(Bytes::new())),
        };
        Self {
            kind: form.kind,
            provider: form.provider,
            up,
            down,
            meaning,
            events: Vec::new(),
            usage: Usage::default(),
            done: false,
            upstream_id: Str::new(),
            seals: Vec::new(),
            watches: form.seals,
            pieces: 0,
            words: 0,
            spoke: false,
            produced: 0,
            passed: 0,
            end_told: false,
            kept: 0,
            answer_bytes_max: form.answer_bytes_max,
        }
    }

    /// Takes what the network brought and appends to `out` what the client is to be sent. `Err`: the attempt is broken; what was appended
    /// before it may still be sent.
    pub fn feed(&mut self, bytes: Bytes, out: &mut BytesMut) -> Result<(), Fault> {
        if !matches!(
            (&self.up, &self.down),
            (Up::Stream(_) | Up::Frames(_) | Up::Bytes, Down::Pass)
        ) {
            self.kept = self.kept.saturating_add(bytes.len());
            if self.kept > self.answer_bytes_max {
                let most = self.answer_bytes_max;
                return Err(broken(format!(
                    "the provider's answer is larger than {most} bytes"
                )));
            }
        }
        match &mut self.up {
            Up::Stream(decoder) => decoder.feed(bytes),
            Up::Frames(frames) => frames.feed(bytes),
            Up::Whole(body) => {
                body.add(bytes);
                return Ok(());
            }
            Up::Bytes => {
                out.extend_from_slice(&bytes);
                return Ok(());
            }
        }
        // What follows the end mark is nobody's.
        while !self.done
            && let Some(event) = self.next_event()?
        {
            self.event(&event, out)?;
        }
        self.end_told = self.done;
        Ok(())
    }

    /// The provider's answer ended as HTTP says an answer ends. `Err` when its own end mark is missing.
    pub fn end(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        match &mut self.up {
            Up::Stream(decoder) => {
                if let Some(event) = decoder.rest() {
                    self.event(&event, out)?;
                }
                self.end_told = self.done;
                self.finish_meaning(out)
            }
            Up::Frames(frames) => {
                frames.finish().map_err(malformed)?;
                self.end_told = self.done;
                self.finish_meaning(out)
            }
            Up::Whole(body) => {
                let body = body.take();
                self.whole(body, out)
            }
            Up::Bytes => Ok(()),
        }
    }

    /// What was kept, for who reads it himself.
    pub fn take_whole(&mut self) -> Bytes {
        match &mut self.up {
            Up::Whole(body) => body.take(),
            Up::Stream(_) | Up::Frames(_) | Up::Bytes => Bytes::new(),
        }
    }

    /// What it amounts to that `body` is `what`, and not what was asked for.
    pub fn no_answer(&self, body: &[u8], what: &'static str) -> Fault {
        self.refused(body, Malformed::at(what))
    }

    fn next_event(&mut self) -> Result<Option<sse::SseEvent>, Fault> {
        match &mut self.up {
            Up::Stream(decoder) => decoder
                .next()
                .map_err(|sse::TooLong| broken("an event of the provider is too long")),
            Up::Frames(frames) => frames.next().map_err(malformed),
            Up::Whole(_) | Up::Bytes => Ok(None),
        }
    }

    fn event(&mut self, event: &sse::SseEvent, out: &mut BytesMut) -> Result<(), Fault> {
        // Google's own event within Claude's stream, on which strict clients break; its usage is another reckoning (`providers/vertex.md`).
        if self.kind == ProviderKind::Vertex && &event.name[..] == b"vertex_event" {
            return Ok(());
        }
        if self.watches && matches!(self.meaning, Meaning::Lift(_)) {
            let each = &mut |digest| self.seals.push(digest);
            seals::in_answer(self.provider, &event.name, &event.data, each);
        }
        match &mut self.meaning {
            Meaning::Lift(lift) => {
                let pass = lift.event(event, &mut self.events).map_err(malformed)?;
                self.pieces += 1;
                let words = event.data.len().saturating_sub(envelope(self.provider));
                self.words += words.max(TOKEN_BYTES) as u64;
                self.spoke = self.spoke || speaks(self.provider, event);
                let goes = matches!(pass, Pass::Forward | Pass::Cut(..));
                self.passed += u64::from(goes);
                match (&mut self.down, pass) {
                    _ if !goes => {}
                    (Down::PassFramed(framed), _) => framed.pass(event, out)?,
                    (_, Pass::Cut(from, to)) => {
                        out.extend_from_slice(b"data: ");
                        out.extend_from_slice(&event.data[..from]);
                        out.extend_from_slice(&event.data[to..]);
                        out.extend_from_slice(b"\n\n");
                    }
                    _ => out.extend_from_slice(&event.raw),
                }
            }
            Meaning::Decode(decoder) => {
                decoder.event(event, &mut self.events).map_err(malformed)?
            }
            Meaning::Kept(kept) => {
                let (ends, seen) = splice::kept_event(event);
                self.done |= ends;
                self.pieces += 1;
                *kept = seen.map(Box::new);
                out.extend_from_slice(&event.raw);
            }
            Meaning::LiftWhole(_) | Meaning::Numbers(_) | Meaning::Transcript => {}
        }
        self.absorb(out)?;
        if let Down::PassFramed(framed) = &mut self.down
            && self.done
        {
            framed.last = event.data.clone();
        }
        Ok(())
    }

    /// What the answer said, once it is told: for who builds upon it on the same WebSocket of Responses. The second is true when the
    /// provider knows it by the same id.
    pub fn said(&self) -> Option<(Said, bool)> {
        match &self.down {
            Down::PassFramed(framed) => {
                Some((socket::said_in_event(&framed.last, &framed.items)?, true))
            }
            Down::Encode(encoder) => Some((socket::said_in_response(encoder.told()?)?, false)),
            Down::Pass | Down::PassWhole(_) | Down::Fold(_) => None,
        }
    }

    fn finish_meaning(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        match &mut self.meaning {
            Meaning::Lift(lift) => lift.finish(&mut self.events),
            Meaning::Decode(decoder) => decoder.finish(&mut self.events),
            // Nothing follows the event that the client has already.
            Meaning::Kept(_) if self.done || self.pieces == 0 => Ok(()),
            Meaning::Kept(_) => Err(Malformed::at("the stream ended before the answer did")),
            Meaning::LiftWhole(_) | Meaning::Numbers(_) | Meaning::Transcript => Ok(()),
        }
        .map_err(malformed)?;
        self.absorb(out)?;
        self.done = true;
        Ok(())
    }

    fn whole(&mut self, body: Bytes, out: &mut BytesMut) -> Result<(), Fault> {
        if self.watches && matches!(self.meaning, Meaning::LiftWhole(_)) {
            seals::in_answer(self.provider, b"", &body, &mut |digest| {
                self.seals.push(digest)
            });
        }
        let read = match &mut self.meaning {
            Meaning::Decode(decoder) => decoder.whole(&body, &mut self.events),
            Meaning::LiftWhole(dialect) => lift_whole(*dialect, &body, &mut self.events),
            Meaning::Transcript => {
                transcripts::whole(&body, &mut self.events);
                Ok(())
            }
            Meaning::Lift(_) => Ok(()),
            Meaning::Kept(_) if matches!(self.down, Down::Pass) => {
                return Err(broken(
                    "the provider answered in one piece where a stream was asked for",
                ));
            }
            Meaning::Kept(kept) => {
                *kept = splice::kept(&body).map(Box::new);
                Ok(())
            }
            Meaning::Numbers(_) => {
                return self
                    .numbers(&body)
                    .map_err(|what| self.refused(&body, what));
            }
        };
        if let Err(what) = read {
            return Err(self.refused(&body, what));
        }
        if let Down::PassWhole(kept) = &mut self.down {
            *kept = body;
        }
        self.absorb(out)?;
        self.done = true;
        Ok(())
    }

    fn numbers(&mut self, body: &Bytes) -> Result<(), Malformed> {
        let Meaning::Numbers(numbers) = &self.meaning else {
            return Ok(());
        };
        let model = Named {
            ours: &numbers.model,
            theirs: &numbers.theirs,
        };
        let (said, mut usage) = numbers.sides.answer(&numbers.asked, body, model)?;
        usage.input_uncached = usage.input_uncached.or(numbers.counted);
        self.usage = usage;
        self.down = Down::PassWhole(said);
        self.done = true;
        Ok(())
    }

    /// A body that is no answer may be a failure in somebody's words (FIELD-BUGS: errors with status 200).
    fn refused(&self, body: &[u8], what: Malformed) -> Fault {
        let said =
            self.kind
                .fault_in_success(self.provider, &Headers::default(), body, &Hints::default());
        said.unwrap_or_else(|| malformed(what))
    }

    /// Takes note of the events at hand and writes them on. `Err` with the provider's own error event.
    fn absorb(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        let mut fault = None;
        let mut events = std::mem::take(&mut self.events);
        for event in &events {
            match event {
                Event::Usage(usage) => self.usage.update(usage),
                Event::Started { id, .. } => self.upstream_id = id.clone(),
                Event::BlockDelta { delta, .. } => {
                    self.pieces += 1;
                    self.words += said(delta).max(TOKEN_BYTES) as u64;
                    self.spoke = true;
                    if self.watches {
                        self.seals.extend(seals::in_event(event));
                    }
                }
                Event::Done => self.done = true,
                Event::BlockStart { .. } if self.watches => {
                    self.seals.extend(seals::in_event(event))
                }
                Event::Error(said) => fault = Some((**said).clone()),
                _ => {}
            }
        }
        match &mut self.down {
            Down::Encode(encoder) => encoder.events(&events, out),
            Down::Fold(fold) => events.iter().for_each(|event| fold.event(event)),
            Down::Pass | Down::PassFramed(_) | Down::PassWhole(_) => {}
        }
        events.clear();
        self.events = events;
        fault.map_or(Ok(()), Err)
    }

    /// The good end, appended to `out`: the end mark of a stream, or the whole answer.
    pub fn finish(
        &mut self,
        dialect: DialectName,
        opening: impl FnOnce() -> Opening,
        closing: &Closing,
        out: &mut BytesMut,
    ) {
        match &mut self.down {
            // Some speakers of Chat Completions leave out the mark that their clients wait for.
            Down::Pass
                if !self.end_told
                    && matches!(dialect, DialectName::Chat | DialectName::Completions) =>
            {
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Down::Pass | Down::PassFramed(_) => {}
            Down::PassWhole(body) => out.extend_from_slice(body),
            Down::Encode(encoder) => encoder.finish(closing, out),
            Down::Fold(fold) => {
                let body = dialect::write_answer(dialect, fold.answer(), &opening(), closing);
                out.extend_from_slice(&body);
            }
        }
    }

    /// The bad end of a stream that has begun, appended to `out`.
    pub fn fail(
        &mut self,
        dialect: DialectName,
        opening: impl FnOnce() -> Opening,
        fault: &Fault,
        closing: &Closing,
        out: &mut BytesMut,
    ) {
        match &mut self.down {
            Down::Encode(encoder) => encoder.fail(fault, closing, out),
            // The beginning is the provider's, and so is the answer's id.
            Down::Pass | Down::PassFramed(_) if self.passed > 0 => {
                let mut opening = opening();
                if dialect == DialectName::Responses && !self.upstream_id.is_empty() {
                    opening.id = self.upstream_id.clone();
                }
                Encoder::after(dialect, opening, self.passed).fail(fault, closing, out);
            }
            Down::Pass | Down::PassFramed(_) | Down::PassWhole(_) | Down::Fold(_) => {
                Encoder::new(dialect, opening()).fail(fault, closing, out);
            }
        }
    }

    /// Whether any content has come.
    pub fn spoke(&self) -> bool {
        self.spoke
    }

    /// How many tokens of output have come, by estimate, where that is a step more than when this was asked last. Exact is only the end.
    /// Cost: a comparison a chunk.
    pub fn produced(&mut self) -> Option<Tokens> {
        let told = self.usage.output.unwrap_or_default().0;
        let so_far = told.max(self.words / TOKEN_BYTES as u64);
        if so_far < self.produced + PRODUCED_STEP {
            return None;
        }
        self.produced = so_far;
        Some(Tokens(so_far))
    }

    /// The usage to bill, made up where the provider did not say: input by its bytes, output by the pieces that came.
    #[must_use]
    pub fn usage_or_estimate(&self, input: Tokens) -> Usage {
        let mut usage = self.usage.clone();
        let silent = usage.input_uncached.is_none() && usage.cache_read.is_none();
        if silent {
            usage.input_uncached = Some(input);
        }
        if !self.done || usage.output.is_none() {
            usage.output = Some(usage.output.unwrap_or_default().max(Tokens(self.pieces)));
        }
        usage.estimated = silent || !self.done;
        usage
    }

    /// What a kept answer said of itself, once it was over.
    pub fn kept(&self) -> Option<&splice::Kept> {
        match &self.meaning {
            Meaning::Kept(kept) => kept.as_deref(),
            _ => None,
        }
    }

    /// The client reads the provider's own bytes, ids included.
    pub fn passes(&self) -> bool {
        matches!(self.down, Down::Pass | Down::PassWhole(_))
    }

    /// Names of what the answer held and the client's dialect has no words for.
    pub fn dropped(&self) -> &[String] {
        match &self.down {
            Down::Encode(encoder) => encoder.dropped(),
            Down::Pass | Down::PassFramed(_) | Down::PassWhole(_) | Down::Fold(_) => &[],
        }
    }
}

/// Bytes of words in a piece of an answer. Signatures and sounds are no words, and counted as a token each.
fn said(delta: &Delta) -> usize {
    match delta {
        Delta::Text(words)
        | Delta::Thinking(words)
        | Delta::ToolInput(words)
        | Delta::Refusal(words) => words.len(),
        Delta::Signature(_)
        | Delta::Citation(_)
        | Delta::Base64(_)
        | Delta::Transcript(_)
        | Delta::Other { .. } => 0,
    }
}

/// About so many bytes of an event are not the model's words, by what recorded streams look like; reading each event for its words would cost
/// more than the estimate is worth, since the true usage settles it.
fn envelope(dialect: DialectName) -> usize {
    match dialect {
        DialectName::Messages => 84,
        DialectName::Responses => 170,
        DialectName::Chat | DialectName::Completions | DialectName::Gemini => 220,
        DialectName::Native | DialectName::Converse => 0,
    }
}

/// English text has about four bytes a token.
const TOKEN_BYTES: usize = 4;

/// A provider's bucket of output holds some thousands at least: steps of 64 are as good as single tokens, and seldom.
const PRODUCED_STEP: u64 = 64;

fn malformed(what: Malformed) -> Fault {
    broken(format!("the provider's answer is {what}"))
}

fn broken(message: impl Into<String>) -> Fault {
    Fault::new(FaultClass::UpstreamBroken, message)
}

/// Whether an event that passes has content in it, and not only a beginning: asked until the first that has.
fn speaks(dialect: DialectName, event: &sse::SseEvent) -> bool {
    let has = |what: &[u8]| event.data.windows(what.len()).any(|found| found == what);
    match dialect {
        DialectName::Messages | DialectName::Converse => {
            has(b"content_block_delta") || &event.name[..] == b"contentBlockDelta"
        }
        DialectName::Responses => has(b".delta\""),
        DialectName::Chat => {
            let begins = has(b"\"content\":\"\"") || has(b"\"content\":null");
            (has(b"\"content\":\"") && !begins) || has(b"_calls\":[") || has(b"\"reasoning")
        }
        DialectName::Gemini | DialectName::Completions | DialectName::Native => true,
    }
}
