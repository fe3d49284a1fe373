"""The stages that prove: the student as int8, its file, the engine that runs it, and the ledger's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaling.chain.workspace import Workspace
from scaling.spec import RunSpec
from scaling.stop import interruptible

if TYPE_CHECKING:
    from scaling.compress.degradation import Degradation
    from scaling.export.bundle import Bundle
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit
    from scaling.predict.recommend import Recommendation


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What quantization does to a student.

    Attributes:
        scheme: Name of the quantization scheme.
        float_bytes: Of the tensors as float32.
        n_bytes: Of the tensors as integers with scales.
        cost: Loss before and after on the real held-out set.
    """

    scheme: str
    float_bytes: int
    n_bytes: int
    cost: Degradation


@interruptible()
def compress_stage(workspace: Workspace, run: RunSpec, *, scheme: str = "q8_0") -> Compressed:
    """Quantize a trained student and measure the cost."""
    from scaling.compress.degradation import degradation
    from scaling.compress.student import quantize
    from scaling.data.evaluation import evaluation_sets
    from scaling.export.bundle import load_tensors

    tensors = load_tensors(workspace.store, run)
    student = quantize(tensors, scheme)
    real = evaluation_sets(run, workspace.store).real
    return Compressed(
        scheme=scheme,
        float_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        n_bytes=student.n_bytes,
        cost=degradation(run.model, tensors, student.dequantize(), real),
    )


def export_stage(workspace: Workspace, recommendation: Recommendation) -> Bundle:
    """The recommended student as an int8 file of the format that was asked for, with its manifest, in bundle/."""
    from scaling.export.bundle import export

    folder, question = workspace.folder / "bundle", recommendation.question
    return export(workspace.store, recommendation.run, folder, format=question.format)


def verify_stage(workspace: Workspace, fit: Fit, recommendation: Recommendation, bundle: Bundle) -> Verification:
    """The exported file, read back and run by an engine, beside its forecast."""
    from scaling.export.verify import verify

    return verify(bundle, workspace.store, recommendation, loss_name=fit.columns["loss"])


def ledger_stage(
    workspace: Workspace, fit: Fit, recommendation: Recommendation, verification: Verification
) -> Mapping[str, object]:
    """One row of results/ledger.csv."""
    from scaling.export.ledger import append

    return append(workspace.store.root / "ledger.csv", workspace.config.name, fit, recommendation, verification)
