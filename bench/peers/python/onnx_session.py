"""The model as every peer runs it: ONNX Runtime on the CPU with one thread."""

from pathlib import Path

import onnxruntime


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def model_files(repository):
    """Yields the name and the file of each model of a folder <model>/<version>/model.onnx."""
    for path in sorted(Path(repository).glob("*/1/model.onnx")):
        yield path.parent.parent.name, path
