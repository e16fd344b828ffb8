"""The demo holds enough notes out: its gate believes no interval over fewer than ten clusters."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.storage import open_store
from components.download.instruct import run as download
from components.evaluate.gate.checks import SMALLEST_SAMPLE
from components.evaluate.instruct import sample
from components.format.instruct import run as format_examples
from components.synthesize.instruct import run as synthesize
from pipelines.named_settings import load_profile


def test_the_demo_has_clusters_for_its_gate(tmp_path: Path) -> None:
    """With some to spare, as another wording of a case or of a question changes the draw."""
    profile = load_profile("cpu-instruct")
    dataset, triples, splits = (tmp_path / name for name in ("dataset", "triples", "splits"))
    download(profile.sources, dataset, profile.examples)
    synthesize(dataset, triples, profile.synthesis, None)
    store = open_store((tmp_path / "store").as_uri())
    format_examples(triples, splits, profile.examples, profile.instruct.base_model, 0, False, store)
    test = pq.read_table(splits / "test.parquet", schema=EXAMPLES).to_pydict()
    drawn = sample(test["task"], test["note_id"], profile.evaluation.rows_per_task, 0)
    assert len({test["cluster"][i] for i in drawn}) >= SMALLEST_SAMPLE + 2
