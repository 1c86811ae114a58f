"""Models of every datatype for differential.py, written as a repository.

For each datatype T:

- rows_T: of each row the elements twice, and the elements backwards. Rows do not know of each other, so a
  server may batch it.
- cube_T: three dimensions, turned around.
- scalar_T: a scalar, as it is.
- math_T, where ONNX Runtime calculates with T: x * x + x, element by element.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Datatype:
    name: str
    element: int
    dtype: object
    calculates: bool = False


DATATYPES = [
    Datatype("BOOL", TensorProto.BOOL, np.bool_),
    Datatype("UINT8", TensorProto.UINT8, np.uint8),
    Datatype("UINT16", TensorProto.UINT16, np.uint16),
    Datatype("UINT32", TensorProto.UINT32, np.uint32, True),
    Datatype("UINT64", TensorProto.UINT64, np.uint64, True),
    Datatype("INT8", TensorProto.INT8, np.int8),
    Datatype("INT16", TensorProto.INT16, np.int16),
    Datatype("INT32", TensorProto.INT32, np.int32, True),
    Datatype("INT64", TensorProto.INT64, np.int64, True),
    Datatype("FP16", TensorProto.FLOAT16, np.float16, True),
    Datatype("FP32", TensorProto.FLOAT, np.float32, True),
    Datatype("FP64", TensorProto.DOUBLE, np.float64, True),
    # Values as float32, which hold each of them exactly.
    Datatype("BF16", TensorProto.BFLOAT16, np.float32),
    Datatype("BYTES", TensorProto.STRING, np.object_),
]


def int64(name, *values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def model(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "differential", inputs, outputs, list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def tensors(element, **shapes):
    return [helper.make_tensor_value_info(name, element, shape) for name, shape in shapes.items()]


def rows(element):
    return model(
        [
            helper.make_node("Concat", ["x", "x"], ["twice"], axis=1),
            helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["backwards"]),
        ],
        tensors(element, x=["n", "m"]),
        tensors(element, twice=["n", "k"], backwards=["n", "m"]),
        [int64("start", -1), int64("end", -(2**62)), int64("axis", 1), int64("step", -1)],
    )


def cube(element):
    return model(
        [helper.make_node("Transpose", ["x"], ["y"], perm=[2, 0, 1])],
        tensors(element, x=["a", "b", "c"]),
        tensors(element, y=["c", "a", "b"]),
    )


def scalar(element):
    return model([helper.make_node("Identity", ["x"], ["y"])], tensors(element, x=[]), tensors(element, y=[]))


def math(element):
    return model(
        [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Add", ["square", "x"], ["y"])],
        tensors(element, x=["n", "m"]),
        tensors(element, y=["n", "m"]),
    )


def all_models():
    """Name, datatype and model of each."""
    for datatype in DATATYPES:
        kinds = [rows, cube, scalar, *([math] if datatype.calculates else [])]
        for make in kinds:
            yield f"{make.__name__}_{datatype.name}", datatype, make(datatype.element)


def write(folder, name, made):
    path = Path(folder) / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, path)


# With a delay, so that concurrent calls meet.
BATCHED = """max_batch_size: 32
dynamic_batching { max_queue_delay_microseconds: 5000 }
"""


def write_all(folder):
    for name, _, made in all_models():
        write(folder, name, made)
        if name.startswith("rows_"):
            (Path(folder) / name / "config.pbtxt").write_text(BATCHED)
    write_ensemble(folder)


def linear(width, out):
    """y = relu(x W + b), with weights of its own."""
    generator = np.random.default_rng(width * 100 + out)
    return model(
        [
            helper.make_node("Gemm", ["x", "weights", "bias"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["y"]),
        ],
        tensors(TensorProto.FLOAT, x=["n", width]),
        tensors(TensorProto.FLOAT, y=["n", out]),
        [
            numpy_helper.from_array(generator.normal(size=(width, out)).astype(np.float32), "weights"),
            numpy_helper.from_array(generator.normal(size=out).astype(np.float32), "bias"),
        ],
    )


def join():
    """Softmax of the sum of both inputs, and the index of its largest element."""
    shape = ["n", 5]
    return model(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Softmax", ["sum"], ["scores"], axis=1),
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        ],
        tensors(TensorProto.FLOAT, a=shape, b=shape),
        [*tensors(TensorProto.FLOAT, scores=shape), *tensors(TensorProto.INT64, best=["n"])],
    )


ENSEMBLE = """platform: "ensemble"
input { name: "x" data_type: TYPE_FP32 dims: [ -1, 6 ] }
output { name: "scores" data_type: TYPE_FP32 dims: [ -1, 5 ] }
output { name: "best" data_type: TYPE_INT64 dims: [ -1 ] }
output { name: "hidden" data_type: TYPE_FP32 dims: [ -1, 5 ] }
ensemble_scheduling {
  step { model_name: "join" model_version: -1
    input_map { key: "a" value: "hidden" } input_map { key: "b" value: "last" }
    output_map { key: "scores" value: "scores" } output_map { key: "best" value: "best" } }
  step { model_name: "second" model_version: -1
    input_map { key: "x" value: "hidden" } output_map { key: "y" value: "last" } }
  step { model_name: "first" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "hidden" } }
}
"""


def write_ensemble(folder):
    """x > first > hidden > second > last; scores and best of hidden and last."""
    write(folder, "first", linear(6, 5))
    write(folder, "second", linear(5, 5))
    write(folder, "join", join())
    path = Path(folder) / "graph" / "config.pbtxt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ENSEMBLE)


if __name__ == "__main__":
    import sys

    write_all(sys.argv[1])
