"""`python manage.py demo`: fill an empty database with an invented company. What is in it is told in `config.demo`."""

import secrets
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.services import checking
from config.demo import SEED, company, people


class Command(BaseCommand):
    """Edge of `company.found`: reads the clock, chooses the password, proves the ledger, prints how to sign in."""

    help = "Fill an empty database with an invented company of 90 days, marked as a demo. Again does nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--seed", type=int, default=SEED, help=f"another number makes another company; default: {SEED}")

    def handle(self, *_: Any, seed: int, **__: Any) -> None:
        """Found the company, check its books."""
        if company.is_begun() and not company.is_finished():
            raise CommandError("A demo company was begun here and not finished. Start again on an empty database.")
        if company.is_begun():
            names = ", ".join(name for name, *_ in people.USERS)
            self.stdout.write(f"The demo company is here already. Users: {names}; `manage.py changepassword NAME` sets a password.")
            return
        began, now, password = time.monotonic(), timezone.now(), secrets.token_urlsafe(9)
        self.stdout.write("The demo company is being made; everything in it is invented.")

        def say(text: str) -> None:
            self.stdout.write(f"  {time.monotonic() - began:5.1f} s  {text}")
            self.stdout.flush()

        try:
            founded = company.found(password=password, now=now, seed=seed, say=say)
        except company.NotEmptyError as error:
            raise CommandError(str(error)) from error
        say(f"{founded.events:,} events metered; {founded.refused:,} refused, as their wallets were empty or frozen")
        check = checking.check(now=timezone.now(), actor="system:demo")
        for rule in check.rules:
            for broken in rule["breaks"]:
                self.stderr.write(f"{rule['rule']}: {broken['subject']}: {broken['detail']}")
        if not check.is_clean:
            raise CommandError("The ledger of the demo company does not hold; the lines above say where.")
        say("the ledger check is clean")
        self._print_logins(founded.new_users, password)

    def _print_logins(self, new_users: tuple[str, ...], password: str) -> None:
        kept = [name for name, *_ in people.USERS if name not in new_users]
        if new_users:
            self.stdout.write(f"Sign in as {', '.join(new_users)} with the password {password} (shown only now).")
        if kept:
            self.stdout.write(f"Were there before and keep their passwords: {', '.join(kept)}.")
