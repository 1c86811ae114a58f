"""KServe's Python server with one model class for every ONNX file of a model repository.

    kserve_server.py --model_repository FOLDER --grpc_port N --http_port N [KServe's own flags]
"""

import argparse

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.numpy_codec import from_np_dtype
from onnx_session import model_files, open_session


class OnnxModel(Model):
    def __init__(self, name, path):
        super().__init__(name)
        self.session = open_session(path)
        self.outputs = [tensor.name for tensor in self.session.get_outputs()]
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None):
        feeds = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        outputs = []
        for name, array in zip(self.outputs, self.session.run(None, feeds)):
            output = InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
            output.set_data_from_numpy(array, binary_data=True)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id, model_name=self.name, infer_outputs=outputs
        )


parser = argparse.ArgumentParser()
parser.add_argument("--model_repository", required=True)
arguments, _ = parser.parse_known_args()
ModelServer(enable_latency_logging=False).start(
    [OnnxModel(name, path) for name, path in model_files(arguments.model_repository)]
)
