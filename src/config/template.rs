//! Texts of headers and queries in which `${secret}` or `{secret}` stands for the key in use: `api-key: "${secret}"`.

use std::fmt;

/// Where the key goes into a header's or a query's value.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Secret,
}

impl Template {
    /// Never wrong: what is no place for a key is text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(PLACE) {
            let before = &rest[..at];
            let before = before.strip_suffix('$').unwrap_or(before);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Secret);
            rest = &rest[at + PLACE.len()..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Self(parts)
    }

    #[must_use]
    pub fn wants_secret(&self) -> bool {
        self.0.contains(&Part::Secret)
    }

    /// The text with the key in its places; without a key they stay empty.
    #[must_use]
    pub fn fill(&self, secret: Option<&str>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Secret => secret.unwrap_or_default().to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

/// Values may be secrets themselves.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(…)")
    }
}

const PLACE: &str = "{secret}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_where_its_name_stands_and_nothing_else_changes() {
        let fill = |text: &str| Template::parse(text).fill(Some("k"));
        assert_eq!(fill("${secret}"), "k");
        assert_eq!(fill("Key {secret}, {secret}!"), "Key k, k!");
        assert_eq!(fill("$ {secre} ${x}"), "$ {secre} ${x}");
        assert_eq!(fill(""), "");
        assert!(!Template::parse("plain").wants_secret());
        assert_eq!(Template::parse("a{secret}").fill(None), "a");
        assert_eq!(format!("{:?}", Template::parse("hidden")), "Template(…)");
    }
}
