//! Providers that fail, over the wire.

use super::house::{House, Plan, fake, nobody, on_both, on_both_crossed, quick, until};
use super::leaving::Wire;
use super::words::{Ask, DIALECTS, Said, read};
use std::time::{Duration, Instant};

/// Asks with these directives, in every dialect.
fn each(house: &House, model: &str, text: &str, check: impl Fn(&Ask, u16, Said)) {
    for dialect in DIALECTS {
        for ask in [
            Ask::new(dialect, model, text),
            Ask::new(dialect, model, text).streamed(),
        ] {
            let answer = house.connect().ask(&ask);
            let said = read(&ask, &answer);
            check(&ask, answer.head.status, said);
        }
    }
}

#[test]
fn a_stream_that_stalls_is_cut_or_goes_wrong_ends_with_the_error_of_its_dialect_never_in_silence() {
    on_both(|plan| {
        let more = "timeouts: {stall: 400ms}\n".to_owned();
        let house = House::open(&Plan { more, ..plan });
        for fault in [
            "stall_after=5",
            "cut_after=1200",
            "error_event_after=5",
            "no_terminal",
        ] {
            for dialect in DIALECTS {
                let text = format!("[[fake: {fault} between_tokens=3 output_tokens=40]]");
                let ask = Ask::new(dialect, "own", &text).streamed();
                let begun = Instant::now();
                let answer = house.connect().ask(&ask);
                let said = read(&ask, &answer);
                assert_eq!(
                    answer.head.status,
                    200,
                    "{fault} {dialect:?}: {}",
                    answer.text()
                );
                assert!(
                    !said.text.is_empty(),
                    "{fault} {dialect:?}: {}",
                    answer.text()
                );
                assert!(
                    said.error.is_some() && !said.ended,
                    "{fault} {dialect:?}: {}",
                    answer.text()
                );
                assert!(
                    begun.elapsed() < Duration::from_secs(4),
                    "{fault} {dialect:?}"
                );
            }
        }
        house.is_well();
    });
}

#[test]
fn a_provider_that_never_begins_is_a_timeout_in_the_dialect() {
    on_both(|plan| {
        let more =
            "timeouts: {first_byte: 300ms, total: 700ms}\nrouting: {attempts_max: 1}\n".to_owned();
        let house = House::open(&Plan { more, ..plan });
        each(
            &house,
            "own",
            "[[fake: first_token=60000]]",
            |ask, status, said| {
                assert_eq!(status, 504, "{ask:?}");
                assert!(said.error.is_some(), "{ask:?}");
            },
        );
        house.is_well();
    });
}

#[test]
fn torn_and_unknown_pieces_change_nothing() {
    on_both(|plan| {
        let house = House::open(&plan);
        let text = "[[fake: torn=2 unknown_event output_tokens=9]]";
        each(&house, "own", text, |ask, status, said| {
            assert_eq!((status, said.output_tokens), (200, 9), "{ask:?}");
            assert!(said.ended && said.error.is_none(), "{ask:?} {said:?}");
        });
    });
}

#[test]
fn html_and_nothing_at_all_are_broken_answers_in_the_dialect() {
    on_both(|plan| {
        let more = "routing: {attempts_max: 1, breaker_failures: 1_000}\n".to_owned();
        let house = House::open(&Plan { more, ..plan });
        for fault in ["html_502", "empty_body"] {
            each(
                &house,
                "own",
                &format!("[[fake: {fault}]]"),
                |ask, status, said| {
                    let told = said.error.clone();
                    let told = told.unwrap_or_else(|| panic!("{ask:?}: {said:?}"));
                    assert!(
                        !told.contains('<'),
                        "a proxy's page is not passed on: {told}"
                    );
                    assert!(
                        status == 502 || (status == 200 && ask.stream),
                        "{status} {ask:?}"
                    );
                },
            );
        }
        house.is_well();
    });
}

#[test]
fn right_bytes_under_a_wrong_content_type_are_read() {
    on_both(|plan| {
        let house = House::open(&plan);
        each(
            &house,
            "own",
            "[[fake: wrong_content_type]]",
            |ask, status, said| {
                assert_eq!(status, 200, "{ask:?} {said:?}");
                assert!(said.ended && said.error.is_none(), "{ask:?} {said:?}");
            },
        );
    });
}

#[test]
fn a_limited_provider_is_passed_over_for_another() {
    on_both(|plan| {
        let mut settings = quick();
        settings.limits.rpm = Some(1);
        let (fakes, at) = fake(settings);
        let plan = plan.other("near", at, "");
        let house = House::open(&plan);
        each(&house, "m", "hello", |ask, status, said| {
            assert_eq!(status, 200, "{ask:?} {said:?}");
            assert!(said.ended, "{ask:?} {said:?}");
        });
        until("the first one refused some", || {
            fakes.books()[0].refused().get(&429).is_some()
        });
        assert!(house.book().accepted() >= 4, "{:?}", house.book());
    });
}

#[test]
fn a_provider_that_cannot_be_reached_is_passed_over_for_another() {
    on_both(|plan| {
        let house = House::open(&plan.other("gone", nobody(), ""));
        for _ in 0..4 {
            each(&house, "m", "hello", |ask, status, said| {
                assert_eq!(status, 200, "{ask:?} {said:?}");
            });
        }
        assert_eq!(house.book().accepted(), 24);
        let alone = house.connect().ask(&Ask::chat("at-gone", "hello"));
        assert_eq!(alone.head.status, 503, "{}", alone.text());
        house.is_well();
    });
}

#[test]
fn a_provider_is_called_over_http2_where_that_is_wanted_and_streams_share_a_connection() {
    on_both_crossed(|plan| {
        let (fakes, at) = fake(quick());
        let wire = Wire::to(at);
        let house = House::open(&plan.other("far", wire.at, ", http2: always"));
        super::client_h2::h2c(house.at, async |mut send| {
            let mut open = Vec::new();
            // Few and short enough for the window of the client's connection, since they are read one after the other.
            for _ in 0..40 {
                send = send.ready().await.expect("ready");
                let ask =
                    Ask::chat("at-far", "[[fake: first_token=300 output_tokens=1]]").streamed();
                open.push(super::client_h2::send(&mut send, &ask));
            }
            for answer in open {
                let mut body = answer.await.expect("an answer").into_body();
                let mut all = Vec::new();
                while let Some(piece) = super::client_h2::piece(&mut body).await {
                    all.extend_from_slice(&piece.expect("a piece"));
                }
                assert!(String::from_utf8_lossy(&all).contains("[DONE]"));
            }
        });
        // One client's connection is one shard's, and that one needs one connection for forty streams.
        assert_eq!(wire.connections(), 1);
        each(&house, "at-far", "hello", |ask, status, said| {
            assert_eq!(status, 200, "{ask:?} {said:?}");
        });
        let first = fakes.books().remove(0);
        assert_eq!(first.accepted(), 46, "{first:?}");
        house.is_well();
    });
}

#[test]
fn a_connection_to_a_provider_is_used_again() {
    on_both_crossed(|plan| {
        let (_fakes, at) = fake(quick());
        let wire = Wire::to(at);
        let house = House::open(&plan.other("far", wire.at, ""));
        let mut client = house.connect();
        for n in 0..20 {
            let ask = Ask::chat("at-far", "hello");
            let ask = if n % 2 == 0 { ask.streamed() } else { ask };
            assert_eq!(client.ask(&ask).head.status, 200);
        }
        assert_eq!(wire.connections(), 1);
    });
}
