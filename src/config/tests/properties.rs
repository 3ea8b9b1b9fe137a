//! What holds for every field the readers know, and for files made to do harm.

use super::problems;
use crate::base::Rng;
use crate::config::raw;
use crate::config::read::{Shape, outline};

/// A file with `last` in the place of `path`, one line a level, and the line that `last` is on.
fn nested(path: &str, shapes: &[(String, Shape)], last: &str) -> (String, usize) {
    let parts: Vec<&str> = path.split('.').collect();
    let (mut text, mut indent, mut full) = (String::new(), 0, String::new());
    let mut dash = "";
    for (i, part) in parts.iter().enumerate() {
        full = if i == 0 {
            (*part).to_owned()
        } else {
            format!("{full}.{part}")
        };
        let blank = " ".repeat(indent);
        if i + 1 == parts.len() {
            text.push_str(&format!("{blank}{dash}{}\n", last.replace("FIELD", part)));
            break;
        }
        text.push_str(&format!("{blank}{dash}{part}:\n"));
        let list = shapes.iter().any(|(p, s)| *p == full && *s == Shape::List);
        indent += 2 + dash.len();
        dash = if list { "- " } else { "" };
    }
    (text, parts.len())
}

#[test]
fn every_mistyped_field_is_caught_at_its_line() {
    let shapes = outline(raw::config);
    assert!(shapes.len() > 130, "{}", shapes.len());
    for (path, shape) in &shapes {
        let wrong = match shape {
            Shape::Text | Shape::Secret | Shape::Bool | Shape::Count | Shape::Number => {
                "FIELD: {a: [b]}"
            }
            Shape::Duration | Shape::Size | Shape::Usd | Shape::Price | Shape::Word => {
                "FIELD: no-such-thing"
            }
            Shape::Texts => "FIELD: [{a: b}]",
            Shape::Pairs | Shape::Section | Shape::List => "FIELD: 7",
        };
        let (text, line) = nested(path, &shapes, wrong);
        let told = problems(&[("a", &text)], &[]);
        let (place, name) = (format!("a:{line}:"), path.as_str());
        let caught = told
            .iter()
            .any(|p| p.starts_with(&place) && p.contains(name));
        assert!(caught, "{path}\n{text}\n{told:#?}");
    }
}

#[test]
fn every_unknown_field_is_caught_at_its_line() {
    let shapes = outline(raw::config);
    for (path, _) in &shapes {
        let (text, line) = nested(path, &shapes, "zz_FIELD: 1");
        let told = problems(&[("a", &text)], &[]);
        let place = format!("a:{line}:");
        let caught = told
            .iter()
            .any(|p| p.starts_with(&place) && p.contains("unknown field \"zz_"));
        assert!(caught, "{path}\n{text}\n{told:#?}");
    }
}

// --- hostile text ---

#[test]
fn hostile_files_are_refused_and_bounded() {
    let deep_flow = "[".repeat(100_000);
    let deep_block: String = (0..2_000)
        .map(|i| format!("{}a:\n", " ".repeat(i)))
        .collect();
    let bomb: String = (1..60)
        .map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1))
        .collect();
    let bomb = format!("a0: &a0 [x]\n{bomb}");
    let unknown: String = (0..50_000).map(|i| format!("f{i}: 1\n")).collect();
    let long = format!("data_dir: {}\n", "x".repeat(5 << 20));
    let cases = [
        deep_flow.as_str(),
        &deep_block,
        &bomb,
        &unknown,
        &long,
        "server:\n\tdrain: 1s\n",
        "a: b: c",
        "{",
        "\"",
        "? [a]\n: b\n",
        "---\na: 1\n---\nb: 2\n",
        "!!binary x",
        "\u{0}",
        "a: |\n x\n b",
        "<<: {a: b}",
        "&",
        "*",
        "- -",
    ];
    for case in cases {
        let told = problems(&[("a", case)], &[]);
        let head: String = case.chars().take(40).collect();
        assert!(
            !told.is_empty() && told.len() <= 1_000,
            "{head:?}: {}",
            told.len()
        );
    }
}

#[test]
fn no_damage_to_a_file_makes_it_panic() {
    let text = include_str!("../../../config/example.yaml").replace("#= ", "");
    let bytes = text.as_bytes();
    let noise = b"{}[]:,-#&*!|>'\"%@`$ \n\t~?x0";
    let mut rng = Rng::seeded(7);
    for round in 0..150 {
        let mut damaged = bytes.to_vec();
        for _ in 0..=rng.below(6) {
            let at = rng.below(damaged.len() as u64) as usize;
            match rng.below(3) {
                0 => damaged[at] = noise[rng.below(noise.len() as u64) as usize],
                1 => drop(damaged.drain(at..(at + rng.below(40) as usize).min(damaged.len()))),
                _ => damaged.insert(at, noise[rng.below(noise.len() as u64) as usize]),
            }
        }
        let damaged = String::from_utf8_lossy(&damaged).into_owned();
        let caught = std::panic::catch_unwind(|| problems(&[("a", &damaged)], &[]));
        assert!(caught.is_ok(), "round {round} of seed 7");
    }
}
