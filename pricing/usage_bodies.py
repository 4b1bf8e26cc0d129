"""Usage bodies: what a provider's answer says about the tokens of a call, read into one `Usage`.

Each provider counts in its own way. A `Usage` holds wholes that include their parts, so what lies beside a whole is
added to it here, once: Anthropic and Bedrock keep the cache beside the input, Gemini its thoughts beside the candidates,
xAI its reasoning beside the completion. A body tells its dialect by its field names; the provider is asked for only
where they do not settle it. What the body says and a `Usage` cannot hold comes back as notes, never as a guess.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from config.base.exact import MONEY_STEP, plain, round_money
from pricing.rate_catalogue import STANDARD_WORDS
from pricing.units import Usage, check

LONGEST_TEXT: Final = 100_000  # characters; a whole answer has its text in it
_LARGEST: Final = 10**12
_USAGE_PARTS: Final = ("usage", "usageMetadata", "meta")
_XAI: Final = frozenset({"x-ai", "xai"})
_OWN_MESSAGE: Final = frozenset({"message"})  # iterations that the figures above them already include

Body = Mapping[str, Any]


class UnreadableBodyError(ValueError):
    """The body is none that we know, or its figures contradict each other; the message says what is wrong."""


class Reading(NamedTuple):
    """A usage, and sentences about what the body says beyond it."""

    usage: Usage
    notes: tuple[str, ...] = ()


def read_text(text: str, *, provider: str = "", model: str = "") -> Reading:
    """Read a pasted answer, or its usage part, from JSON. Raises UnreadableBodyError."""
    if len(text) > LONGEST_TEXT:
        raise UnreadableBodyError(f"The text is longer than {LONGEST_TEXT:,} characters: paste only its usage part.")
    try:
        body = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
        json.dumps(body, ensure_ascii=False, default=str).encode()  # half a character can be neither stored nor shown
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UnreadableBodyError("This is not JSON. Paste the answer as the provider sent it, or only its usage part.") from error
    return read(body, provider=provider, model=model)


def read(body: object, *, provider: str = "", model: str = "") -> Reading:
    """Read a provider's answer, or the usage part of one. Raises UnreadableBodyError.

    A model that is named here wins over the body's. The provider is never taken from the dialect, since thirty
    providers speak OpenAI's.
    """
    if not isinstance(body, Mapping):
        raise UnreadableBodyError("The body must be a JSON object.")
    answer = body if body.keys() & set(_USAGE_PARTS) else _first_inside(body, ("response", "message"))
    part = _first_inside(answer, _USAGE_PARTS)
    model = model or next((name for key in ("model", "modelVersion") if isinstance(name := answer.get(key), str)), "")
    found = _in_its_dialect(part, Usage(provider, model))
    if problems := check(found.usage):
        raise UnreadableBodyError("The figures contradict each other: " + "; ".join(f"{field} {what}" for field, what in problems) + ".")
    return found._replace(notes=(*found.notes, *_notes_of_all(part, answer)))


def _in_its_dialect(part: Body, usage: Usage) -> Reading:
    if "promptTokenCount" in part or "totalTokenCount" in part:
        return _gemini(part, usage)
    if "inputTokens" in part:
        return _bedrock(part, usage)
    if "billed_units" in part or "tokens" in part:
        return _cohere(part, usage)
    if "prompt_tokens" in part:
        return _chat(part, usage)
    if "cache_read_input_tokens" in part or "cache_creation_input_tokens" in part or "cache_creation" in part:
        return _anthropic(part, usage)
    if "input_tokens" in part:
        return _responses(part, usage)
    raise UnreadableBodyError("This is no usage that we know: it has no input_tokens, prompt_tokens, inputTokens or promptTokenCount.")


def _chat(part: Body, usage: Usage) -> Reading:
    """Read OpenAI's chat completions and whoever speaks like them: the prompt includes the cache."""
    prompt, completion = _count(part, "prompt_tokens"), _count(part, "completion_tokens")
    before, after = _inside(part, "prompt_tokens_details"), _inside(part, "completion_tokens_details")
    # The cache's own name at OpenAI, DeepSeek, Moonshot and Together, Mistral and vLLM: one figure under several names.
    names = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
    cached = max(_count(before, "cached_tokens"), *(_count(part, name) for name in names))
    usage = _with_parts(usage, before, after, whole_in=prompt, cached=cached)
    return Reading(_with_output(usage, part, completion), _notes_on_images(before, after))


