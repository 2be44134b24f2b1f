import '../../src/core/disposable.js';
import { orUndo, shown, warn } from '../../src/core/attempt.js';
import { checkArgument, MemoryError } from '../../src/core/errors.js';
import { functionPointerType } from './c-types.js';
import { type Callback, MAX_PARAMETERS } from './callback.js';
import { koffi, outsideOfScopes, reasonOf } from './koffi.js';

/** Errors that are kept for each call under way; later ones are counted. */
const MAX_KEPT_ERRORS = 16;

/**
 * The JavaScript functions that one host gives to C, and their errors.
 *
 * Every body is guarded: what it throws is remembered, C gets the callback's error status, and {@link call} throws it
 * when the native function has returned. No error crosses a C frame. (With koffi alone, no callback would run any more
 * in that native call, each would silently answer 0.) An error while no `call` is under way has no caller to go to: it
 * becomes a process warning.
 *
 * The order of an end is: the library gives back everything; the library forgets the functions (it is closed, or its own
 * are set again); {@link dispose}. The other way round is undefined behaviour: koffi gives a slot that was unregistered
 * to the next callback, so that a stale function pointer calls another callback. The same holds for a Worker: its callbacks
 * end with it, and one that is called later aborts the process; dispose of the table before the worker ends.
 *
 * All bodies run on the thread of this isolate. A callback from a foreign thread waits until the event loop, or the
 * end of a synchronous native call, lets it run: where C waits for that thread inside a synchronous call, both wait for
 * ever; make such a call with {@link callAsync}. koffi does not tell which thread called; {@link foreignCalls} does, as
 * long as every synchronous native call that may call back is made by {@link call}.
 */
export class CallbackTable {
  readonly #groups = new Map<string, Readonly<Record<string, number>>>();
  readonly #registered: bigint[] = [];
  #errors: unknown[] = [];
  #errorCount = 0;
  #lastError: MemoryError | undefined;
  #calls = 0;
  #asyncCalls = 0;
  #foreignCalls = 0;
  #disposed = false;

  constructor(
    /** The host, for messages. */
    readonly name: string,
  ) {}

  /** Runs of a body while no {@link call} was under way: a foreign thread or an asynchronous call made them. */
  get foreignCalls(): number {
    return this.#foreignCalls;
  }

