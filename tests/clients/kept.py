"""OpenAI's client and answers that are kept, through a router before two accounts that know nothing of each other's (models `one`, `two`,
`both`) and a provider that keeps nothing (`claude`). TENANTS says how many tenants the router has, OTHER_KEY is the second's."""

import os
import time

import httpx
import openai

from checks import *

TENANTS = int(os.environ["TENANTS"])


def client_of(key):
    # A connection for each request, so that the kernel spreads them over the shards.
    http = httpx.Client(headers={"connection": "close"}, limits=httpx.Limits(max_keepalive_connections=0), timeout=20)
    return openai.OpenAI(base_url=BASE_URL + "/v1", api_key=key, max_retries=0, http_client=http)


client = client_of(KEY)


def create(model="both", said="hello there", **more):
    return client.responses.create(model=model, input=said, **more)


def polled(id):
    until = time.monotonic() + 10
    while True:
        answer = client.responses.retrieve(id)
        if answer.status not in ("queued", "in_progress"):
            return answer
        assert time.monotonic() < until, answer.status
        time.sleep(0.01)


@check
def answers_in_the_background_are_polled_until_they_are_completed():
    for model in ("one", "two", "both", "both", "both", "both"):
        answer = create(model, background=True)
        equal(answer.background, True)
        assert answer.status in ("queued", "in_progress"), answer.status
        done = polled(answer.id)
        equal((done.id, done.status, done.background), (answer.id, "completed", True))
        holds(done.output_text, "You said: hello there")
        # Fetched again it is the same, and is billed no more.
        for _ in range(4):
            equal(client.responses.retrieve(answer.id).output_text, done.output_text)


@check
def answers_of_the_foreground_are_fetched_as_well():
    answer = create("two")
    for _ in range(4):
        equal(client.responses.retrieve(answer.id).output_text, answer.output_text)
    with client.responses.stream(model="one", input="hello there") as stream:
        streamed = stream.get_final_response()
    equal(client.responses.retrieve(streamed.id).output_text, streamed.output_text)


@check
def what_runs_is_cancelled_and_what_is_deleted_is_gone():
    slow = create(said="hello [[fake: first_token=60000 output_tokens=1]]", background=True)
    equal(client.responses.cancel(slow.id).status, "cancelled")
    equal(client.responses.cancel(slow.id).status, "cancelled")
    equal(client.responses.retrieve(slow.id).status, "cancelled")
    client.responses.delete(slow.id)
    for ask in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        error = raises(openai.NotFoundError, lambda: ask(slow.id))
        holds(str(error), slow.id)
    whole = create()
    raises(openai.BadRequestError, lambda: client.responses.cancel(whole.id))


@check
def inputs_are_listed_page_by_page():
    said = [{"role": "user", "content": f"number {n}"} for n in range(5)]
    answer = create(said=said)
    listed = list(client.responses.input_items.list(answer.id, limit=2, order="asc"))
    equal([item.content[0].text for item in listed], [f"number {n}" for n in range(5)])
    page = client.responses.input_items.list(answer.id, limit=2)
    equal([item.content[0].text for item in page.data], ["number 4", "number 3"])
    equal(page.has_more, True)
    raises(openai.BadRequestError, lambda: client.responses.input_items.list(answer.id, limit=0))


@check
def a_stream_is_resumed_after_any_event():
    for model in ("one", "two", "both"):
        whole = list(create(model, background=True, stream=True))
        numbers = [e.sequence_number for e in whole]
        equal(numbers, list(range(len(whole))))
        id = whole[-1].response.id
        for after in (0, 1, 5, numbers[-2], numbers[-1]):
            rest = list(client.responses.retrieve(id, stream=True, starting_after=after))
            equal([e.sequence_number for e in rest], numbers[after + 1 :], after)
        equal([e.type for e in client.responses.retrieve(id, stream=True)], [e.type for e in whole])


@check
def a_stream_that_was_left_is_resumed_while_it_runs():
    said = "hello [[fake: first_token=200 between_tokens=10 output_tokens=30]]"
    stream = create(said=said, background=True, stream=True, extra_headers={"x-stokehold-on-disconnect": "cancel"})
    seen = []
    for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    stream.close()
    id = seen[0].response.id
    after = seen[-1].sequence_number
    rest = list(client.responses.retrieve(id, stream=True, starting_after=after))
    equal([e.sequence_number for e in rest], list(range(after + 1, after + 1 + len(rest))))
    equal(rest[-1].type, "response.completed")
    equal(client.responses.retrieve(id).output_text, rest[-1].response.output_text)


@check
def answers_are_gone_on_from_at_the_account_that_keeps_them():
    for model in ("one", "two", "one", "two"):
        first = create(model)
        # Each of them is at the other account half of the time, were it not led to the first.
        for _ in range(4):
            next = create("both", "and again", previous_response_id=first.id)
            equal(next.previous_response_id, first.id)
            holds(next.output_text, "You said: and again")


@check
def an_account_without_the_answer_is_refused_with_its_name():
    other = {"one": "two", "two": "one"}
    for model in ("one", "two"):
        first = create(model)
        error = raises(openai.BadRequestError, lambda: create(other[model], previous_response_id=first.id))
        equal(error.param, "previous_response_id")
        holds(str(error), f"at-{model}")


@check
def the_background_is_refused_by_name_where_nobody_keeps_answers():
    error = raises(openai.BadRequestError, lambda: create("claude", background=True))
    equal(error.param, "background")
    answer = create("claude")
    # The router itself has it, also where no provider does.
    again = client.responses.retrieve(answer.id)
    assert (again.id, again.output_text, again.status) == (answer.id, answer.output_text, "completed"), again
    client.responses.delete(answer.id)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(answer.id))


@check
def what_shall_not_be_kept_is_not_there():
    answer = create(store=False)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(answer.id))
    raises(openai.NotFoundError, lambda: client.responses.retrieve("resp_nobody_has_made"))


@check_when(TENANTS > 1)
def tenants_see_none_of_each_others_answers():
    other = client_of(os.environ["OTHER_KEY"])
    for model in ("one", "two"):
        answer = create(model, background=True)
        for ask in (other.responses.retrieve, other.responses.cancel, other.responses.delete, other.responses.input_items.list):
            raises(openai.NotFoundError, lambda: ask(answer.id))
        again = lambda: other.responses.create(model=model, input="x", previous_response_id=answer.id)
        equal(raises(openai.BadRequestError, again).code, "previous_response_not_found")
        equal(polled(answer.id).status, "completed")


main()
