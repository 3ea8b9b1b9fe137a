//! Segments written, torn, read again, erased and deleted.

use super::index::{Index, Rows};
use super::segment::{FILE_HEAD, Segment};
use super::writer::{Supply, Writer};
use crate::base::{ExchangeId, ShardId, Slot, Str, WallTime};
use crate::canon::DialectName;
use crate::config::{Config, parse_for_tests};
use crate::iocore::ledger::writer::tests::row;
use crate::shard::Under;
use crate::shard::stored::{Begun, Claim, Form, Note, State};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT: usize = 64 << 10;

fn config() -> Config {
    parse_for_tests(
        "tenants: [{id: a, keys: [{id: a1, secret: sk-a}]}]\n\
         providers: [{id: f0, kind: openai, base_url: http://f0.test, pools: [{id: p0, keys: [{id: k0, secret: sk-0}]}]}]\n\
         models: [{id: m0, endpoints: [{provider: f0, name: m0, price: {input: 1, output: 5}}]}]\n",
    )
}

/// A folder, a shard that writes there, and who reads it.
struct Rig {
    folder: tempfile::TempDir,
    supply: Arc<Supply>,
    writer: Option<Writer>,
    index: Index,
}

fn exchange(number: u32) -> ExchangeId {
    ExchangeId(Slot {
        index: number,
        generation: 1,
    })
}

fn begun(number: u32) -> Note {
    Note::Begun(Box::new(Begun {
        under: Under(Arc::new(config())),
        exchange: exchange(number),
        name: format!("stk_{number}").into(),
        tenant: crate::base::TenantId(0),
        client_key: crate::base::ClientKeyId(0),
        model: crate::base::ModelId(0),
        dialect: DialectName::Chat,
        form: Form::Sse,
        started: WallTime(1_000_000_000 * i64::from(number)),
        session: Str::from_static("s"),
        claim: Some(Claim {
            key: [number as u8; 32],
            asked: [9; 32],
        }),
        prompt: number
            .is_multiple_of(2)
            .then(|| Bytes::from_static(b"{\"prompt\":true}")),
    }))
}

fn sent(number: u32, at: u64, bytes: &[u8]) -> Note {
    Note::Sent {
        exchange: exchange(number),
        at,
        bytes: Bytes::copy_from_slice(bytes),
    }
}

fn ended(number: u32) -> Note {
    Note::Ended {
        exchange: exchange(number),
        state: State::Complete,
        status: 200,
        kind: Str::from_static("text/event-stream"),
        at: WallTime(5),
    }
}

/// What is sent of an answer, in pieces.
fn words(number: u32) -> Vec<u8> {
    let words = |n: u32| format!("data: {number} says {n}\n\n");
    (0..number % 5 + 1).map(words).collect::<String>().into()
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let supply = Supply::new(ShardId(0), folder.path().to_owned(), SEGMENT, 77);
        let supply = Arc::new(supply);
        Self {
            writer: Some(Writer::new(Arc::clone(&supply))),
            folder,
            supply,
            index: Index::default(),
        }
    }

    fn note(&mut self, note: &Note) {
        self.writer.as_mut().expect("not dead").note(note);
    }

    fn answer(&mut self, number: u32) {
        self.note(&begun(number));
        let mut at = 0;
        for piece in words(number).chunks(7) {
            self.note(&sent(number, at, piece));
            at += piece.len() as u64;
        }
        self.writer
            .as_mut()
            .expect("not dead")
            .row(&row(&format!("stk_{number}"), 1));
        self.note(&ended(number));
    }

    fn scan(&mut self) -> Rows {
        let mut rows = Rows::default();
        while let Some(segment) = self.supply.made.pop() {
            self.index.add(segment);
        }
        self.index.scan(|_| 0, Some(&mut rows)).expect("readable");
        rows
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut all: Vec<PathBuf> = all.map(|f| f.expect("a file").path()).collect();
        all.sort();
        all
    }

    fn said(&self, number: u32) -> Option<Vec<u8>> {
        let tenant = config().tenants[0].name.clone();
        let (whose, _) = self.index.find(&tenant, &format!("stk_{number}"))?;
        Some(
            self.index
                .read(whose, 0, usize::MAX)
                .expect("readable")
                .to_vec(),
        )
    }
}

