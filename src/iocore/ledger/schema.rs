//! The tables, and how an older file becomes one of this version. Migrations are appended, never edited.

use rusqlite::{Connection, TransactionBehavior};

/// Names of an attempt that sums are kept by, beside the time.
pub const NAMES: [&str; 9] = [
    "tenant",
    "client_key",
    "model",
    "provider",
    "endpoint",
    "pool",
    "provider_key",
    "dialect",
    "outcome",
];

/// What is summed.
pub const SUMS: [&str; 32] = [
    "attempts",
    "exchanges",
    "failed",
    "input_uncached",
    "cache_read",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "output",
    "reasoning",
    "input_audio",
    "output_audio",
    "input_image",
    "output_image",
    "web_searches",
    "web_fetches",
    "provider_cost",
    "cost",
    "queued_us",
    "first_byte_us",
    "first_byte_count",
    "total_us",
    "input_video",
    "output_video",
    "output_images",
    "output_video_millis",
    "cache_expected",
    "input_audio_millis",
    "gated_us",
    "first_token_us",
    "first_token_count",
];

/// Where sums are kept: the table, its column of time, and how many nanoseconds its unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    pub table: &'static str,
    pub unit: &'static str,
    pub nanos: i64,
}

pub const MINUTELY: Rollup = Rollup {
    table: "minutely",
    unit: "minute",
    nanos: 60_000_000_000,
};
pub const HOURLY: Rollup = Rollup {
    table: "hourly",
    unit: "hour",
    nanos: 3_600_000_000_000,
};
pub const DAILY: Rollup = Rollup {
    table: "daily",
    unit: "day",
    nanos: 86_400_000_000_000,
};

/// The version this program writes: the number of migrations.
pub const VERSION: usize = MIGRATIONS.len();

