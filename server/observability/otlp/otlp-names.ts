/** What a metric is called in OpenTelemetry that Prometheus knows by another name. */
export interface OtlpName {
  readonly name: string;
  readonly unit: string;
  /** Attributes by label; labels that are not here keep their names. */
  readonly attributes: Readonly<Record<string, OtlpAttribute>>;
}

/** An attribute in place of a label, whose value is always text. */
export interface OtlpAttribute {
  readonly name: string;
  readonly kind: "text" | "number" | "truth";
}

/** Names in OpenTelemetry by names of Prometheus; metrics that are not here keep theirs. */
export type OtlpNames = Readonly<Record<string, OtlpName>>;
