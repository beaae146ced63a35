"""Real processes for the promises: the Procfile's own web and worker on the test's database, killed
without mercy.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from config.start.procfile import commands
from tests.machine.ports import free_port
from tests.rooms import CHECKOUT
from tests.waiting import until

ANSWER_LIMIT_S = 15.0  # far beyond what is promised, and short of a hang


PROGRAMS = Path(sys.executable).parent


def procfile(name: str, programs: Path = PROGRAMS) -> list[str]:
    """The command of a line of the Procfile, with its program from that folder."""
    program, *arguments = shlex.split(commands(CHECKOUT / "Procfile")[name])
    return [str(programs / program), *arguments]


class Tree:
    """A process with all its children, as a dyno has them; its output goes to a file."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        """To every process of the tree, as a platform does it."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Stack:
    """Starts trees and leaves none behind."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = {**os.environ, **environment}
        self.folder = folder
        self.programs = PROGRAMS
        self.trees: list[Tree] = []

    def start(self, name: str, *extra: str, **environment: str) -> Tree:
        """A line of the Procfile."""
        return self.start_command(*procfile(name, self.programs), *extra, **environment)

    def start_command(self, *command: str, **environment: str) -> Tree:
        log = self.folder / f"{Path(command[0]).name}-{len(self.trees)}.log"
        tree = Tree([*command], {**self.environment, **environment}, log)
        self.trees.append(tree)
        return tree

    def run(self, *command: str, status: int = 0, **environment: str) -> str:
        """A short-lived command of Python, to its end."""
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=CHECKOUT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout

    def start_web(self, **environment: str) -> "Web":
        port = free_port()
        web = Web(self.start("web", PORT=str(port), **environment), port)
        until(web.lives, "the web dyno answers", within_s=30)
        return web

    def stop(self) -> None:
        for tree in self.trees:
            if tree.process.poll() is None:
                tree.signal(signal.SIGCONT)
            tree.kill()

    def print_last_words(self) -> None:
        """For whoever looks at a test that failed."""
        for tree in self.trees:
            print(f"--- {tree.log.name}\n{tree.output()[-3000:]}")


class Web:
    """The web dyno, spoken to over HTTP."""

    def __init__(self, tree: Tree, port: int) -> None:
        self.tree = tree
        self.port = port

    def lives(self) -> bool:
        return self.answers("/livez")

    def answers(self, path: str) -> bool:
        """With 200. Nobody need listen there yet."""
        try:
            return self.ask("GET", path)[0] == 200
        except OSError:
            return False

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, HTTPResponse, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, answer, content = self.raw(method, path, body and json.dumps(body), named)
        return status, answer, json.loads(content or b"null")

    def raw(
        self, method: str, path: str, body: str | bytes | None, headers: dict[str, str]
    ) -> tuple[int, HTTPResponse, bytes]:
        """As `ask`, in whatever form."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_LIMIT_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer, answer.read()
        finally:
            connection.close()


def children_of(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            return [int(child) for child in listed.read().split()]
    except OSError:
        return []
