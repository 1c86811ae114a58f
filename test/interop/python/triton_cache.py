"""Calls a model with `response_cache { enable: true }` with tritonclient over gRPC and HTTP, and reads from its
statistics which calls were answered from the cache. The model adds 1 to x; every answer is compared with that.

    python triton_cache.py HOST:PORT MODEL

Prints a line a check and ends with `N checks`; exits with 1 at the first answer that differs.
"""

import asyncio
import sys

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client

checks = 0


def check(name, passed):
    global checks
    if not passed:
        print(f"FAILED {name}")
        sys.exit(1)
    checks += 1
    print(f"ok {name}")


def input_of(module, value):
    array = np.array([value], dtype=np.float32)
    tensor = module.InferInput("x", [1], "FP32")
    tensor.set_data_from_numpy(array)
    return [tensor]


def counts(client, model):
    """Hits, misses, rows computed and successes, as gRPC and HTTP tell them."""
    stats = client.get_inference_statistics(model)
    if isinstance(stats, dict):
        [row] = stats["model_stats"]
        inner = row["inference_stats"]
        return (inner["cache_hit"]["count"], inner["cache_miss"]["count"], row["inference_count"], inner["success"]["count"])
    [row] = stats.model_stats
    inner = row.inference_stats
    return (inner.cache_hit.count, inner.cache_miss.count, row.inference_count, inner.success.count)


async def at_once(address, model, value, number):
    async with grpc_aio_client.InferenceServerClient(address) as client:
        return await asyncio.gather(*(client.infer(model, input_of(grpc_aio_client, value)) for _ in range(number)))


def main(address, model):
    grpc = grpc_client.InferenceServerClient(address)
    http = http_client.InferenceServerClient(address)
    check("grpc config says that answers are cached", grpc.get_model_config(model).config.response_cache.enable)
    check("http config says that answers are cached", http.get_model_config(model)["response_cache"]["enable"])
    check("nothing is counted before the first call", counts(grpc, model) == (0, 0, 0, 0))

    def asks(module, client, value):
        return client.infer(model, input_of(module, value)).as_numpy("y")[0] == value + 1

    check("grpc: a first call is computed", asks(grpc_client, grpc, 5) and counts(grpc, model) == (0, 1, 1, 1))
    check("grpc: a second one is not", asks(grpc_client, grpc, 5) and counts(grpc, model) == (1, 1, 1, 2))
    check("http: nor the same over HTTP", asks(http_client, http, 5) and counts(http, model) == (2, 1, 1, 3))
    check("http: another input is computed", asks(http_client, http, 6) and counts(http, model) == (2, 2, 2, 4))
    check("grpc: and then is not", asks(grpc_client, grpc, 6) and counts(grpc, model) == (3, 2, 2, 5))

    answers = asyncio.run(at_once(address, model, 7, 20))
    check("asyncio: equal calls at once are right", all(a.as_numpy("y")[0] == 8 for a in answers))
    check("asyncio: and computed once", counts(grpc, model) == (22, 3, 3, 25))

    grpc.load_model(model)
    check("a model that is loaded again begins anew", counts(grpc, model) == (0, 0, 0, 0))
    check("and computes what it had kept before", asks(grpc_client, grpc, 5) and counts(grpc, model) == (0, 1, 1, 1))
    print(f"{checks} checks")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
