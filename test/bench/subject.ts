/** What a contestant made of a first replay. What it cannot know is null. */
export interface ColdFacts {
  /** Native calls from the first event to the last, commits and decommits included. */
  readonly nativeCalls: number | null;
  readonly peakReservedBytes: number | null;
  /** The smallest capacity on which the trace completes, where it is known without trying. */
  readonly minCapacityBytes?: number | null;
}

/** What later replays in the same manager came to. */
export interface WarmFacts {
  /** The most that was reserved in any replay so far. */
  readonly peakReservedBytes: number | null;
}

/** One allocator, set up for one trace, inside a process of its own. */
export interface Subject {
  /** Replays the first time, on a fresh allocator, and drains it. */
  cold(): ColdFacts;
  /** Replays all events: the timed part. */
  replay(): void;
  /** Replays the events from one number up to another; not there where nothing asks for it. */
  replayPart?(from: number, to: number): void;
  /** Frees what the trace left live. */
  drain(): void;
  warmFacts(): WarmFacts;
  /** Tells whether the trace completes on a device of that capacity; null where nothing has a capacity. */
  fits(capacityBytes: number): boolean | null;
}
