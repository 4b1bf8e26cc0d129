"""`python manage.py up` from outside, as an operator meets it: real processes, real signals, nothing left behind."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from config import embedded
from tests.config.test_embedded import AS_NOBODY, NOBODY, PROJECT

READY = "Ctrl-C stops everything."


def manage(
    var_dir: Path, *args: str, project: Path = PROJECT, prefix: tuple[str, ...] = (), **options: object
) -> "subprocess.Popen[bytes]":
    """Start a command, without the addresses of the tests' own servers."""
    env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [*prefix, sys.executable, "manage.py", *args], cwd=project, env={**env, "VAR_DIR": str(var_dir)}, **options
    )


class Up:
    """One running `up` on a folder and a port of its own."""

    def __init__(self, var_dir: Path, port: int, *, prefix: tuple[str, ...] = (), project: Path = PROJECT) -> None:
        self.var_dir, self.port, self.project, self.prefix = var_dir, port, project, prefix
        self.output = var_dir.with_name(f"{var_dir.name}.output")
        self.start()

    def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = self.manage("up", "--port", str(self.port), stdout=output, stderr=subprocess.STDOUT)

    def manage(self, *args: str, **options: object) -> "subprocess.Popen[bytes]":
        """Run a command on the same folder."""
        return manage(self.var_dir, *args, project=self.project, prefix=self.prefix, **options)

    def says(self, text: str, seconds: float = 150) -> str:
        """Wait for it to print `text`, and return all it printed."""
        until(lambda: text in self.output.read_text() or self.process.poll() is not None, seconds)
        printed = self.output.read_text()
        assert text in printed, printed
        return printed

    def family(self) -> Mapping[int, str]:
        """Every living process that was started for this folder."""
        return {pid: command for pid, command in processes(self.var_dir) if pid != self.process.pid}

    def pid_of(self, part: str) -> int:
        """The process that `up` itself started for it."""
        return next(pid for pid, command in self.family().items() if part in command and parent(pid) == self.process.pid)

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz") == 200
        except OSError:
            return False

    def get(self, path: str) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as site:
            site.request("GET", path)
            return site.getresponse().status

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(sig)
        self.process.wait(90)


