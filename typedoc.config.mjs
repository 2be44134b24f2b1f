import { readFileSync } from 'node:fs';

const { exports } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));
const entryPoints = Object.values(exports).flatMap(({ default: path }) =>
  path === undefined ? [] : [path.replace('./dist/', '').replace(/\.js$/, '.ts')],
);

export default {
  name: 'Stowage',
  entryPoints,
  tsconfig: 'tsconfig.json',
  out: 'docs/api',
  readme: 'README.md',
  excludePrivate: true,
  excludeInternal: true,
  treatWarningsAsErrors: true,
  validation: {
    notExported: true,
    invalidLink: true,
    notDocumented: false,
  },
  externalSymbolLinkMappings: {
    eventemitter3: {
      '*': '#',
    },
  },
  intentionallyNotExported: [
    'ManagerLifecycle',
    'OwnedBlock',
    'PageRegion',
    'RangeUser',
    'Stream',
    'MappingPlace',
    'MappingCalls',
    'Status',
    'Words',
    'Events',
    'OpenClContext',
  ],
  githubPages: false,
  hideGenerator: true,
  disableSources: true,
};
