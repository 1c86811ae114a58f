/** Something that happens at a time; give it to a {@link TimerWheel}. Its owner keeps it. */
export abstract class WheelTimer {
  /** Tick at which it fires; -1 while it is not armed. */
  dueTick = -1;
  previous: WheelTimer | undefined;
  next: WheelTimer | undefined;

  /** Called once, when the time has come. Must not throw. */
  abstract fire(): void;
}

/** Clock of a wheel, and the one timer that drives it. */
export interface WheelClock {
  /** Time in ms from any origin. */
  now(): number;
  /** Calls back after a time in ms; gives what cancels it. Must not keep the process alive. */
  after(ms: number, action: () => void): () => void;
}

const systemClock: WheelClock = {
  now: () => performance.now(),
  after(ms, action) {
    const timer = setTimeout(action, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Head of the list of a slot. */
class Slot extends WheelTimer {
  override fire(): void {}
}

/**
 * Timers whose arming and disarming cost a few assignments, for deadlines that mostly do not pass
 * (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6). A timer fires at its
 * time or up to one tick later, never earlier.
 */
export class TimerWheel {
  readonly #clock: WheelClock;
  readonly #tickMs: number;
  readonly #slots: Slot[] = [];
  readonly #mask: number;
  readonly #origin: number;
  /** The last tick whose timers have fired. */
  #tick = 0;
  #armed = 0;
  #running = false;
  /** Timers of the slot that is looked at. */
  readonly #due: WheelTimer[] = [];

  /**
   * @param tickMs - resolution, in ms
   * @param slots - a power of two
   */
  constructor(tickMs = 4, slots = 1024, clock: WheelClock = systemClock) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#mask = slots - 1;
    this.#origin = clock.now();
    for (let index = 0; index < slots; index++) {
      const slot = new Slot();
      slot.next = slot;
      slot.previous = slot;
      this.#slots.push(slot);
    }
  }

  /** Timers that are armed. */
  get armed(): number {
    return this.#armed;
  }

  /** Arms a timer anew. */
  arm(timer: WheelTimer, ms: number): void {
    this.disarm(timer);
    const due = Math.ceil((this.#clock.now() - this.#origin + ms) / this.#tickMs);
    timer.dueTick = Math.max(due, this.#tick + 1);
    const slot = this.#slots[timer.dueTick & this.#mask]!;
    const last = slot.previous!;
    timer.previous = last;
    timer.next = slot;
    last.next = timer;
    slot.previous = timer;
    this.#armed++;
    if (!this.#running) this.#run();
  }

  disarm(timer: WheelTimer): void {
    if (timer.dueTick === -1) return;
    timer.previous!.next = timer.next;
    timer.next!.previous = timer.previous;
    timer.previous = undefined;
    timer.next = undefined;
    timer.dueTick = -1;
    this.#armed--;
  }

  #run(): void {
    this.#running = true;
    // Ticks that passed while nothing was armed need no looking at.
    if (this.#armed === 1) this.#tick = Math.max(this.#tick, this.#now() - 1);
    this.#clock.after(this.#tickMs, this.#turn);
  }

  #now(): number {
    return Math.floor((this.#clock.now() - this.#origin) / this.#tickMs);
  }

  readonly #turn = (): void => {
    const now = this.#now();
    const due = this.#due;
    // After a pause longer than a revolution every slot is looked at once.
    const first = Math.max(this.#tick + 1, now - this.#mask);
    for (let tick = first; tick <= now; tick++) {
      // What is armed from here on goes into slots that are still to come.
      this.#tick = tick;
      const slot = this.#slots[tick & this.#mask]!;
      for (let timer = slot.next!; timer !== slot; timer = timer.next!) {
        if (timer.dueTick <= now) due.push(timer);
      }
      for (const timer of due) {
        // One that fired before may have disarmed it, or armed it anew.
        if (timer.dueTick === -1 || timer.dueTick > now) continue;
        this.disarm(timer);
        timer.fire();
      }
      due.length = 0;
    }
    this.#tick = Math.max(this.#tick, now);
    this.#running = false;
    if (this.#armed > 0) this.#run();
  };
}

/** For deadlines of calls, to 4 ms. */
export const deadlineWheel = new TimerWheel();

/** For what connections are watched for, to 50 ms. */
export const watchWheel = new TimerWheel(50, 256);