/// What a next process finds.
fn found(folder: &Path) -> (Index, Rows) {
    let (mut index, mut rows) = (Index::default(), Rows::default());
    for file in std::fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        if let Some(segment) = Segment::found(&path).expect("readable") {
            index.add(Arc::new(segment));
        }
    }
    index.scan(|_| 0, Some(&mut rows)).expect("readable");
    (index, rows)
}

#[test]
fn what_was_written_is_read_as_it_grows_and_by_the_next_process() {
    let mut rig = Rig::new();
    for number in 0..600 {
        rig.answer(number);
        if number % 50 == 0 {
            rig.scan();
            assert_eq!(rig.said(number), Some(words(number)));
        }
    }
    rig.scan();
    assert!(rig.files().len() > 3, "it went over several files");
    let (mut index, rows) = found(rig.folder.path());
    assert_eq!(rows.0.len(), 600);
    assert!(index.interrupt(WallTime(9)).is_empty(), "all have ended");
    let tenant = config().tenants[0].name.clone();
    for number in 0..600 {
        assert_eq!(rig.said(number), Some(words(number)));
        let (whose, entry) = index
            .find(&tenant, &format!("stk_{number}"))
            .expect("found");
        assert_eq!(
            index.read(whose, 0, usize::MAX).expect("read"),
            words(number)
        );
        assert_eq!(entry.rows.len(), 1);
        assert_eq!(entry.state(), State::Complete);
        let prompt = index.prompt(whose).expect("read");
        assert_eq!(prompt.is_some(), number % 2 == 0);
        assert!(index.find("another", &format!("stk_{number}")).is_none());
    }
    let claimed = index
        .claimed(&tenant.as_str().into(), &[7; 32])
        .expect("a claim");
    assert!(claimed.claim().is_some_and(|c| c.asked == [9; 32]));
}

#[test]
fn an_answer_is_read_from_any_byte_on() {
    let mut rig = Rig::new();
    rig.answer(4);
    rig.scan();
    let tenant = config().tenants[0].name.clone();
    let (whose, _) = rig.index.find(&tenant, "stk_4").expect("found");
    let all = words(4);
    for from in 0..=all.len() {
        for most in [1, 10, 1_000] {
            let mut got = Vec::new();
            let mut at = from as u64;
            while at < all.len() as u64 {
                let piece = rig.index.read(whose, at, most).expect("read");
                assert!(!piece.is_empty());
                at += piece.len() as u64;
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, all[from..], "from {from}, {most} at once");
        }
    }
}

#[test]
fn a_file_that_is_torn_at_any_byte_gives_what_was_whole_before() {
    let mut rig = Rig::new();
    for number in 0..6 {
        rig.answer(number);
    }
    rig.note(&begun(6));
    rig.note(&sent(6, 0, b"data: half"));
    let written = {
        rig.scan();
        rig.writer = None;
        rig.files().remove(0)
    };
    let whole = std::fs::read(&written).expect("read");
    let end = whole.iter().rposition(|b| *b != 0).expect("something");
    let other = tempfile::tempdir().expect("a folder");
    let at = other.path().join("torn.spool");
    let mut last = 0;
    for cut in (FILE_HEAD..end + 8).step_by(13) {
        let mut torn = whole[..cut].to_vec();
        torn.resize(whole.len(), 0);
        std::fs::write(&at, &torn).expect("written");
        let (mut index, rows) = found(other.path());
        let open = index.interrupt(WallTime(9));
        assert!(open.len() <= 1, "one answer came at a time");
        assert!(index.len() >= last, "more of it is no less");
        last = index.len();
        assert!(rows.0.len() <= index.len());
        // Garbage behind it is none of it either.
        torn[cut..].fill(0xA5);
        std::fs::write(&at, &torn).expect("written");
        let (index, _) = found(other.path());
        assert_eq!(index.len(), last, "cut at {cut}");
    }
    assert_eq!(last, 7);
}

