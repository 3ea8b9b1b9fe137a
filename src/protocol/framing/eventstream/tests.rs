use super::*;
use crate::base::Rng;

/// The golden frames of `providers/bedrock.md` 6, made with botocore and a second implementation.
const PING: &str = "0000007b0000004b0a2e96af0b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b226279746573223a2265794a306558426c496a6f6963476c755a794a39227da01f56c4";
const THROTTLED: &str = "000000b0000000614f5086b30f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22546f6f206d616e7920746f6b656e732c20706c656173652077616974206265666f726520747279696e6720616761696e2e227df70ae57f";
const STOP: &str = "0000007a00000051ca2c46650b3a6576656e742d7479706507000b6d65737361676553746f700d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2273746f70526561736f6e223a22656e645f7475726e227d5fbf09fc";
const EMPTY: &str = "000000100000000005c248eb7d98c8ff";
const ALL_TYPES: &str = "0000006700000050255b25c0017400016601016202f9017303002a0169040000a00c016c0500000000028757b201790600040001feff017a0700026869027473080000000000845fed0175090102030405060708090a0b0c0d0e0f107b2261223a317d236103fb";
const TRAILER: &str = "0000018a0000004bb4263ce70b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b226279746573223a2265794a306558426c496a6f696257567a6332466e5a56397a644739774969776959573168656d39754c574a6c5a484a76593273746157353262324e6864476c76626b316c64484a7059334d694f6e736961573577645852556232746c626b4e7664573530496a6f7a4c434a7664585277645852556232746c626b4e7664573530496a6f314c434a70626e5a765932463061573975544746305a57356a655349364f5441774c434a6d61584a7a64454a356447564d5958526c626d4e35496a6f304d444173496d4e685932686c556d56685a456c7563485630564739725a57354462335675644349364d6a41304f4377695932466a61475658636d6c305a556c7563485630564739725a57354462335675644349364d483139222c2270223a2261626364227d0ef9ac64";

