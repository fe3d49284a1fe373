"""The schema version, and what every specification obeys."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Final, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from scaling.registry import Registry

K = TypeVar("K", bound="KindSpec")

SCHEMA_VERSION: Final = 1
"""Version of the run specification and of everything under results/; part of every hash."""


class Spec(BaseModel):
    """Base of all specifications: frozen, an unknown key is an error, a number is no text and no boolean."""

    # Validators are built when they are first needed: most commands need a few kinds of many.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, defer_build=True)


class GrownSpec(Spec):
    """A specification that gained fields when runs were stored already, which must keep their ids."""

    later: ClassVar[frozenset[str]] = frozenset()
    """The fields it gained: where they say nothing they are left out of the JSON."""

    def is_silent(self, name: str) -> bool:
        """True where a later field says no more than its absence would."""
        return bool(getattr(self, name) == type(self).model_fields[name].default)

    @model_serializer(mode="wrap")
    def _without_silent_fields(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialize(self)
        for name in self.later:
            if self.is_silent(name):
                fields.pop(name, None)
        return fields


class KindSpec(Spec):
    """A specification of one of several kinds, told apart by ``kind``.

    A direct subclass is a sort of thing (a source, a teacher) and holds the ``kinds`` there are; validating anything
    as that sort gives an object of the class that its ``kind`` names. Another package adds a class by an entry point.
    """

    kinds: ClassVar[Registry[type[KindSpec]]]

    kind: str

    @classmethod
    def add_kind(cls, member: type[K]) -> type[K]:
        """Add a class of this sort under the one ``kind`` that it allows; a decorator.

        Raises:
            SpecError: another class has that kind.
        """
        (name,) = get_args(member.model_fields["kind"].annotation)
        cls.kinds.add(name, member)
        return member

    @classmethod
    def members(cls) -> tuple[type[KindSpec], ...]:
        """The classes that a value of this one may have: all kinds of a sort, else itself."""
        return tuple(cls.kinds.values()) if "kinds" in vars(cls) else (cls,)

    @model_validator(mode="wrap")
    @classmethod
    def _as_its_kind_says(cls, value: Any, validate: ModelWrapValidatorHandler[KindSpec]) -> KindSpec:
        if "kinds" not in vars(cls) or isinstance(value, cls):
            return validate(value)
        if not isinstance(value, dict):
            raise PydanticKnownError("model_attributes_type")
        if "kind" not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        if not isinstance(value["kind"], str) or value["kind"] not in cls.kinds:
            allowed = ", ".join(f"'{kind}'" for kind in cls.kinds)
            told = {"discriminator": "'kind'", "tag": str(value["kind"]), "expected_tags": allowed}
            raise PydanticKnownError("union_tag_invalid", told)
        return cls.kinds[value["kind"]].model_validate(value)


def canonical_json(fields: dict[str, Any]) -> str:
    """The one spelling that is hashed: sorted keys, no spaces, no NaN."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short_hash(text: str) -> str:
    """blake2b of a canonical JSON, 10 hex digits: what an id is."""
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
