//! One cell: one exchange, and what became of it.

use super::*;
use crate::canon::{Event, Extra, Fault, Request};
use crate::protocol::dialect::tests::conversations::{answers, ask, lines};
use crate::protocol::dialect::tests::tell;
use crate::protocol::dialect::{Rules, Target, read_error, read_request, write_request};
use features::{Feature, Operation};
use serde_json::Value;
use std::collections::BTreeMap;

pub const NO_WORDS: &str = "";
const PASSES: &str = "passes";
const WORKS: &str = "works";
const OTHER_WORDS: &str = "*other words*";
const NOT_OFFERED: &str = "not offered";

/// A shard before one provider.
pub struct Bench {
    rig: Rig,
    column: &'static Column,
    conversations: BTreeMap<&'static str, Request>,
    answers: BTreeMap<&'static str, Vec<Event>>,
    /// By client: what is left out of a bare greeting, and so has nothing to do with a feature.
    usually_dropped: BTreeMap<&'static str, String>,
}

/// What a client is told.
struct Heard {
    status: u16,
    dropped: String,
    body: String,
}

impl Bench {
    pub fn new(column: &'static Column) -> Self {
        let yaml = format!(
            "server: {{listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}}\n{TENANTS}\
             providers:\n- {{id: f0, {}, base_url: http://f0.test, pools: [{POOL}]}}\n\
             models:\n- {{id: m0, takes: [images, documents, audio, video, tools], endpoints: [{{provider: f0, name: '{}', {PRICE}}}]}}\n\
             - {{id: film, gives: [video], endpoints: [{{provider: f0, name: veo-3.1, {PRICE}}}]}}\n\
             - {{id: vectors, gives: [embeddings], endpoints: [{{provider: f0, name: '{}', {PRICE}}}]}}\n",
            column.provider, column.model, column.embedder
        );
        Self {
            rig: Rig::new(&yaml),
            column,
            conversations: ask::all().into_iter().collect(),
            answers: answers::all().into_iter().collect(),
            usually_dropped: BTreeMap::new(),
        }
    }

    /// In whose words this provider is asked for a client of `client`.
    fn dialect(&self, client: DialectName) -> DialectName {
        let provider = &self.rig.shard.desk.config().providers[0];
        provider
            .kind
            .dialect_for(client, self.column.model, &provider.place, None)
    }

    fn target<'a>(&self, model: &'a str, rules: &'a Rules) -> Target<'a> {
        Target {
            model,
            stream: false,
            max_output_default: 99,
            rules,
        }
    }

