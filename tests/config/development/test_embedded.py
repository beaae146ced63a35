"""The embedded servers: real ones, in a checkout that is a temporary folder."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from config.embedded import adopt, leave, server, servers, stop_all
from config.embedded.broker import Broker
from config.start.boot import CannotStart
from tests.rooms import CHECKOUT

WAIT_S = 60
ADOPT_AND = """
import os, sys
from pathlib import Path
from config.embedded import adopt
adopt(environ := {}, checkout=Path(sys.argv[1]))
print(environ["DATABASE_URL"], environ["REDIS_URL"], flush=True)
"""


@pytest.fixture(scope="module")
def used_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    checkout = tmp_path_factory.mktemp("check out")
    yield checkout
    stop_all(checkout)


@pytest.fixture
def checkout(used_checkout: Path) -> Iterator[Path]:
    """A checkout where nothing runs, before and after."""
    yield used_checkout
    leave(used_checkout)
    stop_all(used_checkout)
    (used_checkout / ".env").unlink(missing_ok=True)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of our business."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def adopted(checkout: Path) -> dict[str, str]:
    environ: dict[str, str] = {}
    adopt(environ, checkout=checkout)
    return environ


def pids(checkout: Path) -> list[int | None]:
    return [each.pid for each in servers(checkout)]


def another_user(checkout: Path, *, then: str) -> subprocess.Popen[str]:
    """A process that has adopted the servers and goes on with `then`; it prints the URLs first."""
    return subprocess.Popen(
        [sys.executable, "-c", ADOPT_AND + then, str(checkout)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(url: str) -> object:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute("SELECT current_user || '@' || current_database()").fetchone()
        return row and row[0]


def test_set_urls_are_left_alone(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "postgres://elsewhere/x", "CLOUDAMQP_URL": "amqp://elsewhere/x"}
    adopt(environ := dict(given), checkout=tmp_path)
    assert environ == given
    assert list(tmp_path.iterdir()) == []


def test_a_dyno_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://from-the-file/0\n")
    adopt(environ := {"DYNO": "web.1"}, checkout=tmp_path)
    assert environ == {"DYNO": "web.1"}
    assert not (tmp_path / ".local").exists()


def test_without_the_development_lock_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert adopted(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["collectstatic", "--noinput"], ["help"], [], ["jobs", "--help"]]
)
def test_a_command_that_asks_nobody_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["./manage.py", *arguments])
    assert adopted(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_env_file_fills_only_what_is_unset(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "DATABASE_URL=postgres://file/x\nREDIS_URL=redis://file/0\nDEBUG=0\n"
    )
    adopt(environ := {"DATABASE_URL": "postgres://environment/x"}, checkout=tmp_path)
    assert environ == {
        "DATABASE_URL": "postgres://environment/x",
        "REDIS_URL": "redis://file/0",
        "DEBUG": "0",
    }


def test_an_env_file_that_nobody_can_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("SITE_URL=https://寿司.example.com".encode("shift_jis"))
    with pytest.raises(CannotStart, match=r"\.env is not UTF-8"):
        adopted(tmp_path)


@pytest.mark.soak
def test_a_server_whose_disk_is_full_is_not_tried_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may try for ever itself."""
    adopted(checkout)
    stop_all(checkout)
    tried: list[str] = []

    def full(self: server.Server) -> list[str]:
        tried.append(self.name)
        return ["sh", "-c", "echo could not write: No space left on device >&2; exec sleep 600"]

    monkeypatch.setattr(Broker, "command", full)
    with pytest.raises(CannotStart, match="No space left on device"):
        adopted(checkout)
    assert len(tried) == 1


def test_unset_urls_get_servers_that_answer_and_need_their_password(checkout: Path) -> None:
    environ = adopted(checkout)
    assert environ["DEBUG"] == "1"
    assert answer(environ["DATABASE_URL"]) == "kaiten@kaiten"
    with Redis.from_url(environ["REDIS_URL"]) as redis:
        assert redis.ping()
    postgres, broker = servers(checkout)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            postgres.url.replace(postgres.remembered["password"], "guess"), connect_timeout=5
        )
    assert b"NOAUTH" in server.ask(broker.remembered["port"], b"PING\r\n", enough=b"\r\n")
    assert (checkout / ".local").stat().st_mode & 0o777 == 0o700


def test_one_set_url_starts_only_the_other_server(checkout: Path) -> None:
    adopt(environ := {"DATABASE_URL": "postgres://elsewhere/x"}, checkout=checkout)
    assert set(environ) == {"DATABASE_URL", "REDIS_URL"}
    postgres_pid, broker_pid = pids(checkout)
    assert postgres_pid is None
    assert broker_pid is not None


def test_servers_that_run_are_joined(checkout: Path) -> None:
    first = adopted(checkout)
    before = pids(checkout)
    assert adopted(checkout) == first
    assert pids(checkout) == before


