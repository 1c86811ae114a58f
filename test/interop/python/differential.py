"""Compares a server with ONNX Runtime run here on the same files: every datatype in every form that the
protocols have, shapes down to none, concurrent calls that share runs, and an ensemble.

    python differential.py HOST:PORT MODELS [--seed N] [--rounds N]

MODELS is what differential_models.py wrote. Prints the seed, and ends with `N checks`; the first difference
ends it with exit code 1.
"""

import argparse
import concurrent.futures
import http.client
import json
import math
import struct
import sys

import grpc
import numpy as np
import onnx
import onnxruntime
from differential_models import DATATYPES, all_models
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2, service_pb2_grpc

# Of results of arithmetic, relative and absolute. Everything else is compared bit by bit.
TOLERANCES = {"FP16": 2e-3, "FP32": 1e-6, "FP64": 1e-12}
# Of a network in a batch against the same rows alone: sums are added up in another order.
NETWORK_TOLERANCE = 1e-5

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class Difference(Exception):
    pass


checks = 0


def check(what, given, expected, tolerance=None):
    """Equal in shape, and bit by bit or within a tolerance."""
    global checks
    if list(given.shape) != list(expected.shape):
        raise Difference(f"{what}: shape {given.shape}, expected {expected.shape}")
    if tolerance is not None:
        same = np.allclose(given.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=tolerance, equal_nan=True)
    elif given.dtype == np.object_:
        same = given.ravel().tolist() == expected.ravel().tolist()
    else:
        same = given.tobytes() == expected.tobytes()
    if not same:
        raise Difference(f"{what}: {given!r}\nexpected {expected!r}")
    checks += 1


# --- Tensors as bytes -------------------------------------------------------------------------------


