"""What one run is: every input that decides its outcome, frozen, validated, and named by its hash.

A :class:`RunSpec` is the unit of the whole project: a sweep expands into them, a plan groups them into trunks, a record
stores one, a recommendation *is* one. Its ``run_id`` is the hash of its canonical JSON, so the same inputs always mean
the same run, whoever asks for it and whatever it is called. Facts live in fields; names are never parsed.
"""

from scaling.spec.model import ModelSpec
from scaling.spec.run import DataSpec, MixtureTeacher, NetTeacher, RunSpec, Teacher, TrainedTeacher
from scaling.spec.schema import GGUF_BLOCK, SCHEMA_VERSION, Spec
from scaling.spec.sources import AnyWorld, HierarchySource, MarkovSource, Source, TextSource, TokenizerSpec, WorldSource
from scaling.spec.targets import ExactTargets, SampledTargets, SoftTargets, Targets, TokenTargets, TopKTargets
from scaling.spec.teachers import (
    TEACHERS_OF,
    CoverageTeacher,
    NgramTeacher,
    NoiseTeacher,
    PretrainedTeacher,
    RealTeacher,
    ShiftTeacher,
    StaleTeacher,
    TemperatureTeacher,
)
from scaling.spec.training import EvalSpec, OptimSpec

__all__ = [
    "AnyWorld",
    "CoverageTeacher",
    "DataSpec",
    "EvalSpec",
    "ExactTargets",
    "GGUF_BLOCK",
    "HierarchySource",
    "MarkovSource",
    "MixtureTeacher",
    "ModelSpec",
    "NetTeacher",
    "NgramTeacher",
    "NoiseTeacher",
    "OptimSpec",
    "PretrainedTeacher",
    "RealTeacher",
    "RunSpec",
    "SCHEMA_VERSION",
    "SampledTargets",
    "ShiftTeacher",
    "SoftTargets",
    "Source",
    "Spec",
    "StaleTeacher",
    "TEACHERS_OF",
    "Targets",
    "Teacher",
    "TemperatureTeacher",
    "TextSource",
    "TokenTargets",
    "TokenizerSpec",
    "TopKTargets",
    "TrainedTeacher",
    "WorldSource",
]
