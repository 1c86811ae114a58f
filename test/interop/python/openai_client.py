"""Calls the example text model with OpenAI's own client, and compares with what PyTorch expects of it.

    openai_client.py ADDRESS FOLDER
"""

import asyncio
import json
import math
import sys
from pathlib import Path

import openai

address, folder = sys.argv[1:]
expected = json.loads((Path(folder) / "expected.json").read_text(encoding="utf-8"))
base_url = f"http://{address}/openai/v1"
checks = 0


def check(given, wanted, what):
    global checks
    assert given == wanted, f"{what}: got {given!r}, expected {wanted!r}"
    checks += 1


def refused(error, call, **members):
    global checks
    try:
        call()
    except error as thrown:
        for name, value in members.items():
            check(getattr(thrown, name), value, f"{error.__name__}.{name}")
        checks += 1
    else:
        raise AssertionError(f"no {error.__name__}")


client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
greedy = {"model": "opticks", "temperature": 0, "max_tokens": 60}

check([model.id for model in client.models.list()], ["opticks"], "models")
check(client.models.retrieve("opticks").object, "model", "model")

for case in expected:
    prompt, text = case["prompt"], case["text"]
    answer = client.completions.create(prompt=prompt, **greedy)
    check(answer.choices[0].text, text, "completion")
    check(answer.choices[0].finish_reason, "length", "finish_reason")
    check(answer.usage.completion_tokens, 60, "completion_tokens")
    check(answer.usage.prompt_tokens, len(prompt) + 1, "prompt_tokens")
    check(answer.usage.total_tokens, len(prompt) + 61, "total_tokens")
    chunks = list(client.completions.create(prompt=prompt, stream=True, stream_options={"include_usage": True}, **greedy))
    check("".join(choice.text for chunk in chunks for choice in chunk.choices), text, "streamed completion")
    check(chunks[-1].usage.completion_tokens, 60, "streamed usage")
    check([chunk.usage for chunk in chunks[:-1]], [None] * (len(chunks) - 1), "usage before the last chunk")

case = expected[0]
prompt, text = case["prompt"], case["text"]
messages = [{"role": "user", "content": prompt.rstrip()}]

chat = client.chat.completions.create(messages=messages, logprobs=True, top_logprobs=5, **greedy)
check(chat.choices[0].message.content, text, "chat")
check(chat.choices[0].message.role, "assistant", "role")
content = chat.choices[0].logprobs.content
check("".join(entry.token for entry in content), text, "tokens")
check(bytes(byte for entry in content for byte in entry.bytes).decode(), text, "bytes")
logits = case["lastLogits"]
total = math.log(sum(math.exp(logit) for logit in logits))
best = sorted((logit - total for logit in logits), reverse=True)[:5]
for entry, logprob in zip(content[-1].top_logprobs, best, strict=True):
    assert abs(entry.logprob - logprob) < 2e-4, (entry, logprob)
    checks += 1

# The helper puts the stream together; a text that ends by length is an error to it.
stop = text[12:15]
before = text[: text.index(stop)]
with client.chat.completions.stream(messages=messages, stop=stop, model="opticks", temperature=0, max_completion_tokens=60) as stream:
    deltas = [event.delta for event in stream if event.type == "content.delta"]
    final = stream.get_final_completion()
check("".join(deltas), before, "streamed chat")
check(final.choices[0].message.content, before, "accumulated chat")
check(final.choices[0].finish_reason, "stop", "accumulated finish_reason")

answer = client.completions.create(prompt=prompt, stop=["~", stop], **greedy)
check(answer.choices[0].text, before, "stop")
check(answer.choices[0].finish_reason, "stop", "finish_reason of stop")
answer = client.completions.create(prompt=prompt, echo=True, n=2, **greedy)
check([choice.text for choice in answer.choices], [prompt + text] * 2, "echo and n")
answer = client.completions.create(prompt=prompt, logprobs=2, **greedy)
check("".join(answer.choices[0].logprobs.tokens), text, "tokens of a completion")
check(answer.choices[0].logprobs.text_offset, list(range(60)), "text_offset")

drawn = {"model": "opticks", "prompt": prompt, "max_tokens": 40, "temperature": 1.2, "top_p": 0.9}
check(
    client.completions.create(seed=5, extra_body={"top_k": 20}, **drawn).choices[0].text,
    client.completions.create(seed=5, extra_body={"top_k": 20}, **drawn).choices[0].text,
    "one seed",
)
assert client.completions.create(seed=6, **drawn).choices[0].text != client.completions.create(seed=7, **drawn).choices[0].text

refused(openai.NotFoundError, lambda: client.completions.create(model="nope", prompt="a"), code="model_not_found", status_code=404)
refused(openai.BadRequestError, lambda: client.completions.create(model="opticks", prompt="a", temperature=3), param="temperature", code="parameter_invalid")
refused(openai.BadRequestError, lambda: client.completions.create(model="opticks", prompt="~"), code="parameter_invalid")
refused(
    openai.BadRequestError,
    lambda: client.chat.completions.create(model="opticks", messages=messages, tools=[{"type": "function", "function": {"name": "f"}}]),
    param="tools",
    type="invalid_request_error",
)
# In a stream, too, what is wrong is said before it begins.
refused(openai.BadRequestError, lambda: list(client.completions.create(model="opticks", prompt="a", top_p=2, stream=True)), param="top_p")


async def at_once():
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as asking:

        async def one(index):
            case = expected[index % len(expected)]
            given = ""
            stream = await asking.completions.create(prompt=case["prompt"], stream=True, **greedy)
            async for chunk in stream:
                given += chunk.choices[0].text
                if index % 4 == 3 and len(given) > 5:
                    # Leaves the stream; the connection is closed.
                    await stream.close()
                    break
            check(case["text"].startswith(given) if index % 4 == 3 else case["text"] == given, True, f"text {index}")

        await asyncio.gather(*(one(index) for index in range(24)))


asyncio.run(at_once())
print(f"{checks} checks")
