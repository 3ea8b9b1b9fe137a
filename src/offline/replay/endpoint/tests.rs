//! The facts that providers document or that were measured, each as a test of the model (ROUTING 4.2).

use super::super::cache::Mark;
use super::super::trace::{BlockId, Prompt, Request, Run, Stop};
use super::*;

fn at(seconds: u64) -> Instant {
    Instant(seconds * 1_000_000_000)
}

/// A prompt of `blocks` blocks of 64 tokens from `first`, whose end is at `position`.
fn prompt(first: u64, blocks: u32, position: u32) -> Request {
    Request {
        gap: Duration::ZERO,
        model: 0,
        stop: Stop::EndTurn,
        prompt: Prompt::of([Run {
            first: BlockId(first),
            blocks,
        }]),
        prompt_tokens: blocks * 64,
        output_tokens: 100,
        head_blocks: 0,
        is_after_tool: false,
        position,
    }
}

fn mark(blocks: u32, position: u32, life: Life) -> Mark {
    Mark {
        blocks,
        position,
        life,
    }
}

/// Sends `request` marked at its end.
fn send(endpoint: &mut Endpoint, now: Instant, request: &Request, life: Life) -> Answer {
    let marks = [mark(request.prompt.blocks(), request.position, life)];
    endpoint.ask(now, &ask(request, &marks, 0))
}

fn ask<'a>(request: &'a Request, marks: &'a [Mark], handle: u64) -> Ask<'a> {
    Ask {
        request,
        block_tokens: 64,
        marks,
        handle,
    }
}

/// Tokens read by a request that must be served.
fn read(endpoint: &mut Endpoint, now: Instant, request: &Request, life: Life) -> u64 {
    match send(endpoint, now, request, life) {
        Answer::Served(served) => served.book.read,
        other => panic!("{other:?}"),
    }
}

fn endpoint(change: impl FnOnce(&mut Setup)) -> Endpoint {
    let mut setup = Setup::default();
    change(&mut setup);
    Endpoint::new(&setup, 1)
}

#[test]
fn an_entry_lives_five_minutes_from_the_start_of_the_request() {
    // Haiku 4.5, live probes of 2026-08-10: a hit at 300 s, a miss at 330 s. The edge itself is ours.
    for (pause, hit) in [(299, true), (301, false), (330, false)] {
        let mut endpoint = endpoint(|_| {});
        let request = prompt(0, 40, 2);
        assert_eq!(read(&mut endpoint, at(0), &request, Life::Short), 0);
        let again = read(&mut endpoint, at(pause), &request, Life::Short);
        assert_eq!(again > 0, hit, "after {pause} s");
    }
}

#[test]
fn a_hit_renews_the_entry_free_of_charge() {
    let mut endpoint = endpoint(|_| {});
    let request = prompt(0, 40, 2);
    send(&mut endpoint, at(0), &request, Life::Short);
    for pause in [250, 500, 750] {
        let Answer::Served(served) = send(&mut endpoint, at(pause), &request, Life::Short) else {
            panic!("not served");
        };
        assert_eq!((served.book.read, served.book.written_short), (2560, 0));
    }
}

#[test]
fn an_entry_can_be_read_from_the_first_byte_of_its_writer() {
    let mut endpoint = endpoint(|_| {});
    // 20,000 tokens: a second, and one to read them.
    let request = prompt(0, 312, 2);
    let Answer::Served(first) = send(&mut endpoint, at(0), &request, Life::Short) else {
        panic!("not served");
    };
    assert!(first.first_byte < at(2) && first.first_byte > at(1));
    assert_eq!(read(&mut endpoint, at(1), &request, Life::Short), 0);
    assert_eq!(
        read(&mut endpoint, at(2), &request, Life::Short),
        312 * 64,
        "the first writer counts"
    );
}

#[test]
fn what_is_shorter_than_the_minimum_is_silently_not_cached() {
    let mut endpoint = endpoint(|setup| setup.cache.minimum_tokens = 1024);
    for (blocks, hit) in [(15, false), (16, true)] {
        let request = prompt(1000 * u64::from(blocks), blocks, 2);
        let Answer::Served(served) = send(&mut endpoint, at(0), &request, Life::Short) else {
            panic!("not served");
        };
        assert_eq!(served.book.written_short > 0, hit);
        assert_eq!(read(&mut endpoint, at(9), &request, Life::Short) > 0, hit);
    }
}

