//! The client's bytes with other members at the top level: Claude's grammar behind Bedrock and Vertex, where the model stands in the path
//! and the API's version in the body (`providers/bedrock.md` 4, `providers/vertex.md`).

use crate::canon::{Fault, FaultClass};
use crate::protocol::dialect::messages::schema::Fields;
use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::ops::Range;

/// `body` without the members named in `remove`, and with `insert` (JSON members without the braces: `"a":"b","c":[1]`, or nothing) ahead of
/// the rest. All other bytes are the client's own, as slices: nothing of the content is copied. One pass over the body. `Err` is a 400: the
/// body is no JSON object, or a name of `remove` or `insert` would stand twice.
pub fn envelope(
    body: &Bytes,
    remove: &[&str],
    insert: &str,
) -> Result<SmallVec<[Bytes; 8]>, Fault> {
    let text = simdutf8::basic::from_utf8(body)
        .map_err(|_| Fault::new(FaultClass::Invalid, "the body must be UTF-8"))?;
    let braced = format!("{{{insert}}}");
    let inserted = Fields::of(&braced).expect("the caller inserts JSON members");
    let names: SmallVec<[&str; 4]> = inserted.left().map(|(name, _)| name).collect();
    let mut scan = Scan {
        body: text,
        remove,
        insert: &names,
        removed: SmallVec::new(),
        runs: SmallVec::new(),
        adjoining: false,
        fault: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(&mut scan).and_then(|()| json.end());
    if let Err(error) = read {
        return Err(scan.fault.take().unwrap_or_else(|| fault_of(&error)));
    }
    Ok(assembled(body, insert, &scan.runs))
}

/// Without serde_json's words for wrong types: they quote the value.
fn fault_of(error: &serde_json::Error) -> Fault {
    let message = if error.is_data() {
        "the body must be a JSON object".to_owned()
    } else {
        format!("the body is not JSON: {error}")
    };
    Fault::new(FaultClass::Invalid, message)
}

fn assembled(body: &Bytes, insert: &str, runs: &[Range<usize>]) -> SmallVec<[Bytes; 8]> {
    const COMMA: Bytes = Bytes::from_static(b",");
    let mut slices = SmallVec::new();
    slices.push(Bytes::from(format!("{{{insert}")));
    for (i, run) in runs.iter().enumerate() {
        if i > 0 || !insert.is_empty() {
            slices.push(COMMA);
        }
        slices.push(body.slice(run.clone()));
    }
    slices.push(Bytes::from_static(b"}"));
    slices
}

struct Scan<'a> {
    body: &'a str,
    remove: &'a [&'a str],
    insert: &'a [&'a str],
    removed: SmallVec<[usize; 4]>,
    /// Members that stay, each run from its first name to its last value.
    runs: SmallVec<[Range<usize>; 4]>,
    /// The member before this one stayed.
    adjoining: bool,
    fault: Option<Fault>,
}

impl Scan<'_> {
    /// `None`: a fault was found.
    fn member(&mut self, name: &str, at: Range<usize>) -> Option<()> {
        if let Some(place) = self.remove.iter().position(|n| *n == name) {
            if self.removed.contains(&place) {
                return self.twice(name);
            }
            self.removed.push(place);
            self.adjoining = false;
            return Some(());
        }
        if self.insert.contains(&name) {
            return self.twice(name);
        }
        match self.runs.last_mut() {
            Some(run) if self.adjoining => run.end = at.end,
            _ => self.runs.push(at),
        }
        self.adjoining = true;
        Some(())
    }

    fn twice(&mut self, name: &str) -> Option<()> {
        self.fault = Some(Fault::invalid(name, format!("{name} stands twice")));
        None
    }

    fn at(&self, raw: &RawValue) -> usize {
        raw.get().as_ptr() as usize - self.body.as_ptr() as usize
    }
}

