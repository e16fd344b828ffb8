"""The `builtin://cases` source: synthetic clinical notes, for a first run without any data.

`sampling` draws a patient with a condition, `note_writer` and `narrative` write a note about it, under headers, in
prose or in shorthand, from the templates in `words/`, and `writing_habits` abbreviates and misspells it. As in
MTSamples, some notes are listed under two specialties, which is why no classifier can reach 100 %. Everything is
invented; nothing is medical advice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from random import Random

from clinadapt.data.builtin_cases.note_writer import Note, write_note
from clinadapt.data.builtin_cases.sampling import sample_case
from clinadapt.data.builtin_cases.vocabulary import vocabulary
from clinadapt.data.builtin_cases.writing_habits import paraphrase

CROSS_LISTED = 0.12  # share of the notes that are listed again under another specialty
PARAPHRASED = 0.012  # share of the notes that are listed again with a few words changed


def generate(rows: int, seed: int) -> Iterator[Note]:
    """Generate notes in the layout of MTSamples: description, medical_specialty, sample_name, transcription, keywords.

    The same seed gives the same rows on any machine, and fewer rows are a prefix of more. As in MTSamples, `keywords`
    begins with the specialty, so it must not be a feature.
    """
    return islice(_listings(Random(seed)), rows)


def _listings(rng: Random) -> Iterator[Note]:
    shares = {key: share for key, (_, share) in vocabulary()["specialties"].items()}
    conditions = {key: [c for c in vocabulary()["conditions"] if key in c.listed] for key in shares}
    weights = {key: [c.listed[key] for c in conditions[key]] for key in shares}
    ambiguous = sum(  # share of the notes that can be cross-listed
        share * sum(c.listed[key] for c in conditions[key] if len(c.listed) > 1) / sum(weights[key])
        for key, share in shares.items()
    )
    pending: deque[Note] = deque()
    while True:
        if pending and rng.random() < 0.25:
            yield pending.popleft()
        specialty = rng.choices(list(shares), list(shares.values()))[0]
        condition = rng.choices(conditions[specialty], weights[specialty])[0]
        note = write_note(sample_case(condition, rng), rng)
        yield _list_under(specialty, note)
        others = [key for key in condition.listed if key != specialty]
        if others and rng.random() < CROSS_LISTED / ambiguous:
            pending.append(_list_under(rng.choice(others), note))
        elif rng.random() < PARAPHRASED:
            changed = note | {"transcription": paraphrase(note["transcription"], rng)}
            pending.append(_list_under(specialty, changed))


def _list_under(specialty: str, note: Note) -> Note:
    label = vocabulary()["specialties"][specialty][0]
    return {
        "description": note["description"],
        "medical_specialty": label,
        "sample_name": note["sample_name"],
        "transcription": note["transcription"],
        "keywords": f"{label.lower()}, {note['keywords']}",
    }
