import { fileURLToPath } from "node:url";
import test from "ava";
import fc from "fast-check";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { digitImage, type Stroke } from "../../../examples/digits-page/src/digit-image.ts";
import { exampleDigit } from "../../../examples/digits-page/src/example-digits.ts";

const model = await InferenceSession.create(
  fileURLToPath(new URL("../../../examples/models/digits/1/model.onnx", import.meta.url)),
);

async function recognise(strokes: readonly Stroke[]): Promise<number> {
  const image = new Tensor("float32", digitImage(strokes)!, [1, 8, 8]);
  const { label } = await model.run({ image });
  return Number(label!.data[0]);
}

function mapped(strokes: readonly Stroke[], x: (x: number) => number, y: (y: number) => number) {
  return strokes.map((stroke) => stroke.map((point) => ({ x: x(point.x), y: y(point.y) })));
}

for (let digit = 0; digit <= 9; digit++) {
  test(`the model reads the example of ${digit}, wherever and how large it is drawn`, async (t) => {
    const strokes = exampleDigit(digit);
    t.is(await recognise(strokes), digit);
    const small = mapped(
      strokes,
      (x) => 0.7 + x / 5,
      (y) => y / 5,
    );
    t.is(await recognise(small), digit);
    const wide = mapped(
      strokes,
      (x) => x * 300,
      (y) => y * 240,
    );
    t.is(await recognise(wide), digit);
  });
}

test("an image fills the height, stays off the sides, and has the ink of the data", (t) => {
  for (let digit = 0; digit <= 9; digit++) {
    const image = digitImage(exampleDigit(digit))!;
    const column = (index: number) => image.filter((_, at) => at % 8 === index);
    t.true(
      image.subarray(0, 8).some((ink) => ink > 0.2),
      `top of ${digit}`,
    );
    t.true(
      image.subarray(56).some((ink) => ink > 0.2),
      `bottom of ${digit}`,
    );
    t.true(column(0).every((ink) => ink < 0.2) && column(7).every((ink) => ink < 0.2));
    const share = image.reduce((sum, ink) => sum + ink, 0) / 64;
    t.true(share > 0.28 && share < 0.33, `${digit} has ${share} of ink`);
  }
});

test("nothing drawn is no image", (t) => {
  t.is(digitImage([]), undefined);
  t.is(digitImage([[]]), undefined);
});

test("whatever is drawn gives 64 values from 0 to 1, with some ink", (t) => {
  const point = fc.record({
    x: fc.double({ min: -1, max: 2, noNaN: true }),
    y: fc.double({ min: -1, max: 2, noNaN: true }),
  });
  const strokes = fc.array(fc.array(point, { minLength: 1, maxLength: 8 }), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(strokes, (drawn) => {
      const image = digitImage(drawn)!;
      t.is(image.length, 64);
      t.true(image.every((ink) => ink >= 0 && ink <= 1));
      t.true(image.some((ink) => ink > 0));
    }),
    { numRuns: 50 },
  );
});
