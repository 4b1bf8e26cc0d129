import pytest
from django.core.exceptions import ImproperlyConfigured
from django_celery_beat.schedulers import ModelEntry

from config import mail
from config.celery import app


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://ann%40x.org:p%2Fw@mail.example.com", ("mail.example.com", 587, "ann@x.org", "p/w", True, None)),
        ("smtps://mail.example.com", ("mail.example.com", 465, "", "", None, True)),
        ("smtp+plain://127.0.0.1:2525", ("127.0.0.1", 2525, "", "", None, None)),
    ],
)
def test_a_mail_server_is_one_address(url: str, expected: tuple[object, ...]) -> None:
    found = mail.settings_of(url)
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS", "EMAIL_USE_SSL")
    assert tuple(found.get(name) for name in names) == expected
    assert found["EMAIL_TIMEOUT"] == 5


@pytest.mark.parametrize(("url", "backend"), [("", "dummy"), ("console:", "console")])
def test_there_may_be_none(url: str, backend: str) -> None:
    assert mail.settings_of(url) == {"EMAIL_BACKEND": f"django.core.mail.backends.{backend}.EmailBackend"}


@pytest.mark.parametrize("url", ["mail.example.com", "smtp://", "http://mail.example.com"])
def test_one_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL must be"):
        mail.settings_of(url)


def test_what_beat_asks_for_exists() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


@pytest.mark.django_db
def test_what_no_worker_took_in_time_is_dropped() -> None:
    name = "Look at budgets"
    kept = ModelEntry.from_entry(name, app=app, **app.conf.beat_schedule[name]).model
    assert kept.expire_seconds == kept.interval.every == 30
