//! The README's examples, run as they are printed against the program as it comes: `config/stokehold.yaml`, no key in the environment.

use crate::clients::environment::{self, Language};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tungstenite::Message;

/// The program, serving.
struct Program {
    child: Child,
    /// `127.0.0.1:4711`.
    address: String,
    /// What it has said so far, until it serves.
    greeting: String,
    stderr: BufReader<std::process::ChildStderr>,
    _data: TempDir,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stokehold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stokehold"));
    command.current_dir(root());
    for name in [
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "STOKEHOLD_DEMO_KEY",
        "STOKEHOLD_CONFIG",
    ] {
        command.env_remove(name);
    }
    command
}

impl Program {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = stokehold()
            .env("STOKEHOLD_LISTEN", "127.0.0.1:0")
            .env("STOKEHOLD_OPERATOR", "127.0.0.1:0")
            .env("STOKEHOLD_DATA_DIR", data.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        // The curl line is the last thing it says, and its own last line holds the body.
        while !greeting.lines().any(|l| l.trim_start().starts_with("-d ")) {
            let read = stderr.read_line(&mut greeting).unwrap();
            assert!(read > 0, "it ended: {greeting}");
        }
        let address = greeting
            .split_once("on http://")
            .and_then(|(_, rest)| rest.split([',', ' ', '\n']).next())
            .unwrap_or_else(|| panic!("no address in {greeting}"))
            .to_owned();
        Self {
            child,
            address,
            greeting,
            stderr,
            _data: data,
        }
    }

    /// The text of an example, for where this program listens.
    fn here(&self, text: &str) -> String {
        assert!(text.contains(PRINTED), "{text} is for another address");
        text.replace(PRINTED, &self.address)
    }

    /// Asks it to end, as systemd does. What it still said, and how it ended.
    fn stop(mut self) -> (String, ExitStatus) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (said, self.child.wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that failed leaves nothing running; one that ended well has nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that README prints.
const PRINTED: &str = "127.0.0.1:8080";

/// The code blocks of README in `language`.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let start = format!("```{language}\n");
    let found = text.split(start.as_str()).skip(1);
    found
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs a line that begins with `curl`, and gives what it printed.
fn curl(line: &str) -> String {
    let arguments = line.strip_prefix("curl ").unwrap();
    let mut command = Command::new("sh");
    let line = match Command::new("curl").arg("--version").output() {
        Ok(_) => format!("curl -sS --fail-with-body --max-time 30 {arguments}"),
        // Python is there where the SDKs are.
        Err(_) => format!("python3 -B tests/clients/curl.py {arguments}"),
    };
    environment::to_loopback(&mut command);
    let output = command
        .current_dir(root())
        .args(["-c", &line])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{said}\n{complained}");
    said
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Names of the events of a stream, in order.
fn event_names(stream: &str) -> Vec<&str> {
    let lines = stream.lines();
    lines.filter_map(|l| l.strip_prefix("event: ")).collect()
}

#[test]
fn curl_lines_work_as_printed() {
    let program = Program::start();
    let shell = blocks("sh").concat();
    let lines: Vec<&str> = shell.lines().filter(|l| l.starts_with("curl ")).collect();
    let [plain, sse, native] = lines[..] else {
        panic!("not three lines: {lines:?}");
    };
    let answer = json(&curl(&program.here(plain)));
    let said = &answer["choices"][0]["message"]["content"];
    assert!(
        said.as_str().unwrap().starts_with("You said: hello"),
        "{answer}"
    );
    assert!(
        answer["usage"]["total_tokens"].as_u64().unwrap() > 0,
        "{answer}"
    );

    let stream = curl(&program.here(sse));
    let names = event_names(&stream);
    assert_eq!(names.first(), Some(&"message_start"), "{stream}");
    assert_eq!(names.last(), Some(&"message_stop"), "{stream}");
    assert!(names.contains(&"content_block_delta"), "{stream}");

    let stream = curl(&program.here(native));
    let names = event_names(&stream);
    assert_eq!(names.first(), Some(&"response.created"), "{stream}");
    assert_eq!(names.last(), Some(&"response.done"), "{stream}");
    assert!(names.contains(&"block.delta"), "{stream}");
    let (said, status) = program.stop();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn the_line_it_greets_with_works() {
    let program = Program::start();
    let (_, line) = program.greeting.split_once("try: ").unwrap();
    let answer = json(&curl(line.trim()));
    assert_eq!(answer["object"], "chat.completion");
    let (said, status) = program.stop();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn the_websocket_example_works_as_printed() {
    let program = Program::start();
    let block = blocks("js").concat();
    let (_, rest) = block.split_once("new WebSocket('").unwrap();
    let url = program.here(rest.split('\'').next().unwrap());
    let sent = block.split("socket.send('").skip(1);
    let stream = TcpStream::connect(&program.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let (mut socket, _) = tungstenite::client::client(url, stream).unwrap();
    for text in sent {
        let text = text.split("');").next().unwrap().to_owned();
        socket.send(Message::text(text)).unwrap();
    }
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "response.done") {
        let Message::Text(text) = socket.read().unwrap() else {
            continue;
        };
        let event = json(&text);
        let kind = event["type"].as_str().unwrap();
        assert_ne!(kind, "error", "{event}");
        if kind != "auth.ok" {
            assert_eq!(event["request_id"], "1", "{event}");
        }
        kinds.push(kind.to_owned());
    }
    assert_eq!(kinds[..2], ["auth.ok", "response.created"]);
    drop(socket);
    let (said, status) = program.stop();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn sdk_examples_work_as_printed() {
    if environment::left_out() {
        return;
    }
    let program = Program::start();
    for (language, name) in [(Language::Python, "python"), (Language::Node, "mjs")] {
        let code = blocks(name);
        assert_eq!(code.len(), 1, "{name}");
        let output = language
            .command_of(&program.here(&code[0]))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complained}");
        let right = said.lines().filter(|l| l.starts_with("You said: hello"));
        assert_eq!(right.count(), 2, "{said}");
    }
    let (said, status) = program.stop();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn exit_codes_are_as_told() {
    let code = |arguments: &[&str]| stokehold().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["check"]), Some(0));
    assert_eq!(code(&["--no-such-argument"]), Some(2));
    assert_eq!(code(&["check", "--config", "no/such/file.yaml"]), Some(3));
    assert_eq!(code(&["serve", "--config", "no/such/file.yaml"]), Some(3));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data = tempfile::tempdir().unwrap();
    let failed = stokehold()
        .env("STOKEHOLD_LISTEN", taken.local_addr().unwrap().to_string())
        .env("STOKEHOLD_OPERATOR", "127.0.0.1:0")
        .env("STOKEHOLD_DATA_DIR", data.path())
        .output()
        .unwrap();
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let words: String = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "0 fine, 1 failure while running, 2 wrong arguments, 3 wrong configuration";
    assert!(words.contains(told), "README tells other exit codes");
}

/// Paths that README names in code marks are there.
#[test]
fn files_it_names_are_there() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = text.split_once("## Read on").unwrap();
    let missing: Vec<&str> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|path| !root().join(path).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
