"""Four official clients through a router, each with every provider behind: MODELS names one model a provider, split by blanks."""

import asyncio
import json
import os
import time
import urllib.request

import anthropic
import openai
from google import genai
from google.genai import types

from checks import *
import checks

MODELS = os.environ["MODELS"].split()
openai_client = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0, timeout=20)
claude = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=20)
gemini = genai.Client(api_key=KEY, http_options={"base_url": BASE_URL})
PICTURE = base64_of(png())
DOCUMENT = base64_of(pdf())
SAID = "You said: hello there"
FUNCTION = {"name": "weather", "description": "of a city", "parameters": WEATHER}


def for_each_model(run):
    """One check a model."""
    for model in MODELS:

        def one(model=model):
            run(model)

        one.__name__ = f"{run.__name__}_at_{model}"
        checks._checks.append(one)
    return run


@for_each_model
def chat_plain_streamed_and_counted(model):
    ask = {"model": model, "messages": [{"role": "user", "content": "hello there"}]}
    answer = openai_client.chat.completions.create(**ask)
    holds(answer.choices[0].message.content, SAID)
    equal((answer.model, answer.choices[0].finish_reason), (answer.model, "stop"))
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, answer.usage
    more = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(openai_client.chat.completions.create(**ask, **more))
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    equal(said, answer.choices[0].message.content)
    assert chunks[-1].usage.completion_tokens > 0, chunks[-1]


@for_each_model
def chat_tools_and_their_results(model):
    tools = [{"type": "function", "function": FUNCTION}]
    messages = [{"role": "user", "content": "use tool weather twice"}]
    answer = openai_client.chat.completions.create(model=model, messages=messages, tools=tools)
    calls = answer.choices[0].message.tool_calls
    equal((len(calls), answer.choices[0].finish_reason), (2, "tool_calls"))
    assert json.loads(calls[0].function.arguments)["days"] >= 3
    messages.append(answer.choices[0].message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in calls]
    after = openai_client.chat.completions.create(model=model, messages=messages, tools=tools)
    holds(after.choices[0].message.content, "The tool said: sunny")


@for_each_model
def chat_takes_a_picture(model):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}}
    content = [{"type": "text", "text": "look"}, picture]
    answer = openai_client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    holds(answer.choices[0].message.content, "1 image/png of")


@for_each_model
def responses_plain_and_streamed(model):
    answer = openai_client.responses.create(model=model, input="hello there")
    equal((answer.object, answer.status), ("response", "completed"))
    holds(answer.output_text, SAID)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    with openai_client.responses.stream(model=model, input="hello there") as stream:
        events = list(stream)
        equal([e.sequence_number for e in events], list(range(len(events))))
        equal(stream.get_final_response().output_text, answer.output_text)


@for_each_model
def responses_tools_and_their_results(model):
    tools = [{"type": "function", **FUNCTION}]
    said = [{"role": "user", "content": "use tool weather twice"}]
    answer = openai_client.responses.create(model=model, input=said, tools=tools, store=False)
    calls = [i for i in answer.output if i.type == "function_call"]
    equal(len(calls), 2, "calls")
    assert json.loads(calls[0].arguments)["days"] >= 3
    said += [item.model_dump(exclude_none=True) for item in answer.output]
    said += [{"type": "function_call_output", "call_id": c.call_id, "output": "sunny"} for c in calls]
    after = openai_client.responses.create(model=model, input=said, tools=tools, store=False)
    holds(after.output_text, "The tool said: sunny")


@for_each_model
def responses_take_pictures(model):
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + PICTURE}
    content = [{"type": "input_text", "text": "look"}, picture]
    answer = openai_client.responses.create(model=model, input=[{"role": "user", "content": content}])
    holds(answer.output_text, "1 image/png of")


@for_each_model
def messages_plain_and_streamed(model):
    ask = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": "hello there"}]}
    answer = claude.messages.create(**ask)
    holds(answer.content[-1].text, SAID)
    equal((answer.role, answer.stop_reason), ("assistant", "end_turn"))
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer.usage
    with claude.messages.stream(**ask) as stream:
        said = "".join(stream.text_stream)
        equal(said, answer.content[-1].text)
        equal(stream.get_final_message().stop_reason, "end_turn")
    told = [event.type for event in claude.messages.create(stream=True, **ask)]
    strange = set(told) - {
        "message_start", "content_block_start", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop", "ping",
    }
    assert not strange, strange
    equal((told[0], told[-1]), ("message_start", "message_stop"))