fn bytes_of(hex: &str) -> Bytes {
    let digit = |b: u8| char::from(b).to_digit(16).expect("hex") as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, Broken> {
    let (mut decoder, mut out) = (Decoder::new(1 << 20), Vec::new());
    for piece in pieces {
        decoder.feed(Bytes::copy_from_slice(piece));
        while let Some(frame) = decoder.next()? {
            out.push(frame);
        }
    }
    assert_eq!(decoder.pending(), 0, "nothing is left over");
    Ok(out)
}

fn events(holds: Holds, hexes: &[&str]) -> Vec<(String, String)> {
    let mut events = Events::new(holds, 1 << 20);
    let mut out = Vec::new();
    for hex in hexes {
        events.feed(bytes_of(hex));
        while let Some(event) = events.next().expect("well formed") {
            let text = |b: &Bytes| String::from_utf8(b.to_vec()).expect("text");
            let (name, data) = (text(&event.name), text(&event.data));
            assert_eq!(text(&event.raw), format!("event: {name}\ndata: {data}\n\n"));
            out.push((name, data));
        }
    }
    events.finish().expect("nothing is left over");
    out
}

fn chunk(inner: &str) -> Bytes {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(inner);
    let text = |name: &'static str, value: &'static str| Header {
        name: Str::from_static(name),
        value: Value::Text(Str::from_static(value)),
    };
    let headers = [text(":message-type", "event"), text(":event-type", "chunk")];
    let mut out = BytesMut::new();
    let payload = format!(r#"{{"p":"abc","bytes":"{encoded}"}}"#);
    encode(&headers, payload.as_bytes(), &mut out).expect("short");
    out.freeze()
}

fn told(inners: &[&str]) -> Vec<String> {
    let mut events = Events::new(Holds::Invoke, 1 << 20);
    inners.iter().for_each(|inner| events.feed(chunk(inner)));
    let mut out = Vec::new();
    while let Some(event) = events.next().expect("well formed") {
        out.push(String::from_utf8(event.data.to_vec()).expect("text"));
    }
    out
}

#[test]
fn golden_frames_read_and_write_back_the_same() {
    for hex in [PING, THROTTLED, STOP, EMPTY, ALL_TYPES, TRAILER] {
        let bytes = bytes_of(hex);
        let read = frames(&[&bytes]).expect("golden");
        let mut written = BytesMut::new();
        encode(&read[0].headers, &read[0].payload, &mut written).expect("fits");
        assert_eq!((read.len(), &written[..]), (1, &bytes[..]));
    }
}

#[test]
fn every_type_of_header_is_read() {
    let read = frames(&[&bytes_of(ALL_TYPES)]).expect("golden");
    let values: Vec<&Value> = read[0].headers.iter().map(|h| &h.value).collect();
    let uuid = std::array::from_fn(|i| i as u8 + 1);
    let wanted = [
        Value::Bool(true),
        Value::Bool(false),
        Value::Int8(-7),
        Value::Int16(42),
        Value::Int32(40_972),
        Value::Int64(42_424_242),
        Value::Bytes(Bytes::from_static(b"\x00\x01\xfe\xff")),
        Value::Text(Str::from_static("hi")),
        Value::Timestamp(8_675_309),
        Value::Uuid(uuid),
    ];
    assert_eq!(values, wanted.iter().collect::<Vec<_>>());
    assert_eq!(read[0].payload, r#"{"a":1}"#);
}

#[test]
fn any_cut_gives_the_same_frames() {
    let stream: Vec<u8> = [PING, EMPTY, ALL_TYPES, STOP]
        .iter()
        .flat_map(|h| bytes_of(h))
        .collect();
    let whole = frames(&[&stream]).expect("golden");
    assert_eq!(whole.len(), 4);
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert_eq!(frames(&[head, tail]), Ok(whole.clone()), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(frames(&bytes), Ok(whole), "byte by byte");
}

#[test]
fn a_payload_is_a_slice_of_what_came() {
    let bytes = BytesMut::from(&bytes_of(PING)[..]).freeze();
    let range = bytes.as_ptr() as usize..bytes.as_ptr() as usize + bytes.len();
    let mut decoder = Decoder::new(1 << 20);
    decoder.feed(bytes);
    let frame = decoder.next().expect("golden").expect("whole");
    assert!(range.contains(&(frame.payload.as_ptr() as usize)));
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let right = bytes_of(STOP);
    for bit in 0..right.len() * 8 {
        let mut wrong = BytesMut::from(&right[..]);
        wrong[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::new(1 << 20);
        decoder.feed(wrong.freeze());
        let first = decoder.next().expect_err("a wrong checksum");
        assert_eq!(decoder.next(), Err(first), "bit {bit}: broken for good");
    }
}

#[test]
fn lengths_are_bounded_before_their_bytes_are_kept() {
    let prelude = |total: u32, headers: u32| {
        let mut out = BytesMut::new();
        out.put_u32(total);
        out.put_u32(headers);
        out.put_u32(crc32fast::hash(&out));
        let mut decoder = Decoder::new(1_000);
        decoder.feed(out.freeze());
        decoder.next()
    };
    assert_eq!(prelude(1_000, 0), Ok(None), "wants more");
    let max = 1_000;
    let long = Broken::TooLong { total: 1_001, max };
    assert_eq!(prelude(1_001, 0), Err(long));
    for (total, headers) in [(15, 0), (16, 1), (u32::MAX, u32::MAX), (200_000, 131_073)] {
        assert_eq!(
            prelude(total, headers),
            Err(Broken::Lengths { total, headers })
        );
    }
}

#[test]
fn headers_that_do_not_fit_are_an_error() {
    for headers in [
        &b"\x05ab"[..],
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x07\x00\x09x",
        b"\x01\xff\x00",
    ] {
        let mut out = BytesMut::new();
        out.put_u32((FRAME_MIN + headers.len()) as u32);
        out.put_u32(headers.len() as u32);
        out.put_u32(crc32fast::hash(&out));
        out.extend_from_slice(headers);
        out.put_u32(crc32fast::hash(&out));
        assert_eq!(
            frames(&[&out]),
            Err(Broken::Header { at: 0 }),
            "{headers:?}"
        );
    }
}

#[test]
fn what_the_format_cannot_say_is_refused_and_leaves_nothing() {
    let mut out = BytesMut::from("before");
    let long = |name: usize, value: usize| Header {
        name: Str::from("n".repeat(name)),
        value: Value::Text(Str::from("v".repeat(value))),
    };
    assert_eq!(encode(&[long(256, 1)], b"", &mut out), Err(TooLong));
    assert_eq!(encode(&[long(1, 65_536)], b"", &mut out), Err(TooLong));
    let many = [long(1, 65_535), long(2, 65_535), long(3, 9)];
    assert_eq!(encode(&many, b"", &mut out), Err(TooLong));
    assert_eq!(out, "before");
}

#[test]
fn chunks_become_what_anthropic_sends() {
    let ping = ("ping".to_owned(), r#"{"type":"ping"}"#.to_owned());
    assert_eq!(events(Holds::Invoke, &[PING, EMPTY]), [ping]);
    let odd = "{\n \"index\":0,\n \"type\":\"content_block_stop\"}";
    assert_eq!(told(&[odd]), [odd.replace('\n', " ")], "one line");
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(80));
    assert_eq!(told(&[&long]), [long]);
}

#[test]
fn amazons_trailer_is_taken_off_and_its_counts_are_told_once() {
    let (usage, stop) = (
        r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":5,"cache_read_input_tokens":2048,"cache_creation_input_tokens":0}}"#,
        r#"{"type":"message_stop"}"#,
    );
    let said = |event: &str, data: &str| (event.to_owned(), data.to_owned());
    assert_eq!(
        events(Holds::Invoke, &[TRAILER]),
        [said("message_delta", usage), said("message_stop", stop)]
    );
    // Anthropic's own counts win.
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":1,"cache_read_input_tokens":7}}}"#;
    let metrics = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1,"outputTokenCount":5,"cacheReadInputTokenCount":9}}"#;
    assert_eq!(told(&[start, metrics]), [start, stop]);
    // Some models tell the cache's counts in a usage object here and nowhere else.
    let late = r#"{"type":"message_stop","usage":{"output_tokens":5,"cache_read_input_tokens":7}}"#;
    let moved = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":5,"cache_read_input_tokens":7}}"#;
    assert_eq!(told(&[late]), [moved, stop]);
}

#[test]
fn exceptions_are_errors_in_the_words_of_each_grammar() {
    let message = "Too many tokens, please wait before trying again.";
    let invoke = format!(
        r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"{message}","details":{{"error_code":"throttlingException"}}}}}}"#
    );
    assert_eq!(
        events(Holds::Invoke, &[THROTTLED]),
        [("error".to_owned(), invoke)]
    );
    let converse = format!(r#"{{"message":"{message}"}}"#);
    assert_eq!(
        events(Holds::Converse, &[THROTTLED]),
        [("throttlingException".to_owned(), converse)]
    );
}

