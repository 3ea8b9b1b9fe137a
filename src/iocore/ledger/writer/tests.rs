use super::*;
use crate::base::{ClientKeyId, EndpointId, ModelId, NanoUsd, PoolId, TenantId, Tokens, WallTime};
use crate::canon::{DialectName, FaultClass, Usage};
use crate::config::Config;
use crate::iocore::ledger::{Dimension, Query, Reader};
use crate::shard::{Outcome, Under};

const HOUR: i64 = 3_600_000_000_000;

pub fn row(exchange: &str, started: i64) -> Box<LedgerRow> {
    Box::new(LedgerRow {
        under: Under(std::sync::Arc::new(config())),
        exchange: exchange.into(),
        attempt: 1,
        last: true,
        started: WallTime(started),
        tenant: TenantId(0),
        client_key: ClientKeyId(0),
        model: ModelId(0),
        endpoint: EndpointId(0),
        pool: PoolId(0),
        key: None,
        dialect: DialectName::Chat,
        streamed: true,
        outcome: Outcome::Done,
        status: Some(200),
        upstream_id: "'; DROP TABLE attempt; --\u{0}é".into(),
        usage: Usage {
            output: Some(Tokens(7)),
            ..Usage::default()
        },
        cost: NanoUsd(3),
        queued: Duration::ZERO,
        first_byte: Some(Duration::from_millis(2)),
        total: Duration::from_millis(4),
        decision: "warm",
        session: None,
        priced: WallTime(started),
        gated: Duration::ZERO,
        first_token: None,
        cached_expected: Some(Tokens(7)),
    })
}

/// A configuration without any names: every id must come out as its number.
pub fn config() -> Config {
    use crate::config::*;
    let zero = Duration::ZERO;
    Config {
        generation: 0,
        endpoint_names: vec![],
        server: Server {
            listen: vec![],
            operator: ([127, 0, 0, 1], 0).into(),
            operator_key: None,
            shards: 1,
            runtime: RuntimeChoice::Auto,
            pin: false,
            tls: None,
            backlog: 1,
            drain: zero,
        },
        data_dir: "data".into(),
        limits: Limits {
            connections_max: 1,
            exchanges_max: 1,
            h2_streams_max: 1,
            header_bytes_max: 1,
            header_count_max: 1,
            body_bytes_max: crate::base::ByteCount(1),
            bodies_bytes_max: crate::base::ByteCount(1),
            header_time: zero,
            body_time: zero,
            keep_alive: zero,
            sse_comment: zero,
            client_buffer_bytes: 1,
            slow_client: zero,
            event_bytes_max: 1,
            answer_bytes_max: 1,
            upstream_idle_max: 1,
            upstream_idle: zero,
            upstream_h2_streams: 1,
            queue_max: 1,
            issued_max: 1,
            prefixes_max: 1,
            queue_time: zero,
        },
        log: Log {
            level: LogLevel::Info,
            format: LogFormat::Text,
        },
        redis: None,
        ledger: Ledger {
            commit_every: zero,
            commit_rows: 1,
            backlog_rows_max: 1,
            rows_kept_days: 30,
            minutes_kept_days: 2,
            hours_kept_days: 10,
        },
        tenants: vec![Tenant {
            name: "d'émo \"\u{1F525}\n".to_owned(),
            limits: TenantLimits::default(),
            on_disconnect: OnDisconnect::Finish,
            keep_prompts: false,
            cache_marks: crate::canon::controls::CacheMode::Auto,
            keep_warm: crate::config::KeepWarm::default(),
            strategy: None,
        }],
        client_keys: vec![],
        providers: vec![],
        origins: vec![],
        pools: vec![],
        keys: vec![],
        models: vec![],
        endpoints: vec![],
        model_names: std::collections::BTreeMap::new(),
        routing: Routing::default(),
        spool: crate::config::Spool {
            enabled: false,
            bytes_max: crate::base::ByteCount(64 << 20),
            segment_bytes: crate::base::ByteCount(1 << 20),
            sync_every: Duration::from_millis(100),
            disk_free_min: crate::base::ByteCount(0),
            abandoned_max: 10,
        },
        video: Video {
            poll: zero,
            wait: zero,
        },
        fakes: vec![],
    }
}

fn sums(path: &Path, since: i64, until: i64) -> (i64, i64) {
    let query = Query {
        since: WallTime(since),
        until: WallTime(until),
        by: vec![],
        only: Vec::new(),
    };
    let groups = Reader::open(path)
        .expect("readable")
        .report(&query)
        .expect("a report")
        .groups;
    groups
        .first()
        .map_or((0, 0), |g| (g.totals.get("attempts"), g.totals.get("cost")))
}

