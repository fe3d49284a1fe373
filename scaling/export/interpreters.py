"""Interpreters that have the packages of an engine: this one, or that of an environment of its own."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from dataclasses import dataclass
from typing import Protocol

from scaling.errors import EngineError
from scaling.export.child import longest_wait, run_group

PROBE_S = 60.0


class Interpreter(Protocol):
    """The interpreter that an engine's worker is started with; the worker needs nothing of this project."""

    @property
    def title(self) -> str:
        """What is in it, for people."""

    @property
    def path(self) -> str:
        """Of its executable."""

    def version(self, package: str) -> str:
        """Version of a package there.

        Raises:
            EngineError: if the interpreter or the package is not there, with what to install.
        """


@dataclass(frozen=True, kw_only=True)
class ThisInterpreter:
    """The one that runs this program.

    Attributes:
        title: What is in it, for people.
        extra: Of this project, which brings the packages.
    """

    title: str
    extra: str

    @property
    def path(self) -> str:
        return sys.executable

    def version(self, package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise EngineError(
                f"{self.title} is not installed here — pip install 'scaling[{self.extra}]' brings it"
            ) from error


@dataclass(frozen=True, kw_only=True)
class OwnInterpreter:
    """That of an environment of its own, for packages that cannot be installed beside this project.

    Attributes:
        title: What is in it, for people.
        variable: Environment variable that names it; without it, it is this one.
        packages: What ``pip install`` is told.
    """

    title: str
    variable: str
    packages: str

    @property
    def path(self) -> str:
        return os.environ.get(self.variable) or sys.executable

    @property
    def install(self) -> str:
        """How it comes to be."""
        return (
            f"make an environment of its own, as: python -m venv own && own/bin/pip install {self.packages} — and say "
            f"{self.variable}=own/bin/python"
        )

    def version(self, package: str) -> str:
        ask = f"import importlib.metadata as m; print(m.version({package!r}))"
        timeout_s = longest_wait(PROBE_S)
        try:
            code, told, _ = run_group([self.path, "-c", ask], timeout_s=timeout_s)
        except OSError as error:
            why = f"it says nothing within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
            raise EngineError(f"{self.path}: cannot be started ({why}); {self.install}") from error
        if code:
            raise EngineError(f"{self.title} is not installed here (package {package}); {self.install}")
        return told.strip()


LITERT = OwnInterpreter(
    title="LiteRT",
    variable="SCALING_LITERT_PYTHON",
    packages="litert-converter==0.5.0 ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 tokenizers",
)
"""As in the extra [litert]: its packages pin others."""

LITERT_LM = OwnInterpreter(
    title="LiteRT-LM",
    variable=LITERT.variable,
    packages=f"{LITERT.packages} litert-lm-builder==0.18.1 litert-lm-api==0.18.1",
)
"""As in the extra [litert-lm]: the same environment, with Google's engine for language models in it."""

LLAMA = OwnInterpreter(title="llama-cpp-python", variable="SCALING_LLAMA_PYTHON", packages="llama-cpp-python")
"""There is no wheel of it: pip compiles llama.cpp, for minutes."""
