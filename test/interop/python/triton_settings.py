"""tritonclient's calls for settings, traces and statistics against a running server.

usage: triton_settings.py ADDRESS TRACE_FOLDER

The server has the example models. What statistics and metrics say is held against the calls made here, and
traces against the order in which moments of a call come.
"""

import json
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

checks = 0


def check(name, passed, shown=""):
    global checks
    checks += 1
    if not passed:
        sys.exit(f"failed: {name} {shown}")


def refused(name, call, words):
    try:
        call()
    except InferenceServerException as error:
        check(name, words in str(error), error)
    else:
        sys.exit(f"not refused: {name}")


def infer(module, client, rows, request_id="", width=4):
    tensor = module.InferInput("input", [rows, width], "FP32")
    tensor.set_data_from_numpy(np.full((rows, width), 1.5, np.float32))
    return client.infer("iris", [tensor], request_id=request_id)


def values(message):
    """Settings of a gRPC answer as HTTP has them."""
    settings = {}
    for name, setting in message.settings.items():
        if hasattr(setting, "value"):
            settings[name] = list(setting.value) if name == "trace_level" else setting.value[0]
        else:
            settings[name] = getattr(setting, setting.WhichOneof("parameter_choice"))
    return settings


def logs(grpc, http):
    at_start = {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }
    check("log settings over grpc", values(grpc.get_log_settings()) == at_start)
    check("log settings over http", http.get_log_settings() == at_start)
    changes = {"log_verbose_level": 1, "log_info": False, "log_format": "ISO8601"}
    changed = {**at_start, **changes}
    check("change over grpc", values(grpc.update_log_settings(changes)) == changed)
    check("seen over http", http.get_log_settings() == changed)
    back = {name: at_start[name] for name in changes}
    check("change over http", http.update_log_settings(back) == at_start)
    check("seen over grpc", values(grpc.get_log_settings()) == at_start)
    for client in (grpc, http):
        refused("log_file", lambda: client.update_log_settings({"log_file": "/tmp/log"}), "stderr")
        refused("unknown", lambda: client.update_log_settings({"log_loud": True}), "log_verbose_level")


def traces(grpc, http, folder):
    at_start = {
        "trace_file": "",
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_mode": "triton",
    }
    check("trace settings over grpc", values(grpc.get_trace_settings()) == at_start)
    check("trace settings over http", http.get_trace_settings() == at_start)
    check("of a model", http.get_trace_settings(model_name="iris") == at_start)
    for client in (grpc, http):
        set_ = lambda settings: lambda: client.update_trace_settings(settings=settings)
        refused("no file", set_({"trace_level": ["TIMESTAMPS"]}), "trace_file")
        refused("a path", set_({"trace_file": "/tmp/trace.json"}), "--trace-dir")
        refused("tensors", set_({"trace_level": ["TENSORS"]}), "OFF or TIMESTAMPS")
        refused("rate 0", set_({"trace_rate": "0"}), "whole number")
        refused("unknown model", lambda: client.get_trace_settings(model_name="none"), "none")

    settings = {
        "trace_file": "grpc.json",
        "trace_level": ["TIMESTAMPS"],
        "trace_rate": "2",
        "trace_count": "3",
        "log_frequency": "2",
    }
    wanted = {**at_start, **settings}
    check("change over grpc", values(grpc.update_trace_settings(settings=settings)) == wanted)
    check("seen over http", http.get_trace_settings() == wanted)
    for number in range(10):
        infer(grpcclient, grpc, 1, f"g{number}")
    check("the count went down", http.get_trace_settings()["trace_count"] == "0")
    first, second = read(folder / "grpc.json.0"), read(folder / "grpc.json.1")
    check("every second call", [call["request_id"] for call in first] == ["g1", "g3"], first)
    check("up to the count", [call["request_id"] for call in second] == ["g5"], second)

    own = {"trace_file": "http.json", "trace_rate": "1", "trace_count": "-1", "log_frequency": "1"}
    of_model = http.update_trace_settings(model_name="iris", settings=own)
    check("a model's own", of_model == {**wanted, **own}, of_model)
    infer(httpclient, http, 2, "h0")
    check("over http", read(folder / "http.json.0")[0]["request_id"] == "h0")
    cleared = {name: None for name in own}
    check(
        "cleared, a model follows the server",
        values(grpc.update_trace_settings(model_name="iris", settings=cleared))
        == {**wanted, "trace_count": "0"},
    )
    cleared = {name: None for name in settings}
    check("cleared over http", http.update_trace_settings(settings=cleared) == at_start)
    infer(grpcclient, grpc, 1, "not traced")
    names = sorted(path.name for path in folder.iterdir())
    check("no other files", names == ["grpc.json.0", "grpc.json.1", "http.json.0"], names)


MOMENTS = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "INFER_RESPONSE_COMPLETE",
    "REQUEST_END",
]


