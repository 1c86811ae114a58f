import test from "ava";
import { AbortGroup } from "../../server/rpc/abort-group.ts";
import { localCall } from "../support/call-context.ts";

function heard(): { readonly causes: string[]; listen(child: { aborted: unknown }): () => void } {
  const causes: string[] = [];
  return { causes, listen: (child) => () => void causes.push(String(child.aborted)) };
}

test("all children end with their parent, each once", (t) => {
  const controller = new AbortController();
  const group = new AbortGroup(localCall(controller.signal));
  const { causes, listen } = heard();
  const children = [group.child(), group.child()];
  for (const child of children) child.onAbort(listen(child));
  controller.abort();
  t.deepEqual(causes, ["cancelled", "cancelled"]);
  const late = group.child();
  t.is(late.aborted, "cancelled");
  late.onAbort(listen(late));
  t.is(causes.length, 3);
});

test("a child that ends by itself leaves its siblings alone, and one that stopped listening hears nothing", (t) => {
  const controller = new AbortController();
  const group = new AbortGroup(localCall(controller.signal));
  const { causes, listen } = heard();
  const [one, two, three] = [group.child(), group.child(), group.child()];
  for (const child of [one, two, three]) child.onAbort(listen(child));
  one.abort("deadline");
  one.abort("cancelled");
  t.deepEqual(causes, ["deadline"]);
  t.is(two.aborted, undefined);
  three.onAbort(undefined);
  controller.abort();
  t.deepEqual(causes, ["deadline", "cancelled"]);
  t.is(one.aborted, "deadline");
});

test("closing cancels those under way, and the parent is heard no more", (t) => {
  const controller = new AbortController();
  const group = new AbortGroup(localCall(controller.signal));
  const { causes, listen } = heard();
  const child = group.child();
  child.onAbort(listen(child));
  group.close();
  controller.abort();
  t.deepEqual(causes, ["cancelled"]);
});
