//! The folder of recorded traffic: `STOKEHOLD_RECORDINGS`, else `../shared/recordings`. Every test of recordings walks it through here.
//!
//! Knows what a recording's file looks like and how its answer is cut into events; judges nothing. Without a folder there is nothing to
//! walk, and whoever asks is told so.

use crate::canon::{DialectName, Event};
use crate::protocol::dialect::Decoder;
use crate::protocol::framing::eventstream::{self, Events, Holds};
use crate::protocol::framing::sse::{self, SseEvent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::path::PathBuf;

/// One file.
pub(in crate::protocol) struct Recording {
    /// The file's name without its ending.
    pub name: String,
    pub json: Value,
}

/// All recordings, by name. Prints where it looked when there are none.
pub(in crate::protocol) fn recordings() -> Vec<Recording> {
    let folder = std::env::var_os("STOKEHOLD_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no recordings at {}: nothing compared", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths.into_iter().map(Recording::read).collect()
}

impl Recording {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).expect("a recording can be read");
        let name = path.file_stem().expect("a file has a name");
        Self {
            name: name.to_string_lossy().into_owned(),
            json: serde_json::from_str(&text).expect("a recording is JSON"),
        }
    }

    pub fn api(&self) -> &str {
        self.json["api"].as_str().unwrap_or_default()
    }

    /// The API less whose it is: `chat`, `converse_stream`, …
    pub fn kind(&self) -> &str {
        self.api().rsplit('.').next().unwrap_or_default()
    }

    pub fn asked(&self) -> &Value {
        &self.json["request"]["body"]
    }

    /// The grammar of the answer, and of the request where it is an object; `None` for what no pair of codecs speaks.
    pub fn dialect(&self) -> Option<DialectName> {
        let invoked = || match self.asked() {
            asked if asked["anthropic_version"].is_string() => Some(DialectName::Messages),
            // Nova's own grammar is Converse's (AWS, Nova request schema; `providers/bedrock.md` 5): its events stand in objects of their name.
            asked if asked["messages"].is_array() => Some(DialectName::Converse),
            _ => None,
        };
        match self.kind() {
            "chat" | "openai_chat" => Some(DialectName::Chat),
            "completions" => Some(DialectName::Completions),
            "messages" => Some(DialectName::Messages),
            "responses" => Some(DialectName::Responses),
            "generate" | "stream" => Some(DialectName::Gemini),
            "converse" | "converse_stream" => Some(DialectName::Converse),
            "invoke" | "invoke_stream" => invoked(),
            _ => None,
        }
    }

    /// The answer's status; one that was kept without it was good.
    pub fn status(&self) -> u16 {
        let said = self.json["response"]["status"].as_u64();
        said.map_or(200, |status| status as u16)
    }

    /// The answer's body, frames and all.
    pub fn body(&self) -> Bytes {
        let response = &self.json["response"];
        match (&response["body"], response["body_base64"].as_str()) {
            (_, Some(text)) => Bytes::from(STANDARD.decode(text).expect("frames are in base64")),
            (Value::String(text), None) => Bytes::from(text.clone()),
            (other, None) => Bytes::from(other.to_string()),
        }
    }

    /// What the answer says, fed to its decoder in pieces of `piece` bytes. `Err`: it is not of this grammar, or was cut.
    pub fn events(&self, dialect: DialectName, piece: usize) -> Result<Vec<Event>, String> {
        let body = self.body();
        if self.json["response"]["body_base64"].is_string() {
            match (self.kind(), dialect) {
                ("converse_stream", _) => of_frames(dialect, Holds::Converse, &body, piece),
                (_, DialectName::Converse) => decoded(dialect, &of_nova(body)),
                _ => of_frames(dialect, Holds::Invoke, &body, piece),
            }
        } else if is_stream(&body) {
            of_sse(dialect, &body, piece)
        } else {
            of_whole(dialect, &body)
        }
    }
}

/// Nova's events within the frames of an invoked model: `{"contentBlockDelta":{…}}` in base64, named by their one member.
fn of_nova(body: Bytes) -> Vec<SseEvent> {
    let (mut frames, mut events) = (eventstream::Decoder::new(1 << 26), Vec::new());
    frames.feed(body);
    while let Some(frame) = frames.next().expect("every frame's sums were checked") {
        let chunk: Value = serde_json::from_slice(&frame.payload).expect("a chunk is JSON");
        let inner = STANDARD.decode(chunk["bytes"].as_str().unwrap_or_default());
        let inner: Value = serde_json::from_slice(&inner.expect("base64")).expect("JSON");
        for (name, payload) in inner.as_object().into_iter().flatten() {
            let mut raw = BytesMut::new();
            sse::write(Some(name), None, payload.to_string().as_bytes(), &mut raw);
            events.extend(cut(&raw, usize::MAX).expect("one event"));
        }
    }
    events
}

/// Whether a body is text of server-sent events.
pub(in crate::protocol) fn is_stream(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    let starts: [&[u8]; 4] = [b"data:", b"event:", b":", b"id:"];
    starts.iter().any(|w| body.starts_with(w))
}

/// The server-sent events of `body`, which the network brings in pieces of `piece` bytes.
pub(in crate::protocol) fn cut(body: &[u8], piece: usize) -> Result<Vec<SseEvent>, String> {
    let (mut framing, mut events) = (sse::Decoder::new(1 << 26), Vec::new());
    for bytes in body.chunks(piece) {
        framing.feed(Bytes::copy_from_slice(bytes));
        while let Some(event) = framing.next().map_err(|e| format!("{e:?}"))? {
            events.push(event);
        }
    }
    events.extend(framing.rest());
    Ok(events)
}

fn decoded(dialect: DialectName, events: &[SseEvent]) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    for event in events {
        decoder.event(event, &mut out).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

pub(in crate::protocol) fn of_sse(
    dialect: DialectName,
    body: &[u8],
    piece: usize,
) -> Result<Vec<Event>, String> {
    decoded(dialect, &cut(body, piece)?)
}

pub(in crate::protocol) fn of_whole(
    dialect: DialectName,
    body: &[u8],
) -> Result<Vec<Event>, String> {
    let (mut decoder, mut out) = (Decoder::new(dialect), Vec::new());
    decoder
        .whole(&Bytes::copy_from_slice(body), &mut out)
        .map_err(|e| e.to_string())?;
    Ok(out)
}

fn of_frames(
    dialect: DialectName,
    holds: Holds,
    body: &[u8],
    piece: usize,
) -> Result<Vec<Event>, String> {
    let (mut frames, mut events) = (Events::new(holds, 1 << 26), Vec::new());
    for bytes in body.chunks(piece) {
        frames.feed(Bytes::copy_from_slice(bytes));
        while let Some(event) = frames.next().map_err(|e| e.to_string())? {
            events.push(event);
        }
    }
    frames.finish().map_err(|e| e.to_string())?;
    decoded(dialect, &events)
}
