"""Trains the example models and writes them as <name>/1/model.onnx beside this file.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

The data sets come with scikit-learn; nothing is fetched. Every model is trained with fixed seeds on
75 % of its data and measured on the rest. The script ends with a table of those measurements, and
fails if ONNX Runtime and scikit-learn disagree by more than 1e-5. Sample inputs from the held-out
part, with what ONNX Runtime answers, go to samples.json for the tests.
"""

import json
import textwrap
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
OPSET = 17
SEED = 7
SAMPLE_ROWS = 5
# The network of digits stops after a fixed number of rounds, which scikit-learn warns of.
warnings.filterwarnings("ignore", category=ConvergenceWarning)


def split(data):
    return train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.25, random_state=SEED
    )


def rename(model, names):
    """Renames inputs and outputs of a graph, and what refers to them."""
    graph = model.graph
    for value in list(graph.input) + list(graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                field[index] = names.get(name, name)
    return model


def write(name, model):
    model.producer_name = "tensorwire-examples"
    model.producer_version = ""
    model.graph.name = name
    # The converter repeats some, in an order left to chance.
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*opset) for opset in sorted(opsets.items()))
    folder = HERE / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def classifier(name, estimator, features):
    model = convert_sklearn(
        estimator,
        initial_types=[("input", FloatTensorType([None, features]))],
        target_opset=OPSET,
        options={id(estimator): {"zipmap": False}},
    )
    return write(name, rename(model, {"output_label": "label"}))


def run(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def iris():
    data = load_iris()
    x, test_x, y, test_y = split(data)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=SEED))
    model.fit(x, y)
    path = classifier("iris", model, 4)
    (HERE / "iris" / "labels.txt").write_text("\n".join(data.target_names) + "\n")
    answer = run(path, {"input": test_x})
    close(answer["probabilities"], model.predict_proba(test_x))
    return path, {"input": test_x}, "accuracy", accuracy_score(test_y, answer["label"])


def forest():
    x, test_x, y, test_y = split(load_breast_cancer())
    model = RandomForestClassifier(n_estimators=100, max_depth=6, random_state=SEED).fit(x, y)
    path = classifier("forest", model, 30)
    answer = run(path, {"input": test_x})
    close(answer["probabilities"], model.predict_proba(test_x))
    return path, {"input": test_x}, "accuracy", accuracy_score(test_y, answer["label"])


def diabetes():
    x, test_x, y, test_y = split(load_diabetes())
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(x, y)
    onnx_model = convert_sklearn(
        model, initial_types=[("input", FloatTensorType([None, 10]))], target_opset=OPSET
    )
    path = write("diabetes", rename(onnx_model, {"variable": "progression"}))
    answer = run(path, {"input": test_x})["progression"]
    close(answer[:, 0], model.predict(test_x))
    return path, {"input": test_x}, "R2", r2_score(test_y, answer)


# Pixels of the 32 x 32 bitmaps on each side of a pixel of the data, which is the ink in that block.
BLOCK = 4
# What redrawn digits differ in; chosen by a quarter of the training part and by drawn strokes, never by
# the held-out part.
TURN, SHEAR, SHIFT = 0.2, 0.25, 0.5
WIDTH, HEIGHT = (0.7, 1.25), (0.85, 1.1)
INK_FROM = (0.15, 0.7)
REDRAWN_COPIES = 40


def redrawn(images, rng):
    """The images as other hands and pens would draw them: turned, slanted, wider or narrower, moved, and
    half of them with thicker or thinner lines. Drawn on 32 x 32 points and averaged down to 8 x 8, as
    the data and the images of a drawing page are.
    """
    count, size = len(images), images.shape[1]

    def each(low, high):
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    middle = ((np.arange(size * BLOCK) + 0.5) / BLOCK - size / 2).astype(np.float32)
    x, y = np.meshgrid(middle, middle)
    turn, slant = each(-TURN, TURN), each(-SHEAR, SHEAR)
    across = (np.cos(turn) * x + np.sin(turn) * y) / each(*WIDTH) + slant * y
    down = (np.cos(turn) * y - np.sin(turn) * x) / each(*HEIGHT)
    # Where each point comes from, in pixels of the image with one empty pixel put before it.
    column = np.clip(across - each(-SHIFT, SHIFT) + (size + 1) / 2, 0, size + 0.999)
    row = np.clip(down - each(-SHIFT, SHIFT) + (size + 1) / 2, 0, size + 0.999)
    left, above = column.astype(int), row.astype(int)
    right_part, below_part = column - left, row - above
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2)))
    image = np.arange(count)[:, None, None]

    def between_columns(row):
        return padded[image, row, left] * (1 - right_part) + padded[image, row, left + 1] * right_part

    upper, lower = between_columns(above), between_columns(above + 1)
    points = upper * (1 - below_part) + lower * below_part
    # A line is ink or paper; from which grey on it counts as ink makes it thin or thick.
    lines = (points > each(*INK_FROM)).astype(np.float32)
    points = np.where(each(0, 1) < 0.5, lines, points)
    return points.reshape(count, size, BLOCK, size, BLOCK).mean(axis=(2, 4))


