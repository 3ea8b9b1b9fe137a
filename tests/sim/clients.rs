//! Who asks, and what they got.

use super::films::{self, Film};
use super::kept::Ask;
use super::network::moment;
use super::world::FaultsDrawn;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use stokehold::base::{Headers, Rng};
use stokehold::canon::{Answer, Delta, DialectName, Event, Fold};
use stokehold::protocol::dialect::Decoder;
use stokehold::protocol::framing::sse;
use stokehold::protocol::framing::websocket::{self, Message};
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
    /// Asks for an answer in the background, and comes back for it.
    pub comes_back: bool,
    /// Comes back for an answer.
    pub kept: Option<Ask>,
    /// On a WebSocket: what it says there, and how long after the upgrade. Empty for HTTP.
    pub says: Vec<(Duration, String)>,
    /// What it wants of a job that makes a video.
    pub film: Option<Film>,
}

impl Plan {
    pub fn drawn(rng: &mut Rng, faults: FaultsDrawn) -> Self {
        if rng.once_in(8) {
            return films::plan(rng, faults);
        }
        let dialect = [
            DialectName::Chat,
            DialectName::Messages,
            DialectName::Native,
            DialectName::Responses,
            DialectName::Gemini,
            DialectName::Completions,
        ][rng.below(6) as usize];
        let stream = rng.once_in(2);
        let model = if rng.once_in(2) { "m0" } else { "m1" };
        let text = text(rng);
        let says = match dialect {
            DialectName::Native if rng.once_in(3) => says(rng, faults),
            DialectName::Responses if rng.once_in(3) => creates(rng, faults),
            _ => Vec::new(),
        };
        let broken = faults.bad_bodies && rng.once_in(8);
        let body = if broken {
            bad_body(rng)
        } else {
            body(rng, dialect, model, stream, &text)
        };
        let mut headers = Vec::new();
        if rng.once_in(10) {
            headers.push((
                "x-stokehold-deadline",
                format!("{}ms", 100 + rng.below(20_000)),
            ));
        }
        if rng.once_in(6) {
            headers.push(("x-stokehold-priority", "batch".to_owned()));
        }
        if rng.once_in(12) {
            headers.push(("x-stokehold-on-disconnect", "cancel".to_owned()));
        }
        if rng.once_in(12) {
            headers.push(("x-stokehold-providers", "order=f1,f0".to_owned()));
        }
        let comes_back = dialect == DialectName::Responses && !broken && rng.once_in(2);
        let mut plan = Self {
            dialect,
            says,
            stream,
            body,
            key: if rng.once_in(3) { "sk-b" } else { "sk-a" },
            headers,
            body_fault: (faults.bad_bodies && rng.once_in(20)).then_some(BodyFault::TooSlow),
            leaves_after: (faults.clients_leave && rng.once_in(4)).then(|| moment(rng)),
            slow: (faults.slow_clients && rng.once_in(4))
                .then(|| Duration::from_millis(1 + rng.below(8_000))),
            must_succeed: false,
            comes_back: false,
            kept: None,
            film: None,
        };
        if comes_back {
            plan.in_the_background();
        }
        plan
    }

    /// In Chat Completions.
    pub fn asks_for_usage(&self) -> bool {
        let body = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        body["stream_options"]["include_usage"] == true
    }

