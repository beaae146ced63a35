"""Everything that runs during chaos: one web dyno, two worker trees, the lines between them and the
servers, and the servers of the outside world. Each is a process of its own, and each can be killed.
"""

import os
import signal
import sys
from collections import deque
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from config.embedded import servers
from config.embedded.server import (
    free_port,  # below the ports that others are given: it can be taken again
)
from tests.doubles.stripe import WEBHOOK_SECRET
from tests.doubles.stripe_wire import SECRET_KEY
from tests.promises.chaos import sockets
from tests.promises.chaos.places import Place
from tests.promises.chaos.proof.witness import PROCESSES
from tests.promises.included import inside
from tests.promises.processes import Tree, Web, procfile
from tests.waiting import until

OUTSIDE = "tests.promises.chaos.outside"
DYNOS = ("web", "left", "right")
WORKER_OPTIONS = (
    "--include",
    "tests.promises.chaos.tasks,tests.promises.chaos.sockets,tests.promises.included.inside",
    "--concurrency",
    str(PROCESSES),
)
# of Celery itself, when a child is killed at a bad moment; a platform starts the dyno again
KNOWN_ENDS = (
    "Could not start worker processes",  # before the worker's first round
    "_pickle.UnpicklingError",  # half a message stands in the pipe to the child
    "file descriptor is None",  # the broker is lost just after a child
    "it ends, for the platform to start it anew",  # of ours, when it cannot be cured
    inside.UNKNOWN,
)
# how long the provider takes for what is not decided at once; answers that it loses
PROCESS_S, LOSE_SHARE = (1.0, 0.05)
LOGS_KEPT = 60
LAST_WORDS = 3000