def digits():
    """A network of two hidden layers over the 8x8 images, which come as 0 to 1."""
    x, test_x, y, test_y = split(load_digits())
    images, test_images = x.reshape(-1, 8, 8) / 16, test_x.reshape(-1, 8, 8) / 16
    rng = np.random.default_rng(SEED)
    many = np.concatenate([images, *(redrawn(images, rng) for _ in range(REDRAWN_COPIES))])
    labels = np.tile(y, 1 + REDRAWN_COPIES)
    network = MLPClassifier((128, 64), max_iter=30, tol=0, alpha=1e-3, random_state=SEED)
    network.fit(many.reshape(len(many), -1), labels)

    nodes = [helper.make_node("Flatten", ["image"], ["h0"], axis=1)]
    weights = []
    last = len(network.coefs_) - 1
    for index, (coefficients, bias) in enumerate(zip(network.coefs_, network.intercepts_)):
        weights.append(numpy_helper.from_array(coefficients.astype(np.float32), f"w{index}"))
        weights.append(numpy_helper.from_array(bias.astype(np.float32), f"b{index}"))
        linear = f"l{index}"
        nodes.append(helper.make_node("Gemm", [f"h{index}", f"w{index}", f"b{index}"], [linear]))
        if index < last:
            nodes.append(helper.make_node("Relu", [linear], [f"h{index + 1}"]))
    nodes.append(helper.make_node("Softmax", [f"l{last}"], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 8, 8])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 10]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    path = write("digits", model)
    feeds = {"image": test_images.astype(np.float32)}
    answer = run(path, feeds)
    close(answer["probabilities"], network.predict_proba(test_images.reshape(len(test_images), -1)))
    return path, feeds, "accuracy", accuracy_score(test_y, answer["label"])


def identity():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        "identity",
        [helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, ["rows", "columns"])],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, ["rows", "columns"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    path = write("identity", model)
    feeds = {"INPUT0": np.random.default_rng(SEED).normal(size=(5, 7)).astype(np.float32)}
    return path, feeds, "", 1.0


def close(given, expected):
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


DATATYPES = {"float32": "FP32", "int64": "INT64"}


def tensor(array):
    # NumPy prints as few digits as give the same number back in the array's own precision.
    number = int if array.dtype.kind == "i" else lambda value: float(str(value))
    return {
        "datatype": DATATYPES[str(array.dtype)],
        "shape": list(array.shape),
        "data": [number(value) for value in array.ravel()],
    }


def formatted(value, indent=""):
    """JSON as Biome formats it: a key a line, numbers side by side up to 100 columns."""
    inner = indent + "  "
    if isinstance(value, dict):
        lines = (f"{inner}{json.dumps(key)}: {formatted(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    text = json.dumps(value).replace("e-0", "e-")
    if not isinstance(value, list) or len(text) < 80:
        return text
    lines = textwrap.fill(
        text[1:-1], 100, initial_indent=inner, subsequent_indent=inner, break_on_hyphens=False
    )
    return f"[\n{lines}\n{indent}]"


def main():
    samples = {}
    print("| model | file, KB | held-out rows | measure |")
    print("|---|---|---|---|")
    for make in (iris, digits, forest, diabetes, identity):
        path, feeds, measure, value = make()
        few = {name: rows[:SAMPLE_ROWS] for name, rows in feeds.items()}
        samples[make.__name__] = {
            "inputs": {name: tensor(rows) for name, rows in few.items()},
            "outputs": {name: tensor(rows) for name, rows in run(path, few).items()},
        }
        rows = len(next(iter(feeds.values())))
        text = f"{measure} {value:.3f}" if measure else "none"
        print(f"| {make.__name__} | {path.stat().st_size / 1024:.0f} | {rows} | {text} |")
    (HERE / "samples.json").write_text(formatted(samples) + "\n")


main()
