"""Calls a server with grpcio alone and checks what the wire does: streams, cancels, deadlines, keepalive,
compression, large messages, metadata and TLS.

    python wire_clients.py HOST:PORT            cleartext
    python wire_clients.py HOST:PORT CA.pem     TLS

The server has the model `identity`, of any number of FP32 values `x`. Prints a line a check and ends with `N checks`; exits with 1 at
the first that fails.
"""

import queue
import sys
import threading

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs

ADDRESS = sys.argv[1]
CA = sys.argv[2] if len(sys.argv) > 2 else None
RNG = np.random.default_rng(11)
checks = 0


def check(name, passed):
    global checks
    if not passed:
        print(f"FAILED {name}")
        sys.exit(1)
    checks += 1
    print(f"ok {name}")


def channel(*options, compression=None):
    sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    given = [*sizes, *options]
    if CA is None:
        return grpc.insecure_channel(ADDRESS, given, compression)
    with open(CA, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    name = ("grpc.ssl_target_name_override", "localhost")
    return grpc.secure_channel(ADDRESS, credentials, [*given, name], compression)


def request(values, identifier="", model="identity"):
    message = pb.ModelInferRequest(model_name=model, id=identifier)
    tensor = message.inputs.add(name="x", datatype="FP32")
    tensor.shape.extend(values.shape)
    message.raw_input_contents.append(values.tobytes())
    return message


def values(count):
    return RNG.uniform(-1, 1, count).astype(np.float32)


def answered(response, expected):
    return response.raw_output_contents[0] == expected.tobytes()


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def unary(stub):
    for count in (0, 1, 1000, 4096, 16384, 262144):
        given = values(count)
        check(f"unary of {count} values", answered(stub.ModelInfer(request(given)), given))


def many_at_once(stub):
    given = [values(64) for _ in range(500)]
    futures = [stub.ModelInfer.future(request(each)) for each in given]
    check("500 calls at once", all(answered(f.result(), v) for f, v in zip(futures, given)))


def large(stub):
    given = values(4 * 1024 * 1024)
    check("16 MiB both ways", answered(stub.ModelInfer(request(given)), given))
    futures = [stub.ModelInfer.future(request(given)) for _ in range(3)]
    check("three of them at once", all(answered(each.result(), given) for each in futures))


def streams(stub):
    given = [values(16) for _ in range(1000)]
    requests = (request(each, str(index)) for index, each in enumerate(given))
    answers = [answer.infer_response for answer in stub.ModelStreamInfer(requests)]
    check("1000 answers of a stream", len(answers) == 1000)
    check("in order", [answer.id for answer in answers] == [str(index) for index in range(1000)])
    check("all right", all(answered(a, v) for a, v in zip(answers, given)))
    # Each request is sent when the answer before it has come.
    outgoing = queue.Queue()
    call = stub.ModelStreamInfer(iter(outgoing.get, None))
    for turn in range(20):
        outgoing.put(request(given[turn], str(turn)))
        answer = next(call).infer_response
        if answer.id != str(turn) or not answered(answer, given[turn]):
            check("both sides in turn", False)
    outgoing.put(None)
    check("both sides in turn", next(call, None) is None and call.code() == grpc.StatusCode.OK)
    big = values(500_000)
    call = stub.ModelStreamInfer(request(big, str(index)) for index in range(10))
    check("2 MB a message", all(answered(a.infer_response, big) for a in call))


def cancels(stub):
    blocked = threading.Event()

    def forever():
        yield request(values(4), "first")
        blocked.wait(60)

    call = stub.ModelStreamInfer(forever())
    check("an answer before the cancel", next(call).infer_response.id == "first")
    call.cancel()
    check("a stream cancelled", code_of(lambda: next(call)) == grpc.StatusCode.CANCELLED)
    blocked.set()
    future = stub.ModelInfer.future(request(values(1_000_000)))
    future.cancel()
    check("a call cancelled", future.cancelled() or future.code() == grpc.StatusCode.OK)
    for _ in range(200):
        stub.ModelInfer.future(request(values(1000))).cancel()
    given = values(3)
    check("the next call is answered", answered(stub.ModelInfer(request(given)), given))


def deadlines(stub):
    # 16 MiB both ways take longer than that.
    large_request = request(values(4 * 1024 * 1024))
    late = code_of(lambda: stub.ModelInfer(large_request, timeout=0.002))
    check("a deadline that passes on the way", late == grpc.StatusCode.DEADLINE_EXCEEDED)
    # Some are cancelled before their first bytes have left, some after.
    for _ in range(100):
        code_of(lambda: stub.ModelInfer(request(values(1000)), timeout=0.000001))
    given = values(3)
    check("the next call is answered", answered(stub.ModelInfer(request(given)), given))

    stop = threading.Event()

    def silent():
        stop.wait(60)
        yield from ()

    call = stub.ModelStreamInfer(silent(), timeout=0.2)
    late = code_of(lambda: next(call))
    stop.set()
    check("a stream that outlasts its deadline", late == grpc.StatusCode.DEADLINE_EXCEEDED)


def errors(stub):
    try:
        stub.ModelInfer(request(values(4), model="none"))
        check("an unknown model fails", False)
    except grpc.RpcError as error:
        check("an unknown model is NOT_FOUND", error.code() == grpc.StatusCode.NOT_FOUND)
        check("its message names it", "none" in error.details())
        trailers = dict(error.trailing_metadata())
        details = trailers["grpc-status-details-bin"]
        check("its details are of google.rpc.ErrorInfo", b"google.rpc.ErrorInfo" in details)
        check("with the reason", b"MODEL_NOT_FOUND" in details)
    nope = CHANNEL.unary_unary("/inference.GRPCInferenceService/Nope")
    unknown = code_of(lambda: nope(b""))
    check("an unknown method is UNIMPLEMENTED", unknown == grpc.StatusCode.UNIMPLEMENTED)


def metadata(stub):
    given = values(8)
    sent = (("x-text", "ok"), ("x-bytes-bin", bytes(range(256))), ("x-long", "v" * 8000))
    answer, call = stub.ModelInfer.with_call(request(given), metadata=sent)
    check("metadata of 8 KB and bytes", answered(answer, given))
    check("status OK", call.code() == grpc.StatusCode.OK)
    huge = (("x-long", "v" * 100_000),)
    refused = code_of(lambda: stub.ModelInfer(request(given), metadata=huge))
    check(f"metadata of 100 KB is refused: {refused}", refused != grpc.StatusCode.OK)
    check("and the next call is answered", answered(stub.ModelInfer(request(given)), given))


def compression():
    given = np.zeros(100_000, np.float32)
    with channel(compression=grpc.Compression.Gzip) as packed:
        stub = stubs.GRPCInferenceServiceStub(packed)
        check("gzip for requests", answered(stub.ModelInfer(request(given)), given))
        answers = stub.ModelStreamInfer(request(given, str(index)) for index in range(5))
        check("gzip on a stream", all(answered(a.infer_response, given) for a in answers))
    with channel(compression=grpc.Compression.Deflate) as packed:
        stub = stubs.GRPCInferenceServiceStub(packed)
        check("deflate for requests", answered(stub.ModelInfer(request(given)), given))


def keepalive():
    options = (
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    with channel(*options) as kept:
        stub = stubs.GRPCInferenceServiceStub(kept)
        given = values(8)
        outgoing = queue.Queue()
        call = stub.ModelStreamInfer(iter(outgoing.get, None))
        outgoing.put(request(given, "0"))
        first = answered(next(call).infer_response, given)
        # Some pings go out and come back meanwhile.
        threading.Event().wait(3.5)
        outgoing.put(request(given, "1"))
        second = answered(next(call).infer_response, given)
        outgoing.put(None)
        check("a stream lives with a ping a second", first and second)


def connections():
    for turn in range(20):
        with channel(("grpc.use_local_subchannel_pool", 1)) as fresh:
            given = values(turn + 1)
            answer = stubs.GRPCInferenceServiceStub(fresh).ModelInfer(request(given))
            if not answered(answer, given):
                check("20 connections one after the other", False)
    check("20 connections one after the other", True)


with channel() as CHANNEL:
    STUB = stubs.GRPCInferenceServiceStub(CHANNEL)
    unary(STUB)
    many_at_once(STUB)
    large(STUB)
    streams(STUB)
    cancels(STUB)
    deadlines(STUB)
    errors(STUB)
    metadata(STUB)
    compression()
    keepalive()
    connections()
print(f"{checks} checks")
