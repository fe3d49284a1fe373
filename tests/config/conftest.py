"""A valid sweep to start from, and a way to write variants of it."""

import pytest

SWEEP = """\
# QUESTION: does width help
# COMMAND:  scaling run sweep.yaml
# COST:     a minute
# EXPECT:   yes
name: small
base:
  model: {n_layers: 2, context: 40}
  data: {source: {kind: w0}}
  optim: {batch_size: 16, warmup_tokens: 4k}
grid:
  model.width: [32, 64]
  data.teacher: [{kind: real}, {kind: noise, rate: 0.2}]
  tokens: [100k, 200k]
derive:
  optim.lr: {rule: width_power, base: 6e-3, base_width: 32, power: 0.5}
recommend: {target_loss: 1.75, memory: 64MiB}
"""


@pytest.fixture
def write(tmp_path):
    """Write text as a file of a temporary folder; a sweep by default, with replacements applied."""

    def _write(*replacements, text=SWEEP, name="sweep.yaml"):
        for old, new in replacements:
            assert old in text, f"{old!r} is not in the sweep"
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write
