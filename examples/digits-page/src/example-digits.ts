import type { Point, Stroke } from "./digit-image.ts";

/**
 * One way to write each digit, for those who cannot or do not want to draw; lines between points,
 * on a pad from 0 to 100.
 */
const polylines: readonly (readonly (readonly [number, number])[])[][] = [
  [arc(50, 50, 24, 36, -90, 275)],
  [
    [
      [38, 28],
      [54, 14],
      [54, 86],
    ],
  ],
  [[...arc(50, 34, 22, 20, -165, 35), [30, 86], [76, 86]]],
  [[...arc(48, 32, 20, 18, -160, 85), ...arc(48, 68, 24, 18, -85, 160)]],
  [
    [
      [56, 14],
      [26, 60],
      [78, 60],
    ],
    [
      [62, 38],
      [62, 88],
    ],
  ],
  [[[72, 14], [36, 14], [33, 46], ...arc(48, 64, 24, 22, -110, 150)]],
  [[[60, 14], [42, 34], [32, 58], ...arc(50, 69, 19, 17, -170, 190)]],
  [
    [
      [32, 16],
      [68, 14],
      [44, 86],
    ],
    [
      [38, 54],
      [74, 50],
    ],
  ],
  [[...arc(50, 32, 17, 18, 90, 450), ...arc(50, 68, 21, 18, -90, 270)]],
  [[...arc(50, 34, 21, 20, 0, -360), [68, 60], [60, 88]]],
];

/** Strokes of a digit from 0 to 9, on a pad from 0 to 1. */
export function exampleDigit(digit: number): Stroke[] {
  return polylines[digit]!.map((line) => line.map(([x, y]): Point => ({ x: x / 100, y: y / 100 })));
}

/** Points along an ellipse; 0 degrees is right, 90 is down. */
function arc(
  centerX: number,
  centerY: number,
  radiusX: number,
  radiusY: number,
  fromDegrees: number,
  toDegrees: number,
): [number, number][] {
  const steps = 24;
  return Array.from({ length: steps + 1 }, (_, step) => {
    const angle = ((fromDegrees + ((toDegrees - fromDegrees) * step) / steps) * Math.PI) / 180;
    return [centerX + radiusX * Math.cos(angle), centerY + radiusY * Math.sin(angle)];
  });
}
