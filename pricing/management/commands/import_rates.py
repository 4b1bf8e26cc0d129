"""`python manage.py import_rates FILE|genai-prices`: compare a feed with the catalogue of provider rates, line by line."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DataError, IntegrityError
from django.utils import timezone

from pricing.feeds import files, genai
from pricing.feeds.diff import Kind
from pricing.feeds.guards import TITLES, Guard
from pricing.feeds.statement import FeedError
from pricing.models import ChangeState, RateChange, RateImport
from pricing.services import rate_decisions, rate_imports
from pricing.services.refusals import NotKeptError


class Command(BaseCommand):
    """Edge of `rate_imports.import_feed`: reads the clock, prints what came of it."""

    help = "Compare a feed of provider rates with the catalogue, and keep the differences for people to decide."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("feed", help=f"{genai.SOURCE} for the installed package, or a file: its data.json, or LiteLLM's format")
        parser.add_argument(
            "--as-of", type=date.fromisoformat, help="the day that the feed speaks of (YYYY-MM-DD): undated changes hold from it on"
        )
        parser.add_argument("--accept", action="store_true", help="take over every line that no guard holds back")
        parser.add_argument("--providers", default="", help="comma separated, such as anthropic,openai; default: all")
        parser.add_argument(
            "--again", action="store_true", help="of a release that was imported already: compare with the catalogue as it is now"
        )
        parser.add_argument("--source", default="", help="call the feed of a file otherwise, such as tokencost")

    def handle(self, **options: Any) -> None:
        """Import, print the diff's summary, accept where asked."""
        now = timezone.now()
        as_of: date | None = options["as_of"]
        if as_of and as_of > now.date():
            raise CommandError(f"{as_of} lies ahead: a feed cannot speak of it yet.")
        providers = sorted({word.strip() for word in options["providers"].split(",") if word.strip()})
        try:
            feed = _read(options["feed"], providers, options["source"])
            done = rate_imports.import_feed(
                feed=feed,
                as_of=datetime.combine(as_of, time(), UTC) if as_of else now,
                dated=as_of is not None,
                providers=providers,
                actor=None,
                now=now,
            )
            if options["again"] and not done.is_new:
                done = rate_imports.compare_again(source=feed.reading.source, feed=feed, actor=None, now=now)
        except FeedError as error:
            raise CommandError(str(error)) from error
        except NotKeptError as refusal:
            raise CommandError(refusal.detail) from refusal
        except (DataError, IntegrityError) as error:
            raise CommandError(f"The feed holds what the catalogue cannot keep, so nothing was imported: {error}") from error
        self._print(done.rate_import, is_new=done.is_new, is_verbose=options["verbosity"] > 1)
        if options["accept"]:
            self._print_accepted(rate_decisions.accept_unguarded(rate_import=done.rate_import, actor=None, now=now))

    def _print(self, made: RateImport, *, is_new: bool, is_verbose: bool) -> None:
        counts = made.counts
        self.stdout.write(f"{made}: " + ", ".join(f"{counts.get(kind.value, 0):,} {kind.value}" for kind in Kind))
        if not is_new:
            self.stdout.write(f"compared already on {made.created_at:%Y-%m-%d %H:%M} UTC, so nothing is new (--again compares anew)")
        self.stdout.write(f"agree with the catalogue: {counts['agree']:,}; rejected before: {counts['rejected_before']:,}")
        waiting = list(made.changes.filter(state=ChangeState.PENDING).exclude(guards=[]))
        self.stdout.write(f"held back by a guard: {len(waiting):,}" + ("" if is_verbose or not waiting else " (-v 2 lists each)"))
        for guard, count in Counter(guard["guard"] for line in waiting for guard in line.guards).most_common():
            self.stdout.write(f"  {count:,} x {TITLES[Guard(guard)]}")
        if is_verbose:
            self._list(waiting)
        self.stdout.write(f"left out: {counts['left_out']:,}" + ("" if is_verbose or not made.left_out else " (-v 2 lists each)"))
        for reason, count in Counter(reason for *_, reason in made.left_out).most_common(10):
            self.stdout.write(f"  {count:,} x {reason}")
        if is_verbose:
            for provider, model, what, reason in made.left_out:
                self.stdout.write(f"  {provider}/{model} {what}: {reason}")

    def _list(self, lines: Iterable[RateChange]) -> None:
        for line in lines:
            self.stdout.write(f"  {line}: {line.ours or 'none'} -> {line.theirs or 'none'}")
            for title, sentence in line.guard_titles:
                self.stdout.write(f"    {title}: {sentence}")

    def _print_accepted(self, done: rate_decisions.Accepted) -> None:
        self.stdout.write(f"accepted: {done.count:,}")
        if done.past:
            self.stdout.write(
                f"  {done.past:,} of them begin in the past: what was charged since keeps its recorded cost until it is rated anew"
            )
        for _, why in done.refused:
            self.stdout.write(f"  waits: {why}")


def _read(name: str, providers: list[str], source: str) -> files.Feed:
    if name != genai.SOURCE:
        return files.from_file(Path(name), only_providers=providers, source=source)
    if source:
        raise CommandError(f"--source is for files: the installed package is {genai.SOURCE}.")
    return files.installed(only_providers=providers)
