"""Child process that runs one ONNX file in ONNX Runtime: a job as JSON on stdin, the answer on stdout."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import said, serve


def libraries() -> None:
    import numpy  # noqa: F401
    import onnxruntime  # noqa: F401


class Model:
    """A session, and the keys and values of what was read."""

    def __init__(self, job):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = job["threads"], 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(job["path"], options, providers=["CPUExecutionProvider"])
        inputs = {one.name: one.shape for one in self.session.get_inputs()}
        self.shapes = {name: shape for name, shape in inputs.items() if name.startswith("past_key_values.")}
        self.outputs = [one.name for one in self.session.get_outputs()]

    def reset(self):
        import numpy as np

        self.past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in self.shapes.items()}
        self.n_read = 0

    def read(self, ids):
        import numpy as np

        self.n_read += len(ids)
        feed = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, self.n_read), np.int64)}
        logits, *present = self.session.run(self.outputs, feed | self.past)
        names = [name.replace("present.", "past_key_values.") for name in self.outputs[1:]]
        self.past = dict(zip(names, present, strict=True))
        return logits[0]


if __name__ == "__main__":
    said(lambda: serve(libraries, Model))
