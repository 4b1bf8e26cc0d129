"""The embedded servers by themselves: addresses, who runs them, what a crash leaves behind."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dj_database_url
import psycopg
import pytest
import redis
from kombu.connection import Connection

from config import embedded
from config.embedded import EmbeddedError
from config.embedded.postgres import UNSAFE_BUT_FAST, Postgres
from config.embedded.redis import Redis

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 65534
# An ordinary user who may read this virtualenv, wherever it is, and write nothing but what is hers.
AS_NOBODY = (
    *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search", "--"),
)
RUN_BOTH = """
import sys
from pathlib import Path
from config.embedded.postgres import Postgres
from config.embedded.redis import Redis
with Postgres(Path(sys.argv[1])) as postgres, Redis(Path(sys.argv[1])) as redis:
    print(postgres.process.pid, redis.process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def var_dir(tmp_path: Path) -> Iterator[Path]:
    """As `mktemp -d` makes them: nobody else may enter the folder above."""
    tmp_path.chmod(0o700)
    yield tmp_path / "var"
    shutil.rmtree(embedded.socket_dir(tmp_path / "var"), ignore_errors=True)


def connect(var_dir: Path) -> "psycopg.Connection[tuple[object, ...]]":
    """As Django does: by the parsed URL."""
    parsed = dj_database_url.parse(embedded.database_url(var_dir))
    return psycopg.connect(host=parsed["HOST"], user=parsed["USER"], dbname=parsed["NAME"], autocommit=True)


def value(var_dir: Path, query: str) -> object:
    with connect(var_dir) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


class TestSecretKey:
    def test_is_created_once_and_only_its_owner_reads_it(self, var_dir: Path) -> None:
        first = embedded.secret_key(var_dir)
        assert len(first) >= 50
        assert embedded.secret_key(var_dir) == first
        assert stat.S_IMODE((var_dir / "secret_key").stat().st_mode) == 0o600

    def test_is_the_same_for_processes_that_start_together(self, var_dir: Path) -> None:
        code = f"from pathlib import Path; from config import embedded; print(embedded.secret_key(Path({str(var_dir)!r})))"
        started = [subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE) for _ in range(6)]
        assert len({process.communicate()[0] for process in started}) == 1
        assert [path.name for path in var_dir.iterdir()] == ["secret_key"]


class TestAddresses:
    @pytest.mark.parametrize("name", ["var", "Some Folder", "per%20cent", "a+b@c:d,e", "zähler", "x" * 120])
    def test_a_server_is_found_wherever_its_folder_is(self, tmp_path: Path, name: str) -> None:
        var_dir = tmp_path / name
        parsed = dj_database_url.parse(embedded.database_url(var_dir))
        assert parsed["HOST"] == str(embedded.socket_dir(var_dir))
        assert parsed["NAME"] == "meterdesk"
        assert len(os.fsencode(f"{parsed['HOST']}/.s.PGSQL.5432.lock")) <= 103

    def test_a_folder_is_the_same_by_every_name(self, tmp_path: Path) -> None:
        (tmp_path / "other").symlink_to(tmp_path)
        assert embedded.database_url(tmp_path / "other" / "v") == embedded.database_url(tmp_path / "v")

    def test_celery_gets_its_own_spelling_of_a_socket(self) -> None:
        assert embedded.celery_url("unix:///a/redis.sock") == "redis+socket:///a/redis.sock?virtual_host=0"
        assert embedded.celery_url("unix:///a/redis.sock?db=3") == "redis+socket:///a/redis.sock?virtual_host=3"
        assert embedded.celery_url("rediss://h:1/2") == "rediss://h:1/2"

    def test_knowing_an_address_loads_neither_django_nor_a_driver(self) -> None:
        code = "import sys; from config import embedded; print({'django', 'psycopg', 'redis'} & {m for m in sys.modules})"
        assert subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT, text=True).strip() == "set()"

    def test_a_socket_folder_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        var_dir = tmp_path / ("x" * 120)
        foreign = embedded.socket_dir(var_dir)
        foreign.mkdir(mode=0o755)
        try:
            with pytest.raises(EmbeddedError, match="remove it"):
                embedded.make_socket_dir(var_dir)
        finally:
            foreign.rmdir()


