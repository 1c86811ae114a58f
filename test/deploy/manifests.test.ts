import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { parseAllDocuments } from "yaml";
import { parseTrigger } from "../../server/autoscaling/scaler/trigger.ts";
import { scalerCommand } from "../../server/cli/scaler.ts";

const folder = fileURLToPath(new URL("../../deploy", import.meta.url));

interface Manifest {
  readonly kind?: string;
  readonly metadata?: { readonly name: string };
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the kind's.
  readonly spec?: any;
  // biome-ignore lint/suspicious/noExplicitAny: likewise.
  readonly rules?: any;
}

const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".yaml"),
);

function manifests(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(`${folder}/${file}`, "utf8")).map((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return document.toJS() as Manifest;
  });
}

test("every pod runs without rights, on a read-only root", (t) => {
  const pods = files
    .flatMap(manifests)
    .flatMap(({ kind, spec }) => (kind === "Deployment" ? [spec.template.spec] : []));
  t.true(pods.length > 0);
  for (const { securityContext, containers } of pods) {
    t.true(securityContext.runAsNonRoot);
    for (const container of containers) {
      t.like(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      t.truthy(container.resources.requests);
    }
  }
});

test("commands of containers are ours, with settings that they have", (t) => {
  const { args } = manifests("keda/scaler.yaml").find(({ kind }) => kind === "Deployment")!.spec
    .template.spec.containers[0];
  t.is(args[0], scalerCommand.name);
  for (const flag of args.filter((text: string) => text.startsWith("--"))) {
    t.true(flag.slice(2) in scalerCommand.settings, flag);
  }
});

test("the trigger of the ScaledObject is one that the scaler takes", (t) => {
  const [{ spec }] = manifests("keda/scaledobject.yaml") as [Manifest];
  const { source, target } = parseTrigger(spec.triggers[0].metadata);
  t.is(target, 8);
  t.is(source.kind, "stat");
});

test("the HPA asks for metrics that the rules make", (t) => {
  const [{ rules }] = manifests("hpa/prometheus-adapter-rules.yaml") as [Manifest];
  const made = rules.custom.map(({ name }: { name: { as: string } }) => name.as);
  const [{ spec }] = manifests("hpa/hpa.yaml") as [Manifest];
  for (const { pods } of spec.metrics) t.true(made.includes(pods.metric.name), pods.metric.name);
});
