//! Why an answer ended: Google's words ⇄ canon's (Gemini API reference, `FinishReason` and `BlockReason`, read 2026-08).

use crate::base::Str;
use crate::canon::{Fault, FaultClass, StopReason};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a finish reason means.
pub(in crate::protocol::dialect) enum Finish {
    Stop(StopReason),
    /// The model wrote what Google could not read, and another try may go well.
    Failed(Box<Fault>),
}

/// `said`: some of the answer has come, so that it cannot be begun again. `called`: a function was.
pub(in crate::protocol::dialect) fn read(word: &Str, said: bool, called: bool) -> Finish {
    let reason = match &**word {
        // Calls have no word of their own.
        "STOP" if called => StopReason::ToolUse,
        "STOP" => StopReason::EndTurn,
        "MAX_TOKENS" => StopReason::MaxTokens,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => StopReason::ContentFilter,
        "CONTINUATION" => StopReason::Pause,
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MALFORMED_RESPONSE"
            if !said =>
        {
            return Finish::Failed(Box::new(failed(word)));
        }
        _ => StopReason::Other(word.clone()),
    };
    Finish::Stop(reason)
}

fn failed(word: &str) -> Fault {
    let message = format!("the model's answer could not be read by its provider: {word}");
    Fault::new(FaultClass::UpstreamBroken, message).with_code(word.to_ascii_lowercase())
}

/// Google's word for it; those of other dialects that it has none for are `OTHER`.
pub(super) fn word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => "STOP",
        StopReason::MaxTokens | StopReason::ContextWindow => "MAX_TOKENS",
        StopReason::ContentFilter | StopReason::Refusal => "SAFETY",
        StopReason::Pause => "CONTINUATION",
        StopReason::Other(word) if is_googles(word) => word,
        StopReason::Other(_) => "OTHER",
    }
}

/// Google writes its words in capitals, and no other dialect does.
fn is_googles(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// Whether the prompt itself was refused, in which case nothing is answered.
pub(in crate::protocol::dialect) fn is_blocked(feedback: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Feedback {
        block_reason: Option<String>,
    }
    let feedback: Option<Feedback> = serde_json::from_str(feedback.get()).ok();
    feedback.is_some_and(|f| f.block_reason.is_some_and(|word| !word.is_empty()))
}
