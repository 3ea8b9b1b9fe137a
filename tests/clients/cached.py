"""Google's client and prefixes that are kept under a name, through a router of two tenants and four shards before the Gemini API (models `flash`
and `other`, two accounts) and Vertex AI (`cloud`). OTHER_KEY is the second tenant's."""

import os
import time

import httpx
from google import genai
from google.genai import types

from checks import *

BOOK = "word " * 2000


def client_of(key, **more):
    # A connection for each request, so that the kernel spreads them over the shards.
    http = httpx.Client(headers={"connection": "close"}, limits=httpx.Limits(max_keepalive_connections=0), timeout=20)
    return genai.Client(http_options=types.HttpOptions(base_url=BASE_URL, httpx_client=http), **more)


def cloud():
    from google.oauth2.credentials import Credentials

    return client_of(KEY, vertexai=True, project="p1", location="global", credentials=Credentials(KEY))


client = client_of(KEY, api_key=KEY)
other = client_of(os.environ["OTHER_KEY"], api_key=os.environ["OTHER_KEY"])


def create(at=client, model="flash", **more):
    config = {"contents": [BOOK], "system_instruction": "be brief", "ttl": "300s", **more}
    return at.caches.create(model=model, config=types.CreateCachedContentConfig(**config))


def ask(cache, at=client, model="flash", said="hello there"):
    config = types.GenerateContentConfig(cached_content=cache.name)
    return at.models.generate_content(model=model, contents=said, config=config)


def refused(code, call):
    error = raises(genai.errors.ClientError, call)
    equal(error.code, code, str(error))
    return error


def every_check_starts_clean():
    for at in (client, other):
        for cache in list(at.caches.list()):
            at.caches.delete(name=cache.name)


@check
def a_prefix_is_made_and_read_by_its_name():
    for at in (client, cloud()):
        for model in ("flash", "cloud"):
            cache = create(at, model, display_name="a book")
            holds(cache.name, "projects/p1/locations/global/cachedContents/" if at is not client else "cachedContents/")
            assert cache.model.endswith("models/" + model), cache.model
            equal(cache.display_name, "a book")
            tokens = cache.usage_metadata.total_token_count
            assert tokens > 2000, tokens
            # Two accounts and four shards: each time it is led to the one that keeps it.
            for _ in range(6):
                answer = ask(cache, at, model)
                holds(answer.text, "You said: hello there")
                equal(answer.usage_metadata.cached_content_token_count, tokens)
            config = types.GenerateContentConfig(cached_content=cache.name)
            parts = list(at.models.generate_content_stream(model=model, contents="hello there", config=config))
            equal("".join(p.text or "" for p in parts), answer.text)
            equal(parts[-1].usage_metadata.cached_content_token_count, tokens)
            at.caches.delete(name=cache.name)


@check
def it_is_shown_prolonged_and_deleted():
    cache = create()
    for _ in range(4):
        equal(client.caches.get(name=cache.name), cache)
    longer = client.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="900s"))
    equal(longer.name, cache.name)
    assert (longer.expire_time - cache.expire_time).total_seconds() >= 600, longer
    until = types.UpdateCachedContentConfig(expire_time=cache.expire_time)
    equal(client.caches.update(name=cache.name, config=until).name, cache.name)
    client.caches.delete(name=cache.name)
    for gone in (
        lambda: client.caches.get(name=cache.name),
        lambda: client.caches.delete(name=cache.name),
        lambda: ask(cache),
    ):
        holds(str(refused(404, gone)), "CachedContent not found")


@check
def each_tenant_lists_its_own_page_by_page():
    every_check_starts_clean()
    made = [create(display_name=str(n)).name for n in range(5)]
    theirs = create(other).name
    equal([c.name for c in client.caches.list(config={"page_size": 2})], made)
    equal([c.name for c in client.caches.list()], made)
    equal([c.name for c in other.caches.list()], [theirs])
    # The other door has other names for the same.
    equal([c.name.rsplit("/")[-1] for c in cloud().caches.list()], [name.rsplit("/")[-1] for name in made])
    every_check_starts_clean()
    equal(list(client.caches.list()), [])


@check
def tenants_see_none_of_each_others():
    cache = create()
    for peek in (
        lambda: other.caches.get(name=cache.name),
        lambda: other.caches.delete(name=cache.name),
        lambda: other.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="9s")),
        lambda: ask(cache, other),
    ):
        refused(404, peek)
    equal(client.caches.get(name=cache.name).name, cache.name)
    client.caches.delete(name=cache.name)


@check
def what_ends_by_itself_is_over():
    cache = create(ttl="2s")
    holds(ask(cache).text, "You said")
    time.sleep(2.2)
    holds(str(refused(404, lambda: ask(cache))), "expired")
    equal(list(client.caches.list()), [])


@check
def what_is_wrong_is_said_by_whom_it_concerns():
    cache = create()
    holds(str(refused(400, lambda: ask(cache, model="other"))), "has to be the same")
    holds(str(refused(400, lambda: ask(cache, model="cloud"))), "has to be the same")
    refused(404, lambda: create(model="nope"))
    holds(str(refused(400, lambda: create(contents=["too short"]))), "too small")
    twice = types.GenerateContentConfig(cached_content=cache.name, system_instruction="again")
    wrong = lambda: client.models.generate_content(model="flash", contents="x", config=twice)
    holds(str(refused(400, wrong)), "can not be used with")
    client.caches.delete(name=cache.name)


@check
def one_is_left_behind_for_the_end_of_the_node():
    create()


main()