class World:
    def __init__(self, folder: Path, *, seed: int) -> None:
        for number in (
            signal.SIGUSR1,
            signal.SIGUSR2,
        ):  # inherited: a line must not die of what it cannot hear yet
            signal.signal(number, signal.SIG_IGN)
        self.folder, self.seed = folder, seed
        self.orders = folder / "inside"
        self.orders.mkdir()
        self.postgres, self.broker = servers(folder)
        self.postgres_port, self.broker_port = port_of(self.postgres.url), port_of(self.broker.url)
        self.started = count(1)
        self.trees: deque[Tree] = deque()
        self.ended_by_themselves: list[tuple[str, str]] = []
        self.known_ends = 0
        self.ports = {
            name: free_port() for name in ("web-dyno", "webhook-server", "mail-server", "provider")
        }
        self.database_lines = {
            dyno: self._line(f"{dyno}-to-postgres", self.postgres_port) for dyno in DYNOS
        }
        self.broker_lines = {
            dyno: self._line(f"{dyno}-to-broker", self.broker_port) for dyno in DYNOS
        }
        self.mail_server = self._outside("mail-server", "mail_server")
        self.provider = Place("provider", self._provider)

    def open(self, webhook_secret: str) -> Web:
        """Start what is left, and return the web dyno when it answers."""
        self.webhook_server = self._outside("webhook-server", "webhook_server", webhook_secret)
        self.web = Place("web", lambda: self._dyno("web", PORT=str(self.ports["web-dyno"])))
        self.workers = [
            Place(side, partial(self._dyno, "worker", *WORKER_OPTIONS, side=side))
            for side in DYNOS[1:]
        ]
        spoken_to = Web(self.web.tree, self.ports["web-dyno"])
        until(spoken_to.lives, "the web dyno answers", within_s=60)
        return spoken_to

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['webhook-server']}/hooks"

    @property
    def provider_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['provider']}"

    @property
    def lines(self) -> list[Place]:
        return [*self.database_lines.values(), *self.broker_lines.values()]

    @property
    def places(self) -> list[Place]:
        return [
            *self.lines,
            self.mail_server,
            self.webhook_server,
            self.provider,
            self.web,
            *self.workers,
        ]

    def journal(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def look_after(self) -> None:
        """Nobody ends by itself; who does is noted and started again."""
        for place in self.places:
            if not place.is_up and not place.is_sentenced:
                output = place.tree.output()
                if any(words in output for words in KNOWN_ENDS):
                    self.known_ends += 1
                else:
                    self.ended_by_themselves.append((place.name, output[-LAST_WORDS:]))
                place.start_again()

    def restart_servers(self) -> None:
        """Both servers run, on their ports."""
        self.postgres.ensure()
        self.broker.ensure()
        if (port_of(self.postgres.url), port_of(self.broker.url)) != (
            self.postgres_port,
            self.broker_port,
        ):
            raise RuntimeError("A server's port was taken by somebody else while it was down.")

    def close(self) -> None:
        for tree in self.trees:
            tree.kill()

    def last_words(self) -> str:
        newest = list(self.trees)[-20:]
        return "\n".join(f"--- {tree.log.name}\n{tree.output()[-LAST_WORDS:]}" for tree in newest)

    # --- how each kind of process begins ----------------------------------------------------------

    def _dyno(self, name: str, *options: str, side: str = "web", **environment: str) -> Tree:
        urls = {
            "DATABASE_URL": by_way_of(self.postgres.url, self.ports[f"{side}-to-postgres"]),
            "REDIS_URL": by_way_of(self.broker.url, self.ports[f"{side}-to-broker"]),
            "EMAIL_URL": f"smtp://127.0.0.1:{self.ports['mail-server']}",
            "PAYMENT_PROVIDER": "stripe",
            "SHOP_WITHDRAWAL_DAYS": "14",
            "STRIPE_SECRET_KEY": SECRET_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_API_BASE": self.provider_url,
            inside.INSIDE: str(self.orders),
            sockets.JOURNAL: str(self.journal("sockets")),
        }
        return self._start(side, [*procfile(name), *options], {**urls, **environment})

    def _line(self, name: str, target_port: int) -> Place:
        self.ports[name] = free_port()
        return Place(
            name, lambda: self._module(name, "line", str(self.ports[name]), str(target_port))
        )

    def _provider(self) -> Tree:
        """Stripe's double, on its one book; it loses answers also when no fault is injected."""
        arguments = {
            "port": self.ports["provider"],
            "book": self.journal("provider"),
            "process-s": PROCESS_S,
            "lose-share": LOSE_SHARE,
            "seed": self.seed + next(self.started),
            "webhook-url": f"http://127.0.0.1:{self.ports['web-dyno']}/v1/payments/stripe/events",
        }
        options = [f"--{name}={value}" for name, value in arguments.items()]
        return self._start("provider", [sys.executable, "-m", "tests.doubles.stripe", *options], {})

    def _outside(self, name: str, module: str, *extra: str) -> Place:
        """Each start has dice of its own, or a restarted server would repeat itself."""

        def arguments() -> list[str]:
            return [
                str(self.ports[name]),
                str(self.journal(name)),
                str(self.seed + next(self.started)),
                *extra,
            ]

        return Place(name, lambda: self._module(name, module, *arguments()))

    def _module(self, name: str, module: str, *arguments: str) -> Tree:
        return self._start(name, [sys.executable, "-m", f"{OUTSIDE}.{module}", *arguments], {})

    def _start(self, name: str, command: list[str], environment: dict[str, str]) -> Tree:
        tree = Tree(
            command, {**os.environ, **environment}, self.folder / f"{name}-{next(self.started)}.log"
        )
        self.trees.append(tree)
        self._forget_old_logs()
        return tree

    def _forget_old_logs(self) -> None:
        ended = [tree for tree in self.trees if tree.process.poll() is not None]
        for tree in ended[: max(0, len(self.trees) - LOGS_KEPT)]:
            self.trees.remove(tree)
            tree.log.unlink()


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def by_way_of(url: str, port: int) -> str:
    """The same server, reached through the line that listens on this port."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
