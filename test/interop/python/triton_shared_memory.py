"""Sends tensors to a server through shared memory with tritonclient over gRPC, asyncio, streams and HTTP, and
compares what comes back with the same computed here: add_sub gives the sum and the difference of its inputs,
the identity models their input.

    python triton_shared_memory.py HOST:PORT

Prints a line a check and ends with `N checks`; exits with 1 at the first that differs.
"""

import asyncio
import os
import queue
import sys

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor, triton_to_np_dtype

RNG = np.random.default_rng(11)
checks = 0


def check(name, passed):
    global checks
    if not passed:
        print(f"FAILED {name}")
        sys.exit(1)
    checks += 1
    print(f"ok {name}")


class Region:
    """A shared memory object with a key that no other test has, registered whole or from an offset on."""

    def __init__(self, client, name, size, offset=0):
        self.client, self.name, self.size, self.offset = client, name, size, offset
        self.key = f"/tensorwire_{os.getpid()}_{name}"
        self.handle = shm.create_shared_memory_region(name, self.key, offset + size, create_only=True)
        client.register_system_shared_memory(name, self.key, size, offset=offset)

    def put(self, array, at=0):
        shm.set_shared_memory_region(self.handle, [array], offset=self.offset + at)

    def get(self, dtype, shape, at=0):
        return shm.get_contents_as_numpy(self.handle, dtype, shape, offset=self.offset + at).copy()

    def close(self):
        self.client.unregister_system_shared_memory(self.name)
        shm.destroy_shared_memory_region(self.handle)


def memory_input(module, name, shape, datatype, region, size, at=0):
    tensor = module.InferInput(name, shape, datatype)
    tensor.set_shared_memory(region.name, size, at)
    return tensor


def message_input(module, name, array, datatype):
    tensor = module.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def memory_output(module, name, region, size, at=0):
    output = module.InferRequestedOutput(name)
    output.set_shared_memory(region.name, size, at)
    return output


def rows():
    return [RNG.integers(-1000, 1000, (1, 16), dtype=np.int32) for _ in range(2)]


def refused(name, call, *words):
    try:
        call()
    except InferenceServerException as error:
        check(f"{name}: {error.message()}", all(word in error.message() for word in words))
        return
    check(name, False)


def status_names(client):
    status = client.get_system_shared_memory_status()
    return sorted(region["name"] for region in status) if isinstance(status, list) else sorted(status.regions)


def numbers(kind, module, client):
    """Inputs and outputs of add_sub in one object that is registered from an offset on."""
    a, b = rows()
    size = a.nbytes
    region = Region(client, f"{kind}_numbers", 4 * size, offset=4096)
    region.put(a)
    region.put(b, size)
    inputs = [
        memory_input(module, "INPUT0", [1, 16], "INT32", region, size),
        memory_input(module, "INPUT1", [1, 16], "INT32", region, size, size),
    ]
    outputs = [
        memory_output(module, "OUTPUT0", region, size, 2 * size),
        memory_output(module, "OUTPUT1", region, size, 3 * size),
    ]
    answer = client.infer("add_sub", inputs, outputs=outputs)
    check(f"{kind}: sum in shared memory", np.array_equal(region.get(np.int32, [1, 16], 2 * size), a + b))
    check(f"{kind}: difference in shared memory", np.array_equal(region.get(np.int32, [1, 16], 3 * size), a - b))
    for name in ("OUTPUT0", "OUTPUT1"):
        output = answer.get_output(name)
        shape = output["shape"] if isinstance(output, dict) else list(output.shape)
        check(f"{kind}: the answer says of what shape {name} is", shape == [1, 16])

    mixed = [inputs[0], message_input(module, "INPUT1", b, "INT32")]
    answer = client.infer("add_sub", mixed, outputs=[outputs[0], module.InferRequestedOutput("OUTPUT1")])
    check(f"{kind}: one output in the message", np.array_equal(answer.as_numpy("OUTPUT1"), a - b))
    answer = client.infer("add_sub", inputs)
    check(f"{kind}: inputs alone in shared memory", np.array_equal(answer.as_numpy("OUTPUT0"), a + b))
    a += 1
    region.put(a)
    answer = client.infer("add_sub", inputs)
    check(f"{kind}: what is there when the call comes counts", np.array_equal(answer.as_numpy("OUTPUT0"), a + b))

    small = memory_output(module, "OUTPUT0", region, size - 4, 2 * size)
    refused(f"{kind}: an output that is too large", lambda: client.infer("add_sub", inputs, outputs=[small]), "64", "60")
    behind = memory_input(module, "INPUT1", [1, 16], "INT32", region, size, 4 * size)
    refused(f"{kind}: a range behind the region", lambda: client.infer("add_sub", [inputs[0], behind]), "offset 256")
    short = memory_input(module, "INPUT1", [1, 16], "INT32", region, size - 4)
    refused(f"{kind}: too few bytes", lambda: client.infer("add_sub", [inputs[0], short]), "INPUT1", "60", "64")
    region.close()
    refused(f"{kind}: a region that was unregistered", lambda: client.infer("add_sub", inputs), region.name)


