//! Own servers that are asked how they are, over the wire.

use super::books::rows;
use super::client::Conn;
use super::house::{House, Plan, fake, on_both, on_both_crossed, quick, until};
use super::words::{Ask, Dialect, read};
use std::net::SocketAddr;
use stokehold::fake::{Engine, Manner, Settings};
use stokehold::node::fakes::Fakes;

const HEALTH: &str = "health: {every: 100ms, timeout: 1s, failures: 2}";

impl Plan {
    /// An own server at `at`, asked how it is ten times a second.
    fn server(mut self, name: &str, at: SocketAddr) -> Self {
        let lines = format!("kind: selfhosted, base_url: \"http://{at}/v1\", {HEALTH}");
        self.others.push((name.to_owned(), lines));
        self
    }
}

fn engine(manner: Manner) -> (Fakes, SocketAddr) {
    fake(Settings { manner, ..quick() })
}

fn served(fakes: &Fakes) -> u64 {
    fakes.books()[0].accepted()
}

fn ask(house: &House, model: &str) {
    let answer = house.connect().ask(&Ask::chat(model, "hello"));
    assert_eq!(answer.head.status, 200, "{}", answer.text());
}

/// Waits until six requests in a row are served by whom `count` counts for. None of them fails meanwhile.
#[track_caller]
fn all_go(house: &House, whose: &str, count: impl Fn() -> u64) {
    until(whose, || {
        let before = count();
        (0..6).for_each(|_| ask(house, "m"));
        // The last may not be written into the book yet; then the next six are looked at.
        count() == before + 6
    });
}

fn up(house: &House, count: f64) {
    until("as many servers are up", || {
        house.figure("server_up") == count
    });
}

#[test]
fn traffic_leaves_a_server_that_is_not_well_and_comes_back_when_it_is() {
    on_both(|plan| {
        let (a, at_a) = engine(Manner::Sglang);
        let (b, at_b) = engine(Manner::Vllm);
        let mut house = House::open(&plan.server("a", at_a).server("b", at_b));
        up(&house, 2.0);
        all_go(&house, "the first of two", || served(&a));
        let is = |health, garbage, stall| Engine {
            health,
            garbage,
            stall,
        };
        let well = Engine::default();
        for (what, state, draining) in [
            ("it drains", is(Some(503), false, false), 1.0),
            ("its page fails", is(Some(500), false, false), 0.0),
            ("it hangs", is(None, false, true), 0.0),
        ] {
            a.feel(state);
            up(&house, 1.0);
            assert_eq!(house.figure("server_draining"), draining, "{what}");
            all_go(&house, what, || served(&b));
            a.feel(well.clone());
            up(&house, 2.0);
            all_go(&house, "it is well again", || served(&a));
        }
        a.feel(is(Some(503), false, false));
        b.feel(is(Some(503), false, false));
        up(&house, 0.0);
        all_go(&house, "neither takes anything", || house.book().accepted());
        // Where there is nobody else it is asked all the same.
        let before = served(&a);
        ask(&house, "at-a");
        until("it is served", || served(&a) == before + 1);
        a.feel(is(None, true, false));
        b.feel(well);
        up(&house, 2.0);
        let page = Conn::plain(house.operator).get("/metrics", &[]).text();
        assert!(
            !page.contains("server_running{provider=\"a\"}")
                && page.contains("server_running{provider=\"b\"} 0"),
            "garbage is no figure: {page}"
        );
        all_go(&house, "who tells nothing is counted by us", || served(&a));
        house.is_well();
        house.stop();
        let rows = rows(&house.ledger());
        assert!(rows.iter().all(|row| row.outcome == "done" && row.last));
        let accepted = served(&a) + served(&b);
        assert!(rows.len() as u64 > accepted, "and those of the third");
    });
}

#[test]
fn requests_go_where_the_servers_own_queue_is_the_shorter() {
    on_both_crossed(|plan| {
        let (a, at_a) = engine(Manner::Sglang);
        let (b, at_b) = engine(Manner::Vllm);
        let house = House::open(&plan.server("a", at_a).server("b", at_b));
        up(&house, 2.0);
        // Somebody else's, of which only the server knows.
        let strangers: Vec<Conn> = (0..3)
            .map(|_| {
                let ask = Ask::chat("m", "[[fake: between_tokens=200 output_tokens=1000]]");
                let mut stranger = Conn::plain(at_a);
                stranger.send(&ask.streamed().http1());
                stranger.until_said("data:");
                stranger
            })
            .collect();
        until("they are told of", || house.figure("server_running") == 3.0);
        assert!(house.figure("server_kv_use") > 0.0);
        all_go(&house, "the other", || served(&b));
        drop(strangers);
        until("they are gone", || house.figure("server_running") == 0.0);
        all_go(&house, "the first again", || served(&a));
        house.is_well();
    });
}

#[test]
fn cached_tokens_are_in_the_ledger_where_the_engine_was_told_to_report_them() {
    on_both(|plan| {
        let told = Settings {
            manner: Manner::Vllm,
            cache_report: true,
            ..quick()
        };
        let (a, at_a) = fake(told.clone());
        let (b, at_b) = fake(Settings {
            manner: Manner::Sglang,
            // Of the same seed they would give the same names to their answers.
            seed: 2,
            ..told.clone()
        });
        // Started without the flag: `prompt_tokens_details` is null.
        let (c, at_c) = fake(Settings {
            cache_report: false,
            seed: 3,
            ..told
        });
        let plan = plan.server("a", at_a).server("b", at_b).server("c", at_c);
        let mut house = House::open(&plan);
        let prompt = "word ".repeat(3_000);
        for model in ["at-a", "at-b", "at-c"] {
            for (dialect, streamed) in [
                (Dialect::Chat, false),
                (Dialect::Chat, true),
                (Dialect::Native, true),
            ] {
                let ask = Ask::new(dialect, model, &prompt);
                let ask = if streamed { ask.streamed() } else { ask };
                let answer = house.connect().ask(&ask);
                assert!(read(&ask, &answer).ended, "{}", answer.text());
            }
        }
        until("its hit rate is known", || {
            house.figure("server_hit_rate") > 0.0
        });
        house.stop();
        let rows = rows(&house.ledger());
        assert_eq!(rows.len(), 9);
        for (fakes, reports) in [(&a, true), (&b, true), (&c, false)] {
            let book = fakes.books().remove(0);
            for entry in book.entries() {
                let row = rows.iter().find(|row| *row.upstream_id == entry.id);
                let [uncached, read, ..] = row.expect("written down").tokens;
                let billed = entry.billed;
                let told = match reports {
                    true => (billed.uncached, billed.read),
                    false => (billed.uncached + billed.read, 0),
                };
                assert_eq!((uncached, read), told, "{entry:?}");
            }
            let read = book.entries().filter(|entry| entry.billed.read > 0);
            assert_eq!(read.count(), 2, "all but the first were cached");
        }
    });
}
