"""What keeps slow clients from holding a server, and questions its worker; what it says of its answers' age."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

SERVING: tuple[Guard, ...] = (
    *guards(
        "pkiconf/cli/gunicorn_worker.py",
        ("tests/serving/test_slow_clients.py",),
        ("who sends nothing more is cut off", "if force or now >= until or (", "if force or ("),
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