#[test]
fn converse_events_keep_their_names() {
    let stop = (
        "messageStop".to_owned(),
        r#"{"stopReason":"end_turn"}"#.to_owned(),
    );
    assert_eq!(events(Holds::Converse, &[STOP]), [stop]);
}

#[test]
fn a_grammar_that_is_not_anthropics_is_said_to_be_another() {
    let mut events = Events::new(Holds::Invoke, 1 << 20);
    events.feed(chunk(r#"{"outputText":"secret","index":0}"#));
    assert_eq!(events.next(), Ok(None));
    let why = events.finish().expect_err("no event").to_string();
    assert!(
        why.contains("outputText") && !why.contains("secret"),
        "{why}"
    );
    events.feed(chunk(r#"{"type":"ping"}"#));
    assert!(events.next().expect("well formed").is_some());
    assert_eq!(events.finish(), Ok(()), "a stray object harms nothing");
}

#[test]
fn a_stream_cut_within_a_frame_is_an_error() {
    let mut events = Events::new(Holds::Invoke, 1 << 20);
    events.feed(bytes_of(PING).slice(..50));
    assert_eq!(events.next(), Ok(None));
    assert!(events.finish().is_err());
}

#[test]
fn random_frames_survive_the_trip() {
    let mut rng = Rng::seeded(11);
    for _ in 0..500 {
        let headers: Vec<Header> = (0..rng.below(5))
            .map(|_| Header {
                name: Str::from("h".repeat(rng.below(20) as usize)),
                value: match rng.below(4) {
                    0 => Value::Bool(rng.once_in(2)),
                    1 => Value::Int64(rng.bits() as i64),
                    2 => Value::Bytes((0..rng.below(50)).map(|_| rng.bits() as u8).collect()),
                    _ => Value::Text(Str::from("t".repeat(rng.below(50) as usize))),
                },
            })
            .collect();
        let payload: Vec<u8> = (0..rng.below(200)).map(|_| rng.bits() as u8).collect();
        let mut out = BytesMut::new();
        encode(&headers, &payload, &mut out).expect("short");
        let read = frames(&[&out]).expect("right");
        assert_eq!(
            (&read[0].headers[..], &read[0].payload[..]),
            (&headers[..], &payload[..])
        );
    }
}
