//! The task: what it holds when, and what it says.

use super::google::{account, token_server};
use super::*;
use crate::iocore::lane::Sender;

/// A keeper that runs beside a test.
struct Rig {
    clock: Clock,
    table: watch::Receiver<Table>,
    wanted: watch::Sender<Vec<Wanted>>,
    asked: Sender<Refresh>,
    lines: Rc<RefCell<std::sync::mpsc::Receiver<LogLine>>>,
}

/// Runs `test` with a keeper of `sources`.
async fn keeping<F: Future<Output = ()>>(sources: &[KeySource], test: impl FnOnce(Rig) -> F) {
    let clock = Clock::default();
    let (table, news) = watch::channel(Table::default());
    let (wanted, wants) = watch::channel(named(sources));
    let (asked, asks) = Lane::new(8);
    let (say, lines) = std::sync::mpsc::channel();
    let note: Note = Box::new(move |line| {
        let _ = say.send(line);
    });
    let time = clock.clone();
    let keeper = Keeper::new(move || time.now(), table, note, 7);
    let rig = Rig {
        clock,
        table: news,
        wanted,
        asked,
        lines: Rc::new(RefCell::new(lines)),
    };
    tokio::select! {
        () = keeper.keep(wants, asks) => panic!("the keeper ended"),
        () = test(rig) => {}
    }
}

fn named(sources: &[KeySource]) -> Vec<Wanted> {
    let wanted = |source: &KeySource| Wanted {
        source: source.clone(),
        keys: "k".to_owned(),
    };
    sources.iter().map(wanted).collect()
}

impl Rig {
    /// Time goes by, and the keeper looks at its clock.
    fn pass(&self, seconds: u64) {
        self.clock.pass(Duration::from_secs(seconds));
        self.wanted.send_modify(|_| {});
    }

    /// Waits until one source is held as `is` says.
    async fn until(&mut self, is: impl Fn(&Held) -> bool) -> Arc<Held> {
        loop {
            let found = self
                .table
                .borrow_and_update()
                .iter()
                .find(|h| is(h))
                .cloned();
            if let Some(found) = found {
                return found;
            }
            self.table.changed().await.expect("the keeper lives");
        }
    }

