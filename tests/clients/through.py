"""Four official clients through a router, each with every provider behind: MODELS names one model a provider, split by blanks."""

import asyncio
import json
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
