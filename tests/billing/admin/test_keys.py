"""API keys in the admin: a secret is shown once and is nowhere afterwards."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.models import ApiKey, Project, Scope
from billing.services import keys
from billing.services.keys import Unauthorized
from config.roles import Role
from tests.billing.admin.dialogs import address, send, went_through
from tests.billing.factories import ProjectFactory
from tests.people import signed_in

pytestmark = pytest.mark.django_db

FORM: dict[str, Any] = {"name": "Chat backend", "environment": "staging", "scopes": ["meter", "wallets"]}


@pytest.fixture
def project() -> Project:
    project: Project = ProjectFactory.create()
    return project


@pytest.fixture
def engineer(db: None) -> Client:
    return signed_in(Role.ENGINEER)


def token_in(page: str) -> str:
    found = re.search(r"md_live_\w+", page)
    assert found
    return found[0]


def a_key(project: Project) -> ApiKey:
    return keys.issue(project=project, name="Old", scopes=[Scope.METER], now=timezone.now()).key


class TestNewKey:
    def test_shows_its_secret_once_and_works(self, engineer: Client, project: Project, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        response = send(engineer, "billing_project_new_key", project, **FORM)
        token = token_in(response.content.decode())
        assert "no-store" in response.headers["Cache-Control"]
        caller = keys.authenticate(token=token, address="127.0.0.1", now=timezone.now())
        assert (caller.project_id, caller.environment, caller.scopes) == (project.pk, "staging", {"meter", "wallets"})
        key = ApiKey.objects.get()
        assert key.created_by is not None
        assert key.created_by.username == "engineer"
        secret = token.rpartition("_")[2]
        pages = [
            reverse("admin:billing_project_change", args=(project.pk,)),
            reverse("admin:billing_apikey_changelist"),
            reverse("admin:billing_apikey_change", args=(key.pk,)),
            reverse("admin:billing_apikey_history", args=(key.pk,)),
        ]
        assert all(secret not in engineer.get(page).content.decode() for page in pages)
        assert secret not in caplog.text
        assert secret not in str(list(key.history.values()))
        assert secret not in str(dict(engineer.session))

    def test_can_be_made_from_the_list_of_keys(self, engineer: Client, project: Project) -> None:
        response = send(engineer, "billing_apikey_new_key", project=project.pk, **FORM)
        assert token_in(response.content.decode())
        assert ApiKey.objects.get().project == project

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"name": ""}, "required"),
            ({"scopes": []}, "required"),
            ({"scopes": ["everything"]}, "valid choice"),
            ({"cidrs": "10.0.0.0/8, not-a-network"}, "neither an address nor a block"),
            ({"expires_at": "2020-01-01T10:00"}, "past"),
            ({"rate_limit": "0"}, "greater than or equal"),
        ],
    )
    def test_refuses_with_words(self, engineer: Client, project: Project, fields: dict[str, str], words: str) -> None:
        page = send(engineer, "billing_project_new_key", project, **(FORM | fields)).content.decode()
        assert words in page
        assert not ApiKey.objects.exists()


class TestRotate:
    def test_makes_a_successor_and_lets_the_old_one_work_a_while(self, engineer: Client, project: Project) -> None:
        old = a_key(project)
        page = send(engineer, "billing_apikey_rotate_key", old, overlap_hours="2").content.decode()
        assert keys.authenticate(token=token_in(page), address="127.0.0.1", now=timezone.now())
        old.refresh_from_db()
        assert old.replaced_by is not None
        assert old.expires_at is not None
        assert timedelta(hours=1, minutes=59) < old.expires_at - timezone.now() <= timedelta(hours=2)

    def test_refuses_a_second_time(self, engineer: Client, project: Project) -> None:
        old = a_key(project)
        send(engineer, "billing_apikey_rotate_key", old, overlap_hours="2")
        again = send(engineer, "billing_apikey_rotate_key", old, overlap_hours="2").content.decode()
        assert "replaced or revoked already" in again
        assert ApiKey.objects.count() == 2


class TestRevoke:
    def test_ends_the_key_at_once_with_a_reason(self, engineer: Client, project: Project) -> None:
        issued = keys.issue(project=project, name="Leaked", scopes=[Scope.METER], now=timezone.now())
        assert went_through(send(engineer, "billing_apikey_revoke_key", issued.key, reason="Leaked in a log"))
        with pytest.raises(Unauthorized):
            keys.authenticate_afresh(token=issued.token, address="127.0.0.1", now=timezone.now())
        assert issued.key.history.latest().history_change_reason == "Leaked in a log"


class TestPermission:
    @pytest.mark.parametrize("role", [Role.FINANCE, Role.SUPPORT, Role.PRODUCT_MANAGER])
    def test_is_asked_on_the_server(self, project: Project, role: Role) -> None:
        key, browser = a_key(project), signed_in(role)
        assert browser.post(address("billing_project_new_key", project), FORM).status_code == 403
        assert browser.post(address("billing_apikey_new_key"), FORM | {"project": project.pk}).status_code == 403
        assert browser.post(address("billing_apikey_rotate_key", key), {"overlap_hours": "0"}).status_code == 403
        assert browser.post(address("billing_apikey_revoke_key", key), {"reason": "x"}).status_code == 403
        assert ApiKey.objects.get().revoked_at is None
