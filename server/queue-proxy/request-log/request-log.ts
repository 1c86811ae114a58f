import { Http1RequestHead } from "../../wire/http1/read-head.ts";
import type { RequestHead } from "../../wire/http2/message-head.ts";
import { compileLogTemplate, type LogTemplate, type LogValue } from "./log-template.ts";

/** What the log knows of the revision. */
export interface LoggedRevision {
  readonly name: string;
  readonly namespace: string;
  readonly service: string;
  readonly configuration: string;
  readonly podName: string;
  readonly podIp: string;
}

/** A request that is over. */
export interface LoggedRequest {
  readonly head: RequestHead;
  readonly status: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Empty if the call is not traced. */
  readonly traceId: string;
}

/** Lines that wait to be written; beyond it they are dropped and counted. */
const maxWaitingLines = 10_000;

/** Writes a line for each request that is over. What is written in one turn of the event loop leaves together. */
export class RequestLog {
  readonly #template: LogTemplate;
  readonly #revision: LogValue;
  readonly #write: (text: string) => void;
  #lines: string[] = [];
  #dropped = 0;

  /** @throws Error if the template is not understood */
  constructor(template: string, revision: LoggedRevision, write: (text: string) => void) {
    this.#template = compileLogTemplate(template);
    this.#revision = {
      Name: revision.name,
      Namespace: revision.namespace,
      Service: revision.service,
      Configuration: revision.configuration,
      PodName: revision.podName,
      PodIP: revision.podIp,
    };
    this.#write = write;
  }

  /** Lines that were dropped, since they came faster than they could be written. */
  get dropped(): number {
    return this.#dropped;
  }

  /** @param address - of the caller */
  write(request: LoggedRequest, address: string, durationMs: number): void {
    if (this.#lines.length >= maxWaitingLines) {
      this.#dropped++;
      return;
    }
    const line = this.#template({
      Request: requestValues(request, address),
      Response: {
        Code: request.status,
        Size: request.responseBytes,
        Latency: durationMs / 1000,
      },
      Revision: this.#revision,
      TraceID: request.traceId,
    });
    this.#lines.push(line);
    if (this.#lines.length === 1) setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    const lines = this.#lines;
    this.#lines = [];
    this.#write(`${lines.join("\n")}\n`);
  };
}

function requestValues({ head, requestBytes }: LoggedRequest, address: string): LogValue {
  const http1 = head instanceof Http1RequestHead ? head : undefined;
  const headers: Record<string, string[]> = {};
  for (const { name, value } of head.fields) {
    const canonical = name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
    const values = headers[canonical];
    if (values) values.push(value);
    else headers[canonical] = [value];
  }
  const contentLength = head.contentLength >= 0 ? head.contentLength : requestBytes > 0 ? -1 : 0;
  return {
    Method: head.method,
    RequestURI: head.path,
    URL: head.path,
    Host: head.authority ?? "",
    Proto: http1 ? `HTTP/1.${http1.minor}` : "HTTP/2.0",
    ContentLength: contentLength,
    UserAgent: head.get("user-agent") ?? "",
    Referer: head.get("referer") ?? "",
    RemoteAddr: address,
    Header: headers,
  };
}
