import { attempt } from './attempt.js';
import type { Seat } from './seat.js';

/** What managers left behind when they ended, and the device has not taken back yet. It stays in the slot's books. */
export class OwedMemory {
  /** Who left it. */
  seats: readonly Seat[] = [];
  #busy = false;

  /** Gives back what a manager that has just ended left behind; its seat stays here while the device refuses. */
  add(seat: Seat): void {
    this.seats = [...this.seats, seat];
    this.#giveBack([seat]);
  }

  /**
   * Tries again what each of them left that has no more than `mostBytes` together with those before. What is still refused
   * becomes a process warning.
   */
  giveBack(mostBytes = Number.POSITIVE_INFINITY): void {
    let left = mostBytes;
    this.#giveBack(
      this.seats.filter(({ natives: { ledger } }) => {
        const mayGo = ledger.reservedBytes <= left;
        if (mayGo) left -= ledger.reservedBytes;
        return mayGo;
      }),
    );
  }

  /** Tries again when the device has just answered: one thing, and more as long as it takes them. */
  deviceAnswered(): void {
    if (this.seats.length === 0 || this.#busy) return;
    this.#exclusively(() => {
      while (this.seats.some((seat) => seat.natives.giveOneBack()));
    });
  }

  #giveBack(seats: readonly Seat[]): void {
    if (this.#busy || seats.length === 0) return;
    this.#exclusively(() => {
      for (const seat of seats) attempt(() => seat.natives.giveAllBack());
    });
  }

  /** Native functions may call back: a second one does not begin inside the first. */
  #exclusively(work: () => void): void {
    this.#busy = true;
    try {
      work();
    } finally {
      this.#busy = false;
      for (const seat of this.seats) seat.log.flush();
      this.seats = this.seats.filter((seat) => seat.natives.holdsNative);
    }
  }
}
