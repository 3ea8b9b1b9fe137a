//! The tables, and how an older file becomes one of this version. Migrations are appended, never edited.

use rusqlite::{Connection, TransactionBehavior};

/// Names of an attempt that sums are kept by, beside the hour.
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

/// One attempt as a row of sums, in the order of `SUMS`.
pub const ATTEMPT_AS_SUMS: &str = "1 attempts, last exchanges, failed, ifnull(input_uncached,0) input_uncached,
 ifnull(cache_read,0) cache_read, ifnull(cache_write_5m,0) cache_write_5m, ifnull(cache_write_30m,0) cache_write_30m,
 ifnull(cache_write_1h,0) cache_write_1h, ifnull(cache_write_12h,0) cache_write_12h, ifnull(output,0) output,
 ifnull(reasoning,0) reasoning, ifnull(input_audio,0) input_audio, ifnull(output_audio,0) output_audio,
 ifnull(input_image,0) input_image, ifnull(output_image,0) output_image, ifnull(web_searches,0) web_searches,
 ifnull(web_fetches,0) web_fetches, ifnull(provider_cost,0) provider_cost, cost, queued_us,
 ifnull(first_byte_us,0) first_byte_us, first_byte_us IS NOT NULL first_byte_count, total_us, ifnull(input_video,0) input_video,
 ifnull(output_video,0) output_video, ifnull(output_images,0) output_images,
 ifnull(output_video_millis,0) output_video_millis, ifnull(cache_expected,0) cache_expected,
 ifnull(input_audio_millis,0) input_audio_millis, ifnull(gated_us,0) gated_us, ifnull(first_token_us,0) first_token_us,
 first_token_us IS NOT NULL first_token_count";

/// The version this program writes: the number of migrations.
pub const VERSION: usize = MIGRATIONS.len();

const MIGRATIONS: [&str; 5] = [
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
