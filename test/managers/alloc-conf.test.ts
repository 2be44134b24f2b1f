import { describe, expect, test } from 'vitest';
import { PyTorchMemoryManager, parseAllocConf } from '../../managers/index.js';
import { DEFAULT_SETTINGS } from '../../managers/pytorch/alloc-conf.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MiB } from '../../src/core/units.js';
import { memoryError } from '../core/fakes.js';

const none = (from: number): number[] => new Array<number>(from).fill(0);

describe('parseAllocConf', () => {
  test.each([
    ['', {}],
    ['expandable_segments:True', { expandableSegments: true }],
    [' expandable_segments : False ', {}],
    ['max_split_size_mb:128', { maxSplitSizeBytes: 128 * MiB }],
    ['max_split_size_mb:64,large_segment_size_mb:64', { maxSplitSizeBytes: 64 * MiB, largeSegmentSizeBytes: 64 * MiB }],
    ['max_non_split_rounding_mb:64', { maxNonSplitRoundingBytes: 64 * MiB }],
    ['large_segment_size_mb:12', { largeSegmentSizeBytes: 12 * MiB }],
    ['garbage_collection_threshold:0.8', { garbageCollectionThreshold: 0.8 }],
    ['per_process_memory_fraction:1.0', { perProcessMemoryFraction: 1 }],
    ['per_process_memory_fraction:0', { perProcessMemoryFraction: 0 }],
    ['per_process_memory_fraction:5e-1', { perProcessMemoryFraction: 0.5 }],
    ['roundup_power2_divisions:4', { roundupPower2Divisions: new Array<number>(16).fill(4) }],
    ['backend:native,max_split_size_mb:20', { maxSplitSizeBytes: 20 * MiB }],
    [
      'expandable_segments:True,roundup_power2_divisions:8',
      { expandableSegments: true, roundupPower2Divisions: new Array<number>(16).fill(8) },
    ],
    // What PyTorch 2.11 itself said of this list in a snapshot's allocator_settings.
    [
      'roundup_power2_divisions:[256:1,512:2,1024:4,>:8]',
      { roundupPower2Divisions: [...new Array<number>(9).fill(1), 2, 4, ...new Array<number>(5).fill(8)] },
    ],
    ['roundup_power2_divisions:[64:8]', { roundupPower2Divisions: [...new Array<number>(7).fill(8), ...none(9)] }],
  ])('reads %j', (text, settings) => {
    expect(parseAllocConf(text)).toEqual({ settings: { ...DEFAULT_SETTINGS, ...settings }, ignored: [] });
  });

  test('names the keys that change no memory of the device', () => {
    const text = 'release_lock_on_cudamalloc:True,expandable_segments:True,pinned_num_register_threads:8';
    expect(parseAllocConf(text)).toMatchObject({
      settings: { expandableSegments: true },
      ignored: ['release_lock_on_cudamalloc:True', 'pinned_num_register_threads:8'],
    });
  });

  test.each([
    ['max_splt_size_mb:128', /character 1 is "max_splt_size_mb".*did you mean "max_split_size_mb"\?/],
    ['expandable_segments:True,foo:1', /character 26 is "foo"/],
    ['expandable_segments:true', /character 21 is "true", but must be True or False/],
    ['expandable_segments', /character 20 is nothing, but must be ":"/],
    ['expandable_segments:', /character 21 is nothing, but must be True or False/],
    ['expandable_segments:True;max_split_size_mb:64', /character 21 is "True;max_split_size_mb"/],
    ['expandable_segments:True max_split_size_mb:64', /character 26 is "max_split_size_mb", but must be ","/],
    ['max_split_size_mb:19', /character 19 is "19", but must be a number of MiB of at least 20/],
    [
      'max_split_size_mb:32,large_segment_size_mb:64',
      /character 19 is "32", but must be at least large_segment_size_mb, which is 64/,
    ],
    ['large_segment_size_mb:64,max_split_size_mb:32', /character 44 is "32"/],
    ['max_split_size_mb=128', /character 18 is "=", but must be a colon, as in max_split_size_mb:128/],
    ['max_splt_size_mb:128', /must be a key: did you mean "max_split_size_mb"\? Those that change memory are [a-z2_, ]{0,200}$/],
    ['max_split_size_mb:64.5', /character 19 is "64.5"/],
    ['max_split_size_mb:99999999999999', /character 19 is "99999999999999"/],
    ['garbage_collection_threshold:1', /character 30 is "1", but must be a number above 0 and below 1/],
    ['garbage_collection_threshold:0', /character 30 is "0"/],
    ['per_process_memory_fraction:1.5', /character 29 is "1.5", but must be a number from 0 to 1/],
    ['roundup_power2_divisions:3', /character 26 is "3", but must be a power of two, or 0/],
    ['roundup_power2_divisions:[300:2]', /character 27 is "300", but must be a power of two, in MiB/],
    ['roundup_power2_divisions:[512:2,256:1]', /character 33 is "256"/],
    ['roundup_power2_divisions:[>:2,256:1]', /character 30 is ",", but must be \]/],
    ['roundup_power2_divisions:[256:1', /character 32 is nothing/],
    ['backend:cudaMallocAsync', /character 9 is "cudaMallocAsync".*the driver places blocks/],
    ['backend:jemalloc', /character 9 is "jemalloc", but must be native/],
    ['release_lock_on_cudamalloc', /character 27 is nothing, but must be ":"/],
    ['release_lock_on_cudamalloc:', /character 28 is nothing, but must be a value/],
    ['pinned_free_catch_all:,expandable_segments:True', /character 23 is ",", but must be a value/],
    ['constructor:1', /character 1 is "constructor"/],
    [',', /character 1 is ","/],
  ])('refuses %j with the place', (text, message) => {
    expect(() => parseAllocConf(text)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    expect(() => parseAllocConf(text)).toThrow(message);
  });
});

