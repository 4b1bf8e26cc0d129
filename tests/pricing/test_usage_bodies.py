import json
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pricing.units import UnitKind, Usage, normalise
from pricing.usage_bodies import LONGEST_TEXT, UnreadableBodyError, read, read_text

Units = dict[str, int]

# Bodies of our own making, one per way of counting, with the units that a person finds by hand.
SAMPLES: dict[str, tuple[dict[str, Any], Units]] = {
    "chat: the prompt includes the cache, the completion the reasoning": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 300,
            "total_tokens": 1300,
            "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 100},
            "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 40},
        },
        {"input": 300, "cache_read": 600, "audio_input": 100, "output": 60, "reasoning": 200, "audio_output": 40},
    ),
    "chat: xAI's reasoning lies beside the completion, as the total tells": (
        {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 200, "completion_tokens_details": {"reasoning_tokens": 70}},
        {"input": 100, "output": 30, "reasoning": 70},
    ),
    "chat: DeepSeek tells the cache twice": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 30,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
        {"input": 36, "cache_read": 64, "output": 30},
    ),
    "chat: Mistral has a name of its own for the cache": (
        {"prompt_tokens": 94, "completion_tokens": 33, "num_cached_tokens": 48, "total_tokens": 127},
        {"input": 46, "cache_read": 48, "output": 33},
    ),
    "chat: cached audio is counted once, as cache": (
        {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 90}},
        {"cache_read": 80, "audio_input": 20, "output": 1},
    ),
    "chat: an embedding has no completion": ({"prompt_tokens": 4, "total_tokens": 4}, {"input": 4}),
    "responses: cache reads and writes are in the input": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 70},
            "output_tokens": 14,
            "output_tokens_details": {"reasoning_tokens": 4},
            "total_tokens": 114,
        },
        {"input": 10, "cache_read": 20, "cache_write": 70, "output": 10, "reasoning": 4},
    ),
    "responses: a transcription": (
        {"type": "tokens", "input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 45},
        {"audio_input": 14, "output": 45},
    ),
    "anthropic: the cache lies beside the input, its lifetimes are parts of it": (
        {
            "input_tokens": 6,
            "cache_read_input_tokens": 1069,
            "cache_creation_input_tokens": 85,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 25},
            "output_tokens": 110,
            "output_tokens_details": {"thinking_tokens": 80},
        },
        {"input": 6, "cache_read": 1069, "cache_write": 60, "cache_write_1h": 25, "output": 30, "reasoning": 80},
    ),
    "anthropic: a compaction is not in the figures above it": (
        {
            "input_tokens": 220,
            "cache_read_input_tokens": 0,
            "output_tokens": 8,
            "iterations": [
                {"type": "compaction", "input_tokens": 55000, "cache_read_input_tokens": 196, "output_tokens": 125},
                {"type": "message", "input_tokens": 220, "output_tokens": 8},
            ],
        },
        {"input": 55220, "cache_read": 196, "output": 133},
    ),
    "bedrock: the cache lies beside the input": (
        {"inputTokens": 3, "outputTokens": 61, "cacheReadInputTokens": 2074, "cacheWriteInputTokens": 297, "totalTokens": 2435},
        {"input": 3, "cache_read": 2074, "cache_write": 297, "output": 61},
    ),
    "anthropic: where all is kept for an hour, nothing is written twice": (
        {
            "input_tokens": 3,
            "cache_creation_input_tokens": 25,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 25},
            "output_tokens": 7,
        },
        {"input": 3, "cache_write_1h": 25, "output": 7},
    ),
    "bedrock: the cache tells its lifetimes": (
        {
            "inputTokens": 3,
            "outputTokens": 61,
            "cacheWriteInputTokens": 297,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 97}],
        },
        {"input": 3, "cache_write": 97, "cache_write_1h": 200, "output": 61},
    ),
    "gemini: thoughts lie beside the candidates, tools beside the prompt, cached audio is cache": (
        {
            "promptTokenCount": 3297,
            "cachedContentTokenCount": 2918,
            "toolUsePromptTokenCount": 10,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2976}, {"modality": "AUDIO", "tokenCount": 321}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 284}],
            "candidatesTokenCount": 55,
            "thoughtsTokenCount": 95,
        },
        {"input": 352, "cache_read": 2918, "audio_input": 37, "output": 55, "reasoning": 95},
    ),
    "cohere: what is billed, not what is counted": (
        {"billed_units": {"input_tokens": 25, "output_tokens": 9}, "tokens": {"input_tokens": 91, "output_tokens": 11}},
        {"input": 25, "output": 9},
    ),
    "cohere: nothing is said of the bill": (
        {"tokens": {"input_tokens": 91, "output_tokens": 11}, "cached_tokens": 50},
        {"input": 41, "cache_read": 50, "output": 11},
    ),
    "cohere: an embedding of pictures": ({"billed_units": {"images": 2}}, {"image": 2}),
}