#[test]
fn a_fifth_mark_and_a_short_one_before_a_long_one_are_refused() {
    let mut endpoint = endpoint(|_| {});
    let request = prompt(0, 40, 9);
    let five: Vec<Mark> = (1..=5).map(|n| mark(n * 8, n, Life::Short)).collect();
    assert!(matches!(
        endpoint.ask(at(0), &ask(&request, &five, 0)),
        Answer::Invalid(_)
    ));
    let wrong = [mark(8, 1, Life::Short), mark(40, 9, Life::Long)];
    assert!(matches!(
        endpoint.ask(at(0), &ask(&request, &wrong, 0)),
        Answer::Invalid(_)
    ));
    let right = [mark(8, 1, Life::Long), mark(40, 9, Life::Short)];
    let Answer::Served(served) = endpoint.ask(at(0), &ask(&request, &right, 0)) else {
        panic!("not served");
    };
    assert_eq!(
        (served.book.written_long, served.book.written_short),
        (512, 2048)
    );
}

#[test]
fn a_mark_looks_back_twenty_elements() {
    let setup = |setup: &mut Setup| {
        setup.cache.semantics = Semantics::Entries {
            look_back: Some(20),
        }
    };
    for (position, hit) in [(25, true), (26, false)] {
        let mut endpoint = endpoint(setup);
        send(&mut endpoint, at(0), &prompt(0, 40, 5), Life::Short);
        let longer = prompt(0, 60, position);
        assert_eq!(read(&mut endpoint, at(9), &longer, Life::Short) > 0, hit);
    }
}

#[test]
fn exact_matching_reads_at_marks_only() {
    let mut endpoint = endpoint(|setup| setup.cache.semantics = Semantics::Exact);
    send(&mut endpoint, at(0), &prompt(0, 40, 5), Life::Short);
    let longer = prompt(0, 60, 7);
    assert_eq!(read(&mut endpoint, at(9), &longer, Life::Short), 0);
    let both = [mark(40, 5, Life::Short), mark(60, 7, Life::Short)];
    let Answer::Served(served) = endpoint.ask(at(20), &ask(&prompt(0, 60, 7), &both, 0)) else {
        panic!("not served");
    };
    assert_eq!(served.book.read, 60 * 64);
}

#[test]
fn a_block_cache_reads_whatever_begins_alike() {
    let mut endpoint = endpoint(|setup| setup.cache.semantics = Semantics::Blocks);
    send(&mut endpoint, at(0), &prompt(0, 40, 5), Life::Short);
    let mut branch = prompt(0, 60, 5);
    branch.prompt = branch.prompt.extended(
        25,
        [Run {
            first: BlockId(900),
            blocks: 35,
        }],
    );
    assert_eq!(read(&mut endpoint, at(9), &branch, Life::Short), 25 * 64);
    // The first's blocks beyond the branch were not renewed.
    assert_eq!(
        read(&mut endpoint, at(305), &prompt(0, 40, 5), Life::Short),
        25 * 64
    );
}

#[test]
fn replicas_know_nothing_of_each_other_and_a_busy_handle_spills() {
    let mut endpoint = endpoint(|setup| {
        setup.cache.semantics = Semantics::Affine {
            replicas: 4,
            spill_per_minute: 15,
        };
    });
    let request = prompt(0, 40, 5);
    let marks = [mark(40, 5, Life::Short)];
    let mut read = |now, handle| match endpoint.ask(now, &ask(&request, &marks, handle)) {
        Answer::Served(served) => served.book.read,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(at(0), 1), 0);
    assert!(read(at(5), 1) > 0);
    assert_eq!(read(at(5), 2), 0, "another handle, another replica");
    assert!((0..13).all(|_| read(at(6), 1) > 0));
    assert!(read(at(7), 1) > 0, "spilt onto the replica of handle 2");
    let (mut cold, mut warm) = (0, 0);
    for _ in 0..15 {
        if read(at(8), 1) > 0 {
            warm += 1
        } else {
            cold += 1
        }
    }
    assert!(
        cold > 0 && warm > 0,
        "and then onto one that has nothing yet"
    );
}

