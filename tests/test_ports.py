"""Ports for the servers of tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ports
import pytest

CHOOSE = "import sys; sys.path.append(sys.argv[1]); import ports; print(*(ports.free_ports() for _ in range(300)))"


def test_two_processes_choose_different_ports_and_none_of_outgoing_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some 5,000 blocks each chooses 300: at random, a dozen would be the same."""
    monkeypatch.setattr(ports, "_reserved", [])  # afterwards they are free again
    ours = [ports.free_ports() for _ in range(300)]
    command = [sys.executable, "-c", CHOOSE, str(Path(ports.__file__).parent)]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    chosen = {*ours, *map(int, theirs)}
    assert len(chosen) == 600
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not [port for port in chosen if low <= port <= high or low <= port + 4 <= high]