    /// Sends `body` as a client would; the call that is made of it, if one is.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> (ClientId, Option<Call>) {
        let client = self.rig.client();
        let bytes = |s: &str| Bytes::copy_from_slice(s.as_bytes());
        let mut head = Rig::head(path, &[]);
        (head.method, head.query) = (bytes(method), bytes(query));
        self.rig.on(Input::Head { client, head });
        let body = Bytes::copy_from_slice(body);
        self.rig.on(Input::Body { client, body });
        let called = |o: &Output| matches!(o, Output::Call(_));
        let call = match self.rig.out.iter().position(called) {
            Some(at) => match self.rig.out.remove(at) {
                Output::Call(call) => Some(*call),
                _ => None,
            },
            None => None,
        };
        if let Some(call) = &call {
            let attempt = call.attempt;
            self.rig.on(Input::Sent { attempt });
        }
        (client, call)
    }

    fn answer(&mut self, client: ClientId, call: &Call, kind: &str, body: &[u8]) -> Heard {
        self.rig.up(call.attempt, 200, &[("content-type", kind)]);
        let bytes = Bytes::copy_from_slice(body);
        let attempt = call.attempt;
        self.rig.on(Input::UpstreamBytes { attempt, bytes });
        self.rig.end(attempt);
        self.heard(client)
    }

    fn heard(&mut self, client: ClientId) -> Heard {
        let (status, headers, body) = self.rig.told(client);
        let dropped = header(&headers, "x-stokehold-dropped").unwrap_or_default();
        Heard {
            status,
            dropped: dropped.to_owned(),
            body,
        }
    }

    /// An ordinary answer of a provider, and what it says of itself.
    fn hello(&self, provider: DialectName, stream: bool) -> (&'static str, Bytes) {
        let events = &self.answers["text"];
        if stream {
            ("text/event-stream", tell::streamed(provider, events).0)
        } else {
            ("application/json", tell::whole(provider, events))
        }
    }

    /// What becomes of something that a request says.
    pub fn asked(&mut self, client: DialectName, feature: &Feature) -> String {
        let Some((request, body)) = self.said(client, feature) else {
            return NO_WORDS.to_owned();
        };
        let provider = self.dialect(client);
        let (path, query) = path(client, request.stream);
        let (id, call) = self.ask("POST", path, query, &body);
        let Some(call) = call else {
            return self.refusal(id, client, provider, &request);
        };
        let (kind, answer) = self.hello(provider, request.stream);
        let heard = self.answer(id, &call, kind, &answer);
        assert_eq!(heard.status, 200, "{}: {}", feature.title, heard.body);
        if request.stream {
            told_in_stream(client, &heard);
        }
        if provider == client {
            return PASSES.to_owned();
        }
        let arrived = as_read(provider, &call);
        // Nova's own fields are read as they are.
        let own = |e: &Extra| e.name.starts_with("additionalModelRequestFields");
        let there = marked(&lines::of_request(&arrived), feature.mark);
        let usual = self.usually_dropped(client);
        let names: Vec<&str> = heard
            .dropped
            .split(", ")
            .filter(|n| !usual.contains(n))
            .collect();
        match names.join(", ") {
            _ if there || arrived.extra.iter().any(own) => WORKS.to_owned(),
            names if names.is_empty() => OTHER_WORDS.to_owned(),
            names => format!("*left out*: `{names}`"),
        }
    }

    fn usually_dropped(&mut self, client: DialectName) -> String {
        if let Some(known) = self.usually_dropped.get(client.as_str()) {
            return known.clone();
        }
        let (_, body) = self
            .said(client, &GREETING)
            .expect("everybody can say hello");
        let (path, query) = path(client, false);
        let (id, call) = self.ask("POST", path, query, &body);
        let (kind, answer) = self.hello(self.dialect(client), false);
        let call = call.expect("everybody is asked");
        let dropped = self.answer(id, &call, kind, &answer).dropped;
        self.usually_dropped
            .insert(client.as_str(), dropped.clone());
        dropped
    }

    /// The request as a client of `client` says it. `None`: it has no words for what the row is about.
    fn said(&self, client: DialectName, feature: &Feature) -> Option<(Request, Bytes)> {
        let mut conversation = self.conversations[feature.said].clone();
        conversation.model = "m0".into();
        let rules = Rules::default();
        let target = Target {
            stream: conversation.stream,
            ..self.target("m0", &rules)
        };
        let (body, _) = write_request(client, &conversation, &target).ok()?;
        let mut request = read_request(client, &body).expect("what we write we read");
        // Of Gemini's and one of our own paths the path says it.
        request.stream = conversation.stream;
        marked(&lines::of_request(&request), feature.mark).then_some((request, body))
    }

    /// Why nothing was sent: the field, by the codec that refused, or by what the client is told.
    fn refusal(
        &mut self,
        id: ClientId,
        client: DialectName,
        provider: DialectName,
        request: &Request,
    ) -> String {
        let heard = self.heard(id);
        let fault = read_error(client, heard.status, heard.body.as_bytes());
        assert_eq!(heard.status, 400, "{}: {}", self.column.title, heard.body);
        let rules = Rules::default();
        let written = write_request(provider, request, &self.target(self.column.model, &rules));
        refused(&written.err().unwrap_or(fault))
    }

    /// What becomes of something that an answer holds.
    pub fn answered(&mut self, client: DialectName, feature: &Feature) -> String {
        let provider = self.dialect(client);
        let events = self.answers[feature.said].clone();
        let body = tell::whole(provider, &events);
        let said = tell::of_whole(provider, &body).expect("what we write we read");
        if !marked(&lines::of_answer(&tell::folded(&said)), feature.mark) {
            return NOT_OFFERED.to_owned();
        }
        let (_, asked) = self
            .said(client, &GREETING)
            .expect("everybody can say hello");
        let (path, query) = path(client, false);
        let (id, call) = self.ask("POST", path, query, &asked);
        let call = call.expect("everybody is asked");
        let heard = self.answer(id, &call, "application/json", &body);
        assert_eq!(heard.status, 200, "{}: {}", feature.title, heard.body);
        let told = tell::of_whole(client, heard.body.as_bytes()).expect("an answer");
        let arrived = marked(&lines::of_answer(&tell::folded(&told)), feature.mark);
        let (_, mut names) = tell::streamed(client, &said);
        let greeting = tell::of_whole(provider, &self.hello(provider, false).1).expect("an answer");
        let (_, usual) = tell::streamed(client, &greeting);
        names.retain(|name| !usual.contains(name));
        match (provider == client, arrived) {
            (true, true) => PASSES.to_owned(),
            (false, true) => WORKS.to_owned(),
            (_, false) if names.is_empty() => OTHER_WORDS.to_owned(),
            (_, false) => format!("*left out*: `{}`", names.join(", ")),
        }
    }

    /// Whether what only its issuer can read comes back to it.
    pub fn signed(&self, client: DialectName) -> String {
        let provider = self.dialect(client);
        if client == DialectName::Completions {
            return NO_WORDS.to_owned();
        }
        if provider == DialectName::Chat {
            return NOT_OFFERED.to_owned();
        }
        let (back, told) = answers::comes_back(provider, client);
        let kept = back.iter().any(|line| line.contains(answers::SIGNATURE));
        match (kept, provider == client) {
            (true, true) => PASSES.to_owned(),
            (true, false) => WORKS.to_owned(),
            (false, _) => format!("*left out*: `{}`", told.join(", ")),
        }
    }

    /// Whether something beside answers is done.
    pub fn operation(&mut self, o: &Operation) -> String {
        let (id, call) = self.ask(o.method, o.path, "", o.body.as_bytes());
        let Some(call) = call else {
            let heard = self.heard(id);
            let fault = read_error(o.client, heard.status, heard.body.as_bytes());
            return match heard.status {
                400 if NOT_DONE.iter().any(|no| fault.message.contains(no)) => {
                    NOT_OFFERED.to_owned()
                }
                400 => refused(&fault),
                status => format!("refused: {status}"),
            };
        };
        // The provider has nothing to say: what was asked is what counts.
        self.rig
            .refuse(call.attempt, 400, &[], r#"{"error":{"message":"enough"}}"#);
        self.heard(id);
        let generates = o.path.ends_with("/responses")
            || o.path.ends_with("/messages")
            || o.path.ends_with(":generateContent");
        if generates && self.dialect(o.client) == o.client {
            PASSES.to_owned()
        } else {
            WORKS.to_owned()
        }
    }
}

