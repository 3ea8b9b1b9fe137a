//! Log lines of all shards as text or JSON, one write a batch. Severity was judged by who sent them; nothing is dropped here.

use crate::base::WallTime;
use crate::config::{LogFormat, LogLevel};
use crate::iocore::calendar;
use crate::iocore::trace::Heard;
use crate::shard::LogLine;
use std::borrow::Cow;
use std::fmt::Write;

/// A line, whoever says it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub at: WallTime,
    pub level: LogLevel,
    pub message: &'a str,
    pub fields: &'a [(&'static str, String)],
}

impl<'a> From<&'a LogLine> for Line<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self {
            at: line.at,
            level: line.level,
            message: line.message,
            fields: &line.fields,
        }
    }
}

impl<'a> From<&'a Heard> for Line<'a> {
    fn from(heard: &'a Heard) -> Self {
        Self {
            at: heard.at,
            level: heard.level,
            message: &heard.message,
            fields: &heard.fields,
        }
    }
}

/// Appends `line` and a line break. Values are quoted as JSON wherever they could be taken for something else, so that nobody can
/// forge a line.
pub fn append<'a>(line: impl Into<Line<'a>>, format: LogFormat, into: &mut String) {
    let line = line.into();
    match format {
        LogFormat::Text => text(line, into),
        LogFormat::Json => json(line, into),
    }
    into.push('\n');
}

fn text(line: Line<'_>, into: &mut String) {
    let level = level(line.level).to_ascii_uppercase();
    // Writing into a string cannot fail.
    let _ = write!(
        into,
        "{} {level:5} {}",
        calendar::rfc3339(line.at),
        one_line(line.message)
    );
    for (name, value) in line.fields {
        let plain = !value.is_empty()
            && value
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=');
        let quoted = if plain { value.clone() } else { quote(value) };
        let _ = write!(into, " {name}={quoted}");
    }
}

fn json(line: Line<'_>, into: &mut String) {
    let at = calendar::rfc3339(line.at);
    let _ = write!(
        into,
        r#"{{"at":"{at}","level":"{}","message":{}"#,
        level(line.level),
        quote(line.message)
    );
    for (name, value) in line.fields {
        let _ = write!(into, ",{}:{}", quote(name), quote(value));
    }
    into.push('}');
}

/// A message of ours is a constant; a library's may hold anything.
fn one_line(message: &str) -> Cow<'_, str> {
    if message.bytes().any(|b| b.is_ascii_control()) {
        Cow::Owned(quote(message))
    } else {
        Cow::Borrowed(message)
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_forge_a_line() {
        let line = LogLine {
            at: WallTime(0),
            level: LogLevel::Warn,
            message: "key refused",
            fields: vec![("key", "k1".to_owned()), ("why", "a\n\"b\" c=d".to_owned())],
        };
        let mut out = String::new();
        append(&line, LogFormat::Text, &mut out);
        assert_eq!(
            out,
            "1970-01-01T00:00:00.000Z WARN  key refused key=k1 why=\"a\\n\\\"b\\\" c=d\"\n"
        );
        out.clear();
        append(&line, LogFormat::Json, &mut out);
        let value: serde_json::Value = serde_json::from_str(&out).expect("one line of JSON");
        assert_eq!(
            (value["why"].as_str(), out.lines().count()),
            (Some("a\n\"b\" c=d"), 1)
        );
    }

    #[test]
    fn a_librarys_message_cannot_forge_a_line() {
        let heard = Heard {
            at: WallTime(0),
            level: LogLevel::Info,
            message: "a\n1970-01-01 ERROR b".to_owned(),
            fields: vec![("target", "h2::proto".to_owned())],
        };
        let mut out = String::new();
        append(&heard, LogFormat::Text, &mut out);
        assert_eq!(
            out,
            "1970-01-01T00:00:00.000Z INFO  \"a\\n1970-01-01 ERROR b\" target=h2::proto\n"
        );
    }
}
