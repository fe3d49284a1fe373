"""A student as an ONNX graph, built node by node: with float32 matrices, or int8 ones in blocks of 32.

Beside the standard operators it uses ONNX Runtime's own (domain ``com.microsoft``), which its builds for phones have:
``GroupQueryAttention`` rotates, keeps the cache and attends in one node, ``MatMulNBits`` multiplies blocks of int8.
Names of inputs and outputs are those that ONNX Runtime's generator expects.

Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from scaling.accounting import TokenizerLayout, misfit, onnx_bytes, tensor_shapes
from scaling.dimensions import GGUF_BLOCK
from scaling.errors import ExportError, SpecError
from scaling.files import clear_errors, write_file
from scaling.formats.quantized import QuantizedMatrix, Tensor, check_finite
from scaling.formats.student import StudentFile
from scaling.spec import ModelSpec

CONTRIB = "com.microsoft"
OPSET = 17
ZERO = 128
"""What stands for zero in the unsigned bytes of a matrix."""

INT8_ACTIVATIONS = 4
"""``accuracy_level`` of MatMulNBits: activations are rounded to int8 in blocks, as llama.cpp does it."""

BLANKS = ("blank", "blank ")
"""Names of the text that makes a file as long as was forecast: where one cannot, the other, a byte longer, can."""

_TOKENIZER = TypeAdapter(TokenizerLayout)


def write_onnx(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    model: ModelSpec,
    tokenizer: TokenizerLayout,
    about: Mapping[str, str] | None = None,
) -> int:
    """Write a student as an ONNX file, completely or not at all.

    Args:
        path: File to write; replaced if it exists.
        tensors: Under their GGUF names: float32 arrays, or int8 matrices in symmetric blocks of 32.
        model: Sizes of the model.
        tokenizer: Kept in the file for whoever reads it back; engines take tokens.
        about: What it says for people.

    Returns:
        Size of the file in bytes; equal to ``accounting.onnx_bytes``.

    Raises:
        ExportError: if a tensor is absent, or too much is said for people.
        MissingPackageError: if ``onnx`` is not installed.
    """
    onnx = _import_onnx()
    graph = _Graph(onnx, model, tensors)
    made = onnx.helper.make_model(
        graph.build(),
        opset_imports=[onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(CONTRIB, 1)],
        ir_version=8,
        producer_name="scaling",
    )
    # An engine needs neither; whoever reads the file back has no other source for them.
    facts = {"model": model.model_dump_json(), "tokenizer": json.dumps(asdict(tokenizer))}
    onnx.helper.set_model_props(made, facts | dict(about or {}))
    is_int8 = isinstance(tensors["token_embd.weight"], QuantizedMatrix)
    _fill(made, onnx_bytes(model, tokenizer, "Q8_0" if is_int8 else "F32"))
    path = Path(path)
    write_file(path, lambda draft: draft.write_bytes(made.SerializeToString()))
    return path.stat().st_size


def _fill(made: Any, n_bytes: int) -> None:
    """Add a text of blanks that makes a file as long as was forecast.

    Raises:
        ExportError: it is longer already.
    """
    for name in BLANKS:
        blank = made.metadata_props.add(key=name, value="")
        left = n_bytes - made.ByteSize()
        if left < 0:
            raise ExportError(
                f"what an ONNX file says of itself takes {-left} bytes more than there is room for; shorten it"
            )
        # The lengths of a text are written too: of each some bytes.
        blank.value = left * " "
        while made.ByteSize() > n_bytes:
            blank.value = blank.value[:-1]
        if made.ByteSize() == n_bytes:
            return
        made.metadata_props.remove(blank)


def read_onnx(path: str | os.PathLike[str]) -> StudentFile:
    """Read a file that :func:`write_onnx` wrote.

    Raises:
        ExportError: if it is absent, damaged, or another graph.
    """
    onnx, path = _import_onnx(), Path(path)
    if not path.is_file():
        raise ExportError(f"{path}: no such file — expected an ONNX file; was it exported?")
    # Whatever is in the file, and whatever the library says of it, is one sentence.
    try:
        made = onnx.load_model_from_string(path.read_bytes())
        props = {prop.key: prop.value for prop in made.metadata_props}
        model = ModelSpec.model_validate_json(props.pop("model"))
        tokenizer = _TOKENIZER.validate_json(props.pop("tokenizer"))
        about = {key: value for key, value in props.items() if key not in BLANKS}
        stored = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
        tensors = {name: _floats(stored, name, shape) for name, shape in tensor_shapes(model).items()}
    except (KeyError, TypeError, ValueError, ValidationError, SpecError, _decode_error()) as error:
        raise ExportError(f"{path}: not an ONNX file of a student ({str(error).splitlines()[0][:160]})") from error
    check_finite(tensors, what=str(path))
    return StudentFile(model=model, tokenizer=tokenizer, tensors=tensors, about=about, file_bytes=path.stat().st_size)


def _floats(stored: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor as an engine sees it."""
    if name in stored:
        return np.asarray(stored[name], np.float32).reshape(shape)
    values = stored[f"{name}.values"].reshape(shape[0], -1, GGUF_BLOCK).astype(np.float32) - ZERO
    return np.asarray(values * stored[f"{name}.scales"].reshape(shape[0], -1, 1), np.float32).reshape(shape)


