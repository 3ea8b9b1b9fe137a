"""The official `openai` package, unmodified but for base URL and key, against whatever answers at BASE_URL."""

import json
import time

import openai
from pydantic import BaseModel

from checks import *

ROOT = BASE_URL + "/v1"
client = openai.OpenAI(base_url=ROOT, api_key=KEY, max_retries=0, timeout=20)
TOOL = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": WEATHER}}


def ask(text, **more):
    more.setdefault("model", MODEL)
    return client.chat.completions.create(messages=[{"role": "user", "content": text}], **more)


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def consistent(usage):
    assert usage is not None, "no usage"
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "total_tokens")
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    assert 0 <= (cached or 0) <= usage.prompt_tokens, usage


@check
def plain_answer_with_usage():
    answer = ask("hello there")
    equal(answer.object, "chat.completion")
    equal(len(answer.choices), 1, "choices")
    choice = answer.choices[0]
    equal((choice.index, choice.message.role, choice.finish_reason), (0, "assistant", "stop"))
    holds(choice.message.content, "You said: hello there 1 2 3")
    assert not choice.message.tool_calls and not choice.message.refusal, choice
    assert answer.id and answer.created > 1_700_000_000 and answer.model, answer
    consistent(answer.usage)


@check
def streamed_answer_is_the_plain_one_without_usage_unasked():
    chunks = list(ask("hello there", stream=True))
    equal(text_of(chunks), ask("hello there").choices[0].message.content)
    equal({c.object for c in chunks}, {"chat.completion.chunk"})
    equal(len({c.id for c in chunks}), 1, "ids")
    assert all(c.usage is None for c in chunks), "usage that nobody asked for"
    assert all("usage" not in c.model_fields_set for c in chunks), "a null usage that nobody asked for"
    assert all(c.choices for c in chunks), "a chunk without choices"
    equal(chunks[0].choices[0].delta.role, "assistant")
    equal([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason], ["stop"])
    equal(chunks[-1].choices[0].finish_reason, "stop", "the last chunk")


@check
def streamed_usage_comes_last_when_asked_for():
    chunks = list(ask("hello there", stream=True, stream_options={"include_usage": True}))
    assert all(c.usage is None for c in chunks[:-1]), "usage before the end"
    equal(chunks[-1].choices, [], "choices beside usage")
    consistent(chunks[-1].usage)
    plain = ask("hello there").usage
    equal(chunks[-1].usage.prompt_tokens, plain.prompt_tokens, "prompt_tokens")
    equal(chunks[-1].usage.completion_tokens, plain.completion_tokens, "completion_tokens")


@check
def every_field_is_of_the_type_that_the_sdk_says():
    # Otherwise the SDK takes what it gets; programs in stricter languages do not.
    with openai.OpenAI(base_url=ROOT, api_key=KEY, max_retries=0, _strict_response_validation=True) as strict:
        for text, more in [
            ("hello", {}),
            ("use tool weather twice", {"tools": [TOOL]}),
            ("please refuse", {}),
            ("hello", {"reasoning_effort": "low", "max_completion_tokens": 20_000}),
            ("one two three", {"max_completion_tokens": 3}),
        ]:
            prompt = [{"role": "user", "content": text}]
            answer = strict.chat.completions.create(model=MODEL, messages=prompt, **more)
            assert answer._request_id, "no id of the request in the headers"
            usage = {"include_usage": True}
            chunks = strict.chat.completions.create(
                model=MODEL, messages=prompt, stream=True, stream_options=usage, **more
            )
            equal(len({chunk.id for chunk in chunks}), 1, "ids")
        assert list(strict.models.list()), "no models"
        strict.models.retrieve(MODEL)


@check
def completions_plain_and_streamed():
    asked = {"model": MODEL, "prompt": "hello there", "max_tokens": 200}
    answer = client.completions.create(**asked)
    equal((answer.object, len(answer.choices)), ("text_completion", 1))
    holds(answer.choices[0].text, "You said: hello there")
    equal(answer.choices[0].finish_reason, "stop")
    consistent(answer.usage)
    chunks = list(client.completions.create(**asked, stream=True))
    equal("".join(c.choices[0].text for c in chunks), answer.choices[0].text)
    equal({c.object for c in chunks}, {"text_completion"})
    equal([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason], ["stop"])
    assert all("usage" not in c.model_fields_set for c in chunks), "usage that nobody asked for"
    last = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))[-1]
    equal(last.choices, [])
    consistent(last.usage)


@check_when(not ROUTED)
def embeddings():
    answer = client.embeddings.create(model=MODEL, input=["one", "two"])
    equal([e.index for e in answer.data], [0, 1])
    assert all(len(e.embedding) == 8 for e in answer.data), answer
    assert answer.usage.prompt_tokens > 0, answer.usage


