"""Units: what a model call consumes, counted so that nothing is counted twice.

Providers report wholes with parts inside them: `input_tokens` includes what was read from and written to the cache and
audio, what was written includes what is kept for an hour, and `output_tokens` includes reasoning and audio. A price or a
provider rate applies to one kind of token, so a usage is first taken apart into quantities that do not overlap and that
add up to the wholes.
"""

from collections.abc import Container, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from config.base.exact import ZERO


class UnitKind(StrEnum):
    """One kind of thing that is consumed; the quantities of one usage do not overlap."""

    INPUT = "input"  # input tokens that are none of the input kinds below
    CACHE_READ = "cache_read"  # input tokens served from the provider's cache
    CACHE_WRITE = "cache_write"  # input tokens stored in it for its usual few minutes
    CACHE_WRITE_1H = "cache_write_1h"  # input tokens stored in it for an hour, at a price of their own
    OUTPUT = "output"  # output tokens that are neither reasoning nor audio
    REASONING = "reasoning"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    IMAGE = "image"
    VIDEO_SECOND = "video_second"
    REQUEST = "request"  # one call to the provider, retries counted


# A kind without a price of its own is charged as the first of these that has one. Audio, images and video are never
# guessed from tokens.
FALLBACK: Final[Mapping[UnitKind, tuple[UnitKind, ...]]] = {
    UnitKind.CACHE_READ: (UnitKind.INPUT,),
    UnitKind.CACHE_WRITE: (UnitKind.INPUT,),
    UnitKind.CACHE_WRITE_1H: (UnitKind.CACHE_WRITE, UnitKind.INPUT),
    UnitKind.REASONING: (UnitKind.OUTPUT,),
}


def charged_as(kind: UnitKind, stated: Container[str]) -> UnitKind | None:
    """Return the kind whose price customers pay for `kind`, of those that are `stated`; None: it is free."""
    if kind in stated:
        return kind
    return next((other for other in FALLBACK.get(kind, ()) if other in stated), None)


def costed_as(kind: UnitKind, stated: Container[str]) -> UnitKind | None:
    """Return the kind whose rate a provider charges for `kind`, of those that are `stated`; None: nobody knows."""
    return next((other for other in rate_kinds(kind, stated) if other in stated), None)


def rate_kinds(kind: UnitKind, stated: Container[str]) -> tuple[UnitKind, ...]:
    """Return the kinds whose rate may be that of `kind` beside those that are `stated`; the first that has one is.

    A provider that prices writes to its cache prices each lifetime apart: the rate of one would be a guess for the other.
    """
    if kind is UnitKind.CACHE_WRITE_1H and UnitKind.CACHE_WRITE in stated:
        return (kind,)
    return (kind, *FALLBACK.get(kind, ())[-1:])


class Usage(NamedTuple):
    """What one event consumed, in the provider's own counting: wholes include their parts."""

    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    images: int = 0
    video_seconds: Decimal = ZERO
    requests: int = 1


_COUNTS = Usage._fields[2:]  # without provider and model


def check(usage: Usage) -> list[tuple[str, str]]:
    """Return what is wrong with `usage` as (field, message); empty when it can be taken apart."""
    problems = [(field, "must not be negative") for field in _COUNTS if getattr(usage, field) < 0]
    if usage.cache_read_tokens + usage.cache_write_tokens + usage.audio_input_tokens > usage.input_tokens:
        problems.append(
            (
                "input_tokens",
                "must include cache_read_tokens, cache_write_tokens and audio_input_tokens, and is less than their sum",
            )
        )
    if usage.cache_write_1h_tokens > usage.cache_write_tokens:
        problems.append(("cache_write_1h_tokens", "must not be more than cache_write_tokens, of which it is a part"))
    if usage.reasoning_tokens + usage.audio_output_tokens > usage.output_tokens:
        problems.append(("output_tokens", "must include reasoning_tokens and audio_output_tokens, and is less than their sum"))
    return problems


def normalise(usage: Usage) -> dict[UnitKind, Decimal | int]:
    """Take `usage` apart into disjoint quantities; kinds that were not used are left out.

    Raises ValueError for a usage that `check` finds wrong: a part larger than its whole has no honest split.
    """
    input_parts = usage.cache_read_tokens + usage.cache_write_tokens + usage.audio_input_tokens
    quantities: dict[UnitKind, Decimal | int] = {
        UnitKind.INPUT: usage.input_tokens - input_parts,
        UnitKind.CACHE_READ: usage.cache_read_tokens,
        UnitKind.CACHE_WRITE: usage.cache_write_tokens - usage.cache_write_1h_tokens,
        UnitKind.CACHE_WRITE_1H: usage.cache_write_1h_tokens,
        UnitKind.OUTPUT: usage.output_tokens - usage.reasoning_tokens - usage.audio_output_tokens,
        UnitKind.REASONING: usage.reasoning_tokens,
        UnitKind.AUDIO_INPUT: usage.audio_input_tokens,
        UnitKind.AUDIO_OUTPUT: usage.audio_output_tokens,
        UnitKind.IMAGE: usage.images,
        UnitKind.VIDEO_SECOND: usage.video_seconds,
        UnitKind.REQUEST: usage.requests,
    }
    used = {kind: quantity for kind, quantity in quantities.items() if quantity}
    if used and min(used.values()) < 0:
        raise ValueError("a part of the usage is larger than its whole, or negative; call check() first")
    return used