#[test]
fn a_long_entry_outlives_a_short_one_below_it_only_if_that_is_believed() {
    for long_protects in [true, false] {
        let mut endpoint = endpoint(|setup| setup.cache.long_protects = long_protects);
        send(&mut endpoint, at(0), &prompt(0, 312, 2), Life::Short);
        let Answer::Served(grown) = send(&mut endpoint, at(60), &prompt(0, 320, 4), Life::Long)
        else {
            panic!("not served");
        };
        assert_eq!(
            (grown.book.read, grown.book.written_long),
            (312 * 64, 8 * 64)
        );
        let later = read(&mut endpoint, at(480), &prompt(0, 320, 4), Life::Long);
        assert_eq!(later > 0, long_protects);
    }
    let mut endpoint = endpoint(|setup| setup.cache.long_protects = false);
    send(&mut endpoint, at(0), &prompt(0, 320, 4), Life::Long);
    assert!(
        read(&mut endpoint, at(3000), &prompt(0, 320, 4), Life::Long) > 0,
        "all of it is long"
    );
}

#[test]
fn lifetimes_can_change_without_a_word() {
    let lives = Lives {
        short: Duration::from_secs(300),
        long: Duration::from_secs(300),
    };
    let mut endpoint = endpoint(|setup| setup.new_lives = Some((at(2000), lives)));
    let request = prompt(0, 40, 2);
    send(&mut endpoint, at(0), &request, Life::Long);
    assert!(read(&mut endpoint, at(1900), &request, Life::Long) > 0);
    assert!(
        read(&mut endpoint, at(2300), &request, Life::Long) > 0,
        "renewed before"
    );
    assert_eq!(read(&mut endpoint, at(2700), &request, Life::Long), 0);
}

#[test]
fn refusals_say_when_to_return_in_whole_seconds_and_outages_say_nothing() {
    let mut endpoint = endpoint(|setup| {
        setup.allowance.input_per_minute = Some(2560.0);
        setup.outages = vec![at(100)..at(200)];
    });
    assert!(matches!(
        send(&mut endpoint, at(0), &prompt(0, 40, 2), Life::Short),
        Answer::Served(_)
    ));
    let refused = send(&mut endpoint, at(1), &prompt(500, 10, 2), Life::Short);
    // 640 tokens less what a second refilled, at 42.7 a second: 14 s.
    assert_eq!(
        refused,
        Answer::Limited {
            retry_after: Duration::from_secs(14)
        }
    );
    // What is read does not count.
    assert!(read(&mut endpoint, at(5), &prompt(0, 40, 2), Life::Short) > 0);
    assert_eq!(
        send(&mut endpoint, at(150), &prompt(0, 40, 2), Life::Short),
        Answer::Down
    );
}

#[test]
fn a_lost_entry_is_a_full_miss_and_is_written_again() {
    let mut endpoint = endpoint(|setup| setup.loss = 1.0);
    let request = prompt(0, 40, 2);
    send(&mut endpoint, at(0), &request, Life::Short);
    let Answer::Served(served) = send(&mut endpoint, at(9), &request, Life::Short) else {
        panic!("not served");
    };
    assert_eq!((served.book.read, served.book.written_short), (0, 2560));
}

#[test]
fn a_ping_reads_and_renews_and_nothing_else() {
    let mut endpoint = endpoint(|_| {});
    let request = prompt(0, 40, 2);
    let marks = [mark(40, 2, Life::Short)];
    send(&mut endpoint, at(0), &request, Life::Short);
    let book = endpoint.ping(at(280), &ask(&request, &marks, 0));
    assert_eq!(
        (book.pings, book.ping_read, book.requests, book.output),
        (1, 2560, 0, 0)
    );
    let book = endpoint.lengthen(at(560), &ask(&request, &marks, 0));
    assert_eq!((book.ping_read, book.ping_written), (2560, 100));
    assert!(
        read(&mut endpoint, at(4000), &request, Life::Short) > 0,
        "an hour from the ping"
    );
}
