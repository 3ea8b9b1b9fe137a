"""What goes wrong at each kind of provider, as four official clients hear of it: MODELS names one model a provider, split by blanks.

Each model stands there several times, `model-word`, since a provider that was seen to fail is treated with caution afterwards. What the
provider does wrong is said in the text, for the fake behind.
"""

import os

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


def chat(model, text, stream=False, client=openai_client, **more):
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], stream=stream, **more
    )
    return list(answer) if stream else answer


def responses(model, text, stream=False, client=openai_client, **more):
    answer = client.responses.create(model=model, input=text, stream=stream, **more)
    return list(answer) if stream else answer


def messages(model, text, stream=False, client=claude, **more):
    ask = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}
    answer = client.messages.create(stream=stream, **ask)
    return list(answer) if stream else answer


def generate(model, text, stream=False, client=gemini, **more):
    ask = {"model": model, "contents": text, "config": types.GenerateContentConfig(**more)}
    if stream:
        return list(client.models.generate_content_stream(**ask))
    return client.models.generate_content(**ask)


CLIENTS = {"chat": chat, "responses": responses, "messages": messages, "gemini": generate}
KINDS = (openai.OpenAIError, anthropic.AnthropicError, genai.errors.APIError)


class Said:
    """An error of any of the clients: its class, status, message and head."""

    def __init__(self, client, run):
        error = raises(KINDS, run)
        self.kind = type(error).__name__
        self.message = str(error)
        self.google = client == "gemini"
        response = getattr(error, "response", None)
        self.status = error.code if self.google else getattr(error, "status_code", None)
        self.headers = getattr(response, "headers", {})
        self.error = error

    def is_one(self, kinds, statuses, what):
        google = ["ServerError" if self.status >= 500 else "ClientError"] if self.google and self.status else []
        wanted = google or kinds
        assert self.kind in wanted, f"{what}: {self.kind} ({self.status}), not {wanted}: {self.message}"
        assert self.status in statuses, f"{what}: {self.status}, not {statuses}: {self.message}"


def everywhere(run):
    """One check a model, in which each of the clients asks."""
    for model in MODELS:

        def one(model=model):
            for name, ask in CLIENTS.items():
                try:
                    run(model, name, ask)
                except Exception as error:
                    error.add_note(f"by the client of {name}")
                    raise

        one.__name__ = f"{run.__name__}_at_{model}"
        checks._checks.append(one)
    return run


def refused(statuses, kinds, fault, word="faulty", streams=(False, True), at=""):
    """A check: what a provider does before the first byte is told as one of `statuses`, streamed or not; `at`: by those models only."""

    def run(model, name, ask):
        for stream in streams if at in model else ():
            said = Said(name, lambda: ask(f"{model}-{word}", f"hello [[fake: {fault}]]", stream))
            said.is_one(kinds, statuses, f"{fault}, stream {stream}")
            assert said.message and "sk-fake" not in said.message, said.message

    return run


SERVER = ["InternalServerError", "OverloadedError", "ServiceUnavailableError", "GatewayTimeoutError"]


def named(name, run):
    run.__name__ = name
    everywhere(run)


# Where the provider is asked in the client's own dialect its status is the client's too; elsewhere it is what the class of failure has.
named("bad_request_of_the_provider_is_one", refused([400], ["BadRequestError"], "status=400"))
named("failure_is_a_server_error", refused([500, 502], SERVER, "status=500"))
named("overload_is_told_as_one", refused([503, 529], SERVER, "status=503"))
named("overload_by_the_status_of_messages_is_told_as_one", refused([503, 529], SERVER, "status=529", at="anthropic"))
# Which credential we hold there is none of the client's business, and another of its own would not help.
named("refused_credential_of_ours_is_not_the_clients_fault", refused([503], SERVER, "status=401", word="key"))
named("page_of_a_proxy_is_a_server_error", refused([502], SERVER, "html_502"))
named("empty_body_is_a_server_error", refused([502], SERVER, "empty_body"))
named("error_in_an_answer_of_200_is_an_error", refused([500, 502], SERVER, "status=500 as_200"))
named("error_in_an_array_is_an_error", refused([400], ["BadRequestError"], "status=400 in_array"))
# An answer that is taken whole has its first byte when it is done.
named("provider_that_says_nothing_is_a_timeout", refused([504], SERVER, "slow_first_byte=1000", word="slow", streams=(True,)))


