import '../../src/defaults.js';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { GpuDevice } from '../../adapters/devices/gpu/gpu-device.js';
import { CUDA } from '../../adapters/devices/gpu/gpu-status.js';
import { MemoryError } from '../../src/core/errors.js';
import { formatBytes } from '../../src/core/units.js';
import { loadTrace } from '../../src/trace/trace-reader.js';
import { machineText } from '../bench/machine.js';
import { type AllocationRow, firstEvents, MEASURED_MANAGERS, measureManager, measureNative } from './allocation-table.js';
import { type BandwidthRow, measureBandwidth } from './bandwidth-table.js';
import { runTests } from './conformance-run.js';
import { type ExampleResult, runExamples } from './examples-run.js';
import { type FillRow, measureFill } from './fill-table.js';
import { EXIT, type GpuSettings, makeDevice, parseSettings, USAGE } from './gpu-program.js';
import { checkMarks, markdown, writeReport } from './gpu-report.js';
import { NativeAllocators } from './native-allocators.js';
import { TorchPeer } from './torch-peer.js';

/** Runs the program. @param root - where `docs` and `test/traces` are @returns the exit code, see the usage */
export async function main(root: string, args: readonly string[]): Promise<number> {
  try {
    const settings = parseSettings(args, { traces: join(root, 'test/traces'), out: join(root, 'docs/gpu.md') });
    if (settings === undefined) {
      process.stdout.write(USAGE);
      return EXIT.done;
    }
    if (settings.out !== undefined) checkMarks(settings.out);
    return await runOn(makeDevice(settings), settings);
  } catch (error) {
    if (!MemoryError.is(error)) throw error;
    process.stderr.write(`gpu: ${error.message}\n`);
    if (error.code === 'ERR_MEM_DEVICE_ABSENT') return EXIT.absent;
    return error.code === 'ERR_MEM_INVALID_ARGUMENT' || error.code === 'ERR_MEM_BAD_INPUT' ? EXIT.usage : EXIT.failed;
  }
}

async function runOn(device: GpuDevice, settings: GpuSettings): Promise<number> {
  const facts = factsOf(device);
  say(facts.join('\n'));
  const { passed, failures } = await runTests('gpu-suite.js', (options) => makeDevice(settings, options));
  for (const failure of failures) process.stderr.write(`failed: ${failure}\n`);
  if (failures.length > 0) {
    process.stderr.write(`gpu: ${failures.length} of ${passed + failures.length} tests failed; nothing was written\n`);
    return EXIT.failed;
  }
  const conformance = `The conformance suite of devices passes: ${passed} tests.`;
  say(conformance);
  const features = await runTests('gpu-features.js', (options) => makeDevice(settings, options));
  const beside = `What a card has beside passes: ${features.passed} tests of ${features.passed + features.failures.length}.`;
  say(beside);
  const examples: ExampleResult[] = settings.dialect === CUDA ? runExamples(settings.library) : [];
  for (const { name, text } of examples) say(`${name}: ${text}`);
  const { events, rounds, out } = settings;
  using torch = settings.dialect === CUDA ? new TorchPeer() : undefined;
  if (torch !== undefined) say(torch.text);
  const tables = await measureTables(device, settings, torch);
  const report = { facts, conformance: `${conformance} ${beside}`, examples, peer: torch?.text, events, rounds, ...tables };
  process.stdout.write(`\n${markdown(report)}\n`);
  // The tables are measured all the same: a machine with a card is lent for little time.
  const wrong = [...features.failures, ...examples.filter(({ isDone }) => !isDone).map(({ name, text }) => `${name}: ${text}`)];
  for (const failure of wrong) process.stderr.write(`failed: ${failure}\n`);
  if (wrong.length > 0) {
    process.stderr.write(`gpu: ${wrong.length} failed; nothing was written\n`);
    return EXIT.failed;
  }
  if (out !== undefined) {
    writeReport(out, report);
    say(`written to ${out}`);
  }
  return EXIT.done;
}

/** The managers that fill the card, by their names on the command line. */
const FILLERS = ['caching', 'pool'];

/** Measures all tables. */
export async function measureTables(
  device: GpuDevice,
  { dialect, library, traces, events: count, rounds, copyBytes }: GpuSettings,
  torch?: TorchPeer,
): Promise<{ allocations: AllocationRow[]; fills: FillRow[]; bandwidths: BandwidthRow[] }> {
  const natives = new NativeAllocators(dialect, library);
  const allocations: AllocationRow[] = [];
  for (const file of readdirSync(traces)
    .filter((name) => name.endsWith('.trace.gz'))
    .sort()) {
    const events = firstEvents(await loadTrace(join(traces, file)), count);
    for (const native of [natives.device, natives.async]) allocations.push(measureNative(device, native, events, rounds));
    allocations.push(...(torch?.measure(events, rounds) ?? []));
    for (const manager of MEASURED_MANAGERS) allocations.push(measureManager(device, manager, events, rounds));
    say(`measured ${events.name}`);
  }
  const fills = FILLERS.map((manager) => measureFill(device, manager));
  say('filled the card');
  return { allocations, fills, bandwidths: measureBandwidth(device, natives.host, { rounds, sizes: copyBytes }) };
}

function factsOf(device: GpuDevice): string[] {
  const { runtime, driver } = device.versions();
  const cards = Array.from({ length: device.deviceCount }, (_, id) => {
    return `${device.deviceName(id)}, ${formatBytes(device.getMaxMemorySize(id))}`;
  });
  return [
    `On ${new Date().toISOString().slice(0, 10)}: ${cards.join('; ')}.`,
    `${device.name} runtime ${version(runtime)}, driver for ${version(driver)}; ${
      device.virtual === undefined
        ? 'no virtual memory'
        : `virtual memory in pages of ${formatBytes(device.virtual.granularityBytes)}`
    }.`,
    `${machineText()}.`,
  ];
}

function version(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