#[test]
fn a_batch_written_twice_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let rows = [row("a", HOUR), row("b", HOUR)];
    let mut writer = Writer::open(&path, Duration::ZERO).expect("open");
    assert_eq!(
        writer.commit(&rows),
        Ok(Committed {
            written: 2,
            duplicates: 0
        })
    );
    drop(writer);
    let mut writer = Writer::open(&path, Duration::ZERO).expect("open again");
    assert_eq!(
        writer.commit(&rows),
        Ok(Committed {
            written: 0,
            duplicates: 2
        })
    );
    assert_eq!(sums(&path, 0, 2 * HOUR), (2, 6));
}

#[test]
fn reports_are_exact_at_the_edge_of_any_minute_and_keep_odd_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    const MINUTE: i64 = HOUR / 60;
    // Three days, a row every seven minutes.
    let mut rows: Vec<_> = (0..620)
        .map(|n| row(&n.to_string(), n * 7 * MINUTE + 11))
        .collect();
    rows[9].outcome = Outcome::Failed(FaultClass::Overloaded);
    Writer::open(&path, Duration::ZERO)
        .expect("open")
        .commit(&rows)
        .expect("written");
    let mut rng = crate::base::Rng::seeded(5);
    let whole_days = (0..4).map(|day| (day * 1_440, (day + 1) * 1_440));
    let random = (0..300).map(|_| (rng.below(4_500) as i64, rng.below(4_500) as i64));
    for (since, until) in random.chain(whole_days).chain([(7, 7), (0, 9_999)]) {
        let within = |n: &i64| since <= n * 7 && n * 7 < until;
        let want = (0..620).filter(within).count() as i64;
        assert_eq!(
            sums(&path, since * MINUTE, until * MINUTE),
            (want, 3 * want),
            "{since}..{until}"
        );
    }
    let query = Query {
        since: WallTime(0),
        until: WallTime(9 * HOUR),
        by: vec![Dimension::Tenant, Dimension::Outcome],
        only: Vec::new(),
    };
    let groups = Reader::open(&path)
        .expect("readable")
        .report(&query)
        .expect("a report")
        .groups;
    assert_eq!(groups[0].names, ["d'émo \"\u{1F525}\n", "done"]);
    assert_eq!(
        (groups[1].names[1].as_str(), groups[1].totals.get("failed")),
        ("overloaded", 1)
    );
}

#[test]
fn locked_or_full_writes_nothing_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let mut writer = Writer::open(&path, Duration::ZERO).expect("open");
    let other = Connection::open(&path).expect("another process");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert!(writer.commit(&[row("a", 1)]).is_err());
    other.execute_batch("COMMIT").expect("unlocked");

    let many: Vec<_> = (0..5_000).map(|n| row(&n.to_string(), 1)).collect();
    let pages: i64 = writer
        .connection
        .query_row("PRAGMA page_count", [], |r| r.get(0))
        .expect("a count");
    let limit = |w: &Writer, n: i64| {
        w.connection
            .query_row(&format!("PRAGMA max_page_count={n}"), [], |r| {
                r.get::<_, i64>(0)
            })
    };
    limit(&writer, pages + 2).expect("limited");
    assert!(writer.commit(&many).is_err());
    assert_eq!(sums(&path, 0, HOUR), (0, 0));
    limit(&writer, 1_000_000).expect("lifted");
    assert_eq!(writer.commit(&many).map(|c| c.written), Ok(5_000));
    assert_eq!(sums(&path, 0, HOUR), (5_000, 15_000));
}

#[test]
fn what_passes_by_itself_is_told_from_what_lasts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let mut writer = Writer::open(&path, Duration::ZERO).expect("open");
    let other = Connection::open(&path).expect("another process");
    let mut failing = |before: &str, after: &str| {
        other.execute_batch(before).expect("done");
        let failure = writer.commit(&[row("a", 1)]).map_err(Failure::from);
        other.execute_batch(after).expect("undone");
        let failure = failure.expect_err(before);
        (failure.lasting, failure.locked, failure.what)
    };
    let (lasting, locked, what) = failing("BEGIN IMMEDIATE", "COMMIT");
    assert_eq!((lasting, locked), (false, true), "{what}");
    let (lasting, locked, what) = failing(
        "CREATE TRIGGER t BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'a constraint'); END",
        "DROP TRIGGER t",
    );
    assert_eq!((lasting, locked), (true, false), "{what}");
    let (lasting, _, what) = failing(
        "ALTER TABLE attempt RENAME TO gone",
        "ALTER TABLE gone RENAME TO attempt",
    );
    assert!(lasting && what.contains("no such table"), "{what}");
    assert_eq!(writer.commit(&[row("a", 1)]).map(|c| c.written), Ok(1));

    let damaged = folder.path().join("damaged");
    std::fs::write(
        &damaged,
        "this is no database, and longer than a header".repeat(9),
    )
    .expect("written");
    let failure = Writer::open(&damaged, Duration::ZERO).expect_err("damaged");
    assert!(failure.lasting && !failure.locked, "{failure}");
}