@for_each_model
def messages_tools_and_their_results(model):
    tools = [{"name": "weather", "description": "of a city", "input_schema": WEATHER}]
    messages = [{"role": "user", "content": "use tool weather twice"}]
    ask = {"model": model, "max_tokens": 200, "tools": tools}
    with claude.messages.stream(messages=messages, **ask) as stream:
        answer = stream.get_final_message()
    calls = [b for b in answer.content if b.type == "tool_use"]
    equal((len(calls), answer.stop_reason), (2, "tool_use"))
    assert calls[0].input["days"] >= 3
    messages.append({"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in answer.content]})
    results = [{"type": "tool_result", "tool_use_id": c.id, "content": "sunny"} for c in calls]
    messages.append({"role": "user", "content": results})
    after = claude.messages.create(messages=messages, **ask)
    holds(after.content[-1].text, "The tool said: sunny")


@for_each_model
def messages_take_pictures(model):
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": source}]
    answer = claude.messages.create(model=model, max_tokens=200, messages=[{"role": "user", "content": content}])
    holds(answer.content[-1].text, "1 image/png of")


@for_each_model
def gemini_plain_and_streamed(model):
    answer = gemini.models.generate_content(model=model, contents="hello there")
    holds(answer.text, SAID)
    equal(answer.candidates[0].finish_reason.name, "STOP")
    assert answer.usage_metadata.prompt_token_count > 0 and answer.usage_metadata.candidates_token_count > 0
    chunks = list(gemini.models.generate_content_stream(model=model, contents="hello there"))
    equal("".join(c.text or "" for c in chunks), answer.text)


@for_each_model
def gemini_tools_and_their_results(model):
    function = types.FunctionDeclaration(name="weather", description="of a city", parameters_json_schema=WEATHER)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])])
    said = [types.Content(role="user", parts=[types.Part(text="use tool weather twice")])]
    answer = gemini.models.generate_content(model=model, contents=said, config=config)
    calls = answer.function_calls
    equal(len(calls), 2, "calls")
    assert calls[0].args["days"] >= 3
    said.append(answer.candidates[0].content)
    results = [types.FunctionResponse(id=c.id, name=c.name, response={"output": "sunny"}) for c in calls]
    said.append(types.Content(role="user", parts=[types.Part(function_response=r) for r in results]))
    after = gemini.models.generate_content(model=model, contents=said, config=config)
    holds(after.text, "The tool said: ")


@for_each_model
def gemini_takes_pictures(model):
    picture = types.Part.from_bytes(data=png(), mime_type="image/png")
    answer = gemini.models.generate_content(model=model, contents=["look", picture])
    holds(answer.text, "1 image/png of")


@check
def tokens_are_counted_in_each_dialect():
    for model in os.environ.get("COUNTED", "").split():
        said = [{"role": "user", "content": "hello there"}]
        count = claude.messages.count_tokens(model=model, messages=said).input_tokens
        assert count > 0, model
        assert openai_client.responses.input_tokens.count(model=model, input="hello there").input_tokens > 0, model
        assert gemini.models.count_tokens(model=model, contents="hello there").total_tokens > 0, model


@check
def texts_are_embedded_in_both_dialects():
    for model in os.environ.get("EMBEDDED", "").split():
        answer = openai_client.embeddings.create(model=model, input=["a", "b"], encoding_format="float")
        equal(len(answer.data), 2, model)
        assert answer.usage.prompt_tokens >= 0
        # This client makes one content of several.
        vectors = gemini.models.embed_content(model=model, contents="a").embeddings
        equal(len(vectors), 1, model)
        equal(len(vectors[0].values), len(answer.data[0].embedding), model)


def for_each_film(run):
    """One check a model that makes video."""
    for model in os.environ.get("FILMS", "").split():

        def one(model=model):
            run(model)

        one.__name__ = f"{run.__name__}_at_{model}"
        checks._checks.append(one)
    return run


def fetched(url):
    request = urllib.request.Request(url, headers={"x-goog-api-key": KEY})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers["content-type"], answer.read()


def is_movie(bytes):
    holds(bytes[:12].decode("latin-1"), "ftyp")


