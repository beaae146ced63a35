"""The bell: messages to the broker that say that a job waits. No other file publishes.

A ring carries a job's id and no authority: if it is lost, doubled, late or forged, only the timing
changes. Ringing never raises, and takes no longer than about a second: a broker that has failed is
left alone for BELL_REST_S, and the clock rings later for what nobody heard.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from celery import Celery
from kombu import Connection, Producer, Queue
from kombu.transport import redis

from celery_ledger.conf import ledger_settings
from celery_ledger.publishing import broker_options

log = logging.getLogger(__name__)

PROBE = "ledger.probe"  # a name that is written to see whether the broker has room
WRONG_TYPE = "WRONGTYPE"  # in Redis' error for a name that holds no list


@dataclass(frozen=True, slots=True)
class Ring:
    """What a bell says of a job: what a worker needs before it claims. Everything else is in the
    row.
    """

    id: str
    task: str
    queue: str
    timelimit: Sequence[float | None] = (None, None)
    shadow: str | None = None  # the name under which Celery logs the task
    threaded: bool = False  # the job runs in threads, which may be woken without the broker
    alone: bool = False  # the job has to be alone in a process of the pool, although it is threaded
    batch: bool = False  # the job may share a transaction with others of its task
    ignore_result: bool = True  # False lets Celery's main process ask for the result of a lost job


class Bell:
    """This process's connection to the broker for ringing.

    It is not one of Celery's pool: `send_task` holds a producer of that pool while a transaction
    commits, and ringing by another one could wait for it for ever.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._forget_connection()
        os.register_at_fork(after_in_child=self._forget_connection)

    def _forget_connection(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._declared: set[str] = set()  # queues, on this connection
        self._resting_until = 0.0

    @property
    def resting(self) -> bool:
        """Whether the broker has failed within the last BELL_REST_S."""
        return monotonic() < self._resting_until

    def ring(self, rings: Iterable[Ring]) -> bool:
        """Publish one message for each job; False when the broker did not take them."""

        def publish(producer: Producer) -> int:
            return self._publish(producer, list(rings))

        return self._with_producer(publish) is not None

    def send_events(self, hostname: str, events: Iterable[tuple[str, dict[str, Any]]]) -> bool:
        """Send Celery's events of jobs (kind, fields) in one message, as the worker `hostname`;
        False when the broker did not take it.
        """

        def send(producer: Producer) -> bool:
            dispatcher = self._app.events.Dispatcher(
                hostname=hostname,
                channel=producer.channel,
                buffer_while_offline=False,
                buffer_group={"task"},
            )
            for kind, about in events:
                dispatcher.send(kind, **about)
            dispatcher.flush()
            return True

        return self._with_producer(send) is not None

    def queued(self, queue: str) -> int | None:
        """How many bells are in this queue; None when the broker does not answer. A name that holds
        something other than a queue is deleted from Redis, and holds 0.
        """

        def count(producer: Producer) -> int:
            bound = self._app.amqp.queues[queue](producer.channel)
            try:
                return int(bound.queue_declare().message_count)
            except Exception as exc:
                if WRONG_TYPE not in str(exc):
                    raise
                _free(producer.channel, queue)
                return 0

        length: int | None = self._with_producer(count)
        return length

    def answers(self) -> bool:
        """Whether the broker would take a bell now; False also while the bell rests after a
        failure.

        A full Redis still counts its queues, so it is asked to write a name too, which expires.
        """

        def write(producer: Producer) -> bool:
            if isinstance(producer.channel, redis.Channel):
                producer.channel.client.set(PROBE, "", ex=ledger_settings.BELL_PROBE_KEEP_S)
            return True

        return (
            self._with_producer(write) is not None
            and self.queued(self._app.conf.task_default_queue) is not None
        )

    def _publish(self, producer: Producer, rings: list[Ring]) -> int:
        """Publish these rings in one batch; return how many there are."""
        with producer.batch():
            for ring in rings:
                producer.publish(
                    ((), {}, {}),
                    exchange="",
                    routing_key=ring.queue,
                    declare=self._not_declared(ring.queue),
                    serializer="json",
                    correlation_id=ring.id,
                    headers={
                        "id": ring.id,
                        "task": ring.task,
                        "shadow": ring.shadow,
                        "root_id": ring.id,
                        "lang": "py",
                        "timelimit": list(ring.timelimit),
                        "argsrepr": "",
                        "kwargsrepr": "",
                        "ignore_result": ring.ignore_result,
                        "alone": ring.alone,
                        "batch": ring.batch,
                    },
                )
                self._declared.add(ring.queue)
        return len(rings)

    def _not_declared(self, queue: str) -> list[Queue]:
        """The queue, if this connection has not declared it yet: that takes longer than to
        publish.
        """
        return [] if queue in self._declared else [self._app.amqp.queues[queue]]

    def _with_producer(self, use: Any) -> Any:
        """Call this with a producer and return what it returns; None while the bell rests, after an
        error, or when another thread uses the connection for BELL_TIMEOUT_S.
        """
        if self.resting or not self._lock.acquire(timeout=ledger_settings.BELL_TIMEOUT_S):
            return None
        try:
            if self._connection is None:
                self._connection, self._declared = self._connect(), set()
            return use(self._connection.Producer(auto_declare=False))
        except Exception as exc:
            self._rest(exc)
            return None
        finally:
            self._lock.release()

    def _connect(self) -> Connection:
        url = self._app.conf.broker_url or ""
        region = self._app.conf.broker_transport_options.get("region")
        options = broker_options.for_the_bell(
            url, timeout_s=ledger_settings.BELL_TIMEOUT_S, region=region
        )
        connection: Connection = self._app.connection_for_write(
            transport=broker_options.transport_of_the_bell(url),
            connect_timeout=ledger_settings.BELL_TIMEOUT_S,
            transport_options=options,
        )
        return connection

    def _rest(self, exc: Exception) -> None:
        """Close the connection after this error, and leave the broker alone for BELL_REST_S."""
        log.warning(
            "The broker did not take a bell; the clock rings again. It said: %s",
            exc or type(exc).__name__,
        )
        self._resting_until = monotonic() + ledger_settings.BELL_REST_S
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.release()


def _free(channel: redis.Channel, queue: str) -> None:
    """Delete what somebody has put into Redis under the name of a queue and is no list. No worker
    could listen to that queue, or to those that it looks into after it.
    """
    log.warning("What stood in the broker under the name of the queue %s was no list", queue)
    channel.client.delete(*(channel._q_for_pri(queue, step) for step in channel.priority_steps))
