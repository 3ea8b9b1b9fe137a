//! One request, as bytes, with a number in it: no two prompts are alike, and none is written anew.

use crate::canned::Dialect;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    pub dialect: Dialect,
    pub model: String,
    pub key: String,
    pub stream: bool,
    /// Of the body, in all.
    pub body_bytes: usize,
    /// Before the dialect's own path.
    pub prefix: String,
}

/// A request that is written once and numbered for each use.
#[derive(Clone)]
pub struct Letter {
    bytes: Vec<u8>,
    /// Where the body begins.
    body: usize,
    /// Where the number is.
    number: usize,
}

/// Digits of the number.
const DIGITS: usize = 12;
const FILLING: &str = "the boiler wants coal and the grate wants air; ";

impl Ask {
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}{}", self.prefix, self.dialect.path())
    }

    /// Names and values of its headers, without host and length.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        match self.dialect {
            Dialect::Chat => headers.push(("authorization", format!("Bearer {}", self.key))),
            Dialect::Messages => {
                headers.push(("x-api-key", self.key.clone()));
                headers.push(("anthropic-version", "2023-06-01".to_owned()));
            }
        }
        headers
    }

    fn body(&self, text: &str) -> String {
        let stream = match (self.stream, self.dialect) {
            (false, _) => "",
            (true, Dialect::Messages) => ",\"stream\":true",
            // Asked for, so that a router need not take the usage out again.
            (true, Dialect::Chat) => ",\"stream\":true,\"stream_options\":{\"include_usage\":true}",
        };
        let limit = match self.dialect {
            Dialect::Chat => "max_completion_tokens",
            Dialect::Messages => "max_tokens",
        };
        format!(
            "{{\"model\":\"{}\",\"{limit}\":256,\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]{stream}}}",
            self.model
        )
    }

    /// The body alone, as HTTP/2 sends it. Errors: it cannot be as short as asked.
    pub fn letter(&self) -> Result<Letter> {
        let zeros = "0".repeat(DIGITS);
        let least = self.body(&zeros).len();
        ensure!(
            self.body_bytes >= least,
            "a request has at least {least} bytes"
        );
        let filling = FILLING.chars().cycle().take(self.body_bytes - least);
        let text: String = zeros.chars().chain(filling).collect();
        let bytes = self.body(&text).into_bytes();
        let number = memchr::memmem::find(&bytes, zeros.as_bytes()).unwrap_or(0);
        Ok(Letter {
            bytes,
            body: 0,
            number,
        })
    }

    /// Head and body, as HTTP/1.1 sends them to `host`.
    pub fn letter_h1(&self, host: SocketAddr) -> Result<Letter> {
        let letter = self.letter()?;
        let headers: String = self
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {}\r\n\r\n",
            self.path(),
            letter.bytes.len()
        );
        Ok(Letter {
            body: head.len(),
            number: head.len() + letter.number,
            bytes: [head.as_bytes(), &letter.bytes].concat(),
        })
    }
}

impl Letter {
    /// The bytes, with `number` in them.
    pub fn numbered(&mut self, mut number: u64) -> &[u8] {
        for at in (self.number..self.number + DIGITS).rev() {
            self.bytes[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        &self.bytes
    }

    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.bytes.len() - self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_the_size_asked_with_their_number() {
        for dialect in [Dialect::Chat, Dialect::Messages] {
            for stream in [false, true] {
                let ask = Ask {
                    dialect,
                    model: "bench-model".to_owned(),
                    key: "sk".to_owned(),
                    stream,
                    body_bytes: 1_024,
                    prefix: String::new(),
                };
                let mut letter = ask.letter_h1("127.0.0.1:1".parse().unwrap()).unwrap();
                assert_eq!(letter.body_bytes(), 1_024);
                let from = letter.body;
                let body = letter.numbered(42)[from..].to_vec();
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let text = json["messages"][0]["content"].as_str().unwrap();
                assert!(text.starts_with("000000000042"));
            }
        }
    }
}
