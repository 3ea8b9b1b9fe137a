//! A question to the running router's port for operators, for commands that ask it something.

use crate::config::Config;
use anyhow::{Context as _, anyhow};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Far beyond what any answer takes.
const ANSWER_BYTES_MAX: u64 = 1 << 24;

/// Asks at `address`, else where the configuration says, and shows its operator's key. The status and the body.
pub fn ask(
    config: &Config,
    address: Option<SocketAddr>,
    (method, path): (&str, &str),
    body: Option<&str>,
) -> anyhow::Result<(u16, String)> {
    let address = address.unwrap_or(config.server.operator);
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(|| {
            format!("no router answers at {address}; --operator names another address")
        })?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let key = config.server.operator_key.as_ref();
    let shown = key.map_or(String::new(), |key| {
        format!("authorization: Bearer {}\r\n", key.expose())
    });
    let length = body.map_or(String::new(), |body| {
        let length = body.len();
        format!("content-type: application/json\r\ncontent-length: {length}\r\n")
    });
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{shown}{length}connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.unwrap_or_default().as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let strange = || anyhow!("what answers at {address} does not speak HTTP/1.1");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(strange)?, body.trim().to_owned()))
}
