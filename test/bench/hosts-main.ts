import { measureHosts } from './hosts.js';
import { machineText } from './machine.js';
import { hostTables } from './markdown-report.js';

/** Prints tables of what callbacks cost, and of engines under a manager. @returns the exit code */
export async function main(root: string): Promise<number> {
  console.log([machineText(), ...hostTables(await measureHosts(root))].join('\n\n'));
  return 0;
}
