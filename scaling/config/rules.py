"""Values computed from the rest of a run, from a fixed set of rules."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from scaling.accounting import count_parameters, forward_flops
from scaling.config.sweep import FlopsBudget, Rule, SizePower, TokensPerParam, WidthPower
from scaling.numbers import tokens_per_param
from scaling.spec import ModelSpec

RULES: TypeAdapter[Rule] = TypeAdapter(Rule)


def as_rule(value: Any) -> Rule | None:
    """The rule that a value stands for: a mapping with ``rule``, or ``20x``; None for a plain value.

    Raises:
        pydantic.ValidationError: if the mapping names no known rule or lacks one of its values.
    """
    if isinstance(value, WidthPower | SizePower | TokensPerParam | FlopsBudget):
        return value
    if isinstance(value, dict) and "rule" in value:
        return RULES.validate_python(value)
    ratio = tokens_per_param(value)
    return None if ratio is None else TokensPerParam(rule="tokens_per_param", ratio=ratio)


def apply_rule(rule: Rule, model: ModelSpec) -> float:
    """The value of a rule for a model."""
    match rule:
        case WidthPower():
            return rule.base * (rule.base_width / model.width) ** rule.power
        case SizePower():
            return rule.base * (rule.base_params / count_parameters(model).n_params) ** rule.power
        case TokensPerParam():
            return max(1, round(rule.ratio * getattr(count_parameters(model), rule.count)))
        case FlopsBudget():
            return max(1, round(rule.flops / (3 * forward_flops(model))))
