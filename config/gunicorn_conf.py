"""gunicorn, made for a dyno behind Heroku's router. A wrong setting ends here, in a sentence."""

import os
import socket
import threading
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings

from config.start.boot import require_settings, say_it_in_a_sentence, tell_of_absent_database


def addresses(port: int) -> list[str]:
    """Every address of this machine. One IPv6 socket takes IPv4 too, unless the kernel says
    otherwise or has none.
    """
    everywhere = f"0.0.0.0:{port}"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            only_ipv6 = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [everywhere]
    return [everywhere, f"[::]:{port}"] if only_ipv6 else [f"[::]:{port}"]


with say_it_in_a_sentence():
    require_settings()
    own = f"{settings.WEB_HOST}:{settings.PORT}"
    bind = [own] if settings.WEB_HOST else addresses(settings.PORT)
    workers = settings.WEB_CONCURRENCY
    threads = settings.WEB_THREADS
    logconfig_dict = settings.LOGGING

worker_class = "config.web.worker.ProblemWorker"
# the router keeps idle connections for 90 s; closing first would race with its next request
keepalive = 95
timeout = 30
graceful_timeout = 20  # under the 30 s a dyno has to stop
worker_connections = settings.WEB_CONNECTIONS
sendfile = False  # it would wait for the client (config.web.connections)
control_socket_disable = True
accesslog = None  # config.web.middleware tells of each request, without its path
errorlog = "-"
loglevel = "info"


def post_worker_init(worker: Any) -> None:
    """Beside the first requests, which need not wait for a Postgres that may be a black hole."""
    threading.Thread(target=tell_of_absent_database, name="kaiten-first-look", daemon=True).start()