def units(usage: Usage) -> Units:
    """The disjoint quantities, without the call itself."""
    return {str(kind): int(quantity) for kind, quantity in normalise(usage).items() if kind is not UnitKind.REQUEST}


class TestSamples:
    @pytest.mark.parametrize("about", SAMPLES)
    def test_are_counted_as_by_hand(self, about: str) -> None:
        body, expected = SAMPLES[about]
        assert units(read(body).usage) == expected

    @pytest.mark.parametrize("about", SAMPLES)
    def test_are_read_from_text_and_from_the_whole_answer(self, about: str) -> None:
        body, expected = SAMPLES[about]
        name = "usageMetadata" if "promptTokenCount" in body else "usage"
        answer = {"model": "some-model", "message": {"content": []}, name: body}
        reading = read_text(json.dumps(answer), provider="acme")
        assert (reading.usage.provider, reading.usage.model, reading.usage.requests) == ("acme", "some-model", 1)
        assert units(reading.usage) == expected

    def test_are_read_from_the_events_of_a_stream(self) -> None:
        usage = {"input_tokens": 7, "output_tokens": 1}
        assert read({"type": "message_start", "message": {"model": "m", "usage": usage}}).usage == Usage(
            model="m", input_tokens=7, output_tokens=1
        )
        assert read({"type": "response.completed", "response": {"model": "m", "usage": usage}}).usage.input_tokens == 7

    def test_the_model_that_is_named_wins(self) -> None:
        assert read({"model": "alias", "usage": {"prompt_tokens": 1}}, model="real").usage.model == "real"
        assert read({"modelVersion": "gemini", "usageMetadata": {"promptTokenCount": 1}}).usage.model == "gemini"

    def test_without_a_total_the_provider_tells_where_reasoning_lies(self) -> None:
        body = {"prompt_tokens": 100, "completion_tokens": 80, "completion_tokens_details": {"reasoning_tokens": 70}}
        assert units(read(body, provider="x-ai").usage)["output"] == 80
        assert units(read(body, provider="openai").usage)["output"] == 10


class TestNotes:
    """What a usage cannot hold is said, not swallowed."""

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"promptTokenCount": 1, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}]}, "1,120 tokens of output are"),
            ({"input_tokens": 9, "input_tokens_details": {"image_tokens": 5}}, "5 tokens of input are images"),
            ({"input_tokens": 9, "server_tool_use": {"web_search_requests": 2}}, "2 web search requests are left out"),
            ({"prompt_tokens": 9, "service_tier": "priority"}, "“priority”"),
            ({"prompt_tokens": 9, "cost": 0.00019325}, "0.00019325"),
            ({"billed_units": {"input_tokens": 9}, "cached_tokens": 20}, "20 tokens came from the cache"),
            ({"billed_units": {"search_units": 1}}, "1 search units"),
        ],
    )
    def test_tell(self, body: dict[str, Any], said: str) -> None:
        assert any(said in note for note in read(body).notes)

    def test_are_silent_about_lifetimes_of_the_cache(self) -> None:
        assert not any(read(body).notes for about, (body, _) in SAMPLES.items() if "lifetimes" in about)

    def test_are_silent_where_nothing_is_left_out(self) -> None:
        assert read({"prompt_tokens": 9, "service_tier": "default", "cost": 0, "server_tool_use": {"web_search_requests": 0}}).notes == ()

    def test_work_of_another_model_is_left_to_a_usage_of_its_own(self) -> None:
        step = {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22}
        reading = read({"model": "m", "usage": {"input_tokens": 1, "cache_creation": {}, "output_tokens": 2, "iterations": [step]}})
        assert reading.usage.input_tokens == 1
        assert reading.notes == ("2,540 tokens of claude-opus-4-8 are left out: report them as usage of that model.",)


