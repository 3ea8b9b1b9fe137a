use super::*;

static PLACE: Place = Place {
    region: None,
    project: None,
    mantle: false,
    unversioned: false,
};
static CLIENT: ClientHeaders<'static> = ClientHeaders {
    anthropic_version: None,
    anthropic_beta: None,
    openai_beta: None,
    openrouter_referer: None,
    openrouter_title: None,
};

/// A streamed generation, to be varied.
pub fn asking(model: &str, dialect: DialectName) -> Asking<'_> {
    Asking {
        operation: Operation::Generate,
        dialect,
        stream: true,
        model,
        place: &PLACE,
        client: &CLIENT,
        affinity: None,
        operation_name: "",
    }
}

const DIALECTS: [DialectName; 6] = [
    DialectName::Native,
    DialectName::Chat,
    DialectName::Messages,
    DialectName::Responses,
    DialectName::Gemini,
    DialectName::Converse,
];

/// The shard asks with what this says, so it must say something that is spoken, whatever is preferred.
#[test]
fn every_client_is_given_a_dialect_that_the_provider_speaks() {
    let place = Place::default();
    for kind in ProviderKind::ALL {
        for client in DIALECTS {
            for preferred in DIALECTS.map(Some).into_iter().chain([None]) {
                for model in [
                    "gpt-5.5-pro",
                    "claude-opus-5-5",
                    "gemini-3.8-flash",
                    "x/y",
                    "",
                ] {
                    let dialect = kind.dialect_for(client, model, &place, preferred);
                    assert!(
                        kind.speaks(dialect, model, &place),
                        "{kind:?} {client:?} {model}"
                    );
                    assert_ne!(dialect, DialectName::Native, "no provider speaks ours");
                }
            }
        }
    }
}

/// No client's credential or cookie can reach a provider: there is no field for one, and nothing else is passed.
#[test]
fn a_credential_goes_where_its_provider_looks_for_it_and_nowhere_else() {
    let secret = || Secret::new("s-e-c".to_owned());
    let signing = Signing {
        host: "h",
        base_path: "",
        body: &[],
        now: WallTime(0),
        place: &PLACE,
    };
    for kind in ProviderKind::ALL {
        for dialect in DIALECTS {
            for credential in [Credential::Key(secret()), Credential::Bearer(secret())] {
                let mut head = kind.call(&asking("m", dialect));
                let before = head.headers.len();
                kind.sign(&mut head, Some(&credential), &signing);
                assert_eq!(head.headers.len(), before + 1, "{kind:?}");
                let (name, value) = head.headers.last().expect("the credential");
                let whole = match (&**name, &credential) {
                    ("authorization", _) => "Bearer s-e-c",
                    ("x-api-key" | "x-goog-api-key", Credential::Key(_)) => "s-e-c",
                    other => panic!("{kind:?}: {other:?}"),
                };
                assert_eq!(value, whole);
                assert!(!head.path.contains("s-e-c"));
            }
            let mut head = kind.call(&asking("m", dialect));
            let before = head.clone();
            kind.sign(&mut head, None, &signing);
            assert_eq!(head, before);
        }
    }
}

#[test]
fn what_the_answer_says_of_itself_tells_its_framing() {
    use Framing::{EventStream, Sse, Whole};
    let asked = |kind: ProviderKind, dialect, stream, content_type: Option<&[u8]>| {
        let asking = Asking {
            stream,
            ..asking("m", dialect)
        };
        kind.framing(&asking, content_type)
    };
    use DialectName::{Chat, Converse, Gemini, Messages};
    for (kind, dialect, stream, content_type, wanted) in [
        (
            ProviderKind::OpenAi,
            Chat,
            true,
            Some(&b"text/event-stream; charset=utf-8"[..]),
            Sse,
        ),
        (
            ProviderKind::OpenAi,
            Chat,
            false,
            Some(b"application/json"),
            Whole,
        ),
        // xAI docs, read 2026-11: an error instead of a stream, under status 200.
        (
            ProviderKind::Xai,
            Chat,
            true,
            Some(b"application/json"),
            Whole,
        ),
        (
            ProviderKind::SelfHosted,
            Chat,
            true,
            Some(b"Text/Event-Stream"),
            Sse,
        ),
        (ProviderKind::SelfHosted, Chat, true, None, Sse),
        (ProviderKind::SelfHosted, Chat, false, None, Whole),
        (
            ProviderKind::Gemini,
            Gemini,
            true,
            Some(b"text/event-stream"),
            Sse,
        ),
        (ProviderKind::OpenAi, Chat, true, Some(b"text/html"), Whole),
        (
            ProviderKind::Bedrock,
            Messages,
            true,
            Some(b"application/vnd.amazon.eventstream"),
            EventStream(FramesOf::Invoke),
        ),
        (
            ProviderKind::Bedrock,
            Converse,
            true,
            None,
            EventStream(FramesOf::Converse),
        ),
        (
            ProviderKind::Bedrock,
            Converse,
            false,
            Some(b"application/json"),
            Whole,
        ),
        (
            ProviderKind::Vertex,
            Messages,
            true,
            Some(b"text/event-stream"),
            Sse,
        ),
    ] {
        let got = asked(kind, dialect, stream, content_type);
        assert_eq!(got, wanted, "{kind:?} {content_type:?}");
    }
}
