"""The official `anthropic` package, unmodified but for base URL and key, against whatever answers at BASE_URL."""

import json
import time

import anthropic
import httpx2
from pydantic import BaseModel

from checks import *

client = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=20)
TOOL = {"name": "weather", "description": "of a city", "input_schema": WEATHER}
FORECAST = {"city": "text", "days": 3}
# What breaks while it is read may also be told in the words of the SDK's own HTTP library.
BROKEN = (anthropic.APIError, httpx2.HTTPError)


def ask(content, **more):
    more.setdefault("model", MODEL)
    more.setdefault("max_tokens", 1000)
    return client.messages.create(messages=[{"role": "user", "content": content}], **more)


def stream(content, **more):
    return client.messages.stream(
        **{"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": content}], **more}
    )


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def consistent(usage):
    assert usage.output_tokens > 0, usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    assert usage.input_tokens + read + written > 0 and min(usage.input_tokens, read, written) >= 0, usage


@check
def plain_answer_with_usage():
    answer = ask("hello there")
    equal((answer.type, answer.role, answer.stop_reason, answer.stop_sequence), ("message", "assistant", "end_turn", None))
    equal([block.type for block in answer.content], ["text"])
    holds(text_of(answer), "You said: hello there 1 2 3")
    assert answer.id and answer.model, answer
    consistent(answer.usage)


@check
def raw_stream_has_each_event_in_its_place():
    events = list(ask("hello there", stream=True))
    kinds = [event.type for event in events]
    equal(kinds[:2], ["message_start", "content_block_start"])
    equal(kinds[-3:], ["content_block_stop", "message_delta", "message_stop"])
    equal(set(kinds[2:-3]), {"content_block_delta"})
    equal((events[0].message.role, events[0].message.content, events[0].message.stop_reason), ("assistant", [], None))
    said = "".join(event.delta.text for event in events[2:-3])
    plain = ask("hello there")
    equal(said, text_of(plain))
    equal(events[-2].delta.stop_reason, "end_turn")
    equal(events[-2].usage.output_tokens, plain.usage.output_tokens, "output_tokens")


@check
def stream_helper_accumulates_text_and_usage():
    with stream("hello there") as events:
        said = "".join(events.text_stream)
        final = events.get_final_message()
    plain = ask("hello there")
    equal(said, text_of(plain))
    equal(text_of(final), said)
    equal(final.stop_reason, "end_turn")
    consistent(final.usage)
    equal(final.usage.output_tokens, plain.usage.output_tokens, "output_tokens")


@check
def every_field_is_of_the_type_that_the_sdk_says():
    # Otherwise the SDK takes what it gets; programs in stricter languages do not.
    with anthropic.Anthropic(
        base_url=BASE_URL, api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as strict:
        for text, more in [
            ("hello", {}),
            ("use tool weather twice", {"tools": [TOOL]}),
            ("please refuse", {}),
            ("hello", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}),
            ("one two three", {"max_tokens": 3}),
        ]:
            request = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **more}
            answer = strict.messages.create(**request)
            assert answer._request_id, "no id of the request in the headers"
            kinds = [event.type for event in strict.messages.create(stream=True, **request)]
            equal((kinds[0], kinds[-1]), ("message_start", "message_stop"))
        assert list(strict.models.list()), "no models"
        strict.models.retrieve(MODEL)


@check_when(not ROUTED)
def tokens_are_counted():
    prompt = [{"role": "user", "content": "hello there"}]
    counted = client.messages.count_tokens(model=MODEL, messages=prompt)
    equal(counted.input_tokens, ask("hello there").usage.input_tokens)


@check
def letters_of_many_bytes_and_quotes_survive():
    holds(text_of(ask(HARD_WORDS)), "You said: " + HARD_WORDS)
    for more in ["", " [[fake: torn=4]]"]:
        with stream(HARD_WORDS + more) as events:
            holds(events.get_final_text(), "You said: " + HARD_WORDS)


@check
def unknown_events_do_not_break_a_stream():
    with stream("hello [[fake: unknown_event]]") as events:
        final = events.get_final_message()
    holds(text_of(final), "You said: hello")
    equal(final.stop_reason, "end_turn")


@check
def system_prompts_are_read():
    bare = ask("hello").usage.input_tokens
    for system in ["be brief " * 50, [{"type": "text", "text": "be brief " * 25}] * 2]:
        answer = ask("hello", system=system)
        holds(text_of(answer), "You said: hello")
        assert answer.usage.input_tokens >= bare + 50, answer.usage


@check
def conversation_of_many_turns():
    turns = [{"role": "user", "content": "first"}]
    for text in ["second", "third"]:
        answer = client.messages.create(model=MODEL, max_tokens=1000, messages=turns)
        # The SDK's own blocks go back as they came.
        turns += [
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [{"type": "text", "text": text}]},
        ]
    holds(text_of(client.messages.create(model=MODEL, max_tokens=1000, messages=turns)), "You said: third")


