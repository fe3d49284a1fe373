"""A trained student as a file stores it: its matrices by a quantization scheme, its gains as float32, which are few and
multiply everything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from scaling.compress.scheme import SCHEMES
from scaling.errors import ExportError
from scaling.formats.quantized import QuantizedMatrix, Tensor, check_finite


@dataclass(frozen=True, kw_only=True)
class QuantizedStudent:
    """A student whose matrices are as a file stores them.

    Invariants:
        matrices holds every tensor of two axes, vectors every tensor of one, under their GGUF names
        original ≈ matrices[name].dequantize(): within half a scale for each weight where scales are float32; where they
            are float16, with 1/2048 of the weight beside it (scales of 6e-5 and more); of q4_0, whose levels are
            −8 … 7, within a whole scale
        loss_before and loss_after are finite and measured on the same held-out set, or are both None

    Attributes:
        scheme: Name of the layout of the matrices.
        matrices: Integers with scales and, where the scheme has them, zero points; or floats.
        vectors: float32 gains, unchanged.
        loss_before: Loss of the float student, nats/token; None until measured.
        loss_after: Loss of the dequantized student, nats/token; None until measured.
    """

    scheme: str
    matrices: dict[str, Tensor]
    vectors: dict[str, np.ndarray]
    loss_before: float | None = None
    loss_after: float | None = None

    def __post_init__(self) -> None:
        if (self.loss_before is None) != (self.loss_after is None):
            raise ExportError(
                f"loss_before={self.loss_before} and loss_after={self.loss_after}: measure both on one set, or neither"
            )
        for loss in (self.loss_before, self.loss_after):
            if loss is not None and not math.isfinite(loss):
                raise ExportError(f"the student's loss is {loss}; the training diverged, export another run")

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors as stored, ready to be written."""
        return {**self.matrices, **self.vectors}

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors; equal to ``accounting.weights_bytes``."""
        return sum(t.n_bytes if isinstance(t, QuantizedMatrix) else t.nbytes for t in self.tensors.values())

    def dequantize(self) -> dict[str, np.ndarray]:
        """float32 tensors under their GGUF names, as a phone engine sees the weights."""
        return {
            name: t.dequantize() if isinstance(t, QuantizedMatrix) else t.astype(np.float32)
            for name, t in self.tensors.items()
        }

    def with_loss(self, before: float, after: float) -> QuantizedStudent:
        """The same student carrying what quantization cost, nats/token on one held-out set."""
        return replace(self, loss_before=before, loss_after=after)


def quantize(tensors: Mapping[str, np.ndarray], scheme: str = "q8_0") -> QuantizedStudent:
    """Quantize all matrices of a student.

    Args:
        tensors: float32 arrays under their GGUF names, matrices as [out, in].
        scheme: Name of the layout of the result.

    Raises:
        ExportError: for an unknown scheme, weights that are not finite, or rows that the scheme cannot cut.
    """
    made = SCHEMES[scheme]
    check_finite(tensors, what="the student")
    floats = {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
    return QuantizedStudent(
        scheme=made.name,
        matrices={name: made.quantize(tensor) for name, tensor in floats.items() if tensor.ndim == 2},
        vectors={name: tensor for name, tensor in floats.items() if tensor.ndim == 1},
    )
