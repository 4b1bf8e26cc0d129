"""LiteLLM's price format: one JSON object, a model's name to its figures, in USD per token, image, second or request.

How its shapes become rates:
- The provider is ours (`gemini` is `google`); a name loses the prefix of its provider and keeps the whole as an alias.
- `…_above_200k_tokens` is a rate from 200,001 input tokens on, `…_batches` one of a batch, `…_priority` one of a service tier.
- Tokens are priced per million, requests per thousand: exact, since the file's floats are read as decimals.
- The file says nothing about when: every price is undated.
What we cannot say without guessing is left out and listed: units that apps do not report (characters, pixels, queries), models
whose real price is such a unit beside tokens at 0, and what is stated twice: a key of the file, or a name, with other prices.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

from config.base.exact import CONTEXT, MAX_MONEY, plain, round_money
from pricing.feeds.statement import EPOCH, MILLION, STATED_TWICE, Candidate, FeedError, Figure, ModelName, Reading, SeriesKey, Skipped
from pricing.rate_catalogue import STANDARD_TIER
from pricing.units import UnitKind

SOURCE: Final = "litellm"
CURRENCY: Final = "USD"
# The same house under our name; any other word is kept (`vertex_ai-language-models` as `vertex_ai`).
PROVIDERS: Final = {
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "azure_text": "azure",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "meta_llama": "meta",
    "moonshot": "moonshotai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "voyage": "voyageai",
    "xai": "x-ai",
}
UNITS: Final = {
    "input_cost_per_token": (UnitKind.INPUT, MILLION),
    "output_cost_per_token": (UnitKind.OUTPUT, MILLION),
    "cache_read_input_token_cost": (UnitKind.CACHE_READ, MILLION),
    "input_cost_per_token_cache_hit": (UnitKind.CACHE_READ, MILLION),
    "cache_creation_input_token_cost": (UnitKind.CACHE_WRITE, MILLION),
    "cache_creation_input_token_cost_above_1hr": (UnitKind.CACHE_WRITE_1H, MILLION),
    "output_cost_per_reasoning_token": (UnitKind.REASONING, MILLION),
    "input_cost_per_audio_token": (UnitKind.AUDIO_INPUT, MILLION),
    "output_cost_per_audio_token": (UnitKind.AUDIO_OUTPUT, MILLION),
    "output_cost_per_image": (UnitKind.IMAGE, 1),
    "output_cost_per_video_per_second": (UnitKind.VIDEO_SECOND, 1),
    "input_cost_per_request": (UnitKind.REQUEST, 1000),
}

_TWICE: Final = "stated twice, differently"
_UNREPORTED: Final = "apps do not report this unit"
_EXAMPLE: Final = "sample_spec"  # the format explains itself in an entry of this name
_NO_OUTPUT: Final = frozenset({"embedding", "rerank", "moderation", "moderations", "image_generation", "audio_transcription"})
_FIELD: Final = re.compile(
    r"(?P<unit>.+?)(?:_above_(?P<thousands>\d+)k_tokens)?(?P<batch>_batches)?(?:_(?P<tier>priority|flex))?", re.ASCII
)


class _Stated(NamedTuple):
    """One price of an entry: what it is the price of, without the model."""

    unit: UnitKind
    tier: str
    is_batch: bool
    threshold: int
    price: Decimal
    per: int


def is_format(raw: Any) -> bool:
    """Say whether parsed JSON looks like this format."""
    return isinstance(raw, dict) and any(isinstance(entry, dict) and "litellm_provider" in entry for entry in raw.values())


def read(raw: dict[str, Any], *, release: str, only_providers: Collection[str] = ()) -> Reading:
    """Read a parsed file whose numbers are decimals. Raises FeedError for a provider that it does not have."""
    reading = Reading(SOURCE)
    entries: dict[ModelName, list[tuple[str, list[_Stated]]]] = defaultdict(list)
    for full_name, entry in raw.items():
        if full_name == _EXAMPLE:
            continue
        model = _model(full_name, entry)
        if entry is STATED_TWICE:
            reading.skipped.append(Skipped("", full_name, "the whole entry", _TWICE))
        elif model is None:
            reading.skipped.append(Skipped("", full_name, "the whole entry", "names no provider"))
        elif (not only_providers or model.provider in only_providers) and (stated := list(_stated(model, entry, reading.skipped))):
            entries[model].append((full_name, stated))
    if unknown := set(only_providers) - {model.provider for model in entries}:
        raise FeedError(f"The file has no prices of a provider called {', '.join(sorted(unknown))}.")
    for model, rows in entries.items():
        if any(set(stated) != set(rows[0][1]) for _, stated in rows):
            names = " and ".join(name for name, _ in rows)
            reading.skipped.append(Skipped(*model, names, "the same model of the same provider, with other prices"))
            continue
        reading.names[model] = tuple(name for name, _ in rows if name != model.name)
        reading.candidates.extend(_candidate(model, stated, release) for stated in rows[0][1])
    return reading


def _model(full_name: str, entry: Any) -> ModelName | None:
    word = entry.get("litellm_provider") if isinstance(entry, dict) else None
    if not isinstance(word, str) or not word:
        return None
    house = word if word in PROVIDERS else word.partition("-")[0]
    return ModelName(PROVIDERS.get(house, house), full_name.removeprefix(f"{house}/"))


def _stated(model: ModelName, entry: dict[str, Any], skipped: list[Skipped]) -> Iterator[_Stated]:
    """Yield the prices of an entry, one per series; what does not become one is added to `skipped`."""
    found: list[_Stated] = []
    hidden: list[str] = []  # charged for, in units that are not reported
    for name in (name for name in entry if "cost" in name):
        read = _figure(name, entry)
        if isinstance(read, _Stated):
            found.append(read)
            continue
        skipped.append(Skipped(*model, name, read))
        if read == _UNREPORTED and entry[name]:
            hidden.append(name)
    if hidden and not any(stated.price for stated in found):
        skipped.extend(Skipped(*model, stated.unit.value, f"at 0 beside {', '.join(hidden)}") for stated in found)
        return
    counts = Counter(stated[:4] for stated in set(found))
    for stated in dict.fromkeys(found):
        if counts[stated[:4]] == 1:
            yield stated
        else:
            skipped.append(Skipped(*model, stated.unit.value, _TWICE))


def _figure(name: str, entry: dict[str, Any]) -> _Stated | str:
    """Return the price in the field `name`, or why it is none."""
    series, value = _series(name), entry[name]
    if series is None:
        return _UNREPORTED
    if value is STATED_TWICE:
        return _TWICE
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return f"not a number: {value!r}"[:200]
    unit, per, tier, is_batch, threshold = series
    if not value and unit is UnitKind.OUTPUT and entry.get("mode") in _NO_OUTPUT:
        return "this kind of model has no output tokens"
    price = CONTEXT.multiply(Decimal(value), Decimal(per))
    return _Stated(unit, tier, is_batch, threshold, price, per) if 0 <= price <= MAX_MONEY else f"not a price: {value}"[:200]


def _series(name: str) -> tuple[UnitKind, int, str, bool, int] | None:
    found = _FIELD.fullmatch(name)
    if found is None or found["unit"] not in UNITS:
        return None
    unit, per = UNITS[found["unit"]]
    threshold = int(found["thousands"]) * 1000 + 1 if found["thousands"] else 0
    if threshold and per != MILLION:
        return None
    return unit, per, found["tier"] or STANDARD_TIER, bool(found["batch"]), threshold


def _candidate(model: ModelName, stated: _Stated, release: str) -> Candidate:
    price = round_money(stated.price)
    notes = [release, "the feed states no start date", *([f"stated as {plain(stated.price)}"] if price != stated.price else [])]
    key = SeriesKey(*model, stated.unit, stated.tier, stated.is_batch, stated.threshold)
    return Candidate(key, Figure(price, stated.per, CURRENCY), EPOCH, None, "; ".join(notes))