def to_raw(array, datatype):
    if datatype == "BYTES":
        parts = [text.encode() for text in array.ravel()]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)
    if datatype == "BF16":
        # The upper half of each float32.
        return (array.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return array.tobytes()


def from_raw(raw, datatype, dtype, shape):
    if datatype == "BYTES":
        texts, at = [], 0
        while at < len(raw):
            (size,) = struct.unpack_from("<I", raw, at)
            texts.append(raw[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return np.array(texts, dtype=np.object_).reshape(shape)
    if datatype == "BF16":
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def to_json(array, datatype):
    if datatype in ("FP16", "BF16", "FP32", "FP64"):
        return [
            "NaN" if math.isnan(value) else "Infinity" if value == math.inf else "-Infinity" if value == -math.inf else value
            for value in array.ravel().astype(np.float64).tolist()
        ]
    return array.ravel().tolist()


def from_json(data, dtype, shape):
    if dtype == np.object_:
        return np.array(data, dtype=np.object_).reshape(shape)
    return np.array([float(value) if isinstance(value, str) else value for value in data], dtype=dtype).reshape(shape)


# --- Values -----------------------------------------------------------------------------------------

TEXT = list("abcxyz0189 \t\n\"\\/äß€漢😀\u0000")


def sample(random, datatype, shape):
    """Any values of a datatype, its extremes among them; as numpy holds them."""
    count = int(np.prod(shape, dtype=np.int64))
    if datatype.name == "BYTES":
        texts = ["".join(random.choice(TEXT, size=random.integers(0, 9))) for _ in range(count)]
        array = np.empty(count, dtype=np.object_)
        array[:] = texts
        return array.reshape(shape)
    if datatype.name == "BOOL":
        return random.integers(0, 2, shape).astype(np.bool_)
    if datatype.name == "BF16":
        bits = random.integers(0, 2**16, count, dtype=np.uint32)
        # Of NaN, which has many patterns, the one that conversions leave as it is.
        bits[(bits & 0x7F80) == 0x7F80] &= 0xFF80
        return (bits << 16).view(np.float32).reshape(shape)
    if np.issubdtype(datatype.dtype, np.integer):
        limits = np.iinfo(datatype.dtype)
        array = random.integers(limits.min, limits.max, count, dtype=datatype.dtype, endpoint=True)
        for extreme in (limits.min, limits.max):
            if count:
                array[random.integers(count)] = extreme
        return array.reshape(shape)
    array = (random.normal(size=count) * 10.0 ** random.integers(-3, 4, count)).astype(datatype.dtype)
    for special in (np.inf, -np.inf, -0.0, np.finfo(datatype.dtype).max, np.finfo(datatype.dtype).smallest_subnormal):
        if count:
            array[random.integers(count)] = special
    return array.reshape(shape)


def small(random, datatype, shape):
    """Values that arithmetic keeps finite."""
    if np.issubdtype(datatype.dtype, np.integer):
        return random.integers(0, 100, shape).astype(datatype.dtype)
    return random.uniform(-9, 9, shape).astype(datatype.dtype)


# --- ONNX Runtime -----------------------------------------------------------------------------------


def open_session(made, datatype):
    """A session for numpy, which has no bfloat16: there the graph gets casts from and to float32."""
    if datatype.name == "BF16":
        for tensor in [*made.graph.input, *made.graph.output]:
            inner = f"{tensor.name}_bf16"
            for node in made.graph.node:
                node.input[:] = [inner if name == tensor.name else name for name in node.input]
                node.output[:] = [inner if name == tensor.name else name for name in node.output]
            tensor.type.tensor_type.elem_type = TensorProto.FLOAT
        before = [helper.make_node("Cast", [t.name], [f"{t.name}_bf16"], to=TensorProto.BFLOAT16) for t in made.graph.input]
        after = [helper.make_node("Cast", [f"{t.name}_bf16"], [t.name], to=TensorProto.FLOAT) for t in made.graph.output]
        nodes = [*before, *made.graph.node, *after]
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        onnx.checker.check_model(made)
    return onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])


def run(session, feeds):
    return dict(zip((output.name for output in session.get_outputs()), session.run(None, feeds)))


# --- Calls ------------------------------------------------------------------------------------------


class Server:
    def __init__(self, address):
        self.address = address
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def request(self, name, feeds, form):
        request = service_pb2.ModelInferRequest(model_name=name)
        for key, (array, datatype) in feeds.items():
            tensor = request.inputs.add(name=key, datatype=datatype, shape=array.shape)
            if form == "raw":
                request.raw_input_contents.append(to_raw(array, datatype))
            else:
                values = array.ravel().tolist()
                if datatype == "BYTES":
                    values = [text.encode() for text in values]
                getattr(tensor.contents, CONTENTS[datatype]).extend(values)
        return request

    def decode(self, response, dtypes, form):
        answers = {}
        for index, output in enumerate(response.outputs):
            dtype = dtypes[output.name]
            if form == "raw":
                answers[output.name] = from_raw(response.raw_output_contents[index], output.datatype, dtype, list(output.shape))
                continue
            if response.raw_output_contents:
                raise Difference("typed contents were answered by raw ones")
            values = list(getattr(output.contents, CONTENTS[output.datatype]))
            if output.datatype == "BYTES":
                values = [text.decode() for text in values]
            answers[output.name] = np.array(values, dtype=dtype).reshape(list(output.shape))
        return answers

    def grpc(self, name, feeds, dtypes, form):
        return self.decode(self.stub.ModelInfer(self.request(name, feeds, form), timeout=60), dtypes, form)

    def rest(self, name, feeds, dtypes, form):
        binary = form in ("binary", "binary to JSON")
        inputs, parts = [], []
        for key, (array, datatype) in feeds.items():
            tensor = {"name": key, "datatype": datatype, "shape": list(array.shape)}
            if binary:
                parts.append(to_raw(array, datatype))
                tensor["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                tensor["data"] = to_json(array, datatype)
            inputs.append(tensor)
        # Binary in, JSON out and the other way round are forms too.
        binary_out = form in ("binary", "JSON to binary")
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": binary_out}}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))} if binary else {}
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("POST", f"/v2/models/{name}/infer", head + b"".join(parts), headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != 200:
            raise Difference(f"{name} over REST: {response.status} {body[:500]!r}")
        length = int(response.headers.get("Inference-Header-Content-Length", len(body)))
        answers, at = {}, length
        for output in json.loads(body[:length])["outputs"]:
            dtype = dtypes[output["name"]]
            if binary_out:
                size = output["parameters"]["binary_data_size"]
                answers[output["name"]] = from_raw(body[at : at + size], output["datatype"], dtype, output["shape"])
                at += size
            else:
                answers[output["name"]] = from_json(output["data"], dtype, output["shape"])
        if at != len(body):
            raise Difference(f"{name} over REST: {len(body)} bytes, {at} of them explained")
        return answers

    def statistics(self, name):
        return self.stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name=name)).model_stats[0]


# --- What is compared -------------------------------------------------------------------------------


def shapes(random, kind, rounds):
    """Shapes without elements first, then any."""
    if kind == "scalar":
        yield from [()] * 3
    elif kind == "cube":
        yield from [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0), (1, 1, 1)]
        for _ in range(rounds):
            yield tuple(random.integers(1, 5, 3))
    else:
        # A row without elements has nothing to be turned around.
        yield from [(0, 3), (1, 1), (5, 0)]
        for _ in range(rounds):
            yield tuple(random.integers(1, 8, 2))


def forms(server, datatype):
    """Name of each form and how it calls. Halves have no typed contents."""
    yield "gRPC raw", lambda *call: server.grpc(*call, "raw")
    if datatype.name in CONTENTS:
        yield "gRPC typed", lambda *call: server.grpc(*call, "typed")
    for form in ("JSON", "binary", "binary to JSON", "JSON to binary"):
        yield f"REST {form}", lambda *call, form=form: server.rest(*call, form)


def datatypes(server, random, rounds):
    for name, datatype, made in all_models():
        kind = name.partition("_")[0]
        session = open_session(made, datatype)
        dtypes = {output.name: datatype.dtype for output in session.get_outputs()}
        tolerance = TOLERANCES.get(datatype.name) if kind == "math" else None
        for shape in shapes(random, kind, rounds):
            x = (small if kind == "math" else sample)(random, datatype, shape)
            expected = run(session, {"x": x})
            for form, call in forms(server, datatype):
                answers = call(name, {"x": (x, datatype.name)}, dtypes)
                if answers.keys() != expected.keys():
                    raise Difference(f"{name} {form}: outputs {list(answers)}, expected {list(expected)}")
                for output, array in expected.items():
                    check(f"{name} {form} {output}", answers[output], np.asarray(array), tolerance)