const MIGRATIONS: [&str; 6] = [
    // STRICT: an integer that overflowed into a float is an error, not a wrong sum. Times are nanoseconds since 1970.
    "CREATE TABLE migration (version INTEGER PRIMARY KEY, at INTEGER NOT NULL DEFAULT (unixepoch())) STRICT;
     CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
     CREATE TABLE attempt (
       exchange TEXT NOT NULL, attempt INTEGER NOT NULL, last INTEGER NOT NULL, started INTEGER NOT NULL,
       tenant INTEGER NOT NULL, client_key INTEGER NOT NULL, model INTEGER NOT NULL, provider INTEGER NOT NULL,
       endpoint INTEGER NOT NULL, pool INTEGER NOT NULL, provider_key INTEGER NOT NULL, dialect INTEGER NOT NULL,
       outcome INTEGER NOT NULL, failed INTEGER NOT NULL, streamed INTEGER NOT NULL, status INTEGER,
       upstream_id TEXT NOT NULL, decision INTEGER NOT NULL, service_tier INTEGER, estimated INTEGER NOT NULL,
       input_uncached INTEGER, cache_read INTEGER, cache_write_5m INTEGER, cache_write_30m INTEGER,
       cache_write_1h INTEGER, cache_write_12h INTEGER, output INTEGER, reasoning INTEGER, input_audio INTEGER,
       output_audio INTEGER, input_image INTEGER, output_image INTEGER, web_searches INTEGER, web_fetches INTEGER,
       provider_cost INTEGER, cost INTEGER NOT NULL, queued_us INTEGER NOT NULL, first_byte_us INTEGER,
       total_us INTEGER NOT NULL, UNIQUE (exchange, attempt)) STRICT;
     CREATE INDEX attempt_started ON attempt (started);",
    // Sums by the hour, so that a report over ten million rows reads thousands.
    "CREATE TABLE hourly (
       hour INTEGER NOT NULL, tenant INTEGER NOT NULL, client_key INTEGER NOT NULL, model INTEGER NOT NULL,
       provider INTEGER NOT NULL, endpoint INTEGER NOT NULL, pool INTEGER NOT NULL, provider_key INTEGER NOT NULL,
       dialect INTEGER NOT NULL, outcome INTEGER NOT NULL, attempts INTEGER NOT NULL, exchanges INTEGER NOT NULL,
       failed INTEGER NOT NULL, input_uncached INTEGER NOT NULL, cache_read INTEGER NOT NULL,
       cache_write_5m INTEGER NOT NULL, cache_write_30m INTEGER NOT NULL, cache_write_1h INTEGER NOT NULL,
       cache_write_12h INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
       input_audio INTEGER NOT NULL, output_audio INTEGER NOT NULL, input_image INTEGER NOT NULL,
       output_image INTEGER NOT NULL, web_searches INTEGER NOT NULL, web_fetches INTEGER NOT NULL,
       provider_cost INTEGER NOT NULL, cost INTEGER NOT NULL, queued_us INTEGER NOT NULL,
       first_byte_us INTEGER NOT NULL, first_byte_count INTEGER NOT NULL, total_us INTEGER NOT NULL,
       PRIMARY KEY (hour, tenant, client_key, model, provider, endpoint, pool, provider_key, dialect, outcome)
     ) STRICT, WITHOUT ROWID;
     INSERT INTO hourly SELECT started / 3600000000000, tenant, client_key, model, provider, endpoint, pool,
       provider_key, dialect, outcome, count(*), sum(last), sum(failed), sum(ifnull(input_uncached,0)),
       sum(ifnull(cache_read,0)), sum(ifnull(cache_write_5m,0)), sum(ifnull(cache_write_30m,0)),
       sum(ifnull(cache_write_1h,0)), sum(ifnull(cache_write_12h,0)), sum(ifnull(output,0)),
       sum(ifnull(reasoning,0)), sum(ifnull(input_audio,0)), sum(ifnull(output_audio,0)),
       sum(ifnull(input_image,0)), sum(ifnull(output_image,0)), sum(ifnull(web_searches,0)),
       sum(ifnull(web_fetches,0)), sum(ifnull(provider_cost,0)), sum(cost), sum(queued_us),
       sum(ifnull(first_byte_us,0)), count(first_byte_us), sum(total_us)
       FROM attempt GROUP BY 1,2,3,4,5,6,7,8,9,10;",
    // What costs by the piece or by the second. Of older rows nobody knows it: NULL, and 0 in their sums.
    "ALTER TABLE attempt ADD COLUMN input_video INTEGER;
     ALTER TABLE attempt ADD COLUMN output_video INTEGER;
     ALTER TABLE attempt ADD COLUMN output_images INTEGER;
     ALTER TABLE attempt ADD COLUMN output_video_millis INTEGER;
     ALTER TABLE attempt ADD COLUMN output_video_resolution INTEGER;
     ALTER TABLE hourly ADD COLUMN input_video INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE hourly ADD COLUMN output_video INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE hourly ADD COLUMN output_images INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE hourly ADD COLUMN output_video_millis INTEGER NOT NULL DEFAULT 0;",
    // What was expected to be read from a cache, to be held against `cache_read` (NULL where nothing was known of a cache), and sound that is paid by
    // its length.
    "ALTER TABLE attempt ADD COLUMN cache_expected INTEGER;
     ALTER TABLE hourly ADD COLUMN cache_expected INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE attempt ADD COLUMN input_audio_millis INTEGER;
     ALTER TABLE hourly ADD COLUMN input_audio_millis INTEGER NOT NULL DEFAULT 0;",
    // The client's own name of the conversation (as text: there may be as many as rows), what a unit cost (a text that many rows share), and the
    // rest of the times.
    "ALTER TABLE attempt ADD COLUMN session TEXT;
     ALTER TABLE attempt ADD COLUMN prices INTEGER;
     ALTER TABLE attempt ADD COLUMN gated_us INTEGER;
     ALTER TABLE attempt ADD COLUMN first_token_us INTEGER;
     ALTER TABLE hourly ADD COLUMN gated_us INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE hourly ADD COLUMN first_token_us INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE hourly ADD COLUMN first_token_count INTEGER NOT NULL DEFAULT 0;",
    // Sums by the minute and by the day as well, so that no report reads a row; and from when on each of them is kept.
    "CREATE TABLE minutely (
       minute INTEGER NOT NULL, tenant INTEGER NOT NULL, client_key INTEGER NOT NULL, model INTEGER NOT NULL, provider INTEGER NOT NULL,
       endpoint INTEGER NOT NULL, pool INTEGER NOT NULL, provider_key INTEGER NOT NULL, dialect INTEGER NOT NULL,
       outcome INTEGER NOT NULL, attempts INTEGER NOT NULL, exchanges INTEGER NOT NULL, failed INTEGER NOT NULL,
       input_uncached INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write_5m INTEGER NOT NULL, cache_write_30m INTEGER NOT NULL,
       cache_write_1h INTEGER NOT NULL, cache_write_12h INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
       input_audio INTEGER NOT NULL, output_audio INTEGER NOT NULL, input_image INTEGER NOT NULL, output_image INTEGER NOT NULL,
       web_searches INTEGER NOT NULL, web_fetches INTEGER NOT NULL, provider_cost INTEGER NOT NULL, cost INTEGER NOT NULL,
       queued_us INTEGER NOT NULL, first_byte_us INTEGER NOT NULL, first_byte_count INTEGER NOT NULL, total_us INTEGER NOT NULL,
       input_video INTEGER NOT NULL, output_video INTEGER NOT NULL, output_images INTEGER NOT NULL,
       output_video_millis INTEGER NOT NULL, cache_expected INTEGER NOT NULL, input_audio_millis INTEGER NOT NULL,
       gated_us INTEGER NOT NULL, first_token_us INTEGER NOT NULL, first_token_count INTEGER NOT NULL,
       PRIMARY KEY (minute, tenant, client_key, model, provider, endpoint, pool, provider_key, dialect, outcome)) STRICT, WITHOUT ROWID;
     CREATE TABLE daily (
       day INTEGER NOT NULL, tenant INTEGER NOT NULL, client_key INTEGER NOT NULL, model INTEGER NOT NULL, provider INTEGER NOT NULL,
       endpoint INTEGER NOT NULL, pool INTEGER NOT NULL, provider_key INTEGER NOT NULL, dialect INTEGER NOT NULL,
       outcome INTEGER NOT NULL, attempts INTEGER NOT NULL, exchanges INTEGER NOT NULL, failed INTEGER NOT NULL,
       input_uncached INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write_5m INTEGER NOT NULL, cache_write_30m INTEGER NOT NULL,
       cache_write_1h INTEGER NOT NULL, cache_write_12h INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
       input_audio INTEGER NOT NULL, output_audio INTEGER NOT NULL, input_image INTEGER NOT NULL, output_image INTEGER NOT NULL,
       web_searches INTEGER NOT NULL, web_fetches INTEGER NOT NULL, provider_cost INTEGER NOT NULL, cost INTEGER NOT NULL,
       queued_us INTEGER NOT NULL, first_byte_us INTEGER NOT NULL, first_byte_count INTEGER NOT NULL, total_us INTEGER NOT NULL,
       input_video INTEGER NOT NULL, output_video INTEGER NOT NULL, output_images INTEGER NOT NULL,
       output_video_millis INTEGER NOT NULL, cache_expected INTEGER NOT NULL, input_audio_millis INTEGER NOT NULL,
       gated_us INTEGER NOT NULL, first_token_us INTEGER NOT NULL, first_token_count INTEGER NOT NULL,
       PRIMARY KEY (day, tenant, client_key, model, provider, endpoint, pool, provider_key, dialect, outcome)) STRICT, WITHOUT ROWID;
     INSERT INTO minutely SELECT started / 60000000000, tenant, client_key, model, provider, endpoint, pool, provider_key, dialect, outcome,
       count(*), sum(last), sum(failed), sum(ifnull(input_uncached,0)), sum(ifnull(cache_read,0)), sum(ifnull(cache_write_5m,0)),
       sum(ifnull(cache_write_30m,0)), sum(ifnull(cache_write_1h,0)), sum(ifnull(cache_write_12h,0)), sum(ifnull(output,0)),
       sum(ifnull(reasoning,0)), sum(ifnull(input_audio,0)), sum(ifnull(output_audio,0)), sum(ifnull(input_image,0)),
       sum(ifnull(output_image,0)), sum(ifnull(web_searches,0)), sum(ifnull(web_fetches,0)), sum(ifnull(provider_cost,0)), sum(cost),
       sum(queued_us), sum(ifnull(first_byte_us,0)), count(first_byte_us), sum(total_us), sum(ifnull(input_video,0)),
       sum(ifnull(output_video,0)), sum(ifnull(output_images,0)), sum(ifnull(output_video_millis,0)), sum(ifnull(cache_expected,0)),
       sum(ifnull(input_audio_millis,0)), sum(ifnull(gated_us,0)), sum(ifnull(first_token_us,0)), count(first_token_us)
       FROM attempt GROUP BY 1,2,3,4,5,6,7,8,9,10;
     INSERT INTO daily SELECT hour / 24, tenant, client_key, model, provider, endpoint, pool, provider_key, dialect, outcome,
       sum(attempts), sum(exchanges), sum(failed), sum(input_uncached), sum(cache_read), sum(cache_write_5m), sum(cache_write_30m),
       sum(cache_write_1h), sum(cache_write_12h), sum(output), sum(reasoning), sum(input_audio), sum(output_audio), sum(input_image),
       sum(output_image), sum(web_searches), sum(web_fetches), sum(provider_cost), sum(cost), sum(queued_us), sum(first_byte_us),
       sum(first_byte_count), sum(total_us), sum(input_video), sum(output_video), sum(output_images), sum(output_video_millis),
       sum(cache_expected), sum(input_audio_millis), sum(gated_us), sum(first_token_us), sum(first_token_count)
       FROM hourly GROUP BY 1,2,3,4,5,6,7,8,9,10;
     CREATE TABLE kept (what TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     INSERT INTO kept VALUES ('rows', 0), ('minutes', 0), ('hours', 0);",
];

/// The version of an open file; 0 for an empty one.
pub fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))
}

/// Brings the file up to `to`, all in one transaction.
pub fn migrate(connection: &mut Connection, to: usize) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for number in version(&transaction)? + 1..=to {
        transaction.execute_batch(MIGRATIONS[number - 1])?;
        transaction.execute(
            "INSERT INTO migration (version) VALUES (?1)",
            [number as i64],
        )?;
        transaction.pragma_update(None, "user_version", number as i64)?;
    }
    transaction.commit()
}
