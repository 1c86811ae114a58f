import { defineModel, tensor } from "tensorwire/model";

// Doubles its input, unless the order beside it says otherwise. fault-models.ts puts it into a repository.

export default defineModel({
  inputs: {
    x: { datatype: "INT32", shape: [1] },
    order: { datatype: "BYTES", shape: [1] },
  },
  outputs: { y: { datatype: "INT32", shape: [1] } },
  concurrency: 8,
  async infer({ x, order }, { signal }) {
    const [text] = order.strings();
    switch (text) {
      case "throw":
        throw new Error("it was asked to throw");
      case "exit":
        process.exit(3);
        break;
      case "throw later":
        setTimeout(() => {
          throw new Error("it was asked to throw where nobody catches");
        });
        await new Promise(() => {});
        break;
      case "fill memory":
        for (const all: number[][] = []; ; ) all.push(new Array(1e6).fill(Math.random()));
      case "hang":
        for (;;);
      case "wait":
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        break;
      default:
        await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return { y: tensor([1], Int32Array.of(2 * x.data[0]!)) };
  },
});