@pytest.mark.soak
def test_killed_servers_are_replaced_and_keep_what_was_committed(checkout: Path) -> None:
    first = adopted(checkout)
    with psycopg.connect(first["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    killed = pids(checkout)
    for pid in killed:
        os.kill(pid or 0, signal.SIGKILL)
    # perhaps on another port: orphans of the killed server may hold the old one a while
    again = adopted(checkout)
    assert not set(pids(checkout)) & {None, *killed}
    with psycopg.connect(again["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_pid_files_that_name_a_stranger_do_not_block_and_the_stranger_lives(
    checkout: Path, stranger: subprocess.Popen[bytes]
) -> None:
    adopted(checkout)
    files = [each.home / each.pid_file for each in servers(checkout)]
    texts = [path.read_text() for path in files]
    numbers = [str(pid) for pid in pids(checkout)]
    leave(checkout)
    for path, text, number in zip(files, texts, numbers, strict=True):
        path.write_text(text.replace(number, str(stranger.pid)))
    assert pids(checkout) == [None, None]
    assert answer(adopted(checkout)["DATABASE_URL"]) == "kaiten@kaiten"
    assert stranger.poll() is None


@pytest.mark.parametrize("left", ["", "\n", "12"])
def test_what_a_full_disk_left_of_a_pid_file_does_not_block(checkout: Path, left: str) -> None:
    adopted(checkout)
    stop_all(checkout)
    for folder, name in (("postgres", "postmaster.pid"), ("broker", "valkey.pid")):
        (checkout / ".local" / folder / name).write_text(left)
    with psycopg.connect(adopted(checkout)["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_stranger_on_our_port_is_not_taken_for_ours(checkout: Path) -> None:
    adopted(checkout)
    leave(checkout)
    ports = [each.remembered["port"] for each in servers(checkout)]
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        socket.create_server(("127.0.0.1", ports[1])),
    ):
        environ = adopted(checkout)
        assert not {each.remembered["port"] for each in servers(checkout)} & set(ports)
        assert answer(environ["DATABASE_URL"]) == "kaiten@kaiten"


def test_a_frozen_server_is_replaced(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SOCKET_LIMIT_S", 0.2)
    monkeypatch.setattr(server, "ANSWER_LIMIT_S", 0.5)
    monkeypatch.setattr(server, "STOP_LIMIT_S", 0.5)
    adopted(checkout)
    postgres, broker = pids(checkout)
    os.kill(broker or 0, signal.SIGSTOP)
    adopted(checkout)
    assert pids(checkout)[0] == postgres
    assert pids(checkout)[1] not in (None, broker)


def test_two_starts_at_once_share_one_server(checkout: Path) -> None:
    both = [another_user(checkout, then="sys.stdin.read()") for _ in range(2)]
    answers = [process.stdout.readline() for process in both if process.stdout]
    assert answers[0] == answers[1] != ""
    assert not both[0].communicate(timeout=WAIT_S)[0]
    assert answer(answers[1].split()[0]) == "kaiten@kaiten"
    assert not both[1].communicate(timeout=WAIT_S)[0]


def test_the_last_user_stops_the_servers(checkout: Path) -> None:
    adopted(checkout)
    other = another_user(checkout, then="sys.stdin.read()")
    assert other.stdout
    assert other.stdout.readline()
    leave(checkout)
    assert None not in pids(checkout)
    other.communicate(timeout=WAIT_S)
    assert pids(checkout) == [None, None]


def test_a_stopped_server_is_reaped_by_whoever_started_it(checkout: Path) -> None:
    before = list(server._children)  # these tests may have a broker of their own
    for _ in range(3):
        adopted(checkout)
        mine = [child for child in server._children if child not in before]
        leave(checkout)
        assert mine
        assert None not in [child.returncode for child in mine]


def test_servers_of_a_killed_user_are_taken_over_and_then_stopped(checkout: Path) -> None:
    killed = another_user(checkout, then="os.kill(os.getpid(), 9)")
    urls = killed.communicate(timeout=WAIT_S)[0].split()
    before = pids(checkout)
    assert None not in before
    environ = adopted(checkout)
    assert [environ["DATABASE_URL"], environ["REDIS_URL"]] == urls
    assert pids(checkout) == before
    leave(checkout)
    assert pids(checkout) == [None, None]


@pytest.mark.soak
def test_a_start_killed_while_making_the_database_does_not_block(checkout: Path) -> None:
    remains = checkout / ".local" / "new-remains"
    adopted(checkout)
    stop_all(checkout)
    (checkout / ".local" / "postgres").rename(remains)
    assert answer(adopted(checkout)["DATABASE_URL"]) == "kaiten@kaiten"
    assert not remains.exists()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file")
    with pytest.raises(CannotStart, match=r"\.local cannot be written"):
        adopted(tmp_path)
