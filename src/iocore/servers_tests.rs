//! Against servers of our own on loopback.

use super::*;
use crate::config::{Health, parse_for_tests};
use crate::shard::ServerName;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// How a server answers, by path; `None` never.
type Pages = Rc<RefCell<Box<dyn Fn(&str) -> Option<(u16, &'static str)>>>>;

struct Rig {
    pages: Pages,
    url: String,
    table: watch::Receiver<Table>,
    wanted: watch::Sender<Vec<Watched>>,
    lines: std::sync::mpsc::Receiver<LogLine>,
    /// Heads of the requests that came.
    asked: Rc<RefCell<Vec<String>>>,
    open: Rc<Cell<usize>>,
}

const LOADS: &str = r#"{"loads":[{"num_running_reqs":4,"num_waiting_reqs":2}]}"#;

fn well(path: &str) -> Option<(u16, &'static str)> {
    Some(match path {
        "/ready" => (200, ""),
        "/v1/loads?include=core" => (200, LOADS),
        _ => (404, ""),
    })
}

fn server(provider: &str, base: &str) -> Watched {
    Watched {
        name: ServerName {
            provider: provider.to_owned(),
            base: base.to_owned(),
        },
        health: Health {
            every: Duration::from_millis(20),
            timeout: Duration::from_millis(400),
            failures: 2,
            path: None,
        },
        headers: vec![("authorization".to_owned(), "Bearer s".to_owned())],
        query: String::new(),
        ca: None,
    }
}

/// Runs `test` beside a server and a watcher that asks it.
fn watching<F: Future<Output = ()>>(test: impl FnOnce(Rig) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let pages: Pages = Rc::new(RefCell::new(Box::new(well)));
        let (asked, open) = (Rc::default(), Rc::new(Cell::new(0)));
        let serving = serve(
            listener,
            Rc::clone(&pages),
            Rc::clone(&asked),
            Rc::clone(&open),
        );
        let (wanted, wants) = watch::channel(vec![server("s", &url)]);
        let (table, news) = watch::channel(Table::default());
        let (say, lines) = std::sync::mpsc::channel();
        let note: Note = Box::new(move |line| {
            let _ = say.send(line);
        });
        let watcher = Watcher::new(run::now, table, note, 7);
        let rig = Rig {
            pages,
            url,
            table: news,
            wanted,
            lines,
            asked,
            open,
        };
        tokio::select! {
            () = serving => panic!("the server ended"),
            () = watcher.watch(wants) => panic!("the watcher ended"),
            done = tokio::time::timeout(Duration::from_secs(30), test(rig)) => done.expect("in time"),
        }
    });
}

async fn serve(
    listener: TcpListener,
    pages: Pages,
    asked: Rc<RefCell<Vec<String>>>,
    open: Rc<Cell<usize>>,
) {
    loop {
        let (mut tcp, _) = listener.accept().await.expect("accepted");
        let (pages, asked, open) = (Rc::clone(&pages), Rc::clone(&asked), Rc::clone(&open));
        tokio::task::spawn_local(async move {
            let mut head = vec![0; 4_096];
            let length = tcp.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            asked.borrow_mut().push(head);
            open.set(open.get() + 1);
            let answer = pages.borrow()(&path);
            match answer {
                Some((status, body)) => {
                    let said = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = tcp.write_all(said.as_bytes()).await;
                }
                // Until the asker hangs up.
                None => drop(tcp.read(&mut [0]).await),
            }
            open.set(open.get() - 1);
        });
    }
}

