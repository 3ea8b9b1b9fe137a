"""The official `openai` package over WebSockets of Responses, through a router, with every provider behind: MODELS names one model a
provider, split by blanks."""

import asyncio
import json
import os

import openai
from websockets.exceptions import InvalidStatus

from checks import *
import checks

MODELS = os.environ["MODELS"].split()
client = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0, timeout=20)
SAID = "You said: hello there"
TOOL = {"type": "function", "name": "weather", "description": "of a city", "parameters": WEATHER}


def for_each_model(run):
    """One check a model."""
    for model in MODELS:

        def one(model=model):
            run(model)

        one.__name__ = f"{run.__name__}_at_{model}"
        checks._checks.append(one)
    return run


def events_until_its_end(connection, lane=None):
    """All events of the lane's next answer; those of others must not come between."""
    events = []
    for event in connection:
        equal(event.stream_id, lane, "stream_id")
        events.append(event)
        if event.type in ("response.completed", "response.failed", "response.incomplete", "error"):
            return events
    raise AssertionError(f"closed after {events!r}")


def whole(connection, lane=None):
    """The lane's next answer."""
    events = events_until_its_end(connection, lane)
    equal(events[-1].type, "response.completed", f"the end, {events[-1]!r}")
    numbers = [e.sequence_number for e in events]
    equal(numbers, sorted(set(numbers)), "numbers of events")
    equal([e.type for e in events].count("response.created"), 1, "beginnings")
    equal(events[0].response.id, events[-1].response.id, "ids")
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    equal(said, events[-1].response.output_text, "the text")
    return events[-1].response


@for_each_model
def a_conversation_that_nobody_stores(model):
    with client.responses.connect() as connection:
        connection.response.create(model=model, input="hello there", store=False)
        first = whole(connection)
        holds(first.output_text, SAID)
        assert first.usage.input_tokens > 0 and first.usage.output_tokens > 0, first.usage
        more = [{"role": "user", "content": "and on"}]
        connection.response.create(model=model, input=more, store=False, previous_response_id=first.id)
        second = whole(connection)
        holds(second.output_text, "You said: and on")
        # The provider was told all that went before.
        assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens // 2, (first.usage, second.usage)


@for_each_model
def tools_and_their_results_on_a_lane(model):
    with client.responses.connect() as connection:
        said = {"model": model, "tools": [TOOL], "store": False, "stream_id": "main"}
        connection.response.create(input="use tool weather twice", **said)
        first = whole(connection, "main")
        calls = [i for i in first.output if i.type == "function_call"]
        equal(len(calls), 2, "calls")
        assert json.loads(calls[0].arguments)["days"] >= 3
        results = [{"type": "function_call_output", "call_id": c.call_id, "output": "sunny"} for c in calls]
        connection.response.create(input=results, previous_response_id=first.id, **said)
        holds(whole(connection, "main").output_text, "The tool said: sunny")


@check
def what_is_stored_is_gone_on_with_at_its_provider():
    with client.responses.connect() as connection:
        connection.response.create(model="via-openai", input="hello there")
        first = whole(connection)
        connection.response.create(model="via-openai", input="and on", previous_response_id=first.id)
        second = whole(connection)
        equal(second.previous_response_id, first.id)
        assert second.usage.input_tokens > first.usage.input_tokens, (first.usage, second.usage)


@check
def a_warm_up_gives_an_id_to_go_on_with():
    with client.responses.connect() as connection:
        said = {"model": "via-anthropic", "store": False}
        connection.response.create(input="remember this", generate=False, **said)
        warm = whole(connection)
        equal(warm.output, [])
        connection.response.create(input="hello there", previous_response_id=warm.id, **said)
        # Two turns of one user in a row, which the provider reads as one.
        holds(whole(connection).output_text, "You said: remember this hello there")


@check
def lanes_run_side_by_side_and_branch_off():
    with client.responses.connect() as connection:

        def say(lane, text, before=None):
            more = {"previous_response_id": before} if before else {}
            connection.response.create(stream_id=lane, model="via-openai", store=False, input=text, **more)

        def drain(lanes):
            done, waiting = {}, set(lanes)
            for event in connection:
                if event.type == "response.completed":
                    done[event.stream_id] = event.response
                    waiting.remove(event.stream_id)
                    if not waiting:
                        return done
                assert event.type not in ("error", "response.failed"), event

        lanes = [f"lane-{n}" for n in range(20)]
        for lane in lanes:
            say(lane, f"number {lane} please")
        for lane, answer in drain(lanes).items():
            holds(answer.output_text, f"You said: number {lane} please")
        say("lane-0", "the root")
        root = drain(["lane-0"])["lane-0"]
        say("fork", "one way", root.id)
        for event in connection:
            if event.type == "response.in_progress":
                break
        say("lane-0", "another way", root.id)
        done = drain(["fork", "lane-0"])
        holds(done["fork"].output_text, "You said: one way")
        holds(done["lane-0"].output_text, "You said: another way")


@check
def errors_name_lane_status_and_code_and_the_connection_goes_on():
    with client.responses.connect() as connection:

        def error(lane=None, **said):
            more = {"stream_id": lane} if lane else {}
            connection.response.create(**{"model": "via-openai", "input": "x", **more, **said})
            (event,) = events_until_its_end(connection, lane)
            equal(event.type, "error")
            return event.status, event.error.code, event.error.param

        equal(error("a", model="nope")[:2], (404, "model_not_found"))
        equal(error(previous_response_id="resp_1", store=False), (400, "previous_response_not_found", "previous_response_id"))
        equal(error("a", previous_response_id="resp_1")[1:], ("previous_response_not_found", "previous_response_id"))
        equal(error(max_output_tokens=1)[0], 400)
        equal(error(background=True)[::2], (400, "background"))
        connection.response.create(stream_id="a b", model="via-openai", input="x")
        (event,) = events_until_its_end(connection)
        equal(event.error.code, "invalid_stream_id")
        connection.response.steer(input="left", previous_response_id="resp_1")
        failed = connection.recv()
        equal((failed.type, failed.steer.input), ("response.steer.failed", "left"))
        connection.response.create(model="via-openai", input="hello there")
        holds(whole(connection).output_text, SAID)


@check
def a_wrong_key_is_refused_before_the_upgrade():
    other = openai.OpenAI(base_url=BASE_URL + "/v1", api_key="sk-wrong", max_retries=0)
    error = raises(InvalidStatus, lambda: other.responses.connect().enter())
    equal(error.response.status_code, 401)


@check
async def the_async_client_speaks_so_too():
    async with openai.AsyncOpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0) as other:

        async def one(number):
            async with other.responses.connect() as connection:
                await connection.response.create(model="via-openai", input=f"number {number} please")
                async for event in connection:
                    assert event.type not in ("error", "response.failed"), event
                    if event.type == "response.completed":
                        return event.response.output_text

        for number, text in enumerate(await asyncio.gather(*(one(n) for n in range(10)))):
            holds(text, f"You said: number {number} please")


main()
