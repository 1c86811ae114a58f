"""Writes the model of the case convnet, and what ONNX Runtime in Python answers to its request.

    .cache/tools/triton/bin/python bench/models/make-convnet.py

A small network for pictures of 224x224 in three colours: three convolutions with strides, a mean over the
picture, and a layer of ten classes. It takes about 0.65 ms in ONNX Runtime on one core. Weights are random
numbers: the time does not depend on them.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent / "convnet"
RNG = np.random.default_rng(7)
SIDE = 224
CHANNELS = (3, 24, 48, 64)
CLASSES = 10


def weights(name, *shape):
    array = RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(array.astype(np.float32), name)


def convolution(name, source):
    return [
        helper.make_node(
            "Conv", [source, name], [f"{name}_sum"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", [f"{name}_sum"], [f"{name}_out"]),
    ]


graph = helper.make_graph(
    [
        *convolution("first", "image"),
        *convolution("second", "first_out"),
        *convolution("third", "second_out"),
        helper.make_node("GlobalAveragePool", ["third_out"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
        helper.make_node("Gemm", ["features", "classes"], ["scores"], transB=1),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ],
    "convnet",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
    [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
    [
        *(
            weights(name, channels, before, 3, 3)
            for name, before, channels in zip(("first", "second", "third"), CHANNELS, CHANNELS[1:])
        ),
        weights("classes", CLASSES, CHANNELS[-1]),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
(HERE / "1").mkdir(parents=True, exist_ok=True)
path = HERE / "1" / "model.onnx"
onnx.save(model, path)

# The request of bench/cases/convnet.ts.
image = ((np.arange(3 * SIDE * SIDE) % 1000) / 1000).astype(np.float32).reshape(1, 3, SIDE, SIDE)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(probabilities,) = session.run(None, {"image": image})
expected = {"probabilities": [float(value) for value in probabilities[0]]}
(HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
print(f"{path}: {path.stat().st_size} bytes, {expected}")
