/** Writes an amount for people: `1 event`, `26,012 events`. */
export function count(amount: number, what: string): string {
  return `${grouped(amount)} ${what}${amount === 1 ? '' : 's'}`;
}

/** Writes a number for people: `26,012`. */
export function grouped(amount: number): string {
  return amount.toLocaleString('en-US');
}
