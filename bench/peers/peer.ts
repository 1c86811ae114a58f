import type { MakeCaller } from "../callers/caller.ts";
import type { BenchCall } from "../cases/bench-case.ts";

/** What a peer gets to start with. */
export interface Place {
  /** Model repository, `<model>/<version>/model.onnx`. */
  readonly models: string;
  /** Port on which it speaks gRPC without TLS, or what its caller speaks. */
  readonly port: number;
  /** Further free ports, for peers that insist on more. */
  readonly sparePorts: readonly [number, number];
  /** Empty folder of its own, removed after the run. */
  readonly folder: string;
  /** Folder that scripts/install-interop-tools.sh fills. */
  readonly tools: string;
}

/** How to start a server. It ends on SIGTERM. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** URL that answers 200 once the server is ready; without it, ServerReady is asked. */
  readonly readyUrl?: string;
}

/** A server to measure: it serves every model of the repository with ONNX Runtime on one thread. */
export interface Peer {
  /** Name on the command line. */
  readonly name: string;
  /** Name in tables; the version is asked of the server. */
  readonly title: string;
  /** Says why it cannot be started here, or undefined. */
  missing(tools: string): string | undefined;
  /** Whether it can answer such a call; without it, it can any. */
  readonly serves?: (call: BenchCall) => boolean;
  /** How it is called; without it, by gRPC. */
  readonly makeCaller?: MakeCaller;
  /** Prepares the folder and says what to run. */
  launch(place: Place): Launch;
}
