/** A place on the drawing pad, in any unit; y grows downwards. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The way of the pen from touching the pad to leaving it. */
export type Stroke = readonly Point[];

/** Pixels on each side of the image. */
export const imageSize = 8;

/** Samples of a pixel on each side: 16 in all, as in the data. */
const samplesPerPixel = 4;
const gridSize = imageSize * samplesPerPixel;

/** Width of a digit of the data, in pixels; its height is that of the image. */
const digitWidth = 6;
/** Part of the image that is ink in the data, whatever the digit. */
const inkShare = 0.3;
/** Bounds of half the width of the pen, in pixels, for very short and very long lines. */
const minRadius = 0.5;
const maxRadius = 1.5;
/** Half the width of a usual pen, in pixels, to keep the ink inside the image. */
const margin = 0.65;

interface Segment {
  readonly from: Point;
  readonly to: Point;
}

/**
 * Makes the image that the model was trained on, of what was drawn. The data are digits on 32 x 32
 * bitmaps, as high as the bitmap and about three quarters as wide, with 30 % ink; a pixel of the
 * 8 x 8 image is the part of a 4 x 4 block that is ink. So the strokes are moved and scaled to that
 * box, and drawn with the pen that gives this much ink.
 * https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
 *
 * @returns 64 values from 0 (paper) to 1 (ink), row-major; `undefined` if nothing was drawn
 */
export function digitImage(strokes: readonly Stroke[]): Float32Array | undefined {
  const segments = toSegments(fitToBox(strokes));
  if (segments.length === 0) return undefined;
  const distances = new Float32Array(gridSize * gridSize);
  for (let index = 0; index < distances.length; index++) {
    const x = ((index % gridSize) + 0.5) / samplesPerPixel;
    const y = (Math.floor(index / gridSize) + 0.5) / samplesPerPixel;
    distances[index] = distanceToInk(x, y, segments);
  }
  const byDistance = distances.toSorted();
  const radius = Math.min(
    maxRadius,
    Math.max(minRadius, byDistance[Math.floor(inkShare * byDistance.length)]!),
  );
  const image = new Float32Array(imageSize * imageSize);
  for (let index = 0; index < distances.length; index++) {
    if (distances[index]! > radius) continue;
    const column = Math.floor((index % gridSize) / samplesPerPixel);
    const row = Math.floor(index / gridSize / samplesPerPixel);
    image[row * imageSize + column]! += 1 / samplesPerPixel ** 2;
  }
  return image;
}

/** Moves and scales strokes to the box of a digit, in pixels of the image. */
function fitToBox(strokes: readonly Stroke[]): Stroke[] {
  const points = strokes.flat();
  const left = Math.min(...points.map(({ x }) => x));
  const right = Math.max(...points.map(({ x }) => x));
  const top = Math.min(...points.map(({ y }) => y));
  const bottom = Math.max(...points.map(({ y }) => y));
  const size = Math.max(right - left, bottom - top);
  // A dot has no size; whatever it is divided by, it stays in the middle.
  const scaleY = (imageSize - 2 * margin) / (Math.max(bottom - top, size / 2) || 1);
  // Wide digits are made narrower, as in the data; narrow ones keep their proportions.
  const scaleX = Math.min(scaleY, (digitWidth - 2 * margin) / (right - left || 1));
  const middleX = (left + right) / 2;
  const middleY = (top + bottom) / 2;
  return strokes.map((stroke) =>
    stroke.map(({ x, y }) => ({
      x: imageSize / 2 + (x - middleX) * scaleX,
      y: imageSize / 2 + (y - middleY) * scaleY,
    })),
  );
}

function toSegments(strokes: readonly Stroke[]): Segment[] {
  return strokes.flatMap((stroke) =>
    stroke.map((to, index) => ({ from: stroke[Math.max(0, index - 1)]!, to })),
  );
}

function distanceToInk(x: number, y: number, segments: readonly Segment[]): number {
  let nearest = Number.POSITIVE_INFINITY;
  for (const { from, to } of segments) {
    const dx = to.x - from.x;
    const dy = to.y - from.y;
    const along = ((x - from.x) * dx + (y - from.y) * dy) / (dx * dx + dy * dy || 1);
    const clamped = Math.min(1, Math.max(0, along));
    nearest = Math.min(nearest, Math.hypot(x - from.x - clamped * dx, y - from.y - clamped * dy));
  }
  return nearest;
}
