// Consumers whose `lib` lacks esnext.disposable still get `[Symbol.dispose]` typed. Node has had both symbols since 18.18.
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
    readonly asyncDispose: unique symbol;
  }
}

/** Something that ends once: by `dispose()`, or by `using` at the end of a block. A second time does nothing. */
export interface Releasable {
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Makes something that ends by a function. The function is called again only after it has thrown. */
export function releasable(end: () => void): Releasable {
  let isDisposed = false;
  const dispose = (): void => {
    if (isDisposed) return;
    end();
    isDisposed = true;
  };
  return { dispose, [Symbol.dispose]: dispose };
}
