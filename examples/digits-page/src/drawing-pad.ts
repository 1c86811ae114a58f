import type { Point, Stroke } from "./digit-image.ts";

/** A canvas to draw on with mouse, finger or pen. */
export interface DrawingPad {
  /** What is drawn, on a pad from 0 to 1. */
  readonly strokes: readonly Stroke[];
  /** Shows other strokes. */
  show(strokes: readonly Stroke[]): void;
  clear(): void;
}

/** Width of the pen, as a part of the pad. */
const penWidth = 0.075;

/** Makes a canvas a drawing pad; `onChange` is called with each piece of a line. */
export function createDrawingPad(canvas: HTMLCanvasElement, onChange: () => void): DrawingPad {
  const context = canvas.getContext("2d")!;
  let strokes: Point[][] = [];
  let drawing: { readonly pointer: number; readonly stroke: Point[] } | undefined;

  function paint(): void {
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = penWidth * width;
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const stroke of strokes) {
      context.beginPath();
      for (const { x, y } of stroke) context.lineTo(x * width, y * height);
      // A touch without a way is a dot.
      if (stroke.length === 1) context.lineTo(stroke[0]!.x * width, stroke[0]!.y * height);
      context.stroke();
    }
  }

  function change(): void {
    paint();
    onChange();
  }

  function pointOf(event: PointerEvent): Point {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (drawing || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    drawing = { pointer: event.pointerId, stroke: [pointOf(event)] };
    strokes.push(drawing.stroke);
    change();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drawing?.pointer !== event.pointerId) return;
    // One event may stand for several places of a fast pen.
    const moves = event.getCoalescedEvents?.() ?? [];
    drawing.stroke.push(...(moves.length > 0 ? moves : [event]).map(pointOf));
    change();
  });
  for (const end of ["pointerup", "pointercancel"] as const) {
    canvas.addEventListener(end, (event) => {
      if (drawing?.pointer === event.pointerId) drawing = undefined;
    });
  }
  new ResizeObserver(() => {
    const pixels = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.width = pixels;
    canvas.height = pixels;
    paint();
  }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  return {
    get strokes() {
      return strokes;
    },
    show(shown) {
      drawing = undefined;
      strokes = shown.map((stroke) => [...stroke]);
      change();
    },
    clear() {
      drawing = undefined;
      strokes = [];
      change();
    },
  };
}
