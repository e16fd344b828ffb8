"""The check of claims on answers made of MTSamples notes that its rules were not tuned on: the figures of
claims_accuracy.yaml, which reports and model cards state."""

from __future__ import annotations

import json
import lzma
import random
from collections import Counter

import pytest
from claim_cases import altered, faithful
from support import ROOT

from clinadapt.clinical.claims import unsupported
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.evaluation.claims_accuracy import measured_accuracy

NOTES = ROOT.parent / "shared/data/mtsamples/notes.jsonl.xz"
KINDS = {"blood pressure": "test", "affirmed": "negation"}  # of the generator -> of a claim


@pytest.mark.skipif(not NOTES.exists(), reason="needs ../shared/data")
def test_sensitivity_by_kind_and_specificity() -> None:
    with lzma.open(NOTES, "rt", encoding="utf-8") as file:
        notes = [json.loads(line)["text"] for line in file]
    random.Random(5).shuffle(notes)
    wrong, right = altered(notes[1100:], 40, seed=1), faithful(notes[1100:], 500, seed=2)
    total = Counter(KINDS.get(case.kind, case.kind) for case in wrong)
    noticed = Counter(KINDS.get(case.kind, case.kind) for case in wrong if unsupported(case.answer, case.note))
    accused = sum(bool(unsupported(case.answer, case.note)) for case in right)
    measured = {"altered": {kind: [noticed[kind], total[kind]] for kind in total}}
    measured["faithful"] = {"accused": accused, "all": len(right)}
    print(json.dumps(measured))
    assert measured == {name: load_lexicon("claims_accuracy.yaml")[name] for name in measured}
    accuracy = measured_accuracy()
    assert accuracy["sensitivity"] >= 0.95 and accuracy["specificity"] >= 0.95