def _responses(part: Body, usage: Usage) -> Reading:
    """Read OpenAI's responses, transcriptions and images: as chat, under other names."""
    given, made = _count(part, "input_tokens"), _count(part, "output_tokens")
    before = _inside(part, "input_tokens_details") or _inside(part, "input_token_details")
    after = _inside(part, "output_tokens_details") or _inside(part, "output_token_details")
    usage = _with_parts(usage, before, after, whole_in=given, cached=_count(before, "cached_tokens"))
    return Reading(_with_output(usage, part, made), _notes_on_images(before, after))


def _with_parts(usage: Usage, before: Body, after: Body, *, whole_in: int, cached: int) -> Usage:
    written, audio = _count(before, "cache_write_tokens"), _count(before, "audio_tokens")
    audio -= min(audio, _count(_inside(before, "cached_tokens_details"), "audio_tokens"))
    # A token that came from the cache is charged as such, whatever it holds.
    return usage._replace(
        input_tokens=whole_in,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        audio_input_tokens=min(audio, max(whole_in - cached - written, 0)),
        reasoning_tokens=_count(after, "reasoning_tokens") or _count(after, "thinking_tokens"),
        audio_output_tokens=_count(after, "audio_tokens"),
    )


def _with_output(usage: Usage, part: Body, made: int) -> Usage:
    """Add reasoning to the output where it lies beside it: the total tells, and without one the provider."""
    total, reasoning = _count(part, "total_tokens"), usage.reasoning_tokens
    is_beside = total == usage.input_tokens + made + reasoning if total else usage.provider.lower() in _XAI
    return usage._replace(output_tokens=made + reasoning if is_beside else made)


def _anthropic(part: Body, usage: Usage) -> Reading:
    """Read Anthropic's messages: the cache lies beside the input, and work of the server beside the message."""
    usage = _add_message(usage, part)
    notes: tuple[str, ...] = ()
    for step in _rows(part, "iterations"):
        if step.get("type") in _OWN_MESSAGE:
            continue
        if step.get("model", usage.model) == usage.model:
            usage = _add_message(usage, step)
        else:
            tokens = _count(step, "input_tokens") + _count(step, "output_tokens")
            notes += (f"{tokens:,} tokens of {step['model']} are left out: report them as usage of that model.",)
    return Reading(usage, notes)


def _add_message(usage: Usage, part: Body) -> Usage:
    lifetimes = _inside(part, "cache_creation")
    long_lived = _count(lifetimes, "ephemeral_1h_input_tokens")
    read = _count(part, "cache_read_input_tokens")
    written = max(_count(part, "cache_creation_input_tokens"), long_lived + _count(lifetimes, "ephemeral_5m_input_tokens"))
    return usage._replace(
        input_tokens=usage.input_tokens + _count(part, "input_tokens") + read + written,
        output_tokens=usage.output_tokens + _count(part, "output_tokens"),
        cache_read_tokens=usage.cache_read_tokens + read,
        cache_write_tokens=usage.cache_write_tokens + written,
        cache_write_1h_tokens=usage.cache_write_1h_tokens + long_lived,
        reasoning_tokens=usage.reasoning_tokens + _count(_inside(part, "output_tokens_details"), "thinking_tokens"),
    )


