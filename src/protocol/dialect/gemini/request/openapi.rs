//! Google's own subset of OpenAPI schemas → JSON Schema, which is what every other dialect, and Google itself, understands.
//!
//! Keeps the order of members, since models answer in it, and leaves a schema that is JSON Schema already as it was written.

use crate::base::{Json, Str};
use crate::protocol::dialect::gemini::node::{Text, camel};
use crate::protocol::json;
use bytes::BytesMut;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The same schema as JSON Schema (Gemini API reference, `Schema`, read 2026-08). Costs a pass over each level.
pub(super) fn to_json_schema(schema: &Json) -> Json {
    let Some(raw) = schema.read::<&RawValue>() else {
        return schema.clone();
    };
    let mut out = BytesMut::with_capacity(schema.get().len());
    write(raw, &mut out);
    let text = Str::try_from(out).expect("made of strings");
    let written = Json::parse(text).unwrap_or_else(|_| schema.clone());
    if same(&written, schema) {
        schema.clone()
    } else {
        written
    }
}

/// Whether two values differ in nothing but spacing.
fn same(a: &Json, b: &Json) -> bool {
    a.read::<serde_json::Value>() == b.read::<serde_json::Value>()
}

fn write(raw: &RawValue, out: &mut BytesMut) {
    let Ok(members) = serde_json::from_str::<Schema<'_>>(raw.get()) else {
        out.extend_from_slice(raw.get().as_bytes());
        return;
    };
    let nullable = members
        .0
        .iter()
        .any(|(n, v)| n == "nullable" && v.get() == "true");
    out.extend_from_slice(b"{");
    for (name, value) in &members.0 {
        member(name, value, nullable, out);
    }
    out.extend_from_slice(b"}");
}

/// Names of a schema's keywords in camelCase; those of a schema's properties are read apart, as written.
struct Schema<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Schema<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Properties(members) = serde::Deserialize::deserialize(from)?;
        let named = members.into_iter().map(|(name, raw)| (camel(name), raw));
        Ok(Self(named.collect()))
    }
}

struct Properties<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Properties<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Maps;
        impl<'de> serde::de::Visitor<'de> for Maps {
            type Value = Properties<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, raw)) = map.next_entry::<Text<'_>, &RawValue>()? {
                    members.push((name.0, raw));
                }
                Ok(Properties(members))
            }
        }
        from.deserialize_map(Maps)
    }
}

fn named(name: &str, out: &mut BytesMut) {
    json::comma(out);
    json::string(name, out);
    out.extend_from_slice(b":");
}

fn member(name: &str, value: &RawValue, nullable: bool, out: &mut BytesMut) {
    let text = value.get();
    match name {
        // Said by the type below.
        "nullable" => {}
        "type" => kind(text, nullable, out),
        "format" if text == "\"enum\"" => {}
        "properties" | "defs" | "$defs" => {
            named(if name == "defs" { "$defs" } else { name }, out);
            map_of_schemas(value, out);
        }
        "items" | "additionalProperties" => {
            named(name, out);
            write(value, out);
        }
        "anyOf" | "prefixItems" | "oneOf" | "allOf" => {
            named(name, out);
            list_of_schemas(value, out);
        }
        "ref" => {
            named("$ref", out);
            out.extend_from_slice(text.as_bytes());
        }
        // ProtoJSON writes 64-bit numbers as strings.
        "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
            named(name, out);
            out.extend_from_slice(text.trim_matches('"').as_bytes());
        }
        "enum" if nullable => {
            named(name, out);
            let open = text.trim_end().strip_suffix(']').unwrap_or(text);
            out.extend_from_slice(open.as_bytes());
            let empty = open.trim_end().ends_with('[');
            out.extend_from_slice(if empty { b"null]" } else { b",null]" });
        }
        _ => {
            named(name, out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// `"STRING"` → `"string"`, with `null` beside it where that may be.
fn kind(text: &str, nullable: bool, out: &mut BytesMut) {
    let word = text.to_ascii_lowercase();
    match (&*word, text.starts_with('"'), nullable) {
        ("\"type_unspecified\"", ..) => {}
        (_, true, true) => {
            named("type", out);
            out.extend_from_slice(b"[");
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(b",\"null\"]");
        }
        (_, true, false) => {
            named("type", out);
            out.extend_from_slice(word.as_bytes());
        }
        // A list of types is JSON Schema's own.
        (_, false, _) => {
            named("type", out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn map_of_schemas(value: &RawValue, out: &mut BytesMut) {
    let Ok(Properties(members)) = serde_json::from_str(value.get()) else {
        out.extend_from_slice(value.get().as_bytes());
        return;
    };
    out.extend_from_slice(b"{");
    for (name, schema) in members {
        named(&name, out);
        write(schema, out);
    }
    out.extend_from_slice(b"}");
}

fn list_of_schemas(value: &RawValue, out: &mut BytesMut) {
    let Ok(schemas) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        out.extend_from_slice(value.get().as_bytes());
        return;
    };
    out.extend_from_slice(b"[");
    for schema in schemas {
        json::comma(out);
        write(schema, out);
    }
    out.extend_from_slice(b"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &'static str) -> String {
        let schema = Json::parse(text.into()).expect("json");
        to_json_schema(&schema).get().to_owned()
    }

    #[test]
    fn googles_types_become_json_schemas() {
        assert_eq!(
            told(
                r#"{"type":"OBJECT","properties":{"z_a":{"type":"STRING","nullable":true,"enum":["x"],"format":"enum"},"a":{"type":"ARRAY","min_items":"1","items":{"type":"INTEGER"}},"any_of":{"anyOf":[{"type":"NUMBER"},{"type":"TYPE_UNSPECIFIED"}]}},"required":["z_a"],"propertyOrdering":["z_a","a"]}"#
            ),
            r#"{"type":"object","properties":{"z_a":{"type":["string","null"],"enum":["x",null]},"a":{"type":"array","minItems":1,"items":{"type":"integer"}},"any_of":{"anyOf":[{"type":"number"},{}]}},"required":["z_a"],"propertyOrdering":["z_a","a"]}"#
        );
    }

    #[test]
    fn json_schema_stays_as_it_was_written() {
        let text = r#"{ "type" : "object", "properties": {"b":{"type":["string","null"]}}, "additionalProperties": false }"#;
        assert_eq!(told(text), text);
    }
}
