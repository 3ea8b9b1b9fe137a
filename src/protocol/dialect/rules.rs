//! A model's rules on sampling, applied once for every dialect before a request is written.
//!
//! Left to the writers: refusing what a model does not take, since the fault names the field by the dialect, and dropping what is
//! not sampling.

use crate::base::Tokens;
use crate::canon::{Request, Sampling};
use crate::protocol::dialect::{Dropped, Rules};

impl Rules {
    /// The parameters that can be clamped, by canon's names.
    pub const CLAMPED: [&str; 8] = [
        "max_output",
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "top_logprobs",
        "choices",
    ];

    /// `value`, or the nearest that the model takes.
    #[must_use]
    pub fn clamped(&self, name: &str, value: f64) -> f64 {
        match self.clamp.iter().find(|(n, ..)| n == name) {
            Some((_, low, high)) => value.max(*low).min(*high),
            None => value,
        }
    }

    /// Takes out of the sampling what a rule drops, and what a rule refuses but asks for nothing (a temperature of 1); brings numbers
    /// into their bounds. What comes back is told to the client: a name that was left out, or `name=value` for what was sent instead.
    pub fn apply(&self, request: &mut Request) -> Dropped {
        let mut told = Dropped::new();
        for name in PARAMETERS {
            let (asked, idle) = standing(&request.sampling, name);
            if !asked {
                continue;
            }
            if names(&self.drop, name) || (idle && names(&self.refuse, name)) {
                leave_out(&mut request.sampling, name);
                told.push((*name).to_owned());
            }
        }
        for (name, ..) in &self.clamp {
            if let Some(sent) = self.clamp_one(&mut request.sampling, name) {
                told.push(format!("{name}={sent}"));
            }
        }
        told
    }

    pub(super) fn drops(&self, name: &str) -> bool {
        names(&self.drop, name)
    }

    pub(super) fn refuses(&self, name: &str) -> bool {
        names(&self.refuse, name)
    }

    /// Whether `apply` would change anything; without an allocation, since most requests break no rule.
    #[must_use]
    pub(super) fn bites(&self, request: &Request) -> bool {
        let s = &request.sampling;
        let left_out = PARAMETERS.iter().any(|name| {
            let (asked, idle) = standing(s, name);
            asked && (names(&self.drop, name) || (idle && names(&self.refuse, name)))
        });
        left_out
            || self
                .clamp
                .iter()
                .any(|(name, low, high)| number(s, name).is_some_and(|n| n < *low || n > *high))
    }

    /// What is sent instead, if it is not what was asked.
    fn clamp_one(&self, s: &mut Sampling, name: &str) -> Option<f64> {
        let asked = number(s, name)?;
        let sent = self.clamped(name, asked);
        if sent == asked {
            return None;
        }
        // Bounds of counts are whole numbers of a price list's size: nothing is lost in a float.
        match name {
            "max_output" => s.max_output = Some(Tokens(sent as u64)),
            "temperature" => s.temperature = Some(sent),
            "top_p" => s.top_p = Some(sent),
            "top_k" => s.top_k = Some(sent as u64),
            "presence_penalty" => s.presence_penalty = Some(sent),
            "frequency_penalty" => s.frequency_penalty = Some(sent),
            "top_logprobs" => s.top_logprobs = Some(sent as u32),
            "choices" => s.choices = Some(sent as u32),
            _ => return None,
        }
        Some(sent)
    }
}

fn names(list: &[String], name: &str) -> bool {
    list.iter().any(|n| n == name)
}

/// Whether the parameter, written as `value`, asks for what would happen anyway.
pub(super) fn idles(name: &str, number: Option<f64>, value: &str) -> bool {
    match name {
        "temperature" | "top_p" | "choices" => number == Some(1.0),
        "presence_penalty" | "frequency_penalty" | "top_logprobs" => number == Some(0.0),
        "logprobs" => value == "false",
        _ => false,
    }
}

/// Whether the parameter was asked for, and whether what was asked for would happen anyway.
fn standing(s: &Sampling, name: &str) -> (bool, bool) {
    let is = |value: Option<f64>, idle: f64| (value.is_some(), value == Some(idle));
    match name {
        "max_output" => (s.max_output.is_some(), false),
        "temperature" => is(s.temperature, 1.0),
        "top_p" => is(s.top_p, 1.0),
        "top_k" => (s.top_k.is_some(), false),
        "stop" => (!s.stop.is_empty(), false),
        "seed" => (s.seed.is_some(), false),
        "presence_penalty" => is(s.presence_penalty, 0.0),
        "frequency_penalty" => is(s.frequency_penalty, 0.0),
        "logit_bias" => (s.logit_bias.is_some(), false),
        "logprobs" => (s.logprobs.is_some(), s.logprobs == Some(false)),
        "top_logprobs" => (s.top_logprobs.is_some(), s.top_logprobs == Some(0)),
        "choices" => (s.choices.is_some(), s.choices == Some(1)),
        "verbosity" => (s.verbosity.is_some(), false),
        _ => (false, false),
    }
}

