"""The words of a note behind each claim of an answer."""

from __future__ import annotations

from clinadapt.clinical.claims import check
from clinadapt.review.explanation import explained, line, page_list

NOTE = (
    "MEDICATIONS: He has taken metoprolol 50 mg twice daily since the infarction of last year.\n"
    "EXAMINATION: The left knee is <swollen> and warm, the right knee is not."
)


def claims_of(answer: str, question: str) -> list[dict[str, object]]:
    return explained(answer, NOTE, check(answer, NOTE, question))


def test_a_claim_points_to_the_words_that_support_it() -> None:
    claims = claims_of("Metoprolol 50 mg, and warfarin.", "Which drugs does he take?")
    by_words = {claim["claim"]: claim for claim in claims}
    supported = line(by_words["Metoprolol"])
    assert supported.startswith("Metoprolol: supported by “MEDICATIONS: He has taken metoprolol 50 mg twice daily")
    assert supported.endswith(" …”")
    assert line(by_words["warfarin"]) == "warfarin: not found in the note"


def test_evidence_is_cut_between_words() -> None:
    side, part = claims_of("The right knee.", "Which knee is swollen?")
    for claim in (side, part):
        words = str(claim["evidence"]).strip("… ").split()
        assert words and set(words) <= set(NOTE.split())


def test_a_note_is_no_markup_on_the_page() -> None:
    claims = claims_of("The left knee is swollen.", "What was found?")
    assert "<swollen>" not in page_list(claims) and "&lt;swollen&gt;" in page_list(claims)
    assert page_list([]) == ""