@check
def letters_of_many_bytes_and_quotes_survive():
    holds(ask(HARD_WORDS).choices[0].message.content, "You said: " + HARD_WORDS)
    holds(text_of(ask(HARD_WORDS, stream=True)), "You said: " + HARD_WORDS)
    holds(text_of(ask(HARD_WORDS + " [[fake: torn=3]]", stream=True)), "You said: " + HARD_WORDS)


@check
def unknown_events_do_not_break_a_stream():
    chunks = list(ask("hello [[fake: unknown_event]]", stream=True))
    holds(text_of(chunks), "You said: hello")
    equal([c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason], ["stop"])


@check
def system_and_developer_prompts_are_read():
    bare = ask("hello").usage.prompt_tokens
    for role in ["system", "developer"]:
        prompt = [{"role": role, "content": "be brief " * 50}, {"role": "user", "content": "hello"}]
        answer = client.chat.completions.create(model=MODEL, messages=prompt)
        holds(answer.choices[0].message.content, "You said: hello")
        assert answer.usage.prompt_tokens >= bare + 50, (role, answer.usage)


@check
def conversation_of_many_turns():
    turns = [{"role": "user", "content": "first"}]
    for text in ["second", "third"]:
        said = client.chat.completions.create(model=MODEL, messages=turns).choices[0].message
        # The SDK's own object goes back as it came.
        turns += [said, {"role": "user", "content": [{"type": "text", "text": text}]}]
    holds(client.chat.completions.create(model=MODEL, messages=turns).choices[0].message.content, "You said: third")


@check
def tool_loop_ends_with_an_answer():
    turns = [{"role": "user", "content": "please use tool weather"}]
    first = client.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL], tool_choice="auto")
    choice = first.choices[0]
    equal(choice.finish_reason, "tool_calls")
    [call] = choice.message.tool_calls
    equal((call.type, call.function.name), ("function", "weather"))
    equal(json.loads(call.function.arguments), {"city": "text", "days": 3})
    result = {"role": "tool", "tool_call_id": call.id, "content": "it rains"}
    second = client.chat.completions.create(model=MODEL, messages=[*turns, choice.message, result], tools=[TOOL])
    equal(second.choices[0].finish_reason, "stop")
    holds(second.choices[0].message.content, "The tool said: it rains")


@check
def parallel_tool_calls():
    turns = [{"role": "user", "content": "use tool weather twice"}]
    first = client.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL])
    calls = first.choices[0].message.tool_calls
    equal(len(calls), 2, "calls")
    assert calls[0].id != calls[1].id, "one id for two calls"
    results = [{"role": "tool", "tool_call_id": c.id, "content": f"result {n}"} for n, c in enumerate(calls)]
    second = client.chat.completions.create(model=MODEL, messages=[*turns, first.choices[0].message, *results], tools=[TOOL])
    holds(second.choices[0].message.content, "The tool said: result 0 The tool said: result 1")
    one = client.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL], parallel_tool_calls=False)
    equal(len(one.choices[0].message.tool_calls), 1, "calls, one at a time")


@check
def tool_choice_is_obeyed():
    forced = ask("hello", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "weather"}})
    equal(forced.choices[0].message.tool_calls[0].function.name, "weather")
    required = ask("hello", tools=[TOOL], tool_choice="required")
    equal(len(required.choices[0].message.tool_calls), 1, "calls")
    none = ask("use tool weather", tools=[TOOL], tool_choice="none")
    assert not none.choices[0].message.tool_calls, none


@check
def raw_tool_call_chunks_carry_their_index():
    chunks = ask("use tool weather twice", tools=[TOOL], stream=True)
    calls = {}
    for chunk in chunks:
        for piece in chunk.choices[0].delta.tool_calls or []:
            call = calls.setdefault(piece.index, {"ids": [], "names": [], "arguments": ""})
            call["ids"] += [piece.id] if piece.id else []
            call["names"] += [piece.function.name] if piece.function.name else []
            call["arguments"] += piece.function.arguments or ""
    equal(sorted(calls), [0, 1], "indices")
    for call in calls.values():
        equal((len(call["ids"]), call["names"]), (1, ["weather"]))
        equal(json.loads(call["arguments"]), {"city": "text", "days": 3})


@check
def stream_helper_accumulates_text_and_usage():
    prompt = [{"role": "user", "content": "hello there"}]
    with client.chat.completions.stream(model=MODEL, messages=prompt, stream_options={"include_usage": True}) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds and "content.done" in kinds, kinds
    holds(final.choices[0].message.content, "You said: hello there")
    equal(final.choices[0].finish_reason, "stop")
    consistent(final.usage)


