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
TOLERANCE = 1e-5


def check_labels(given, expected, probabilities):
    """Labels are equal, but where two classes tie: a sum over trees in another order may turn those."""
    for row, (label, other) in enumerate(zip(given, expected)):
        scores = probabilities[row]
        assert label == other or scores.max() - scores[label] < 2 * TOLERANCE, (
            f"row {row}: label {label}, expected {other} of probabilities {scores}"
        )
    assert given.shape == expected.shape and given.dtype == expected.dtype


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
                    given = answer.as_numpy(output)
                    if output == "label":
                        check_labels(given, array, expected[outputs.index("probabilities")])
                    else:
                        np.testing.assert_allclose(given, array, rtol=TOLERANCE, atol=TOLERANCE)
                    checks += 1
    print(f"{checks} checks")


main(*sys.argv[1:])
