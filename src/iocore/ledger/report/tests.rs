use super::*;
use crate::base::{NanoUsd, Rng, TenantId, WallTime};
use crate::canon::FaultClass;
use crate::iocore::ledger::Writer;
use crate::iocore::ledger::writer::tests::{config, row};
use crate::shard::{Outcome, Under};
use std::collections::BTreeMap;
use std::sync::Arc;

const MINUTE: i64 = 60_000_000_000;
const DAY: i64 = 1_440 * MINUTE;

fn over(days: i64, by: &[Dimension]) -> Query {
    Query {
        since: WallTime(0),
        until: WallTime(days * DAY),
        by: by.to_vec(),
        only: Vec::new(),
    }
}

/// Whatever it is broken down by, whatever its time: a report adds up to the rows, to the nano-dollar.
#[test]
fn totals_equal_the_sum_of_rows_to_the_nano_dollar() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let mut rng = Rng::seeded(3);
    let under = Under(Arc::new(config()));
    let rows: Vec<_> = (0..3_000)
        .map(|n| {
            let mut row = row(&n.to_string(), rng.below(3 * DAY as u64) as i64);
            row.under = under.clone();
            row.cost = NanoUsd(rng.below(1 << 40) as i64);
            row.tenant = TenantId(rng.below(3) as u16);
            if rng.once_in(5) {
                row.outcome = Outcome::Failed(FaultClass::Overloaded);
            }
            row
        })
        .collect();
    let mut writer = Writer::open(&path, std::time::Duration::ZERO).expect("open");
    for batch in rows.chunks(177) {
        writer.commit(batch).expect("written");
        // Rows that repeat change nothing.
        writer.commit(&batch[..9.min(batch.len())]).expect("again");
    }
    let reader = Reader::open(&path).expect("readable");
    for _ in 0..60 {
        let (a, b) = (rng.below(4_500) as i64, rng.below(4_500) as i64);
        let (since, until) = (a.min(b) * MINUTE, a.max(b) * MINUTE);
        let mut by = Vec::new();
        for dimension in Dimension::ALL {
            if rng.once_in(4) {
                by.push(dimension);
            }
        }
        let query = Query {
            since: WallTime(since),
            until: WallTime(until),
            by,
            only: Vec::new(),
        };
        let report = reader.report(&query).expect("a report");
        assert_eq!((report.since.0, report.until.0), (since, until));
        let got: i64 = report.groups.iter().map(|g| g.totals.cost().0).sum();
        let within = |row: &&Box<_>| (since..until).contains(&started(row));
        let want: i64 = rows.iter().filter(within).map(|row| row.cost.0).sum();
        assert_eq!(got, want, "{query:?}");
    }
    let mut by_tenant: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.outcome == Outcome::Done) {
        let name = match row.tenant.0 {
            0 => config().tenants[0].name.clone(),
            other => format!("?{other}"),
        };
        *by_tenant.entry(name).or_default() += row.cost.0;
    }
    let done = Query {
        only: vec![(Dimension::Outcome, vec!["done".to_owned()])],
        ..over(3, &[Dimension::Tenant])
    };
    let told = reader.report(&done).expect("a report").groups;
    let told = told
        .into_iter()
        .map(|g| (g.names[0].clone(), g.totals.cost().0));
    assert_eq!(told.collect::<BTreeMap<_, _>>(), by_tenant);
    let nobody = Query {
        only: vec![(Dimension::Model, vec!["'; DROP TABLE daily".to_owned()])],
        ..over(3, &[])
    };
    assert_eq!(reader.report(&nobody).expect("none").groups, []);
}

fn started(row: &crate::shard::LedgerRow) -> i64 {
    row.started.0
}

