"""20 concurrent publishers and 5 promoters for 200 rounds (RACE_ROUNDS): one champion a round, a linear history."""

from __future__ import annotations

import os
import time

import pytest
from race import race
from s3_support import a_store


@pytest.mark.parametrize("kind", ["folder", "rgw"])
def test_race(kind: str, request: pytest.FixtureRequest) -> None:
    store, start = a_store(kind, request), time.monotonic()
    result = race(store, publishers=20, promoters=5, rounds=int(os.environ.get("RACE_ROUNDS", "200")))
    print(f"\n{kind}: {result} in {time.monotonic() - start:.0f} s")
