"""What is asked of a law or a fit, as a command line says it: options of several commands, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from scaling.cli.options.declared import option
from scaling.cli.options.shared import count, count_or_zero, pairs, refuse_without_effect

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.explain.teacher import TeacherAsked

FitFile = Annotated[Path | None, option("--fit", readable=False, metavar="FIT.json", help="A fit.")]
Law = Annotated[str | None, option("--law", metavar="NAME", help="A published law, as hoffmann or besiroglu.")]
Params = Annotated[str | None, option("--params", metavar="N", help="Model size, as 1e6, 100M or inf.")]
Tokens = Annotated[str | None, option("--tokens", metavar="D", help="Tokens, as 1e8, 2B or inf.")]
TeacherName = Annotated[
    str | None, option("--teacher", metavar="NAME", help="Teacher: of the fit by its label, or palm, gpt-3, …")
]
TeacherParams = Annotated[str | None, option("--teacher-params", metavar="N", help="Size of the teacher.")]
TeacherTokens = Annotated[str | None, option("--teacher-tokens", metavar="D", help="What the teacher read.")]
TeacherLoss = Annotated[
    float | None,
    option("--teacher-loss", metavar="L", help="Loss of the teacher on real text, in the unit of the law."),
]
Columns = Annotated[
    list[str] | None, option("--at", metavar="COLUMN=VALUE", help="What else the law is of, as bits=4.")
]
Level = Annotated[float | None, option("--level", help="Level of the interval; by default 0.9.")]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whom a question is put to, as the command line says it."""

    laws: list[str]
    fit_file: Path | None
    columns: dict[str, float]
    level: float | None
    force: bool

    @property
    def asked(self) -> dict[str, Any]:
        """What every answer of an explanation or a table takes."""
        return {"columns": self.columns, "level": 0.9 if self.level is None else self.level, "force": self.force}

    @property
    def table(self) -> Path | None:
        """The runs beside the fit."""
        if self.fit_file is None:
            return None
        from scaling.fit.saved.files import fit_at

        return fit_at(self.fit_file).with_name("runs.parquet")

    def only(self) -> Fit | str:
        """The fit, or the one law."""
        return self.laws[0] if self.fit_file is None else self.fit(self.fit_file)

    @staticmethod
    def fit(path: Path) -> Fit:
        """The saved fit."""
        from scaling.fit.saved.files import load

        return load(path)

    def has_text(self, teacher: str | TeacherAsked) -> bool:
        """Whether a teacher is named as a text of the fit, which refuses what no literature knows either."""
        from scaling.predict.named.models import models

        if self.fit_file is None or not isinstance(teacher, str):
            return False
        return teacher not in models() or teacher in (fit := self.fit(self.fit_file)).teachers or teacher in fit.texts

    def refuse_doubt_of_a_law(self, also: dict[str, Any] | None = None) -> None:
        """A published law has no interval, and says how far it reaches instead of refusing."""
        if self.fit_file is None:
            without = {"--level": self.level, "--force": self.force or None} | (also or {})
            refuse_without_effect("--law, which describes real text and has no interval", without)


def teacher_asked(
    name: str | None, params: str | None, tokens: str | None, loss: float | None
) -> str | TeacherAsked | None:
    """The teacher: a name, or its size and data, or its loss; None for real text."""
    if params is None and tokens is None and loss is None:
        return name
    from scaling.predict.explain.teacher import TeacherAsked

    return TeacherAsked(
        name=name,
        n_params=None if params is None else count(params, "teacher-params"),
        n_tokens=None if tokens is None else count(tokens, "teacher-tokens"),
        loss=loss,
    )


def numbers(columns: list[str] | None) -> dict[str, float]:
    """``bits=4`` as a mapping to numbers; zero is a number of a column (no noise), though not a size."""
    return pairs(columns, "at", count_or_zero, example="bits=4")
