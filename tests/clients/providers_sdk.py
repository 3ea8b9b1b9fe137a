"""The packages of the other providers, and Responses, straight against fakes: one at BASE_URL, and one each with the manner of
xAI, Fireworks and OpenRouter at XAI_URL, FIREWORKS_URL and OPENROUTER_URL."""

import json
import os
import time
import urllib.error
import urllib.request

import anthropic
import boto3
import botocore.exceptions
import openai
from botocore.config import Config
from google import genai
from google.genai import types
from openrouter import OpenRouter

from checks import *

AWS = {"aws_access_key_id": "AKIDFAKE", "aws_secret_access_key": "fake-secret", "region_name": "us-east-1"}
once = Config(retries={"total_max_attempts": 1, "mode": "standard"})
bedrock = boto3.client("bedrock-runtime", endpoint_url=BASE_URL, config=once, **AWS)
client = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0, timeout=20)
gemini = genai.Client(api_key=KEY, http_options={"base_url": BASE_URL})
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
FUNCTION = {"type": "function", "name": "weather", "description": "of a city", "parameters": WEATHER}
SPEC = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": WEATHER}}}]}


def respond(said, **more):
    return client.responses.create(model="gpt-6-sol", input=said, **more)


@check
def responses_plain():
    answer = respond("hello there")
    equal((answer.object, answer.status), ("response", "completed"))
    holds(answer.output_text, "You said: hello there")
    equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)


@check
def responses_streamed():
    events = list(respond("hello there", stream=True))
    equal([e.sequence_number for e in events], list(range(len(events))))
    equal((events[0].type, events[-1].type), ("response.created", "response.completed"))
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    equal(said, events[-1].response.output_text)
    with client.responses.stream(model="gpt-6-sol", input="hello there") as stream:
        for _ in stream:
            pass
        holds(stream.get_final_response().output_text, "You said: hello there")


@check
def responses_tools_in_parallel_and_their_results():
    answer = respond("use tool weather twice", tools=[FUNCTION])
    calls = [i for i in answer.output if i.type == "function_call"]
    equal(len(calls), 2, "calls")
    assert json.loads(calls[0].arguments)["days"] >= 3
    outputs = [{"type": "function_call_output", "call_id": c.call_id, "output": "sunny"} for c in calls]
    after = client.responses.create(
        model="gpt-6-sol", input=outputs, previous_response_id=answer.id, tools=[FUNCTION]
    )
    holds(after.output_text, "The tool said: sunny")


@check
def responses_reasoning_sealed_and_sent_back():
    answer = respond(
        "hello", reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"], store=False
    )
    thought = answer.output[0]
    equal(thought.type, "reasoning")
    assert thought.encrypted_content and thought.summary[0].text, thought
    equal(answer.usage.output_tokens_details.reasoning_tokens, 8)
    items = [{"role": "user", "content": "hello"}] + [i.model_dump(exclude_none=True) for i in answer.output]
    respond(items + [{"role": "user", "content": "more"}], store=False)
    items[1]["encrypted_content"] = items[1]["encrypted_content"][:-4] + "AAA="
    raises(openai.BadRequestError, lambda: respond(items, store=False))


@check
def responses_in_the_background_are_polled_and_cancelled():
    answer = respond("hello there", background=True)
    assert answer.status in ("queued", "in_progress"), answer.status
    until = time.monotonic() + 5
    while answer.status in ("queued", "in_progress") and time.monotonic() < until:
        time.sleep(0.01)
        answer = client.responses.retrieve(answer.id)
    equal(answer.status, "completed")
    holds(answer.output_text, "You said: hello there")
    slow = respond("hello [[fake: first_token=5000]]", background=True)
    equal(client.responses.cancel(slow.id).status, "cancelled")
    equal(client.responses.retrieve(slow.id).status, "cancelled")
    client.responses.delete(slow.id)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(slow.id))


@check
def responses_streams_are_resumed_after_a_number():
    whole = list(respond("hello there", background=True, stream=True))
    equal(whole[0].type, "response.queued")
    rest = list(client.responses.retrieve(whole[-1].response.id, stream=True, starting_after=5))
    equal([e.sequence_number for e in rest], list(range(6, len(whole))))
    equal(rest[-1].type, "response.completed")


