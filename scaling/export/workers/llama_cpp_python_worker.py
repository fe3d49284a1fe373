"""Child process that runs one GGUF file in llama.cpp (package llama-cpp-python): a job as JSON on stdin."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import said, serve

AT_ONCE = 64
"""Tokens of a prompt that are read at once, as the memory forecast has it."""


def libraries() -> None:
    import llama_cpp
    import numpy  # noqa: F401

    llama_cpp.llama_backend_init()


class Model:
    """A context with the keys and values of what was read."""

    def __init__(self, job):
        import llama_cpp as lib

        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        # Extra buffer types repack weights; on virtual machines that advertise AMX the repacked kernels crash.
        params.use_extra_bufts = False
        self.model = lib.llama_model_load_from_file(job["path"].encode(), params)
        if not self.model:
            raise RuntimeError("the file was refused")
        options = lib.llama_context_default_params()
        options.n_ctx = job["cache"]
        options.n_batch = options.n_ubatch = AT_ONCE
        options.n_threads = options.n_threads_batch = job["threads"]
        self.context = lib.llama_init_from_model(self.model, options)
        if not self.context:
            raise RuntimeError(f"no cache of {job['cache']} tokens could be made")
        self.n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.batch = lib.llama_batch_init(AT_ONCE, 0, 1)

    def reset(self):
        import llama_cpp as lib

        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)
        self.n_read = 0

    def read(self, ids):
        import numpy as np

        parts = [self._read(ids[i : i + AT_ONCE]) for i in range(0, len(ids), AT_ONCE)]
        return np.concatenate(parts)

    def _read(self, ids):
        """Logits float32[n, V] after each of a few tokens."""
        import llama_cpp as lib
        import numpy as np

        batch = self.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self.n_read + i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        if lib.llama_decode(self.context, batch):
            raise RuntimeError("the engine could not read these tokens")
        self.n_read += len(ids)
        return np.ctypeslib.as_array(lib.llama_get_logits(self.context), (len(ids), self.n_vocab)).copy()


if __name__ == "__main__":
    said(lambda: serve(libraries, Model))
