"""A small corpus of files for the tests of text."""

import random

import pytest

from scaling.spec import RunSpec

WORDS = "the a of and to law war peace people nation congress treaty revenue année über 平和 shall has been is"


def document(number: int) -> str:
    rng = random.Random(number)
    paragraphs = [" ".join(rng.choices(WORDS.split(), k=rng.randint(15, 40))).capitalize() + "." for _ in range(8)]
    return "\n\n".join([f"Message {number}.", *paragraphs, "God save the nation."])


@pytest.fixture
def texts(tmp_path):
    """A glob of forty documents."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02d}.txt").write_text(document(i), "utf-8")
    return str(folder / "*.txt")


@pytest.fixture
def text_run(texts):
    """Specifications of runs on those documents."""

    def make(*, kind="bytes", context=32, seed=0, batch_size=4, teacher=None, tokens=1000, evaluation_tokens=500):
        tokenizer = {"kind": kind} if kind == "bytes" else {"kind": kind, "vocab_size": 320}
        source = {"kind": "text", "corpus": texts, "tokenizer": tokenizer}
        return RunSpec.model_validate(
            {
                "model": {"vocab_size": 257 if kind == "bytes" else 320, "width": 32, "context": context},
                "data": {"source": source, "teacher": teacher or {"kind": "real"}, "seed": seed},
                "optim": {"batch_size": batch_size, "beta2_half_life_tokens": 10**6},
                "evaluation": {"tokens": evaluation_tokens},
                "tokens": tokens,
            }
        )

    return make
