/** What Node's `util.inspect`, and so `console.log`, calls in place of listing an object's properties. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** Writes an object in one line for people: its class, and what there is to say of it. Never throws: says why it cannot say it. */
export function inspected(self: object, facts: () => readonly string[]): string {
  let text: string;
  try {
    text = facts().join(', ');
  } catch (error) {
    text = error instanceof Error ? error.message : 'it cannot be said';
  }
  return `${self.constructor.name} ${text === '' ? '{}' : `{ ${text} }`}`;
}
