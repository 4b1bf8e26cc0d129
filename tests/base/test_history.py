"""History is for reading, and every edit says why."""

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Project
from config.roles import Role
from tests.billing.factories import ProjectFactory
from tests.people import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    project: Project = ProjectFactory.create(name="First name", team=None, cost_center=None)
    project.name = "Second name"
    project.save()
    return project


def earlier(project: Project) -> str:
    first = project.history.earliest()
    return reverse("admin:billing_project_simple_history", args=(project.pk, first.pk))


class TestHistory:
    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.FINANCE, Role.ENGINEER])
    def test_cannot_be_brought_back(self, project: Project, role: Role) -> None:
        form = {"name": "First name", "key": project.key, "change_reason": "x", "_save": "Revert"}
        assert signed_in(role).post(earlier(project), form).status_code == 403
        assert Project.objects.get(pk=project.pk).name == "Second name"
        assert project.history.count() == 2

    def test_cannot_be_brought_back_by_a_superuser(self, project: Project, admin_client: Client) -> None:
        assert admin_client.post(earlier(project), {"name": "First name", "key": project.key, "change_reason": "x"}).status_code == 403
        assert Project.objects.get(pk=project.pk).name == "Second name"

    def test_shows_an_earlier_state_without_a_form_to_send(self, project: Project, admin_client: Client) -> None:
        page = admin_client.get(earlier(project)).content.decode()
        assert "First name" in page
        assert 'name="name"' not in page
        assert "Revert" not in page


class TestEdit:
    def test_asks_for_a_reason_and_keeps_it_with_the_person(self, project: Project) -> None:
        engineer = signed_in(Role.ENGINEER)
        where = reverse("admin:billing_project_change", args=(project.pk,))
        refused = engineer.post(where, {"name": "Third name"})
        assert refused.status_code == 200
        assert Project.objects.get(pk=project.pk).name == "Second name"
        assert engineer.post(where, {"name": "Third name", "change_reason": "Renamed by marketing"}).status_code == 302
        last = Project.objects.get(pk=project.pk).history.latest()
        assert (last.name, last.history_change_reason, last.history_user.username) == ("Third name", "Renamed by marketing", "engineer")
        listed = engineer.get(reverse("admin:billing_project_history", args=(project.pk,))).content.decode()
        assert "Renamed by marketing" in listed

    def test_is_not_offered_to_who_may_only_look(self, project: Project) -> None:
        support = signed_in(Role.SUPPORT)
        where = reverse("admin:billing_project_change", args=(project.pk,))
        assert "change_reason" not in support.get(where).content.decode()
        assert support.post(where, {"name": "Third name", "change_reason": "x"}).status_code == 403

    def test_needs_no_reason_for_something_new(self) -> None:
        engineer = signed_in(Role.ENGINEER)
        assert engineer.post(reverse("admin:billing_project_add"), {"name": "New", "key": "new"}).status_code == 302
        assert Project.objects.get(key="new").history.get().history_change_reason == "Created"

    def test_leaves_the_key_of_a_project_alone(self, project: Project) -> None:
        where = reverse("admin:billing_project_change", args=(project.pk,))
        signed_in(Role.ENGINEER).post(where, {"name": "Third", "key": "another", "change_reason": "x"})
        assert Project.objects.get(pk=project.pk).key == project.key
