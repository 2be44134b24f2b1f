import { badArgument, type MemoryError } from './errors.js';

/** The names of some options. Written once, beside what reads them: one that is missing or unknown does not compile. */
export type OptionNames<O> = { readonly [K in keyof O]-?: true };

/**
 * Refuses options that are no object, or have a name that nobody reads. Cost: a look at each name.
 *
 * @param what - the class or function that takes them, for the message
 * @throws ERR_MEM_INVALID_ARGUMENT, with the nearest name where one is near
 */
export function checkOptionNames<O extends object>(what: string, options: O, names: OptionNames<NoInfer<O>>): void {
  if (!areOptions(options)) {
    throw badArgument(
      `the options argument of ${what}`,
      String(options),
      `an object with any of ${Object.keys(names).join(', ')}`,
    );
  }
  // Makes no garbage, and asks for a property instead of whether there is one, which takes V8 longer: blocks are allocated with
  // options, too.
  for (const name in options) {
    if ((names as Readonly<Record<string, unknown>>)[name] !== true && Object.hasOwn(options, name))
      throw unknownOption(what, name, Object.keys(names));
  }
}

/** Whether it is an object that can hold options. */
export function areOptions(options: unknown): options is object {
  return typeof options === 'object' && options !== null && !Array.isArray(options);
}

/** The options of a class. Beside the class, which does not name itself inside: bundlers would give it another name. */
export interface OwnOptions<O> {
  readonly of: () => object;
  readonly names: OptionNames<O>;
}

/**
 * As {@link checkOptionNames}, for objects of just that class: a subclass may take further options. It passes all of them on,
 * and checks them by its own names.
 *
 * @param made - the constructor's `new.target`
 */
export function checkOwnOptions<O extends object>(
  own: OwnOptions<O>,
  made: { readonly name: string },
  options: NoInfer<O>,
): void {
  if (made === own.of()) checkOptionNames<O>(made.name, options, own.names);
}

/** The error of a name that nobody reads. @param what - reads the known ones */
export function unknownOption(what: string, name: string, known: readonly string[]): MemoryError {
  const near = nearestName(name, known);
  const hint = near === undefined ? '' : `: did you mean "${near}"?`;
  return badArgument(`an option of ${what}`, JSON.stringify(name), `one of ${known.join(', ')}${hint}`);
}

/** The name that a person may have meant; undefined when none is near. */
export function nearestName(wrong: string, names: readonly string[]): string | undefined {
  const word = wrong.toLowerCase();
  const [best] = names
    .map((name) => ({ name, edits: name.toLowerCase().startsWith(word) ? 1 : editsBetween(word, name.toLowerCase()) }))
    .filter(({ name, edits }) => edits <= Math.max(2, name.length / 3))
    .sort((a, b) => a.edits - b.edits);
  return best?.name;
}

/** How many letters have to be put in, left out or replaced. @see Source: Levenshtein distance, by Wagner and Fischer */
function editsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (from[i] === to[j] ? 0 : 1)));
    }
    row = next;
  }
  return row[to.length]!;
}
