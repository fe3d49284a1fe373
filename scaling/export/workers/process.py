"""What all workers do: read a job, answer it, die with whoever asked, and know how much memory they hold.

A worker whose engine takes tokens and gives logits is one class with ``read`` and ``reset``; `serve` does the rest.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time

PR_SET_PDEATHSIG = 1


def begin():
    """The job, and where its answer is written; whatever the engine prints does not end up in it."""
    job = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    die_with_parent()
    return job, answer


def said(main) -> None:
    """Run a worker; an engine that refuses its work ends with one sentence."""
    try:
        main()
    except (RuntimeError, ValueError, KeyError, MemoryError, OSError) as failure:
        sys.exit(str(failure))


def serve(libraries, load) -> None:
    """Answer one job with a model that reads tokens.

    Args:
        libraries: Imports what the engine is made of; its memory is not the model's.
        load: The job to a model: ``reset()``, then ``read(ids) -> float32[n, V]`` logits after each of some tokens.
    """
    job, answer = begin()
    libraries()
    import numpy as np

    # What the libraries took until here is theirs; from here on it is the model's.
    give_back_free_pages()
    before = memory(job["path"])
    started = time.perf_counter()
    model = load(job)
    loaded_s = time.perf_counter() - started
    held = [memory(job["path"])]
    result = {
        "load_s": loaded_s,
        "load_average": os.getloadavg()[0],
        "token_ids": write(model, job["prompt"], job["n_tokens"]),
        "text": "",
        "ended": False,
        "speed": [time_once(model, job) for _ in range(job["repeats"])],
        "before": before,
    }
    result["held"] = [*held, memory(job["path"])]
    if job["scored"]:
        np.save(job["scores"], score(model, np.load(job["scored"])))
    json.dump(result, answer)
    answer.close()


def write(model, prompt, n_tokens):
    """Greedy continuation; it goes on after the end of a document."""
    model.reset()
    logits, written = model.read(prompt)[-1], []
    for _ in range(n_tokens):
        written.append(int(logits.argmax()))
        logits = model.read(written[-1:])[-1]
    return written


def time_once(model, job):
    """Rates of reading a prompt, and of writing after it."""
    model.reset()
    prompt, n_tokens = job["speed_prompt"], job["speed_tokens"]
    started = time.perf_counter()
    logits = model.read(prompt)[-1]
    read_s, busy = time.perf_counter() - started, time.process_time()
    for _ in range(n_tokens):
        logits = model.read([int(logits.argmax())])[-1]
    write_s, busy_s = time.perf_counter() - started - read_s, time.process_time() - busy
    return {"prompt": len(prompt) / read_s, "decode": n_tokens / write_s, "busy": n_tokens / busy_s}


def score(model, sequences):
    """Log-probabilities float32[n, T, V] after each token of int32[n, T]."""
    import numpy as np

    rows = []
    for sequence in sequences.tolist():
        model.reset()
        logits = model.read(sequence).astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        rows.append((logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32))
    return np.stack(rows)


def die_with_parent() -> None:
    """End when the process that asked ends, however it does; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def give_back_free_pages() -> None:
    """Let the system take what the interpreter has freed; else the engine would use it, and seem to need less."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def memory(path) -> dict:
    """Bytes that this process allocated, and resident bytes of its mapping of a file; from the system's page tables.

    Resident code is not looked at: how much of a library is there is decided by the page cache (16 to 512 pages come
    with each that is used), not by the engine. Without such tables all of the process counts as allocated.
    """
    # The system names the file itself, whatever link led there.
    found, is_file, end = {"allocated": 0, "mapped": 0}, False, _in_maps(os.fsencode(os.path.realpath(path)))
    try:
        with open("/proc/self/smaps", "rb") as maps:
            for line in maps:  # none is kept: they would be taken for the engine's
                head, *rest = line.split(maxsplit=5)
                if not head.endswith(b":"):
                    is_file = rest[4:] == [end]
                elif head == b"Anonymous:":
                    found["allocated"] += int(rest[0]) * 1024
                elif head == b"Rss:" and is_file:
                    found["mapped"] += int(rest[0]) * 1024
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        found["allocated"] = peak
    return found


def _in_maps(name: bytes) -> bytes:
    """A file's name as it ends a line of the page tables: spaces stay, a line break is written as an octal number."""
    return name.replace(b"\n", b"\\012") + b"\n"
