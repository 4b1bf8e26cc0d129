import pytest
from django.contrib.auth.models import User

from config.roles import Role
from pricing.models import Workspace
from tests.people import signed_in

pytestmark = pytest.mark.django_db


def test_lists_of_libraries_write_times_as_ours_do() -> None:
    client = signed_in(Role.ADMINISTRATOR)
    Workspace.objects.update(time_zone="Asia/Tokyo")
    User.objects.update(last_login="2026-11-20T20:00:05Z")
    assert "2026-11-21 05:00:05" in client.get("/admin/auth/user/").content.decode()
