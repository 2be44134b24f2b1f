// Consumers whose `lib` lacks esnext.disposable still get `[Symbol.dispose]` typed. Node has had both symbols since 18.18.
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
    readonly asyncDispose: unique symbol;
  }
}

/** Something that `using` gives back at the end of its block. */
export interface Releasable {
  [Symbol.dispose](): void;
}