/// FIELD-BUGS 61: what a report reads does not grow with the rows.
#[test]
fn field_61_reports_and_start_read_sums_and_no_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let mut writer = Writer::open(&path, std::time::Duration::ZERO).expect("open");
    let mut rows = vec![row("0", DAY + 5)];
    writer.commit(&rows).expect("written");
    // Three hundred thousand more, as copies of the first within one transaction.
    let copy = "INSERT INTO attempt SELECT exchange || '-' || n, attempt, last, started + n * 1000000000, tenant, client_key, model, provider,
        endpoint, pool, provider_key, dialect, outcome, failed, streamed, status, upstream_id, decision, service_tier, estimated,
        input_uncached, cache_read, cache_write_5m, cache_write_30m, cache_write_1h, cache_write_12h, output, reasoning, input_audio,
        output_audio, input_image, output_image, web_searches, web_fetches, provider_cost, cost, queued_us, first_byte_us, total_us,
        input_video, output_video, output_images, output_video_millis, output_video_resolution, cache_expected, input_audio_millis,
        session, prices, gated_us, first_token_us
        FROM attempt, (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 300000) SELECT n FROM s)";
    writer.connection().execute_batch(copy).expect("copied");
    let reader = Reader::open(&path).expect("readable");
    for by in [
        &[][..],
        &[Dimension::Tenant, Dimension::Model, Dimension::Day],
        &[Dimension::Minute],
    ] {
        let query = Query {
            since: WallTime(DAY + 61 * MINUTE),
            ..over(9, by)
        };
        let plan = reader.plan(&query).expect("a plan");
        assert!(
            !plan.iter().any(|line| line.contains("attempt")),
            "{plan:?}"
        );
    }
    // They were never added up: a report that looked at rows would find them.
    let all = reader.report(&over(9, &[])).expect("a report").groups;
    assert_eq!(all[0].totals.get("attempts"), 1);
    drop(writer);
    let mut writer = Writer::open(&path, std::time::Duration::ZERO).expect("open again");
    rows[0].exchange = "late".into();
    writer.commit(&rows).expect("written");
    let all = reader.report(&over(9, &[])).expect("a report").groups;
    assert_eq!(all[0].totals.get("attempts"), 2);
}

#[test]
fn what_is_old_leaves_and_reports_say_how_far_they_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("l");
    let mut writer = Writer::open(&path, std::time::Duration::ZERO).expect("open");
    let rows: Vec<_> = (0..60 * 24)
        .map(|n| row(&n.to_string(), n * 60 * MINUTE + 30 * MINUTE))
        .collect();
    writer.commit(&rows).expect("written");
    let mut slices = 0;
    // Rows are kept for 30 days here, hours for 10, minutes for 2.
    while writer
        .forget(&config().ledger, WallTime(60 * DAY))
        .expect("done")
    {
        slices += 1;
        assert!(slices < 3_000);
    }
    let count = |table: &str| -> i64 {
        let reader = Connection::open(&path).expect("open");
        let sql = format!("SELECT count(*) FROM {table}");
        reader
            .query_row(&sql, [], |row| row.get(0))
            .expect("a count")
    };
    assert_eq!(
        ["attempt", "minutely", "hourly", "daily"].map(count),
        [30 * 24, 48, 240, 60]
    );
    let reader = Reader::open(&path).expect("readable");
    let all = reader.report(&over(60, &[])).expect("a report").groups;
    assert_eq!(all[0].totals.get("attempts"), 60 * 24);
    // An edge within an hour of the fiftieth day, of which no minutes are left: the hour is told whole; of the fifth day, the day.
    for (day, unit) in [(55, 60 * MINUTE), (5, DAY), (59, MINUTE)] {
        let query = Query {
            since: WallTime(day * DAY + 61 * MINUTE),
            ..over(60, &[])
        };
        let report = reader.report(&query).expect("a report");
        let since = query.since.0 / unit * unit;
        assert_eq!(report.since.0, since);
        let want = rows.iter().filter(|row| row.started.0 >= since).count();
        assert_eq!(report.groups[0].totals.get("attempts"), want as i64);
    }
    let minutes = reader
        .report(&over(60, &[Dimension::Minute]))
        .expect("a report");
    assert_eq!((minutes.since.0, minutes.groups.len()), (58 * DAY, 48));
}
