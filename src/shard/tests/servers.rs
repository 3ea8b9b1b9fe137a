//! Own servers that say how they are.

use super::*;
use crate::canon::FaultClass;

/// Two own servers that cost nothing, and somebody who does.
const SERVERS: &str = "\
    server: {listen: 127.0.0.1:8080, operator: 127.0.0.1:8081, shards: 1}\n\
    limits: {queue_time: 20s, slow_client: 5s, sse_comment: 3s}\n\
    tenants:\n- {id: a, keys: [{id: a1, secret: sk-a}]}\n\
    providers:\n\
    - {id: s0, kind: selfhosted, base_url: 'http://s0.test/v1'}\n\
    - {id: s1, kind: selfhosted, base_url: 'http://s1.test/v1', health: {every: 1s, timeout: 500ms}}\n\
    - {id: paid, kind: openai, base_url: 'http://f.test', pools: [{id: p, keys: [{id: k, secret: sk}]}]}\n\
    models:\n\
    - {id: m0, endpoints: [{provider: s0}, {provider: s1}, {provider: paid, price: {input: 1, output: 5}}]}\n\
    - {id: own, endpoints: [{provider: s0}, {provider: s1}]}\n";

impl Rig {
    fn hear(&mut self, server: usize, state: State, queue: Option<(u64, u64)>) {
        self.hear_late(server, state, queue, Duration::ZERO);
    }

    fn hear_late(&mut self, server: usize, state: State, queue: Option<(u64, u64)>, age: Duration) {
        let name = watched(self.shard.desk.config()).swap_remove(server).name;
        let figures = Figures {
            running: queue.map(|(running, _)| running),
            waiting: queue.map(|(_, waiting)| waiting),
            ..Figures::default()
        };
        let report = Report { state, figures };
        self.on(Input::Server(Arc::new(ServerNews { name, report, age })));
    }

    /// Where a request for `model` goes: the place of the origin.
    fn goes(&mut self, model: &str) -> u16 {
        let body =
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        self.chat(&body);
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        let attempt = calls[0].attempt;
        self.on(Input::Sent { attempt });
        calls[0].origin.0
    }

    /// The same, and it is answered.
    fn went(&mut self, model: &str) -> u16 {
        let body =
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        self.chat(&body);
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        self.answer(calls[0].attempt);
        calls[0].origin.0
    }
}

#[test]
fn a_server_that_is_down_or_drains_is_left_alone_while_another_serves_the_model() {
    for state in [State::Down, State::Draining] {
        let mut rig = Rig::new(SERVERS);
        assert_eq!(rig.went("m0"), 0);
        rig.hear(0, state, None);
        assert_eq!(rig.went("m0"), 1, "{state:?}");
        rig.hear(1, state, None);
        assert_eq!(rig.went("m0"), 2, "{state:?}: the one that costs");
        assert_eq!(rig.went("own"), 0, "{state:?}: there is nobody else");
        rig.hear(1, State::Well, None);
        assert_eq!((rig.went("m0"), rig.went("own")), (1, 1));
        rig.hear(0, State::Well, None);
        assert_eq!(rig.went("m0"), 0);
        rig.rests();
    }
}

#[test]
fn what_is_older_than_three_polls_is_no_news() {
    let mut rig = Rig::new(SERVERS);
    rig.hear(0, State::Down, None);
    rig.secs(14);
    assert_eq!(rig.went("m0"), 1);
    rig.secs(1);
    assert_eq!(rig.went("m0"), 0, "15 s are three polls of the first");
    rig.hear_late(0, State::Down, None, Duration::from_secs(14));
    assert_eq!(rig.went("m0"), 1);
    rig.secs(1);
    assert_eq!(rig.went("m0"), 0, "it was old when it came");
    rig.hear_late(0, State::Down, None, Duration::from_secs(60));
    assert_eq!(rig.went("m0"), 0);
}

#[test]
fn the_shorter_queue_wins_between_servers_of_the_same_price() {
    let mut rig = Rig::new(SERVERS);
    rig.hear(0, State::Well, Some((4, 3)));
    rig.hear(1, State::Well, Some((5, 0)));
    // Five, then six and seven; then the first has as many, and is the first.
    assert_eq!([rig.goes("m0"), rig.goes("m0"), rig.goes("m0")], [1, 1, 0]);
    rig.hear(1, State::Well, Some((9, 0)));
    assert_eq!(
        rig.goes("m0"),
        0,
        "its own word counts, with our calls in it"
    );
    rig.hear(0, State::Well, None);
    // 2 calls of ours at the first, nine at the second.
    assert_eq!(rig.goes("m0"), 0, "who counts nothing is counted by us");
}

