"""Recall and needless redaction, counted by hand."""

from typing import Any

import pytest

from clinadapt.errors import UserError
from clinadapt.privacy.measure import Share, measure
from clinadapt.privacy.spans import Span

NOTE = {
    "text": "Jane Roe takes Lasix in Hull",
    "spans": [{"start": 0, "end": 8, "type": "NAME"}, {"start": 24, "end": 28, "type": "CITY"}],
    "negatives": [{"start": 15, "end": 20, "kind": "DRUG"}],
}


def test_an_identifier_counts_if_every_word_of_it_is_found() -> None:
    found = {"all": [Span(0, 8, "NAME"), Span(24, 28, "DATE")], "part": [Span(0, 4, "NAME"), Span(15, 20, "NAME")]}
    whole, half = (measure([NOTE], lambda _, spans=spans: spans) for spans in found.values())
    assert {kind: share["value"] for kind, share in whole["recall"].items()} == {"CITY": 1, "NAME": 1, "all": 1}
    assert half["recall"]["all"]["hits"] == 0 and half["negatives"]["DRUG"]["value"] == 1
    assert whole["over_redaction"]["value"] == 0 and half["over_redaction"]["value"] == pytest.approx(1 / 3)


def test_the_interval_is_wilsons_and_widens_where_notes_differ() -> None:
    alike, apart = Share([(9, 10)] * 10), Share([(10, 10)] * 9 + [(0, 10)])
    assert alike.interval() == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert apart.interval()[0] < alike.interval()[0] and apart.interval()[1] > alike.interval()[1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no note has a labelled identifier"),
        ([{"text": "a", "spans": []}], "no note has a labelled identifier"),
        ([{"text": "a"}], "row 1 is no labelled note"),
        ([{"text": "a", "spans": [{"start": 0, "end": 1, "type": "Jane-1"}]}], "row 1 is no labelled note"),
        ([{"text": "a", "spans": [{"start": 0, "end": 1, "type": ["Jane"]}]}], "row 1 is no labelled note"),
        ([NOTE, {"text": "a", "spans": [{"start": 0, "end": 9, "type": "NAME"}]}], "row 2 has a span outside its text"),
    ],
)
def test_rows_that_are_not_labelled_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(rows, lambda _: [])
