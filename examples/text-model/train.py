"""Trains the example text model and writes opticks/1/opticks.onnx, opticks/1/opticks.json and expected.json.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

A decoder-only transformer of a million weights that writes character by character in the manner of
Isaac Newton's Opticks. The text comes with the Go toolchain (GOROOT/src/testdata) or with Debian's
package golang-1.19-src; --text names another file. Trains on one thread of the CPU with fixed seeds.

The graph is written by hand, not exported, so that its cache of keys and values is what a host that
batches generations wants: see README.md. The script fails if the graph and PyTorch differ by more than
1e-4, with the cache or without.
"""

import argparse
import glob
import json
import math
import subprocess
import textwrap
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent
MODEL = HERE / "opticks/1"
OPSET = 17
SEED = 7
TEXT_NAME = "Isaac.Newton-Opticks.txt"

LAYERS, HEADS, HEAD_SIZE, CONTEXT = 5, 4, 32, 512
WIDTH = HEADS * HEAD_SIZE
# Rotation of the slowest pair of numbers in a head: a turn in about this many characters.
ROTARY_BASE = 10000.0

# The end of a paragraph, and what every text begins after. Its text is empty.
END = 0
# Characters that occur less often are of formulas and foreign names; their paragraphs are left out.
RARE = 20
HELD_OUT = 0.05

# Most is learnt in short windows, which are cheaper; the longer ones at the end teach the distances.
STAGES = ((0.55, 128), (0.3, 256), (0.15, 512))
TOKENS_A_STEP = 4096
LEARNING_RATE, WARM_UP_STEPS, WEIGHT_DECAY, DROPOUT = 3e-3, 60, 0.1, 0.1


def find_text():
    roots = glob.glob("/usr/share/go-*") + glob.glob("/usr/lib/go-*") + ["/usr/local/go"]
    try:
        roots.insert(0, subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    except (FileNotFoundError, subprocess.CalledProcessError):
        pass  # Without Go on the path the usual folders are looked at.
    for root in roots:
        path = Path(root) / "src/testdata" / TEXT_NAME
        if path.exists():
            return path
    raise SystemExit(f"{TEXT_NAME} is not in {', '.join(roots)}; install Go, or give --text FILE")


def read_paragraphs(path):
    """One string a paragraph: lines joined, tables and pictures left out, no marks of emphasis."""
    paragraphs = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        if any(mark in block for mark in ("|", "+-", "[Illustration", "---")):
            continue
        text = " ".join(block.replace("_", "").split())
        if len(text) >= 40:
            paragraphs.append(text)
    counts = {}
    for text in paragraphs:
        for character in text:
            counts[character] = counts.get(character, 0) + 1
    kept = {character for character, count in counts.items() if count >= RARE}
    return [text for text in paragraphs if kept.issuperset(text)]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.mixed = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attended = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed_norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.dropped = nn.Dropout(DROPOUT)

    def forward(self, x, cosine, sine):
        rows, length, _ = x.shape
        mixed = self.mixed(self.attention_norm(x)).view(rows, length, 3, HEADS, HEAD_SIZE)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        query, key = rotated(query, cosine, sine), rotated(key, cosine, sine)
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropped(self.attended(y.transpose(1, 2).reshape(rows, length, WIDTH)))
        return x + self.dropped(self.down(functional.relu(self.up(self.feed_norm(x))).square()))


def rotary_tables():
    """Cosine and sine of each position for the halves of a head, [CONTEXT, HEAD_SIZE / 2]."""
    speeds = ROTARY_BASE ** (-np.arange(HEAD_SIZE // 2) / (HEAD_SIZE // 2))
    angles = np.arange(CONTEXT)[:, None] * speeds[None, :]
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotated(x, cosine, sine):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)


class TextModel(nn.Module):
    """Logits of the next character at every position: [rows, length] to [rows, length, vocabulary]."""

    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last_norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary, bias=False)
        cosine, sine = rotary_tables()
        self.register_buffer("cosine", torch.from_numpy(cosine))
        self.register_buffer("sine", torch.from_numpy(sine))
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                # What is added to the stream begins small, so that depth does not raise its scale.
                deep = math.sqrt(2 * LAYERS) if name.endswith(("attended.weight", "down.weight")) else 1
                nn.init.normal_(weight, std=0.08 / deep)

    def forward(self, tokens):
        length = tokens.shape[1]
        cosine, sine = self.cosine[:length], self.sine[:length]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cosine, sine)
        return self.head(self.last_norm(x))