  /** The callbacks that are registered. koffi has room for 8192 in a process. */
  get size(): number {
    return this.#registered.length;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * What a callback failed for last, since the outermost call under way or the last one began. Undefined also where that was
   * no MemoryError; {@link call} throws it then.
   */
  get lastError(): MemoryError | undefined {
    return this.#lastError;
  }

  /**
   * Registers callbacks that belong together, all or none of them, and gives their addresses.
   *
   * @param group - the name of the group; one that is registered already is given again, and `make` is not called
   * @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT for more than 8 parameters
   * @throws ERR_MEM_NATIVE when koffi has no room for them
   */
  register<K extends string>(group: string, make: () => Readonly<Record<K, Callback>>): Readonly<Record<K, number>> {
    this.#checkUsable();
    const known = this.#groups.get(group);
    if (known !== undefined) return known as Readonly<Record<K, number>>;
    const addresses: Record<string, number> = {};
    const registeredBefore = this.#registered.length;
    const registerAll = () => {
      for (const [name, callback] of Object.entries<Callback>(make())) {
        const pointer = this.#registerOne(`${this.name}.${name}`, callback);
        this.#registered.push(pointer);
        addresses[name] = Number(pointer);
      }
    };
    orUndo(registerAll, () => this.#unregisterFrom(registeredBefore));
    this.#groups.set(group, addresses);
    return addresses as Record<K, number>;
  }

  /**
   * Makes a native call, and throws what callbacks threw in it. Calls may be nested.
   *
   * @throws the error of a callback; an AggregateError where there are several
   * @throws ERR_MEM_DISPOSED
   */
  call<T>(native: () => T): T {
    this.#begin();
    const before = this.#errors.length;
    const countBefore = this.#errorCount;
    let result: T | undefined;
    this.#calls++;
    try {
      result = native();
    } catch (error) {
      this.#keep(error);
    } finally {
      this.#calls--;
    }
    this.#throwErrors(before, countBefore);
    return result as T;
  }

  /**
   * Makes an asynchronous native call and waits for it. Where several run at the same time, an error of a callback goes
   * to the one that ends first: koffi does not tell whose it is.
   *
   * @throws as {@link call}
   */
  async callAsync<T>(native: () => Promise<T>): Promise<T> {
    this.#begin();
    let result: T | undefined;
    this.#asyncCalls++;
    try {
      result = await native();
    } catch (error) {
      this.#keep(error);
    } finally {
      this.#asyncCalls--;
    }
    this.#throwErrors(0, 0);
    return result as T;
  }

  /** Sets {@link lastError} to an error that C got as its answer; nothing throws it. */
  note(error: unknown): void {
    this.#lastError = MemoryError.is(error) ? error : undefined;
  }

  /** Makes the native call in progress throw `error` when it returns. For a body that has an answer all the same. */
  report(error: unknown): void {
    this.note(error);
    if (this.#callsUnderWay > 0) this.#keep(error);
    else warn(error);
  }

  /** Checks that {@link dispose} may be called now. @throws ERR_MEM_REENTRANT while a native call is under way */
  checkDisposable(): void {
    if (this.#callsUnderWay > 0) {
      throw new MemoryError('ERR_MEM_REENTRANT', { operation: `dispose of the callbacks of ${this.name}` });
    }
  }

  /**
   * Unregisters every callback, in any state of the library behind them: it must have forgotten them. Does nothing the second time.
   *
   * @throws ERR_MEM_REENTRANT while a native call is under way; nothing has changed then
   */
  dispose(): void {
    if (this.#disposed) return;
    this.checkDisposable();
    this.#disposed = true;
    this.#groups.clear();
    this.#unregisterFrom(0);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #registerOne(functionName: string, { result, parameters, guarded }: Callback): bigint {
    const count = parameters.length;
    checkArgument(count <= MAX_PARAMETERS, `the parameters of ${functionName}`, count, `at most ${MAX_PARAMETERS}`);
    const watch = {
      entered: () => {
        if (this.#calls === 0) this.#foreignCalls++;
      },
      failed: (error: unknown) => this.report(error),
    };
    try {
      return outsideOfScopes(() => koffi().register(guarded(watch), functionPointerType(result, parameters)));
    } catch (error) {
      const facts = { functionName: `koffi.register of ${functionName}`, status: -1, statusName: reasonOf(error) };
      throw new MemoryError('ERR_MEM_NATIVE', facts, error);
    }
  }

  #unregisterFrom(index: number): void {
    for (const pointer of this.#registered.splice(index)) koffi().unregister(pointer);
  }

  get #callsUnderWay(): number {
    return this.#calls + this.#asyncCalls;
  }

  #begin(): void {
    this.#checkUsable();
    if (this.#callsUnderWay === 0) this.#lastError = undefined;
  }

  #keep(error: unknown): void {
    this.#errorCount++;
    if (this.#errors.length < MAX_KEPT_ERRORS * this.#callsUnderWay) this.#errors.push(error);
  }

  /** Forgets the errors since a call began, and throws one that stands for all of them. */
  #throwErrors(before: number, countBefore: number): void {
    const count = this.#errorCount - countBefore;
    if (count <= 0) return;
    const errors = this.#errors.splice(before);
    this.#errorCount = countBefore;
    if (count === 1 && errors.length === 1) throw errors[0];
    throw new AggregateError(errors, `${count} errors in callbacks of ${this.name}, the first: ${shown(errors[0])}`);
  }

  #checkUsable(): void {
    if (this.#disposed) throw new MemoryError('ERR_MEM_DISPOSED', { what: `callback table of ${this.name}` });
  }
}
