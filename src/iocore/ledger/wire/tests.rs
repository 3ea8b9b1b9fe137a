use super::*;
use crate::base::{KeyId, NanoUsd, Rng, Tokens, WallTime};
use crate::canon::{FaultClass, Usage};
use crate::iocore::ledger::writer::tests::row as plain_row;
use crate::shard::Outcome;
use std::time::Duration;

fn full_row() -> LedgerRow {
    LedgerRow {
        attempt: 3,
        last: false,
        started: WallTime(-5),
        key: Some(KeyId(12)),
        outcome: Outcome::Failed(FaultClass::Overloaded),
        status: None,
        usage: Usage {
            input_uncached: Some(Tokens(u64::MAX)),
            output: Some(Tokens(0)),
            provider_cost: Some(NanoUsd(-7)),
            input_audio_millis: Some(9),
            service_tier: Some("flex".into()),
            output_video_resolution: Some("720p".into()),
            estimated: true,
            ..Usage::default()
        },
        cost: NanoUsd(i64::MAX),
        queued: Duration::from_micros(300),
        gated: Duration::from_micros(200),
        first_byte: None,
        first_token: Some(Duration::ZERO),
        session: Some("séance 1".into()),
        ..*plain_row("x1", 5)
    }
}

fn encoded(row: &LedgerRow) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(row, &mut bytes);
    bytes
}

#[test]
fn what_is_written_is_read_again() {
    for row in [*plain_row("a", 1_790_000_000_000_000_000), full_row()] {
        let bytes = encoded(&row);
        let read = decode(&bytes).expect("ours");
        assert_eq!(read.exchange, &*row.exchange);
        assert_eq!(read.names, names::of(&row));
        assert_eq!(read.upstream_id, &*row.upstream_id);
        assert_eq!(read.decision, row.decision);
        assert_eq!(read.session.as_deref(), row.session.as_deref());
        let usage = &row.usage;
        assert_eq!(read.service_tier.as_deref(), usage.service_tier.as_deref());
        let resolution = usage.output_video_resolution.as_deref();
        assert_eq!(read.video_resolution.as_deref(), resolution);
        assert_eq!(*read.prices, *price::of(&row));
        assert_eq!(read.figures, Figures::of(&row));
    }
}

/// Cut anywhere, any byte changed, or no row at all: an error or another row, never a panic.
#[test]
fn any_bytes_are_a_row_or_an_error() {
    let mut rng = Rng::seeded(11);
    let bytes = encoded(&full_row());
    for end in 0..bytes.len() {
        let _ = decode(&bytes[..end]);
        assert!(end > 0 || decode(&bytes[..end]) == Err(WireError::Cut));
    }
    for _ in 0..50_000 {
        let mut spoiled = bytes.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(spoiled.len() as u64) as usize;
            spoiled[at] = rng.bits() as u8;
        }
        if let Ok(row) = decode(&spoiled) {
            let _ = price::text(&row.prices);
        }
        let mut noise: Vec<u8> = (0..rng.below(80)).map(|_| rng.bits() as u8).collect();
        if let Some(first) = noise.first_mut() {
            *first = VERSION;
        }
        let _ = decode(&noise);
    }
    assert_eq!(decode(&[2]), Err(WireError::Version(2)));
    assert_eq!(decode(&[VERSION]), Err(WireError::Lacks("an exchange")));
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let mut bytes = encoded(&full_row());
    count(&mut bytes, 900, 7);
    text(&mut bytes, 901, "new");
    super::bytes(&mut bytes, 902, &[0xff, 0xfe]);
    assert_eq!(
        decode(&bytes).map(|row| row.figures),
        Ok(Figures::of(&full_row()))
    );
}

/// Written on a shard while it streams: nothing may be allocated once the buffer has grown.
#[test]
fn a_row_fits_where_one_before_did() {
    let (mut bytes, row) = (Vec::new(), full_row());
    encode(&row, &mut bytes);
    let (length, room) = (bytes.len(), bytes.capacity());
    bytes.clear();
    encode(&row, &mut bytes);
    assert_eq!((bytes.len(), bytes.capacity()), (length, room));
    assert!(length < 400, "{length} bytes");
}