fn refused(fault: &Fault) -> String {
    match fault.field.as_deref() {
        Some(field) if !field.is_empty() => format!("refused: `{field}`"),
        _ if fault.message.contains("kept at one provider") => {
            "refused: *kept elsewhere*".to_owned()
        }
        // Not every dialect's error has a member for the field; its message begins with it then.
        _ => match fault.message.split_once(": ") {
            Some((field, _)) if !field.contains(' ') => format!("refused: `{field}`"),
            _ => format!("refused: {}", fault.message),
        },
    }
}

const GREETING: Feature = Feature {
    title: "greeting",
    said: "greeting",
    mark: "user text hello",
};

const NOT_DONE: [&str; 3] = ["does not count tokens", "does not embed", "makes no video"];

fn marked(lines: &[String], mark: &str) -> bool {
    let is = |line: &String| mark.split('|').any(|mark| line.contains(mark));
    lines.iter().any(is)
}

fn path(client: DialectName, stream: bool) -> (&'static str, &'static str) {
    match (client, stream) {
        (DialectName::Native, false) => ("/api/v1/generate", ""),
        (DialectName::Native, true) => ("/api/v1/stream", ""),
        (DialectName::Messages, _) => ("/v1/messages", ""),
        (DialectName::Responses, _) => ("/v1/responses", ""),
        (DialectName::Gemini, false) => ("/v1beta/models/m0:generateContent", ""),
        (DialectName::Gemini, true) => ("/v1beta/models/m0:streamGenerateContent", "alt=sse"),
        (DialectName::Completions, _) => ("/v1/completions", ""),
        (DialectName::Chat | DialectName::Converse, _) => ("/v1/chat/completions", ""),
    }
}

fn told_in_stream(client: DialectName, heard: &Heard) {
    let told = tell::of_sse(client, heard.body.as_bytes()).expect("a stream");
    let text = tell::text(&tell::folded(&told));
    assert_eq!(text, "H\u{e9}llo \u{1f600}\n\n\"you\"", "{client:?}");
}

/// The call's body as its provider reads it. Claude's grammar behind Bedrock and Google Cloud has the model in the path and a version in the body.
fn as_read(provider: DialectName, call: &Call) -> Request {
    let mut body: Value = serde_json::from_slice(&call.body.concat()).expect("JSON");
    let fields = body.as_object_mut().expect("an object");
    if provider == DialectName::Messages {
        fields.remove("anthropic_version");
        fields.entry("model").or_insert_with(|| "m".into());
    }
    let body = Bytes::from(body.to_string());
    read_request(provider, &body).expect("what we write can be read")
}
