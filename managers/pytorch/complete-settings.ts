import { checkArgument } from '../../src/core/errors.js';
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.js';
import { isPowerOfTwo, MiB } from '../../src/core/units.js';
import { MIN_BLOCK_BYTES } from '../policy/segment-sizes.js';
import { DEFAULT_SETTINGS, type PyTorchSettings } from './alloc-conf.js';

const NAMES: OptionNames<PyTorchSettings> = {
  expandableSegments: true,
  roundupPower2Divisions: true,
  maxSplitSizeBytes: true,
  maxNonSplitRoundingBytes: true,
  garbageCollectionThreshold: true,
  largeSegmentSizeBytes: true,
  perProcessMemoryFraction: true,
};

/** Settings that a program gives, with the default for each that is left out. @throws ERR_MEM_INVALID_ARGUMENT for what no setting can be */
export function completeSettings(given: Partial<PyTorchSettings>): PyTorchSettings {
  checkOptionNames('conf', given, NAMES);
  const defined = Object.entries(given).filter(([, value]) => value !== undefined);
  const settings: PyTorchSettings = { ...DEFAULT_SETTINGS, ...Object.fromEntries(defined) };
  const check = (name: keyof PyTorchSettings, isTaken: boolean, expected: string) =>
    checkArgument(isTaken, name, settings[name], expected);
  const { roundupPower2Divisions: divisions, perProcessMemoryFraction: fraction } = settings;
  const isDivision = (count: number) => count === 0 || isPowerOfTwo(count);
  const isSize = (bytes: number, least: number) => bytes === Infinity || (isUnits(bytes) && bytes >= least);
  check('expandableSegments', typeof settings.expandableSegments === 'boolean', 'true or false');
  check(
    'roundupPower2Divisions',
    Array.isArray(divisions) && divisions.length > 0 && divisions.every(isDivision),
    'powers of two, or 0',
  );
  check('maxSplitSizeBytes', isSize(settings.maxSplitSizeBytes, 2 * MiB), 'a multiple of 512 of at least 2 MiB, or Infinity');
  check('maxNonSplitRoundingBytes', isSize(settings.maxNonSplitRoundingBytes, 0), 'a multiple of 512, or Infinity');
  check('garbageCollectionThreshold', isShare(settings.garbageCollectionThreshold), 'a number from 0 to 1');
  const { largeSegmentSizeBytes } = settings;
  check(
    'largeSegmentSizeBytes',
    isUnits(largeSegmentSizeBytes) && largeSegmentSizeBytes >= 2 * MiB,
    'a multiple of 512 of at least 2 MiB',
  );
  check('perProcessMemoryFraction', fraction === undefined || isShare(fraction), 'a number from 0 to 1');
  return settings;
}

function isUnits(bytes: number): boolean {
  return Number.isSafeInteger(bytes) && bytes >= 0 && bytes % MIN_BLOCK_BYTES === 0;
}

function isShare(value: number): boolean {
  return typeof value === 'number' && value >= 0 && value <= 1;
}
