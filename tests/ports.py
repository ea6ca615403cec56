"""Ports for the servers that tests start."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Returns as many ports of this machine, each another, that were free a moment ago."""
    with contextlib.ExitStack() as probes:
        sockets = [
            probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [int(each.getsockname()[1]) for each in sockets]


def free_port() -> int:
    """Returns one such port."""
    return free_ports(1)[0]
