//! Jobs and operations of both products, and OpenAI's form of them.

use super::*;

const ASKED: &str = r#"{"instances":[{"prompt":"a cat","image":{"bytesBase64Encoded":"AAAA","mimeType":"image/png"},"lastFrame":{"gcsUri":"gs://b/l.png","mimeType":"image/png"},"referenceImages":[{"image":{"gcsUri":"gs://b/r.png"},"referenceType":"style"}],"video":{"gcsUri":"gs://b/v.mp4","mimeType":"video/mp4"},"mask":{"gcsUri":"gs://b/m.png"}}],"parameters":{"durationSeconds":6,"sampleCount":2,"resolution":"1080p","aspectRatio":"9:16","generateAudio":true,"negativePrompt":"dogs"},"labels":{"a":"b"}}"#;

#[test]
fn a_job_says_the_same_after_it_was_written() {
    let job = read(ASKED.as_bytes()).expect("right");
    assert_eq!(
        (&*job.prompt, job.seconds, job.count, job.resolution),
        ("a cat", Some(6), Some(2), Some(Resolution::P1080))
    );
    let roles: Vec<_> = job.images.iter().map(|i| i.role.clone()).collect();
    let style = ImageRole::Reference("style".into());
    assert_eq!(roles, [ImageRole::First, ImageRole::Last, style]);
    assert_eq!(job.parameters.len(), 4);
    let written = write(&job).expect("can be said");
    assert_eq!(read(&written), Ok(job));
    let (a, b): (Value, Value) = (
        serde_json::from_slice(&written).expect("json"),
        serde_json::from_str(ASKED).expect("json"),
    );
    assert_eq!(a, b);
}