@everywhere
def request_that_is_too_large_is_told(model, name, ask):
    # AWS's runtime and Google have one error for it and for all other mistakes, under 400.
    only_400 = any(word in model for word in ("-bedrock-", "-gemini"))
    for stream in (False, True):
        said = Said(name, lambda: ask(f"{model}-faulty", "hello [[fake: status=413]]", stream))
        kinds = ["ContentTooLargeError", "APIStatusError"] + ["BadRequestError"] * only_400
        said.is_one(kinds, [413] + [400] * only_400, f"stream {stream}")


@everywhere
def limit_is_told_with_its_wait(model, name, ask):
    # Each its own: a second request would wait for the limit to pass before it asked.
    for stream, word in ((False, "whole"), (True, "streamed")):
        said = Said(name, lambda: ask(f"{model}-limited-{name}-{word}", "hello [[fake: status=429 retry_after=7]]", stream))
        said.is_one(["RateLimitError"], [429], f"stream {stream}")
        if not said.google or said.headers:
            wait = int(said.headers["retry-after"])
            assert 1 <= wait <= 7, wait


@everywhere
def wrong_content_type_is_read_all_the_same(model, name, ask):
    ask(f"{model}-odd", "hello [[fake: wrong_content_type]]")
    ask(f"{model}-odd", "hello [[fake: wrong_content_type]]", True)


def broken_off(model, name, ask, fault, word="broken"):
    """A stream that ends otherwise than it should is never taken for a whole one."""
    said = []

    def whole():
        said.append(ask(f"{model}-{word}", f"hello [[fake: {fault} between_tokens=2]]", True))
        return said

    if name == "responses":
        # Its stream says so by an event of its own, which this client gives on as it is.
        try:
            events = [event.type for event in whole()[0]]
        except openai.APIError:
            return
        assert events[-1] in ("error", "response.failed"), events
        return
    raises(KINDS, whole)


@everywhere
def error_event_in_the_stream_is_raised(model, name, ask):
    broken_off(model, name, ask, "error_event_after=6")


@everywhere
def stream_that_is_cut_is_raised(model, name, ask):
    broken_off(model, name, ask, "cut_after=1500")


@everywhere
def stream_without_its_end_is_raised(model, name, ask):
    broken_off(model, name, ask, "no_terminal")


@everywhere
def stream_that_stalls_is_raised(model, name, ask):
    broken_off(model, name, ask, "stall_after=4", word="slow")


@everywhere
def own_mistakes_are_named(model, name, ask):
    # Google's client builds the body by itself.
    if name != "gemini":
        field = "input" if name == "responses" else "messages"
        said = Said(name, lambda: ask(f"{model}-own", "hello", extra_body={field: 7}))
        said.is_one(["BadRequestError"], [400], field)
        holds(f"{said.message} {getattr(said.error, 'param', '')}", field)
    strange = {
        "chat": lambda: chat(model, "x", client=openai_client.with_options(api_key="sk-wrong")),
        "responses": lambda: responses(model, "x", client=openai_client.with_options(api_key="sk-wrong")),
        "messages": lambda: messages(model, "x", client=claude.with_options(api_key="sk-wrong")),
        "gemini": lambda: generate(model, "x", client=genai.Client(api_key="sk-wrong", http_options={"base_url": BASE_URL})),
    }[name]
    Said(name, strange).is_one(["AuthenticationError"], [401], "client key")
    Said(name, lambda: ask("no-such-model", "x")).is_one(["NotFoundError"], [404], "model")


main()
