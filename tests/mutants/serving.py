"""What keeps slow clients from holding a server, and questions its worker; what it says of its answers' age."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

SERVING: tuple[Guard, ...] = (
    *guards(
        "pkiconf/cli/gunicorn_worker.py",
        ("tests/serving/test_slow_clients.py",),
        ("who sends nothing more is cut off", "now >= until and (conn.octets or", "False and (conn.octets or"),
        ("who keeps a thread waiting is cut off", "            if now >= until:"),
        ("an octet now and then gains no time", "        if not conn.octets:", "        if True:"),
    ),
    *guards(
        "pkiconf/cli/gunicorn_worker.py",
        ("tests/cli/test_gunicorn_worker.py",),
        (
            "one request that cannot be answered does not end the main loop",
            "        except Exception:  # of one request",
            "        except ZeroDivisionError:  # of one request",
        ),
        ("a process that ends lets no connection stay for long", "            if not self.alive and not conn.octets:"),
        (
            "no look lengthens what is left to a connection",
            "self._waiting[conn] = min(until, now + STOP_KEEPALIVE_LINGER)",
            "self._waiting[conn] = now + STOP_KEEPALIVE_LINGER",
        ),
        (
            "a request that came just in time is read",
            "(conn.octets or not conn.has_arrived())",
            "True",
        ),
    ),
    *guards(
        "pkiconf/cli/gunicorn_worker.py",
        ("tests/serving/test_ending.py",),
        (
            "an answer says whether the connection stays when it is there",
            "            body = self.wsgi(environ, answer)\n            stays = self._keeps(request)",
            "            stays = self._keeps(request)\n            body = self.wsgi(environ, answer)",
        ),
    ),
    *guards(
        "pkiconf/wake.py",
        ("tests/serving/test_worker.py",),
        ("questions keep no worker from being woken", "return woken or taken >= _SHORTEST_QUEUE", "return woken"),
    ),
    *guards(
        "pkiconf/cli/granian_server.py",
        ("tests/cli/test_granian_server.py",),
        (
            "granian cuts slow heads off when it is declared",
            "        http1_settings=HTTP1Settings(header_read_timeout=settings.request_timeout * 1000),",
            "        http1_settings=HTTP1Settings(),",
        ),
    ),
    *guards(
        "pkiconf/endpoints/metrics.py",
        ("tests/endpoints/test_operations.py",),
        (
            "the age of an answer that was given long ago does not count",
            "            if since <= now < since + 2 * _RECENT",
            "            if since <= now",
        ),
        (
            "an old answer is seen for a minute at least",
            "self._told = at, age, max(age, before)",
            "self._told = at, age, age",
        ),
    ),
)
