"""A claim with what the note says of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from clinadapt.clinical.claims.kinds import Claim

Outcome = Literal["supported", "contradicted", "not found"]


class CheckedClaim(NamedTuple):
    """A claim and what the note says of it.

    Attributes:
        claim: of the answer.
        outcome: `supported`, `contradicted` or `not found`.
        evidence: span in the note that supports or contradicts it, in characters; None where it is not found.
    """

    claim: Claim
    outcome: Outcome
    evidence: tuple[int, int] | None


def verdict(claim: Claim, support: Iterable[tuple[int, int]], against: Iterable[tuple[int, int]]) -> CheckedClaim:
    """Supported by the first span of `support`, else contradicted by the first of `against`, else not found."""
    for span in support:
        return CheckedClaim(claim, "supported", span)
    for span in against:
        return CheckedClaim(claim, "contradicted", span)
    return CheckedClaim(claim, "not found", None)
