"""Intervals of shares."""

from __future__ import annotations

import math

Z = 1.959964  # standard normal quantile of a two-sided 95 % interval


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % score interval of a share of `n` independent observations (Wilson 1927,
    doi:10.1080/01621459.1927.10502953), which holds for few of them and for shares of 0 and 1; (0, 1) without any."""
    if n <= 0:
        return 0.0, 1.0
    centre, scale = share + Z * Z / (2 * n), 1 + Z * Z / n
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
