//! Base URLs: scheme, host, port and path prefix, and nothing else a URL can hold; and where each kind of provider is by default.

use crate::protocol::provider::{Place, ProviderKind};

/// `https://host:port/prefix`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    pub tls: bool,
    /// Without brackets where it is an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Begins with a slash and does not end with one; or is empty.
    pub path: String,
}

/// Reads `text`, or says what is wrong with it.
pub fn parse(text: &str) -> Result<BaseUrl, &'static str> {
    let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err("does not begin with http:// or https://");
    };
    if rest.contains(['?', '#']) {
        return Err("has a query or a fragment");
    }
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a blank or a letter outside ASCII");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("has a user name");
    }
    let (host, port) = host_and_port(authority)?;
    Ok(BaseUrl {
        tls,
        host: host.to_ascii_lowercase(),
        port: port.unwrap_or(if tls { 443 } else { 80 }),
        path: path.trim_end_matches('/').to_owned(),
    })
}

/// Where a provider of this kind is unless the configuration says otherwise; `None` where only it can say, or where it named no region.
pub fn usual(kind: ProviderKind, place: &Place) -> Option<String> {
    let region = place.region.as_deref();
    let fixed = match kind {
        ProviderKind::Anthropic => "https://api.anthropic.com",
        ProviderKind::OpenAi => "https://api.openai.com/v1",
        ProviderKind::Gemini => "https://generativelanguage.googleapis.com",
        ProviderKind::Xai => "https://api.x.ai/v1",
        ProviderKind::Fireworks => "https://api.fireworks.ai/inference/v1",
        ProviderKind::OpenRouter => "https://openrouter.ai/api/v1",
        ProviderKind::Bedrock if place.mantle => {
            return Some(format!("https://bedrock-mantle.{}.api.aws", region?));
        }
        ProviderKind::Bedrock => {
            let region = region?;
            return Some(format!("https://bedrock-runtime.{region}.amazonaws.com"));
        }
        ProviderKind::Vertex => return Some(vertex(region?)),
        ProviderKind::SelfHosted | ProviderKind::Fake => return None,
    };
    Some(fixed.to_owned())
}

/// Google's three families of hosts (providers/vertex.md 2).
fn vertex(location: &str) -> String {
    match location {
        "global" => "https://aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("https://aiplatform.{location}.rep.googleapis.com"),
        region => format!("https://{region}-aiplatform.googleapis.com"),
    }
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, after) = if let Some(inner) = authority.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or("has `[` without `]`")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("has no IPv6 address in its brackets");
        }
        (host, after)
    } else {
        let (host, after) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(letters) {
            return Err("has no host name");
        }
        (host, after)
    };
    if after.is_empty() {
        return Ok((host, None));
    }
    let digits = after.strip_prefix(':').ok_or("has letters after `]`")?;
    match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok((host, Some(port)))
        }
        _ => Err("has no port from 1 to 65535 after the colon"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_writes_is_taken_apart() {
        let table = [
            (
                "https://api.example.com",
                (true, "api.example.com", 443, ""),
            ),
            (
                "http://LOCALHOST:8000/v1/",
                (false, "localhost", 8000, "/v1"),
            ),
            ("http://[::1]:80/a/b", (false, "::1", 80, "/a/b")),
        ];
        for (text, (tls, host, port, path)) in table {
            let (host, path) = (host.to_owned(), path.to_owned());
            let want = BaseUrl {
                tls,
                host,
                port,
                path,
            };
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn each_location_has_its_host() {
        let host = |kind, region: &str, mantle| {
            let place = Place {
                region: Some(region.to_owned()),
                mantle,
                ..Place::default()
            };
            usual(kind, &place).expect("a default")
        };
        use ProviderKind::{Bedrock, Vertex};
        let table = [
            (
                Bedrock,
                "us-east-1",
                false,
                "https://bedrock-runtime.us-east-1.amazonaws.com",
            ),
            (
                Bedrock,
                "eu-west-1",
                true,
                "https://bedrock-mantle.eu-west-1.api.aws",
            ),
            (Vertex, "global", false, "https://aiplatform.googleapis.com"),
            (
                Vertex,
                "us",
                false,
                "https://aiplatform.us.rep.googleapis.com",
            ),
            (
                Vertex,
                "eu",
                false,
                "https://aiplatform.eu.rep.googleapis.com",
            ),
            (
                Vertex,
                "us-east5",
                false,
                "https://us-east5-aiplatform.googleapis.com",
            ),
        ];
        for (kind, region, mantle, want) in table {
            assert_eq!(host(kind, region, mantle), want);
        }
        assert_eq!(usual(Bedrock, &Place::default()), None);
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        let bad = [
            "",
            "api.example.com",
            "ftp://a",
            "https://",
            "https://:80",
            "https://a:0",
            "https://a:70000",
            "https://a:+1",
            "https://u:p@a",
            "https://a/?q",
            "https://a b",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
