"""What goes with a student to another machine: its tokenizer, origin and card, and a command that needs no network."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scaling.accounting import TokenizerLayout, symbol_layout
from scaling.data.tokenizers import Tokenizer, train_tokenizer
from scaling.errors import ExportError
from scaling.export.bundle.card import CARD_FILE, card
from scaling.export.bundle.files import export, open_bundle
from scaling.export.bundle.manifest import MANIFEST_FILE
from scaling.export.bundle.provenance import provenance_of
from scaling.export.bundle.tokenizer_json import TOKENIZER_FILE, tokenizer_json
from scaling.export.findings import Check
from scaling.export.hostile import hostile_texts
from scaling.formats.gguf import read_gguf
from scaling.records import Outcome
from scaling.spec import TokenizerSpec

pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")


@pytest.fixture
def bundle(store, run, forecast, tmp_path):
    return export(store, run, tmp_path / "bundle", recommendation=forecast(run, loss=4.2), license="MIT")


def test_a_manifest_says_where_a_student_comes_from(bundle, run, store):
    found = json.loads((bundle.path / MANIFEST_FILE).read_text())["provenance"]
    assert found["asked"]["target_loss"] == found["forecast"]["loss"] == 4.2
    assert found["fit"] == {"fit_id": "0123456789"}
    assert found["loss"] == store.load(run.run_id).outcome.loss
    assert (found["text"], found["teacher"], found["license"]) == ("w0", "real", "MIT")


def test_no_folder_of_this_machine_goes_with_a_student(store, run, tmp_path):
    """A corpus and a teacher's file are often given by their path here."""
    record = store.load(run.run_id)
    data = {
        "source": {
            "kind": "text", "corpus": f"{tmp_path}/texts/*.txt", "fingerprint": "00",
            "tokenizer": {"kind": "gguf", "file": f"{tmp_path}/big.gguf", "vocab_size": 300},
        },
        "teacher": {"kind": "pretrained", "file": f"{tmp_path}/big.gguf"},
    }  # fmt: skip
    from unittest.mock import patch

    from scaling.spec import DataSpec

    spec = run.model_copy(update={"data": DataSpec.model_validate(data)})
    with patch("scaling.export.bundle.provenance._terms", lambda *_: ""):
        found = provenance_of(replace(record, spec=spec), store)
    assert str(tmp_path) not in repr(found)
    assert found.text == "*.txt"
    assert found.spec["data"]["teacher"]["file"] == "big.gguf"


def test_a_file_says_for_people_what_it_is(bundle, run):
    about = read_gguf(bundle.model_path).about
    assert about["general.name"] == "student 13.4k of w0, real"
    said = about["general.description"]
    assert said.startswith("13.4k parameters without embeddings, trained on 10.2k tokens of w0 (real). It measured ")
    assert about["general.license"] == "MIT"
    assert about["scaling.run_id"] == run.run_id


def test_a_card_holds_asked_beside_forecast_beside_measured(bundle):
    before = (bundle.path / CARD_FILE).read_text()
    assert "| loss, nats/token | ≤ 4.2 | 4.2000 (4.1000 – 4.3000, 90%) |" in before
    assert before.startswith("---\nlicense: MIT\n")
    assert "Verified" not in before
    bundle.describe([Check(name="peak|memory", kind="forecast", expected="1", measured="2", passed=False)])
    after = (bundle.path / CARD_FILE).read_text()
    assert "| peak∣memory | 1 | 2 | **no** |  |" in after
    assert after.replace(after[after.index("## Verified") : after.index("## Run it")], "") == before


BITS = {"loss": 4.1, "loss_se": 0.02, "bits_per_byte": 5.9}
TEACHER = {"loss": 4.1, "loss_se": 0.02, "loss_teacher": 3.3, "loss_teacher_se": 0.05}


@pytest.mark.parametrize(
    ("name", "unit", "outcome", "title", "measured"),
    [
        ("loss", "nats/token", BITS, "loss, nats/token", "4.1000 ± 0.0200"),
        ("bits_per_byte", "bits/byte", BITS, "loss, bits/byte", "5.9000 ± 0.0288"),
        ("loss_teacher", "nats/token", TEACHER, "loss on text of the teacher, nats/token", "3.3000 ± 0.0500"),
        ("loss_teacher", "nats/token", BITS, "loss on text of the teacher, nats/token", "none"),
    ],
)
def test_a_row_of_a_card_is_of_one_loss_in_one_unit(store, run, forecast, bundle, name, unit, outcome, title, measured):
    record, fit = store.load(run.run_id), SimpleNamespace(columns={"loss": name}, law="law", n_runs=1, n_clusters=1)
    record = replace(record, outcome=Outcome(status="done", **outcome))
    found = provenance_of(record, store, recommendation=replace(forecast(run, loss=2.0), unit=unit), fit=fit)
    assert (found.forecast["loss_name"], found.forecast["unit"]) == (name, unit)
    text = card(replace(bundle.manifest, provenance=found), "run")
    first, *others = (line for line in text.splitlines() if line.startswith("| loss"))
    assert first == f"| {title} | ≤ 2 | 2.0000 (1.9000 – 2.1000, 90%) | {measured} |"
    assert others[:-1] == ([] if name == "loss" else ["| loss, nats/token |  |  | 4.1000 ± 0.0200 |"])
    assert others[-1].startswith("| loss as stored, nats/token |")


def test_without_the_fit_the_unit_of_a_forecast_tells_its_loss(store, run, forecast):
    record = store.load(run.run_id)
    for unit, name in (("nats/token", "loss"), ("bits/byte", "bits_per_byte")):
        found = provenance_of(record, store, recommendation=replace(forecast(run, loss=2.0), unit=unit))
        assert found.forecast["loss_name"] == name
        assert found.measured["loss"] == getattr(record.outcome, name)


