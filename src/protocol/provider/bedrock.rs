//! AWS Bedrock: its runtime (InvokeModel, Converse, CountTokens) and Mantle, which speaks Anthropic's and OpenAI's APIs (`providers/bedrock.md`
//! 1, 3, 4, 5, 8 and 11).
//!
//! Hosts, paths, headers, what Claude's grammar is wrapped in, and what a refusal's headers mean. Not here: SigV4 itself (`sigv4`), the
//! frames of streams (`framing/eventstream`), and which model lives where: ids come from the configuration as they are.

use crate::canon::DialectName;
use crate::protocol::dialect::messages::schema::Fields;
use crate::protocol::provider::sigv4::{self, Covered};
use crate::protocol::provider::{
    Asking, AwsCredential, CallHead, Envelope, Operation, Place, Signing, Tongue, anthropic,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};

/// The host of a region, without a scheme.
#[must_use]
pub fn host(region: &str, mantle: bool) -> String {
    if mantle {
        return format!("bedrock-mantle.{region}.api.aws");
    }
    // China's regions are a partition with a domain of its own (AWS General Reference, "Service endpoints", read 2026-11).
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("bedrock-runtime.{region}.amazonaws.com{suffix}")
}

/// What SigV4 calls the service.
#[must_use]
pub fn service(mantle: bool) -> &'static str {
    if mantle { "bedrock-mantle" } else { "bedrock" }
}

/// What is spoken for `model`: Claude's own grammar inside AWS's frames, or Converse, which all text models of the runtime take.
pub(super) fn tongue(model: &str, place: &Place) -> Tongue {
    use DialectName::{Chat, Converse, Messages, Responses};
    match (place.mantle, model.contains("anthropic.")) {
        (true, true) => Tongue::only(&[Messages]),
        (true, false) => Tongue::only(&[Chat, Responses]),
        (false, true) => Tongue {
            well: &[Messages],
            also: &[Converse],
        },
        // OpenAI's open models speak Chat on the runtime too, with the model in the body (seen in recorded calls).
        (false, false) if model.contains("openai.") => Tongue::only(&[Converse, Chat]),
        (false, false) => Tongue::only(&[Converse]),
    }
}

/// Method, path and headers of a call, without its credential: that is added once the body is known.
#[must_use]
pub fn call(asking: &Asking<'_>) -> CallHead {
    if asking.place.mantle {
        return mantle(asking);
    }
    let (method, streams) = match (asking.operation, asking.dialect) {
        (Operation::CountTokens, _) => ("count-tokens", false),
        (Operation::Embed | Operation::EmbedMany, _) => ("invoke", false),
        (_, DialectName::Converse) if asking.stream => ("converse-stream", true),
        (_, DialectName::Converse) => ("converse", false),
        (_, DialectName::Chat) => {
            return CallHead::post("/openai/v1/chat/completions", asking.stream);
        }
        (_, _) if asking.stream => ("invoke-with-response-stream", true),
        (_, _) => ("invoke", false),
    };
    let mut head = CallHead::post(format!("/model/{}/{method}", segment(asking.model)), false);
    if streams {
        head.headers.retain(|(name, _)| name != "accept");
        head.add("accept", "application/vnd.amazon.eventstream");
        if method == "invoke-with-response-stream" {
            head.add("x-amzn-bedrock-accept", "application/json");
        }
    }
    head
}

fn mantle(asking: &Asking<'_>) -> CallHead {
    match asking.dialect {
        DialectName::Messages => {
            let path = match asking.operation {
                Operation::CountTokens => "/anthropic/v1/messages/count_tokens",
                _ => "/anthropic/v1/messages",
            };
            let mut head = CallHead::post(path, asking.stream);
            anthropic::speak(&mut head, asking.client);
            let betas = asking.client.anthropic_beta;
            let kept = betas.map(|b| Betas::of(b, MANTLE_BETAS).kept.join(","));
            head.pass("anthropic-beta", kept.as_deref().filter(|b| !b.is_empty()));
            head
        }
        DialectName::Responses => CallHead::post("/v1/responses", asking.stream),
        _ => CallHead::post("/v1/chat/completions", asking.stream),
    }
}

