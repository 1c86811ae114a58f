import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { type CallKind, callKinds } from "./call-kinds.ts";
import { Random } from "./random.ts";

/** Chance that a connection vanishes after a call, with all the others that are on it. */
const vanishChance = 1 / 400;
/** Chance that it is closed politely. */
const closeChance = 1 / 400;
/** Longest time for any call, in ms; what takes longer has hung. */
const hangMs = 60_000;
/** Wrong ends that are told word by word. */
const toldWrongs = 20;

interface Connection {
  readonly session: ClientHttp2Session;
  readonly socket: Socket;
  /**
   * Whether this side has closed it: politely, so that its calls must still be answered, or by
   * vanishing, so that what they end with says nothing.
   */
  left: "not" | "politely" | "vanished";
  /** What happened to it that explains wrong ends. */
  story: string;
}

const totalWeight = callKinds.reduce((sum, { weight }) => sum + weight, 0);

function chooseKind(random: Random): CallKind {
  let left = random.next() * totalWeight;
  for (const kind of callKinds) {
    left -= kind.weight;
    if (left < 0) return kind;
  }
  return callKinds[0]!;
}

/** Calls that never stop until they are told to, on connections that come and go. */
export class SoakLoad {
  /** How often each kind ended, and in how many cases a lost connection ended it. */
  readonly counts = new Map<string, number>();
  lostCalls = 0;
  connectionsOpened = 0;
  /** Ends that were not as they should be. */
  readonly wrongs: string[] = [];
  wrongCount = 0;
  readonly #port: number;
  readonly #random: Random;
  readonly #connections: Connection[] = [];
  #underWay = 0;
  #state: "running" | "paused" | "ended" = "paused";
  #resume = Promise.withResolvers<void>();
  #quiet: (() => void) | undefined;

  constructor(port: number, connections: number, callsEach: number, seed: number) {
    this.#port = port;
    this.#random = new Random(seed);
    for (let index = 0; index < connections; index++) {
      this.#connections.push(this.#open());
      for (let call = 0; call < callsEach; call++) void this.#work(index);
    }
  }

  get calls(): number {
    let sum = 0;
    for (const count of this.counts.values()) sum += count;
    return sum;
  }

  run(): void {
    this.#state = "running";
    this.#resume.resolve();
  }

  /** Begins no more calls; resolves when none is under way. */
  async pause(): Promise<void> {
    if (this.#state === "running") {
      this.#state = "paused";
      this.#resume = Promise.withResolvers();
    }
    if (this.#underWay === 0) return;
    await new Promise<void>((resolve) => {
      this.#quiet = resolve;
    });
  }

  /** Closes every connection. */
  async end(): Promise<void> {
    await this.pause();
    this.#state = "ended";
    this.#resume.resolve();
    await Promise.all(
      this.#connections.map(async ({ session, socket }) => {
        const closed = socket.closed ? undefined : once(socket, "close");
        session.close();
        await closed;
      }),
    );
  }

  #open(): Connection {
    this.connectionsOpened++;
    const socket = connectSocket(this.#port, "127.0.0.1");
    socket.on("error", () => {});
    const session = connect(`http://127.0.0.1:${this.#port}`, {
      createConnection: () => socket,
      // Node counts what cancelled uploads held for ever, and refuses streams from 10 MB on.
      maxSessionMemory: 1_000,
      // Half of the connections get small windows, so that answers wait for them.
      settings: { initialWindowSize: this.#random.chance(0.5) ? 65_535 : 4 * 1024 * 1024 },
    });
    session.on("error", (error) => this.#note(connection, `error ${error.message}`));
    session.on("goaway", (code) => this.#note(connection, `GOAWAY with code ${code}`));
    const connection: Connection = { session, socket, left: "not", story: "" };
    return connection;
  }

  async #work(index: number): Promise<void> {
    for (;;) {
      await this.#resume.promise;
      if (this.#state === "ended") return;
      if (this.#state === "paused") continue;
      this.#underWay++;
      await this.#callOn(index);
      this.#underWay--;
      if (this.#underWay === 0 && this.#state !== "running") {
        this.#quiet?.();
        this.#quiet = undefined;
      }
    }
  }

  async #callOn(index: number): Promise<void> {
    let connection = this.#connections[index]!;
    if (connection.session.closed || connection.session.destroyed) {
      if (connection.left === "not")
        this.#wrong(`connection ${index} was closed by the server${connection.story}`);
      connection = this.#open();
      this.#connections[index] = connection;
    }
    const kind = chooseKind(this.#random);
    const { session } = connection;
    const hung = Promise.withResolvers<"hung">();
    const timer = setTimeout(() => hung.resolve("hung"), hangMs);
    const end = await Promise.race([
      kind.make({ port: this.#port, session, random: this.#random }).catch((error: unknown) => ({
        wrong: String(error),
      })),
      hung.promise,
    ]);
    clearTimeout(timer);
    this.counts.set(kind.name, (this.counts.get(kind.name) ?? 0) + 1);
    if (end === "hung") this.#wrong(`${kind.name}: no end within ${hangMs / 1000} s`);
    else if (end !== "well") {
      // A call that begins while another closes the connection may come too late for the server.
      const isLate = connection.left === "politely" && "isRefused" in end && end.isRefused;
      if (connection.left === "vanished" || isLate) this.lostCalls++;
      else {
        const left = connection.left === "politely" ? "; its connection was being closed" : "";
        this.#wrong(`${kind.name}: ${end.wrong}${left}${connection.story}`);
      }
    }
    if (connection.left !== "not") return;
    if (this.#random.chance(vanishChance)) {
      connection.left = "vanished";
      connection.socket.resetAndDestroy();
      session.destroy();
    } else if (this.#random.chance(closeChance)) {
      connection.left = "politely";
      session.close();
    }
  }

  #note(connection: Connection, what: string): void {
    connection.story += `; its connection: ${what}`;
  }

  #wrong(what: string): void {
    this.wrongCount++;
    if (this.wrongs.length < toldWrongs) this.wrongs.push(what);
  }
}
