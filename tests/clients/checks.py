"""Runs named checks one after another and tells how many held. Knows no SDK; what is checked stands in the scripts beside it.

The environment says where and as whom:
  BASE_URL      where the service listens, without a path
  KEY           a key it takes
  MODEL         a model that answers as told
  FAULTY_MODEL  the beginning of the names of models that are used with faults, one a kind of fault: `-429`, `-500`, `-event`, …
  BEHIND        who answers in the end: `chat` or `messages` for a provider of that wire format behind a router; empty without a router
"""

import base64
import inspect
import os
import struct
import sys
import time
import traceback
import zlib

BASE_URL = os.environ["BASE_URL"]
KEY = os.environ["KEY"]
MODEL = os.environ["MODEL"]
FAULTY_MODEL = os.environ["FAULTY_MODEL"]
BEHIND = os.environ.get("BEHIND", "")
ROUTED = BEHIND != ""

_checks = []


def check(run):
    """Takes `run` into the list; its name with spaces is what is printed."""
    _checks.append(run)
    return run


def check_when(condition):
    """`check` where `condition` holds; elsewhere the check is not there."""
    return check if condition else lambda run: run


def main():
    """Runs the checks (or those whose names contain the arguments) and exits 1 when one failed."""
    wanted = sys.argv[1:]
    chosen = [c for c in _checks if not wanted or any(w in c.__name__ for w in wanted)]
    failed = 0
    for run in chosen:
        begun = time.monotonic()
        try:
            if inspect.iscoroutinefunction(run):
                import asyncio

                asyncio.run(run())
            else:
                run()
        except Exception:
            failed += 1
            print(f"FAILED {run.__name__.replace('_', ' ')}\n{traceback.format_exc()}", flush=True)
        else:
            took = (time.monotonic() - begun) * 1000
            print(f"ok     {run.__name__.replace('_', ' ')} ({took:.0f} ms)", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not chosen else 0)


def equal(found, wanted, what="value"):
    assert found == wanted, f"{what}: {found!r}, not {wanted!r}"


def holds(text, part):
    assert text is not None and part in text, f"no {part!r} in {text!r}"


def raises(kinds, run):
    """The error of one of `kinds` that `run` ends with; anything else is a failure."""
    try:
        result = run()
    except kinds as error:
        return error
    raise AssertionError(f"no error, but {result!r}")


def png():
    """A picture of one red pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def pdf():
    """A document of one empty page."""
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%EOF\n"
    )


def base64_of(data):
    return base64.b64encode(data).decode()


class Count:
    """Counts the answers that an HTTP client of the SDK receives: retries are its own business and can be seen nowhere else."""

    def __init__(self):
        self.answers = 0
        self.hooks = {"response": [self._seen]}

    def _seen(self, _response):
        self.answers += 1


WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "where"},
        "days": {"type": "integer", "minimum": 3, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}

# Letters of two, three and four bytes, quotes and a backslash: what breaks when text is cut or quoted carelessly.
HARD_WORDS = 'größer 日本語 🎉 "quoted" back\\slash'
