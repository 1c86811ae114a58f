"""Prints how MLServer itself reads the model-settings.json files of a repository: name, version, file."""

import asyncio
import json
import sys

from mlserver.repository import ModelRepositoryFactory
from mlserver.settings import Settings
from mlserver.utils import get_model_uri


async def main(root: str) -> None:
    settings = Settings(model_repository_root=root)
    repository = ModelRepositoryFactory.resolve_model_repository(settings)
    rows = []
    for model in await repository.list():
        uri = await get_model_uri(model, wellknown_filenames=["model.onnx"])
        batching = model.max_batch_size > 1 and model.max_batch_time > 0
        rows.append(
            {
                "name": model.name,
                "version": model.version,
                "uri": uri,
                "batching": [model.max_batch_size, model.max_batch_time] if batching else None,
                "inputs": [[each.name, each.datatype, each.shape] for each in model.inputs],
            }
        )
    print("ROWS" + json.dumps(rows))


asyncio.run(main(sys.argv[1]))
