//! Keys of providers that lie encrypted: the commands, and a router that takes them.

use super::client::Conn;
use super::house::{Program, VAULT_KEY, fake, figure, on_both, program, quick, until};
use super::words::{Ask, Dialect, read};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use stokehold::fake::Settings;

fn vault(data: &Path, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(program())
        .arg("vault")
        .args(words)
        .arg("--data-dir")
        .arg(data)
        .env("STOKEHOLD_VAULT_KEY", VAULT_KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut to = child.stdin.take().expect("piped");
    // A command that wants no input may be gone already.
    let _ = to.write_all(input.as_bytes());
    drop(to);
    child.wait_with_output().expect("it ends")
}

fn fine(data: &Path, words: &[&str], input: &str) -> String {
    let output = vault(data, words, input);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_vault_is_set_listed_rotated_and_emptied_and_prints_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut said = fine(&data, &["set", "a"], "sk-very-hidden\n");
    said += &fine(&data, &["set", "b"], "sk-other-hidden");
    said += &fine(&data, &["rotate", "a"], "sk-newer-hidden\n");
    let listed = fine(&data, &["list"], "");
    assert!(listed.contains("a ") && listed.contains("b "), "{listed}");
    let path = data.join("vault.json");
    let file = std::fs::read_to_string(&path).expect("a file");
    said += &fine(&data, &["remove", "a"], "");
    said += &listed;
    said += &file;
    assert!(!said.contains("hidden"), "{said}");
    let mode = std::fs::metadata(&path).expect("a file").mode();
    assert_eq!(mode & 0o777, 0o600);
    for (words, input, says) in [
        (["rotate", "a"], "x", "the vault has no secret \"a\""),
        (["remove", "a"], "", "the vault has no secret \"a\""),
        (["set", "c"], "", "standard input must be the secret"),
        (
            ["set", "c"],
            "two words",
            "standard input must be the secret",
        ),
        (["set", "a/b"], "x", "a name has"),
    ] {
        let output = vault(&data, &words, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(says), "{told}");
        assert!(!told.contains("two words"), "{told}");
    }
    let key = fine(&data, &["key"], "");
    assert_eq!(key.trim().len(), 64, "{key}");
}

fn status(at: SocketAddr) -> u16 {
    let ask = Ask::new(Dialect::Chat, "at-up", "hello");
    Conn::plain(at).ask(&ask).head.status
}

/// A stream runs while its key is rotated twice: it ends whole, and the next requests go with what the vault has then.
#[test]
fn a_key_is_rotated_while_a_stream_runs() {
    on_both(|plan| {
        let known = |key: &str| (key.to_owned(), "org".to_owned());
        let settings = Settings {
            keys: Some(vec![known("sk-first"), known("sk-third")]),
            between_tokens: Duration::from_millis(40),
            ..quick()
        };
        let (_fakes, up) = fake(settings);
        let pools = ", pools: [{id: p, keys: [{id: k, secret: \"vault:up\"}]}]";
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fine(&data, &["set", "up"], "sk-first");
        let program = Program::start_in(folder, &plan.other("up", up, pools));
        let at = program.at;
        assert_eq!(status(at), 200);
        let stream = std::thread::spawn(move || {
            let text = "[[fake: output_tokens=120]]";
            let ask = Ask::new(Dialect::Chat, "at-up", text).streamed();
            let answer = Conn::plain(at).ask(&ask);
            (answer.head.status, read(&ask, &answer))
        });
        until("the stream runs", || {
            figure(program.operator, "calls_open") >= 1.0
        });
        // The provider does not know this one: so it is seen that it is used.
        fine(&data, &["rotate", "up"], "sk-second");
        program.signal("HUP");
        until("the second is used", || status(at) != 200);
        fine(&data, &["rotate", "up"], "sk-third");
        program.signal("HUP");
        until("the third is used", || status(at) == 200);
        let (status, said) = stream.join().expect("no panic");
        assert_eq!(status, 200);
        assert!(said.ended && said.error.is_none(), "{said:?}");
        let told = program.said();
        assert!(!told.contains("sk-first") && !told.contains("sk-third"));
    });
}
