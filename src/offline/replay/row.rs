//! Results side by side: one row a policy, with what a table prints and what `--json` says.

use super::book::{Book, Prices};
use super::goal::Goal;
use super::run::{Outcome, quantile};
use crate::base::Rng;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// What one policy did with a trace, over one or more seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub policy: String,
    /// Of input, to that of the reference of its table.
    pub ratio: f64,
    /// Between these the ratio lies for 95 of 100 drawings of the sessions (bootstrap); equal when there are too few sessions.
    pub ratio_low: f64,
    pub ratio_high: f64,
    /// Millions of plain input tokens per 1,000 requests that the input, pings included, cost as much as.
    pub input_mtok_per_thousand: f64,
    /// Input and output, per 1,000 requests.
    pub usd_per_thousand: f64,
    pub output_usd_per_thousand: f64,
    pub cached_ratio: f64,
    pub pings_per_thousand: f64,
    pub refusals_per_request: f64,
    pub delay_p50_seconds: f64,
    pub delay_p99_seconds: f64,
    pub delay_mean_seconds: f64,
    pub first_byte_p50_seconds: f64,
    pub first_byte_p99_seconds: f64,
    pub requests: u64,
    #[serde(skip)]
    sessions: BTreeMap<u32, Book>,
    #[serde(skip)]
    prices: Prices,
}

impl Row {
    /// All of `outcomes` as one, its ratio still to be set by `against`.
    #[must_use]
    pub fn of(policy: impl Into<String>, outcomes: &[Outcome], prices: Prices) -> Self {
        let mut sessions: BTreeMap<u32, Book> = BTreeMap::new();
        for outcome in outcomes {
            for (session, book) in &outcome.sessions {
                *sessions.entry(*session).or_default() += *book;
            }
        }
        let mut row = Self::counted(policy, sessions, prices);
        let refusals: u64 = outcomes.iter().map(|o| o.refusals).sum();
        row.refusals_per_request = refusals as f64 / (row.requests as f64).max(1.0);
        let delays = merged(outcomes, |o| &o.delays);
        row.delay_p50_seconds = quantile(&delays, 0.5).as_secs_f64();
        row.delay_p99_seconds = quantile(&delays, 0.99).as_secs_f64();
        let sum: f64 = delays.iter().map(Duration::as_secs_f64).sum();
        row.delay_mean_seconds = sum / (delays.len() as f64).max(1.0);
        let first = merged(outcomes, |o| &o.first_bytes);
        row.first_byte_p50_seconds = quantile(&first, 0.5).as_secs_f64();
        row.first_byte_p99_seconds = quantile(&first, 0.99).as_secs_f64();
        row
    }

    /// A row of books alone: what has no times.
    #[must_use]
    pub fn counted(
        policy: impl Into<String>,
        sessions: BTreeMap<u32, Book>,
        prices: Prices,
    ) -> Self {
        let mut all = Book::default();
        sessions.values().for_each(|book| all += *book);
        let thousands = (all.requests as f64 / 1000.0).max(f64::MIN_POSITIVE);
        Self {
            policy: policy.into(),
            ratio: 1.0,
            ratio_low: 1.0,
            ratio_high: 1.0,
            input_mtok_per_thousand: all.input_tokens_paid(&prices) / 1e6 / thousands,
            usd_per_thousand: all.dollars(&prices) / thousands,
            output_usd_per_thousand: all.output as f64 * prices.output_usd_per_million
                / 1e6
                / thousands,
            cached_ratio: all.cached_ratio(),
            pings_per_thousand: all.pings as f64 / thousands,
            refusals_per_request: 0.0,
            delay_p50_seconds: 0.0,
            delay_p99_seconds: 0.0,
            delay_mean_seconds: 0.0,
            first_byte_p50_seconds: 0.0,
            first_byte_p99_seconds: 0.0,
            requests: all.requests,
            sessions,
            prices,
        }
    }

    /// Sets the ratio to `reference`, which must have the same sessions, and its bounds.
    #[must_use]
    pub fn against(mut self, reference: &Self) -> Self {
        let mine = self.paid();
        let theirs = reference.paid();
        self.ratio = total(&mine) / total(&theirs).max(1.0);
        (self.ratio_low, self.ratio_high) =
            bounds(&mine, &theirs).unwrap_or((self.ratio, self.ratio));
        self
    }

    /// The share of what `best` saves over `reference` that this one saves too.
    #[must_use]
    pub fn gap_closed(&self, reference: &Self, best: &Self) -> f64 {
        let mine = reference.input_mtok_per_thousand - self.input_mtok_per_thousand;
        mine / (reference.input_mtok_per_thousand - best.input_mtok_per_thousand)
    }

