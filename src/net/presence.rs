//! A client that is there, and the connection that its request came by.

use super::clients::Wanted;
use super::conn::Conn;
use super::run::Core;
use super::runtime::Runtime;
use crate::base::ClientId;
use crate::shard::Input;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;

/// Where requests of one connection come from.
pub(super) struct From<R: Runtime> {
    pub(super) core: Core<R>,
    pub(super) conn: Rc<Conn>,
    pub(super) peer: IpAddr,
}

/// A client that is there. To drop it is to tell the shard, unless the shard had said its last word.
pub(super) struct Presence<R: Runtime> {
    pub(super) core: Core<R>,
    pub(super) conn: Rc<Conn>,
    pub(super) id: ClientId,
    /// A WebSocket's session is kept by the shard until it is told of its end.
    pub(super) socket: Cell<bool>,
}

impl<R: Runtime> From<R> {
    /// `None` when the table of clients is full.
    pub(super) fn enter(&self) -> Option<Presence<R>> {
        let id = self.core.clients.enter()?;
        self.conn.began();
        Some(Presence {
            core: self.core.clone(),
            conn: Rc::clone(&self.conn),
            id,
            socket: Cell::new(false),
        })
    }
}

impl<R: Runtime> Presence<R> {
    /// What the shard wants of this client next.
    pub(super) async fn wanted(&self) -> Wanted {
        poll_fn(|cx| self.core.clients.poll_wanted(self.id, cx)).await
    }
}

impl<R: Runtime> Drop for Presence<R> {
    fn drop(&mut self) {
        self.conn.ended();
        let over = self.core.clients.leave(self.id);
        if !over || self.socket.get() {
            self.core.step(Input::ClientGone { client: self.id });
        }
    }
}