fn leave_out(s: &mut Sampling, name: &str) {
    match name {
        "max_output" => s.max_output = None,
        "temperature" => s.temperature = None,
        "top_p" => s.top_p = None,
        "top_k" => s.top_k = None,
        "stop" => s.stop.clear(),
        "seed" => s.seed = None,
        "presence_penalty" => s.presence_penalty = None,
        "frequency_penalty" => s.frequency_penalty = None,
        "logit_bias" => s.logit_bias = None,
        "logprobs" => s.logprobs = None,
        "top_logprobs" => s.top_logprobs = None,
        "choices" => s.choices = None,
        "verbosity" => s.verbosity = None,
        _ => {}
    }
}

fn number(s: &Sampling, name: &str) -> Option<f64> {
    match name {
        "max_output" => s.max_output.map(|t| t.0 as f64),
        "temperature" => s.temperature,
        "top_p" => s.top_p,
        "top_k" => s.top_k.map(|k| k as f64),
        "presence_penalty" => s.presence_penalty,
        "frequency_penalty" => s.frequency_penalty,
        "top_logprobs" => s.top_logprobs.map(f64::from),
        "choices" => s.choices.map(f64::from),
        _ => None,
    }
}

/// Every parameter of sampling, by canon's names.
pub(super) const PARAMETERS: &[&str] = &[
    "max_output",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "choices",
    "verbosity",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{DialectName, Role, Turn};
    use crate::protocol::dialect::{Target, write_request};

    fn request(sampling: Sampling) -> Request {
        let hello = Turn {
            role: Role::User,
            blocks: vec![crate::canon::Block::text("hello")],
            name: None,
        };
        Request {
            turns: vec![hello],
            sampling,
            ..Request::default()
        }
    }

    fn rules() -> Rules {
        Rules {
            clamp: vec![
                ("temperature".to_owned(), 0.0, 1.0),
                ("max_output".to_owned(), 0.0, 64_000.0),
            ],
            drop: vec!["seed".to_owned()],
            refuse: vec!["top_p".to_owned(), "stop".to_owned()],
            ..Rules::default()
        }
    }

    #[test]
    fn numbers_are_brought_into_bounds_and_told() {
        let mut asked = request(Sampling {
            temperature: Some(1.7),
            max_output: Some(Tokens(100_000)),
            ..Sampling::default()
        });
        assert!(rules().bites(&asked));
        assert_eq!(
            rules().apply(&mut asked),
            ["temperature=1", "max_output=64000"]
        );
        assert_eq!(asked.sampling.temperature, Some(1.0));
        assert_eq!(asked.sampling.max_output, Some(Tokens(64_000)));
        assert!(!rules().bites(&asked));
        assert_eq!(rules().clamped("top_p", 7.0), 7.0);
    }

    #[test]
    fn what_is_dropped_or_asks_for_nothing_is_left_out_and_told() {
        let mut asked = request(Sampling {
            seed: Some(7),
            top_p: Some(1.0),
            ..Sampling::default()
        });
        assert_eq!(rules().apply(&mut asked), ["top_p", "seed"]);
        assert_eq!(asked.sampling, Sampling::default());
    }

    #[test]
    fn what_is_refused_and_asks_for_something_stays_for_the_writer() {
        let sampling = Sampling {
            top_p: Some(0.5),
            stop: vec!["x".into()],
            ..Sampling::default()
        };
        let mut asked = request(sampling.clone());
        assert!(!rules().bites(&asked));
        assert_eq!(rules().apply(&mut asked), Dropped::new());
        assert_eq!(asked.sampling, sampling);
    }

    #[test]
    fn every_parameter_can_be_left_out_and_every_number_clamped() {
        let sampling = Sampling {
            max_output: Some(Tokens(9)),
            temperature: Some(9.0),
            top_p: Some(9.0),
            top_k: Some(9),
            stop: vec!["x".into()],
            seed: Some(9),
            presence_penalty: Some(9.0),
            frequency_penalty: Some(9.0),
            logit_bias: crate::base::Json::parse("{}".into()).ok(),
            logprobs: Some(true),
            top_logprobs: Some(9),
            choices: Some(9),
            verbosity: Some("low".into()),
        };
        let all = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let drop = Rules {
            drop: all(PARAMETERS),
            ..Rules::default()
        };
        let mut asked = request(sampling.clone());
        assert_eq!(drop.apply(&mut asked), PARAMETERS);
        assert_eq!(asked.sampling, Sampling::default());
        for name in Rules::CLAMPED {
            let clamp = Rules {
                clamp: vec![(name.to_owned(), 0.0, 2.0)],
                ..Rules::default()
            };
            let mut asked = request(sampling.clone());
            assert_eq!(clamp.apply(&mut asked), [format!("{name}=2")]);
            assert_eq!(number(&asked.sampling, name), Some(2.0));
        }
    }

    #[test]
    fn every_writer_profits() {
        let rules = rules();
        let target = Target {
            model: "m",
            stream: false,
            max_output_default: 1_000,
            rules: &rules,
        };
        let asked = request(Sampling {
            temperature: Some(1.7),
            seed: Some(7),
            ..Sampling::default()
        });
        for dialect in [
            DialectName::Chat,
            DialectName::Messages,
            DialectName::Native,
        ] {
            let (body, dropped) = write_request(dialect, &asked, &target).expect("sayable");
            let body = String::from_utf8(body.to_vec()).expect("text");
            assert!(!body.contains("1.7") && !body.contains("seed"), "{body}");
            assert_eq!(dropped, ["seed", "temperature=1"], "{dialect:?}");
        }
    }
}
