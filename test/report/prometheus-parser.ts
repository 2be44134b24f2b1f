/** A sample of a text in Prometheus' format. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*/;
const VALUE = /^[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf|NaN)$/i;

/**
 * Reads a text in Prometheus' format 0.0.4, as strictly as the format is written: one HELP and one TYPE before the samples of
 * a metric, all of them together, labels quoted and escaped, no series twice, a line feed at the end.
 *
 * @throws Error that says which line is wrong
 */
export function parsePrometheus(text: string): Sample[] {
  if (!text.endsWith('\n')) throw new Error('the text does not end with a line feed');
  const samples: Sample[] = [];
  const series = new Set<string>();
  const types = new Map<string, string>();
  let helped = '';
  let current = '';
  text
    .slice(0, -1)
    .split('\n')
    .forEach((line, i) => {
      const fail = (why: string): never => {
        throw new Error(`line ${i + 1}: ${why}: ${line}`);
      };
      const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
      if (comment !== null) {
        const [, kind, name = '', rest = ''] = comment;
        if (NAME.exec(name)?.[0] !== name) fail('bad metric name');
        if (kind === 'HELP') {
          if (types.has(name)) fail('a second HELP');
          helped = name;
        } else {
          if (types.has(name)) fail('a second TYPE');
          if (helped !== name) fail('TYPE without HELP');
          if (!['gauge', 'counter', 'histogram', 'summary', 'untyped'].includes(rest)) fail('bad type');
          if (rest === 'counter' && !name.endsWith('_total')) fail('a counter that does not end in _total');
          types.set(name, rest);
          current = name;
        }
        return;
      }
      const name = NAME.exec(line)?.[0] ?? fail('no metric name');
      if (name !== current) fail('a sample apart from its TYPE');
      const labels: Record<string, string> = {};
      let at = name.length;
      if (line[at] === '{') {
        at++;
        while (line[at] !== '}') {
          const label = LABEL.exec(line.slice(at))?.[0] ?? fail('bad label name');
          at += label.length;
          if (line.slice(at, at + 2) !== '="') fail('a label without a quoted value');
          at += 2;
          let value = '';
          for (; line[at] !== '"'; at++) {
            if (at >= line.length) fail('an open quote');
            if (line[at] !== '\\') {
              value += line[at];
              continue;
            }
            const escaped = { '\\': '\\', '"': '"', n: '\n' }[line[++at] ?? ''];
            value += escaped ?? fail('a bad escape');
          }
          at++;
          if (label in labels) fail('a label twice');
          labels[label] = value;
          if (line[at] === ',') at++;
          else if (line[at] !== '}') fail('no comma between labels');
        }
        at++;
      }
      if (line[at] !== ' ') fail('no blank before the value');
      const value = line.slice(at + 1);
      if (!VALUE.test(value)) fail('bad value');
      const key = line.slice(0, at);
      if (series.has(key)) fail('a series twice');
      series.add(key);
      samples.push({ name, labels, value: Number(value) });
    });
  return samples;
}