class TestRefusals:
    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            "usage",
            {},
            {"usage": {}},
            {"prompt_tokens": -1},
            {"prompt_tokens": True},
            {"prompt_tokens": "12"},
            {"prompt_tokens": 1.5},
            {"prompt_tokens": 10**13},
            {"prompt_tokens": Decimal("1E+999999999")},
            {"prompt_tokens": float("inf")},
            {"prompt_tokens": 1, "prompt_tokens_details": 3},
            {"input_tokens": 1, "cache_creation": {}, "iterations": {}},
            {"promptTokenCount": 1, "promptTokensDetails": ["AUDIO"]},
            {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}},
            {"inputTokens": 1, "cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "1h", "inputTokens": 10}]},
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "completion_tokens_details": {"reasoning_tokens": 6}},
        ],
    )
    def test_name_what_is_wrong(self, body: Any) -> None:
        with pytest.raises(UnreadableBodyError, match=r"\w.*\."):
            read(body)

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[" * 50_000, '{"prompt_tokens": NaN}', '{"prompt_tokens": ' + "9" * 5000 + "}", "x" * (LONGEST_TEXT + 1)),
            *('{"usage": {"input_tokens": 1e999999999999999999999}}', '{"usage": {"input_tokens": 1, "service_tier": "\\ud800"}}'),
        ],
    )
    def test_text_that_is_no_json_is_no_failure(self, text: str) -> None:
        with pytest.raises(UnreadableBodyError):
            read_text(text)


# The second opinion reads each body once for every provider that could have sent it. Here is the reader whose dialect a
# body is written in; the others are below.
HOME = {
    "usageMetadata": ("google", "default"),
    "meta": ("cohere", "embeddings"),
    "inputTokens": ("aws", "default"),
    "billed_units": ("cohere", "default"),
    "completion_tokens": ("openai", "chat"),
    "prompt_tokens": ("openai", "embeddings"),
    "cache_read_input_tokens": ("anthropic", "default"),
    "input_tokens": ("openai", "responses"),
}
SAME = "the same units"
# A cached token under another name than OpenAI's: Mistral's num_cached_tokens, which that reader does not look for.
CACHE_BY_ANOTHER_NAME = "Mistral's cached tokens are counted as fresh input"
# The message is 220 + 8 tokens, the compaction before it 55,196 + 125; both are charged, the top level has only the first.
COMPACTION = "a compaction is left out"
REASONING = "a reader that does not tell reasoning from other output"
REASONING_TWICE = "a reader of xAI adds reasoning to a completion that includes it"
CACHE = "a reader that does not tell the cache from fresh input"
CACHE_LOST = "a reader of OpenAI's responses misses the cache beside Anthropic's input"
EMBEDDING = "a reader of embeddings knows no output"
TOKENS = "a reader of Cohere's tokens instead of what is billed"


def theirs(stated: Mapping[str, int]) -> Units:
    """The second opinion's wholes and parts, taken apart as ours are."""
    read_, written, reasoning = (stated.get(name, 0) for name in ("cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens"))
    heard = stated.get("input_audio_tokens", 0) - stated.get("cache_audio_read_tokens", 0)
    spoken = stated.get("output_audio_tokens", 0)
    quantities = {
        "input": stated.get("input_tokens", 0) - read_ - written - heard,
        "cache_read": read_,
        "cache_write": written,
        "audio_input": heard,
        "output": stated.get("output_tokens", 0) - reasoning - spoken,
        "reasoning": reasoning,
        "audio_output": spoken,
    }
    return {kind: quantity for kind, quantity in quantities.items() if quantity}


