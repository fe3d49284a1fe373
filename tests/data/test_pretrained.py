"""Tokens of other people's models: cut as their pre-tokenizer says, spelled as their types say."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.accounting import TokenizerLayout
from scaling.data.pretrained import GgufTokenizer
from scaling.data.tokenizers import EOS_TEXT, train_tokenizer
from scaling.spec import TokenizerSpec

pytest.importorskip("tokenizers", reason="cuts text: pip install 'scaling[text]'")

TEXTS = [f"The people of the nation, {y}: peace and revenue, the people's treaty." for y in range(1790, 1850)]
TRAINED = train_tokenizer(TokenizerSpec(vocab_size=300), TEXTS)
LAYOUT = TRAINED.to_gguf()
STRANGE = "naïve 平和 🙂\t\r\n\x00 don't  it's 1790—1791 \u00a0end  "


def with_token(layout, token, kind):
    return replace(layout, tokens=(*layout.tokens, token), token_types=(*layout.token_types, kind))


@pytest.mark.parametrize("text", ["", STRANGE, TEXTS[0], "x\n" * 70_000])
def test_a_file_of_our_own_tokens_cuts_text_as_we_do(text):
    read = GgufTokenizer(LAYOUT)
    assert np.array_equal(read.encode(text), TRAINED.encode(text))
    assert read.decode(read.encode(text)) == text
    assert np.array_equal(read.n_bytes, TRAINED.n_bytes)
    assert (read.eos_id, read.vocab_size) == (TRAINED.eos_id, 300)


def test_digits_stand_alone_where_the_file_says_so():
    merges = (*LAYOUT.merges, "6 6")
    layout = replace(with_token(LAYOUT, "66", 1), merges=merges)
    joined, alone = (GgufTokenizer(replace(layout, pre=pre)).encode("in 6600") for pre in ("gpt-2", "smollm"))
    assert 300 in joined
    assert 300 not in alone
    assert len(alone) > len(joined)


def test_control_tokens_have_no_bytes_and_text_never_becomes_one():
    layout = with_token(with_token(LAYOUT, "<|im_end|>", 3), "\n\n\n", 4)
    tokenizer = GgufTokenizer(replace(layout, eos_id=300))
    assert tokenizer.token_bytes[300:] == (b"", b"\n\n\n")
    assert 300 not in tokenizer.encode("<|im_end|>")
    assert tokenizer.eos_id == TRAINED.eos_id, "what ends a document is known by name, before what ends a turn"
    assert tokenizer.to_gguf().bos_id == tokenizer.to_gguf().eos_id == TRAINED.eos_id


def test_a_byte_without_a_token_is_left_out():
    kept = [token if token != "!" else "<no>" for token in LAYOUT.tokens]
    layout = TokenizerLayout(
        tokens=tuple(kept),
        token_types=tuple(5 if token == "<no>" else kind for token, kind in zip(kept, LAYOUT.token_types, strict=True)),
        merges=LAYOUT.merges,
        bos_id=LAYOUT.bos_id,
        eos_id=LAYOUT.eos_id,
    )
    tokenizer = GgufTokenizer(layout)
    assert tokenizer.decode(tokenizer.encode("a! b")) == "a b"


def test_files_of_one_family_have_one_hash():
    assert GgufTokenizer(LAYOUT).hash == GgufTokenizer(replace(LAYOUT, bos_id=0)).hash
    assert GgufTokenizer(LAYOUT).hash != GgufTokenizer(replace(LAYOUT, pre="smollm")).hash
    assert EOS_TEXT in LAYOUT.tokens
