"""Processes in groups of their own: started, listened to, and stopped as Heroku stops a dyno's."""

import contextlib
import ctypes
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

STOP_LIMIT_S = 30
LINE_MAX_BYTES = 65_536
PR_SET_PDEATHSIG = 1

IS_LINUX = sys.platform == "linux"

libc = ctypes.CDLL(None) if IS_LINUX else None


class Processes:
    """What one launcher runs, by name, and a record of it for whoever finds the launcher killed."""

    def __init__(self, record: Path, write_line: Callable[[str, bytes], None]) -> None:
        self.record = record
        self.write_line = write_line
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.unfinished: dict[str, bytes] = {}
        self.selector = selectors.DefaultSelector()

    def start(
        self, name: str, command: str, *, environment: Mapping[str, str], folder: Path
    ) -> None:
        process = subprocess.Popen(
            shlex.split(command),
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_launcher,  # noqa: PLW1509  # the launcher has one thread
        )
        assert process.stdout is not None
        self.running[name] = process
        self.unfinished[name] = b""
        self.selector.register(process.stdout, selectors.EVENT_READ, name)
        self.remember()

    def listen(self, wait_s: float) -> bool:
        """Pass on what the processes wrote, waiting at most `wait_s`; False when it was nothing."""
        ready = self.selector.select(wait_s)
        for key, _ in ready:
            data = os.read(key.fd, LINE_MAX_BYTES)
            if not data:
                self.selector.unregister(key.fileobj)
            self.pass_on(key.data, data)
        return bool(ready)

    def pass_on(self, name: str, data: bytes) -> None:
        *finished, rest = (self.unfinished[name] + data).split(b"\n")
        if rest and (not data or len(rest) > LINE_MAX_BYTES):
            finished, rest = [*finished, rest], b""
        self.unfinished[name] = rest
        for text in finished:
            self.write_line(name, text)

    def drain(self) -> None:
        """Pass on the last words, of which another process's flood of words must not keep us."""
        for _ in range(100):
            if not self.listen(0):
                return

    def take_ended(self) -> dict[str, int]:
        """The exit status of each process that has ended since, by name."""
        ended = {
            name: process.returncode
            for name, process in self.running.items()
            if process.poll() is not None
        }
        if ended:
            self.drain()
        for name in ended:
            # A dyno ends with its process: what is left of the group goes at once.
            signal_groups([self.running.pop(name).pid], signal.SIGKILL)
            self.remember()
        return ended

    def stop(
        self, is_impatient: Callable[[], bool], only: Collection[str] | None = None
    ) -> list[str]:
        """End every group, or those with these names: SIGTERM, and SIGKILL after 30 s. The names of
        those that had to be killed.
        """
        ending = {
            name: process for name, process in self.running.items() if only is None or name in only
        }
        groups = {process.pid: name for name, process in ending.items()}
        signal_groups(groups, signal.SIGTERM)
        give_up = time.monotonic() + STOP_LIMIT_S
        while (left := self.alive(groups)) and time.monotonic() < give_up and not is_impatient():
            self.listen(0.05)
        signal_groups(left, signal.SIGKILL)
        for name, process in ending.items():
            process.wait(timeout=STOP_LIMIT_S)
            self.drain()
            del self.running[name]
        if only is None:
            self.record.unlink(missing_ok=True)
        return [groups[group] for group in left]

    def alive(self, groups: Iterable[int]) -> list[int]:
        for process in self.running.values():
            process.poll()  # reaps: a zombie still counts as its group
        return [group for group in groups if is_group(group)]

    def remember(self) -> None:
        processes = [os.getpid(), *(process.pid for process in self.running.values())]
        unfinished = self.record.with_suffix(".new")
        unfinished.write_text(json.dumps([[pid, started(pid)] for pid in processes]))
        unfinished.replace(self.record)


def stop_leftovers(records: Path, folder: Path) -> int:
    """End the groups that launchers killed in `folder` left; how many there were."""
    found = 0
    for record in records.glob("dev-*.json"):
        try:
            launcher, *processes = json.loads(record.read_bytes())
        except FileNotFoundError:  # its launcher has just ended, or another one has seen to it
            continue
        except ValueError:  # torn, as a full disk leaves it
            record.unlink(missing_ok=True)
            continue
        if started(launcher[0]) == launcher[1]:
            continue
        left = [pid for pid, began in processes if is_leftover(pid, began, folder)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal_groups(left, number)
            give_up = time.monotonic() + STOP_LIMIT_S
            while any(is_group(pid) for pid in left) and time.monotonic() < give_up:
                time.sleep(0.05)
        found += len(left)
        record.unlink(missing_ok=True)
    return found


def is_leftover(group: int, began: str, folder: Path) -> bool:
    """Whether a group is still the recorded one: its number may have gone to a stranger."""
    if now := started(group):
        return now == began
    return IS_LINUX and any(Path(f"/proc/{pid}/cwd").resolve() == folder for pid in members(group))


def signal_groups(groups: Iterable[int], number: signal.Signals) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def is_group(group: int) -> bool:
    """Whether somebody of the group lives. Zombies do not: not every container has an init to reap
    them.
    """
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # the second: of zombies, on macOS
        return False
    if not IS_LINUX:
        return True
    return bool(members(group))


def members(group: int) -> list[int]:
    """The living processes of a group."""
    everybody = {
        int(path.name): process_facts(int(path.name)) for path in Path("/proc").glob("[0-9]*")
    }
    return [pid for pid, facts in everybody.items() if facts and facts[2] == str(group)]


def started(pid: int) -> str:
    """When a process began, in the system's own words; empty when it has ended."""
    if IS_LINUX:
        facts = process_facts(pid)
        return facts[19] if facts else ""
    ps = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(
        ps, capture_output=True, text=True, check=False, timeout=10
    ).stdout.strip()


def process_facts(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third, the state, on; none of a process that has
    ended.
    """
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return [] if facts[0] in "ZX" else facts


def die_with_launcher() -> None:
    """Have Linux stop this process when the launcher is killed; elsewhere the next start does."""
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
