import test from "ava";
import fc from "fast-check";
import { encodeGrpcMessage, reencodeGrpcMessage } from "../../server/rpc/grpc-message.ts";

test("what is printable ASCII stays as it is, but for the percent sign", (t) => {
  t.is(encodeGrpcMessage('input "x": got [1,2]; try'), 'input "x": got [1,2]; try');
  t.is(encodeGrpcMessage("50% größer\n"), "50%25 gr%C3%B6%C3%9Fer%0A");
});

test("every message is printable ASCII and decodes to itself", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (message) => {
        const encoded = encodeGrpcMessage(message);
        return (
          /^[\x20-\x7e]*$/.test(encoded) && decodeURIComponent(encoded) === message.toWellFormed()
        );
      }),
    ),
  );
});

test("a message that Connect escaped is escaped as gRPC says", (t) => {
  const header = new Headers({ "grpc-message": encodeURIComponent('"a": 50% ä') });
  reencodeGrpcMessage(header);
  t.is(header.get("grpc-message"), '"a": 50%25 %C3%A4');
  const without = new Headers();
  reencodeGrpcMessage(without);
  t.is(without.get("grpc-message"), null);
});