    pub fn head(&self) -> ClientHead {
        let path = match self.dialect {
            _ if self.film.is_some() => "",
            DialectName::Chat => "/v1/chat/completions",
            DialectName::Messages => "/v1/messages",
            DialectName::Native if self.is_socket() => "/api/v1/ws",
            DialectName::Native if self.stream => "/api/v1/stream",
            DialectName::Native => "/api/v1/generate",
            DialectName::Responses => "/v1/responses",
            DialectName::Gemini if self.stream => "/v1beta/models/m0:streamGenerateContent",
            DialectName::Gemini => "/v1beta/models/m0:generateContent",
            DialectName::Completions => "/v1/completions",
            DialectName::Converse => unreachable!("no client speaks it"),
        };
        let key = format!("Bearer {}", self.key);
        let mut headers = Headers::from([("authorization", key)]);
        for (name, value) in &self.headers {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        if self.is_socket() {
            for (name, value) in [
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ] {
                headers.push(name.as_bytes(), value.as_bytes());
            }
        }
        if let Some(ask) = &self.kept {
            return ClientHead {
                method: Bytes::from_static(ask.method.as_bytes()),
                path: Bytes::from(ask.path.clone()),
                query: Bytes::from(ask.query.clone()),
                headers,
                content_length: None,
                websocket: false,
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            };
        }
        if let Some(film) = &self.film {
            let (path, query) = film.path.split_once('?').unwrap_or((&film.path, ""));
            return ClientHead {
                method: Bytes::from_static(film.method.as_bytes()),
                path: Bytes::copy_from_slice(path.as_bytes()),
                query: Bytes::copy_from_slice(query.as_bytes()),
                headers,
                content_length: Some(self.body.len() as u64),
                websocket: false,
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            };
        }
        ClientHead {
            method: Bytes::from_static(if self.is_socket() { b"GET" } else { b"POST" }),
            path: Bytes::from_static(path.as_bytes()),
            query: match (self.dialect, self.stream) {
                (DialectName::Gemini, true) => Bytes::from_static(b"alt=sse"),
                _ => Bytes::new(),
            },
            headers,
            content_length: Some(self.body.len() as u64),
            websocket: self.is_socket(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// A few requests on one socket, some of them cancelled, some wrong.
fn says(rng: &mut Rng, faults: FaultsDrawn) -> Vec<(Duration, String)> {
    let mut says = Vec::new();
    for id in 0..1 + rng.below(4) {
        let at = Duration::from_millis(rng.below(2_000));
        let model = if faults.bad_bodies && rng.once_in(8) {
            "nope"
        } else {
            "m0"
        };
        let text = text(rng);
        let ask = serde_json::json!({
            "type": "request", "request_id": format!("r{id}"), "model": model, "input": text,
        });
        says.push((at, ask.to_string()));
        if faults.clients_leave && rng.once_in(3) {
            let cancel = serde_json::json!({"type": "cancel", "request_id": format!("r{id}")});
            says.push((at + moment(rng), cancel.to_string()));
        }
    }
    says
}

/// What stands for the lane's latest answer until it is said.
const LATEST: &str = "$latest";

/// Requests on a few lanes of one socket of Responses, some of which go on with an answer before them, some wrong.
fn creates(rng: &mut Rng, faults: FaultsDrawn) -> Vec<(Duration, String)> {
    let mut says = Vec::new();
    for lane in 0..1 + rng.below(3) {
        let mut at = Duration::from_millis(rng.below(2_000));
        for turn in 0..1 + rng.below(3) {
            let bad = faults.bad_bodies && rng.once_in(8);
            let mut create = serde_json::json!({
                "type": "response.create", "model": if bad { "nope" } else { "m0" },
                "input": text(rng), "max_output_tokens": 200, "store": rng.once_in(2),
            });
            if lane > 0 {
                create["stream_id"] = serde_json::json!(format!("l{lane}"));
            }
            if turn > 0 && !rng.once_in(3) {
                create["previous_response_id"] = serde_json::json!(LATEST);
            }
            if rng.once_in(6) {
                create["generate"] = serde_json::json!(false);
            }
            says.push((at, create.to_string()));
            at += moment(rng);
        }
    }
    says
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

fn body(rng: &mut Rng, dialect: DialectName, model: &str, stream: bool, text: &str) -> Bytes {
    let tool = rng.once_in(5);
    let schema = serde_json::json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let mut body = match dialect {
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
        DialectName::Responses => serde_json::json!({
            "model": model, "stream": stream, "instructions": "be brief", "input": text, "max_output_tokens": 200,
        }),
        DialectName::Gemini => serde_json::json!({
            "contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 200},
        }),
        DialectName::Completions => serde_json::json!({
            "model": model, "stream": stream, "prompt": text, "max_tokens": 200,
        }),
        DialectName::Converse => unreachable!("no client speaks it"),
    };
    if tool && dialect != DialectName::Completions {
        body["tools"] = match dialect {
            DialectName::Chat => {
                serde_json::json!([{"type": "function", "function": {"name": "t", "parameters": schema}}])
            }
            DialectName::Messages => serde_json::json!([{"name": "t", "input_schema": schema}]),
            DialectName::Native => {
                serde_json::json!([{"type": "function", "name": "t", "schema": schema}])
            }
            DialectName::Responses => {
                serde_json::json!([{"type": "function", "name": "t", "parameters": schema}])
            }
            DialectName::Gemini => {
                serde_json::json!([{"functionDeclarations": [{"name": "t", "parametersJsonSchema": schema}]}])
            }
            DialectName::Completions | DialectName::Converse => {
                unreachable!("it has no tools")
            }
        };
    }
    if dialect == DialectName::Chat && rng.once_in(5) {
        body["stream_options"] = serde_json::json!({"include_usage": true});
        body["stream"] = serde_json::json!(stream);
        if !stream {
            body.as_object_mut().unwrap().remove("stream_options");
        }
    }
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
    /// Its shard was lost.
    pub crashed: bool,
    pub socket: Option<websocket::Socket>,
    /// By request on a socket.
    pub heard: BTreeMap<String, Heard>,
}

/// What came of one request on a socket.
#[derive(Debug, Default)]
pub struct Heard {
    pub asked: bool,
    pub response: String,
    pub text: String,
    /// Last words: done or error.
    pub ends: usize,
    pub done: bool,
}

impl Plan {
    pub fn is_socket(&self) -> bool {
        !self.says.is_empty()
    }
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
            crashed: false,
            socket: None,
            heard: BTreeMap::new(),
        }
    }

    pub fn upgrade(&mut self) {
        assert!(self.plan.is_socket() && self.socket.is_none());
        self.socket = Some(websocket::Socket::new(websocket::Side::Client, 1 << 24));
    }

    /// A text that it says; its frame.
    pub fn say(&mut self, text: &str) -> Bytes {
        let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
        if self.plan.dialect == DialectName::Responses {
            self.create(&mut json);
            return masked(&json.to_string());
        }
        let heard = self
            .heard
            .entry(json["request_id"].as_str().unwrap().to_owned())
            .or_default();
        heard.asked |= json["type"] == "request";
        masked(text)
    }

    /// Notes a request of Responses, by its lane and its place there; and names the answer that it goes on with.
    fn create(&mut self, create: &mut serde_json::Value) {
        let lane = create["stream_id"].as_str().unwrap_or_default().to_owned();
        let of_lane = |key: &&String| key.rsplit_once('/').is_some_and(|(l, _)| l == lane);
        let latest = self.heard.iter().rev().find(|(k, h)| of_lane(k) && h.done);
        let latest = latest.map(|(_, heard)| heard.response.clone());
        if create["previous_response_id"] == LATEST {
            create["previous_response_id"] = latest.into();
        }
        let turn = self.heard.keys().filter(of_lane).count();
        let asked = Heard {
            asked: true,
            ..Heard::default()
        };
        self.heard.insert(format!("{lane}/{turn}"), asked);
    }

    /// An event of Responses: it belongs to the first request of its lane that has no last word.
    fn hear_on_lane(&mut self, json: &serde_json::Value) {
        let lane = json["stream_id"].as_str().unwrap_or_default();
        let mut of_lane = self.heard.iter_mut();
        let heard = of_lane.find(|(key, heard)| {
            heard.ends == 0 && key.rsplit_once('/').is_some_and(|(l, _)| l == lane)
        });
        let Some((_, heard)) = heard else {
            panic!("whose is this: {json}")
        };
        match json["type"].as_str().unwrap() {
            // One within an answer is followed by the answer's own end.
            "error" if json.get("status").is_none() => {
                assert!(!heard.response.is_empty(), "before the beginning: {json}");
            }
            "error" | "response.failed" => heard.ends += 1,
            "response.completed" | "response.incomplete" => {
                assert_eq!(json["response"]["id"], *heard.response);
                heard.ends += 1;
                heard.done = true;
            }
            "response.created" => {
                assert!(heard.response.is_empty(), "two beginnings: {json}");
                json["response"]["id"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut heard.response);
            }
            "response.output_text.delta" => heard.text.push_str(json["delta"].as_str().unwrap()),
            _ => {}
        }
    }

    pub fn goodbye() -> Bytes {
        let mut out = BytesMut::new();
        let close = Message::Close(Some((1000, "".into())));
        websocket::write_masked(&close, [7, 1, 9, 3], &mut out);
        out.freeze()
    }

    /// All requests were asked and have their last word.
    pub fn is_served(&self) -> bool {
        let asks = self
            .plan
            .says
            .iter()
            .filter(|(_, t)| t.contains("\"input\""));
        let ended = self.heard.values().filter(|h| h.asked && h.ends > 0);
        asks.count() == ended.count()
    }

    fn hear(&mut self, text: &str) {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        if self.plan.dialect == DialectName::Responses {
            return self.hear_on_lane(&json);
        }
        let Some(id) = json["request_id"].as_str() else {
            panic!("whose is this: {text}")
        };
        let heard = self.heard.entry(id.to_owned()).or_default();
        // A refused cancel is an error about a request that is over.
        let over = heard.ends > 0;
        let bare = json.get("response_id").is_none();
        match json["type"].as_str().unwrap() {
            "error" if bare && over => return,
            "error" => heard.ends += 1,
            "response.done" => {
                heard.ends += 1;
                heard.done = true;
            }
            "block.delta" => {
                if let Some(said) = json["delta"]["text"].as_str() {
                    heard.text.push_str(said);
                }
            }
            "response.created" => {
                assert!(heard.response.is_empty(), "two beginnings: {text}");
                json["response_id"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut heard.response);
            }
            _ => {}
        }
        assert!(!over, "after the last word: {text}");
    }

    pub fn respond(&mut self, head: ResponseHead, body: Bytes, end: bool) {
        assert!(self.head.is_none(), "a client is answered once");
        self.head = Some(head);
        self.take(&body);
        self.ended = end;
    }

    pub fn write(&mut self, bytes: Bytes) {
        assert!(
            (self.head.is_some() || self.socket.is_some()) && !self.ended,
            "bytes come between a head and an end"
        );
        self.take(&bytes);
        let mut texts = Vec::new();
        if let Some(socket) = &mut self.socket {
            socket.feed(bytes);
            while let Some(message) = socket.next().expect("right frames") {
                if let Message::Text(text) = message {
                    texts.push(text.to_string());
                }
            }
        }
        texts.iter().for_each(|text| self.hear(text));
    }

    pub fn end(&mut self) {
        let open = self.head.is_some() || self.socket.is_some();
        assert!(open && !self.ended, "an answer ends once");
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
        let mut fold = Fold::default();
        self.events()?.iter().for_each(|event| fold.event(event));
        Ok(fold.into_answer())
    }

    /// What it got, where that is JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.got).ok()
    }

    /// Whether it reads answers in its dialect, and not what is said of jobs or their bytes.
    pub fn reads_answers(&self) -> bool {
        self.plan.film.is_none() || self.plan.dialect == DialectName::Native
    }

    pub fn events(&self) -> Result<Vec<Event>, String> {
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
        Ok(events)
    }

    pub fn succeeded(&self) -> bool {
        if self.plan.is_socket() {
            return self.heard.values().all(|h| h.done);
        }
        let whole = self.ended && !self.aborted && self.status() == 200;
        match &self.plan.film {
            Some(film) if self.plan.dialect != DialectName::Native => {
                return whole && (!film.is_json() || self.json().is_some());
            }
            _ => {}
        }
        whole && self.answer().is_ok_and(|a| a.error.is_none())
    }
}

/// A client's frame.
fn masked(text: &str) -> Bytes {
    let mut out = BytesMut::new();
    websocket::write_masked(&Message::Text(text.into()), [7, 1, 9, 3], &mut out);
    out.freeze()
}

/// The words of an answer, whatever its dialect.
pub fn text_of(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        if let Event::BlockDelta {
            delta: Delta::Text(said),
            ..
        } = event
        {
            text.push_str(said);
        }
    }
    text
}
