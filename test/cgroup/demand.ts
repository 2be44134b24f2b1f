/** One of those who want memory in the program of the memory group. What a refusal interrupts leaves a demand as it was. */
export interface Demand {
  readonly name: string;
  /** Whether it asks for all that it wants at once and gives it back by itself. It cannot be refused then. */
  readonly growsWhole: boolean;
  /** How large a part of all memory it wants, beside the others' weights. Slow ones want less. */
  readonly weight: number;
  /** What it holds now, of which nothing can be given back. */
  readonly liveBytes: number;
  /** Takes about so many bytes more. @throws what {@link isRefusal} tells when it is refused */
  grow(bytes: number): void | Promise<void>;
  /** @throws a {@link WrongResult} when what it holds, or what it computes over it, is not right */
  check(): void | Promise<void>;
  /** Drops what it holds, at random, until it is at most so many bytes. */
  shrink(bytes: number): void;
  /** Drops everything. */
  close(): void | Promise<void>;
}

/** Tells that a result is not what it has to be. */
export class WrongResult extends Error {
  constructor(what: string, found: unknown, expected: unknown) {
    super(`${what}: ${String(found)} instead of ${String(expected)}`);
    this.name = 'WrongResult';
  }
}

export function expectSame(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new WrongResult(what, found, expected);
}

/** Takes one of a list out of it. */
export function takeRandom<T>(list: T[], random: () => number): T {
  const at = Math.floor(random() * list.length);
  const [taken] = list.splice(at, 1, ...(at < list.length - 1 ? list.splice(-1) : []));
  return taken!;
}
