import { InferenceError } from "@tensorwire/client/web";
import { createAnswerView } from "./answer-view.ts";
import { digitImage, imageSize } from "./digit-image.ts";
import { connectModel, type DigitModel, type Protocol } from "./digit-model.ts";
import { createDrawingPad } from "./drawing-pad.ts";
import { element } from "./element.ts";
import { errorText } from "./error-text.ts";
import { exampleDigit } from "./example-digits.ts";
import { latestOnly } from "./latest-only.ts";

const settings = element<HTMLFormElement>("settings");
const server = element<HTMLInputElement>("server");
// Another server than the one that serves the page: ?server=http://host:port
server.value = new URLSearchParams(location.search).get("server") ?? location.origin;

const answer = createAnswerView();
let model: DigitModel | undefined;

const reader = latestOnly(async (image: Float32Array, signal: AbortSignal) => {
  try {
    const reading = await model?.read(image, signal);
    if (reading && !signal.aborted) answer.showReading(reading);
  } catch (error) {
    if (!signal.aborted) showError(error);
  }
});

const pad = createDrawingPad(element<HTMLCanvasElement>("pad"), () => {
  element("pad-hint").hidden = pad.strokes.length > 0;
  read();
});

function read(): void {
  const image = digitImage(pad.strokes);
  showSeen(image);
  if (image) {
    reader.push(image);
    return;
  }
  reader.drop();
  answer.showNothing();
}

function connect(): void {
  reader.drop();
  model?.close();
  model = undefined;
  answer.forgetLatencies();
  try {
    model = connectModel(server.value, protocol());
  } catch (error) {
    showError(error);
    return;
  }
  read();
  void describe(model);
}

/** Shows which model there is, and before anything is drawn whether there is one. */
async function describe(asked: DigitModel): Promise<void> {
  try {
    const description = await asked.describe();
    if (asked === model) answer.showModel(description);
  } catch (error) {
    if (asked === model) showError(error);
  }
}

function protocol(): Protocol {
  return new FormData(settings).get("protocol") === "connect" ? "connect" : "grpc-web";
}

function showError(error: unknown): void {
  if (!(error instanceof InferenceError)) throw error;
  const { title, text } = errorText(error);
  answer.showError(title, text);
}

/** Paints the image that is sent, a pixel of it as one of the canvas. */
function showSeen(image: Float32Array | undefined): void {
  const canvas = element<HTMLCanvasElement>("seen");
  canvas.width = imageSize;
  canvas.height = imageSize;
  const context = canvas.getContext("2d")!;
  context.fillStyle = getComputedStyle(canvas).color;
  image?.forEach((ink, index) => {
    context.globalAlpha = ink;
    context.fillRect(index % imageSize, Math.floor(index / imageSize), 1, 1);
  });
}

element("clear").addEventListener("click", () => pad.clear());
element("retry").addEventListener("click", connect);
settings.addEventListener("change", ({ target }) => {
  if (target !== server) connect();
});
settings.addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") pad.clear();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  showSeen(digitImage(pad.strokes));
});
for (let digit = 0; digit <= 9; digit++) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = String(digit);
  button.ariaLabel = `Example of ${digit}`;
  button.addEventListener("click", () => pad.show(exampleDigit(digit)));
  element("examples").append(button);
}
connect();
