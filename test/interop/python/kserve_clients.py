"""Calls a server with KServe's clients: InferenceGRPCClient, and InferenceRESTClient with v1 and v2.

    python kserve_clients.py HOST:PORT EXAMPLE_MODELS

Prints a line a check and ends with `N checks`; exits with 1 at the first answer that differs from
what samples.json says.
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

checks = 0


def check(name, passed):
    global checks
    if not passed:
        print(f"FAILED {name}")
        sys.exit(1)
    checks += 1
    print(f"ok {name}")


def request(model, sample, binary):
    made = []
    for name, tensor in sample["inputs"].items():
        array = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        value = InferInput(name, tensor["shape"], tensor["datatype"])
        value.set_data_from_numpy(array, binary_data=binary)
        made.append(value)
    return InferRequest(model_name=model, infer_inputs=made, request_id="k1")


def same(response, sample):
    given = {output.name: output.as_numpy() for output in response.outputs}
    return all(
        np.allclose(given[name].ravel(), np.array(tensor["data"]), rtol=1e-5, atol=1e-5)
        for name, tensor in sample["outputs"].items()
    )


async def main(address, folder):
    samples = json.loads((Path(folder) / "samples.json").read_text())
    grpc = InferenceGRPCClient(url=address)
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    url = f"http://{address}"
    check("grpc live", await grpc.is_server_live())
    check("grpc ready", await grpc.is_server_ready())
    check("rest live", await rest.is_server_live(url))
    check("rest ready", await rest.is_server_ready(url))
    for model, sample in samples.items():
        check(f"{model}: grpc model ready", await grpc.is_model_ready(model))
        check(f"{model}: rest model ready", await rest.is_model_ready(url, model))
        for binary in (True, False):
            form = "raw" if binary else "typed"
            answer = await grpc.infer(request(model, sample, binary))
            check(f"{model}: grpc {form}", same(answer, sample) and answer.id == "k1")
            answer = await rest.infer(url, request(model, sample, binary), model_name=model)
            check(f"{model}: rest {form}", same(answer, sample))
        (tensor,) = sample["inputs"].values()
        rows = np.array(tensor["data"]).reshape(tensor["shape"]).tolist()
        answer = await v1.infer(url, {"instances": rows}, model_name=model)
        first = answer["predictions"][0]
        wanted = {n: np.array(t["data"]).reshape(t["shape"])[0] for n, t in sample["outputs"].items()}
        given = first if isinstance(first, dict) else {next(iter(wanted)): first}
        check(f"{model}: rest v1", all(np.allclose(given[n], wanted[n], rtol=1e-5, atol=1e-5) for n in wanted))
    print(f"{checks} checks")


asyncio.run(main(*sys.argv[1:]))
