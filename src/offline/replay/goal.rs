//! What a replay is to show: a goal, the figure that was measured, and whether it is met.

use serde::Serialize;

/// One line of a verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    pub what: String,
    pub bound: Bound,
    pub figure: f64,
    pub is_met: bool,
}

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    #[must_use]
    pub fn new(what: impl Into<String>, bound: Bound, figure: f64) -> Self {
        Self {
            what: what.into(),
            bound,
            figure,
            is_met: bound.holds(figure),
        }
    }

    /// What it is, the goal, the figure, and the verdict.
    pub(super) fn cells(&self) -> [String; 4] {
        let (sign, bound) = match self.bound {
            Bound::AtMost(bound) => ("≤", bound),
            Bound::AtLeast(bound) => ("≥", bound),
        };
        [
            self.what.clone(),
            format!("{sign} {}", shown(bound)),
            shown(self.figure),
            if self.is_met { "met" } else { "missed" }.to_owned(),
        ]
    }
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

/// To four places, without zeros at the end.
fn shown(figure: f64) -> String {
    let text = format!("{figure:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_bound_and_missed_beyond_it() {
        let at = |bound, figure| Goal::new("x", bound, figure).is_met;
        assert!(at(Bound::AtMost(1.01), 1.01) && !at(Bound::AtMost(1.01), 1.0101));
        assert!(at(Bound::AtLeast(0.55), 0.55) && !at(Bound::AtLeast(0.55), 0.54));
        assert!(
            !at(Bound::AtMost(1.0), f64::NAN),
            "nothing measured is not met"
        );
        let cells = Goal::new("delay", Bound::AtMost(0.5), 0.0).cells();
        assert_eq!(cells, ["delay", "≤ 0.5", "0", "met"]);
    }
}
