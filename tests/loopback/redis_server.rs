//! A real `redis-server` on a free port of this machine, for one test; it ends with the test, by its process id.

use redis::{Client, Connection};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Server {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

/// `None` where the person who runs the tests says so; without `redis-server` a test fails.
pub fn start() -> Option<Server> {
    if std::env::var_os("STOKEHOLD_WITHOUT_REDIS").is_some_and(|said| said == "1") {
        return None;
    }
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let mut server = Server {
        child: None,
        port: free.expect("a free port").port(),
        folder: tempfile::tempdir().expect("a folder"),
    };
    server.run();
    Some(server)
}

impl Server {
    fn run(&mut self) {
        let port = self.port.to_string();
        let args = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let child = Command::new("redis-server")
            .args(args)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn();
        self.child =
            Some(child.expect("redis-server (STOKEHOLD_WITHOUT_REDIS=1 leaves these tests out)"));
        let end = Instant::now() + Duration::from_secs(5);
        while Client::open(self.url())
            .and_then(|c| c.get_connection())
            .is_err()
        {
            assert!(Instant::now() < end, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn connect(&self) -> Connection {
        let client = Client::open(self.url()).expect("an address");
        client.get_connection().expect("it runs")
    }

    /// It has run for long: what is not known there is full.
    pub fn settle(&self, namespace: &str) {
        let mut set = redis::cmd("SET");
        set.arg(format!("{{{namespace}}}:born")).arg(0);
        let () = set.query(&mut self.connect()).expect("set");
    }

    pub fn flush(&self) {
        let () = redis::cmd("FLUSHALL")
            .query(&mut self.connect())
            .expect("flushed");
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Empty, on the same port.
    pub fn start_again(&mut self) {
        self.run();
    }

    /// Holds it (`STOP`) or lets it go on (`CONT`).
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let done = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(done.expect("kill").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
