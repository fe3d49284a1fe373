"""A run's inputs and its outcome, as one record and as one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from scaling.accounting import count_parameters, training_flops, training_flops_6nd
from scaling.records.compute import student_flops, teacher_flops
from scaling.spec import DataSpec, RunSpec, TextLabel, text_labels

Status = Literal["done", "diverged", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run measured. Losses are nats/token on held-out data; None means not measured or not defined.

    Attributes:
        status: ``done``, ``diverged`` (by the rule of scaling/train/health.py; losses are None) or ``failed``.
        loss: Loss on real held-out text; in a world, the exact expectation over scored tokens.
        loss_se: Standard error of ``loss``.
        bits_per_byte: ``loss`` in bits per byte of text, comparable over tokenizers.
        loss_teacher: Loss on held-out text of the teacher that the student learned from.
        loss_teacher_se: Standard error of ``loss_teacher``.
        teacher_loss: Loss of the teacher itself on real held-out text, ``H(p) + KL(p‖q)``.
        entropy: Exact entropy H(p) of a world, per scored token.
        delta_coverage: Part of KL(p‖q) that comes from what the teacher never learned.
        delta_noise: Part of KL(p‖q) that comes from errors everywhere.
        generator_delta_coverage: ``delta_coverage`` of the teacher inside a mixture, as if it generated all; None
            without a mixture.
        generator_delta_noise: ``delta_noise``, likewise.
        kl_student: KL(q‖f) of the student f from its teacher q.
        cross_term: Δ, what closes ``loss = entropy + KL(p‖q) + KL(q‖f) + Δ``.
        exact_match: Share of a task's questions answered without an error, of the kind learned from.
        exact_match_se: Its standard error.
        ood_loss: Loss on another kind than what was read: on answers to questions of the kind that a task keeps from
            training, or on another text.
        ood_loss_se: Its standard error.
        ood_bits_per_byte: ``ood_loss`` on another text, in bits per byte.
        unigram_loss: Loss on real held-out text of who knows how often each token comes in the training part and no
            more; measured where there is another text.
        ood_unigram_loss: The same on the other text.
        ood_exact_match: Share of those answered without an error.
        ood_exact_match_se: Its standard error.
        consistency: Share of a task's questions that are answered alike, right or wrong, when they are asked in another
            way: with a function's second name (substitutivity), or from the inside out (localism).
        consistency_se: Its standard error.
        memorised: Share of the exceptions that a task teaches which are answered as they were taught; answered by the
            rule that they break, they are among ``ood_exact_match``.
        memorised_se: Its standard error.
        pairs: Of minimal pairs, the share in which the right sentence is likelier, by phenomenon and by what keeps them
            from text of the same grammar, with standard errors and the control with shuffled context; chance is ½.
            Empty where none were asked.
        train_loss: Mean training loss of the last twentieth of the run.
        loss_spikes: Times that the training loss jumped out of its noise (scaling/train/health.py).
        noise_scale: Gradient noise scale of the later half of the run, tokens.
        noise_scale_se: Its standard error.
        n_unique_tokens: Different tokens among those seen.
        wall_s: Seconds spent on this branch (the shared trunk counted once, on its first branch).
        compile_s: Those of them that went into compiling programs, or reading compiled ones.
        tokens_per_s: Training throughput, compiling left out.
        kwh: Energy spent on this branch, the building's share included.
        energy_source: ``rapl``, ``nvml`` or ``nvml+rapl`` (counters), or ``model`` (scaling/accounting/).
        co2e_kg: CO2 equivalents of ``kwh``.
        error: One sentence for a run that is not done.
        started_at: UTC, ISO 8601.
        finished_at: UTC, ISO 8601.
        env: Versions, device, git commit.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    status: Status
    loss: float | None = None
    loss_se: float | None = None
    bits_per_byte: float | None = None
    loss_teacher: float | None = None
    loss_teacher_se: float | None = None
    teacher_loss: float | None = None
    entropy: float | None = None
    delta_coverage: float | None = None
    delta_noise: float | None = None
    generator_delta_coverage: float | None = None
    generator_delta_noise: float | None = None
    kl_student: float | None = None
    cross_term: float | None = None
    exact_match: float | None = None
    exact_match_se: float | None = None
    ood_loss: float | None = None
    ood_loss_se: float | None = None
    ood_bits_per_byte: float | None = None
    unigram_loss: float | None = None
    ood_unigram_loss: float | None = None
    ood_exact_match: float | None = None
    ood_exact_match_se: float | None = None
    consistency: float | None = None
    consistency_se: float | None = None
    memorised: float | None = None
    memorised_se: float | None = None
    pairs: dict[str, float] = field(default_factory=dict)
    train_loss: float | None = None
    loss_spikes: int | None = None
    noise_scale: float | None = None
    noise_scale_se: float | None = None
    n_unique_tokens: int | None = None
    wall_s: float | None = None
    compile_s: float | None = None
    tokens_per_s: float | None = None
    kwh: float | None = None
    energy_source: str | None = None
    co2e_kg: float | None = None
    error: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    env: dict[str, str] = field(default_factory=dict)

    def standard_error(self, column: str) -> float | None:
        """Of a loss; one in bits/byte is the one in nats/token times a number of the text, and so is its error."""
        if column == "bits_per_byte" and self.loss and self.loss_se is not None and self.bits_per_byte:
            return self.loss_se * self.bits_per_byte / self.loss
        return getattr(self, f"{column}_se", None)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run's inputs and its outcome."""

    spec: RunSpec
    outcome: Outcome

    @property
    def texts(self) -> list[DataSpec]:
        """What its student has read: here, and in the runs that it started from."""
        return [self.spec.data] + [start.data for start in _starts(self.spec)]

    def row(self, labels: Mapping[str, TextLabel] | None = None) -> dict[str, Any]:
        """One flat row of the runs table; the columns are described in results/README.md.

        Args:
            labels: What the table calls each of the texts, by ``text_id``, where it has to tell them from others.
        """
        spec, model, optim = self.spec, self.spec.model, self.spec.optim
        counts = count_parameters(model)
        labels = labels or text_labels(self.texts)
        label = labels[spec.data.text_id]
        outcome = {f.name: getattr(self.outcome, f.name) for f in fields(Outcome) if f.name != "env"}
        if spec.data.generator is spec.data.teacher:
            # No mixture: the text is all the generator's.
            outcome |= {f"generator_{name}": outcome[name] for name in ("delta_coverage", "delta_noise")}
        pairs = {f"pairs_{name}": value for name, value in outcome.pop("pairs").items()}
        unique = outcome.pop("n_unique_tokens") or spec.n_tokens
        return {
            "run_id": spec.run_id,
            "trunk_id": spec.trunk_id,
            "status": outcome.pop("status"),
            "text_id": spec.data.text_id,
            "source": label.source,
            "teacher": label.teacher,
            "real_share": spec.data.real_share,
            "recipe": spec.recipe.kind,
            "aims_at_loss": spec.recipe.aims_at_loss,
            **_start_columns(spec, labels),
            "seed": spec.seed,
            "n_params": counts.n_params,
            "n_params_linear": counts.n_params_linear,
            "n_params_total": counts.n_params_total,
            "n_tokens": spec.n_tokens,
            "n_unique_tokens": unique,
            "epochs": spec.n_tokens / unique,
            "tokens_per_param": spec.n_tokens / counts.n_params,
            "flops": student_flops(spec, spec.n_tokens),
            "flops_6nd": float(training_flops_6nd(model, spec.n_tokens)),
            "teacher_flops": teacher_flops(spec),
            "width": model.width,
            "n_layers": model.n_layers,
            "vocab_size": model.vocab_size,
            "context": model.context,
            "lr": optim.lr,
            "batch_size": optim.batch_size,
            **outcome,
            **{key: self.outcome.env.get(key) for key in ("device", "jax_version", "git_commit")},
            **pairs,
        }


def _starts(spec: RunSpec) -> list[RunSpec]:
    """The run that one starts from, the one that this started from, and so on."""
    return [] if spec.start_from is None else [spec.start_from, *_starts(spec.start_from)]


def _start_columns(spec: RunSpec, labels: Mapping[str, TextLabel]) -> dict[str, Any]:
    """What a student knew before it read the first token; nothing, where its weights were random."""
    starts = _starts(spec)
    read = [labels[start.data.text_id] for start in starts]
    return {
        "start": ", before it ".join(f"{text.source} {text.teacher}" for text in read) or None,
        "start_run": starts[0].run_id if starts else None,
        "start_text_id": starts[0].data.text_id if starts else None,
        "start_tokens": sum(start.n_tokens for start in starts),
        "start_flops": float(sum(training_flops(start.model, start.n_tokens) for start in starts)),
    }
