import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChildResult } from '../fixtures/compiled.js';

/** Names of the files of a version. @see Source: the kernel's cgroup-v1/memory.rst and cgroup-v2.rst */
interface GroupFiles {
  readonly limit: string;
  /** More limits that keep the system from moving memory to a disk instead of ending the process: where there are any. */
  readonly swap: readonly (readonly [file: string, limitOf: (limitBytes: number) => number])[];
  readonly usage: string;
  readonly peak: string;
  /** Has a line `oom_kill <count>`. */
  readonly kills: string;
}

const FILES: { readonly [version in GroupVersion]: GroupFiles } = {
  v1: {
    limit: 'memory.limit_in_bytes',
    swap: [
      ['memory.memsw.limit_in_bytes', (bytes) => bytes],
      ['memory.swappiness', () => 0],
    ],
    usage: 'memory.usage_in_bytes',
    peak: 'memory.max_usage_in_bytes',
    kills: 'memory.oom_control',
  },
  v2: {
    limit: 'memory.max',
    swap: [['memory.swap.max', () => 0]],
    usage: 'memory.current',
    // Since Linux 5.19.
    peak: 'memory.peak',
    kills: 'memory.events',
  },
};
const V1_MOUNT = '/sys/fs/cgroup/memory';
const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];
const REMOVAL_TRIES = 100;
const REMOVAL_WAIT_MS = 20;

export type GroupVersion = 'v1' | 'v2';

/** Where memory groups can be made on this machine, or why not. */
export type GroupPlace =
  | { readonly version: GroupVersion; readonly parent: string; readonly reason: string }
  | { readonly version: 'none'; readonly reason: string };

/** How a child of a group ended. */
export interface GroupResult extends ChildResult {
  /** How many processes of the group the kernel killed because the group was at its limit. */
  readonly oomKills: number;
  /** The most bytes that the group held; undefined where the kernel does not say. */
  readonly peakBytes: number | undefined;
  readonly elapsedMs: number;
}

let groupsMade = 0;

/**
 * Finds a group that lets this process make memory groups in it: its own, or one above, in version 1 or 2 of control groups.
 * Tries it by making one and removing it.
 *
 * @param root - a folder that stands for `/`
 */
export function findGroupPlace(root = '/'): GroupPlace {
  const reasons: string[] = [];
  for (const { version, parent } of candidates(root)) {
    try {
      MemoryGroup.in({ version, parent, reason: '' }, 2 ** 30).remove();
      return { version, parent, reason: `memory groups of ${version} in ${parent}` };
    } catch (error) {
      reasons.push(`${parent}: ${(error as Error).message}`);
    }
  }
  if (reasons.length === 0) reasons.push('no memory controller is mounted');
  return { version: 'none', reason: `no memory group can be made (${[...new Set(reasons)].join('; ')})` };
}

/** A memory group of this machine's kernel: what its processes hold together stays below a limit, or one of them is killed. */
export class MemoryGroup {
  readonly version: GroupVersion;
  readonly path: string;
  readonly limitBytes: number;
  #isRemoved = false;

  /** Makes a group. @throws what the system says when it cannot be made; nothing is left then */
  static in(place: GroupPlace, limitBytes: number): MemoryGroup {
    if (place.version === 'none') throw new Error(place.reason);
    const path = posix.join(place.parent, `stowage-${process.pid}-${++groupsMade}`);
    if (place.version === 'v2') enableMemory(place.parent);
    mkdirSync(path);
    const group = new MemoryGroup(place.version, path, limitBytes);
    try {
      group.#setLimits();
    } catch (error) {
      group.remove();
      throw error;
    }
    return group;
  }

  private constructor(version: GroupVersion, path: string, limitBytes: number) {
    this.version = version;
    this.path = path;
    this.limitBytes = limitBytes;
  }