@check
def tool_loop_ends_with_an_answer():
    turns = [{"role": "user", "content": "please use tool weather"}]
    first = client.messages.create(model=MODEL, max_tokens=1000, messages=turns, tools=[TOOL])
    equal(first.stop_reason, "tool_use")
    [call] = [block for block in first.content if block.type == "tool_use"]
    equal((call.name, call.input), ("weather", FORECAST))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "it rains"}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(model=MODEL, max_tokens=1000, messages=turns, tools=[TOOL])
    equal(second.stop_reason, "end_turn")
    holds(text_of(second), "The tool said: it rains")


@check
def parallel_tool_calls():
    turns = [{"role": "user", "content": "use tool weather twice"}]
    first = client.messages.create(model=MODEL, max_tokens=1000, messages=turns, tools=[TOOL])
    calls = [block for block in first.content if block.type == "tool_use"]
    equal([call.input for call in calls], [FORECAST] * 2)
    assert calls[0].id != calls[1].id, "one id for two calls"
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": f"result {n}"}]}
        for n, call in enumerate(calls)
    ]
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(model=MODEL, max_tokens=1000, messages=turns, tools=[TOOL])
    holds(text_of(second), "The tool said: result 0 The tool said: result 1")
    one = ask("use tool weather twice", tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    equal(len([block for block in one.content if block.type == "tool_use"]), 1, "calls, one at a time")


@check
def failed_tool_is_told_too():
    turns = [{"role": "user", "content": "please use tool weather"}]
    first = client.messages.create(model=MODEL, max_tokens=1000, messages=turns, tools=[TOOL])
    call = first.content[-1]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "no such city", "is_error": True}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(model=MODEL, max_tokens=1000, messages=turns, tools=[TOOL])
    holds(text_of(second), "no such city")


@check
def tool_choice_is_obeyed():
    forced = ask("hello", tools=[TOOL], tool_choice={"type": "tool", "name": "weather"})
    equal([block.type for block in forced.content], ["tool_use"])
    required = ask("hello", tools=[TOOL], tool_choice={"type": "any"})
    equal([block.type for block in required.content], ["tool_use"])
    none = ask("use tool weather", tools=[TOOL], tool_choice={"type": "none"})
    equal([block.type for block in none.content], ["text"])


@check
def stream_helper_accumulates_tool_calls():
    with stream("use tool weather twice", tools=[TOOL]) as events:
        pieces = [event for event in events if event.type == "input_json"]
        final = events.get_final_message()
    assert len(pieces) >= 4, "arguments in one piece"
    equal([block.input for block in final.content if block.type == "tool_use"], [FORECAST] * 2)
    equal(final.stop_reason, "tool_use")


@check
def picture():
    data = png()
    source = {"type": "base64", "media_type": "image/png", "data": base64_of(data)}
    answer = ask([{"type": "image", "source": source}, {"type": "text", "text": "look"}])
    holds(text_of(answer), f"I see 1 image/png of {len(data)} bytes. You said: look")


@check
def pdf_document():
    data = pdf()
    source = {"type": "base64", "media_type": "application/pdf", "data": base64_of(data)}
    answer = ask([{"type": "document", "source": source}, {"type": "text", "text": "read"}])
    holds(text_of(answer), f"I see 1 application/pdf of {len(data)} bytes. You said: read")


class Forecast(BaseModel):
    city: str
    days: int
    sunny: bool


@check
def structured_output_by_schema():
    form = {"format": {"type": "json_schema", "schema": WEATHER}}
    equal(json.loads(text_of(ask("forecast", output_config=form))), FORECAST)
    with stream("forecast", output_config=form) as events:
        equal(json.loads(events.get_final_text()), FORECAST)


@check
def structured_output_by_the_helper():
    prompt = [{"role": "user", "content": "forecast"}]
    parsed = client.messages.parse(model=MODEL, max_tokens=1000, messages=prompt, output_format=Forecast)
    equal(parsed.parsed_output, Forecast(city="text", days=1, sunny=True))


@check
def stop_sequence_ends_the_text_before_it():
    answer = ask("one two three four five", stop_sequences=["nowhere", "four"])
    equal(text_of(answer).rstrip(), "You said: one two three")
    # Chat does not tell a stop sequence from an end, so a router before it cannot either.
    if BEHIND != "chat":
        equal((answer.stop_reason, answer.stop_sequence), ("stop_sequence", "four"))


@check
def token_limit_is_told():
    answer = ask("one two three four five", max_tokens=5)
    equal(answer.stop_reason, "max_tokens")
    equal(answer.usage.output_tokens, 5, "output_tokens")
    with stream("one two three four five", max_tokens=5) as events:
        equal(events.get_final_message().stop_reason, "max_tokens")


