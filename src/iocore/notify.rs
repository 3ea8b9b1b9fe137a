//! Tells systemd how the service fares (`sd_notify(3)`, read 2026-11): one datagram to the socket named by `NOTIFY_SOCKET`.
//!
//! Without that variable nothing is sent and nothing is wrong. Ours, since the protocol is one `sendto`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service takes requests. Returns whether anybody was told.
pub fn ready() -> io::Result<bool> {
    tell("READY=1\nSTATUS=serving\n")
}

/// The service takes no more requests and ends once its running exchanges have.
pub fn stopping() -> io::Result<bool> {
    tell("STOPPING=1\nSTATUS=draining\n")
}

/// A line for `systemctl status`; a line break in it would begin another assignment, so it becomes a space.
pub fn status(text: &str) -> io::Result<bool> {
    tell(&format!("STATUS={}\n", text.replace(['\n', '\r'], " ")))
}

fn tell(state: &str) -> io::Result<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) => send(&socket, state).map(|()| true),
        None => Ok(false),
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    // A leading `@` stands for the zero byte of Linux's abstract namespace.
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_us_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("bound");
        heard(&by_path, path.as_os_str());

        let name = format!("stokehold-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let by_name = UnixDatagram::bind_addr(&address).expect("bound");
        heard(&by_name, OsStr::new(&format!("@{name}")));
    }

    fn heard(socket: &UnixDatagram, name: &OsStr) {
        send(name, "READY=1\n").expect("sent");
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"READY=1\n");
    }

    #[test]
    fn a_socket_that_is_gone_is_an_error_not_a_panic() {
        assert!(send(OsStr::new("/nowhere/notify"), "READY=1\n").is_err());
        assert!(send(OsStr::new(""), "READY=1\n").is_err());
    }
}
