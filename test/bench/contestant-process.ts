import type { Contestant } from './contestants.js';
import { LineProcess } from './line-process.js';
import type { ColdFacts, WarmFacts } from './subject.js';

/** A contestant at work on one trace, in a process of its own. */
export class ContestantProcess extends LineProcess {
  readonly contestant: Contestant;

  /** @param main - the file of contestant-main */
  constructor(contestant: Contestant, eventFile: string, main: string) {
    const { native, javaScript } = contestant;
    if (native === undefined) super(process.execPath, [main, JSON.stringify(javaScript), eventFile]);
    else super(native.file, [eventFile, ...native.args], native.env);
    this.contestant = contestant;
  }

  cold(): Promise<ColdFacts> {
    return this.ask<ColdFacts>('cold');
  }

  /** Replays, in JavaScript for so many milliseconds at least. */
  warmUp(leastMs: number): Promise<object> {
    return this.ask<object>(`warm ${leastMs}`);
  }

  /** Replays `repeats` times. @returns the median time of an event in ns */
  async round(repeats: number): Promise<number> {
    return (await this.ask<{ nsPerEvent: number }>(`round ${repeats}`)).nsPerEvent;
  }

  /**
   * Replays once; the events from number `first` on are timed in `count` parts of equal length.
   *
   * @returns the median time of an event in ns
   */
  async parts(first: number, count: number): Promise<number> {
    return (await this.ask<{ nsPerEvent: number }>(`parts ${first} ${count}`)).nsPerEvent;
  }

  /** Tells whether the trace completes on a device of that capacity; null where nothing has a capacity. */
  async fits(capacityBytes: number): Promise<boolean | null> {
    return (await this.ask<{ fits: boolean | null }>(`fits ${capacityBytes}`)).fits;
  }

  after(): Promise<WarmFacts> {
    return this.ask<WarmFacts>('after');
  }
}