#[test]
fn a_stale_queue_is_counted_by_us_again() {
    let mut rig =
        Rig::new(&SERVERS.replace("providers:\n", "routing: {hedge_budget: 0}\nproviders:\n"));
    rig.hear(0, State::Well, Some((50, 0)));
    rig.hear(1, State::Well, Some((2, 0)));
    assert_eq!(rig.goes("m0"), 1);
    rig.secs(4);
    // The second's report is over three seconds old: one call of ours is there. The first's still counts.
    assert_eq!(rig.goes("m0"), 1);
    rig.secs(12);
    assert_eq!(rig.goes("m0"), 0, "none of ours is at the first");
}

#[test]
fn a_reload_keeps_what_is_known_of_the_same_server_and_forgets_one_that_moved() {
    let mut rig = Rig::new(SERVERS);
    rig.hear(0, State::Down, None);
    rig.reload(SERVERS, 1);
    assert_eq!(rig.went("m0"), 1);
    rig.reload(&SERVERS.replace("s0.test", "s9.test"), 2);
    assert_eq!(rig.went("m0"), 0);
    // Late news of the old address are nobody's.
    let name = ServerName {
        provider: "s0".to_owned(),
        base: "http://s0.test".to_owned(),
    };
    let report = Report {
        state: State::Down,
        ..Report::default()
    };
    let age = Duration::ZERO;
    rig.on(Input::Server(Arc::new(ServerNews { name, report, age })));
    assert_eq!(rig.went("m0"), 0);
    rig.rests();
}

#[test]
fn who_fails_at_one_server_is_not_sent_to_one_that_is_down() {
    let mut rig = Rig::new(SERVERS);
    rig.hear(1, State::Down, None);
    let client = rig.chat(r#"{"model":"m0","messages":[{"role":"user","content":"hi"}]}"#);
    let first = rig.call();
    rig.refuse(first, 503, &[], r#"{"object":"error","message":"The request queue is full.","type":"ServiceUnavailable","code":503}"#);
    let calls = rig.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].origin.0, 2);
    rig.answer(calls[0].attempt);
    assert_eq!(rig.told(client).0, 200);
    assert_eq!(rig.rows.len(), 2);
    assert_eq!(rig.rows[0].outcome, Outcome::Failed(FaultClass::Overloaded));
    rig.rests();
}

#[test]
fn a_request_that_waits_for_room_goes_when_a_server_is_well_again() {
    let yaml = SERVERS.replace(
        "base_url: 'http://s1.test/v1',",
        "base_url: 'http://s1.test/v1', pools: [{id: p1, limits: [{concurrent: 1}]}],",
    );
    let mut rig = Rig::new(&yaml);
    rig.hear(0, State::Down, None);
    assert_eq!(rig.goes("own"), 1);
    let waiting = rig.chat(r#"{"model":"own","messages":[{"role":"user","content":"hi"}]}"#);
    assert!(
        rig.calls().is_empty(),
        "the second is full, the first is down"
    );
    rig.hear(0, State::Well, None);
    let calls = rig.calls();
    assert_eq!(calls.iter().map(|c| c.origin.0).collect::<Vec<_>>(), [0]);
    rig.answer(calls[0].attempt);
    assert_eq!(rig.told(waiting).0, 200);
}

#[test]
fn servers_are_asked_with_what_their_calls_are_sent_with() {
    let config = parse_for_tests(
        "providers:\n\
         - {id: plain, kind: selfhosted, base_url: 'http://h:30000/v1'}\n\
         - {id: keyed, kind: selfhosted, base_url: 'https://h/east/v1', headers: {x-team: a}, pools: [{id: p, keys: [{id: k, secret: s1}]}]}\n\
         - {id: placed, kind: selfhosted, base_url: 'http://h', headers: {api-key: '${secret}'}, query: {v: '${secret}', w: b}, pools: [{id: q, keys: [{id: l, secret: s&}]}]}\n\
         - {id: never, kind: selfhosted, base_url: 'http://h', health: {every: 0s}}\n\
         - {id: unused, kind: selfhosted, base_url: 'http://h', pools: [{id: r, keys: [{id: n, secret: ''}]}]}\n",
    );
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let all = watched(&config);
    let seen: Vec<_> = all
        .iter()
        .map(|w| {
            (
                &*w.name.provider,
                &*w.name.base,
                w.headers.clone(),
                &*w.query,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("plain", "http://h:30000", vec![], ""),
            (
                "keyed",
                "https://h/east",
                vec![pair("authorization", "Bearer s1"), pair("x-team", "a")],
                ""
            ),
            (
                "placed",
                "http://h",
                vec![pair("api-key", "s&")],
                "v=s%26&w=b"
            ),
        ]
    );
    assert!(!format!("{all:?}").contains("s1"));
}
