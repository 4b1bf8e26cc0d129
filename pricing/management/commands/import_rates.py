"""`python manage.py import_rates genai-prices`: fill the catalogue of provider rates from a feed."""

from collections import Counter
from datetime import UTC, date, datetime, time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from pricing.feeds import genai
from pricing.services import rates


class Command(BaseCommand):
    """Edge of `rates.import_rates`: reads the clock, prints what came of it."""

    help = "Add the provider rates that the catalogue lacks, and print where feed and catalogue differ."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("feed", choices=[genai.SOURCE])
        parser.add_argument("--as-of", type=date.fromisoformat, help="leave out prices that start later (YYYY-MM-DD), compare as of it")
        parser.add_argument("--providers", default="", help="comma separated, such as anthropic,openai; default: all")
        parser.add_argument("--dry-run", action="store_true", help="print, and write nothing")

    def handle(self, **options: Any) -> None:
        """Import, print counts, differences and what was left out."""
        now = timezone.now()
        as_of: date | None = options["as_of"]
        try:
            reading = genai.read(only_providers=[p for p in options["providers"].split(",") if p], as_of=as_of)
        except ValueError as error:
            raise CommandError(str(error)) from error
        with transaction.atomic():
            moment = datetime.combine(as_of, time(), UTC) if as_of else now
            done = rates.import_rates(reading=reading, as_of=moment, now=now)
            if options["dry_run"]:
                transaction.set_rollback(True)
        self._print(reading, done, is_dry_run=options["dry_run"], is_verbose=options["verbosity"] > 1)

    def _print(self, reading: genai.Reading, done: rates.Imported, *, is_dry_run: bool, is_verbose: bool) -> None:
        would = "would be " if is_dry_run else ""
        self.stdout.write(f"{would}added: {done.models} models, {done.rates} rates; known already: {done.known} rates")
        self.stdout.write(f"differences, not written: {len(done.differences)}")
        for difference in done.differences:
            self.stdout.write(f"  {difference}")
        self.stdout.write(f"left out: {len(reading.skipped)}" + ("" if is_verbose else " (-v 2 lists each)"))
        if is_verbose:
            for row in reading.skipped:
                self.stdout.write(f"  {row.provider}/{row.model} {row.what}: {row.reason}")
        else:
            for reason, count in Counter(row.reason for row in reading.skipped).most_common():
                self.stdout.write(f"  {count} x {reason}")
