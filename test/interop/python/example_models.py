"""Compares every example model with ONNX Runtime run here, over tritonclient's gRPC and HTTP, on random
inputs of 1 to 100 rows.

    python example_models.py HOST:PORT EXAMPLE_MODELS
"""

import sys

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from triton_clients import inputs, models

RNG = np.random.default_rng(3)
WIDE = 7


def main(address, folder):
    clients = ((grpc_client, grpc_client.InferenceServerClient(address)), (http_client, http_client.InferenceServerClient(address)))
    checks = 0
    for name, session in models([folder]):
        for rows in (1, 2, 17, 100):
            feeds = {}
            for argument in session.get_inputs():
                shape = [size if isinstance(size, int) else WIDE for size in argument.shape]
                shape[0] = rows
                feeds[argument.name] = RNG.uniform(0, 1, shape).astype(np.float32)
            outputs = [output.name for output in session.get_outputs()]
            expected = session.run(outputs, feeds)
            for module, client in clients:
                answer = client.infer(name, inputs(module, feeds))
                for output, array in zip(outputs, expected):
                    np.testing.assert_allclose(answer.as_numpy(output), array, rtol=1e-5, atol=1e-5)
                    checks += 1
    print(f"{checks} checks")


main(*sys.argv[1:])
