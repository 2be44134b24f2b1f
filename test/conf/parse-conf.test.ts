import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MANAGERS } from '../../src/cli/choices.js';
import { describeConf } from '../../src/conf/describe-conf.js';
import { MANAGER_KINDS } from '../../src/conf/manager-kinds.js';
import { parseConf } from '../../src/conf/parse-conf.js';
import { MemoryManagerDeviceInterface } from '../../src/core/index.js';

const refusalOf = (text: string): string => {
  try {
    parseConf(text);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
};

describe('parseConf', () => {
  test('reads the manager, its settings, the limit, the files and the report', () => {
    const conf = parseConf('manager:pool,limit:80%,slack:0.02,log:calls.log,trace:app.stowtrace,report_at_exit:True');
    const settings = conf.settings.map(({ option, value }) => [option, value]);
    expect([conf.manager.type, settings]).toEqual(['PoolMemoryManager', [['slack', 0.02]]]);
    expect(conf).toMatchObject({ limit: '80%', log: 'calls.log', trace: 'app.stowtrace', reportAtExit: true });
  });

  test.each<[string, Readonly<Record<string, number | boolean>>]>([
    ['split_size_limit:1MiB', { splitSizeLimitBytes: 1048576 }],
    ['recycling_size_limit : 1 MiB , manager : caching', { recyclingSizeLimitBytes: 1048576 }],
    ['capacity:2GiB,manager:lru,capacity_layouts:12', { capacityBytes: 2147483648, capacityLayouts: 12 }],
    ['manager:slab,cell:64,slab:1MiB,alignment:32', { cellBytes: 64, slabBytes: 1048576, alignmentBytes: 32 }],
    ['manager:default,max_buffers:5,debug:True', { maxBuffers: 5, debug: true }],
    ['manager:buddy,region:32MiB,leaf:512', { regionBytes: 33554432, leafBytes: 512 }],
    ['manager:arena,max_regions:1,region:4MiB', { maxRegions: 1, regionBytes: 4194304 }],
    ['manager:pytorch,memory_limit:1GiB', { memoryLimitBytes: 1073741824 }],
    ['manager:pool,granularity:64KiB,slack:.5', { granularityBytes: 65536, slack: 0.5 }],
    ['', {}],
    ['limit:1GiB,', {}],
  ])('reads the settings of %j', (text, expected) => {
    const { settings } = parseConf(text);
    expect(Object.fromEntries(settings.map(({ option, value }) => [option, value]))).toEqual(expected);
  });

  test('reads paths with blanks and colons', () => {
    expect(parseConf('log:C:\\my logs\\a.log , report_at_exit:False')).toMatchObject({
      log: 'C:\\my logs\\a.log',
      reportAtExit: false,
    });
  });

  test.each([
    [
      'manger:pool',
      'STOWAGE_CONF, character 1 is "manger", but must be a key: did you mean "manager"? There are manager, limit, ',
    ],
    ['limit:80%,slak:0.02,manager:pool', 'character 11 is "slak", but must be a key: did you mean "slack"? '],
    ['zzzzz:1,manager:pool', '; pool has slack, release_threshold, granularity'],
    ['manager=pool', 'character 8 is "=", but must be a colon, as in manager:pool'],
    ['manager:pol', 'character 9 is "pol", but must be a manager: did you mean "pool"? There are caching, lru, pool, tlsf, '],
    ['slack:0.02', 'character 1 is "slack", but must be a setting of caching: this one is of pool, which manager:pool chooses'],
    ['manager:pool,slack:much', 'character 20 is "much", but must be a share, such as 0.02'],
    ['limit:80', 'character 7 is "80", but must be a size above 0 such as 512MiB, 1.5GiB or 1024 (did you mean 80GiB?)'],
    [
      'limit:180%',
      'character 7 is "180%", but must be a positive number of bytes, or a share from above 0 to 100, such as \'80%\'',
    ],
    ['limit:', 'character 7 is nothing, but must be a value'],
    ['limit', 'character 6 is nothing, but must be ":"'],
    ['limit:1GiB,,log:a', 'character 12 is ",", but must be a key'],
    ['limit:1GiB,limit:2GiB', 'character 12 is "limit", but must be given once'],
    ['report_at_exit:yes', 'character 16 is "yes", but must be True or False'],
    ['manager:default,debug:1', 'character 23 is "1", but must be True or False'],
    ['manager:lru,capacity_layouts:1.5', 'character 30 is "1.5", but must be a whole number'],
    ['manager:lru,capacity:much', 'character 22 is "much", but must be a size above 0'],
    ['log:a,trace:a', 'character 13 is "a", but must be another file than that of log'],
  ])('refuses %j with its place', (text, message) => {
    expect(refusalOf(text)).toContain(message);
  });
});

describe('MANAGER_KINDS', () => {
  test('are the managers of the command', () => {
    expect([...MANAGERS.keys()]).toEqual([...MANAGER_KINDS.keys()]);
  });

  test('are in configuration.md, each with its settings', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8');
    for (const { name, settings } of MANAGER_KINDS.values()) {
      const row = new RegExp(`^\\| \`${name}\` \\|(.*?)(?:;.*)?\\|$`, 'm').exec(page)?.[1] ?? '';
      expect(Array.from(row.matchAll(/`(\w+)`/g), ([, key]) => key)).toEqual(settings.map(({ key }) => key));
    }
  });

  test.each([...MANAGER_KINDS.values()])('$name is a $type', ({ name, type }) => {
    expect(MANAGERS.get(name)!(1, new MemoryManagerDeviceInterface()).name).toBe(type);
  });
});

describe('describeConf', () => {
  test('says in one line what is in force', () => {
    expect(describeConf(parseConf('manager:pool,slack:0.02,limit:512MiB,log:a,trace:b,report_at_exit:True'))).toBe(
      'manager pool (slack 0.02); limit 512.00 MiB; log a; trace b; report at exit',
    );
    expect(describeConf(parseConf('limit:80%'))).toMatch(/^manager caching, the default; limit 80% \(\d+\.\d\d [GT]iB\)$/);
  });
});
