"""What is found of an exported student: by an engine that ran it, and in one comparison with what was said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scaling.compress.degradation import Degradation
from scaling.export.engine import EngineRun

Kind = Literal["target", "promise", "forecast"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing measured beside what was said of it.

    Attributes:
        name: What is compared.
        kind: The ``target`` is what was asked for; a ``promise`` must hold for the export to be used; a ``forecast``
            may miss, a 90 % interval one time in ten.
        expected: What was asked or forecast.
        measured: What was found.
        passed: None if it could not be measured.
        note: Why not, or what else to know.
    """

    name: str
    kind: Kind
    expected: str
    measured: str
    passed: bool | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """The engine's greedy text beside JAX on the weights of the same file.

    Attributes:
        n_tokens: Tokens that the engine wrote.
        n_equal: Leading tokens that greedy decoding in JAX writes as well.
        behind: Largest log-probability by which JAX prefers another token along the engine's text; 0 if all are equal.
    """

    n_tokens: int
    n_equal: int
    behind: float


@dataclass(frozen=True, kw_only=True)
class InEngine:
    """What an engine did with a file, as far as it came.

    Attributes:
        run: Its text, memory and speed; None if it could not run the file.
        greedy: Its text against JAX.
        texts_equal: Texts that it cuts into the same tokens, held-out and hostile, and all tried; None for a world.
        cost: JAX on the file's weights against the engine itself, nats/token on a few hundred tokens.
        error: Why something of these is missing; None if nothing is.
        refused: True if it works here, but not with this file.
    """

    run: EngineRun | None = None
    greedy: Greedy | None = None
    texts_equal: tuple[int, int] | None = None
    cost: Degradation | None = None
    error: str | None = None
    refused: bool = False