#[test]
fn what_is_deleted_is_gone_from_the_file_and_nothing_beside_it() {
    let mut rig = Rig::new();
    for number in 0..4 {
        rig.answer(number);
    }
    rig.scan();
    let tenant = config().tenants[0].name.clone();
    let (whose, _) = rig.index.find(&tenant, "stk_2").expect("found");
    rig.index.forget(whose, true).expect("erased");
    let bytes = std::fs::read(&rig.files()[0]).expect("read");
    let has = |what: &[u8]| memchr::memmem::find(&bytes, what).is_some();
    assert!(!has(b"2 says") && !has(b"prompt\":true}\0\0\0\0\0\0\0\0\0data: 2"));
    assert!(has(b"1 says") && has(b"3 says"));
    let (index, rows) = found(rig.folder.path());
    assert_eq!(rows.0.len(), 4, "what it cost stays");
    for number in [0, 1, 3] {
        let (whose, _) = index
            .find(&tenant, &format!("stk_{number}"))
            .expect("found");
        assert_eq!(
            index.read(whose, 0, usize::MAX).expect("read"),
            words(number)
        );
    }
}

#[test]
fn a_segment_is_deleted_when_nothing_in_it_is_needed_and_not_before() {
    let mut rig = Rig::new();
    rig.note(&begun(1_000));
    for number in 0..600 {
        rig.answer(number);
    }
    rig.note(&sent(1_000, 0, b"late"));
    rig.scan();
    let tenant = config().tenants[0].name.clone();
    let files = rig.files().len();
    assert_eq!(rig.index.sweep(|_| 0), 0, "answers lie there");
    for number in 0..600 {
        let (whose, _) = rig
            .index
            .find(&tenant, &format!("stk_{number}"))
            .expect("found");
        rig.index.forget(whose, false).expect("forgotten");
    }
    // The first holds the beginning of one that runs, the last is written.
    assert!(rig.index.sweep(|_| 0) > 0);
    assert_eq!(rig.files().len(), 2.min(files));
    rig.note(&ended(1_000));
    rig.writer = None;
    rig.scan();
    let (whose, _) = rig.index.find(&tenant, "stk_1000").expect("found");
    assert_eq!(rig.index.read(whose, 0, 100).expect("read"), "late");
    rig.index.forget(whose, false).expect("forgotten");
    rig.index.sweep(|_| 0);
    assert!(rig.files().is_empty());
}

#[test]
fn rows_that_the_ledger_has_not_keep_their_segment() {
    let mut rig = Rig::new();
    rig.answer(1);
    rig.writer = None;
    while let Some(segment) = rig.supply.made.pop() {
        rig.index.add(segment);
    }
    rig.index.scan(|_| 3, None).expect("readable");
    let tenant = config().tenants[0].name.clone();
    let (whose, _) = rig.index.find(&tenant, "stk_1").expect("found");
    rig.index.forget(whose, false).expect("forgotten");
    assert_eq!(rig.index.sweep(|_| 2), 0, "two of three rows are written");
    assert!(rig.index.sweep(|_| 3) > 0);
}

#[test]
fn rows_that_the_ledger_has_are_offered_to_it_no_more() {
    let mut rig = Rig::new();
    rig.answer(1);
    rig.writer = None;
    rig.scan();
    rig.index.sweep(|_| 0);
    let (index, rows) = found(rig.folder.path());
    assert_eq!(
        (index.len(), rows.0.len()),
        (1, 0),
        "its answer is there still"
    );
}

