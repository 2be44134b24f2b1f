/** Writes an amount with what is counted: `1 block`, `2 blocks`. */
export function counted(amount: number, what: string): string {
  return `${amount} ${what}${amount === 1 ? '' : 's'}`;
}
