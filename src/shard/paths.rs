//! What a client may ask for, by method and path.

use crate::canon::{DialectName, Fault, FaultClass};

/// What a request line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// An answer of a model. `stream`: what the path says about it, over the body.
    Generate {
        dialect: DialectName,
        stream: Option<bool>,
    },
    Models {
        dialect: DialectName,
    },
    Model {
        dialect: DialectName,
        name: String,
    },
    /// The native WebSocket.
    Socket,
    Refused {
        dialect: DialectName,
        fault: Fault,
    },
}

/// Reads method and path. `anthropic` tells which of two families shares a path: whether the client sent `anthropic-version`.
pub(super) fn read(method: &[u8], path: &[u8], websocket: bool, anthropic: bool) -> Ask {
    let path = path
        .strip_suffix(b"/")
        .filter(|p| !p.is_empty())
        .unwrap_or(path);
    let listing = if anthropic {
        DialectName::Messages
    } else {
        DialectName::Chat
    };
    let (needs, ask) = match path {
        b"/v1/chat/completions" => ("POST", generate(DialectName::Chat, None)),
        b"/v1/messages" => ("POST", generate(DialectName::Messages, None)),
        b"/api/v1/generate" => ("POST", generate(DialectName::Native, None)),
        b"/api/v1/stream" => ("POST", generate(DialectName::Native, Some(true))),
        b"/v1/models" => ("GET", Ask::Models { dialect: listing }),
        b"/api/v1/models" => (
            "GET",
            Ask::Models {
                dialect: DialectName::Native,
            },
        ),
        b"/api/v1/ws" if websocket => ("GET", Ask::Socket),
        b"/api/v1/ws" => {
            return refused(
                DialectName::Native,
                FaultClass::UpgradeRequired,
                "this path takes a WebSocket upgrade",
            );
        }
        // Codex falls back at once on 426, and on nothing else (FIELD-BUGS 67).
        _ if websocket => {
            return refused(
                dialect_of(path),
                FaultClass::UpgradeRequired,
                "no WebSocket is served at this path; use HTTP",
            );
        }
        _ => match path.strip_prefix(b"/v1/models/").map(percent_decode) {
            Some(Some(name)) => (
                "GET",
                Ask::Model {
                    dialect: listing,
                    name,
                },
            ),
            _ => return unknown(path),
        },
    };
    // HEAD asks for what GET would say, and writers leave out the body.
    if method == needs.as_bytes() || (method == b"HEAD" && needs == "GET") {
        return ask;
    }
    let said = format!(
        "{} is not served at this path; use {needs}",
        String::from_utf8_lossy(method)
    );
    refused(dialect_of(path), FaultClass::MethodNotAllowed, said)
}

fn generate(dialect: DialectName, stream: Option<bool>) -> Ask {
    Ask::Generate { dialect, stream }
}

fn unknown(path: &[u8]) -> Ask {
    let shown: String = String::from_utf8_lossy(path).chars().take(200).collect();
    refused(
        dialect_of(path),
        FaultClass::NotFound,
        format!("nothing is served at {shown}"),
    )
}

fn refused(dialect: DialectName, class: FaultClass, message: impl Into<String>) -> Ask {
    Ask::Refused {
        dialect,
        fault: Fault::new(class, message),
    }
}

/// In whose words a refusal at `path` is said.
pub(super) fn dialect_of(path: &[u8]) -> DialectName {
    if path.starts_with(b"/v1/messages") {
        DialectName::Messages
    } else if path.starts_with(b"/v1/") {
        DialectName::Chat
    } else {
        DialectName::Native
    }
}

/// `None` for what is not UTF-8 in the end.
fn percent_decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let hex = |i: usize| char::from(*text.get(i)?).to_digit(16);
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_told_apart() {
        let class = |method: &str, path: &str, ws| match read(
            method.as_bytes(),
            path.as_bytes(),
            ws,
            false,
        ) {
            Ask::Refused { fault, .. } => Some(fault.class),
            _ => None,
        };
        assert_eq!(class("POST", "/v1/chat/completions", false), None);
        assert_eq!(class("POST", "/v1/messages/", false), None);
        assert_eq!(
            class("GET", "/v1/messages", false),
            Some(FaultClass::MethodNotAllowed)
        );
        assert_eq!(
            class("GET", "/v1/responses", true),
            Some(FaultClass::UpgradeRequired)
        );
        assert_eq!(
            class("GET", "/api/v1/ws", false),
            Some(FaultClass::UpgradeRequired)
        );
        assert_eq!(class("GET", "/api/v1/ws", true), None);
        assert_eq!(class("GET", "/", false), Some(FaultClass::NotFound));
        assert_eq!(class("HEAD", "/v1/models", false), None);
    }

    #[test]
    fn a_models_name_may_be_escaped() {
        let ask = read(b"GET", b"/v1/models/meta%2Fllama-3", false, true);
        assert_eq!(
            ask,
            Ask::Model {
                dialect: DialectName::Messages,
                name: "meta/llama-3".to_owned()
            }
        );
        assert_eq!(percent_decode(b"%zz%4"), Some("%zz%4".to_owned()));
        assert_eq!(percent_decode(b"%ff"), None);
    }
}
