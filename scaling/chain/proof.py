"""The stages that prove: the student as int8, its file, the engine that runs it, and the ledger's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.chain.decision import rounding_of
from scaling.chain.workspace import Workspace
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.stop import interruptible

if TYPE_CHECKING:
    from scaling.compress.degradation import Degradation
    from scaling.export.bundle.files import Bundle
    from scaling.export.litert_lm import LiteRtLmFile
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit
    from scaling.predict.recommend.recommendation import Recommendation


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
def compress_stage(store: RunStore, run: RunSpec, *, scheme: str = "q8_0") -> Compressed:
    """Quantize a trained student and measure the cost."""
    from scaling.compress.calibrate import calibrated
    from scaling.compress.degradation import degradation
    from scaling.compress.scheme import SCHEMES
    from scaling.compress.student import quantize
    from scaling.data.evaluation import evaluation_sets
    from scaling.export.bundle.files import load_tensors

    tensors = load_tensors(store, run)
    student, made = quantize(tensors, scheme), SCHEMES[scheme]
    real = evaluation_sets(run, store).real
    ranges = calibrated(run, store) if made.is_calibrated else None
    return Compressed(
        scheme=scheme,
        float_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        n_bytes=student.n_bytes,
        cost=degradation(run.model, tensors, student.dequantize(), real, forward=made.arithmetic(ranges)),
    )


def export_stage(
    workspace: Workspace,
    recommendation: Recommendation,
    fit: Fit | None = None,
    *,
    format: str | None = None,
    license: str | None = None,
) -> Bundle:
    """The recommended student in the format that was asked for, with its manifest and card, in bundle/.

    Args:
        workspace: The sweep.
        recommendation: What to export.
        fit: What it was forecast from, for its provenance.
        format: Instead of the one that was asked for; its bundle lies in bundle-FORMAT/.
        license: Of the student.
    """
    from scaling.export.bundle.files import export
    from scaling.export.bundle.provenance import UNSAID

    asked = recommendation.question.format
    # What was asked for has the plain name; another format lies beside it and moves nothing aside.
    name = "bundle" if format in (None, asked) else f"bundle-{format}"
    return export(
        workspace.store,
        recommendation.run,
        workspace.folder / name,
        format=format or asked,
        recommendation=recommendation,
        fit=fit,
        license=license or UNSAID,
    )


def futo_stage(
    workspace: Workspace,
    bundle: Bundle,
    *,
    languages: Sequence[str],
    author: str,
    license: str,
    features: Sequence[str],
) -> Path:
    """A bundle's student as a file that FUTO Keyboard takes, beside the bundle."""
    from scaling.export.futo import BASE, Keyboard, export_futo

    keyboard = Keyboard(
        languages=tuple(languages), author=author, license=license, features=tuple(dict.fromkeys((BASE, *features)))
    )
    return export_futo(bundle, workspace.folder / "futo.gguf", keyboard)


def litert_lm_stage(workspace: Workspace, bundle: Bundle) -> LiteRtLmFile:
    """A bundle's student as a file that LiteRT-LM takes and has run, beside the bundle."""
    from scaling.export.litert_lm import export_litert_lm

    return export_litert_lm(bundle, workspace.folder / "student.litertlm")


def verify_stage(
    workspace: Workspace,
    fit: Fit,
    recommendation: Recommendation,
    bundle: Bundle,
    *,
    engine: str | None = None,
    device: str | None = None,
) -> Verification:
    """The exported file, read back and run by an engine, beside its forecast; its card says what was measured."""
    from scaling.export.verify import HERE, verify

    found = verify(
        bundle,
        workspace.store,
        recommendation,
        loss_name=fit.columns["loss"],
        engine_name=engine,
        device_name=device or HERE,
        rounding=rounding_of(workspace),
    )
    bundle.describe(found.checks)
    return found


def ledger_stage(
    workspace: Workspace, fit: Fit, recommendation: Recommendation, verification: Verification
) -> Mapping[str, object]:
    """One row of results/ledger.csv."""
    from scaling.export.ledger.rows import append

    return append(workspace.store.root / "ledger.csv", workspace.config.name, fit, recommendation, verification)
