import { untold } from '../../src/core/attempt.js';

/** A 64-bit C number: a BigInt above 2^53. */
export type CNumber = number | bigint;

/** The C types of callbacks, and what each is in JavaScript. */
export type CTypes = { void: undefined; bool: boolean } & Record<'int' | 'int32_t' | 'uint32_t' | 'float' | 'double', number> &
  Record<'int64_t' | 'uint64_t' | 'size_t' | 'uintptr_t', CNumber>;

/** A C type that a callback may take or give. Pointers are `uintptr_t`. */
export type CType = keyof CTypes;

/** Anything a callback takes: its JavaScript values, in order. */
export type CArguments<P extends readonly CType[]> = { readonly [I in keyof P]: CTypes[P[I]] };

/** What a callback gives; one of type void gives nothing. */
// biome-ignore lint/suspicious/noConfusingVoidType: a void body returns nothing
export type CResult<R extends CType> = R extends 'void' ? void : CTypes[R];

/** The parameters that a callback may have. */
export const MAX_PARAMETERS = 8;

/** A callback's C type, body and answer in case of an error. */
export interface CallbackSpec<P extends readonly CType[], R extends CType> {
  readonly result: R;
  /** At most 8. */
  readonly parameters: P;
  /** What C gets when the body throws: the status by which its contract tells an error. */
  readonly onError: CResult<R>;
  readonly body: (...values: CArguments<P>) => CResult<R>;
}

/** Is told of a callback's runs and errors. */
export interface CallbackWatch {
  /** Called before each run of a body. */
  entered(): void;
  /** Called with what a body threw. */
  failed(error: unknown): void;
}

/** A callback that is ready to be registered. Made by {@link callback}. */
export interface Callback {
  readonly result: CType;
  readonly parameters: readonly CType[];
  /** The function for C: it never throws. */
  guarded(watch: CallbackWatch): (...values: unknown[]) => unknown;
}

/** Describes a callback; the body's parameters are typed by the C types. */
export function callback<const P extends readonly CType[], R extends CType>(spec: CallbackSpec<P, R>): Callback {
  const { result, parameters, onError } = spec;
  const body = spec.body as unknown as (...values: unknown[]) => CResult<R>;
  const [ua, ub, uc, ud, ue, uf, ug, uh] = parameters.map((type) => UNSIGNED_64.has(type));
  return {
    result,
    parameters,
    guarded: (watch) => {
      // Named parameters: collecting the values in an array costs 5 ns a call.
      return (a, b, c, d, e, f, g, h) => {
        try {
          watch.entered();
          return body(
            ua ? unsigned(a) : a,
            ub ? unsigned(b) : b,
            uc ? unsigned(c) : c,
            ud ? unsigned(d) : d,
            ue ? unsigned(e) : e,
            uf ? unsigned(f) : f,
            ug ? unsigned(g) : g,
            uh ? unsigned(h) : h,
          );
        } catch (error) {
          try {
            watch.failed(error);
          } catch {
            untold.count++;
          }
          return onError;
        }
      };
    },
  };
}

const UNSIGNED_64: ReadonlySet<CType> = new Set<CType>(['uint64_t', 'size_t', 'uintptr_t']);

/**
 * Undoes a defect of koffi 3.3: an unsigned parameter from 2^63 on arrives with the sign bit read as a sign, so that
 * a request for SIZE_MAX bytes would look like one for -1.
 */
function unsigned(value: unknown): unknown {
  return (value as CNumber) < 0 ? BigInt.asUintN(64, BigInt(value as CNumber)) : value;
}