@check
def thinking_is_shown_signed_and_sent_back():
    for thinking in [{"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}]:
        answer = ask("hello", max_tokens=4000, thinking=thinking)
        holds(text_of(answer), "You said: hello")
        # To Chat "adaptive" is what it does unasked.
        if BEHIND == "chat" and thinking["type"] == "adaptive":
            continue
        assert answer.usage.output_tokens_details.thinking_tokens > 0, answer.usage
        assert answer.usage.output_tokens_details.thinking_tokens < answer.usage.output_tokens, answer.usage
        # Chat counts its thinking and does not show it.
        if BEHIND == "chat":
            continue
        equal([block.type for block in answer.content], ["thinking", "text"])
        holds(answer.content[0].thinking, "Let me think: 1 2 3")
        assert answer.content[0].signature, "no signature"
        turns = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": "again"},
        ]
        again = client.messages.create(model=MODEL, max_tokens=4000, messages=turns, thinking=thinking)
        holds(text_of(again), "You said: again")


@check
def streamed_thinking_is_the_plain_one():
    thinking = {"type": "enabled", "budget_tokens": 2000}
    with stream("hello", max_tokens=4000, thinking=thinking) as events:
        kinds = {event.type for event in events}
        final = events.get_final_message()
    holds(text_of(final), "You said: hello")
    if BEHIND == "chat":
        return
    assert {"thinking", "signature"} <= kinds, kinds
    plain = ask("hello", max_tokens=4000, thinking=thinking)
    equal(final.content[0].thinking, plain.content[0].thinking)
    equal(final.content[0].signature, plain.content[0].signature)


# A mark is Anthropic's own: chat providers cache by themselves.
@check_when(BEHIND != "chat")
def cache_marks_write_and_then_read():
    unique = f"{BASE_URL} {BEHIND} {time.time_ns()} "
    system = [{"type": "text", "text": unique + "long " * 6000, "cache_control": {"type": "ephemeral"}}]
    # The router adds marks of its own where it expects them to pay; here the client's alone are looked at.
    alone = {"x-stokehold-cache": "client"}
    first = ask("hello", system=system, extra_headers=alone).usage
    assert first.cache_creation_input_tokens > 1000, first
    equal(first.cache_read_input_tokens, 0)
    second = ask("hello again", system=system, extra_headers=alone).usage
    equal(second.cache_read_input_tokens, first.cache_creation_input_tokens, "read of what was written")
    assert second.input_tokens < 100, second


@check
def beta_messages_answer_too():
    prompt = [{"role": "user", "content": "hello there"}]
    answer = client.beta.messages.create(model=MODEL, max_tokens=1000, messages=prompt)
    holds(text_of(answer), "You said: hello there")


@check
def refusal_is_told():
    answer = ask("please refuse")
    holds(text_of(answer), "I cannot help with that.")
    equal(answer.stop_reason, "refusal")


@check
def models_are_listed_and_found():
    names = [model.id for model in client.models.list()]
    assert MODEL in names, names
    model = client.models.retrieve(MODEL)
    equal((model.id, model.type), (MODEL, "model"))
    assert model.display_name and model.created_at.year > 1969, model
    raises(anthropic.NotFoundError, lambda: client.models.retrieve("no-such-model"))


@check
def wrong_key_is_an_authentication_error():
    stranger = client.with_options(api_key="sk-wrong")
    raises(anthropic.AuthenticationError, lambda: stranger.models.list())
    prompt = [{"role": "user", "content": "hello"}]
    for streamed in [False, True]:
        error = raises(
            anthropic.AuthenticationError,
            lambda: stranger.messages.create(model=MODEL, max_tokens=10, messages=prompt, stream=streamed),
        )
        equal(error.body["error"]["type"], "authentication_error")
        assert "sk-wrong" not in str(error), "the key is in the message"


@check
def bearer_token_is_taken_as_a_key():
    other = anthropic.Anthropic(base_url=BASE_URL, auth_token=KEY, api_key=None, max_retries=0)
    prompt = [{"role": "user", "content": "hello"}]
    holds(text_of(other.messages.create(model=MODEL, max_tokens=1000, messages=prompt)), "You said: hello")


@check
def unknown_model_is_not_found():
    for streamed in [False, True]:
        error = raises(anthropic.NotFoundError, lambda: ask("hello", model="no-such-model", stream=streamed))
        equal(error.body["error"]["type"], "not_found_error")
        holds(str(error), "no-such-model")


@check
def missing_fields_are_named():
    for field in ["messages", "max_tokens"]:
        body = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
        del body[field]
        error = raises(anthropic.BadRequestError, lambda: client.post("/v1/messages", body=body, cast_to=object))
        equal(error.body["error"]["type"], "invalid_request_error")
        holds(error.body["error"]["message"], field)


@check
def wrong_type_is_named():
    error = raises(anthropic.BadRequestError, lambda: ask("hello", extra_body={"max_tokens": "many"}))
    holds(error.body["error"]["message"], "max_tokens")
    error = raises(anthropic.BadRequestError, lambda: ask("hello", extra_body={"messages": "hello"}))
    holds(error.body["error"]["message"], "messages")


@check
def limit_is_told_with_its_wait():
    error = raises(
        anthropic.RateLimitError, lambda: ask("hello [[fake: status=429 retry_after=1]]", model=FAULTY_MODEL + "-429")
    )
    equal(error.body["error"]["type"], "rate_limit_error")
    assert 0 < float(error.response.headers["retry-after"]) <= 60, error.response.headers


@check
def limit_is_waited_for_by_the_sdk():
    count = Count()
    with anthropic.DefaultHttpxClient(event_hooks=count.hooks) as http:
        patient = client.with_options(max_retries=1, http_client=http)
        begun = time.monotonic()
        raises(
            anthropic.RateLimitError,
            lambda: patient.messages.create(
                model=FAULTY_MODEL + "-429-retried",
                max_tokens=10,
                messages=[{"role": "user", "content": "hello [[fake: status=429 retry_after=1]]"}],
            ),
        )
    equal(count.answers, 2, "answers")
    assert time.monotonic() - begun >= 0.95, "it did not wait"


@check
def failing_provider_is_tried_again_by_the_sdk():
    count = Count()
    with anthropic.DefaultHttpxClient(event_hooks=count.hooks) as http:
        patient = client.with_options(max_retries=1, http_client=http)
        error = raises(
            anthropic.InternalServerError,
            lambda: patient.messages.create(
                model=FAULTY_MODEL + "-500",
                max_tokens=10,
                messages=[{"role": "user", "content": "hello [[fake: status=529]]"}],
            ),
        )
    assert error.status_code >= 500, error
    equal(count.answers, 2, "answers")


@check
def page_of_a_proxy_is_a_server_error():
    error = raises(anthropic.InternalServerError, lambda: ask("hello [[fake: html_502]]", model=FAULTY_MODEL + "-502"))
    assert error.status_code >= 500, error


@check
def error_event_in_the_stream_is_raised():
    seen = []

    def read():
        with stream("hello [[fake: error_event_after=6 between_tokens=100]]", model=FAULTY_MODEL + "-event") as events:
            for event in events:
                seen.append(event.type)

    error = raises(anthropic.APIStatusError, read)
    equal(error.body["type"], "error")
    assert error.body["error"]["type"] and error.body["error"]["message"], error.body
    assert "message_start" in seen, "nothing before the error"


@check
def cut_connection_is_raised():
    seen = []

    def read():
        for event in ask("hello [[fake: cut_after=1500 between_tokens=50]]", model=FAULTY_MODEL + "-cut", stream=True):
            seen.append(event.type)

    raises(BROKEN, read)
    assert "message_start" in seen, "nothing before the cut"
    assert "message_stop" not in seen and "message_delta" not in seen, "an end that never was"


# Alone the SDK takes it for an end; a router must not pass it on as one.
@check_when(ROUTED)
def stream_without_its_end_is_raised():
    raises(
        BROKEN,
        lambda: list(ask("hello [[fake: no_terminal]]", model=FAULTY_MODEL + "-end", stream=True)),
    )


@check
def stream_that_is_left_early_does_not_hurt_the_next():
    with stream("hello") as events:
        next(iter(events))
    holds(text_of(ask("after")), "You said: after")


@check
async def async_client_answers_and_streams():
    async with anthropic.AsyncAnthropic(base_url=BASE_URL, api_key=KEY, max_retries=0) as other:
        prompt = [{"role": "user", "content": "hello there"}]
        answer = await other.messages.create(model=MODEL, max_tokens=1000, messages=prompt)
        holds(text_of(answer), "You said: hello there")
        async with other.messages.stream(model=MODEL, max_tokens=1000, messages=prompt) as events:
            final = await events.get_final_message()
        equal(text_of(final), text_of(answer))


@check
async def many_at_once():
    import asyncio

    async with anthropic.AsyncAnthropic(base_url=BASE_URL, api_key=KEY, max_retries=0) as other:

        async def one(number):
            prompt = [{"role": "user", "content": f"number {number} please"}]
            async with other.messages.stream(model=MODEL, max_tokens=1000, messages=prompt) as events:
                return await events.get_final_text()

        for number, text in enumerate(await asyncio.gather(*(one(n) for n in range(20)))):
            holds(text, f"You said: number {number} please")


main()