@check
def responses_images_structure_and_counts():
    content = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:image/png;base64," + base64_of(png())},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64," + base64_of(pdf())},
    ]
    holds(respond([{"role": "user", "content": content}]).output_text, "1 image/png of")
    form = {"type": "json_schema", "name": "w", "schema": WEATHER, "strict": True}
    assert json.loads(respond("hello", text={"format": form}).output_text)["days"] >= 3
    assert client.responses.input_tokens.count(model="gpt-6-sol", input="hello there").input_tokens > 0


@check
def responses_errors():
    equal(raises(openai.RateLimitError, lambda: respond("[[fake: status=429]]")).status_code, 429)
    equal(raises(openai.BadRequestError, lambda: respond("x", previous_response_id="resp_no")).code, "previous_response_not_found")


@check
def embeddings_of_openai():
    answer = client.embeddings.create(model="m", input=["a", "b"], dimensions=16)
    equal([len(d.embedding) for d in answer.data], [16, 16])
    floats = client.embeddings.create(model="m", input=["a"], dimensions=16, encoding_format="float")
    assert abs(floats.data[0].embedding[0] - answer.data[0].embedding[0]) < 1e-6


@check
def gemini_plain_and_streamed():
    answer = gemini.models.generate_content(model="gemini-3.8-flash", contents="hello there")
    holds(answer.text, "You said: hello there")
    usage = answer.usage_metadata
    equal(usage.total_token_count, usage.prompt_token_count + usage.candidates_token_count)
    parts = list(gemini.models.generate_content_stream(model="gemini-3.8-flash", contents="hello there"))
    equal("".join(p.text or "" for p in parts), answer.text)
    equal(parts[-1].candidates[0].finish_reason.value, "STOP")


@check
def gemini_thoughts():
    config = types.GenerateContentConfig(thinking_config={"include_thoughts": True, "thinking_level": "LOW"})
    answer = gemini.models.generate_content(model="gemini-3.8-flash", contents="hello", config=config)
    parts = answer.candidates[0].content.parts
    assert parts[0].thought and parts[-1].thought_signature, parts
    equal(answer.usage_metadata.thoughts_token_count, 8)


@check
def gemini_tools_and_their_results():
    declared = types.FunctionDeclaration(name="weather", description="of a city", parameters_json_schema=WEATHER)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    ask = types.Content(role="user", parts=[types.Part(text="use tool weather twice")])
    answer = gemini.models.generate_content(model="gemini-3.8-flash", contents=[ask], config=config)
    calls = answer.function_calls
    equal(len(calls), 2, "calls")
    assert calls[0].id and calls[0].args["days"] >= 3, calls
    results = [
        types.Part(function_response=types.FunctionResponse(id=c.id, name=c.name, response={"output": "sunny"}))
        for c in calls
    ]
    said = answer.candidates[0].content
    contents = [ask, said, types.Content(role="user", parts=results)]
    after = gemini.models.generate_content(model="gemini-3.8-flash", contents=contents, config=config)
    holds(after.text, "The tool said: sunny")
    said.parts[0].thought_signature = None
    raises(
        genai.errors.ClientError,
        lambda: gemini.models.generate_content(model="gemini-3.8-flash", contents=contents, config=config),
    )


@check
def gemini_images_in_and_out():
    part = types.Part.from_bytes(data=png(), mime_type="image/png")
    config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
    answer = gemini.models.generate_content(model="gemini-image", contents=["look", part], config=config)
    holds(answer.text, "1 image/png of")
    drawn = [p.inline_data for p in answer.candidates[0].content.parts if p.inline_data]
    assert drawn[0].data.startswith(b"\x89PNG"), drawn


@check
def gemini_counts_embeds_and_lists():
    assert gemini.models.count_tokens(model="gemini-3.8-flash", contents="hello there").total_tokens > 0
    vectors = gemini.models.embed_content(
        model="gemini-embedding-001", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=16)
    )
    equal([len(e.values) for e in vectors.embeddings], [16, 16])
    assert list(gemini.models.list()), "no models"


@check
def gemini_caches_are_made_read_prolonged_and_deleted():
    for at in (gemini, vertex()):
        config = types.CreateCachedContentConfig(contents=["word " * 2000], ttl="60s", display_name="book")
        cache = at.caches.create(model="gemini-3.8-flash", config=config)
        use = types.GenerateContentConfig(cached_content=cache.name)
        answer = at.models.generate_content(model="gemini-3.8-flash", contents="hello there", config=use)
        equal(answer.usage_metadata.cached_content_token_count, cache.usage_metadata.total_token_count)
        equal(at.caches.get(name=cache.name), cache)
        longer = at.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="600s"))
        assert longer.expire_time > cache.expire_time, longer
        assert cache.name in [c.name for c in at.caches.list(config={"page_size": 1})]
        at.caches.delete(name=cache.name)
        equal(raises(genai.errors.ClientError, lambda: at.caches.get(name=cache.name)).code, 403)


