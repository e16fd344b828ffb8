"""A claim with what the note says of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

from clinadapt.clinical.claims.kinds import Claim

Item = TypeVar("Item", bound=Any)  # with `start`, a character of the answer
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

    def moved(self, by: int) -> CheckedClaim:
        """The same at another place of the answer, `by` characters behind, or at its beginning."""
        claim = self.claim
        return self._replace(claim=claim._replace(start=max(0, claim.start + by), end=claim.end + by))


def verdict(claim: Claim, support: Iterable[tuple[int, int]], against: Iterable[tuple[int, int]]) -> CheckedClaim:
    """Supported by the first span of `support`, else contradicted by the first of `against`, else not found."""
    for span in support:
        return CheckedClaim(claim, "supported", span)
    for span in against:
        return CheckedClaim(claim, "contradicted", span)
    return CheckedClaim(claim, "not found", None)


def each_once(
    items: Iterable[Item], key: Callable[[Item], Hashable], check: Callable[[Item], Iterator[CheckedClaim]]
) -> Iterator[CheckedClaim]:
    """The checks of all items. Items of one key are checked once, so that an answer that repeats itself is not held
    against a long note again and again.

    Args:
        items: of the answer.
        key: all that the check of an item depends on, but for its place.
        check: of one item.
    """
    known: dict[Hashable, tuple[int, list[CheckedClaim]]] = {}
    for item in items:
        content = key(item)
        if content not in known:
            known[content] = item.start, list(check(item))
        start, checks = known[content]
        yield from (each.moved(item.start - start) for each in checks)
