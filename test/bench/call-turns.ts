import { CALL_SIZES, CALLS, type CallRow, type CallTimes, callRows } from './calls.js';
import { LineProcess } from './line-process.js';

/** Processes a call, one after the other: where its code and memory come to lie matters. */
const PROCESSES = 3;

/** What the calls are measured with. */
export interface CallsPlan {
  readonly rounds: number;
  /** The file of extras-main. */
  readonly main: string;
  readonly onProgress: (what: string) => void;
}

/**
 * Measures all calls, each in a process of its own. The processes take turns, round by round, so that what disturbs the
 * machine disturbs alike what is compared: a neighbour on the same core doubles the time of a call.
 */
export async function measureCalls(plan: CallsPlan): Promise<CallRow[]> {
  const times: CallTimes = CALLS.map(() => CALL_SIZES.map(() => []));
  for (let part = 0; part < PROCESSES; part++) {
    for (const [size, bytes] of CALL_SIZES.entries()) {
      const turns = await takeTurns(bytes, plan);
      for (const [call, ns] of turns.entries()) times[call]![size]!.push(...ns);
    }
  }
  return callRows(times);
}

/** @returns nanoseconds, by call and round */
async function takeTurns(bytes: number, { rounds, main, onProgress }: CallsPlan): Promise<number[][]> {
  const processes: LineProcess[] = [];
  try {
    for (const { name } of CALLS) {
      onProgress(`calls: warming up ${name}`);
      const one = new LineProcess(process.execPath, [main, JSON.stringify({ kind: 'call', call: name, bytes })]);
      processes.push(one);
      await one.ask('round');
    }
    const times = processes.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      onProgress(`calls of ${bytes} B: round ${round + 1} of ${rounds}`);
      for (const [i, one] of processes.entries()) times[i]!.push((await one.ask<{ ns: number }>('round')).ns);
    }
    return times;
  } finally {
    for (const one of processes) one.stop();
  }
}
