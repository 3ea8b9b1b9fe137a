//! Whose model it is, by its id: Converse's own fields are the same for all, what is merged into the model's request is not.

/// The makers whose own fields we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Also what an ARN hides: the ids of application inference profiles, provisioned throughput and routers say nothing, and Claude is what
    /// they are made for here.
    Claude,
    Nova,
    /// Open models of OpenAI.
    GptOss,
    Other,
}

impl Family {
    /// By a model id, a profile's id or an ARN.
    pub(super) fn of(model: &str) -> Self {
        let has = |word: &str| model.contains(word);
        if has("claude") || has("anthropic.") {
            Self::Claude
        } else if has("amazon.nova") {
            Self::Nova
        } else if has("openai.gpt-oss") {
            Self::GptOss
        } else if model.starts_with("arn:") && !has("foundation-model/") {
            // A profile of the system's names its model behind the last slash.
            let id = model.rsplit('/').next().unwrap_or_default();
            if has(":inference-profile/") && id.contains('.') {
                Self::Other
            } else {
                Self::Claude
            }
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_id_tells_whose_it_is() {
        for (model, family) in [
            ("global.anthropic.claude-opus-5-5", Family::Claude),
            ("us.amazon.nova-2-lite-v1:0", Family::Nova),
            ("openai.gpt-oss-120b-1:0", Family::GptOss),
            ("meta.llama3-70b-instruct-v1:0", Family::Other),
            ("amazon.titan-text-express-v1", Family::Other),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/x1",
                Family::Claude,
            ),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.meta.llama",
                Family::Other,
            ),
            (
                "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
                Family::Nova,
            ),
        ] {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }
}
