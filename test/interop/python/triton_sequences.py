"""Sends sequences with tritonclient, several at once and interleaved, and compares every answer with sums
made here, and those of a recurrent network with ONNX Runtime run here, which is given the states by hand.

    python triton_sequences.py HOST:PORT RECURRENT_MODEL_FILE

The server has the models "direct" and "oldest" (ids are integers) and "texts" (ids are strings), which add
up the values of a sequence and answer what they were told of it, "all", which answers all values of the
sequence so far, and "recurrent", which is the file.

Prints a line a check and ends with `N checks`; exits with 1 at the first answer that differs.
"""

import asyncio
import queue
import random
import sys

import numpy as np
import onnxruntime
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client
from tritonclient.utils import InferenceServerException

RANDOM = random.Random(17)
checks = 0


def check(name, passed):
    global checks
    if not passed:
        print(f"FAILED {name}")
        sys.exit(1)
    checks += 1
    print(f"ok {name}")


def inputs(module, value, dtype=np.int32):
    tensor = module.InferInput("x", [1, 1], "INT32" if dtype == np.int32 else "FP32")
    tensor.set_data_from_numpy(np.array([[value]], dtype=dtype))
    return [tensor]


def sequences(ids, length):
    """Values of each sequence, and its calls in an order that interleaves them."""
    values = {each: [RANDOM.randrange(-1000, 1000) for _ in range(length)] for each in ids}
    order = [each for each in ids for _ in range(length)]
    RANDOM.shuffle(order)
    at = dict.fromkeys(ids, 0)
    calls = []
    for each in order:
        index = at[each]
        at[each] += 1
        calls.append((each, values[each][index], index == 0, index == length - 1))
    return values, calls


def sums(values):
    return {each: np.cumsum(given).tolist() for each, given in values.items()}


def stream(client, model, ids, length):
    """All calls in one stream; answers come in the order of the requests."""
    values, calls = sequences(ids, length)
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number, (each, value, start, end) in enumerate(calls):
        client.async_stream_infer(
            model,
            inputs(grpc_client, value),
            request_id=str(number),
            sequence_id=each,
            sequence_start=start,
            sequence_end=end,
        )
    got = {each: [] for each in ids}
    told = []
    for number, (each, _, start, end) in enumerate(calls):
        result, error = answers.get(timeout=60)
        check(f"{model}: answer {number} of a stream", error is None)
        check(f"{model}: answer {number} is that of its request", result.get_response().id == str(number))
        got[each].append(int(result.as_numpy("sum")[0][0]))
        told.append(
            (int(result.as_numpy("told_start")[0][0]), bool(result.as_numpy("told_end")[0][0]))
            == (int(start), end)
        )
    client.stop_stream()
    check(f"{model}: sums of {len(ids)} sequences in a stream", got == sums(values))
    check(f"{model}: start and end in a stream", all(told))


def unary(client, module, model, ids, length):
    """One call after the other, of different sequences in turn."""
    values, calls = sequences(ids, length)
    got = {each: [] for each in ids}
    for each, value, start, end in calls:
        result = client.infer(
            model,
            inputs(module, value),
            sequence_id=each,
            sequence_start=start,
            sequence_end=end,
        )
        got[each].append(int(result.as_numpy("sum")[0][0]))
    check(f"{model}: sums of {len(ids)} sequences by {module.__name__}", got == sums(values))


async def together(address, model, ids, length):
    """Each sequence by itself, all of them at once: more than there are slots."""
    client = grpc_aio_client.InferenceServerClient(address)
    values, _ = sequences(ids, length)

    async def one(each):
        got = []
        for index, value in enumerate(values[each]):
            result = await client.infer(
                model,
                inputs(grpc_aio_client, value),
                sequence_id=each,
                sequence_start=index == 0,
                sequence_end=index == length - 1,
            )
            got.append(int(result.as_numpy("sum")[0][0]))
        return got

    got = await asyncio.gather(*(one(each) for each in ids))
    check(f"{model}: sums of {len(ids)} sequences at once", dict(zip(ids, got)) == sums(values))
    await client.close()


