"""A model of Triton's Python backend that runs an ONNX file, with Triton's dynamic batching."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils
from onnx_session import open_session

TRITON_TYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(int64)": "TYPE_INT64",
}


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        given = config.as_dict()
        batched = given["max_batch_size"] > 0
        session = open_session(given["parameters"]["onnx_file"]["string_value"])
        for tensor in session.get_inputs():
            config.add_input(describe(tensor, batched))
        for tensor in session.get_outputs():
            config.add_output(describe(tensor, batched))
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.batched = config["max_batch_size"] > 0
        self.session = open_session(config["parameters"]["onnx_file"]["string_value"])
        self.inputs = [tensor.name for tensor in self.session.get_inputs()]
        self.outputs = [tensor.name for tensor in self.session.get_outputs()]

    def execute(self, requests):
        if not self.batched:
            return [self.response(self.session.run(None, self.feeds(one))) for one in requests]
        feeds = [self.feeds(request) for request in requests]
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in self.inputs}
        ends = np.cumsum([len(feed[self.inputs[0]]) for feed in feeds])[:-1]
        outputs = [np.split(output, ends) for output in self.session.run(None, joined)]
        return [self.response(rows) for rows in zip(*outputs)]

    def feeds(self, request):
        return {
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in self.inputs
        }

    def response(self, arrays):
        # A batched tensor of Triton has a dimension beside the batch, so labels become a column.
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, array[:, None] if self.batched and array.ndim == 1 else array)
                for name, array in zip(self.outputs, arrays)
            ]
        )


def describe(tensor, batched):
    dims = [size if isinstance(size, int) else -1 for size in tensor.shape]
    if batched:
        dims = dims[1:] or [1]
    return {"name": tensor.name, "data_type": TRITON_TYPES[tensor.type], "dims": dims}
