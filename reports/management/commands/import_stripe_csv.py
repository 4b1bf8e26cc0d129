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

    def handle(self, *_: Any, file: Path, **__: Any) -> None:
        try:
            content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        try:
            done = stripe_imports.import_text(stripe_files.decoded(content), now=timezone.now())
        except stripe_files.UnreadableFile as refusal:
            raise CommandError(f"Nothing was imported.\n{refusal.detail}") from refusal
        self.stdout.write(str(done))