def rounding(server, random):
    """JSON numbers between the values of a datatype become the nearest of them, as numpy rounds."""
    for datatype in DATATYPES:
        if datatype.name not in ("FP16", "FP32"):
            continue
        exact = random.normal(size=(3, 50)) * 10.0 ** random.integers(-12, 6, (3, 50))
        exact[0, 0] = 1 + 2.0**-11  # halfway between two halves
        exact[0, 1] = 1e300
        with np.errstate(over="ignore"):
            expected = exact.astype(datatype.dtype)
        answers = server.rest(f"rows_{datatype.name}", {"x": (exact, datatype.name)}, {"twice": datatype.dtype, "backwards": datatype.dtype}, "JSON to binary")
        check(f"rounding {datatype.name}", answers["backwards"], expected[:, ::-1].copy())


def batches(server, random, calls):
    """Concurrent calls of different row counts against each alone in ONNX Runtime."""
    for name, datatype, made in all_models():
        kind = name.partition("_")[0]
        if kind not in ("rows", "math"):
            continue
        session = open_session(made, datatype)
        dtypes = {output.name: datatype.dtype for output in session.get_outputs()}
        before = server.statistics(name)
        begun = []
        for _ in range(calls):
            # A few of another width, which no batch can take with the others.
            shape = (int(random.integers(0, 8)), 4 if random.random() < 0.9 else 3)
            x = (small if kind == "math" else sample)(random, datatype, shape)
            request = server.request(name, {"x": (x, datatype.name)}, "raw")
            begun.append((x, server.stub.ModelInfer.future(request, timeout=60)))
        for x, future in begun:
            answers = server.decode(future.result(), dtypes, "raw")
            for output, array in run(session, {"x": x}).items():
                check(f"{name} in a batch {output}", answers[output], np.asarray(array), TOLERANCES.get(datatype.name) if kind == "math" else None)
        after = server.statistics(name)
        rows = after.inference_count - before.inference_count
        runs = after.execution_count - before.execution_count
        if rows != sum(len(x) for x, _ in begun):
            raise Difference(f"{name}: statistics count {rows} rows")
        if kind == "rows" and not runs < calls:
            raise Difference(f"{name}: {runs} runs for {calls} concurrent calls; none was shared")
        print(f"{name}: {calls} calls in {runs} runs")


def check_graph(answers, hidden, scores, best):
    check("ensemble hidden", answers["hidden"], hidden, NETWORK_TOLERANCE)
    check("ensemble scores", answers["scores"], scores, NETWORK_TOLERANCE)
    for row, (given, expected) in enumerate(zip(answers["best"], best, strict=True)):
        # Of two classes that tie either may win.
        if given != expected and scores[row, expected] - scores[row, given] > 2 * NETWORK_TOLERANCE:
            raise Difference(f"ensemble best of row {row}: {given}, expected {expected} of {scores[row]}")


def ensemble(server, random, folder, calls):
    """A graph of three models against the same three called one after the other here."""
    first, second, join = (
        onnxruntime.InferenceSession(f"{folder}/{name}/1/model.onnx", providers=["CPUExecutionProvider"])
        for name in ("first", "second", "join")
    )

    def by_hand(x):
        (hidden,) = first.run(None, {"x": x})
        (last,) = second.run(None, {"x": hidden})
        scores, best = join.run(None, {"a": hidden, "b": last})
        return hidden, scores, best

    dtypes = {"hidden": np.float32, "scores": np.float32, "best": np.int64}
    for rows in (0, 1, 2, 33):
        x = random.normal(size=(rows, 6)).astype(np.float32)
        feeds = {"x": (x, "FP32")}
        for form in ("raw", "typed"):
            check_graph(server.grpc("graph", feeds, dtypes, form), *by_hand(x))
        for form in ("JSON", "binary"):
            check_graph(server.rest("graph", feeds, dtypes, form), *by_hand(x))
    inputs = [random.normal(size=(int(random.integers(1, 9)), 6)).astype(np.float32) for _ in range(calls)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda x: server.grpc("graph", {"x": (x, "FP32")}, dtypes, "raw"), inputs)
        for x, answer in zip(inputs, answers):
            check_graph(answer, *by_hand(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("models")
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy % 2**32))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}; --seed repeats it")
    random = np.random.default_rng(arguments.seed)
    server = Server(arguments.address)
    try:
        datatypes(server, random, arguments.rounds)
        rounding(server, random)
        batches(server, random, calls=40 * arguments.rounds)
        ensemble(server, random, arguments.models, calls=40 * arguments.rounds)
    except Difference as difference:
        print(f"FAILED {difference}")
        sys.exit(1)
    print(f"{checks} checks")


if __name__ == "__main__":
    main()