class TestServers:
    def test_run_in_a_deep_private_folder_and_leave_nothing(self, var_dir: Path) -> None:
        deep = var_dir / ("a folder " * 12) / "var"
        with Postgres(deep) as postgres, Redis(deep) as server:
            assert value(deep, "SHOW fsync") == "on"
            assert value(deep, "SHOW listen_addresses") == ""
            assert value(deep, "SELECT datlocale FROM pg_database WHERE datname = 'meterdesk'") == "C.UTF-8"
            assert redis.Redis.from_url(embedded.redis_url(deep)).ping()
            with Connection(embedded.celery_url(embedded.redis_url(deep))) as celery:
                celery.ensure_connection(max_retries=0)
            pids = [postgres.process.pid, server.process.pid]
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert list(embedded.socket_dir(deep).iterdir()) == []
        shutil.rmtree(embedded.socket_dir(deep))

    def test_postgresql_stops_although_a_client_is_connected(self, var_dir: Path) -> None:
        with Postgres(var_dir, settings=UNSAFE_BUT_FAST) as postgres:
            client = connect(var_dir)
            postgres.process.stop()
            assert postgres.process.exit_code() == 0
        client.close()

    def test_a_pid_file_whose_number_is_taken_and_old_sockets_do_not_prevent_a_start(self, var_dir: Path) -> None:
        with Postgres(var_dir, settings=UNSAFE_BUT_FAST) as postgres:
            left = (postgres.data / "postmaster.pid").read_text()
        sleeper = subprocess.Popen([*postgres.account.prefix, "sleep", "60"])
        try:
            _, rest = left.split("\n", 1)
            (postgres.data / "postmaster.pid").write_text(f"{sleeper.pid}\n{rest}")
            (postgres.sockets / ".s.PGSQL.5432.lock").write_text(f"{sleeper.pid}\n")
            (postgres.sockets / ".s.PGSQL.5432").touch()
            with Postgres(var_dir, settings=UNSAFE_BUT_FAST):
                assert value(var_dir, "SELECT 1") == 1
        finally:
            sleeper.kill()
            sleeper.wait()

    def test_a_running_server_is_not_started_over(self, var_dir: Path) -> None:
        with Postgres(var_dir, settings=UNSAFE_BUT_FAST), pytest.raises(EmbeddedError, match="already runs"):
            Postgres(var_dir).prepare()

    def test_committed_rows_survive_a_kill(self, var_dir: Path) -> None:
        with Postgres(var_dir) as postgres, connect(var_dir) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
            os.kill(postgres.process.pid or 0, signal.SIGKILL)
        with Postgres(var_dir):
            assert value(var_dir, "SELECT n FROM kept") == 7

    def test_data_of_another_version_is_refused_with_a_way_out(self, var_dir: Path) -> None:
        with Postgres(var_dir, settings=UNSAFE_BUT_FAST) as postgres:
            pass
        (postgres.data / "PG_VERSION").write_text("14\n")
        with pytest.raises(EmbeddedError, match=r"written by PostgreSQL 14, and this is 18.*DATABASE_URL"):
            Postgres(var_dir).prepare()

    def test_an_interrupted_creation_is_started_over(self, var_dir: Path) -> None:
        half = var_dir / "postgres.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").write_text("18\n")
        with Postgres(var_dir, settings=UNSAFE_BUT_FAST):
            assert value(var_dir, "SELECT 1") == 1

    def test_end_when_their_parent_is_killed(self, var_dir: Path) -> None:
        assert survivors_of_a_killed_parent([], var_dir) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try root's case")
class TestRoot:
    def test_lends_postgresql_an_account_and_opens_no_folder(self, var_dir: Path) -> None:
        before = var_dir.parent.stat()
        with Postgres(var_dir, settings=UNSAFE_BUT_FAST) as postgres:
            assert Path(f"/proc/{postgres.process.pid}").stat().st_uid == postgres.data.stat().st_uid != 0
        after = var_dir.parent.stat()
        assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
        assert var_dir.stat().st_uid == 0

    def test_is_told_what_to_do_where_it_cannot(self, var_dir: Path) -> None:
        code = f"from pathlib import Path; from config.embedded.postgres import Postgres; Postgres(Path({str(var_dir)!r}))"
        without = ["setpriv", "--bounding-set", "-dac_override", "--"]
        done = subprocess.run([*without, sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
        assert "Run as an ordinary user, or set DATABASE_URL" in done.stderr.splitlines()[-1]

    def test_an_ordinary_user_needs_none_of_it(self, tmp_path: Path) -> None:
        if subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], check=False, capture_output=True).returncode:
            pytest.skip("root may not become another user here")
        home = Path(f"/tmp/meterdesk-test-{os.getpid()}")
        home.mkdir(mode=0o700)
        os.chown(home, NOBODY, NOBODY)
        try:
            assert survivors_of_a_killed_parent(AS_NOBODY, home / "var") == []
            assert (home / "var" / "postgres").stat().st_uid == NOBODY
        finally:
            shutil.rmtree(home)


def survivors_of_a_killed_parent(prefix: "tuple[str, ...] | list[str]", var_dir: Path) -> list[int]:
    """Run both servers under a process that is then killed outright; which of them outlive it by two seconds?"""
    parent = subprocess.Popen(
        [*prefix, sys.executable, "-c", RUN_BOTH, var_dir],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.communicate()
    return [pid for pid in pids if not is_gone_within(pid, 2)]


def is_gone_within(pid: int, seconds: float) -> bool:
    """Gone, or dead and only not yet collected by whoever inherited it."""
    wait = subprocess.run(
        ["timeout", str(seconds), "sh", "-c", f"while grep -q '^State:.[^Z]' /proc/{pid}/status 2>/dev/null; do sleep .05; done"],
        check=False,
    )
    return wait.returncode == 0