def _bedrock(part: Body, usage: Usage) -> Reading:
    """Read Bedrock's converse: the cache lies beside the input."""
    read, written = _count(part, "cacheReadInputTokens"), _count(part, "cacheWriteInputTokens")
    long_lived = sum(_count(row, "inputTokens") for row in _rows(part, "cacheDetails") if row.get("ttl") == "1h")
    usage = usage._replace(
        input_tokens=_count(part, "inputTokens") + read + written,
        output_tokens=_count(part, "outputTokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=long_lived,
    )
    return Reading(usage)


def _gemini(part: Body, usage: Usage) -> Reading:
    """Read Gemini: the prompt includes the cache; prompts of tools and thoughts lie beside it and the candidates."""
    heard = _of_modality(part, "AUDIO", "promptTokensDetails", "toolUsePromptTokensDetails")
    cached_audio = _of_modality(part, "AUDIO", "cacheTokensDetails")
    thoughts = _count(part, "thoughtsTokenCount")
    usage = usage._replace(
        input_tokens=_count(part, "promptTokenCount") + _count(part, "toolUsePromptTokenCount"),
        output_tokens=_count(part, "candidatesTokenCount") + thoughts,
        cache_read_tokens=_count(part, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
        audio_input_tokens=heard - min(heard, cached_audio),
        audio_output_tokens=_of_modality(part, "AUDIO", "candidatesTokensDetails"),
    )
    return Reading(usage, _note_on_drawn(_of_modality(part, "IMAGE", "candidatesTokensDetails")))


def _cohere(part: Body, usage: Usage) -> Reading:
    """Read Cohere: what it bills, where it says so; its tokens include a preamble of its own that it does not bill."""
    billed, cached = _inside(part, "billed_units"), _count(part, "cached_tokens")
    if not billed:
        tokens = _inside(part, "tokens")
        usage = usage._replace(cache_read_tokens=cached)
        return Reading(usage._replace(input_tokens=_count(tokens, "input_tokens"), output_tokens=_count(tokens, "output_tokens")))
    pictures = _count(billed, "image_tokens")
    usage = usage._replace(
        input_tokens=_count(billed, "input_tokens") + pictures,
        output_tokens=_count(billed, "output_tokens"),
        images=_count(billed, "images"),
    )
    notes = [f"{cached:,} tokens came from the cache; the billed units do not tell them apart."] if cached else []
    notes += [f"{pictures:,} image tokens are counted as input."] if pictures else []
    notes += [f"{units:,} search units are left out." for units in [_count(billed, "search_units")] if units]
    return Reading(usage, tuple(notes))


def _of_modality(part: Body, modality: str, *names: str) -> int:
    return sum(_count(row, "tokenCount") for name in names for row in _rows(part, name) if row.get("modality") == modality)


def _note_on_drawn(tokens: int) -> tuple[str, ...]:
    return (f"{tokens:,} tokens of output are images; they are priced as any output.",) if tokens else ()


def _notes_on_images(before: Body, after: Body) -> tuple[str, ...]:
    shown = _count(before, "image_tokens")
    seen = (f"{shown:,} tokens of input are images; they are priced as any input.",) if shown else ()
    return (*seen, *_note_on_drawn(_count(after, "image_tokens")))


def _notes_of_all(part: Body, answer: Body) -> Iterable[str]:
    tools = _inside(part, "server_tool_use") or _inside(part, "serverToolUsage")
    calls = {str(name).replace("_", " "): _count(tools, name) for name in tools}
    yield from (f"{count:,} {name} are left out." for name, count in calls.items() if count)
    tier = part.get("service_tier") or part.get("serviceTier") or answer.get("service_tier")
    if isinstance(tier, str) and tier.lower() not in STANDARD_WORDS:
        yield f"The call ran in the service tier “{tier[:32]}”, which has rates of its own."
    stated = part.get("cost")
    if isinstance(stated, Decimal | float | int) and MONEY_STEP <= stated <= _LARGEST:
        yield f"The answer states a cost of {plain(round_money(Decimal(str(stated))))}; it is not used here."


def _count(part: Body, name: str) -> int:
    """Return a figure of the body; what is missing or null was not used. Raises UnreadableBodyError for what is no count."""
    value = part.get(name)
    if value is None:
        return 0
    if isinstance(value, Decimal | float) and 0 <= value <= _LARGEST and value == int(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise UnreadableBodyError(f"{name} must be a whole number that is not negative.")
    return value


def _first_inside(body: Body, names: Iterable[str]) -> Body:
    return next((inner for name in names if isinstance(inner := body.get(name), Mapping)), body)


def _inside(part: Body, name: str) -> Body:
    value = part.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnreadableBodyError(f"{name} must be a JSON object.")
    return value


def _rows(part: Body, name: str) -> Sequence[Body]:
    value = part.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise UnreadableBodyError(f"{name} must be a list of JSON objects.")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