impl Rig {
    fn answers(&self, pages: impl Fn(&str) -> Option<(u16, &'static str)> + 'static) {
        *self.pages.borrow_mut() = Box::new(pages);
    }

    /// Waits until a report is as `is` says.
    async fn until(&mut self, is: impl Fn(&Report) -> bool) -> Arc<Told> {
        loop {
            let found = self.table.borrow_and_update().first().cloned();
            if let Some(told) = found.filter(|told| is(&told.report)) {
                return told;
            }
            self.table.changed().await.expect("it watches");
        }
    }

    async fn state(&mut self, state: State) -> Arc<Told> {
        self.until(|report| report.state == state).await
    }

    fn said(&self) -> Vec<(LogLevel, &'static str, String)> {
        let field = |line: &LogLine, name: &str| {
            let found = line.fields.iter().find(|(n, _)| *n == name);
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        let lines = self.lines.try_iter();
        lines
            .map(|line| (line.level, line.message, field(&line, "error")))
            .collect()
    }
}

#[test]
fn a_server_is_asked_again_and_again_and_its_state_is_told_when_it_changes() {
    watching(async |mut rig: Rig| {
        let told = rig.state(State::Well).await;
        assert_eq!(told.report.figures.queue(), Some(6));
        assert_eq!(told.news().name, told.server.name);
        assert!(told.news().age < Duration::from_secs(5));
        let shown = "\r\nauthorization: Bearer s\r\n";
        assert!(rig.asked.borrow().iter().all(|head| head.contains(shown)));
        rig.answers(|path| {
            (path != "/ready")
                .then_some((200, LOADS))
                .or(Some((503, "")))
        });
        rig.state(State::Draining).await;
        rig.answers(|_| Some((500, "")));
        rig.state(State::Down).await;
        rig.answers(well);
        rig.state(State::Well).await;
        let none = String::new;
        assert_eq!(
            rig.said(),
            [
                (LogLevel::Info, "an own server is well", none()),
                (
                    LogLevel::Warn,
                    "an own server takes nothing new",
                    "/ready: status 503".to_owned()
                ),
                (
                    LogLevel::Warn,
                    "an own server is down",
                    "/ready: status 500".to_owned()
                ),
                (LogLevel::Info, "an own server is well", none()),
            ]
        );
    });
}

#[test]
fn a_server_that_hangs_is_down_in_time_with_one_call_open_and_holds_up_no_other() {
    watching(async |mut rig: Rig| {
        rig.state(State::Well).await;
        let (url, hung) = (rig.url.clone(), Rc::new(Cell::new(0)));
        let open = Rc::clone(&rig.open);
        let most = Rc::clone(&hung);
        rig.answers(move |path| {
            most.set(most.get().max(open.get()));
            // The other is called under a path of its own.
            path.starts_with("/other/").then_some((200, ""))
        });
        let other = server("other", &format!("{url}/other"));
        rig.wanted.send_replace(vec![server("s", &url), other]);
        rig.state(State::Down).await;
        let table = rig.table.borrow().clone();
        let of_other = table.iter().filter(|t| t.server.name.provider == "other");
        let states: Vec<State> = of_other.map(|t| t.report.state).collect();
        assert_eq!(states, [State::Well]);
        assert!(hung.get() <= 2, "one each: {}", hung.get());
        let asked = rig.asked.borrow();
        let others = asked.iter().filter(|h| h.starts_with("GET /other/"));
        assert!(others.count() > 6, "it went on meanwhile");
    });
}

#[test]
fn a_server_that_is_not_there_is_down_and_the_line_says_where() {
    watching(async |mut rig: Rig| {
        // Port 1 of loopback: nobody listens there.
        rig.wanted
            .send_replace(vec![server("gone", "http://127.0.0.1:1")]);
        rig.state(State::Down).await;
        let said = rig.said();
        let last = said.last().expect("a line");
        assert_eq!(last.1, "an own server is down");
        assert!(last.2.starts_with("127.0.0.1:1: "), "{}", last.2);
    });
}

#[test]
fn a_reload_keeps_what_is_known_and_forgets_who_is_gone() {
    watching(async |mut rig: Rig| {
        let told = rig.state(State::Well).await;
        rig.answers(|_| None);
        let url = rig.url.clone();
        rig.wanted
            .send_replace(vec![server("new", &url), server("s", &url)]);
        rig.table.changed().await.expect("it watches");
        let kept = rig.table.borrow()[0].server.name.clone();
        assert_eq!(kept, told.server.name, "nothing is known of the new one");
        rig.wanted.send_replace(Vec::new());
        rig.table.changed().await.expect("it watches");
        while !rig.table.borrow().is_empty() {
            rig.table.changed().await.expect("it watches");
        }
    });
}

#[test]
fn the_servers_of_a_configuration_are_asked_at_their_addresses() {
    let config = parse_for_tests(
        "providers:\n- {id: s, kind: selfhosted, base_url: 'http://h:1/v1', query: {k: v}}\n",
    );
    let watched = wanted(&config);
    assert_eq!(url(&watched[0], "/ready"), "http://h:1/ready?k=v");
    assert_eq!(
        url(&watched[0], "/v1/loads?include=core"),
        "http://h:1/v1/loads?include=core&k=v"
    );
}