/// Claude's body on the runtime; CountTokens wraps it itself.
pub(super) fn envelope(asking: &Asking<'_>) -> Option<Envelope> {
    let wrapped = asking.dialect == DialectName::Messages
        && !asking.place.mantle
        && asking.operation == Operation::Generate;
    wrapped.then(|| Envelope {
        remove: REMOVED,
        insert: inserted(asking.client.anthropic_beta.map(Betas::for_invoke).as_ref()).into(),
    })
}

/// A model's id as one segment of a path: the `:` of versions and the `/` of ARNs are encoded too (3.2, step 2).
fn segment(model: &str) -> String {
    let mut out = String::with_capacity(model.len() + 8);
    sigv4::encode(model.as_bytes(), &mut out);
    out
}

/// Signs head and body (3.2).
pub(super) fn sign(head: &mut CallHead, aws: &AwsCredential, signing: &Signing<'_>) {
    let path = format!("{}{}", signing.base_path.trim_end_matches('/'), head.path);
    let own = head.headers.iter().filter(|(n, _)| is_signed(n));
    let headers: Vec<(&str, &str)> = own.map(|(n, v)| (&**n, &**v)).collect();
    let signed = sigv4::sign(
        &Covered {
            method: head.method,
            host: signing.host,
            path: &path,
            headers: &headers,
            body: signing.body,
            region: signing.place.region.as_deref().unwrap_or_default(),
            service: service(signing.place.mantle),
            now: signing.now,
        },
        aws,
    );
    head.add("authorization", signed.authorization);
    head.add("x-amz-date", signed.date);
    if let Some(token) = signed.token {
        head.add("x-amz-security-token", token);
    }
}

/// What no proxy on the way changes (3.2, step 5).
fn is_signed(name: &str) -> bool {
    name == "content-type" || name.starts_with("x-amzn-bedrock") || name.starts_with("anthropic-")
}

/// Members of a Messages body that the runtime refuses, since path and envelope say them (4). For `splice::envelope`.
pub const REMOVED: &[&str] = &["model", "stream", "anthropic_version"];

/// What `splice::envelope` puts in for the runtime: the version of the grammar, and the client's betas, which here are no header.
#[must_use]
pub fn inserted(betas: Option<&Betas<'_>>) -> String {
    let mut members = r#""anthropic_version":"bedrock-2023-05-31""#.to_owned();
    if let Some(betas) = betas.filter(|b| !b.kept.is_empty()) {
        let list = serde_json::to_string(&betas.kept).expect("strings always serialise");
        members.push_str(r#","anthropic_beta":"#);
        members.push_str(&list);
    }
    members
}

/// The betas of a client's `anthropic-beta` header, as Bedrock takes them: it refuses a request for one name that it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Betas<'a> {
    pub kept: Vec<&'a str>,
    /// To be told to the client.
    pub dropped: Vec<&'a str>,
}

impl<'a> Betas<'a> {
    /// Those that InvokeModel takes.
    #[must_use]
    pub fn for_invoke(header: &'a str) -> Self {
        Self::of(header, INVOKE_BETAS)
    }

    fn of(header: &'a str, known: &[&str]) -> Self {
        let mut betas = Self::default();
        for name in header.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            let here = if name == "advanced-tool-use-2025-11-20" {
                "tool-search-tool-2025-10-19"
            } else {
                name
            };
            let list = if known.contains(&here) {
                &mut betas.kept
            } else {
                &mut betas.dropped
            };
            if !list.contains(&here) {
                list.push(here);
            }
        }
        betas
    }
}

/// `providers/bedrock.md` 4, the table of betas, read 2026-11.
const INVOKE_BETAS: &[&str] = &[
    "tool-search-tool-2025-10-19",
    "compact-2026-01-12",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
];

const MANTLE_BETAS: &[&str] = &[
    "tool-search-tool-2025-10-19",
    "compact-2026-01-12",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "claude-code-20250219",
    "interleaved-thinking-2025-05-14",
    "output-128k-2025-02-19",
    "per-turn-control-2026-07-01",
    "structured-outputs-2025-11-13",
    "token-efficient-tools-2025-02-19",
    "tool-examples-2025-10-29",
    "web-search-2025-03-05",
];

