"""Brokers of other kinds, each a real server on loopback, started for one test, stopped by pid."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.utils import timezone
from kombu import Connection, Queue
from redis import Redis

from config import settings
from tests.machine.debian import program
from tests.machine.ports import free_port
from tests.waiting import until

QUEUES = list(settings.LEDGER["QUEUES"])
START_LIMIT_S, STOP_LIMIT_S = 60.0, 20.0


class Broker(Protocol):
    url: str

    def empty(self) -> None:
        """Throw away whatever waits in it."""

    def freeze(self) -> None:
        """Let it answer nobody, without closing anything."""

    def thaw(self) -> None: ...

    def stop(self) -> None: ...


class Process:
    """A server as a process group of its own."""

    def __init__(
        self, command: Iterable[str], environment: dict[str, str], log: Path, port: int
    ) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command),
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=log.parent,
            )
        self.port = port

    def answers(self) -> bool:
        assert self.process.poll() is None, "the server ended by itself"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=STOP_LIMIT_S)
        finally:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self.process.wait(timeout=STOP_LIMIT_S)


class OfAProcess:
    """A broker that is frozen as a process is."""

    server: Process

    def freeze(self) -> None:
        self.server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.server.signal(signal.SIGCONT)

    def stop(self) -> None:
        self.server.stop()


class RabbitMq(OfAProcess):
    """RabbitMQ of Debian, with its port mapper, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        rabbitmq = program("rabbitmq-server", package="rabbitmq-server")
        port, mapper_port = free_port(), free_port()
        mapper = {"ERL_EPMD_PORT": str(mapper_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        self.mapper = Process(
            [shutil.which("epmd") or "epmd"], mapper, folder / "epmd.log", mapper_port
        )
        until(self.mapper.answers, "the port mapper answers", within_s=START_LIMIT_S)
        self.server = Process(
            [rabbitmq],
            {
                **mapper,
                "HOME": str(folder),
                "RABBITMQ_NODENAME": "kaiten@localhost",
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(port),
                "RABBITMQ_DIST_PORT": str(free_port()),
                "RABBITMQ_MNESIA_BASE": str(folder / "data"),
                "RABBITMQ_LOG_BASE": str(folder),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                    "-kernel inet_dist_use_interface {127,0,0,1}"
                ),
            },
            folder / "rabbitmq.log",
            port,
        )
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        until(self.server.answers, "RabbitMQ answers", within_s=START_LIMIT_S)

    def empty(self) -> None:
        with Connection(self.url) as connection:
            for name in QUEUES:
                Queue(name, queue_arguments={"x-queue-type": "quorum"})(
                    connection.default_channel
                ).purge()

    def stop(self) -> None:
        super().stop()
        self.mapper.stop()


class Sqs(OfAProcess):
    """moto: a server that speaks Amazon's SQS."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        command = [
            str(Path(sys.executable).with_name("moto_server")),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        self.server = Process(command, {}, folder / "moto.log", port)
        self.url = f"sqs://key:secret@127.0.0.1:{port}"
        until(self.server.answers, "moto answers", within_s=START_LIMIT_S)

    def empty(self) -> None:
        sqs: Any = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{self.server.port}",
            region_name=settings.AWS_DEFAULT_REGION,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        for url in sqs.list_queues()["QueueUrls"]:
            sqs.purge_queue(QueueUrl=url)


class TlsRedis:
    """The tests' own broker behind TLS, with a certificate that nobody has signed, as platforms
    have it.
    """

    def __init__(self, folder: Path, plain_url: str) -> None:
        self.plain_url, parts = plain_url, urlsplit(plain_url)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(folder))
        self._goes_on, self._context, self._target = (
            threading.Event(),
            context,
            (parts.hostname, parts.port),
        )
        self._goes_on.set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = self._server.getsockname()[1]
        self.url = parts._replace(
            scheme="rediss", netloc=f":{parts.password}@127.0.0.1:{port}"
        ).geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def empty(self) -> None:
        with Redis.from_url(self.plain_url) as redis:
            redis.flushdb()

    def freeze(self) -> None:
        self._goes_on.clear()

    def thaw(self) -> None:
        self._goes_on.set()

    def stop(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            self._goes_on.wait()
            near = self._context.wrap_socket(client, server_side=True)
            far = socket.create_connection(self._target)
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
            self._pass(far, near)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                self._goes_on.wait()
                target.sendall(data)


def self_signed(folder: Path) -> Path:
    """A certificate and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), timezone.now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "broker.pem"
    path.write_bytes(
        key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def running(kind: str, folder: Path, plain_url: str) -> Iterator[Broker]:
    """A broker of this kind, empty."""
    made: dict[str, type[RabbitMq | Sqs]] = {"rabbitmq": RabbitMq, "sqs": Sqs}
    broker: Broker = TlsRedis(folder, plain_url) if kind == "tls-redis" else made[kind](folder)
    try:
        yield broker
    finally:
        broker.stop()
