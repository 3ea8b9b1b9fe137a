//! Answers that can be fetched again, and videos being made: what a provider keeps for whoever comes back.
//!
//! Bounded by number and by bytes of conversation; at either bound the oldest are forgotten, as if their time had run out.

use super::book::{Ended, Entry};
use super::json::quoted;
use super::voice::{Item, Voice};
use super::voice_responses::Standing;
use crate::base::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// One answer.
pub(super) struct Stored {
    pub organisation: String,
    pub voice: Arc<Voice>,
    pub items: Arc<[Item]>,
    /// When the first token is there.
    pub first: Instant,
    pub between: Duration,
    pub cancelled: Option<Instant>,
    /// Input and output so far, as a JSON list.
    pub conversation: Vec<u8>,
    pub input: Vec<u8>,
    /// What is billed when it is done, where nobody waits for it.
    pub pending: Option<Entry>,
    /// Was made in the background and as a stream.
    pub resumable: bool,
}

impl Stored {
    /// When its last token is there.
    pub(super) fn done_at(&self) -> Instant {
        let steps = self.voice.tokens().saturating_sub(1);
        self.first + Duration::from_nanos((self.between.as_nanos() as u64).saturating_mul(steps))
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.cancelled {
            Some(_) => Standing::Cancelled,
            None if now >= self.done_at() => Standing::Done,
            None if now >= self.first => Standing::InProgress,
            None => Standing::Queued,
        }
    }

    /// The entry of the book, once nothing more is made.
    fn finished(&mut self, now: Instant) -> Option<Entry> {
        let until = self.cancelled.unwrap_or(now);
        if self.cancelled.is_none() && now < self.done_at() {
            return None;
        }
        let mut entry = self.pending.take()?;
        let total = self.voice.tokens();
        let made = match until < self.done_at() {
            false => total,
            true if until < self.first => 0,
            true => {
                let nanos = until.since(self.first).as_nanos() as u64;
                let steps = nanos.checked_div(self.between.as_nanos() as u64);
                steps.map_or(total, |n| (n + 1).min(total))
            }
        };
        entry.billed.output = made;
        let pieces = self.items.iter().filter(|i| matches!(i, Item::Piece(..)));
        let thought = pieces
            .take(made as usize)
            .filter(|i| self.voice.reasons(**i));
        entry.billed.reasoning = thought.count() as u64;
        entry.ended = match self.cancelled {
            Some(_) if made < total => Ended::HungUp,
            _ => Ended::Complete,
        };
        Some(entry)
    }
}

/// A video being made.
pub(super) struct Video {
    pub organisation: String,
    pub begun: Instant,
    pub done: Instant,
    /// Where the caller wants it, on Vertex.
    pub bucket: Option<String>,
    /// Videos that come of it.
    pub made: u64,
    pub withheld: u64,
    pub fails: bool,
    /// What OpenAI's object repeats.
    pub asked: Asked,
    /// What is billed when it is done.
    pub pending: Option<Entry>,
}

/// The words of an order.
pub(super) struct Asked {
    pub model: String,
    pub prompt: String,
    pub seconds: u64,
    pub size: String,
    /// Seconds since 1970.
    pub created: i64,
}

impl Video {
    /// In percent, as far as the time tells.
    pub(super) fn percent(&self, now: Instant) -> u64 {
        let whole = self.done.since(self.begun).as_millis().max(1);
        let past = now.since(self.begun).as_millis();
        (past * 100 / whole).min(99) as u64
    }
}

#[derive(Default)]
pub(super) struct Store {
    kept: BTreeMap<String, Stored>,
    order: VecDeque<String>,
    bytes: usize,
    videos: BTreeMap<String, Video>,
    video_order: VecDeque<String>,
}

const ANSWERS_MAX: usize = 1_024;
/// Of conversations: 64 MB.
const BYTES_MAX: usize = 64 << 20;
const VIDEOS_MAX: usize = 256;

impl Store {
    /// Keeps `stored`; those that had to leave for it are returned, since they may not have been billed.
    pub(super) fn keep(&mut self, id: String, stored: Stored) -> Vec<Stored> {
        self.bytes += stored.conversation.len() + stored.input.len();
        self.order.push_back(id.clone());
        self.kept.insert(id, stored);
        let mut gone = Vec::new();
        while self.order.len() > ANSWERS_MAX || (self.bytes > BYTES_MAX && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            gone.extend(self.take(&oldest));
        }
        gone
    }

    fn take(&mut self, id: &str) -> Option<Stored> {
        let stored = self.kept.remove(id)?;
        self.bytes -= stored.conversation.len() + stored.input.len();
        Some(stored)
    }

    pub(super) fn forget(&mut self, id: &str) -> Option<Stored> {
        self.order.retain(|kept| kept != id);
        self.take(id)
    }

    /// The answer of that name, for those to whom it belongs.
    pub(super) fn get(&mut self, id: &str, organisation: &str) -> Option<&mut Stored> {
        self.kept
            .get_mut(id)
            .filter(|s| s.organisation == organisation)
    }

    /// Bills of answers that were made without a listener and are done.
    pub(super) fn bills(&mut self, now: Instant) -> Vec<Entry> {
        let films = self.videos.values_mut().filter(|v| v.done <= now);
        let films: Vec<Entry> = films.filter_map(|v| v.pending.take()).collect();
        let kept = self.kept.values_mut();
        kept.filter_map(|s| s.finished(now)).chain(films).collect()
    }

