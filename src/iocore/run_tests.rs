use super::*;
use crate::iocore::ledger::writer::tests::{config, row};

#[test]
fn rows_of_all_shards_are_written_once_though_the_file_is_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config();
    config.data_dir = folder.path().to_owned();
    config.ledger.backlog_rows_max = 100;
    config.ledger.commit_rows = 10;
    let setup = Setup {
        config: Arc::new(config),
        shards: 2,
        on_room: Box::new(|_, _| {}),
        on_signal: Box::new(|_| {}),
        tick: None,
        log_to: Box::new(io::sink()),
    };
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
