import type { Command } from 'commander';
import { CHECKS, examine, type Finding } from './doctor-checks.js';
import { layOut } from './table.js';
import { packageVersion } from './version.js';

/** Adds `stowage doctor`. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('Use every device and host once, and say which work on this machine and why the others do not.')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nJSON: { "version": 1, "stowage", "node", "platform", "findings": [{ kind, name, works, detail }] }.\n' +
        'What does not work here is a finding, not a failure: the exit code is 0.',
    )
    .action((flags: { json?: true }) => {
      const findings = examine(CHECKS);
      process.stdout.write(flags.json ? json(findings) : text(findings));
    });
}

function json(findings: readonly Finding[]): string {
  const facts = { version: 1, stowage: packageVersion(), node: process.version, platform: `${process.platform}-${process.arch}` };
  return `${JSON.stringify({ ...facts, findings }, null, 2)}\n`;
}

function text(findings: readonly Finding[]): string {
  const columns = ['kind', 'name', 'works', 'detail'].map((heading) => ({ heading, align: 'left' as const }));
  const rows = findings.map(({ kind, name, works, detail }) => [kind, name, works ? 'yes' : 'no', detail]);
  const machine = `stowage ${packageVersion()}, Node ${process.version}, ${process.platform}-${process.arch}`;
  return `${[machine, '', ...layOut(columns, rows)].join('\n')}\n`;
}
