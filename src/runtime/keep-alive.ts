/** Makes what it is given the object that a class below adds its fields to. */
class Given {
  constructor(given: object) {
    // biome-ignore lint/correctness/noConstructorReturn: a subclass adds its fields to what is returned
    return given;
  }
}

/**
 * Adds a private field to any object. Nobody sees it (no key, no print, no clone), and the garbage collector follows it.
 * Measured for a typed array: 50 ns. A WeakMap takes 380 ns, and a property that is not enumerable 280 ns.
 */
class Keeper extends Given {
  // @ts-expect-error: nothing reads it but the garbage collector
  // biome-ignore lint/correctness/noUnusedPrivateClassMembers: the garbage collector reads it
  readonly #kept: object;

  constructor(holder: object, kept: object) {
    super(holder);
    this.#kept = kept;
  }
}

/** Keeps `kept` from being collected while `holder` lives. Once for each holder. */
export function keepAlive(holder: object, kept: object): void {
  new Keeper(holder, kept);
}
