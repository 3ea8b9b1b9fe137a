//! Who asks, and what they got.

use super::network::moment;
use super::world::FaultsDrawn;
use bytes::{Bytes, BytesMut};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use stokehold::base::Rng;
use stokehold::canon::{Answer, DialectName, Event, Fold};
use stokehold::protocol::dialect::Decoder;
use stokehold::protocol::framing::sse;
use stokehold::shard::{BodyFault, ClientHead, ResponseHead};

/// What a client will do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub dialect: DialectName,
    pub stream: bool,
    pub body: Bytes,
    pub key: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body_fault: Option<BodyFault>,
    pub leaves_after: Option<Duration>,
    /// Reads its buffer only after such pauses.
    pub slow: Option<Duration>,
    pub must_succeed: bool,
}

impl Plan {
    pub fn drawn(rng: &mut Rng, faults: FaultsDrawn) -> Self {
        let dialect = [
            DialectName::Chat,
            DialectName::Messages,
            DialectName::Native,
        ][rng.below(3) as usize];
        let stream = rng.once_in(2);
        let model = if rng.once_in(2) { "m0" } else { "m1" };
        let text = text(rng);
        let broken = faults.bad_bodies && rng.once_in(8);
        let body = if broken {
            bad_body(rng)
        } else {
            body(dialect, model, stream, &text)
        };
        let mut headers = Vec::new();
        if rng.once_in(10) {
            headers.push((
                "x-stokehold-deadline",
                format!("{}ms", 100 + rng.below(20_000)),
            ));
        }
        Self {
            dialect,
            stream,
            body,
            key: if rng.once_in(3) { "sk-b" } else { "sk-a" },
            headers,
            body_fault: (faults.bad_bodies && rng.once_in(20)).then_some(BodyFault::TooSlow),
            leaves_after: (faults.clients_leave && rng.once_in(4)).then(|| moment(rng)),
            slow: (faults.slow_clients && rng.once_in(4))
                .then(|| Duration::from_millis(1 + rng.below(8_000))),
            must_succeed: false,
        }
    }

    pub fn head(&self) -> ClientHead {
        let path = match self.dialect {
            DialectName::Chat => "/v1/chat/completions",
            DialectName::Messages => "/v1/messages",
            DialectName::Native if self.stream => "/api/v1/stream",
            DialectName::Native => "/api/v1/generate",
        };
        let mut headers = vec![(
            Bytes::from_static(b"authorization"),
            Bytes::from(format!("Bearer {}", self.key)),
        )];
        headers.extend(
            self.headers
                .iter()
                .map(|(n, v)| (Bytes::from_static(n.as_bytes()), Bytes::from(v.clone()))),
        );
        ClientHead {
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(path.as_bytes()),
            query: Bytes::new(),
            headers,
            content_length: Some(self.body.len() as u64),
            websocket: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// A prompt, short or long enough to be cached.
fn text(rng: &mut Rng) -> String {
    let words = if rng.once_in(4) {
        2_000
    } else {
        3 + rng.below(60)
    };
    let start = rng.below(4);
    (0..words).map(|w| format!("word{} ", start + w)).collect()
}

fn body(dialect: DialectName, model: &str, stream: bool, text: &str) -> Bytes {
    let body = match dialect {
        DialectName::Chat => serde_json::json!({
            "model": model, "stream": stream, "messages": [{"role": "user", "content": text}],
        }),
        DialectName::Messages => serde_json::json!({
            "model": model, "stream": stream, "max_tokens": 300,
            "system": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "go on"}],
        }),
        DialectName::Native => {
            serde_json::json!({"model": model, "input": text, "max_output_tokens": 200})
        }
    };
    Bytes::from(body.to_string())
}

fn bad_body(rng: &mut Rng) -> Bytes {
    let some = [
        "",
        "{",
        "[]",
        "{\"model\":\"m0\"}",
        "{\"model\":7,\"messages\":[]}",
        "\u{0}",
        "{\"model\":\"nope\",\"messages\":[],\"max_tokens\":1}",
    ];
    Bytes::from_static(some[rng.below(some.len() as u64) as usize].as_bytes())
}

/// What a client got.
pub struct Client {
    pub plan: Plan,
    pub head: Option<ResponseHead>,
    pub got: BytesMut,
    pub ended: bool,
    pub aborted: bool,
    pub left: bool,
    pub unread: usize,
    pub congested: bool,
}

impl Client {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            head: None,
            got: BytesMut::new(),
            ended: false,
            aborted: false,
            left: false,
            unread: 0,
            congested: false,
        }
    }

    pub fn respond(&mut self, head: ResponseHead, body: Bytes, end: bool) {
        assert!(self.head.is_none(), "a client is answered once");
        self.head = Some(head);
        self.take(&body);
        self.ended = end;
    }

    pub fn write(&mut self, bytes: Bytes) {
        assert!(
            self.head.is_some() && !self.ended,
            "bytes come between a head and an end"
        );
        self.take(&bytes);
    }

    pub fn end(&mut self) {
        assert!(self.head.is_some() && !self.ended, "an answer ends once");
        self.ended = true;
    }

    pub fn abort(&mut self) {
        assert!(!self.ended, "an answer that ended is not broken off");
        self.aborted = true;
        self.ended = true;
    }

    fn take(&mut self, bytes: &[u8]) {
        self.got.extend_from_slice(bytes);
        self.unread += bytes.len();
    }

    pub fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, |head| head.status)
    }

    /// What the client makes of what it got, by the reading half of its own dialect; `Err` when it is not an answer of its dialect.
    pub fn answer(&self) -> Result<Answer, String> {
        let mut decoder = Decoder::new(self.plan.dialect);
        let mut events: Vec<Event> = Vec::new();
        if self.plan.stream {
            let mut cutter = sse::Decoder::new(1 << 24);
            cutter.feed(self.got.clone().freeze());
            while let Some(event) = cutter
                .next()
                .map_err(|_| "an event without end".to_owned())?
            {
                decoder
                    .event(&event, &mut events)
                    .map_err(|e| e.to_string())?;
            }
            // A stream that tells of its failure ends with that.
            if !events.iter().any(|e| matches!(e, Event::Error(_))) {
                decoder.finish(&mut events).map_err(|e| e.to_string())?;
            }
        } else {
            decoder
                .whole(&self.got.clone().freeze(), &mut events)
                .map_err(|e| e.to_string())?;
        }
        let mut fold = Fold::default();
        events.iter().for_each(|event| fold.event(event));
        Ok(fold.into_answer())
    }

    pub fn succeeded(&self) -> bool {
        self.ended
            && !self.aborted
            && self.status() == 200
            && self.answer().is_ok_and(|a| a.error.is_none())
    }
}