class _Graph:
    """Nodes and initializers of one student, in the order of its forward pass."""

    def __init__(self, onnx: ModuleType, model: ModelSpec, tensors: Mapping[str, Tensor]):
        self.onnx, self.model, self.tensors = onnx, model, tensors
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        if wrong := misfit(model, tensors):
            raise ExportError(wrong)

    def build(self) -> Any:
        h, kinds, model = self.onnx.helper, self.onnx.TensorProto, self.model
        table = self._table("token_embd.weight")
        x = self._rows(table)
        self._positions()
        for i in range(model.n_layers):
            x = self._block(f"blk.{i}", i, x)
        x = self._norm(x, "output_norm.weight")
        head = table if model.tied_embeddings else self._table("output.weight")
        logits = self._product(x, "token_embd.weight" if model.tied_embeddings else "output.weight", head, "logits")
        # A step takes the keys and values of what was read, and gives them back with those of its tokens.
        cache: list[Any] = ["batch", model.n_kv_heads, "past", model.head_width]
        inputs: list[tuple[str, int, list[Any]]] = [
            ("input_ids", kinds.INT64, ["batch", "time"]),
            ("attention_mask", kinds.INT64, ["batch", "total"]),
        ]
        outputs: list[tuple[str, int, list[Any]]] = [(logits, kinds.FLOAT, ["batch", "time", model.vocab_size])]
        for i in range(model.n_layers):
            for part in ("key", "value"):
                inputs.append((f"past_key_values.{i}.{part}", kinds.FLOAT, cache))
                outputs.append((f"present.{i}.{part}", kinds.FLOAT, [*cache[:2], "total", cache[3]]))
        said = [[h.make_tensor_value_info(*one) for one in side] for side in (inputs, outputs)]
        return h.make_graph(self.nodes, "student", *said, initializer=self.initializers)

    def _block(self, name: str, i: int, x: str) -> str:
        into = self._norm(x, f"{name}.attn_norm.weight")
        qkv = [self._linear(into, f"{name}.attn_{part}.weight") for part in "qkv"]
        past = [f"past_key_values.{i}.{part}" for part in ("key", "value")]
        present = [f"present.{i}.{part}" for part in ("key", "value")]
        self._node(
            "GroupQueryAttention", [*qkv, *past, "seqlens_k", "total", "cos", "sin"], [f"{name}.heads", *present],
            domain=CONTRIB, num_heads=self.model.n_heads, kv_num_heads=self.model.n_kv_heads, do_rotary=1,
            rotary_interleaved=1,
        )  # fmt: skip
        x = self._add(x, self._linear(f"{name}.heads", f"{name}.attn_output.weight"), f"{name}.mid")
        into = self._norm(x, f"{name}.ffn_norm.weight")
        gate, up = (self._linear(into, f"{name}.ffn_{part}.weight") for part in ("gate", "up"))
        open_ = self._node("Sigmoid", [gate], [f"{name}.open"])
        silu = self._node("Mul", [gate, open_], [f"{name}.silu"])
        hidden = self._node("Mul", [silu, up], [f"{name}.hidden"])
        return self._add(x, self._linear(hidden, f"{name}.ffn_down.weight"), f"{name}.out")

    def _positions(self) -> None:
        """Angles of rotation, and what attention is told of lengths: of the cache less one, and in all."""
        model = self.model
        frequency = model.rope_base ** (-np.arange(0, model.head_width, 2) / model.head_width)
        angle = np.arange(model.context)[:, None] * frequency
        self._constant("cos", np.cos(angle).astype(np.float32))
        self._constant("sin", np.sin(angle).astype(np.float32))
        self._constant("one", np.array([1], np.int64))
        n_read = self._node("ReduceSum", ["attention_mask", "one"], ["n_read"], keepdims=0)
        before = self._node("Sub", [n_read, "one"], ["before"])
        self._node("Cast", [before], ["seqlens_k"], to=self.onnx.TensorProto.INT32)
        shape = self._node("Shape", ["attention_mask"], ["shape"], start=1, end=2)
        flat = self._node("Squeeze", [shape], ["flat"])
        self._node("Cast", [flat], ["total"], to=self.onnx.TensorProto.INT32)

    def _table(self, name: str) -> tuple[str, ...]:
        """Initializers of one matrix: its floats, or its bytes and scales."""
        tensor = self.tensors[name]
        if isinstance(tensor, QuantizedMatrix):
            out, blocks = tensor.scales.shape
            if tensor.bits != 8 or tensor.zero_points is not None or blocks * GGUF_BLOCK != tensor.shape[1]:
                raise ExportError(f"{name}: ONNX takes int8 in symmetric blocks of {GGUF_BLOCK}; quantize with q8_0")
            values = (tensor.values.astype(np.int16) + ZERO).astype(np.uint8)
            self._constant(f"{name}.values", values.reshape(out, blocks, GGUF_BLOCK))
            self._constant(f"{name}.scales", tensor.scales.astype(np.float32))
            return (f"{name}.values", f"{name}.scales")
        self._constant(name, np.ascontiguousarray(tensor, np.float32))
        return (name,)

    def _rows(self, table: tuple[str, ...]) -> str:
        """The rows of the tokens. Of a quantized table rows are taken first, and only those become floats."""
        if len(table) == 1:
            return self._node("Gather", [table[0], "input_ids"], ["embedded"])
        values, scales = (self._node("Gather", [part, "input_ids"], [f"rows.{i}"]) for i, part in enumerate(table))
        self._constant("zero", np.array(ZERO, np.float32))
        self._constant("embedded_shape", np.array([0, 0, self.model.width], np.int64))
        self._constant("last", np.array([-1], np.int64))
        floats = self._node("Cast", [values], ["rows.floats"], to=self.onnx.TensorProto.FLOAT)
        centred = self._node("Sub", [floats, "zero"], ["rows.centred"])
        each = self._node("Unsqueeze", [scales, "last"], ["rows.scale"])
        scaled = self._node("Mul", [centred, each], ["rows.scaled"])
        return self._node("Reshape", [scaled, "embedded_shape"], ["embedded"])

    def _linear(self, x: str, name: str) -> str:
        return self._product(x, name, self._table(name), f"{name}.y")

    def _product(self, x: str, name: str, table: tuple[str, ...], out: str) -> str:
        rows, width = self.tensors[name].shape
        if len(table) == 1:
            turned = self._node("Transpose", [table[0]], [f"{out}.turned"], perm=[1, 0])
            return self._node("MatMul", [x, turned], [out])
        return self._node(
            "MatMulNBits", [x, *table], [out], domain=CONTRIB, K=width, N=rows, bits=8, block_size=GGUF_BLOCK,
            accuracy_level=INT8_ACTIVATIONS,
        )  # fmt: skip

    def _norm(self, x: str, name: str) -> str:
        self._constant(name, np.asarray(self.tensors[name], np.float32))
        options = {"axis": -1, "epsilon": self.model.norm_eps}
        return self._node("SimplifiedLayerNormalization", [x, name], [f"{name}.y"], **options)

    def _add(self, a: str, b: str, out: str) -> str:
        return self._node("Add", [a, b], [out])

    def _constant(self, name: str, value: np.ndarray) -> None:
        self.initializers.append(self.onnx.numpy_helper.from_array(value, name))

    def _node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]


def _decode_error() -> type[Exception]:
    """What the decoder of protobuf raises for bytes that are no message."""
    from google.protobuf.message import DecodeError

    return DecodeError


def _import_onnx() -> ModuleType:
    with clear_errors():
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    return onnx