def texts(kind, module, client):
    given = np.array([["a", ""], ["žluťoučký", "x" * 1000]], dtype=np.object_)
    serialized = serialize_byte_tensor(given)
    size = len(serialized.item())
    region = Region(client, f"{kind}_texts", 2 * size)
    region.put(serialized)
    inputs = [memory_input(module, "x", [2, 2], "BYTES", region, size)]
    client.infer("identity_string", inputs, outputs=[memory_output(module, "y", region, size, size)])
    back = region.get(np.object_, [2, 2], size)
    check(f"{kind}: texts in shared memory", [text.decode() for text in back.ravel()] == list(given.ravel()))
    answer = client.infer("identity_string", inputs)
    check(f"{kind}: texts in the message", [text.decode() for text in answer.as_numpy("y").ravel()] == list(given.ravel()))
    region.close()


DATATYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "fp16", "fp32", "fp64"]


def datatypes(kind, module, client):
    """Bits of every datatype come back as they went, off any boundary."""
    region = Region(client, f"{kind}_datatypes", 256)
    for name in DATATYPES:
        dtype = np.dtype(triton_to_np_dtype(name.upper()))
        bits = RNG.integers(0, 256, (2, 3, dtype.itemsize), dtype=np.uint8)
        given = bits.view(dtype).reshape(2, 3) if name != "bool" else bits.reshape(2, 3) > 127
        region.put(given, 1)
        size = given.nbytes
        inputs = [memory_input(module, "x", [2, 3], name.upper(), region, size, 1)]
        client.infer(f"identity_{name}", inputs, outputs=[memory_output(module, "y", region, size, 129)])
        back = region.get(dtype, [2, 3], 129)
        check(f"{kind}: {name} in shared memory", back.tobytes() == given.tobytes())
    region.close()


def control(kind, client):
    check(f"{kind}: no region at first", status_names(client) == [])
    one, two = Region(client, f"{kind}_one", 100), Region(client, f"{kind}_two", 50, offset=10)
    check(f"{kind}: both are listed", status_names(client) == [one.name, two.name])
    status = client.get_system_shared_memory_status(two.name)
    [row] = status if isinstance(status, list) else [
        {"name": r.name, "key": r.key, "offset": r.offset, "byte_size": r.byte_size} for r in status.regions.values()
    ]
    expected = {"name": two.name, "key": two.key, "offset": 10, "byte_size": 50}
    check(f"{kind}: status says where a region is", row == expected)
    register = client.register_system_shared_memory
    refused(f"{kind}: a name that is taken", lambda: register(one.name, one.key, 10), one.name)
    refused(f"{kind}: a region larger than its object", lambda: register("large", one.key, 5000), "5000")
    refused(f"{kind}: an object that is not there", lambda: register("absent", "/tensorwire_absent", 1), "tensorwire_absent")
    refused(f"{kind}: a key that is a path", lambda: register("path", "/../etc/passwd", 1), "etc/passwd")
    refused(f"{kind}: status of no region", lambda: client.get_system_shared_memory_status("none"), "none")
    client.unregister_system_shared_memory("none")
    client.unregister_system_shared_memory()
    check(f"{kind}: all are unregistered", status_names(client) == [])
    for region in (one, two):
        region.close()


