//! What clients know a job by, so that whoever asks for it later can be understood without a table of jobs.
//!
//! Google's clients name an operation, OpenAI's an id. Neither tells which project or key is asked: that is looked up elsewhere, and a name
//! that somebody made up leads nowhere.

use crate::base::Str;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A part of `[…/]models/MODEL/operations/ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationName<'a> {
    /// What stands before `models/`, with its last slash: empty, or the project, place and publisher of Google Cloud.
    pub root: &'a str,
    pub model: &'a str,
    pub id: &'a str,
}

impl<'a> OperationName<'a> {
    /// `None` for what names no operation of a model.
    #[must_use]
    pub fn read(name: &'a str) -> Option<Self> {
        let (before, id) = name.rsplit_once("/operations/")?;
        let at = before.rfind("models/")?;
        let (root, model) = before.split_at(at);
        let model = model.strip_prefix("models/")?;
        let rooted = root.is_empty() || root.ends_with('/');
        let whole = rooted && !model.is_empty() && is_id(id);
        whole.then_some(Self { root, model, id })
    }

    #[must_use]
    pub fn write(&self) -> Str {
        Str::from(format!(
            "{}models/{}/operations/{}",
            self.root, self.model, self.id
        ))
    }

    /// The id by which a client asks for the provider's operation `name`, where one of `self`'s root and model is expected: its own last
    /// part, or all of it where it does not begin so.
    #[must_use]
    pub fn short(root: &str, model: &str, name: &str) -> Str {
        match OperationName::read(name) {
            Some(known) if known.root == root && known.model == model => Str::from(known.id),
            _ => Str::from(format!("{WHOLE}{}", URL_SAFE_NO_PAD.encode(name))),
        }
    }

    /// The provider's operation behind an id that `short` made. `None` for an id that it did not.
    #[must_use]
    pub fn long(root: &str, model: &str, id: &str) -> Option<Str> {
        match id.strip_prefix(WHOLE) {
            Some(whole) => {
                let name = String::from_utf8(URL_SAFE_NO_PAD.decode(whole).ok()?).ok()?;
                is_path(&name).then(|| Str::from(name))
            }
            None => is_id(id).then(|| OperationName { root, model, id }.write()),
        }
    }
}

/// Begins ids that hold a provider's whole name; no provider's own begins so.
const WHOLE: char = '~';

/// One part of a path that means nothing else in a URL.
fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !id.is_empty() && id.len() <= 512 && id.bytes().all(plain) && id.bytes().any(|b| b != b'.')
}

fn is_path(name: &str) -> bool {
    name.split('/')
        .all(|part| is_id(part) || part.contains('@'))
}

/// A job at Google as OpenAI's clients know it: all that a video object must say, and Google's operations do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// As the client named it.
    pub model: Str,
    /// As `OperationName::short` gives it.
    pub id: Str,
    /// Seconds since 1970.
    pub created: i64,
    pub seconds: u32,
    pub size: Str,
}

/// Begins our ids; OpenAI's begin with `video_`.
const TICKET: &str = "vid_";

impl Ticket {
    #[must_use]
    pub fn write(&self) -> Str {
        let (created, seconds) = (self.created, self.seconds);
        let text = format!(
            "{}\n{}\n{created}\n{seconds}\n{}",
            self.model, self.id, self.size
        );
        Str::from(format!("{TICKET}{}", URL_SAFE_NO_PAD.encode(text)))
    }

    /// `None` for an id that is not ours.
    #[must_use]
    pub fn read(id: &str) -> Option<Self> {
        let text = URL_SAFE_NO_PAD.decode(id.strip_prefix(TICKET)?).ok()?;
        let text = String::from_utf8(text).ok()?;
        let [model, id, created, seconds, size] = text.split('\n').collect::<Vec<_>>()[..] else {
            return None;
        };
        is_id(id).then_some(())?;
        Some(Self {
            model: Str::from(model),
            id: Str::from(id),
            created: created.parse().ok()?,
            seconds: seconds.parse().ok()?,
            size: Str::from(size),
        })
    }
}

/// The file that a download's address names, by the address that an operation gave out or the path that is asked for. `None` for another
/// address. Google's client for Python makes its path of the whole address where that does not begin with `https://` (google-genai 3.4.0,
/// `t_file_name`), so the last `files/` counts.
#[must_use]
pub fn file_id(address: &str) -> Option<&str> {
    let (_, rest) = address.rsplit_once("files/")?;
    let id = rest.split([':', '?', '/']).next()?;
    is_id(id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_both_products_are_taken_apart_and_put_together() {
        let vertex = "projects/p/locations/l/publishers/google/";
        for (root, name) in [
            ("", "models/veo-3.1/operations/a1"),
            (
                vertex,
                "projects/p/locations/l/publishers/google/models/veo-3.1/operations/a1",
            ),
        ] {
            let known = OperationName::read(name).expect("an operation");
            assert_eq!((known.root, known.model, known.id), (root, "veo-3.1", "a1"));
            assert_eq!(&*known.write(), name);
        }
        for wrong in [
            "operations/a",
            "models//operations/a",
            "models/m/operations/",
            "models/m/operations/a/b",
            "mymodels/m/operations/a",
        ] {
            assert_eq!(OperationName::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_leads_back_to_the_providers_own_name() {
        let (root, model) = ("projects/p/locations/l/publishers/google/", "veo");
        let plain = format!("{root}models/veo/operations/0-a");
        for (name, short) in [(&*plain, Some("0-a")), ("models/other/operations/b", None)] {
            let id = OperationName::short(root, model, name);
            assert!(short.is_none_or(|s| s == &*id), "{id}");
            assert_eq!(OperationName::long(root, model, &id).as_deref(), Some(name));
        }
        for wrong in ["", "..", "a/b", "a?b", "~!", "~Li4vLi4"] {
            assert_eq!(OperationName::long(root, model, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_others_are_not() {
        let ticket = Ticket {
            model: "veo-3.1".into(),
            id: "a1".into(),
            created: 1_790_000_000,
            seconds: 8,
            size: "1280x720".into(),
        };
        let id = ticket.write();
        assert_eq!(Ticket::read(&id), Some(ticket));
        for cut in 0..id.len() {
            assert_ne!(
                Ticket::read(&id[..cut]).map(|t| t.write()),
                Some(id.clone())
            );
        }
        assert_eq!(Ticket::read("video_68d7"), None);
    }

    #[test]
    fn a_file_is_found_in_every_spelling_of_its_address() {
        for address in [
            "https://generativelanguage.googleapis.com/v1beta/files/abc:download?alt=media",
            "/v1beta/files/abc:download",
            "/v1beta/files/http://127.0.0.1:1/v1beta/files/abc:download",
            "files/abc",
        ] {
            assert_eq!(file_id(address), Some("abc"), "{address}");
        }
        assert_eq!((file_id("gs://b/v.mp4"), file_id("files/")), (None, None));
    }
}
