//! What speakers of Chat Completions do each in their own way (xAI, Fireworks, OpenRouter, vLLM and SGLang docs, read 2026-11).

use super::json::quoted;
use super::voice::Voice;

/// Whose small differences the fake has. The path says the dialect, the manner the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Plain,
    Xai,
    Fireworks,
    OpenRouter,
    Vllm,
    Sglang,
}

impl std::str::FromStr for Manner {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "plain" => Self::Plain,
            "xai" => Self::Xai,
            "fireworks" => Self::Fireworks,
            "openrouter" => Self::OpenRouter,
            "vllm" => Self::Vllm,
            "sglang" => Self::Sglang,
            _ => {
                return Err(format!(
                    "{name}: no manner; those are plain, xai, fireworks, openrouter, vllm, sglang"
                ));
            }
        })
    }
}

/// Fields that a manner takes besides those of Chat and Responses.
impl Manner {
    pub(super) fn takes(self, field: &str) -> bool {
        let more: &[&str] = match self {
            Self::Plain => &[],
            Self::Xai => &["deferred", "search_parameters"],
            Self::Fireworks => &[
                "top_k",
                "min_p",
                "typical_p",
                "repetition_penalty",
                "ignore_eos",
                "echo",
                "context_length_exceeded_behavior",
                "perf_metrics_in_response",
                "prompt_cache_isolation_key",
                "reasoning_history",
                "thinking",
                "prompt_truncate_len",
                "raw_output",
            ],
            Self::OpenRouter => &[
                "models",
                "provider",
                "session_id",
                "reasoning",
                "top_k",
                "top_a",
                "min_p",
                "repetition_penalty",
                "plugins",
                "cache_control",
                "trace",
                "debug",
                "usage",
                "transforms",
                "route",
            ],
            Self::Vllm | Self::Sglang => &[
                "top_k",
                "min_p",
                "min_tokens",
                "repetition_penalty",
                "ignore_eos",
                "stop_token_ids",
                "chat_template_kwargs",
                "cache_salt",
                "priority",
                "separate_reasoning",
                "structured_outputs",
                "rid",
                "session_id",
                "return_cached_tokens_details",
            ],
        };
        more.contains(&field)
    }

    /// Reasoning is part of what a client reads.
    pub(super) fn reasons_aloud(self) -> bool {
        self != Self::Plain
    }

    /// Usage comes at the end of a stream, asked for or not.
    pub(super) fn always_tells(self) -> bool {
        matches!(self, Self::Xai | Self::Fireworks | Self::OpenRouter)
    }

    /// What an id of an answer begins with.
    pub(super) fn id_start(self) -> &'static str {
        match self {
            Self::OpenRouter => "gen-",
            _ => "chatcmpl-",
        }
    }
}

/// The member in which reasoning stands, and what more stands beside it; nothing where it is not shown.
pub(super) fn reasoning(manner: Manner, text: &str) -> Option<String> {
    let text = quoted(text);
    match manner {
        Manner::Plain => None,
        Manner::Xai | Manner::Fireworks | Manner::Sglang => {
            Some(format!("\"reasoning_content\":{text}"))
        }
        Manner::Vllm => Some(format!("\"reasoning\":{text}")),
        Manner::OpenRouter => Some(format!(
            "\"reasoning\":{text},\"reasoning_details\":[{{\"type\":\"reasoning.text\",\"text\":{text},\"format\":\"anthropic-claude-v1\",\"index\":0}}]"
        )),
    }
}

/// Prices of the fake, in ticks of 1e-10 USD a token: fresh, cached, output.
const TICKS: [u64; 3] = [20_000, 5_000, 100_000];

impl Voice {
    fn all_ticks(&self) -> u64 {
        let fresh = self.input() - self.split.read;
        fresh * TICKS[0] + self.split.read * TICKS[1] + self.tokens() * TICKS[2]
    }

    /// The charge in ticks, where the manner tells it so.
    pub(super) fn ticks(&self) -> Option<u64> {
        (self.manner == Manner::Xai).then(|| self.all_ticks())
    }