  /** How many of its processes the kernel has killed for want of memory. */
  get oomKills(): number {
    return Number(/^oom_kill (\d+)$/m.exec(this.#read(FILES[this.version].kills))?.[1] ?? 0);
  }

  get usageBytes(): number {
    return Number(this.#read(FILES[this.version].usage));
  }

  /** Undefined where the kernel does not say. */
  get peakBytes(): number | undefined {
    const { peak } = FILES[this.version];
    return existsSync(posix.join(this.path, peak)) ? Number(this.#read(peak)) : undefined;
  }

  /** Runs a Node program in the group, from its first instruction on, to its end. */
  run(
    nodeArguments: readonly string[],
    options: { readonly env?: NodeJS.ProcessEnv; readonly timeoutMs: number },
  ): Promise<GroupResult> {
    const { env = {}, timeoutMs } = options;
    const enter = `echo $$ > '${posix.join(this.path, 'cgroup.procs')}' && exec "$@"`;
    const started = performance.now();
    const child = spawn('/bin/sh', ['-c', enter, 'sh', process.execPath, ...nodeArguments], {
      env: { ...process.env, NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => {
        const { oomKills, peakBytes } = this;
        resolve({ status, signal, stdout, stderr, oomKills, peakBytes, elapsedMs: performance.now() - started });
      });
    });
  }

  /** Ends what still runs in the group and removes it. */
  async dispose(): Promise<void> {
    for (let tries = 1; !this.#isRemoved; tries++) {
      try {
        this.remove();
      } catch (error) {
        if (tries >= REMOVAL_TRIES) throw error;
        for (const pid of this.#read('cgroup.procs').split('\n').filter(Boolean)) endProcess(Number(pid));
        await sleep(REMOVAL_WAIT_MS);
      }
    }
  }

  /** Removes the group. @throws EBUSY while a process is in it */
  remove(): void {
    if (this.#isRemoved) return;
    rmdirSync(this.path);
    this.#isRemoved = true;
  }

  #setLimits(): void {
    const { limit, swap, kills } = FILES[this.version];
    for (const file of [limit, kills])
      if (!existsSync(posix.join(this.path, file))) throw new Error(`the kernel made no ${file}`);
    writeFileSync(posix.join(this.path, limit), String(this.limitBytes));
    for (const [file, limitOf] of swap) {
      if (existsSync(posix.join(this.path, file))) writeFileSync(posix.join(this.path, file), String(limitOf(this.limitBytes)));
    }
  }

  #read(file: string): string {
    return readFileSync(posix.join(this.path, file), 'utf8').trim();
  }
}

/** Runs a Node program in a group of its own, which is removed whatever happens. */
export async function runInGroup(
  place: GroupPlace,
  limitBytes: number,
  ...run: Parameters<MemoryGroup['run']>
): Promise<GroupResult> {
  const group = MemoryGroup.in(place, limitBytes);
  try {
    return await group.run(...run);
  } finally {
    await group.dispose();
  }
}

/** Groups to try: this process's own and those above it, up to the mount, which a container often sees as its own. */
function* candidates(root: string): Generator<{ readonly version: GroupVersion; readonly parent: string }> {
  const lines = textOf(posix.join(root, '/proc/self/cgroup')).split('\n');
  for (const line of lines) {
    const [id, controllers, ...rest] = line.split(':');
    const isV2 = id === '0' && controllers === '';
    if (!isV2 && controllers?.split(',').includes('memory') !== true) continue;
    for (const mount of isV2 ? V2_MOUNTS : [V1_MOUNT]) {
      if (
        isV2 &&
        !textOf(posix.join(root, mount, 'cgroup.controllers'))
          .split(/\s+/)
          .includes('memory')
      )
        continue;
      for (let group = posix.join('/', rest.join(':')); ; group = posix.dirname(group)) {
        const parent = posix.join(root, mount, group);
        if (existsSync(parent)) yield { version: isV2 ? 'v2' : 'v1', parent };
        if (group === '/') break;
      }
    }
  }
}

/** Lets groups in a group of version 2 have a memory limit. @throws EBUSY for one that has processes of its own and is not the root */
function enableMemory(parent: string): void {
  const control = posix.join(parent, 'cgroup.subtree_control');
  if (!textOf(control).split(/\s+/).includes('memory')) writeFileSync(control, '+memory');
}

function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
