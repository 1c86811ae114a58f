import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { create } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { storeUpload } from "../../../server/predictor/repository/uploaded-model.ts";
import { startServer } from "../../support/command.ts";
import {
  fp32Request,
  type GrpcJsClient,
  grpcJsClient,
  type Message,
} from "../../support/grpc-js-client.ts";
import { addModel } from "../../support/onnx-model.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const config = create(ModelConfigSchema);

test("no path leaves the temporary folder", async (t) => {
  const piece = fc.constantFrom("..", ".", "", "1", "a", "/", "\\", "%2e", "\0", "model.onnx", "é");
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 5 }), async (pieces) => {
      const path = pieces.join("/");
      let stored: Awaited<ReturnType<typeof storeUpload>>;
      try {
        stored = await storeUpload("m", config, new Map([[path, new Uint8Array(1)]]));
      } catch (error) {
        if (error instanceof TensorwireError && error.reason === "PARAMETER_INVALID") return;
        throw new Error(`${JSON.stringify(path)} ended in another way: ${error}`);
      }
      await stored.remove();
      if (/(^|\/)\.\.?(\/|$)|\\|\0|\/\/|^\//.test(path)) throw new Error(`${path} was taken`);
    }),
  );
  t.pass();
});

test("files without a configuration are refused", async (t) => {
  const error = await t.throwsAsync(
    storeUpload("m", undefined, new Map([["1/a", new Uint8Array()]])),
    {
      instanceOf: TensorwireError,
    },
  );
  t.regex(error?.message ?? "", /config/);
});

async function start(t: ExecutionContext): Promise<{ client: GrpcJsClient; url: string }> {
  const folder = await temporaryFolder(t, { "m/1/model.onnx": addModel(1) });
  const server = await startServer(t, [
    folder,
    "--model-control-mode",
    "explicit",
    "--load-model",
    "m",
  ]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return { client, url: `http://${server.address}` };
}

async function ask(client: GrpcJsClient, model: string): Promise<number> {
  const answer = await client.call("ModelInfer", fp32Request(model, "x", [1], Float32Array.of(0)));
  return (answer.raw_output_contents as Buffer[])[0]!.readFloatLE();
}

const load = (client: GrpcJsClient, name: string, parameters: Message): Promise<Message> =>
  client.call("RepositoryModelLoad", { model_name: name, parameters });

const upload = (value: number): Message => ({
  config: { string_param: "{}" },
  "file:1/model.onnx": { bytes_param: Buffer.from(addModel(value)) },
});

const uploads = async (): Promise<number> =>
  (await readdir(tmpdir())).filter((name) => name.startsWith("tensorwire-model-")).length;

test.serial(
  "a model that comes with the request takes the place of the folder's, until it is loaded again",
  async (t) => {
    const { client } = await start(t);
    const before = await uploads();
    t.is(await ask(client, "m"), 1);
    await load(client, "m", upload(7));
    t.is(await ask(client, "m"), 7);
    // One that is broken leaves the other serving.
    const broken = { ...upload(7), "file:1/model.onnx": { bytes_param: Buffer.from("no model") } };
    const error = await t.throwsAsync(load(client, "m", broken));
    t.regex(error?.message ?? "", /model "m"/);
    t.is(await ask(client, "m"), 7);
    t.is(await uploads(), before + 1);
    await load(client, "m", {});
    t.is(await ask(client, "m"), 1);
    t.is(await uploads(), before);
  },
);

test.serial("a model that no folder has comes and goes, over REST in base64 too", async (t) => {
  const { client, url } = await start(t);
  await load(client, "fresh", upload(3));
  t.is(await ask(client, "fresh"), 3);
  await client.call("RepositoryModelUnload", { model_name: "fresh" });
  await t.throwsAsync(ask(client, "fresh"));
  const parameters = {
    config: "{}",
    "file:2/model.onnx": Buffer.from(addModel(9)).toString("base64"),
  };
  const answer = await fetch(`${url}/v2/repository/models/fresh/load`, {
    method: "POST",
    body: JSON.stringify({ parameters }),
  });
  t.is(answer.status, 200, await answer.text());
  t.is(await ask(client, "fresh"), 9);
  const warmed = {
    ...upload(4),
    config: {
      string_param: JSON.stringify({
        model_warmup: [
          {
            name: "w",
            batch_size: 1,
            inputs: { x: { data_type: "TYPE_FP32", dims: [1], input_data_file: "value" } },
          },
        ],
      }),
    },
  };
  const short = await t.throwsAsync(
    load(client, "fresh", { ...warmed, "file:warmup/value": { bytes_param: Buffer.alloc(2) } }),
  );
  t.regex(short?.message ?? "", /"value" of 2 bytes, expected 4/);
  await load(client, "fresh", { ...warmed, "file:warmup/value": { bytes_param: Buffer.alloc(4) } });
  t.is(await ask(client, "fresh"), 4);
  const outside = await fetch(`${url}/v2/repository/models/fresh/load`, {
    method: "POST",
    body: JSON.stringify({ parameters: { config: "{}", "file:1/../../x": "AAAA" } }),
  });
  t.is(outside.status, 400);
  t.regex(await outside.text(), /1\/model\.onnx/);
});
