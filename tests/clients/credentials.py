"""Official clients at providers whose credentials the router has to fetch: MODELS names them, split by blanks. ASK_FOR says for how many
seconds the last check goes on asking, through the end of whatever was fetched."""

import os
import time

import anthropic
import openai
from google import genai

from checks import *
import checks

MODELS = os.environ["MODELS"].split()
openai_client = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0, timeout=20)
claude = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=20)
gemini = genai.Client(api_key=KEY, http_options={"base_url": BASE_URL})
SAID = "You said: hello there"
USER = [{"role": "user", "content": "hello there"}]


def chat(model):
    holds(openai_client.chat.completions.create(model=model, messages=USER).choices[0].message.content, SAID)


def chat_streamed(model):
    chunks = openai_client.chat.completions.create(model=model, messages=USER, stream=True)
    holds("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), SAID)


def responses(model):
    holds(openai_client.responses.create(model=model, input="hello there").output_text, SAID)


def messages(model):
    holds(claude.messages.create(model=model, max_tokens=200, messages=USER).content[-1].text, SAID)


def messages_streamed(model):
    with claude.messages.stream(model=model, max_tokens=200, messages=USER) as stream:
        holds("".join(stream.text_stream), SAID)


def generate(model):
    holds(gemini.models.generate_content(model=model, contents="hello there").text, SAID)


def generate_streamed(model):
    chunks = gemini.models.generate_content_stream(model=model, contents="hello there")
    holds("".join(c.text or "" for c in chunks), SAID)


WAYS = [chat, chat_streamed, responses, messages, messages_streamed, generate, generate_streamed]

for model in MODELS:
    for way in WAYS:

        def one(way=way, model=model):
            way(model)

        one.__name__ = f"{way.__name__}_at_{model}"
        checks._checks.append(one)


@check
def asks_go_on_while_credentials_end():
    until = time.monotonic() + float(os.environ["ASK_FOR"])
    turn = 0
    while time.monotonic() < until:
        WAYS[turn % len(WAYS)](MODELS[turn % len(MODELS)])
        turn += 1
        time.sleep(0.05)
    assert turn > 0


main()
