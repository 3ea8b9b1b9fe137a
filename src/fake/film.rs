//! Videos: orders, how they stand, and their bytes, in Google's words and in OpenAI's. Billed when they are done, and only what was made.

use super::answer::letters;
use super::ask::Wrong;
use super::book::{Billed, Ended, Entry, Wire};
use super::fault::Faults;
use super::gemini_ask::either;
use super::head::{plain, typed};
use super::json::{Tree, quoted};
use super::refuse::Refusal;
use super::reply::Live;
use super::route::{Deed, Platform};
use super::serve::Caller;
use super::store::{Asked, Video, movie, operation, video_object};
use super::{Fake, Request};
use crate::base::Now;

impl Fake {
    pub(super) fn cinema(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<Live, Refusal> {
        let json = |body: String| Ok(plain(now.instant, caller, body, faults));
        match &caller.route.deed {
            Deed::Video => json(self.film(now, caller, tree, faults)?),
            Deed::VideoPoll => {
                let name = either(tree, "operationName").and_then(Tree::text);
                json(self.filmed(now, caller, name.unwrap_or(""))?)
            }
            Deed::Operation(name) => json(self.filmed(now, caller, name)?),
            Deed::Videos => json(self.ordered(now, caller, request, tree, faults)?),
            Deed::VideoObject(id) if caller.method == "DELETE" => {
                let gone = self.store.unfilm(id, &caller.organisation);
                let gone = gone.ok_or_else(|| no_video(id))?;
                self.book_of(gone);
                json(format!(
                    "{{\"id\":{},\"object\":\"video.deleted\",\"deleted\":true}}",
                    quoted(id)
                ))
            }
            Deed::VideoObject(id) => {
                let video = self.store.video(id, &caller.organisation);
                let video = video.ok_or_else(|| no_video(id))?;
                json(video_object(id, video, now.instant))
            }
            Deed::VideoContent(id) => {
                let video = self.store.video(id, &caller.organisation);
                let done = video.filter(|v| v.done <= now.instant && v.made > 0 && !v.fails);
                done.ok_or_else(|| no_video(id))?;
                Ok(typed(now.instant, caller, "video/mp4", movie(id), faults))
            }
            Deed::File(id) => {
                // Files belong to a project as their operations do.
                let whose = self.store.video_of_file(id);
                let own = whose.is_none_or(|whose| whose == caller.organisation);
                let missing = || Refusal::not_found(format!("File {id} not found"));
                own.then_some(()).ok_or_else(missing)?;
                Ok(typed(now.instant, caller, "video/mp4", movie(id), faults))
            }
            _ => Err(Refusal::no_path(caller.wire, request.method, caller.path)),
        }
    }

    fn film(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<String, Refusal> {
        let instance = tree.get("instances").and_then(|i| i.items().first());
        let wanted = ["prompt", "image", "video"];
        let instance = instance.filter(|i| wanted.iter().any(|w| i.get(w).is_some()));
        let instance = instance
            .ok_or_else(|| Refusal::bad_request(Wrong::plain("instances: a prompt is required")))?;
        let model = self.known_model(Wire::Gemini, caller.route.model.as_deref().unwrap_or(""))?;
        let parameters = tree.get("parameters").unwrap_or(&Tree::Null);
        let whole = |name| either(parameters, name).and_then(Tree::whole);
        let root = caller
            .path
            .split_once("/models/")
            .map_or("", |(root, _)| root);
        let root = root
            .trim_start_matches('/')
            .split_once('/')
            .map_or("", |(_, rest)| rest);
        let slash = if root.is_empty() { "" } else { "/" };
        let name = format!(
            "{root}{slash}models/{model}/operations/{}",
            letters(caller.salt, 20).to_lowercase()
        );
        let asked = Asked {
            model: model.to_owned(),
            prompt: instance.text_of("prompt").unwrap_or("").to_owned(),
            seconds: whole("durationSeconds").unwrap_or(8),
            size: String::new(),
            created: now.wall.seconds(),
        };
        let count = whole("sampleCount").unwrap_or(1).clamp(1, 4);
        let bucket = either(parameters, "storageUri").and_then(Tree::text);
        let bucket = bucket.map(str::to_owned);
        self.begin(now, caller, &name, (asked, count, bucket), faults);
        Ok(format!("{{\"name\":{}}}", quoted(&name)))
    }

    fn ordered(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        tree: &Tree<'_>,
        faults: &Faults,
    ) -> Result<String, Refusal> {
        let form = (request.header)("content-type").is_some_and(|k| k.starts_with("multipart/"));
        let field = |name: &str| match form {
            true => field(request.body, name),
            false => tree.text_of(name).map(str::to_owned),
        };
        let missing = |name: &'static str| {
            let said = format!("Missing required parameter: '{name}'.");
            Refusal::bad_request(Wrong::new(name, "missing_required_parameter", said))
        };
        let model = field("model").unwrap_or_else(|| "sora-2".to_owned());
        let asked = Asked {
            model: self.known_model(Wire::Chat, &model)?.to_owned(),
            prompt: field("prompt").ok_or_else(|| missing("prompt"))?,
            seconds: field("seconds")
                .map_or(Some(4), |s| s.parse().ok())
                .ok_or_else(|| missing("seconds"))?,
            size: field("size").unwrap_or_else(|| "720x1280".to_owned()),
            created: now.wall.seconds(),
        };
        let id = format!("video_{}", letters(caller.salt, 32));
        self.begin(now, caller, &id, (asked, 1, None), faults);
        let video = self.store.video(&id, &caller.organisation);
        let video = video.ok_or_else(|| no_video(&id))?;
        Ok(video_object(&id, video, now.instant))
    }

    fn begin(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        name: &str,
        (asked, count, bucket): (Asked, u64, Option<String>),
        faults: &Faults,
    ) {
        let mut faults = faults.clone();
        faults.set_from_text(&asked.prompt);
        let withheld = faults.video_withheld.unwrap_or(0).min(count);
        let made = count - withheld;
        let seconds = if faults.video_fails {
            0
        } else {
            made * asked.seconds
        };
        let billed = Billed {
            video_seconds: seconds,
            ..Billed::default()
        };
        let pending = Entry {
            id: name.to_owned(),
            key: caller.key.clone(),
            organisation: caller.organisation.clone(),
            model: asked.model.clone(),
            wire: caller.wire,
            billed,
            ended: Ended::Complete,
            told: true,
        };
        let video = Video {
            organisation: caller.organisation.clone(),
            begun: now.instant,
            done: now.instant + self.settings.video,
            bucket,
            made,
            withheld,
            fails: faults.video_fails,
            asked,
            pending: Some(pending),
        };
        if let Some(left) = self.store.film(name.to_owned(), video) {
            self.book_of(left);
        }
    }

    /// What is forgotten is billed: it was ordered.
    fn book_of(&mut self, video: Video) {
        if let Some(entry) = video.pending {
            self.book.write(entry);
        }
    }

    fn filmed(&self, now: Now, caller: &Caller<'_>, name: &str) -> Result<String, Refusal> {
        let video = self.store.video(name, &caller.organisation);
        let video =
            video.ok_or_else(|| Refusal::not_found(format!("Operation {name} not found")))?;
        let vertex = caller.route.platform == Platform::Vertex;
        let base = format!("http://{}", caller.host);
        Ok(operation(name, video, now.instant, vertex, &base))
    }
}

fn no_video(id: &str) -> Refusal {
    Refusal::not_found(format!("Video with id '{id}' not found."))
}

/// The text of a form's field, read in the simplest way: between its head and the next line that begins with two dashes.
fn field(body: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, after) = text.split_once(&format!("name=\"{name}\"\r\n\r\n"))?;
    let (value, _) = after.split_once("\r\n--")?;
    Some(value.to_owned())
}