#[test]
fn what_is_wrong_is_named() {
    for (body, field) in [
        ("{}", "instances"),
        (r#"{"instances":[{}]}"#, "instances[0].prompt"),
        (
            r#"{"instances":[{"prompt":"a"},{"prompt":"b"}]}"#,
            "instances",
        ),
        (
            r#"{"instances":[{"prompt":"a","image":{}}]}"#,
            "instances[0].image",
        ),
        (
            r#"{"instances":[{"prompt":"a"}],"parameters":{"durationSeconds":0}}"#,
            "parameters.durationSeconds",
        ),
        (
            r#"{"instances":[{"prompt":"a"}],"parameters":{"resolution":"8k"}}"#,
            "parameters.resolution",
        ),
    ] {
        let fault = read(body.as_bytes()).expect_err(body);
        assert_eq!(fault.field.as_deref(), Some(field), "{body}");
    }
    let job = VideoJob {
        images: vec![VideoImage {
            role: ImageRole::First,
            source: Source::File {
                id: "file-1".into(),
            },
        }],
        ..VideoJob::default()
    };
    assert_eq!(
        write(&job).expect_err("foreign").field.as_deref(),
        Some("images[0]")
    );
}

#[test]
fn operations_of_both_products_are_read_in_every_state() {
    let url = |url: &'static str, mime: Option<&'static str>| Source::Url {
        url: url.into(),
        media_type: mime.map(Str::from_static),
    };
    for (body, wanted) in [
        (r#"{"name":"o"}"#, VideoState::Running { progress: None }),
        (
            r#"{"name":"o","done":false,"metadata":{"progressPercent":40}}"#,
            VideoState::Running { progress: Some(40) },
        ),
        (
            r#"{"name":"o","done":true,"response":{"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"https://x/v"}}]}}}"#,
            VideoState::Done {
                videos: vec![url("https://x/v", None)],
                withheld: vec![],
            },
        ),
        (
            r#"{"name":"o","done":true,"response":{"@type":"t","videos":[{"gcsUri":"gs://b/v","mimeType":"video/mp4"},{"bytesBase64Encoded":"AA==","mimeType":"video/mp4"}],"raiMediaFilteredCount":1,"raiMediaFilteredReasons":["no"]}}"#,
            VideoState::Done {
                videos: vec![
                    url("gs://b/v", Some("video/mp4")),
                    Source::Base64 {
                        media_type: "video/mp4".into(),
                        data: "AA==".into(),
                    },
                ],
                withheld: vec!["no".into()],
            },
        ),
    ] {
        assert_eq!(read_operation(body.as_bytes()), wanted, "{body}");
    }
    for (body, class) in [
        (
            r#"{"name":"o","done":true,"error":{"code":3,"message":"bad"}}"#,
            FaultClass::Invalid,
        ),
        (
            r#"{"name":"o","done":true,"error":{"code":8,"message":"full"}}"#,
            FaultClass::RateLimited,
        ),
        (
            r#"{"name":"o","done":true,"response":{"raiMediaFilteredCount":1}}"#,
            FaultClass::ContentPolicy,
        ),
        (
            r#"{"name":"o","done":true,"response":{}}"#,
            FaultClass::UpstreamBroken,
        ),
        ("<html>", FaultClass::UpstreamBroken),
    ] {
        let VideoState::Failed(fault) = read_operation(body.as_bytes()) else {
            panic!("{body}");
        };
        assert_eq!(fault.class, class, "{body}");
    }
}

#[test]
fn operations_read_back_as_they_were_written() {
    let done = VideoState::Done {
        videos: vec![Source::Url {
            url: "gs://b/v".into(),
            media_type: Some("video/mp4".into()),
        }],
        withheld: vec!["no".into()],
    };
    for state in [
        VideoState::Running { progress: Some(7) },
        VideoState::Running { progress: None },
        done.clone(),
    ] {
        let body = write_operation("o", &state, Product::Vertex);
        assert_eq!(read_operation(&body), state);
        assert_eq!(operation_name(&body), Some("o".into()));
    }
    let body = write_operation("o", &done, Product::GeminiApi);
    let VideoState::Done { videos, withheld } = read_operation(&body) else {
        panic!("{body:?}");
    };
    assert_eq!((videos.len(), withheld.len()), (1, 1));
    for class in [
        FaultClass::Invalid,
        FaultClass::RateLimited,
        FaultClass::Overloaded,
    ] {
        let state = VideoState::Failed(Box::new(Fault::new(class, "m")));
        let body = write_operation("o", &state, Product::Vertex);
        let VideoState::Failed(fault) = read_operation(&body) else {
            panic!("{body:?}");
        };
        assert_eq!((fault.class, &*fault.message), (class, "m"));
    }
    assert_eq!(read_fetch(&write_fetch("a/b")), Ok("a/b".into()));
    assert_eq!(operation_name(&write_started("a/b")), Some("a/b".into()));
    read_fetch(b"{}").expect_err("no name");
}

#[test]
fn seconds_are_billed_for_what_was_made() {
    let mut job = read(ASKED.as_bytes()).expect("right");
    let made = |n: usize| VideoState::Done {
        videos: vec![Source::File { id: "v".into() }; n],
        withheld: Vec::new(),
    };
    assert_eq!(
        (job.seconds_wanted(), job.seconds_billed(&made(2))),
        (12, 12)
    );
    assert_eq!(job.seconds_billed(&made(1)), 6);
    job.seconds = None;
    assert_eq!(job.seconds_billed(&made(1)), 8);
    assert_eq!(
        job.seconds_billed(&VideoState::Running { progress: None }),
        0
    );
}

#[test]
fn openais_form_of_a_job_is_the_same_job() {
    let body = r#"{"model":"veo","prompt":"a cat","seconds":"4","size":"1080x1920","input_reference":{"image_url":"data:image/png;base64,AAAA"}}"#;
    let job = read_openai(body.as_bytes()).expect("right");
    assert_eq!(
        (job.seconds, job.resolution, job.aspect.as_deref()),
        (Some(4), Some(Resolution::P1080), Some("9:16"))
    );
    let written = write_openai(&job).expect("can be said");
    assert_eq!(read_openai(&written), Ok(job.clone()));
    // And so it goes to Google.
    let google = read(&write(&job).expect("can be said")).expect("right");
    assert_eq!(
        google,
        VideoJob {
            model: Str::new(),
            ..job
        }
    );
    for (body, field) in [
        (r#"{"prompt":"a"}"#, "model"),
        (r#"{"model":"m"}"#, "prompt"),
        (r#"{"model":"m","prompt":"a","size":"big"}"#, "size"),
        (r#"{"model":"m","prompt":"a","seconds":"x"}"#, "seconds"),
        (
            r#"{"model":"m","prompt":"a","input_reference":{}}"#,
            "input_reference",
        ),
    ] {
        let fault = read_openai(body.as_bytes()).expect_err(body);
        assert_eq!(fault.field.as_deref(), Some(field), "{body}");
    }
    let whole = read(ASKED.as_bytes()).expect("right");
    write_openai(&whole).expect_err("more than OpenAI can be told");
}

#[test]
fn openais_video_object_tells_every_state() {
    let asked = read_openai(br#"{"model":"m","prompt":"a","seconds":"4","size":"1280x720"}"#);
    let job = Job::of(&asked.expect("right"), "v1".into(), "m".into(), 9);
    for state in [
        VideoState::Running { progress: None },
        VideoState::Running { progress: Some(30) },
        VideoState::Done {
            videos: vec![Source::File { id: "v1".into() }],
            withheld: vec![],
        },
    ] {
        let body = write_openai_job(&job, &state);
        assert_eq!(read_openai_job(&body), Some((job.clone(), state)));
    }
    let fault = Fault::new(FaultClass::ContentPolicy, "no").with_code("content_policy_violation");
    let body = write_openai_job(&job, &VideoState::Failed(Box::new(fault.clone())));
    let Some((_, VideoState::Failed(again))) = read_openai_job(&body) else {
        panic!("{body:?}");
    };
    assert_eq!(*again, fault);
    assert_eq!(read_openai_job(b"{}"), None);
}

#[test]
fn a_form_of_openais_clients_is_the_same_job() {
    use crate::protocol::multipart;
    let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nveo\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n--b\r\nContent-Disposition: form-data; name=\"seconds\"\r\n\r\n4\r\n--b\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\x00\x00\x00\r\n--b--\r\n";
    let parts = multipart::read("multipart/form-data; boundary=b", body).expect("a form");
    let job = read_openai_form(&parts, body).expect("a job");
    let same = r#"{"model":"veo","prompt":"a cat","seconds":"4","input_reference":{"image_url":"data:image/png;base64,AAAA"}}"#;
    assert_eq!(Ok(job), read_openai(same.as_bytes()));
    let bracketed = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nveo\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na\r\n--b\r\nContent-Disposition: form-data; name=\"input_reference[file_id]\"\r\n\r\nf1\r\n--b--";
    let parts = multipart::read("multipart/form-data; boundary=b", bracketed).expect("a form");
    let job = read_openai_form(&parts, bracketed).expect("a job");
    assert_eq!(job.images[0].source, Source::File { id: "f1".into() });
}

#[test]
fn an_operation_is_retold_with_all_that_it_said() {
    let body = br#"{"name":"a","done":true,"metadata":{"x":[1]},"response":{"new":2,"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"https://g/files/1:download"}},{"video":{"uri":"gs://b/v"}}]}}}"#;
    let address = |place: &str| {
        place
            .starts_with("https://g")
            .then(|| "https://us/1".to_owned())
    };
    let told = retell(body, "b", &address).expect("an operation");
    let value: Value = serde_json::from_slice(&told).expect("json");
    let samples = &value["response"]["generateVideoResponse"]["generatedSamples"];
    assert_eq!(
        (
            &value["name"],
            &value["metadata"]["x"][0],
            &value["response"]["new"]
        ),
        (&"b".into(), &1.into(), &2.into())
    );
    assert_eq!(samples[0]["video"]["uri"], "https://us/1");
    assert_eq!(samples[1]["video"]["uri"], "gs://b/v");
    assert_eq!(retell(b"[]", "b", &address), None);
}
