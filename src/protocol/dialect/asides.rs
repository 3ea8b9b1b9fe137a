//! What a request says that changes no answer where another dialect is asked: left out before it is written, and told.
//!
//! SDKs say such things unasked, so a refusal would shut out programs that did nothing wrong. Whatever could change the answer stays,
//! for the writer to say or to refuse.

use crate::canon::{Block, BlockKind, DialectName, Extra, Request, Tool, Turn};
use crate::protocol::dialect::{Dropped, responses};

/// Whether `leave_out` would change anything; without an allocation, since most requests have no such fields.
pub(super) fn stand(request: &Request, asked_in: DialectName) -> bool {
    let idle = |extra: &Extra| means_nothing(extra, asked_in);
    let in_tool = |tool: &Tool| match tool {
        Tool::Function { extra, .. } => extra.iter().any(idle),
        Tool::Custom { .. } | Tool::Other { .. } => false,
    };
    let noted = |turn: &Turn| {
        let mut blocks = turn.blocks.iter();
        blocks.any(|block| is_note(block, asked_in) || responses::is_made(block).is_some())
    };
    request.extra.iter().any(idle)
        || request.tools.iter().any(in_tool)
        || request.turns.iter().any(noted)
}

/// Takes them out; what comes back names those that said something.
pub(super) fn leave_out(request: &mut Request, asked_in: DialectName) -> Dropped {
    let mut told = Dropped::new();
    request.extra.retain(|extra| {
        let idle = means_nothing(extra, asked_in);
        if idle && !is_empty(extra) {
            told.push(extra.name.to_string());
        }
        !idle
    });
    for (index, tool) in request.tools.iter_mut().enumerate() {
        let Tool::Function { extra, .. } = tool else {
            continue;
        };
        extra.retain(|extra| {
            let idle = means_nothing(extra, asked_in);
            if idle && !is_empty(extra) {
                told.push(format!("tools[{index}].{}", extra.name));
            }
            !idle
        });
    }
    for turn in &mut request.turns {
        let before = turn.blocks.len();
        turn.blocks.retain(|block| !is_note(block, asked_in));
        if turn.blocks.len() < before && !told.iter().any(|name| name == NOTE) {
            told.push(NOTE.to_owned());
        }
        // What a provider's own tool did is said by the text that it led to; no provider can be given it under an id that we made.
        turn.blocks.retain(|block| {
            let made = responses::is_made(block);
            told.extend(
                made.iter()
                    .filter(|kind| !told.contains(kind))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            made.is_none()
        });
    }
    request.turns.retain(|turn| !turn.blocks.is_empty());
    told
}

/// What litellm writes into a message of Chat Completions for itself, and sends along with the conversation; no part of that API.
const NOTE: &str = "provider_specific_fields";

fn is_note(block: &Block, asked_in: DialectName) -> bool {
    let BlockKind::Other { dialect, json } = &block.kind else {
        return false;
    };
    // Such a field of a message is kept as an object of this one member.
    let mut members = json.get().trim_start_matches(['{', ' ']).splitn(2, ':');
    *dialect == DialectName::Chat
        && asked_in != DialectName::Chat
        && members
            .next()
            .is_some_and(|name| name.trim_matches(['"', ' ']) == NOTE)
}

fn means_nothing(extra: &Extra, asked_in: DialectName) -> bool {
    extra.dialect != asked_in
        && match (extra.dialect, &*extra.name) {
            // How the input of a call is cut into events, not what it is (Anthropic docs, fine-grained tool streaming, read 2026-08). The
            // `ai` package of Vercel sends it with every tool.
            (DialectName::Messages, "eager_input_streaming") => true,
            // An empty list is what LangChain sends by default. Thresholds that block nothing are what a provider without such filters does.
            (DialectName::Gemini, "safetySettings") => is_empty(extra) || blocks_nothing(extra),
            _ => false,
        }
}

fn is_empty(extra: &Extra) -> bool {
    matches!(extra.value.get().trim(), "null" | "[]")
}

/// Whether every threshold lets everything through (Gemini API reference, `HarmBlockThreshold`, read 2026-08).
fn blocks_nothing(extra: &Extra) -> bool {
    let settings: Option<Vec<serde_json::Value>> = extra.value.read();
    settings.is_some_and(|settings| {
        let open =
            |s: &serde_json::Value| matches!(s["threshold"].as_str(), Some("BLOCK_NONE" | "OFF"));
        settings.iter().all(open)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::{Rules, Target, read_request, write_request};

    const ASKED: [DialectName; 5] = [
        DialectName::Chat,
        DialectName::Messages,
        DialectName::Responses,
        DialectName::Gemini,
        DialectName::Converse,
    ];

    /// What writing `body` for a provider of `to` leaves out, or the field at fault.
    fn written(from: DialectName, to: DialectName, body: &str) -> Result<Dropped, Option<String>> {
        let request = read_request(from, &body.to_owned().into()).expect("well-formed");
        let rules = Rules::default();
        let target = Target {
            model: "m",
            stream: false,
            max_output_default: 1_000,
            rules: &rules,
        };
        let (body, told) = write_request(to, &request, &target).map_err(|fault| fault.field)?;
        let text = String::from_utf8_lossy(&body);
        let own = from == to;
        assert_eq!(
            text.contains("eager_input"),
            own && text.contains("weather"),
            "{text}"
        );
        Ok(told)
    }

    /// Vercel's package for Anthropic could otherwise use no tools with any other provider.
    #[test]
    fn how_a_calls_input_is_streamed_is_no_reason_to_refuse() {
        let body = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"x"}],
            "tools":[{"name":"weather","input_schema":{"type":"object"},"eager_input_streaming":true}]}"#;
        for to in ASKED {
            let told = written(DialectName::Messages, to, body);
            let wanted = match to {
                DialectName::Messages => vec![],
                _ => vec!["tools[0].eager_input_streaming".to_owned()],
            };
            assert_eq!(told, Ok(wanted), "{to:?}");
        }
    }

    /// Whoever keeps litellm's messages sends this back with every turn.
    #[test]
    fn notes_that_a_client_made_for_itself_are_no_reason_to_refuse() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"},
            {"role":"assistant","content":"y","provider_specific_fields":{"refusal":null}},{"role":"user","content":"z"}]}"#;
        for to in ASKED {
            let told = written(DialectName::Chat, to, body);
            let wanted = match to {
                DialectName::Chat => vec![],
                _ => vec![NOTE.to_owned()],
            };
            assert_eq!(told, Ok(wanted), "{to:?}");
        }
    }

    /// A filter that was asked for and is not there would be a broken promise; one that lets all pass, or none, is none.
    #[test]
    fn safety_settings_are_refused_only_where_they_would_block() {
        let with = |settings: &str| {
            format!(
                r#"{{"contents":[{{"role":"user","parts":[{{"text":"x"}}]}}],"safetySettings":{settings}}}"#
            )
        };
        let open = r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"},{"category":"HARM_CATEGORY_HATE_SPEECH","threshold":"OFF"}]"#;
        let shut = r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_LOW_AND_ABOVE"}]"#;
        for to in ASKED {
            let asked = |settings: &str| written(DialectName::Gemini, to, &with(settings));
            assert_eq!(asked("[]"), Ok(vec![]), "{to:?}");
            let google = to == DialectName::Gemini;
            let named = || "safetySettings".to_owned();
            let told = if google { vec![] } else { vec![named()] };
            assert_eq!(asked(open), Ok(told), "{to:?}");
            let refused = if google {
                Ok(vec![])
            } else {
                Err(Some(named()))
            };
            assert_eq!(asked(shut), refused, "{to:?}");
        }
    }

    /// Vercel's package for Anthropic asks so for an answer by schema. A model that must call its one tool has no other to call beside it.
    #[test]
    fn one_call_at_a_time_is_refused_unless_one_tool_is_forced() {
        let with = |choice: &str, names: &[&str]| {
            let tool =
                |name: &&str| format!(r#"{{"name":"{name}","input_schema":{{"type":"object"}}}}"#);
            let tools: Vec<String> = names.iter().map(tool).collect();
            format!(
                r#"{{"model":"m","max_tokens":50,"messages":[{{"role":"user","content":"x"}}],"tools":[{}],
                "tool_choice":{{{choice},"disable_parallel_tool_use":true}}}}"#,
                tools.join(",")
            )
        };
        let field = "parallel_tool_calls";
        for to in [DialectName::Gemini, DialectName::Converse] {
            for (choice, names, told) in [
                (r#""type":"tool","name":"a""#, &["a", "b"][..], true),
                (r#""type":"any""#, &["a"], true),
                (r#""type":"any""#, &["a", "b"], false),
                (r#""type":"auto""#, &["a"], false),
            ] {
                let wanted = if told {
                    Ok(vec![field.to_owned()])
                } else {
                    Err(Some(field.to_owned()))
                };
                let found = written(DialectName::Messages, to, &with(choice, names));
                assert_eq!(found, wanted, "{choice} {names:?} {to:?}");
            }
        }
    }

    /// Programs ask for one token to see whether somebody is there; OpenAI refuses fewer than 16.
    #[test]
    fn a_small_limit_is_raised_to_the_least_that_responses_take_and_told() {
        for (limit, told) in [(1, vec!["max_output=16".to_owned()]), (16, vec![])] {
            let body = format!(
                r#"{{"model":"m","max_tokens":{limit},"messages":[{{"role":"user","content":"x"}}]}}"#
            );
            let said = written(DialectName::Messages, DialectName::Responses, &body);
            assert_eq!(said, Ok(told), "{limit}");
        }
    }
}
