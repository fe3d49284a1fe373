"""What one run is: every input that decides its outcome, frozen, validated, and named by its hash.

A :class:`RunSpec` is the unit of the whole project: a sweep expands into them, a plan groups them into trunks, a record
stores one, a recommendation *is* one. Its ``run_id`` is the hash of its canonical JSON, so the same inputs always mean
the same run, whoever asks for it and whatever it is called. Facts live in fields; names are never parsed.
"""

from scaling.spec.data import DataSpec
from scaling.spec.distill import DistillSpec, LogitDistill, SequenceDistill
from scaling.spec.labels import TextLabel, text_labels
from scaling.spec.learned import StudentTeacher, TrainedTeacher, needed_runs, teacher_run
from scaling.spec.model import ModelSpec
from scaling.spec.network_distill import (
    DistilbertDistill,
    MinilmDistill,
    NetworkDistill,
    OnPolicyDistill,
    SoftDistill,
    TinybertDistill,
    layer_step,
)
from scaling.spec.run import RunSpec, trunk_steps
from scaling.spec.schema import SCHEMA_VERSION, KindSpec, Spec
from scaling.spec.sources import (
    CorpusSpec,
    FactSource,
    HierarchySource,
    MarkovSource,
    Source,
    TextSource,
    TokenizerSpec,
    WorldSource,
)
from scaling.spec.targets import ExactTargets, SampledTargets, SoftTargets, Targets, TokenTargets, TopKTargets
from scaling.spec.tasks import PcfgSetSource, ScanSource, TaskSource
from scaling.spec.teachers import (
    CoverageTeacher,
    MixtureTeacher,
    ModelTeacher,
    NgramTeacher,
    NoiseTeacher,
    PretrainedTeacher,
    RealTeacher,
    RulesTeacher,
    ShiftTeacher,
    StaleTeacher,
    Teacher,
    TemperatureTeacher,
)
from scaling.spec.training import EvalSpec, OptimSpec
from scaling.spec.vocabulary_distill import DualVocabDistill, MixedVocabDistill, VocabularyDistill

__all__ = [
    "DualVocabDistill",
    "MixedVocabDistill",
    "VocabularyDistill",
    "CoverageTeacher",
    "DataSpec",
    "DistilbertDistill",
    "DistillSpec",
    "CorpusSpec",
    "EvalSpec",
    "ExactTargets",
    "FactSource",
    "HierarchySource",
    "KindSpec",
    "LogitDistill",
    "MarkovSource",
    "MinilmDistill",
    "MixtureTeacher",
    "ModelSpec",
    "ModelTeacher",
    "NetworkDistill",
    "OnPolicyDistill",
    "NgramTeacher",
    "NoiseTeacher",
    "OptimSpec",
    "PcfgSetSource",
    "PretrainedTeacher",
    "RealTeacher",
    "RulesTeacher",
    "RunSpec",
    "SCHEMA_VERSION",
    "SampledTargets",
    "ScanSource",
    "SequenceDistill",
    "ShiftTeacher",
    "SoftDistill",
    "SoftTargets",
    "Source",
    "Spec",
    "StaleTeacher",
    "StudentTeacher",
    "Targets",
    "TaskSource",
    "Teacher",
    "TemperatureTeacher",
    "TextLabel",
    "TextSource",
    "TinybertDistill",
    "TokenTargets",
    "TokenizerSpec",
    "TopKTargets",
    "TrainedTeacher",
    "WorldSource",
    "layer_step",
    "needed_runs",
    "teacher_run",
    "text_labels",
    "trunk_steps",
]