/// The body of the runtime's CountTokens around a request as it would be sent (11). A Messages body, in its envelope, travels in base64;
/// of a Converse body the four members that count.
#[must_use]
pub fn count_tokens(dialect: DialectName, body: &[Bytes]) -> Bytes {
    let whole = body.concat();
    let mut out = BytesMut::with_capacity(whole.len() * 4 / 3 + 64);
    if dialect == DialectName::Converse {
        out.put_slice(br#"{"input":{"converse":{"#);
        let text = String::from_utf8_lossy(&whole);
        let fields = Fields::of(&text).unwrap_or_default();
        let counted = fields.left().filter(|(n, _)| COUNTED.contains(n));
        for (i, (name, raw)) in counted.enumerate() {
            out.put_slice(if i > 0 { b",\"" } else { b"\"" });
            out.put_slice(name.as_bytes());
            out.put_slice(b"\":");
            out.put_slice(raw.get().as_bytes());
        }
    } else {
        out.put_slice(br#"{"input":{"invokeModel":{"body":""#);
        out.put_slice(STANDARD.encode(&whole).as_bytes());
        out.put_slice(b"\"");
    }
    out.put_slice(b"}}}");
    out.freeze()
}

const COUNTED: [&str; 4] = [
    "messages",
    "system",
    "toolConfig",
    "additionalModelRequestFields",
];

/// `{"inputTokens":n}`; `None` when it says something else.
#[must_use]
pub fn counted(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    Fields::of(text)?.count("inputTokens")
}

/// What a refusal means. AWS's own have their name in a header and `message` in the body; Mantle's models refuse as Anthropic and OpenAI
#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::base::WallTime;
    use crate::protocol::dialect::splice;
    use crate::protocol::provider::ClientHeaders;

    fn place(mantle: bool) -> Place {
        Place {
            region: Some("us-east-1".to_owned()),
            mantle,
            ..Place::default()
        }
    }

    fn head(
        operation: Operation,
        dialect: DialectName,
        model: &str,
        stream: bool,
        mantle: bool,
    ) -> CallHead {
        call(&Asking {
            operation,
            dialect,
            stream,
            model,
            place: &place(mantle),
            client: &ClientHeaders::default(),
            affinity: None,
            operation_name: "",
        })
    }

    fn path(dialect: DialectName, model: &str, stream: bool, mantle: bool) -> String {
        let head = head(Operation::Generate, dialect, model, stream, mantle);
        head.path.into_owned()
    }

    fn header<'a>(head: &'a CallHead, name: &str) -> Option<&'a str> {
        let found = head.headers.iter().find(|(n, _)| *n == name)?;
        Some(&found.1)
    }

    #[test]
    fn each_api_has_its_path_with_the_model_as_one_segment() {
        use DialectName::{Chat, Converse, Messages, Responses};
        let haiku = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
        let arn = "arn:aws:bedrock:us-east-1:1:inference-profile/eu.x";
        for (dialect, model, stream, mantle, wanted) in [
            (
                Messages,
                haiku,
                false,
                false,
                "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/invoke",
            ),
            (
                Messages,
                "m",
                true,
                false,
                "/model/m/invoke-with-response-stream",
            ),
            (
                Converse,
                arn,
                false,
                false,
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Feu.x/converse",
            ),
            (
                Converse,
                "global.m",
                true,
                false,
                "/model/global.m/converse-stream",
            ),
            (
                Chat,
                "openai.gpt-oss-20b",
                true,
                false,
                "/openai/v1/chat/completions",
            ),
            (Messages, haiku, true, true, "/anthropic/v1/messages"),
            (Chat, "m", true, true, "/v1/chat/completions"),
            (Responses, "m", true, true, "/v1/responses"),
        ] {
            assert_eq!(path(dialect, model, stream, mantle), wanted);
        }
        let count = |mantle| {
            let of = head(
                Operation::CountTokens,
                DialectName::Messages,
                "a:b",
                false,
                mantle,
            );
            of.path.into_owned()
        };
        assert_eq!(count(false), "/model/a%3Ab/count-tokens");
        assert_eq!(count(true), "/anthropic/v1/messages/count_tokens");
    }

    #[test]
    fn hosts_are_those_of_the_region() {
        assert_eq!(
            host("us-east-1", false),
            "bedrock-runtime.us-east-1.amazonaws.com"
        );
        assert_eq!(host("eu-west-1", true), "bedrock-mantle.eu-west-1.api.aws");
        assert_eq!(
            host("cn-north-1", false),
            "bedrock-runtime.cn-north-1.amazonaws.com.cn"
        );
    }

    /// Vectors 3 and 5 of `providers/bedrock.md` 3.3, through the head that is really sent.
    #[test]
    fn a_call_is_signed_over_what_is_sent() {
        let aws = |token: Option<&str>| AwsCredential {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|t| Secret::new(t.to_owned())),
        };
        let now = WallTime(1_795_305_600_000_000_000);
        let body = [Bytes::from_static(br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#)];
        let model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
        let mut call = head(
            Operation::Generate,
            DialectName::Messages,
            model,
            true,
            false,
        );
        // The vector signs no further header.
        call.headers.retain(|(n, _)| n != "x-amzn-bedrock-accept");
        let signing = |host, base_path, body, place| Signing {
            host,
            base_path,
            body,
            now,
            place,
        };
        let (runtime, mantle) = (place(false), place(true));
        let host_name = host("us-east-1", false);
        sign(
            &mut call,
            &aws(Some("TOKENEXAMPLE")),
            &signing(&host_name, "", &body, &runtime),
        );
        let value = header(&call, "authorization").expect("signed");
        assert!(
            value.ends_with(
                "Signature=000a0666ad8c22d05d75bde7f1147e214b40ebc2d94b9ebeec8a72e6c9c31784"
            ),
            "{value}"
        );
        assert_eq!(header(&call, "x-amz-security-token"), Some("TOKENEXAMPLE"));

        let body = [Bytes::from_static(br#"{"model":"anthropic.claude-opus-4-8","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#)];
        let mut call = head(Operation::Generate, DialectName::Messages, "m", false, true);
        let host_name = host("us-east-1", true);
        sign(
            &mut call,
            &aws(None),
            &signing(&host_name, "/", &body, &mantle),
        );
        let value = header(&call, "authorization").expect("signed");
        assert!(
            value.ends_with(
                "Signature=ecd3c786e22454c7a6eb94afa9a4c444f78691f4b15730414ce787ce2545488e"
            ),
            "{value}"
        );
    }

    #[test]
    fn a_messages_body_is_put_into_its_envelope_with_the_betas_that_bedrock_knows() {
        let betas = Betas::for_invoke(
            "context-1m-2025-08-07, files-api-2025-04-14,advanced-tool-use-2025-11-20",
        );
        assert_eq!(
            betas.kept,
            ["context-1m-2025-08-07", "tool-search-tool-2025-10-19"]
        );
        assert_eq!(betas.dropped, ["files-api-2025-04-14"]);
        let body =
            Bytes::from_static(br#"{"model":"m","max_tokens":1,"stream":true,"messages":[]}"#);
        let slices = splice::envelope(&body, REMOVED, &inserted(Some(&betas))).expect("right");
        assert_eq!(
            String::from_utf8(slices.concat()).expect("text"),
            r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["context-1m-2025-08-07","tool-search-tool-2025-10-19"],"max_tokens":1,"messages":[]}"#
        );
        assert_eq!(inserted(Some(&Betas::for_invoke("x"))), inserted(None));
    }

    #[test]
    fn counting_wraps_what_would_be_sent() {
        let body = [Bytes::from_static(b"{\"a\""), Bytes::from_static(b":1}")];
        assert_eq!(
            count_tokens(DialectName::Messages, &body),
            r#"{"input":{"invokeModel":{"body":"eyJhIjoxfQ=="}}}"#
        );
        let body = [Bytes::from_static(
            br#"{"messages":[],"inferenceConfig":{},"system":[]}"#,
        )];
        assert_eq!(
            count_tokens(DialectName::Converse, &body),
            r#"{"input":{"converse":{"messages":[],"system":[]}}}"#
        );
        assert_eq!(counted(br#"{"inputTokens":12}"#), Some(12));
        assert_eq!(counted(b"no"), None);
    }
}
