//! `multipart/form-data` bodies (RFC 7578) as official clients send them: parts with a name, perhaps a file's name and type, and bytes.
//!
//! Reads only. Nothing is copied: a part says where in the body its bytes are. No nested parts and no transfer encodings, which RFC 7578
//! (4.3 and 4.7) takes out of use.

use crate::canon::{Fault, FaultClass};
use std::ops::Range;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub file_name: Option<String>,
    pub media_type: Option<String>,
    /// Where its bytes stand in the body.
    pub bytes: Range<usize>,
}

/// More fields than any form of an API has.
const PARTS_MAX: usize = 64;
/// RFC 2046, 5.1.1.
const BOUNDARY_MAX: usize = 70;

/// Whether a `content-type` says that the body is a form.
#[must_use]
pub fn is_form(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or("");
    kind.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// The fields of `body`, in order. `Err`: no boundary, a part that does not end, or one without a name.
pub fn read(content_type: &str, body: &[u8]) -> Result<Vec<Part>, Fault> {
    let boundary = parameter(content_type, "boundary").filter(|b| !b.is_empty());
    let boundary = boundary.filter(|b| b.len() <= BOUNDARY_MAX);
    let boundary = boundary.ok_or_else(|| wrong("its content-type names no boundary"))?;
    let mark = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(mark.as_bytes());
    // The first mark may stand at the very beginning, without the line end that belongs to the others.
    let mut at = match body.starts_with(&mark.as_bytes()[2..]) {
        true => mark.len() - 2,
        false => finder.find(body).ok_or_else(unended)? + mark.len(),
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        // White space may follow a mark (RFC 2046, 5.1.1).
        let blank = rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        if !rest[blank..].starts_with(b"\r\n") {
            return Err(unended());
        }
        if parts.len() == PARTS_MAX {
            return Err(wrong("it has too many fields"));
        }
        at += blank;
        let end = at + finder.find(&body[at + 2..]).ok_or_else(unended)? + 2;
        parts.push(part(body, at, end)?);
        at = end + mark.len();
    }
}

/// The part whose head begins with the line end at `from` and whose bytes end at `end`.
fn part(body: &[u8], from: usize, end: usize) -> Result<Part, Fault> {
    let whole = &body[from..end];
    let head_end = memchr::memmem::find(whole, b"\r\n\r\n");
    let head_end = head_end.ok_or_else(|| wrong("a part has no head"))?;
    let head = std::str::from_utf8(&whole[..head_end]);
    let head = head.map_err(|_| wrong("the head of a part is not UTF-8"))?;
    let header = |wanted: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim())
    };
    let disposition = header("content-disposition").unwrap_or("");
    let name = parameter(disposition, "name").ok_or_else(|| wrong("a part has no name"))?;
    Ok(Part {
        name,
        file_name: parameter(disposition, "filename"),
        media_type: header("content-type").map(str::to_owned),
        bytes: from + head_end + 4..end,
    })
}

/// The value of `;wanted=value` or `;wanted="value"` in a header.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (value, after) = value.split_once(';').unwrap_or((value, ""));
                (value.trim().to_owned(), after)
            }
        };
        let name = name.trim().trim_start_matches(';').trim();
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(letters.next()?.1),
            other => out.push(other),
        }
    }
    None
}

fn wrong(what: &str) -> Fault {
    let message = format!("the body is no multipart/form-data: {what}");
    Fault::new(FaultClass::Invalid, message).with_code("invalid_form")
}

fn unended() -> Fault {
    wrong("a part does not end with its boundary")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=\"x y\"";
    const BODY: &str = "--x y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nveo\r\n--x y \r\ncontent-disposition: form-data; filename=\"a\\\"b;c.png\"; name=file\r\nContent-Type: image/png\r\n\r\n\u{89}PNG\r\n\r\n--x\r\n--x y--\r\nafterwards";

    #[test]
    fn parts_say_where_their_bytes_are() {
        assert!(is_form(KIND) && is_form("Multipart/Form-Data") && !is_form("application/json"));
        let parts = read(KIND, BODY.as_bytes()).expect("a form");
        let said: Vec<_> = parts
            .iter()
            .map(|p| (&*p.name, &BODY[p.bytes.clone()]))
            .collect();
        assert_eq!(said, [("model", "veo"), ("file", "\u{89}PNG\r\n\r\n--x")]);
        assert_eq!(parts[1].file_name.as_deref(), Some("a\"b;c.png"));
        assert_eq!(parts[1].media_type.as_deref(), Some("image/png"));
        assert_eq!(read(KIND, b"--x y--"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_or_no_form_is_a_fault_and_never_a_panic() {
        for cut in 0..BODY.len() - "--\r\nafterwards".len() {
            read(KIND, &BODY.as_bytes()[..cut]).expect_err("cut");
        }
        for (kind, body) in [
            ("multipart/form-data", BODY),
            ("multipart/form-data; boundary=", BODY),
            (KIND, ""),
            (KIND, "--x y\r\n\r\nno name\r\n--x y--"),
            (KIND, "--x yz\r\n"),
        ] {
            read(kind, body.as_bytes()).expect_err(body);
        }
        let many = "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n".repeat(65) + "--b--";
        read("multipart/form-data; boundary=b", many.as_bytes()).expect_err("too many");
    }
}