@check
def gemini_errors():
    ask = lambda: gemini.models.generate_content(model="gemini-3.8-flash", contents="[[fake: status=429]]")
    error = raises(genai.errors.ClientError, ask)
    equal((error.code, error.status), (429, "RESOURCE_EXHAUSTED"))


@check
def gemini_video_is_waited_for():
    # The package makes videos on Vertex only; the Developer API's form is kept for programs that speak it.
    url = BASE_URL + "/v1beta/models/veo-3.1-generate-preview:predictLongRunning?key=" + KEY
    job = json.loads(post(url, {"instances": [{"prompt": "a cat"}]})[2])
    until = time.monotonic() + 10
    while not job.get("done") and time.monotonic() < until:
        time.sleep(0.1)
        job = json.loads(post(BASE_URL + "/v1beta/" + job["name"], None, "GET")[2])
    uri = job["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"]
    request = urllib.request.Request(uri, headers={"x-goog-api-key": KEY})
    holds(urllib.request.urlopen(request).read()[:12].decode("latin-1"), "ftyp")


def vertex():
    from google.oauth2.credentials import Credentials

    return genai.Client(
        vertexai=True, project="p1", location="global", credentials=Credentials(KEY), http_options={"base_url": BASE_URL}
    )


@check
def gemini_on_vertex():
    with vertex() as there:
        answer = there.models.generate_content(model="gemini-3.8-flash", contents="hello there")
        holds(answer.text, "You said: hello there")
        parts = list(there.models.generate_content_stream(model="gemini-3.8-flash", contents="hello there"))
        equal("".join(p.text or "" for p in parts), answer.text)


@check
def video_on_vertex():
    with vertex() as there:
        job = there.models.generate_videos(
            model="veo-3.1-generate-001", source=types.GenerateVideosSource(prompt="a cat")
        )
        until = time.monotonic() + 10
        while not job.done and time.monotonic() < until:
            time.sleep(0.1)
            job = there.operations.get(job)
        holds(job.response.generated_videos[0].video.video_bytes[:12].decode("latin-1"), "ftyp")


def claude(api):
    ask = {"model": CLAUDE, "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}
    answer = api.messages.create(**ask)
    holds(answer.content[0].text, "You said: hello there")
    with api.messages.stream(**ask) as stream:
        equal(stream.get_final_message().content[0].text, answer.content[0].text)
    return answer


@check
def claude_on_vertex():
    with anthropic.AnthropicVertex(
        base_url=BASE_URL + "/v1", access_token=KEY, project_id="p1", region="global", max_retries=0
    ) as api:
        holds(claude(api).id, "msg_vrtx_")
        messages = [{"role": "user", "content": "hello"}]
        assert api.messages.count_tokens(model="claude-sonnet-4-6", messages=messages).input_tokens > 0


@check
def claude_on_bedrock():
    with anthropic.AnthropicBedrock(
        base_url=BASE_URL, aws_access_key="AKIDFAKE", aws_secret_key="fake-secret", aws_region="us-east-1", max_retries=0
    ) as api:
        holds(claude(api).id, "msg_bdrk_")


def converse(text, **more):
    return {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": text}]}], **more}


@check
def converse_plain_and_streamed():
    answer = bedrock.converse(**converse("hello there"))
    text = answer["output"]["message"]["content"][0]["text"]
    holds(text, "You said: hello there")
    equal(answer["stopReason"], "end_turn")
    events = list(bedrock.converse_stream(**converse("hello there"))["stream"])
    said = "".join(e["contentBlockDelta"]["delta"].get("text", "") for e in events if "contentBlockDelta" in e)
    equal(said, text)
    equal(events[-1]["metadata"]["usage"], answer["usage"])


@check
def converse_tools_and_images():
    answer = bedrock.converse(**converse("use tool weather", toolConfig=SPEC))
    equal(answer["stopReason"], "tool_use")
    assert answer["output"]["message"]["content"][0]["toolUse"]["input"]["days"] >= 3
    image = {"image": {"format": "png", "source": {"bytes": png()}}}
    messages = [{"role": "user", "content": [{"text": "look"}, image]}]
    answer = bedrock.converse(modelId=CLAUDE, messages=messages)
    holds(answer["output"]["message"]["content"][0]["text"], "1 image/png of")


BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello there"}],
}


@check
def invoke_model_plain_streamed_and_counted():
    answer = json.loads(bedrock.invoke_model(modelId=CLAUDE, body=json.dumps(BODY))["body"].read())
    holds(answer["content"][0]["text"], "You said: hello there")
    stream = bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(BODY))["body"]
    events = [json.loads(e["chunk"]["bytes"]) for e in stream]
    equal(events[-1]["type"], "message_stop")
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] > 0
    said = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
    equal(said, answer["content"][0]["text"])
    counted = bedrock.count_tokens(modelId=CLAUDE, input={"invokeModel": {"body": json.dumps(BODY)}})
    also = bedrock.count_tokens(modelId=CLAUDE, input={"converse": {"messages": converse("hello there")["messages"]}})
    assert counted["inputTokens"] > 0 and also["inputTokens"] > 0