def read(path):
    """Calls of a file of traces, whose moments must come in their order."""
    limit = time.monotonic() + 30
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    calls = {}
    for entry in json.loads(path.read_text()):
        call = calls.setdefault(entry["id"], {"moments": []})
        call["moments"] += entry.pop("timestamps", [])
        call.update(entry)
    for call in calls.values():
        check("moments", [moment["name"] for moment in call["moments"]] == MOMENTS, call)
        times = [moment["ns"] for moment in call["moments"]]
        # Both clocks are the machine's monotonic one.
        now = time.monotonic_ns()
        check("in order", times == sorted(times) and now - 600e9 < times[0] <= times[-1] <= now, times)
        check("of the model", (call["model_name"], call["model_version"]) == ("iris", 1), call)
    return list(calls.values())


def metrics(address):
    """Samples of the model by name and further labels."""
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    samples = {}
    for line in text.splitlines():
        if 'model="iris"' in line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            samples[series.replace('model="iris",version="1"', "").replace("{}", "")] = float(value)
    return samples


def statistics(address, grpc, http):
    before = grpc.get_inference_statistics("iris").model_stats[0]
    counted = metrics(address)
    for rows, calls in ((1, 5), (8, 3)):
        for _ in range(calls):
            infer(grpcclient, grpc, rows)
    for _ in range(2):
        refused("a wrong shape", lambda: infer(grpcclient, grpc, 1, width=3), "shape")
    after = grpc.get_inference_statistics("iris").model_stats[0]
    over_http = http.get_inference_statistics("iris")["model_stats"][0]

    grown = lambda name: getattr(after, name) - getattr(before, name)
    check("inference_count", grown("inference_count") == 5 + 3 * 8)
    check("execution_count", grown("execution_count") == 8)
    check("last_inference", abs(after.last_inference - time.time() * 1000) < 60_000)
    stats = after.inference_stats
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        given = getattr(stats, name)
        check(name, given.count - getattr(before.inference_stats, name).count == 8, given)
        check(f"{name} ns", given.ns >= getattr(before.inference_stats, name).ns, given)
        check(f"{name} over http", over_http["inference_stats"][name]["count"] == given.count)
    check("fail", stats.fail.count - before.inference_stats.fail.count == 2, stats.fail)

    sizes = lambda message: {batch.batch_size: batch for batch in message.batch_stats}
    counts = {
        size: batch.compute_infer.count
        - (sizes(before)[size].compute_infer.count if size in sizes(before) else 0)
        for size, batch in sizes(after).items()
    }
    check("batch_stats", {size: n for size, n in counts.items() if n} == {1: 5, 8: 3}, counts)
    for part in ("compute_input", "compute_infer", "compute_output"):
        # Every run had one call, so that the times of runs are those of calls.
        total = sum(getattr(batch, part).ns for batch in after.batch_stats)
        check(f"batch_stats {part}", total == getattr(stats, part).ns, total)

    seen = metrics(address)
    grown = lambda name: seen[name] - counted.get(name, 0)
    check("nv_inference_request_success", grown("nv_inference_request_success") == 8)
    check("nv_inference_count", grown("nv_inference_count") == 29)
    check("nv_inference_exec_count", grown("nv_inference_exec_count") == 8)
    check("nv_inference_pending_request_count", seen["nv_inference_pending_request_count"] == 0)
    for reason, expected in (("OTHER", 2), ("REJECTED", 0), ("CANCELED", 0), ("BACKEND", 0)):
        series = f'nv_inference_request_failure{{,reason="{reason}"}}'
        check(series, grown(series) == expected, seen)
    check("by our own reason", grown('tensorwire_inference_failures_total{,reason="SHAPE_MISMATCH"}') == 2)
    for name, part in (
        ("request", "success"),
        ("queue", "queue"),
        ("compute_input", "compute_input"),
        ("compute_infer", "compute_infer"),
        ("compute_output", "compute_output"),
    ):
        given = seen[f"nv_inference_{name}_duration_us"]
        check(name, abs(given - getattr(stats, part).ns / 1000) <= 1, given)
    for name in ("queue", "compute_input", "compute", "compute_output"):
        series = f"tensorwire_inference_{name}_duration_seconds"
        check(f"{name} histogram", grown(f"{series}_count") == 8, seen)
        check(f"{name} buckets", seen[f'{series}_bucket{{,le="+Inf"}}'] == seen[f"{series}_count"])


def main(address, folder):
    grpc = grpcclient.InferenceServerClient(address)
    http = httpclient.InferenceServerClient(address)
    extensions = grpc.get_server_metadata().extensions
    check("extensions", {"trace", "logging", "statistics"} <= set(extensions), extensions)
    logs(grpc, http)
    traces(grpc, http, Path(folder))
    statistics(address, grpc, http)
    print(f"{checks} checks")


main(*sys.argv[1:])