def growing(client, ids, length):
    """A state that grows with each call."""
    values, calls = sequences(ids, length)
    seen = {each: [0.5, 0.25] for each in ids}
    for each, value, start, end in calls:
        result = client.infer(
            "all",
            inputs(grpc_client, value, np.float32),
            sequence_id=each,
            sequence_start=start,
            sequence_end=end,
        )
        seen[each].append(float(value))
        check(f"all: {len(seen[each])} values", result.as_numpy("all").tolist() == [seen[each]])


async def recurrent(address, path, count, length):
    """Sequences of a recurrent network, all at once, in runs that they share."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    client = grpc_aio_client.InferenceServerClient(address)
    generator = np.random.default_rng(3)

    async def one(each):
        h = c = np.zeros((1, 4), np.float32)
        right = True
        steps = length + each % 3
        for index in range(steps):
            x = generator.normal(size=(1, 3)).astype(np.float32)
            expected, h, c = session.run(["y", "h_next", "c_next"], {"x": x, "h": h, "c": c})
            tensor = grpc_aio_client.InferInput("x", [1, 3], "FP32")
            tensor.set_data_from_numpy(x)
            result = await client.infer(
                "recurrent",
                [tensor],
                sequence_id=each,
                sequence_start=index == 0,
                sequence_end=index == steps - 1,
            )
            right = right and np.allclose(result.as_numpy("y"), expected, rtol=1e-5, atol=1e-6)
        return right

    right = await asyncio.gather(*(one(each) for each in range(1, count + 1)))
    for each, passed in enumerate(right):
        check(f"recurrent: sequence {each + 1} is as ONNX Runtime computes it", passed)
    statistics = (await client.get_inference_statistics("recurrent", as_json=True))["model_stats"][0]
    runs, calls = int(statistics["execution_count"]), int(statistics["inference_count"])
    check(f"recurrent: {calls} calls in {runs} runs", runs <= calls and calls == sum(length + each % 3 for each in range(1, count + 1)))
    await client.close()


def refused(name, message, status, call):
    try:
        call()
    except InferenceServerException as error:
        check(f"{name}: {error.message()}", message in error.message() and status in str(error.status()))
        return
    check(name, False)


def main(address, recurrent_path):
    grpc = grpc_client.InferenceServerClient(address)
    http = http_client.InferenceServerClient(address)
    for model in ("direct", "oldest"):
        stream(grpc, model, [1, 2**63 - 1, 42, 7, 1000], 12)
        unary(grpc, grpc_client, model, [5, 6, 7, 8], 6)
        unary(http, http_client, model, [9, 10, 11], 6)
        asyncio.run(together(address, model, list(range(1, 25)), 5))
    stream(grpc, "texts", ["one", "two", "größer", "4"], 8)
    unary(grpc, grpc_client, "texts", ["a", "b"], 4)
    unary(http, http_client, "texts", ["c", "d"], 4)
    growing(grpc, [3, 4, 5], 6)
    asyncio.run(recurrent(address, recurrent_path, 20, 15))

    start = "must specify the START flag on the first request of the sequence"
    for module, client, status in ((grpc_client, grpc, "INVALID_ARGUMENT"), (http_client, http, "400")):
        name = module.__name__
        refused(f"{name}, no start", start, status, lambda: client.infer("direct", inputs(module, 1), sequence_id=77))
        refused(
            f"{name}, no id",
            "must specify a non-zero or non-empty correlation ID",
            status,
            lambda: client.infer("direct", inputs(module, 1)),
        )

    statistics = grpc.get_inference_statistics("direct", as_json=True)["model_stats"][0]
    calls = 5 * 12 + 4 * 6 + 3 * 6 + 24 * 5
    check("statistics count the calls", int(statistics["inference_count"]) == calls)
    config = grpc.get_model_config("oldest", as_json=True)["config"]["sequence_batching"]
    check("the configuration shows the strategy", config["oldest"]["max_candidate_sequences"] == 4)
    metadata = http.get_model_metadata("direct")
    check("metadata names no control", [each["name"] for each in metadata["inputs"]] == ["x"])
    check("the server has the extension", "sequence" in http.get_server_metadata()["extensions"])
    print(f"{checks} checks")


main(sys.argv[1], sys.argv[2])