    /// Keeps the job; one that had to leave for it is returned, since it may not have been billed.
    pub(super) fn film(&mut self, name: String, video: Video) -> Option<Video> {
        self.video_order.push_back(name.clone());
        self.videos.insert(name, video);
        if self.video_order.len() <= VIDEOS_MAX {
            return None;
        }
        let oldest = self.video_order.pop_front()?;
        self.videos.remove(&oldest)
    }

    pub(super) fn unfilm(&mut self, name: &str, organisation: &str) -> Option<Video> {
        self.video(name, organisation)?;
        self.video_order.retain(|kept| kept != name);
        self.videos.remove(name)
    }

    /// Whose job made the file of that name; `None` for one that no job here made.
    pub(super) fn video_of_file(&self, id: &str) -> Option<&str> {
        let mut jobs = self.videos.iter();
        let job = jobs.find(|(name, _)| name.rsplit('/').next() == Some(id));
        job.map(|(_, video)| &*video.organisation)
    }

    pub(super) fn video(&self, name: &str, organisation: &str) -> Option<&Video> {
        self.videos
            .get(name)
            .filter(|v| v.organisation == organisation)
    }
}

/// A stored answer that left before its time is billed as far as it came.
pub(super) fn last_bill(mut stored: Stored, now: Instant) -> Option<Entry> {
    stored.cancelled = stored.cancelled.or(Some(now));
    stored.finished(now)
}

/// Some bytes that begin like an MP4 (ISO 14496-12: a box `ftyp`), and are named in the rest.
pub(super) fn movie(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0x18];
    bytes.extend_from_slice(b"ftypmp42\0\0\0\0mp42isom");
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// How a job stands, as an operation.
pub(super) fn operation(
    name: &str,
    video: &Video,
    now: Instant,
    vertex: bool,
    base: &str,
) -> String {
    if now < video.done {
        let percent = video.percent(now);
        return format!(
            "{{\"name\":{},\"metadata\":{{\"progressPercent\":{percent}}}}}",
            quoted(name)
        );
    }
    if video.fails {
        return format!(
            "{{\"name\":{},\"done\":true,\"error\":{{\"code\":13,\"message\":\"Video generation failed due to an internal server issue.\"}}}}",
            quoted(name)
        );
    }
    let id = name.rsplit('/').next().unwrap_or("");
    let one = |n: u64| match (vertex, &video.bucket) {
        (true, Some(bucket)) => format!(
            "{{\"gcsUri\":{},\"mimeType\":\"video/mp4\"}}",
            quoted(&format!(
                "{}/{id}/sample_{n}.mp4",
                bucket.trim_end_matches('/')
            ))
        ),
        (true, None) => {
            use base64::Engine as _;
            let data = base64::engine::general_purpose::STANDARD.encode(movie(id));
            format!("{{\"bytesBase64Encoded\":\"{data}\",\"mimeType\":\"video/mp4\"}}")
        }
        (false, _) => format!(
            "{{\"video\":{{\"uri\":{}}}}}",
            quoted(&format!("{base}/v1beta/files/{id}:download?alt=media"))
        ),
    };
    let all: Vec<String> = (0..video.made).map(one).collect();
    let withheld = match video.withheld {
        0 => String::new(),
        n => format!(
            "\"raiMediaFilteredCount\":{n},\"raiMediaFilteredReasons\":[\"The video was filtered for its content.\"],"
        ),
    };
    let response = match vertex {
        true => format!(
            "{{\"@type\":\"type.googleapis.com/cloud.ai.large_models.vision.GenerateVideoResponse\",{withheld}\"videos\":[{}]}}",
            all.join(",")
        ),
        false => format!(
            "{{\"@type\":\"type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse\",\"generateVideoResponse\":{{{withheld}\"generatedSamples\":[{}]}}}}",
            all.join(",")
        ),
    };
    format!(
        "{{\"name\":{},\"done\":true,\"response\":{response}}}",
        quoted(name)
    )
}

/// How a job stands, as OpenAI's video object (API reference, Videos, read 2026-08).
pub(super) fn video_object(id: &str, video: &Video, now: Instant) -> String {
    let asked = &video.asked;
    let (status, percent) = match (now < video.done, video.fails || video.made == 0) {
        (true, _) if video.percent(now) < 5 => ("queued", 0),
        (true, _) => ("in_progress", video.percent(now)),
        (false, true) => ("failed", 0),
        (false, false) => ("completed", 100),
    };
    let error = match status {
        "failed" => {
            "{\"code\":\"video_generation_failed\",\"message\":\"The video could not be made.\"}"
        }
        _ => "null",
    };
    let completed = match status {
        "completed" => (asked.created + 1).to_string(),
        _ => "null".to_owned(),
    };
    format!(
        "{{\"id\":{},\"object\":\"video\",\"created_at\":{},\"completed_at\":{completed},\"status\":\"{status}\",\"model\":{},\"progress\":{percent},\"prompt\":{},\"seconds\":\"{}\",\"size\":{},\"error\":{error}}}",
        quoted(id),
        asked.created,
        quoted(&asked.model),
        quoted(&asked.prompt),
        asked.seconds,
        quoted(&asked.size)
    )
}
