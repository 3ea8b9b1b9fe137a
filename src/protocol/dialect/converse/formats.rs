//! Converse's short words for formats ⇄ media types, and the characters that its names and ids may have (`providers/bedrock.md` 7).

use crate::base::Str;
use crate::canon::{CacheTtl, StopReason};
use std::borrow::Cow;

/// (Converse's word, media type). Of several words for one type the first is written.
type Table = &'static [(&'static str, &'static str)];

pub(super) const IMAGES: Table = &[
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];

pub(super) const DOCUMENTS: Table = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("xls", "application/vnd.ms-excel"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];

pub(super) const VIDEOS: Table = &[
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("flv", "video/x-flv"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpg"),
    ("wmv", "video/x-ms-wmv"),
    ("three_gp", "video/3gpp"),
];

/// Audio goes by its word in canon too; these are the ones whose media type is another word.
pub(super) const AUDIOS: Table = &[
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/x-m4a"),
    ("mka", "audio/x-matroska"),
    ("x-aac", "audio/x-aac"),
];

/// The media type of one of Converse's words; `None` for a word that came after this was written.
pub(super) fn media_type(table: Table, format: &str) -> Option<&'static str> {
    let found = table.iter().find(|(word, _)| *word == format);
    found.map(|(_, media_type)| *media_type)
}

/// Converse's word for a media type, whose parameters do not matter here; `None` when it has none.
pub(super) fn format(table: Table, media_type: &str) -> Option<&'static str> {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    let bare = match bare {
        "image/jpg" => "image/jpeg",
        "text/x-markdown" => "text/markdown",
        "application/csv" => "text/csv",
        "video/matroska" => "video/x-matroska",
        bare => bare,
    };
    let found = table.iter().find(|(_, m)| m.eq_ignore_ascii_case(bare));
    found.map(|(word, _)| *word)
}

/// What Converse calls audio of a media type or of another dialect's word.
pub(super) fn audio_format<'a>(format_word: Option<&'a str>, media_type: &'a str) -> &'a str {
    if let Some(word) = format_word {
        return word;
    }
    match format(AUDIOS, media_type) {
        Some(word) => word,
        None => media_type.strip_prefix("audio/").unwrap_or(media_type),
    }
}

pub(super) fn audio_media_type(word: &str) -> Str {
    match media_type(AUDIOS, word) {
        Some(known) => Str::from_static(known),
        None => Str::from(format!("audio/{word}")),
    }
}

// `providers/bedrock.md` 7.
const NAME_CHARS_MAX: usize = 200;

/// A document's name as Converse takes it: letters, digits, single spaces, hyphens, parentheses and brackets; underscores are taken too (seen in
/// a recorded call). What else there is becomes a hyphen. `taken` are the names before it: Converse wants each once.
pub(super) fn document_name(title: Option<&str>, taken: &[String]) -> String {
    let mut name = String::new();
    for c in title.unwrap_or_default().chars().take(NAME_CHARS_MAX - 8) {
        match c {
            c if c.is_ascii_alphanumeric() || "-()[]_".contains(c) => name.push(c),
            c if c.is_whitespace() => {
                if !name.ends_with(' ') {
                    name.push(' ');
                }
            }
            _ => name.push('-'),
        }
    }
    let name = match name.trim() {
        "" => "document",
        name => name,
    };
    let mut unique = name.to_owned();
    let mut count = 1;
    while taken.contains(&unique) {
        count += 1;
        unique = format!("{name} {count}");
    }
    unique
}

// `providers/bedrock.md` 7: `[a-zA-Z0-9_.:-]{1,64}`.
const ID_MAX: usize = 64;

/// Ids of other issuers hold what this API's pattern does not, or are longer; call and result are changed alike.
pub(super) fn tool_id(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if id.is_empty() {
        return Cow::Borrowed("_");
    }
    if id.len() <= ID_MAX && id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let changed: String = id.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if changed.len() <= ID_MAX {
        return Cow::Owned(changed);
    }
    // What is cut off may be all that tells two ids apart.
    let hash = xxhash_rust::xxh3::xxh3_64(id.as_bytes());
    Cow::Owned(format!("{}_{hash:016x}", &changed[..ID_MAX - 17]))
}