impl<'de> Visitor<'de> for &mut Scan<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            let start = self.at(name);
            let value = map.next_value::<&RawValue>()?;
            let end = self.at(value) + value.get().len();
            let quoted = name.get();
            let stays = if quoted.contains('\\') {
                let name: String =
                    serde_json::from_str(quoted).map_err(serde::de::Error::custom)?;
                self.member(&name, start..end)
            } else {
                self.member(quoted.trim_matches('"'), start..end)
            };
            if stays.is_none() {
                return Err(serde::de::Error::custom("twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(body: &str, remove: &[&str], insert: &str) -> Result<String, Fault> {
        let slices = envelope(&Bytes::copy_from_slice(body.as_bytes()), remove, insert)?;
        Ok(String::from_utf8(slices.concat()).expect("text"))
    }

    const VERSION: &str = r#""anthropic_version":"bedrock-2023-05-31""#;

    #[test]
    fn members_go_and_come_and_all_other_bytes_stay() {
        let cases = [
            (
                r#"{"model":"m","max_tokens":1, "stream" : true ,"messages":[{"role":"user" }]}"#,
                r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user" }]}"#,
            ),
            (
                "{ \"a\" : 1.0,\n\"b\":{\"model\":2},\"model\":\"m\"}",
                "{\"anthropic_version\":\"bedrock-2023-05-31\",\"a\" : 1.0,\n\"b\":{\"model\":2}}",
            ),
            (
                r#"{"mod\u0065l":"m","x\"y":"z"}"#,
                r#"{"anthropic_version":"bedrock-2023-05-31","x\"y":"z"}"#,
            ),
            (
                r#" {"model":1} "#,
                r#"{"anthropic_version":"bedrock-2023-05-31"}"#,
            ),
        ];
        for (body, wanted) in cases {
            assert_eq!(
                wrapped(body, &["model", "stream"], VERSION).as_deref(),
                Ok(wanted)
            );
        }
        assert_eq!(wrapped("{}", &[], "").as_deref(), Ok("{}"));
        assert_eq!(
            wrapped(r#"{"a":1}"#, &["b"], "").as_deref(),
            Ok(r#"{"a":1}"#)
        );
    }

    #[test]
    fn nothing_of_the_content_is_copied() {
        let content = "x".repeat(10_000);
        let body = format!(r#"{{"model":"m","messages":"{content}","stream":true,"z":1}}"#);
        let body = Bytes::from(body);
        let range = body.as_ptr() as usize..body.as_ptr() as usize + body.len();
        let slices = envelope(&body, &["model", "stream"], VERSION).expect("right");
        let copied: usize = slices
            .iter()
            .filter(|s| !range.contains(&(s.as_ptr() as usize)))
            .map(Bytes::len)
            .sum();
        assert_eq!(copied, VERSION.len() + 4, "braces, commas and what is new");
    }

    #[test]
    fn what_stands_twice_is_refused_by_name() {
        for (body, field) in [
            (r#"{"model":"a","x":1,"model":"b"}"#, "model"),
            (r#"{"stream":true,"str\u0065am":false}"#, "stream"),
            (r#"{"anthropic_version":"x"}"#, "anthropic_version"),
        ] {
            let fault = wrapped(body, &["model", "stream"], VERSION).expect_err("twice");
            assert_eq!(fault.field.as_deref(), Some(field));
        }
    }

    #[test]
    fn what_is_no_object_is_refused_without_its_content() {
        for body in ["", "[1]", "\"secret\"", "{\"a\":}", "{} {}", "{\"a\":1"] {
            let fault = wrapped(body, &["model"], VERSION).expect_err("no object");
            assert!(!fault.message.contains("secret"), "{fault:?}");
            assert_eq!(fault.class, FaultClass::Invalid);
        }
    }

    #[test]
    fn the_result_is_json_with_the_same_other_members() {
        let body = r#"{"a":[1,{"model":1}],"model":"m","b":"\u00fc","stream":null,"c":{}}"#;
        let text = wrapped(body, &["model", "stream"], VERSION).expect("right");
        let after: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut before: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let fields = before.as_object_mut().expect("an object");
        fields.remove("model");
        fields.remove("stream");
        fields.insert("anthropic_version".into(), "bedrock-2023-05-31".into());
        assert_eq!(after, before);
    }
}