describe('settings of a program', () => {
  const create = (conf: object) => new PyTorchMemoryManager(1, new MemoryManagerDeviceInterface(), { conf });

  test('leave the default where they are undefined', () => {
    expect(create({ maxSplitSizeBytes: undefined, largeSegmentSizeBytes: 4 * MiB }).settings).toEqual({
      ...DEFAULT_SETTINGS,
      largeSegmentSizeBytes: 4 * MiB,
    });
  });

  test.each([
    [{ maxSplitSizeMb: 128 }, /"maxSplitSizeMb".*did you mean "maxSplitSizeBytes"\?/],
    [{ expandableSegments: 'yes' }, /expandableSegments is yes/],
    [{ roundupPower2Divisions: [3] }, /roundupPower2Divisions is 3/],
    [{ roundupPower2Divisions: [] }, /roundupPower2Divisions/],
    [{ roundupPower2Divisions: 4 }, /roundupPower2Divisions is 4/],
    [{ maxSplitSizeBytes: 1000 }, /maxSplitSizeBytes is 1000/],
    [{ maxNonSplitRoundingBytes: -512 }, /maxNonSplitRoundingBytes is -512/],
    [{ garbageCollectionThreshold: Number.NaN }, /garbageCollectionThreshold is NaN/],
    [{ largeSegmentSizeBytes: 0 }, /largeSegmentSizeBytes is 0/],
    [{ largeSegmentSizeBytes: Number.POSITIVE_INFINITY }, /largeSegmentSizeBytes is Infinity/],
    [{ perProcessMemoryFraction: 7 }, /perProcessMemoryFraction is 7/],
    [5, /conf/],
    [null, /conf/],
  ])('%j is refused, with its name', (conf, message) => {
    expect(() => create(conf as object)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    expect(() => create(conf as object)).toThrow(message);
  });
});
