"""Where a run finds what people corrected, and how many of them have to agree."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import Field, field_validator

from clinadapt.config.base import Section
from clinadapt.config.uri_credentials import Uri

_PLACE = re.compile(r"((?:s3://|file:///).*?[^/])/+flagged(?:/+([a-z0-9][a-z0-9-]*))?/*")
MOST_PEOPLE = 10


class FeedbackPlace(NamedTuple):
    """A store by its URI, and the adapter whose feedback is read; that of all adapters where the name is empty."""

    store: str
    name: str


def feedback_place(uri: str) -> FeedbackPlace:
    """What the URI of feedback names: the folder `flagged/` of a store, or that of one adapter in it.

    Raises:
        ValueError: it names neither.
    """
    match = _PLACE.fullmatch(uri)
    if not match:
        raise ValueError(
            "feedback is the folder flagged/ of a store, or that of an adapter in it: write s3://bucket/flagged/ or "
            "s3://bucket/flagged/NAME/"
        )
    return FeedbackPlace(match[1], match[2] or "")


class Feedback(Section):
    """download: corrections that people made to answers of published versions.

    Attributes:
        uri: `flagged/` of a store, or `flagged/NAME/` for one adapter; empty for none. What reviewers settled lies in
            the same store.
        agree: people who have to make the same correction where reviewers have not settled the case; what they have
            settled counts as it is.
    """

    uri: Uri = ""
    agree: int = Field(default=1, ge=1, le=MOST_PEOPLE)

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        if uri:
            feedback_place(uri)
        return uri