#[test]
fn an_older_ledger_is_brought_up_to_date_with_its_sums() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let old = Writer::open_at(&path, Duration::ZERO, 1).expect("version 1");
    let sql = format!("INSERT INTO attempt VALUES ({})", ["?"; 39].join(","));
    let mut insert = old.connection.prepare(&sql).expect("39 columns");
    let words = Words {
        decision: 1,
        ..Words::default()
    };
    // Its columns are the first of today's, and the others are null in this row.
    let mut row_of_then = row("a", 5);
    row_of_then.cached_expected = None;
    let mut numbers = numbers(&Figures::of(&row_of_then), &[1; 9], &words);
    numbers[39..].fill(None);
    let texts = Texts {
        exchange: "a",
        upstream_id: "",
        session: None,
    };
    let bound = Bound::nothing().bind(&mut insert, &texts, numbers);
    bound.expect("bound");
    insert.raw_execute().expect("a row");
    drop(insert);
    drop(old);
    assert!(matches!(
        Reader::open(&path),
        Err(crate::iocore::ledger::ReadError::Version(1))
    ));
    let mut writer = Writer::open(&path, Duration::ZERO).expect("migrated");
    assert_eq!(sums(&path, 0, HOUR), (1, 3));
    // And what the older one had no place for is summed with it.
    let mut film = row("film", 6);
    film.usage.output_video_millis = Some(8_000);
    film.usage.output_video_resolution = Some("720p".into());
    film.usage.output_images = Some(2);
    writer.commit(&[film]).expect("written");
    for (since, until) in [(0, HOUR), (1, HOUR - 1)] {
        let query = Query {
            since: WallTime(since),
            until: WallTime(until),
            by: vec![],
            only: Vec::new(),
        };
        let report = Reader::open(&path).expect("there").report(&query);
        let totals = &report.expect("readable").groups[0].totals;
        let of = |name| totals.get(name);
        assert_eq!((of("attempts"), of("output_images")), (2, 2));
        assert_eq!(of("output_video_millis"), 8_000);
    }
    let word: String = writer
        .connection
        .query_row(
            "SELECT text FROM attempt JOIN name ON id = output_video_resolution",
            [],
            |r| r.get(0),
        )
        .expect("one row has it");
    assert_eq!(word, "720p");
}

/// A crash between the ledger's commit and the spool's note of it: what is replayed counts once, whichever way a row came first.
#[test]
fn a_row_that_is_recovered_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let rows: Vec<_> = (0..6).map(|n| row(&n.to_string(), HOUR)).collect();
    let bytes: Vec<Vec<u8>> = rows
        .iter()
        .map(|row| {
            let mut bytes = Vec::new();
            wire::encode(row, &mut bytes);
            bytes
        })
        .collect();
    let recovered: Vec<_> = bytes
        .iter()
        .map(|b| wire::decode(b).expect("ours"))
        .collect();
    let mut writer = Writer::open(&path, Duration::ZERO).expect("open");
    let told = |written, duplicates| {
        Ok(Committed {
            written,
            duplicates,
        })
    };
    assert_eq!(writer.commit(&rows[..3]), told(3, 0));
    assert_eq!(writer.insert_wire(&recovered[2..5]), told(2, 1));
    assert_eq!(writer.insert_wire(&recovered), told(1, 5));
    assert_eq!(writer.commit(&rows), told(0, 6));
    assert_eq!(sums(&path, 0, 2 * HOUR), (6, 18));
    // And they are the same in every column.
    let distinct: i64 = writer
        .connection
        .query_row(
            "SELECT count(*) FROM (SELECT DISTINCT attempt, last, started, tenant, client_key, model, provider, endpoint, pool,
             provider_key, dialect, outcome, failed, streamed, status, upstream_id, decision, output, cost, first_byte_us, total_us,
             cache_expected, session, prices, gated_us FROM attempt)",
            [],
            |r| r.get(0),
        )
        .expect("counted");
    assert_eq!(distinct, 1);
}
