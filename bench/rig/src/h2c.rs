//! Many exchanges at a time over one HTTP/2 connection without TLS, by prior knowledge.

use crate::ask::Ask;
use crate::tally::{Failure, Seen};
use anyhow::{Context, Result};
use bytes::Bytes;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// A handle on a connection; clones share it.
#[derive(Clone)]
pub struct Client {
    send: h2::client::SendRequest<Bytes>,
    head: Rc<http::Request<()>>,
}

impl Client {
    /// Connects, and drives the connection on this thread's `LocalSet` until all handles are gone.
    pub async fn connect(to: SocketAddr, ask: &Ask) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("connect")?;
        stream.set_nodelay(true)?;
        // Windows that do not make a stream of some KB wait.
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake::<_, Bytes>(stream)
            .await?;
        tokio::task::spawn_local(async move {
            // Its exchanges say what went wrong.
            let _ = connection.await;
        });
        let mut head = http::Request::builder()
            .method("POST")
            .uri(format!("http://{to}{}", ask.path()));
        for (name, value) in ask.headers() {
            head = head.header(name, value);
        }
        Ok(Self {
            send,
            head: Rc::new(head.body(())?),
        })
    }

    pub async fn exchange(&mut self, letter: &[u8], seen: &mut Seen) -> Result<(), Failure> {
        let send = self.send.clone();
        let mut send = send.ready().await.map_err(|_| Failure::Closed)?;
        let (answer, mut body) = send
            .send_request((*self.head).clone(), false)
            .map_err(|_| Failure::Closed)?;
        body.send_data(Bytes::copy_from_slice(letter), true)
            .map_err(|_| Failure::Closed)?;
        let answer = answer.await.map_err(|_| Failure::Closed)?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            let data = data.map_err(|_| Failure::Closed)?;
            // Given back at once: a window is never what a stream waits for.
            let _ = body.flow_control().release_capacity(data.len());
            let before = seen.bytes();
            seen.body(&data);
            seen.read(before);
        }
        match status {
            200 => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }
}
