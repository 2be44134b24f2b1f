import { LimitReading } from '../budget/budget-limit.js';
import { formatBytes } from '../core/format-bytes.js';
import { ownConf } from './manager-factory.js';
import type { StowageConf } from './parse-conf.js';

/** Says in one line what a configuration does: `manager pool (slack 0.02), limit 80% (12.40 GiB), log calls.log`. */
export function describeConf(conf: StowageConf): string {
  const { manager, isManagerGiven, settings, limit, log, trace, reportAtExit } = conf;
  const own = ownConf(conf);
  const values = [...settings.map(({ key, text }) => `${key} ${text}`), ...(own === undefined ? [] : [own])];
  const given = values.length === 0 ? '' : ` (${values.join(', ')})`;
  return [
    `manager ${manager.name}${isManagerGiven ? '' : ', the default'}${given}`,
    ...(limit === undefined ? [] : [limitWords(limit)]),
    ...(log === undefined ? [] : [`log ${log}`]),
    ...(trace === undefined ? [] : [`trace ${trace}`]),
    ...(reportAtExit === undefined ? [] : [reportAtExit ? 'report at exit' : 'no report at exit']),
  ].join('; ');
}

function limitWords(limit: NonNullable<StowageConf['limit']>): string {
  const bytes = formatBytes(new LimitReading(limit, undefined, 0).bytes);
  return typeof limit === 'number' ? `limit ${bytes}` : `limit ${limit} (${bytes})`;
}
