"""litellm and LangChain's chat models through a router, each with every provider behind: MODELS names one model a provider, split by blanks."""

import os

# It would fetch a list of prices from the network otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"

import json

import anthropic
import litellm
import openai
from google.genai.errors import APIError
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from checks import *
import checks

MODELS = os.environ["MODELS"].split()
V1 = BASE_URL + "/v1"
PICTURE = base64_of(png())
DOCUMENT = base64_of(pdf())
SAID = "You said: hello there"
litellm.suppress_debug_info = True
litellm.drop_params = False


def lite(route, base):
    def ask(model, messages, **more):
        return litellm.completion(
            model=f"{route}/{model}", api_base=base, api_key=KEY, messages=messages, num_retries=0, max_tokens=2000, timeout=20, **more
        )

    return ask


LITE = {
    "openai": lite("openai", V1),
    "responses": lite("openai/responses", V1),
    "anthropic": lite("anthropic", BASE_URL),
    "gemini": lite("gemini", BASE_URL + "/v1beta"),
}


def chat(model, **more):
    return ChatOpenAI(model=model, base_url=V1, api_key=KEY, max_retries=0, timeout=20, stream_usage=True, **more)


CHAINS = {
    "openai": chat,
    "responses": lambda model, **more: chat(model, use_responses_api=True, **more),
    "anthropic": lambda model, **more: ChatAnthropic(model=model, base_url=BASE_URL, api_key=KEY, max_retries=0, max_tokens=2000, **more),
    "google": lambda model, **more: ChatGoogleGenerativeAI(model=model, base_url=BASE_URL, api_key=KEY, max_retries=0, **more),
}


def everywhere(table):
    """One check a way of asking and model."""

    def list_it(run):
        for by, of in table.items():
            for model in MODELS:

                def one(of=of, model=model, by=by):
                    run(of, model, by)

                one.__name__ = f"{run.__name__}_by_{by}_at_{model}"
                checks._checks.append(one)
        return run

    return list_it


def forecast(said):
    """What the fake makes of the schema; some of these packages leave its bounds out on their own."""
    equal((said.get("city"), type(said.get("days"))), ("text", int), said)


def forecasts(said):
    equal(len(said), 2, "calls")
    for one in said:
        forecast(one)


def user(content):
    return [{"role": "user", "content": content}]


@everywhere(LITE)
def litellm_plain_and_streamed(ask, model, by):
    answer = ask(model, user("hello there"))
    holds(answer.choices[0].message.content, SAID)
    equal(answer.choices[0].finish_reason, "stop")
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, answer.usage
    chunks = list(ask(model, user("hello there"), stream=True, stream_options={"include_usage": True}))
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    equal(said, answer.choices[0].message.content)


@everywhere(LITE)
def litellm_tools_and_their_results(ask, model, by):
    tools = [{"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": WEATHER}}]
    messages = user("use tool weather twice")
    message = ask(model, messages, tools=tools).choices[0].message
    forecasts([json.loads(c.function.arguments) for c in message.tool_calls])
    messages.append(message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in message.tool_calls]
    holds(ask(model, messages, tools=tools).choices[0].message.content, "The tool said:")


@everywhere(LITE)
def litellm_pictures_and_documents(ask, model, by):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}}
    file = {"type": "file", "file": {"filename": "page.pdf", "file_data": "data:application/pdf;base64," + DOCUMENT}}
    said = ask(model, user([{"type": "text", "text": "look"}, picture, file])).choices[0].message.content
    holds(said, "1 image/png")
    holds(said, "1 application/pdf")


# Of a model of Gemini that it does not know it takes for granted that there are no schemas.
@everywhere({by: ask for by, ask in LITE.items() if by != "gemini"})
def litellm_by_schema(ask, model, by):
    form = {"type": "json_schema", "json_schema": {"name": "forecast", "strict": True, "schema": WEATHER}}
    forecast(json.loads(ask(model, user("forecast"), response_format=form).choices[0].message.content))


@check
def litellm_errors():
    for by, ask in LITE.items():
        missing = raises((Exception,), lambda: ask("no-such-model", user("x")))
        equal((type(missing).__name__, missing.status_code), ("NotFoundError", 404), by)
        bad = raises((Exception,), lambda: ask(MODELS[0], user("hello [[fake: status=400]]")))
        equal((type(bad).__name__, bad.status_code), ("BadRequestError", 400), by)


def text_of(message):
    return message.text if isinstance(message.text, str) else message.text()


@everywhere(CHAINS)
def langchain_plain_and_streamed(of, model, by):
    asked = of(model)
    answer = asked.invoke("hello there")
    holds(text_of(answer), SAID)
    assert answer.usage_metadata["input_tokens"] > 0 and answer.usage_metadata["output_tokens"] > 0, answer.usage_metadata
    whole = None
    for chunk in asked.stream("hello there"):
        whole = chunk if whole is None else whole + chunk
    equal(text_of(whole), text_of(answer))
    assert whole.usage_metadata["output_tokens"] > 0, whole.usage_metadata


@everywhere(CHAINS)
def langchain_tools_and_their_results(of, model, by):
    tool = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": WEATHER}}
    asked = of(model).bind_tools([tool])
    said = [HumanMessage("use tool weather twice")]
    answer = asked.invoke(said)
    forecasts([call["args"] for call in answer.tool_calls])
    said += [answer] + [ToolMessage("sunny", tool_call_id=call["id"], name="weather") for call in answer.tool_calls]
    holds(text_of(asked.invoke(said)), "The tool said:")


@everywhere(CHAINS)
def langchain_pictures_and_documents(of, model, by):
    content = [
        {"type": "text", "text": "look"},
        {"type": "image", "base64": PICTURE, "mime_type": "image/png"},
        {"type": "file", "base64": DOCUMENT, "mime_type": "application/pdf", "filename": "page.pdf"},
    ]
    said = text_of(of(model).invoke([HumanMessage(content)]))
    holds(said, "1 image/png")
    holds(said, "1 application/pdf")


@everywhere(CHAINS)
def langchain_by_schema(of, model, by):
    schema = {"title": "forecast", "description": "of a city", **WEATHER}
    answer = of(model).with_structured_output(schema, method="json_schema").invoke("forecast")
    forecast(answer)


@check
def langchain_errors():
    wanted = {"openai": openai.NotFoundError, "responses": openai.NotFoundError, "anthropic": anthropic.NotFoundError, "google": Exception}
    for by, of in CHAINS.items():
        missing = raises((wanted[by],), lambda: of("no-such-model").invoke("x"))
        holds(str(missing), "no-such-model")
        raises((openai.BadRequestError, anthropic.BadRequestError, Exception), lambda: of(MODELS[0]).invoke("hello [[fake: status=400]]"))


@check
def langchain_embeddings():
    for model in os.environ.get("EMBEDDED", "").split():
        vectors = OpenAIEmbeddings(model=model, base_url=V1, api_key=KEY, check_embedding_ctx_length=False).embed_documents(["a", "b"])
        equal(len(vectors), 2, model)


main()
