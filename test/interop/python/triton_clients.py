"""Calls a server with tritonclient over gRPC and HTTP and compares every answer with ONNX Runtime run
here on the same files.

    python triton_clients.py HOST:PORT MODEL_FOLDER...

Prints a line a check and ends with `N checks`; exits with 1 at the first answer that differs.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ROWS = 3
RNG = np.random.default_rng(5)
checks = 0


def check(name, passed):
    global checks
    if not passed:
        print(f"FAILED {name}")
        sys.exit(1)
    checks += 1
    print(f"ok {name}")


def sample(argument):
    """Values for an input of an ONNX Runtime session, ROWS for each free dimension."""
    shape = [size if isinstance(size, int) else ROWS for size in argument.shape]
    kind = argument.type.removeprefix("tensor(").removesuffix(")")
    if kind == "string":
        texts = [f"text {index} ä" for index in range(int(np.prod(shape)))]
        return np.array(texts, dtype=np.object_).reshape(shape)
    if kind == "bool":
        return RNG.integers(0, 2, shape).astype(np.bool_)
    dtype = np.dtype({"float": "float32", "double": "float64"}.get(kind, kind))
    if np.issubdtype(dtype, np.floating):
        return RNG.uniform(0, 1, shape).astype(dtype)
    return RNG.integers(0, 5, shape).astype(dtype)


def same(given, expected):
    if given.dtype == np.object_:
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in given.ravel()]
        return texts == [str(text) for text in expected.ravel()]
    if given.shape != expected.shape or given.dtype != expected.dtype:
        return False
    if np.issubdtype(given.dtype, np.floating):
        return np.allclose(given, expected, rtol=1e-5, atol=1e-5)
    return np.array_equal(given, expected)


def models(folders):
    """Sessions of the models that ONNX Runtime in Python can be given, by name."""
    for folder in folders:
        for path in sorted(Path(folder).glob("*/*/model.onnx")):
            name = path.parent.parent.name
            if name in ("identity_bf16", "versions") or name.startswith("zipmap"):
                continue
            yield name, onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def inputs(module, feeds, **options):
    made = []
    for name, array in feeds.items():
        tensor = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, **options)
        made.append(tensor)
    return made


def main(address, folders):
    grpc = grpc_client.InferenceServerClient(address)
    http = http_client.InferenceServerClient(address)
    for kind, client in (("grpc", grpc), ("http", http)):
        check(f"{kind} live and ready", client.is_server_live() and client.is_server_ready())
    check("grpc server metadata", grpc.get_server_metadata().name == "tensorwire")
    check("http server metadata", http.get_server_metadata()["name"] == "tensorwire")

    for name, session in models(folders):
        feeds = {argument.name: sample(argument) for argument in session.get_inputs()}
        outputs = [output.name for output in session.get_outputs()]
        expected = dict(zip(outputs, session.run(outputs, feeds)))

        metadata = grpc.get_model_metadata(name)
        check(f"{name}: grpc metadata names its tensors", [o.name for o in metadata.outputs] == outputs)
        answer = grpc.infer(name, inputs(grpc_client, feeds), request_id="r1")
        check(f"{name}: grpc", all(same(answer.as_numpy(o), expected[o]) for o in outputs))
        check(f"{name}: grpc request id", answer.get_response().id == "r1")

        for binary in (True, False):
            # JSON has no numbers for halves in this client.
            if not binary and any(array.dtype == np.float16 for array in feeds.values()):
                continue
            form = "binary" if binary else "JSON"
            wanted = [http_client.InferRequestedOutput(o, binary_data=binary) for o in outputs]
            answer = http.infer(name, inputs(http_client, feeds, binary_data=binary), outputs=wanted)
            check(f"{name}: http {form}", all(same(answer.as_numpy(o), expected[o]) for o in outputs))

    compressed = np.arange(16, dtype=np.int32).reshape(1, 16)
    feeds = {"INPUT0": compressed, "INPUT1": compressed}
    answer = grpc.infer("add_sub", inputs(grpc_client, feeds), compression_algorithm="gzip")
    check("grpc gzip", np.array_equal(answer.as_numpy("OUTPUT0"), compressed * 2))
    answer = http.infer("add_sub", inputs(http_client, feeds), request_compression_algorithm="gzip")
    check("http gzip", np.array_equal(answer.as_numpy("OUTPUT0"), compressed * 2))

    scores = np.array([[1, 2, 3], [3, 2, 1]], dtype=np.float32)
    for kind, module, client in (("grpc", grpc_client, grpc), ("http", http_client, http)):
        wanted = [module.InferRequestedOutput("scores", class_count=2)]
        answer = client.infer("labels", inputs(module, {"x": scores}), outputs=wanted).as_numpy("scores")
        texts = [text.decode().split(":") for text in answer.ravel()]
        check(f"{kind} classification", [t[1:] for t in texts] == [["2", "owl"], ["1", "dog"], ["0", "cat"], ["1", "dog"]])

    stream(address)
    check("grpc statistics", grpc.get_inference_statistics("add_sub").model_stats[0].inference_stats.success.count > 0)
    check("http statistics", http.get_inference_statistics("add_sub")["model_stats"][0]["name"] == "add_sub")
    check("grpc config", grpc.get_model_config("add_sub").config.max_batch_size == 8)
    check("http config", http.get_model_config("add_sub")["max_batch_size"] == 8)
    index = {model.name: model.state for model in grpc.get_model_repository_index().models}
    check("grpc index", index["add_sub"] == "READY")
    check("http index", any(m["name"] == "add_sub" and m["state"] == "READY" for m in http.get_model_repository_index()))
    for client in (grpc, http):
        client.unload_model("fixed")
        check("unloaded", not client.is_model_ready("fixed"))
        client.load_model("fixed")
        check("loaded again", client.is_model_ready("fixed"))
    contents = next(Path(sys.argv[2]).glob("add_sub/*/model.onnx")).read_bytes()
    for module, client in ((grpc_client, grpc), (http_client, http)):
        config = json.dumps({"max_batch_size": 8, "version_policy": {"specific": {"versions": [4]}}})
        files = {"file:4/model.onnx": contents, "file:5/model.onnx": b"broken"}
        client.load_model("brought", config=config, files=files)
        answer = client.infer("brought", inputs(module, feeds), model_version="4")
        check("a model that came with the call answers", np.array_equal(answer.as_numpy("OUTPUT0"), compressed * 2))
        check("and its policy chose its version", not client.is_model_ready("brought", "5"))
        client.unload_model("brought")
        check("and goes", not client.is_model_ready("brought"))
    usage = grpc.get_inference_statistics("add_sub").model_stats[0].memory_usage
    check("memory usage", usage[0].type == "CPU" and usage[0].byte_size > 0)
    for client in (grpc, http):
        try:
            client.get_model_metadata("nope")
            check("an unknown model is refused", False)
        except InferenceServerException as error:
            check(f"an unknown model is refused: {error.message()}", "nope" in error.message())
    print(f"{checks} checks")


def stream(address):
    """Requests of a stream are answered in their order, one that fails too."""
    import queue

    answers = queue.Queue()
    client = grpc_client.InferenceServerClient(address)
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for index in range(5):
        row = np.full((1, 16), index, dtype=np.int32)
        client.async_stream_infer("add_sub" if index != 2 else "nope", inputs(grpc_client, {"INPUT0": row, "INPUT1": row}), request_id=str(index))
    got = [answers.get(timeout=20) for _ in range(5)]
    client.stop_stream()
    check("stream: the bad request alone fails", [error is None for _, error in got] == [True, True, False, True, True])
    ids = [result.get_response().id for result, error in got if error is None]
    check("stream: answers in order", ids == ["0", "1", "3", "4"])


async def asynchronous(address):
    async with grpc_aio_client.InferenceServerClient(address) as client:
        row = np.ones((1, 16), dtype=np.int32)
        answer = await client.infer("add_sub", inputs(grpc_client, {"INPUT0": row, "INPUT1": row}))
        check("grpc asyncio", np.array_equal(answer.as_numpy("OUTPUT1"), row * 0))


if __name__ == "__main__":
    import asyncio

    asyncio.run(asynchronous(sys.argv[1]))
    main(sys.argv[1], sys.argv[2:])
