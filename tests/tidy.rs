//! What the compiler does not hold in one crate: arrows between rooms, files that are part of the tree, banned words, ratchets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may name. The order is that of `src/lib.rs`.
const ARROWS: [(&str, &[&str]); 11] = [
    ("base", &[]),
    ("canon", &["base"]),
    ("protocol", &["base", "canon"]),
    ("policy", &["base", "canon"]),
    ("config", &["base", "canon", "protocol", "policy"]),
    ("shard", &["base", "canon", "protocol", "policy", "config"]),
    // A provider of our own, which must not share a codec with us.
    ("fake", &["base"]),
    ("net", &["base", "canon", "config", "shard"]),
    ("iocore", &["base", "canon", "config", "shard"]),
    (
        "node",
        &["base", "canon", "config", "shard", "fake", "net", "iocore"],
    ),
    // `usage` reads the ledger; nothing else here does I/O but reading files and printing.
    (
        "offline",
        &[
            "base", "canon", "protocol", "policy", "config", "shard", "iocore",
        ],
    ),
];

/// Rooms in which time, chance, threads and sockets do not exist.
const PURE: [&str; 7] = [
    "base", "canon", "protocol", "policy", "config", "shard", "fake",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![under.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rooms() -> BTreeSet<String> {
    ARROWS.iter().map(|(room, _)| (*room).to_owned()).collect()
}

/// Text without comments and strings would be a parser's work; a line's code before `//` is near enough.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.split("//").next().unwrap_or("")))
}

/// The rooms a line of code names by `crate::…`, also within braces.
fn named(line: &str) -> Vec<String> {
    let word = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + 7..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').map(|part| word(part.trim()))),
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn rooms_import_only_leftwards() {
    let mut wrong = Vec::new();
    for (room, may) in ARROWS {
        for file in rust_files(&root().join("src").join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in code_lines(&text) {
                for other in named(line) {
                    if rooms().contains(&other) && other != room && !may.contains(&other.as_str()) {
                        wrong.push(format!("{}:{number}: {room} names {other}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_known_and_listed_in_order() {
    let folders: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, rooms(), "rooms on disk and in the table");
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed: Vec<&str> = lib
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let table: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    assert_eq!(listed, table);
}

#[test]
fn no_file_is_dead() {
    for file in rust_files(&root().join("src")) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if ["mod", "lib", "main"].contains(&name.as_str()) {
            continue;
        }
        let folder = file.parent().unwrap();
        let parents = [
            folder.join("mod.rs"),
            folder.with_extension("rs"),
            folder.join("lib.rs"),
        ];
        // A file of tests may lie beside the file it tests.
        let by_path = rust_files(folder).iter().any(|p| {
            fs::read_to_string(p)
                .unwrap()
                .contains(&format!("#[path = \"{name}.rs\"]"))
        });
        let declared = |text: &str| {
            text.lines().any(|l| {
                l.trim_start()
                    .trim_start_matches("pub(crate) ")
                    .trim_start_matches("pub(super) ")
                    .trim_start_matches("pub(in crate::protocol::dialect) ")
                    .trim_start_matches("pub ")
                    .starts_with(&format!("mod {name};"))
            })
        };
        let found = parents
            .iter()
            .filter_map(|p| fs::read_to_string(p).ok())
            .any(|text| declared(&text));
        assert!(found || by_path, "{} is nobody's module", file.display());
    }
}

#[test]
fn pure_rooms_know_no_clock_socket_or_thread() {
    let banned = [
        "Instant::now",
        "SystemTime",
        "std::thread",
        "std::net::Tcp",
        "std::net::Udp",
        "tokio::",
        "glommio::",
        "hyper::",
        "std::env",
        "RandomState",
        "thread_rng",
        "static mut",
        "lazy_static",
        "thread_local",
        "std::fs",
        "Mutex",
        "RwLock",
    ];
    let mut wrong = Vec::new();
    for room in PURE {
        for file in rust_files(&root().join("src").join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            // Tests at a file's end, and files of tests, may read recordings.
            let of_tests = file.components().any(|c| c.as_os_str() == "tests");
            if of_tests
                || file
                    .file_stem()
                    .is_some_and(|n| n == "recorded" || n.to_string_lossy().starts_with("test"))
            {
                continue;
            }
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or(&text);
            for (number, line) in code_lines(code) {
                for word in banned.iter().filter(|word| line.contains(*word)) {
                    wrong.push(format!(
                        "{}:{number}: {word} in a pure room",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_files_may_be_unsafe() {
    let mut found = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        if code_lines(&text).any(|(_, line)| {
            line.contains("unsafe ")
                || line.contains("allow(unsafe_code")
                || line.contains("expect(unsafe_code")
        }) {
            found.push(
                file.strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    let may = [
        "src/net/ring_flags.rs",
        "src/net/mod.rs",
        "src/iocore/spool/map.rs",
    ];
    found.retain(|f| !may.contains(&f.as_str()));
    assert!(
        found.is_empty(),
        "unsafe outside of net/ring_flags.rs and iocore/spool/map.rs: {found:?}"
    );
}

#[test]
fn no_unfinished_marks() {
    let marks = [
        "to".to_owned() + "do!(",
        "unimpl".to_owned() + "emented!(",
        "FIX".to_owned() + "ME",
        "#[ig".to_owned() + "nore",
    ];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "bench"] {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark.as_str())) {
                    wrong.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_we_do_not_say() {
    // STYLE's table: what stands left is what we say.
    let banned = ["backend", "Backend"];
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            if banned.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The longest files; a number here may fall, never rise.
#[test]
fn files_do_not_grow_without_end() {
    const LINES_MAX: usize = 900;
    for file in rust_files(&root().join("src")) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(
            lines <= LINES_MAX,
            "{} has {lines} lines: does it hold one noun, or two?",
            file.display()
        );
    }
}
