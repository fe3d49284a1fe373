"""Laws that stand on a base law E + x(N, D): they keep its coefficients, and add their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

from scaling.errors import SpecError
from scaling.laws.law import LAWS, AdditiveLaw, Coefficient, ScalingLaw

DEFAULT_BASE = "chinchilla"


class OnBase(ScalingLaw):
    """A law with the coefficients of an additive base law, and further ones.

    Subclasses name their own coefficients in `extra`, say in `adds` whether the base's excess enters as a plain sum,
    and in `only_on` which base they are bound to, if to one.

    Args:
        base: name of an additive base law.
        **values: coefficients.

    Raises:
        SpecError: the base has no floor to build on, or the law does not stand on it.
    """

    extra: tuple[Coefficient, ...] = ()
    adds: bool = True
    only_on: ClassVar[str | None] = None
    base: AdditiveLaw

    def __init__(self, base: str = DEFAULT_BASE, **values: float):
        if self.only_on not in (None, base):
            raise SpecError(
                f"law {self.name!r} changes a term of {self.only_on!r} itself, so it stands on that alone, got base "
                f"{base!r}"
            )
        form = LAWS[base]()
        if not isinstance(form, AdditiveLaw):
            allowed = ", ".join(name for name, law in LAWS.items() if issubclass(law, AdditiveLaw))
            raise SpecError(f"law {self.name!r}: base {base!r} has no additive floor; choose from {allowed}")
        object.__setattr__(self, "base", form)
        object.__setattr__(self, "is_linear", form.is_linear and self.adds)
        object.__setattr__(self, "coefficients", form.coefficients + self.own_coefficients())
        super().__init__(**values)

    def own_coefficients(self) -> tuple[Coefficient, ...]:
        """Those that the base does not have."""
        return self.extra

    @property
    def label(self) -> str:
        """Short name with its base, "tied+q1"; a law on the Chinchilla base is just "q1"."""
        return self.name if self.base.name == DEFAULT_BASE else f"{self.base.name}+{self.name}"

    @property
    def heading(self) -> str:
        """Title, and that of another base than Chinchilla."""
        return self.title if self.base.name == DEFAULT_BASE else f"{self.title}, on {self.base.title}"

    def structure(self) -> dict[str, Any]:
        """Name of the base law."""
        return {"base": self.base.name}

    def on(self, p: SimpleNamespace, n: Any, d: Any) -> Any:
        """The base law at size n and data d."""
        return p.E + self.base.excess(p, n, d)

    def seed(self, start, amplitudes):
        """The base law's own start, and the drawn coefficients of the term."""
        return start | amplitudes | self.base.seed(start, amplitudes)
