"""Stands in for curl on machines without it, for the options that README uses: -N, -H and -d. Exits 22 on a refusal, as `curl -f` does."""

import sys
import urllib.error
import urllib.request

headers, data, urls, rest = {}, None, [], sys.argv[1:]
while rest:
    word = rest.pop(0)
    if word == "-H":
        name, value = rest.pop(0).split(":", 1)
        headers[name] = value.strip()
    elif word == "-d":
        data = rest.pop(0).encode()
    elif word.startswith("http"):
        urls.append(word)
    elif word != "-N":
        sys.exit(f"curl.py: unknown option {word}")
[url] = urls
try:
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        sys.stdout.write(answer.read().decode())
except urllib.error.HTTPError as error:
    sys.stdout.write(error.read().decode())
    sys.exit(22)
