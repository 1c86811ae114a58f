import { join } from "node:path";
import { defineTextModel, openTextModel } from "tensorwire/text-model";

export default defineTextModel({
  open: ({ name, folder, observeGenerations }) =>
    openTextModel({
      name,
      graph: join(folder, "opticks.onnx"),
      vocabulary: join(folder, "opticks.json"),
      observe: observeGenerations,
    }),
});
