"""API keys: made, recognised, rotated, revoked."""

from datetime import timedelta

import pytest

from billing.models import ApiKey, Environment, Scope
from billing.services import keys
from billing.services.keys import AlreadyRotated, Forbidden, Issued, Unauthorized
from tests.billing.factories import NOW, ProjectFactory

pytestmark = pytest.mark.django_db

HERE = "127.0.0.1"


def issue(**options: object) -> Issued:
    return keys.issue(project=ProjectFactory.create(), name="chat", scopes=[Scope.METER], now=NOW, **options)  # type: ignore[arg-type]


class TestAuthenticate:
    def test_knows_whom_a_key_speaks_for(self) -> None:
        issued = issue(environment=Environment.STAGING)
        caller = keys.authenticate(token=issued.token, address=HERE, now=NOW)
        assert (caller.project_id, caller.environment, caller.scopes) == (issued.key.project_id, "staging", {"meter"})
        assert caller.actor == f"key:{issued.key.public_id}"

    def test_the_secret_is_stored_nowhere(self) -> None:
        issued = issue()
        secret = issued.token.rpartition("_")[2]
        assert all(secret not in str(value) for value in ApiKey.objects.values_list().get())

    def test_refuses_what_is_nearly_a_key(self) -> None:
        token = issue().token
        for nearly in (token[:-1], token + "x", token.replace("live", "test"), "", f" {token}"):
            with pytest.raises(Unauthorized):
                keys.authenticate(token=nearly, address=HERE, now=NOW)

    def test_ends_at_its_expiry(self) -> None:
        issued = issue(expires_at=NOW)
        assert keys.authenticate(token=issued.token, address=HERE, now=NOW - timedelta(microseconds=1))
        with pytest.raises(Unauthorized):
            keys.authenticate(token=issued.token, address=HERE, now=NOW)

    def test_keeps_to_its_networks(self) -> None:
        token = issue(cidrs=["10.0.0.0/8", "2001:db8::/32"]).token
        for address in ("10.1.2.3", "2001:db8::1"):
            assert keys.authenticate(token=token, address=address, now=NOW)
        for address in ("11.0.0.1", "2001:db9::1", "", "nonsense"):
            with pytest.raises(Forbidden):
                keys.authenticate(token=token, address=address, now=NOW)


class TestRevoke:
    def test_is_noticed_by_whoever_asks_afresh(self) -> None:
        issued = issue()
        keys.authenticate(token=issued.token, address=HERE, now=NOW)
        keys.revoke(key_id=issued.key.pk, reason="Leaked", now=NOW)
        with pytest.raises(Unauthorized):
            keys.authenticate_afresh(token=issued.token, address=HERE, now=NOW)

    def test_keeps_the_first_moment(self) -> None:
        issued = issue()
        keys.revoke(key_id=issued.key.pk, reason="Leaked", now=NOW)
        assert keys.revoke(key_id=issued.key.pk, reason="Again", now=NOW + timedelta(days=1)).revoked_at == NOW


class TestRotate:
    def test_both_live_until_the_overlap_ends(self) -> None:
        old = issue()
        new = keys.rotate(key_id=old.key.pk, overlap=timedelta(hours=1), now=NOW)
        for token in (old.token, new.token):
            assert keys.authenticate_afresh(token=token, address=HERE, now=NOW)
        with pytest.raises(Unauthorized):
            keys.authenticate_afresh(token=old.token, address=HERE, now=NOW + timedelta(hours=1))
        assert keys.authenticate_afresh(token=new.token, address=HERE, now=NOW + timedelta(hours=1))

    def test_never_makes_a_third(self) -> None:
        old = issue()
        keys.rotate(key_id=old.key.pk, overlap=timedelta(hours=1), now=NOW)
        with pytest.raises(AlreadyRotated):
            keys.rotate(key_id=old.key.pk, overlap=timedelta(hours=1), now=NOW)

    def test_never_lengthens_the_life_of_the_old_one(self) -> None:
        old = issue(expires_at=NOW + timedelta(minutes=5))
        keys.rotate(key_id=old.key.pk, overlap=timedelta(hours=1), now=NOW)
        old.key.refresh_from_db()
        assert old.key.expires_at == NOW + timedelta(minutes=5)
