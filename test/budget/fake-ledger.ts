import type { BudgetLedger, LedgerMember, LedgerMemberReading } from '../../src/budget/budget-ledger.js';

/** What isolates share, in one object: each has a {@link FakeLedger} of it. */
export class FakeShared {
  readonly members: FakeLedger[] = [];
  readonly segments = new Map<string, number>();
  /** Bytes of members that have ended, until somebody returns them. */
  deadBytes = 0;
  /** Takes that are refused however much there is: another isolate was quicker. */
  refuseTakes = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(public limitBytes: number) {}

  get usedBytes(): number {
    let bytes = this.deadBytes;
    for (const { heldBytes } of this.members) bytes += heldBytes;
    for (const segment of this.segments.values()) bytes += segment;
    return bytes;
  }

  join(member: Partial<LedgerMember> = {}): FakeLedger {
    const ledger = new FakeLedger(this, { name: `process ${this.members.length}`, priority: 0, minimumBytes: 0, ...member });
    this.members.push(ledger);
    return ledger;
  }

  /** A member's process is killed: what it held stays counted. */
  kill(ledger: FakeLedger): void {
    this.members.splice(this.members.indexOf(ledger), 1);
    this.deadBytes += ledger.heldBytes;
  }

  announce(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  changed(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** A ledger that counts in an object. Nobody gives back by priority: a test says in {@link asked} what this one is to give. */
export class FakeLedger implements BudgetLedger {
  heldBytes = 0;
  cachedBytes = 0;
  wantedBytes = 0;
  /** What {@link wantedHere} answers. */
  asked = 0;
  disposed = false;
  readonly attached = new Set<string>();

  constructor(
    readonly shared: FakeShared,
    readonly member: LedgerMember,
  ) {}

  get limitBytes(): number {
    return this.shared.limitBytes;
  }

  get usedBytes(): number {
    return this.shared.usedBytes;
  }

  take(bytes: number): boolean {
    if (this.shared.refuseTakes > 0) {
      this.shared.refuseTakes--;
      return false;
    }
    if (this.shared.usedBytes + bytes > this.limitBytes) return false;
    this.heldBytes += bytes;
    return true;
  }

  force(bytes: number): void {
    this.heldBytes += bytes;
  }

  give(bytes: number): void {
    if (this.disposed) throw new Error('given to a ledger that has ended');
    if (bytes > this.heldBytes) throw new Error(`${bytes} given of ${this.heldBytes}`);
    this.heldBytes -= bytes;
    this.shared.announce();
  }

  publishCached(cachedBytes: number): void {
    this.cachedBytes = cachedBytes;
  }

  want(bytes: number): void {
    this.wantedBytes = bytes;
    this.shared.announce();
  }

  wantedHere(): number {
    return this.asked;
  }

  changed(timeoutMs: number): Promise<void> {
    return this.shared.changed(timeoutMs);
  }

  attachSegment(url: string, bytes: number): boolean {
    const known = this.shared.segments.get(url) ?? 0;
    if (this.shared.usedBytes - known + bytes > this.limitBytes) return false;
    this.shared.segments.set(url, bytes);
    this.attached.add(url);
    return true;
  }

  detachSegment(url: string): void {
    if (!this.attached.delete(url)) throw new Error(`${url} is not attached`);
    if (!this.shared.members.some(({ attached }) => attached.has(url))) this.shared.segments.delete(url);
    this.shared.announce();
  }

  returnDead(): number {
    const { deadBytes } = this.shared;
    this.shared.deadBytes = 0;
    return deadBytes;
  }

  members(): LedgerMemberReading[] {
    return this.shared.members.map((ledger, i) => {
      const { member, heldBytes, cachedBytes, wantedBytes } = ledger;
      return { ...member, pid: 1000 + i, isSelf: ledger === this, heldBytes, cachedBytes, wantedBytes };
    });
  }

  setLimit(bytes: number): void {
    this.shared.limitBytes = bytes;
    this.shared.announce();
  }

  dispose(): void {
    this.disposed = true;
    this.heldBytes = 0;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