def loss_of(model, rows):
    logits = model(rows[:, :-1])
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))


def train(model, tokens, steps):
    decayed = [weight for weight in model.parameters() if weight.ndim == 2]
    others = [weight for weight in model.parameters() if weight.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True,
    )
    generator = torch.Generator().manual_seed(SEED)
    lengths = [length for share, length in STAGES for _ in range(round(share * steps))]
    began = time.monotonic()
    for step, length in enumerate(lengths):
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        rate = LEARNING_RATE * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / len(lengths))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(tokens) - length, (TOKENS_A_STEP // length,), generator=generator)
        rows = torch.stack([tokens[start : start + length + 1] for start in starts.tolist()])
        loss = loss_of(model, rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == len(lengths) - 1:
            print(f"step {step:4} of {len(lengths)}: loss {loss.item():.3f}, {time.monotonic() - began:.0f} s", flush=True)


class Graph:
    """Nodes and weights of an ONNX graph in the making."""

    def __init__(self):
        self.nodes, self.weights, self.names = [], [], 0

    def weight(self, array):
        self.names += 1
        name = f"w{self.names}"
        self.weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def ints(self, *values):
        return self.weight(np.array(values, dtype=np.int64))

    def number(self, value):
        return self.weight(np.array(value, dtype=np.int64))

    def add(self, operator, *inputs, to=None, outputs=1, **attributes):
        self.names += 1
        names = [f"{operator.lower()}{self.names}_{index}" for index in range(outputs)]
        if to:
            names = [to]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names


def export(model, path):
    """Writes the graph with the cache as inputs and outputs; README.md has its ports."""
    graph = Graph()
    add, weight, ints, number = graph.add, graph.weight, graph.ints, graph.number
    zero, one = number(0), number(1)

    def matrix(linear):
        return linear.weight.detach().numpy().T

    def normalized(norm, x):
        scale, bias = weight(norm.weight.detach().numpy()), weight(norm.bias.detach().numpy())
        return add("LayerNormalization", x, scale, bias, axis=-1, epsilon=norm.eps)

    def heads_first(x, heads):
        split = add("Reshape", x, ints(0, 0, heads, HEAD_SIZE))
        return add("Transpose", split, perm=[0, 2, 1, 3])

    def turned(x):
        return add("Transpose", x, perm=[0, 1, 3, 2])

    # Sizes that differ from run to run, and where the new tokens stand.
    new = add("Gather", add("Shape", "tokens"), one)
    past = add("Gather", add("Shape", "past_key_0"), number(2))
    sizes = add("Concat", add("Unsqueeze", past, ints(0)), add("Unsqueeze", new, ints(0)), axis=0)
    offsets = add("Range", zero, new, one)
    lengths = add("Unsqueeze", "lengths", ints(1))
    positions = add("Add", lengths, offsets)
    tables = [weight(table) for table in rotary_tables()]
    cosine, sine = (add("Unsqueeze", add("Gather", t, positions), ints(1)) for t in tables)

    # What a new token must not look at: cells of the cache that its row has not filled, and its successors.
    seen, hidden = weight(np.float32(0)), weight(np.float32(-1e30))
    filled = add("Unsqueeze", add("Less", add("Range", zero, past, one), lengths), ints(1, 2))
    past_mask = add("Where", filled, seen, hidden)
    earlier = add("LessOrEqual", offsets, add("Unsqueeze", offsets, ints(1)))
    new_mask = add("Where", earlier, seen, hidden)

    x = add("Gather", weight(model.embedding.weight.detach().numpy()), "tokens")
    for layer, block in enumerate(model.blocks):
        mixing = matrix(block.mixed).copy()
        mixing[:, :WIDTH] /= math.sqrt(HEAD_SIZE)
        mixed = add("MatMul", normalized(block.attention_norm, x), weight(mixing))
        both, value = add("Split", mixed, ints(2 * WIDTH, WIDTH), outputs=2, axis=-1)
        first, second = add("Split", heads_first(both, 2 * HEADS), outputs=2, axis=-1)
        first, second = (
            add("Sub", add("Mul", first, cosine), add("Mul", second, sine)),
            add("Add", add("Mul", first, sine), add("Mul", second, cosine)),
        )
        both = add("Concat", first, second, axis=-1)
        query, key = add("Split", both, outputs=2, axis=1)
        key = add("Identity", key, to=f"new_key_{layer}")
        value = add("Identity", heads_first(value, HEADS), to=f"new_value_{layer}")
        # Scores of old and new keys are put together, not the keys: the cache is read and never copied.
        old_scores = add("Add", add("MatMul", query, turned(f"past_key_{layer}")), past_mask)
        new_scores = add("Add", add("MatMul", query, turned(key)), new_mask)
        shares = add("Softmax", add("Concat", old_scores, new_scores, axis=-1), axis=-1)
        old_shares, new_shares = add("Split", shares, sizes, outputs=2, axis=-1)
        old_part = add("MatMul", old_shares, f"past_value_{layer}")
        y = add("Transpose", add("Add", old_part, add("MatMul", new_shares, value)), perm=[0, 2, 1, 3])
        y = add("MatMul", add("Reshape", y, ints(0, 0, WIDTH)), weight(matrix(block.attended)))
        x = add("Add", x, y)
        y = add("Relu", add("MatMul", normalized(block.feed_norm, x), weight(matrix(block.up))))
        x = add("Add", x, add("MatMul", add("Mul", y, y), weight(matrix(block.down))))
    x = normalized(model.last_norm, add("Gather", x, number(-1), axis=1))
    add("MatMul", x, weight(matrix(model.head)), to="logits")

    def port(name, kind, *shape):
        return helper.make_tensor_value_info(name, kind, shape)

    def caches(prefix, size):
        return [
            port(f"{prefix}_{kind}_{layer}", TensorProto.FLOAT, "rows", HEADS, size, HEAD_SIZE)
            for layer in range(LAYERS)
            for kind in ("key", "value")
        ]

    tokens = port("tokens", TensorProto.INT64, "rows", "new")
    inputs = [tokens, port("lengths", TensorProto.INT64, "rows"), *caches("past", "past")]
    logits = port("logits", TensorProto.FLOAT, "rows", model.head.weight.shape[0])
    outputs = [logits, *caches("new", "new")]
    onnx_model = helper.make_model(
        helper.make_graph(graph.nodes, "opticks", inputs, outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx_model.ir_version = 8
    onnx_model.producer_name = "tensorwire-examples"
    onnx.checker.check_model(onnx_model, full_check=True)
    onnx.save(onnx_model, path)


class CachedRun:
    """Runs the graph as a host does: a cache of fixed size that it writes the new keys and values to."""

    def __init__(self, path, rows, capacity, rng):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self.lengths = np.zeros(rows, dtype=np.int64)
        # Cells that are not filled hold noise, which must not be seen.
        shape = (rows, HEADS, capacity, HEAD_SIZE)
        self.cache = {
            f"{kind}_{layer}": rng.normal(size=shape).astype(np.float32)
            for layer in range(LAYERS)
            for kind in ("key", "value")
        }
        self.names = [port.name for port in self.session.get_outputs()]

    def __call__(self, rows, tokens):
        feeds = {"tokens": np.array(tokens, dtype=np.int64), "lengths": self.lengths[rows]}
        feeds |= {f"past_{name}": cache[rows] for name, cache in self.cache.items()}
        answer = dict(zip(self.names, self.session.run(None, feeds)))
        for name, cache in self.cache.items():
            for index, row in enumerate(rows):
                begin = self.lengths[row]
                cache[row, :, begin : begin + len(tokens[index])] = answer[f"new_{name}"][index]
        self.lengths[rows] += len(tokens[0])
        return answer["logits"]


def verify(model, path, texts):
    """Compares the graph with PyTorch, which knows no cache: texts at once, in pieces, and in one batch."""
    rng = np.random.default_rng(SEED)
    with torch.no_grad():
        expected = [model(torch.tensor([text]))[0].numpy() for text in texts]

    def close(given, text, position):
        np.testing.assert_allclose(given, expected[text][position], rtol=0, atol=1e-4)

    # At once, and in pieces of 1, 2, 4 ... tokens.
    for text, tokens in enumerate(texts):
        close(CachedRun(path, 1, CONTEXT, rng)([0], [tokens])[0], text, -1)
        run, piece = CachedRun(path, 1, CONTEXT, rng), 1
        while run.lengths[0] < len(tokens):
            begin = run.lengths[0]
            logits = run([0], [tokens[begin : begin + piece]])
            close(logits[0], text, run.lengths[0] - 1)
            piece *= 2
    # Rows of different lengths, one token each, while others are not in the batch.
    run = CachedRun(path, len(texts), CONTEXT, rng)
    for row, tokens in enumerate(texts):
        run([row], [tokens[: 1 + 7 * row]])
    while rows := [row for row, tokens in enumerate(texts) if run.lengths[row] < len(tokens)]:
        logits = run(rows, [[texts[row][run.lengths[row]]] for row in rows])
        for index, row in enumerate(rows):
            close(logits[index], row, run.lengths[row] - 1)


def continued(model, tokens, count):
    """The likeliest continuation by PyTorch, without the cache; None if the second best was ever close."""
    tokens = list(tokens)
    for _ in range(count):
        with torch.no_grad():
            logits = model(torch.tensor([tokens]))[0, -1]
        best = logits.topk(2).values
        if best[0] - best[1] <= 1e-3:
            return None
        tokens.append(int(logits.argmax()))
    return tokens, logits.tolist()


# Of these the first CASES are taken that no near tie decides: there another order of sums may choose otherwise.
PROMPTS = (
    "The Rays of Light ", "If the Prism be turned about its Axis", "Q", "white", "And ", "The Experiment ",
    "Colours of natural Bodies ", "Exper. 3. ", "By the Refraction of the first Prism, ", "if",
)
CASES, CONTINUED = 4, 60


def main():
    parser = argparse.ArgumentParser(description="Trains the example text model.")
    parser.add_argument("--text", type=Path, help="a UTF-8 text, paragraphs parted by empty lines")
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    paragraphs = read_paragraphs(options.text or find_text())
    characters = sorted(set("".join(paragraphs)))
    vocabulary = ["", *characters]
    numbers = {character: number for number, character in enumerate(vocabulary)}
    tokens = torch.tensor([t for text in paragraphs for t in (END, *(numbers[c] for c in text))])
    held_out = round(HELD_OUT * len(tokens))
    model = TextModel(len(vocabulary))
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{len(paragraphs)} paragraphs, {len(tokens)} characters, {len(vocabulary)} kinds, {weights} weights")
    train(model, tokens[:-held_out], options.steps)
    model.eval()
    rows = tokens[-held_out:]
    rows = rows[: len(rows) // 257 * 257].view(-1, 257)
    with torch.no_grad():
        print(f"held-out loss {loss_of(model, rows).item() / math.log(2):.3f} bits a character")

    path = MODEL / "opticks.onnx"
    export(model, path)
    verify(model, path, [row[:length].tolist() for row, length in zip(rows, (200, 64, 3, 130, 90))])
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, equal to PyTorch within 1e-4")

    settings = {
        "layers": LAYERS,
        "heads": HEADS,
        "headSize": HEAD_SIZE,
        "contextLength": CONTEXT,
        "characters": "".join(vocabulary),
    }
    write_json(MODEL / "opticks.json", settings)
    cases = []
    for prompt in PROMPTS:
        begin = [END, *(numbers[character] for character in prompt)]
        found = continued(model, begin, CONTINUED)
        if not found or len(cases) == CASES:
            continue
        after, logits = found
        text = "".join(vocabulary[token] for token in after[len(begin) :])
        # Those that the last character was chosen by.
        cases.append({"prompt": prompt, "text": text, "lastLogits": [round(value, 5) for value in logits]})
        print(prompt + text)
    assert len(cases) == CASES, "near ties decide too many continuations; add prompts"
    write_json(HERE / "expected.json", cases)


def formatted(value, indent=""):
    """JSON as Biome formats it: a key a line, numbers side by side up to 100 columns."""
    inner = indent + "  "
    if isinstance(value, dict):
        lines = (f"{inner}{json.dumps(key)}: {formatted(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + formatted(item, inner) for item in value) + f"\n{indent}]"
    text = json.dumps(value, ensure_ascii=False).replace("e-0", "e-")
    if not isinstance(value, list):
        return text
    lines = textwrap.fill(
        text[1:-1], 100, initial_indent=inner, subsequent_indent=inner, break_on_hyphens=False
    )
    return f"[\n{lines}\n{indent}]"


def write_json(path, value):
    path.write_text(formatted(value) + "\n", encoding="utf-8")


main()