@check
def stream_helper_accumulates_tool_calls():
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    prompt = [{"role": "user", "content": "use tool weather twice"}]
    with client.chat.completions.stream(model=MODEL, messages=prompt, tools=[strict]) as stream:
        done = [e for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    equal([e.parsed_arguments for e in done], [{"city": "text", "days": 3}] * 2, "the helper's arguments")
    calls = final.choices[0].message.tool_calls
    equal([c.function.parsed_arguments for c in calls], [{"city": "text", "days": 3}] * 2, "arguments")
    equal(final.choices[0].finish_reason, "tool_calls")


@check
def picture():
    data = png()
    url = {"url": "data:image/png;base64," + base64_of(data), "detail": "low"}
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": url}]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    holds(answer.choices[0].message.content, f"I see 1 image/png of {len(data)} bytes. You said: look")


@check
def pdf_document():
    data = pdf()
    file = {"filename": "page.pdf", "file_data": "data:application/pdf;base64," + base64_of(data)}
    content = [{"type": "file", "file": file}, {"type": "text", "text": "read"}]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    holds(answer.choices[0].message.content, f"I see 1 application/pdf of {len(data)} bytes. You said: read")


class Forecast(BaseModel):
    city: str
    days: int
    sunny: bool


@check
def structured_output_by_schema():
    form = {"type": "json_schema", "json_schema": {"name": "forecast", "strict": True, "schema": WEATHER}}
    answer = ask("forecast", response_format=form)
    equal(json.loads(answer.choices[0].message.content), {"city": "text", "days": 3})
    equal(json.loads(text_of(ask("forecast", response_format=form, stream=True))), {"city": "text", "days": 3})


@check
def structured_output_by_the_helper():
    prompt = [{"role": "user", "content": "forecast"}]
    parsed = client.chat.completions.parse(model=MODEL, messages=prompt, response_format=Forecast)
    equal(parsed.choices[0].message.parsed, Forecast(city="text", days=1, sunny=True))


@check
def stop_sequence_ends_the_text_before_it():
    for stop in ["four", ["nowhere", "four"]]:
        answer = ask("one two three four five", stop=stop)
        equal(answer.choices[0].message.content.rstrip(), "You said: one two three")
        equal(answer.choices[0].finish_reason, "stop")


@check
def token_limit_is_told_as_length():
    for limit in [{"max_completion_tokens": 5}, {"max_tokens": 5}]:
        answer = ask("one two three four five", **limit)
        equal(answer.choices[0].finish_reason, "length", str(limit))
        equal(answer.usage.completion_tokens, 5, str(limit))
    chunks = list(ask("one two three four five", max_completion_tokens=5, stream=True))
    equal(chunks[-1].choices[0].finish_reason, "length")


@check
def reasoning_effort_thinks_and_is_counted():
    answer = ask("hello", reasoning_effort="high", max_completion_tokens=20_000)
    holds(answer.choices[0].message.content, "You said: hello")
    details = answer.usage.completion_tokens_details
    assert details and details.reasoning_tokens > 0, answer.usage
    assert details.reasoning_tokens < answer.usage.completion_tokens, answer.usage
    consistent(answer.usage)


@check
def refusal_is_told():
    answer = ask("please refuse")
    message = answer.choices[0].message
    holds((message.refusal or "") + (message.content or ""), "I cannot help with that.")


@check
def models_are_listed_and_found():
    names = [model.id for model in client.models.list()]
    assert MODEL in names, names
    model = client.models.retrieve(MODEL)
    equal((model.id, model.object), (MODEL, "model"))
    raises(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))


@check
def wrong_key_is_an_authentication_error():
    stranger = client.with_options(api_key="sk-wrong")
    error = raises(openai.AuthenticationError, lambda: stranger.models.list())
    equal(error.status_code, 401)
    prompt = [{"role": "user", "content": "hello"}]
    for stream in [False, True]:
        error = raises(
            openai.AuthenticationError,
            lambda: stranger.chat.completions.create(model=MODEL, messages=prompt, stream=stream),
        )
        assert "sk-wrong" not in str(error), "the key is in the message"


@check
def unknown_model_is_not_found():
    error = raises(openai.NotFoundError, lambda: ask("hello", model="no-such-model"))
    equal(error.code, "model_not_found")
    holds(error.message, "no-such-model")
    raises(openai.NotFoundError, lambda: ask("hello", model="no-such-model", stream=True))


@check
def missing_messages_are_named():
    error = raises(
        openai.BadRequestError, lambda: client.post("/chat/completions", body={"model": MODEL}, cast_to=object)
    )
    equal(error.param, "messages")
    holds(error.message, "messages")


