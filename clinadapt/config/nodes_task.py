"""What the nodes of a TrainJob train."""

from __future__ import annotations

from clinadapt.config.base import Section
from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import InstructTraining, PreferenceTraining, Pretraining
from clinadapt.config.steps import Step


class NodesTask(Section):
    """A training stage that the nodes of a TrainJob run together; the argument of its pods.

    Attributes:
        splits: URI of the output of format: file://, s3://, or minio:// as Kubeflow Pipelines calls the bundled store.
        store: URI of the store for checkpoints and training outputs.
        code_version: of the training code; another one is another training.
        adapter: URI of the output of train, from which prefer continues.
        digests: of the splits and, of prefer, of the adapter; the nodes refuse others. Empty: whatever is there.
        base_model: URI of the base model of pretrain; the others have it among their settings.
        settings: of the stage.
    """

    splits: str
    store: str
    code_version: str = ""
    adapter: str = ""
    digests: list[str] = []
    base_model: str = ""
    settings: InstructTraining | Pretraining | PreferenceTraining | ClassifyTraining

    @property
    def step(self) -> Step:
        """The step that it is the training of."""
        if isinstance(self.settings, PreferenceTraining):
            return "prefer"
        return "pretrain" if isinstance(self.settings, Pretraining) else "train"
