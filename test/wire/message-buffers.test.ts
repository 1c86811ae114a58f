import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import { ModelInferRequestSchema } from "../../gen/inference/grpc_service_pb.ts";
import { MessageBuffers, placeMessage } from "../../server/wire/message-buffers.ts";

test("a message ends on a boundary of 8 bytes, and a buffer for it has the room", (t) => {
  const buffers = new MessageBuffers();
  for (let size = 65_530; size < 65_550; size++) {
    const message = placeMessage(buffers.takeFor(size), size);
    t.is(message.byteLength, size);
    t.is((message.byteOffset + message.byteLength) % 8, 0);
  }
});

test("contents of the last input of a request lie on a boundary, whatever stands before them", (t) => {
  const buffers = new MessageBuffers();
  for (const name of ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"]) {
    const bytes = toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, {
        modelName: name,
        inputs: [{ name: "x", datatype: "FP64", shape: [10_000n] }],
        rawInputContents: [new Uint8Array(80_000).fill(7)],
      }),
    );
    const message = placeMessage(buffers.takeFor(bytes.byteLength), bytes.byteLength);
    message.set(bytes);
    const [contents] = fromBinary(ModelInferRequestSchema, message).rawInputContents;
    t.is(contents!.byteOffset % 8, 0);
    t.is(contents!.byteLength, 80_000);
  }
});

test("a buffer that was given back is used for a message of nearly the same size", (t) => {
  const buffers = new MessageBuffers();
  const first = buffers.takeFor(600_000);
  buffers.give(first);
  t.is(buffers.freeBytes, first.length);
  t.is(buffers.takeFor(600_001), first);
  t.is(buffers.freeBytes, 0);
});
