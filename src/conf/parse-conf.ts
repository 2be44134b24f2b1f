import { type BudgetLimit, shareOf } from '../budget/budget-limit.js';
import { ConfText, type ConfToken } from '../core/conf-text.js';
import { MemoryError } from '../core/errors.js';
import { parseSize } from '../core/parse-size.js';
import { CONF_VARIABLE } from './conf-variable.js';
import { MANAGER_KINDS, type ManagerKind, type ManagerSetting } from './manager-kinds.js';

/** The value of a manager's setting. */
export interface ConfSetting extends ManagerSetting {
  readonly value: number | boolean;
  /** The error of this value, where the manager refuses it. @param expected - in words */
  readonly refusal: (expected: string) => MemoryError;
  /** As it was written. */
  readonly text: string;
}

/** A configuration of the default runtime. */
export interface StowageConf {
  /** The manager that the runtime installs for itself. */
  readonly manager: ManagerKind;
  readonly isManagerGiven: boolean;
  readonly settings: readonly ConfSetting[];
  /** What the runtime may hold. */
  readonly limit: BudgetLimit | undefined;
  readonly limitText: string;
  /** The file of the call log. */
  readonly log: string | undefined;
  /** The file of the recording. */
  readonly trace: string | undefined;
  /** Whether the exit report is written: undefined for only when blocks are live. */
  readonly reportAtExit: boolean | undefined;
}

/** Keys that are no manager's. */
const COMMON = ['manager', 'limit', 'log', 'trace', 'report_at_exit'];

/**
 * Reads a value of `STOWAGE_CONF`, such as `manager:pool,slack:0.02,limit:80%`. A manager's settings may stand before its name.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT with the place, for an unknown key, a bad value, a key that is given twice, and a setting of another manager
 */
export function parseConf(text: string): StowageConf {
  const conf = new ConfText(CONF_VARIABLE, text);
  const given = new Map<string, { readonly key: ConfToken; readonly value: ConfToken }>();
  while (conf.hasMore) {
    const key = conf.take();
    if (!isKnown(key.text)) throw conf.unknownKey(key, allKeys(), adviceFor(kindIn(text)));
    if (given.has(key.text)) throw conf.refusal(key, 'given once');
    conf.expect(':');
    const value = conf.takeToComma();
    if (value.text === '') throw conf.refusal(value, 'a value');
    given.set(key.text, { key, value });
    if (conf.hasMore) conf.expect(',');
  }
  const read = <T>(key: string, reader: (value: ConfToken) => T): T | undefined => {
    const found = given.get(key);
    return found === undefined ? undefined : reader(found.value);
  };
  const named = read('manager', (value) => kindNamed(conf, value));
  const manager = named ?? MANAGER_KINDS.get('caching')!;
  const settings = [...given.values()].flatMap(({ key, value }) => {
    if (COMMON.includes(key.text)) return [];
    const setting = manager.settings.find((one) => one.key === key.text);
    if (setting === undefined) throw conf.refusal(key, ofAnother(key.text, manager));
    const refusal = (expected: string) => conf.refusal(value, expected);
    return [{ ...setting, value: settingValue(conf, setting, value), refusal, text: value.text }];
  });
  return {
    manager,
    isManagerGiven: named !== undefined,
    settings,
    limit: read('limit', (value) => limitOf(conf, value)),
    limitText: given.get('limit')?.value.text ?? '',
    log: read('log', ({ text }) => text),
    trace: read('trace', (value) => {
      if (value.text !== given.get('log')?.value.text) return value.text;
      throw conf.refusal(value, 'another file than that of log');
    }),
    reportAtExit: read('report_at_exit', (value) => switchOf(conf, value)),
  };
}

function allKeys(): string[] {
  return [...new Set([...COMMON, ...[...MANAGER_KINDS.values()].flatMap(({ settings }) => settings.map(({ key }) => key))])];
}

function isKnown(key: string): boolean {
  return allKeys().includes(key);
}

/** The manager that a text names, for advice. */
function kindIn(text: string): ManagerKind {
  const [, name = ''] = /(?:^|,)\s*manager\s*:\s*(\w+)/.exec(text) ?? [];
  return MANAGER_KINDS.get(name) ?? MANAGER_KINDS.get('caching')!;
}

function adviceFor({ name, settings }: ManagerKind): string {
  const own = settings.length === 0 ? '' : `; ${name} has ${settings.map(({ key }) => key).join(', ')}`;
  return `There are ${COMMON.join(', ')}${own}`;
}

function kindNamed(conf: ConfText, value: ConfToken): ManagerKind {
  const kind = MANAGER_KINDS.get(value.text);
  if (kind !== undefined) return kind;
  const names = [...MANAGER_KINDS.keys()];
  throw conf.unknownName(value, names, 'a manager', `There are ${names.join(', ')}`);
}

function ofAnother(key: string, manager: ManagerKind): string {
  const owners = [...MANAGER_KINDS.values()].filter(({ settings }) => settings.some((one) => one.key === key));
  const names = owners.map(({ name }) => name).join(', ');
  return `a setting of ${manager.name}: this one is of ${names}, which manager:${owners[0]!.name} chooses`;
}

function limitOf(conf: ConfText, value: ConfToken): BudgetLimit {
  try {
    if (!value.text.includes('%')) return parseSize('limit', value.text);
    shareOf(value.text as `${number}%`);
    return value.text as `${number}%`;
  } catch (error) {
    throw asRefusal(conf, value, error);
  }
}

function settingValue(conf: ConfText, { form }: ManagerSetting, value: ConfToken): number | boolean {
  if (form === 'switch') return switchOf(conf, value);
  if (form === 'size') {
    try {
      // Alignments and cells are bytes without a unit.
      return /^\d+$/.test(value.text) ? Number(value.text) : parseSize('size', value.text);
    } catch (error) {
      throw asRefusal(conf, value, error);
    }
  }
  if (form === 'count' && /^\d+$/.test(value.text)) return Number(value.text);
  if (form === 'share' && /^(\d+\.?\d*|\.\d+)$/.test(value.text)) return Number(value.text);
  throw conf.refusal(value, form === 'count' ? 'a whole number' : 'a share, such as 0.02');
}

function switchOf(conf: ConfText, value: ConfToken): boolean {
  if (value.text === 'True' || value.text === 'False') return value.text === 'True';
  throw conf.refusal(value, 'True or False');
}

function asRefusal(conf: ConfText, value: ConfToken, error: unknown): unknown {
  if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) return error;
  return conf.refusal(value, error.facts.expected);
}
