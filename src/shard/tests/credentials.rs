//! Keys whose credentials come by mail and expire.

use super::*;
use crate::base::Secret;
use crate::config::KeySource;

const METADATA: &str =
    "{id: p0, keys: [{id: k0, google: {metadata: true, metadata_url: 'http://m.test'}}]}";

impl Rig {
    fn source(&self) -> KeySource {
        self.shard.desk.config().keys[0].source.clone()
    }

    fn hold(&mut self, generation: u64, token: Option<&str>) {
        let bearer = |t: &str| Credential::Bearer(Secret::new(t.to_owned()));
        let held = Held {
            source: self.source(),
            generation,
            credential: token.map(bearer),
        };
        self.on(Input::Credential(Arc::new(held)));
    }

    /// How often a new credential was asked for since the last look.
    fn asked_for(&self) -> usize {
        let asked = |o: &&Output| matches!(o, Output::Post(Mail::Refresh { .. }));
        self.out.iter().filter(asked).count()
    }

    fn sent_with(&mut self) -> (AttemptId, String) {
        let calls: Vec<(AttemptId, String)> = self
            .out
            .iter()
            .filter_map(|output| match output {
                Output::Call(call) => Some((call.attempt, call.headers.clone())),
                _ => None,
            })
            .map(|(attempt, headers)| {
                let own = headers.iter().find(|(n, _)| n == "authorization");
                (attempt, own.map(|(_, v)| v.to_string()).unwrap_or_default())
            })
            .collect();
        calls.last().cloned().expect("a call")
    }
}

const REFUSED: &str =
    r#"{"error":{"message":"expired","type":"invalid_request_error","code":"invalid_api_key"}}"#;

#[test]
fn a_request_waits_for_the_first_credential_and_goes_when_it_comes() {
    let mut rig = Rig::new(&one_provider("openai", METADATA));
    let client = rig.chat(ASK);
    rig.secs(3);
    assert!(rig.calls().is_empty());
    rig.hold(1, Some("t1"));
    let (call, header) = rig.sent_with();
    assert_eq!(header, "Bearer t1");
    rig.answer(call);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

#[test]
fn without_a_credential_the_refusal_names_the_provider() {
    let mut rig = Rig::new(&one_provider("openai", METADATA));
    // It never comes.
    let client = rig.chat(ASK);
    rig.secs(21);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("no_credential") && text.contains("f0"),
        "{text}"
    );
    // It cannot be had: nobody waits in vain.
    let waiting = rig.chat(ASK);
    rig.hold(0, None);
    let (status, headers, text) = rig.told(waiting);
    assert_eq!(
        (status, header(&headers, "retry-after")),
        (503, Some("5")),
        "{text}"
    );
    let late = rig.chat(ASK);
    assert_eq!(rig.told(late).0, 503);
    rig.rests();
}

#[test]
fn another_place_serves_while_a_credential_is_awaited() {
    let mut rig = Rig::new(&two_providers(METADATA, POOL_1));
    let client = rig.chat(ASK);
    let (call, header) = rig.sent_with();
    assert_eq!(header, "Bearer sk-1-end");
    rig.answer(call);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

#[test]
fn a_refused_credential_is_fetched_anew_and_tried_once_more() {
    let mut rig = Rig::new(&one_provider("openai", METADATA));
    rig.hold(1, Some("t1"));
    let client = rig.chat(ASK);
    let (call, _) = rig.sent_with();
    rig.refuse(call, 401, &[], REFUSED);
    assert_eq!(rig.asked_for(), 1);
    // Another that comes meanwhile waits too, and asks for nothing.
    let second = rig.chat(ASK);
    assert_eq!(rig.asked_for(), 1);
    assert!(rig.calls().iter().all(|c| c.attempt == call));
    rig.hold(2, Some("t2"));
    let calls: Vec<AttemptId> = rig.calls().into_iter().map(|c| c.attempt).collect();
    assert_eq!(calls.len(), 2);
    rig.answer(calls[0]);
    assert_eq!(rig.told(client).0, 200);
    // A fresh one that is refused as well is the key's own fault: no fetch each time.
    rig.refuse(calls[1], 401, &[], REFUSED);
    assert_eq!(rig.asked_for(), 0);
    let (status, _, text) = rig.told(second);
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("no_working_key"), "{text}");
    // The next credential is given another chance.
    rig.hold(3, Some("t3"));
    let client = rig.chat(ASK);
    let (call, header) = rig.sent_with();
    assert_eq!(header, "Bearer t3");
    rig.answer(call);
    assert_eq!(rig.told(client).0, 200);
    rig.rests();
}

#[test]
fn an_exchange_retries_a_renewed_credential_only_once() {
    let mut rig = Rig::new(&one_provider("openai", METADATA));
    rig.hold(1, Some("t1"));
    let client = rig.chat(ASK);
    let (call, _) = rig.sent_with();
    rig.refuse(call, 401, &[], REFUSED);
    rig.hold(2, Some("t2"));
    let (call, header) = rig.sent_with();
    assert_eq!(header, "Bearer t2");
    rig.refuse(call, 401, &[], REFUSED);
    let (status, _, text) = rig.told(client);
    assert_eq!(status, 503, "{text}");
    rig.rests();
}

#[test]
fn a_reload_keeps_the_credentials_of_sources_that_stay() {
    let mut rig = Rig::new(&one_provider("openai", METADATA));
    rig.hold(1, Some("t1"));
    let renamed = METADATA.replace("k0", "other").replace("p0", "p9");
    rig.on(Input::Config(Arc::new(parse_for_tests(&one_provider(
        "openai", &renamed,
    )))));
    let client = rig.chat(ASK);
    let (call, header) = rig.sent_with();
    assert_eq!(header, "Bearer t1");
    rig.answer(call);
    assert_eq!(rig.told(client).0, 200);
    let elsewhere = METADATA.replace("m.test", "n.test");
    rig.on(Input::Config(Arc::new(parse_for_tests(&one_provider(
        "openai", &elsewhere,
    )))));
    rig.calls();
    rig.chat(ASK);
    assert!(rig.calls().is_empty());
}

#[test]
fn a_key_goes_where_the_file_puts_it_and_nowhere_else() {
    let yaml = one_provider("openai", POOL).replace(
        "base_url: http://f0.test",
        "base_url: 'http://f0.test/x', headers: {api-key: '${secret}'}, query: {api-version: 'a b', k: 'k-{secret}'}",
    );
    let mut rig = Rig::new(&yaml);
    rig.chat(ASK);
    let call = rig.calls().remove(0);
    assert_eq!(
        call.path,
        "/x/v1/chat/completions?api-version=a%20b&k=k-sk-0-end"
    );
    let shown: Vec<_> = call
        .headers
        .iter()
        .filter(|(_, v)| v.contains("sk-0"))
        .collect();
    assert_eq!(shown, [&("api-key".into(), "sk-0-end".into())]);
}