def until_done(ask):
    """Asks as long as a job runs."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        job = ask()
        if job is not None:
            return job
        time.sleep(0.1)
    raise AssertionError("the video is never done")


def started_by_google(model):
    """By hand: this package starts videos on Google Cloud only."""
    url = f"{BASE_URL}/v1beta/models/{model}:predictLongRunning"
    asked = {"instances": [{"prompt": "a cat"}], "parameters": {"durationSeconds": 4}}
    request = urllib.request.Request(
        url, json.dumps(asked).encode(), {"x-goog-api-key": KEY, "content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["name"]


@for_each_film
def gemini_operations_are_asked_after(model):
    name = started_by_google(model)
    equal(name.rsplit("/", 1)[0], f"models/{model}/operations")

    def ask():
        job = gemini.operations.get(types.GenerateVideosOperation(name=name))
        return job if job.done else None

    video = until_done(ask).response.generated_videos[0].video
    if video.video_bytes:
        return is_movie(video.video_bytes)
    kind, bytes = fetched(video.uri)
    equal(kind, "video/mp4")
    is_movie(bytes)
    if "/files/" in video.uri:
        is_movie(gemini.files.download(file=video))
        name = video.uri.split("/files/")[1].split(":")[0]
        is_movie(gemini.files.download(file="files/" + name))


@for_each_film
def google_clouds_videos_are_made_and_asked_after(model):
    from google.oauth2.credentials import Credentials

    options = {"base_url": BASE_URL}
    with genai.Client(
        vertexai=True, project="p1", location="global", credentials=Credentials(KEY), http_options=options
    ) as there:
        source = types.GenerateVideosSource(
            prompt="a cat", image=types.Image(image_bytes=png(), mime_type="image/png")
        )
        config = types.GenerateVideosConfig(duration_seconds=4, resolution="720p", number_of_videos=1)
        job = there.models.generate_videos(model=model, source=source, config=config)
        holds(job.name, f"projects/p1/locations/global/publishers/google/models/{model}/operations/")

        def ask():
            now = there.operations.get(job)
            return now if now.done else None

        video = until_done(ask).response.generated_videos[0].video
    is_movie(video.video_bytes or fetched(video.uri)[1])


@for_each_film
def openai_videos_are_made_and_fetched(model):
    videos = openai_client.videos
    job = videos.create(model=model, prompt="a cat", seconds="4", size="1280x720")
    equal((job.object, job.seconds, job.size), ("video", "4", "1280x720"))
    assert job.status in ("queued", "in_progress"), job
    early = lambda: videos.download_content(job.id)
    assert isinstance(raises(openai.APIStatusError, early), (openai.ConflictError, openai.NotFoundError))
    job = videos.poll(job.id, poll_interval_ms=50)
    equal((job.status, job.progress), ("completed", 100))
    is_movie(videos.download_content(job.id).read())


@for_each_film
def openai_videos_begin_with_an_uploaded_picture(model):
    videos = openai_client.videos
    job = videos.create_and_poll(
        model=model, prompt="a cat", seconds="8", input_reference=("a.png", png(), "image/png"), poll_interval_ms=50
    )
    equal(job.status, "completed")
    is_movie(videos.download_content(job.id).read())
    if model == "film-openai":
        equal(videos.delete(job.id).deleted, True)
        raises(openai.NotFoundError, lambda: videos.retrieve(job.id))
    else:
        raises(openai.BadRequestError, lambda: videos.delete(job.id))


@for_each_film
def native_streams_tell_of_progress_and_where_the_video_is(model):
    asked = {"model": model, "input": "a cat", "video": {"seconds": 4}}
    request = urllib.request.Request(
        BASE_URL + "/api/v1/stream",
        json.dumps(asked).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        lines = [line[6:] for line in answer.read().decode().split("\n") if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    kinds = [e["type"] for e in events]
    equal((kinds[0], kinds[-1]), ("response.created", "response.done"))
    assert [e for e in events if e["type"] == "other" and e["name"] == "progress"], kinds
    block = next(e["block"] for e in events if e["type"] == "block.start")
    equal((block["type"], block["media_type"]), ("video", "video/mp4"))
    is_movie(fetched(block["url"])[1])
    equal(events[-1]["usage"]["output_video_millis"], 4000)


@check
def what_cannot_be_done_with_videos_says_so():
    films = os.environ.get("FILMS", "").split()
    if not films:
        return
    videos = openai_client.videos
    raises(openai.NotFoundError, lambda: list(videos.list()))
    raises(openai.NotFoundError, lambda: videos.remix("video_1", prompt="again"))
    raises(openai.BadRequestError, lambda: videos.create(model=MODELS[0], prompt="a cat"))
    said = [{"role": "user", "content": "a cat"}]
    raises(openai.BadRequestError, lambda: openai_client.chat.completions.create(model=films[0], messages=said))


@check
def models_are_listed_in_each_dialect():
    for listed in (
        {m.id for m in openai_client.models.list()},
        {m.id for m in claude.models.list()},
        {m.name.removeprefix("models/") for m in gemini.models.list()},
    ):
        assert set(MODELS) <= listed, listed


@check
def errors_are_each_clients_own():
    raises(openai.NotFoundError, lambda: openai_client.responses.create(model="nope", input="x"))
    raises(anthropic.NotFoundError, lambda: claude.messages.create(model="nope", max_tokens=1, messages=[{"role": "user", "content": "x"}]))
    error = raises(genai.errors.ClientError, lambda: gemini.models.generate_content(model="nope", contents="x"))
    equal(error.code, 404)
    stranger = genai.Client(api_key="wrong", http_options={"base_url": BASE_URL})
    equal(raises(genai.errors.ClientError, lambda: stranger.models.generate_content(model="nope", contents="x")).code, 401)


main()
