//! A table as a page for a browser: what the terminal shows, and pictures of it. One file that asks for nothing else.

use super::row::{Row, Table};
use std::fmt::Write;

type Bounds = fn(&Row) -> (f64, f64);

/// One picture: a bar for each policy.
struct Plot {
    title: &'static str,
    unit: &'static str,
    of: fn(&Row) -> f64,
    /// Lower and upper end of what 95 of 100 drawings give, where that is known.
    bounds: Option<Bounds>,
}

const PLOTS: [Plot; 4] = [
    Plot {
        title: "Input, to the reference",
        unit: "×",
        of: |row| row.ratio,
        bounds: Some(|row| (row.ratio_low, row.ratio_high)),
    },
    Plot {
        title: "Input and output, for 1,000 requests",
        unit: "$",
        of: |row| row.usd_per_thousand,
        bounds: None,
    },
    Plot {
        title: "Input read from caches",
        unit: "%",
        of: |row| row.cached_ratio * 100.0,
        bounds: None,
    },
    Plot {
        title: "First byte, 99th of 100",
        unit: "s",
        of: |row| row.first_byte_p99_seconds,
        bounds: None,
    },
];

/// In pixels.
const NAMES: f64 = 230.0;
const BARS: f64 = 560.0;
const FIGURES: f64 = 90.0;
const LINE: f64 = 24.0;

impl Table {
    /// The whole page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::from(HEAD);
        let title = escaped(&self.title);
        let _ = write!(page, "<title>{title}</title></head><body><h1>{title}</h1>");
        for plot in &PLOTS {
            self.plot(plot, &mut page);
        }
        if !self.goals.is_empty() {
            listed("Goals", &self.goal_lines(), &mut page);
        }
        self.figures(&mut page);
        page.push_str("</body></html>\n");
        page
    }

    fn plot(&self, plot: &Plot, page: &mut String) {
        let upper = |row: &Row| plot.bounds.map_or((plot.of)(row), |bounds| bounds(row).1);
        let most = self.rows.iter().map(upper).fold(0.0, f64::max);
        // Nothing to see where all are nothing.
        if most <= 0.0 {
            return;
        }
        let height = self.rows.len() as f64 * LINE + 8.0;
        let width = NAMES + BARS + FIGURES;
        let title = escaped(plot.title);
        let _ = write!(
            page,
            "<h2>{title}, {}</h2><svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">",
            plot.unit
        );
        for (n, row) in self.rows.iter().enumerate() {
            bar(plot, row, n as f64 * LINE, BARS / most, page);
        }
        page.push_str("</svg>");
    }

    fn figures(&self, page: &mut String) {
        listed("All figures", &self.lines(), page);
    }
}

fn listed(title: &str, lines: &[Vec<String>], page: &mut String) {
    let _ = write!(page, "<h2>{title}</h2><table>");
    for (n, line) in lines.iter().enumerate() {
        let cell = if n == 0 { "th" } else { "td" };
        page.push_str("<tr>");
        for text in line {
            let _ = write!(page, "<{cell}>{}</{cell}>", escaped(text));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

fn bar(plot: &Plot, row: &Row, top: f64, scale: f64, page: &mut String) {
    let value = (plot.of)(row);
    let (middle, below) = (top + LINE / 2.0, top + LINE / 2.0 + 4.5);
    let kind = if row.policy == super::reference::OURS {
        "ours"
    } else {
        "other"
    };
    let end = NAMES + value * scale;
    let _ = write!(
        page,
        "<text x=\"{:.1}\" y=\"{below:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{kind}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\"/>",
        NAMES - 8.0,
        escaped(&row.policy),
        middle - 7.0,
        (value * scale).max(0.5)
    );
    let mut after = end;
    if let Some((low, high)) = plot.bounds.map(|bounds| bounds(row)) {
        let (low, high) = (NAMES + low * scale, NAMES + high * scale);
        after = after.max(high);
        let _ = write!(
            page,
            "<path class=\"bounds\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\"/>",
            middle - 4.0,
            middle - 4.0
        );
    }
    let _ = write!(
        page,
        "<text x=\"{:.1}\" y=\"{below:.1}\">{}</text>",
        after + 6.0,
        figure(value)
    );
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"/>\
<meta name=\"viewport\" content=\"width=device-width\"/><style>\
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--bar:#9db4c8;--ours:#c8501e;--line:#555}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#161616;--bar:#4d6a85;--ours:#e07a45;--line:#bbb}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem auto;max-width:900px;padding:0 1rem}\
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.6rem 0 .3rem}svg{width:100%;height:auto;display:block}\
svg text{font:13px system-ui,sans-serif;fill:var(--ink)}.other{fill:var(--bar)}.ours{fill:var(--ours)}\
.bounds{stroke:var(--line);stroke-width:1.3;fill:none}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;display:block;overflow-x:auto}\
th,td{padding:.15rem .6rem;text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}\
tr:nth-child(even) td{background:color-mix(in srgb,var(--ink) 6%,transparent)}</style>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::replay::book::{Book, Prices};
    use crate::offline::replay::goal::{Bound, Goal};
    use std::collections::BTreeMap;

    fn table() -> Table {
        let row = |name: &str, read: u64| {
            let book = Book {
                requests: 10,
                read,
                fresh: 1_000 - read,
                output: 50,
                ..Book::default()
            };
            Row::counted(name, BTreeMap::from([(1, book)]), Prices::default())
        };
        Table {
            title: "a <title> & more".to_owned(),
            rows: vec![
                row("others", 100),
                row(crate::offline::replay::reference::OURS, 900),
            ],
            goals: vec![Goal::new("a < b", Bound::AtMost(1.0), 2.0)],
        }
    }

    #[test]
    fn the_page_has_every_row_a_bar_for_each_figure_and_fetches_nothing() {
        let page = table().page();
        assert!(page.contains("a &lt;title&gt; &amp; more") && !page.contains("<title> &"));
        // No times were counted, so there is no picture of them.
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("class=\"ours\"").count(), 3);
        assert_eq!(page.matches("class=\"other\"").count(), 3);
        assert_eq!(page.matches("<tr>").count(), 3 + 2);
        assert!(page.contains("<td>a &lt; b</td>") && page.contains("<td>missed</td>"));
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_is_opened_is_closed() {
        let page = table().page();
        for name in [
            "html", "head", "body", "svg", "table", "tr", "td", "th", "text", "style", "h1", "h2",
        ] {
            let opened = page.matches(&format!("<{name}>")).count()
                + page.matches(&format!("<{name} ")).count();
            assert_eq!(
                opened,
                page.matches(&format!("</{name}>")).count(),
                "{name}"
            );
        }
    }
}
