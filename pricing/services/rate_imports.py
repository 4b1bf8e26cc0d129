"""Importing a feed: compare one release with the catalogue and keep the differences for people to decide.

A release is imported once. What waited of it may be overtaken by what happens to the catalogue; then it is compared again, with
the catalogue as it is by then, and the new comparison takes the place of what still waits.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from django.contrib.auth.models import User
from django.db import connection, transaction

from pricing.feeds import kept
from pricing.feeds.diff import Kind, Line, by_series, compare, in_force, sort_key
from pricing.feeds.files import Feed
from pricing.feeds.guards import Surroundings, guard
from pricing.feeds.statement import FeedError, Reading
from pricing.locks import take_rates_lock_sql
from pricing.models import ChangeState, RateChange, RateImport, RateStatement, Workspace
from pricing.queries import rate_imports as queries
from pricing.services.refusals import NotKeptError

# By what a waiting line is one (`rate_change_waits_once`), and what else it says.
_ONE: Final = ("provider", "model", "unit_kind", "service_tier", "is_batch", "context_threshold", "kind", "effective_from")
_SAYS: Final = (*_ONE, "aliases", "effective_to", "detail", "guards", "ours", "theirs")
BATCH: Final = 1_000  # rows of one statement, so that none runs into the time that a statement may take
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Imported:
    """An import, and whether it is new: not so where the release was there before, or says nothing else than what waits."""

    rate_import: RateImport
    is_new: bool


@transaction.atomic
def import_feed(
    *, feed: Feed, as_of: datetime, dated: bool = False, providers: Collection[str] = (), actor: User | None, now: datetime
) -> Imported:
    """Compare `feed` with the catalogue as of `as_of` and keep the lines; the same release twice adds nothing.

    With `dated`, prices without a date of their own hold from `as_of` on, else from the moment that they are accepted. Lines of
    the same source that wait are superseded. Nothing is written into the catalogue.
    Raises FeedError for a release older than the last one of its source.
    """
    _take_lock()
    source, scope = feed.reading.source, sorted(providers)
    if known := queries.releases(source=source).filter(sha256=feed.sha256, providers=scope).first():
        return Imported(known, is_new=False)
    _refuse_older(source, as_of)
    made = RateImport(
        source=source,
        file_name=feed.name[:255],
        sha256=feed.sha256,
        providers=scope,
        as_of=as_of,
        holds_from=as_of if dated else None,
        release=kept.pack(feed.reading),
        created_by=actor,
        created_at=now,
    )
    lines = _compare(made, feed.reading)
    _keep(made, lines, now)
    _remember(feed.reading, as_of)
    return Imported(made, is_new=True)


@transaction.atomic
def compare_again(*, source: str, feed: Feed | None = None, actor: User | None, now: datetime) -> Imported:
    """Compare the newest release of `source` with the catalogue as it is now; its lines take the place of those that wait.

    The release is the one that was kept, or `feed` where that is the same.

    Where they say what waits already nothing is added, and the comparison that it waits in is returned. What another feed may
    be compared with stays as of the day of the release.

    Raises:
        NotKeptError: no release of the source was imported, or it was not kept with its import and `feed` is another one.
    """
    _take_lock()
    newest = queries.releases(source=source).first()
    if newest is not None and feed is not None and feed.sha256 == newest.sha256:
        reading = feed.reading
    elif newest is not None and newest.release is not None:
        reading = kept.unpack(source, bytes(newest.release))
    else:
        raise NotKeptError(f"The newest release of {source} was not kept here. Run manage.py import_rates with its file and --again.")
    made = RateImport(
        source=source,
        file_name=newest.file_name,
        sha256=newest.sha256,
        providers=newest.providers,
        as_of=now,
        holds_from=newest.holds_from,
        again_of=newest,
        created_by=actor,
        created_at=now,
    )
    lines = _compare(made, reading)
    last = newest.comparisons.order_by("-id").first() or newest
    if _content(lines) == _content(queries.pending().filter(rate_import=last)):
        return Imported(last, is_new=False)
    _keep(made, lines, now)
    return Imported(made, is_new=True)


def _take_lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute(take_rates_lock_sql)


def _compare(made: RateImport, reading: Reading) -> list[RateChange]:
    """Return the lines of an import that is not written yet, and set what it comes to."""
    found, agreeing, repeated = _lines(reading, as_of=made.as_of, holds_from=made.holds_from, providers=made.providers)
    made.left_out = [[skipped.provider, skipped.model, skipped.what, skipped.reason] for skipped in reading.skipped]
    made.counts = Counter(line.kind.value for line in found) | {
        "guarded": sum(bool(line.guards) for line in found),
        "agree": agreeing,
        "rejected_before": repeated,
        "left_out": len(made.left_out),
    }
    return [_change(made, line) for line in found]


def _keep(made: RateImport, lines: list[RateChange], now: datetime) -> None:
    _supersede(made.source, made.providers, now)
    made.save(force_insert=True)
    for line in lines:
        line.rate_import = made
    RateChange.objects.bulk_create(lines, batch_size=BATCH)


def _content(lines: Iterable[RateChange]) -> list[tuple[Any, ...]]:
    """Return what lines say, in an order that does not depend on theirs."""
    ordered = sorted(lines, key=lambda line: [str(getattr(line, name)) for name in _ONE])
    return [tuple(getattr(line, name) for name in _SAYS) for line in ordered]


def _refuse_older(source: str, as_of: datetime) -> None:
    last = queries.releases(source=source).first()
    if last is not None and as_of < last.as_of:
        raise FeedError(
            f"{source} was imported as of {last.as_of:%Y-%m-%d} already, and an older release would bring old prices back. "
            "Import a newer one, or give this one a source of its own."
        )


def _lines(reading: Reading, *, as_of: datetime, holds_from: datetime | None, providers: Collection[str]) -> tuple[list[Line], int, int]:
    """Return the lines, how many series agree, and how many lines are left out because a person rejected the same before."""
    catalogue = queries.catalogue(providers=providers)
    found = sorted(compare(reading, catalogue, as_of=as_of, holds_from=holds_from), key=sort_key)
    rejected = queries.rejected(source=reading.source, models={line.owner for line in found})
    lines = [line for line in found if queries.identity_of(line) not in rejected]
    in_feed = {model.provider for model in reading.names}
    others = queries.statements_of_others(source=reading.source, providers=in_feed)
    guard(lines, Surroundings(reading, catalogue, others, Workspace.objects.get().currency, as_of))
    differing = {line.key for line in found}
    agreeing = sum(1 for key, stated in by_series(reading.candidates).items() if in_force(stated, as_of) and key not in differing)
    return lines, agreeing, len(found) - len(lines)


def _supersede(source: str, providers: Collection[str], now: datetime) -> None:
    waiting = queries.pending().filter(source=source)
    if providers:
        waiting = waiting.filter(provider__in=providers)
    supersede(list(waiting.values_list("pk", flat=True)), now=now)


def supersede(ids: Sequence[int], *, now: datetime) -> None:
    """Close lines that wait and that something newer took the place of."""
    for some in batched(ids, BATCH):
        RateChange.objects.filter(pk__in=some).update(state=ChangeState.SUPERSEDED, decided_at=now)


def batched(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield `rows` in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _change(rate_import: RateImport, line: Line) -> RateChange:
    key, ours, theirs = line.key, line.ours, line.theirs
    change = RateChange(
        rate_import=rate_import,
        source=rate_import.source,
        kind=line.kind.value,
        provider=line.owner.provider,
        model=line.owner.name,
        aliases=list(line.aliases) if line.kind in {Kind.ALIAS, Kind.NEW} else [],
        effective_from=line.effective_from,
        effective_to=line.effective_to,
        detail=line.detail,
        guards=[{"guard": name, "sentence": sentence} for name, sentence in line.guards],
    )
    if key:
        change.unit_kind, change.service_tier = key.unit.value, key.service_tier
        change.is_batch, change.context_threshold = key.is_batch, key.context_threshold
    if ours:
        change.catalogue_price, change.catalogue_per, change.catalogue_currency = ours
    if theirs:
        change.price, change.per, change.currency = theirs
    return change


def _remember(reading: Reading, as_of: datetime) -> None:
    """Keep what the feed states now, for other feeds to be compared with."""
    rows = [
        RateStatement(
            source=reading.source,
            provider=key.provider,
            model=key.model,
            unit_kind=key.unit.value,
            service_tier=key.service_tier,
            is_batch=key.is_batch,
            context_threshold=key.context_threshold,
            price=present.figure.price,
            per=present.figure.per,
            currency=present.figure.currency,
            stated_at=as_of,
        )
        for key, stated in by_series(reading.candidates).items()
        if (present := in_force(stated, as_of))
    ]
    RateStatement.objects.bulk_create(
        rows,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=("source", "provider", "model", "unit_kind", "service_tier", "is_batch", "context_threshold"),
        update_fields=("price", "per", "currency", "stated_at"),
    )
