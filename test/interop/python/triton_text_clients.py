"""Calls the example text model as clients of Triton's vLLM backend do, and compares with PyTorch.

    python triton_text_clients.py HOST:PORT FOLDER

Ends with `N checks`; exits with 1 at the first answer that differs from what expected.json says.
"""

import json
import queue
import sys
from functools import partial
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpc

checks = 0


def check(name, given, expected):
    global checks
    if given != expected:
        print(f"FAILED {name}: got {given!r}, expected {expected!r}")
        sys.exit(1)
    checks += 1


def made(name, datatype, value):
    tensor = grpc.InferInput(name, [1], datatype)
    kind = np.bool_ if datatype == "BOOL" else np.object_
    tensor.set_data_from_numpy(np.array([value], dtype=kind))
    return tensor


def ask(client, answers, prompt, stream, sampling, request_id):
    client.async_stream_infer(
        "opticks",
        [
            made("text_input", "BYTES", prompt.encode()),
            made("stream", "BOOL", stream),
            made("sampling_parameters", "BYTES", json.dumps(sampling).encode()),
            made("exclude_input_in_output", "BOOL", True),
        ],
        request_id=request_id,
        enable_empty_final_response=True,
    )


def main(address, folder):
    expected = json.loads((Path(folder) / "expected.json").read_text(encoding="utf-8"))
    answers = queue.Queue()
    with grpc.InferenceServerClient(address) as client:
        client.start_stream(callback=partial(lambda queue, result, error: queue.put((result, error)), answers))
        # vLLM's examples write numbers as text.
        sampling = {"temperature": "0", "max_tokens": "60"}
        for index, case in enumerate(expected):
            ask(client, answers, case["prompt"], True, sampling, f"stream {index}")
            ask(client, answers, case["prompt"], False, sampling, f"whole {index}")
        texts, counts, left = {}, {}, 2 * len(expected)
        while left > 0:
            result, error = answers.get(timeout=60)
            check("error", error, None)
            response = result.get_response()
            if response.parameters["triton_final_response"].bool_param:
                left -= 1
                continue
            text = result.as_numpy("text_output")[0].decode()
            texts[response.id] = texts.get(response.id, "") + text
            counts[response.id] = counts.get(response.id, 0) + 1
        for index, case in enumerate(expected):
            check(f"streamed text {index}", texts[f"stream {index}"], case["text"])
            check(f"whole text {index}", texts[f"whole {index}"], case["text"])
            check(f"answers of {index}", counts[f"whole {index}"], 1)
            check(f"pieces of {index}", counts[f"stream {index}"] > 1, True)
        ask(client, answers, "a", True, {"temperature": 9}, "bad")
        result, error = answers.get(timeout=60)
        check("refused", "temperature" in str(error), True)
        client.stop_stream()
    print(f"{checks} checks")


main(*sys.argv[1:])