/// `None`: a word that this API does not know for a cache point's life.
pub(super) fn ttl(word: &str) -> Option<CacheTtl> {
    match word {
        "5m" => Some(CacheTtl::Minutes5),
        "1h" => Some(CacheTtl::Hours1),
        _ => None,
    }
}

/// This API knows 5 minutes and 1 hour; what lies between or beyond becomes the nearest that is not longer, or else its longest.
pub(super) fn ttl_word(ttl: CacheTtl) -> &'static str {
    match ttl {
        CacheTtl::Minutes5 | CacheTtl::Minutes30 => "5m",
        CacheTtl::Hours1 | CacheTtl::Hours12 | CacheTtl::Hours24 => "1h",
    }
}

pub(super) fn stop_reason(word: Str) -> StopReason {
    match &*word {
        "end_turn" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "guardrail_intervened" | "content_filtered" => StopReason::ContentFilter,
        "model_context_window_exceeded" => StopReason::ContextWindow,
        "refusal" => StopReason::Refusal,
        "pause_turn" => StopReason::Pause,
        // `malformed_model_output`, `malformed_tool_use` and what comes after this was written: the word itself says more than ours would.
        _ => StopReason::Other(word),
    }
}

pub(super) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::ToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ContentFilter => "content_filtered",
        StopReason::ContextWindow => "model_context_window_exceeded",
        StopReason::Refusal => "refusal",
        StopReason::Pause => "pause_turn",
        StopReason::Other(word) => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_one_media_type_and_back() {
        for table in [IMAGES, DOCUMENTS, VIDEOS, AUDIOS] {
            for (word, media) in table {
                assert_eq!(media_type(table, word), Some(*media));
                assert_eq!(format(table, media), Some(*word));
            }
        }
        assert_eq!(format(DOCUMENTS, "text/plain; charset=utf-8"), Some("txt"));
        assert_eq!(format(IMAGES, "image/tiff"), None);
        for word in ["wav", "mp3", "flac", "x-aac"] {
            assert_eq!(audio_format(None, &audio_media_type(word)), word);
        }
    }

    #[test]
    fn names_of_documents_are_what_converse_takes() {
        for (title, wanted) in [
            (Some("my  \t report.pdf"), "my report-pdf"),
            (Some("Übersicht (1) [a]_b"), "-bersicht (1) [a]_b"),
            (Some("  "), "document"),
            (None, "document"),
        ] {
            assert_eq!(document_name(title, &[]), wanted);
        }
        let taken = ["a".to_owned(), "a 2".to_owned()];
        assert_eq!(document_name(Some("a"), &taken), "a 3");
        assert!(document_name(Some(&"x".repeat(500)), &[]).len() <= NAME_CHARS_MAX);
    }

    #[test]
    fn ids_fit_and_stay_apart() {
        assert_eq!(tool_id("tooluse_a.b:c-1"), "tooluse_a.b:c-1");
        assert_eq!(tool_id("a|b"), "a_b");
        assert_eq!(tool_id(""), "_");
        let (one, two) = (
            format!("{}1", "é".repeat(90)),
            format!("{}2", "é".repeat(90)),
        );
        assert_ne!(tool_id(&one), tool_id(&two));
        assert_eq!(tool_id(&one).len(), ID_MAX);
    }

    #[test]
    fn stop_words_survive() {
        for word in [
            "end_turn",
            "tool_use",
            "max_tokens",
            "stop_sequence",
            "content_filtered",
            "model_context_window_exceeded",
            "malformed_tool_use",
            "new_word",
        ] {
            assert_eq!(stop_word(&stop_reason(Str::from(word))), word);
        }
        assert_eq!(
            stop_reason(Str::from_static("guardrail_intervened")),
            StopReason::ContentFilter
        );
    }
}