def differences(part: Mapping[str, Any], reader: tuple[str, str], ours: Units, other: Units) -> Iterator[str]:
    """Name why the two differ, the input first; fails for what no name fits."""
    if ours == other:
        yield SAME
        return
    if any(step["type"] == "compaction" for step in part.get("iterations") or ()):
        yield COMPACTION
        return
    if reader == ("cohere", "tokens"):
        yield TOKENS
        return
    yield from _in_input(part, ours, other)
    yield from _in_output(reader, ours, other)


def _in_input(part: Mapping[str, Any], ours: Units, other: Units) -> Iterator[str]:
    # The second opinion does not tell the lifetimes of the cache apart.
    written = ours.get("cache_write", 0) + ours.get("cache_write_1h", 0)
    own, foreign = (
        [found.get(kind, 0) for kind in ("input", "cache_read", "cache_write", "audio_input")]
        for found in (ours | {"cache_write": written}, other)
    )
    if own != foreign:
        if own[0] == foreign[0]:
            assert "cache_read_input_tokens" in part
            assert foreign[1:] == [0, 0, 0]
            yield CACHE_LOST
        else:
            assert sum(own) == sum(foreign)
            yield CACHE_BY_ANOTHER_NAME if part.get("num_cached_tokens") else CACHE


def _in_output(reader: tuple[str, str], ours: Units, other: Units) -> Iterator[str]:
    own, foreign = ([found.get(kind, 0) for kind in ("output", "reasoning", "audio_output")] for found in (ours, other))
    if own != foreign:
        if reader[1] == "embeddings":
            assert foreign == [0, 0, 0]
            yield EMBEDDING
        elif reader == ("x-ai", "chat"):
            assert sum(foreign) - sum(own) == own[1]
            yield REASONING_TWICE
        else:
            assert sum(own) == sum(foreign)
            assert foreign[1] == 0
            yield REASONING


class TestRecordedAnswers:
    """1,076 recorded answers against what genai-prices reads from them."""

    @pytest.fixture
    def answers(self, real_data: Path) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = json.loads((real_data / "provider_usage_bodies.json").read_text())
        assert len(answers) == 1076
        return answers

    def compared(self, answers: list[dict[str, Any]], *, at_home: bool) -> Counter[str]:
        found: Counter[str] = Counter()
        for answer in answers:
            body = answer["body"]
            part = body.get("usage") or body.get("usageMetadata") or body["meta"]
            home = next(reader for name, reader in HOME.items() if name in body or name in part)
            ours = units(read(body).usage)
            for opinion in answer["extracted"]:
                for extractor in opinion["extractors"]:
                    reader = (extractor["provider_id"], extractor["api_flavor"])
                    if (reader == home) is at_home:
                        found.update(differences(part, reader, ours, theirs(opinion["usage"])))
        return found

    def test_have_the_units_of_their_own_dialect(self, answers: list[dict[str, Any]]) -> None:
        found = self.compared(answers, at_home=True)
        assert found == {SAME: 1054, CACHE_BY_ANOTHER_NAME: 21, COMPACTION: 1}
        assert found.total() == len(answers)

    def test_differ_from_readers_of_other_dialects_for_known_reasons(self, answers: list[dict[str, Any]]) -> None:
        assert self.compared(answers, at_home=False) == {
            SAME: 9318,
            EMBEDDING: 822,
            CACHE_BY_ANOTHER_NAME: 693,
            REASONING: 575,
            CACHE: 158,
            REASONING_TWICE: 56,
            CACHE_LOST: 25,
            COMPACTION: 9,
            TOKENS: 6,
        }

    def test_none_are_left_out_in_silence_but_these(self, answers: list[dict[str, Any]]) -> None:
        notes = Counter(" ".join(word for word in note.split() if not word[0].isdigit()) for a in answers for note in read(a["body"]).notes)
        assert notes == {
            "The answer states a cost of it is not used here.": 19,
            "tokens of output are images; they are priced as any output.": 2,
            "tokens of claude-opus-4-8 are left out: report them as usage of that model.": 2,
            "tokens of claude-fable-5 are left out: report them as usage of that model.": 1,
            "web fetch requests are left out.": 2,
            "web search requests are left out.": 1,
            "tokens came from the cache; the billed units do not tell them apart.": 1,
        }