    async fn generation(&mut self, n: u64) -> String {
        let held = self
            .until(|h| h.generation == n && h.credential.is_some())
            .await;
        match &held.credential {
            Some(Credential::Bearer(token)) => token.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn said(&self) -> Vec<LogLine> {
        self.lines.borrow().try_iter().collect()
    }
}

fn keyed(url: &str, name: &str) -> KeySource {
    let json = account(name);
    source(
        "vertex",
        &format!("google: {{service_account: 'env:JSON', token_url: '{url}/token'}}"),
        &[("JSON", &json)],
    )
}

#[test]
fn a_token_is_renewed_ahead_of_its_end_and_when_a_provider_refuses_it() {
    beside(token_server(START), |url| async move {
        let source = keyed(&url, "a");
        keeping(std::slice::from_ref(&source), async |mut rig: Rig| {
            assert_eq!(rig.generation(1).await, "ya29.a-1");
            // Of its 3,599 seconds 5 to 6 minutes are left for trouble. The server's clock stands still, so ours is corrected on the way.
            rig.pass(3_200);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(rig.table.borrow()[0].generation, 1);
            rig.pass(100);
            assert_eq!(rig.generation(2).await, "ya29.a-2");
            rig.pass(60);
            let refresh = |generation| Refresh {
                source: Box::new(source.clone()),
                generation,
            };
            // An old refusal is no news; the one of what is held is.
            rig.asked.try_send(refresh(1)).expect("room");
            rig.asked.try_send(refresh(2)).expect("room");
            assert_eq!(rig.generation(3).await, "ya29.a-3");
        })
        .await;
    });
}

#[test]
fn failures_are_waited_out_and_what_is_still_good_is_kept() {
    let up = Rc::new(RefCell::new(true));
    let down = Rc::clone(&up);
    let asked = Rc::new(RefCell::new(0));
    let count = Rc::clone(&asked);
    let handler = move |_: &Got| {
        *count.borrow_mut() += 1;
        if *up.borrow() {
            reply(
                200,
                r#"{"access_token":"very-secret-token","expires_in":3600}"#,
            )
        } else {
            reply(503, "very-secret-page")
        }
    };
    beside(handler, |url| async move {
        keeping(&[keyed(&url, "a")], async |mut rig: Rig| {
            rig.generation(1).await;
            *down.borrow_mut() = false;
            rig.pass(3_400);
            while *asked.borrow() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // It failed once; while the clock stands nothing more is asked, and what is held stays.
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(*asked.borrow(), 2);
            assert!(rig.table.borrow()[0].credential.is_some());
            rig.pass(1);
            while *asked.borrow() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Past its end it is withdrawn.
            rig.pass(300);
            rig.until(|h| h.credential.is_none()).await;
            *down.borrow_mut() = true;
            rig.pass(60);
            assert_eq!(rig.generation(2).await, "very-secret-token");
            let lines = rig.said();
            let failed = |l: &&LogLine| l.message == "a credential could not be obtained";
            assert!(lines.iter().filter(failed).count() >= 2, "{lines:?}");
            let all = format!(
                "{lines:?} {:?} {:?}",
                rig.table.borrow(),
                rig.wanted.borrow()
            );
            for hidden in ["very-secret", "MII", "kid-of"] {
                assert!(!all.contains(hidden), "{all}");
            }
            assert!(all.contains("the token server answered 503"), "{all}");
        })
        .await;
    });
}

#[test]
fn a_source_that_cannot_be_had_is_told_as_such() {
    let handler = |_: &Got| reply(400, r#"{"error":"invalid_client"}"#);
    beside(handler, |url| async move {
        keeping(&[keyed(&url, "a")], async |mut rig: Rig| {
            let held = rig.until(|h| h.credential.is_none()).await;
            assert_eq!(held.generation, 0);
        })
        .await;
    });
}

#[test]
fn a_reload_keeps_what_stays_and_fetches_what_is_new() {
    beside(token_server(START), |url| async move {
        let (old, new) = (keyed(&url, "old"), keyed(&url, "new"));
        keeping(std::slice::from_ref(&old), async |mut rig: Rig| {
            assert_eq!(rig.generation(1).await, "ya29.old-1");
            rig.wanted.send_replace(named(&[new.clone(), old.clone()]));
            let both = |rig: &Rig| rig.table.borrow().len() == 2;
            while !both(&rig) {
                rig.table.changed().await.expect("the keeper lives");
            }
            let texts = format!(
                "{:?}",
                rig.table
                    .borrow()
                    .iter()
                    .map(|h| h.generation)
                    .collect::<Vec<_>>()
            );
            assert_eq!(texts, "[1, 1]");
            let token = |at: usize| match &rig.table.borrow()[at].credential {
                Some(Credential::Bearer(token)) => token.expose().to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!(
                (token(0), token(1)),
                ("ya29.new-2".to_owned(), "ya29.old-1".to_owned())
            );
            rig.wanted.send_replace(named(&[new]));
            while both(&rig) {
                rig.table.changed().await.expect("the keeper lives");
            }
        })
        .await;
    });
}

#[test]
fn keys_with_one_source_share_one_fetch() {
    let text = "providers:\n- {id: a, kind: gemini, pools: [{id: p, keys: [{id: k, google: {metadata: true}}]}]}\n\
                - {id: b, kind: vertex, project: x, pools: [{id: q, keys: [{id: l, google: {metadata: true}}]}]}\n\
                - {id: c, kind: openai, pools: [{id: r, keys: [{id: m, secret: s}]}]}\n";
    let wanted = wanted(&config::parse_for_tests(text));
    let keys: Vec<&str> = wanted.iter().map(|w| w.keys.as_str()).collect();
    assert_eq!(keys, ["k l"]);
}
