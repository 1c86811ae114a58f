import { Client, credentials, Metadata } from "@grpc/grpc-js";

/**
 * Calls a method over a connection of its own with @grpc/grpc-js and gives the response message.
 * @throws Error of @grpc/grpc-js if the status is not OK, which the deadline passing is as well
 */
export async function callUnary(
  port: number,
  path: string,
  request: Uint8Array,
  deadlineMs: number,
): Promise<Buffer> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    // Without it, calls to equal addresses share a connection, and with it a wait to reconnect.
    "grpc.use_local_subchannel_pool": 1,
  });
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (message: Uint8Array) => Buffer.from(message.buffer, message.byteOffset, message.length),
        (message: Buffer) => message,
        request,
        new Metadata(),
        { deadline: Date.now() + deadlineMs },
        (error, response) => (error ? reject(error) : resolve(response!)),
      );
    });
  } finally {
    client.close();
  }
}