async def asynchronous(address):
    a, b = rows()
    async with grpc_aio_client.InferenceServerClient(address) as client:
        key = f"/tensorwire_{os.getpid()}_aio"
        handle = shm.create_shared_memory_region("aio", key, 4 * a.nbytes, create_only=True)
        await client.register_system_shared_memory("aio", key, 4 * a.nbytes)
        shm.set_shared_memory_region(handle, [a, b])
        inputs = [grpc_client.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
        inputs[0].set_shared_memory("aio", a.nbytes)
        inputs[1].set_shared_memory("aio", a.nbytes, a.nbytes)
        output = grpc_client.InferRequestedOutput("OUTPUT0")
        output.set_shared_memory("aio", a.nbytes, 2 * a.nbytes)
        await asyncio.gather(*(client.infer("add_sub", inputs, outputs=[output]) for _ in range(20)))
        got = shm.get_contents_as_numpy(handle, np.int32, [1, 16], 2 * a.nbytes)
        check("asyncio: sum in shared memory", np.array_equal(got, a + b))
        del got
        await client.unregister_system_shared_memory("aio")
        shm.destroy_shared_memory_region(handle)


def stream(address):
    a, b = rows()
    size = a.nbytes
    answers = queue.Queue()
    client = grpc_client.InferenceServerClient(address)
    region = Region(client, "stream", 7 * size)
    region.put(a)
    region.put(b, size)
    inputs = [
        memory_input(grpc_client, "INPUT0", [1, 16], "INT32", region, size),
        memory_input(grpc_client, "INPUT1", [1, 16], "INT32", region, size, size),
    ]
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for index in range(5):
        output = memory_output(grpc_client, "OUTPUT0", region, size, (2 + index) * size)
        client.async_stream_infer("add_sub", inputs, outputs=[output], request_id=str(index))
    got = [answers.get(timeout=20) for _ in range(5)]
    client.stop_stream()
    check("stream: no error", all(error is None for _, error in got))
    check("stream: in order", [result.get_response().id for result, _ in got] == ["0", "1", "2", "3", "4"])
    for index in range(5):
        check(f"stream: sum {index}", np.array_equal(region.get(np.int32, [1, 16], (2 + index) * size), a + b))
    region.close()


def main(address):
    grpc = grpc_client.InferenceServerClient(address)
    http = http_client.InferenceServerClient(address)
    check("the extension is listed", "system_shared_memory" in grpc.get_server_metadata().extensions)
    for kind, module, client in (("grpc", grpc_client, grpc), ("http", http_client, http)):
        control(kind, client)
        numbers(kind, module, client)
        texts(kind, module, client)
        datatypes(kind, module, client)
        client.unregister_cuda_shared_memory()
        cuda = client.get_cuda_shared_memory_status()
        check(f"{kind}: no CUDA memory is listed", len(cuda if isinstance(cuda, list) else cuda.regions) == 0)
        try:
            client.register_cuda_shared_memory("gpu", b"AAAA", 0, 64)
            check(f"{kind}: CUDA memory is refused", False)
        except InferenceServerException as error:
            check(f"{kind}: CUDA memory is refused: {error.message()}", "CUDA memory cannot be shared" in error.message())
    asyncio.run(asynchronous(address))
    stream(address)
    check("nothing stays registered", status_names(grpc) == [])
    print(f"{checks} checks")


if __name__ == "__main__":
    main(sys.argv[1])
