import type { Reading } from "./digit-model.ts";
import { element } from "./element.ts";

/** The part of the page that shows what the model says. */
export interface AnswerView {
  showReading(reading: Reading): void;
  /** Name and version of the model that answers. */
  showModel(model: string): void;
  /** Nothing is drawn. */
  showNothing(): void;
  /** Begins to count latencies anew. */
  forgetLatencies(): void;
  /** What is shown no longer stands for what is drawn. */
  showError(title: string, text: string): void;
}

const percent = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const milliseconds = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** Latencies that the median is taken of. */
const keptLatencies = 200;
/** Time without change after which the answer is read out, in ms. */
const announceAfterMs = 700;

/** Fills in the part of the page that shows what the model says. */
export function createAnswerView(): AnswerView {
  const digit = element("digit");
  const verdict = element("verdict-text");
  const announcement = element("announcement");
  const error = element("error");
  const card = error.parentElement!;
  const rows = createRows(element("bars"));
  const latencies: number[] = [];
  let announcing: ReturnType<typeof setTimeout> | undefined;

  function say(text: string): void {
    verdict.textContent = text;
    // Someone who listens wants the outcome, not each step on the way to it.
    clearTimeout(announcing);
    announcing = setTimeout(() => {
      announcement.textContent = text;
    }, announceAfterMs);
  }

  function showProbabilities(probabilities: ArrayLike<number>, best: number): void {
    rows.forEach(({ row, bar, text }, index) => {
      const probability = probabilities[index] ?? 0;
      row.classList.toggle("best", index === best);
      bar.style.transform = `scaleX(${probability})`;
      text.textContent = percent.format(probability);
    });
  }

  function noError(): void {
    error.hidden = true;
    card.classList.remove("stale");
  }

  return {
    showReading({ probabilities, latencyMs }) {
      noError();
      const highest = Math.max(...probabilities);
      const best = probabilities.indexOf(highest);
      showProbabilities(probabilities, best);
      digit.textContent = String(best);
      say(`It reads ${best}, ${sureness(highest)} sure`);
      latencies.push(latencyMs);
      if (latencies.length > keptLatencies) latencies.splice(0, 1);
      element("latency").textContent = `${milliseconds.format(latencyMs)} ms`;
      element("median").textContent = `${milliseconds.format(median(latencies))} ms`;
      element("call-count").textContent = String(latencies.length);
    },
    showModel(model) {
      element("model").textContent = model;
    },
    showNothing() {
      noError();
      showProbabilities([], -1);
      digit.textContent = "";
      say("Nothing drawn yet");
    },
    forgetLatencies() {
      latencies.length = 0;
    },
    showError(title, text) {
      clearTimeout(announcing);
      element("error-title").textContent = title;
      element("error-text").textContent = text;
      error.hidden = false;
      card.classList.add("stale");
    },
  };
}

/** A probability as text; no model is certain, so it never says 100 %. */
function sureness(probability: number): string {
  return probability > 0.999 ? `over ${percent.format(0.999)}` : percent.format(probability);
}

function createRows(list: HTMLElement) {
  return Array.from({ length: 10 }, (_, digit) => {
    const row = document.createElement("li");
    const label = document.createElement("span");
    label.textContent = String(digit);
    const track = document.createElement("span");
    track.className = "track";
    track.ariaHidden = "true";
    const bar = document.createElement("div");
    bar.className = "bar";
    track.append(bar);
    const text = document.createElement("span");
    text.className = "percent";
    text.textContent = percent.format(0);
    row.append(label, track, text);
    list.append(row);
    return { row, bar, text };
  });
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
