//! Python, Node and the SDKs at pinned versions, in a folder under the build's own that is made when missing and kept for the next run.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
    /// Python with packages that stand on the SDKs, apart since they are heavy and hold back versions of theirs.
    Frameworks,
}

/// Whether the one who runs the tests has said that there is no Python and no Node here.
pub fn left_out() -> bool {
    std::env::var_os(WITHOUT).is_some_and(|value| value == "1")
}

const WITHOUT: &str = "STOKEHOLD_WITHOUT_CLIENTS";

impl Language {
    /// Starts `script` of this folder, with the SDKs at hand.
    pub fn command(self, script: &str) -> Command {
        let (program, version) = self.program();
        let installed = self.installed(&program, &version);
        let mut command = match self {
            Self::Python | Self::Frameworks => {
                let mut command = Command::new(installed.join("bin/python"));
                // Bytecode beside the sources would be litter in the tree.
                command.arg("-B").arg(scripts().join(script));
                command
            }
            Self::Node => {
                let mut command = Command::new(program);
                command.arg(installed.join(script));
                command
            }
        };
        to_loopback(&mut command);
        command
    }

    /// Starts what stands in `code`, with the SDKs at hand. One caller at a time.
    pub fn command_of(self, code: &str) -> Command {
        let (program, version) = self.program();
        let installed = self.installed(&program, &version);
        let (program, name) = match self {
            Self::Python | Self::Frameworks => (installed.join("bin/python"), "example.py"),
            Self::Node => (program.into(), "example.mjs"),
        };
        fs::write(installed.join(name), code).unwrap();
        let mut command = Command::new(program);
        command.arg(installed.join(name));
        to_loopback(&mut command);
        command
    }

    /// What to call, and the version it says.
    fn program(self) -> (String, String) {
        let (names, least): (&[&str], _) = match self {
            Self::Python | Self::Frameworks => (
                &[
                    "python3",
                    "python3.14",
                    "python3.13",
                    "python3.12",
                    "python3.11",
                ],
                (3, 11),
            ),
            Self::Node => (&["node", "nodejs"], (20, 0)),
        };
        let found = names.iter().find_map(|name| {
            let output = Command::new(name).arg("--version").output().ok()?;
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            (version(&said)? >= least).then(|| ((*name).to_owned(), said))
        });
        found.unwrap_or_else(|| {
            panic!(
                "no {self:?} of at least {}.{} is installed here; the tests of the official SDKs need it ({WITHOUT}=1 leaves them out)",
                least.0, least.1
            )
        })
    }

    /// The folder with the SDKs. One process at a time looks or installs.
    fn installed(self, program: &str, version: &str) -> PathBuf {
        let wanted = fs::read(scripts().join(self.list())).unwrap();
        let mut hasher = DefaultHasher::new();
        (&wanted, version).hash(&mut hasher);
        let all = kept();
        let lock = File::create(all.join(format!("{self:?}.lock"))).unwrap();
        lock.lock().unwrap();
        let folder = all.join(format!("{self:?}-{:016x}", hasher.finish()));
        let complete = folder.join("complete");
        if !complete.exists() {
            // What an installation that was broken off has left.
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            self.install(program, &folder);
            fs::write(&complete, version).unwrap();
        }
        if self == Self::Node {
            // Node looks for packages above the script, so the scripts lie beside them.
            copy_scripts(&folder);
        }
        folder
    }

    fn list(self) -> &'static str {
        match self {
            Self::Python => "requirements.txt",
            Self::Frameworks => "frameworks.txt",
            Self::Node => "package.json",
        }
    }

    fn install(self, program: &str, folder: &Path) {
        let list = scripts().join(self.list());
        match self {
            Self::Python | Self::Frameworks => {
                run(Command::new(program).args(["-m", "venv"]).arg(folder));
                run(Command::new(folder.join("bin/python"))
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                        "-r",
                    ])
                    .arg(list));
            }
            Self::Node => {
                fs::copy(list, folder.join(self.list())).unwrap();
                let quiet = [
                    "--no-package-lock",
                    "--no-audit",
                    "--no-fund",
                    "--loglevel=error",
                ];
                run(Command::new("npm")
                    .arg("install")
                    .args(quiet)
                    // openai's says 22, and it works on 20.
                    .arg("--engine-strict=false")
                    .current_dir(folder));
            }
        }
    }
}

/// A proxy that the machine needs for everything else is not for us.
pub fn to_loopback(command: &mut Command) {
    command
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
}

/// Keeps what a script said in its last run, for whoever wonders what it checked.
pub fn keep(name: &str, said: &[u8]) {
    fs::write(kept().join(format!("{name}.log")), said).unwrap();
}

fn kept() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// `Python 3.11.7`, `v20.20.2` → the first two numbers.
fn version(said: &str) -> Option<(u32, u32)> {
    let numbers = said.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = numbers.split('.').map(|n| n.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// Copies what differs, by a rename, since another test may be reading it.
fn copy_scripts(folder: &Path) {
    for entry in fs::read_dir(scripts()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "mjs") {
            let to = folder.join(path.file_name().unwrap());
            let text = fs::read(&path).unwrap();
            if fs::read(&to).ok().as_ref() != Some(&text) {
                let new = to.with_extension("new");
                fs::write(&new, text).unwrap();
                fs::rename(new, to).unwrap();
            }
        }
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn versions_are_read_as_programs_say_them() {
    assert_eq!(version("Python 3.11.7"), Some((3, 11)));
    assert_eq!(version("v20.20.2"), Some((20, 20)));
    assert_eq!(version("Python 3.14.0rc1"), Some((3, 14)));
    assert_eq!(version("command not found"), None);
}
