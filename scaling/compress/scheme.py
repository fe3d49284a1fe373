"""What a quantization scheme is: how a matrix of floats becomes what a file stores.

A scheme is one class in ``scaling/compress/schemes/``, or in another package under the entry point group
``scaling.schemes``. How many bytes its matrices take is known before there are any: ``storage`` names their layout in
``scaling.accounting``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from scaling.accounting import Storage
from scaling.compress.activations import Ranges
from scaling.errors import ExportError
from scaling.formats.quantized import Tensor
from scaling.registry import Registry
from scaling.train.student.generator import Forward, as_trained


class Scheme(ABC):
    """One way to store a student's matrices in few bits.

    Attributes:
        name: As on the command line.
        storage: Layout of the matrices, in the words of ``accounting``.
        is_calibrated: Whether its arithmetic needs ranges of activations.
    """

    name: ClassVar[str]
    storage: ClassVar[Storage]
    is_calibrated: ClassVar[bool] = False

    @abstractmethod
    def quantize(self, matrix: np.ndarray) -> Tensor:
        """What is stored of a finite float32[out, in].

        Raises:
            ExportError: its rows cannot be cut, or a weight is too large for a scale.
        """

    def arithmetic(self, ranges: Ranges | None) -> Forward:
        """The forward pass of an engine of this scheme; with float activations unless a scheme says otherwise.

        Args:
            ranges: Of activations, where the scheme is calibrated.

        Raises:
            ExportError: they are needed and not given.
        """
        return as_trained


SCHEMES: Registry[Scheme] = Registry(
    "quantization scheme", package="scaling.compress.schemes", group="scaling.schemes", error=ExportError
)
