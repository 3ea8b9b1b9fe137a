use super::*;

fn run(first: u64, blocks: u32) -> Run {
    Run {
        first: BlockId(first),
        blocks,
    }
}

/// Writes `text` to a file of its own and reads it.
fn read(text: &str) -> Result<Trace, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    std::fs::write(&path, text).unwrap();
    Trace::read(&path)
}

fn zipped(text: &str) -> Result<Trace, TraceError> {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.gz");
    let mut gz = flate2::write::GzEncoder::new(File::create(&path).unwrap(), Default::default());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap();
    Trace::read(&path)
}

#[test]
fn a_prompt_names_its_prefixes_and_what_it_shares() {
    let a = Prompt::of([run(10, 3), run(13, 2), run(50, 4)]);
    assert_eq!(a.runs().len(), 2, "runs that continue one another are one");
    assert_eq!(a.blocks(), 9);
    assert_eq!(a.prefix(5), Some(BlockId(14)));
    assert_eq!(a.prefix(6), Some(BlockId(50)));
    assert_eq!((a.prefix(0), a.prefix(10)), (None, None));
    let b = a.extended(7, [run(90, 1)]);
    assert_eq!((a.shared(&b), b.shared(&a)), (7, 7));
    assert_eq!(a.shared(&Prompt::of([run(11, 3)])), 0);
}

const AGENT: &str = r#"{"id":"s1","models":["m"],"block_size":64,"tool_tokens":100,"system_tokens":92,"requests":[
{"t":0.0,"type":"n","model":"m","in":650,"out":5,"input_types":["text"],"output_types":["text","tool_use"],"stop":"tool_use","keep":0,"add":[[1,10]]},
{"t":3.0,"type":"subagent","tool_tokens":64,"system_tokens":0,"requests":[{"t":1.0,"type":"s","model":"m","in":200,"out":1,"stop":"","keep":0,"add":[[30,3]]}]},
{"t":7.5,"type":"s","model":"m","in":850,"out":5,"input_types":["tool_result"],"output_types":["text"],"stop":"end_turn","keep":9,"add":[[20,3]]}]}
{"id":"s2","models":["m"],"block_size":64,"tool_tokens":100,"system_tokens":92,"requests":[
{"t":0.0,"type":"n","model":"m","in":300,"out":5,"stop":"end_turn","keep":0,"add":[[1,4]]}]}"#;

/// The file has a session a line; the cases above are broken for reading.
fn one_line(text: &str) -> String {
    text.replace(",\n", ",").replace("[\n", "[")
}

#[test]
fn agent_sessions_share_their_heads_and_nothing_else() {
    for trace in [
        read(&one_line(AGENT)).unwrap(),
        zipped(&one_line(AGENT)).unwrap(),
    ] {
        assert_eq!((trace.sessions.len(), trace.streams.len()), (2, 3));
        let (first, second, agent, other) = (
            &trace.requests[0],
            &trace.requests[1],
            &trace.requests[2],
            &trace.requests[3],
        );
        // 192 tokens of tools and system text are three blocks.
        assert_eq!(first.head_blocks, 3);
        assert_eq!(first.prompt.shared(&other.prompt), 3);
        assert_eq!(first.prompt.shared(&second.prompt), 9);
        assert_eq!(first.prompt.shared(&agent.prompt), 0);
        assert_eq!(second.prompt.blocks(), 12);
        assert_eq!(second.gap, Duration::from_millis(7500));
        assert_eq!(trace.streams[1].begins, Duration::from_secs(3));
        assert_eq!((first.stop, second.stop), (Stop::ToolUse, Stop::EndTurn));
        assert_eq!(first.tokens(10, 64), 650);
        assert_eq!(first.tokens(9, 64), 576);
    }
}

#[test]
fn a_prompt_is_reused_when_the_whole_of_it_is() {
    let trace = read(&one_line(AGENT).replace(r#""keep":9"#, r#""keep":10"#)).unwrap();
    let gaps = trace.reuse_gaps();
    assert_eq!(gaps[0], Some(Duration::from_millis(7500)));
    assert_eq!(gaps[1..], [None, None, None]);
    let broken = read(&one_line(AGENT)).unwrap();
    assert_eq!(broken.reuse_gaps()[0], None, "its last block was not kept");
}

#[test]
fn requests_of_one_opener_are_one_session() {
    let trace = read(
        r#"{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 600, "output_length": 6, "hash_ids": [0, 9]}

{"timestamp": 5000, "input_length": 1536, "output_length": 7, "hash_ids": [0, 1, 5]}"#,
    )
    .unwrap();
    assert_eq!((trace.sessions.len(), trace.requests.len()), (2, 3));
    assert_eq!(
        trace.requests[0].prompt.shared(&trace.requests[1].prompt),
        2
    );
    assert_eq!(trace.requests[0].tokens(3, 512), 1100);
    assert_eq!(trace.streams[1].begins, Duration::from_secs(5));
}

#[test]
fn a_chat_service_is_read_for_its_times_and_sizes() {
    let trace = read(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-12-31 23:59:59.5,374,44\n2024-01-01 00:00:01.0000000,396,109\n",
    )
    .unwrap();
    assert!(trace.sizes_only);
    assert_eq!(trace.streams[1].begins, Duration::from_millis(1500));
    assert_eq!(
        trace.requests[0].prompt.shared(&trace.requests[1].prompt),
        0
    );
}

#[test]
fn a_bad_line_is_answered_with_its_place_and_a_remedy() {
    let wrong = |text: &str| read(text).unwrap_err().to_string();
    let agent = one_line(AGENT);
    let cases = [
        (wrong(""), "trace:1: is empty"),
        (wrong("hello"), "trace:1: is none of the formats known"),
        (
            wrong(&agent.replace("\"keep\":9", "\"keep\":11")),
            "trace:1: keep 11 of the 10 blocks",
        ),
        (
            wrong(&agent.replace("\"in\":300", "\"in\":255")),
            "trace:2: 4 blocks of 64 are more",
        ),
        (
            wrong(&agent.replace("\"t\":7.5", "\"t\":-1")),
            "trace:1: t -1 is no time",
        ),
        (
            wrong("{\"timestamp\":0,\"input_length\":600,\"output_length\":6,\"hash_ids\":[0]}"),
            "trace:1: 1 hash_ids for 600 tokens",
        ),
        (
            wrong("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,x,1"),
            "trace:2: `x` is no number of tokens",
        ),
        (
            wrong("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-16 18:15:46,1,1"),
            "trace:2: `2023-13-16 18:15:46` is no time",
        ),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}");
        assert!(said.ends_with(REMEDY), "{said}");
    }
    let missing = Trace::read(Path::new("/nowhere/trace")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/trace: cannot read"));
}

#[test]
fn members_of_a_fan_share_its_head_and_nothing_else() {
    let trace = Fan::default().trace();
    assert_eq!(trace.requests.len(), 400);
    let [a, b] = [&trace.requests[0].prompt, &trace.requests[1].prompt];
    assert_eq!(a.shared(b), 312);
    assert_eq!(a.shared(&trace.requests[8].prompt), 0);
    assert!(
        trace
            .streams
            .iter()
            .all(|s| s.begins < Duration::from_secs(2))
    );
}
