use super::*;
use crate::iocore::ledger::writer::tests::{config, row};
use std::path::Path;

fn setup(folder: &Path, log_to: Box<dyn Write + Send>) -> Setup {
    let mut config = config();
    config.data_dir = folder.to_owned();
    config.ledger.backlog_rows_max = 100;
    config.ledger.commit_rows = 10;
    Setup {
        claim: Claim::take(folder).expect("nobody else's"),
        config: Arc::new(config),
        shards: 2,
        on_room: Box::new(|_, _| {}),
        on_signal: Box::new(|_| {}),
        tick: None,
        log_to,
    }
}

/// A log that is read while it is written.
#[derive(Clone, Default)]
struct Page(Arc<crossbeam::queue::SegQueue<String>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_ledger_that_is_damaged_is_told_again_and_again_until_it_is_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = Page::default();
    let setup = setup(folder.path(), Box::new(page.clone()));
    let (core, mut lanes) = IoCore::start(setup).expect("started");
    let other = rusqlite::Connection::open(ledger::path(folder.path())).expect("another process");
    other.busy_timeout(Duration::from_secs(5)).expect("patient");
    other
        .execute_batch("ALTER TABLE attempt RENAME TO gone")
        .expect("damaged");
    let mut log = String::new();
    let mut told = |times: usize, what: &str| {
        while log.matches(what).count() < times {
            log.extend(page.0.pop());
            std::thread::yield_now();
        }
        log.clone()
    };
    assert_eq!(core.counters().trouble(), None);
    lanes[0].post(Mail::Ledger(row("a", 1)));
    // The second of them comes a second after the first.
    let log_so_far = told(
        2,
        "ERROR the ledger cannot be written; rows wait target=stokehold::iocore::books",
    );
    assert!(
        log_so_far.contains("no such table: attempt") && log_so_far.contains("lasting=true"),
        "{log_so_far}"
    );
    let tries = core.meters().commits_failed;
    assert!((4..200).contains(&tries), "{tries} tries in a second");
    let trouble = core.counters().trouble().expect("not ready");
    assert!(trouble.contains("no such table: attempt"), "{trouble}");
    other
        .execute_batch("ALTER TABLE gone RENAME TO attempt")
        .expect("mended");
    told(1, "INFO  the ledger is written again");
    assert_eq!(core.counters().trouble(), None);
    assert_eq!((core.meters().rows_written, core.stop()), (1, 0));
}

#[test]
fn a_ledger_that_stays_locked_keeps_a_node_from_starting_and_it_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = ledger::path(folder.path());
    drop(Writer::open(&path, Duration::ZERO).expect("made"));
    let other = rusqlite::Connection::open(&path).expect("another process");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let told = IoCore::start(setup(folder.path(), Box::new(io::sink())))
        .expect_err("locked for longer than anybody waits")
        .to_string();
    assert!(
        told.contains("another program holds a lock") && told.contains("ledger.sqlite"),
        "{told}"
    );
    // A lock that is let go of in time is waited for.
    let unlocking = std::thread::Builder::new().spawn(move || {
        std::thread::park_timeout(Duration::from_millis(300));
        other.execute_batch("COMMIT").expect("unlocked");
    });
    let started = IoCore::start(setup(folder.path(), Box::new(io::sink())));
    let (core, _lanes) = started.expect("it was waited for");
    assert_eq!(core.stop(), 0);
    unlocking.expect("a thread").join().expect("ran");
}

#[test]
fn rows_of_all_shards_are_written_once_though_the_file_is_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(folder.path(), Box::new(io::sink()));
    let (core, mut lanes) = IoCore::start(setup).expect("started");
    let other = rusqlite::Connection::open(ledger::path(folder.path())).expect("another process");
    other.busy_timeout(Duration::from_secs(5)).expect("patient");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for n in 0..100 {
        for lane in &mut lanes {
            lane.post(Mail::Ledger(row(&format!("{}-{n}", lane.shard), 1)));
        }
    }
    assert_eq!((lanes[0].room(), lanes[1].room()), (0, 0));
    while core.meters().commits_failed == 0 {
        std::thread::yield_now();
    }
    other.execute_batch("COMMIT").expect("unlocked");
    while core.meters().rows_waiting > 0 {
        std::thread::yield_now();
    }
    assert_eq!(
        (core.meters().rows_written, core.meters().rows_duplicate),
        (200, 0)
    );
    assert_eq!(lanes[0].room(), 100);
    lanes[0].post(Mail::Ledger(row("last", 1)));
    assert_eq!(core.stop(), 0);
    let count: i64 = other
        .query_row("SELECT count(*) FROM attempt", [], |r| r.get(0))
        .expect("a count");
    assert_eq!(count, 201);
}
