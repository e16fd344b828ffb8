"""Ports for servers that bind them later than a test chooses them."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

BLOCK = 5
_reserved: list[socket.socket] = []


def free_ports() -> int:
    """The first of five consecutive free ports. They lie outside the range of outgoing connections and of binds to port
    0, and no other process of the tests chooses them while this one lives."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    every = range(10_000, 65_000, BLOCK)
    blocks = [first for first in every if first + BLOCK <= low or first > high] or list(every)
    start = secrets.randbelow(len(blocks))  # Hypothesis seeds `random`, alike in all processes
    for first in blocks[start:] + blocks[:start]:
        if _reserve(first) and _is_free(first):
            return first
    raise OSError("no five consecutive free ports")


def _reserve(first: int) -> bool:
    """Whether no other process of the tests has this block: an abstract Unix socket belongs to the network namespace,
    as ports do, and goes with its process."""
    sign = socket.socket(socket.AF_UNIX)
    try:
        sign.bind(f"\0clinadapt-test-ports-{first}")
    except OSError:
        sign.close()
        return False
    _reserved.append(sign)
    return True


def _is_free(first: int) -> bool:
    with ExitStack() as stack:
        try:
            for port in range(first, first + BLOCK):
                stack.enter_context(socket.socket()).bind(("", port))
        except OSError:
            return False
    return True