@check
def wrong_type_is_named():
    error = raises(openai.BadRequestError, lambda: ask("hello", temperature="hot"))
    equal(error.param, "temperature")
    error = raises(openai.BadRequestError, lambda: ask("hello", extra_body={"messages": "hello"}))
    equal(error.param, "messages")


@check
def limit_is_told_with_its_wait():
    error = raises(
        openai.RateLimitError, lambda: ask("hello [[fake: status=429 retry_after=1]]", model=FAULTY_MODEL + "-429")
    )
    equal(error.status_code, 429)
    assert 0 < float(error.response.headers["retry-after"]) <= 60, error.response.headers


@check
def limit_is_waited_for_by_the_sdk():
    count = Count()
    with openai.DefaultHttpxClient(event_hooks=count.hooks) as http:
        patient = client.with_options(max_retries=1, http_client=http)
        begun = time.monotonic()
        raises(
            openai.RateLimitError,
            lambda: patient.chat.completions.create(
                model=FAULTY_MODEL + "-429-retried",
                messages=[{"role": "user", "content": "hello [[fake: status=429 retry_after=1]]"}],
            ),
        )
    equal(count.answers, 2, "answers")
    assert time.monotonic() - begun >= 0.95, "it did not wait"


@check
def failing_provider_is_tried_again_by_the_sdk():
    count = Count()
    with openai.DefaultHttpxClient(event_hooks=count.hooks) as http:
        patient = client.with_options(max_retries=1, http_client=http)
        error = raises(
            openai.InternalServerError,
            lambda: patient.chat.completions.create(
                model=FAULTY_MODEL + "-500", messages=[{"role": "user", "content": "hello [[fake: status=500]]"}]
            ),
        )
    assert error.status_code >= 500, error
    equal(count.answers, 2, "answers")


@check
def page_of_a_proxy_is_a_server_error():
    error = raises(openai.InternalServerError, lambda: ask("hello [[fake: html_502]]", model=FAULTY_MODEL + "-502"))
    assert error.status_code >= 500, error


@check
def error_event_in_the_stream_is_raised():
    chunks = []

    def read():
        for chunk in ask(
            "hello [[fake: error_event_after=6 between_tokens=100]]", model=FAULTY_MODEL + "-event", stream=True
        ):
            chunks.append(chunk)

    error = raises(openai.APIError, read)
    assert str(error), "an error without words"
    assert chunks, "nothing before the error"


@check
def cut_connection_is_raised():
    chunks = []

    def read():
        for chunk in ask("hello [[fake: cut_after=2500 between_tokens=50]]", model=FAULTY_MODEL + "-cut", stream=True):
            chunks.append(chunk)

    raises(openai.APIError, read)
    assert chunks, "nothing before the cut"
    assert all(c.choices[0].finish_reason is None for c in chunks if c.choices), "a finish that never was"


# Alone the SDK takes it for an end; a router must not pass it on as one.
@check_when(ROUTED)
def stream_without_its_end_is_raised():
    raises(
        openai.APIError,
        lambda: list(ask("hello [[fake: no_terminal]]", model=FAULTY_MODEL + "-end", stream=True)),
    )


@check
def stream_that_is_left_early_does_not_hurt_the_next():
    stream = ask("hello", stream=True)
    next(iter(stream))
    stream.close()
    holds(ask("after").choices[0].message.content, "You said: after")


@check
def several_choices():
    # Messages has no such thing, and nobody may make one out of two silently.
    if BEHIND == "messages":
        error = raises(openai.BadRequestError, lambda: ask("hello", n=2))
        holds(str(error), "n")
        return
    answer = ask("hello", n=2)
    equal([c.index for c in answer.choices], [0, 1])
    assert answer.choices[0].message.content != answer.choices[1].message.content, answer


@check
async def async_client_answers_and_streams():
    async with openai.AsyncOpenAI(base_url=ROOT, api_key=KEY, max_retries=0) as other:
        prompt = [{"role": "user", "content": "hello there"}]
        answer = await other.chat.completions.create(model=MODEL, messages=prompt)
        holds(answer.choices[0].message.content, "You said: hello there")
        async with other.chat.completions.stream(model=MODEL, messages=prompt) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_completion()
        equal(final.choices[0].message.content, answer.choices[0].message.content)


@check
async def many_at_once():
    import asyncio

    async with openai.AsyncOpenAI(base_url=ROOT, api_key=KEY, max_retries=0) as other:

        async def one(number):
            prompt = [{"role": "user", "content": f"number {number} please"}]
            stream = await other.chat.completions.create(model=MODEL, messages=prompt, stream=True)
            return text_of([chunk async for chunk in stream])

        for number, text in enumerate(await asyncio.gather(*(one(n) for n in range(20)))):
            holds(text, f"You said: number {number} please")


main()