    /// The usage object of Chat.
    pub(super) fn chat_usage(&self) -> String {
        let (prompt, output, reasoning) = (self.input(), self.tokens(), self.reasoning());
        let read = self.split.read;
        match self.manner {
            Manner::Plain => format!(
                "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output},\"total_tokens\":{},\"prompt_tokens_details\":{{\"cached_tokens\":{read},\"audio_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning},\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}",
                prompt + output
            ),
            // Reasoning is not among the completion tokens here, and is in the total.
            Manner::Xai => format!(
                "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{},\"total_tokens\":{},\"prompt_tokens_details\":{{\"text_tokens\":{prompt},\"audio_tokens\":0,\"image_tokens\":0,\"cached_tokens\":{read}}},\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning},\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},\"num_sources_used\":0,\"cost_in_usd_ticks\":{}}}",
                output - reasoning,
                prompt + output,
                self.all_ticks()
            ),
            Manner::Fireworks => format!(
                "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output},\"total_tokens\":{},\"prompt_tokens_details\":{{\"cached_tokens\":{read}}}}}",
                prompt + output
            ),
            Manner::OpenRouter => {
                let usd = |ticks: u64| ticks as f64 / 1e10;
                let made = output * TICKS[2];
                format!(
                    "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output},\"total_tokens\":{},\"cost\":{},\"is_byok\":false,\"prompt_tokens_details\":{{\"cached_tokens\":{read},\"cache_write_tokens\":0,\"audio_tokens\":0,\"video_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning},\"audio_tokens\":0}},\"cost_details\":{{\"upstream_inference_cost\":null,\"upstream_inference_prompt_cost\":{},\"upstream_inference_completions_cost\":{}}}}}",
                    prompt + output,
                    usd(self.all_ticks()),
                    usd(self.all_ticks() - made),
                    usd(made)
                )
            }
            Manner::Vllm | Manner::Sglang => {
                // Only told when the engine was started so.
                let details = match self.cache_report {
                    true => format!("{{\"cached_tokens\":{read}}}"),
                    false => "null".to_owned(),
                };
                let extra = match self.manner {
                    Manner::Sglang => format!(",\"reasoning_tokens\":{reasoning}"),
                    _ => format!(
                        ",\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}"
                    ),
                };
                format!(
                    "{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{output},\"prompt_tokens_details\":{details}{extra}}}",
                    prompt + output
                )
            }
        }
    }

    /// Members that stand beside `choices` in every chunk and in the whole.
    pub(super) fn beside_choices(&self) -> &'static str {
        match self.manner {
            Manner::Plain => {
                "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_5709c0fake\","
            }
            Manner::OpenRouter => "\"provider\":\"Fake\",\"system_fingerprint\":null,",
            Manner::Xai => "\"system_fingerprint\":\"fp_5709c0fake\",",
            Manner::Fireworks | Manner::Vllm | Manner::Sglang => "",
        }
    }

    /// What Fireworks tells in the last chunk when asked.
    pub(super) fn perf_metrics(&self) -> String {
        match self.perf {
            true => format!(
                ",\"perf_metrics\":{{\"prompt-tokens\":\"{}\",\"cached-prompt-tokens\":\"{}\",\"server-time-to-first-token\":\"0.01\"}}",
                self.input(),
                self.split.read
            ),
            false => String::new(),
        }
    }

    /// An error in mid-stream.
    pub(super) fn chat_error(&self, out: &mut Vec<u8>) {
        let said = "The server had an error while processing your request. Sorry about that!";
        let json = match self.manner {
            Manner::OpenRouter => format!(
                "{}\"error\":{{\"code\":502,\"message\":\"Provider disconnected\",\"metadata\":{{\"error_type\":\"provider_unavailable\"}}}},\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":\"error\"}}]}}",
                self.start
            ),
            Manner::Xai => format!(
                "{{\"code\":\"The service is currently unavailable\",\"error\":{}}}",
                quoted(said)
            ),
            Manner::Vllm | Manner::Sglang => format!(
                "{{\"error\":{{\"object\":\"error\",\"message\":{},\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}}}",
                quoted(said)
            ),
            Manner::Plain | Manner::Fireworks => format!(
                "{{\"error\":{{\"message\":{},\"type\":\"server_error\",\"param\":null,\"code\":null}}}}",
                quoted(said)
            ),
        };
        out.extend_from_slice(format!("data: {json}\n\n").as_bytes());
        if self.manner == Manner::Sglang {
            out.extend_from_slice(b"data: [DONE]\n\n");
        }
    }
}
