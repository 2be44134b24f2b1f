import { badArgument, checkArgument } from '../core/errors.js';

export { parseSize } from '../core/parse-size.js';

/** The options of a command as commander gives them: texts with a default, texts that may be absent, and switches. */
export type Flags<Text extends string, OptionalText extends string, Switch extends string> = Readonly<
  Record<Text, string> & Partial<Record<OptionalText, string> & Record<Switch, true>>
>;

/**
 * Reads a number that a person wrote.
 *
 * @param name - the option, for messages
 * @param accepted - its form, and its least and greatest value
 * @param expected - the same in words
 * @throws ERR_MEM_INVALID_ARGUMENT
 */
export function parseNumber(
  name: string,
  text: string,
  accepted: Readonly<{ form: RegExp } & Record<'from' | 'to', number>>,
  expected: string,
): number {
  const value = Number(text);
  checkArgument(accepted.form.test(text) && value >= accepted.from && value <= accepted.to, name, `"${text}"`, expected);
  return value;
}

/**
 * What the option `--sites [frames]` stands for in a variable of the environment.
 *
 * @param sites - true without a number of frames; undefined when it is not given
 * @throws ERR_MEM_INVALID_ARGUMENT
 */
export function sitesSetting(sites: true | string | undefined): string {
  if (typeof sites !== 'string') return sites === true ? '1' : '0';
  checkArgument(/^[1-9]\d{0,2}$/.test(sites), '--sites', JSON.stringify(sites), 'a number of frames from 1 to 999');
  return sites;
}

/**
 * Finds a value by its name.
 *
 * @param what - the option, for messages
 * @param alike - for names that people may give instead: what they may mean
 * @throws ERR_MEM_INVALID_ARGUMENT with the names there are, and the nearest one
 */
export function byName<T>(
  what: string,
  name: string,
  values: ReadonlyMap<string, T>,
  alike: ReadonlyMap<string, string> = new Map(),
): T {
  const value = values.get(name);
  if (value !== undefined) return value;
  const names = [...values.keys()];
  const near = alike.get(name.toLowerCase()) ?? nearest(name, names);
  const hint = near === undefined ? '' : ` (did you mean ${near}?)`;
  throw badArgument(what, JSON.stringify(name), `one of ${names.join(', ')}${hint}`);
}

/** The candidate that the fewest edits turn `name` into; undefined when all are far. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const most = Math.max(2, Math.floor(name.length * 0.4));
  return candidates
    .map((candidate) => ({ candidate, edits: isPart(name, candidate) ? 0 : editsBetween(name.toLowerCase(), candidate) }))
    .filter(({ candidate, edits }) => edits <= most && edits < candidate.length)
    .sort((a, b) => a.edits - b.edits)[0]?.candidate;
}

/** Whether a person may have left out the end of a name, or, of a longer one, its beginning. */
function isPart(name: string, candidate: string): boolean {
  const text = name.toLowerCase();
  return name.length > 1 && (candidate.startsWith(text) || (name.length > 2 && candidate.endsWith(text)));
}

/** Levenshtein's distance. Cost: O(length x length). */
function editsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const substituted = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
