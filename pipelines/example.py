"""Three of our components in a pipeline of another team: labelled notes in, and splits out that share no near
duplicates, with what identifies patients redacted.

The settings are those that preflight resolves in our own pipelines.
"""

from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.classify import Notes, Split
from clinadapt.config.phi import Phi
from components.download.component import download_classify
from components.format.component import format_classify
from components.screen.component import screen_classify


def build(source: str, notes: Notes, split: Split) -> GraphComponent:
    """The pipeline for a source.

    Args:
        source: URI of the notes.
        notes: columns to read and rows to keep.
        split: near-duplicate detection and the split.
    """
    download: dict[str, Any] = {"source": source, "source_digest": "", "notes": notes.model_dump()}

    @dsl.pipeline(name="split-notes")
    def split_notes(store: str = "s3://clinadapt") -> dsl.Dataset:
        """Split labelled notes into training, validation and test notes.

        Args:
            store: URI of the object store.
        """
        dataset = download_classify(settings=download, store=store)
        screened = screen_classify(settings={"phi": Phi().model_dump()}, dataset=dataset.output, store=store)
        splits = format_classify(settings={"split": split.model_dump()}, dataset=screened.output, store=store)
        return splits.output

    return split_notes