def test_a_bundle_of_before_whose_forecast_names_no_loss_has_a_card_as_it_had(bundle):
    found = bundle.manifest.provenance
    old = {name: value for name, value in found.forecast.items() if name not in ("loss_name", "unit")}
    before = replace(bundle.manifest, provenance=replace(found, forecast=old, measured={}))
    assert card(before, "run") == card(bundle.manifest, "run")


CHECK = Check(name="peak memory", kind="forecast", expected="1", measured="2", passed=False)


def weights(bundle) -> tuple[bytes, int]:
    return bundle.model_path.read_bytes(), bundle.model_path.stat().st_mtime_ns


@pytest.mark.parametrize("what", ["license", "question", "fit"])
def test_what_is_said_anew_of_an_exported_student_stands_in_its_manifest_and_card(store, run, forecast, bundle, what):
    bundle.describe([CHECK])
    before, asked = weights(bundle), forecast(run, loss=4.2)
    new = {
        "license": {"license": "Apache-2.0", "recommendation": asked},
        "question": {"recommendation": forecast(run, loss=4.9)},
        "fit": {"recommendation": replace(asked, fit_id="9876543210")},
    }[what]
    found = export(store, run, bundle.path, **new)
    assert weights(found) == before
    assert (found.displaced, found.manifest) == (None, open_bundle(bundle.path).manifest)
    said, text = found.manifest.provenance, (bundle.path / CARD_FILE).read_text()
    # Who says nothing of the license means no other.
    license = {"license": "Apache-2.0"}.get(what, "MIT")
    assert said.license == license
    assert f"\nlicense: {license}\n" in text
    assert said.asked["target_loss"] == (4.9 if what == "question" else 4.2)
    assert f"≤ {said.asked['target_loss']:g} |" in text
    assert said.fit["fit_id"] == ("9876543210" if what == "fit" else "0123456789")
    assert f"fit_id {said.fit['fit_id']}" in text
    # What an engine measured was held against the forecast of then.
    assert ("| peak memory | 1 | 2 |" in text) is (what == "license")


def test_an_export_that_says_nothing_new_writes_nothing(store, run, forecast, bundle):
    bundle.describe([CHECK])
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in bundle.path.iterdir()}
    for asked in ({}, {"recommendation": forecast(run, loss=4.2)}, {"license": "MIT"}):
        assert export(store, run, bundle.path, **asked).manifest == bundle.manifest
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in bundle.path.iterdir()} == files


def test_an_export_that_ends_between_card_and_manifest_is_made_up_for(store, run, bundle, monkeypatch):
    def ends(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("scaling.export.bundle.files.write_manifest", ends)
    with pytest.raises(KeyboardInterrupt):
        export(store, run, bundle.path, license="Apache-2.0")
    monkeypatch.undo()
    assert export(store, run, bundle.path, license="Apache-2.0").manifest.provenance.license == "Apache-2.0"
    assert "license: Apache-2.0" in (bundle.path / CARD_FILE).read_text()


def test_a_pruned_student_in_the_way_is_another_one(store, run, bundle):
    pruned = bundle.of(replace(bundle.manifest.provenance, pruned="width=0.5 kept"))
    found = export(store, run, bundle.path)
    assert found.displaced is not None
    assert found.manifest.provenance.pruned == ""
    assert open_bundle(found.displaced).manifest == pruned.manifest


def test_the_command_of_a_card_runs_the_student_where_no_network_is(bundle):
    """In a network namespace of its own there is no other machine, and not even a loopback."""
    pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
    unshare = shutil.which("unshare")
    alone = [unshare or "unshare", "--map-root-user", "--net"]
    if unshare is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody leave the network (unshare --net)")
    card = (bundle.path / CARD_FILE).read_text()
    command = re.search(r"```\n(python .*)\n```", card).group(1)
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    # The engine listens on the loopback, which every namespace has and begins without.
    up = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH', b'lo', 0x49))"
    script = f"{shlex.join([sys.executable, '-c', up])} && exec {shlex.join(words)}"
    done = subprocess.run([*alone, "sh", "-c", script], cwd=bundle.path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[!-~]+|", done.stdout.strip("\n"))


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_the_tokenizers_library_cuts_text_as_the_student_was_trained(kind, tmp_path):
    library = pytest.importorskip("tokenizers", reason="learns a BPE: pip install 'scaling[text]'")
    corpus = ["the cat sat on the mat, and the hat; don't they'll naïve café 1234"] * 20
    tokenizer = Tokenizer() if kind == "bytes" else train_tokenizer(TokenizerSpec(kind="bpe", vocab_size=290), corpus)
    (tmp_path / TOKENIZER_FILE).write_text(json.dumps(tokenizer_json(tokenizer.to_gguf())))
    read = library.Tokenizer.from_file(str(tmp_path / TOKENIZER_FILE))
    read.encode_special_tokens = True  # what a text spells is text
    for text in hostile_texts():
        assert read.encode(text).ids == tokenizer.encode(text).tolist(), repr(text)
    assert read.token_to_id("<|endoftext|>") == tokenizer.eos_id
    ids = np.arange(tokenizer.vocab_size - 1)[65:91]
    assert read.decode(ids.tolist()) == tokenizer.decode(ids)


def test_a_cut_without_a_name_is_refused():
    layout = symbol_layout(65)
    other = TokenizerLayout(**{**vars(layout), "pre": "llama-bpe"})
    with pytest.raises(ExportError, match="cannot cut text by 'llama-bpe' — known: gpt-2, smollm"):
        tokenizer_json(other)
