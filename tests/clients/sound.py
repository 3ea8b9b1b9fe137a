"""OpenAI's client and sound as text, through a router before one fake: `whisper` by the minute, `words` by tokens, `speakers` who tells them apart."""

import io
import wave

import openai

from checks import *

client = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0, timeout=20)


def sound(seconds):
    """Silence as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\0\0" * int(8000 * seconds))
    file.seek(0)
    file.name = "said.wav"
    return file


def transcribe(model="whisper", seconds=3.4, **more):
    return client.audio.transcriptions.create(model=model, file=sound(seconds), **more)


SAID = "I heard 3.4 seconds of sound."


@check
def each_format_is_told_as_it_was_asked_for():
    plain = transcribe()
    equal(plain.text, SAID)
    equal((plain.usage.type, plain.usage.seconds), ("duration", 3))
    equal(transcribe(response_format="text"), SAID + "\n")
    equal(transcribe(response_format="srt"), "1\n00:00:00,000 --> 00:00:03,400\n" + SAID + "\n\n\n")
    equal(transcribe(response_format="vtt").splitlines()[0], "WEBVTT")
    verbose = transcribe(response_format="verbose_json", timestamp_granularities=["segment"])
    equal((verbose.text, float(verbose.duration), verbose.segments[0].text), (SAID, 3.4, SAID))


@check
def tokens_are_counted_of_sound_and_of_the_prompt():
    plain = transcribe("words", prompt="names: Ada, Grace")
    equal((plain.usage.type, plain.text), ("tokens", SAID))
    equal(plain.usage.input_token_details.audio_tokens, 34)
    assert plain.usage.input_token_details.text_tokens > 0
    equal(plain.usage.output_tokens, 6)


@check
def a_stream_tells_each_word_and_the_whole():
    events = list(transcribe("words", stream=True))
    equal("".join(e.delta for e in events if e.type == "transcript.text.delta"), SAID)
    equal((events[-1].type, events[-1].text), ("transcript.text.done", SAID))
    equal(events[-1].usage.output_tokens, 6)


@check
def speakers_are_told_apart():
    told = transcribe("speakers", response_format="diarized_json")
    equal((told.segments[0].speaker, told.segments[0].text), ("A", SAID))


@check
def a_translation_is_told_in_english():
    told = client.audio.translations.create(model="whisper", file=sound(2))
    equal(told.text, "I translated 2.0 seconds of sound.")
    text = client.audio.translations.create(model="whisper", file=sound(2), response_format="text")
    equal(text, "I translated 2.0 seconds of sound.\n")


@check
def what_is_wrong_is_told_as_openai_tells_it():
    wrong = raises(openai.BadRequestError, lambda: transcribe("words", response_format="srt"))
    holds(str(wrong), "not compatible")
    holds(str(raises(openai.NotFoundError, lambda: transcribe("nothing"))), "nothing")
    wrong = raises(openai.BadRequestError, lambda: client.audio.translations.create(model="words", file=sound(1)))
    holds(str(wrong), "does not translate")


main()
