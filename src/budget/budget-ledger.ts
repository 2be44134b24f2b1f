/** How a member of a shared budget is known to the others. */
export interface LedgerMember {
  readonly name: string;
  readonly priority: number;
  readonly minimumBytes: number;
}

/** What others see of a member. */
export interface LedgerMemberReading extends LedgerMember {
  readonly pid: number;
  readonly isSelf: boolean;
  readonly heldBytes: number;
  readonly cachedBytes: number;
  readonly wantedBytes: number;
}

/**
 * Where isolates that share one limit count what each of them holds: workers of a process, or processes. Every method is
 * one isolate's; no lock is held between calls.
 */
export interface BudgetLedger {
  /** Whether this isolate's part has ended. A budget over it gives its members nothing more, and lets them free. */
  readonly disposed: boolean;
  readonly limitBytes: number;
  /** What all living members hold, and shared segments, once each. */
  readonly usedBytes: number;
  /** Counts bytes for this isolate if all together stay within the limit. @returns false when they would not; nothing has changed then */
  take(bytes: number): boolean;
  /** Counts bytes that nobody could refuse. */
  force(bytes: number): void;
  give(bytes: number): void;
  /** Tells the others how many of the bytes that this isolate holds it could give back. */
  publishCached(cachedBytes: number): void;
  /** Asks the others for bytes; 0 withdraws that. */
  want(bytes: number): void;
  /** How many bytes this isolate is to give back now for others: those of lowest priority give first, nobody below its minimum. */
  wantedHere(): number;
  /** Resolves when somebody gave bytes back or wants some, or after so many milliseconds. */
  changed(timeoutMs: number): Promise<void>;
  /** Counts a shared segment, once for all who attach it. @returns false when it does not fit */
  attachSegment(url: string, bytes: number): boolean;
  detachSegment(url: string): void;
  /** Returns what members that have ended held. @returns those bytes */
  returnDead(): number;
  members(): LedgerMemberReading[];
  setLimit(bytes: number): void;
  /** Ends this isolate's part: what it holds is given back. */
  dispose(): void;
  [Symbol.dispose](): void;
}
