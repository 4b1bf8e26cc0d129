"""Import a CSV file of Stripe's: movements of the balance, or payouts. Exit code 1: nothing was imported, and why."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from reports import stripe_files, stripe_imports


class Command(BaseCommand):
    help = "Import a CSV file that was downloaded from Stripe. The same file twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the file, or - for standard input")
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--live", dest="is_live", action="store_true", default=None, help="the file is of real money")
        words = "the file is of Stripe's test mode; without either it is of the mode of STRIPE_API_KEY, else of real money"
        mode.add_argument("--test", dest="is_live", action="store_false", default=None, help=words)

    def handle(self, *_: Any, file: Path, is_live: bool | None, **__: Any) -> None:
        try:
            content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        try:
            done = stripe_imports.import_text(stripe_files.decoded(content), now=timezone.now(), is_live=is_live)
        except stripe_files.UnreadableFile as refusal:
            raise CommandError(f"Nothing was imported.\n{refusal.detail}") from refusal
        self.stdout.write(str(done))