    /// The cheaper of two rows for each session, as chosen by `first`: by session, whether this one's is taken.
    #[must_use]
    pub fn choose(
        &self,
        other: &Self,
        policy: impl Into<String>,
        first: impl Fn(u32) -> bool,
    ) -> Self {
        let books = self.sessions.iter().map(|(session, mine)| {
            let theirs = other.sessions.get(session).copied().unwrap_or_default();
            (*session, if first(*session) { *mine } else { theirs })
        });
        Self::counted(policy, books.collect(), self.prices)
    }

    /// What each session cost, in plain input tokens.
    #[must_use]
    pub fn paid_by(&self, session: u32) -> f64 {
        self.sessions
            .get(&session)
            .map_or(0.0, |book| book.input_tokens_paid(&self.prices))
    }

    fn paid(&self) -> Vec<f64> {
        self.sessions
            .values()
            .map(|book| book.input_tokens_paid(&self.prices))
            .collect()
    }
}

fn merged(outcomes: &[Outcome], of: impl Fn(&Outcome) -> &Vec<Duration>) -> Vec<Duration> {
    let mut all: Vec<Duration> = outcomes
        .iter()
        .flat_map(|o| of(o).iter().copied())
        .collect();
    all.sort_unstable();
    all
}

fn total(costs: &[f64]) -> f64 {
    costs.iter().sum()
}

/// Drawings of the bootstrap; the bounds move by less than a thousandth with more.
const DRAWINGS: usize = 400;
const SESSIONS_MIN: usize = 20;

/// Bounds of the ratio of sums over sessions drawn with replacement.
fn bounds(mine: &[f64], theirs: &[f64]) -> Option<(f64, f64)> {
    if mine.len() < SESSIONS_MIN || mine.len() != theirs.len() {
        return None;
    }
    let mut rng = Rng::seeded(1);
    let mut ratios: Vec<f64> = (0..DRAWINGS)
        .map(|_| {
            let (mut a, mut b) = (0.0, 0.0);
            for _ in 0..mine.len() {
                let drawn = rng.below(mine.len() as u64) as usize;
                a += mine[drawn];
                b += theirs[drawn];
            }
            a / b.max(1.0)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    // 2.5 % of the drawings lie beyond each bound.
    Some((ratios[DRAWINGS / 40], ratios[DRAWINGS - 1 - DRAWINGS / 40]))
}

/// Rows of one question.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    pub title: String,
    pub rows: Vec<Row>,
    pub goals: Vec<Goal>,
}

impl Table {
    #[must_use]
    pub fn row(&self, policy: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.policy == policy)
    }

    /// Heading and rows, cell by cell.
    pub(super) fn lines(&self) -> Vec<Vec<String>> {
        let heading = [
            "policy",
            "ratio",
            "95 % within",
            "Mtok/1k",
            "$/1k",
            "cached",
            "429/req",
            "delay p50",
            "p99",
            "first byte p50",
            "p99",
            "pings/1k",
        ];
        let mut lines = vec![heading.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(Row::cells));
        lines
    }

    /// For people: aligned columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        aligned(&self.lines(), &mut text);
        if !self.goals.is_empty() {
            text.push('\n');
            aligned(&self.goal_lines(), &mut text);
        }
        text
    }

    /// The same of the goals.
    pub(super) fn goal_lines(&self) -> Vec<Vec<String>> {
        let heading = ["goal", "bound", "figure", "verdict"].map(str::to_owned);
        let goals = self.goals.iter().map(|goal| goal.cells().to_vec());
        std::iter::once(heading.to_vec()).chain(goals).collect()
    }
}

/// Appends `lines` in columns.
fn aligned(lines: &[Vec<String>], text: &mut String) {
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            // The first column is words, the rest are figures.
            let _ = if column == 0 {
                write!(text, "  {cell}{pad}")
            } else {
                write!(text, "  {pad}{cell}")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        vec![
            self.policy.clone(),
            format!("{:.3}", self.ratio),
            format!("{:.3}–{:.3}", self.ratio_low, self.ratio_high),
            format!("{:.2}", self.input_mtok_per_thousand),
            format!("{:.1}", self.usd_per_thousand),
            format!("{:.1} %", self.cached_ratio * 100.0),
            format!("{:.3}", self.refusals_per_request),
            format!("{:.1} s", self.delay_p50_seconds),
            format!("{:.1} s", self.delay_p99_seconds),
            format!("{:.1} s", self.first_byte_p50_seconds),
            format!("{:.1} s", self.first_byte_p99_seconds),
            format!("{:.0}", self.pings_per_thousand),
        ]
    }
}
