"""Child process that runs one .tflite file in LiteRT's interpreter: a job as JSON on stdin, the answer on stdout."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import said, serve


def libraries() -> None:
    import ai_edge_litert.interpreter  # noqa: F401
    import numpy  # noqa: F401


class Model:
    """An interpreter, and the keys and values of what was read; one token a call."""

    def __init__(self, job):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(job["path"], num_threads=job["threads"])
        self.step = self.interpreter.get_signature_runner("decode")
        shapes = {name: tuple(one["shape"]) for name, one in self.step.get_input_details().items()}
        self.shapes = {name: shape for name, shape in shapes.items() if name not in ("token", "position")}

    def reset(self):
        import numpy as np

        self.cache = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}
        self.n_read = 0

    def read(self, ids):
        import numpy as np

        rows = []
        for token in ids:
            position = np.array([self.n_read], np.int32)
            found = self.step(token=np.array([[token]], np.int32), position=position, **self.cache)
            self.cache = {name: found[name] for name in self.cache}
            rows.append(found["logits"][0])
            self.n_read += 1
        return np.stack(rows)


if __name__ == "__main__":
    said(lambda: serve(libraries, Model))