#[test]
fn an_answer_larger_than_a_segment_is_whole() {
    let mut rig = Rig::new();
    rig.note(&begun(1));
    let large: Vec<u8> = (0..5 * SEGMENT).map(|n| (n % 251) as u8).collect();
    rig.note(&sent(1, 0, &large));
    rig.note(&ended(1));
    rig.scan();
    assert_eq!(rig.said(1), Some(large));
}

#[test]
fn answers_are_listed_newest_first_page_by_page_to_their_tenant_alone() {
    let mut rig = Rig::new();
    for number in 0..25 {
        rig.answer(number);
    }
    rig.scan();
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let (page, more) = rig.index.list("a", &before, 10);
        seen.extend(page.iter().map(|e| e.opened.started.0 / 1_000_000_000));
        let Some(last) = page.last().filter(|_| more) else {
            break;
        };
        before = last.opened.name.to_string();
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    assert!(rig.index.list("b", "", 10).0.is_empty());
}

#[test]
fn the_oldest_that_have_ended_make_room_and_none_that_runs() {
    let mut rig = Rig::new();
    rig.note(&begun(1_000));
    for number in 0..600 {
        rig.answer(number);
    }
    rig.scan();
    let (files, answers) = (rig.files().len(), rig.index.len());
    let dropped = rig.index.drop_oldest() as usize;
    assert!(dropped > 50 && rig.index.len() == answers - dropped);
    assert!(rig.said(0).is_none() && rig.said(599).is_some());
    assert!(rig.index.find("a", "stk_1000").is_some(), "it runs");
    rig.index.sweep(|_| 0);
    assert_eq!(rig.files().len(), files, "it lies where the oldest lay");
    rig.note(&ended(1_000));
    rig.scan();
    while rig.index.drop_oldest() > 0 {
        rig.index.sweep(|_| 0);
    }
    assert!(rig.files().len() < files);
}

#[test]
fn what_a_killed_process_took_and_did_not_write_is_given_back() {
    let mut rig = Rig::new();
    rig.answer(3);
    let file = rig.files().remove(0);
    let size = || std::fs::metadata(&file).expect("a file").len();
    rig.scan();
    assert_eq!(size(), SEGMENT as u64, "it is written on");
    let (index, _) = found(rig.folder.path());
    assert!(size() < 4_096 && index.bytes() == size());
    // And again by the next one, which finds the same.
    let (index, rows) = found(rig.folder.path());
    assert_eq!((index.len(), rows.0.len(), index.bytes()), (1, 1, size()));
    let (whose, _) = index.find("a", "stk_3").expect("found");
    let said = index.read(whose, 0, usize::MAX).expect("readable");
    assert_eq!(said, words(3));
}

/// A start finds segments in the order of the folder, which is any.
#[test]
fn the_oldest_make_room_in_whatever_order_their_segments_were_found() {
    let mut rig = Rig::new();
    for number in 0..600 {
        rig.answer(number);
    }
    rig.scan();
    let files = rig.files();
    for turn in 0..files.len() {
        let mut index = Index::default();
        for at in 0..files.len() {
            let path = &files[(at + turn) % files.len()];
            let segment = Segment::found(path).expect("readable");
            index.add(Arc::new(segment.expect("a segment")));
        }
        index.scan(|_| 0, None).expect("readable");
        let dropped = index.drop_oldest();
        let kept = |n: u64| index.find("a", &format!("stk_{n}")).is_some();
        assert!(dropped > 10 && !kept(0) && !kept(dropped - 1) && kept(dropped + 1) && kept(599));
    }
}

#[test]
fn a_disk_without_room_loses_records_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("not/there");
    let supply = Arc::new(Supply::new(ShardId(0), nowhere, SEGMENT, 1));
    let mut writer = Writer::new(Arc::clone(&supply));
    writer.note(&begun(1));
    writer.note(&ended(1));
    assert!(supply.lost.load(std::sync::atomic::Ordering::Relaxed) >= 2);
}
