"""`create_api_key`, as a script calls it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.models import ApiKey, Project
from billing.services import keys
from tests.billing.factories import ProjectFactory

pytestmark = pytest.mark.django_db


def create(*args: str) -> tuple[str, str]:
    """Return what the command wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    call_command("create_api_key", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


class TestCreateApiKey:
    def test_prints_the_secret_alone_on_stdout_and_it_opens_the_api(self) -> None:
        out, err = create("support-bot")
        [token] = out.splitlines()
        caller = keys.authenticate(token=token, address="10.0.0.1", now=timezone.now())
        assert (caller.project_key, caller.environment, caller.scopes) == ("support-bot", "production", frozenset({"meter", "wallets"}))
        assert token not in err
        assert "made project support-bot (Support bot)" in err

    def test_uses_a_project_that_is_there(self) -> None:
        project = ProjectFactory.create(key="support-bot", name="The bot")
        _, err = create("support-bot", "--environment", "staging", "--name", "chat backend", "--scopes", "reports, budgets,reports")
        key = ApiKey.objects.get(project=project)
        assert (key.environment, key.name, key.scopes) == ("staging", "chat backend", ["reports", "budgets"])
        assert "made project" not in err

    def test_expires_after_as_many_days(self) -> None:
        create("support-bot", "--expires-days", "30")
        key = ApiKey.objects.get()
        assert key.expires_at == key.created_at + timedelta(days=30)

    @pytest.mark.parametrize(
        ("args", "says"),
        [
            (["Support Bot"], "is not a project key"),
            (["-"], "is not a project key"),
            (["support-bot", "--environment", "prod"], "no environment 'prod': use one of production, staging"),
            (["support-bot", "--scopes", "meter,everything"], "no scope 'everything': use meter, wallets"),
            (["support-bot", "--scopes", ","], "A key needs a scope"),
            (["support-bot", "--expires-days", "0"], "between 1 and 3650"),
            (["support-bot", "--expires-days", "1000000000000"], "between 1 and 3650"),
            (["support-bot", "--name", "x" * 121], "at most 120"),
        ],
    )
    def test_refuses_bad_input_in_a_sentence_and_makes_nothing(self, args: list[str], says: str) -> None:
        with pytest.raises(CommandError) as refused:
            create(*args)
        assert says in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not Project.objects.exists()
        assert not ApiKey.objects.exists()