def until(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def processes(var_dir: Path) -> Iterator[tuple[int, str]]:
    """By their environment, so that nothing we built ourselves is asked whether it cleaned up."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"VAR_DIR={var_dir}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue


def parent(pid: int) -> int:
    found = re.search(r"^PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.fixture(scope="module")
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Up]:
    """In a folder too deep for a socket."""
    var_dir = tmp_path_factory.mktemp("up") / ("deep" * 30) / "var"
    var_dir.parent.mkdir()
    running = Up(var_dir, free_port())
    yield running
    if running.process.poll() is None:
        running.stop()
    shutil.rmtree(embedded.socket_dir(var_dir))


@pytest.fixture
def up(shared: Up) -> Up:
    """One that runs: the last test's if that has left it running, since a start takes seconds."""
    if shared.process.poll() is not None:
        shared.start()
    shared.says(READY)
    return shared


def test_a_command_without_postgresql_says_so_in_one_sentence(tmp_path: Path) -> None:
    command = manage(tmp_path / "var", "showmigrations", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    said = command.communicate()[1].decode()
    assert command.returncode == 1
    assert said.endswith("PostgreSQL is not running: start it with `python manage.py up`, or set DATABASE_URL.\n")
    assert "Traceback" not in said


class TestRunning:
    def test_says_where_everything_is_and_how_to_sign_in(self, up: Up) -> None:
        printed = up.says(READY)
        assert f"http://127.0.0.1:{up.port}/admin/" in printed
        assert f"http://127.0.0.1:{up.port}/api/v1/docs" in printed
        assert re.search(r"Sign in +admin / \S{16} ", printed)  # the first test here: there was nobody yet
        assert re.search(r"PostgreSQL +embedded 18", printed)
        assert up.is_ready()

    def test_a_second_up_on_the_folder_says_where_the_first_is(self, up: Up, free_port: Callable[[], int]) -> None:
        second = up.manage("up", "--port", str(free_port()), stderr=subprocess.PIPE)
        said = second.communicate()[1].decode()
        assert second.returncode == 1
        assert said == (f"CommandError: Meterdesk already runs on {up.var_dir}: http://127.0.0.1:{up.port} (process {up.process.pid}).\n")

    def test_a_port_in_use_is_said_before_anything_starts(self, up: Up, tmp_path: Path) -> None:
        other = Up(tmp_path / "var", up.port)
        assert other.process.wait(20) == 1
        assert f"Port {up.port} on 127.0.0.1 is in use" in other.output.read_text()
        assert not (tmp_path / "var" / "postgres").exists()

    def test_other_commands_use_the_same_database(self, up: Up) -> None:
        shown = up.manage("showmigrations", "--plan", stdout=subprocess.PIPE)
        assert b"[X]  auth.0001_initial" in shown.communicate()[0]

    def test_what_dies_is_started_again_and_what_it_left_is_swept_away(self, up: Up) -> None:
        master = up.pid_of("config.web")
        workers = [pid for pid in up.family() if parent(pid) == master]
        assert workers
        os.kill(master, signal.SIGKILL)
        up.says("web ended (killed by SIGKILL)")
        assert not set(workers) & set(up.family())
        up.says("web runs again")
        until(up.is_ready, 90)


class TestStopping:
    def test_a_killed_up_leaves_no_orphan_and_the_next_one_starts(self, up: Up) -> None:
        killed, left = up.process, up.family()
        killed.kill()  # and not yet collected by us, so that its number stays taken
        up.start()
        up.says(READY)
        assert up.is_ready()
        assert not set(left) & set(up.family())
        killed.wait()

    def test_a_request_in_flight_is_answered_and_postgresql_goes_last(self, up: Up) -> None:
        with socket.create_connection(("127.0.0.1", up.port), timeout=20) as slow:
            head = "POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            slow.sendall(f"{head}Content-Length: 8\r\n\r\na=1&".encode())
            time.sleep(0.3)
            up.process.send_signal(signal.SIGINT)
            up.process.send_signal(signal.SIGINT)
            up.says("worker stopped")
            time.sleep(0.3)
            slow.sendall(b"b=22")
            assert slow.recv(100).startswith(b"HTTP/1.1 403")  # no CSRF token: a page of ours, not a broken connection
        assert up.process.wait(40) == 0
        stopped = re.findall(r"^  (\w+) stopped", up.output.read_text(), re.MULTILINE)
        assert stopped == ["beat", "worker", "stripe_worker", "deposits_worker", "web", "redis", "postgres"]
        assert up.family() == {}

    @pytest.mark.slow
    def test_even_when_the_masters_are_killed_with_it(self, tmp_path: Path, free_port: Callable[[], int]) -> None:
        up = Up(tmp_path / "var", free_port())
        up.says(READY)
        for pid in (up.pid_of("config.web"), up.pid_of("celery -A config.celery worker"), up.process.pid):
            os.kill(pid, signal.SIGKILL)
        up.process.wait()
        until(lambda: up.family() == {}, 90)

    @pytest.mark.slow
    def test_closing_the_terminal_stops_everything(self, tmp_path: Path, free_port: Callable[[], int]) -> None:
        # Below `nohup` the signal would be ignored, as whoever says so wants it.
        up = Up(tmp_path / "var", free_port(), prefix=("env", "--default-signal=HUP"))
        up.says(READY)
        up.stop(signal.SIGHUP)
        assert up.family() == {}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
class TestOrdinaryUser:
    def test_runs_all_of_it(self, free_port: Callable[[], int]) -> None:
        if subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], check=False, capture_output=True).returncode:
            pytest.skip("root may not become another user here")
        home = Path(f"/tmp/meterdesk-up-{os.getpid()}")
        home.mkdir(mode=0o700)
        os.chown(home, NOBODY, NOBODY)
        try:
            up = Up(home / "var", free_port(), prefix=AS_NOBODY)
            up.says(READY)
            assert up.is_ready()
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in up.family()} == {NOBODY}
            up.stop()
            assert up.family() == {}
        finally:
            shutil.rmtree(home)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter such a folder")
class TestPrivateClone:
    def test_runs_below_a_folder_that_only_root_may_enter(self, tmp_path: Path, free_port: Callable[[], int]) -> None:
        tmp_path.chmod(0o700)
        clone = tmp_path / "clone"
        shutil.copytree(PROJECT, clone, ignore=shutil.ignore_patterns(".*", "var", "tests", "__pycache__"))
        up = Up(clone / "var", free_port(), project=clone)
        up.says(READY)
        assert up.is_ready()
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        up.stop()
        assert up.family() == {}
