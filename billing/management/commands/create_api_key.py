"""`python manage.py create_api_key support-bot`: an API key for an app, from a script.

The secret goes alone to stdout and everything else to stderr, so that `KEY=$(python manage.py create_api_key …)` works.
"""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from billing.models import Environment, Scope
from billing.services import keys, projects
from config.base.errors import DomainError

_LONGEST_DAYS = 3650
_LONGEST_NAME = 120


class Command(BaseCommand):
    """Edge of `keys.issue`: reads the clock, checks the words, prints the secret once."""

    help = "Make an API key, and its project if that is missing. The last line on stdout is the secret, which is shown only now."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("project", help="the project's key, such as support-bot")
        parser.add_argument("--environment", default=Environment.PRODUCTION.value, help=f"one of {_words(Environment.values)}")
        parser.add_argument("--scopes", default="meter,wallets", help=f"comma separated: {_words(Scope.values)}; default: meter,wallets")
        parser.add_argument("--name", default="", help="what uses the key; default: the project and environment")
        parser.add_argument("--expires-days", type=int, metavar="N", help="let it expire in N days; default: never")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make the key and print it."""
        environment = _environment(options["environment"])
        scopes = _scopes(options["scopes"])
        days = _days(options["expires_days"])
        name = options["name"].strip() or f"{options['project']} {environment}"
        if len(name) > _LONGEST_NAME:
            raise CommandError(f"--name may have at most {_LONGEST_NAME} characters.")
        now = timezone.now()
        expires_at = now + timedelta(days=days) if days else None
        try:
            with transaction.atomic():
                project, is_new = projects.ensure(key=options["project"])
                issued = keys.issue(project=project, name=name, environment=environment, scopes=scopes, now=now, expires_at=expires_at)
        except DomainError as error:
            raise CommandError(str(error)) from error
        if is_new:
            self.stderr.write(f"made project {project.key} ({project.name})")
        until = f", expires {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else ""
        self.stderr.write(f"made key {name!r} for {project.key} {environment}, may {', '.join(scopes)}{until}; shown only now:")
        self.stdout.write(issued.token)


def _environment(word: str) -> Environment:
    if word not in Environment.values:
        raise CommandError(f"There is no environment {word!r}: use one of {_words(Environment.values)}.")
    return Environment(word)


def _scopes(words: str) -> list[Scope]:
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in Scope.values]
    if unknown:
        raise CommandError(f"There is no scope {', '.join(map(repr, unknown))}: use {_words(Scope.values)}.")
    if not wanted:
        raise CommandError(f"A key needs a scope: use {_words(Scope.values)}.")
    return [Scope(word) for word in dict.fromkeys(wanted)]


def _days(days: int | None) -> int | None:
    if days is not None and not 1 <= days <= _LONGEST_DAYS:
        raise CommandError(f"--expires-days must lie between 1 and {_LONGEST_DAYS}.")
    return days


def _words(values: list[str]) -> str:
    return ", ".join(values)
