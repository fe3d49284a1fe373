"""Which vocabulary a small student's bytes are spent on best: python analysis/vocabulary.py [RESULTS]

Bits a byte of held-out speeches, by vocabulary and width, beside the int8 file with its tokenizer and the share of the
table of embeddings in it; then at equal bytes, on a line in log bytes between two widths. First where the pieces were
learned from eleven times the text that students read at most, then where they were learned from that text alone. Then,
of the first, the published form with a term of the vocabulary, D in bytes of text, fitted to the loss beside the
unigram model of the same pieces, as it was published, and to bits a byte.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from published import REFERENCE

from scaling.accounting import gguf_bytes, tensor_bytes
from scaling.data.text import open_text, open_tokenizer
from scaling.fit.fitter import fit
from scaling.records import RunRecord, RunStore, load_runs

ALL_SPEECHES, OWN_TEXT = "vocabulary", "vocabulary_own"
BUDGETS = (150_000, 250_000, 350_000, 480_000, 597_000)
COLUMNS = [
    *("run_id", "trunk_id", "status", "seed", "vocab_size", "width", "n_params", "n_vocab_params", "n_tokens"),
    *("text_bytes", "flops", "file_bytes", "table_bytes", "loss", "loss_se", "bits_per_byte", "unigram_loss"),
]


def main(results: str = "results") -> None:
    tables = {}
    for sweep in (ALL_SPEECHES, OWN_TEXT):
        path = REFERENCE / f"{sweep}.csv"
        if (Path(results) / sweep / "runs.parquet").exists():
            measured(sweep, RunStore(results)).to_csv(path, index=False, float_format="%.6g")
        runs = pd.read_csv(path).query("status == 'done'")
        tables[sweep] = runs.assign(text=runs["text_bytes"].map(lambda n_bytes: f"{_rounded(n_bytes):,}"))
        print(f"\n{sweep}: bits a byte by bytes of text read\n" + by_file(tables[sweep]).to_string())
        print(f"\n{sweep}: at equal bytes of the file\n" + at_equal_bytes(tables[sweep]).to_string())
    runs = tables[ALL_SPEECHES]
    runs["beside_unigrams"] = runs["loss"] - runs["unigram_loss"]
    print(f"\nnats a token beside unigrams: {law(runs, 'beside_unigrams')}")
    print(f"bits a byte: {law(runs, 'bits_per_byte')}")


def measured(sweep: str, store: RunStore) -> pd.DataFrame:
    """The runs of a sweep with what they take, and the unigram model of their pieces."""
    runs = load_runs(store.root / sweep)
    records = {run_id: store.load(run_id) for run_id in runs["run_id"]}
    unigram = {record.spec.data.source.vocab_size: unigram_loss(record, store) for record in records.values()}
    runs["unigram_loss"] = runs["vocab_size"].map(unigram)
    runs["n_vocab_params"] = runs["vocab_size"] * runs["width"]
    runs["text_bytes"] = runs["n_tokens"] * runs["loss"] / (math.log(2) * runs["bits_per_byte"])
    layouts = {
        record.spec.data.source.vocab_size: open_tokenizer(record.spec.data.source, store).to_gguf()
        for record in records.values()
    }
    models = [records[run_id].spec.model for run_id in runs["run_id"]]
    runs["file_bytes"] = [gguf_bytes(model, layouts[model.vocab_size], "Q8_0") for model in models]
    runs["table_bytes"] = [tensor_bytes((model.vocab_size, model.width), "Q8_0") for model in models]
    return runs[COLUMNS]


def unigram_loss(record: RunRecord, store: RunStore) -> float:
    """Of held-out text by how often each piece came in training, one added to each: nats/token."""
    source = record.spec.data.source
    counts, held_out = (open_text(source, split, store).counts() for split in ("train", "held_out"))
    log_probs = np.log((counts + 1) / (counts + 1).sum())
    return float(-(held_out @ log_probs) / held_out.sum())


def by_file(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a student, one column a volume of text."""
    students = ["vocab_size", "width", "file_bytes", "table_bytes"]
    table = runs.pivot_table("bits_per_byte", students, "text", sort=False).reset_index("table_bytes")
    share = table["table_bytes"] / table.index.get_level_values("file_bytes")
    return table.drop(columns="table_bytes").assign(table=share).round(3)


def at_equal_bytes(runs: pd.DataFrame) -> pd.DataFrame:
    """Bits a byte of each vocabulary at each budget, empty where no two of its students enclose it."""
    rows = []
    for (text, vocab), own in runs.groupby(["text", "vocab_size"], sort=False):
        own = own.sort_values("file_bytes")
        known, bits = np.log(own["file_bytes"]), own["bits_per_byte"]
        found = np.interp(np.log(BUDGETS), known, bits, left=np.nan, right=np.nan)
        rows += [(text, vocab, budget, one) for budget, one in zip(BUDGETS, found, strict=True)]
    table = pd.DataFrame(rows, columns=["text", "vocabulary", "bytes", "bits"])
    return table.pivot_table("bits", ["text", "bytes"], "vocabulary", sort=False).round(3)


def law(runs: pd.DataFrame, loss: str) -> str:
    """The law with its term of the vocabulary, and how much of the runs it explains."""
    columns = {"n": "n_params", "n_vocab_params": "n_vocab_params", "d": "text_bytes"}
    found = fit(runs, law="vocabulary", columns=columns, loss=loss, objective="squared", log=False, strict=False)
    values = {name: runs[column].to_numpy(float) for name, column in columns.items()}
    # Of the law, not of the fit, which gives no loss below zero.
    off = found.law.loss(**values) - runs[loss]
    return f"{found.law}; off by {off.std():.3f}, R² {1 - off.var() / runs[loss].var():.2f}, {len(runs)} runs"


def _rounded(n_bytes: float) -> int:
    """To the volume that was meant: a quarter of a megabyte, half of one, one."""
    return int(2 ** round(math.log2(n_bytes / 1e6)) * 1e6)


if __name__ == "__main__":
    main(*sys.argv[1:])