@check
def bedrock_errors():
    kind = botocore.exceptions.ClientError
    error = raises(kind, lambda: bedrock.converse(**converse("[[fake: status=429]]")))
    equal(error.response["Error"]["Code"], "ThrottlingException")
    wrong = boto3.client(
        "bedrock-runtime", endpoint_url=BASE_URL, config=once, **{**AWS, "aws_secret_access_key": "another"}
    )
    error = raises(kind, lambda: wrong.converse(**converse("hello")))
    equal(error.response["Error"]["Code"], "InvalidSignatureException")
    broken = bedrock.converse_stream(**converse("[[fake: error_event_after=3]]"))["stream"]
    raises(kind, lambda: list(broken))


def post(url, body, method="POST"):
    headers = {"authorization": "Bearer " + KEY, "content-type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    answer = urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method))
    return answer.status, dict(answer.headers), answer.read()


def chat(text, **more):
    return {"model": "fake-small", "messages": [{"role": "user", "content": text}], **more}


@check
def xai_over_rest():
    url = os.environ["XAI_URL"] + "/v1/chat/"
    _, _, body = post(url + "completions", chat("hello there", reasoning_effort="low"))
    answer = json.loads(body)
    usage = answer["usage"]
    holds(answer["choices"][0]["message"]["reasoning_content"], "Let me think")
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    equal(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"] + reasoning)
    assert usage["cost_in_usd_ticks"] > 0
    name = json.loads(post(url + "completions", chat("hello", deferred=True))[2])["request_id"]
    status, until = 202, time.monotonic() + 5
    while status == 202 and time.monotonic() < until:
        status, _, body = post(url + "deferred-completion/" + name, None, "GET")
    holds(json.loads(body)["choices"][0]["message"]["content"], "You said: hello")
    equal(raises(urllib.error.HTTPError, lambda: post(url + "deferred-completion/" + name, None, "GET")).code, 404)


@check
def fireworks_package():
    from fireworks import Fireworks

    api = Fireworks(api_key=KEY, base_url=os.environ["FIREWORKS_URL"], max_retries=0)
    answer = api.chat.completions.create(**chat("hello there"))
    holds(answer.choices[0].message.content, "You said: hello there")
    chunks = list(api.chat.completions.create(**chat("hello there", stream=True)))
    equal("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), answer.choices[0].message.content)
    assert chunks[-1].usage.prompt_tokens > 0, chunks[-1]
    _, headers, _ = post(os.environ["FIREWORKS_URL"] + "/v1/chat/completions", chat("hello"))
    assert int({k.lower(): v for k, v in headers.items()}["fireworks-prompt-tokens"]) > 0


@check
def openrouter_package():
    url = os.environ["OPENROUTER_URL"]
    with OpenRouter(api_key=KEY, server_url=url + "/api/v1") as api:
        answer = api.chat.send(**chat("hello there"))
        holds(answer.choices[0].message.content, "You said: hello there")
        with api.chat.send(**chat("hello there", stream=True)) as stream:
            chunks = list(stream)
        said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        equal(said, answer.choices[0].message.content)
    _, _, body = post(url + "/api/v1/chat/completions", chat("hello", stream=True))
    assert body.startswith(b": OPENROUTER PROCESSING"), body[:80]
    _, _, body = post(url + "/api/v1/chat/completions", chat("[[fake: error_event_after=3]]", stream=True))
    last = json.loads(body.decode().strip().split("data: ")[-1])
    equal(last["choices"][0]["finish_reason"], "error")
    assert json.loads(post(url + "/api/v1/chat/completions", chat("hello"))[2])["usage"]["cost"] > 0


main()
