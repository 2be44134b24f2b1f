/** Names what a program has given, so that a text looks like one, and an object like an object. Never throws. */
export function given(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return /^class\b/.test(Function.prototype.toString.call(value)) ? `the class ${value.name}` : 'a function';
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : objectText(value);
    default:
      return String(value);
  }
}

function objectText(value: object): string {
  const prototype: { constructor?: unknown } | null = Object.getPrototypeOf(value);
  const made = prototype?.constructor;
  return typeof made === 'function' && made !== Object ? `an instance of ${made.name}` : 'an object';
}
