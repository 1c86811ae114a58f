import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
  ModelInferResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { reasonOf } from "./call-end.ts";
import { type KnownCall, wrongOf } from "./known-calls.ts";
import type { Ledger } from "./ledger.ts";

const path = "/inference.GRPCInferenceService/ModelInfer";
/** Longest time for any call, in ms; what takes longer is lost. */
const lostAfterMs = 60_000;

/** A call under way. */
export interface CallUnderWay {
  /** Resolves when it is in the ledger; true if it was answered rightly. */
  readonly ended: Promise<boolean>;
  cancel(): void;
}

/** One connection of @grpc/grpc-js, whose calls are all accounted for. */
export class AccountedClient {
  readonly #client: Client;
  readonly #ledger: Ledger;

  constructor(address: string, ledger: Ledger) {
    this.#ledger = ledger;
    this.#client = new Client(address, credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
      // Calls to equal addresses would share a connection.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 200,
    });
  }

  begin(call: KnownCall): CallUnderWay {
    const ledger = this.#ledger;
    ledger.begun++;
    let cancel = (): void => {};
    const ended = new Promise<boolean>((resolve) => {
      let over = false;
      const lost = setTimeout(() => {
        over = true;
        resolve(false);
      }, lostAfterMs);
      const started = this.#client.makeUnaryRequest(
        path,
        (request: ModelInferRequest) => Buffer.from(toBinary(ModelInferRequestSchema, request)),
        (bytes: Buffer) => fromBinary(ModelInferResponseSchema, bytes),
        call.request,
        new Metadata(),
        (error: ServiceError | null, response?: ModelInferResponse) => {
          clearTimeout(lost);
          // What was taken for lost stays so.
          if (over) return;
          over = true;
          if (error) ledger.failed(reasonOf(error), `${call.model}: ${error.message}`);
          else {
            const wrong = wrongOf(call, response!);
            if (wrong !== undefined) ledger.wrong(wrong);
            else ledger.answered++;
            resolve(wrong === undefined);
          }
          resolve(false);
        },
      );
      cancel = () => started.cancel();
    });
    return { ended, cancel: () => cancel() };
  }

  close(): void {
    this.#client.close();
  }
}

/** So many of them. */
export function accountedClients(
  address: string,
  ledger: Ledger,
  count: number,
): readonly AccountedClient[] {
  return Array.from({ length: count }, () => new AccountedClient(address, ledger));
}
